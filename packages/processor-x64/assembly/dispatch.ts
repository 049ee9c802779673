// Between blocks: what waits for an instruction boundary, and finding or decoding the block that is next.
import {
  addBlock,
  codeResets,
  crossedPageOf,
  findBlock,
  HEADER_SIZE,
  invalidateCode,
  linkable,
  MAX_BLOCK,
  newBlock,
  NONE,
  recordsOf,
} from './code-pages';
import { decode, END } from './decode/decoder';
import { beginFetch, crossedInto, fetched, isIncomplete } from './decode/fetch';
import { breakpointsAt } from './breakpoints';
import {
  atBreakpoint,
  beginStep,
  breaksAtOffset,
  debuggerStops,
  enterBreakpoint,
  noteBranch,
} from './debugger';
import { deliverInterrupt, deliverTrap } from './exceptions';
import { fuse } from './fusion';
import { H } from './handlers';
import { acknowledgeInterrupt, trace } from './host';
import { fill } from './paging';
import { raiseGp, raiseUd } from './raise';
import { dispOf, handlerOf, indexInBlock, offsetOf, RECORD_SIZE, sizeOf } from './record';
import { baseOf, limitOf } from './segments';
import {
  BREAKPOINTS,
  ACTIVITY,
  ACTIVITY_HALTED,
  ACTIVITY_RUNNING,
  ACTIVITY_SHUTDOWN,
  ACTIVITY_WAIT_FOR_SIPI,
  COUNTDOWN,
  CS,
  CUR,
  DEBUG,
  DEBUG_BRANCHES,
  DEBUG_BREAK,
  DEBUG_HIT,
  DEBUG_STEP,
  DEBUG_TRACE,
  DR6,
  EFLAGS,
  EVENT_EXIT,
  EVENT_INTERRUPT,
  EVENT_NMI,
  EVENTS,
  EX_DB,
  EX_NMI,
  EXIT_REASON,
  EXIT_RECORD,
  ICEBP,
  IF,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  LIMIT,
  MODE,
  MODE_CODE64,
  MODE_STEP,
  NMI_BLOCKED,
  PENDING_TRAP,
  REST,
  RF,
  RIP,
  RIP_MASK,
  RIP_PAGE,
  SHADOW,
  SHADOW_MOV_SS,
  STEP_ASKED,
  STEP_TRAP,
  TF,
} from './state';
import { hostPage } from './tables';
import { entryOf, FETCH, generationOf, TLB_PAGE } from './tlb';

// VpExit of the contract.
export const EXIT_BUDGET: u32 = 0;
export const EXIT_HALT: u32 = 1;
export const EXIT_YIELD: u32 = 2;
export const EXIT_TRIPLE_FAULT: u32 = 3;
export const EXIT_DEBUG: u32 = 5;

/** Bits of MODE that blocks are keyed by. */
const BLOCK_MODE: u32 = 31;
const DR6_BS: u32 = 0x4000;
const DR6_BITS: u32 = 0xe00f;
/** The breakpoints that were hit: of the last #DB only, while the other bits stay until they are cleared. */
const DR6_HITS: u64 = 0xf;

function exit(reason: u32): u32 {
  store<u32>(EXIT_REASON, reason);
  return EXIT_RECORD;
}

/**
 * Looks at everything that waits for an instruction boundary, in order of priority (Intel SDM 3, table 6-2), then
 * finds the next block. Its first record; EXIT_RECORD where the slice ends, for EXIT_REASON.
 */
