import {
  GuestEvent,
  GuestFault,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
  PAGE_SIZE,
} from '@kensho/core';
import {
  bareMessage,
  ChannelMessageType,
  checkChannelMessage,
  GPADL_CREATED,
  GPADL_TORNDOWN,
  INITIATE_CONTACT,
  INITIATE_CONTACT_V4,
  OFFERCHANNEL,
  OPENCHANNEL_RESULT,
  RESCIND_CHANNELOFFER,
  VERSION_RESPONSE,
  VMBUS_MESSAGE_CONNECTION_ID,
  VMBUS_MESSAGE_CONNECTION_ID_4,
  VMBUS_MESSAGE_SINT,
  VMBUS_MESSAGE_TYPE,
  VMBUS_VERSIONS,
  VmbusVersion,
  vmbusVersionName,
} from '../protocol/messages.ts';
import { BusLink, type ChannelOffer } from './bus-link.ts';
import type { GuestHypercalls, GuestVmbusDevice, VscDriver } from './contract.ts';
import { VmbusDevice } from './device.ts';
import { MessageExchange } from './exchange.ts';

/** What no answer at all is taken for. */
const REFUSED = { versionSupported: 0, connectionState: 0, messageConnectionId: 0 };

export interface VmbusClientOptions {
  readonly kernel: GuestKernel;
  readonly hypercalls: GuestHypercalls;
  /** Drivers for the devices; the first that names a device's class gets it. @default none */
  readonly drivers?: readonly VscDriver[];
  /** Newest version to ask for. @default 5.3 */
  readonly maxVersion?: VmbusVersion;
}

/**
 * The guest's bus driver: connects to the host, turns its offers into devices, and gives each to a driver, which
 * runs as a task of its own until the device is rescinded or the connection ends.
 *
 * Messages arrive in the interrupt handler and are dealt with by a task, in order.
 */
export class VmbusClient {
  readonly #options: VmbusClientOptions;
  readonly #exchange: MessageExchange;
  readonly #link: BusLink;
  readonly #received: Uint8Array[] = [];
  readonly #arrived = new GuestEvent();
  /** Every channel that the host has offered and the guest not released. */
  readonly #offers = new Map<number, { readonly offer: ChannelOffer; readonly device: VmbusDevice }>();
  /** Devices without a driver. */
  readonly #unclaimed = new Set<VmbusDevice>();
  /** Every version before 5.0 is given one; with offers that all have an interrupt of their own nobody writes to it. */
  #interruptPage: GuestPages | undefined;
  #version = 0;
  #listening = false;

  constructor(options: VmbusClientOptions) {
    const { kernel, hypercalls } = options;
    this.#options = options;
    this.#exchange = new MessageExchange(kernel, hypercalls);
    this.#link = new BusLink(kernel, hypercalls, this.#exchange);
    hypercalls.onMessage((messageType, payload) => {
      if (messageType !== VMBUS_MESSAGE_TYPE) return;
      this.#received.push(payload);
      this.#arrived.set();
    });
  }

  /** The version in use, 0 while not connected. */
  get version(): number {
    return this.#version;
  }

