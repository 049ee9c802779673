// Segment registers and descriptors (Intel SDM 3, chapters 3 and 5).
import { read, write } from './memory';
import { inRealAddressing } from './operand';
import { raiseWithError } from './raise';
import {
  ATTR_ACCESSED,
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
  AC,
  ALIGNED_ONLY,
  CPL,
  CR0,
  CR0_AM,
  CS,
  DS,
  EFER,
  EFER_LMA,
  EFLAGS,
  ES,
  EX_GP,
  EX_NP,
  EX_SS,
  FS,
  GDTR_BASE,
  GDTR_LIMIT,
  LDTR,
  MODE,
  MODE_CODE16,
  MODE_CODE32,
  MODE_CODE64,
  MODE_FLAT,
  MODE_STACK32,
  MODE_STEP,
  MODE_USER,
  RIP_MASK,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SELECTOR,
  SS,
  TR,
  VM,
} from './state';
import { flushAll, newGeneration, selectSupervisorTable, selectTable } from './tlb';

/** Error codes name a selector without its privilege. */
export const SELECTOR_MASK: u32 = 0xfffc;

export function systemRead64(va: u64): u64 {
  selectSupervisorTable();
  const value = read<u64>(va);
  selectTable();
  return value;
}

export function systemRead32(va: u64): u32 {
  selectSupervisorTable();
  const value = read<u32>(va);
  selectTable();
  return value;
}

export function systemRead16(va: u64): u32 {
  selectSupervisorTable();
  const value = <u32>read<u16>(va);
  selectTable();
  return value;
}

export function systemWrite32(va: u64, value: u32): void {
  selectSupervisorTable();
  write<u32>(va, value);
  selectTable();
}

export function inLongMode(): bool {
  return (load<u32>(EFER) & EFER_LMA) != 0;
}

export function selectorOf(n: u32): u32 {
  return load<u16>(segment(n), SEG_SELECTOR);
}

export function baseOf(n: u32): u64 {
  return load<u64>(segment(n), SEG_BASE);
}

export function attrOf(n: u32): u32 {
  return load<u16>(segment(n), SEG_ATTR);
}

export function limitOf(n: u32): u32 {
  return load<u32>(segment(n), SEG_LIMIT);
}

export function setSegment(n: u32, selector: u32, base: u64, limit: u32, attr: u32): void {
  const at = segment(n);
  store<u16>(at, selector, SEG_SELECTOR);
  store<u16>(at, attr, SEG_ATTR);
  store<u32>(at, limit, SEG_LIMIT);
  store<u64>(at, base, SEG_BASE);
}

// Parts of a descriptor.

export function descriptorAttr(descriptor: u64): u32 {
  return <u32>(descriptor >> 40) & 0xf0ff;
}

export function descriptorBase(descriptor: u64): u64 {
  return ((descriptor >> 16) & 0xffffff) | ((descriptor >> 32) & 0xff000000);
}

export function descriptorLimit(descriptor: u64): u32 {
  const limit = <u32>(descriptor & 0xffff) | (<u32>(descriptor >> 32) & 0xf0000);
  return (descriptor >> 55) & 1 ? (limit << 12) | 0xfff : limit;
}

export function dplOf(attr: u32): u32 {
  return (attr >> 5) & 3;
}

/** The linear address of a selector's descriptor of `size` bytes; `vector` with the selector where it is outside. */
export function descriptorAddress(selector: u32, size: u32, vector: u32, external: u32): u64 {
  const offset = selector & 0xfff8;
  if ((selector & 4) != 0) {
    if ((attrOf(LDTR) & ATTR_PRESENT) == 0 || offset + size - 1 > limitOf(LDTR)) {
      raiseWithError(vector, (selector & SELECTOR_MASK) | external);
    }
    return baseOf(LDTR) + offset;
  }
  if (offset + size - 1 > load<u32>(GDTR_LIMIT)) raiseWithError(vector, (selector & SELECTOR_MASK) | external);
  return load<u64>(GDTR_BASE) + offset;
}

export function readDescriptor(selector: u32, vector: u32, external: u32): u64 {
  return systemRead64(descriptorAddress(selector, 8, vector, external));
}

/** Marks a code or data descriptor as accessed; the attributes with the bit set. */
export function markAccessed(selector: u32, attr: u32): u32 {
  if ((attr & ATTR_ACCESSED) == 0) {
    const at = descriptorAddress(selector, 8, EX_GP, 0) + 4;
    systemWrite32(at, systemRead32(at) | (ATTR_ACCESSED << 8));
  }
  return attr | ATTR_ACCESSED;
}

export function isNull(selector: u32): bool {
  return (selector & SELECTOR_MASK) == 0;
}

