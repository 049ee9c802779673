// System instructions: control and debug registers, descriptor tables, TLB and cache control (Intel SDM 2 and 3).
import { updateBreakpoints } from '../breakpoints';
import { readTaskPriority, writeTaskPriority } from '../host';
import { readFlags, writeFlags, setFlags } from '../flags';
import { read, readGuest16, readGuest32, readGuest64, write } from '../memory';
import {
  effectiveAddress,
  inLongCode,
  inRealAddressing,
  readRm,
  storeRegister,
  writeReg,
  writeRm,
} from '../operand';
import { raise, raiseGp, raiseUd, raiseWithError } from '../raise';
import { immOf, isMemory, regOf, rmOf, sizeOf } from '../record';
import { ATTR_CODE, ATTR_EXPAND_DOWN, ATTR_PRESENT, ATTR_S, ATTR_WRITABLE } from '../segment-access';
import {
  attrOf,
  descriptorAddress,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  dplOf,
  inLongMode,
  isNull,
  limitOf,
  readDescriptor,
  selectorOf,
  SELECTOR_MASK,
  setSegment,
  systemRead32,
  systemRead64,
  systemWrite32,
  updateMode,
} from '../segments';
import {
  AC,
  CPL,
  CR0,
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR0_MP,
  CR0_EM,
  CR0_NE,
  CR0_AM,
  CR2,
  CR3,
  CR4,
  CR4_DE,
  CR4_FSGSBASE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PCE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
  CR4_UMIP,
  CS,
  DR0,
  DR6,
  DR7,
  EFER,
  EFER_LMA,
  EFER_LME,
  EX_DB,
  EX_GP,
  EX_NP,
  GDTR_LIMIT,
  LDTR,
  RAX,
  RCX,
  RDX,
  TR,
  XCR0,
  ZF,
} from '../state';
import { flushAll, flushNotGlobal, flushPage } from '../tlb';

const CR0_BITS: u32 =
  CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
const CR4_BITS: u32 =
  CR4_TSD |
  CR4_DE |
  CR4_PSE |
  CR4_PAE |
  CR4_PGE |
  CR4_PCE |
  CR4_OSFXSR |
  CR4_OSXMMEXCPT |
  CR4_UMIP |
  CR4_FSGSBASE |
  CR4_PCIDE |
  CR4_OSXSAVE |
  CR4_SMEP |
  CR4_SMAP;
/** Bits of CR3 beside the table's address: the PCID, or PWT and PCD. */
const NO_FLUSH: u64 = 1 << 63;

export function requirePrivilege(): void {
  if (load<u32>(CPL) != 0) raiseGp(0);
}

/** UMIP keeps the instructions that read system registers from programs. */
function requireUmip(): void {
  if (load<u32>(CPL) != 0 && (load<u32>(CR4) & CR4_UMIP) != 0) raiseGp(0);
}

export function readControl(n: u32): u64 {
  switch (n) {
    case 0:
      return load<u64>(CR0);
    case 2:
      return load<u64>(CR2);
    case 3:
      return load<u64>(CR3);
    case 4:
      return load<u64>(CR4);
    default:
      return readTaskPriority();
  }
}

export function moveFromControl(op: u32): void {
  const n = <u32>immOf(op);
  if (n != 0 && n != 2 && n != 3 && n != 4 && !(n == 8 && inLongCode())) raiseUd();
  requirePrivilege();
  storeRegister(rmOf(op), sizeOf(op), readControl(n));
}

export function moveToControl(op: u32): void {
  const n = <u32>immOf(op);
  if (n != 0 && n != 2 && n != 3 && n != 4 && !(n == 8 && inLongCode())) raiseUd();
  requirePrivilege();
  const value = sizeOf(op) == 3 ? load<u64>(rmOf(op)) : <u64>load<u32>(rmOf(op));
  if (!writeControl(n, value)) raiseGp(0);
}

