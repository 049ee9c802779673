// F2XM1, FYL2X, FYL2XP1, FSIN, FCOS, FPTAN, FPATAN (Intel SDM 1, 8.3.5 to 8.3.10).
//
// Each function is a power series on fractions of 128 bits after the argument was made small, and is rounded once: the
// results are those of the exact function in all but about one case in 2^50. Angles are reduced by the processor's pi
// of 66 bits, as 8.3.8 says; a result near a multiple of pi is exact for that pi.
import {
  BIAS,
  CLASS_DENORMAL,
  CLASS_INFINITE,
  CLASS_ZERO,
  classOf,
  denormalOperand,
  EXPONENT,
  invalid,
  propagate,
  propagateOne,
  roundOutExtended,
  setInfinity,
  setOut,
  setZero,
  SIGN,
} from './float80';
import {
  dividedBy,
  high,
  low,
  multiplyBits,
  ONE,
  plus,
  quotient,
  setFraction,
  shiftedRight,
  subtractedFrom,
  times,
} from './fraction';
import {
  addMagnitudes,
  divideWide,
  normalizeResult,
  PE,
  remainder,
  resultExponent,
  resultHigh,
  resultLow,
  resultSign,
  setResult,
  signal,
  subtractMagnitudes,
  tiny,
  TOP_BIT,
  UE,
  ZE,
} from './number';

/** The angle was too large for FSIN, FCOS, FPTAN: C2. */
export let outOfRange: bool = false;

const LN2_HIGH: u64 = 0xb17217f7d1cf79ab;
const LN2_LOW: u64 = 0xc9e3b39803f2f6af;
/** 1 / ln 2 as a fraction: 1.44... */
const LOG2E_HIGH: u64 = 0xb8aa3b295c17f0bb;
const LOG2E_LOW: u64 = 0xbe87fed0691d3e88;
/** pi / 2 as a fraction: 1.57... */
const HALF_PI_HIGH: u64 = 0xc90fdaa22168c234;
const HALF_PI_LOW: u64 = 0xc4c6628b80dc1cd1;
const QUARTER_PI_HIGH: u64 = 0x6487ed5110b4611a;
const QUARTER_PI_LOW: u64 = 0x62633145c06e0e68;

/** The arc tangents of 1/8 to 8/8, as fractions. */
const ARC_TANGENTS: usize = memory.data<u64>([
  0x0feadd4d5617b6e3, 0x2c897989f3e888ef, 0x1f5b75f92c80dd62, 0xadb8f3debef442fc, 0x2dec3283c9bde11c,
  0xe2a8c848b73f9120, 0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea340, 0x47802eaf7bfacfcd, 0xae41af0b32e21ba3,
  0x525e3e8c9a7b8492, 0x0cd43f9522bed64f, 0x5c029f15e118cf39, 0xe596d2a90852221e, 0x6487ed5110b4611a,
  0x62633145c06e0e68,
]);

/** The exponent of a finite number whose significand is shifted up by `count`. */
// @ts-ignore: decorator
@inline function exponentOf(se: u32, count: u32): i32 {
  return max<i32>(se & EXPONENT, 1) - BIAS - count;
}

/** Ends a function whose result is not exact. */
function roundInexact(sign: u32, exponent: i32, resultBits: u64, lowBits: u64): void {
  setResult(sign, exponent, resultBits, lowBits | 1);
  normalizeResult();
  roundOutExtended();
}

// The angle that `reduce` left, at most pi/4: as a fraction, as a number, and how many quarters were taken away.
let angleHigh: u64 = 0;
let angleLow: u64 = 0;
let angleExponent: i32 = 0;
let angleSigHigh: u64 = 0;
let angleSigLow: u64 = 0;
let angleSign: u32 = 0;
let quadrant: u32 = 0;

/** 66 bits of pi: this / 2^65 is pi / 2. */
const PI_HIGH: u64 = 3;
const PI_LOW: u64 = 0x243f6a8885a308d3;
/** pi / 4 in 64 bits, of exponent -1. */
const QUARTER_PI: u64 = 0xc90fdaa22168c234;

