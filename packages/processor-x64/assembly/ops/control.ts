// Near control transfers of any size, stack instructions and the flags register (Intel SDM 2).
import { condition, readFlags, setFlags, writeFlags } from '../flags';
import { softwareInterrupt } from '../exceptions';
import { readGuest16, readSized, writeSized, probeWrite } from '../memory';
import {
  effectiveAddress,
  inRealAddressing,
  loadUnsigned,
  readRm,
  signExtend,
  storeRegister,
  writeRm,
} from '../operand';
import { raise, raiseGp } from '../raise';
import { addressSizeOf, dispOf, immOf, isMemory, nextOffsetOf, regOf, rmOf, sizeOf } from '../record';
import { loadSegment, selectorOf, updateMode } from '../segments';
import { setStackPointer, stackAddress, stackMask } from '../segment-access';
import { moveStack, peek, pop, push, pushAhead } from '../stack';
import {
  AC,
  AF,
  CF,
  CPL,
  DF,
  EFLAGS,
  EX_BR,
  GPR,
  ID,
  IF,
  IOPL,
  NT,
  OF,
  PF,
  RAX,
  RBP,
  RCX,
  RF,
  RIP,
  RIP_MASK,
  RIP_PAGE,
  RSP,
  SF,
  SHADOW,
  SHADOW_MOV_SS,
  SHADOW_STI,
  SS,
  TF,
  VIF,
  VIP,
  VM,
  ZF,
} from '../state';

/** RIP behind the instruction. */
export function nextRip(op: u32): u64 {
  return (load<u64>(RIP_PAGE) + nextOffsetOf(op)) & load<u64>(RIP_MASK);
}

/** Makes RIP that of the next instruction: for instructions that end their block. */
export function goNext(op: u32): void {
  store<u64>(RIP, nextRip(op));
}

/** A near target has the operand's size; in 64-bit mode one that is not canonical is a fault of the branch. */
function checkTarget(op: u32, target: u64): void {
  if (sizeOf(op) == 3 && <u64>((<i64>target << 16) >> 16) != target) raiseGp(0);
}

function setRip(op: u32, target: u64): void {
  const size = sizeOf(op);
  store<u64>(RIP, size == 1 ? target & 0xffff : size == 2 ? target & 0xffffffff : target);
}

function branchTarget(op: u32): u64 {
  return (load<u64>(RIP_PAGE) + <u64>(<i64>dispOf(op))) & load<u64>(RIP_MASK);
}

export function callRelative(op: u32): void {
  push(nextRip(op), sizeOf(op));
  setRip(op, branchTarget(op));
}

export function callOperand(op: u32): void {
  const target = readRm(op);
  checkTarget(op, target);
  push(nextRip(op), sizeOf(op));
  setRip(op, target);
}

export function jumpOperand(op: u32): void {
  const target = readRm(op);
  checkTarget(op, target);
  setRip(op, target);
}

export function returnNear(op: u32): void {
  const size = sizeOf(op);
  const target = peek(0, size);
  checkTarget(op, target);
  setStackPointer(load<u64>(RSP) + (1 << size) + <u64>immOf(op));
  setRip(op, target);
}

/** LOOPNE, LOOPE, LOOP and JCXZ, numbered as in the opcodes. */
export function loop(op: u32, kind: u32): void {
  const size = addressSizeOf(op);
  let taken: bool;
  if (kind == 3) {
    taken = loadUnsigned(RCX, size) == 0;
  } else {
    const count = loadUnsigned(RCX, size) - 1;
    storeRegister(RCX, size, count);
    taken = loadUnsigned(RCX, size) != 0;
    if (kind == 0) taken = taken && !condition(4);
    else if (kind == 1) taken = taken && condition(4);
  }
  if (taken) setRip(op, branchTarget(op));
  else goNext(op);
}

export function pushOperand(op: u32): void {
  push(readRm(op), sizeOf(op));
}

