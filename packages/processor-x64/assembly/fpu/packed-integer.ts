// Packed integer operations on two vectors, for XMM registers and, in the lower half, for MMX registers
// (Intel SDM 2, P*).

/** Bytes of the index's low nibble, zero where its top bit is set. */
function shuffleBytes(a: v128, selector: v128): v128 {
  // Swizzle gives zero for any index beyond 15: keep the top bit and the low nibble.
  return i8x16.swizzle(a, v128.and(selector, i8x16.splat(<i8>0x8f)));
}

/** The same for eight bytes, of which an index has three bits. */
function shuffleEightBytes(a: v128, selector: v128): v128 {
  return i8x16.swizzle(a, v128.and(selector, i8x16.splat(<i8>0x87)));
}

// @ts-ignore: decorator
@inline function even16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}

// @ts-ignore: decorator
@inline function odd16(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}

// @ts-ignore: decorator
@inline function even32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

// @ts-ignore: decorator
@inline function odd32(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

/** Two vectors whose lower halves count, as one: what the operations on neighbours need for MMX. */
// @ts-ignore: decorator
@inline function joined(a: v128, b: v128): v128 {
  return v128.shuffle<i64>(a, b, 0, 2);
}

// @ts-ignore: decorator
@inline function multiplyHighSigned(a: v128, b: v128): v128 {
  return odd16(i32x4.extmul_low_i16x8_s(a, b), i32x4.extmul_high_i16x8_s(a, b));
}

// @ts-ignore: decorator
@inline function multiplyHighUnsigned(a: v128, b: v128): v128 {
  return odd16(i32x4.extmul_low_i16x8_u(a, b), i32x4.extmul_high_i16x8_u(a, b));
}

/** PSADBW: sums of absolute differences of eight bytes. */
function sumOfDifferences(a: v128, b: v128): v128 {
  const difference = v128.or(i8x16.sub_sat_u(a, b), i8x16.sub_sat_u(b, a));
  const pairs = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(difference));
  const upper = i64x2.shr_u(pairs, 32);
  return v128.and(i32x4.add(pairs, upper), i64x2.splat(0xffffffff));
}

/** PMADDUBSW: unsigned bytes times signed ones, neighbours added with saturation. */
function multiplyAddBytes(a: v128, b: v128): v128 {
  const even = i16x8.mul(v128.and(a, i16x8.splat(0xff)), i16x8.shr_s(i16x8.shl(b, 8), 8));
  const odd = i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8));
  return i16x8.add_sat_s(even, odd);
}

/** PMULHRSW: products rounded to their upper 16 bits after one shift. */
function multiplyRound(a: v128, b: v128): v128 {
  const half = i32x4.splat(0x4000);
  const low = i32x4.shr_s(i32x4.add(i32x4.extmul_low_i16x8_s(a, b), half), 15);
  const high = i32x4.shr_s(i32x4.add(i32x4.extmul_high_i16x8_s(a, b), half), 15);
  return even16(low, high);
}

// @ts-ignore: decorator
@inline function withSign<T>(a: v128, b: v128): v128 {
  const zero = i64x2.splat(0);
  const negative = v128.lt<T>(b, zero);
  const flipped = v128.sub<T>(v128.xor(a, negative), negative);
  return v128.andnot(flipped, v128.eq<T>(b, zero));
}

/** The count of a shift by a register: 64 bits, of which more than the element has clear it. */
// @ts-ignore: decorator
@inline function shiftCount(b: v128, bits: u32): i32 {
  const count = <u64>i64x2.extract_lane(b, 0);
  return <i32>min<u64>(count, bits);
}

// @ts-ignore: decorator
@inline export function shiftLeft<T>(a: v128, count: i32): v128 {
  return count >= <i32>(sizeof<T>() << 3) ? i64x2.splat(0) : v128.shl<T>(a, count);
}

// @ts-ignore: decorator
@inline export function shiftRight<T>(a: v128, count: i32): v128 {
  return count >= <i32>(sizeof<T>() << 3) ? i64x2.splat(0) : v128.shr<T>(a, count);
}

// @ts-ignore: decorator
@inline export function shiftArithmetic<T>(a: v128, count: i32): v128 {
  return v128.shr<T>(a, min<i32>(count, <i32>(sizeof<T>() << 3) - 1));
}

/**
 * The result of the opcode 0F `opcode` for the operands a and b. `mmx`: only their lower halves count, and of the
 * result only its lower half.
 */
