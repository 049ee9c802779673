import type { Guid } from '@kensho/core';
import type { GpadlRange } from '../protocol/gpadl.ts';

/** What an offer message says about a channel; sub-channels share their primary's. */
export interface ChannelDescription {
  readonly interfaceId: Guid;
  readonly instanceId: Guid;
  /** OfferFlags. */
  readonly flags: number;
  readonly mmioMegabytes: number;
  /** At most 120 bytes. */
  readonly userData: Uint8Array;
  /** Lower is offered first. */
  readonly order: number;
}

/** A checked OPENCHANNEL. */
export interface OpenRequest {
  readonly openId: number;
  readonly targetVp: number;
  readonly ringGpadl: number;
  readonly ring: GpadlRange;
  /** Page of the ring's range at which the host-to-guest ring begins; both rings have two pages or more. */
  readonly downstreamPageOffset: number;
  readonly userData: Uint8Array;
}

/**
 * What the guest knows of a channel.
 *
 * - `unaware`: it was never offered on this connection
 * - `offered`: the guest may use it
 * - `rescinded`: taken back; its relid stays taken until the guest releases it
 * - `declined`: the guest released it though it was not rescinded; not offered again on this connection
 */
export type GuestSide = 'unaware' | 'offered' | 'rescinded' | 'declined';

/** What the host does with a channel's memory: nothing, is being asked, uses it, is letting go of it. */
export type HostSide = 'closed' | 'opening' | 'open' | 'closing';

/** One channel as the control plane keeps it. Others may read it, and use it as a key. */
export class BusChannel {
  readonly description: ChannelDescription;
  /** 0 for a primary channel. */
  readonly subChannelIndex: number;
  /** The primary channel of the device; itself for one. */
  readonly primary: BusChannel;
  /** Of a primary: its sub-channels, also revoked ones that the guest has not released. */
  readonly subChannels: BusChannel[] = [];
  /** Order of creation. */
  readonly sequence: number;
  /** 0 while the guest holds no reference to the channel. */
  relid = 0;
  guest: GuestSide = 'unaware';
  host: HostSide = 'closed';
  /** The host takes it away. */
  revoked = false;
  /** Of an open channel: handle of its rings' GPADL. */
  ringGpadl: number | undefined;
  /** The guest's next open, where it came before the host had finished closing. */
  reopen: OpenRequest | undefined;

  constructor(description: ChannelDescription, sequence: number, primary?: BusChannel, subChannelIndex = 0) {
    this.description = description;
    this.sequence = sequence;
    this.primary = primary ?? this;
    this.subChannelIndex = subChannelIndex;
  }

  /** By this the guest tells channels apart. */
  get key(): string {
    return `${this.description.interfaceId}/${this.description.instanceId}/${this.subChannelIndex}`;
  }

  /** The primary channel and all sub-channels of the device. */
  get group(): readonly BusChannel[] {
    return [this.primary, ...this.primary.subChannels];
  }
}

/** Whether the device of a channel is letting go of that or another one of its channels. */
export function isAnyClosing(channel: BusChannel): boolean {
  return channel.group.some((member) => member.host === 'closing');
}
