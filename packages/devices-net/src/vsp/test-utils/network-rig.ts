import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  GuestFaults,
  PAGE_SIZE,
  PageArena,
  silentLogger,
  TimerQueue,
  VirtualClock,
  WorkQueue,
} from '@kensho/core';
import {
  type ChannelEndpoint,
  type Gpadl,
  type HostChannel,
  type IncomingPacket,
  type Offer,
  type OfferOptions,
  PacketType,
  type TransferRange,
  type Vmbus,
} from '@kensho/vmbus';
import type { Frame, NetworkAdapter, NetworkPort } from '../../backend/port.ts';
import { NetworkVsp, type NetworkVspOptions } from '../network-vsp.ts';

/** Guest pages: the receive buffer, the send buffer, and what packets name; the last one is not there. */
export const GUEST_PAGES = 1024;
const RECEIVE_FIRST_PAGE = 0;
const SEND_FIRST_PAGE = 512;
export const BUFFER_FIRST_PAGE = 768;
export const RECEIVE_GPADL = 0xe1e11;
export const SEND_GPADL = 0xe1e12;
export const SECTION_BYTES = 6144;
const MESSAGE_BYTES = 40;
/** How long a completion may wait for something to go with. */
export const COMPLETION_WAIT_MS = 4;

export interface TestRange {
  readonly pages: readonly number[];
  readonly offset: number;
  readonly sizeBytes: number;
}

export interface TestPacket {
  readonly payload: Uint8Array;
  readonly id?: number;
  readonly idHi?: number;
  readonly type?: number;
  readonly ranges?: readonly TestRange[];
  readonly completionRequested?: boolean;
  readonly malformed?: boolean;
}

export interface Transfer {
  readonly setId: number;
  readonly ranges: readonly TransferRange[];
  readonly payload: Uint8Array;
  readonly transactionId: number;
}

/** A channel made of arrays. */
export class FakeHostChannel implements HostChannel {
  readonly relid = 7;
  readonly openData = new Uint8Array(120);
  readonly subChannelIndex: number;
  readonly incoming: TestPacket[] = [];
  readonly completions: { readonly id: number; readonly payload: Uint8Array }[] = [];
  readonly sent: Uint8Array[] = [];
  readonly transfers: Transfer[] = [];
  /** Completions that were there before the transfer that was sent last. */
  completionsBefore = 0;
  readonly #gpadls: ReadonlyMap<number, Gpadl>;

  constructor(gpadls: ReadonlyMap<number, Gpadl>, subChannelIndex = 0) {
    this.#gpadls = gpadls;
    this.subChannelIndex = subChannelIndex;
  }

  read(): IncomingPacket | undefined {
    const next = this.incoming.shift();
    if (next === undefined) return undefined;
    const ranges = next.ranges ?? [];
    const pages: number[] = [];
    return {
      type: next.type ?? (ranges.length > 0 ? PacketType.GPA_DIRECT : PacketType.IN_BAND),
      completionRequested: next.completionRequested ?? true,
      transactionIdLo: next.id ?? 1,
      transactionIdHi: next.idHi ?? 0,
      payload: next.payload,
      ranges: ranges.map((range) => {
        const firstPage = pages.length;
        pages.push(...range.pages);
        return { offset: range.offset, sizeBytes: range.sizeBytes, firstPage };
      }),
      rangeCount: ranges.length,
      pages: Float64Array.from(pages),
      transferSetId: 0,
      malformed: next.malformed ?? false,
    };
  }

  complete(id: number, _idHi: number, payload: Uint8Array): void {
    this.completions.push({ id, payload: payload.slice() });
  }

  send(payload: Uint8Array): void {
    this.sent.push(payload.slice());
  }

  sendTransferPages(
    setId: number,
    ranges: readonly TransferRange[],
    payload: Uint8Array,
    transactionId: number,
  ): void {
    this.completionsBefore = this.completions.length;
    this.transfers.push({
      setId,
      ranges: ranges.map((range) => ({ ...range })),
      payload: payload.slice(),
      transactionId,
    });
  }

  gpadl(handle: number): Gpadl | undefined {
    return this.#gpadls.get(handle);
  }
}

/** A network that keeps what it gets. */
export class TestNetwork implements NetworkPort {
  linkUp = true;
  adapter: NetworkAdapter | undefined;
  readonly frames: Frame[] = [];
  readonly waiting: Frame[] = [];
  closed = false;

