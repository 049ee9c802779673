import {
  assert,
  type Connection,
  type Counter,
  type Counters,
  type DmaDomain,
  GpaAccess,
  type GuestEventPort,
  type GuestFaults,
  type GuestMessagePort,
  HvError,
  HvStatus,
  KenshoError,
  type LogFields,
  type Logger,
  type MaybePromise,
  type PartitionPorts,
  type Timer,
  type TimerQueue,
  type WorkQueue,
} from '@kensho/core';
import type { ChannelEndpoint, HostChannel, Offer, OfferOptions, Vmbus } from '../channel.ts';
import {
  checkChannelMessage,
  OfferFlags,
  PIPE_MODE_MESSAGE,
  USER_DATA_SIZE_BYTES,
  VMBUS_EVENT_CONNECTION_BASE,
  VMBUS_EVENT_CONNECTION_ID,
  VMBUS_MESSAGE_CONNECTION_ID,
  VMBUS_MESSAGE_CONNECTION_ID_4,
  VMBUS_MESSAGE_SINT,
  VMBUS_MESSAGE_TYPE,
} from '../protocol/messages.ts';
import { RingMemory } from '../ring/ring-memory.ts';
import type { BusChannel, ChannelDescription, OpenRequest } from './bus-channel.ts';
import { ControlPlane, type ControlPlaneEffects, type ControlPlaneOptions } from './control-plane.ts';
import { GpadlMemory } from './gpadl.ts';
import type { GpadlEntry } from './gpadl-table.ts';
import { RingHostChannel, type RingPages } from './host-channel.ts';
import { InterruptPage } from './interrupt-page.ts';
import { Outbox } from './outbox.ts';

/** What the bus of a partition stands on. */
export interface VmbusServerDeps {
  readonly ports: PartitionPorts;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  readonly log: Logger;
  /** The bus's own domain: for the interrupt page of old guests. */
  readonly dma: DmaDomain;
}

/** Messages of the guest that may wait for the run loop; then it has to post again later. */
const MAX_PENDING_MESSAGES = 256;

/**
 * hv_storvsc drops an interrupt that arrives before it has seen the result of its open, and events overtake
 * messages: each channel is signalled once more, this long after it was opened.
 */
const SIGNAL_AGAIN_NS = 100e6;

/** One offer: the device's own side of its channels. */
interface OfferedDevice {
  readonly options: OfferOptions;
  readonly endpoint: ChannelEndpoint;
  readonly gpadls: Map<number, GpadlMemory>;
  readonly revoked: PromiseWithResolvers<void>;
}

/** What belongs to a channel while it is open. */
interface OpenChannel {
  readonly ring: RingHostChannel;
  readonly eventPort: GuestEventPort;
  readonly signals: Connection;
  readonly signalAgain: Timer;
}

/**
 * The bus of one partition on the root side: joins the control plane to the partition's ports, to guest memory and
 * to the devices.
 *
 * A message that the guest posts is queued, and handled from the run loop, so that its hypercall is brief. In a
 * partition that is not enlightened nobody ever makes contact, and offers just stay with the bus.
 *
 * Counted: `vmbus.messages.in`, `vmbus.messages.out`, `vmbus.channels.opened`; faults of the guest as
 * `fault.vmbus.*`.
 */
export class VmbusServer implements Vmbus {
  readonly #deps: VmbusServerDeps;
  readonly #control: ControlPlane;
  readonly #outbox: Outbox;
  readonly #connections: Connection[];
  readonly #messagesIn: Counter;
  readonly #opened: Counter;
  /** By primary channel. */
  readonly #devices = new Map<BusChannel, OfferedDevice>();
  readonly #open = new Map<BusChannel, OpenChannel>();
  /** The connection that channels share in the guest of an old version. */
  #sharedSignals: Connection | undefined;
  #sint: number = VMBUS_MESSAGE_SINT;
  #pending: Uint8Array[] = [];
  #handlingScheduled = false;

