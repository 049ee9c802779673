// The micro-op record: 32 bytes in the code cache, one for each guest instruction.
//
//   @0  u16  handler: what runs it
//   @2  u16  bits 0-11: offset of the instruction in its page; bits 12-15: its length
//   @4  u8   operand size as a power of two: 0 = 8 bits, 1 = 16, 2 = 32, 3 = 64
//   @5  u8   flags, FLAG_*
//   @6  u8   address: bits 0-2 segment, 3-4 scale, 5-6 size (1 = 16 bits, 2 = 32, 3 = 64)
//   @7  u8   index of the instruction in its block
//   @8  u32  address of the register of ModRM.reg (or of the opcode), in the register file that fits
//   @12 u32  address of the register of ModRM.rm, or of the base register where FLAG_MEMORY is set
//   @16 u32  address of the index register
//   @20 i32  displacement; for a branch, its target's offset from the start of the page
//   @24 i64  immediate; for a branch, two links to blocks in the same page: taken, not taken

export const RECORD_SIZE: u32 = 32;

/** The operand of ModRM.rm is in memory. */
export const FLAG_MEMORY: u32 = 1;
/** The address has 32 bits and a flat segment. */
export const FLAG_ADDRESS32: u32 = 2;
/** The address needs a segment's base, limit and rights. Neither of the two: 64 bits without a segment base. */
export const FLAG_SEGMENTED: u32 = 4;
export const FLAG_LOCK: u32 = 8;
export const FLAG_REP: u32 = 16;
export const FLAG_REPNE: u32 = 32;
/** The destination is ModRM.reg. */
export const FLAG_TO_REG: u32 = 64;
/** The source is the immediate. */
export const FLAG_IMMEDIATE: u32 = 128;

// @ts-ignore: decorator
@inline export function handlerOf(op: u32): u32 {
  return load<u16>(op);
}

/** The offset of the instruction from the start of its page. */
// @ts-ignore: decorator
@inline export function offsetOf(op: u32): u32 {
  return load<u16>(op, 2) & 0xfff;
}

/** The offset of the instruction behind it. */
// @ts-ignore: decorator
@inline export function nextOffsetOf(op: u32): u32 {
  const packed = <u32>load<u16>(op, 2);
  return (packed & 0xfff) + (packed >> 12);
}

/** 0 to 3: 8, 16, 32 or 64 bits. */
// @ts-ignore: decorator
@inline export function sizeOf(op: u32): u32 {
  return load<u8>(op, 4);
}

// @ts-ignore: decorator
@inline export function flagsOf(op: u32): u32 {
  return load<u8>(op, 5);
}

// @ts-ignore: decorator
@inline export function isMemory(op: u32): bool {
  return (load<u8>(op, 5) & FLAG_MEMORY) != 0;
}

// @ts-ignore: decorator
@inline export function segmentOf(op: u32): u32 {
  return load<u8>(op, 6) & 7;
}

// @ts-ignore: decorator
@inline export function scaleOf(op: u32): u32 {
  return (load<u8>(op, 6) >> 3) & 3;
}

/** 1 to 3: 16, 32 or 64 bits. */
// @ts-ignore: decorator
@inline export function addressSizeOf(op: u32): u32 {
  return load<u8>(op, 6) >> 5;
}

// @ts-ignore: decorator
@inline export function indexInBlock(op: u32): u32 {
  return load<u8>(op, 7);
}

/** Address of the register that ModRM.reg names. */
// @ts-ignore: decorator
@inline export function regOf(op: u32): u32 {
  return load<u32>(op, 8);
}

/** Address of the register that ModRM.rm names, or of the base register. */
// @ts-ignore: decorator
@inline export function rmOf(op: u32): u32 {
  return load<u32>(op, 12);
}

// @ts-ignore: decorator
@inline export function indexOf(op: u32): u32 {
  return load<u32>(op, 16);
}

// @ts-ignore: decorator
@inline export function dispOf(op: u32): i32 {
  return load<i32>(op, 20);
}

// @ts-ignore: decorator
@inline export function immOf(op: u32): i64 {
  return load<i64>(op, 24);
}
