import type { DmaDomain, TimerQueue, WorkQueue } from '@kensho/core';
import {
  type Counters,
  type Device,
  type GuestFaults,
  type Guid,
  KenshoError,
  type LogFields,
} from '@kensho/core';
import type { ChannelEndpoint, HostChannel, Offer, Vmbus } from '@kensho/vmbus';
import { UNPLUGGED } from '../backend/none.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES, isGroupAddressed } from '../frame/ethernet.ts';
import { NETWORK_INTERFACE_ID } from '../protocol/nvsp.ts';
import type { NetworkCounters, NetworkFault, NetworkHost } from './network-host.ts';
import { NetworkSession } from './network-session.ts';

/** What a network VSP stands on. */
export interface NetworkVspServices {
  readonly bus: Vmbus;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  /** The adapter's own domain. */
  readonly dma: DmaDomain;
  readonly counters: Counters;
  readonly faults: GuestFaults;
}

export interface NetworkVspOptions {
  /** Names counters and log lines. */
  readonly id: string;
  /** Unique in the partition and stable across boots. */
  readonly instanceId: Guid;
  /** 6 bytes, not of a group. */
  readonly mac: Uint8Array;
  /** The network that the adapter is plugged into. */
  readonly connector: NetworkConnector;
  /** Largest MTU that the guest may set, 576 to 9000; Linux begins with 1500. @default 9000 */
  readonly mtu?: number;
  /** Sub-channels that the guest may ask for, at most 63. @default 0 */
  readonly maxSubChannels?: number;
  /** What the guest is told. @default 10 Gbit/s */
  readonly linkSpeedBitsPerSecond?: number;
  /** Lets the guest change its address. @default false */
  readonly allowMacChange?: boolean;
}

const MAC_BYTES = 6;
const MIN_MTU = 576;
const MAX_MTU = 9000;
const MAX_SUB_CHANNELS = 63;
const DEFAULT_LINK_SPEED = 10e9;

/**
 * A synthetic network adapter: the root's end of networking over VMBus, between a guest and a network.
 *
 * Speaks NVSP 1 to 6.1. Checksums and large TCP segments that the guest leaves to the hardware stay undone until a
 * frame reaches something that needs them done. A message that makes no sense is refused with its protocol's status,
 * counted, and harms nothing else.
 *
 * Counts `device.<id>.frames.in` and `.out`, `.bytes.in` and `.out`, `.batches.in` and `.out`, `.large.in` and `.out`,
 * `.filtered`, `.dropped`, `.refused` and `.waits`, and bytes of frames in `copy.bytes` (see {@link NetworkCounters});
 * a guest's faults are `fault.network.malformed`, `.dma`, `.out-of-order`, `.section`, `.completion` and `.frame`.
 */
export class NetworkVsp implements ChannelEndpoint, NetworkAdapter, NetworkHost, Device {
  readonly id: string;
  /** Of its channel. */
  readonly instanceId: Guid;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly dma: DmaDomain;
  readonly counters: NetworkCounters;
  readonly permanentMac: Uint8Array;
  mac: Uint8Array;
  readonly mtu: number;
  readonly linkSpeedBitsPerSecond: number;
  readonly #connector: NetworkConnector;
  readonly #maxSubChannels: number;
  readonly #allowMacChange: boolean;
  readonly #bus: Vmbus;
  readonly #faults: GuestFaults;
  #offer: Offer | undefined;
  #port: NetworkPort = UNPLUGGED;
  #session: NetworkSession | undefined;
  #primary: HostChannel | undefined;

