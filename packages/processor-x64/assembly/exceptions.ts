// Delivery of exceptions and interrupts (Intel SDM 3, chapter 6; 6.14 for 64-bit mode).
import { armRestart, noteBranch, RESTART } from './debugger';
import { readFlags, writeFlags } from './flags';
import { selectSupervisorTable, selectTable } from './tlb';
import { inRealAddressing } from './operand';
import { raiseWithError } from './raise';
import { write } from './memory';
import { indexInBlock, offsetOf } from './record';
import {
  ATTR_CODE,
  ATTR_DB,
  ATTR_EXPAND_DOWN,
  ATTR_L,
  ATTR_PRESENT,
  ATTR_S,
  ATTR_WRITABLE,
  segment,
} from './segment-access';
import {
  attrOf,
  baseOf,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  dplOf,
  inLongMode,
  isNull,
  limitOf,
  markAccessed,
  nullStackAttr,
  readDescriptor,
  selectorOf,
  SELECTOR_MASK,
  setCode,
  setRealCode,
  setSegment,
  systemRead16,
  systemRead32,
  systemRead64,
  updateMode,
} from './segments';
import {
  AC,
  ACTIVITY,
  ACTIVITY_RUNNING,
  ACTIVITY_SHUTDOWN,
  COUNTDOWN,
  CPL,
  CR2,
  CUR,
  DEBUG_HIT,
  DELIVERING,
  DS,
  EFLAGS,
  ES,
  EX_DB,
  EX_DF,
  EX_GP,
  EX_NP,
  EX_PF,
  EX_SS,
  EX_TS,
  FAULT_ADDRESS,
  FAULT_ERROR,
  FAULT_EXTERNAL,
  FAULT_HAS_ERROR,
  FAULT_VECTOR,
  FS,
  GS,
  IDTR_BASE,
  IDTR_LIMIT,
  IF,
  LIMIT,
  NT,
  PENDING_TRAP,
  RF,
  RIP,
  RIP_MASK,
  RIP_PAGE,
  RSP,
  SHADOW,
  SS,
  STEP_TRAP,
  TF,
  TR,
  VM,
} from './state';

/** Events whose own delivery a fault does not turn into a double fault. */
const BENIGN: i32 = 256;
/**
 * Faults that each the delivery of the one before raised. #AC and #GP could go on so for ever, and a processor does;
 * here the end is that of a triple fault.
 */
const CHAIN_MAX: u32 = 32;
let chain: u32 = 0;

function contributory(vector: i32): bool {
  return vector == 0 || (vector >= 10 && vector <= 13);
}

/** Counts what the block that was left has retired, and makes RIP that of the instruction that was running. */
export function leaveBlock(): void {
  const op = load<u32>(CUR);
  if (op == 0) return;
  store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - <i32>indexInBlock(op));
  store<u64>(RIP, (load<u64>(RIP_PAGE) + offsetOf(op)) & load<u64>(RIP_MASK));
  store<u32>(CUR, 0);
}

/** Takes one instruction off the slice that nothing retired for: faults that lead to faults must come to its end. */
function charge(): void {
  store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - 1);
  store<i64>(LIMIT, load<i64>(LIMIT) - 1);
}

/** A triple fault. */
function shutDown(): void {
  store<u32>(ACTIVITY, ACTIVITY_SHUTDOWN);
  store<i32>(DELIVERING, -1);
}

/** Goes on with a fault after the host has unwound: delivers it, or what it turns into. */
export function deliverFault(): void {
  let vector = load<u32>(FAULT_VECTOR);
  const prior = load<i32>(DELIVERING);
  leaveBlock();
  if (vector == RESTART) {
    selectTable();
    armRestart();
    return;
  }
  charge();
  selectTable();
  store<u32>(DEBUG_HIT, 0);
  if (prior < 0) {
    store<u32>(FAULT_EXTERNAL, 0);
    chain = 0;
  } else if (++chain > CHAIN_MAX) {
    shutDown();
    return;
  }
  if (prior >= 0 && prior != BENIGN) {
    if (prior == EX_DF) {
      shutDown();
      return;
    }
    const second = <i32>vector;
    if (
      (contributory(prior) && contributory(second)) ||
      (prior == EX_PF && (contributory(second) || second == EX_PF))
    ) {
      vector = EX_DF;
      store<u32>(FAULT_HAS_ERROR, 1);
      store<u32>(FAULT_ERROR, 0);
    }
  }
  if (vector == EX_PF) store<u64>(CR2, load<u64>(FAULT_ADDRESS));
  store<u32>(STEP_TRAP, 0);
  store<u32>(PENDING_TRAP, 0);
  store<u32>(SHADOW, 0);
  store<i32>(DELIVERING, vector);
  // A fault comes back to its instruction, which must not hit its breakpoint again.
  const resume: u32 = vector == EX_DB ? 0 : RF;
  const error = load<u32>(FAULT_ERROR);
  const hasError = load<u32>(FAULT_HAS_ERROR) != 0;
  deliver(vector, hasError, error, false, load<u64>(RIP), resume);
  store<i32>(DELIVERING, -1);
}

