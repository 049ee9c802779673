import type { HvStatus } from '../hv-status.ts';

/** The root's end of a connection on which the guest posts messages (HvCallPostMessage). */
export interface MessageTarget {
  /**
   * @param messageType - as the guest gave it
   * @param payload - 0 to 240 bytes, already copied out of guest memory; the receiver may keep it
   * @returns what the guest gets as the hypercall's status
   */
  receive(messageType: number, payload: Uint8Array): HvStatus;
}

/** The root's end of a connection on which the guest signals events (HvCallSignalEvent). */
export interface EventTarget {
  /** Called inline; must be brief and never throw: note the signal, do the work from the run loop. */
  signal(flagNumber: number): void;
}

/** A message port of the guest, as the root sees it through its connection. */
export interface GuestMessagePort {
  /** Queues a message of at most 240 bytes for the port's SINT. INSUFFICIENT_BUFFERS: try later, see `onSpace`. */
  post(messageType: number, payload: Uint8Array): HvStatus;
  /** Called once a queue that was full has room again. */
  onSpace(listener: () => void): void;
  close(): void;
}

/** An event port of the guest, as the root sees it through its connection. */
export interface GuestEventPort {
  /** Sets the event flag and, where it was clear, requests the SINT's interrupt. False where the SynIC is off. */
  signal(): boolean;
  /** Redirects later signals to another VP; false where there is no such VP. */
  setTargetVp(vpIndex: number): boolean;
  close(): void;
}

/** Something open that is closed once. */
export interface Connection {
  close(): void;
}

/**
 * Ports and connections between the root and one child, as the virtualization stack uses them: made of
 * HvCallCreatePort, HvCallConnectPort, HvCallPostMessage and HvCallSignalEvent (TLFS 10 and 11).
 */
export interface PartitionPorts {
  /** Lets the child post messages to `connectionId`. Throws HvError OBJECT_IN_USE where it is taken. */
  openMessageConnection(connectionId: number, target: MessageTarget): Connection;
  /** Lets the child signal `connectionId`. Throws HvError OBJECT_IN_USE where it is taken. */
  openEventConnection(connectionId: number, target: EventTarget): Connection;
  /** Throws HvError INVALID_VP_INDEX. */
  createGuestMessagePort(options: { vpIndex: number; sint: number }): GuestMessagePort;
  /** @param options.flagNumber - 0 to 2047. Throws HvError INVALID_VP_INDEX or INVALID_PARAMETER. */
  createGuestEventPort(options: { vpIndex: number; sint: number; flagNumber: number }): GuestEventPort;
}