function reduce(exponent: i32, sig: u64): void {
  quadrant = 0;
  angleSign = 0;
  if (exponent < -1 || (exponent == -1 && sig <= QUARTER_PI)) {
    angleExponent = exponent;
    angleSigHigh = sig;
    angleSigLow = 0;
    setFraction(sig, 0);
    shiftedRight(-exponent);
    angleHigh = high;
    angleLow = low;
    return;
  }
  let restHigh: u64 = 0;
  let rest = sig;
  for (let left = exponent + 2; left > 0; left--) {
    restHigh = (restHigh << 1) | (rest >> 63);
    rest <<= 1;
    quadrant <<= 1;
    if (restHigh > PI_HIGH || (restHigh == PI_HIGH && rest >= PI_LOW)) {
      restHigh -= PI_HIGH + u64(rest < PI_LOW);
      rest -= PI_LOW;
      quadrant |= 1;
    }
  }
  // More than half of a quarter: from the other side.
  if (restHigh > 1 || (restHigh == 1 && rest > 0x921fb54442d18469)) {
    restHigh = PI_HIGH - restHigh - u64(PI_LOW < rest);
    rest = PI_LOW - rest;
    quadrant++;
    angleSign = 1;
  }
  angleHigh = (restHigh << 62) | (rest >> 2);
  angleLow = rest << 62;
  setResult(0, 0, angleHigh, angleLow);
  normalizeResult();
  angleExponent = resultExponent;
  angleSigHigh = resultHigh;
  angleSigLow = resultLow;
}

/** 1 - z/(n(n+1)) * (1 - z/((n+2)(n+3)) * ...) for the square z of the angle. */
function alternatingSeries(first: i32): void {
  setFraction(angleHigh, angleLow);
  times(angleHigh, angleLow);
  const zHigh = high;
  const zLow = low;
  setFraction(ONE, 0);
  for (let n = first + 32; n >= first; n -= 2) {
    times(zHigh, zLow);
    dividedBy(<u64>n * (n + 1));
    subtractedFrom(ONE, 0);
  }
  // Never quite 1: the argument is not 0.
  if (high == ONE) setFraction(ONE - 1, u64.MAX_VALUE);
}

/** The sine of the angle, unpacked, without its sign. */
function sineSeries(): void {
  alternatingSeries(2);
  multiplyBits(high, low, angleSigHigh, angleSigLow);
  setResult(0, angleExponent + 1, high, low);
  normalizeResult();
}

function cosineSeries(): void {
  alternatingSeries(1);
  setResult(0, 0, high, low);
  normalizeResult();
}

/** What the three functions of an angle do with arguments that need no series; true where that was all. */
function specialAngle(kind: u32, se: u32, sig: u64): bool {
  outOfRange = false;
  if (kind > CLASS_INFINITE) {
    propagateOne(kind, se, sig);
    return true;
  }
  if (kind == CLASS_INFINITE) {
    invalid();
    return true;
  }
  if (kind == CLASS_DENORMAL && denormalOperand()) return true;
  if ((se & EXPONENT) >= <u32>(BIAS + 63)) {
    outOfRange = true;
    setOut(se, sig);
    return true;
  }
  return false;
}

/** The sine of an angle and a number of quarters. */
function trigonometric(se: u32, sig: u64, quarters: u32): void {
  const count = <u32>clz(sig);
  reduce(exponentOf(se, count), sig << count);
  const turned = quadrant + quarters;
  let sign = (turned >> 1) & 1;
  if (quarters == 0) sign ^= se >> 15;
  if (turned & 1) cosineSeries();
  else {
    sineSeries();
    sign ^= angleSign;
  }
  roundInexact(sign, resultExponent, resultHigh, resultLow);
}

export function sineOf(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (specialAngle(kind, se, sig)) return;
  if (kind == CLASS_ZERO) setOut(se, sig);
  else trigonometric(se, sig, 0);
}

