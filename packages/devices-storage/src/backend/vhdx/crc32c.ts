/** CRC-32C (Castagnoli), as [MS-VHDX] 2 wants it; zlib's is another polynomial. */
const TABLE = new Uint32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

/** @param crc - the result for what went before, to go on from there */
export function crc32c(source: Uint8Array, crc = 0): number {
  let value = ~crc;
  for (let i = 0; i < source.length; i++) value = TABLE[(value ^ source[i]) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}

const FOUR_ZEROES = new Uint8Array(4);

/** The checksum of a structure whose own checksum field, four bytes at `fieldOffset`, counts as zero. */
export function structureChecksum(source: Uint8Array, fieldOffset: number): number {
  const before = crc32c(source.subarray(0, fieldOffset));
  return crc32c(source.subarray(fieldOffset + 4), crc32c(FOUR_ZEROES, before));
}
