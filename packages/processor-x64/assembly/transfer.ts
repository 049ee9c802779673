// Control transfers between segments and levels: far JMP, CALL and RET, IRET, SYSCALL, SYSENTER and their returns
// (Intel SDM 3, 5.8; SDM 2 for each instruction).
import { readFlags, writeFlags } from './flags';
import { beginStack, endStack, espOfLevel, innerStack, pushStack, stackOfLevel } from './exceptions';
import { write } from './memory';
import { inLongCode, inRealAddressing } from './operand';
import { raiseGp, raiseUd, raiseWithError } from './raise';
import {
  ATTR_CODE,
  ATTR_DB,
  ATTR_EXPAND_DOWN,
  ATTR_G,
  ATTR_L,
  ATTR_PRESENT,
  ATTR_S,
  ATTR_WRITABLE,
  segment,
  setStackPointer,
} from './segment-access';
import {
  baseOf,
  descriptorAddress,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  dplOf,
  dropPrivilegedSegments,
  inLongMode,
  isNull,
  limitOf,
  markAccessed,
  nullStackAttr,
  readDescriptor,
  selectorOf,
  SELECTOR_MASK,
  setCode,
  setFlat,
  setRealCode,
  setSegment,
  systemRead64,
  updateMode,
} from './segments';
import { peek, pushAhead } from './stack';
import {
  AC,
  BREAKPOINTS,
  CPL,
  CR0,
  CR0_PE,
  CS,
  DS,
  EFER,
  EFER_SCE,
  ES,
  EX_GP,
  EX_NP,
  EX_SS,
  EX_TS,
  FS,
  GS,
  ID,
  IF,
  IOPL,
  MSR_CSTAR,
  MSR_FMASK,
  MSR_KERNEL_GS_BASE,
  MSR_LSTAR,
  MSR_STAR,
  MSR_SYSENTER_CS,
  MSR_SYSENTER_EIP,
  MSR_SYSENTER_ESP,
  NMI_BLOCKED,
  NT,
  R11,
  RCX,
  RDX,
  RF,
  RIP,
  RSP,
  SEG_BASE,
  SS,
  STEP_TRAP,
  TF,
  TR,
  VIF,
  VIP,
  VM,
} from './state';
import { selectSupervisorTable, selectTable } from './tlb';

/** Attributes of the flat segments that SYSCALL and its kind set: present, accessed, 4 KiB granular. */
const FLAT_CODE: u32 = ATTR_PRESENT | ATTR_S | 0xb | ATTR_G;
const FLAT_DATA: u32 = ATTR_PRESENT | ATTR_S | 0x3 | ATTR_G | ATTR_DB;

function isCanonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va;
}

/** Checks a direct far target's code segment, for a transfer that stays at its level. */
function sameLevelCode(selector: u32, descriptor: u64): void {
  const attr = descriptorAttr(descriptor);
  const error = selector & SELECTOR_MASK;
  const cpl = load<u32>(CPL);
  const conforming = (attr & ATTR_EXPAND_DOWN) != 0;
  if (conforming ? dplOf(attr) > cpl : (selector & 3) > cpl || dplOf(attr) != cpl) raiseGp(error);
  if (inLongMode() && (attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB)) raiseGp(error);
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_NP, error);
}

/** A target outside its segment, or not canonical, is #GP(0) before anything changes. */
function checkTarget(descriptor: u64, offset: u64): void {
  const attr = descriptorAttr(descriptor);
  if (inLongMode() && (attr & ATTR_L) != 0) {
    if (!isCanonical(offset)) raiseGp(0);
  } else if (offset > <u64>descriptorLimit(descriptor)) {
    raiseGp(0);
  }
}

// The call gate that was read last.
let gateSelector: u32 = 0;
let gateOffset: u64 = 0;
let gateCount: u32 = 0;
let gateWide: bool = false;

