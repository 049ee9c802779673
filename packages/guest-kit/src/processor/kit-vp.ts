import {
  type CpuidResult,
  GpaAccess,
  type GpaSpace,
  type GuestCpu,
  GuestFault,
  type HypercallFrame,
  PAGE_SIZE,
  type ProcessorOptions,
  type Qword,
  type VirtualProcessor,
  VpExit,
  type VpIntercepts,
} from '@kensho/core';
import { kitCpuid } from './cpuid.ts';
import { GuardedIntercepts } from './guarded-intercepts.ts';

/** What a program does at the end of a stretch of instructions: executes HLT or PAUSE, or simply goes on. */
export type KitStep = 'hlt' | 'pause' | undefined;

/** A program for one VP; each `yield` is an instruction boundary at which a slice may end. */
export type KitProgram = (cpu: GuestCpu) => Generator<KitStep, void, void>;

/** IA32_TIME_STAMP_COUNTER and IA32_APIC_BASE's neighbours are the hypervisor's; this one a processor keeps itself. */
const IA32_TSC = 0x10;

/**
 * A VP that runs a TypeScript program: each call of {@link GuestCpu} is one instruction of it.
 *
 * Interrupts are taken between instructions while IF is set; the handler runs nested, with IF clear, as through an
 * interrupt gate. There is no paging: addresses are guest-physical. An error that the program lets escape is what a
 * fault without a handler is to machine code: a triple fault, with the error given to `onFault`. What the hypervisor
 * throws is none of the program's: {@link run} throws it.
 */
export class KitVp implements VirtualProcessor, GuestCpu {
  readonly index: number;
  instructionsRetired = 0;
  readonly #gpa: GpaSpace;
  readonly #intercepts: GuardedIntercepts;
  readonly #options: ProcessorOptions;
  readonly #handlers: ((() => void) | undefined)[] = new Array(256).fill(undefined);
  readonly #program: KitProgram;
  readonly #onFault: (error: unknown) => void;
  #running: Generator<KitStep, void, void> | undefined;
  #started: boolean;
  #interruptFlag = false;
  /** STI keeps interrupts off until the end of the instruction behind it. */
  #interruptShadow = false;
  #pending = false;
  #nmiPending = false;
  #halted = false;
  #ended = false;
  #exitRequested = false;
  #tripleFault = false;

  constructor(
    index: number,
    gpa: GpaSpace,
    intercepts: VpIntercepts,
    options: ProcessorOptions,
    program: KitProgram,
    onFault: (error: unknown) => void,
  ) {
    this.index = index;
    this.#gpa = gpa;
    this.#intercepts = new GuardedIntercepts(intercepts);
    this.#options = options;
    this.#program = program;
    this.#onFault = onFault;
    // The boot processor starts at reset, the others wait for their SIPI.
    this.#started = index === 0;
  }

  // The hypervisor's side.