/** Writes a control register; false where its value is refused. */
export function writeControl(n: u32, value: u64): bool {
  switch (n) {
    case 0:
      return writeCr0(value);
    case 2:
      store<u64>(CR2, value);
      return true;
    case 3:
      return writeCr3(value);
    case 4:
      return writeCr4(value);
    default:
      if (value > 15) return false;
      writeTaskPriority(<u32>value);
      return true;
  }
}

export function writeCr0(value: u64): bool {
  if (value >> 32 != 0) return false;
  const bits = (<u32>value & CR0_BITS) | CR0_ET;
  const before = load<u32>(CR0);
  if ((bits & CR0_PG) != 0 && (bits & CR0_PE) == 0) return false;
  if ((bits & CR0_NW) != 0 && (bits & CR0_CD) == 0) return false;
  if ((bits & CR0_PG) != 0 && (before & CR0_PG) == 0 && (load<u32>(EFER) & EFER_LME) != 0) {
    if ((load<u32>(CR4) & CR4_PAE) == 0 || (attrOf(CS) & (1 << 13)) != 0) return false;
    store<u32>(EFER, load<u32>(EFER) | EFER_LMA);
  } else if ((bits & CR0_PG) == 0 && (before & CR0_PG) != 0) {
    if (inLongCode() || (load<u32>(CR4) & CR4_PCIDE) != 0) return false;
    store<u32>(EFER, load<u32>(EFER) & ~EFER_LMA);
  }
  store<u64>(CR0, bits);
  if (((bits ^ before) & (CR0_PG | CR0_WP | CR0_PE)) != 0) flushAll();
  updateMode();
  return true;
}

/** CR3: a table's address of as many bits as physical addresses have. */
function writeCr3(value: u64): bool {
  if ((load<u32>(CR4) & CR4_PCIDE) != 0) value &= ~NO_FLUSH;
  if (inLongMode() && value >> 40 != 0) return false;
  store<u64>(CR3, value);
  flushNotGlobal();
  return true;
}

function writeCr4(value: u64): bool {
  if ((value & ~(<u64>CR4_BITS)) != 0) return false;
  const bits = <u32>value;
  const before = load<u32>(CR4);
  if (inLongMode() && (bits & CR4_PAE) == 0) return false;
  if ((bits & CR4_PCIDE) != 0 && (before & CR4_PCIDE) == 0) {
    if (!inLongMode() || (load<u64>(CR3) & 0xfff) != 0) return false;
  }
  store<u64>(CR4, bits);
  flushAll();
  updateMode();
  return true;
}

export function loadMachineStatus(op: u32): void {
  requirePrivilege();
  const value = <u32>readRm(op) & 15;
  // PE can be set this way, not cleared.
  const before = load<u32>(CR0);
  writeCr0((before & ~14) | value);
}

/** Debug registers; DR4 and DR5 are DR6 and DR7 without CR4.DE. */
function debugRegister(n: u32): u32 {
  if (n == 4 || n == 5) {
    if ((load<u32>(CR4) & CR4_DE) != 0) raiseUd();
    n += 2;
  }
  if (n > 7) raiseUd();
  return n < 4 ? DR0 + (n << 3) : n == 6 ? DR6 : DR7;
}

function checkDebugAccess(): void {
  requirePrivilege();
  // General detect: DR6.BD, and DR7.GD is off in the handler.
  if ((load<u32>(DR7) & 0x2000) != 0) {
    store<u64>(DR6, load<u64>(DR6) | 0x2000);
    store<u64>(DR7, load<u64>(DR7) & ~0x2000);
    raise(EX_DB);
  }
}

export function moveFromDebug(op: u32): void {
  const at = debugRegister(<u32>immOf(op));
  checkDebugAccess();
  storeRegister(rmOf(op), sizeOf(op), load<u64>(at));
}

