// Double extended precision (Intel SDM 1, 4.2.2 and 8.2): arithmetic, comparison and conversion of 80-bit numbers, each
// as sign and exponent ("se") and significand. Results are left in `outSe` and `outSig`.
//
// An exception that is not masked and found before computing (IE, DE, ZE) ends the operation; the caller sees it in
// `exceptions` and writes nothing.
import {
  addMagnitudes,
  clearExceptions,
  DE,
  divide,
  divideWide,
  remainder as divisionRest,
  DOWN,
  exceptions,
  IE,
  multiply,
  NEAREST,
  normalizeResult,
  OE,
  PE,
  resultExponent,
  resultHigh,
  resultSign,
  roundResult,
  setResult,
  setRoundedUp,
  signal,
  squareRoot,
  subtractMagnitudes,
  TOP_BIT,
  UE,
  UP,
  withdraw,
  ZE,
} from './number';

export let outSe: u32 = 0;
export let outSig: u64 = 0;

/** The control word of the operation: exception masks, precision, rounding. */
export let control: u32 = 0x37f;
/** A memory operand of 32 or 64 bits was denormal; as 80 bits it no longer is. */
export let sourceDenormal: bool = false;

export const EXPONENT: u32 = 0x7fff;
export const SIGN: u32 = 0x8000;
export const BIAS: i32 = 16383;
const MINIMUM: i32 = -16382;
const MAXIMUM: i32 = 16383;
const QUIET: u64 = 1 << 62;

// Classes, in an order that the code below compares.
export const CLASS_ZERO: u32 = 0;
export const CLASS_NORMAL: u32 = 1;
export const CLASS_DENORMAL: u32 = 2;
export const CLASS_INFINITE: u32 = 3;
export const CLASS_QUIET: u32 = 4;
export const CLASS_SIGNALING: u32 = 5;
/** Pseudo-NaN, pseudo-infinity, unnormal. */
export const CLASS_UNSUPPORTED: u32 = 6;

/** Starts an operation under a control word. */
// @ts-ignore: decorator
@inline export function begin(controlWord: u32): void {
  clearExceptions();
  control = controlWord;
  sourceDenormal = false;
}

// @ts-ignore: decorator
@inline export function setOut(se: u32, sig: u64): void {
  outSe = se;
  outSig = sig;
}

/** Whether an exception found before computing is not masked. */
// @ts-ignore: decorator
@inline export function stopped(): bool {
  return (exceptions & ~control & (IE | DE | ZE)) != 0;
}

// @ts-ignore: decorator
@inline function roundingMode(): u32 {
  return (control >> 10) & 3;
}

// @ts-ignore: decorator
@inline function precisionBits(): u32 {
  const precision = (control >> 8) & 3;
  return precision == 0 ? 24 : precision == 2 ? 53 : 64;
}

export function classOf(se: u32, sig: u64): u32 {
  const exponent = se & EXPONENT;
  if (exponent == 0) return sig == 0 ? CLASS_ZERO : CLASS_DENORMAL;
  if (sig < TOP_BIT) return CLASS_UNSUPPORTED;
  if (exponent != EXPONENT) return CLASS_NORMAL;
  if (sig == TOP_BIT) return CLASS_INFINITE;
  return (sig & QUIET) != 0 ? CLASS_QUIET : CLASS_SIGNALING;
}

/** The real indefinite: what an invalid operation gives. */
export function invalid(): void {
  signal(IE);
  setOut(0xffff, 0xc000000000000000);
}

/** The denormal operand exception; true where the operation must end. */
export function denormalOperand(): bool {
  signal(DE);
  return (control & DE) == 0;
}

export function setZero(sign: u32): void {
  setOut(sign << 15, 0);
}

export function setInfinity(sign: u32): void {
  setOut((sign << 15) | EXPONENT, TOP_BIT);
}

/** The exponent of a finite number as its significand counts it. */
// @ts-ignore: decorator
@inline function exponentOf(se: u32): i32 {
  return max<i32>(se & EXPONENT, 1) - BIAS;
}

