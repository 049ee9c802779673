import type { TimerQueue } from '../clock.ts';
import type { Counters } from '../counters.ts';
import type { HvStatus } from '../hv-status.ts';
import type { VirtualInterrupt } from '../hypervisor/services.ts';
import type { GuestFaults } from '../logger.ts';
import type { GpaSpace } from '../memory/gpa-space.ts';
import type { CpuidResult, Qword, VirtualProcessor } from '../processor/contract.ts';

/** What the platform of a partition is made of, and whom it tells. */
export interface PlatformOptions {
  readonly gpa: GpaSpace;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  readonly vpCount: number;
  /** Rate of the guest's TSC, which counts from the clock's zero. */
  readonly tscFrequencyHz: number;
  /** Whether the hypervisor shows itself to the guest. */
  readonly enlightened: boolean;
  /** The guest wrote the crash control MSR: P0 to P4, and its message where it gave one. */
  onCrash(parameters: readonly bigint[], message: string | undefined): void;
  /** The guest asked for a reset through the RESET MSR. */
  onReset(): void;
  /** EOI of a level-triggered vector, for the I/O APIC. */
  onEndOfInterrupt(vector: number): void;
}

/** Local APICs, SynIC, timers, synthetic MSRs and CPUID leaves of one partition. */
export declare class PartitionPlatform {
  constructor(options: PlatformOptions);
  readonly vps: readonly VpPlatform[];
  /** Connects a VP to its local APIC. */
  attach(vpIndex: number, vp: VirtualProcessor): void;
  /** Whether the guest gave its OS id and enabled the hypercall page. */
  get hypercallsEnabled(): boolean;
  /** Routes an interrupt to the local APICs. */
  deliver(interrupt: VirtualInterrupt): void;
  /** The board's 8259 pair, asked when VP 0 takes an ExtINT; -1 means spurious. */
  setExternalInterruptSource(acknowledge: () => number): void;
  /** Raises or lowers the 8259's INTR line (LINT0 of VP 0). */
  setExternalInterrupt(level: boolean): void;
  /** Cancels all timers. */
  dispose(): void;
}

/** What the platform answers for one VP. */
export declare class VpPlatform {
  readonly index: number;
  /** False: #GP(0). */
  msrRead(msr: number, value: Qword): boolean;
  msrWrite(msr: number, value: Qword): boolean;
  cpuid(leaf: number, subleaf: number, result: CpuidResult): void;
  acknowledgeInterrupt(): number;
  readTaskPriority(): number;
  writeTaskPriority(priority: number): void;
  /** The xAPIC page at 0xFEE00000 as this VP sees it. */
  apicRead(offset: number, sizeBytes: number): number;
  apicWrite(offset: number, sizeBytes: number, value: number): void;
  /**
   * Queues a message of at most 240 bytes (copied). INSUFFICIENT_BUFFERS where the SINT's queue is full,
   * INVALID_SYNIC_STATE where SynIC or SIMP is off.
   */
  postMessage(sint: number, messageType: number, payload: Uint8Array, sender: number): HvStatus;
  /** `listener` is called whenever a queue that had refused a message has room again; the result takes it away. */
  onMessageSpace(sint: number, listener: () => void): () => void;
  /** Sets an event flag (0 to 2047); false where SynIC or SIEFP is off or the SINT is masked. */
  signalEvent(sint: number, flag: number): boolean;
  /** Requests a fixed, edge-triggered interrupt. */
  requestInterrupt(vector: number): void;
  /** Adds to what the VP_RUNTIME MSR shows; for the run loop, after each slice. */
  addRunTime(ns: number): void;
}
