// Address translation (Intel SDM 3, chapter 4): walks the guest's tables and fills TLB entries.
import { watches } from './breakpoints';
import { isWatchedPage } from './debugger';
import { segmentOf } from './record';
import { raisePageFault, raiseWithError } from './raise';
import {
  ALIGNED_ONLY,
  BREAKPOINTS,
  CR0,
  CR0_PG,
  CR0_WP,
  CR3,
  CR4,
  CR4_PAE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMEP,
  CUR,
  DEBUG,
  DEBUG_WATCH,
  EFER,
  EFER_LMA,
  EFER_NXE,
  EX_GP,
  EX_SS,
  SS,
  UPPER_CODE_CHANGES,
} from './state';
import { gpaEntry, hostPage, pageInfoOf } from './tables';
import { FETCH, INVALID, logEntry, noteLargePage, READ, smapTable, TLB_ADDEND, TLB_PAGE, userTable, WRITE } from './tlb';

const P: u64 = 1;
const RW: u64 = 2;
const US: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const PS: u64 = 0x80;
const G: u64 = 0x100;
const NX: u64 = 1 << 63;

/** What CPUID leaf 80000008h says. */
export const PHYSICAL_BITS: u32 = 40;
const RESERVED: u64 = ((1 << 52) - 1) & ~((1 << <u64>PHYSICAL_BITS) - 1);
const FRAME: u64 = ((1 << <u64>PHYSICAL_BITS) - 1) & ~0xfff;

const ERROR_PRESENT: u32 = 1;
const ERROR_WRITE: u32 = 2;
const ERROR_USER: u32 = 4;
const ERROR_RESERVED: u32 = 8;
const ERROR_FETCH: u32 = 16;

const ACCESS_READ: u32 = 1;
const ACCESS_WRITE: u32 = 2;
const ACCESS_EXECUTE: u32 = 4;

/** Where the last translation ended: for what is not in RAM. */
let lastGpa: u64 = 0;

/** The guest-physical address of the access that {@link translate} found no RAM for. */
export function translatedGpa(): u64 {
  return lastGpa;
}

/** The place of a paging structure's entry in this memory, 0 where no RAM is. */
function tableEntry(gpa: u64): u32 {
  const page = gpaEntry(gpa >> 12);
  return (page & (ACCESS_READ | ACCESS_WRITE)) == (ACCESS_READ | ACCESS_WRITE)
    ? hostPage(page >> 3) + (<u32>gpa & 0xfff)
    : 0;
}

function isCanonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va;
}

/** Rights that the walk found, in the form of an entry: RW, US and NX. */
let rights: u64 = 0;
/** The page that the walk found, as guest-physical address; valid to the end of 4 KiB. */
let frame: u64 = 0;
/** Where the leaf entry is and how long it is: for its dirty bit. */
let leaf: u32 = 0;
let leafDirty: bool = false;
/** Power of two of the page's size. */
let pageShift: u32 = 12;

function errorCode(access: u32, bits: u32): u32 {
  if (userTable()) bits |= ERROR_USER;
  if (access == WRITE) bits |= ERROR_WRITE;
  const fetchShows = (load<u32>(CR4) & CR4_SMEP) != 0 || (nxEnabled() && (load<u32>(CR4) & CR4_PAE) != 0);
  if (access == FETCH && fetchShows) bits |= ERROR_FETCH;
  return bits;
}

function nxEnabled(): bool {
  return (load<u32>(EFER) & EFER_NXE) != 0;
}

/** Walks entries of 8 bytes: 4-level and PAE paging. */
function walkWide(va: u64, access: u32): void {
  const long = (load<u32>(EFER) & EFER_LMA) != 0;
  let table: u64;
  let level: u32;
  if (long) {
    table = load<u64>(CR3) & FRAME;
    level = 4;
  } else {
    table = load<u64>(CR3) & 0xffffffe0;
    level = 3;
  }
  rights = RW | US;
  for (;;) {
    const shift: u64 = 12 + 9 * (<u64>level - 1);
    const index: u64 = (va >> shift) & (long || level < 3 ? 0x1ff : 3);
    const at = tableEntry(table + (index << 3));
    const entry: u64 = at == 0 ? 0 : load<u64>(at);
    if ((entry & P) == 0) raisePageFault(va, errorCode(access, 0));
    let reserved: u64 = RESERVED;
    if (!nxEnabled()) reserved |= NX;
    if (!long) reserved |= 0x7ff << 52;
    const pdpteOfPae = !long && level == 3;
    if (pdpteOfPae) reserved |= 0x1e6 | NX;
    const large = level > 1 && (entry & PS) != 0 && !pdpteOfPae;
    if (level == 4 || (level == 3 && !long)) reserved |= PS;
    if (large) reserved |= ((1 << shift) - 1) & ~0x1fff;
    if ((entry & reserved) != 0) raisePageFault(va, errorCode(access, ERROR_PRESENT | ERROR_RESERVED));
    if (!pdpteOfPae) {
      rights = (rights & (entry | ~(RW | US))) | (entry & NX);
      if (level == 1 || large) {
        frame = large
          ? (entry & FRAME & ~((1 << shift) - 1)) | (va & ((1 << shift) - 1) & ~0xfff)
          : entry & FRAME;
        leaf = at;
        pageShift = <u32>shift;
        leafDirty = (entry & D) != 0;
        return;
      }
      // The accessed bit of the leaf waits until the access is known to be allowed; that of a table does not matter.
      if ((entry & A) == 0) store<u64>(at, entry | A);
    }
    table = entry & FRAME;
    level--;
  }
}

