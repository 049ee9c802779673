import { HvMsr, HvStatus, HypercallCode, PAGE_SIZE, type Vp } from '@kensho/core';
import {
  ChannelMessageType,
  type IncomingPacket,
  RingMemory,
  RingRead,
  RingReader,
  RingWriter,
} from '@kensho/vmbus';
import * as message from './channel-messages.ts';
import type { FuzzMachine } from './machine.ts';
import { expectAlways } from './target.ts';

/** Pages from 0 on that the guest's end of the bus takes. */
export const BUS_GUEST_PAGES = 4;
const INPUT_PAGE = 0;
const HYPERCALL_PAGE = 1;
const SIMP_PAGE = 2;
const SIEFP_PAGE = 3;

const SINT = 2;
const SINT_VECTOR = 0xf3;
const MESSAGE_CONNECTION = 4;
const EVENT_CONNECTION_BASE = 0x2000;
const FAST = 1 << 16;
const MAX_MESSAGES = 4096;

/** A guest's end of VMBus on a {@link FuzzMachine}: by hypercalls and the SynIC's pages, without a kernel. */
export class BusGuest {
  readonly #machine: FuzzMachine;
  readonly #vp: Vp;

  constructor(machine: FuzzMachine) {
    this.#machine = machine;
    this.#vp = machine.vp();
    machine.enableHypercalls(HYPERCALL_PAGE);
    machine.writeMsr(HvMsr.SIMP, SIMP_PAGE * PAGE_SIZE + 1);
    machine.writeMsr(HvMsr.SIEFP, SIEFP_PAGE * PAGE_SIZE + 1);
    machine.writeMsr(HvMsr.SINT0 + SINT, SINT_VECTOR);
    machine.writeMsr(HvMsr.SCONTROL, 1);
  }

  /** Connects with the newest version. Returns the offers' messages. */
  async connect(): Promise<Uint8Array[]> {
    const [response] = await this.ask(message.initiateContact(message.NEWEST_VERSION, 0, SINT));
    expectAlways(
      response !== undefined && message.wordOf(response, 0) === ChannelMessageType.VERSION_RESPONSE,
      'a contact was not answered',
    );
    expectAlways((message.wordOf(response, 2) & 0xff) === 1, 'the newest version was refused');
    const offers = await this.ask(message.requestOffers());
    return offers.filter((one) => message.wordOf(one, 0) === ChannelMessageType.OFFERCHANNEL);
  }

  /** Registers pages and opens a channel with its rings in them: the first half is for what the guest sends. */
  async open(relid: number, gpadl: number, firstPage: number, pageCount: number): Promise<GuestRings> {
    const pages = Array.from({ length: pageCount }, (_, i) => firstPage + i);
    this.#machine.ram(firstPage * PAGE_SIZE).fill(0, 0, pageCount * PAGE_SIZE);
    const answers: Uint8Array[] = [];
    for (const part of message.gpadlMessages(relid, gpadl, pages)) answers.push(...(await this.ask(part)));
    const half = pageCount / 2;
    answers.push(...(await this.ask(message.openChannel(relid, 1, gpadl, 0, half))));
    const result = answers.find((one) => message.wordOf(one, 0) === ChannelMessageType.OPENCHANNEL_RESULT);
    expectAlways(result !== undefined, 'an open was not answered');
    expectAlways(
      message.wordOf(result, 4) === 0,
      () => `an open was refused with ${message.wordOf(result, 4)}`,
    );
    return new GuestRings(this.#machine, firstPage, half);
  }

  /** Closes a channel and takes its memory back. */
  async close(relid: number, gpadl: number): Promise<void> {
    await this.ask(message.closeChannel(relid));
    const answers = await this.ask(message.gpadlTeardown(relid, gpadl));
    expectAlways(
      answers.some((one) => message.wordOf(one, 0) === ChannelMessageType.GPADL_TORNDOWN),
      'a teardown was not answered',
    );
  }

  async unload(): Promise<void> {
    const answers = await this.ask(message.unload());
    expectAlways(
      answers.some((one) => message.wordOf(one, 0) === ChannelMessageType.UNLOAD_RESPONSE),
      'an unload was not answered',
    );
  }

  /** Posts a message, and takes all messages that come until the host is at rest. */
  async ask(question: Uint8Array): Promise<Uint8Array[]> {
    const ram = this.#machine.ram(INPUT_PAGE * PAGE_SIZE);
    ram.set(message.words(MESSAGE_CONNECTION, 0, 1, question.length));
    ram.set(question, 16);
    const input = { lo: INPUT_PAGE * PAGE_SIZE, hi: 0 };
    const { lo } = this.#machine.hypercall(HypercallCode.HvCallPostMessage, 0, input, NOTHING);
    expectAlways(lo === HvStatus.SUCCESS, () => `a message was refused with status ${lo}`);
    return await this.messages();
  }

  async messages(): Promise<Uint8Array[]> {
    const taken: Uint8Array[] = [];
    for (;;) {
      await this.#machine.settle();
      const one = this.#takeMessage();
      if (one === undefined) return taken;
      taken.push(one);
      expectAlways(taken.length < MAX_MESSAGES, 'messages never end');
    }
  }

  /** Tells the host that there is something in a ring. */
  signal(relid: number): number {
    const input = { lo: EVENT_CONNECTION_BASE | relid, hi: 0 };
    return this.#machine.hypercall(HypercallCode.HvCallSignalEvent | FAST, 0, input, NOTHING).lo;
  }

  /** Frees the slot and ends the interrupt, as a handler does. */
  #takeMessage(): Uint8Array | undefined {
    const { gpa } = this.#machine.partition;
    const at = gpa.translate(SIMP_PAGE * PAGE_SIZE + SINT * 256, 1);
    const { words, bytes } = gpa.arena;
    if (words[at >>> 2] === 0) return undefined;
    const payload = bytes.slice(at + 16, at + 16 + bytes[at + 4]);
    words[at >>> 2] = 0;
    this.#machine.writeMsr(HvMsr.EOM, 0);
    this.#vp.acknowledgeInterrupt();
    this.#machine.writeMsr(HvMsr.EOI, 0);
    return payload;
  }
}