/** Reads a call gate and the descriptor of its code; raises what its rights ask for. */
function readGate(selector: u32, gate: u64): u64 {
  const attr = descriptorAttr(gate);
  const type = attr & 0x1f;
  const error = selector & SELECTOR_MASK;
  const long = inLongMode();
  // TSS and task gates are refused: there is no hardware task switching.
  if (type != 0xc && !(type == 4 && !long)) raiseGp(error);
  if (dplOf(attr) < load<u32>(CPL) || dplOf(attr) < (selector & 3)) raiseGp(error);
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_NP, error);
  gateWide = type == 0xc;
  gateSelector = <u32>(gate >> 16) & 0xffff;
  gateOffset = (gate & 0xffff) | (gateWide ? (gate >> 32) & 0xffff0000 : 0);
  gateCount = <u32>(gate >> 32) & 31;
  if (long) {
    const upper = systemRead64(descriptorAddress(selector, 16, EX_GP, 0) + 8);
    if (((upper >> 40) & 0x1f) != 0) raiseGp(error);
    gateOffset |= upper << 32;
  }
  if (isNull(gateSelector)) raiseGp(0);
  const descriptor = readDescriptor(gateSelector, EX_GP, 0);
  const code = descriptorAttr(descriptor);
  if ((code & (ATTR_S | ATTR_CODE)) != (ATTR_S | ATTR_CODE) || dplOf(code) > load<u32>(CPL)) {
    raiseGp(gateSelector & SELECTOR_MASK);
  }
  if (long && (code & (ATTR_L | ATTR_DB)) != ATTR_L) raiseGp(gateSelector & SELECTOR_MASK);
  if ((code & ATTR_PRESENT) == 0) raiseWithError(EX_NP, gateSelector & SELECTOR_MASK);
  return descriptor;
}

export function jumpFar(selector: u32, offset: u64): void {
  if (inRealAddressing()) {
    if (offset > 0xffff && limitOf(CS) == 0xffff) raiseGp(0);
    setRealCode(selector);
    store<u64>(RIP, offset & 0xffffffff);
    updateMode();
    return;
  }
  if (isNull(selector)) raiseGp(0);
  let descriptor = readDescriptor(selector, EX_GP, 0);
  const attr = descriptorAttr(descriptor);
  const cpl = load<u32>(CPL);
  if ((attr & ATTR_S) == 0) {
    descriptor = readGate(selector, descriptor);
    const code = descriptorAttr(descriptor);
    if ((code & ATTR_EXPAND_DOWN) == 0 && dplOf(code) != cpl) raiseGp(gateSelector & SELECTOR_MASK);
    checkTarget(descriptor, gateOffset);
    setCode(gateSelector, descriptor, cpl);
    store<u64>(RIP, gateOffset);
    updateMode();
    return;
  }
  if ((attr & ATTR_CODE) == 0) raiseGp(selector & SELECTOR_MASK);
  sameLevelCode(selector, descriptor);
  checkTarget(descriptor, offset);
  setCode(selector, descriptor, cpl);
  store<u64>(RIP, offset);
  updateMode();
}

/** @param size - of the operands pushed, as a power of two */
export function callFar(selector: u32, offset: u64, size: u32, returnTo: u64): void {
  if (inRealAddressing()) {
    if (offset > 0xffff && limitOf(CS) == 0xffff) raiseGp(0);
    pushAhead(1, size, selectorOf(CS));
    pushAhead(2, size, returnTo);
    setStackPointer(load<u64>(RSP) - (2 << size));
    setRealCode(selector);
    store<u64>(RIP, offset & 0xffffffff);
    updateMode();
    return;
  }
  if (isNull(selector)) raiseGp(0);
  const descriptor = readDescriptor(selector, EX_GP, 0);
  const attr = descriptorAttr(descriptor);
  if ((attr & ATTR_S) == 0) {
    callGate(readGate(selector, descriptor), returnTo);
    return;
  }
  if ((attr & ATTR_CODE) == 0) raiseGp(selector & SELECTOR_MASK);
  sameLevelCode(selector, descriptor);
  checkTarget(descriptor, offset);
  pushAhead(1, size, selectorOf(CS));
  pushAhead(2, size, returnTo);
  setStackPointer(load<u64>(RSP) - (2 << size));
  setCode(selector, descriptor, load<u32>(CPL));
  store<u64>(RIP, offset);
  updateMode();
}

