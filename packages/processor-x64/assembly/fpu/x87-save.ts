// Saving and restoring the x87 and SSE states: FNSTENV and FNSAVE (Intel SDM 1, 8.1.10), FXSAVE (10.5), XSAVE (13).
import {
  probeRead,
  probeWrite,
  readGuest16,
  readGuest8,
  readGuest32,
  readGuest64,
  readGuestBytes,
  writeGuest16,
  writeGuest32,
  writeGuest64,
  writeGuestBytes,
} from '../memory';
import { effectiveAddress, inLongCode, inRealAddressing } from '../operand';
import { raiseGp, raiseNm, raiseUd } from '../raise';
import { sizeOf } from '../record';
import {
  CR0,
  CR0_TS,
  CR4,
  CR4_OSXSAVE,
  MXCSR,
  RAX,
  X87,
  X87_CONTROL,
  X87_CS,
  X87_DP,
  X87_DS,
  X87_IP,
  X87_OPCODE,
  X87_STATUS,
  X87_TAG,
  XCR0,
  XMM,
  XMM_STRIDE,
} from '../state';
import { initializeX87, refreshSummary, setTagByte, st, tagByte, tagWord } from './x87-state';

export const MXCSR_DEFAULT: u32 = 0x1f80;
/** The bits of MXCSR that exist: DAZ is one of them. */
export const MXCSR_MASK: u32 = 0xffff;

/** The environment has 14 bytes with 16-bit operands, else 28. */
function environmentSize(op: u32): u32 {
  return sizeOf(op) == 1 ? 14 : 28;
}

function writeEnvironment(op: u32, va: u64): void {
  const ip = load<u64>(X87_IP);
  const dp = load<u64>(X87_DP);
  const opcode = <u32>load<u16>(X87_OPCODE) & 0x7ff;
  const real = inRealAddressing();
  // In real mode a linear address of 20 or 32 bits stands where selector and offset stand otherwise.
  const realIp = ip + (<u64>load<u16>(X87_CS) << 4);
  const realDp = dp + (<u64>load<u16>(X87_DS) << 4);
  if (sizeOf(op) == 1) {
    writeGuest16(va, load<u16>(X87_CONTROL));
    writeGuest16(va + 2, load<u16>(X87_STATUS));
    writeGuest16(va + 4, tagWord());
    writeGuest16(va + 6, <u32>(real ? realIp : ip) & 0xffff);
    writeGuest16(va + 8, real ? (<u32>(realIp >> 4) & 0xf000) | opcode : load<u16>(X87_CS));
    writeGuest16(va + 10, <u32>(real ? realDp : dp) & 0xffff);
    writeGuest16(va + 12, real ? <u32>(realDp >> 4) & 0xf000 : load<u16>(X87_DS));
    return;
  }
  writeGuest32(va, 0xffff0000 | <u32>load<u16>(X87_CONTROL));
  writeGuest32(va + 4, 0xffff0000 | <u32>load<u16>(X87_STATUS));
  writeGuest32(va + 8, 0xffff0000 | tagWord());
  if (real) {
    writeGuest32(va + 12, 0xffff0000 | (<u32>realIp & 0xffff));
    writeGuest32(va + 16, ((<u32>realIp >> 4) & 0x0ffff000) | opcode);
    writeGuest32(va + 20, 0xffff0000 | (<u32>realDp & 0xffff));
    writeGuest32(va + 24, (<u32>realDp >> 4) & 0x0ffff000);
  } else {
    writeGuest32(va + 12, <u32>ip);
    writeGuest32(va + 16, (opcode << 16) | <u32>load<u16>(X87_CS));
    writeGuest32(va + 20, <u32>dp);
    writeGuest32(va + 24, 0xffff0000 | <u32>load<u16>(X87_DS));
  }
}

