// Integer arithmetic and logic of any size and form (Intel SDM 2); the common forms have handlers in hot-handlers.ts.
import {
  ADC,
  ADD,
  carry,
  DEC,
  INC,
  lazy,
  lazyLogic,
  lazyShift,
  readFlags,
  SBB,
  setFlags,
  SUB,
} from '../flags';
import {
  beginRm,
  finishRm,
  loadSigned,
  readReg,
  readRm,
  signExtend,
  storeRegister,
  writeReg,
} from '../operand';
import { raise } from '../raise';
import { FLAG_IMMEDIATE, FLAG_TO_REG, flagsOf, immOf, isMemory, regOf, sizeOf } from '../record';
import { AF, CF, EX_DE, OF, PF, RAX, RDX, SF, ZF } from '../state';

// Numbered as in the opcodes.
export const OP_ADD: u32 = 0;
export const OP_OR: u32 = 1;
export const OP_ADC: u32 = 2;
export const OP_SBB: u32 = 3;
export const OP_AND: u32 = 4;
export const OP_SUB: u32 = 5;
export const OP_XOR: u32 = 6;
export const OP_CMP: u32 = 7;

/** Computes on sign-extended operands and sets the flags. */
export function compute(operation: u32, a: i64, b: i64, size: u32): i64 {
  let result: i64;
  switch (operation) {
    case OP_ADD:
      result = signExtend(a + b, size);
      lazy(ADD, result, a, b);
      return result;
    case OP_ADC:
      result = signExtend(a + b + carry(), size);
      lazy(ADC, result, a, b);
      return result;
    case OP_SBB:
      result = signExtend(a - b - carry(), size);
      lazy(SBB, result, a, b);
      return result;
    case OP_SUB:
    case OP_CMP:
      result = signExtend(a - b, size);
      lazy(SUB, result, a, b);
      return result;
    case OP_OR:
      result = a | b;
      break;
    case OP_AND:
      result = a & b;
      break;
    default:
      result = a ^ b;
  }
  lazyLogic(result);
  return result;
}

/** ADD, OR, ADC, SBB, AND, SUB, XOR and CMP. */
export function alu(op: u32, operation: u32): void {
  const size = sizeOf(op);
  const flags = flagsOf(op);
  if ((flags & FLAG_TO_REG) != 0) {
    const b = signExtend(readRm(op), size);
    const result = compute(operation, loadSigned(regOf(op), size), b, size);
    if (operation != OP_CMP) writeReg(op, result);
    return;
  }
  const b = (flags & FLAG_IMMEDIATE) != 0 ? immOf(op) : loadSigned(regOf(op), size);
  if (operation == OP_CMP) {
    compute(operation, signExtend(readRm(op), size), b, size);
    return;
  }
  const a = signExtend(beginRm(op), size);
  finishRm(op, compute(operation, a, b, size));
}

export function test(op: u32): void {
  const size = sizeOf(op);
  const b = (flagsOf(op) & FLAG_IMMEDIATE) != 0 ? immOf(op) : loadSigned(regOf(op), size);
  lazyLogic(signExtend(readRm(op), size) & b);
}

export function incDec(op: u32, decrement: bool): void {
  const size = sizeOf(op);
  const a = signExtend(beginRm(op), size);
  const kept = carry();
  const result = signExtend(decrement ? a - 1 : a + 1, size);
  lazy(decrement ? DEC : INC, result, a, kept);
  finishRm(op, result);
}

export function not(op: u32): void {
  finishRm(op, ~beginRm(op));
}

export function neg(op: u32): void {
  const size = sizeOf(op);
  const b = signExtend(beginRm(op), size);
  const result = signExtend(-b, size);
  lazy(SUB, result, 0, b);
  finishRm(op, result);
}

export function xadd(op: u32): void {
  const size = sizeOf(op);
  const a = signExtend(beginRm(op), size);
  const b = loadSigned(regOf(op), size);
  const result = compute(OP_ADD, a, b, size);
  // With both operands one register, the sum stays.
  if (isMemory(op)) {
    finishRm(op, result);
    writeReg(op, a);
  } else {
    writeReg(op, a);
    finishRm(op, result);
  }
}

export function cmpxchg(op: u32): void {
  const size = sizeOf(op);
  const found = signExtend(beginRm(op), size);
  const accumulator = loadSigned(RAX, size);
  compute(OP_CMP, accumulator, found, size);
  if (accumulator == found) {
    finishRm(op, readReg(op));
    return;
  }
  // The destination is written back with what it had. A 32-bit register thereby keeps its upper half or not like RAX.
  if (isMemory(op)) finishRm(op, found);
  storeRegister(RAX, size, found);
}

