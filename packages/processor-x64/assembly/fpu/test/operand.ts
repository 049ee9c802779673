// Takes the place of assembly/operand.ts in the test module: a memory operand is at the address in its base register.
import { raiseGp } from './raise';
import { isMemory, rmOf } from './record';

export function currentRip(_op: u32): u64 {
  return 0x1234;
}

export function effectiveAddress(op: u32, _size: u32, _write: bool): u64 {
  return load<u64>(rmOf(op));
}

export function sourcePointer(op: u32, _size: u32): u32 {
  return isMemory(op) ? load<u32>(rmOf(op)) : rmOf(op);
}

export function storeOperand(op: u32, from: u32, size: u32): void {
  memory.copy(sourcePointer(op, size), from, size);
}

export function requireAligned16(op: u32): void {
  if (isMemory(op) && (load<u32>(rmOf(op)) & 15) != 0) raiseGp(0);
}

export function inLongCode(): bool {
  return true;
}

export function inRealAddressing(): bool {
  return false;
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