export function moveToDebug(op: u32): void {
  const at = debugRegister(<u32>immOf(op));
  checkDebugAccess();
  const value = sizeOf(op) == 3 ? load<u64>(rmOf(op)) : <u64>load<u32>(rmOf(op));
  if (at == DR6 || at == DR7) {
    if (value >> 32 != 0) raiseGp(0);
    if (at == DR6) store<u64>(DR6, (value & 0xe00f) | 0xffff0ff0);
    else store<u64>(DR7, (value & 0xffff2bff) | 0x400);
  } else {
    store<u64>(at, value);
  }
  updateBreakpoints();
  flushAll();
}

export function storeTable(op: u32, base: u32, limit: u32): void {
  requireUmip();
  const bytes: u32 = inLongCode() ? 10 : 6;
  const va = effectiveAddress(op, bytes, true);
  write<u16>(va, <u16>load<u32>(limit));
  if (inLongCode()) write<u64>(va + 2, load<u64>(base));
  else write<u32>(va + 2, load<u32>(base));
}

export function loadTable(op: u32, base: u32, limit: u32): void {
  requirePrivilege();
  const long = inLongCode();
  const va = effectiveAddress(op, long ? 10 : 6, false);
  const size = readGuest16(va);
  let address = long ? readGuest64(va + 2) : <u64>readGuest32(va + 2);
  if (long && <u64>((<i64>address << 16) >> 16) != address) raiseGp(0);
  if (!long && sizeOf(op) == 1) address &= 0xffffff;
  store<u64>(base, address);
  store<u32>(limit, size);
}

export function storeSelector(op: u32, n: u32): void {
  if (inRealAddressing()) raiseUd();
  requireUmip();
  writeRm(op, selectorOf(n));
}

export function storeMachineStatus(op: u32): void {
  requireUmip();
  writeRm(op, load<u64>(CR0));
}

/** LLDT and LTR: system descriptors, of 16 bytes in long mode. */
export function loadSystemSegment(op: u32, task: bool): void {
  if (inRealAddressing()) raiseUd();
  requirePrivilege();
  const selector = <u32>readRm(op) & 0xffff;
  const error = selector & SELECTOR_MASK;
  if (isNull(selector)) {
    if (task) raiseGp(0);
    setSegment(LDTR, selector, 0, 0, 0);
    return;
  }
  if ((selector & 4) != 0) raiseGp(error);
  const at = descriptorAddress(selector, inLongMode() ? 16 : 8, EX_GP, 0);
  const descriptor = systemRead64(at);
  const attr = descriptorAttr(descriptor);
  const type = attr & 0x1f;
  if (task ? type != 9 && (type != 1 || inLongMode()) : type != 2) raiseGp(error);
  if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_NP, error);
  let base = descriptorBase(descriptor);
  if (inLongMode()) {
    base |= systemRead64(at + 8) << 32;
    if (<u64>((<i64>base << 16) >> 16) != base) raiseGp(error);
  }
  // The TSS becomes busy.
  if (task) systemWrite32(at + 4, systemRead32(at + 4) | 0x200);
  setSegment(task ? TR : LDTR, selector, base, descriptorLimit(descriptor), task ? attr | 2 : attr);
}

/** The attributes of a selector's descriptor that LAR, LSL, VERR or VERW may see; 0 where it may not. */
let seen: u64 = 0;

function visible(selector: u32): bool {
  if (isNull(selector)) return false;
  const offset = selector & 0xfff8;
  if ((selector & 4) != 0) {
    if ((attrOf(LDTR) & ATTR_PRESENT) == 0 || offset + 7 > limitOf(LDTR)) return false;
  } else if (offset + 7 > load<u32>(GDTR_LIMIT)) {
    return false;
  }
  seen = readDescriptor(selector, EX_GP, 0);
  const attr = descriptorAttr(seen);
  const conforming = (attr & (ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN)) == (ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN);
  return conforming || (dplOf(attr) >= load<u32>(CPL) && dplOf(attr) >= (selector & 3));
}

function reportZero(found: bool): void {
  setFlags((readFlags() & ~ZF) | (found ? ZF : 0));
}

function selectorOperand(op: u32): u32 {
  return isMemory(op) ? <u32>read<u16>(effectiveAddress(op, 2, false)) : <u32>load<u16>(rmOf(op));
}

