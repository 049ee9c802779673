// String instructions and their repetition (Intel SDM 2, MOVS to SCAS, INS, OUTS, REP).
//
// A repetition runs a bounded number of times and then, if it is not done, leaves RIP where it is: events are looked at
// and it starts again from its registers, as on a processor that an interrupt stops there.
import { arithmeticFlags } from '../flags';
import { portRead, portWrite } from '../host';
import { hostAddress, readSized, writeSized } from '../memory';
import { loadUnsigned, signExtend, storeRegister } from '../operand';
import { checkPort } from './io';
import { addressSizeOf, FLAG_REP, FLAG_REPNE, FLAG_SEGMENTED, flagsOf, segmentOf, sizeOf } from '../record';
import { segmentAddress } from '../segment-access';
import { ALIGNED_ONLY, BREAKPOINTS, DF, EFLAGS, ES, MODE, MODE_CODE64, MODE_FLAT, RAX, RCX, RDI, RDX, RSI, STEP_TRAP, ZF } from '../state';
import { READ, WRITE } from '../tlb';
import { compute, OP_CMP } from './alu';
import { H } from '../handlers';
import { handlerOf } from '../record';

/** Work between two looks at events: an element counts 1, of those that are moved at once every 64th. */
const BURST: u32 = 64;

function addressMask(op: u32): u64 {
  const size = addressSizeOf(op);
  return size == 3 ? 0xffffffffffffffff : size == 2 ? 0xffffffff : 0xffff;
}

function advance(register: u32, op: u32, step: i64): void {
  const mask = addressMask(op);
  const value = (load<u64>(register) + step) & mask;
  storeRegister(register, addressSizeOf(op), value);
}

function sourceAddress(op: u32): u64 {
  const offset = load<u64>(RSI) & addressMask(op);
  return (flagsOf(op) & FLAG_SEGMENTED) != 0 ? segmentAddress(segmentOf(op), offset, 1 << sizeOf(op), false) : offset;
}

function targetAddress(op: u32, write: bool): u64 {
  const offset = load<u64>(RDI) & addressMask(op);
  const mode = load<u32>(MODE);
  if ((mode & 3) == MODE_CODE64 || ((mode & MODE_FLAT) != 0 && addressSizeOf(op) == 2)) return offset;
  return segmentAddress(ES, offset, 1 << sizeOf(op), write);
}

/** One element; the direction's step is in bytes. */
function once(op: u32, handler: u32, step: i64): void {
  const size = sizeOf(op);
  switch (handler) {
    case H.MOVS:
      writeSized(targetAddress(op, true), size, readSized(sourceAddress(op), size));
      advance(RSI, op, step);
      advance(RDI, op, step);
      break;
    case H.STOS:
      writeSized(targetAddress(op, true), size, loadUnsigned(RAX, size));
      advance(RDI, op, step);
      break;
    case H.LODS:
      storeRegister(RAX, size, readSized(sourceAddress(op), size));
      advance(RSI, op, step);
      break;
    case H.CMPS: {
      const a = readSized(sourceAddress(op), size);
      const b = readSized(targetAddress(op, false), size);
      compute(OP_CMP, signExtend(a, size), signExtend(b, size), size);
      advance(RSI, op, step);
      advance(RDI, op, step);
      break;
    }
    case H.SCAS: {
      const b = readSized(targetAddress(op, false), size);
      compute(OP_CMP, signExtend(loadUnsigned(RAX, size), size), signExtend(b, size), size);
      advance(RDI, op, step);
      break;
    }
    case H.INS: {
      const va = targetAddress(op, true);
      hostAddress(va, 1, WRITE);
      writeSized(va, size, portRead(load<u16>(RDX), 1 << size));
      advance(RDI, op, step);
      break;
    }
    default:
      portWrite(load<u16>(RDX), 1 << size, <u32>readSized(sourceAddress(op), size));
      advance(RSI, op, step);
  }
}

/**
 * Moves or stores as many elements as lie in one page, forwards, at once. The number done, 0 where the short way does
 * not apply: across pages, with overlap, in devices' memory, in segments with limits.
 */
function bulk(op: u32, handler: u32, count: u64): u64 {
  if ((flagsOf(op) & FLAG_SEGMENTED) != 0 || addressSizeOf(op) == 1 || load<u32>(ALIGNED_ONLY) != 0) return 0;
  const mode = load<u32>(MODE);
  if ((mode & 3) != MODE_CODE64 && (mode & MODE_FLAT) == 0) return 0;
  const size = sizeOf(op);
  const to = load<u64>(RDI) & addressMask(op);
  let elements: u64 = min<u64>(count, (0x1000 - (to & 0xfff)) >> size);
  const from = load<u64>(RSI) & addressMask(op);
  if (handler == H.MOVS) elements = min<u64>(elements, (0x1000 - (from & 0xfff)) >> size);
  if (elements < 4) return 0;
  const bytes = <u32>elements << size;
  let source: u32 = 0;
  if (handler == H.MOVS) {
    source = hostAddress(from, bytes, READ);
    if (source == 0) return 0;
  }
  const target = hostAddress(to, bytes, WRITE);
  if (target == 0) return 0;
  if (handler == H.MOVS) {
    // An overlap in the direction of the copy repeats what was just written.
    if (target > source && target < source + bytes) return 0;
    memory.copy(target, source, bytes);
    advance(RSI, op, bytes);
  } else {
    const value = loadUnsigned(RAX, size);
    if (size == 0) memory.fill(target, <u8>value, bytes);
    else if (size == 1) for (let i: u32 = 0; i < bytes; i += 2) store<u16>(target + i, value);
    else if (size == 2) for (let i: u32 = 0; i < bytes; i += 4) store<u32>(target + i, value);
    else for (let i: u32 = 0; i < bytes; i += 8) store<u64>(target + i, value);
  }
  advance(RDI, op, bytes);
  return elements;
}

/** Runs a string instruction; whether it is done. */
export function runString(op: u32): bool {
  const handler = handlerOf(op);
  const size = sizeOf(op);
  const flags = flagsOf(op);
  const backwards = (load<u32>(EFLAGS) & DF) != 0;
  const step: i64 = backwards ? -(1 << <i64>size) : 1 << <i64>size;
  if (handler == H.INS || handler == H.OUTS) checkPort(load<u16>(RDX), 1 << size);
  if ((flags & (FLAG_REP | FLAG_REPNE)) == 0) {
    once(op, handler, step);
    return true;
  }
  const mask = addressMask(op);
  const compares = handler == H.CMPS || handler == H.SCAS;
  const until: u32 = (flags & FLAG_REPNE) != 0 ? ZF : 0;
  // Traps come behind each element.
  const traps = (load<u32>(STEP_TRAP) | load<u32>(BREAKPOINTS)) != 0;
  let left: u32 = traps ? 1 : BURST;
  while ((load<u64>(RCX) & mask) != 0) {
    if (left == 0) return false;
    if (!backwards && !traps && (handler == H.MOVS || handler == H.STOS)) {
      const done = bulk(op, handler, load<u64>(RCX) & mask);
      if (done != 0) {
        advance(RCX, op, -done);
        const cost: u32 = 1 + (<u32>done >> 6);
        left = left > cost ? left - cost : 0;
        continue;
      }
    }
    once(op, handler, step);
    advance(RCX, op, -1);
    left--;
    if (compares && (arithmeticFlags() & ZF) == until) return true;
    // A device may have asked for the slice to end.
    if (handler == H.INS || handler == H.OUTS) return (load<u64>(RCX) & mask) == 0;
  }
  return true;
}