/** Walks entries of 4 bytes: 32-bit paging, with 4 MiB pages and PSE-36. */
function walkNarrow(va: u64, access: u32): void {
  const directory = tableEntry((load<u64>(CR3) & 0xfffff000) + ((va >> 22) << 2));
  const pde: u32 = directory == 0 ? 0 : load<u32>(directory);
  if ((pde & 1) == 0) raisePageFault(va, errorCode(access, 0));
  rights = pde & (RW | US);
  pageShift = 12;
  if ((pde & <u32>PS) != 0 && (load<u32>(CR4) & CR4_PSE) != 0) {
    if ((pde & 0x200000) != 0) raisePageFault(va, errorCode(access, ERROR_PRESENT | ERROR_RESERVED));
    frame = (pde & 0xffc00000) | ((<u64>pde & 0x1fe000) << 19) | (va & 0x3ff000);
    pageShift = 22;
    leaf = directory;
    leafDirty = (pde & <u32>D) != 0;
    return;
  }
  if ((pde & <u32>A) == 0) store<u32>(directory, pde | <u32>A);
  const at = tableEntry((pde & 0xfffff000) + (((va >> 12) & 0x3ff) << 2));
  const pte: u32 = at == 0 ? 0 : load<u32>(at);
  if ((pte & 1) == 0) raisePageFault(va, errorCode(access, 0));
  rights &= pte;
  frame = pte & 0xfffff000;
  leaf = at;
  leafDirty = (pte & <u32>D) != 0;
}

/**
 * Translates an address for an access with the rights of the table in use and fills `entry` of it.
 * False: there is no RAM; the address is in {@link translatedGpa}. Raises #PF, or #GP and #SS for one that is not
 * canonical.
 */
export function fill(va: u64, access: u32, entry: u32): bool {
  let mayRead = true;
  let mayWrite = true;
  let mayFetch = true;
  let global = false;
  if ((load<u32>(CR0) & CR0_PG) == 0) {
    frame = va & 0xfffff000;
  } else {
    const cr4 = load<u32>(CR4);
    const wide = (cr4 & CR4_PAE) != 0;
    if ((load<u32>(EFER) & EFER_LMA) != 0 && !isCanonical(va)) raiseNotCanonical();
    if (wide) walkWide(va, access);
    else walkNarrow(va, access);
    const userPage = (rights & US) != 0;
    const user = userTable();
    const writable = (rights & RW) != 0 || (!user && (load<u32>(CR0) & CR0_WP) == 0);
    const blocked = user ? !userPage : userPage && smapTable();
    mayRead = !blocked;
    mayWrite = writable && !blocked;
    mayFetch =
      (user ? userPage : !userPage || (cr4 & CR4_SMEP) == 0) && !((rights & NX) != 0 && nxEnabled());
    if (!(access == READ ? mayRead : access == WRITE ? mayWrite : mayFetch)) {
      raisePageFault(va, errorCode(access, ERROR_PRESENT));
    }
    const dirty = access == WRITE ? <u32>(A | D) : <u32>A;
    // Accessed and dirty are in the low half of an entry of either size.
    const bits = load<u32>(leaf);
    if ((bits & dirty) != dirty) store<u32>(leaf, bits | dirty);
    // Until it is dirty, the first write has to come this way.
    if (access != WRITE && !leafDirty) mayWrite = false;
    if (pageShift > 12) noteLargePage(va, pageShift);
    global = (bits & <u32>G) != 0 && (cr4 & CR4_PGE) != 0;
  }
  if (
    (load<u32>(BREAKPOINTS) != 0 && watches(va)) ||
    ((load<u32>(DEBUG) & DEBUG_WATCH) != 0 && isWatchedPage(va)) ||
    (load<u32>(ALIGNED_ONLY) != 0 && userTable())
  ) {
    mayRead = false;
    mayWrite = false;
  }
  lastGpa = frame | (va & 0xfff);
  const page = gpaEntry(frame >> 12);
  const needed = access == READ ? ACCESS_READ : access == WRITE ? ACCESS_WRITE : ACCESS_EXECUTE;
  const arenaPage = page >> 3;
  const linear = va & ~0xfff;
  if (!global) {
    logEntry(entry);
    if (mayFetch && va >> 63 != 0) store<u32>(UPPER_CODE_CHANGES, 1);
  }
  store<u64>(entry, mayRead && (page & ACCESS_READ) != 0 ? linear : INVALID);
  const watched: u64 = load<u64>(pageInfoOf(arenaPage)) != 0 ? 1 : 0;
  store<u64>(entry, mayWrite && (page & ACCESS_WRITE) != 0 ? linear | watched : INVALID, 8);
  store<u64>(entry, mayFetch && (page & ACCESS_EXECUTE) != 0 ? linear : INVALID, 16);
  store<u32>(entry, hostPage(arenaPage) - <u32>linear, TLB_ADDEND);
  store<u32>(entry, arenaPage, TLB_PAGE);
  return (page & needed) != 0;
}

/** #SS for an address formed with SS, else #GP (Intel SDM 1, 3.3.7.1). */
function raiseNotCanonical(): void {
  const op = load<u32>(CUR);
  raiseWithError(op != 0 && segmentOf(op) == SS ? EX_SS : EX_GP, 0);
}
