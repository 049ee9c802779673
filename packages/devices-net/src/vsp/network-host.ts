import type { Counter, DmaDomain, LogFields, TimerQueue, WorkQueue } from '@kensho/core';
import type { NetworkPort } from '../backend/port.ts';

/**
 * How a guest broke the protocol: a message that makes no sense, memory that is not there, a message at the wrong
 * time, a section or a transaction that does not exist, a frame that the medium cannot carry.
 */
export type NetworkFault = 'malformed' | 'dma' | 'out-of-order' | 'section' | 'completion' | 'frame';

/** The running totals of one adapter; "in" is towards the guest. */
export interface NetworkCounters {
  readonly framesIn: Counter;
  readonly framesOut: Counter;
  readonly bytesIn: Counter;
  readonly bytesOut: Counter;
  /** The partition's, of bytes copied between guest memory and the host's: of frames, without what goes before them. */
  readonly copied: Counter;
  /** Transfer-page packets, each with up to a batch of frames. */
  readonly batchesIn: Counter;
  /** NVSP messages with frames. */
  readonly batchesOut: Counter;
  /** Frames that went on as large segments, to the network and to the guest. */
  readonly largeOut: Counter;
  readonly largeIn: Counter;
  /** Frames for the guest that its filter kept out. */
  readonly filtered: Counter;
  /** Frames for a guest that was not ready, or that it cannot take. */
  readonly dropped: Counter;
  /** Frames from the guest that were refused. */
  readonly refused: Counter;
  /** Times that the network had to wait for a receive section. */
  readonly waits: Counter;
}

/** What the parts of a network VSP share. */
export interface NetworkHost {
  readonly id: string;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly dma: DmaDomain;
  readonly counters: NetworkCounters;
  /** The network's end of the cable. */
  readonly port: NetworkPort;
  readonly permanentMac: Uint8Array;
  /** The address in use. */
  readonly mac: Uint8Array;
  /** Largest MTU that the guest may have. */
  readonly mtu: number;
  readonly linkSpeedBitsPerSecond: number;
  /** The guest wants another address; false where it may not. */
  changeMac(mac: Uint8Array): boolean;
  fault(kind: NetworkFault, fields: LogFields): void;
}