export function cosineOf(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (specialAngle(kind, se, sig)) return;
  if (kind == CLASS_ZERO) setOut(BIAS, TOP_BIT);
  else trigonometric(se, sig, 1);
}

/** a / b for significands of 128 bits. */
function divideNumbers(sign: u32, aExponent: i32, aHigh: u64, aLow: u64, bExponent: i32, bHigh: u64, bLow: u64): void {
  let exponent = aExponent - bExponent - 1;
  if (aHigh > bHigh || (aHigh == bHigh && aLow >= bLow)) {
    aLow = (aLow >> 1) | (aHigh << 63);
    aHigh >>= 1;
    exponent++;
  }
  quotient(aHigh, aLow, bHigh, bLow, 128);
  setResult(sign, exponent, high, low);
}

export function tangentOf(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (specialAngle(kind, se, sig)) return;
  if (kind == CLASS_ZERO) {
    setOut(se, sig);
    return;
  }
  const count = <u32>clz(sig);
  reduce(exponentOf(se, count), sig << count);
  if (angleExponent < -64) {
    // Just above the angle.
    roundInexact(se >> 15, angleExponent, angleSigHigh, 0);
    return;
  }
  sineSeries();
  const sineExponent = resultExponent;
  const sineHigh = resultHigh;
  const sineLow = resultLow;
  cosineSeries();
  const sign = (se >> 15) ^ angleSign ^ (quadrant & 1);
  if (quadrant & 1) divideNumbers(sign, resultExponent, resultHigh, resultLow, sineExponent, sineHigh, sineLow);
  else divideNumbers(sign, sineExponent, sineHigh, sineLow, resultExponent, resultHigh, resultLow);
  roundInexact(sign, resultExponent, resultHigh, resultLow);
}

/** 2 to the power of x, less 1, for x from -1 to 1. */
export function exponentialMinusOne(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (kind > CLASS_INFINITE) {
    propagateOne(kind, se, sig);
    return;
  }
  if (kind == CLASS_DENORMAL && denormalOperand()) return;
  const negative = (se & SIGN) != 0;
  if (kind == CLASS_ZERO) {
    setOut(se, sig);
    return;
  }
  if (kind == CLASS_INFINITE) {
    if (negative) setOut(SIGN | BIAS, TOP_BIT);
    else setOut(se, sig);
    return;
  }
  const count = <u32>clz(sig);
  const exponent = exponentOf(se, count);
  if (exponent >= 0) {
    // 1 gives 1 and -1 gives -0.5; beyond, the result is not defined: the operand stays.
    signal(PE);
    setOut(exponent == 0 && sig == TOP_BIT && negative ? SIGN | (BIAS - 1) : se, sig);
    return;
  }
  // y = x ln 2
  multiplyBits(sig << count, 0, LN2_HIGH, LN2_LOW);
  setResult(se >> 15, exponent, high, low);
  normalizeResult();
  const yExponent = resultExponent;
  const yHigh = resultHigh;
  const yLow = resultLow;
  setFraction(yHigh, yLow);
  shiftedRight(-yExponent);
  const smallHigh = high;
  const smallLow = low;
  setFraction(ONE, 0);
  for (let n: u64 = 34; n >= 2; n--) {
    times(smallHigh, smallLow);
    dividedBy(n);
    if (negative) subtractedFrom(ONE, 0);
    else plus(ONE, 0);
  }
  multiplyBits(high, low, yHigh, yLow);
  roundInexact(se >> 15, yExponent + 1, high, low);
}

/**
 * The binary logarithm of (1 + s) / (1 - s), unpacked: 2 / ln 2 * (s + s^3 / 3 + s^5 / 5 + ...), where s is the result.
 */
