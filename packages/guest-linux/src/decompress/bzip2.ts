/// <reference path="./seek-bzip.d.ts" />
import seekBzip from 'seek-bzip';

/** Unpacks a bzip2 file. Throws where it is damaged, or not exactly `sizeBytes` long. */
export function decompressBzip2(source: Uint8Array, sizeBytes: number): Uint8Array {
  const target = new Uint8Array(sizeBytes);
  let filled = 0;
  seekBzip.decode(source, {
    writeByte(byte) {
      if (filled === sizeBytes) throw new RangeError(`more than ${sizeBytes} bytes came out`);
      target[filled++] = byte;
    },
  });
  if (filled !== sizeBytes) throw new RangeError(`${filled} bytes came out, not ${sizeBytes}`);
  return target;
}