/** Loads ES, SS, DS, FS or GS as MOV does (Intel SDM 2, MOV: "Loading a segment register"). */
export function loadSegment(n: u32, selector: u32): void {
  if (inRealAddressing()) {
    const at = segment(n);
    store<u16>(at, selector, SEG_SELECTOR);
    store<u64>(at, <u64>selector << 4, SEG_BASE);
    if ((load<u32>(EFLAGS) & VM) != 0) setSegment(n, selector, <u64>selector << 4, 0xffff, 0xf3);
    updateMode();
    return;
  }
  const cpl = load<u32>(CPL);
  const rpl = selector & 3;
  if (isNull(selector)) {
    // A null stack segment is for 64-bit code of the system alone.
    if (n == SS && !((load<u32>(MODE) & 3) == MODE_CODE64 && cpl < 3 && rpl == cpl)) raiseWithError(EX_GP, 0);
    setSegment(n, selector, 0, 0, n == SS ? nullStackAttr(cpl) : 0);
    updateMode();
    return;
  }
  const descriptor = readDescriptor(selector, EX_GP, 0);
  let attr = descriptorAttr(descriptor);
  const error = selector & SELECTOR_MASK;
  const code = (attr & ATTR_CODE) != 0;
  if (n == SS) {
    if (rpl != cpl || (attr & ATTR_S) == 0 || code || (attr & ATTR_WRITABLE) == 0 || dplOf(attr) != cpl) {
      raiseWithError(EX_GP, error);
    }
    if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_SS, error);
  } else {
    if ((attr & ATTR_S) == 0 || (code && (attr & ATTR_WRITABLE) == 0)) raiseWithError(EX_GP, error);
    // Data and code that does not conform: not more privileged than the code and the selector.
    const conforming = code && (attr & ATTR_EXPAND_DOWN) != 0;
    if (!conforming && (rpl > dplOf(attr) || cpl > dplOf(attr))) raiseWithError(EX_GP, error);
    if ((attr & ATTR_PRESENT) == 0) raiseWithError(EX_NP, error);
  }
  attr = markAccessed(selector, attr);
  setSegment(n, selector, descriptorBase(descriptor), descriptorLimit(descriptor), attr);
  updateMode();
}

/** The attributes that a null SS keeps: a present, writable data segment of the level. */
export function nullStackAttr(cpl: u32): u32 {
  return ATTR_PRESENT | ATTR_S | ATTR_WRITABLE | ATTR_ACCESSED | (cpl << 5) | ATTR_DB;
}

/** Loads CS from a descriptor that was checked, for a privilege level. */
export function setCode(selector: u32, descriptor: u64, cpl: u32): void {
  const attr = markAccessed(selector, descriptorAttr(descriptor));
  setSegment(CS, (selector & SELECTOR_MASK) | cpl, descriptorBase(descriptor), descriptorLimit(descriptor), attr);
  store<u32>(CPL, cpl);
}

/** Flat code or data of a level, as SYSCALL and its kind set it without looking at a descriptor. */
export function setFlat(n: u32, selector: u32, attr: u32): void {
  setSegment(n, selector, 0, 0xffffffff, attr);
}

/** Real and virtual-8086 mode's way of loading CS. */
export function setRealCode(selector: u32): void {
  const at = segment(CS);
  store<u16>(at, selector, SEG_SELECTOR);
  store<u64>(at, <u64>selector << 4, SEG_BASE);
  newGeneration();
}

/** Drops data segments that a less privileged level may not keep (Intel SDM 3, 5.8.6 "RET"). */
export function dropPrivilegedSegments(cpl: u32): void {
  dropPrivileged(ES, cpl);
  dropPrivileged(DS, cpl);
  dropPrivileged(FS, cpl);
  dropPrivileged(FS + 1, cpl);
}

function dropPrivileged(n: u32, cpl: u32): void {
  const attr = attrOf(n);
  const conforming = (attr & (ATTR_CODE | ATTR_EXPAND_DOWN)) == (ATTR_CODE | ATTR_EXPAND_DOWN);
  if ((attr & ATTR_PRESENT) == 0 || (dplOf(attr) < cpl && !conforming)) {
    // The base of FS and GS outlives a null selector on some processors; a null one has no use for it.
    store<u16>(segment(n), 0, SEG_SELECTOR);
    store<u16>(segment(n), 0, SEG_ATTR);
  }
}

function isFlatData(n: u32): bool {
  const attr = attrOf(n);
  return (
    baseOf(n) == 0 &&
    limitOf(n) == 0xffffffff &&
    (attr & (ATTR_PRESENT | ATTR_S | ATTR_CODE | ATTR_WRITABLE | ATTR_EXPAND_DOWN)) ==
      (ATTR_PRESENT | ATTR_S | ATTR_WRITABLE)
  );
}

/** Brings what is derived from control registers, segments and flags up to date: MODE, RIP_MASK and the TLB table. */
export function updateMode(): void {
  const attr = attrOf(CS);
  let mode: u32;
  if (inLongMode() && (attr & ATTR_L) != 0) {
    mode = MODE_CODE64;
  } else {
    mode = (attr & ATTR_DB) != 0 ? MODE_CODE32 : MODE_CODE16;
    if ((attrOf(SS) & ATTR_DB) != 0) mode |= MODE_STACK32;
    if (baseOf(CS) != 0 || limitOf(CS) != 0xffffffff) newGeneration();
    else if (isFlatData(DS) && isFlatData(ES) && isFlatData(SS)) mode |= MODE_FLAT;
  }
  if (load<u32>(CPL) == 3) mode |= MODE_USER;
  // Whatever the instruction changed, it was to be the only one.
  store<u32>(MODE, mode | (load<u32>(MODE) & MODE_STEP));
  const alignedOnly: u32 =
    load<u32>(CPL) == 3 && (load<u32>(CR0) & CR0_AM) != 0 && (load<u32>(EFLAGS) & AC) != 0 ? 1 : 0;
  if (alignedOnly != load<u32>(ALIGNED_ONLY)) {
    store<u32>(ALIGNED_ONLY, alignedOnly);
    flushAll();
  }
  store<u64>(RIP_MASK, (mode & 3) == MODE_CODE64 ? 0xffffffffffffffff : 0xffffffff);
  selectTable();
}

/** The state of the segment registers after reset (Intel SDM 3, table 10-1). */
export function resetSegments(): void {
  for (let n: u32 = 0; n < LDTR; n++) setSegment(n, 0, 0, 0xffff, 0x93);
  setSegment(CS, 0xf000, 0xffff0000, 0xffff, 0x9b);
  setSegment(LDTR, 0, 0, 0xffff, 0x82);
  setSegment(TR, 0, 0, 0xffff, 0x8b);
}
