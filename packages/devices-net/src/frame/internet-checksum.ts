/**
 * The checksum of IP, TCP and UDP (RFC 1071): the one's complement of the one's-complement sum of 16-bit words.
 *
 * Sums are numbers of any size up to 2^53 until they are folded: a frame's words of 32 bits fit many times over.
 */

/** Adds the bytes from `start` to `end` as big-endian words of 16 bits, the last one filled up with a zero byte. */
export function sumOf(data: DataView, start: number, end: number): number {
  // Words of 32 bits in little-endian order are summed, because that is quick; the sum's bytes are swapped at the end.
  let sum = 0;
  let at = start;
  for (; at + 4 <= end; at += 4) sum += data.getUint32(at, true);
  if (at + 2 <= end) {
    sum += data.getUint16(at, true);
    at += 2;
  }
  if (at < end) sum += data.getUint8(at);
  const folded = fold(sum);
  return ((folded & 0xff) << 8) | (folded >>> 8);
}

/** Folds a sum into 16 bits. */
export function fold(sum: number): number {
  // Beyond 32 bits shifts do not reach.
  let folded = Math.floor(sum / 0x1_0000_0000) + (sum >>> 0);
  while (folded > 0xffff) folded = Math.floor(folded / 0x1_0000) + (folded & 0xffff);
  return folded;
}

/** What goes into a checksum field whose packet has this sum. */
export function complementOf(sum: number): number {
  return ~fold(sum) & 0xffff;
}