export function next(): u32 {
  for (;;) {
    const rest = load<i32>(REST);
    if (rest != 0) {
      store<i32>(REST, 0);
      store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) + rest);
      store<i64>(LIMIT, load<i64>(LIMIT) + rest);
    }
    store<u32>(MODE, load<u32>(MODE) & ~MODE_STEP);
    const shadow = load<u32>(SHADOW);
    const held = shadow == SHADOW_MOV_SS;
    if (load<u32>(STEP_TRAP) != 0) {
      store<u32>(STEP_TRAP, 0);
      // Behind MOV SS a single-step trap is lost; that of a breakpoint comes one instruction later. ICEBP's own trap
      // has cleared TF by the time that its step would be looked at.
      if (!held && (load<u32>(PENDING_TRAP) & ICEBP) == 0) store<u32>(PENDING_TRAP, load<u32>(PENDING_TRAP) | DR6_BS);
    }
    const activity = load<u32>(ACTIVITY);
    if (activity == ACTIVITY_SHUTDOWN) return exit(EXIT_TRIPLE_FAULT);
    if (activity == ACTIVITY_WAIT_FOR_SIPI) return exit(EXIT_HALT);
    const trap = load<u32>(PENDING_TRAP);
    if (trap != 0 && !held) {
      // The delivery of a trap can lead to another, where the IDT or the stack is watched.
      if (load<i32>(COUNTDOWN) <= 0) return exit(EXIT_BUDGET);
      store<u32>(PENDING_TRAP, 0);
      store<u64>(DR6, (load<u64>(DR6) & ~DR6_HITS) | (trap & DR6_BITS));
      store<u32>(ACTIVITY, ACTIVITY_RUNNING);
      deliverTrap(EX_DB);
      continue;
    }
    const asked = load<u32>(DEBUG_STEP);
    if ((asked | load<u32>(DEBUG_HIT)) != 0 && debuggerStops()) return exit(EXIT_DEBUG);
    const events = load<u32>(EVENTS);
    // A step is one of the program, not into an interrupt that came while the debugger looked; but HLT waits for one.
    const stays = (asked & STEP_ASKED) != 0 && activity == ACTIVITY_RUNNING;
    if (shadow == 0 && !stays) {
      if ((events & EVENT_NMI) != 0 && load<u32>(NMI_BLOCKED) == 0) {
        store<u32>(EVENTS, events & ~EVENT_NMI);
        store<u32>(NMI_BLOCKED, 1);
        deliverInterrupt(EX_NMI);
        continue;
      }
      if ((events & EVENT_INTERRUPT) != 0 && (load<u32>(EFLAGS) & IF) != 0) {
        const vector = acknowledgeInterrupt();
        if (vector >= 0) {
          deliverInterrupt(vector);
          continue;
        }
      }
    }
    if (activity == ACTIVITY_HALTED) return exit(EXIT_HALT);
    if ((load<u32>(EVENTS) & EVENT_EXIT) != 0) {
      store<u32>(EVENTS, load<u32>(EVENTS) & ~EVENT_EXIT);
      return exit(EXIT_BUDGET);
    }
    if (load<i32>(COUNTDOWN) <= 0) return exit(EXIT_BUDGET);
    const step = load<u32>(EFLAGS) & TF;
    const breakpoints = load<u32>(BREAKPOINTS);
    if (breakpoints != 0 && !held && !passesBreakpoint()) continue;
    const debug = load<u32>(DEBUG);
    if ((debug & DEBUG_BREAK) != 0 && asked == 0 && atBreakpoint()) return exit(EXIT_DEBUG);
    if ((debug & DEBUG_TRACE) != 0) trace();
    if ((step | shadow | breakpoints | asked | (debug & DEBUG_TRACE)) != 0) {
      store<u32>(SHADOW, 0);
      store<u32>(STEP_TRAP, step);
      store<u32>(MODE, load<u32>(MODE) | MODE_STEP);
      if (asked != 0) beginStep();
    }
    return resume();
  }
}

/** The record of a debugger's breakpoint: stops, or goes on with the instruction in its place. */
export function breakpoint(op: u32): u32 {
  enterBreakpoint(op);
  if (atBreakpoint()) return exit(EXIT_DEBUG);
  store<u32>(MODE, load<u32>(MODE) | MODE_STEP);
  return resume();
}

/** Delivers the fault of a breakpoint at RIP, unless RF says that it was; RF counts for one instruction. */
function passesBreakpoint(): bool {
  const flags = load<u32>(EFLAGS);
  if ((flags & RF) != 0) {
    store<u32>(EFLAGS, flags & ~RF);
    return true;
  }
  const rip = load<u64>(RIP);
  const hit = breakpointsAt((load<u32>(MODE) & 3) == MODE_CODE64 ? rip : (baseOf(CS) + rip) & 0xffffffff);
  if (hit == 0) return true;
  store<u64>(DR6, (load<u64>(DR6) & ~DR6_HITS) | hit);
  store<u32>(EFLAGS, flags | RF);
  deliverTrap(EX_DB);
  return false;
}

