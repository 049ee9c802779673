import { PAGE_SIZE } from '@kensho/core';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from '@kensho/devices-net';
import { finishFrame, NetworkVsp } from '@kensho/devices-net';
import { PacketType, VmbusServer } from '@kensho/vmbus';
import type { Random } from '../../random.ts';
import { BUS_GUEST_PAGES, BusGuest, type GuestRange, type GuestRings } from '../bus-guest.ts';
import * as message from '../channel-messages.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const DEVICE = 'nic';
const RING_PAGES = 12;
const RECEIVE_PAGES = 24;
const SEND_PAGES = 6;
const BUFFER_PAGES = 8;
/** Never named in a packet or a GPADL, so that nothing may change it. */
const BYSTANDER_PAGES = 2;
const BYSTANDER = new Uint8Array(BYSTANDER_PAGES * PAGE_SIZE).fill(0x3c);
const FIRST_RING_PAGE = BUS_GUEST_PAGES;
const FIRST_RECEIVE_PAGE = FIRST_RING_PAGE + RING_PAGES;
const FIRST_SEND_PAGE = FIRST_RECEIVE_PAGE + RECEIVE_PAGES;
const FIRST_BUFFER_PAGE = FIRST_SEND_PAGE + SEND_PAGES;
const FIRST_BYSTANDER_PAGE = FIRST_BUFFER_PAGE + BUFFER_PAGES;
const RAM_PAGES = FIRST_BYSTANDER_PAGE + BYSTANDER_PAGES;
const RING_GPADL = 9;
const RECEIVE_GPADL = 10;
const SEND_GPADL = 11;
const ACTIONS = 20;
/** How long a completion may wait for something to go with. */
const COMPLETION_WAIT_NS = 4e6;

const MESSAGE_BYTES = 40;
const SECTION_BYTES = 6144;
const NO_SECTION = 0xffff_ffff;
const RECEIVE_BUFFER_ID = 0xcafe;
const MAX_FRAME_BYTES = 14 + 9000;
const LARGE_FRAME_BYTES = 14 + 0xffff;
const VERSIONS = [2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001];
const NEWEST = 0x60001;

const INIT = 1;
const INIT_COMPLETE = 2;
const SEND_NDIS_VER = 100;
const SEND_RECV_BUF = 101;
const REVOKE_RECV_BUF = 103;
const SEND_SEND_BUF = 104;
const REVOKE_SEND_BUF = 106;
const SEND_RNDIS_PKT = 107;
const RNDIS_PKT_COMPLETE = 108;
const SEND_NDIS_CONFIG = 125;
const SUBCHANNEL = 133;
const SEND_TABLE = 134;
const TYPES = [
  INIT,
  SEND_NDIS_VER,
  SEND_RECV_BUF,
  REVOKE_RECV_BUF,
  SEND_SEND_BUF,
  REVOKE_SEND_BUF,
  125,
  129,
  133,
];
/** Types of completions by type of message; what has no answer of its own gets an empty completion. */
const ANSWERS: ReadonlyMap<number, number> = new Map([
  [INIT, INIT_COMPLETE],
  [SEND_RECV_BUF, 102],
  [SEND_SEND_BUF, 105],
  [SEND_RNDIS_PKT, RNDIS_PKT_COMPLETE],
  [SUBCHANNEL, SUBCHANNEL],
]);
const REPLIES = [0x80000002, 0x80000004, 0x80000005, 0x80000006, 0x80000008, 7];

const OIDS = [
  0x00010101, 0x00010106, 0x00010107, 0x0001010e, 0x00010114, 0x00010203, 0x00010204, 0x00010216, 0x0001021b,
  0x00020101, 0x01010101, 0x01010102, 0x01010103, 0x0101010a, 0xfc01020b, 0xfc01020c, 0xfc01020d,
];
const MAC = [0x00, 0x15, 0x5d, 0x00, 0x00, 0x01] as const;

