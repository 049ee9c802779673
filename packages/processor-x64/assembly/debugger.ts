// What a debugger outside the guest asks of the engine: breakpoints, watchpoints, single steps, a trace, and the ring of
// last branches. The guest sees none of it. Only the slow ways look here: between blocks, decoding, and accesses that
// the TLB does not know, so that nothing is paid for while nobody debugs.
//
// A breakpoint is a record of its own in the decoded code, not a change of the guest's memory. Blocks are kept by
// physical page, so each place with a breakpoint's offset in its page gets the record, which then compares the whole
// linear address. An access to a watched page comes the long way; one that hits starts its instruction again as a block
// of its own, so that the stop comes right behind it.
import { throwFault } from './host';
import { indexInBlock, nextOffsetOf, offsetOf } from './record';
import { baseOf } from './segments';
import {
  COUNTDOWN,
  CS,
  CUR,
  DEBUG,
  DEBUG_BREAK,
  DEBUG_BREAK_COUNT,
  DEBUG_BREAKS,
  DEBUG_BRANCHES,
  DEBUG_HIT,
  DEBUG_HIT_ADDRESS,
  DEBUG_PASSED,
  DEBUG_REASON,
  DEBUG_STEP,
  DEBUG_WATCH_COUNT,
  DEBUG_WATCHES,
  FAULT_VECTOR,
  LIMIT,
  MODE,
  MODE_CODE64,
  MODE_STEP,
  RECENT,
  RECENT_COUNT,
  RECENT_ENTRIES,
  RIP,
  RIP_MASK,
  RIP_PAGE,
  STEP_ARMED,
  STEP_ASKED,
  STEP_RUNS,
  VP_INDEX,
} from './state';
import { READ, WRITE } from './tlb';

/** In FAULT_VECTOR: no exception, but the instruction is to start again, as a block of its own. */
export const RESTART: u32 = 0x100;

// Values of DEBUG_REASON.
const REASON_STEP: u32 = 1;
const REASON_BREAKPOINT: u32 = 2;
const REASON_WATCHPOINT: u32 = 3;

/** Instructions retired; valid while no block runs. */
function retired(): i64 {
  return load<i64>(LIMIT) - load<i32>(COUNTDOWN);
}

/** Between instructions: whether a step is done, or a watchpoint was hit. */
export function debuggerStops(): bool {
  if (load<u32>(DEBUG_HIT) != 0) {
    store<u32>(DEBUG_HIT, 0);
    store<u32>(DEBUG_REASON, REASON_WATCHPOINT);
  } else if ((load<u32>(DEBUG_STEP) & STEP_RUNS) != 0) {
    store<u32>(DEBUG_REASON, REASON_STEP);
  } else {
    return false;
  }
  store<u32>(DEBUG_STEP, 0);
  return true;
}

/** The next instruction runs as a block of its own: what was asked for it is under way. */
export function beginStep(): void {
  store<u32>(DEBUG_STEP, (load<u32>(DEBUG_STEP) & STEP_ASKED) != 0 ? STEP_ASKED | STEP_RUNS : 0);
}

/** Whether a breakpoint is at RIP, other than the one that the VP stopped at last and has not yet gone on from. */
export function atBreakpoint(): bool {
  if ((load<u32>(DEBUG) & DEBUG_BREAK) == 0) return false;
  const rip = load<u64>(RIP);
  const linear = (load<u32>(MODE) & 3) == MODE_CODE64 ? rip : (baseOf(CS) + rip) & 0xffffffff;
  const end = DEBUG_BREAKS + (load<u32>(DEBUG_BREAK_COUNT) << 3);
  for (let at = DEBUG_BREAKS; at < end; at += 8) {
    if (load<u64>(at) != linear) continue;
    if (load<i64>(DEBUG_PASSED) == retired()) return false;
    store<i64>(DEBUG_PASSED, retired());
    store<u32>(DEBUG_REASON, REASON_BREAKPOINT);
    return true;
  }
  return false;
}

