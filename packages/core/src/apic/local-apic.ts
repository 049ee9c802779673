import type { TimerQueue } from '../clock.ts';
import type { Counter, Counters } from '../counters.ts';
import type { CpuidResult, VirtualProcessor } from '../processor/contract.ts';
import { ApicTimer } from './apic-timer.ts';
import {
  APIC_PAGE_GPA,
  APIC_VERSION,
  ApicBase,
  ApicError,
  ApicRegister,
  DeliveryMode,
  Icr,
  LVT_MASKED,
  LVT_WRITABLE,
  Shorthand,
  SVR_SOFTWARE_ENABLE,
} from './registers.ts';
import { VectorSet } from './vector-set.ts';

/** What carries an APIC's interprocessor interrupts to the others. */
export interface InterruptBus {
  /**
   * @param destination - APIC id or logical destination; one that nobody has loses the interrupt
   * @param broadcast - the destination that stands for all
   */
  send(
    deliveryMode: number,
    vector: number,
    levelTriggered: boolean,
    destination: number,
    logical: boolean,
    broadcast: number,
  ): void;
  /** The shorthand "all excluding self". */
  sendToOthers(source: LocalApic, deliveryMode: number, vector: number): void;
}

export interface LocalApicOptions {
  /** APIC id, which is the VP index and does not change. */
  readonly id: number;
  readonly bus: InterruptBus;
  readonly timers: TimerQueue;
  readonly tscFrequencyHz: number;
  readonly counters: Counters;
  /** Every EOI, after the vector has left service. */
  onEoi(): void;
  /** EOI of a level-triggered vector: what the local APIC broadcasts to I/O APICs. */
  onEndOfInterrupt(vector: number): void;
}

const LVT_TIMER = 0;
const LVT_LINT0 = 3;
const LVT_ERROR = 5;
const LVT_COUNT = LVT_WRITABLE.length;

/** Vectors below are reserved for exceptions; the local APIC refuses them. */
const FIRST_VECTOR = 16;

/**
 * The local APIC of one VP, in xAPIC or x2APIC mode (Intel SDM 3A, chapter 10; TLFS, "Local APIC").
 *
 * The VP is told the level of "an interrupt can be delivered" whenever it changes. Acknowledging takes the vector
 * into service in the same step, so that the spurious vector never comes up.
 */
export class LocalApic {
  readonly id: number;
  readonly #options: LocalApicOptions;
  readonly #timer: ApicTimer;
  readonly #requested: Counter;
  readonly #delivered: Counter;
  #vp: VirtualProcessor | undefined;
  /** What the VP was last told. */
  #pending = false;

  #base: number;
  readonly #irr = new VectorSet();
  readonly #isr = new VectorSet();
  readonly #tmr = new VectorSet();
  /** Pending vectors whose acknowledgement does not take them into service. */
  readonly #autoEoi = new VectorSet();
  #taskPriority = 0;
  #processorPriority = 0;
  #logicalDestination = 0;
  #destinationFormat = 0xffffffff;
  #spurious = 0xff;
  #errorStatus = 0;
  /** Errors since the last write of the error status register. */
  #errors = 0;
  #icrLow = 0;
  #icrHigh = 0;
  readonly #lvt = new Uint32Array(LVT_COUNT);

  /** Level at LINT0: the 8259's INTR. */
  #lint0 = false;
  /** An ExtINT that arrived as a message and waits for its acknowledgement. */
  #extInt = false;
  #externalSource: () => number = () => -1;

  constructor(options: LocalApicOptions) {
    this.id = options.id;
    this.#options = options;
    this.#base = ApicBase.GLOBAL_ENABLE | (options.id === 0 ? ApicBase.BSP : 0);
    this.#timer = new ApicTimer(options.timers, options.tscFrequencyHz, () => this.#raise(LVT_TIMER));
    this.#requested = options.counters.counter('interrupt.requested');
    this.#delivered = options.counters.counter('interrupt.delivered');
    this.#reset();
  }

