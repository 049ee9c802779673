import {
  type DebugPoint,
  type GpaSpace,
  HvRegister,
  type ProcessorDebug,
  type ProcessorStop,
  registerValue,
  type TakenBranch,
  type TraceOptions,
} from '@kensho/core';
import type { EngineExports } from './engine-module.ts';
import { walk } from './page-walk.ts';
import { Tracer } from './tracer.ts';
import type { X64Vp } from './x64-vp.ts';

// The debugger's part of the engine's memory (assembly/state.ts), from DEBUG on.
const BREAK_COUNT = 4;
const WATCH_COUNT = 8;
const HIT_ADDRESS = 16;
const RECENT_COUNT = 24;
const BREAKS = 0x100;
const BREAKS_MAX = 256;
const WATCHES = 0x900;
const WATCHES_MAX = 64;
const WATCH_BYTES = 16;
const RECENT = 0xe00;
const RECENT_ENTRIES = 64;
const RECENT_BYTES = 32;

/** A slice ends with a block, so many instructions late at most. */
const SLICE_OVERRUN = 64;

const DEBUG_TRACE = 1;
const DEBUG_BREAK = 2;
const DEBUG_WATCH = 4;
const DEBUG_BRANCHES = 8;

/** In a VP's state. */
const STEP = 0x3f0;
const REASON = 0x3f4;
const STEP_ASKED = 1;
const REASON_BREAKPOINT = 2;
const REASON_WATCHPOINT = 3;

const ON_READ = 1;
const ON_WRITE = 2;
const ACCESSES = { read: ON_READ, write: ON_WRITE, access: ON_READ | ON_WRITE } as const;

/** What the debugger's side needs of the engine. */
export interface DebuggedEngine {
  readonly exports: EngineExports;
  readonly view: DataView;
  readonly vps: readonly X64Vp[];
}

/** The x64 engine's answers to a debugger; see assembly/debugger.ts for how it is done. */
export class X64Debug implements ProcessorDebug {
  readonly #engine: DebuggedEngine;
  readonly #gpa: () => GpaSpace;
  #tracer: Tracer | undefined;

  constructor(engine: DebuggedEngine, gpa: () => GpaSpace) {
    this.#engine = engine;
    this.#gpa = gpa;
  }

  setPoints(points: readonly DebugPoint[]): boolean {
    const { view, exports, vps } = this.#engine;
    const breaks = points.filter(({ kind }) => kind === 'execute');
    const watches = points.filter(({ kind, sizeBytes }) => kind !== 'execute' && sizeBytes > 0);
    if (breaks.length > BREAKS_MAX || watches.length > WATCHES_MAX) return false;
    const area = exports.DEBUG.value;
    for (const [i, { address }] of breaks.entries()) view.setBigUint64(area + BREAKS + i * 8, address, true);
    for (const [i, { kind, address, sizeBytes }] of watches.entries()) {
      const at = area + WATCHES + i * WATCH_BYTES;
      view.setBigUint64(at, address, true);
      view.setUint32(at + 8, sizeBytes, true);
      view.setUint32(at + 12, ACCESSES[kind as keyof typeof ACCESSES], true);
    }
    view.setUint32(area + BREAK_COUNT, breaks.length, true);
    view.setUint32(area + WATCH_COUNT, watches.length, true);
    this.#setFlag(DEBUG_BREAK, breaks.length > 0);
    this.#setFlag(DEBUG_WATCH, watches.length > 0);
    // What is decoded, and what translations allow, is another now.
    exports.dropCode();
    for (const vp of vps) vp.flushTlb();
    return true;
  }

  setStep(vpIndex: number, on: boolean): void {
    this.#engine.view.setUint32(this.#stateOf(vpIndex) + STEP, on ? STEP_ASKED : 0, true);
  }

  stopOf(vpIndex: number): ProcessorStop {
    const { view, exports } = this.#engine;
    switch (view.getUint32(this.#stateOf(vpIndex) + REASON, true)) {
      case REASON_BREAKPOINT:
        return { reason: 'breakpoint' };
      case REASON_WATCHPOINT:
        return {
          reason: 'watchpoint',
          address: view.getBigUint64(exports.DEBUG.value + HIT_ADDRESS, true),
        };
      default:
        return { reason: 'step' };
    }
  }

  translate(vpIndex: number, gva: bigint): number {
    const vp = this.#engine.vps[vpIndex];
    if (vp === undefined) return -1;
    const value = registerValue(0n);
    const low = (register: number) => {
      vp.getRegister(register, value);
      return value.lo;
    };
    const efer = low(HvRegister.EFER);
    const cr0 = low(HvRegister.CR0);
    const cr4 = low(HvRegister.CR4);
    vp.getRegister(HvRegister.CR3, value);
    const cr3 = (BigInt(value.hi) << 32n) | BigInt(value.lo);
    return walk(this.#gpa(), { cr0, cr3, cr4, efer }, gva);
  }

  setBranchRecording(on: boolean): void {
    this.#setFlag(DEBUG_BRANCHES, on);
    this.#engine.exports.dropCode();
  }

  branches(): TakenBranch[] {
    const { view, exports } = this.#engine;
    const area = exports.DEBUG.value;
    const count = view.getUint32(area + RECENT_COUNT, true);
    const branches: TakenBranch[] = [];
    for (let i = Math.max(0, count - RECENT_ENTRIES); i < count; i++) {
      const at = area + RECENT + (i % RECENT_ENTRIES) * RECENT_BYTES;
      const event = view.getUint32(at + 20, true);
      const to = view.getBigUint64(at + 8, true);
      branches.push({
        vpIndex: view.getUint32(at + 16, true),
        from: view.getBigUint64(at, true),
        to: event !== 0 && to === 0n ? undefined : to,
        vector: event === 0 ? undefined : event - 1,
      });
    }
    return branches;
  }

  setTrace(trace: TraceOptions | undefined): void {
    this.#tracer?.flush();
    this.#tracer = trace === undefined ? undefined : new Tracer(trace);
    if (trace === undefined) this.#setFlag(DEBUG_TRACE, false);
  }

  /** Called before each slice: how much of its budget it may use, so that a trace begins where it should. */
  beginSlice(vp: X64Vp, budget: number): number {
    if (this.#tracer === undefined) return budget;
    const left = this.#tracer.untilFirst(vp.instructionsRetired);
    this.#setFlag(DEBUG_TRACE, left >= 0 && left <= SLICE_OVERRUN);
    return left > SLICE_OVERRUN ? Math.min(budget, left - SLICE_OVERRUN) : budget;
  }

  /** Called by the engine before each instruction while tracing. */
  traceInstruction(vp: X64Vp): void {
    this.#tracer?.instruction(vp);
  }

  /** Where the state of a VP is. */
  #stateOf(vpIndex: number): number {
    const { exports } = this.#engine;
    return exports.STATE.value + (exports.stateDelta(vpIndex) >>> 0);
  }

  #setFlag(flag: number, on: boolean): void {
    const { view, exports } = this.#engine;
    const flags = view.getUint32(exports.DEBUG.value, true);
    view.setUint32(exports.DEBUG.value, on ? flags | flag : flags & ~flag, true);
  }
}
