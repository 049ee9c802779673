// One element of an SSE floating-point operation, in integers: exact results, flags and NaNs in every rounding mode
// (Intel SDM 1, 11.5). T is f32 or f64; numbers are handled as their bits.
import { raiseXm } from '../raise';
import { MXCSR } from '../state';
import {
  addMagnitudes,
  clearExceptions,
  DE,
  divide,
  DOWN,
  exceptions,
  IE,
  multiply,
  NEAREST,
  PE,
  resultExponent,
  resultHigh,
  resultSign,
  roundResult,
  setResult,
  signal,
  squareRoot,
  subtractMagnitudes,
  tiny,
  TOP_BIT,
  UE,
  UP,
  ZE,
} from './number';

export const ADD: u32 = 0;
export const MULTIPLY: u32 = 1;
export const SUBTRACT: u32 = 2;
export const DIVIDE: u32 = 3;
export const MINIMUM: u32 = 4;
export const MAXIMUM: u32 = 5;

const DAZ: u32 = 1 << 6;
const FTZ: u32 = 1 << 15;
/** Exceptions found before computing: one of them, not masked, in any element keeps the others from being raised. */
const BEFORE: u32 = IE | DE | ZE;

/** MXCSR when the instruction began. */
export let mxcsr: u32 = 0;

// @ts-ignore: decorator
@inline export function beginSse(): void {
  mxcsr = load<u32>(MXCSR);
  clearExceptions();
}

/** Adds the exceptions to MXCSR and raises #XM where one is not masked. Before any result is written. */
export function concludeSse(): void {
  if (exceptions == 0) return;
  const unmasked = exceptions & ~(mxcsr >> 7);
  if (unmasked == 0) {
    store<u32>(MXCSR, mxcsr | exceptions);
    return;
  }
  store<u32>(MXCSR, mxcsr | (unmasked & BEFORE ? exceptions & BEFORE : exceptions));
  raiseXm();
}

// @ts-ignore: decorator
@inline export function roundingMode(): u32 {
  return (mxcsr >> 13) & 3;
}

// @ts-ignore: decorator
@inline function fractionBits<T>(): u32 {
  return sizeof<T>() == 4 ? 23 : 52;
}

// @ts-ignore: decorator
@inline function signBit<T>(): u64 {
  return sizeof<T>() == 4 ? 0x80000000 : TOP_BIT;
}

// @ts-ignore: decorator
@inline export function infinity<T>(): u64 {
  return sizeof<T>() == 4 ? 0x7f800000 : 0x7ff0000000000000;
}

// @ts-ignore: decorator
@inline function hidden<T>(): u64 {
  return (<u64>1) << fractionBits<T>();
}

// @ts-ignore: decorator
@inline function quietBit<T>(): u64 {
  return hidden<T>() >> 1;
}

// @ts-ignore: decorator
@inline function bias<T>(): i32 {
  return sizeof<T>() == 4 ? 127 : 1023;
}

/** The quiet NaN of an invalid operation. */
export function invalid<T>(): u64 {
  signal(IE);
  return signBit<T>() | infinity<T>() | quietBit<T>();
}

// @ts-ignore: decorator
@inline export function isNan<T>(a: u64): bool {
  return (a & (signBit<T>() - 1)) > infinity<T>();
}

// @ts-ignore: decorator
@inline export function isSignaling<T>(a: u64): bool {
  return isNan<T>(a) && (a & quietBit<T>()) == 0;
}

// @ts-ignore: decorator
@inline export function isDenormal<T>(a: u64): bool {
  const magnitude = a & (signBit<T>() - 1);
  return magnitude != 0 && magnitude < hidden<T>();
}

/** With DAZ, a denormal operand is a zero of its sign. */
// @ts-ignore: decorator
@inline export function flush<T>(a: u64): u64 {
  return (mxcsr & DAZ) != 0 && (a & infinity<T>()) == 0 ? a & signBit<T>() : a;
}

/** The NaN that two operands give, of which one is a NaN: the first, made quiet. */
function propagate<T>(a: u64, b: u64): u64 {
  if (isSignaling<T>(a) || isSignaling<T>(b)) signal(IE);
  return (isNan<T>(a) ? a : b) | quietBit<T>();
}

// @ts-ignore: decorator
@inline function significandOf<T>(a: u64): u64 {
  const fraction = (a & (hidden<T>() - 1)) << (63 - fractionBits<T>());
  return (a & infinity<T>()) == 0 ? fraction << clz(fraction) : TOP_BIT | fraction;
}

// @ts-ignore: decorator
@inline function exponentOf<T>(a: u64): i32 {
  const biased = <i32>((a & infinity<T>()) >> fractionBits<T>());
  if (biased != 0) return biased - bias<T>();
  return 1 - bias<T>() - <i32>clz((a & (hidden<T>() - 1)) << (63 - fractionBits<T>()));
}

