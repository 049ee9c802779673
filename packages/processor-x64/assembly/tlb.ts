// The software TLB of a VP: three direct-mapped tables, so that an access needs one comparison.
//
// An entry has 32 bytes: u64 tags for reading, writing and fetching (the page's linear address where that access is
// allowed, else INVALID), u32 what to add to the low half of an address to get its place in this memory, and u32 the
// arena page. A tag for writing with bit 0 set belongs to a page with decoded code in it: writes go the long way.
//
// Which table is used stands for the rights of the access: user; supervisor, which SMAP keeps from user pages;
// supervisor with EFLAGS.AC set.
import {
  CPL,
  CR4,
  CR4_SMAP,
  AC,
  CR4_PAE,
  EFLAGS,
  GENERATIONS,
  GIGABYTE_PAGES,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  LARGE_PAGES,
  LARGE_PAGES_BYTES,
  TLB,
  TLB_LOG_COUNT,
  UPPER_CODE_CHANGES,
  VP_TLB,
} from './state';
import { TLB_ENTRIES, TLB_LOG_ENTRIES, TLB_TABLE_SIZE } from './tables';

export const TLB_MASK: u32 = TLB_ENTRIES - 1;
export const INVALID: u64 = 0xffffffffffffffff;
export const TLB_ADDEND: u32 = 24;
export const TLB_PAGE: u32 = 28;

export const READ: u32 = 0;
export const WRITE: u32 = 1;
export const FETCH: u32 = 2;

let nextGeneration: u32 = 1;

/** The entry for an address in the table in use. */
// @ts-ignore: decorator
@inline export function entryOf(va: u64): u32 {
  return load<u32>(TLB) + ((<u32>(va >> 12) & TLB_MASK) << 5);
}

/** Uses the table that fits the privilege level. */
export function selectTable(): void {
  let table = load<u32>(VP_TLB);
  if (load<u32>(CPL) != 3) {
    table += TLB_TABLE_SIZE;
    if ((load<u32>(CR4) & CR4_SMAP) != 0 && (load<u32>(EFLAGS) & AC) != 0) table += TLB_TABLE_SIZE;
  }
  store<u32>(TLB, table);
}

/** Uses the table of implicit supervisor accesses: descriptor tables, TSS, the stack of a delivery. */
// @ts-ignore: decorator
@inline export function selectSupervisorTable(): void {
  store<u32>(TLB, load<u32>(VP_TLB) + TLB_TABLE_SIZE);
}

export function userTable(): bool {
  return load<u32>(TLB) == load<u32>(VP_TLB);
}

/** Whether SMAP forbids user pages to the table in use. */
export function smapTable(): bool {
  return load<u32>(TLB) == load<u32>(VP_TLB) + TLB_TABLE_SIZE && (load<u32>(CR4) & CR4_SMAP) != 0;
}

/** The place in GENERATIONS for an address. */
// @ts-ignore: decorator
@inline export function generationOf(address: u64): u32 {
  return GENERATIONS + (<u32>(address >> 61) & 4);
}

function renew(generation: u32): void {
  store<u32>(generation, nextGeneration++);
  // The cache keeps 26 bits of it.
  if ((nextGeneration & 0x3ffffff) == 0) memory.fill(JUMP_CACHE, 0xff, JUMP_CACHE_ENTRIES * 16);
}

/** Makes the jump cache forget what it knows for this VP. */
export function newGeneration(): void {
  renew(GENERATIONS);
  renew(GENERATIONS + 4);
}

function clear(entry: u32): void {
  store<u64>(entry, INVALID);
  store<u64>(entry, INVALID, 8);
  store<u64>(entry, INVALID, 16);
}

/** Notes that an entry goes with the next change of CR3: that of a page that is not global. */
export function logEntry(entry: u32): void {
  const count = load<u32>(TLB_LOG_COUNT);
  if (count > TLB_LOG_ENTRIES) return;
  if (count < TLB_LOG_ENTRIES) store<u32>(load<u32>(VP_TLB) + TLB_TABLE_SIZE * 3 + (count << 2), entry);
  store<u32>(TLB_LOG_COUNT, count + 1);
}

