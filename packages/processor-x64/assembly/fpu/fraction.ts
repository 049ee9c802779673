// Fractions of 128 bits for the transcendental functions. A fraction stands for high:low / 2 to the power of 127, from
// 0 to just below 2; the last one computed is in `high` and `low`. Results are cut, a few units of the last bit short.
import { multiplyHigh } from './number';

export const ONE: u64 = 1 << 63;

export let high: u64 = 0;
export let low: u64 = 0;

// @ts-ignore: decorator
@inline export function setFraction(newHigh: u64, newLow: u64): void {
  high = newHigh;
  low = newLow;
}

/** The upper 128 bits of a product of two times 128 bits. */
export function multiplyBits(aHigh: u64, aLow: u64, bHigh: u64, bLow: u64): void {
  const first = multiplyHigh(aHigh, bLow);
  const second = multiplyHigh(aLow, bHigh);
  let sum = aHigh * bHigh;
  let upper = multiplyHigh(aHigh, bHigh);
  sum += first;
  upper += u64(sum < first);
  sum += second;
  upper += u64(sum < second);
  high = upper;
  low = sum;
}

/** Multiplies the last fraction. */
export function times(bHigh: u64, bLow: u64): void {
  multiplyBits(high, low, bHigh, bLow);
  high = (high << 1) | (low >> 63);
  low <<= 1;
}

/** Divides the last fraction by a small integer. */
export function dividedBy(divisor: u64): void {
  const first = high / divisor;
  let rest = ((high - first * divisor) << 32) | (low >> 32);
  const second = rest / divisor;
  rest = ((rest - second * divisor) << 32) | (low & 0xffffffff);
  high = first;
  low = (second << 32) + rest / divisor;
}

/** value - the last fraction */
export function subtractedFrom(fromHigh: u64, fromLow: u64): void {
  const newLow = fromLow - low;
  high = fromHigh - high - u64(fromLow < low);
  low = newLow;
}

export function plus(bHigh: u64, bLow: u64): void {
  low += bLow;
  high += bHigh + u64(low < bLow);
}

export function shiftedRight(count: u32): void {
  if (count == 0) return;
  if (count < 64) {
    low = (low >> count) | (high << (64 - count));
    high >>= count;
  } else {
    low = count < 128 ? high >> (count - 64) : 0;
    high = 0;
  }
}

/** numerator * 2 to the power of `bits` / denominator, where the numerator is less and the denominator's top bit set. */
export function quotient(nHigh: u64, nLow: u64, dHigh: u64, dLow: u64, bits: u32): void {
  let qHigh: u64 = 0;
  let qLow: u64 = 0;
  for (; bits != 0; bits--) {
    const over = nHigh >> 63 != 0;
    nHigh = (nHigh << 1) | (nLow >> 63);
    nLow <<= 1;
    qHigh = (qHigh << 1) | (qLow >> 63);
    qLow <<= 1;
    if (over || nHigh > dHigh || (nHigh == dHigh && nLow >= dLow)) {
      nHigh -= dHigh + u64(nLow < dLow);
      nLow -= dLow;
      qLow |= 1;
    }
  }
  high = qHigh;
  low = qLow;
}
