// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Intel SDM 1, 12.8 and SDM 2, 4.1).
import { CF, OF, SF, ZF } from '../state';

/** The arithmetic flags that the last comparison set. */
export let stringFlags: u32 = 0;

// @ts-ignore: decorator
@inline function elementOf(at: u32, i: u32, format: u32): i32 {
  switch (format & 3) {
    case 0:
      return load<u8>(at + i);
    case 1:
      return load<u16>(at + (i << 1));
    case 2:
      return load<i8>(at + i);
    default:
      return load<i16>(at + (i << 1));
  }
}

/** The length of a string that ends at a zero. */
export function implicitLength(at: u32, format: u32): u32 {
  const count: u32 = format & 1 ? 8 : 16;
  let length: u32 = 0;
  while (length < count && elementOf(at, length, format) != 0) length++;
  return length;
}

/** The length in a register: its magnitude, at most the number of elements. */
export function explicitLength(value: i64, format: u32): u32 {
  const count: u64 = format & 1 ? 8 : 16;
  const magnitude = value < 0 ? 0 - <u64>value : <u64>value;
  return <u32>min(magnitude, count);
}

/** One bit for each element of the second string, by the aggregation in bits 2 and 3 and polarity in bits 4 and 5. */
export function compareStrings(a: u32, aLength: u32, b: u32, bLength: u32, format: u32): u32 {
  const count: u32 = format & 1 ? 8 : 16;
  let result: u32 = 0;
  switch ((format >> 2) & 3) {
    case 0:
      // Equal any: the first string is a set.
      for (let i: u32 = 0; i < bLength; i++) {
        const element = elementOf(b, i, format);
        for (let j: u32 = 0; j < aLength; j++) {
          if (elementOf(a, j, format) == element) {
            result |= 1 << i;
            break;
          }
        }
      }
      break;
    case 1:
      // Ranges: the first string holds pairs of bounds.
      for (let i: u32 = 0; i < bLength; i++) {
        const element = elementOf(b, i, format);
        for (let j: u32 = 0; j + 1 < aLength; j += 2) {
          if (element >= elementOf(a, j, format) && element <= elementOf(a, j + 1, format)) {
            result |= 1 << i;
            break;
          }
        }
      }
      break;
    case 2:
      // Equal each: elements beyond both ends are equal.
      for (let i: u32 = 0; i < count; i++) {
        const inA = i < aLength;
        const inB = i < bLength;
        const equal = inA && inB ? elementOf(a, i, format) == elementOf(b, i, format) : inA == inB;
        if (equal) result |= 1 << i;
      }
      break;
    default:
      // Equal ordered: where the first string begins in the second, which may be cut off.
      for (let i: u32 = 0; i < count; i++) {
        let found = true;
        for (let j: u32 = 0; j < aLength && i + j < count; j++) {
          if (i + j >= bLength || elementOf(a, j, format) != elementOf(b, i + j, format)) {
            found = false;
            break;
          }
        }
        if (found) result |= 1 << i;
      }
  }
  const all: u32 = (1 << count) - 1;
  const polarity = (format >> 4) & 3;
  if (polarity == 1) result ^= all;
  else if (polarity == 3) result ^= (1 << bLength) - 1;
  stringFlags =
    (result != 0 ? CF : 0) | (bLength < count ? ZF : 0) | (aLength < count ? SF : 0) | (result & 1 ? OF : 0);
  return result;
}

/** The index of the lowest or highest set bit, or the number of elements. */
export function indexOfResult(result: u32, format: u32): u32 {
  if (result == 0) return format & 1 ? 8 : 16;
  return format & 0x40 ? 31 - clz(result) : ctz(result);
}

/** The result as a mask of bits, or of whole elements. */
export function maskOfResult(result: u32, format: u32): v128 {
  if ((format & 0x40) == 0) return i64x2.replace_lane(i64x2.splat(0), 0, <i64>result);
  if (format & 1) {
    return i16x8.ne(v128.and(i16x8.splat(<i16>result), i16x8(1, 2, 4, 8, 16, 32, 64, 128)), i64x2.splat(0));
  }
  const bytes = i8x16.swizzle(
    i16x8.splat(<i16>result),
    i8x16(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
  );
  return i8x16.ne(
    v128.and(bytes, i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128)),
    i64x2.splat(0),
  );
}
