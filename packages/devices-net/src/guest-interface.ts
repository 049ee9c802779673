import { type GuestDeviceClass, type GuestEvent, type GuestTask, guestDeviceClass } from '@kensho/core';
import type { Frame } from './backend/port.ts';

/** A frame as a guest's program gets it. */
export interface ReceivedFrame extends Frame {
  /** The host vouches for the transport's checksum; the field may not hold it where segments were coalesced. */
  readonly checksumGood?: boolean;
  /** Receive hash of the frame's flow. */
  readonly hash?: number;
}

/** A network adapter as guest programs use it, whichever driver serves it. Many tasks may use it at once. */
export interface GuestNetworkInterface {
  readonly name: string;
  readonly path: 'enlightened' | 'emulated';
  /** 6 bytes. */
  readonly mac: Uint8Array;
  readonly mtu: number;
  readonly linkUp: boolean;
  /** Set when {@link linkUp} changed. */
  readonly linkChanged: GuestEvent;
  /** Whether {@link send} takes frames with offload. */
  readonly offloads: boolean;
  /**
   * Sends a frame, of which a copy is made; waits while too many are on their way. Throws GuestIoError where the
   * adapter is gone, or does not take such a frame.
   */
  send(frame: Frame): GuestTask;
  /** Waits for the next frame. Throws GuestIoError where the adapter is gone. */
  receive(): GuestTask<ReceivedFrame>;
  /** The next frame, if there is one. */
  tryReceive(): ReceivedFrame | undefined;
}

export const GUEST_NETWORK_INTERFACES: GuestDeviceClass<GuestNetworkInterface> =
  guestDeviceClass<GuestNetworkInterface>('network');
