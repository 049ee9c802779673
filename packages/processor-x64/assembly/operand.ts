// The operands that a record names.
import { readPointer, readSized, writeGuestBytes, writeSized } from './memory';
import { probeWrite } from './memory';
import { raiseGp } from './raise';
import {
  addressSizeOf,
  dispOf,
  FLAG_ADDRESS32,
  FLAG_MEMORY,
  FLAG_SEGMENTED,
  flagsOf,
  indexOf,
  isMemory,
  offsetOf,
  regOf,
  rmOf,
  scaleOf,
  segmentOf,
  sizeOf,
} from './record';
import { segmentAddress } from './segment-access';
import { CR0, CR0_PE, EFLAGS, MODE, MODE_CODE64, RIP_MASK, RIP_PAGE, VM } from './state';

/** The instruction's own address, as RIP has it. */
export function currentRip(op: u32): u64 {
  return (load<u64>(RIP_PAGE) + offsetOf(op)) & load<u64>(RIP_MASK);
}

/** Base, index and displacement, without the segment. */
export function effectiveOffset(op: u32): u64 {
  const base = rmOf(op);
  switch (addressSizeOf(op)) {
    case 1:
      return <u64>((<u32>load<u16>(base) + (<u32>load<u16>(indexOf(op)) << scaleOf(op)) + dispOf(op)) & 0xffff);
    case 2: {
      // Within an extension to 64 bits the loads would be of 64 bits, and the sum would not wrap.
      const offset: u32 = load<u32>(base) + (load<u32>(indexOf(op)) << scaleOf(op)) + load<u32>(op, 20);
      return offset;
    }
    default:
      return load<u64>(base) + (load<u64>(indexOf(op)) << <u64>scaleOf(op)) + <u64>(<i64>dispOf(op));
  }
}

/** The linear address of the memory operand, checked against its segment for an access of `size` bytes. */
export function effectiveAddress(op: u32, size: u32, write: bool): u64 {
  const offset = effectiveOffset(op);
  return (flagsOf(op) & FLAG_SEGMENTED) != 0 ? segmentAddress(segmentOf(op), offset, size, write) : offset;
}

/** The same in place, where it is a mere addition. hot-access.ts has it for the hot handlers, with CUR. */
// @ts-ignore: decorator
@inline export function address(op: u32, size: u32, write: bool): u64 {
  if ((load<u8>(op, 5) & (FLAG_SEGMENTED | FLAG_ADDRESS32)) != 0) return effectiveAddress(op, size, write);
  return (
    load<u64>(load<u32>(op, 12)) +
    (load<u64>(load<u32>(op, 16)) << <u64>((load<u8>(op, 6) >> 3) & 3)) +
    <u64>(<i64>load<i32>(op, 20))
  );
}

/** Reads 2 to the power of `size` bytes of a register, sign-extended. */
export function loadSigned(at: u32, size: u32): i64 {
  switch (size) {
    case 0:
      return <i64>load<i8>(at);
    case 1:
      return <i64>load<i16>(at);
    case 2:
      return <i64>load<i32>(at);
    default:
      return load<i64>(at);
  }
}

export function loadUnsigned(at: u32, size: u32): u64 {
  switch (size) {
    case 0:
      return <u64>load<u8>(at);
    case 1:
      return <u64>load<u16>(at);
    case 2:
      return <u64>load<u32>(at);
    default:
      return load<u64>(at);
  }
}

/** Writes a general register: one of 32 bits clears its upper half. */
export function storeRegister(at: u32, size: u32, value: u64): void {
  switch (size) {
    case 0:
      store<u8>(at, value);
      break;
    case 1:
      store<u16>(at, value);
      break;
    case 2:
      store<u64>(at, value & 0xffffffff);
      break;
    default:
      store<u64>(at, value);
  }
}

export function signExtend(value: u64, size: u32): i64 {
  const shift: i64 = 64 - (8 << <i64>size);
  return (<i64>value << shift) >> shift;
}

/** The operand of ModRM.rm, zero-extended. */
export function readRm(op: u32): u64 {
  const size = sizeOf(op);
  return isMemory(op) ? readSized(effectiveAddress(op, 1 << size, false), size) : loadUnsigned(rmOf(op), size);
}

export function readReg(op: u32): u64 {
  return loadUnsigned(regOf(op), sizeOf(op));
}

export function writeReg(op: u32, value: u64): void {
  storeRegister(regOf(op), sizeOf(op), value);
}

/** Writes the operand of ModRM.rm without having read it. */
export function writeRm(op: u32, value: u64): void {
  const size = sizeOf(op);
  if (isMemory(op)) writeSized(effectiveAddress(op, 1 << size, true), size, value);
  else storeRegister(rmOf(op), size, value);
}

let modified: u64 = 0;

/**
 * Reads the operand of ModRM.rm that {@link finishRm} will replace: a fault of either comes now, as one of writing.
 */
export function beginRm(op: u32): u64 {
  const size = sizeOf(op);
  if (!isMemory(op)) return loadUnsigned(rmOf(op), size);
  const va = effectiveAddress(op, 1 << size, true);
  modified = va;
  probeWrite(va, 1 << size);
  return readSized(va, size);
}

export function finishRm(op: u32, value: u64): void {
  const size = sizeOf(op);
  if (isMemory(op)) writeSized(modified, size, value);
  else storeRegister(rmOf(op), size, value);
}

// For the FPU part.

/** Where `size` bytes of the operand of ModRM.rm can be read, until the next access to guest memory. */
export function sourcePointer(op: u32, size: u32): u32 {
  return (flagsOf(op) & FLAG_MEMORY) != 0 ? readPointer(address(op, size, false), size) : rmOf(op);
}

/** Stores `size` bytes to the operand of ModRM.rm. */
export function storeOperand(op: u32, from: u32, size: u32): void {
  if ((flagsOf(op) & FLAG_MEMORY) == 0) {
    memory.copy(rmOf(op), from, size);
    return;
  }
  writeGuestBytes(address(op, size, true), from, size);
}

/** #GP(0) where a memory operand of 16 bytes is not aligned. */
export function requireAligned16(op: u32): void {
  if ((flagsOf(op) & FLAG_MEMORY) != 0 && (<u32>address(op, 16, false) & 15) != 0) raiseGp(0);
}

export function inLongCode(): bool {
  return (load<u32>(MODE) & 3) == MODE_CODE64;
}

/** Real mode or virtual-8086 mode. */
export function inRealAddressing(): bool {
  return (load<u32>(CR0) & CR0_PE) == 0 || (load<u32>(EFLAGS) & VM) != 0;
}