  run(budget: number): VpExit {
    this.#exitRequested = false;
    const limit = this.instructionsRetired + budget;
    for (;;) {
      if (!this.#started) return VpExit.HALT;
      if (this.#halted) {
        if (!this.#nmiPending && !(this.#pending && this.#interruptFlag)) return VpExit.HALT;
        this.#halted = false;
      }
      let step: IteratorResult<KitStep, void>;
      let running: Generator<KitStep, void, void>;
      try {
        this.#takeInterrupts();
        if (this.#tripleFault) return VpExit.TRIPLE_FAULT;
        if (this.#ended) return VpExit.ENDED;
        this.#running ??= this.#program(this);
        running = this.#running;
        step = running.next();
      } catch (error) {
        this.#intercepts.rethrow();
        this.#onFault(error);
        this.#tripleFault = true;
        return VpExit.TRIPLE_FAULT;
      }
      this.#intercepts.rethrow();
      this.instructionsRetired++;
      this.#interruptShadow = false;
      // An INIT that the program sent to its own VP took it away from it.
      if (this.#running !== running) continue;
      if (step.done === true) {
        this.#ended = true;
        return VpExit.ENDED;
      }
      if (step.value === 'hlt') this.#halted = true;
      else if (step.value === 'pause') return VpExit.YIELD;
      else if (this.#exitRequested || this.instructionsRetired >= limit) return VpExit.BUDGET;
    }
  }

  requestExit(): void {
    this.#exitRequested = true;
  }

  setInterruptPending(pending: boolean): void {
    this.#pending = pending;
  }

  injectNmi(): void {
    this.#nmiPending = true;
  }

  init(): void {
    this.#started = false;
    this.#running = undefined;
    this.#tripleFault = false;
    this.#interruptFlag = false;
    this.#halted = false;
    this.#ended = false;
    this.#nmiPending = false;
  }

  startup(_vector: number): void {
    this.#started = true;
  }

  /** A program has no registers that a debugger could name. */
  getRegister(_register: number, _value: Qword): boolean {
    return false;
  }

  setRegister(_register: number, _value: Qword): boolean {
    return false;
  }

  /** Without paging there are no translations to drop. */
  flushTlb(): void {}

  // The guest's side.

  in(port: number, sizeBytes: number): number {
    const value = this.#intercepts.portRead(port, sizeBytes);
    this.#retire();
    return value;
  }

  out(port: number, sizeBytes: number, value: number): void {
    this.#intercepts.portWrite(port, sizeBytes, value);
    this.#retire();
  }

  ins(port: number, sizeBytes: number, gpa: number, count: number): void {
    const target = this.memory(gpa, sizeBytes * count);
    for (let i = 0; i < count; i++) {
      const value = this.#intercepts.portRead(port, sizeBytes);
      for (let byte = 0; byte < sizeBytes; byte++) target[i * sizeBytes + byte] = value >>> (8 * byte);
      this.#retire();
    }
  }

  outs(port: number, sizeBytes: number, gpa: number, count: number): void {
    const source = this.memory(gpa, sizeBytes * count);
    for (let i = 0; i < count; i++) {
      let value = 0;
      for (let byte = 0; byte < sizeBytes; byte++) value |= source[i * sizeBytes + byte] << (8 * byte);
      this.#intercepts.portWrite(port, sizeBytes, value >>> 0);
      this.#retire();
    }
  }

  load(gpa: number, sizeBytes: number): number {
    if (crossesPage(gpa, sizeBytes)) {
      const half = sizeBytes / 2;
      return this.load(gpa, half) + this.load(gpa + half, half) * 2 ** (8 * half);
    }
    const at = this.#gpa.translate(gpa, GpaAccess.READ);
    let value: number;
    if (at < 0) value = this.#intercepts.mmioRead(gpa, sizeBytes);
    else if (sizeBytes === 4) value = this.#gpa.arena.data.getUint32(at, true);
    else if (sizeBytes === 2) value = this.#gpa.arena.data.getUint16(at, true);
    else value = this.#gpa.arena.data.getUint8(at);
    this.#retire();
    return value;
  }

  store(gpa: number, sizeBytes: number, value: number): void {
    if (crossesPage(gpa, sizeBytes)) {
      const half = sizeBytes / 2;
      this.store(gpa, half, value & (2 ** (8 * half) - 1));
      this.store(gpa + half, half, value >>> (8 * half));
      return;
    }
    const at = this.#gpa.translate(gpa, GpaAccess.WRITE);
    if (at < 0) this.#intercepts.mmioWrite(gpa, sizeBytes, value >>> 0);
    else if (sizeBytes === 4) this.#gpa.arena.data.setUint32(at, value, true);
    else if (sizeBytes === 2) this.#gpa.arena.data.setUint16(at, value, true);
    else this.#gpa.arena.data.setUint8(at, value);
    this.#retire();
  }

  compareExchange(gpa: number, expected: number, replacement: number): number {
    const at = this.#gpa.translate(gpa, GpaAccess.READ_WRITE);
    if (at < 0 || at % 4 !== 0)
      throw new GuestFault(`compare-exchange at ${hex(gpa)}, which is not aligned RAM`);
    const words = this.#gpa.arena.words;
    const found = words[at / 4];
    if (found === expected >>> 0) words[at / 4] = replacement;
    this.#retire();
    return found;
  }

  rdmsr(msr: number, value: Qword): void {
    if (msr === IA32_TSC) this.rdtsc(value);
    else if (!this.#intercepts.msrRead(msr, value)) throw new GuestFault(`#GP: RDMSR ${hex(msr)}`);
    else this.#retire();
  }

  wrmsr(msr: number, lo: number, hi: number): void {
    const value = { lo: lo >>> 0, hi: hi >>> 0 };
    if (!this.#intercepts.msrWrite(msr, value)) {
      throw new GuestFault(`#GP: WRMSR ${hex(msr)} = ${hex(hi)}:${hex(lo)}`);
    }
    this.#retire();
  }

  cpuid(leaf: number, subleaf: number): CpuidResult {
    const result = kitCpuid(leaf, this.index, this.#options);
    this.#intercepts.cpuid(leaf, subleaf, result);
    this.#retire();
    return result;
  }

  vmcall(frame: HypercallFrame): void {
    if (!this.#intercepts.hypercall(frame)) throw new GuestFault('#UD: VMCALL');
    this.#retire();
  }

  rdtsc(value: Qword): void {
    const ticks = Math.floor((this.#options.clock.nowNs() * this.#options.tscFrequencyHz) / 1e9);
    value.lo = ticks >>> 0;
    value.hi = Math.floor(ticks / 2 ** 32) >>> 0;
    this.#retire();
  }

  setInterruptHandler(vector: number, handler: () => void): void {
    this.#handlers[vector] = handler;
  }

  sti(): void {
    this.#interruptShadow = !this.#interruptFlag;
    this.#interruptFlag = true;
    this.instructionsRetired++;
  }

  cli(): void {
    this.#interruptFlag = false;
    this.instructionsRetired++;
  }

  memory(gpa: number, sizeBytes: number): Uint8Array {
    const start = this.#gpa.translate(gpa, GpaAccess.READ_WRITE);
    const first = Math.floor(gpa / PAGE_SIZE);
    const last = Math.floor((gpa + sizeBytes - 1) / PAGE_SIZE);
    const arenaFirst = Math.floor(start / PAGE_SIZE);
    for (let page = first; page <= last; page++) {
      if (start < 0 || this.#gpa.translatePage(page, GpaAccess.READ_WRITE) !== arenaFirst + page - first) {
        throw new GuestFault(`${hex(gpa)} + ${sizeBytes} is not contiguous RAM`);
      }
    }
    return this.#gpa.arena.bytes.subarray(start, start + sizeBytes);
  }

  #retire(): void {
    this.instructionsRetired++;
    if (this.#interruptShadow) this.#interruptShadow = false;
    else if (this.#pending && this.#interruptFlag) this.#takeInterrupts();
  }

  #takeInterrupts(): void {
    if (this.#nmiPending) {
      this.#nmiPending = false;
      this.#enter(2);
    }
    while (this.#pending && this.#interruptFlag && !this.#interruptShadow && !this.#tripleFault) {
      const vector = this.#intercepts.acknowledgeInterrupt();
      if (vector < 0) return;
      this.#enter(vector);
    }
  }

  #enter(vector: number): void {
    const handler = this.#handlers[vector];
    if (handler === undefined) {
      // No IDT entry for it, none for #GP or #DF either.
      this.#tripleFault = true;
      this.#exitRequested = true;
      return;
    }
    const interruptFlag = this.#interruptFlag;
    this.#interruptFlag = false;
    handler();
    this.#interruptFlag = interruptFlag;
    this.instructionsRetired++;
  }
}

/** What lies beyond the end of a page is behind another translation. */
function crossesPage(gpa: number, sizeBytes: number): boolean {
  return (gpa % PAGE_SIZE) + sizeBytes > PAGE_SIZE;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
