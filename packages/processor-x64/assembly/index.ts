// What TypeScript calls. One VP is selected at a time; the others' state is parked.
import { updateBreakpoints } from './breakpoints';
import { codeDrops, dropAll, initCodeCache, invalidatePage } from './code-pages';
import { interruptSlice } from './dispatch';
import { deliverFault } from './exceptions';
import { readFlags, writeFlags } from './flags';
import { H } from './handlers';
import { refreshSummary } from './fpu/x87-state';
import { run as interpret } from './interpreter';
import { writeControl } from './ops/system';
import { indexInBlock, offsetOf } from './record';
import { resetSegments, setRealCode, setSegment, updateMode } from './segments';
import {
  ACTIVITY,
  ACTIVITY_RUNNING,
  ACTIVITY_WAIT_FOR_SIPI,
  BREAKPOINTS,
  COUNTDOWN,
  CPL,
  CR0,
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR4,
  CUR,
  DEBUG_PASSED,
  DEBUG_STEP,
  DELIVERING,
  DR0,
  DR6,
  DR7,
  CR0_PG,
  EFER,
  EFER_LMA,
  EFER_LME,
  EVENT_EXIT,
  EVENT_INTERRUPT,
  EVENT_NMI,
  EVENTS,
  EXCHANGE,
  EXIT_RECORD,
  GDTR_LIMIT,
  GPR,
  IDTR_LIMIT,
  JUMP_CACHE,
  JUMP_CACHE_ENTRIES,
  LIMIT,
  MSR_MISC_ENABLE,
  MSR_PAT,
  MXCSR,
  NMI_BLOCKED,
  PENDING_TRAP,
  RDX,
  REST,
  RIP,
  RIP_MASK,
  RIP_PAGE,
  SHADOW,
  SS,
  STATE,
  STATE_SIZE,
  STEP_TRAP,
  VP_INDEX,
  VP_TLB,
  X87_CONTROL,
  X87_TAG,
  XCR0,
} from './state';
import { arenaAddress, gpaMapAddress, pageInfoAddress, layOut, parkedState, vpTlb } from './tables';
import { flushAll as flushTables, flushPage as flushLinearPage } from './tlb';

export { CPL, CR0, CR2, CR3, CR4, DEBUG, EFER, EXCHANGE, GPR, RIP, STATE, VP_INDEX } from './state';
export { arenaAddress, gpaMapAddress, pageInfoAddress, deliverFault, codeDrops };

/** Model, family and stepping, as RDX has them after reset and CPUID leaf 1 says. */
export const SIGNATURE: u32 = 0x000906ea;

const NO_VP: u32 = 0xffffffff;
let selected: u32 = NO_VP;

/** Takes the memory of a partition; false where there is not enough. */
export function configure(arenaPages: u32, vpCount: u32, codeCacheSize: u32): bool {
  if (!layOut(arenaPages, vpCount, codeCacheSize)) return false;
  initCodeCache(arenaPages, vpCount);
  store<u16>(EXIT_RECORD, H.EXIT);
  memory.fill(JUMP_CACHE, 0xff, JUMP_CACHE_ENTRIES * 16);
  for (let vp: u32 = 0; vp < vpCount; vp++) {
    select(vp);
    store<u32>(VP_INDEX, vp);
    store<u32>(VP_TLB, vpTlb(vp));
    reset(vp == 0);
  }
  select(0);
  return true;
}

/** Makes a VP the one whose state is in place. */
export function select(vp: u32): void {
  if (vp == selected) return;
  if (selected != NO_VP) memory.copy(parkedState(selected), STATE, STATE_SIZE);
  memory.copy(STATE, parkedState(vp), STATE_SIZE);
  selected = vp;
}

/** Where a VP's state is now, relative to its place while it runs. */
export function stateDelta(vp: u32): u32 {
  return vp == selected ? 0 : parkedState(vp) - STATE;
}

/** The state after reset and INIT (Intel SDM 3, table 10-1); the others wait for their SIPI. */
function reset(bootProcessor: bool): void {
  memory.fill(GPR, 0, 16 * 8);
  store<u64>(RDX, SIGNATURE);
  store<u64>(RIP, 0xfff0);
  writeFlags(2);
  store<u64>(CR0, CR0_ET | CR0_CD | CR0_NW);
  store<u64>(CR4, 0);
  store<u64>(EFER, 0);
  store<u64>(DR6, 0xffff0ff0);
  store<u64>(DR7, 0x400);
  store<u32>(GDTR_LIMIT, 0xffff);
  store<u32>(IDTR_LIMIT, 0xffff);
  store<u64>(MSR_PAT, 0x0007040600070406);
  store<u64>(MSR_MISC_ENABLE, 1);
  store<u64>(XCR0, 1);
  store<u16>(X87_CONTROL, 0x40);
  store<u16>(X87_TAG, 0x5555);
  store<u32>(MXCSR, 0x1f80);
  store<i32>(DELIVERING, -1);
  store<u32>(BREAKPOINTS, 0);
  store<u32>(PENDING_TRAP, 0);
  store<u32>(DEBUG_STEP, 0);
  store<i64>(DEBUG_PASSED, -1);
  store<u32>(STEP_TRAP, 0);
  store<u32>(NMI_BLOCKED, 0);
  store<u32>(CUR, 0);
  store<u32>(SHADOW, 0);
  store<u32>(EVENTS, 0);
  store<u32>(ACTIVITY, bootProcessor ? ACTIVITY_RUNNING : ACTIVITY_WAIT_FOR_SIPI);
  resetSegments();
  store<u32>(CPL, 0);
  flushTables();
  updateMode();
}