  /** Devices that the host offers now, in the order of their relids. */
  get devices(): readonly GuestVmbusDevice[] {
    const present = [...this.#offers.values()].filter(({ offer, device }) => offer === device.primary);
    return present.sort((a, b) => a.offer.relid - b.offer.relid).map(({ device }) => device);
  }

  /**
   * Agrees on a version, newest first, and asks for the offers; returns when all that the host has at that time are
   * there and given to their drivers. Throws GuestFault where the host knows none of the versions.
   */
  *connect(): GuestTask {
    if (!this.#listening) {
      this.#listening = true;
      this.#options.kernel.spawn('vmbus', this.#listen());
    }
    const maxVersion = this.#options.maxVersion ?? VmbusVersion.WIN10_V5_3;
    for (const version of VMBUS_VERSIONS) {
      if (version > maxVersion || !(yield* this.#negotiate(version))) continue;
      this.#version = version;
      yield* this.#exchange.request('offers', 0, bareMessage(ChannelMessageType.REQUESTOFFERS));
      return;
    }
    throw new GuestFault(`the host speaks no version of VMBus up to ${vmbusVersionName(maxVersion)}`);
  }

  /**
   * Ends the connection; the host then uses no memory of the guest any more. Devices count as rescinded, and closing
   * their channels only frees memory. The guest may connect again.
   */
  *unload(): GuestTask {
    if (this.#version === 0) return;
    yield* this.#exchange.request('unload', 0, bareMessage(ChannelMessageType.UNLOAD));
    this.#version = 0;
    this.#freeInterruptPage();
    const devices = new Set([...this.#offers.values()].map(({ device }) => device));
    this.#offers.clear();
    this.#unclaimed.clear();
    for (const device of devices) device.onDisconnect();
    this.#exchange.giveUp();
  }

  *#negotiate(version: VmbusVersion): GuestTask<boolean> {
    const { kernel } = this.#options;
    const namesSint = version >= VmbusVersion.WIN10_V5;
    this.#exchange.connectionId = namesSint ? VMBUS_MESSAGE_CONNECTION_ID_4 : VMBUS_MESSAGE_CONNECTION_ID;
    const contact = { messageType: ChannelMessageType.INITIATE_CONTACT, version, targetVp: kernel.cpu.index };
    let message: Uint8Array;
    if (namesSint) {
      message = INITIATE_CONTACT.encode({ ...contact, messageSint: VMBUS_MESSAGE_SINT });
    } else {
      this.#interruptPage = kernel.allocate(PAGE_SIZE);
      message = INITIATE_CONTACT_V4.encode({ ...contact, interruptPageGpa: BigInt(this.#interruptPage.gpa) });
    }
    const answer = yield* this.#exchange.request('version', 0, message);
    const { versionSupported, connectionState, messageConnectionId } =
      answer === undefined ? REFUSED : VERSION_RESPONSE.read(answer);
    if (versionSupported === 0 || connectionState !== 0) {
      this.#freeInterruptPage();
      return false;
    }
    if (namesSint) this.#exchange.connectionId = messageConnectionId;
    return true;
  }

  #freeInterruptPage(): void {
    this.#interruptPage?.free();
    this.#interruptPage = undefined;
  }

  *#listen(): GuestTask {
    for (;;) {
      yield* this.#arrived.wait();
      for (const message of this.#received.splice(0)) this.#onMessage(message);
    }
  }

  #onMessage(message: Uint8Array): void {
    // The version response comes before the version is known, and nothing else does.
    const rule = checkChannelMessage(message, 'host', this.#version);
    if (typeof rule === 'string') {
      this.#options.kernel.print(`vmbus: message from the host ignored: ${rule}`);
      return;
    }
    switch (rule.type) {
      case ChannelMessageType.VERSION_RESPONSE:
        this.#exchange.answer('version', message);
        break;
      case ChannelMessageType.OFFERCHANNEL:
        this.#onOffer(message);
        break;
      case ChannelMessageType.ALLOFFERS_DELIVERED:
        this.#exchange.answer('offers', message);
        break;
      case ChannelMessageType.RESCIND_CHANNELOFFER:
        this.#onRescind(RESCIND_CHANNELOFFER.read(message).relid);
        break;
      case ChannelMessageType.OPENCHANNEL_RESULT:
        this.#exchange.answer(`open ${OPENCHANNEL_RESULT.read(message).relid}`, message);
        break;
      case ChannelMessageType.GPADL_CREATED:
        this.#exchange.answer(`gpadl ${GPADL_CREATED.read(message).gpadl}`, message);
        break;
      case ChannelMessageType.GPADL_TORNDOWN:
        this.#exchange.answer(`teardown ${GPADL_TORNDOWN.read(message).gpadl}`, message);
        break;
      case ChannelMessageType.UNLOAD_RESPONSE:
        this.#exchange.answer('unload', message);
        break;
    }
  }

  #onOffer(message: Uint8Array): void {
    const { interfaceId, instanceId, userData, relid, subChannelIndex, connectionId } =
      OFFERCHANNEL.read(message);
    const offer: ChannelOffer = { relid, subChannelIndex, connectionId, state: 'offered' };
    if (subChannelIndex > 0) {
      const device = this.#deviceOf(interfaceId, instanceId);
      if (device === undefined) {
        this.#link.release(offer);
        return;
      }
      this.#offers.set(relid, { offer, device });
      device.addSubChannel(offer);
      return;
    }
    const device = new VmbusDevice(this.#link, { interfaceId, instanceId, userData }, offer);
    this.#offers.set(relid, { offer, device });
    const { kernel, drivers = [] } = this.#options;
    const driver = drivers.find((candidate) => candidate.interfaceIds.includes(interfaceId));
    if (driver === undefined) this.#unclaimed.add(device);
    else kernel.spawn(`${driver.id} ${instanceId}`, driver.attach(device, kernel));
  }

  #onRescind(relid: number): void {
    const found = this.#offers.get(relid);
    if (found === undefined) return;
    this.#offers.delete(relid);
    const { offer, device } = found;
    device.onRescind(offer);
    if (offer === device.primary && this.#unclaimed.delete(device)) device.release();
  }

  #deviceOf(interfaceId: string, instanceId: string): VmbusDevice | undefined {
    for (const { device } of this.#offers.values()) {
      if (device.interfaceId === interfaceId && device.instanceId === instanceId && !device.isRescinded) {
        return device;
      }
    }
    return undefined;
  }
}