export function verify(op: u32, writing: bool): void {
  if (inRealAddressing()) raiseUd();
  let may = visible(selectorOperand(op));
  if (may) {
    const attr = descriptorAttr(seen);
    const code = (attr & ATTR_CODE) != 0;
    if ((attr & ATTR_S) == 0) may = false;
    else if (writing) may = !code && (attr & ATTR_WRITABLE) != 0;
    else may = !code || (attr & ATTR_WRITABLE) != 0;
  }
  reportZero(may);
}

/** LAR and LSL: the system descriptor types that they show (Intel SDM 2, tables of LAR and LSL). */
export function loadRights(op: u32, limit: bool): void {
  if (inRealAddressing()) raiseUd();
  let may = visible(selectorOperand(op));
  if (may && (descriptorAttr(seen) & ATTR_S) == 0) {
    const type = descriptorAttr(seen) & 15;
    const long = inLongMode();
    if (type == 2 || type == 9 || type == 11) may = true;
    else if (type == 1 || type == 3) may = !long;
    else if (limit) may = false;
    else may = type == 12 || (!long && (type == 4 || type == 5));
  }
  reportZero(may);
  if (!may) return;
  writeReg(op, limit ? descriptorLimit(seen) : (seen >> 32) & 0xf0ff00);
}

/** ARPL: raises a selector's requested privilege to that of another. */
export function adjustRpl(op: u32): void {
  if (inRealAddressing()) raiseUd();
  const selector = <u32>readRm(op);
  const rpl = <u32>load<u16>(regOf(op)) & 3;
  const lower = (selector & 3) < rpl;
  if (lower) writeRm(op, (selector & ~3) | rpl);
  reportZero(lower);
}

export function invalidatePage(op: u32): void {
  requirePrivilege();
  // Its segment's limit does not matter in 64-bit mode, and nothing is read.
  flushPage(effectiveAddress(op, 1, false));
}

export function invalidatePcid(op: u32): void {
  requirePrivilege();
  const type = load<u64>(regOf(op)) & (inLongCode() ? 0xffffffffffffffff : 0xffffffff);
  const va = effectiveAddress(op, 16, false);
  const pcid = readGuest64(va);
  const address = readGuest64(va + 8);
  if (type > 3) raiseGp(0);
  if (type < 2 && pcid >> 12 != 0) raiseGp(0);
  if (type < 2 && (load<u32>(CR4) & CR4_PCIDE) == 0 && pcid != 0) raiseGp(0);
  if (type == 0 && <u64>((<i64>address << 16) >> 16) != address) raiseGp(0);
  // Of one address, of one PCID, all, all but those of global pages.
  if (type == 0) flushPage(address);
  else if (type == 2) flushAll();
  else flushNotGlobal();
}

export function clearTaskSwitched(): void {
  requirePrivilege();
  store<u64>(CR0, load<u64>(CR0) & ~(<u64>CR0_TS));
}

/** STAC and CLAC. */
export function setAlignmentCheck(on: bool): void {
  if (load<u32>(CPL) != 0) raiseUd();
  const flags = readFlags();
  writeFlags(on ? flags | AC : flags & ~AC);
  updateMode();
}

export function getExtendedControl(): void {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) raiseUd();
  if (load<u32>(RCX) > 1) raiseGp(0);
  store<u64>(RAX, load<u32>(XCR0));
  store<u64>(RDX, 0);
}

export function setExtendedControl(): void {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) raiseUd();
  requirePrivilege();
  const value = load<u32>(RAX);
  // x87 always, SSE beside it.
  if (load<u32>(RCX) != 0 || load<u32>(RDX) != 0 || (value & 1) == 0 || (value & ~3) != 0) raiseGp(0);
  store<u64>(XCR0, value);
}

export function requireFsGsBase(): void {
  if ((load<u32>(CR4) & CR4_FSGSBASE) == 0) raiseUd();
}