export function flushAll(): void {
  memory.fill(load<u32>(VP_TLB), 0xff, TLB_TABLE_SIZE * 3);
  store<u32>(TLB_LOG_COUNT, 0);
  store<u32>(UPPER_CODE_CHANGES, 0);
  store<u64>(GIGABYTE_PAGES, 0);
  memory.fill(LARGE_PAGES, 0, LARGE_PAGES_BYTES);
  newGeneration();
}

/**
 * CR3 changed: drops all but the pages that are global. Only one PCID's translations are ever kept, which processors
 * may do.
 */
export function flushNotGlobal(): void {
  const count = load<u32>(TLB_LOG_COUNT);
  if (count > TLB_LOG_ENTRIES) {
    flushAll();
    return;
  }
  const log = load<u32>(VP_TLB) + TLB_TABLE_SIZE * 3;
  for (let i: u32 = 0; i < count; i++) clear(load<u32>(log + (i << 2)));
  store<u32>(TLB_LOG_COUNT, 0);
  renew(GENERATIONS);
  if (load<u32>(UPPER_CODE_CHANGES) != 0) {
    store<u32>(UPPER_CODE_CHANGES, 0);
    renew(GENERATIONS + 4);
  }
}

/** The bit that stands for a piece of 2 MiB in its byte of LARGE_PAGES. */
function largeBit(va: u64): u32 {
  return 1 << (<u32>(va >> 21) & 7);
}

function largeByte(va: u64): u32 {
  return LARGE_PAGES + ((<u32>(va >> 24) ^ <u32>(va >> 33)) & (LARGE_PAGES_BYTES - 1));
}

function gigabyteBit(va: u64): u64 {
  return <u64>1 << ((va >> 30) & 63);
}

/** Notes that the TLB gets a part of a page of 2 to the power of `shift` bytes: INVLPG has to find its other parts. */
export function noteLargePage(va: u64, shift: u32): void {
  if (shift > 22) {
    store<u64>(GIGABYTE_PAGES, load<u64>(GIGABYTE_PAGES) | gigabyteBit(va));
    return;
  }
  const at = largeByte(va);
  store<u8>(at, load<u8>(at) | largeBit(va));
  // Of a page of 4 MiB, both halves.
  if (shift == 22) noteLargePage(va ^ 0x200000, 21);
}

/** Drops the translation of the page that an address is in, whatever its size. */
export function flushPage(va: u64): void {
  const large = (load<u8>(largeByte(va)) & largeBit(va)) != 0;
  if ((load<u64>(GIGABYTE_PAGES) & gigabyteBit(va)) != 0 || (large && (load<u32>(CR4) & CR4_PAE) == 0)) {
    flushAll();
    return;
  }
  if (large) {
    const first = load<u32>(VP_TLB) + ((<u32>(va >> 12) & TLB_MASK & ~511) << 5);
    for (let table: u32 = 0; table < 3; table++) memory.fill(first + table * TLB_TABLE_SIZE, 0xff, 512 * 32);
    renew(generationOf(va));
    return;
  }
  const base = load<u32>(VP_TLB) + ((<u32>(va >> 12) & TLB_MASK) << 5);
  for (let table: u32 = 0; table < 3; table++) clear(base + table * TLB_TABLE_SIZE);
  renew(generationOf(va));
}

/** An arena page got its first code: writes to it must be seen from now on. The caller does so for each VP. */
export function watchPage(tables: u32, arenaPage: u32): void {
  const end = tables + TLB_TABLE_SIZE * 3;
  for (let entry = tables; entry < end; entry += 32) {
    if (load<u32>(entry, TLB_PAGE) != arenaPage) continue;
    const tag = load<u64>(entry, 8);
    if (tag != INVALID) store<u64>(entry, tag | 1, 8);
  }
}