/** INIT: as after reset, but waiting. */
export function init(): void {
  reset(false);
}

/** SIPI; only for a VP that waits for it. */
export function startup(vector: u32): void {
  if (load<u32>(ACTIVITY) != ACTIVITY_WAIT_FOR_SIPI) return;
  setRealCode(vector << 8);
  store<u64>(RIP, 0);
  store<u32>(ACTIVITY, ACTIVITY_RUNNING);
  updateMode();
}

/** Begins a slice of `budget` instructions. */
export function beginSlice(budget: u32): void {
  store<i64>(LIMIT, retiredExact() + budget);
  store<i32>(COUNTDOWN, budget);
  store<i32>(REST, 0);
  store<u32>(EVENTS, load<u32>(EVENTS) & ~EVENT_EXIT);
}

/** Runs on until the slice ends. The host calls `deliverFault`, then this again, when it was left by a fault. */
export function run(): u32 {
  return interpret();
}

function retiredExact(): i64 {
  const op = load<u32>(CUR);
  return load<i64>(LIMIT) - load<i32>(COUNTDOWN) + (op == 0 ? 0 : indexInBlock(op));
}

/** Instructions that the selected VP has retired. */
export function retired(): f64 {
  return <f64>retiredExact();
}

/** Ends the slice at the next boundary; called within an intercept. */
export function requestExit(): void {
  store<u32>(EVENTS, load<u32>(EVENTS) | EVENT_EXIT);
  interruptSlice();
}

/** What an event of the VP whose state is at `delta` waits for. */
export function setInterruptPending(delta: u32, pending: bool): void {
  const events = load<u32>(EVENTS + delta);
  store<u32>(EVENTS + delta, pending ? events | EVENT_INTERRUPT : events & ~EVENT_INTERRUPT);
  if (pending && delta == 0) interruptSlice();
}

export function injectNmi(delta: u32): void {
  store<u32>(EVENTS + delta, load<u32>(EVENTS + delta) | EVENT_NMI);
  if (delta == 0) interruptSlice();
}

/** What is at guest pages changed: every translation of the VP may be another. */
export function flushAll(): void {
  flushTables();
}

export function flushPage(va: u64): void {
  flushLinearPage(va);
}

/** A device wrote to an arena page. */
export function codeChanged(arenaPage: u32): void {
  invalidatePage(arenaPage);
}

/** Empties the code cache; between slices only. */
export function dropCode(): void {
  dropAll();
}

/** RIP at any time, also within an instruction. */
export function currentRip(): u64 {
  const op = load<u32>(CUR);
  if (op == 0) return load<u64>(RIP);
  return (load<u64>(RIP_PAGE) + offsetOf(op)) & load<u64>(RIP_MASK);
}

export function getFlags(): u32 {
  return readFlags();
}

/** Replaces RFLAGS between slices. */
export function setFlagsRegister(value: u32): void {
  writeFlags(value);
  updateMode();
}

/** Sets RIP between slices. */
export function setRip(rip: u64): void {
  store<u64>(RIP, rip);
  store<i64>(DEBUG_PASSED, -1);
}

/** Replaces EFER between slices; LMA follows from the others. */
export function setEfer(value: u64): bool {
  if ((value & ~0xd01) != 0) return false;
  const long = (value & EFER_LME) != 0 && (load<u32>(CR0) & CR0_PG) != 0;
  store<u64>(EFER, (value & ~(<u64>EFER_LMA)) | (long ? EFER_LMA : 0));
  flushTables();
  updateMode();
  return true;
}

/** Replaces a segment register between slices, without looking at a descriptor: for loaders. */
export function setSegmentRegister(n: u32, selector: u32, base: u64, limit: u32, attr: u32): void {
  setSegment(n, selector, base, limit, attr);
  if (n == SS) store<u32>(CPL, (attr >> 5) & 3);
  updateMode();
}

/** Replaces a debug register between slices: DR0 to DR3, DR6 or DR7. */
export function setDebugRegister(n: u32, value: u64): void {
  if (n == 6) store<u64>(DR6, (value & 0xe00f) | 0xffff0ff0);
  else if (n == 7) store<u64>(DR7, (value & 0xffff2bff) | 0x400);
  else store<u64>(DR0 + (n << 3), value);
  updateBreakpoints();
  flushTables();
}

/** x87's status or control word was replaced between slices. */
export function refreshX87(): void {
  refreshSummary();
}

/** Writes a control register by number between slices; false where the value is refused. */
export function setControl(n: u32, value: u64): bool {
  return writeControl(n, value);
}