/** NVSP messages, RNDIS control and data messages, and frames for the guest. */
export const netvspTarget: FuzzTarget = {
  id: 'netvsp',
  description:
    'network messages (NVSP, RNDIS control and data) of any kind, frames for the guest, link changes',
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => new NetworkCase(memory, random).run() };
  },
};

/** A network that checks what the adapter sends. */
class CheckingNetwork implements NetworkConnector, NetworkPort {
  linkUp = true;
  adapter: NetworkAdapter | undefined;
  /** A frame that the adapter had no room for. */
  readonly waiting: Frame[] = [];

  connect(adapter: NetworkAdapter): NetworkPort {
    this.adapter = adapter;
    return this;
  }

  send(frame: Frame): void {
    const { bytes, offload, vlanTag } = frame;
    const limit = offload?.segmentPayloadBytes === undefined ? MAX_FRAME_BYTES : LARGE_FRAME_BYTES;
    expectAlways(
      bytes.length >= 14 && bytes.length <= limit,
      () => `a frame of ${bytes.length} bytes was sent`,
    );
    expectAlways(vlanTag === undefined || vlanTag <= 0xffff, () => `a frame with tag ${vlanTag} was sent`);
    const pieces = finishFrame(frame);
    expectAlways(pieces.length > 0, 'a frame was sent that cannot be finished');
    for (const piece of pieces) {
      expectAlways(piece.bytes.length <= MAX_FRAME_BYTES, () => `a piece of ${piece.bytes.length} bytes`);
    }
  }

  /** Offers a frame; those behind one that has to wait are lost. */
  offer(frame: Frame): void {
    if (this.waiting.length === 0 && this.adapter?.receive(frame) === false) this.waiting.push(frame);
  }

  receiveReady(): void {
    while (this.waiting.length > 0 && this.adapter?.receive(this.waiting[0]) === true) this.waiting.shift();
  }

  close(): void {
    this.adapter = undefined;
  }
}

class NetworkCase {
  readonly #random: Random;
  readonly #machine: FuzzMachine;
  readonly #bus: VmbusServer;
  readonly #vsp: NetworkVsp;
  readonly #network = new CheckingNetwork();
  readonly #guest: BusGuest;
  #relid = 0;
  #rings!: GuestRings;
  /** Types of messages that have no answer yet, by transaction. */
  readonly #asked = new Map<number, number>();
  /** Sections that the guest has, by transaction. */
  readonly #received = new Map<number, readonly number[]>();
  #nextTransaction = 1;
  #lastReply: Uint8Array | undefined;
  /** The guest took its receive buffer back, or gave another: what comes may lie anywhere, and over what it has. */
  #bufferChanged = false;

