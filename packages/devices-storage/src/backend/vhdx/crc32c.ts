/**
 * CRC-32C (Castagnoli), as [MS-VHDX] 2 wants it; zlib's is another polynomial. `TABLES[n]` has what a byte comes to
 * with n bytes behind it, so that eight are taken at a time.
 */
const TABLES: readonly Uint32Array[] = Array.from({ length: 8 }, () => new Uint32Array(256));
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  TABLES[0][byte] = crc;
}
for (let n = 1; n < 8; n++) {
  for (let byte = 0; byte < 256; byte++) {
    const before = TABLES[n - 1][byte];
    TABLES[n][byte] = TABLES[0][before & 0xff] ^ (before >>> 8);
  }
}
const [T0, T1, T2, T3, T4, T5, T6, T7] = TABLES;

/** @param crc - the result for what went before, to go on from there */
export function crc32c(source: Uint8Array, crc = 0): number {
  let value = ~crc;
  let i = 0;
  for (const whole = source.length - 7; i < whole; i += 8) {
    value ^= source[i] | (source[i + 1] << 8) | (source[i + 2] << 16) | (source[i + 3] << 24);
    value =
      T7[value & 0xff] ^
      T6[(value >>> 8) & 0xff] ^
      T5[(value >>> 16) & 0xff] ^
      T4[value >>> 24] ^
      T3[source[i + 4]] ^
      T2[source[i + 5]] ^
      T1[source[i + 6]] ^
      T0[source[i + 7]];
  }
  for (; i < source.length; i++) value = T0[(value ^ source[i]) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}

const FOUR_ZEROES = new Uint8Array(4);

/** The checksum of a structure whose own checksum field, four bytes at `fieldOffset`, counts as zero. */
export function structureChecksum(source: Uint8Array, fieldOffset: number): number {
  const before = crc32c(source.subarray(0, fieldOffset));
  return crc32c(source.subarray(fieldOffset + 4), crc32c(FOUR_ZEROES, before));
}