function pack(): void {
  if (resultHigh == 0) setOut(resultSign << 15, 0);
  else {
    const biased = resultHigh >= TOP_BIT ? <u32>(resultExponent + BIAS) & EXPONENT : 0;
    setOut((resultSign << 15) | biased, resultHigh);
  }
}

/** Rounds the unpacked result to the precision of the control word. */
export function roundOut(): void {
  roundResult(precisionBits(), MINIMUM, MAXIMUM, roundingMode(), ~control);
  pack();
}

/** Rounds the unpacked result to 64 bits, whatever the precision control says. */
export function roundOutExtended(): void {
  roundResult(64, MINIMUM, MAXIMUM, roundingMode(), ~control);
  pack();
}

/** The result of an operation on one number that is a NaN or no number. */
export function propagateOne(kind: u32, se: u32, sig: u64): void {
  if (kind == CLASS_UNSUPPORTED) {
    invalid();
    return;
  }
  if (kind == CLASS_SIGNALING) signal(IE);
  setOut(se, sig | QUIET);
}

/** The result of an operation of which one is a NaN or no number (Intel SDM 1, table 4-7, and 8.5.1.2). */
export function propagate(aKind: u32, aSe: u32, a: u64, bKind: u32, bSe: u32, b: u64): void {
  if (aKind == CLASS_UNSUPPORTED || bKind == CLASS_UNSUPPORTED) {
    invalid();
    return;
  }
  if (aKind == CLASS_SIGNALING || bKind == CLASS_SIGNALING) signal(IE);
  let first: bool;
  if (aKind < CLASS_QUIET) first = false;
  else if (bKind < CLASS_QUIET) first = true;
  else if (aKind != bKind) first = aKind == CLASS_QUIET;
  else first = a > b || (a == b && (aSe & SIGN) == 0);
  setOut(first ? aSe : bSe, (first ? a : b) | QUIET);
}

// Operations, numbered as in ModRM.reg of D8 and DC.
export const ADD: u32 = 0;
export const MULTIPLY: u32 = 1;
export const SUBTRACT: u32 = 4;
export const SUBTRACT_REVERSED: u32 = 5;
export const DIVIDE: u32 = 6;
export const DIVIDE_REVERSED: u32 = 7;

export function arithmetic(operation: u32, aSe: u32, a: u64, bSe: u32, b: u64): void {
  if (operation == SUBTRACT_REVERSED || operation == DIVIDE_REVERSED) {
    arithmetic(operation - 1, bSe, b, aSe, a);
    return;
  }
  let aKind = classOf(aSe, a);
  let bKind = classOf(bSe, b);
  if (aKind > CLASS_INFINITE || bKind > CLASS_INFINITE) {
    propagate(aKind, aSe, a, bKind, bSe, b);
    return;
  }
  const aSign = aSe >> 15;
  let bSign = bSe >> 15;
  if (operation == SUBTRACT) bSign ^= 1;
  const product = aSign ^ bSign;
  const adds = operation == ADD || operation == SUBTRACT;

  // What is invalid or divides by zero, before the denormals are looked at.
  if (adds) {
    if (aKind == CLASS_INFINITE && bKind == CLASS_INFINITE && product != 0) {
      invalid();
      return;
    }
  } else if (operation == MULTIPLY) {
    if ((aKind == CLASS_INFINITE && bKind == CLASS_ZERO) || (aKind == CLASS_ZERO && bKind == CLASS_INFINITE)) {
      invalid();
      return;
    }
  } else {
    if (aKind == bKind && (aKind == CLASS_ZERO || aKind == CLASS_INFINITE)) {
      invalid();
      return;
    }
    if (bKind == CLASS_ZERO && aKind != CLASS_INFINITE) {
      signal(ZE);
      setInfinity(product);
      return;
    }
  }
  if (aKind == CLASS_DENORMAL || bKind == CLASS_DENORMAL || sourceDenormal) {
    if (denormalOperand()) return;
  }
  if (aKind == CLASS_INFINITE || bKind == CLASS_INFINITE) {
    if (adds) setInfinity(aKind == CLASS_INFINITE ? aSign : bSign);
    else if (operation == MULTIPLY || aKind == CLASS_INFINITE) setInfinity(product);
    else setZero(product);
    return;
  }

  let aExponent = exponentOf(aSe);
  let bExponent = exponentOf(bSe);
  if (aKind == CLASS_DENORMAL) {
    const count = <u32>clz(a);
    a <<= count;
    aExponent -= count;
  }
  if (bKind == CLASS_DENORMAL) {
    const count = <u32>clz(b);
    b <<= count;
    bExponent -= count;
  }
  if (adds) {
    if (a == 0) {
      if (b == 0) {
        setZero(aSign == bSign ? aSign : u32(roundingMode() == DOWN));
        return;
      }
      setResult(bSign, bExponent, b, 0);
    } else if (b == 0) setResult(aSign, aExponent, a, 0);
    else if (product == 0) addMagnitudes(aSign, aExponent, a, bExponent, b);
    else subtractMagnitudes(aSign, aExponent, a, bExponent, b);
    if (resultHigh == 0) {
      setZero(u32(roundingMode() == DOWN));
      return;
    }
  } else {
    if (a == 0 || b == 0) {
      setZero(product);
      return;
    }
    if (operation == MULTIPLY) multiply(product, aExponent, a, bExponent, b);
    else divide(product, aExponent, a, bExponent, b);
  }
  roundOut();
}

