// The x87 register stack, its exceptions and what it remembers of the last instruction (Intel SDM 1, 8.1).
//
// The tag word in the state says only empty (3) or not (0), which is all that the processor itself looks at; the
// other tags are computed when they are stored.
import { FLAG_SEGMENTED, flagsOf, handlerOf, immOf, segmentOf } from '../record';
import { currentRip } from '../operand';
import { raiseMf } from '../raise';
import {
  CR0,
  CR0_NE,
  CS,
  DS,
  SEG_BASE,
  SEG_SELECTOR,
  SEGMENT_SIZE,
  SEGMENTS,
  X87,
  X87_CONTROL,
  X87_CS,
  X87_DP,
  X87_DS,
  X87_IP,
  X87_OPCODE,
  X87_STATUS,
  X87_TAG,
} from '../state';
import {
  begin,
  C1,
  CLASS_NORMAL,
  CLASS_ZERO,
  classOf,
  control,
  invalid,
  outSe,
  outSig,
  setOut,
  stopped,
} from './float80';
import { exceptions, IE, PE, roundedUp } from './number';
import { FPU_FIRST } from './form';

/** Stack fault: beside IE. */
export const SF: u32 = 0x40;
/** An exception that is not masked waits. */
export const ES: u32 = 0x80;
export const BUSY: u32 = 0x8000;

/** The address of ST(i). */
// @ts-ignore: decorator
@inline export function st(i: u32): u32 {
  return X87 + ((((<u32>load<u16>(X87_STATUS) >> 11) + i) & 7) << 4);
}

// @ts-ignore: decorator
@inline export function seOf(register: u32): u32 {
  return load<u16>(register, 8);
}

// @ts-ignore: decorator
@inline export function sigOf(register: u32): u64 {
  return load<u64>(register);
}

// @ts-ignore: decorator
@inline function tagShift(register: u32): u32 {
  return (register - X87) >> 3;
}

/** Whether the register at an address is empty. */
// @ts-ignore: decorator
@inline export function isEmpty(register: u32): bool {
  return ((<u32>load<u16>(X87_TAG) >> tagShift(register)) & 3) == 3;
}

// @ts-ignore: decorator
@inline export function setEmpty(register: u32): void {
  store<u16>(X87_TAG, <u32>load<u16>(X87_TAG) | (3 << tagShift(register)));
}

/** Writes a register, which is then not empty. */
// @ts-ignore: decorator
@inline export function setRegister(register: u32, se: u32, sig: u64): void {
  store<u64>(register, sig);
  store<u16>(register, se, 8);
  store<u16>(X87_TAG, <u32>load<u16>(X87_TAG) & ~(3 << tagShift(register)));
}

// @ts-ignore: decorator
@inline export function moveTop(by: i32): void {
  const status = <u32>load<u16>(X87_STATUS);
  store<u16>(X87_STATUS, (status & ~0x3800) | ((status + (by << 11)) & 0x3800));
}

// @ts-ignore: decorator
@inline export function pop(): void {
  setEmpty(st(0));
  moveTop(1);
}

/** Replaces C0 to C3. */
export function setConditions(codes: u32): void {
  store<u16>(X87_STATUS, (<u32>load<u16>(X87_STATUS) & ~0x4700) | codes);
}

/**
 * Raises #MF where an exception waits. With CR0.NE clear the system wants FERR# and an interrupt instead, which the
 * board does not wire: the exception is then ignored, as with IGNNE# asserted.
 */
// @ts-ignore: decorator
@inline export function checkPending(): void {
  if (load<u16>(X87_STATUS) & ES && load<u32>(CR0) & CR0_NE) raiseMf();
}

/** Starts an instruction that computes. */
// @ts-ignore: decorator
@inline export function beginX87(): void {
  checkPending();
  begin(load<u16>(X87_CONTROL));
}

/** Remembers the instruction: FIP, FCS, FOP. */
// @ts-ignore: decorator
@inline export function recordInstruction(op: u32): void {
  store<u64>(X87_IP, currentRip(op));
  store<u16>(X87_CS, load<u16>(SEGMENTS + CS * SEGMENT_SIZE + SEG_SELECTOR));
  store<u16>(X87_OPCODE, opcodeOf(op));
}

