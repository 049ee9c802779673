import {
  GuestEvent,
  GuestFault,
  GuestIoError,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
  type Guid,
  KenshoError,
  PAGE_SIZE,
} from '@kensho/core';
import type { GuestChannel, GuestVmbusDevice, VscDriver } from '@kensho/vmbus';
import { GUEST_NETWORK_INTERFACES } from '../guest-interface.ts';
import { NETWORK_INTERFACE_ID, NvspVersion } from '../protocol/nvsp.ts';
import {
  type GuestSide,
  initializeDevice,
  negotiate,
  openFilter,
  requestSubChannels,
  spreadReceived,
} from './bring-up.ts';
import { ControlPath } from './control.ts';
import { NetvscAdapter } from './netvsc-adapter.ts';
import { TransmitMemory } from './transmit-queue.ts';

export interface NetworkVscOptions {
  /** MTU to set; less where the host has less. @default 1500 */
  readonly mtu?: number;
  /** Newest protocol version to ask for. @default 6.1 */
  readonly maxVersion?: number;
  /** Takes coalesced segments, longer than the MTU. @default true */
  readonly coalescing?: boolean;
  /** Sub-channels to ask for; fewer where the host gives fewer. @default 0 */
  readonly subChannels?: number;
  /** Size of each ring with its control page, a multiple of 4096. @default 128 KiB */
  readonly ringSizeBytes?: number;
  /** A multiple of 4096. @default 1 MiB */
  readonly receiveBufferBytes?: number;
  /** A multiple of 4096. @default 256 KiB */
  readonly sendBufferBytes?: number;
  /** Received frames that may wait for programs before the host has to. @default 1024 */
  readonly queueFrames?: number;
}

/**
 * The network VSC of kit guests: drives synthetic network adapters and publishes an interface for each, as
 * `eth<adapter>`.
 */
export class NetworkVsc implements VscDriver {
  readonly id = 'netvsc';
  readonly interfaceIds: readonly Guid[] = [NETWORK_INTERFACE_ID];
  readonly #options: Required<NetworkVscOptions>;
  /** Adapters of each guest so far. */
  readonly #adapters = new WeakMap<GuestKernel, number>();

  constructor(options: NetworkVscOptions = {}) {
    this.#options = {
      mtu: 1500,
      maxVersion: NvspVersion.V6_1,
      coalescing: true,
      subChannels: 0,
      ringSizeBytes: 128 * 1024,
      receiveBufferBytes: 1024 * 1024,
      sendBufferBytes: 256 * 1024,
      queueFrames: 1024,
      ...options,
    };
    const { ringSizeBytes, receiveBufferBytes, sendBufferBytes } = this.#options;
    const sizes = [ringSizeBytes, receiveBufferBytes, sendBufferBytes];
    if (sizes.some((sizeBytes) => sizeBytes <= 0 || sizeBytes % PAGE_SIZE !== 0)) {
      throw new KenshoError(
        'INVALID_OPTIONS',
        `network VSC: rings and buffers are multiples of ${PAGE_SIZE}`,
      );
    }
  }

  *attach(device: GuestVmbusDevice, kernel: GuestKernel): GuestTask {
    const number = this.#adapters.get(kernel) ?? 0;
    this.#adapters.set(kernel, number + 1);
    const run = new AdapterRun(`eth${number}`, device, kernel, this.#options);
    kernel.spawn(`eth${number} bring-up`, run.bringUp());
    yield* device.rescinded.wait();
    yield* run.end();
    device.release();
  }
}

/** One adapter from its offer to its rescind, and all that it holds meanwhile. */
class AdapterRun {
  readonly #name: string;
  readonly #device: GuestVmbusDevice;
  readonly #kernel: GuestKernel;
  readonly #options: Required<NetworkVscOptions>;
  readonly #channels: GuestChannel[] = [];
  readonly #pages: GuestPages[] = [];
  readonly #broughtUp = new GuestEvent();
  #adapter: NetvscAdapter | undefined;
  #memory: TransmitMemory | undefined;
  #published = false;

  constructor(
    name: string,
    device: GuestVmbusDevice,
    kernel: GuestKernel,
    options: Required<NetworkVscOptions>,
  ) {
    this.#name = name;
    this.#device = device;
    this.#kernel = kernel;
    this.#options = options;
  }

  /** Brings the adapter up and publishes it, or says on the console why not. */
  *bringUp(): GuestTask {
    try {
      yield* this.#tryBringUp();
    } catch (error) {
      if (!(error instanceof GuestIoError || error instanceof GuestFault)) throw error;
      if (!this.#device.isRescinded) this.#kernel.print(`${this.#name}: ${error.message}`);
    } finally {
      this.#broughtUp.set();
    }
  }

  /** The adapter was taken away: lets go of everything. */
  *end(): GuestTask {
    this.#adapter?.stop();
    yield* this.#broughtUp.wait();
    // What came up meanwhile.
    this.#adapter?.stop();
    // Only a closed channel leaves the guest's memory alone.
    for (const channel of [...this.#channels].reverse()) yield* channel.close();
    if (this.#published) this.#kernel.withdraw(GUEST_NETWORK_INTERFACES, this.#adapter as NetvscAdapter);
    for (const pages of this.#pages) pages.free();
    this.#memory?.free();
  }

  *#tryBringUp(): GuestTask {
    const { mtu, maxVersion, coalescing, subChannels, ringSizeBytes } = this.#options;
    const open = { ringSizeBytes };
    const primary = yield* this.#device.open(open);
    this.#channels.push(primary);
    const receiveBuffer = this.#allocate(this.#options.receiveBufferBytes);
    const sendBuffer = this.#allocate(this.#options.sendBufferBytes);
    const control = new ControlPath(primary, this.#allocate(PAGE_SIZE));
    const adapter = new NetvscAdapter(this.#name, control, receiveBuffer, this.#options.queueFrames);
    this.#adapter = adapter;
    this.#receive(adapter, primary);
    const guest: GuestSide = {
      mtu,
      maxVersion,
      coalescing,
      receiveGpadl: yield* primary.createGpadl(receiveBuffer),
      sendGpadl: yield* primary.createGpadl(sendBuffer),
    };
    const host = yield* negotiate(control, guest);
    const facts = yield* initializeDevice(control, guest, host);
    this.#memory = new TransmitMemory(this.#kernel, sendBuffer, {
      sectionBytes: host.sendSectionBytes,
      maxPacketsPerMessage: facts.maxPacketsPerMessage,
      alignment: facts.packetAlignment,
    });
    const wanted = Math.min(subChannels, facts.maxChannels - 1);
    const granted = wanted > 0 ? yield* requestSubChannels(control, wanted) : 0;
    const more = granted > 0 ? yield* this.#device.openSubChannels(granted, open) : [];
    this.#channels.push(...more);
    for (const channel of more) this.#receive(adapter, channel);
    if (granted > 0) yield* spreadReceived(control, 1 + granted);
    adapter.configure(facts, this.#memory);
    yield* openFilter(control);
    for (const channel of this.#channels) adapter.addChannel(this.#kernel, channel);
    if (this.#device.isRescinded) return;
    this.#published = true;
    this.#kernel.publish(GUEST_NETWORK_INTERFACES, adapter);
  }

  #receive(adapter: NetvscAdapter, channel: GuestChannel): void {
    this.#kernel.spawn(`${this.#name}:${channel.subChannelIndex} receive`, adapter.receiveFrom(channel));
  }

  #allocate(sizeBytes: number): GuestPages {
    const pages = this.#kernel.allocate(sizeBytes);
    this.#pages.push(pages);
    return pages;
  }
}
