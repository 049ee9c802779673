const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const NAMES = '\0.modinfo\0.shstrtab\0';

/** A kernel module with nothing in it but what it says of itself, as `key=value`. */
export function buildModule(...info: readonly string[]): Uint8Array {
  const modinfo = Buffer.from(info.map((line) => `${line}\0`).join(''));
  const names = Buffer.from(NAMES);
  const sectionsAt = HEADER_BYTES + modinfo.length + names.length;
  const bytes = Buffer.alloc(sectionsAt + 3 * SECTION_HEADER_BYTES);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  bytes.writeBigUInt64LE(BigInt(sectionsAt), 0x28);
  bytes.writeUInt16LE(SECTION_HEADER_BYTES, 0x3a);
  bytes.writeUInt16LE(3, 0x3c);
  bytes.writeUInt16LE(2, 0x3e);
  bytes.set(modinfo, HEADER_BYTES);
  bytes.set(names, HEADER_BYTES + modinfo.length);
  const section = (index: number, name: string, offset: number, sizeBytes: number) => {
    const at = sectionsAt + index * SECTION_HEADER_BYTES;
    bytes.writeUInt32LE(NAMES.indexOf(name), at);
    bytes.writeBigUInt64LE(BigInt(offset), at + 0x18);
    bytes.writeBigUInt64LE(BigInt(sizeBytes), at + 0x20);
  };
  section(1, '.modinfo', HEADER_BYTES, modinfo.length);
  section(2, '.shstrtab', HEADER_BYTES + modinfo.length, names.length);
  return bytes;
}