export function packedOperation(opcode: u32, a: v128, b: v128, mmx: bool): v128 {
  switch (opcode) {
    case 0x60:
      return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    case 0x61:
      return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    case 0x62:
      return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
    case 0x63:
      if (mmx) a = joined(a, b);
      return i8x16.narrow_i16x8_s(a, b);
    case 0x64:
      return i8x16.gt_s(a, b);
    case 0x65:
      return i16x8.gt_s(a, b);
    case 0x66:
      return i32x4.gt_s(a, b);
    case 0x67:
      if (mmx) a = joined(a, b);
      return i8x16.narrow_i16x8_u(a, b);
    case 0x68:
      if (mmx) return v128.shuffle<i8>(a, b, 4, 20, 5, 21, 6, 22, 7, 23, 0, 0, 0, 0, 0, 0, 0, 0);
      return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    case 0x69:
      if (mmx) return v128.shuffle<i16>(a, b, 2, 10, 3, 11, 0, 0, 0, 0);
      return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    case 0x6a:
      if (mmx) return v128.shuffle<i32>(a, b, 1, 5, 0, 0);
      return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    case 0x6b:
      if (mmx) a = joined(a, b);
      return i16x8.narrow_i32x4_s(a, b);
    case 0x6c:
      return v128.shuffle<i64>(a, b, 0, 2);
    case 0x6d:
      return v128.shuffle<i64>(a, b, 1, 3);
    case 0x74:
      return i8x16.eq(a, b);
    case 0x75:
      return i16x8.eq(a, b);
    case 0x76:
      return i32x4.eq(a, b);
    case 0xd1:
      return shiftRight<u16>(a, shiftCount(b, 16));
    case 0xd2:
      return shiftRight<u32>(a, shiftCount(b, 32));
    case 0xd3:
      return shiftRight<u64>(a, shiftCount(b, 64));
    case 0xd4:
      return i64x2.add(a, b);
    case 0xd5:
      return i16x8.mul(a, b);
    case 0xd8:
      return i8x16.sub_sat_u(a, b);
    case 0xd9:
      return i16x8.sub_sat_u(a, b);
    case 0xda:
      return i8x16.min_u(a, b);
    case 0xdb:
      return v128.and(a, b);
    case 0xdc:
      return i8x16.add_sat_u(a, b);
    case 0xdd:
      return i16x8.add_sat_u(a, b);
    case 0xde:
      return i8x16.max_u(a, b);
    case 0xdf:
      return v128.andnot(b, a);
    case 0xe0:
      return i8x16.avgr_u(a, b);
    case 0xe1:
      return shiftArithmetic<i16>(a, shiftCount(b, 16));
    case 0xe2:
      return shiftArithmetic<i32>(a, shiftCount(b, 32));
    case 0xe3:
      return i16x8.avgr_u(a, b);
    case 0xe4:
      return multiplyHighUnsigned(a, b);
    case 0xe5:
      return multiplyHighSigned(a, b);
    case 0xe8:
      return i8x16.sub_sat_s(a, b);
    case 0xe9:
      return i16x8.sub_sat_s(a, b);
    case 0xea:
      return i16x8.min_s(a, b);
    case 0xeb:
      return v128.or(a, b);
    case 0xec:
      return i8x16.add_sat_s(a, b);
    case 0xed:
      return i16x8.add_sat_s(a, b);
    case 0xee:
      return i16x8.max_s(a, b);
    case 0xef:
      return v128.xor(a, b);
    case 0xf1:
      return shiftLeft<u16>(a, shiftCount(b, 16));
    case 0xf2:
      return shiftLeft<u32>(a, shiftCount(b, 32));
    case 0xf3:
      return shiftLeft<u64>(a, shiftCount(b, 64));
    case 0xf4:
      return i64x2.mul(v128.and(a, i64x2.splat(0xffffffff)), v128.and(b, i64x2.splat(0xffffffff)));
    case 0xf5:
      return i32x4.dot_i16x8_s(a, b);
    case 0xf6:
      return sumOfDifferences(a, b);
    case 0xf8:
      return i8x16.sub(a, b);
    case 0xf9:
      return i16x8.sub(a, b);
    case 0xfa:
      return i32x4.sub(a, b);
    case 0xfb:
      return i64x2.sub(a, b);
    case 0xfc:
      return i8x16.add(a, b);
    case 0xfd:
      return i16x8.add(a, b);
    default:
      return i32x4.add(a, b);
  }
}