const NOTHING = { lo: 0, hi: 0 };

/** Packet flag: the sender wants a completion. */
const COMPLETION_REQUESTED = 1;
const IN_BAND = 6;
const GPA_DIRECT = 9;
const COMPLETION = 0x0b;

/** A buffer in guest memory: pages, an offset into the first, and a size. */
export interface GuestRange {
  readonly pages: readonly number[];
  readonly offset: number;
  readonly sizeBytes: number;
}

/** The guest's end of a channel's rings, which it may also treat as memory like any other. */
export class GuestRings {
  /** All of the rings' memory, control pages included: what the guest sends, then what it gets. */
  readonly words: Uint32Array;
  readonly #writer: RingWriter;
  readonly #reader: RingReader;
  readonly #outgoing: RingMemory;

  constructor(machine: FuzzMachine, firstPage: number, pagesEach: number) {
    const { arena } = machine.partition.gpa;
    const first = machine.arenaPage(firstPage);
    const pages = (from: number) => Array.from({ length: pagesEach }, (_, i) => from + i);
    this.words = arena.words.subarray(first * 1024, (first + 2 * pagesEach) * 1024);
    this.#outgoing = new RingMemory(arena.words, arena.bytes, pages(first));
    this.#writer = new RingWriter(this.#outgoing);
    this.#reader = new RingReader(new RingMemory(arena.words, arena.bytes, pages(first + pagesEach)));
  }

  /** The control page of the ring that the guest writes, or of the one that it reads. */
  control(ring: 'outgoing' | 'incoming'): Uint32Array {
    const at = ring === 'outgoing' ? 0 : this.words.length / 2;
    return this.words.subarray(at, at + 1024);
  }

  get dataSizeBytes(): number {
    return this.#outgoing.dataSizeBytes;
  }

  /** Sends a packet with a payload, and with buffers where there are any; false where the ring has no room. */
  send(
    payload: Uint8Array,
    transactionId: number,
    completion: boolean,
    ranges?: readonly GuestRange[],
  ): boolean {
    const descriptor: number[] = [0, 0, transactionId, 0];
    if (ranges !== undefined) {
      descriptor.push(0, ranges.length);
      for (const { pages, offset, sizeBytes } of ranges) {
        descriptor.push(sizeBytes, offset);
        for (const page of pages) descriptor.push(page % 2 ** 32, Math.floor(page / 2 ** 32));
      }
    }
    const descriptorBytes = 4 * descriptor.length;
    const sizeBytes = descriptorBytes + ((payload.length + 7) & ~7);
    descriptor[0] = (ranges === undefined ? IN_BAND : GPA_DIRECT) | (descriptorBytes << 13);
    descriptor[1] = (sizeBytes >>> 3) | (completion ? COMPLETION_REQUESTED << 16 : 0);
    const target = this.#writer.reserve(sizeBytes);
    if (target === undefined) return false;
    target.words.set(descriptor, target.at);
    target.bytes.set(payload, 4 * target.at + descriptorBytes);
    this.#writer.commit(sizeBytes);
    this.#writer.publish();
    return true;
  }

  /** Answers a packet of the host's; false where the ring has no room. */
  sendCompletion(payload: Uint8Array, transactionIdLo: number, transactionIdHi: number): boolean {
    const sizeBytes = 16 + ((payload.length + 7) & ~7);
    const target = this.#writer.reserve(sizeBytes);
    if (target === undefined) return false;
    target.words.set([COMPLETION | (2 << 16), sizeBytes >>> 3, transactionIdLo, transactionIdHi], target.at);
    target.bytes.set(payload, 4 * target.at + 16);
    this.#writer.commit(sizeBytes);
    this.#writer.publish();
    return true;
  }

  /** The next packet of the host's; good until the next call. */
  receive(): IncomingPacket | undefined {
    const outcome = this.#reader.next();
    if (outcome === RingRead.PACKET) return this.#reader.packet;
    expectAlways(outcome === RingRead.EMPTY, 'the host left its ring in a state that makes no sense');
    this.#reader.publish();
    return undefined;
  }
}
