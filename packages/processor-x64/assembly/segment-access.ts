// Addresses by segment: base, limit and rights (Intel SDM 3, 5.3 and 5.4).
import { raiseGp, raiseSs } from './raise';
import {
  CR0,
  CR0_PE,
  EFLAGS,
  FS,
  MODE,
  MODE_CODE64,
  MODE_STACK32,
  RSP,
  SEGMENT_SIZE,
  SEGMENTS,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SS,
  VM,
} from './state';

// Bits of SEG_ATTR.
export const ATTR_TYPE: u32 = 0xf;
export const ATTR_ACCESSED: u32 = 1;
/** Data: writable; code: readable. */
export const ATTR_WRITABLE: u32 = 2;
/** Data: expands down; code: conforming. */
export const ATTR_EXPAND_DOWN: u32 = 4;
export const ATTR_CODE: u32 = 8;
/** Not a system segment. */
export const ATTR_S: u32 = 1 << 4;
export const ATTR_PRESENT: u32 = 1 << 7;
export const ATTR_L: u32 = 1 << 13;
export const ATTR_DB: u32 = 1 << 14;
export const ATTR_G: u32 = 1 << 15;

// @ts-ignore: decorator
@inline export function segment(n: u32): u32 {
  return SEGMENTS + n * SEGMENT_SIZE;
}

export function segmentFault(n: u32): void {
  if (n == SS) raiseSs(0);
  else raiseGp(0);
}

/** The linear address of `size` bytes at an offset in a segment; raises #GP(0) or #SS(0). */
export function segmentAddress(n: u32, offset: u64, size: u32, write: bool): u64 {
  const at = segment(n);
  if ((load<u32>(MODE) & 3) == MODE_CODE64) {
    return n >= FS ? load<u64>(at, SEG_BASE) + offset : offset;
  }
  const attr = <u32>load<u16>(at, SEG_ATTR);
  const limit = load<u32>(at, SEG_LIMIT);
  const first = <u32>offset;
  const last = first + size - 1;
  const isProtected = (load<u32>(CR0) & CR0_PE) != 0 && (load<u32>(EFLAGS) & VM) == 0;
  if (isProtected) {
    if ((attr & ATTR_PRESENT) == 0) segmentFault(n);
    const code = (attr & ATTR_CODE) != 0;
    if (write ? code || (attr & ATTR_WRITABLE) == 0 : code && (attr & ATTR_WRITABLE) == 0) segmentFault(n);
    if (!code && (attr & ATTR_EXPAND_DOWN) != 0) {
      const top: u32 = (attr & ATTR_DB) != 0 ? 0xffffffff : 0xffff;
      if (first <= limit || last > top || last < first) segmentFault(n);
      return (load<u64>(at, SEG_BASE) + offset) & 0xffffffff;
    }
  }
  // 4 GiB segments wrap.
  if (limit != 0xffffffff && (last > limit || last < first)) segmentFault(n);
  return (load<u64>(at, SEG_BASE) + offset) & 0xffffffff;
}

/** The stack pointer's width as a mask. */
export function stackMask(): u64 {
  const mode = load<u32>(MODE);
  return (mode & 3) == MODE_CODE64 ? 0xffffffffffffffff : (mode & MODE_STACK32) != 0 ? 0xffffffff : 0xffff;
}

export function setStackPointer(value: u64): void {
  const mode = load<u32>(MODE);
  if ((mode & 3) == MODE_CODE64) store<u64>(RSP, value);
  else if ((mode & MODE_STACK32) != 0) store<u64>(RSP, value & 0xffffffff);
  else store<u16>(RSP, value);
}

/** The linear address of `size` bytes at a stack offset. */
export function stackAddress(offset: u64, size: u32, write: bool): u64 {
  return (load<u32>(MODE) & 3) == MODE_CODE64 ? offset : segmentAddress(SS, offset & stackMask(), size, write);
}
