import {
  HvRegister,
  isWideRegister,
  type ProcessorOptions,
  type RegisterValue,
  type VirtualProcessor,
  VpExit,
  type VpIntercepts,
} from '@kensho/core';
import type { EngineExports } from './engine-module.ts';
import { getFpuRegister, isFpuRegister, setFpuRegister } from './fpu-registers.ts';

/** Pages beyond which dropping all translations costs less than dropping them one by one. */
const FLUSH_PAGES_MAX = 64;

/** The engine as its VPs see it. */
export interface VpEngine {
  readonly exports: EngineExports;
  readonly options: ProcessorOptions;
  readonly debug: {
    /** How much of a slice's budget may be used. */
    beginSlice(vp: X64Vp, budget: number): number;
  };
  /** The engine's memory. */
  readonly view: DataView;
  /** Puts the state of a VP in place. */
  select(vp: X64Vp): void;
  isCurrent(vp: X64Vp): boolean;
  /** Calls `work` with the state of a VP in place, and puts back what was there. */
  whileSelected<T>(vp: X64Vp, work: () => T): T;
  /** Where a register of 64 bits lies while its VP's state is in place; undefined for what is not plain storage. */
  registerAddress(register: number): number | undefined;
  /** Runs the selected VP until its slice ends; a value of VpExit. */
  run(): number;
}

/** Segment registers from ES to TR, in the engine's state: selector, attributes, limit, base (assembly/state.ts). */
const SEGMENTS = 0x100;
const SEGMENT_BYTES = 32;
/** GDTR and IDTR there: base, limit. */
const GDTR = 0x200;
const IDTR = 0x210;
/** DR0 to DR7, 8 bytes each. */
const DR0 = 0x250;

/** Where a debug register lies in a VP's state; undefined for other registers. DR4 and DR5 have no place. */
function debugRegisterOffset(register: number): number | undefined {
  if (register >= HvRegister.DR0 && register <= HvRegister.DR3) return DR0 + (register - HvRegister.DR0) * 8;
  if (register === HvRegister.DR6 || register === HvRegister.DR7) {
    return DR0 + (register - HvRegister.DR6 + 6) * 8;
  }
  return undefined;
}

/** One VP of the engine. Its registers are in the engine's memory: in place while it runs, else parked. */
export class X64Vp implements VirtualProcessor {
  readonly index: number;
  readonly intercepts: VpIntercepts;
  readonly #engine: VpEngine;
  /** What was asked for while another VP's state was in place. */
  #flushPending = false;
  /** With one VP there are no others to let run. */
  readonly #yields: boolean;
  #retired = 0;

  constructor(index: number, engine: VpEngine, intercepts: VpIntercepts) {
    this.index = index;
    this.#engine = engine;
    this.intercepts = intercepts;
    this.#yields = engine.options.vpCount > 1;
  }