/** The result of the opcode 0F 38 `opcode`. */
export function packedOperation38(opcode: u32, a: v128, b: v128, mmx: bool): v128 {
  switch (opcode) {
    case 0x00:
      return mmx ? shuffleEightBytes(a, b) : shuffleBytes(a, b);
    case 0x01:
      if (mmx) a = b = joined(a, b);
      return i16x8.add(even16(a, b), odd16(a, b));
    case 0x02:
      if (mmx) a = b = joined(a, b);
      return i32x4.add(even32(a, b), odd32(a, b));
    case 0x03:
      if (mmx) a = b = joined(a, b);
      return i16x8.add_sat_s(even16(a, b), odd16(a, b));
    case 0x04:
      return multiplyAddBytes(a, b);
    case 0x05:
      if (mmx) a = b = joined(a, b);
      return i16x8.sub(even16(a, b), odd16(a, b));
    case 0x06:
      if (mmx) a = b = joined(a, b);
      return i32x4.sub(even32(a, b), odd32(a, b));
    case 0x07:
      if (mmx) a = b = joined(a, b);
      return i16x8.sub_sat_s(even16(a, b), odd16(a, b));
    case 0x08:
      return withSign<i8>(a, b);
    case 0x09:
      return withSign<i16>(a, b);
    case 0x0a:
      return withSign<i32>(a, b);
    case 0x0b:
      return multiplyRound(a, b);
    case 0x1c:
      return i8x16.abs(b);
    case 0x1d:
      return i16x8.abs(b);
    case 0x1e:
      return i32x4.abs(b);
    case 0x28:
      return i64x2.mul(
        i64x2.shr_s(i64x2.shl(a, 32), 32),
        i64x2.shr_s(i64x2.shl(b, 32), 32),
      );
    case 0x29:
      return i64x2.eq(a, b);
    case 0x2b:
      return i16x8.narrow_i32x4_u(a, b);
    case 0x37:
      return i64x2.gt_s(a, b);
    case 0x38:
      return i8x16.min_s(a, b);
    case 0x39:
      return i32x4.min_s(a, b);
    case 0x3a:
      return i16x8.min_u(a, b);
    case 0x3b:
      return i32x4.min_u(a, b);
    case 0x3c:
      return i8x16.max_s(a, b);
    case 0x3d:
      return i32x4.max_s(a, b);
    case 0x3e:
      return i16x8.max_u(a, b);
    case 0x3f:
      return i32x4.max_u(a, b);
    case 0x40:
      return i32x4.mul(a, b);
    default:
      return minimumPosition(b);
  }
}

/** PHMINPOSUW: the smallest word and its index. */
function minimumPosition(b: v128): v128 {
  // Each word with its index below it; the smallest of those is the first smallest word.
  const low = v128.or(i32x4.shl(i32x4.extend_low_i16x8_u(b), 16), i32x4(0, 1, 2, 3));
  const high = v128.or(i32x4.shl(i32x4.extend_high_i16x8_u(b), 16), i32x4(4, 5, 6, 7));
  let least = i32x4.min_u(low, high);
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1));
  least = i32x4.min_u(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2));
  const packed = <u32>i32x4.extract_lane(least, 0);
  return i64x2.replace_lane(i64x2.splat(0), 0, <i64>((packed >> 16) | ((packed & 7) << 16)));
}

/** PMOVSX and PMOVZX by their opcode, 20 to 25 and 30 to 35, of the lower bytes of b. */
export function extend(opcode: u32, b: v128): v128 {
  switch (opcode) {
    case 0x20:
      return i16x8.extend_low_i8x16_s(b);
    case 0x21:
      return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(b));
    case 0x22:
      return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(b)));
    case 0x23:
      return i32x4.extend_low_i16x8_s(b);
    case 0x24:
      return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(b));
    case 0x25:
      return i64x2.extend_low_i32x4_s(b);
    case 0x30:
      return i16x8.extend_low_i8x16_u(b);
    case 0x31:
      return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(b));
    case 0x32:
      return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(b)));
    case 0x33:
      return i32x4.extend_low_i16x8_u(b);
    case 0x34:
      return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(b));
    default:
      return i64x2.extend_low_i32x4_u(b);
  }
}

/** MPSADBW: eight sums of four absolute differences. */
export function blockDifferences(a: u32, b: u32, immediate: u32, to: u32): void {
  const first = a + (immediate & 4);
  const second = b + ((immediate & 3) << 2);
  for (let i: u32 = 0; i < 8; i++) {
    let sum = 0;
    for (let j: u32 = 0; j < 4; j++) sum += abs<i32>(<i32>load<u8>(first + i + j) - <i32>load<u8>(second + j));
    store<u16>(to + (i << 1), sum);
  }
}
