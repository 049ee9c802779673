import type { Counter, DmaDomain, LogFields, TimerQueue, WorkQueue } from '@kensho/core';
import type { NetworkPort } from '../backend/port.ts';
import type { AddressFilter } from './address-filter.ts';
import type { Interrupts } from './interrupts.ts';

/**
 * How a guest misused the adapter: a register access that is none, a list of descriptors that makes no sense, a frame
 * that the medium cannot carry.
 */
export type TulipFault = 'access' | 'descriptor' | 'frame';

/** The running totals of one adapter; "in" is towards the guest. */
export interface TulipCounters {
  readonly framesIn: Counter;
  readonly framesOut: Counter;
  readonly bytesIn: Counter;
  readonly bytesOut: Counter;
  /** The partition's, of bytes copied between guest memory and the host's: of frames, as they lie in the guest's. */
  readonly copied: Counter;
  /** Frames that were put together from large segments of the network, and cut. */
  readonly largeIn: Counter;
  /** Frames for the guest that its filter kept out. */
  readonly filtered: Counter;
  /** Frames for a guest that does not receive. */
  readonly dropped: Counter;
  /** Frames that found no descriptor for too long (CSR8). */
  readonly missed: Counter;
  /** Frames from the guest that were refused. */
  readonly refused: Counter;
  /** Times that the network had to wait for a descriptor. */
  readonly waits: Counter;
  /** Rises of the interrupt line. */
  readonly interrupts: Counter;
}

/** What the parts of an adapter share. */
export interface TulipHost {
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly dma: DmaDomain;
  readonly counters: TulipCounters;
  readonly interrupts: Interrupts;
  readonly filter: AddressFilter;
  /** The network's end of the cable. */
  readonly port: NetworkPort;
  /** CSR0. */
  readonly busMode: number;
  /** CSR6. */
  readonly mode: number;
  /** Whether PCI's command register and the power state let the adapter reach memory. */
  readonly mayMaster: boolean;
  fault(kind: TulipFault, fields: LogFields): void;
  /** Memory did not answer: both processes stop. */
  busError(): void;
  /** In a loopback mode, a frame that comes back instead of going out. */
  loopBack(frame: Uint8Array): void;
}
