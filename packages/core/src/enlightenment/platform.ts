import { isApicMsr, readApicMsr, readApicPage, writeApicMsr, writeApicPage } from '../apic/access.ts';
import { InterruptRouter } from '../apic/interrupt-router.ts';
import { LocalApic } from '../apic/local-apic.ts';
import type { TimerQueue } from '../clock.ts';
import type { Counters } from '../counters.ts';
import type { HvStatus } from '../hv-status.ts';
import type { VirtualInterrupt } from '../hypervisor/services.ts';
import type { GuestFaults } from '../logger.ts';
import { GpaAccess, type GpaSpace } from '../memory/gpa-space.ts';
import type { CpuidResult, Qword, VirtualProcessor } from '../processor/contract.ts';
import { hypervisorCpuid } from './cpuid.ts';
import { CrashRegisters } from './crash.ts';
import { defaultFeatures, HvFeature, type HvFeatures } from './features.ts';
import { HV_MSR_FIRST, HV_MSR_LAST } from './hv-msr.ts';
import { HypercallPage } from './hypercall-page.ts';
import { SyntheticMsrs } from './msrs.ts';
import { OverlayRegister } from './overlay-register.ts';
import { ReferenceTime } from './reference-time.ts';
import { Synic } from './synic.ts';
import { SyntheticTimers } from './synthetic-timers.ts';

/** What the platform of a partition is made of, and whom it tells. */
export interface PlatformOptions {
  readonly gpa: GpaSpace;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  /** At most HV_MAX_VPS. */
  readonly vpCount: number;
  /** Rate of the guest's TSC, which counts from the clock's zero. */
  readonly tscFrequencyHz: number;
  /** Whether the hypervisor shows itself to the guest. */
  readonly enlightened: boolean;
  /** What an enlightened guest is offered. @default everything that is implemented */
  readonly features?: HvFeatures;
  /** Upper half of the privilege mask, as CPUID shows it. */
  hypercallPrivileges(): number;
  /** The GPA space ends at this page: overlays beyond are not placed. */
  readonly gpaPageLimit: number;
  /** The guest wrote the crash control MSR: P0 to P4, and its message where it gave one. */
  onCrash(parameters: readonly bigint[], message: string | undefined): void;
  /** The guest asked for a reset through the RESET MSR. */
  onReset(): void;
  /** EOI of a level-triggered vector, for the I/O APIC. */
  onEndOfInterrupt(vector: number): void;
}

/** Local APICs, SynIC, timers, synthetic MSRs and CPUID leaves of one partition. */
export class PartitionPlatform {
  readonly vps: readonly VpPlatform[];
  readonly #router = new InterruptRouter();
  readonly #hypercall: HypercallPage;

  constructor(options: PlatformOptions) {
    const { vpCount, gpa, gpaPageLimit } = options;
    this.#hypercall = new HypercallPage(gpa, gpaPageLimit);
    const partition: PartitionState = {
      options,
      features: options.features ?? defaultFeatures(vpCount),
      gpaPageLimit,
      router: this.#router,
      hypercall: this.#hypercall,
      time: new ReferenceTime(options.timers.clock, options.tscFrequencyHz, gpa, gpaPageLimit),
      crash: new CrashRegisters(gpa, (parameters, message) => options.onCrash(parameters, message)),
    };
    this.vps = Array.from({ length: vpCount }, (_, index) => new VpPlatform(index, partition));
    for (const vp of this.vps) this.#router.add(vp.apic);
  }

  /** Connects a VP to its local APIC. */
  attach(vpIndex: number, vp: VirtualProcessor): void {
    this.vps[vpIndex].apic.attach(vp);
  }

  /** Whether the guest gave its OS id and enabled the hypercall page. */
  get hypercallsEnabled(): boolean {
    return this.#hypercall.enabled;
  }

  /** Routes an interrupt to the local APICs. */
  deliver(interrupt: VirtualInterrupt): void {
    this.#router.deliver(interrupt);
  }

  /** The board's 8259 pair, asked when a local APIC takes an ExtINT; -1 means spurious. */
  setExternalInterruptSource(acknowledge: () => number): void {
    for (const vp of this.vps) vp.apic.setExternalInterruptSource(acknowledge);
  }

  /** Raises or lowers the 8259's INTR line, which is at LINT0 of VP 0. */
  setExternalInterrupt(level: boolean): void {
    this.vps[0].apic.setExternalInterrupt(level);
  }

  /** Cancels all timers. */
  dispose(): void {
    for (const vp of this.vps) vp.dispose();
  }
}

/** What the VPs of a partition have in common. */
interface PartitionState {
  readonly options: PlatformOptions;
  readonly features: HvFeatures;
  readonly gpaPageLimit: number;
  readonly router: InterruptRouter;
  readonly hypercall: HypercallPage;
  readonly time: ReferenceTime;
  readonly crash: CrashRegisters;
}