  constructor(deps: VmbusServerDeps, options: ControlPlaneOptions = {}) {
    this.#deps = deps;
    this.#messagesIn = deps.counters.counter('vmbus.messages.in');
    this.#opened = deps.counters.counter('vmbus.channels.opened');
    this.#outbox = new Outbox(deps.counters.counter('vmbus.messages.out'), deps.faults, () =>
      this.#schedule(),
    );
    this.#control = new ControlPlane(this.#effects(), options);
    const receive = (messageType: number, payload: Uint8Array) => this.#receive(messageType, payload);
    this.#connections = [VMBUS_MESSAGE_CONNECTION_ID, VMBUS_MESSAGE_CONNECTION_ID_4].map((connectionId) =>
      deps.ports.openMessageConnection(connectionId, { receive }),
    );
  }

  /** The version that was agreed on with the guest, 0 while none is connected. */
  get version(): number {
    return this.#control.version;
  }

  offer(options: OfferOptions, endpoint: ChannelEndpoint): Offer {
    const primary = this.#control.offer(describe(options));
    const revoked = Promise.withResolvers<void>();
    this.#devices.set(primary, { options, endpoint, gpadls: new Map(), revoked });
    return {
      offerSubChannels: (count) => {
        let offered = 0;
        while (offered < count && this.#control.offerSubChannel(primary) !== undefined) offered++;
        return offered;
      },
      revoke: () => {
        this.#control.revoke(primary);
        return revoked.promise;
      },
    };
  }

  /** Revokes all offers and lets go of the partition's ports. The work queue must be run until this is done. */
  async stop(): Promise<void> {
    const devices = [...this.#devices];
    for (const [primary] of devices) this.#control.revoke(primary);
    await Promise.all(devices.map(([, device]) => device.revoked.promise));
    for (const connection of this.#connections) connection.close();
    this.#setInterruptPage(undefined);
    this.#outbox.connect(undefined);
    this.#pending = [];
  }

  #receive(messageType: number, payload: Uint8Array): HvStatus {
    this.#messagesIn.value++;
    if (messageType !== VMBUS_MESSAGE_TYPE) {
      this.#fault('vmbus.message.type', 'message that is not a channel message', { messageType });
      return HvStatus.INVALID_PARAMETER;
    }
    // A contact resets everything, so nothing that was posted before it matters any more.
    if (isContact(payload)) this.#pending = [];
    else if (this.#pending.length >= MAX_PENDING_MESSAGES) return HvStatus.INSUFFICIENT_BUFFERS;
    this.#pending.push(payload);
    this.#schedule();
    return HvStatus.SUCCESS;
  }

  #schedule(): void {
    if (this.#handlingScheduled || this.#pending.length === 0) return;
    this.#handlingScheduled = true;
    this.#deps.work.defer(() => this.#handlePending());
  }

  #handlePending(): void {
    this.#handlingScheduled = false;
    const messages = this.#pending;
    let handled = 0;
    // While answers wait for the guest to read them there is no use in making more; but a new kernel's contact must
    // not wait for what the old one left unread.
    while (handled < messages.length && (this.#outbox.isEmpty || isContact(messages[handled]))) {
      this.#control.receive(messages[handled++]);
    }
    messages.splice(0, handled);
  }

  #effects(): ControlPlaneEffects {
    return {
      send: (message) => this.#outbox.send(message),
      setMessageTarget: (vpIndex, sint) => this.#setMessageTarget(vpIndex, sint),
      setInterruptPage: (gpa) => this.#setInterruptPage(gpa),
      openChannel: (channel, request) => this.#openChannel(channel, request),
      closeChannel: (channel) => this.#closeChannel(channel),
      setTargetVp: (channel, vpIndex) => this.#channel(channel).eventPort.setTargetVp(vpIndex),
      gpadlCreated: (gpadl) => this.#gpadlCreated(gpadl),
      gpadlTornDown: (gpadl) => this.#gpadlTornDown(gpadl),
      channelRevoked: (channel) => {
        if (channel.primary !== channel) return;
        const { gpadls, revoked } = this.#device(channel);
        for (const gpadl of gpadls.values()) gpadl.tearDown();
        this.#devices.delete(channel);
        revoked.resolve();
      },
      fault: (kind, text, fields) => this.#fault(kind, text, fields),
    };
  }

  #setMessageTarget(vpIndex: number, sint: number): boolean {
    let port: GuestMessagePort;
    try {
      port = this.#deps.ports.createGuestMessagePort({ vpIndex, sint });
    } catch (error) {
      if (error instanceof HvError) return false;
      throw error;
    }
    this.#sint = sint;
    this.#outbox.connect(port);
    return true;
  }

  #setInterruptPage(gpa: bigint | undefined): void {
    this.#sharedSignals?.close();
    this.#sharedSignals = undefined;
    if (gpa === undefined) return;
    const page = new InterruptPage(this.#deps.dma, Number(gpa >> 12n));
    let scheduled = false;
    const take = () => {
      scheduled = false;
      if (this.#sharedSignals === undefined) return;
      const rings = new Map([...this.#open].map(([channel, { ring }]) => [channel.relid, ring]));
      page.take((relid) => rings.get(relid)?.onGuestSignal());
    };
    this.#sharedSignals = this.#deps.ports.openEventConnection(VMBUS_EVENT_CONNECTION_ID, {
      signal: () => {
        if (scheduled) return;
        scheduled = true;
        this.#deps.work.defer(take);
      },
    });
  }

  #gpadlCreated({ handle, owner, ranges }: GpadlEntry<BusChannel>): void {
    assert(ranges !== undefined, 'the GPADL is complete');
    const device = this.#device(owner);
    device.gpadls.set(handle, new GpadlMemory(handle, ranges, device.options.dma));
  }

  #gpadlTornDown({ handle, owner }: GpadlEntry<BusChannel>): void {
    // A revoked device is gone already, and with it its hold on the memory.
    const gpadls = this.#devices.get(owner.primary)?.gpadls;
    gpadls?.get(handle)?.tearDown();
    gpadls?.delete(handle);
  }

  #openChannel(channel: BusChannel, request: OpenRequest): boolean {
    const { options, endpoint, gpadls } = this.#device(channel);
    const resolve = () => ringPages(options, request);
    const pages = resolve();
    if (pages === undefined) return false;
    // The event port comes first: a device may have something to say as soon as it learns of the open.
    let eventPort: GuestEventPort;
    try {
      const target = { vpIndex: request.targetVp, sint: this.#sint, flagNumber: channel.relid };
      eventPort = this.#deps.ports.createGuestEventPort(target);
    } catch (error) {
      if (error instanceof HvError) return false;
      throw error;
    }
    const { words, bytes } = options.dma.arena;
    const { work, counters, faults, timers } = this.#deps;
    const ring = new RingHostChannel({
      relid: channel.relid,
      subChannelIndex: channel.subChannelIndex,
      openData: request.userData,
      incoming: new RingMemory(words, bytes, pages.incoming),
      outgoing: new RingMemory(words, bytes, pages.outgoing),
      interrupt: () => void eventPort.signal(),
      work,
      timers,
      counters,
      faults,
      name: options.name,
      batched: options.batched ?? false,
      dma: options.dma,
      gpadl: (handle) => gpadls.get(handle),
      // A channel that is closing may have been signalled just before; its device has heard the last of it.
      endpoint: {
        ready: (opened) => {
          if (channel.host !== 'closing') endpoint.ready(opened);
        },
      },
      resolve,
    });
    const signals = this.#deps.ports.openEventConnection(VMBUS_EVENT_CONNECTION_BASE | channel.relid, {
      signal: () => ring.onGuestSignal(),
    });
    const signalAgain = timers.at(timers.clock.nowNs() + SIGNAL_AGAIN_NS, () => void eventPort.signal());
    const open = { ring, eventPort, signals, signalAgain };
    try {
      endpoint.open(ring);
    } catch (error) {
      this.#deps.log.warn(`${options.name}: open refused`, { relid: channel.relid, error });
      release(open);
      return false;
    }
    this.#open.set(channel, open);
    this.#opened.value++;
    return true;
  }

  #closeChannel(channel: BusChannel): void {
    const { options, endpoint } = this.#device(channel);
    const open = this.#channel(channel);
    open.signals.close();
    open.signalAgain.cancel();
    this.#deps.work.complete(closeEndpoint(endpoint, open.ring), (error) => {
      if (error !== undefined) this.#deps.log.error(`${options.name}: close failed`, { error });
      release(open);
      this.#open.delete(channel);
      this.#control.closeFinished(channel);
    });
  }

  #device(channel: BusChannel): OfferedDevice {
    const device = this.#devices.get(channel.primary);
    assert(device !== undefined, 'a channel in use belongs to an offer');
    return device;
  }

  #channel(channel: BusChannel): OpenChannel {
    const open = this.#open.get(channel);
    assert(open !== undefined, 'the channel is open');
    return open;
  }

  #fault(kind: string, text: string, fields?: LogFields): void {
    this.#deps.faults.report(kind, `VMBus: ${text}`, fields);
  }
}

