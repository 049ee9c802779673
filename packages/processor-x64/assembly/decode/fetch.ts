// The bytes of the instruction that is being decoded: straight from its page, or copied together where it goes on in
// the next one.
import { fill } from '../paging';
import { raiseGp } from '../raise';
import { FETCH_BUFFER } from '../state';
import { entryOf, FETCH, TLB_ADDEND, TLB_PAGE } from '../tlb';
import { NONE } from '../code-pages';

/** An instruction has at most this many bytes (Intel SDM 2A, 2.3.11). */
const MAX_LENGTH: u32 = 15;

let at: u32 = 0;
let position: u32 = 0;
let available: u32 = 0;
let linearNext: u64 = 0;
/** Whether the next page may be looked at: not for an instruction that may never be reached. */
let mayCross: bool = false;
let secondPage: u32 = NONE;
let incomplete: bool = false;

/**
 * Begins an instruction at `place` in this memory with `bytes` left in its page; `nextPage` is the linear address of
 * the page behind it.
 */
export function beginFetch(place: u32, bytes: u32, nextPage: u64, cross: bool): void {
  at = place;
  position = 0;
  available = bytes;
  linearNext = nextPage;
  mayCross = cross;
  secondPage = NONE;
  incomplete = false;
}

/** Bytes fetched so far. */
export function fetched(): u32 {
  return position;
}

/** The arena page that the instruction ended in, where that is not the one it began in. */
export function crossedInto(): u32 {
  return secondPage;
}

/** The instruction goes on in the next page, where it could not be followed: what was decoded means nothing. */
export function isIncomplete(): bool {
  return incomplete;
}

function cross(): void {
  if (!mayCross) {
    incomplete = true;
    return;
  }
  const entry = entryOf(linearNext);
  if (load<u64>(entry, 16) != linearNext && !fill(linearNext, FETCH, entry)) {
    // Nothing answers there.
    memory.fill(FETCH_BUFFER, 0xff, 32);
  } else {
    secondPage = load<u32>(entry, TLB_PAGE);
    memory.copy(FETCH_BUFFER + available, <u32>linearNext + load<u32>(entry, TLB_ADDEND), MAX_LENGTH);
  }
  memory.copy(FETCH_BUFFER, at, available);
  at = FETCH_BUFFER;
  available += MAX_LENGTH;
}

function need(count: u32): void {
  if (incomplete) return;
  if (position + count > MAX_LENGTH) {
    if (mayCross) raiseGp(0);
    incomplete = true;
    return;
  }
  if (position + count > available) cross();
}

export function peek8(): u32 {
  need(1);
  return incomplete ? 0 : load<u8>(at + position);
}

export function fetch8(): u32 {
  const value = peek8();
  position++;
  return value;
}

export function fetch16(): u32 {
  need(2);
  const value: u32 = incomplete ? 0 : load<u16>(at + position);
  position += 2;
  return value;
}

export function fetch32(): u32 {
  need(4);
  const value: u32 = incomplete ? 0 : load<u32>(at + position);
  position += 4;
  return value;
}

export function fetch64(): u64 {
  need(8);
  const value: u64 = incomplete ? 0 : load<u64>(at + position);
  position += 8;
  return value;
}