/** The low bits of the opcode and ModRM. Of a memory operand the record keeps ModRM in the immediate. */
function opcodeOf(op: u32): u32 {
  const number = handlerOf(op) - FPU_FIRST;
  if (number < 64) return ((number >> 3) << 8) | (<u32>immOf(op) & 0xff);
  if (number < 128) return (((number >> 3) & 7) << 8) | 0xc0 | ((number & 7) << 3) | (<u32>immOf(op) & 7);
  return 0x1e0 | (number & 31);
}

/** Remembers the address of the memory operand: FDP, FDS. */
// @ts-ignore: decorator
@inline export function recordOperand(op: u32, va: u64): void {
  const segment = SEGMENTS + (flagsOf(op) & FLAG_SEGMENTED ? segmentOf(op) : DS) * SEGMENT_SIZE;
  store<u64>(X87_DP, flagsOf(op) & FLAG_SEGMENTED ? va - load<u64>(segment + SEG_BASE) : va);
  store<u16>(X87_DS, load<u16>(segment + SEG_SELECTOR));
}

/** Puts exceptions and C1 into the status word; says whether the result is to be written. */
export function conclude(): bool {
  let status = (<u32>load<u16>(X87_STATUS) & ~C1) | exceptions;
  if (roundedUp && exceptions & PE) status |= C1;
  if (exceptions & ~control & 0x3f) status |= ES | BUSY;
  store<u16>(X87_STATUS, status);
  return !stopped();
}

/** An operand is empty, or the place of a new one is not. The result is then the indefinite, if masked. */
export function stackFault(overflow: bool): bool {
  invalid();
  let status = (<u32>load<u16>(X87_STATUS) & ~C1) | SF | IE | (overflow ? C1 : 0);
  if (~control & IE) status |= ES | BUSY;
  store<u16>(X87_STATUS, status);
  return (control & IE) != 0;
}

/** Pushes the number in `outSe` and `outSig` after its exceptions. */
export function push(): void {
  const register = st(7);
  if (!isEmpty(register)) {
    if (!stackFault(true)) return;
  } else {
    // A denormal in memory is pushed even where its exception is not masked.
    conclude();
    if (exceptions & ~control & IE) return;
  }
  moveTop(-1);
  setRegister(register, outSe, outSig);
}

/** The tag word as FNSTENV stores it (Intel SDM 1, 8.1.7). */
export function tagWord(): u32 {
  const tags = <u32>load<u16>(X87_TAG);
  let word: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) {
    let tag: u32 = 3;
    if (((tags >> (i << 1)) & 3) != 3) {
      const kind = classOf(seOf(X87 + (i << 4)), sigOf(X87 + (i << 4)));
      tag = kind == CLASS_NORMAL ? 0 : kind == CLASS_ZERO ? 1 : 2;
    }
    word |= tag << (i << 1);
  }
  return word;
}

/** One bit for each physical register that is not empty: the tag byte of FXSAVE. */
export function tagByte(): u32 {
  const tags = <u32>load<u16>(X87_TAG);
  let byte: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) if (((tags >> (i << 1)) & 3) != 3) byte |= 1 << i;
  return byte;
}

export function setTagByte(byte: u32): void {
  let tags: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) if (((byte >> i) & 1) == 0) tags |= 3 << (i << 1);
  store<u16>(X87_TAG, tags);
}

/** Computes ES and B anew, after the status or control word was loaded. */
export function refreshSummary(): void {
  const status = <u32>load<u16>(X87_STATUS) & ~(ES | BUSY);
  const pending = status & ~(<u32>load<u16>(X87_CONTROL)) & 0x3f;
  store<u16>(X87_STATUS, pending != 0 ? status | ES | BUSY : status);
}

export function initializeX87(): void {
  store<u16>(X87_CONTROL, 0x37f);
  store<u16>(X87_STATUS, 0);
  store<u16>(X87_TAG, 0xffff);
  store<u16>(X87_OPCODE, 0);
  store<u64>(X87_IP, 0);
  store<u64>(X87_DP, 0);
  store<u16>(X87_CS, 0);
  store<u16>(X87_DS, 0);
}

/** An MMX instruction makes all registers valid and TOP 0 (Intel SDM 1, 9.5.1). */
// @ts-ignore: decorator
@inline export function enterMmx(): void {
  store<u16>(X87_TAG, 0);
  store<u16>(X87_STATUS, <u32>load<u16>(X87_STATUS) & ~0x3800);
}

/** Copies ST(0)'s or another register's number to where results are. */
// @ts-ignore: decorator
@inline export function take(register: u32): void {
  setOut(seOf(register), sigOf(register));
}