function readEnvironment(op: u32, va: u64): void {
  const wide = sizeOf(op) != 1;
  const real = inRealAddressing();
  let ip: u64;
  let dp: u64;
  let opcode = load<u16>(X87_OPCODE);
  let codeSegment: u32 = 0;
  let dataSegment: u32 = 0;
  const step: u64 = wide ? 4 : 2;
  const controlWord = readGuest16(va);
  const status = readGuest16(va + step);
  const tags = readGuest16(va + step * 2);
  if (!wide) {
    ip = readGuest16(va + 6);
    dp = readGuest16(va + 10);
    const upper = readGuest16(va + 8);
    const upperData = readGuest16(va + 12);
    if (real) {
      ip |= <u64>(upper & 0xf000) << 4;
      dp |= <u64>(upperData & 0xf000) << 4;
      opcode = <u16>(upper & 0x7ff);
    } else {
      codeSegment = upper;
      dataSegment = upperData;
    }
  } else if (real) {
    const upper = readGuest32(va + 16);
    ip = <u64>readGuest16(va + 12) | (<u64>(upper & 0x0ffff000) << 4);
    dp = <u64>readGuest16(va + 20) | (<u64>(readGuest32(va + 24) & 0x0ffff000) << 4);
    opcode = <u16>(upper & 0x7ff);
  } else {
    const upper = readGuest32(va + 16);
    ip = readGuest32(va + 12);
    dp = readGuest32(va + 20);
    codeSegment = upper & 0xffff;
    opcode = <u16>((upper >> 16) & 0x7ff);
    dataSegment = readGuest16(va + 24);
  }
  store<u16>(X87_CONTROL, (controlWord & 0x1f3f) | 0x40);
  store<u16>(X87_STATUS, status);
  // Empty or not is all that is kept.
  let kept: u32 = 0;
  for (let i: u32 = 0; i < 16; i += 2) if (((tags >> i) & 3) == 3) kept |= 3 << i;
  store<u16>(X87_TAG, kept);
  store<u64>(X87_IP, ip);
  store<u64>(X87_DP, dp);
  store<u16>(X87_CS, codeSegment);
  store<u16>(X87_DS, dataSegment);
  store<u16>(X87_OPCODE, opcode);
  refreshSummary();
}

/** FNSTENV; masks all exceptions afterwards. */
export function storeEnvironment(op: u32): void {
  const size = environmentSize(op);
  const va = effectiveAddress(op, size, true);
  probeWrite(va, size);
  writeEnvironment(op, va);
  store<u16>(X87_CONTROL, <u32>load<u16>(X87_CONTROL) | 0x3f);
  refreshSummary();
}

export function loadEnvironment(op: u32): void {
  const size = environmentSize(op);
  const va = effectiveAddress(op, size, false);
  probeRead(va, size);
  readEnvironment(op, va);
}

/** FNSAVE; initializes the x87 afterwards. */
export function saveX87(op: u32): void {
  const size = environmentSize(op);
  const va = effectiveAddress(op, size + 80, true);
  probeWrite(va, size + 80);
  writeEnvironment(op, va);
  for (let i: u32 = 0; i < 8; i++) writeGuestBytes(va + size + i * 10, st(i), 10);
  initializeX87();
}

export function restoreX87(op: u32): void {
  const size = environmentSize(op);
  const va = effectiveAddress(op, size + 80, false);
  probeRead(va, size + 80);
  readEnvironment(op, va);
  for (let i: u32 = 0; i < 8; i++) readGuestBytes(va + size + i * 10, st(i), 10);
}

// The area of FXSAVE, which XSAVE's begins with.
const AREA_SIZE: u32 = 512;
const AREA_MXCSR: u64 = 24;
const AREA_REGISTERS: u64 = 32;
const AREA_XMM: u64 = 160;

/** XMM registers that the code's mode has. */
function xmmCount(): u32 {
  return inLongCode() ? 16 : 8;
}

