// Data movement that is not hot, and what fits nowhere else (Intel SDM 2).
import { condition, readFlags, setFlags, carry } from '../flags';
import { cpuid, hypercall, random32, unknownInstruction } from '../host';
import {
  readGuest64,
  readSized,
  writeGuest64,
  writeSized,
  probeWrite,
  probeRead,
  readPointer,
} from '../memory';
import {
  address,
  currentRip,
  effectiveAddress,
  effectiveOffset,
  inLongCode,
  loadSigned,
  readReg,
  readRm,
  signExtend,
  storeRegister,
  writeReg,
  writeRm,
} from '../operand';
import { raiseGp, raiseUd } from '../raise';
import {
  addressSizeOf,
  FLAG_IMMEDIATE,
  FLAG_SEGMENTED,
  FLAG_TO_REG,
  flagsOf,
  immOf,
  isMemory,
  nextOffsetOf,
  offsetOf,
  regOf,
  rmOf,
  segmentOf,
  sizeOf,
} from '../record';
import { segmentAddress } from '../segment-access';
import { baseOf } from '../segments';
import { CF, CPL, CS, EXCHANGE, MSR_TSC_AUX, R8, RAX, RBX, RCX, RDI, RDX, RSI, ZF } from '../state';
import { swapBytes } from './bits';

export function move(op: u32): void {
  const flags = flagsOf(op);
  if ((flags & FLAG_TO_REG) != 0) writeReg(op, readRm(op));
  else writeRm(op, (flags & FLAG_IMMEDIATE) != 0 ? <u64>immOf(op) : readReg(op));
}

/** MOVZX and MOVSX to 16 bits; the immediate is the source's size. */
export function moveExtended(op: u32, signed: bool): void {
  const size = <u32>immOf(op);
  const value = isMemory(op) ? readSized(effectiveAddress(op, 1 << size, false), size) : <u64>loadSigned(rmOf(op), size);
  storeRegister(regOf(op), sizeOf(op), signed ? <u64>signExtend(value, size) : size == 0 ? value & 0xff : value & 0xffff);
}

/** The address of MOV's direct offset form: the immediate. */
function directAddress(op: u32, write: bool): u64 {
  const offset = <u64>immOf(op);
  return (flagsOf(op) & FLAG_SEGMENTED) != 0
    ? segmentAddress(segmentOf(op), offset, 1 << sizeOf(op), write)
    : offset;
}

export function moveFromOffset(op: u32): void {
  storeRegister(RAX, sizeOf(op), readSized(directAddress(op, false), sizeOf(op)));
}

export function moveToOffset(op: u32): void {
  writeSized(directAddress(op, true), sizeOf(op), load<u64>(RAX));
}

export function loadAddress(op: u32): void {
  writeReg(op, effectiveOffset(op));
}

export function translateByte(op: u32): void {
  const mask: u64 = addressSizeOf(op) == 3 ? 0xffffffffffffffff : addressSizeOf(op) == 2 ? 0xffffffff : 0xffff;
  const offset = (load<u64>(RBX) + load<u8>(RAX)) & mask;
  const va = (flagsOf(op) & FLAG_SEGMENTED) != 0 ? segmentAddress(segmentOf(op), offset, 1, false) : offset;
  store<u8>(RAX, <u8>readSized(va, 0));
}

export function conditionalMove(op: u32): void {
  // The source is read, and may fault, whether it is moved or not.
  const value = readRm(op);
  writeReg(op, condition(<u32>immOf(op)) ? value : readReg(op));
}

export function setOnCondition(op: u32): void {
  writeRm(op, condition(<u32>immOf(op)) ? 1 : 0);
}

/** CBW, CWDE and CDQE. */
export function widen(op: u32): void {
  const size = sizeOf(op);
  storeRegister(RAX, size, loadSigned(RAX, size - 1));
}

/** CWD, CDQ and CQO. */
export function spreadSign(op: u32): void {
  const size = sizeOf(op);
  storeRegister(RDX, size, loadSigned(RAX, size) >> 63);
}

