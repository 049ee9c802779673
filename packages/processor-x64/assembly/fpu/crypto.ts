// AES-NI, PCLMULQDQ, SHA and CRC32 (Intel SDM 2).

/** The AES S-box, and its inverse; made at the first use. */
const SBOX: usize = memory.data(512);
let ready: bool = false;

// @ts-ignore: decorator
@inline function double(a: u32): u32 {
  return ((a << 1) ^ ((a >> 7) * 0x11b)) & 0xff;
}

/** Fills the S-boxes by the powers of 3 and of its inverse (FIPS 197, 5.1.1). */
function prepare(): void {
  let p: u32 = 1;
  let q: u32 = 1;
  do {
    p = p ^ double(p);
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 0xff;
    if (q & 0x80) q ^= 0x09;
    const x = q ^ rotate8(q, 1) ^ rotate8(q, 2) ^ rotate8(q, 3) ^ rotate8(q, 4) ^ 0x63;
    store<u8>(SBOX + p, x);
    store<u8>(SBOX + 256 + x, p);
  } while (p != 1);
  store<u8>(SBOX, 0x63);
  store<u8>(SBOX + 256 + 0x63, 0);
  ready = true;
}

// @ts-ignore: decorator
@inline function rotate8(a: u32, by: u32): u32 {
  return ((a << by) | (a >> (8 - by))) & 0xff;
}

// @ts-ignore: decorator
@inline function substitute(word: u32): u32 {
  return (
    <u32>load<u8>(SBOX + (word & 0xff)) |
    (<u32>load<u8>(SBOX + ((word >> 8) & 0xff)) << 8) |
    (<u32>load<u8>(SBOX + ((word >> 16) & 0xff)) << 16) |
    (<u32>load<u8>(SBOX + (word >> 24)) << 24)
  );
}

function substituteBytes(a: v128, table: usize): v128 {
  let low = <u64>i64x2.extract_lane(a, 0);
  let high = <u64>i64x2.extract_lane(a, 1);
  let newLow: u64 = 0;
  let newHigh: u64 = 0;
  for (let i: u64 = 0; i < 64; i += 8) {
    newLow |= <u64>load<u8>(table + <u32>(low & 0xff)) << i;
    newHigh |= <u64>load<u8>(table + <u32>(high & 0xff)) << i;
    low >>= 8;
    high >>= 8;
  }
  return i64x2.replace_lane(i64x2.splat(newLow), 1, newHigh);
}

// @ts-ignore: decorator
@inline function doubleBytes(a: v128): v128 {
  return v128.xor(i8x16.shl(a, 1), v128.and(i8x16.shr_s(a, 7), i8x16.splat(0x1b)));
}

/** Bytes of each column moved up by one. */
// @ts-ignore: decorator
@inline function rotateColumns(a: v128): v128 {
  return v128.or(i32x4.shr_u(a, 8), i32x4.shl(a, 24));
}

function mixColumns(a: v128): v128 {
  const twice = doubleBytes(a);
  const next = rotateColumns(a);
  const twoOn = rotateColumns(next);
  return v128.xor(
    v128.xor(twice, v128.xor(rotateColumns(twice), next)),
    v128.xor(twoOn, rotateColumns(twoOn)),
  );
}

export function inverseMixColumns(a: v128): v128 {
  // The inverse is the matrix itself after one with 5 and 4.
  const four = doubleBytes(doubleBytes(a));
  return mixColumns(v128.xor(a, v128.xor(four, rotateColumns(rotateColumns(four)))));
}

/** AESENC and AESENCLAST */
export function encryptRound(state: v128, key: v128, last: bool): v128 {
  if (!ready) prepare();
  const rows = v128.shuffle<i8>(state, state, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11);
  const bytes = substituteBytes(rows, SBOX);
  return v128.xor(last ? bytes : mixColumns(bytes), key);
}

/** AESDEC and AESDECLAST */
export function decryptRound(state: v128, key: v128, last: bool): v128 {
  if (!ready) prepare();
  const rows = v128.shuffle<i8>(state, state, 0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3);
  const bytes = substituteBytes(rows, SBOX + 256);
  return v128.xor(last ? bytes : inverseMixColumns(bytes), key);
}

/** AESKEYGENASSIST */
export function keyGenerationAssist(a: v128, constant: u32): v128 {
  if (!ready) prepare();
  const first = substitute(<u32>i32x4.extract_lane(a, 1));
  const second = substitute(<u32>i32x4.extract_lane(a, 3));
  let result = i32x4.splat(first);
  result = i32x4.replace_lane(result, 1, rotr<u32>(first, 8) ^ constant);
  result = i32x4.replace_lane(result, 2, second);
  return i32x4.replace_lane(result, 3, rotr<u32>(second, 8) ^ constant);
}

/** PCLMULQDQ: the product without carries of two halves. */
export function carrylessProduct(a: v128, b: v128, immediate: u32): v128 {
  const x = <u64>(immediate & 1 ? i64x2.extract_lane(a, 1) : i64x2.extract_lane(a, 0));
  let y = <u64>(immediate & 16 ? i64x2.extract_lane(b, 1) : i64x2.extract_lane(b, 0));
  let low: u64 = 0;
  let high: u64 = 0;
  while (y != 0) {
    const at = ctz(y);
    low ^= x << at;
    if (at != 0) high ^= x >> (64 - at);
    y &= y - 1;
  }
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

/** The checksum of each byte, made at the first use. */
const CRC_TABLE: usize = memory.data(1024);
let crcReady: bool = false;

function prepareCrc(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78 & (0 - (crc & 1)));
    store<u32>(CRC_TABLE + (byte << 2), crc);
  }
  crcReady = true;
}

