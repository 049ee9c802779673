import type { Guid, MaybePromise } from '@kensho/core';
import { type DmaDomain, type Token, token } from '@kensho/core';

/** Packet types of a ring (guest-visible; hyperv.h `enum vmbus_packet_type`). */
export const PacketType = {
  IN_BAND: 6,
  TRANSFER_PAGES: 7,
  GPA_DIRECT: 9,
  COMPLETION: 0x0b,
} as const;

/** One buffer of guest memory that a packet names: `pages` of the packet from `firstPage` on. */
export interface GpaRange {
  offset: number;
  sizeBytes: number;
  /** Index of its first page number in {@link IncomingPacket.pages}. */
  firstPage: number;
}

/**
 * A packet read from a ring: a snapshot, taken once, that the peer can no longer change. The object and its arrays
 * are reused by the next read of the same channel.
 */
export interface IncomingPacket {
  type: number;
  completionRequested: boolean;
  transactionIdLo: number;
  transactionIdHi: number;
  /** The payload, `payload.length` bytes. */
  payload: Uint8Array;
  /** GPA-direct: the buffers. Transfer pages: the ranges of the set, with `firstPage` 0. Otherwise empty. */
  ranges: GpaRange[];
  rangeCount: number;
  /** Page numbers of all GPA-direct ranges, one after another. */
  pages: Float64Array;
  /** Transfer pages: the set's id. */
  transferSetId: number;
  /**
   * Set where the descriptor was well-formed enough to skip the packet but its ranges were not (too many, too long,
   * beyond the packet): such a packet has no ranges, and its receiver answers with its protocol's error.
   */
  malformed: boolean;
}

/** A buffer range of a transfer-page packet. */
export interface TransferRange {
  readonly offset: number;
  readonly sizeBytes: number;
}

/** Guest memory that a guest registered by a GPADL, reached through the device's DMA domain. */
export interface Gpadl {
  readonly handle: number;
  readonly sizeBytes: number;
  /** Views of a part of it; false (and a DMA fault) where a page is not there, or the part is out of range. */
  collect(offset: number, sizeBytes: number, access: number, out: Uint8Array[]): boolean;
}

/**
 * An open channel as its VSP uses it.
 *
 * What is sent becomes visible to the guest, with at most one interrupt, when the run loop ends its round of work;
 * a ring without room holds packets back in order, and then {@link read} gives nothing until they are out, so that
 * a guest which does not read cannot make the host queue without bound.
 */
export interface HostChannel {
  readonly relid: number;
  /** 0 is the primary channel. */
  readonly subChannelIndex: number;
  /** The 120 bytes of user data of the open message. */
  readonly openData: Uint8Array;
  /** The next packet from the guest, or undefined. */
  read(): IncomingPacket | undefined;
  /** Answers a packet. `payload` is copied. */
  complete(transactionIdLo: number, transactionIdHi: number, payload: Uint8Array): void;
  /** Sends an in-band packet; with `transactionId` the guest is asked for a completion. */
  send(payload: Uint8Array, transactionId?: number): void;
  /** Sends a transfer-page packet (network receive buffer), for which the guest owes a completion. */
  sendTransferPages(
    setId: number,
    ranges: readonly TransferRange[],
    payload: Uint8Array,
    transactionId: number,
  ): void;
  /** A GPADL that the guest made for this channel's device; undefined where there is none of that handle. */
  gpadl(handle: number): Gpadl | undefined;
}

/** A VSP's side of the channels of one offer: the primary one and its sub-channels. */
export interface ChannelEndpoint {
  /** The guest opened a channel. Throwing refuses it. */
  open(channel: HostChannel): void;
  /** Packets may be waiting: read until there are none. Called from the run loop. */
  ready(channel: HostChannel): void;
  /**
   * The channel ends, by close, rescind, unload or teardown of the partition. It must not be used any more once the
   * result is there; until then it may still be written to, and the guest's memory stays as it is.
   */
  close(channel: HostChannel): MaybePromise<void>;
}

/** What an offer tells the guest. */
export interface OfferOptions {
  /** Device class. */
  readonly interfaceId: Guid;
  /** Unique and stable across boots. */
  readonly instanceId: Guid;
  /** The device's domain: rings, GPADLs and buffers are reached through it. */
  readonly dma: DmaDomain;
  /** Name for counters and log lines. */
  readonly name: string;
  /** @default 0 */
  readonly mmioMegabytes?: number;
  /** Pipe devices: message mode, with the pipe flag in the offer. @default false */
  readonly pipe?: boolean;
  /** Class-specific bytes, at most 120 (116 for pipes). */
  readonly userData?: Uint8Array;
  /**
   * Lets the guest write a burst before its packets are read: the endpoint is called when no VP has anything left to
   * do, when a while passed in which nothing was written, or a while after the signal, whichever is first. The guest
   * gives no further signals meanwhile. @default false: called at once
   */
  readonly batched?: boolean;
  /** Order among the offers of one boot: lower first, then by creation. @default 100 */
  readonly order?: number;
}

/** A channel offer that is in force. */
export interface Offer {
  /** Offers `count` sub-channels, index 1 on; at most 63 in all. Returns how many were offered. */
  offerSubChannels(count: number): number;
  /** Takes the device away from the guest; resolves when its channels are closed. Idempotent. */
  revoke(): Promise<void>;
}

/** The bus of one partition, as VSPs see it. */
export interface Vmbus {
  /** Offers a device; at once where the guest is already connected. Throws KenshoError for duplicates or limits. */
  offer(options: OfferOptions, endpoint: ChannelEndpoint): Offer;
}
export const VMBUS: Token<Vmbus> = token<Vmbus>('@kensho/vmbus:Vmbus');
