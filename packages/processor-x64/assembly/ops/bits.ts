// Bit tests, scans, counts and the BMI instructions (Intel SDM 2).
import { lazyLogic, lazyShift, readFlags, setFlags } from '../flags';
import {
  effectiveOffset,
  loadUnsigned,
  readReg,
  readRm,
  signExtend,
  storeRegister,
  writeReg,
} from '../operand';
import { beginRm, finishRm } from '../operand';
import { probeWrite, readSized, writeSized } from '../memory';
import {
  addressSizeOf,
  FLAG_IMMEDIATE,
  FLAG_SEGMENTED,
  flagsOf,
  immOf,
  isMemory,
  regOf,
  segmentOf,
  sizeOf,
} from '../record';
import { segmentAddress } from '../segment-access';
import { CF, GPR, RDX, ZF } from '../state';
import { multiplyHigh } from './alu';

/** BT, BTS, BTR and BTC, numbered 0 to 3: with a register, the bit may lie anywhere in memory. */
export function bitTest(op: u32, operation: u32): void {
  const size = sizeOf(op);
  const bits: u64 = 8 << <u64>size;
  const byImm = (flagsOf(op) & FLAG_IMMEDIATE) != 0;
  if (!isMemory(op) || byImm) {
    const n = (byImm ? <u64>immOf(op) : readReg(op)) & (bits - 1);
    if (operation == 0) {
      report(readRm(op), n);
      return;
    }
    const value = beginRm(op);
    finishRm(op, changed(value, n, operation));
    report(value, n);
    return;
  }
  const index = signExtend(readReg(op), size);
  // Which operand of its size, counted from the address given.
  const offset = effectiveOffset(op) + ((<u64>(index >> (3 + <i64>size))) << <u64>size);
  const masked = addressSizeOf(op) == 3 ? offset : addressSizeOf(op) == 2 ? offset & 0xffffffff : offset & 0xffff;
  const va =
    (flagsOf(op) & FLAG_SEGMENTED) != 0 ? segmentAddress(segmentOf(op), masked, 1 << size, operation != 0) : masked;
  const n = <u64>index & (bits - 1);
  if (operation == 0) {
    report(readSized(va, size), n);
    return;
  }
  probeWrite(va, 1 << size);
  const value = readSized(va, size);
  writeSized(va, size, changed(value, n, operation));
  report(value, n);
}

function changed(value: u64, n: u64, operation: u32): u64 {
  const bit: u64 = 1 << n;
  return operation == 1 ? value | bit : operation == 2 ? value & ~bit : value ^ bit;
}

/** The bit goes to CF; ZF stays, the others are undefined and stay too. */
function report(value: u64, n: u64): void {
  setFlags((readFlags() & ~CF) | (<u32>(value >> n) & CF));
}

/** BSF and BSR: a source of zero leaves the destination as it is. */
export function scan(op: u32, reverse: bool): void {
  const value = readRm(op);
  if (value == 0) {
    setFlags((readFlags() & ~ZF) | ZF);
    // AMD and Intel both keep the register, its upper half too.
    return;
  }
  writeReg(op, reverse ? 63 - clz(value) : ctz(value));
  setFlags(readFlags() & ~ZF);
}

function counted(result: u64, sourceZero: bool): void {
  setFlags((sourceZero ? CF : 0) | (result == 0 ? ZF : 0));
}

export function tzcnt(op: u32): void {
  const value = readRm(op);
  const result: u64 = value == 0 ? 8 << <u64>sizeOf(op) : ctz(value);
  writeReg(op, result);
  counted(result, value == 0);
}

export function lzcnt(op: u32): void {
  const value = readRm(op);
  const result: u64 = clz(value) - (64 - (8 << <u64>sizeOf(op)));
  writeReg(op, result);
  counted(result, value == 0);
}

export function countOnes(op: u32): void {
  const value = readRm(op);
  writeReg(op, popcnt(value));
  setFlags(value == 0 ? ZF : 0);
}

export function bswap(at: u32, size: u32): void {
  if (size == 3) store<u64>(at, bswap64(load<u64>(at)));
  else if (size == 2) store<u64>(at, bswap64(load<u64>(at)) >> 32);
  // With 16 bits the result is undefined: processors clear them.
  else store<u16>(at, 0);
}

function bswap64(value: u64): u64 {
  value = ((value >> 8) & 0x00ff00ff00ff00ff) | ((value & 0x00ff00ff00ff00ff) << 8);
  value = ((value >> 16) & 0x0000ffff0000ffff) | ((value & 0x0000ffff0000ffff) << 16);
  return (value >> 32) | (value << 32);
}