function writeX87(op: u32, va: u64): void {
  writeGuest16(va, load<u16>(X87_CONTROL));
  writeGuest16(va + 2, load<u16>(X87_STATUS));
  writeGuest16(va + 4, tagByte());
  writeGuest16(va + 6, load<u16>(X87_OPCODE));
  if (sizeOf(op) == 3) {
    writeGuest64(va + 8, load<u64>(X87_IP));
    writeGuest64(va + 16, load<u64>(X87_DP));
  } else {
    writeGuest32(va + 8, load<u32>(X87_IP));
    writeGuest32(va + 12, load<u16>(X87_CS));
    writeGuest32(va + 16, load<u32>(X87_DP));
    writeGuest32(va + 20, load<u16>(X87_DS));
  }
  for (let i: u32 = 0; i < 8; i++) {
    const register = st(i);
    writeGuest64(va + AREA_REGISTERS + i * 16, load<u64>(register));
    writeGuest64(va + AREA_REGISTERS + i * 16 + 8, load<u16>(register, 8));
  }
}

function readX87(op: u32, va: u64): void {
  store<u16>(X87_CONTROL, (readGuest16(va) & 0x1f3f) | 0x40);
  store<u16>(X87_STATUS, readGuest16(va + 2));
  setTagByte(readGuest8(va + 4));
  store<u16>(X87_OPCODE, readGuest16(va + 6) & 0x7ff);
  if (sizeOf(op) == 3) {
    store<u64>(X87_IP, readGuest64(va + 8));
    store<u64>(X87_DP, readGuest64(va + 16));
    store<u16>(X87_CS, 0);
    store<u16>(X87_DS, 0);
  } else {
    store<u64>(X87_IP, readGuest32(va + 8));
    store<u64>(X87_DP, readGuest32(va + 16));
    store<u16>(X87_CS, readGuest16(va + 12));
    store<u16>(X87_DS, readGuest16(va + 20));
  }
  for (let i: u32 = 0; i < 8; i++) readGuestBytes(va + AREA_REGISTERS + i * 16, st(i), 10);
  refreshSummary();
}

function writeXmm(va: u64): void {
  const count = xmmCount();
  for (let i: u32 = 0; i < count; i++) writeGuestBytes(va + AREA_XMM + i * 16, XMM + i * XMM_STRIDE, 16);
}

function readXmm(va: u64): void {
  const count = xmmCount();
  for (let i: u32 = 0; i < count; i++) readGuestBytes(va + AREA_XMM + i * 16, XMM + i * XMM_STRIDE, 16);
}

/** MXCSR as an area has it; bits that do not exist raise #GP. */
function checkedMxcsr(va: u64): u32 {
  const value = readGuest32(va + AREA_MXCSR);
  if (value & ~MXCSR_MASK) raiseGp(0);
  return value;
}

export function fxsave(op: u32): void {
  const va = effectiveAddress(op, AREA_SIZE, true);
  if (va & 15) raiseGp(0);
  probeWrite(va, AREA_SIZE);
  writeX87(op, va);
  writeGuest32(va + AREA_MXCSR, load<u32>(MXCSR));
  writeGuest32(va + AREA_MXCSR + 4, MXCSR_MASK);
  writeXmm(va);
}

export function fxrstor(op: u32): void {
  const va = effectiveAddress(op, AREA_SIZE, false);
  if (va & 15) raiseGp(0);
  probeRead(va, AREA_SIZE);
  const mxcsr = checkedMxcsr(va);
  readX87(op, va);
  store<u32>(MXCSR, mxcsr);
  readXmm(va);
}

// XSAVE (Intel SDM 1, chapter 13). The state components are x87 and SSE, which lie in the legacy area.
const COMPONENT_X87: u32 = 1;
const COMPONENT_SSE: u32 = 2;
const COMPONENT_AVX: u32 = 4;
const HEADER: u64 = 512;
const HEADER_SIZE: u32 = 64;
const COMPACTED: u64 = 1 << 63;

/** What XSAVE and its kind check first. */
function requireXsave(): void {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) raiseUd();
  if (load<u32>(CR0) & CR0_TS) raiseNm();
}

