import type { Counters, Logger, TimerQueue, WorkQueue } from '@kensho/core';
import type { Frame } from '../port.ts';
import type { Ipv4 } from './ipv4-address.ts';
import type { PacketEnds } from './packets.ts';
import type { Subnet } from './subnet.ts';

/** What the protocols of a NAT share: the way to its guests, and the partition's services. */
export interface NatLink {
  readonly subnet: Subnet;
  readonly timers: TimerQueue;
  readonly work: WorkQueue;
  readonly counters: Counters;
  readonly log: Logger;
  readonly mtu: number;
  /** Whether checksums and the cutting of large segments are left to the adapter. */
  readonly offload: boolean;
  /** Whether the adapter's queue takes another frame. */
  readonly hasRoom: boolean;
  /** 32 random bits, unsigned. */
  random(): number;
  /** Asks for one call of the protocol's `onRoom`. */
  awaitRoom(): void;
  /** Headers' addresses for what goes to a guest. The hardware address is zero as long as it is not known. */
  endsTo(guest: Ipv4, source: Ipv4): PacketEnds;
  nextPacketId(): number;
  /** Sends a frame to a guest; later where its hardware address is being asked for. */
  sendFrame(frame: Frame, guest: Ipv4): void;
  /** Sends what a transport made, in one packet or in fragments. */
  sendCarried(ends: PacketEnds, protocol: number, carried: Uint8Array): void;
  /** Tells a guest that its packet was not delivered: ICMP "destination unreachable" with that code. */
  sendUnreachable(code: number, quoted: Uint8Array): void;
  /** The guest that connections from outside go to where nothing else is said. */
  defaultGuest(): Ipv4;
}

/** Codes of ICMP "destination unreachable" (RFC 792, RFC 1122). */
export const Unreachable = {
  HOST: 1,
  PORT: 3,
  PROHIBITED: 13,
} as const;

/** Where an address that a guest uses leads at the host; undefined where it leads nowhere. */
export type Destinations = (
  address: Ipv4,
  port: number,
) => { readonly address: string; readonly port: number } | undefined;

/** Ports that the NAT takes for connections from outside. */
export const FIRST_EPHEMERAL_PORT = 49152;
export const EPHEMERAL_PORTS = 0x10000 - FIRST_EPHEMERAL_PORT;