function logarithmSeries(): void {
  const sign = resultSign;
  const exponent = resultExponent;
  const sHigh = resultHigh;
  const sLow = resultLow;
  setFraction(sHigh, sLow);
  shiftedRight(-exponent);
  times(high, low);
  const zHigh = high;
  const zLow = low;
  setFraction(0, 0);
  for (let n: u64 = 55; ; n -= 2) {
    times(zHigh, zLow);
    const sumHigh = high;
    const sumLow = low;
    setFraction(ONE, 0);
    dividedBy(n);
    plus(sumHigh, sumLow);
    if (n == 1) break;
  }
  times(LOG2E_HIGH, LOG2E_LOW);
  multiplyBits(high, low, sHigh, sLow);
  // A product of fractions has one bit before the point more; and twice s.
  setResult(sign, exponent + 2, high, low);
  normalizeResult();
}

/** y times the unpacked result. */
function timesNumber(ySe: u32, y: u64, exact: bool): void {
  const count = <u32>clz(y);
  const sign = resultSign ^ (ySe >> 15);
  const exponent = resultExponent + exponentOf(ySe, count) + 1;
  multiplyBits(resultHigh, resultLow, y << count, 0);
  setResult(sign, exponent, high, low | u64(!exact));
  normalizeResult();
  roundOutExtended();
  // Raised even where the logarithm is an integer.
  signal(tiny ? PE | UE : PE);
}

/** y * log2(x): FYL2X with x in ST(0). */
export function logarithm(xSe: u32, x: u64, ySe: u32, y: u64): void {
  const xKind = classOf(xSe, x);
  const yKind = classOf(ySe, y);
  if (xKind > CLASS_INFINITE || yKind > CLASS_INFINITE) {
    propagate(xKind, xSe, x, yKind, ySe, y);
    return;
  }
  const ySign = ySe >> 15;
  if (xKind == CLASS_ZERO) {
    if (yKind == CLASS_ZERO) invalid();
    else if (yKind == CLASS_INFINITE) setInfinity(ySign ^ 1);
    else {
      signal(ZE);
      setInfinity(ySign ^ 1);
    }
    return;
  }
  if (xSe & SIGN) {
    invalid();
    return;
  }
  if (xKind == CLASS_INFINITE) {
    if (yKind == CLASS_ZERO) invalid();
    else {
      if (yKind == CLASS_DENORMAL && denormalOperand()) return;
      setInfinity(ySign);
    }
    return;
  }
  const one = xSe == <u32>BIAS && x == TOP_BIT;
  if (yKind == CLASS_INFINITE && one) {
    invalid();
    return;
  }
  if ((xKind == CLASS_DENORMAL || yKind == CLASS_DENORMAL) && denormalOperand()) return;
  const below = u32((xSe & EXPONENT) < <u32>BIAS);
  if (yKind == CLASS_INFINITE) {
    setInfinity(ySign ^ below);
    return;
  }
  if (one || yKind == CLASS_ZERO) {
    setZero(ySign ^ below);
    return;
  }
  const count = <u32>clz(x);
  const exact = finiteLogarithm(exponentOf(xSe, count), x << count);
  timesNumber(ySe, y, exact);
}

/** The significand of the square root of 2. */
const ROOT2: u64 = 0xb504f333f9de6484;

/** The binary logarithm of a number that is not 1, unpacked; says whether it is exact. */
function finiteLogarithm(exponent: i32, sig: u64): bool {
  if (sig == TOP_BIT) {
    setResult(u32(exponent < 0), 63, <u64>abs(exponent), 0);
    normalizeResult();
    return true;
  }
  // s = (m - 1) / (m + 1) for a significand m around 1
  if (sig < ROOT2) {
    const distance = sig - TOP_BIT;
    const count = <u32>clz(distance);
    divideNumbers(0, -(<i32>count), distance << count, 0, 1, (sig >> 1) + (TOP_BIT >> 1), sig << 63);
  } else {
    const distance = 0 - sig;
    const count = <u32>clz(distance);
    divideNumbers(1, -1 - <i32>count, distance << count, 0, 0, TOP_BIT | (sig >> 1), sig << 63);
    exponent++;
  }
  logarithmSeries();
  if (exponent == 0) return false;
  addInteger(exponent);
  return false;
}

