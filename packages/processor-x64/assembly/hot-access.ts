// Operands of the hot handlers: in place while the TLB knows the page, else the long way, for which CUR has to say which
// instruction runs. Nothing else does before a handler that is done in place, so that most need not store it.
import { checkAlignment, hostAddress, probeWrite, readSlow, writeSlow } from './memory';
import { effectiveAddress } from './operand';
import { raiseGp } from './raise';
import { FLAG_ADDRESS32, FLAG_SEGMENTED } from './record';
import { CUR, TLB } from './state';
import { TLB_ADDEND, TLB_MASK, WRITE } from './tlb';

// @ts-ignore: decorator
@inline function tlbEntry(va: u64): u32 {
  return load<u32>(TLB) + ((<u32>(va >> 12) & TLB_MASK) << 5);
}

/** The page of an access's last byte: another than the entry's where the access leaves the page. */
// @ts-ignore: decorator
@inline function pageOfLast(va: u64, size: u32): u64 {
  return (va + (size - 1)) & ~0xfff;
}

/** The linear address of the memory operand. */
// @ts-ignore: decorator
@inline export function address(op: u32, size: u32, write: bool): u64 {
  if ((load<u8>(op, 5) & (FLAG_SEGMENTED | FLAG_ADDRESS32)) != 0) {
    store<u32>(CUR, op);
    return effectiveAddress(op, size, write);
  }
  return (
    load<u64>(load<u32>(op, 12)) +
    (load<u64>(load<u32>(op, 16)) << <u64>((load<u8>(op, 6) >> 3) & 3)) +
    <u64>(<i64>load<i32>(op, 20))
  );
}

/** The same of an operand that is known to be a 64-bit base and a displacement. */
// @ts-ignore: decorator
@inline export function displaced(op: u32): u64 {
  return load<u64>(load<u32>(op, 12)) + <u64>(<i64>load<i32>(op, 20));
}

/** Where `size` bytes can be read, 0 where the TLB does not know them. */
// @ts-ignore: decorator
@inline export function readable(va: u64, size: u32): u32 {
  const entry = tlbEntry(va);
  return load<u64>(entry) == pageOfLast(va, size) ? <u32>va + load<u32>(entry, TLB_ADDEND) : 0;
}

/** Where `size` bytes can be written, 0 where the TLB does not know them. */
// @ts-ignore: decorator
@inline export function writable(va: u64, size: u32): u32 {
  const entry = tlbEntry(va);
  return load<u64>(entry, 8) == pageOfLast(va, size) ? <u32>va + load<u32>(entry, TLB_ADDEND) : 0;
}

// @ts-ignore: decorator
@inline export function read<T>(op: u32, va: u64): T {
  const entry = tlbEntry(va);
  if (load<u64>(entry) == pageOfLast(va, sizeof<T>())) {
    return load<T>(<u32>va + load<u32>(entry, TLB_ADDEND));
  }
  store<u32>(CUR, op);
  return <T>readSlow(va, sizeof<T>());
}

// @ts-ignore: decorator
@inline export function write<T>(op: u32, va: u64, value: T): void {
  const entry = tlbEntry(va);
  if (load<u64>(entry, 8) == pageOfLast(va, sizeof<T>())) {
    store<T>(<u32>va + load<u32>(entry, TLB_ADDEND), value);
  } else {
    store<u32>(CUR, op);
    writeSlow(va, sizeof<T>(), <u64>value);
  }
}

/** The place of an operand that is read and written, 0 where it takes the long way; faults come now. */
// @ts-ignore: decorator
@inline export function modifiable<T>(op: u32, va: u64): u32 {
  const entry = tlbEntry(va);
  return load<u64>(entry, 8) == pageOfLast(va, sizeof<T>())
    ? <u32>va + load<u32>(entry, TLB_ADDEND)
    : prepareWrite(op, va, sizeof<T>());
}

function prepareWrite(op: u32, va: u64, size: u32): u32 {
  store<u32>(CUR, op);
  checkAlignment(va, size);
  if ((<u32>va & 0xfff) + size <= 0x1000) return hostAddress(va, size, WRITE);
  probeWrite(va, size);
  return 0;
}

/** A branch to where there are no addresses is a fault of the branch. */
// @ts-ignore: decorator
@inline export function canonical(op: u32, target: u64): u64 {
  if (<u64>((<i64>target << 16) >> 16) != target) {
    store<u32>(CUR, op);
    raiseGp(0);
  }
  return target;
}