/** Whether some breakpoint has an offset in its page. */
export function breaksAtOffset(offset: u32): bool {
  const end = DEBUG_BREAKS + (load<u32>(DEBUG_BREAK_COUNT) << 3);
  for (let at = DEBUG_BREAKS; at < end; at += 8) if ((load<u32>(at) & 0xfff) == offset) return true;
  return false;
}

/** Makes the state that of the boundary before the record of a breakpoint. */
export function enterBreakpoint(op: u32): void {
  store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - <i32>indexInBlock(op));
  store<u64>(RIP, (load<u64>(RIP_PAGE) + offsetOf(op)) & load<u64>(RIP_MASK));
  store<u32>(CUR, 0);
}

// A watchpoint: u64 address, u32 size, u32 the accesses that hit it, as bits 1 << READ and 1 << WRITE.

/** Whether a page has a watched address: its accesses take the long way. */
export function isWatchedPage(va: u64): bool {
  const end = DEBUG_WATCHES + (load<u32>(DEBUG_WATCH_COUNT) << 4);
  for (let at = DEBUG_WATCHES; at < end; at += 16) {
    const first = load<u64>(at);
    if (first >> 12 <= va >> 12 && va >> 12 <= (first + load<u32>(at, 8) - 1) >> 12) return true;
  }
  return false;
}

/** Looks whether an access hits a watchpoint; the first that does starts the instruction again. */
export function watchAccess(va: u64, size: u32, access: u32): void {
  if (access != READ && access != WRITE) return;
  const end = DEBUG_WATCHES + (load<u32>(DEBUG_WATCH_COUNT) << 4);
  for (let at = DEBUG_WATCHES; at < end; at += 16) {
    const first = load<u64>(at);
    if ((load<u32>(at, 12) & (1 << access)) == 0 || va >= first + load<u32>(at, 8) || first >= va + size) continue;
    if (load<u32>(CUR) != 0 && (load<u32>(MODE) & MODE_STEP) == 0) {
      store<u32>(FAULT_VECTOR, RESTART);
      throwFault();
    }
    store<u32>(DEBUG_HIT, 1);
    store<u64>(DEBUG_HIT_ADDRESS, first);
    return;
  }
}

/** Goes on after {@link RESTART}: the instruction at RIP will be a block of its own. */
export function armRestart(): void {
  store<u32>(DEBUG_STEP, load<u32>(DEBUG_STEP) | STEP_ARMED);
}

// The ring of last branches: u64 from, u64 to, u32 VP, u32 vector + 1 where it is an interrupt or exception.

/** Notes where the VP goes; the entry. */
export function noteBranch(from: u64, to: u64, event: u32): u32 {
  const count = load<u32>(RECENT_COUNT);
  const at = RECENT + ((count & (RECENT_ENTRIES - 1)) << 5);
  store<u32>(RECENT_COUNT, count + 1);
  store<u64>(at, from);
  store<u64>(at, to, 8);
  store<u32>(at, load<u32>(VP_INDEX), 16);
  store<u32>(at, event, 20);
  return at;
}

/** Notes the branch of an instruction that has set RIP, where it is one. */
export function noteLeave(op: u32): void {
  if ((load<u32>(DEBUG) & DEBUG_BRANCHES) == 0) return;
  const page = load<u64>(RIP_PAGE);
  const mask = load<u64>(RIP_MASK);
  const rip = load<u64>(RIP);
  const from = (page + offsetOf(op)) & mask;
  const last = RECENT + (((load<u32>(RECENT_COUNT) - 1) & (RECENT_ENTRIES - 1)) << 5);
  // A software interrupt was noted with its vector.
  if (load<u32>(last, 20) != 0 && load<u64>(last) == from && load<u64>(last, 8) == rip) return;
  if (((page + nextOffsetOf(op)) & mask) != rip) noteBranch(from, rip, 0);
}