/** POP to memory forms its address with the stack pointer already moved; a fault puts it back. */
export function popOperand(op: u32): void {
  const size = sizeOf(op);
  const value = peek(0, size);
  if (!isMemory(op)) {
    moveStack(1, size);
    storeRegister(rmOf(op), size, value);
    return;
  }
  const before = load<u64>(RSP);
  moveStack(1, size);
  const after = load<u64>(RSP);
  const va = effectiveAddressAfter(op, before, size);
  store<u64>(RSP, before);
  writeSized(va, size, value);
  store<u64>(RSP, after);
}

function effectiveAddressAfter(op: u32, before: u64, size: u32): u64 {
  // A fault in the segment check leaves with RSP as it was: only addresses by RSP need the moved one.
  if (rmOf(op) == RSP) return effectiveAddress(op, 1 << size, true);
  const after = load<u64>(RSP);
  store<u64>(RSP, before);
  const va = effectiveAddress(op, 1 << size, true);
  store<u64>(RSP, after);
  return va;
}

export function pushAll(op: u32): void {
  const size = sizeOf(op);
  // All eight or none.
  for (let i: u32 = 0; i < 8; i++) probeStack(i + 1, size);
  for (let i: u32 = 0; i < 8; i++) pushAhead(i + 1, size, loadUnsigned(GPR + (i << 3), size));
  moveStack(-8, size);
}

function probeStack(index: u32, size: u32): void {
  probeWrite(stackAddress((load<u64>(RSP) - (index << size)) & stackMask(), 1 << size, true), 1 << size);
}

export function popAll(op: u32): void {
  const size = sizeOf(op);
  for (let i: u32 = 0; i < 8; i++) peek(i, size);
  for (let i: u32 = 0; i < 8; i++) {
    // The stack pointer's own place is skipped.
    if (i != 3) storeRegister(GPR + ((7 - i) << 3), size, peek(i, size));
  }
  moveStack(8, size);
}

/** Virtual-8086 code needs IOPL 3 for what touches IF and for INT n (without VME). */
function checkVirtualFlags(): void {
  const flags = load<u32>(EFLAGS);
  if ((flags & VM) != 0 && (flags & IOPL) != IOPL) raiseGp(0);
}

export function pushFlags(op: u32): void {
  checkVirtualFlags();
  push(readFlags() & ~(VM | RF), sizeOf(op));
}

export function popFlags(op: u32): void {
  checkVirtualFlags();
  const size = sizeOf(op);
  const value = <u32>pop(size);
  const flags = readFlags();
  const cpl = load<u32>(CPL);
  let changes: u32 = CF | PF | AF | ZF | SF | TF | DF | OF | NT;
  if (size != 1) changes |= AC | ID;
  if (cpl <= ((flags & IOPL) >> 12) || inRealAddressing()) changes |= IF;
  if (cpl == 0) changes |= IOPL;
  let result = (flags & ~changes) | (value & changes);
  if (size != 1) result &= ~RF;
  if (size != 1 && cpl == 0) result &= ~(VIF | VIP);
  writeFlags(result);
  updateMode();
}

export function enter(op: u32): void {
  const size = sizeOf(op);
  const bytes: u64 = 1 << <u64>size;
  const room = <u64>immOf(op) & 0xffff;
  const level = (<u32>immOf(op) >> 16) & 31;
  const mask = stackMask();
  const frame = (load<u64>(RSP) - bytes) & mask;
  let top = frame;
  writeSized(stackAddress(top, 1 << size, true), size, loadUnsigned(RBP, size));
  if (level > 0) {
    let from = load<u64>(RBP);
    for (let i: u32 = 1; i < level; i++) {
      from = (from - bytes) & mask;
      const pointer = readSized(stackAddress(from, 1 << size, false), size);
      top = (top - bytes) & mask;
      writeSized(stackAddress(top, 1 << size, true), size, pointer);
    }
    top = (top - bytes) & mask;
    writeSized(stackAddress(top, 1 << size, true), size, frame);
  }
  top = (top - room) & mask;
  // The last byte of the frame must be writable.
  probeWrite(stackAddress(top, 1, true), 1);
  storeRegister(RBP, size, frame);
  setStackPointer(top);
}