function callGate(descriptor: u64, returnTo: u64): void {
  const cpl = load<u32>(CPL);
  const attr = descriptorAttr(descriptor);
  const level = (attr & ATTR_EXPAND_DOWN) != 0 ? cpl : dplOf(attr);
  const long = inLongMode();
  const size: u32 = long ? 3 : gateWide ? 2 : 1;
  checkTarget(descriptor, gateOffset);
  if (level == cpl) {
    pushAhead(1, size, selectorOf(CS));
    pushAhead(2, size, returnTo);
    setStackPointer(load<u64>(RSP) - (2 << size));
    setCode(gateSelector, descriptor, cpl);
    store<u64>(RIP, gateOffset);
    updateMode();
    return;
  }
  const oldSs = selectorOf(SS);
  const oldSp = load<u64>(RSP);
  if (long) {
    const at: u32 = 4 + (level << 3);
    if (at + 7 > limitOf(TR)) raiseWithError(EX_TS, selectorOf(TR) & SELECTOR_MASK);
    const top = systemRead64(baseOf(TR) + at);
    if (!isCanonical(top)) raiseWithError(EX_SS, 0);
    selectSupervisorTable();
    write<u64>(top - 8, oldSs);
    write<u64>(top - 16, oldSp);
    write<u64>(top - 24, selectorOf(CS));
    write<u64>(top - 32, returnTo);
    selectTable();
    setCode(gateSelector, descriptor, level);
    setSegment(SS, level, 0, 0, nullStackAttr(level));
    store<u64>(RSP, top - 32);
  } else {
    const ss = stackOfLevel(level);
    const stack = innerStack(ss, level);
    beginStack(stack, espOfLevel(), gateWide);
    const count = gateCount;
    // Parameters are copied from the old stack.
    selectSupervisorTable();
    pushStack(oldSs);
    pushStack(<u32>oldSp);
    for (let i = count; i > 0; i--) {
      selectTable();
      const parameter = <u32>peek(i - 1, size);
      selectSupervisorTable();
      pushStack(parameter);
    }
    pushStack(selectorOf(CS));
    pushStack(<u32>returnTo);
    selectTable();
    const stackAttr = markAccessed(ss, descriptorAttr(stack));
    setCode(gateSelector, descriptor, level);
    setSegment(SS, ss, descriptorBase(stack), descriptorLimit(stack), stackAttr);
    endStack();
  }
  store<u64>(RIP, gateOffset);
  updateMode();
}

/** Checks a return's code segment; the level that it returns to is the selector's. */
function returnCode(selector: u32): u64 {
  if (isNull(selector)) raiseGp(0);
  const descriptor = readDescriptor(selector, EX_GP, 0);
  const attr = descriptorAttr(descriptor);
  const error = selector & SELECTOR_MASK;
  const rpl = selector & 3;
  if ((attr & (ATTR_S | ATTR_CODE)) != (ATTR_S | ATTR_CODE) || rpl < load<u32>(CPL)) raiseGp(error);
  if ((attr & ATTR_EXPAND_DOWN) != 0 ? dplOf(attr) > rpl : dplOf(attr) != rpl) raiseGp(error);
  if (inLongMode() && (attr & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB)) raiseGp(error);
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_NP, error);
  return descriptor;
}

let returnStackAttr: u32 = 0;
let returnStackBase: u64 = 0;
let returnStackLimit: u32 = 0;

/** Checks the stack segment that a return to a level brings. */
function returnStack(selector: u32, level: u32, toLong: bool): void {
  if (isNull(selector)) {
    if (!toLong || level == 3 || (selector & 3) != level) raiseGp(0);
    returnStackAttr = nullStackAttr(level);
    returnStackBase = 0;
    returnStackLimit = 0;
    return;
  }
  const error = selector & SELECTOR_MASK;
  const descriptor = readDescriptor(selector, EX_GP, 0);
  const attr = descriptorAttr(descriptor);
  if (
    (selector & 3) != level ||
    dplOf(attr) != level ||
    (attr & (ATTR_S | ATTR_CODE | ATTR_WRITABLE)) != (ATTR_S | ATTR_WRITABLE)
  ) {
    raiseGp(error);
  }
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_SS, error);
  returnStackAttr = markAccessed(selector, attr);
  returnStackBase = descriptorBase(descriptor);
  returnStackLimit = descriptorLimit(descriptor);
}

export function returnFar(size: u32, release: u32): void {
  if (inRealAddressing()) {
    const offset = peek(0, size);
    const selector = <u32>peek(1, size) & 0xffff;
    setStackPointer(load<u64>(RSP) + (2 << size) + release);
    setRealCode(selector);
    store<u64>(RIP, offset);
    updateMode();
    return;
  }
  const offset = peek(0, size);
  const selector = <u32>peek(1, size) & 0xffff;
  const descriptor = returnCode(selector);
  checkTarget(descriptor, offset);
  const level = selector & 3;
  if (level == load<u32>(CPL)) {
    setStackPointer(load<u64>(RSP) + (2 << size) + release);
    setCode(selector, descriptor, level);
    store<u64>(RIP, offset);
    updateMode();
    return;
  }
  const at = (release >> size) + 2;
  const sp = peek(at, size);
  const ss = <u32>peek(at + 1, size) & 0xffff;
  const toLong = inLongMode() && (descriptorAttr(descriptor) & ATTR_L) != 0;
  returnStack(ss, level, toLong);
  setCode(selector, descriptor, level);
  setSegment(SS, ss, returnStackBase, returnStackLimit, returnStackAttr);
  setReturnStack(sp, size, toLong);
  store<u64>(RIP, offset);
  dropPrivilegedSegments(level);
  updateMode();
  setStackPointer(load<u64>(RSP) + release);
}

