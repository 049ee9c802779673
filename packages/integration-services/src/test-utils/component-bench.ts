import {
  Counters,
  DmaDomain,
  GpaSpace,
  GuestFaults,
  PageArena,
  type PartitionEvent,
  silentLogger,
  TimerQueue,
  VirtualClock,
  WorkQueue,
} from '@kensho/core';
import { type ChannelEndpoint, type HostChannel, type IncomingPacket, PacketType } from '@kensho/vmbus';
import type { ComponentServices } from '../component/root-component.ts';
import {
  encodeIcMessage,
  encodeNegotiation,
  IcFlags,
  type IcMessage,
  IcMessageType,
  type IcVersion,
  parseIcMessage,
  parseNegotiation,
} from '../protocol/icmsg.ts';

/** A bus with one channel, and the guest at its other end, played by the test. */
export class ComponentBench {
  readonly clock = new VirtualClock();
  readonly timers = new TimerQueue(this.clock);
  readonly work = new WorkQueue(this.clock);
  readonly counters = new Counters();
  readonly services: ComponentServices;
  paused = false;
  /** What the guest was sent, oldest first. */
  readonly inbox: IcMessage[] = [];
  readonly #outbox: Uint8Array[] = [];
  #endpoint: ChannelEndpoint | undefined;
  #channel: HostChannel | undefined;

  constructor() {
    const { counters, timers, work } = this;
    const faults = new GuestFaults(counters, silentLogger);
    const gpa = new GpaSpace(PageArena.allocate(1));
    this.services = {
      bus: {
        offer: (_, endpoint) => {
          this.#endpoint = endpoint;
          return { offerSubChannels: () => 0, revoke: async () => this.close() };
        },
      },
      dma: new DmaDomain('ic', 'passthrough', gpa, counters, faults),
      work,
      timers,
      counters,
      faults,
      log: silentLogger,
      events: { paused: false, listen: (_: (event: PartitionEvent) => void) => () => {} },
    };
    Object.defineProperty(this.services.events, 'paused', { get: () => this.paused });
  }

  /** The guest opens the channel. */
  open(): void {
    this.#outbox.length = 0;
    this.inbox.length = 0;
    this.#channel = {
      relid: 1,
      subChannelIndex: 0,
      openData: new Uint8Array(120),
      read: () => this.#read(),
      complete: () => {},
      send: (payload) => {
        const message = parseIcMessage(payload);
        if (message === undefined) throw new Error('no message');
        this.inbox.push({ ...message, body: message.body.slice() });
      },
      sendTransferPages: () => {},
      gpadl: () => undefined,
    };
    this.#endpoint?.open(this.#channel);
    this.settle();
  }

  /** Answers the negotiation, with the newest versions where none are given. */
  negotiate(version?: IcVersion, framework?: IcVersion): void {
    const offer = this.take();
    const offered = parseNegotiation(offer.body);
    if (offer.type !== IcMessageType.NEGOTIATE || offered === undefined) throw new Error('no negotiation');
    const body = encodeNegotiation({
      frameworks: [framework ?? offered.frameworks[0]],
      versions: [version ?? offered.versions[0]],
    });
    this.answer(offer, { body });
  }

  /** The oldest message that the guest has not taken yet. */
  take(): IcMessage {
    const message = this.inbox.shift();
    if (message === undefined) throw new Error('the guest was sent nothing');
    return message;
  }

  answer(request: IcMessage, changes: Partial<IcMessage> = {}): void {
    const flags = IcFlags.TRANSACTION | IcFlags.RESPONSE;
    this.say(encodeIcMessage({ ...request, flags, ...changes }));
  }

  say(payload: Uint8Array): void {
    this.#outbox.push(payload);
    if (this.#channel !== undefined) void this.#endpoint?.ready(this.#channel);
    this.settle();
  }

  close(): void {
    if (this.#channel !== undefined) void this.#endpoint?.close(this.#channel);
    this.#channel = undefined;
    this.settle();
  }

  /** Lets the partition's time pass, with what is due in it. */
  pass(ms: number): void {
    const untilNs = this.clock.nowNs() + ms * 1e6;
    while (this.timers.nextNs() <= untilNs) {
      this.clock.advance(Math.max(0, this.timers.nextNs() - this.clock.nowNs()));
      this.timers.runDue();
      this.settle();
    }
    this.clock.advance(untilNs - this.clock.nowNs());
  }

  settle(): void {
    while (this.work.ready) this.work.run();
  }

  #read(): IncomingPacket | undefined {
    const payload = this.#outbox.shift();
    if (payload === undefined) return undefined;
    return {
      type: PacketType.IN_BAND,
      completionRequested: false,
      transactionIdLo: 0,
      transactionIdHi: 0,
      payload,
      ranges: [],
      rangeCount: 0,
      pages: new Float64Array(0),
      transferSetId: 0,
      malformed: false,
    };
  }
}