/** Goes on at RIP after an instruction that may have changed anything. */
export function advance(): u32 {
  if (
    load<i32>(COUNTDOWN) <= 0 ||
    (load<u32>(EVENTS) |
      load<u32>(SHADOW) |
      load<u32>(PENDING_TRAP) |
      load<u32>(ACTIVITY) |
      load<u32>(STEP_TRAP) |
      load<u32>(BREAKPOINTS) |
      (load<u32>(EFLAGS) & TF) |
      (load<u32>(MODE) & MODE_STEP)) !=
      0
  ) {
    return next();
  }
  return resume();
}

// @ts-ignore: decorator
@inline function cacheEntry(rip: u64): u32 {
  const low = <u32>rip;
  return JUMP_CACHE + (((low ^ (low >> 12)) & (JUMP_CACHE_ENTRIES - 1)) << 4);
}

// @ts-ignore: decorator
@inline function cacheKey(rip: u64): u32 {
  return (load<u32>(generationOf(rip)) << 6) | load<u32>(MODE);
}

/** Goes on at `rip` if the jump cache knows it: its first record, else 0. */
// @ts-ignore: decorator
@inline function cachedTarget(rip: u64): u32 {
  const entry = cacheEntry(rip);
  if (load<u64>(entry) != rip || load<u32>(entry, 8) != cacheKey(rip)) return 0;
  const block = load<u32>(entry, 12);
  store<u64>(RIP_PAGE, rip - load<u16>(block, 20));
  return recordsOf(block);
}

/** The block at RIP. */
function resume(): u32 {
  const to = cachedTarget(load<u64>(RIP));
  return to != 0 ? to : find();
}

/** For returns and indirect jumps: counts the instruction, whose record is `op`, and goes on at `rip`. */
// @ts-ignore: decorator
@inline export function jump(op: u32, rip: u64): u32 {
  const left = load<i32>(COUNTDOWN) - <i32>indexInBlock(op) - 1;
  store<i32>(COUNTDOWN, left);
  const to = left > 0 ? cachedTarget(rip) : 0;
  return to != 0 ? to : jumpAnew(op, rip);
}

function jumpAnew(op: u32, rip: u64): u32 {
  store<u64>(RIP, rip);
  store<u32>(CUR, 0);
  if ((load<u32>(DEBUG) & DEBUG_BRANCHES) != 0) {
    noteBranch((load<u64>(RIP_PAGE) + offsetOf(op)) & load<u64>(RIP_MASK), rip, 0);
  }
  return advance();
}

/** Finds or decodes the block at RIP, and puts it into the jump cache. */
function find(): u32 {
  const rip = load<u64>(RIP);
  const mode = load<u32>(MODE);
  const long = (mode & 3) == MODE_CODE64;
  if (!long && rip > <u64>limitOf(CS)) raiseGp(0);
  const linear = long ? rip : (baseOf(CS) + rip) & 0xffffffff;
  const page = linear & ~0xfff;
  const entry = entryOf(linear);
  // Nothing answers: all ones, which is no instruction.
  if (load<u64>(entry, 16) != page && !fill(linear, FETCH, entry)) raiseUd();
  const arenaPage = load<u32>(entry, TLB_PAGE);
  const offset = <u32>linear & 0xfff;
  const following = long ? page + 0x1000 : (page + 0x1000) & 0xffffffff;
  store<u64>(RIP_PAGE, rip - offset);
  let block = findBlock(arenaPage, offset, mode & BLOCK_MODE);
  if (block != 0 && !linkable(block)) {
    // The rest of its instruction must still be where it was.
    const second = entryOf(following);
    if (load<u64>(second, 16) != following && !fill(following, FETCH, second)) raiseUd();
    if (load<u32>(second, TLB_PAGE) != crossedPageOf(block)) {
      invalidateCode(arenaPage, offset, 1);
      block = 0;
    }
  }
  if (block == 0) block = decodeBlock(arenaPage, offset, mode & BLOCK_MODE, following);
  if ((mode & MODE_STEP) == 0 && (load<u32>(DEBUG) & DEBUG_BRANCHES) == 0) {
    const cached = cacheEntry(rip);
    store<u64>(cached, rip);
    store<u32>(cached, cacheKey(rip), 8);
    store<u32>(cached, block, 12);
  }
  return recordsOf(block);
}

