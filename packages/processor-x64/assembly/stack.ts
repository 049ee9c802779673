// PUSH and POP as parts of other instructions: memory first, the stack pointer when nothing can fail any more.
import { readSized, writeSized } from './memory';
import { setStackPointer, stackAddress, stackMask } from './segment-access';
import { RSP } from './state';

/** Pushes 2 to the power of `size` bytes. */
export function push(value: u64, size: u32): void {
  const bytes: u32 = 1 << size;
  const top = (load<u64>(RSP) - bytes) & stackMask();
  writeSized(stackAddress(top, bytes, true), size, value);
  setStackPointer(top);
}

export function pop(size: u32): u64 {
  const value = peek(0, size);
  setStackPointer(load<u64>(RSP) + (1 << size));
  return value;
}

/** Reads the stack's entry number `index`, of the size given. */
export function peek(index: u32, size: u32): u64 {
  const bytes: u32 = 1 << size;
  return readSized(stackAddress((load<u64>(RSP) + (index << size)) & stackMask(), bytes, false), size);
}

/** Writes an entry below the stack pointer, number 1 being the next that PUSH would write; the pointer stays. */
export function pushAhead(index: u32, size: u32, value: u64): void {
  const bytes: u32 = 1 << size;
  const at = (load<u64>(RSP) - (index << size)) & stackMask();
  writeSized(stackAddress(at, bytes, true), size, value);
}

/** Moves the stack pointer by entries: up for a positive number. */
export function moveStack(entries: i32, size: u32): void {
  setStackPointer(load<u64>(RSP) + <u64>(<i64>entries << size));
}