/** The components that are asked for and enabled. */
function requested(): u32 {
  return load<u32>(RAX) & load<u32>(XCR0);
}

/** XSAVE and XSAVEOPT: components are always treated as in use and modified, as the architecture allows. */
export function xsave(op: u32): void {
  saveArea(op, false);
}

export function xsavec(op: u32): void {
  saveArea(op, true);
}

function saveArea(op: u32, compact: bool): void {
  requireXsave();
  const va = effectiveAddress(op, <u32>HEADER + HEADER_SIZE, true);
  if (va & 63) raiseGp(0);
  const components = requested();
  probeWrite(va, <u32>HEADER + HEADER_SIZE);
  const present = compact ? 0 : readGuest64(va + HEADER);
  if (components & COMPONENT_X87) writeX87(op, va);
  if (components & (compact ? COMPONENT_SSE : COMPONENT_SSE | COMPONENT_AVX)) {
    writeGuest32(va + AREA_MXCSR, load<u32>(MXCSR));
    writeGuest32(va + AREA_MXCSR + 4, MXCSR_MASK);
  }
  if (components & COMPONENT_SSE) writeXmm(va);
  writeGuest64(va + HEADER, (present & ~(<u64>components)) | components);
  if (compact) writeGuest64(va + HEADER + 8, COMPACTED | components);
}

export function xrstor(op: u32): void {
  requireXsave();
  const va = effectiveAddress(op, <u32>HEADER + HEADER_SIZE, false);
  if (va & 63) raiseGp(0);
  probeRead(va, <u32>HEADER + HEADER_SIZE);
  const components = requested();
  const present = readGuest64(va + HEADER);
  const format = readGuest64(va + HEADER + 8);
  const enabled = load<u64>(XCR0);
  const compact = (format & COMPACTED) != 0;
  if (compact ? ((format & ~COMPACTED & ~enabled) | (present & ~format)) != 0 : format != 0) raiseGp(0);
  if ((present & ~enabled) != 0 || readGuest64(va + HEADER + 16) != 0) raiseGp(0);
  if (compact) {
    for (let at: u64 = 24; at < HEADER_SIZE; at += 8) if (readGuest64(va + HEADER + at) != 0) raiseGp(0);
  }
  // The standard form loads MXCSR whether or not the area has the component.
  let mxcsr = load<u32>(MXCSR);
  if (compact) {
    if (components & COMPONENT_SSE) mxcsr = <u32>present & COMPONENT_SSE ? checkedMxcsr(va) : MXCSR_DEFAULT;
  } else if (components & (COMPONENT_SSE | COMPONENT_AVX)) mxcsr = checkedMxcsr(va);

  if (components & COMPONENT_X87) {
    if (<u32>present & COMPONENT_X87) readX87(op, va);
    else {
      initializeX87();
      memory.fill(X87, 0, 128);
    }
  }
  store<u32>(MXCSR, mxcsr);
  if (components & COMPONENT_SSE) {
    if (<u32>present & COMPONENT_SSE) readXmm(va);
    else for (let i: u32 = 0, n = xmmCount(); i < n; i++) memory.fill(XMM + i * XMM_STRIDE, 0, 16);
  }
}

export function stmxcsr(op: u32): void {
  writeGuest32(effectiveAddress(op, 4, true), load<u32>(MXCSR));
}

export function ldmxcsr(op: u32): void {
  const value = readGuest32(effectiveAddress(op, 4, false));
  if (value & ~MXCSR_MASK) raiseGp(0);
  store<u32>(MXCSR, value);
}

/** The states at reset (Intel SDM 3, table 10-1) and after INIT the x87's. */
export function resetFpu(): void {
  initializeX87();
  store<u16>(X87_CONTROL, 0x40);
  store<u16>(X87_TAG, 0);
  memory.fill(X87, 0, 128);
  memory.fill(XMM, 0, 16 * XMM_STRIDE);
  store<u32>(MXCSR, MXCSR_DEFAULT);
}