function decodeBlock(arenaPage: u32, offset: u32, mode: u32, following: u64): u32 {
  const block = newBlock();
  const records = recordsOf(block);
  const place = hostPage(arenaPage);
  const most: u32 = (mode & MODE_STEP) != 0 ? 1 : MAX_BLOCK;
  let at = offset;
  let count: u32 = 0;
  let second = NONE;
  const breaks = (mode & MODE_STEP) == 0 && (load<u32>(DEBUG) & DEBUG_BREAK) != 0;
  while (count < most && at < 0x1000) {
    if (breaks && breaksAtOffset(at)) {
      if (count == 0) {
        memory.fill(records, 0, RECORD_SIZE);
        store<u16>(records, H.BREAK);
        store<u16>(records, at++ | (1 << 12), 2);
        count = 1;
      }
      break;
    }
    beginFetch(place + at, 0x1000 - at, following, count == 0);
    const op = records + count * RECORD_SIZE;
    const ends = decode(op, at, mode);
    if (isIncomplete()) break;
    store<u16>(op, at | (fetched() << 12), 2);
    store<u8>(op, count, 7);
    at += fetched();
    count++;
    second = crossedInto();
    if (ends == END) break;
  }
  const last = records + count * RECORD_SIZE;
  memory.fill(last, 0, RECORD_SIZE);
  store<u16>(last, (mode & MODE_STEP) != 0 ? H.STEP_END : H.FALL);
  store<u8>(last, 3, 4);
  store<u8>(last, count, 7);
  store<i32>(last, at, 20);
  fuse(records, count);
  addBlock(block, arenaPage, second, offset, mode, at - offset, count);
  return block;
}

/**
 * Goes on at a direct branch's target; the branch is already counted. A target in the same page is linked, so that the
 * next time nothing of this is needed.
 */
export function branch(op: u32): u32 {
  const page = load<u64>(RIP_PAGE);
  const target = dispOf(op);
  let rip = (page + <u64>(<i64>target)) & load<u64>(RIP_MASK);
  const straight = rip;
  const size = sizeOf(op);
  if (size == 1) rip &= 0xffff;
  if (<u32>target >= 0x1000 && load<i32>(COUNTDOWN) > 0) {
    const known = cachedTarget(rip);
    if (known != 0) return known;
  }
  const mode = load<u32>(MODE);
  store<u64>(RIP, rip);
  store<u32>(CUR, 0);
  const noted = (load<u32>(DEBUG) & DEBUG_BRANCHES) != 0;
  if (noted && handlerOf(op) != H.FALL) noteBranch((page + offsetOf(op)) & load<u64>(RIP_MASK), rip, 0);
  const generation = codeResets();
  const to = advance();
  if (
    to != EXIT_RECORD &&
    !noted &&
    <u32>target < 0x1000 &&
    rip == straight &&
    load<u64>(RIP) == rip &&
    load<u64>(RIP_PAGE) == page &&
    load<u32>(MODE) == mode &&
    (mode & MODE_STEP) == 0 &&
    generation == codeResets() &&
    linkable(to - HEADER_SIZE)
  ) {
    store<u32>(op, to, 24);
  }
  return to;
}

/** Goes on behind a block of one instruction, where whatever asked for that is looked at. */
export function stepEnd(op: u32): u32 {
  store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - <i32>indexInBlock(op));
  store<u64>(RIP, load<u64>(RIP_PAGE) + load<i32>(op, 20));
  store<u32>(CUR, 0);
  return next();
}

/**
 * The record belongs to a block that was dropped: looks up what is there now. The first one of a block, to which links
 * may still lead, becomes one that goes on there.
 */
export function refresh(op: u32): u32 {
  const page = load<u64>(RIP_PAGE);
  const index = indexInBlock(op);
  store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - <i32>index);
  store<u64>(RIP, (page + offsetOf(op)) & load<u64>(RIP_MASK));
  store<u32>(CUR, 0);
  if (load<i32>(COUNTDOWN) <= 0 || (load<u32>(MODE) & MODE_STEP) != 0) return next();
  const generation = codeResets();
  const to = find();
  if (index == 0 && generation == codeResets() && linkable(to - HEADER_SIZE)) {
    store<u16>(op, H.FALL);
    store<u8>(op, 3, 4);
    store<i32>(op, offsetOf(op), 20);
    store<u32>(op, to, 24);
  }
  return to;
}

/** Makes the slice look at events after this block, without losing what is left of its budget. */
export function interruptSlice(): void {
  const left = load<i32>(COUNTDOWN);
  if (left <= 0) return;
  store<i32>(REST, load<i32>(REST) + left);
  store<i64>(LIMIT, load<i64>(LIMIT) - left);
  store<i32>(COUNTDOWN, 0);
}