/** The one message that makes sense without a connection. */
function isContact(message: Uint8Array): boolean {
  return typeof checkChannelMessage(message, 'guest', 0) !== 'string';
}

function release({ ring, eventPort, signals, signalAgain }: OpenChannel): void {
  signalAgain.cancel();
  signals.close();
  ring.close();
  eventPort.close();
}

/** An endpoint that throws counts as closed, as one whose promise is rejected does. */
function closeEndpoint(endpoint: ChannelEndpoint, channel: HostChannel): MaybePromise<void> {
  try {
    return endpoint.close(channel);
  } catch (error) {
    return Promise.reject(error);
  }
}

/** The arena pages of both rings; undefined, and a DMA fault, where one is not there. */
function ringPages(
  { dma }: OfferOptions,
  { ring, downstreamPageOffset }: OpenRequest,
): RingPages | undefined {
  const pages = new Uint32Array(ring.pages.length);
  for (let i = 0; i < pages.length; i++) {
    const page = dma.translatePage(ring.pages[i], GpaAccess.READ_WRITE);
    if (page < 0) {
      dma.fault(ring.pages[i], GpaAccess.READ_WRITE);
      return undefined;
    }
    pages[i] = page;
  }
  return {
    incoming: pages.subarray(0, downstreamPageOffset),
    outgoing: pages.subarray(downstreamPageOffset),
  };
}

function describe(options: OfferOptions): ChannelDescription {
  const userData = new Uint8Array(USER_DATA_SIZE_BYTES);
  const given = options.userData ?? new Uint8Array();
  const at = options.pipe === true ? 4 : 0;
  if (at + given.length > USER_DATA_SIZE_BYTES) {
    const most = USER_DATA_SIZE_BYTES - at;
    throw new KenshoError('USER_DATA_TOO_LONG', `${options.name}: user data has at most ${most} bytes`);
  }
  userData.set(given, at);
  if (options.pipe === true) userData[0] = PIPE_MODE_MESSAGE;
  return {
    interfaceId: options.interfaceId,
    instanceId: options.instanceId,
    flags: OfferFlags.ENUMERATE_DEVICE_INTERFACE | (options.pipe === true ? OfferFlags.NAMED_PIPE_MODE : 0),
    mmioMegabytes: options.mmioMegabytes ?? 0,
    userData,
    order: options.order ?? 100,
  };
}