  /** Throws KenshoError INVALID_OPTIONS for an address, an MTU or a number of sub-channels that cannot be. */
  constructor(options: NetworkVspOptions, services: NetworkVspServices) {
    this.id = options.id;
    this.instanceId = options.instanceId;
    this.permanentMac = options.mac.slice();
    this.mac = this.permanentMac;
    this.mtu = options.mtu ?? MAX_MTU;
    this.#connector = options.connector;
    this.#maxSubChannels = options.maxSubChannels ?? 0;
    this.#allowMacChange = options.allowMacChange ?? false;
    this.linkSpeedBitsPerSecond = options.linkSpeedBitsPerSecond ?? DEFAULT_LINK_SPEED;
    if (this.mac.length !== MAC_BYTES || isGroupAddressed(this.mac)) {
      throw new KenshoError(
        'INVALID_OPTIONS',
        `${this.id}: mac has to be 6 bytes, and not a group's address`,
      );
    }
    if (!(Number.isInteger(this.mtu) && this.mtu >= MIN_MTU && this.mtu <= MAX_MTU)) {
      throw new KenshoError('INVALID_OPTIONS', `${this.id}: mtu has to be from ${MIN_MTU} to ${MAX_MTU}`);
    }
    if (!(this.#maxSubChannels >= 0 && this.#maxSubChannels <= MAX_SUB_CHANNELS)) {
      throw new KenshoError('INVALID_OPTIONS', `${this.id}: maxSubChannels is at most ${MAX_SUB_CHANNELS}`);
    }
    this.work = services.work;
    this.timers = services.timers;
    this.dma = services.dma;
    this.#bus = services.bus;
    this.#faults = services.faults;
    const counter = (name: string) => services.counters.counter(`device.${this.id}.${name}`);
    this.counters = {
      framesIn: counter('frames.in'),
      framesOut: counter('frames.out'),
      bytesIn: counter('bytes.in'),
      bytesOut: counter('bytes.out'),
      copied: services.counters.counter('copy.bytes'),
      batchesIn: counter('batches.in'),
      batchesOut: counter('batches.out'),
      largeIn: counter('large.in'),
      largeOut: counter('large.out'),
      filtered: counter('filtered'),
      dropped: counter('dropped'),
      refused: counter('refused'),
      waits: counter('waits'),
    };
  }

  /** The same as {@link id}: what the network calls the adapter. */
  get name(): string {
    return this.id;
  }

  get port(): NetworkPort {
    return this.#port;
  }

  /** Plugs the adapter into its network, and offers it to the guest. */
  start(): void {
    this.#port = this.#connector.connect(this);
    this.#offer = this.#bus.offer(
      {
        interfaceId: NETWORK_INTERFACE_ID,
        instanceId: this.instanceId,
        dma: this.dma,
        name: this.id,
        batched: true,
      },
      this,
    );
  }

  /** Takes the adapter from the guest, and pulls its cable. */
  async stop(): Promise<void> {
    await this.#offer?.revoke();
    this.#offer = undefined;
    this.#port.close();
    this.#port = UNPLUGGED;
  }

  open(channel: HostChannel): void {
    if (channel.subChannelIndex === 0) {
      this.#primary = channel;
      this.#session = new NetworkSession(this, channel, {
        maxSubChannels: this.#maxSubChannels,
        offerSubChannels: (count) => this.#offer?.offerSubChannels(count) ?? 0,
      });
    } else if (this.#session === undefined) {
      throw new KenshoError('NOT_OPEN', `${this.id}: a sub-channel was opened before the primary channel`);
    } else {
      this.#session.openSubChannel(channel);
    }
  }

  ready(channel: HostChannel): void {
    this.#session?.pump(channel);
  }

  close(channel: HostChannel): void {
    this.#session?.close(channel);
    if (channel !== this.#primary) return;
    this.#primary = undefined;
    this.#session = undefined;
    this.mac = this.permanentMac;
    // What the network holds for the guest that is gone is dropped.
    this.#port.receiveReady();
  }

  receive(frame: Frame): boolean {
    if (this.#session === undefined || frame.bytes.length < ETHERNET_HEADER_BYTES) {
      this.counters.dropped.value++;
      return true;
    }
    return this.#session.receive(frame);
  }

  linkChanged(): void {
    this.#session?.linkChanged();
  }

  changeMac(mac: Uint8Array): boolean {
    if (!this.#allowMacChange) return false;
    this.mac = mac;
    return true;
  }

  fault(kind: NetworkFault, fields: LogFields): void {
    this.#faults.report(`network.${kind}`, `${this.id}: network message refused: ${kind}`, fields);
  }
}