  connect(adapter: NetworkAdapter): NetworkPort {
    this.adapter = adapter;
    return this;
  }
  send(frame: Frame): void {
    this.frames.push(frame);
  }
  /** Offers frames to the adapter, and keeps those that have to wait. */
  deliver(...frames: Frame[]): void {
    this.waiting.push(...frames);
    this.receiveReady();
  }
  receiveReady(): void {
    while (this.waiting.length > 0 && this.adapter?.receive(this.waiting[0]) === true) this.waiting.shift();
  }
  setLink(up: boolean): void {
    this.linkUp = up;
    this.adapter?.linkChanged(up);
  }
  close(): void {
    this.closed = true;
  }
}

export interface HandshakeOptions {
  readonly version?: number;
  readonly mtu?: number;
  readonly rsc?: boolean;
  /** Pages of the receive buffer. @default 512 */
  readonly receivePages?: number;
  readonly filter?: number;
  /** Turns on checksums, and coalesced segments, on the way to the guest. @default true */
  readonly offloads?: boolean;
}

/** What the guest finds in a receive section, parsed by hand. */
export interface Received {
  readonly bytes: Uint8Array;
  /** Records by type. */
  readonly info: ReadonlyMap<number, number>;
}

/** A network VSP on fakes, a network, and a guest whose memory is mapped one to one. */
export class NetworkRig {
  readonly counters = new Counters();
  readonly clock = new VirtualClock();
  readonly work = new WorkQueue(this.clock);
  readonly timers = new TimerQueue(this.clock);
  readonly network = new TestNetwork();
  readonly vsp: NetworkVsp;
  readonly offers: { options: OfferOptions; endpoint: ChannelEndpoint; subChannels: number }[] = [];
  readonly arena = PageArena.allocate(GUEST_PAGES);
  readonly gpadls = new Map<number, Gpadl>();
  readonly #dma: DmaDomain;
  #next = 1;