/** CRC-32C of `bytes` bytes after `crc`, with the bits reflected as CRC32 has them. */
export function crc32c(crc: u32, value: u64, bytes: u32): u32 {
  if (!crcReady) prepareCrc();
  for (; bytes != 0; bytes--) {
    crc = (crc >> 8) ^ load<u32>(CRC_TABLE + (((crc ^ <u32>value) & 0xff) << 2));
    value >>= 8;
  }
  return crc;
}

// SHA extensions

/** SHA1NEXTE */
export function sha1NextE(a: v128, b: v128): v128 {
  const rotated = rotl<u32>(<u32>i32x4.extract_lane(a, 3), 30);
  return i32x4.replace_lane(b, 3, <u32>i32x4.extract_lane(b, 3) + rotated);
}

/** SHA1MSG1 */
export function sha1Message1(a: v128, b: v128): v128 {
  return v128.xor(a, v128.shuffle<i64>(b, a, 1, 2));
}

/** SHA1MSG2 */
export function sha1Message2(a: v128, b: v128): v128 {
  const first = rotl<u32>(<u32>i32x4.extract_lane(a, 3) ^ <u32>i32x4.extract_lane(b, 2), 1);
  const second = rotl<u32>(<u32>i32x4.extract_lane(a, 2) ^ <u32>i32x4.extract_lane(b, 1), 1);
  const third = rotl<u32>(<u32>i32x4.extract_lane(a, 1) ^ <u32>i32x4.extract_lane(b, 0), 1);
  const fourth = rotl<u32>(<u32>i32x4.extract_lane(a, 0) ^ first, 1);
  return i32x4.replace_lane(
    i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(fourth), 1, third), 2, second),
    3,
    first,
  );
}

// @ts-ignore: decorator
@inline function word(a: v128, i: u32): u32 {
  switch (i) {
    case 0:
      return <u32>i32x4.extract_lane(a, 0);
    case 1:
      return <u32>i32x4.extract_lane(a, 1);
    case 2:
      return <u32>i32x4.extract_lane(a, 2);
    default:
      return <u32>i32x4.extract_lane(a, 3);
  }
}

// @ts-ignore: decorator
@inline function words(zero: u32, one: u32, two: u32, three: u32): v128 {
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(zero), 1, one), 2, two), 3, three);
}

/** SHA1RNDS4: four rounds with the function and constant of the immediate. */
export function sha1Rounds(state: v128, message: v128, immediate: u32): v128 {
  let a = word(state, 3);
  let b = word(state, 2);
  let c = word(state, 1);
  let d = word(state, 0);
  let e: u32 = 0;
  const kind = immediate & 3;
  const constant: u32 = kind == 0 ? 0x5a827999 : kind == 1 ? 0x6ed9eba1 : kind == 2 ? 0x8f1bbcdc : 0xca62c1d6;
  for (let i: u32 = 0; i < 4; i++) {
    const mixed = kind == 0 ? (b & c) ^ (~b & d) : kind == 2 ? (b & c) ^ (b & d) ^ (c & d) : b ^ c ^ d;
    const next = mixed + rotl<u32>(a, 5) + word(message, 3 - i) + constant + e;
    e = d;
    d = c;
    c = rotl<u32>(b, 30);
    b = a;
    a = next;
  }
  return words(d, c, b, a);
}

/** SHA256RNDS2: two rounds; XMM0 holds the message words with their constants. */
export function sha256Rounds(first: v128, second: v128, message: v128): v128 {
  let a = word(second, 3);
  let b = word(second, 2);
  let c = word(first, 3);
  let d = word(first, 2);
  let e = word(second, 1);
  let f = word(second, 0);
  let g = word(first, 1);
  let h = word(first, 0);
  for (let i: u32 = 0; i < 2; i++) {
    const choice = (e & f) ^ (~e & g);
    const sum1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    const sum0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const step = choice + sum1 + word(message, i) + h;
    h = g;
    g = f;
    f = e;
    e = step + d;
    d = c;
    c = b;
    b = a;
    a = step + majority + sum0;
  }
  return words(f, e, b, a);
}

// @ts-ignore: decorator
@inline function sigma0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}

// @ts-ignore: decorator
@inline function sigma1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

/** SHA256MSG1 */
export function sha256Message1(a: v128, b: v128): v128 {
  return words(
    word(a, 0) + sigma0(word(a, 1)),
    word(a, 1) + sigma0(word(a, 2)),
    word(a, 2) + sigma0(word(a, 3)),
    word(a, 3) + sigma0(word(b, 0)),
  );
}

/** SHA256MSG2 */
export function sha256Message2(a: v128, b: v128): v128 {
  const first = word(a, 0) + sigma1(word(b, 2));
  const second = word(a, 1) + sigma1(word(b, 3));
  return words(first, second, word(a, 2) + sigma1(first), word(a, 3) + sigma1(second));
}