export function root(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (kind > CLASS_INFINITE) {
    propagateOne(kind, se, sig);
    return;
  }
  if (kind == CLASS_ZERO) {
    setOut(se, sig);
    return;
  }
  if (se & SIGN) {
    invalid();
    return;
  }
  if (kind == CLASS_INFINITE) {
    setOut(se, sig);
    return;
  }
  let exponent = exponentOf(se);
  if (kind == CLASS_DENORMAL) {
    if (denormalOperand()) return;
    const count = <u32>clz(sig);
    sig <<= count;
    exponent -= count;
  }
  squareRoot(exponent, sig);
  roundOut();
}

// Condition codes in the status word.
export const C0: u32 = 0x0100;
export const C1: u32 = 0x0200;
export const C2: u32 = 0x0400;
export const C3: u32 = 0x4000;

/** C3, C2 and C0 of a comparison. Quiet NaNs are invalid unless `quiet`. */
export function compare(aSe: u32, a: u64, bSe: u32, b: u64, quiet: bool): u32 {
  const aKind = classOf(aSe, a);
  const bKind = classOf(bSe, b);
  if (aKind > CLASS_INFINITE || bKind > CLASS_INFINITE) {
    if (!quiet || aKind > CLASS_QUIET || bKind > CLASS_QUIET) signal(IE);
    return C0 | C2 | C3;
  }
  if (aKind == CLASS_DENORMAL || bKind == CLASS_DENORMAL || sourceDenormal) signal(DE);
  if ((a | b) == 0) return C3;
  const negative = (aSe & SIGN) != 0;
  if (negative != ((bSe & SIGN) != 0)) return negative ? C0 : 0;
  const aExponent = exponentOf(aSe);
  const bExponent = exponentOf(bSe);
  if (aExponent == bExponent && a == b) return C3;
  // A zero's significand of 0 with the smallest exponent orders it below everything.
  const less = aExponent != bExponent ? aExponent < bExponent : a < b;
  return less != negative ? C0 : 0;
}

/** A number of 32 bits, as 80 bits. */
export function fromFloat32(bits: u32): void {
  const sign = (bits >> 31) << 15;
  const exponent = (bits >> 23) & 0xff;
  const fraction = <u64>(bits & 0x7fffff) << 40;
  if (exponent == 0) {
    if (fraction == 0) {
      setOut(sign, 0);
      return;
    }
    sourceDenormal = true;
    const count = <u32>clz(fraction);
    setOut(sign | (BIAS - 126 - count), fraction << count);
  } else setOut(sign | (exponent == 0xff ? EXPONENT : exponent + BIAS - 127), TOP_BIT | fraction);
}