/** Rounds the unpacked result; with FTZ a denormal result is a zero. */
function pack<T>(): u64 {
  const sign = resultSign != 0 ? signBit<T>() : 0;
  roundResult(fractionBits<T>() + 1, 1 - bias<T>(), bias<T>(), roundingMode(), ~(mxcsr >> 7));
  if (tiny && (mxcsr & FTZ) != 0 && ((mxcsr >> 7) & UE) != 0) {
    signal(UE | PE);
    return sign;
  }
  if (resultHigh == 0) return sign;
  const biased = resultHigh >= TOP_BIT ? <u64>(resultExponent + bias<T>()) << fractionBits<T>() : 0;
  return sign | (biased & infinity<T>()) | ((resultHigh >> (63 - fractionBits<T>())) & (hidden<T>() - 1));
}

/** a op b for one of ADD to MAXIMUM. */
export function arithmetic<T>(operation: u32, a: u64, b: u64): u64 {
  a = flush<T>(a);
  b = flush<T>(b);
  if (operation >= MINIMUM) return select<T>(operation, a, b);
  if (isNan<T>(a) || isNan<T>(b)) return propagate<T>(a, b);
  if (operation == SUBTRACT) b ^= signBit<T>();
  const product = (a ^ b) & signBit<T>();
  const aMagnitude = a & (signBit<T>() - 1);
  const bMagnitude = b & (signBit<T>() - 1);
  const denormal = isDenormal<T>(a) || isDenormal<T>(b);
  const adds = operation == ADD || operation == SUBTRACT;
  if (aMagnitude == infinity<T>() || bMagnitude == infinity<T>()) {
    if (adds) {
      if (aMagnitude == bMagnitude && product != 0) return invalid<T>();
      if (denormal) signal(DE);
      return aMagnitude == infinity<T>() ? a : b;
    }
    if (operation == MULTIPLY) {
      if (aMagnitude == 0 || bMagnitude == 0) return invalid<T>();
      if (denormal) signal(DE);
      return product | infinity<T>();
    }
    if (aMagnitude == bMagnitude) return invalid<T>();
    if (denormal) signal(DE);
    return bMagnitude == infinity<T>() ? product : product | infinity<T>();
  }
  if (operation == DIVIDE && bMagnitude == 0) {
    if (aMagnitude == 0) return invalid<T>();
    signal(ZE);
    return product | infinity<T>();
  }
  if (denormal) signal(DE);
  if (adds) {
    if (aMagnitude == 0 && bMagnitude == 0) {
      return product == 0 ? a : roundingMode() == DOWN ? signBit<T>() : 0;
    }
    const aSign = u32((a & signBit<T>()) != 0);
    if (aMagnitude == 0) setResult(u32((b & signBit<T>()) != 0), exponentOf<T>(b), significandOf<T>(b), 0);
    else if (bMagnitude == 0) setResult(aSign, exponentOf<T>(a), significandOf<T>(a), 0);
    else if (product == 0) {
      addMagnitudes(aSign, exponentOf<T>(a), significandOf<T>(a), exponentOf<T>(b), significandOf<T>(b));
    } else {
      subtractMagnitudes(aSign, exponentOf<T>(a), significandOf<T>(a), exponentOf<T>(b), significandOf<T>(b));
    }
    if (resultHigh == 0) return roundingMode() == DOWN ? signBit<T>() : 0;
  } else {
    if (aMagnitude == 0 || bMagnitude == 0) return product;
    const sign = u32(product != 0);
    if (operation == MULTIPLY) {
      multiply(sign, exponentOf<T>(a), significandOf<T>(a), exponentOf<T>(b), significandOf<T>(b));
    } else divide(sign, exponentOf<T>(a), significandOf<T>(a), exponentOf<T>(b), significandOf<T>(b));
  }
  return pack<T>();
}

/** MIN and MAX: the second operand where one is a NaN or both are zeros. */
function select<T>(operation: u32, a: u64, b: u64): u64 {
  if (isNan<T>(a) || isNan<T>(b)) {
    signal(IE);
    return b;
  }
  if (isDenormal<T>(a) || isDenormal<T>(b)) signal(DE);
  const less = order<T>(a, b);
  return (operation == MINIMUM ? less < 0 : less > 0) ? a : b;
}

/** -1, 0 or 1 for two numbers that are not NaNs. */
// @ts-ignore: decorator
@inline export function order<T>(a: u64, b: u64): i32 {
  const x = sizeof<T>() == 4 ? <f64>reinterpret<f32>(<u32>a) : reinterpret<f64>(a);
  const y = sizeof<T>() == 4 ? <f64>reinterpret<f32>(<u32>b) : reinterpret<f64>(b);
  return x < y ? -1 : i32(x > y);
}

export function root<T>(a: u64): u64 {
  a = flush<T>(a);
  if (isNan<T>(a)) return propagate<T>(a, a);
  if ((a & (signBit<T>() - 1)) == 0) return a;
  if (a & signBit<T>()) return invalid<T>();
  if (a == infinity<T>()) return a;
  if (isDenormal<T>(a)) signal(DE);
  squareRoot(exponentOf<T>(a), significandOf<T>(a));
  return pack<T>();
}