function setReturnStack(sp: u64, size: u32, toLong: bool): void {
  if (toLong) store<u64>(RSP, sp);
  else if ((returnStackAttr & ATTR_DB) != 0) store<u64>(RSP, sp & 0xffffffff);
  else store<u16>(RSP, sp);
}

export function interruptReturn(size: u32): void {
  store<u32>(NMI_BLOCKED, 0);
  const flags = readFlags();
  if (inRealAddressing()) {
    // Virtual-8086 mode: the system decides, by IOPL.
    if ((flags & VM) != 0 && (flags & IOPL) != IOPL) raiseGp(0);
    const offset = peek(0, size);
    const selector = <u32>peek(1, size) & 0xffff;
    const value = <u32>peek(2, size);
    setStackPointer(load<u64>(RSP) + (3 << size));
    setRealCode(selector);
    store<u64>(RIP, offset);
    let keep: u32 = VM | VIF | VIP;
    if ((flags & VM) != 0) keep |= IOPL;
    if (size == 1) keep |= 0xffff0000;
    writeFlags(((value & ~keep) & 0x257fd5) | (flags & keep));
    updateMode();
    return;
  }
  const long = inLongMode();
  if ((flags & NT) != 0) {
    // In long mode #GP(0); otherwise a return from a nested task, which is refused.
    raiseGp(0);
  }
  const offset = peek(0, size);
  const selector = <u32>peek(1, size) & 0xffff;
  const value = <u32>peek(2, size);
  const cpl = load<u32>(CPL);
  if (!long && (value & VM) != 0 && cpl == 0 && size == 2) {
    returnToVirtual8086(<u32>offset, selector, value);
    return;
  }
  const descriptor = returnCode(selector);
  const level = selector & 3;
  const toLong = long && (descriptorAttr(descriptor) & ATTR_L) != 0;
  checkTarget(descriptor, offset);
  const from64 = inLongCode();
  let ss: u32 = 0;
  let sp: u64 = 0;
  const takesStack = level != cpl || from64;
  if (takesStack) {
    sp = peek(3, size);
    ss = <u32>peek(4, size) & 0xffff;
    returnStack(ss, level, toLong);
  } else {
    setStackPointer(load<u64>(RSP) + (3 << size));
  }
  let changes: u32 = 0xd5 | 0x100 | 0x400 | 0x800 | NT;
  if (size != 1) changes |= RF | AC | ID;
  if (cpl <= ((flags & IOPL) >> 12)) changes |= IF;
  if (cpl == 0) changes |= IOPL | (size != 1 ? VIF | VIP : 0);
  setCode(selector, descriptor, level);
  if (takesStack) {
    setSegment(SS, ss, returnStackBase, returnStackLimit, returnStackAttr);
    setReturnStack(sp, size, toLong);
  }
  if (level != cpl) dropPrivilegedSegments(level);
  let result = (flags & ~changes) | (value & changes);
  // RF counts for the next instruction only, and only for its breakpoints.
  if (load<u32>(BREAKPOINTS) == 0) result &= ~RF;
  writeFlags(result);
  store<u64>(RIP, offset);
  updateMode();
}

function returnToVirtual8086(offset: u32, selector: u32, flags: u32): void {
  const sp = <u32>peek(3, 2);
  const ss = <u32>peek(4, 2) & 0xffff;
  const es = <u32>peek(5, 2) & 0xffff;
  const ds = <u32>peek(6, 2) & 0xffff;
  const fs = <u32>peek(7, 2) & 0xffff;
  const gs = <u32>peek(8, 2) & 0xffff;
  writeFlags(flags & 0x3f7fd5);
  store<u32>(CPL, 3);
  virtualSegment(CS, selector);
  virtualSegment(SS, ss);
  virtualSegment(ES, es);
  virtualSegment(DS, ds);
  virtualSegment(FS, fs);
  virtualSegment(GS, gs);
  store<u64>(RSP, sp);
  store<u64>(RIP, offset & 0xffff);
  updateMode();
}