export function xchg(op: u32): void {
  const value = beginRm(op);
  finishRm(op, readReg(op));
  writeReg(op, value);
}

// Multiplication and division.

let high: u64 = 0;

/** The low half of a product of 128 bits; the upper one is in `high`. */
function multiply(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff;
  const a1 = a >> 32;
  const b0 = b & 0xffffffff;
  const b1 = b >> 32;
  const low = a0 * b0;
  const middle = a1 * b0 + (low >> 32);
  const other = a0 * b1 + (middle & 0xffffffff);
  high = a1 * b1 + (middle >> 32) + (other >> 32);
  return a * b;
}

export function multiplyHigh(a: u64, b: u64): u64 {
  multiply(a, b);
  return high;
}

function multiplySigned(a: i64, b: i64): u64 {
  const low = multiply(a, b);
  if (a < 0) high -= b;
  if (b < 0) high -= a;
  return low;
}

/** CF and OF say that the upper half counts; SF, ZF and PF are undefined: they are those of the lower one. */
function multiplied(low: i64, overflow: bool): void {
  lazyShift(low, overflow ? CF | OF : 0);
}

export function mul(op: u32): void {
  const size = sizeOf(op);
  const b = readRm(op);
  if (size == 3) {
    const low = multiply(load<u64>(RAX), b);
    store<u64>(RAX, low);
    store<u64>(RDX, high);
    multiplied(low, high != 0);
    return;
  }
  const bits: u64 = 8 << <u64>size;
  const a = load<u64>(RAX) & ((1 << bits) - 1);
  const product = a * b;
  storeProduct(size, product);
  multiplied(signExtend(product, size), product >> bits != 0);
}

function storeProduct(size: u32, product: u64): void {
  if (size == 0) {
    store<u16>(RAX, product);
  } else if (size == 1) {
    store<u16>(RAX, product);
    store<u16>(RDX, product >> 16);
  } else {
    store<u64>(RAX, product & 0xffffffff);
    store<u64>(RDX, product >> 32);
  }
}

export function imul1(op: u32): void {
  const size = sizeOf(op);
  const b = signExtend(readRm(op), size);
  if (size == 3) {
    const low = multiplySigned(load<i64>(RAX), b);
    store<u64>(RAX, low);
    store<u64>(RDX, high);
    multiplied(low, high != <u64>(<i64>low >> 63));
    return;
  }
  const product = loadSigned(RAX, size) * b;
  storeProduct(size, product & (size == 2 ? 0xffffffffffffffff : (1 << (<u64>16 << <u64>size)) - 1));
  multiplied(signExtend(product, size), product != signExtend(product, size));
}

function imul(op: u32, a: i64, b: i64): void {
  const size = sizeOf(op);
  if (size == 3) {
    const low = multiplySigned(a, b);
    multiplied(low, high != <u64>(<i64>low >> 63));
    writeReg(op, low);
    return;
  }
  const product = a * b;
  const result = signExtend(product, size);
  multiplied(result, product != result);
  writeReg(op, result);
}

export function imul2(op: u32): void {
  imul(op, signExtend(readRm(op), sizeOf(op)), loadSigned(regOf(op), sizeOf(op)));
}

export function imul3(op: u32): void {
  imul(op, signExtend(readRm(op), sizeOf(op)), immOf(op));
}