  constructor(options: Partial<NetworkVspOptions> = {}) {
    const gpa = new GpaSpace(this.arena);
    gpa.map(0, this.arena.take(GUEST_PAGES), GUEST_PAGES - 1, GpaAccess.ALL);
    const faults = new GuestFaults(this.counters, silentLogger);
    this.#dma = new DmaDomain('nic0', 'passthrough', gpa, this.counters, faults);
    const bus: Vmbus = {
      offer: (offered, endpoint): Offer => {
        const record = { options: offered, endpoint, subChannels: 0 };
        this.offers.push(record);
        return {
          offerSubChannels: (count) => {
            record.subChannels += count;
            return count;
          },
          revoke: async () => {},
        };
      },
    };
    this.vsp = new NetworkVsp(
      {
        id: 'nic0',
        instanceId: '11111111-2222-4333-8444-555555555555',
        mac: Uint8Array.of(0x00, 0x15, 0x5d, 0, 0, 0x0a),
        connector: this.network,
        ...options,
      },
      { bus, work: this.work, timers: this.timers, dma: this.#dma, counters: this.counters, faults },
    );
    this.vsp.start();
    this.gpadl(RECEIVE_GPADL, RECEIVE_FIRST_PAGE, 512);
    this.gpadl(SEND_GPADL, SEND_FIRST_PAGE, 256);
  }

  count(name: string): number {
    return this.counters.snapshot()[name] ?? 0;
  }

  /** Registers guest pages. */
  gpadl(handle: number, firstPage: number, pages: number): void {
    const sizeBytes = pages * PAGE_SIZE;
    this.gpadls.set(handle, {
      handle,
      sizeBytes,
      collect: (offset, count, access, out) =>
        offset + count <= sizeBytes && this.#dma.collect(firstPage * PAGE_SIZE + offset, count, access, out),
    });
  }

  memory(page: number): Uint8Array {
    return this.arena.bytes.subarray(page * PAGE_SIZE);
  }

  newChannel(index = 0): FakeHostChannel {
    return new FakeHostChannel(this.gpadls, index);
  }

  settle(): void {
    while (this.work.run());
  }

  /** Lets time pass. */
  advance(ms: number): void {
    this.clock.advance(ms * 1e6);
    this.timers.runDue();
    this.settle();
  }

  /** Gives the VSP packets, and runs what they cause. */
  deliver(channel: FakeHostChannel, ...packets: TestPacket[]): void {
    channel.incoming.push(...packets);
    this.vsp.ready(channel);
    this.settle();
  }

  /** Sends one packet; its completion's words. */
  exchange(channel: FakeHostChannel, packet: TestPacket): number[] {
    const id = this.#next++;
    this.deliver(channel, { ...packet, id });
    this.advance(COMPLETION_WAIT_MS);
    const answers = channel.completions.filter((one) => one.id === id);
    if (answers.length !== 1) throw new Error(`${answers.length} answers`);
    return wordsOf(answers[0].payload);
  }

  /** NVSP: INIT to the send buffer. */
  negotiate(channel: FakeHostChannel, options: HandshakeOptions = {}): void {
    const { version = 0x60001, mtu = 1500, rsc = true, receivePages = 512 } = options;
    this.gpadl(RECEIVE_GPADL, RECEIVE_FIRST_PAGE, receivePages);
    expectSuccess(this.exchange(channel, { payload: nvsp(1, version, version) })[3]);
    if (version > 2) {
      this.deliver(channel, {
        payload: nvsp(125, mtu + 14, 0, (rsc ? 0x80 : 0) | 8),
        completionRequested: false,
      });
    }
    this.deliver(channel, { payload: nvsp(100, 6, 30), completionRequested: false });
    expectSuccess(this.exchange(channel, { payload: nvsp(101, RECEIVE_GPADL, 0xcafe) })[1]);
    expectSuccess(this.exchange(channel, { payload: nvsp(104, SEND_GPADL, 0) })[1]);
  }

  /** Everything that a guest does until frames flow. */
  openReady(options: HandshakeOptions = {}): FakeHostChannel {
    const channel = this.newChannel();
    this.vsp.open(channel);
    this.negotiate(channel, options);
    this.control(channel, rndis(2, 1, 1, 0, 0x4000));
    if (options.offloads !== false) this.set(channel, 0xfc01020c, offloadParameters());
    this.set(channel, 0x0001010e, words(options.filter ?? 0xd));
    channel.completions.length = 0;
    return channel;
  }

  /** A control message by pages; the reply's words, if there is one. */
  control(channel: FakeHostChannel, message: Uint8Array): number[] {
    this.memory(BUFFER_FIRST_PAGE).set(message);
    const [, status] = this.exchange(channel, {
      payload: nvsp(107, 1, 0xffff_ffff, 0),
      ranges: [{ pages: [BUFFER_FIRST_PAGE], offset: 0, sizeBytes: message.length }],
    });
    expectSuccess(status);
    const [reply] = this.takeControl(channel);
    return reply === undefined ? [] : wordsOf(reply);
  }

  query(
    channel: FakeHostChannel,
    oid: number,
    info = new Uint8Array(0),
  ): { status: number; info: Uint8Array } {
    const reply = this.control(channel, concatWords([4, 28 + info.length, 9, oid, info.length, 20, 0], info));
    const bytes = new Uint8Array(Uint32Array.from(reply).buffer);
    return { status: reply[3], info: bytes.slice(8 + reply[5], 8 + reply[5] + reply[4]) };
  }

  /** A set; its status. */
  set(channel: FakeHostChannel, oid: number, info: Uint8Array): number {
    return this.control(channel, concatWords([5, 28 + info.length, 9, oid, info.length, 20, 0], info))[3];
  }

  /** Sends RNDIS packets by a section of the send buffer; the NVSP status. */
  sendBySection(channel: FakeHostChannel, message: Uint8Array, section = 3): number {
    return this.exchange(channel, this.inSection(message, section))[1];
  }

  /** Puts RNDIS packets into a section of the send buffer; the packet that names it. */
  inSection(message: Uint8Array, section = 3): TestPacket {
    this.memory(SEND_FIRST_PAGE).set(message, section * SECTION_BYTES);
    return { payload: nvsp(107, 0, section, message.length) };
  }

  /** Sends by pages, in ranges of `pieceBytes`; a section may hold the first bytes. */
  sendByPages(channel: FakeHostChannel, message: Uint8Array, pieceBytes = 1000, inSection = 0): number {
    this.memory(SEND_FIRST_PAGE).set(message.subarray(0, inSection));
    const ranges: TestRange[] = [];
    let page = BUFFER_FIRST_PAGE;
    for (let at = inSection; at < message.length; at += pieceBytes) {
      const piece = message.subarray(at, at + pieceBytes);
      // At the end of a page, so that pieces straddle.
      const offset = PAGE_SIZE - Math.min(20, piece.length);
      this.arena.bytes.set(piece, page * PAGE_SIZE + offset);
      const count = Math.ceil((offset + piece.length) / PAGE_SIZE);
      ranges.push({
        pages: Array.from({ length: count }, (_, i) => page + i),
        offset,
        sizeBytes: piece.length,
      });
      page += count;
    }
    const section = inSection === 0 ? 0xffff_ffff : 0;
    return this.exchange(channel, { payload: nvsp(107, 0, section, inSection), ranges })[1];
  }

  /** What the guest got, section by section; it gives them back unless told otherwise. */
  take(channel: FakeHostChannel, giveBack = true): Received[] {
    const received: Received[] = [];
    for (const transfer of channel.transfers.splice(0)) {
      for (const { offset, sizeBytes } of transfer.ranges) {
        const section = this.arena.bytes.slice(offset, offset + sizeBytes);
        received.push(parsePacket(section));
      }
      if (giveBack) this.giveBack(channel, transfer);
    }
    return received;
  }

  takeControl(channel: FakeHostChannel): Uint8Array[] {
    const control = channel.transfers.filter((one) => wordsOf(one.payload)[1] === 1);
    const rest = channel.transfers.filter((one) => wordsOf(one.payload)[1] !== 1);
    channel.transfers.splice(0, Number.POSITIVE_INFINITY, ...rest);
    return control.map((transfer) => {
      const [{ offset, sizeBytes }] = transfer.ranges;
      const message = this.arena.bytes.slice(offset, offset + sizeBytes);
      this.giveBack(channel, transfer);
      return message;
    });
  }

  giveBack(channel: FakeHostChannel, transfer: Transfer): void {
    this.deliver(channel, {
      type: PacketType.COMPLETION,
      payload: nvsp(108, 1).subarray(0, 8),
      id: transfer.transactionId >>> 0,
      idHi: Math.floor(transfer.transactionId / 2 ** 32),
      completionRequested: false,
    });
  }
}

function parsePacket(section: Uint8Array): Received {
  const [type, length, dataOffset, dataLength, , , , infoOffset, infoLength] = wordsOf(section);
  if (type !== 1 || length !== section.length) throw new Error(`a message of type ${type}, ${length} bytes`);
  const info = new Map<number, number>();
  for (let at = 8 + infoOffset; at < 8 + infoOffset + infoLength; ) {
    const [size, recordType, offset] = wordsOf(section.slice(at, at + 12));
    if (size < 16 || offset !== 12) throw new Error(`a record of ${size} bytes`);
    info.set(recordType, wordsOf(section.slice(at + offset, at + offset + 4))[0]);
    at += size;
  }
  const bytes = section.slice(8 + dataOffset, 8 + dataOffset + dataLength);
  if (bytes.length !== dataLength) throw new Error('data beyond the section');
  return { bytes, info };
}

function expectSuccess(status: number): void {
  if (status !== 1) throw new Error(`NVSP status ${status}`);
}

export function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export function wordsOf(bytes: Uint8Array): number[] {
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  whole.set(bytes);
  return [...new Uint32Array(whole.buffer)];
}

function concatWords(head: readonly number[], tail: Uint8Array): Uint8Array {
  const message = new Uint8Array(4 * head.length + tail.length);
  message.set(words(...head));
  message.set(tail, 4 * head.length);
  return message;
}

/** An NVSP message of full size. */
export function nvsp(...values: readonly number[]): Uint8Array {
  const message = new Uint8Array(MESSAGE_BYTES);
  message.set(words(...values));
  return message;
}

/** An RNDIS message of words, its length filled in. */
export function rndis(type: number, ...values: readonly number[]): Uint8Array {
  return words(type, 8 + 4 * values.length, ...values);
}

/** An RNDIS packet message with records, padded to a multiple of 8. */
export function rndisPacket(
  frame: Uint8Array,
  records: readonly (readonly [number, number])[] = [],
): Uint8Array {
  const head = 44 + 16 * records.length;
  const length = Math.ceil((head + frame.length) / 8) * 8;
  const message = new Uint8Array(length);
  const infoBytes = 16 * records.length;
  message.set(words(1, length, 36 + infoBytes, frame.length, 0, 0, 0, 36, infoBytes));
  for (const [i, [type, value]] of records.entries()) message.set(words(16, type, 12, value), 44 + 16 * i);
  message.set(frame, head);
  return message;
}

/** TCP_OFFLOAD_PARAMETERS with all turned on, as Linux sends it. */
export function offloadParameters(checksum = 4, rsc = 2): Uint8Array {
  const info = new Uint8Array(32);
  info.set([0x80, 3, 32, 0, 1, checksum, checksum, checksum, checksum, 0, 0, 2, 2]);
  info.set([rsc, rsc], 22);
  return info;
}
