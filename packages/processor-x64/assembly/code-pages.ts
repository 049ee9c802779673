// The code cache: blocks of decoded instructions, found by arena page, offset and mode, and dropped when a write hits
// the bytes that they were decoded from.
//
// A block is a header of 32 bytes and its records:
//
//   @0  u32  arena page, NONE once the block is dropped
//   @4  u32  arena page of the rest of an instruction that lies in two pages, else NONE
//   @8  u32  next block in the hash chain
//   @12 u32  next in the list of its page; a link's bit 0 says that the block is there by its second page
//   @16 u32  next in the list of its second page
//   @20 u16  offset in the page
//   @22 u16  mode
//   @24 u16  length in bytes
//   @26 u16  records
//
// What is dropped stays where it is, each record turned into STALE, until the whole cache is emptied: a link to it, or
// the block that runs, finds the way back to the look-up by itself.
import { H } from './handlers';
import { RECORD_SIZE } from './record';
import { BLOCK_HASH, BLOCK_HASH_ENTRIES, JUMP_CACHE, JUMP_CACHE_ENTRIES } from './state';
import { codeCacheEnd, codeCacheStart, pageInfoOf, vpTlb } from './tables';
import { watchPage } from './tlb';

export const HEADER_SIZE: u32 = 32;
export const NONE: u32 = 0xffffffff;
/** Instructions of one block. */
export const MAX_BLOCK: u32 = 64;
const PAGE_LIST: u32 = 8;

let next: u32 = 0;
let vps: u32 = 0;
let arenaPageCount: u32 = 0;
/** How often code was dropped, for tests and counters. */
let drops: u32 = 0;
let resets: u32 = 0;

export function initCodeCache(arenaPages: u32, vpCount: u32): void {
  arenaPageCount = arenaPages;
  vps = vpCount;
  next = codeCacheStart();
}

export function codeDrops(): u32 {
  return drops;
}

/** How often the whole cache was emptied: addresses in it from before are void. */
export function codeResets(): u32 {
  return resets;
}

export function crossedPageOf(block: u32): u32 {
  return load<u32>(block, 4);
}

// @ts-ignore: decorator
@inline export function recordsOf(block: u32): u32 {
  return block + HEADER_SIZE;
}

/** Whether direct jumps may lead into a block without a look-up: not where a second page takes part. */
// @ts-ignore: decorator
@inline export function linkable(block: u32): bool {
  return load<u32>(block, 4) == NONE;
}

// @ts-ignore: decorator
@inline function bucketOf(arenaPage: u32, offset: u32, mode: u32): u32 {
  const key = (arenaPage * 0x9e3779b1) ^ (offset * 0x85ebca6b) ^ (mode * 0x1000193);
  return BLOCK_HASH + (((key >> 12) & (BLOCK_HASH_ENTRIES - 1)) << 2);
}

/** The block that starts at a place, 0 where there is none. */
export function findBlock(arenaPage: u32, offset: u32, mode: u32): u32 {
  const key = offset | (mode << 16);
  let block = load<u32>(bucketOf(arenaPage, offset, mode));
  while (block != 0 && !(load<u32>(block) == arenaPage && load<u32>(block, 20) == key)) block = load<u32>(block, 8);
  return block;
}

/** Room for a block of the greatest size; empties the cache where there is none left. */
export function newBlock(): u32 {
  if (next + HEADER_SIZE + (MAX_BLOCK + 1) * RECORD_SIZE > codeCacheEnd()) dropAll();
  return next;
}

/** Chunks of 64 bytes that a range touches, as bits. */
function chunks(offset: u32, size: u32): u64 {
  const first = offset >> 6;
  const last = (offset + size - 1) >> 6;
  return (0xffffffffffffffff >> <u64>(63 - (last - first))) << <u64>first;
}

function enlist(arenaPage: u32, link: u32, at: u32, offset: u32, size: u32): void {
  const info = pageInfoOf(arenaPage);
  const before = load<u64>(info);
  store<u64>(info, before | chunks(offset, size));
  store<u32>(at, load<u32>(info, PAGE_LIST));
  store<u32>(info, link, PAGE_LIST);
  if (before == 0) for (let vp: u32 = 0; vp < vps; vp++) watchPage(vpTlb(vp), arenaPage);
}

/** Puts a decoded block, which {@link newBlock} gave room for, where it is found. */
export function addBlock(
  block: u32,
  arenaPage: u32,
  secondPage: u32,
  offset: u32,
  mode: u32,
  length: u32,
  count: u32,
): void {
  const bucket = bucketOf(arenaPage, offset, mode);
  store<u32>(block, arenaPage);
  store<u32>(block, secondPage, 4);
  store<u32>(block, load<u32>(bucket), 8);
  store<u32>(bucket, block);
  store<u32>(block, offset | (mode << 16), 20);
  store<u16>(block, length, 24);
  store<u16>(block, count, 26);
  const inFirst = min<u32>(length, 0x1000 - offset);
  enlist(arenaPage, block, block + 12, offset, inFirst);
  if (secondPage != NONE) enlist(secondPage, block | 1, block + 16, 0, length - inFirst);
  // One more record ends the block.
  next = block + HEADER_SIZE + (count + 1) * RECORD_SIZE;
}

function unhash(block: u32): void {
  const key = load<u32>(block, 20);
  let at = bucketOf(load<u32>(block), key & 0xffff, key >> 16);
  while (load<u32>(at) != block) at = load<u32>(at) + 8;
  store<u32>(at, load<u32>(block, 8));
}

function drop(block: u32): void {
  if (load<u32>(block) == NONE) return;
  unhash(block);
  store<u32>(block, NONE);
  const count: u32 = load<u16>(block, 26);
  for (let i: u32 = 0; i < count; i++) store<u16>(recordsOf(block) + i * RECORD_SIZE, H.STALE);
  drops++;
}

/** A write to `size` bytes of an arena page: drops the blocks that were decoded from any of them. */
export function invalidateCode(arenaPage: u32, offset: u32, size: u32): void {
  const info = pageInfoOf(arenaPage);
  if ((load<u64>(info) & chunks(offset, size)) == 0) return;
  const end = offset + size;
  let left: u64 = 0;
  let at = info + PAGE_LIST;
  for (let link = load<u32>(at); link != 0; link = load<u32>(at)) {
    const block = link & ~1;
    const second = (link & 1) != 0;
    const start: u32 = second ? 0 : load<u16>(block, 20);
    const length: u32 = load<u16>(block, 24);
    const inFirst = min<u32>(length, 0x1000 - <u32>load<u16>(block, 20));
    const stop = second ? length - inFirst : start + inFirst;
    if (start < end && offset < stop) drop(block);
    if (load<u32>(block) == NONE) {
      store<u32>(at, load<u32>(second ? block + 16 : block + 12));
    } else {
      left |= chunks(start, stop - start);
      at = block + (second ? 16 : 12);
    }
  }
  store<u64>(info, left);
}

/** Drops what was decoded from a whole arena page. */
export function invalidatePage(arenaPage: u32): void {
  invalidateCode(arenaPage, 0, 0x1000);
}

/** Empties the cache. Nothing may run in it: the caller goes through the look-up afterwards. */
export function dropAll(): void {
  memory.fill(BLOCK_HASH, 0, BLOCK_HASH_ENTRIES * 4);
  memory.fill(JUMP_CACHE, 0xff, JUMP_CACHE_ENTRIES * 16);
  memory.fill(pageInfoOf(0), 0, pageInfoOf(arenaPageCount) - pageInfoOf(0));
  next = codeCacheStart();
  resets++;
}
