/** Magic number of the legacy frame. */
export const LZ4_LEGACY_MAGIC = 0x184c2102;

/** The shortest match, not stored (LZ4 block format, "Sequences"). */
const MIN_MATCH = 4;

/**
 * Unpacks LZ4's legacy frame: a magic number, then blocks with their compressed size in front, to the end of `source`
 * (lz4_Frame_format.md, "Legacy frame"). Throws RangeError for what is not one, or not exactly `sizeBytes` long.
 */
export function decompressLz4Legacy(source: Uint8Array, sizeBytes: number): Uint8Array {
  const data = new DataView(source.buffer, source.byteOffset, source.length);
  const target = new Uint8Array(sizeBytes);
  let filled = 0;
  for (let at = 0; at < source.length; ) {
    if (at + 4 > source.length) throw new RangeError('the last LZ4 block has no size');
    const word = data.getUint32(at, true);
    at += 4;
    // A frame may follow another.
    if (word === LZ4_LEGACY_MAGIC) continue;
    if (word > source.length - at) throw new RangeError('an LZ4 block is cut short');
    filled = decompressBlock(source.subarray(at, at + word), target, filled);
    at += word;
  }
  if (filled !== sizeBytes) throw new RangeError(`${filled} bytes came out, not ${sizeBytes}`);
  return target;
}

/** Unpacks one block (lz4_Block_format.md) to `target` from `start` on; matches reach back within the block. */
function decompressBlock(source: Uint8Array, target: Uint8Array, start: number): number {
  let from = 0;
  let to = start;
  /** A length of 15 goes on in further bytes, until one is not 255. */
  const lengthOf = (nibble: number) => {
    let length = nibble;
    if (nibble !== 15) return length;
    for (let more = 255; more === 255; ) {
      if (from >= source.length) throw new RangeError('an LZ4 length is cut short');
      more = source[from++];
      length += more;
    }
    return length;
  };
  while (from < source.length) {
    const token = source[from++];
    const literals = lengthOf(token >>> 4);
    if (literals > source.length - from || literals > target.length - to) {
      throw new RangeError('LZ4 literals beyond the end');
    }
    for (const end = from + literals; from < end; ) target[to++] = source[from++];
    // The last sequence has literals only.
    if (from === source.length) break;
    if (source.length - from < 2) throw new RangeError('an LZ4 offset is cut short');
    const offset = source[from] | (source[from + 1] << 8);
    from += 2;
    const length = lengthOf(token & 15) + MIN_MATCH;
    if (offset === 0 || offset > to - start) throw new RangeError('an LZ4 match before the beginning');
    if (length > target.length - to) throw new RangeError('an LZ4 match beyond the end');
    for (const end = to + length; to < end; to++) target[to] = target[to - offset];
  }
  return to;
}