/** What the platform answers for one VP. */
export class VpPlatform {
  readonly index: number;
  readonly apic: LocalApic;
  readonly #partition: PartitionState;
  readonly #synic: Synic;
  readonly #timers: SyntheticTimers;
  readonly #msrs: SyntheticMsrs;
  #runTimeNs = 0;

  constructor(index: number, partition: PartitionState) {
    const { options, features, time, gpaPageLimit } = partition;
    const { gpa, timers, counters } = options;
    this.index = index;
    this.#partition = partition;
    this.apic = new LocalApic({
      id: index,
      bus: partition.router,
      timers,
      tscFrequencyHz: options.tscFrequencyHz,
      counters,
      onEoi: () => this.#synic.deliverWaiting(),
      onEndOfInterrupt: (vector) => options.onEndOfInterrupt(vector),
    });
    this.#synic = new Synic(gpa, gpaPageLimit, this.apic, counters);
    const direct = (features.features & HvFeature.DIRECT_SYNTHETIC_TIMERS) !== 0;
    this.#timers = new SyntheticTimers(timers, time, this.#synic, this.apic, counters, direct);
    this.#msrs = new SyntheticMsrs({
      features,
      hypercall: partition.hypercall,
      time,
      crash: partition.crash,
      faults: options.faults,
      onReset: () => options.onReset(),
      vpIndex: index,
      apic: this.apic,
      synic: this.#synic,
      timers: this.#timers,
      assistPage: new OverlayRegister(gpa, GpaAccess.READ_WRITE, gpaPageLimit),
      runTimeNs: () => this.#runTimeNs,
    });
  }

  /** RDMSR of a register of the local APIC or of a synthetic one; false: #GP(0). */
  msrRead(msr: number, value: Qword): boolean {
    if (isApicMsr(msr)) return readApicMsr(this.apic, msr, value);
    return this.#synthetic(msr) && this.#msrs.read(msr, value);
  }

  /** WRMSR; false: #GP(0). */
  msrWrite(msr: number, value: Qword): boolean {
    if (isApicMsr(msr)) return writeApicMsr(this.apic, msr, value);
    return this.#synthetic(msr) && this.#msrs.write(msr, value);
  }

  /** Amends the processor's answer: what concerns the local APIC, and the hypervisor's leaves for an enlightened guest. */
  cpuid(leaf: number, _subleaf: number, result: CpuidResult): void {
    this.apic.cpuid(leaf, result);
    const { options, features } = this.#partition;
    if (!options.enlightened) return;
    hypervisorCpuid(leaf, features, options.hypercallPrivileges(), result);
  }

  /** The vector to deliver now, taken into service, or -1. */
  acknowledgeInterrupt(): number {
    return this.apic.acknowledge();
  }

  /** CR8: bits 7:4 of the task priority. */
  readTaskPriority(): number {
    return this.apic.taskPriority >> 4;
  }

  writeTaskPriority(priority: number): void {
    this.apic.taskPriority = priority << 4;
  }

  /** The xAPIC page at 0xFEE00000 as this VP sees it. */
  apicRead(offset: number, sizeBytes: number): number {
    return readApicPage(this.apic, offset, sizeBytes);
  }

  apicWrite(offset: number, sizeBytes: number, value: number): void {
    writeApicPage(this.apic, offset, sizeBytes, value);
  }

  /**
   * Queues a message of at most 240 bytes (copied). INSUFFICIENT_BUFFERS where the SINT's queue is full,
   * INVALID_SYNIC_STATE where SynIC or SIMP is off.
   */
  postMessage(sint: number, messageType: number, payload: Uint8Array, sender: number): HvStatus {
    return this.#synic.post(sint, messageType, payload, sender);
  }

  /** `listener` is called whenever a queue that had refused a message has room again; the result takes it away. */
  onMessageSpace(sint: number, listener: () => void): () => void {
    return this.#synic.onSpace(sint, listener);
  }

  /** Sets an event flag (0 to 2047); false where SynIC or SIEFP is off or the SINT is masked. */
  signalEvent(sint: number, flag: number): boolean {
    return this.#synic.signal(sint, flag);
  }

  /** Requests a fixed, edge-triggered interrupt. */
  requestInterrupt(vector: number): void {
    this.apic.request(vector);
  }

  /** Adds to what the VP_RUNTIME MSR shows; for the run loop, after each slice. */
  addRunTime(ns: number): void {
    this.#runTimeNs += ns;
  }

  dispose(): void {
    this.#timers.dispose();
    this.apic.dispose();
  }

  #synthetic(msr: number): boolean {
    return this.#partition.options.enlightened && msr >= HV_MSR_FIRST && msr <= HV_MSR_LAST;
  }
}