/** Adds an integer to the unpacked result of at most 1/2. */
function addInteger(value: i32): void {
  const sign = u32(value < 0);
  const magnitude = <u64>abs(value);
  const same = sign == resultSign;
  // The integer's fraction point is moved so that both fit: 2^-111 is the last bit.
  setFraction(resultHigh, resultLow);
  shiftedRight(16 - 1 - resultExponent);
  if (same) plus(magnitude << 48, 0);
  else subtractedFrom(magnitude << 48, 0);
  setResult(sign, 15, high, low);
  normalizeResult();
}

/** y * log2(x + 1): FYL2XP1 with x in ST(0), for x between 1/sqrt(2) - 1 and sqrt(2) - 1. */
export function logarithmPlusOne(xSe: u32, x: u64, ySe: u32, y: u64): void {
  const xKind = classOf(xSe, x);
  const yKind = classOf(ySe, y);
  if (xKind > CLASS_INFINITE || yKind > CLASS_INFINITE) {
    propagate(xKind, xSe, x, yKind, ySe, y);
    return;
  }
  const product = (xSe ^ ySe) >> 15;
  const infinite = xKind == CLASS_INFINITE || yKind == CLASS_INFINITE;
  if (infinite && (xKind == CLASS_ZERO || yKind == CLASS_ZERO || (xKind == CLASS_INFINITE && (xSe & SIGN) != 0))) {
    invalid();
    return;
  }
  if ((xKind == CLASS_DENORMAL || yKind == CLASS_DENORMAL) && denormalOperand()) return;
  if (infinite) {
    setInfinity(product);
    return;
  }
  if (xKind == CLASS_ZERO || yKind == CLASS_ZERO) {
    setZero(product);
    return;
  }
  const sign = xSe >> 15;
  const count = <u32>clz(x);
  const exponent = exponentOf(xSe, count);
  x <<= count;
  if (exponent >= (sign != 0 ? -1 : 0)) {
    // Beyond the range: the sum is taken first.
    if (sign != 0) {
      if (exponent >= 0) {
        // Not defined: the operand comes out.
        signal(PE);
        setOut(xSe, x >> count);
        return;
      }
      subtractMagnitudes(0, 0, TOP_BIT, exponent, x);
    } else addMagnitudes(0, exponent, x, 0, TOP_BIT);
    const exact = finiteLogarithm(resultExponent, resultHigh);
    timesNumber(ySe, y, exact);
    return;
  }
  // s = x / (2 + x)
  setFraction(x, 0);
  shiftedRight(1 - exponent);
  if (sign != 0) subtractedFrom(ONE, 0);
  else plus(ONE, 0);
  let lowerExponent = 1;
  if (high < TOP_BIT) {
    setFraction((high << 1) | (low >> 63), low << 1);
    lowerExponent = 0;
  }
  divideNumbers(sign, exponent, x, 0, lowerExponent, high, low);
  logarithmSeries();
  timesNumber(ySe, y, false);
}

