/** What a disk should hold, kept as plain bytes. */
export class ByteModel {
  readonly bytes: Uint8Array;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes);
  }

  fill(offsetBytes: number, lengthBytes: number, seed: number): Uint8Array {
    const data = pattern(lengthBytes, seed);
    this.bytes.set(data, offsetBytes);
    return data;
  }
}

/** Bytes that differ between seeds and between the sectors of one seed, and are never all zero. */
export function pattern(lengthBytes: number, seed: number): Uint8Array {
  const data = new Uint8Array(lengthBytes);
  for (let at = 0; at < lengthBytes; at += 512) {
    data.fill((seed * 31 + (at >> 9)) & 0xff, at, at + 512);
    data[at] = seed & 0xff;
    data[at + 1] = 0x5a;
    data[at + 2] = (at >> 9) & 0xff;
  }
  return data;
}

/** The same bytes as several views, as a guest's pages are. */
export function split(data: Uint8Array, pieceBytes: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += pieceBytes) views.push(data.subarray(at, at + pieceBytes));
  return views;
}