/** Divides high:low by a divisor that is greater than high; the remainder is in `remainder`. */
function divide128(upper: u64, low: u64, divisor: u64): u64 {
  if (upper == 0) {
    remainder = low % divisor;
    return low / divisor;
  }
  let rest = upper;
  let quotient: u64 = 0;
  for (let bit = 63; bit >= 0; bit--) {
    const carried = rest >> 63;
    rest = (rest << 1) | ((low >> <u64>bit) & 1);
    quotient <<= 1;
    if (carried != 0 || rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
  }
  remainder = rest;
  return quotient;
}

let remainder: u64 = 0;

export function div(op: u32): void {
  const size = sizeOf(op);
  const divisor = readRm(op);
  if (divisor == 0) raise(EX_DE);
  if (size == 3) {
    if (load<u64>(RDX) >= divisor) raise(EX_DE);
    const quotient = divide128(load<u64>(RDX), load<u64>(RAX), divisor);
    store<u64>(RAX, quotient);
    store<u64>(RDX, remainder);
    return;
  }
  const dividend = loadDividend(size);
  const quotient = dividend / divisor;
  if (quotient >> (<u64>8 << <u64>size) != 0) raise(EX_DE);
  storeQuotient(size, quotient, dividend % divisor);
}

function loadDividend(size: u32): u64 {
  if (size == 0) return load<u16>(RAX);
  if (size == 1) return <u64>load<u16>(RAX) | (<u64>load<u16>(RDX) << 16);
  return <u64>load<u32>(RAX) | (<u64>load<u32>(RDX) << 32);
}

function storeQuotient(size: u32, quotient: u64, rest: u64): void {
  if (size == 0) {
    store<u8>(RAX, quotient);
    store<u8>(RAX, rest, 1);
  } else {
    storeRegister(RAX, size, quotient);
    storeRegister(RDX, size, rest);
  }
}

export function idiv(op: u32): void {
  const size = sizeOf(op);
  const divisor = signExtend(readRm(op), size);
  if (divisor == 0) raise(EX_DE);
  if (size == 3) {
    const upper = load<i64>(RDX);
    const negative = upper < 0;
    let low = load<u64>(RAX);
    let top = <u64>upper;
    if (negative) {
      low = ~low + 1;
      top = ~top + (low == 0 ? 1 : 0);
    }
    const magnitude = divisor < 0 ? <u64>-divisor : <u64>divisor;
    if (top >= magnitude) raise(EX_DE);
    const quotient = divide128(top, low, magnitude);
    const negate = negative != divisor < 0;
    if (quotient > (negate ? 1 << 63 : (<u64>1 << 63) - 1)) raise(EX_DE);
    store<u64>(RAX, negate ? -quotient : quotient);
    store<u64>(RDX, negative ? -remainder : remainder);
    return;
  }
  const dividend = size == 2 ? <i64>loadDividend(2) : signExtend(loadDividend(size), size + 1);
  // The one quotient of 64-bit operands that wraps.
  if (divisor == -1 && dividend == i64.MIN_VALUE) raise(EX_DE);
  const quotient = dividend / divisor;
  if (signExtend(quotient, size) != quotient) raise(EX_DE);
  storeQuotient(size, quotient, dividend % divisor);
}

// Decimal adjustment (Intel SDM 2, AAA to DAS); outside 64-bit mode.

export function daa(subtract: bool): void {
  const flags = readFlags();
  const before = <u32>load<u8>(RAX);
  let al = before;
  let bits: u32 = 0;
  if ((before & 15) > 9 || (flags & AF) != 0) {
    al = subtract ? al - 6 : al + 6;
    bits |= AF;
    if (subtract && (before < 6 || (flags & CF) != 0)) bits |= CF;
    if (!subtract && (flags & CF) != 0) bits |= CF;
  }
  if (before > 0x99 || (flags & CF) != 0) {
    al = subtract ? al - 0x60 : al + 0x60;
    bits |= CF;
  }
  store<u8>(RAX, al);
  setFlags(bits | resultFlags(al));
}

/** ZF, SF and PF of an 8-bit result. */
function resultFlags(value: u32): u32 {
  const low = value & 0xff;
  return (low == 0 ? ZF : 0) | (low & 0x80 ? SF : 0) | ((popcnt(low) & 1) == 0 ? PF : 0);
}

export function aaa(subtract: bool): void {
  const adjust = (load<u8>(RAX) & 15) > 9 || (readFlags() & AF) != 0;
  const ax = <u32>load<u16>(RAX);
  if (adjust) store<u16>(RAX, subtract ? ax - 0x106 : ax + 0x106);
  store<u8>(RAX, load<u8>(RAX) & 15);
  setFlags((adjust ? AF | CF : 0) | resultFlags(load<u8>(RAX)));
}

export function aam(op: u32): void {
  const base = <u32>immOf(op) & 0xff;
  if (base == 0) raise(EX_DE);
  const al = <u32>load<u8>(RAX);
  store<u8>(RAX, al / base, 1);
  store<u8>(RAX, al % base);
  setFlags(resultFlags(al % base));
}

export function aad(op: u32): void {
  const al = <u32>load<u8>(RAX) + <u32>load<u8>(RAX, 1) * (<u32>immOf(op) & 0xff);
  store<u16>(RAX, al & 0xff);
  setFlags(resultFlags(al));
}

/** ADCX and ADOX: an addition through one flag that leaves the others. */
export function addWithFlag(op: u32, flag: u32): void {
  const size = sizeOf(op);
  const flags = readFlags();
  const a = readReg(op);
  const b = readRm(op);
  const carried: u64 = (flags & flag) != 0 ? 1 : 0;
  const sum = a + b + carried;
  const out = size == 3 ? (carried != 0 ? sum <= a : sum < a) : sum >> 32 != 0;
  writeReg(op, sum);
  setFlags((flags & ~flag) | (out ? flag : 0));
}
