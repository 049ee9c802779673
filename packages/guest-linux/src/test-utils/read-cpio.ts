/** A file in a cpio archive. */
export interface CpioFile {
  readonly name: string;
  readonly mode: number;
  readonly content: Uint8Array;
  readonly major: number;
  readonly minor: number;
}

const HEADER_BYTES = 110;

/** Reads archives of cpio's "newc" format, one behind another, as Linux reads an initramfs (init/initramfs.c). */
export function readCpio(bytes: Uint8Array): CpioFile[] {
  const files: CpioFile[] = [];
  let at = 0;
  while (at < bytes.length) {
    const header = Buffer.from(bytes.subarray(at, at + HEADER_BYTES)).toString('latin1');
    if (!header.startsWith('070701')) throw new Error(`no header at ${at}`);
    const field = (index: number) => Number.parseInt(header.slice(6 + 8 * index, 14 + 8 * index), 16);
    const nameAt = at + HEADER_BYTES;
    const name = Buffer.from(bytes.subarray(nameAt, nameAt + field(11) - 1)).toString();
    const contentAt = aligned(nameAt + field(11));
    const content = bytes.subarray(contentAt, contentAt + field(6));
    if (name !== 'TRAILER!!!')
      files.push({ name, mode: field(1), content, major: field(9), minor: field(10) });
    at = aligned(contentAt + content.length);
  }
  return files;
}

function aligned(offset: number): number {
  return (offset + 3) & ~3;
}