  attach(vp: VirtualProcessor): void {
    this.#vp = vp;
    vp.setInterruptPending(this.#pending);
  }

  dispose(): void {
    this.#timer.reset();
  }

  // What arrives.

  /**
   * Accepts a fixed interrupt. Lost where the APIC is disabled, an error where the vector is reserved.
   *
   * @param autoEoi - the vector does not stay in service once it is acknowledged (TLFS, SINTx AutoEOI)
   */
  request(vector: number, levelTriggered = false, autoEoi = false): void {
    this.#requested.value++;
    if (!this.softwareEnabled) return;
    if (vector < FIRST_VECTOR) {
      this.#error(ApicError.RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    this.#irr.add(vector);
    if (levelTriggered) this.#tmr.add(vector);
    else this.#tmr.delete(vector);
    if (autoEoi) this.#autoEoi.add(vector);
    else this.#autoEoi.delete(vector);
    this.#update();
  }

  /** Takes an interrupt message that is for this APIC. System management interrupts are not virtualized. */
  accept(deliveryMode: number, vector: number, levelTriggered: boolean): void {
    if (!this.enabled) return;
    switch (deliveryMode) {
      case DeliveryMode.FIXED:
      case DeliveryMode.LOWEST_PRIORITY:
        this.request(vector, levelTriggered);
        break;
      case DeliveryMode.NMI:
        this.#vp?.injectNmi();
        break;
      case DeliveryMode.INIT:
        this.#reset();
        this.#vp?.init();
        this.#vp?.setInterruptPending(this.#pending);
        break;
      case DeliveryMode.STARTUP:
        this.#vp?.startup(vector);
        break;
      case DeliveryMode.EXTINT:
        this.#extInt = true;
        this.#update();
        break;
    }
  }

  /** Whether a message to `destination` is for this APIC (Intel SDM 3A, 10.6.2 and 10.12.10). */
  matches(destination: number, logical: boolean): boolean {
    if (!logical) return destination === this.id;
    const ldr = this.#ldr();
    if (this.x2apic) {
      return destination >>> 16 === ldr >>> 16 && (destination & ldr & 0xffff) !== 0;
    }
    const own = ldr >>> 24;
    if (this.#destinationFormat >>> 28 === 0xf) return (destination & own) !== 0;
    const cluster = destination >> 4 === 0xf || destination >> 4 === own >> 4;
    return cluster && (destination & own & 0xf) !== 0;
  }

  setExternalInterruptSource(acknowledge: () => number): void {
    this.#externalSource = acknowledge;
  }

  /** The level at LINT0. */
  setExternalInterrupt(level: boolean): void {
    const rises = level && !this.#lint0;
    this.#lint0 = level;
    if (rises && this.enabled) {
      const mode = (this.#lvt[LVT_LINT0] >> 8) & 7;
      if (mode === DeliveryMode.FIXED) this.#raise(LVT_LINT0);
      if (mode === DeliveryMode.NMI && (this.#lvt[LVT_LINT0] & LVT_MASKED) === 0) this.#vp?.injectNmi();
    }
    this.#update();
  }

  // What the VP asks.

  /** The vector to deliver now, taken into service, or -1. */
  acknowledge(): number {
    if (this.#externalReady()) {
      this.#extInt = false;
      const vector = this.#externalSource();
      this.#update();
      if (vector >= 0) {
        this.#delivered.value++;
        return vector;
      }
    }
    if (!this.#fixedReady()) return -1;
    const vector = this.#irr.highest;
    this.#irr.delete(vector);
    if (this.#autoEoi.has(vector)) {
      this.#autoEoi.delete(vector);
    } else {
      this.#isr.add(vector);
      this.#updatePriority();
    }
    this.#update();
    this.#delivered.value++;
    return vector;
  }

  endOfInterrupt(): void {
    const vector = this.#isr.highest;
    if (vector >= 0) {
      this.#isr.delete(vector);
      this.#updatePriority();
      this.#update();
      if (this.#tmr.has(vector)) this.#options.onEndOfInterrupt(vector);
    }
    this.#options.onEoi();
  }

  get taskPriority(): number {
    return this.#taskPriority;
  }

  set taskPriority(value: number) {
    this.#taskPriority = value & 0xff;
    this.#updatePriority();
    this.#update();
  }

  /** The priority that decides who takes a lowest-priority interrupt. */
  get processorPriority(): number {
    return this.#processorPriority;
  }

  get timer(): ApicTimer {
    return this.#timer;
  }

  get enabled(): boolean {
    return (this.#base & ApicBase.GLOBAL_ENABLE) !== 0;
  }

  get x2apic(): boolean {
    return (this.#base & ApicBase.X2APIC_ENABLE) !== 0;
  }

  /** Whether it takes fixed interrupts. */
  get softwareEnabled(): boolean {
    return this.enabled && (this.#spurious & SVR_SOFTWARE_ENABLE) !== 0;
  }

  /** IA32_APIC_BASE, low half; the high half is zero. */
  get base(): number {
    return (APIC_PAGE_GPA | this.#base) >>> 0;
  }

  /**
   * Writes IA32_APIC_BASE. False (#GP) for a reserved bit, a move of the page (which the hypervisor does not offer)
   * and a transition that does not exist (Intel SDM 3A, 10.12.5). Which VP is the boot processor cannot be changed.
   */
  writeBase(lo: number, hi: number): boolean {
    const modeBits = ApicBase.GLOBAL_ENABLE | ApicBase.X2APIC_ENABLE;
    if (hi !== 0 || (lo & ~(modeBits | ApicBase.BSP)) >>> 0 !== APIC_PAGE_GPA) return false;
    const enabled = (lo & ApicBase.GLOBAL_ENABLE) !== 0;
    const x2apic = (lo & ApicBase.X2APIC_ENABLE) !== 0;
    if (x2apic && (!enabled || !this.enabled)) return false;
    if (!x2apic && enabled && this.x2apic) return false;
    this.#base = (this.#base & ApicBase.BSP) | (lo & modeBits);
    if (!enabled) this.#reset();
    this.#update();
    return true;
  }

  /** Amends the leaves that describe the local APIC. */
  cpuid(leaf: number, result: CpuidResult): void {
    if (leaf === 1) {
      result.ebx = ((result.ebx & 0x00ffffff) | (this.id << 24)) >>> 0;
      result.ecx = (result.ecx | CPUID_X2APIC | CPUID_TSC_DEADLINE) >>> 0;
      result.edx = (this.enabled ? result.edx | CPUID_APIC : result.edx & ~CPUID_APIC) >>> 0;
    } else if (leaf === 6) {
      result.eax = (result.eax | CPUID_ARAT) >>> 0;
    } else if (leaf === 0xb) {
      result.edx = this.id;
    }
  }

  // Registers, by their offset in the xAPIC page; the x2APIC's are the same where they exist in both.

  /** The register, unsigned, or -1 where there is none that can be read. */
  readRegister(offset: number): number {
    switch (offset) {
      case ApicRegister.ID:
        return this.x2apic ? this.id : (this.id << 24) >>> 0;
      case ApicRegister.VERSION:
        return APIC_VERSION;
      case ApicRegister.TPR:
        return this.#taskPriority;
      case ApicRegister.APR:
      case ApicRegister.PPR:
        return this.#processorPriority;
      case ApicRegister.LDR:
        return this.#ldr();
      case ApicRegister.DFR:
        return this.#destinationFormat;
      case ApicRegister.SVR:
        return this.#spurious;
      case ApicRegister.ESR:
        return this.#errorStatus;
      case ApicRegister.ICR_LOW:
        return this.#icrLow;
      case ApicRegister.ICR_HIGH:
        return this.#icrHigh;
      case ApicRegister.INITIAL_COUNT:
        return this.#timer.initialCount;
      case ApicRegister.CURRENT_COUNT:
        return this.#timer.currentCount;
      case ApicRegister.DIVIDE_CONFIGURATION:
        return this.#timer.divideConfiguration;
    }
    const word = (offset >> 4) & 7;
    switch (offset & ~0x7f) {
      case ApicRegister.ISR:
        return this.#isr.word(word);
      case ApicRegister.TMR:
        return this.#tmr.word(word);
      case ApicRegister.IRR:
        return this.#irr.word(word);
    }
    const lvt = lvtIndex(offset);
    return lvt >= 0 ? this.#lvt[lvt] : -1;
  }

  /** Writes a register, reserved bits ignored; false where there is none that can be written. */
  writeRegister(offset: number, value: number): boolean {
    switch (offset) {
      case ApicRegister.TPR:
        this.taskPriority = value;
        return true;
      case ApicRegister.EOI:
        this.endOfInterrupt();
        return true;
      case ApicRegister.LDR:
        this.#logicalDestination = (value & 0xff000000) >>> 0;
        return true;
      case ApicRegister.DFR:
        this.#destinationFormat = (value | 0x0fffffff) >>> 0;
        return true;
      case ApicRegister.SVR:
        this.#writeSpurious(value);
        return true;
      case ApicRegister.ESR:
        this.#errorStatus = this.#errors;
        this.#errors = 0;
        return true;
      case ApicRegister.ICR_HIGH:
        this.#icrHigh = (value & 0xff000000) >>> 0;
        return true;
      case ApicRegister.ICR_LOW:
        this.#icrLow = value & Icr.WRITABLE;
        this.#send();
        return true;
      case ApicRegister.INITIAL_COUNT:
        this.#timer.initialCount = value;
        return true;
      case ApicRegister.DIVIDE_CONFIGURATION:
        this.#timer.divideConfiguration = value & 0xb;
        return true;
    }
    const lvt = lvtIndex(offset);
    if (lvt < 0) return false;
    const forced = (this.#spurious & SVR_SOFTWARE_ENABLE) === 0 ? LVT_MASKED : 0;
    this.#writeLvt(lvt, (value & LVT_WRITABLE[lvt]) | forced);
    this.#update();
    return true;
  }

  /** The interrupt command register as one: `high` is the destination in the form of the current mode. */
  writeIcr(low: number, high: number): void {
    this.#icrHigh = this.x2apic ? high : (high & 0xff000000) >>> 0;
    this.#icrLow = low & Icr.WRITABLE;
    this.#send();
  }

  /** Notes that a register was accessed that does not exist. */
  illegalRegister(): void {
    this.#error(ApicError.ILLEGAL_REGISTER);
  }

  /** The state after power-up or INIT: everything but the id and IA32_APIC_BASE. */
  #reset(): void {
    this.#timer.reset();
    this.#irr.clear();
    this.#isr.clear();
    this.#tmr.clear();
    this.#autoEoi.clear();
    this.#extInt = false;
    this.#taskPriority = 0;
    this.#processorPriority = 0;
    this.#logicalDestination = 0;
    this.#destinationFormat = 0xffffffff;
    this.#spurious = 0xff;
    this.#errorStatus = 0;
    this.#errors = 0;
    this.#icrLow = 0;
    this.#icrHigh = 0;
    this.#lvt.fill(LVT_MASKED);
    // Virtual wire mode, which a PC's firmware sets up before it hands over (MultiProcessor Specification 3.6.2.2).
    if (this.id === 0) this.#lvt[LVT_LINT0] = DeliveryMode.EXTINT << 8;
    this.#update();
  }

  #writeSpurious(value: number): void {
    this.#spurious = value & 0x3ff;
    if ((value & SVR_SOFTWARE_ENABLE) !== 0) return;
    for (let i = 0; i < LVT_COUNT; i++) this.#writeLvt(i, this.#lvt[i] | LVT_MASKED);
    this.#update();
  }

  #writeLvt(index: number, value: number): void {
    this.#lvt[index] = value;
    if (index === LVT_TIMER) this.#timer.configure((value >> 17) & 3, (value & LVT_MASKED) !== 0);
  }

  /** Requests the fixed interrupt of an LVT entry. */
  #raise(index: number): void {
    const entry = this.#lvt[index];
    if ((entry & LVT_MASKED) === 0) this.request(entry & 0xff);
  }

  #error(bit: number): void {
    const known = (this.#errors & bit) !== 0;
    this.#errors |= bit;
    if (!known) this.#raise(LVT_ERROR);
  }

  #send(): void {
    const deliveryMode = (this.#icrLow >> 8) & 7;
    const vector = this.#icrLow & 0xff;
    const shorthand = this.#icrLow >> Icr.SHORTHAND_SHIFT;
    const fixed = deliveryMode === DeliveryMode.FIXED || deliveryMode === DeliveryMode.LOWEST_PRIORITY;
    if (fixed && vector < FIRST_VECTOR) {
      this.#error(ApicError.SEND_ILLEGAL_VECTOR);
      return;
    }
    // The de-assertion of an INIT only ever synchronized arbitration ids.
    if (
      deliveryMode === DeliveryMode.INIT &&
      (this.#icrLow & Icr.LEVEL) !== 0 &&
      (this.#icrLow & Icr.ASSERT) === 0
    ) {
      return;
    }
    if (shorthand === Shorthand.SELF || shorthand === Shorthand.ALL) {
      // Table 10-3: only a fixed interrupt can be sent to oneself by shorthand.
      if (deliveryMode !== DeliveryMode.FIXED) return;
      this.accept(deliveryMode, vector, false);
    }
    if (shorthand === Shorthand.ALL || shorthand === Shorthand.OTHERS) {
      this.#options.bus.sendToOthers(this, deliveryMode, vector);
    } else if (shorthand === Shorthand.NONE) {
      const destination = this.x2apic ? this.#icrHigh : this.#icrHigh >>> 24;
      const broadcast = this.x2apic ? 0xffffffff : 0xff;
      const logical = (this.#icrLow & Icr.LOGICAL) !== 0;
      this.#options.bus.send(deliveryMode, vector, false, destination, logical, broadcast);
    }
  }

  #ldr(): number {
    return this.x2apic ? ((this.id >> 4) << 16) | (1 << (this.id & 15)) : this.#logicalDestination;
  }

  #updatePriority(): void {
    const inService = Math.max(this.#isr.highest, 0) & 0xf0;
    this.#processorPriority = (this.#taskPriority & 0xf0) >= inService ? this.#taskPriority : inService;
  }

  #externalReady(): boolean {
    if (this.#extInt) return true;
    if (!this.#lint0) return false;
    // A disabled local APIC leaves LINT0 to be the processor's INTR pin.
    const entry = this.#lvt[LVT_LINT0];
    return !this.enabled || ((entry & LVT_MASKED) === 0 && ((entry >> 8) & 7) === DeliveryMode.EXTINT);
  }

  #fixedReady(): boolean {
    return this.enabled && this.#irr.highest >> 4 > this.#processorPriority >> 4;
  }

  #update(): void {
    const pending = this.#fixedReady() || this.#externalReady();
    if (pending === this.#pending) return;
    this.#pending = pending;
    this.#vp?.setInterruptPending(pending);
  }
}

// CPUID leaf 1 ECX and EDX, leaf 6 EAX.
const CPUID_X2APIC = 1 << 21;
const CPUID_TSC_DEADLINE = 1 << 24;
const CPUID_APIC = 1 << 9;
const CPUID_ARAT = 1 << 2;

function lvtIndex(offset: number): number {
  const index = (offset - ApicRegister.LVT_TIMER) >> 4;
  return index < LVT_COUNT ? index : -1;
}