/** A number of 64 bits, as 80 bits. */
export function fromFloat64(bits: u64): void {
  const sign = <u32>(bits >> 63) << 15;
  const exponent = <u32>(bits >> 52) & 0x7ff;
  const fraction = (bits & 0xfffffffffffff) << 11;
  if (exponent == 0) {
    if (fraction == 0) {
      setOut(sign, 0);
      return;
    }
    sourceDenormal = true;
    const count = <u32>clz(fraction);
    setOut(sign | (BIAS - 1022 - count), fraction << count);
  } else setOut(sign | (exponent == 0x7ff ? EXPONENT : exponent + BIAS - 1023), TOP_BIT | fraction);
}

export function fromInteger(value: i64): void {
  if (value == 0) {
    setOut(0, 0);
    return;
  }
  const magnitude = value < 0 ? 0 - <u64>value : <u64>value;
  const count = <u32>clz(magnitude);
  setOut((value < 0 ? SIGN : 0) | (BIAS + 63 - count), magnitude << count);
}

/** Eighteen decimal digits, as FBLD reads them: two in each of nine bytes, and a sign. */
export function fromDecimal(at: u32): void {
  let value: u64 = 0;
  for (let i = 8; i >= 0; i--) {
    const digits = <u32>load<u8>(at + i);
    value = value * 100 + (digits >> 4) * 10 + (digits & 15);
  }
  fromInteger(value);
  if (load<u8>(at, 9) & 0x80) outSe |= SIGN;
}

/** Loads a signaling NaN's quiet form and says that it was one: what FLD of 32 and 64 bits does. */
export function quietLoaded(): void {
  if ((outSe & EXPONENT) == EXPONENT && outSig != TOP_BIT && (outSig & QUIET) == 0) {
    signal(IE);
    outSig |= QUIET;
  }
}

/** Rounded to 32 bits. With an exception that is not masked the caller stores nothing. */
export function toFloat32(se: u32, sig: u64): u32 {
  return <u32>toFloat(se, sig, 24, -126, 127, 23, 0xff);
}

export function toFloat64(se: u32, sig: u64): u64 {
  return toFloat(se, sig, 53, -1022, 1023, 52, 0x7ff);
}

function toFloat(se: u32, sig: u64, bits: u32, minimum: i32, maximum: i32, fractionBits: u32, top: u32): u64 {
  const kind = classOf(se, sig);
  const mask: u64 = ((<u64>1) << fractionBits) - 1;
  const aside = 63 - fractionBits;
  if (kind > CLASS_INFINITE) {
    propagateOne(kind, se, sig);
    return (<u64>((outSe >> 15 << (fractionBits == 23 ? 8 : 11)) | top) << fractionBits) | ((outSig >> aside) & mask);
  }
  const sign = <u64>(se >> 15) << (fractionBits == 23 ? 31 : 63);
  if (kind == CLASS_ZERO) return sign;
  if (kind == CLASS_INFINITE) return sign | (<u64>top << fractionBits);
  const count = <u32>clz(sig);
  setResult(se >> 15, exponentOf(se) - count, sig << count, 0);
  roundResult(bits, minimum, maximum, roundingMode(), ~control);
  // Nothing is stored, so that nothing was rounded.
  if (exceptions & ~control & (OE | UE)) withdraw(PE);
  if (resultHigh == 0) return sign;
  const biased = resultHigh >= TOP_BIT ? <u64>(resultExponent + maximum) & top : 0;
  return sign | (biased << fractionBits) | ((resultHigh >> aside) & mask);
}

/** Rounded to an integer's magnitude under a rounding mode; more than 64 bits give all ones and IE. */
function integerMagnitude(se: u32, sig: u64, mode: u32): u64 {
  const exponent = exponentOf(se);
  if (exponent > 63) {
    signal(IE);
    return u64.MAX_VALUE;
  }
  let whole: u64;
  let rest: u64;
  if (exponent == 63) {
    whole = sig;
    rest = 0;
  } else if (exponent >= 0) {
    whole = sig >> (63 - exponent);
    rest = sig << (exponent + 1);
  } else {
    whole = 0;
    rest = exponent == -1 ? sig : u64(sig != 0);
  }
  if (rest == 0) return whole;
  signal(PE);
  const up =
    mode == NEAREST
      ? rest > TOP_BIT || (rest == TOP_BIT && (whole & 1) != 0)
      : mode == ((se & SIGN) != 0 ? DOWN : UP);
  setRoundedUp(up);
  return whole + u64(up);
}

