// Guest memory by linear address: one comparison and one access where the TLB knows the page, else the long way.
import { mmioRead, mmioWrite } from './host';
import { watch } from './breakpoints';
import { invalidateCode } from './code-pages';
import { watchAccess } from './debugger';
import { fill, translatedGpa } from './paging';
import { raiseWithError } from './raise';
import { ALIGNED_ONLY, BREAKPOINTS, DEBUG, DEBUG_WATCH, EX_AC, MODE, MODE_CODE64, SCRATCH, TLB } from './state';
import { entryOf, READ, TLB_ADDEND, TLB_MASK, TLB_PAGE, userTable, WRITE } from './tlb';
import { pageInfoOf } from './tables';

/** Reads a value of 1 to 8 bytes. */
// @ts-ignore: decorator
@inline export function read<T>(va: u64): T {
  const entry = load<u32>(TLB) + ((<u32>(va >> 12) & TLB_MASK) << 5);
  // An access that leaves the page has another page's number here.
  if (load<u64>(entry) == ((va + (sizeof<T>() - 1)) & ~0xfff)) {
    return load<T>(<u32>va + load<u32>(entry, TLB_ADDEND));
  }
  return <T>readSlow(va, sizeof<T>());
}

/** Writes a value of 1 to 8 bytes. */
// @ts-ignore: decorator
@inline export function write<T>(va: u64, value: T): void {
  const entry = load<u32>(TLB) + ((<u32>(va >> 12) & TLB_MASK) << 5);
  if (load<u64>(entry, 8) == ((va + (sizeof<T>() - 1)) & ~0xfff)) {
    store<T>(<u32>va + load<u32>(entry, TLB_ADDEND), value);
  } else {
    writeSlow(va, sizeof<T>(), <u64>value);
  }
}

export function readGuest8(va: u64): u32 {
  return read<u8>(va);
}

export function readGuest16(va: u64): u32 {
  return read<u16>(va);
}

export function readGuest32(va: u64): u32 {
  return read<u32>(va);
}

export function readGuest64(va: u64): u64 {
  return read<u64>(va);
}

export function writeGuest8(va: u64, value: u32): void {
  write<u8>(va, <u8>value);
}

export function writeGuest16(va: u64, value: u32): void {
  write<u16>(va, <u16>value);
}

export function writeGuest32(va: u64, value: u32): void {
  write<u32>(va, value);
}

export function writeGuest64(va: u64, value: u64): void {
  write<u64>(va, value);
}

/** Reads 2 to the power of `size` bytes, zero-extended. */
export function readSized(va: u64, size: u32): u64 {
  switch (size) {
    case 0:
      return read<u8>(va);
    case 1:
      return read<u16>(va);
    case 2:
      return read<u32>(va);
    default:
      return read<u64>(va);
  }
}

export function writeSized(va: u64, size: u32, value: u64): void {
  switch (size) {
    case 0:
      write<u8>(va, <u8>value);
      break;
    case 1:
      write<u16>(va, <u16>value);
      break;
    case 2:
      write<u32>(va, <u32>value);
      break;
    default:
      write<u64>(va, value);
  }
}

/** The start of the next page; addresses wrap at 4 GiB outside 64-bit mode. */
function nextPage(va: u64): u64 {
  const next = (va | 0xfff) + 1;
  return (load<u32>(MODE) & 3) == MODE_CODE64 ? next : next & 0xffffffff;
}

/**
 * The place in this memory of `size` bytes in one page, for reading or writing; 0 where there is no RAM, whose
 * address is then {@link translatedGpa}. Writing drops decoded code that they belong to.
 */
export function hostAddress(va: u64, size: u32, access: u32): u32 {
  if (load<u32>(BREAKPOINTS) != 0) watch(va, size, access);
  if ((load<u32>(DEBUG) & DEBUG_WATCH) != 0) watchAccess(va, size, access);
  const entry = entryOf(va);
  if ((load<u64>(entry + (access << 3)) & ~1) != (va & ~0xfff) && !fill(va, access, entry)) return 0;
  const place = <u32>va + load<u32>(entry, TLB_ADDEND);
  // The tag of a page without decoded code; one that is watched has none.
  if (access == WRITE && load<u64>(entry, 8) != (va & ~0xfff)) {
    const arenaPage = load<u32>(entry, TLB_PAGE);
    if (load<u64>(pageInfoOf(arenaPage)) != 0) invalidateCode(arenaPage, <u32>va & 0xfff, size);
    else if (load<u64>(entry, 8) == ((va & ~0xfff) | 1)) store<u64>(entry, va & ~0xfff, 8);
  }
  return place;
}

/** Little-endian value of 1 to 8 bytes. */
function loadBytes(at: u32, size: u32): u64 {
  switch (size) {
    case 1:
      return load<u8>(at);
    case 2:
      return load<u16>(at);
    case 4:
      return load<u32>(at);
    case 8:
      return load<u64>(at);
    default: {
      let value: u64 = 0;
      for (let i: u32 = 0; i < size; i++) value |= <u64>load<u8>(at + i) << (i << 3);
      return value;
    }
  }
}

function storeBytes(at: u32, size: u32, value: u64): void {
  switch (size) {
    case 1:
      store<u8>(at, value);
      break;
    case 2:
      store<u16>(at, value);
      break;
    case 4:
      store<u32>(at, value);
      break;
    case 8:
      store<u64>(at, value);
      break;
    default:
      for (let i: u32 = 0; i < size; i++) store<u8>(at + i, value >> (i << 3));
  }
}