/** Delivers an external interrupt or NMI. */
export function deliverInterrupt(vector: u32): void {
  store<i32>(DELIVERING, BENIGN);
  store<u32>(FAULT_EXTERNAL, 1);
  store<u32>(ACTIVITY, ACTIVITY_RUNNING);
  deliver(vector, false, 0, false, load<u64>(RIP), 0);
  store<i32>(DELIVERING, -1);
  store<u32>(FAULT_EXTERNAL, 0);
}

/** Delivers a trap between instructions: #DB of single step and data breakpoints. */
export function deliverTrap(vector: u32): void {
  charge();
  store<i32>(DELIVERING, vector);
  deliver(vector, false, 0, false, load<u64>(RIP), 0);
  store<i32>(DELIVERING, -1);
}

/** INT n, INT3 and INTO: `returnTo` is behind the instruction. */
export function softwareInterrupt(vector: u32, returnTo: u64): void {
  store<u32>(STEP_TRAP, 0);
  deliver(vector, false, 0, true, returnTo, 0);
}

function gateError(vector: u32): u32 {
  return (vector << 3) | 2 | load<u32>(FAULT_EXTERNAL);
}

function deliver(vector: u32, hasError: bool, error: u32, software: bool, returnTo: u64, resume: u32): void {
  // Where delivering faults itself, the entry keeps a target of 0.
  const op = load<u32>(CUR);
  const from = op == 0 ? returnTo : (load<u64>(RIP_PAGE) + offsetOf(op)) & load<u64>(RIP_MASK);
  const noted = noteBranch(from, 0, vector + 1);
  if (inLongMode()) deliverLong(vector, hasError, error, software, returnTo, resume);
  else if ((load<u32>(EFLAGS) & VM) == 0 && inRealAddressing()) deliverReal(vector, returnTo);
  else deliverProtected(vector, hasError, error, software, returnTo, resume);
  store<u64>(noted, load<u64>(RIP), 8);
}

function deliverReal(vector: u32, returnTo: u64): void {
  if ((vector << 2) + 3 > load<u32>(IDTR_LIMIT)) raiseWithError(EX_GP, 0);
  const entry = systemRead32(load<u64>(IDTR_BASE) + (vector << 2));
  const flags = readFlags();
  const sp = <u32>load<u16>(RSP);
  const base = baseOf(SS);
  write<u16>(base + ((sp - 2) & 0xffff), <u16>flags);
  write<u16>(base + ((sp - 4) & 0xffff), <u16>selectorOf(1));
  write<u16>(base + ((sp - 6) & 0xffff), <u16>returnTo);
  store<u16>(RSP, sp - 6);
  writeFlags(flags & ~(IF | TF | AC));
  setRealCode(entry >> 16);
  store<u64>(RIP, entry & 0xffff);
  updateMode();
}

/** An entry of the 64-bit TSS. */
function tss64(offset: u32): u64 {
  if (offset + 7 > limitOf(TR)) raiseWithError(EX_TS, selectorOf(TR) & SELECTOR_MASK);
  return systemRead64(baseOf(TR) + offset);
}

/** The table of the stack of a level that is entered. */
function selectStackTable(cpl: u32): void {
  if (cpl == 3) selectTable();
  else selectSupervisorTable();
}

/** Reads and checks the code segment that a gate names. */
function gateCode(selector: u32, long: bool): u64 {
  const external = load<u32>(FAULT_EXTERNAL);
  if (isNull(selector)) raiseWithError(EX_GP, external);
  const descriptor = readDescriptor(selector, EX_GP, external);
  const attr = descriptorAttr(descriptor);
  const error = (selector & SELECTOR_MASK) | external;
  if ((attr & (ATTR_S | ATTR_CODE)) != (ATTR_S | ATTR_CODE) || dplOf(attr) > load<u32>(CPL)) {
    raiseWithError(EX_GP, error);
  }
  if (long && (attr & (ATTR_L | ATTR_DB)) != ATTR_L) raiseWithError(EX_GP, error);
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_NP, error);
  return descriptor;
}

