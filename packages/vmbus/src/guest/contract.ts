import type { GuestEvent, GuestKernel, GuestPages, GuestTask, Guid, HvStatus } from '@kensho/core';
import type { IncomingPacket } from '../channel.ts';

/** The enlightened services of the guest's kernel that the bus driver stands on. */
export interface GuestHypercalls {
  /** HvCallPostMessage. */
  postMessage(connectionId: number, messageType: number, payload: Uint8Array): HvStatus;
  /** HvCallSignalEvent. */
  signalEvent(connectionId: number, flagNumber: number): HvStatus;
  /** Called for each message in the SynIC's slot of the bus's SINT, from the interrupt handler, after its copy. */
  onMessage(listener: (messageType: number, payload: Uint8Array) => void): void;
  /** Called for each event flag that was set, which is cleared first, from the interrupt handler. */
  onEvent(listener: (flagNumber: number) => void): void;
  readonly vpCount: number;
}

/** Guest memory as page numbers, an offset into the first page, and a size. */
export interface GuestBuffer {
  readonly pages: readonly number[];
  readonly offset: number;
  readonly sizeBytes: number;
}

/** An open channel as a VSC uses it. */
export interface GuestChannel {
  readonly relid: number;
  readonly subChannelIndex: number;
  /** Set when packets may be waiting. */
  readonly readable: GuestEvent;
  /** Set when a send that found no room may find some. */
  readonly writable: GuestEvent;
  /** The next packet, or undefined; the object is reused. Interrupts stay masked until it gives undefined. */
  read(): IncomingPacket | undefined;
  /** Puts an in-band packet into the ring; false where it has no room. */
  trySend(payload: Uint8Array, transactionId: number, completionRequested: boolean): boolean;
  /** Puts a GPA-direct packet into the ring, for which the host owes a completion; false where it has no room. */
  trySendBuffers(payload: Uint8Array, buffers: readonly GuestBuffer[], transactionId: number): boolean;
  /** Answers a packet of the host. */
  tryComplete(transactionIdLo: number, transactionIdHi: number, payload: Uint8Array): boolean;
  /** Makes what was put into the ring visible, and signals the host where the ring's rules ask for it. */
  flush(): void;
  /** Registers memory with the host; its handle. */
  createGpadl(memory: GuestPages): GuestTask<number>;
  tearDownGpadl(handle: number): GuestTask;
  /** Closes the channel and frees its ring. */
  close(): GuestTask;
}

/** A device on the bus, from its offer to its rescind. */
export interface GuestVmbusDevice {
  readonly interfaceId: Guid;
  readonly instanceId: Guid;
  readonly userData: Uint8Array;
  /** Set when the host took the device away: close the channels, then {@link release}. */
  readonly rescinded: GuestEvent;
  readonly isRescinded: boolean;
  /** Opens the primary channel. Throws GuestFault where the host refuses. */
  open(options: GuestOpenOptions): GuestTask<GuestChannel>;
  /** Waits until the host has offered at least `count` sub-channels, and opens them. */
  openSubChannels(count: number, options: GuestOpenOptions): GuestTask<GuestChannel[]>;
  /** Tells the host that a rescinded device is let go of; its number may then be used again. */
  release(): void;
}

export interface GuestOpenOptions {
  /** Size of each ring's data area and control page together, a multiple of 4096. */
  readonly ringSizeBytes: number;
  /** @default 120 zeroes */
  readonly openData?: Uint8Array;
  /** VP that takes the interrupts. @default 0 */
  readonly targetVp?: number;
}

/** A VSC: the guest's driver of one class of devices. */
export interface VscDriver {
  readonly id: string;
  readonly interfaceIds: readonly Guid[];
  /** Drives one device, from its offer until it is rescinded; runs as a task of its own. */
  attach(device: GuestVmbusDevice, kernel: GuestKernel): GuestTask;
}