  constructor(memory: MachineMemory, random: Random) {
    this.#random = random;
    this.#machine = new FuzzMachine({ memory, ramPages: RAM_PAGES });
    const { partition, ports } = this.#machine;
    const { work, timers, counters, faults, logger: log, dma } = partition;
    this.#bus = new VmbusServer({
      ports,
      work,
      timers,
      counters,
      faults,
      log,
      dma: dma.attach('vmbus', 'passthrough'),
    });
    this.#vsp = new NetworkVsp(
      {
        id: DEVICE,
        instanceId: '6f1e2d3c-0000-4000-8000-00000000e770',
        mac: Uint8Array.from(MAC),
        connector: this.#network,
        maxSubChannels: random.below(3),
        allowMacChange: random.oneIn(2),
      },
      { bus: this.#bus, work, timers, dma: dma.attach(DEVICE, 'passthrough'), counters, faults },
    );
    this.#vsp.start();
    this.#guest = new BusGuest(this.#machine);
  }

  async run(): Promise<void> {
    const random = this.#random;
    const machine = this.#machine;
    const [offer] = await this.#guest.connect();
    expectAlways(offer !== undefined, 'the adapter was not offered');
    this.#relid = message.wordOf(offer, 46);
    await this.#open();
    if (!random.oneIn(8)) await this.#setUp(random.pick(VERSIONS));
    const bystander = machine.ram(FIRST_BYSTANDER_PAGE * PAGE_SIZE);
    bystander.set(BYSTANDER);
    for (let i = 0; i < ACTIONS; i++) {
      this.#doSomething();
      if (random.oneIn(3)) await this.#collect();
    }
    await this.#collect();
    machine.stall(COMPLETION_WAIT_NS);
    await this.#collect();
    expectAlways(this.#asked.size === 0, () => `${this.#asked.size} messages were not answered`);
    expectAlways(
      Buffer.compare(bystander, BYSTANDER) === 0,
      'the adapter wrote to memory that it was not given',
    );
    await this.#startAnew();
    await this.#guest.unload();
    await machine.serve(this.#vsp.stop());
    await machine.serve(this.#bus.stop());
    for (const device of [DEVICE, 'vmbus']) machine.partition.dma.detach(device);
    machine.end();
  }

  async #open(): Promise<void> {
    this.#rings = await this.#guest.open(this.#relid, RING_GPADL, FIRST_RING_PAGE, RING_PAGES);
    await this.#register(RECEIVE_GPADL, FIRST_RECEIVE_PAGE, RECEIVE_PAGES);
    await this.#register(SEND_GPADL, FIRST_SEND_PAGE, SEND_PAGES);
  }

  async #register(gpadl: number, firstPage: number, count: number): Promise<void> {
    const pages = Array.from({ length: count }, (_, i) => firstPage + i);
    for (const part of message.gpadlMessages(this.#relid, gpadl, pages)) await this.#guest.ask(part);
  }

  /** Whatever went before, a guest that does everything right is served. */
  async #startAnew(): Promise<void> {
    for (const gpadl of [RECEIVE_GPADL, SEND_GPADL]) {
      await this.#guest.ask(message.gpadlTeardown(this.#relid, gpadl));
    }
    await this.#guest.close(this.#relid, RING_GPADL);
    this.#received.clear();
    this.#bufferChanged = false;
    this.#network.waiting.length = 0;
    await this.#open();
    await this.#setUp(NEWEST);
    this.#lastReply = undefined;
    await this.#ask(message.words(4, 28, 77, 0x01010101, 0, 20, 0));
    const reply = this.#lastReply as Uint8Array | undefined;
    expectAlways(reply !== undefined && message.wordOf(reply, 2) === 77, 'a query was not answered');
    expectAlways(Buffer.compare(reply.subarray(24, 30), Uint8Array.from(MAC)) === 0, 'another address');
  }

  /** What a guest does until frames flow; each step has to succeed. */
  async #setUp(version: number): Promise<void> {
    await this.#demand(nvsp(INIT, version, version), 3);
    if (version > 2)
      this.#send(nvsp(SEND_NDIS_CONFIG, 14 + this.#random.pick([576, 1500, 9000]), 0, 0x88), false);
    this.#send(nvsp(SEND_NDIS_VER, 6, 30), false);
    await this.#demand(nvsp(SEND_RECV_BUF, RECEIVE_GPADL, RECEIVE_BUFFER_ID), 1);
    await this.#demand(nvsp(SEND_SEND_BUF, SEND_GPADL, 0), 1);
    await this.#ask(message.words(2, 24, 1, 1, 0, 0x4000));
    const offloads = new Uint8Array(32);
    offloads.set([0x80, 3, 32, 0, 1, 4, 4, 4, 4]);
    offloads.set([2, 2], 22);
    await this.#ask(oidMessage(5, 0xfc01020c, offloads));
    await this.#ask(oidMessage(5, 0x0001010e, Uint8Array.of(0x20, 0, 0, 0)));
  }

  async #demand(packet: Uint8Array, statusIndex: number): Promise<void> {
    const id = this.#nextTransaction++;
    expectAlways(this.#rings.send(packet, id, true), 'an empty ring has no room');
    this.#guest.signal(this.#relid);
    await this.#machine.settle();
    for (let one = this.#rings.receive(); one !== undefined; one = this.#rings.receive()) {
      if (one.type !== PacketType.COMPLETION || one.transactionIdLo !== id) continue;
      const status = message.wordOf(one.payload, statusIndex);
      expectAlways(status === 1, () => `message ${packet[0]} was refused with ${status}`);
      return;
    }
    expectAlways(false, 'a message was not answered');
  }

  #doSomething(): void {
    const random = this.#random;
    switch (random.below(10)) {
      case 0:
        this.#send(this.#anyMessage(), !random.oneIn(4));
        return;
      case 1:
      case 2:
        this.#sendBytes(this.#controlMessage(), 1, false);
        return;
      case 3:
      case 4:
        this.#network.offer(this.#frame());
        return;
      case 5:
        this.#giveBack();
        return;
      case 6:
        this.#network.linkUp = random.oneIn(2);
        this.#network.adapter?.linkChanged(this.#network.linkUp);
        return;
      default:
        this.#sendData();
    }
  }

  #anyMessage(): Uint8Array {
    const random = this.#random;
    if (random.oneIn(6)) return random.bytes(random.below(64));
    const gpadl = mostly(random, () => random.pick([RECEIVE_GPADL, SEND_GPADL]), 4);
    const id = mostly(random, () => random.pick([RECEIVE_BUFFER_ID, 0]), 4);
    const type = mostly(random, () => random.pick(TYPES));
    const packet = nvsp(type, gpadl, id, edgeValue(random));
    if (type === INIT) packet.set(message.words(random.pick(VERSIONS), random.pick(VERSIONS)), 4);
    if (type === SUBCHANNEL) packet.set(message.words(1, random.below(4)), 4);
    return random.oneIn(8) ? packet.subarray(0, random.below(MESSAGE_BYTES)) : packet;
  }

  #controlMessage(): Uint8Array {
    const random = this.#random;
    if (random.oneIn(8)) return random.bytes(random.below(200));
    const type = mostly(random, () => random.pick([2, 3, 4, 4, 4, 5, 5, 5, 6, 8]));
    const info = this.#info();
    const request = oidMessage(
      type,
      mostly(random, () => random.pick(OIDS)),
      info,
    );
    this.#damage(request, 28);
    return request;
  }

  /** What a set carries: objects that exist, more or less. */
  #info(): Uint8Array {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        return message.words(edgeValue(random));
      case 1: {
        const info = new Uint8Array(40 + 512 + 40);
        info.set([0x89, 2, 40, 0, mostly(random, () => 0)]);
        info.set(message.words(0x1701, 512, 40, 40, 552), 8);
        this.#damage(info, 40);
        return info;
      }
      case 2: {
        const info = random.bytes(32);
        info[0] = 0x80;
        return info;
      }
      case 3: {
        const text = Uint16Array.from('NetworkAddress00155D0000FF', (one) => one.charCodeAt(0));
        const info = new Uint8Array(20 + 52);
        info.set(message.words(20, 28, 2, 48, 24));
        info.set(new Uint8Array(text.buffer), 20);
        this.#damage(info, 20);
        return info;
      }
      default:
        return random.bytes(random.below(80));
    }
  }

  /** Changes words of the first bytes now and then. */
  #damage(bytes: Uint8Array, headBytes: number): void {
    const random = this.#random;
    for (let i = random.oneIn(3) ? 1 + random.below(2) : 0; i > 0; i--) {
      bytes.set(message.words(edgeValue(random)), 4 * random.below(headBytes / 4));
    }
  }

  /** A control message as a guest sends it, before the next one takes its place in memory. */
  async #ask(packet: Uint8Array): Promise<void> {
    this.#sendBytes(packet, 1, true);
    await this.#collect();
  }

  #sendData(): void {
    const random = this.#random;
    const parts: Uint8Array[] = [];
    for (let i = 1 + (random.oneIn(3) ? random.below(6) : 0); i > 0; i--) parts.push(this.#packetMessage());
    this.#sendBytes(
      Buffer.concat(parts),
      mostly(random, () => 0, 40),
      false,
    );
  }

  /** An RNDIS packet with records, right or nearly. */
  #packetMessage(): Uint8Array {
    const random = this.#random;
    const { bytes } = this.#frame();
    const records: (readonly [number, number])[] = [];
    if (random.oneIn(3)) records.push([0, random.below(32) | (random.pick([0, 34, 54, 1023]) << 16)]);
    if (random.oneIn(3)) {
      const segment = mostly(random, () => random.pick([48, 500, 1440]), 4) & 0xfffff;
      const ipv6 = bytes[12] === 0x86;
      records.push([2, (segment | ((ipv6 ? 54 : 34) << 20) | 0x40000000 | (ipv6 ? 0x80000000 : 0)) >>> 0]);
    }
    if (random.oneIn(4)) records.push([6, random.u32()]);
    if (random.oneIn(6)) records.push([random.pick([8, 1, 3, 0x80000001]), random.u32()]);
    const head = 44 + 16 * records.length;
    const packet = new Uint8Array((head + bytes.length + 7) & ~7);
    packet.set(message.words(1, packet.length, head - 8, bytes.length, 0, 0, 0, 36, 16 * records.length));
    for (const [i, [type, value]] of records.entries()) {
      packet.set(message.words(16, type, 12, value), 44 + 16 * i);
    }
    packet.set(bytes, head);
    this.#damage(packet, head);
    return packet;
  }

  /** A frame of at least 14 bytes: IP with TCP or UDP, or nearly, or anything. */
  #frame(): Frame {
    const random = this.#random;
    const sizeBytes =
      mostly(random, () => random.pick([14, 54, 60, 100, 1514, 9014, 20_000, 65_000])) % 70_000;
    const bytes = new Uint8Array(Math.max(14, sizeBytes));
    bytes.set(MAC);
    bytes.set(random.bytes(Math.min(74, bytes.length - 14)), 14);
    if (bytes.length > 60 && !random.oneIn(6)) {
      const ipv6 = random.oneIn(2);
      const view = new DataView(bytes.buffer);
      const protocol = random.pick([6, 6, 17]);
      view.setUint16(12, random.oneIn(16) ? 0x8100 : ipv6 ? 0x86dd : 0x0800);
      bytes[14] = ipv6 ? 0x60 : mostly(random, () => 0x45);
      view.setUint16(ipv6 ? 18 : 16, mostly(random, () => bytes.length - (ipv6 ? 54 : 14)) & 0xffff);
      view.setUint16(20, ipv6 ? protocol << 8 : 0);
      if (!ipv6) bytes[23] = protocol;
      const transport = ipv6 ? 54 : 34;
      if (bytes.length > transport + 20) bytes[transport + 12] = mostly(random, () => 0x50);
    }
    if (bytes.length <= 1514 && random.oneIn(2)) return { bytes };
    const startOffset = random.pick([34, 54, random.below(200)]);
    const offload = {
      checksum: random.oneIn(4)
        ? undefined
        : { startOffset, fieldOffset: startOffset + random.pick([6, 16]) },
      ipv4HeaderChecksum: random.oneIn(3),
      segmentPayloadBytes: random.oneIn(3) ? undefined : random.pick([100, 1400, 8000]),
    };
    return { bytes, vlanTag: random.oneIn(3) ? random.below(0x10000) : undefined, offload };
  }

  /** Puts an RNDIS message where the guest's messages lie, and names it. */
  #sendBytes(bytes: Uint8Array, channelType: number, right: boolean): void {
    const random = this.#random;
    const machine = this.#machine;
    let section = NO_SECTION;
    let inSection = 0;
    const sections = Math.floor((SEND_PAGES * PAGE_SIZE) / SECTION_BYTES);
    if (!right && random.oneIn(2)) {
      section = random.below(sections);
      inSection = Math.min(bytes.length, SECTION_BYTES);
      if (random.oneIn(4)) inSection = random.below(inSection + 1);
      machine.ram(FIRST_SEND_PAGE * PAGE_SIZE + section * SECTION_BYTES).set(bytes.subarray(0, inSection));
    }
    const rest = bytes.subarray(inSection, inSection + BUFFER_PAGES * PAGE_SIZE);
    machine.ram(FIRST_BUFFER_PAGE * PAGE_SIZE).set(rest);
    const packet = nvsp(SEND_RNDIS_PKT, channelType, section, inSection);
    if (!right) this.#damageSection(packet);
    this.#send(
      packet,
      right || !random.oneIn(8),
      rest.length > 0 ? this.#ranges(rest.length, right) : undefined,
    );
  }

  #damageSection(packet: Uint8Array): void {
    const random = this.#random;
    if (random.oneIn(10)) packet.set(message.words(edgeValue(random)), 8 + 4 * random.below(2));
  }

  /** Ranges over the buffer pages, in pieces; mostly in order. */
  #ranges(sizeBytes: number, right: boolean): GuestRange[] {
    const random = this.#random;
    const ranges: GuestRange[] = [];
    const pieces = right ? 1 : 1 + random.below(4);
    let at = 0;
    for (let i = 0; i < pieces && at < sizeBytes; i++) {
      const count = i === pieces - 1 ? sizeBytes - at : 1 + random.below(sizeBytes - at);
      const offset = at % PAGE_SIZE;
      const first = FIRST_BUFFER_PAGE + Math.floor(at / PAGE_SIZE);
      const pages = Array.from({ length: Math.ceil((offset + count) / PAGE_SIZE) }, (_, page) =>
        !right && random.oneIn(200) ? RAM_PAGES + random.below(2 ** 31) : first + page,
      );
      if (!right && random.oneIn(60)) pages.pop();
      ranges.push({ pages, offset, sizeBytes: count });
      at += count;
    }
    return ranges;
  }

  #send(payload: Uint8Array, completion: boolean, ranges?: readonly GuestRange[]): void {
    const id = this.#nextTransaction++;
    if (!this.#rings.send(payload, id, completion, ranges)) return;
    // The ring fills a payload up with zeroes.
    const type = message.wordOf(Uint8Array.of(...payload.subarray(0, 4), 0, 0, 0, 0), 0);
    if (type === SEND_RECV_BUF || type === REVOKE_RECV_BUF) this.#bufferChanged = true;
    if (completion) this.#asked.set(id, type);
  }

  /** Completes something that was received, or that was not. */
  #giveBack(): void {
    const random = this.#random;
    const [id] = this.#received.keys();
    const wrong = id === undefined || random.oneIn(6);
    if (!wrong) this.#received.delete(id);
    const transaction = wrong ? edgeValue(random) : id;
    const completion = nvsp(RNDIS_PKT_COMPLETE, 1).subarray(0, 8);
    this.#rings.sendCompletion(completion, transaction % 2 ** 32, Math.floor(transaction / 2 ** 32));
  }

  /** Signals, and checks every packet that comes back. */
  async #collect(): Promise<void> {
    for (;;) {
      this.#guest.signal(this.#relid);
      await this.#machine.settle();
      let received = 0;
      for (let one = this.#rings.receive(); one !== undefined; one = this.#rings.receive()) {
        received++;
        if (one.type === PacketType.COMPLETION) this.#checkCompletion(one.transactionIdLo, one.payload);
        else if (one.type === PacketType.TRANSFER_PAGES) this.#checkTransfer(one);
        else expectAlways(message.wordOf(one.payload, 0) === SEND_TABLE, 'an unasked packet');
      }
      // Sub-channels that the adapter offers are not opened.
      await this.#guest.messages();
      if (received === 0) return;
    }
  }

  #checkCompletion(transaction: number, payload: Uint8Array): void {
    const type = this.#asked.get(transaction);
    expectAlways(type !== undefined, () => `transaction ${transaction} was answered twice, or unasked`);
    this.#asked.delete(transaction);
    const answer = ANSWERS.get(type);
    const expected = answer === undefined ? 0 : MESSAGE_BYTES;
    expectAlways(
      payload.length === expected,
      () => `an answer of ${payload.length} bytes to message ${type}`,
    );
    if (answer === undefined) return;
    expectAlways(
      message.wordOf(payload, 0) === answer,
      () => `message ${type} was answered with ${message.wordOf(payload, 0)}`,
    );
  }

  /** What the guest receives lies within its buffer, in sections that it does not have yet, and is well-formed. */
  #checkTransfer(packet: NonNullable<ReturnType<GuestRings['receive']>>): void {
    const ram = this.#machine.ram(FIRST_RECEIVE_PAGE * PAGE_SIZE);
    const control = message.wordOf(packet.payload, 1) === 1;
    expectAlways(packet.completionRequested && packet.rangeCount > 0, 'a packet that cannot be given back');
    const sections: number[] = [];
    for (let i = 0; i < packet.rangeCount; i++) {
      const { offset, sizeBytes } = packet.ranges[i];
      expectAlways(offset + sizeBytes <= RECEIVE_PAGES * PAGE_SIZE, 'a section beyond the receive buffer');
      for (const taken of this.#bufferChanged ? [] : [sections, ...this.#received.values()]) {
        expectAlways(!taken.includes(offset), () => `the section at ${offset} was used twice`);
      }
      sections.push(offset);
      const section = ram.slice(offset, offset + sizeBytes);
      if (this.#bufferChanged) continue;
      const type = message.wordOf(section, 0);
      expectAlways(message.wordOf(section, 1) === sizeBytes, 'a message with another length than its range');
      if (control) {
        expectAlways(REPLIES.includes(type), () => `a control message of type ${type}`);
        this.#lastReply = section;
      } else {
        checkPacketMessage(section);
      }
    }
    const id = packet.transactionIdHi * 2 ** 32 + packet.transactionIdLo;
    expectAlways(!this.#received.has(id), () => `transaction ${id} is under way twice`);
    this.#received.set(id, sections);
    // A guest that gives nothing back gets nothing more: now and then it does at once.
    if (!this.#random.oneIn(3)) return;
    this.#received.delete(id);
    const { transactionIdLo, transactionIdHi } = packet;
    this.#rings.sendCompletion(nvsp(RNDIS_PKT_COMPLETE, 1).subarray(0, 8), transactionIdLo, transactionIdHi);
  }
}

/** Records chain within their area, and data lies behind them: otherwise Linux would loop. */
function checkPacketMessage(section: Uint8Array): void {
  const word = (index: number) => message.wordOf(section, index);
  expectAlways(word(0) === 1, () => `a data message of type ${word(0)}`);
  expectAlways(8 + word(2) + word(3) === section.length, 'data that does not end with its message');
  let at = 8 + word(7);
  const end = at + word(8);
  expectAlways(word(8) === 0 || (at === 44 && end === 8 + word(2)), 'records that are not before the data');
  while (word(8) > 0 && at < end) {
    const size = message.wordOf(section.subarray(at), 0);
    expectAlways(size === 16 && message.wordOf(section.subarray(at), 2) === 12, 'a record of another form');
    at += size;
  }
}

function nvsp(...values: readonly number[]): Uint8Array {
  const packet = new Uint8Array(MESSAGE_BYTES);
  packet.set(message.words(...values));
  return packet;
}

function oidMessage(type: number, oid: number, info: Uint8Array): Uint8Array {
  const request = new Uint8Array(28 + info.length);
  request.set(message.words(type, request.length, 5, oid, info.length, 20, 0));
  request.set(info, 28);
  return request;
}