function deliverLong(vector: u32, hasError: bool, error: u32, software: bool, returnTo: u64, resume: u32): void {
  if ((vector << 4) + 15 > load<u32>(IDTR_LIMIT)) raiseWithError(EX_GP, gateError(vector));
  const at = load<u64>(IDTR_BASE) + (vector << 4);
  const low = systemRead64(at);
  const high = systemRead64(at + 8);
  const gate = descriptorAttr(low);
  const type = gate & 0x1f;
  if (type != 0xe && type != 0xf) raiseWithError(EX_GP, gateError(vector));
  const cpl = load<u32>(CPL);
  if (software && dplOf(gate) < cpl) raiseWithError(EX_GP, gateError(vector));
  if ((gate & ATTR_PRESENT) == 0) raiseWithError(EX_NP, gateError(vector));
  const selector = <u32>(low >> 16) & 0xffff;
  const target = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (high << 32);
  const descriptor = gateCode(selector, true);
  const attr = descriptorAttr(descriptor);
  const level = (attr & ATTR_EXPAND_DOWN) != 0 ? cpl : dplOf(attr);
  const ist = <u32>(low >> 32) & 7;
  let top: u64;
  if (ist != 0) top = tss64(28 + (ist << 3));
  else if (level < cpl) top = tss64(4 + (level << 3));
  else top = load<u64>(RSP);
  top &= ~15;
  const flags = readFlags();
  const ss = selectorOf(SS);
  selectStackTable(level);
  write<u64>(top - 8, ss);
  write<u64>(top - 16, load<u64>(RSP));
  write<u64>(top - 24, flags | resume);
  write<u64>(top - 32, selectorOf(1));
  write<u64>(top - 40, returnTo);
  top -= 40;
  if (hasError) {
    top -= 8;
    write<u64>(top, error);
  }
  selectTable();
  setCode(selector, descriptor, level);
  if (level < cpl) setSegment(SS, level, 0, 0, nullStackAttr(level));
  store<u64>(RSP, top);
  store<u64>(RIP, target);
  writeFlags(flags & ~(TF | NT | RF | VM | (type == 0xe ? IF : 0)));
  updateMode();
}

/** SS and ESP of a level from the TSS, 16 or 32 bits. */
let newEsp: u32 = 0;

export function stackOfLevel(level: u32): u32 {
  const wide = (attrOf(TR) & 8) != 0;
  const offset: u32 = wide ? 4 + (level << 3) : 2 + (level << 2);
  if (offset + (wide ? 7 : 3) > limitOf(TR)) raiseWithError(EX_TS, selectorOf(TR) & SELECTOR_MASK);
  const at = baseOf(TR) + offset;
  newEsp = wide ? systemRead32(at) : systemRead16(at);
  return systemRead16(at + (wide ? 4 : 2));
}

export function espOfLevel(): u32 {
  return newEsp;
}

/** Reads and checks the stack segment that a more privileged level brings. */
export function innerStack(selector: u32, level: u32): u64 {
  const external = load<u32>(FAULT_EXTERNAL);
  const error = (selector & SELECTOR_MASK) | external;
  if (isNull(selector)) raiseWithError(EX_TS, external);
  const descriptor = readDescriptor(selector, EX_TS, external);
  const attr = descriptorAttr(descriptor);
  if (
    (selector & 3) != level ||
    dplOf(attr) != level ||
    (attr & (ATTR_S | ATTR_CODE | ATTR_WRITABLE)) != (ATTR_S | ATTR_WRITABLE)
  ) {
    raiseWithError(EX_TS, error);
  }
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_SS, error);
  return descriptor;
}

// The stack that a transfer pushes to, before anything of it is taken over.
let stackBase: u64 = 0;
let stackTop: u32 = 0;
let stackMaskBits: u32 = 0;
let stackLimit: u32 = 0;
let stackDown: bool = false;
let stackWide: bool = false;