/** The angle of the point (x, y): FPATAN with x in ST(0), y in ST(1). */
export function arcTangent(ySe: u32, y: u64, xSe: u32, x: u64): void {
  const xKind = classOf(xSe, x);
  const yKind = classOf(ySe, y);
  if (xKind > CLASS_INFINITE || yKind > CLASS_INFINITE) {
    propagate(yKind, ySe, y, xKind, xSe, x);
    return;
  }
  const sign = ySe >> 15;
  const left = (xSe & SIGN) != 0;
  if ((xKind == CLASS_DENORMAL || yKind == CLASS_DENORMAL) && denormalOperand()) return;
  if (yKind == CLASS_INFINITE) {
    // pi/4, 3 pi/4 or pi/2
    if (xKind == CLASS_INFINITE) {
      if (left) roundInexact(sign, 1, 0x96cbe3f9990e91a7, 0x9394c9e8a0a5159d);
      else roundInexact(sign, -1, HALF_PI_HIGH, HALF_PI_LOW);
    } else roundInexact(sign, 0, HALF_PI_HIGH, HALF_PI_LOW);
    return;
  }
  if (yKind == CLASS_ZERO || xKind == CLASS_INFINITE) {
    if (left) roundInexact(sign, 1, HALF_PI_HIGH, HALF_PI_LOW);
    else setZero(sign);
    return;
  }
  if (xKind == CLASS_ZERO) {
    roundInexact(sign, 0, HALF_PI_HIGH, HALF_PI_LOW);
    return;
  }
  let count = <u32>clz(x);
  const xExponent = exponentOf(xSe, count);
  x <<= count;
  count = <u32>clz(y);
  const yExponent = exponentOf(ySe, count);
  y <<= count;

  // t = the smaller of the two / the larger
  const steep = yExponent != xExponent ? yExponent > xExponent : y > x;
  const smaller = steep ? x : y;
  const larger = steep ? y : x;
  let exponent = steep ? xExponent - yExponent : yExponent - xExponent;
  const shifted = smaller >= larger;
  if (!shifted) exponent--;
  const tHigh = shifted ? divideWide(smaller >> 1, smaller << 63, larger) : divideWide(smaller, 0, larger);
  const tLow = divideWide(remainder, 0, larger);

  setFraction(tHigh, tLow);
  shiftedRight(-exponent);
  const fractionHigh = high;
  const fractionLow = low;
  const eighths = <u32>((fractionHigh + (1 << 59)) >> 60);
  if (eighths == 0) {
    arcTangentSeries(fractionHigh, fractionLow);
    multiplyBits(high, low, tHigh, tLow);
    if (!steep && !left) {
      roundInexact(sign, exponent + 1, high, low);
      return;
    }
    shiftedRight(-(exponent + 1));
  } else {
    // t' = (t - c) / (1 + t c), then the arc tangents are added
    const center = <u64>eighths << 60;
    const negative = fractionHigh < center;
    setFraction(fractionHigh, fractionLow);
    if (negative) subtractedFrom(center, 0);
    else plus(0 - center, 0);
    const distanceHigh = high;
    const distanceLow = low;
    if ((distanceHigh | distanceLow) != 0) {
      setFraction(fractionHigh, fractionLow);
      times(center, 0);
      plus(ONE, 0);
      quotient(distanceHigh, distanceLow, high, low, 127);
      const partHigh = high;
      const partLow = low;
      arcTangentSeries(partHigh, partLow);
      times(partHigh, partLow);
    }
    const at = ARC_TANGENTS + ((eighths - 1) << 4);
    if (negative) subtractedFrom(load<u64>(at), load<u64>(at, 8));
    else plus(load<u64>(at), load<u64>(at, 8));
  }
  // From the octant to the whole circle; pi needs one more bit before the point.
  shiftedRight(1);
  if (steep) {
    if (left) plus(QUARTER_PI_HIGH, QUARTER_PI_LOW);
    else subtractedFrom(QUARTER_PI_HIGH, QUARTER_PI_LOW);
  } else if (left) subtractedFrom(HALF_PI_HIGH, HALF_PI_LOW);
  roundInexact(sign, 1, high, low);
}

/** 1 - z/3 + z^2/5 - ... for the square z of a fraction of at most 1/16. */
function arcTangentSeries(tHigh: u64, tLow: u64): void {
  setFraction(tHigh, tLow);
  times(tHigh, tLow);
  const zHigh = high;
  const zLow = low;
  setFraction(0, 0);
  for (let n: u64 = 35; ; n -= 2) {
    times(zHigh, zLow);
    const sumHigh = high;
    const sumLow = low;
    setFraction(ONE, 0);
    dividedBy(n);
    const termHigh = high;
    const termLow = low;
    setFraction(sumHigh, sumLow);
    subtractedFrom(termHigh, termLow);
    if (n == 1) break;
  }
  // Never quite 1: the argument is not 0.
  if (high == ONE) setFraction(ONE - 1, u64.MAX_VALUE);
}