  run(budget: number): VpExit {
    const engine = this.#engine;
    const instructions = engine.debug.beginSlice(this, Math.floor(budget));
    engine.select(this);
    engine.exports.beginSlice(Math.max(1, Math.min(instructions, 0x3fffffff)));
    for (;;) {
      const exit = engine.run();
      if (exit === VpExit.YIELD && !this.#yields) continue;
      this.#retired = engine.exports.retired();
      return exit as VpExit;
    }
  }

  get instructionsRetired(): number {
    return this.#engine.isCurrent(this) ? this.#engine.exports.retired() : this.#retired;
  }

  requestExit(): void {
    if (this.#engine.isCurrent(this)) this.#engine.exports.requestExit();
  }

  setInterruptPending(pending: boolean): void {
    this.#engine.exports.setInterruptPending(this.#delta, pending ? 1 : 0);
  }

  injectNmi(): void {
    this.#engine.exports.injectNmi(this.#delta);
  }

  init(): void {
    const engine = this.#engine;
    engine.whileSelected(this, () => engine.exports.init());
  }

  startup(vector: number): void {
    const engine = this.#engine;
    engine.whileSelected(this, () => engine.exports.startup(vector));
  }

  getRegister(register: number, value: RegisterValue): boolean {
    const engine = this.#engine;
    if (isFpuRegister(register)) return getFpuRegister(engine.view, this.#state, register, value);
    if (isWideRegister(register)) return this.#getWide(register, value);
    const debug = debugRegisterOffset(register);
    if (debug !== undefined) {
      value.lo = engine.view.getUint32(this.#state + debug, true);
      value.hi = engine.view.getUint32(this.#state + debug + 4, true);
      return true;
    }
    const at = engine.registerAddress(register);
    if (at !== undefined) {
      value.lo = engine.view.getUint32(at + this.#delta, true);
      value.hi = engine.view.getUint32(at + this.#delta + 4, true);
      return true;
    }
    switch (register) {
      case HvRegister.RIP: {
        const rip = BigInt.asUintN(
          64,
          engine.whileSelected(this, () => engine.exports.currentRip()),
        );
        value.lo = Number(rip & 0xffffffffn);
        value.hi = Number(rip >> 32n);
        return true;
      }
      case HvRegister.RFLAGS:
        value.lo = engine.whileSelected(this, () => engine.exports.getFlags()) >>> 0;
        value.hi = 0;
        return true;
      case HvRegister.CR8:
        value.lo = this.intercepts.readTaskPriority();
        value.hi = 0;
        return true;
      default:
        return false;
    }
  }

  setRegister(register: number, value: RegisterValue): boolean {
    const engine = this.#engine;
    if (isFpuRegister(register)) return this.#setFpu(register, value);
    if (isWideRegister(register)) return this.#setWide(register, value);
    const wide = (BigInt(value.hi >>> 0) << 32n) | BigInt(value.lo >>> 0);
    const debug = debugRegisterOffset(register);
    if (debug !== undefined) {
      const n = (debug - DR0) / 8;
      engine.whileSelected(this, () => engine.exports.setDebugRegister(n, BigInt.asIntN(64, wide)));
      return true;
    }
    const control = (n: number) =>
      engine.whileSelected(this, () => engine.exports.setControl(n, BigInt.asIntN(64, wide))) !== 0;
    switch (register) {
      case HvRegister.RIP:
        engine.whileSelected(this, () => engine.exports.setRip(BigInt.asIntN(64, wide)));
        return true;
      case HvRegister.RFLAGS:
        engine.whileSelected(this, () => engine.exports.setFlagsRegister(value.lo));
        return true;
      case HvRegister.CR0:
        return control(0);
      case HvRegister.CR3:
        return control(3);
      case HvRegister.CR4:
        return control(4);
      case HvRegister.CR8:
        this.intercepts.writeTaskPriority(value.lo & 15);
        return true;
      case HvRegister.EFER:
        return engine.whileSelected(this, () => engine.exports.setEfer(BigInt.asIntN(64, wide))) !== 0;
      default: {
        const at = engine.registerAddress(register);
        if (at === undefined) return false;
        engine.view.setUint32(at + this.#delta, value.lo, true);
        engine.view.setUint32(at + this.#delta + 4, value.hi, true);
        return true;
      }
    }
  }

  flushTlb(gvaPages?: readonly { page: number; count: number }[]): void {
    const engine = this.#engine;
    if (!engine.isCurrent(this)) {
      this.#flushPending = true;
      return;
    }
    const pages = gvaPages?.reduce((sum, { count }) => sum + count, 0) ?? Number.POSITIVE_INFINITY;
    if (gvaPages === undefined || pages > FLUSH_PAGES_MAX) {
      engine.exports.flushAll();
      return;
    }
    for (const { page, count } of gvaPages) {
      for (let i = 0; i < count; i++) engine.exports.flushPage(BigInt(page + i) << 12n);
    }
  }

  /** Called once its state is in place: does what could not be done to a parked one. */
  catchUp(): void {
    if (!this.#flushPending) return;
    this.#flushPending = false;
    this.#engine.exports.flushAll();
  }

  #getWide(register: number, value: RegisterValue): boolean {
    const { view } = this.#engine;
    const at = this.#placeOf(register);
    if (at === undefined) return false;
    if (register >= HvRegister.IDTR) {
      value.lo = 0;
      value.hi = view.getUint16(at + 8, true) << 16;
      value.upperLo = view.getUint32(at, true);
      value.upperHi = view.getUint32(at + 4, true);
    } else {
      value.lo = view.getUint32(at + 8, true);
      value.hi = view.getUint32(at + 12, true);
      value.upperLo = view.getUint32(at + 4, true);
      value.upperHi = view.getUint32(at, true);
    }
    value.hi >>>= 0;
    return true;
  }

  #setWide(register: number, { lo, hi, upperLo, upperHi }: RegisterValue): boolean {
    const engine = this.#engine;
    const at = this.#placeOf(register);
    if (at === undefined) return false;
    if (register >= HvRegister.IDTR) {
      engine.view.setUint32(at, upperLo, true);
      engine.view.setUint32(at + 4, upperHi, true);
      engine.view.setUint32(at + 8, hi >>> 16, true);
    } else {
      const base = BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo));
      engine.whileSelected(this, () =>
        engine.exports.setSegmentRegister(
          register - HvRegister.ES,
          upperHi & 0xffff,
          base,
          upperLo,
          upperHi >>> 16,
        ),
      );
    }
    return true;
  }

  #setFpu(register: number, value: RegisterValue): boolean {
    const engine = this.#engine;
    const done = setFpuRegister(engine.view, this.#state, register, value);
    if (register === HvRegister.FP_CONTROL_STATUS) {
      engine.whileSelected(this, () => engine.exports.refreshX87());
    }
    return done;
  }

  /** Where a segment or table register lies. */
  #placeOf(register: number): number | undefined {
    const state = this.#state;
    if (register === HvRegister.GDTR) return state + GDTR;
    if (register === HvRegister.IDTR) return state + IDTR;
    if (register > HvRegister.TR) return undefined;
    return state + SEGMENTS + (register - HvRegister.ES) * SEGMENT_BYTES;
  }

  get #state(): number {
    return this.#engine.exports.STATE.value + this.#delta;
  }

  /** How far its state is from the place of the one that runs. */
  get #delta(): number {
    return this.#engine.exports.stateDelta(this.index) >>> 0;
  }
}