/** Begins pushing to the stack of a descriptor, or to the current one where `descriptor` is 0. */
export function beginStack(descriptor: u64, top: u32, wide: bool): void {
  const attr = descriptor == 0 ? attrOf(SS) : descriptorAttr(descriptor);
  stackBase = descriptor == 0 ? baseOf(SS) : descriptorBase(descriptor);
  stackLimit = descriptor == 0 ? limitOf(SS) : descriptorLimit(descriptor);
  stackMaskBits = (attr & ATTR_DB) != 0 ? 0xffffffff : 0xffff;
  stackDown = (attr & ATTR_EXPAND_DOWN) != 0;
  stackTop = top;
  stackWide = wide;
}

export function pushStack(value: u32): void {
  const size: u32 = stackWide ? 4 : 2;
  stackTop -= size;
  const offset = stackTop & stackMaskBits;
  const inside = stackDown
    ? offset > stackLimit && offset + size - 1 <= stackMaskBits
    : offset + size - 1 <= stackLimit && offset + size - 1 >= offset;
  if (!inside) raiseWithError(EX_SS, load<u32>(FAULT_EXTERNAL));
  const va = (stackBase + offset) & 0xffffffff;
  if (stackWide) write<u32>(va, value);
  else write<u16>(va, <u16>value);
}

/** Takes the stack pointer over. */
export function endStack(): void {
  if (stackMaskBits == 0xffff) store<u16>(RSP, stackTop);
  else store<u64>(RSP, stackTop);
}

function deliverProtected(
  vector: u32,
  hasError: bool,
  error: u32,
  software: bool,
  returnTo: u64,
  resume: u32,
): void {
  const flags = readFlags();
  const virtual8086 = (flags & VM) != 0;
  if ((vector << 3) + 7 > load<u32>(IDTR_LIMIT)) raiseWithError(EX_GP, gateError(vector));
  const entry = systemRead64(load<u64>(IDTR_BASE) + (vector << 3));
  const gate = descriptorAttr(entry);
  const type = gate & 0x1f;
  // Task gates (5) are refused: there is no hardware task switching.
  if (type != 6 && type != 7 && type != 0xe && type != 0xf) raiseWithError(EX_GP, gateError(vector));
  const cpl = load<u32>(CPL);
  if (software && dplOf(gate) < cpl) raiseWithError(EX_GP, gateError(vector));
  if ((gate & ATTR_PRESENT) == 0) raiseWithError(EX_NP, gateError(vector));
  const wide = (type & 8) != 0;
  const selector = <u32>(entry >> 16) & 0xffff;
  const target: u32 = <u32>(entry & 0xffff) | (wide ? <u32>(entry >> 32) & 0xffff0000 : 0);
  const descriptor = gateCode(selector, false);
  const attr = descriptorAttr(descriptor);
  const level = (attr & ATTR_EXPAND_DOWN) != 0 ? cpl : dplOf(attr);
  if (virtual8086 && level != 0) raiseWithError(EX_GP, (selector & SELECTOR_MASK) | load<u32>(FAULT_EXTERNAL));
  const oldSs = selectorOf(SS);
  const oldSp = load<u32>(RSP);
  const inner = level < cpl;
  let ss: u32 = 0;
  let stack: u64 = 0;
  if (inner) {
    ss = stackOfLevel(level);
    stack = innerStack(ss, level);
    beginStack(stack, newEsp, wide);
  } else {
    beginStack(0, oldSp, wide);
  }
  selectStackTable(level);
  if (virtual8086) {
    pushStack(selectorOf(GS));
    pushStack(selectorOf(FS));
    pushStack(selectorOf(DS));
    pushStack(selectorOf(ES));
  }
  if (inner) {
    pushStack(oldSs);
    pushStack(oldSp);
  }
  pushStack(flags | resume);
  pushStack(selectorOf(1));
  pushStack(<u32>returnTo);
  if (hasError) pushStack(error);
  selectTable();
  if (inner) {
    const stackAttr = markAccessed(ss, descriptorAttr(stack));
    setSegment(SS, ss, descriptorBase(stack), descriptorLimit(stack), stackAttr);
  }
  if (virtual8086) for (let n: u32 = 0; n < 6; n++) if (n != 1 && n != SS) setSegment(n, 0, 0, 0, 0);
  writeFlags(flags & ~(TF | NT | RF | VM | ((type & 1) == 0 ? IF : 0)));
  setCode(selector, descriptor, level);
  endStack();
  store<u64>(RIP, target);
  updateMode();
}