export function moveBigEndian(op: u32, toMemory: bool): void {
  const size = sizeOf(op);
  if (toMemory) writeRm(op, swapBytes(readReg(op), size));
  else writeReg(op, swapBytes(readRm(op), size));
}

export function setAlFromCarry(): void {
  store<u8>(RAX, carry() != 0 ? 0xff : 0);
}

export function compareExchange8(op: u32): void {
  const va = effectiveAddress(op, 8, true);
  probeWrite(va, 8);
  const found = readGuest64(va);
  const expected = <u64>load<u32>(RAX) | (<u64>load<u32>(RDX) << 32);
  const same = found == expected;
  writeGuest64(va, same ? <u64>load<u32>(RBX) | (<u64>load<u32>(RCX) << 32) : found);
  if (!same) {
    store<u64>(RAX, found & 0xffffffff);
    store<u64>(RDX, found >> 32);
  }
  setFlags((readFlags() & ~ZF) | (same ? ZF : 0));
}

export function compareExchange16(op: u32): void {
  const va = effectiveAddress(op, 16, true);
  if ((va & 15) != 0) raiseGp(0);
  probeWrite(va, 16);
  const low = readGuest64(va);
  const high = readGuest64(va + 8);
  const same = low == load<u64>(RAX) && high == load<u64>(RDX);
  writeGuest64(va, same ? load<u64>(RBX) : low);
  writeGuest64(va + 8, same ? load<u64>(RCX) : high);
  if (!same) {
    store<u64>(RAX, low);
    store<u64>(RDX, high);
  }
  setFlags((readFlags() & ~ZF) | (same ? ZF : 0));
}

export function randomNumber(op: u32): void {
  const value = <u64>random32() | (<u64>random32() << 32);
  storeRegister(rmOf(op), sizeOf(op), value);
  setFlags(CF);
}

export function readProcessorId(op: u32): void {
  storeRegister(rmOf(op), inLongCode() ? 3 : 2, load<u64>(MSR_TSC_AUX));
}

export function identify(): void {
  cpuid(load<u32>(RAX), load<u32>(RCX));
  store<u64>(RAX, load<u32>(EXCHANGE));
  store<u64>(RBX, load<u32>(EXCHANGE + 4));
  store<u64>(RCX, load<u32>(EXCHANGE + 8));
  store<u64>(RDX, load<u32>(EXCHANGE + 12));
}

function pair(high: u32, low: u32): u64 {
  return (<u64>load<u32>(high) << 32) | load<u32>(low);
}

/** VMCALL and VMMCALL: a hypercall (TLFS 3.7). */
export function callHypervisor(): void {
  if (load<u32>(CPL) != 0) raiseUd();
  const long = inLongCode();
  store<u64>(EXCHANGE, long ? load<u64>(RCX) : pair(RDX, RAX));
  store<u64>(EXCHANGE + 8, long ? load<u64>(RDX) : pair(RBX, RCX));
  store<u64>(EXCHANGE + 16, long ? load<u64>(R8) : pair(RDI, RSI));
  store<u64>(EXCHANGE + 24, 0);
  if (hypercall() == 0) raiseUd();
  const result = load<u64>(EXCHANGE + 24);
  if (long) {
    store<u64>(RAX, result);
  } else {
    store<u64>(RAX, result & 0xffffffff);
    store<u64>(RDX, result >> 32);
  }
}

/** CLFLUSH checks as a read does. */
export function flushLine(op: u32): void {
  probeRead(effectiveAddress(op, 1, false), 1);
}

/** Tells the host what was not known, then #UD. */
export function unknown(op: u32): void {
  const length = nextOffsetOf(op) - offsetOf(op);
  const va = baseOf(CS) + currentRip(op);
  const at = readPointer(inLongCode() ? currentRip(op) : va & 0xffffffff, length);
  memory.copy(EXCHANGE, at, length);
  unknownInstruction(length);
  raiseUd();
}