/** An integer of `bits` bits; what does not fit is invalid and gives the smallest one. */
export function toInteger(se: u32, sig: u64, bits: u32, truncate: bool): i64 {
  const kind = classOf(se, sig);
  const limit: u64 = (<u64>1) << (bits - 1);
  if (kind < CLASS_INFINITE) {
    const magnitude = integerMagnitude(se, sig, truncate ? 3 : roundingMode());
    const negative = (se & SIGN) != 0;
    if ((exceptions & IE) == 0 && (negative ? magnitude <= limit : magnitude < limit)) {
      return negative ? 0 - <i64>magnitude : <i64>magnitude;
    }
  }
  clearExceptions();
  signal(IE);
  return 0 - <i64>limit;
}

/** Stores ten bytes of decimal digits; the indefinite where they do not suffice. */
export function toDecimal(se: u32, sig: u64, to: u32): void {
  const kind = classOf(se, sig);
  let value: u64 = u64.MAX_VALUE;
  if (kind < CLASS_INFINITE) value = integerMagnitude(se, sig, roundingMode());
  if (value > 999999999999999999) {
    clearExceptions();
    signal(IE);
    store<u64>(to, 0xc000000000000000);
    store<u16>(to, 0xffff, 8);
    return;
  }
  for (let i: u32 = 0; i < 9; i++) {
    const digits = <u32>(value % 100);
    value /= 100;
    store<u8>(to + i, ((digits / 10) << 4) | (digits % 10));
  }
  store<u8>(to, (se & SIGN) >> 8, 9);
}

export function roundToInteger(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (kind > CLASS_INFINITE) {
    propagateOne(kind, se, sig);
    return;
  }
  if (kind == CLASS_DENORMAL && denormalOperand()) return;
  setOut(se, sig);
  if (kind == CLASS_ZERO || exponentOf(se) >= 63) return;
  const whole = integerMagnitude(se, sig, roundingMode());
  fromInteger(0);
  if (whole != 0) {
    const count = <u32>clz(whole);
    setOut(BIAS + 63 - count, whole << count);
  }
  outSe |= se & SIGN;
}

/** ST(0) * 2 to the power of ST(1) cut to an integer. */
export function scale(aSe: u32, a: u64, bSe: u32, b: u64): void {
  const aKind = classOf(aSe, a);
  const bKind = classOf(bSe, b);
  if (aKind > CLASS_INFINITE || bKind > CLASS_INFINITE) {
    propagate(aKind, aSe, a, bKind, bSe, b);
    return;
  }
  const sign = aSe >> 15;
  const down = (bSe & SIGN) != 0;
  if (bKind == CLASS_INFINITE) {
    if (down ? aKind == CLASS_INFINITE : aKind == CLASS_ZERO) {
      invalid();
      return;
    }
    if (aKind == CLASS_DENORMAL && denormalOperand()) return;
    if (down) setZero(sign);
    else setInfinity(sign);
    return;
  }
  if (aKind == CLASS_DENORMAL || bKind == CLASS_DENORMAL) {
    if (denormalOperand()) return;
  }
  if (aKind == CLASS_INFINITE || aKind == CLASS_ZERO) {
    setOut(aSe, a);
    return;
  }
  const exponent = exponentOf(bSe);
  let power: i32 = 0;
  if (exponent > 15) power = 0x10000;
  else if (exponent >= 0) power = <i32>(b >> (63 - exponent));
  const count = <u32>clz(a);
  setResult(sign, exponentOf(aSe) - count + (down ? -power : power), a << count, 0);
  roundOutExtended();
  // Too far out even for a wrapped exponent.
  if (exceptions & ~control & (OE | UE) && (resultExponent > MAXIMUM || resultExponent < MINIMUM)) {
    signal(PE);
    setRoundedUp(!down);
    if (down) setZero(sign);
    else setInfinity(sign);
  }
}

