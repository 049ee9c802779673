// The tables whose size depends on the partition, behind the fixed part of the memory.
import { STATE_SIZE, TABLES } from './state';

/** Guest pages that can be mapped: 64 GiB, as many as a partition's GPA space has. */
export const GPA_PAGES: u32 = 1 << 24;

/** Entries of one TLB table, direct-mapped; 32 bytes each (tlb.ts). */
export const TLB_ENTRIES: u32 = 1024;
export const TLB_TABLE_SIZE: u32 = TLB_ENTRIES * 32;
/** A VP's three tables, and the log of entries that go with a change of CR3. */
export const TLB_LOG_ENTRIES: u32 = 1024;
const TLB_SIZE: u32 = TLB_TABLE_SIZE * 3 + TLB_LOG_ENTRIES * 4;
const VP_STRIDE: u32 = STATE_SIZE + TLB_SIZE;

/** For each arena page 16 bytes: u64 of 64-byte chunks with code in them, u32 first block in the page. */
export const PAGE_INFO_SIZE: u32 = 16;

let gpaMap: u32 = 0;
let pageInfo: u32 = 0;
let vpArea: u32 = 0;
let codeStart: u32 = 0;
let codeEnd: u32 = 0;
let arenaStart: u32 = 0;

/** Address of the copy of the GPA space's page table: u32 arena page << 3 | access for each guest page. */
export function gpaMapAddress(): u32 {
  return gpaMap;
}

// @ts-ignore: decorator
@inline export function gpaEntry(page: u64): u32 {
  return page < <u64>GPA_PAGES ? load<u32>(gpaMap + (<u32>page << 2)) : 0;
}

// @ts-ignore: decorator
@inline export function pageInfoOf(arenaPage: u32): u32 {
  return pageInfo + arenaPage * PAGE_INFO_SIZE;
}

/** Address of the table whose entries of PAGE_INFO_SIZE bytes begin with 0 where an arena page has no decoded code. */
export function pageInfoAddress(): u32 {
  return pageInfo;
}

export function arenaAddress(): u32 {
  return arenaStart;
}

// @ts-ignore: decorator
@inline export function hostPage(arenaPage: u32): u32 {
  return arenaStart + (arenaPage << 12);
}

/** Where the state of a VP is parked. */
export function parkedState(vp: u32): u32 {
  return vpArea + vp * VP_STRIDE;
}

export function vpTlb(vp: u32): u32 {
  return parkedState(vp) + STATE_SIZE;
}

export function codeCacheStart(): u32 {
  return codeStart;
}

export function codeCacheEnd(): u32 {
  return codeEnd;
}

/** Lays the tables out and takes the memory; false where there is not enough. */
export function layOut(arenaPages: u32, vpCount: u32, codeCacheSize: u32): bool {
  let at: u64 = TABLES;
  vpArea = <u32>at;
  at += <u64>VP_STRIDE * vpCount;
  at = (at + 0xfff) & ~0xfff;
  codeStart = <u32>at;
  at += codeCacheSize;
  codeEnd = <u32>at;
  pageInfo = <u32>at;
  at += <u64>arenaPages * PAGE_INFO_SIZE;
  at = (at + 0xfff) & ~0xfff;
  gpaMap = <u32>at;
  at += <u64>GPA_PAGES * 4;
  arenaStart = <u32>at;
  at += <u64>arenaPages << 12;
  if (at > 0x100000000) return false;
  const pages = <i32>((at + 0xffff) >> 16);
  return pages <= memory.size() || memory.grow(pages - memory.size()) >= 0;
}