function virtualSegment(n: u32, selector: u32): void {
  setSegment(n, selector, <u64>selector << 4, 0xffff, n == CS ? 0xfb : 0xf3);
}

export function syscall(returnTo: u64): void {
  if ((load<u32>(EFER) & EFER_SCE) == 0 || !inLongMode()) raiseUd();
  const flags = readFlags();
  const star = <u32>load<u16>(MSR_STAR + 4);
  store<u64>(RCX, returnTo);
  store<u64>(R11, flags & ~RF);
  store<u64>(RIP, inLongCode() ? load<u64>(MSR_LSTAR) : load<u64>(MSR_CSTAR));
  writeFlags(flags & ~load<u32>(MSR_FMASK) & ~RF);
  // Whether it is single-stepped is up to the flags that it leaves.
  if ((load<u32>(MSR_FMASK) & TF) != 0) store<u32>(STEP_TRAP, 0);
  setFlat(CS, star & 0xfffc, FLAT_CODE | ATTR_L);
  setFlat(SS, (star + 8) & 0xffff, FLAT_DATA);
  store<u32>(CPL, 0);
  updateMode();
}

export function sysret(wide: bool): void {
  if ((load<u32>(EFER) & EFER_SCE) == 0 || !inLongCode()) raiseUd();
  if (load<u32>(CPL) != 0) raiseGp(0);
  const target = wide ? load<u64>(RCX) : <u64>load<u32>(RCX);
  if (!isCanonical(target)) raiseGp(0);
  const star = <u32>load<u16>(MSR_STAR + 6);
  writeFlags((load<u32>(R11) & 0x3c7fd7) | 2);
  store<u32>(STEP_TRAP, load<u32>(R11) & TF);
  const user: u32 = 3 << 5;
  setFlat(CS, ((wide ? star + 16 : star) & 0xffff) | 3, FLAT_CODE | user | (wide ? ATTR_L : ATTR_DB));
  setFlat(SS, ((star + 8) & 0xffff) | 3, FLAT_DATA | user);
  store<u32>(CPL, 3);
  store<u64>(RIP, target);
  updateMode();
}

export function sysenter(): void {
  const cs = load<u32>(MSR_SYSENTER_CS);
  if ((load<u32>(CR0) & CR0_PE) == 0 || (cs & SELECTOR_MASK) == 0) raiseGp(0);
  const long = inLongMode();
  writeFlags(readFlags() & ~(VM | IF));
  setFlat(CS, cs & 0xfffc, FLAT_CODE | (long ? ATTR_L : ATTR_DB));
  setFlat(SS, (cs & 0xfffc) + 8, FLAT_DATA);
  store<u32>(CPL, 0);
  store<u64>(RSP, long ? load<u64>(MSR_SYSENTER_ESP) : <u64>load<u32>(MSR_SYSENTER_ESP));
  store<u64>(RIP, long ? load<u64>(MSR_SYSENTER_EIP) : <u64>load<u32>(MSR_SYSENTER_EIP));
  updateMode();
}

export function sysexit(wide: bool): void {
  const cs = load<u32>(MSR_SYSENTER_CS);
  if ((load<u32>(CR0) & CR0_PE) == 0 || (cs & SELECTOR_MASK) == 0 || load<u32>(CPL) != 0) raiseGp(0);
  const target = wide ? load<u64>(RDX) : <u64>load<u32>(RDX);
  const sp = wide ? load<u64>(RCX) : <u64>load<u32>(RCX);
  if (wide && (!isCanonical(target) || !isCanonical(sp))) raiseGp(0);
  const user: u32 = 3 << 5;
  setFlat(CS, ((cs + (wide ? 32 : 16)) & 0xffff) | 3, FLAT_CODE | user | (wide ? ATTR_L : ATTR_DB));
  setFlat(SS, ((cs + (wide ? 40 : 24)) & 0xffff) | 3, FLAT_DATA | user);
  store<u32>(CPL, 3);
  store<u64>(RSP, sp);
  store<u64>(RIP, target);
  updateMode();
}

export function swapgs(): void {
  if (load<u32>(CPL) != 0) raiseGp(0);
  const at = segment(GS) + SEG_BASE;
  const base = load<u64>(at);
  store<u64>(at, load<u64>(MSR_KERNEL_GS_BASE));
  store<u64>(MSR_KERNEL_GS_BASE, base);
}
