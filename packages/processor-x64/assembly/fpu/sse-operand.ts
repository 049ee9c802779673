// Operands of SSE and MMX instructions.
import { requireAligned16, sourcePointer } from '../operand';
import { regOf } from '../record';

/** 16 bytes of a register or of aligned memory. */
// @ts-ignore: decorator
@inline export function source16(op: u32): u32 {
  requireAligned16(op);
  return sourcePointer(op, 16);
}

// @ts-ignore: decorator
@inline export function source(op: u32): v128 {
  return v128.load(source16(op));
}

// @ts-ignore: decorator
@inline export function destination(op: u32): v128 {
  return v128.load(regOf(op));
}

// @ts-ignore: decorator
@inline export function setDestination(op: u32, value: v128): void {
  v128.store(regOf(op), value);
}

/** Writes a general register of 32 bits, clearing its upper half. */
// @ts-ignore: decorator
@inline export function setGeneral32(op: u32, value: u32): void {
  store<u64>(regOf(op), value);
}