/** Comparison by a predicate of CMPPS, 0 to 7. */
export function compares<T>(predicate: u32, a: u64, b: u64): bool {
  a = flush<T>(a);
  b = flush<T>(b);
  const negated = (predicate & 4) != 0;
  if (isNan<T>(a) || isNan<T>(b)) {
    // LT, LE and their opposites do not expect NaNs.
    const ordered = (predicate & 3) == 1 || (predicate & 3) == 2;
    if (ordered || isSignaling<T>(a) || isSignaling<T>(b)) signal(IE);
    return (predicate & 3) == 3 ? !negated : negated;
  }
  if (isDenormal<T>(a) || isDenormal<T>(b)) signal(DE);
  const less = order<T>(a, b);
  let holds: bool;
  switch (predicate & 3) {
    case 0:
      holds = less == 0;
      break;
    case 1:
      holds = less < 0;
      break;
    case 2:
      holds = less <= 0;
      break;
    default:
      holds = false;
  }
  return holds != negated;
}

/** -1, 0, 1, or 2 where unordered: COMISS and UCOMISS. */
export function comparison<T>(a: u64, b: u64, quiet: bool): i32 {
  a = flush<T>(a);
  b = flush<T>(b);
  if (isNan<T>(a) || isNan<T>(b)) {
    if (!quiet || isSignaling<T>(a) || isSignaling<T>(b)) signal(IE);
    return 2;
  }
  if (isDenormal<T>(a) || isDenormal<T>(b)) signal(DE);
  return order<T>(a, b);
}

export function widen(a: u32): u64 {
  const flushed = flush<f32>(a);
  const sign = (flushed & 0x80000000) << 32;
  if (isNan<f32>(flushed)) {
    if (isSignaling<f32>(flushed)) signal(IE);
    return sign | 0x7ff8000000000000 | ((flushed & 0x3fffff) << 29);
  }
  if (isDenormal<f32>(flushed)) signal(DE);
  return reinterpret<u64>(<f64>reinterpret<f32>(<u32>flushed));
}

export function narrow(a: u64): u32 {
  a = flush<f64>(a);
  const sign = <u32>(a >> 32) & 0x80000000;
  if (isNan<f64>(a)) {
    if (isSignaling<f64>(a)) signal(IE);
    return sign | 0x7fc00000 | (<u32>(a >> 29) & 0x3fffff);
  }
  const magnitude = a & (TOP_BIT - 1);
  if (magnitude == 0) return sign;
  if (magnitude == infinity<f64>()) return sign | 0x7f800000;
  if (isDenormal<f64>(a)) signal(DE);
  setResult(u32(sign != 0), exponentOf<f64>(a), significandOf<f64>(a), 0);
  return <u32>pack<f32>();
}

/** An integer as a number. */
export function fromInteger<T>(value: i64): u64 {
  if (value == 0) return 0;
  const magnitude = value < 0 ? 0 - <u64>value : <u64>value;
  const count = <i32>clz(magnitude);
  setResult(u32(value < 0), 63 - count, magnitude << count, 0);
  return pack<T>();
}

/** A number rounded to an integral one. */
export function roundIntegral(x: f64, mode: u32): f64 {
  return mode == NEAREST ? nearest<f64>(x) : mode == DOWN ? floor<f64>(x) : mode == UP ? ceil<f64>(x) : trunc<f64>(x);
}

/** As a signed integer of 32 bits; what does not fit is invalid and gives the smallest. */
export function toInt32(x: f64, mode: u32): i32 {
  if ((mxcsr & DAZ) != 0 && abs<f64>(x) < 2.2250738585072014e-308) x = 0.0;
  const whole = roundIntegral(x, mode);
  if (!(whole >= -2147483648.0 && whole <= 2147483647.0)) {
    signal(IE);
    return i32.MIN_VALUE;
  }
  if (whole != x) signal(PE);
  return <i32>whole;
}

export function toInt64(x: f64, mode: u32): i64 {
  if ((mxcsr & DAZ) != 0 && abs<f64>(x) < 2.2250738585072014e-308) x = 0.0;
  const whole = roundIntegral(x, mode);
  if (!(whole >= -9223372036854775808.0 && whole < 9223372036854775808.0)) {
    signal(IE);
    return i64.MIN_VALUE;
  }
  if (whole != x) signal(PE);
  return <i64>whole;
}

/** An f32 operand of a conversion to an integer, as f64. */
export function operand32(bits: u32): f64 {
  return <f64>reinterpret<f32>(<u32>flush<f32>(bits));
}

/** ROUNDPS and its kind: the mode of the immediate, which may also keep the precision exception away. */
export function roundByImmediate<T>(a: u64, immediate: u32): u64 {
  a = flush<T>(a);
  if (isNan<T>(a)) return propagate<T>(a, a);
  const mode = (immediate & 4) != 0 ? roundingMode() : immediate & 3;
  let result: u64;
  if (sizeof<T>() == 4) result = reinterpret<u32>(<f32>roundIntegral(<f64>reinterpret<f32>(<u32>a), mode));
  else result = reinterpret<u64>(roundIntegral(reinterpret<f64>(a), mode));
  if (result != a && (immediate & 8) == 0) signal(PE);
  return result;
}