export function leave(op: u32): void {
  const size = sizeOf(op);
  const mask = stackMask();
  const frame = load<u64>(RBP) & mask;
  const value = readSized(stackAddress(frame, 1 << size, false), size);
  setStackPointer(frame + (1 << size));
  storeRegister(RBP, size, value);
}

export function pushSegment(op: u32): void {
  const size = sizeOf(op);
  const selector = selectorOf(<u32>immOf(op));
  // With 32 bits processors write only the lower half of the slot.
  if (size == 2) {
    const top = (load<u64>(RSP) - 4) & stackMask();
    writeSized(stackAddress(top, 2, true), 1, selector);
    setStackPointer(top);
  } else {
    push(selector, size);
  }
}

export function popSegment(op: u32): void {
  const n = <u32>immOf(op);
  const selector = <u32>peek(0, sizeOf(op)) & 0xffff;
  const before = load<u64>(RSP);
  const mask = stackMask();
  loadSegment(n, selector);
  const after = before + (1 << sizeOf(op));
  store<u64>(RSP, (before & ~mask) | (after & mask));
  if (n == SS) store<u32>(SHADOW, SHADOW_MOV_SS);
}

export function moveToSegment(op: u32): void {
  const n = <u32>immOf(op);
  loadSegment(n, <u32>readRm(op) & 0xffff);
  if (n == SS) store<u32>(SHADOW, SHADOW_MOV_SS);
}

export function moveFromSegment(op: u32): void {
  writeRm(op, selectorOf(<u32>immOf(op)));
}

/** LDS, LES, LSS, LFS and LGS. */
export function loadFar(op: u32): void {
  const size = sizeOf(op);
  const bytes: u32 = 1 << size;
  const va = effectiveAddress(op, bytes + 2, false);
  const offset = readSized(va, size);
  const selector = readGuest16(va + bytes);
  loadSegment(<u32>immOf(op), selector);
  storeRegister(regOf(op), size, offset);
}

/** The pointer of a far JMP or CALL through memory: {@link farSelector} has its selector. */
let selector: u32 = 0;

export function farPointer(op: u32): u64 {
  const size = sizeOf(op);
  const bytes: u32 = 1 << size;
  const va = effectiveAddress(op, bytes + 2, false);
  const offset = readSized(va, size);
  selector = readGuest16(va + bytes);
  return offset;
}

export function farSelector(): u32 {
  return selector;
}

export function interrupt(op: u32, vector: u32): void {
  softwareInterrupt(vector, nextRip(op));
}

/** INT n, unlike INT3 and INTO, is for virtual-8086 code of IOPL 3 only. */
export function numberedInterrupt(op: u32): void {
  checkVirtualFlags();
  interrupt(op, <u32>immOf(op) & 0xff);
}

export function bound(op: u32): void {
  const size = sizeOf(op);
  const bytes: u32 = 1 << size;
  const va = effectiveAddress(op, bytes * 2, false);
  const index = signExtend(loadUnsigned(regOf(op), size), size);
  const lower = signExtend(readSized(va, size), size);
  const upper = signExtend(readSized(va + bytes, size), size);
  if (index < lower || index > upper) raise(EX_BR);
}

/** CLI and STI: IOPL decides. */
export function setInterruptFlag(op: u32, on: bool): void {
  const flags = load<u32>(EFLAGS);
  if (!inRealAddressing() || (flags & VM) != 0) {
    if (load<u32>(CPL) > ((flags & IOPL) >> 12)) raiseGp(0);
  }
  if (on && (flags & IF) == 0) store<u32>(SHADOW, SHADOW_STI);
  store<u32>(EFLAGS, on ? flags | IF : flags & ~IF);
}

export function storeAh(): void {
  const ah = <u32>load<u8>(RAX, 1);
  const kept = readFlags() & OF;
  setFlags(kept | (ah & (CF | PF | AF | ZF | SF)));
}

export function loadAh(): void {
  store<u8>(RAX, <u8>readFlags(), 1);
}