export function swapBytes(value: u64, size: u32): u64 {
  return bswap64(value) >> <u64>(64 - (8 << size));
}

/** CRC-32C, bit by bit of the source (Intel SDM 2, CRC32). */
export function crc32(op: u32): void {
  const bytes: u32 = 1 << sizeOf(op);
  let value = readRm(op);
  let crc = load<u32>(regOf(op));
  for (let i: u32 = 0; i < bytes; i++) {
    crc ^= <u32>value & 0xff;
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78 & (0 - (crc & 1)));
    value >>= 8;
  }
  store<u64>(regOf(op), crc);
}

// BMI. The register that VEX.vvvv names is in bits 32 and up of the immediate.

function third(op: u32): u32 {
  return GPR + (<u32>(immOf(op) >> 32) << 3);
}

function readThird(op: u32): u64 {
  return loadUnsigned(third(op), sizeOf(op));
}

function truncate(value: u64, size: u32): u64 {
  return size == 3 ? value : value & 0xffffffff;
}

/** ZF and SF by the result, CF as given, OF clear. */
function bmiFlags(result: u64, size: u32, carryOut: bool): void {
  lazyShift(signExtend(result, size), carryOut ? CF : 0);
}

export function andn(op: u32): void {
  const result = ~readThird(op) & readRm(op);
  writeReg(op, result);
  lazyLogic(signExtend(result, sizeOf(op)));
}

export const BLS_RESET: u32 = 1;
export const BLS_MASK: u32 = 2;
export const BLS_ISOLATE: u32 = 3;

export function bls(op: u32, operation: u32): void {
  const size = sizeOf(op);
  const value = readRm(op);
  const result = truncate(
    operation == BLS_RESET ? value & (value - 1) : operation == BLS_MASK ? value ^ (value - 1) : value & (0 - value),
    size,
  );
  storeRegister(third(op), size, result);
  bmiFlags(result, size, operation == BLS_ISOLATE ? value != 0 : value == 0);
}

export function bzhi(op: u32): void {
  const size = sizeOf(op);
  const bits: u64 = 8 << <u64>size;
  const value = readRm(op);
  const n = readThird(op) & 0xff;
  const result = n < bits ? value & ((<u64>1 << n) - 1) : value;
  writeReg(op, result);
  bmiFlags(result, size, n >= bits);
}

export function bextr(op: u32): void {
  const value = readRm(op);
  const control = readThird(op);
  const start = control & 0xff;
  const length = (control >> 8) & 0xff;
  let result: u64 = start < 64 ? value >> start : 0;
  if (length < 64) result &= (<u64>1 << length) - 1;
  writeReg(op, result);
  setFlags(result == 0 ? ZF : 0);
}

export function pext(op: u32): void {
  const value = readThird(op);
  let mask = readRm(op);
  let result: u64 = 0;
  let at: u64 = 0;
  for (; mask != 0; mask &= mask - 1) result |= ((value >> ctz(mask)) & 1) << at++;
  writeReg(op, result);
}

export function pdep(op: u32): void {
  let value = readThird(op);
  let mask = readRm(op);
  let result: u64 = 0;
  for (; mask != 0; mask &= mask - 1) {
    result |= (value & 1) << ctz(mask);
    value >>= 1;
  }
  writeReg(op, result);
}

export function mulx(op: u32): void {
  const b = readRm(op);
  if (sizeOf(op) == 3) {
    const a = load<u64>(RDX);
    const high = multiplyHigh(a, b);
    store<u64>(third(op), a * b);
    store<u64>(regOf(op), high);
  } else {
    const product = <u64>load<u32>(RDX) * b;
    store<u64>(third(op), product & 0xffffffff);
    store<u64>(regOf(op), product >> 32);
  }
}

export const SHIFT_LEFT: u32 = 0;
export const SHIFT_RIGHT: u32 = 1;
export const SHIFT_ARITHMETIC: u32 = 2;

/** SHLX, SHRX and SARX. */
export function shiftBy(op: u32, operation: u32): void {
  const size = sizeOf(op);
  const count = readThird(op) & (size == 3 ? 63 : 31);
  const value = readRm(op);
  if (operation == SHIFT_LEFT) writeReg(op, value << count);
  else if (operation == SHIFT_RIGHT) writeReg(op, value >> count);
  else writeReg(op, signExtend(value, size) >> <i64>count);
}

export function rorx(op: u32): void {
  const size = sizeOf(op);
  const value = readRm(op);
  if (size == 3) writeReg(op, rotr<u64>(value, <u64>immOf(op) & 63));
  else writeReg(op, rotr<u32>(<u32>value, <u32>immOf(op) & 31));
}
