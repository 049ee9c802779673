// Arithmetic on unpacked numbers, shared by x87 and SSE: an exact result first, then one rounding to a format.
//
// A number is a sign, an exponent and a significand of 64 bits whose top bit is 1 and stands for 1.0. The result of an
// operation has 64 more bits, of which the lowest also stands for everything below it ("sticky").

// Exceptions, at the same bits in the x87 status word and MXCSR.
export const IE: u32 = 1;
export const DE: u32 = 2;
export const ZE: u32 = 4;
export const OE: u32 = 8;
export const UE: u32 = 16;
export const PE: u32 = 32;

// Rounding modes, as in both control words.
export const NEAREST: u32 = 0;
export const DOWN: u32 = 1;
export const UP: u32 = 2;
export const ZERO: u32 = 3;

export const TOP_BIT: u64 = 1 << 63;

/** The last result. A significand of 0 is an exact zero, whose sign the operation decides. */
export let resultSign: u32 = 0;
export let resultExponent: i32 = 0;
export let resultHigh: u64 = 0;
export let resultLow: u64 = 0;
/** What the operations since {@link clearExceptions} raised. */
export let exceptions: u32 = 0;
/** The last rounding was away from zero. */
export let roundedUp: bool = false;
/** The last rounding found the result below the smallest normal number. */
export let tiny: bool = false;

// @ts-ignore: decorator
@inline export function clearExceptions(): void {
  exceptions = 0;
  roundedUp = false;
}

// @ts-ignore: decorator
@inline export function signal(bits: u32): void {
  exceptions |= bits;
}

/** Takes an exception back. */
// @ts-ignore: decorator
@inline export function withdraw(bits: u32): void {
  exceptions &= ~bits;
}

// @ts-ignore: decorator
@inline export function setResult(sign: u32, exponent: i32, high: u64, low: u64): void {
  resultSign = sign;
  resultExponent = exponent;
  resultHigh = high;
  resultLow = low;
}

/** Bits 64 to 127 of a product. */
export function multiplyHigh(a: u64, b: u64): u64 {
  const aLow = a & 0xffffffff;
  const aHigh = a >> 32;
  const bLow = b & 0xffffffff;
  const bHigh = b >> 32;
  const middle = aHigh * bLow + ((aLow * bLow) >> 32);
  const other = aLow * bHigh + (middle & 0xffffffff);
  return aHigh * bHigh + (middle >> 32) + (other >> 32);
}

/** The remainder of the last {@link divideWide}. */
export let remainder: u64 = 0;

/** high:low / divisor, where the divisor's top bit is set and it is greater than `high`. Knuth's algorithm D. */
export function divideWide(high: u64, low: u64, divisor: u64): u64 {
  const divisorHigh = divisor >> 32;
  const divisorLow = divisor & 0xffffffff;

  let first = high / divisorHigh;
  let rest = high - first * divisorHigh;
  while (first > 0xffffffff || first * divisorLow > ((rest << 32) | (low >> 32))) {
    first--;
    rest += divisorHigh;
    if (rest > 0xffffffff) break;
  }
  const between = ((high << 32) | (low >> 32)) - first * divisor;

  let second = between / divisorHigh;
  rest = between - second * divisorHigh;
  while (second > 0xffffffff || second * divisorLow > ((rest << 32) | (low & 0xffffffff))) {
    second--;
    rest += divisorHigh;
    if (rest > 0xffffffff) break;
  }
  remainder = ((between << 32) | (low & 0xffffffff)) - second * divisor;
  return (first << 32) | second;
}

/** Shifts the result to the right; what is shifted out sticks to the lowest bit. */
function shiftResultRight(count: u32): void {
  if (count == 0) return;
  if (count < 64) {
    const out = resultLow << (64 - count);
    resultLow = (resultHigh << (64 - count)) | (resultLow >> count) | u64(out != 0);
    resultHigh >>= count;
  } else if (count < 128) {
    const out = count == 64 ? resultLow : (resultHigh << (128 - count)) | resultLow;
    resultLow = (resultHigh >> (count - 64)) | u64(out != 0);
    resultHigh = 0;
  } else {
    resultLow = u64((resultHigh | resultLow) != 0);
    resultHigh = 0;
  }
}

/** a + b where both have the same sign. */
export function addMagnitudes(sign: u32, aExponent: i32, a: u64, bExponent: i32, b: u64): void {
  if (aExponent < bExponent) {
    addMagnitudes(sign, bExponent, b, aExponent, a);
    return;
  }
  setResult(sign, aExponent, b, 0);
  shiftResultRight(aExponent - bExponent);
  resultHigh += a;
  if (resultHigh < a) {
    resultLow = (resultHigh << 63) | (resultLow >> 1) | (resultLow & 1);
    resultHigh = (resultHigh >> 1) | TOP_BIT;
    resultExponent++;
  }
}

/** a - b where both have the sign `sign`. */
export function subtractMagnitudes(sign: u32, aExponent: i32, a: u64, bExponent: i32, b: u64): void {
  if (aExponent < bExponent || (aExponent == bExponent && a < b)) {
    subtractMagnitudes(sign ^ 1, bExponent, b, aExponent, a);
    return;
  }
  setResult(sign, aExponent, b, 0);
  shiftResultRight(aExponent - bExponent);
  resultHigh = a - resultHigh - u64(resultLow != 0);
  resultLow = 0 - resultLow;
  normalizeResult();
}