/** A device gets accesses of 1, 2 and 4 bytes. */
function deviceRead(gpa: u64, size: u32): u64 {
  let value: u64 = 0;
  for (let done: u32 = 0; done < size; ) {
    const left = size - done;
    const step: u32 = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    value |= <u64>mmioRead(<f64>(gpa + done), step) << (done << 3);
    done += step;
  }
  return value;
}

function deviceWrite(gpa: u64, size: u32, value: u64): void {
  for (let done: u32 = 0; done < size; ) {
    const left = size - done;
    const step: u32 = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    mmioWrite(<f64>(gpa + done), step, <u32>(value >> (done << 3)) & (step == 4 ? 0xffffffff : (1 << (step << 3)) - 1));
    done += step;
  }
}

function readPart(va: u64, size: u32): u64 {
  const at = hostAddress(va, size, READ);
  return at != 0 ? loadBytes(at, size) : deviceRead(translatedGpa(), size);
}

function writePart(va: u64, size: u32, value: u64): void {
  const at = hostAddress(va, size, WRITE);
  if (at != 0) storeBytes(at, size, value);
  else deviceWrite(translatedGpa(), size, value);
}

/** #AC(0) for an operand of 1 to 16 bytes that is not at a multiple of its size (Intel SDM 3, table 6-7). */
export function checkAlignment(va: u64, size: u32): void {
  if (load<u32>(ALIGNED_ONLY) == 0 || !userTable()) return;
  if (popcnt<u32>(size) == 1 && (<u32>va & (size - 1)) != 0) raiseWithError(EX_AC, 0);
}

export function readSlow(va: u64, size: u32): u64 {
  checkAlignment(va, size);
  const first: u32 = 0x1000 - (<u32>va & 0xfff);
  if (first >= size) return readPart(va, size);
  const rest = nextPage(va);
  const low = readPart(va, first);
  return low | (readPart(rest, size - first) << (first << 3));
}

export function writeSlow(va: u64, size: u32, value: u64): void {
  checkAlignment(va, size);
  const first: u32 = 0x1000 - (<u32>va & 0xfff);
  if (first >= size) {
    writePart(va, size, value);
    return;
  }
  const rest = nextPage(va);
  // Both pages, before either is changed.
  hostAddress(va, first, WRITE);
  hostAddress(rest, size - first, WRITE);
  writePart(va, first, value);
  writePart(rest, size - first, value >> (first << 3));
}

/** Makes sure that a write of `size` bytes, at most a page, will not fault. */
export function probeWrite(va: u64, size: u32): void {
  const first: u32 = 0x1000 - (<u32>va & 0xfff);
  hostAddress(va, min(first, size), WRITE);
  if (first < size) hostAddress(nextPage(va), size - first, WRITE);
}

/** Makes sure that a read of `size` bytes, at most a page, will not fault. */
export function probeRead(va: u64, size: u32): void {
  const first: u32 = 0x1000 - (<u32>va & 0xfff);
  hostAddress(va, min(first, size), READ);
  if (first < size) hostAddress(nextPage(va), size - first, READ);
}

/** Copies `size` bytes, at most a page, out of guest memory. */
export function readGuestBytes(va: u64, to: u32, size: u32): void {
  checkAlignment(va, size);
  const first = min<u32>(0x1000 - (<u32>va & 0xfff), size);
  copyOut(va, to, first);
  if (first < size) copyOut(nextPage(va), to + first, size - first);
}

function copyOut(va: u64, to: u32, size: u32): void {
  const at = hostAddress(va, size, READ);
  if (at != 0) {
    memory.copy(to, at, size);
    return;
  }
  const gpa = translatedGpa();
  for (let done: u32 = 0; done < size; ) {
    const step = min<u32>(size - done, 4);
    storeBytes(to + done, step, deviceRead(gpa + done, step));
    done += step;
  }
}

/** Copies `size` bytes, at most a page, into guest memory; nothing is written where a part cannot be. */
export function writeGuestBytes(va: u64, from: u32, size: u32): void {
  checkAlignment(va, size);
  const first = min<u32>(0x1000 - (<u32>va & 0xfff), size);
  if (first < size) probeWrite(va, size);
  copyIn(va, from, first);
  if (first < size) copyIn(nextPage(va), from + first, size - first);
}

function copyIn(va: u64, from: u32, size: u32): void {
  const at = hostAddress(va, size, WRITE);
  if (at != 0) {
    memory.copy(at, from, size);
    return;
  }
  const gpa = translatedGpa();
  for (let done: u32 = 0; done < size; ) {
    const step = min<u32>(size - done, 4);
    deviceWrite(gpa + done, step, loadBytes(from + done, step));
    done += step;
  }
}

/** Where `size` bytes, at most 64, can be read: in the guest's page, or in SCRATCH where they are not in one. */
export function readPointer(va: u64, size: u32): u32 {
  checkAlignment(va, size);
  if ((<u32>va & 0xfff) + size <= 0x1000) {
    const at = hostAddress(va, size, READ);
    if (at != 0) return at;
  }
  readGuestBytes(va, SCRATCH, size);
  return SCRATCH;
}