/** The exponent of a number; what remains of it is `extractSignificand`'s. */
export function extractExponent(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (kind > CLASS_INFINITE) propagateOne(kind, se, sig);
  else if (kind == CLASS_INFINITE) setInfinity(0);
  else if (kind == CLASS_ZERO) {
    signal(ZE);
    setInfinity(1);
  } else {
    if (kind == CLASS_DENORMAL && denormalOperand()) return;
    fromInteger(exponentOf(se) - <i32>clz(sig));
  }
}

export function extractSignificand(se: u32, sig: u64): void {
  const kind = classOf(se, sig);
  if (kind > CLASS_INFINITE) propagateOne(kind, se, sig);
  else if (kind == CLASS_INFINITE || kind == CLASS_ZERO) setOut(se, sig);
  else setOut((se & SIGN) | BIAS, sig << clz(sig));
}

/** C0 and C3 stay as they are. */
export const NO_QUOTIENT: u32 = 0xffff;

/**
 * The remainder of FPREM (quotient cut) or FPREM1 (quotient to the nearest). Returns C0 to C3: C2 where the exponents
 * are so far apart that only a part was done, else the quotient's lowest three bits in C0, C3 and C1. Where there is no
 * quotient, {@link NO_QUOTIENT}.
 */
export function partialRemainder(aSe: u32, a: u64, bSe: u32, b: u64, nearest: bool): u32 {
  const aKind = classOf(aSe, a);
  const bKind = classOf(bSe, b);
  if (aKind > CLASS_INFINITE || bKind > CLASS_INFINITE) {
    propagate(aKind, aSe, a, bKind, bSe, b);
    return NO_QUOTIENT;
  }
  if (aKind == CLASS_INFINITE || bKind == CLASS_ZERO) {
    invalid();
    return NO_QUOTIENT;
  }
  if (aKind == CLASS_DENORMAL || bKind == CLASS_DENORMAL) {
    if (denormalOperand()) return NO_QUOTIENT;
  }
  if (aKind == CLASS_ZERO) {
    setOut(aSe, a);
    return 0;
  }
  let aExponent = exponentOf(aSe);
  let bExponent = exponentOf(bSe);
  let count = <u32>clz(a);
  a <<= count;
  aExponent -= count;
  let sign = aSe >> 15;
  if (bKind == CLASS_INFINITE) {
    setResult(sign, aExponent, a, 0);
    roundOutExtended();
    return 0;
  }
  count = <u32>clz(b);
  b <<= count;
  bExponent -= count;

  const distance = aExponent - bExponent;
  let quotient: u64 = 0;
  if (distance >= 64) {
    // A part: the exponent falls by 32 to 63.
    const steps = (distance & 31) | 32;
    if (a >= b) a -= b;
    divideWide(a >> (64 - steps), a << steps, b);
    a = divisionRest;
    setResult(sign, aExponent - steps, a, 0);
    if (a == 0) setZero(sign);
    else {
      normalizeResult();
      roundOutExtended();
    }
    return C2;
  }
  if (distance >= 0) {
    quotient = u64(a >= b);
    if (quotient != 0) a -= b;
    if (distance > 0) {
      quotient = (quotient << distance) | divideWide(a >> (64 - distance), a << distance, b);
      a = divisionRest;
    }
    aExponent = bExponent;
  }
  if (nearest && distance >= -1) {
    // One more where more than half of b is left, or just half and the quotient is odd.
    const half = distance < 0 ? (a > b ? 1 : a == b ? 0 : -1) : a > b - a ? 1 : a == b - a ? 0 : -1;
    if (half > 0 || (half == 0 && (quotient & 1) != 0)) {
      if (distance < 0) a = b - (a - b);
      else a = b - a;
      quotient++;
      sign ^= 1;
    }
  }
  if (a == 0) setZero(aSe >> 15);
  else {
    setResult(sign, aExponent, a, 0);
    normalizeResult();
    roundOutExtended();
  }
  const bits = <u32>quotient;
  return ((bits & 4) != 0 ? C0 : 0) | ((bits & 2) != 0 ? C3 : 0) | ((bits & 1) != 0 ? C1 : 0);
}