/** Shifts the result to the left until its top bit is set. */
export function normalizeResult(): void {
  if (resultHigh == 0) {
    if (resultLow == 0) return;
    resultHigh = resultLow;
    resultLow = 0;
    resultExponent -= 64;
  }
  const count = <u32>clz(resultHigh);
  if (count == 0) return;
  resultHigh = (resultHigh << count) | (resultLow >> (64 - count));
  resultLow <<= count;
  resultExponent -= count;
}

export function multiply(sign: u32, aExponent: i32, a: u64, bExponent: i32, b: u64): void {
  setResult(sign, aExponent + bExponent + 1, multiplyHigh(a, b), a * b);
  if ((resultHigh & TOP_BIT) == 0) {
    resultHigh = (resultHigh << 1) | (resultLow >> 63);
    resultLow <<= 1;
    resultExponent--;
  }
}

export function divide(sign: u32, aExponent: i32, a: u64, bExponent: i32, b: u64): void {
  const less = a < b;
  const quotient = less ? divideWide(a, 0, b) : divideWide(a >> 1, a << 63, b);
  const rest = remainder;
  // The next bit of the quotient, and whether anything follows it.
  const next = rest >= b - rest && rest != 0;
  const exact = rest == 0 || rest == b - rest;
  setResult(sign, aExponent - bExponent - i32(less), quotient, (next ? TOP_BIT : 0) | u64(!exact));
}

/** The square root of a * 2 to the power of `exponent`. */
export function squareRoot(exponent: i32, a: u64): void {
  const odd = (exponent & 1) != 0;
  const high = odd ? a : a >> 1;
  const low = odd ? 0 : a << 63;
  // The first 52 bits from the host, the rest by one step of Newton's, the last by trial.
  let root = <u64>min<f64>(sqrt<f64>(<f64>high * 18446744073709551616.0), 18446744073709549568.0);
  let restHigh: u64 = 0;
  let restLow: u64 = 0;
  for (let trial = 0; ; trial++) {
    const squareLow = root * root;
    restLow = low - squareLow;
    restHigh = high - multiplyHigh(root, root) - u64(low < squareLow);
    if (trial == 0) {
      const step = <i64>((<f64>(<i64>restHigh) * 18446744073709551616.0 + <f64>restLow) / (2.0 * <f64>root));
      const moved = root + <u64>step;
      if (step > 0) root = moved < root ? u64.MAX_VALUE : moved;
      else root = max(moved, TOP_BIT);
    } else if (<i64>restHigh < 0) {
      root--;
    } else if (restHigh > 1 || (restHigh == 1 && restLow > root << 1)) {
      // More than twice the root is left.
      root++;
    } else {
      break;
    }
  }
  const next = restHigh != 0 || restLow > root;
  setResult(0, exponent >> 1, root, (next ? TOP_BIT : 0) | u64((restHigh | restLow) != 0));
}

/** Rounds the result's significand to `bits` bits; the exponent may grow. Says whether it was inexact. */
function roundSignificand(bits: u32, mode: u32): bool {
  let up: bool;
  if (bits == 64) {
    if (resultLow == 0) return false;
    if (mode == NEAREST) up = resultLow > TOP_BIT || (resultLow == TOP_BIT && (resultHigh & 1) != 0);
    else up = mode == (resultSign != 0 ? DOWN : UP);
    if (up) resultHigh++;
  } else {
    const unit: u64 = 1 << (64 - bits);
    const rest = resultHigh & (unit - 1);
    if ((rest | resultLow) == 0) return false;
    const half = unit >> 1;
    if (mode == NEAREST) up = rest > half || (rest == half && (resultLow != 0 || (resultHigh & unit) != 0));
    else up = mode == (resultSign != 0 ? DOWN : UP);
    resultHigh &= 0 - unit;
    if (up) resultHigh += unit;
  }
  resultLow = 0;
  roundedUp = up;
  if (up && resultHigh == 0) {
    resultHigh = TOP_BIT;
    resultExponent++;
  }
  return true;
}

/** Added to or taken from the exponent of a result that is out of range and whose exception is not masked. */
const SCALE: i32 = 24576;

/**
 * Rounds the result to `bits` bits and exponents from `minimum` to `maximum`.
 *
 * A denormal comes out with the minimum's exponent and a clear top bit, an infinity with maximum + 1. `unmasked` has
 * the overflow and underflow exceptions whose result the x87 hands to a handler with its exponent wrapped.
 * Tininess is detected after rounding (Intel SDM 1, 4.9.1.5).
 */
export function roundResult(bits: u32, minimum: i32, maximum: i32, mode: u32, unmasked: u32): void {
  roundedUp = false;
  tiny = false;
  if (resultHigh == 0) return;
  const exponent = resultExponent;
  const high = resultHigh;
  const low = resultLow;
  let inexact = roundSignificand(bits, mode);
  if (resultExponent < minimum) {
    tiny = true;
    if (unmasked & UE) {
      exceptions |= UE;
      resultExponent += SCALE;
    } else {
      setResult(resultSign, minimum, high, low);
      roundedUp = false;
      shiftResultRight(minimum - exponent);
      inexact = roundSignificand(bits, mode);
      if (inexact) exceptions |= UE;
    }
  } else if (resultExponent > maximum) {
    exceptions |= OE;
    if (unmasked & OE) {
      resultExponent -= SCALE;
    } else {
      inexact = true;
      roundedUp = mode == NEAREST || mode == (resultSign != 0 ? DOWN : UP);
      resultExponent = roundedUp ? maximum + 1 : maximum;
      resultHigh = roundedUp ? TOP_BIT : ~((<u64>1 << (64 - bits)) - 1);
    }
  }
  if (inexact) exceptions |= PE;
}

export function setRoundedUp(up: bool): void {
  roundedUp = up;
}
