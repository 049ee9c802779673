import {
  GuestEvent,
  GuestIoError,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
  PAGE_SIZE,
} from '@kensho/core';
import type { GuestChannel } from '@kensho/vmbus';
import {
  NVSP_NO_SECTION,
  NvspMessage,
  NvspRndisPacket,
  NvspRndisPacketComplete,
  NvspStatus,
  RndisChannel,
} from '../protocol/nvsp.ts';
import { RndisHeader } from '../protocol/rndis.ts';

/** Frames that wait in one channel's queue; who sends more has to wait. */
const QUEUE_FRAMES = 256;
/** Buffers for messages that no section holds. */
const LARGE_BUFFERS = 8;
const LARGE_BUFFER_BYTES = 17 * PAGE_SIZE;

/** Memory for one NVSP message on its way: a section of the send buffer, or pages of its own. */
interface Slot {
  readonly transactionId: number;
  /** Index in the send buffer; undefined for a large one. */
  readonly section: number | undefined;
  pages: GuestPages | undefined;
  inFlight: boolean;
}

/** The send buffer and the large buffers of an adapter, which its channels share. */
export class TransmitMemory {
  readonly sectionBytes: number;
  readonly maxPacketsPerMessage: number;
  readonly alignment: number;
  readonly #buffer: GuestPages;
  readonly #kernel: GuestKernel;
  readonly #slots: Slot[] = [];
  readonly #freeSections: Slot[] = [];
  readonly #freeLarge: Slot[] = [];

  constructor(
    kernel: GuestKernel,
    buffer: GuestPages,
    limits: { sectionBytes: number; maxPacketsPerMessage: number; alignment: number },
  ) {
    this.#kernel = kernel;
    this.#buffer = buffer;
    this.sectionBytes = limits.sectionBytes;
    this.maxPacketsPerMessage = limits.maxPacketsPerMessage;
    this.alignment = limits.alignment;
    const sections = Math.floor(buffer.sizeBytes / limits.sectionBytes);
    for (let section = 0; section < sections; section++) this.#add(section, this.#freeSections);
    for (let i = 0; i < LARGE_BUFFERS; i++) this.#add(undefined, this.#freeLarge);
  }

  /** A slot for a message of that size; undefined where all are in flight. */
  take(sizeBytes: number): Slot | undefined {
    if (sizeBytes <= this.sectionBytes) return this.#freeSections.pop();
    if (sizeBytes > LARGE_BUFFER_BYTES) throw new GuestIoError(`a message of ${sizeBytes} bytes`);
    const slot = this.#freeLarge.pop();
    if (slot !== undefined) slot.pages ??= this.#kernel.allocate(LARGE_BUFFER_BYTES);
    return slot;
  }

  memoryOf(slot: Slot): Uint8Array {
    if (slot.pages !== undefined) return slot.pages.bytes;
    const start = (slot.section ?? 0) * this.sectionBytes;
    return this.#buffer.bytes.subarray(start, start + this.sectionBytes);
  }

  /** The host completed a transaction; false where it is none of these. */
  release(transactionId: number): boolean {
    const slot = this.#slots[transactionId - 1];
    if (slot?.inFlight !== true) return false;
    slot.inFlight = false;
    (slot.section === undefined ? this.#freeLarge : this.#freeSections).push(slot);
    return true;
  }

  free(): void {
    for (const slot of this.#slots) slot.pages?.free();
  }

  #add(section: number | undefined, free: Slot[]): void {
    const slot = { transactionId: this.#slots.length + 1, section, pages: undefined, inFlight: false };
    this.#slots.push(slot);
    free.push(slot);
  }
}

interface DueCompletion {
  readonly lo: number;
  readonly hi: number;
  readonly status: number;
}

/**
 * What goes to the host by one channel: frames, of which small ones that wait together share a message, and
 * completions of what was received. One task sends all of it, so that one waits for room in the ring.
 */
export class TransmitQueue {
  readonly #channel: GuestChannel;
  readonly #memory: TransmitMemory;
  readonly #queue: Uint8Array[] = [];
  readonly #completions: DueCompletion[] = [];
  /** Something to do for the sending task. */
  readonly #due = new GuestEvent();
  readonly #room = new GuestEvent();
  #stopped = false;

  constructor(channel: GuestChannel, memory: TransmitMemory) {
    this.#channel = channel;
    this.#memory = memory;
  }

  /** Queues a message, waiting for its turn. Throws GuestIoError where the adapter is gone. */
  *send(message: Uint8Array): GuestTask {
    while (!this.#stopped && this.#queue.length >= QUEUE_FRAMES) yield* this.#room.wait();
    if (this.#stopped) {
      // Of all that wait only one takes the event.
      this.#room.set();
      throw new GuestIoError('the network adapter was taken away');
    }
    this.#queue.push(message);
    this.#due.set();
    if (this.#queue.length < QUEUE_FRAMES) this.#room.set();
  }

  /** Owes the host a completion. */
  complete(lo: number, hi: number, status: number): void {
    this.#completions.push({ lo, hi, status });
    this.#due.set();
  }

  /** A slot was released. */
  wake(): void {
    this.#due.set();
  }

  stop(): void {
    this.#stopped = true;
    for (const event of [this.#due, this.#room, this.#channel.writable]) event.set();
  }

  /** The sending task. */
  *run(): GuestTask {
    while (!this.#stopped) {
      if (this.#completions.length > 0) {
        if (this.#tryComplete(this.#completions[0])) this.#completions.shift();
        else yield* this.#waitForRoom();
        continue;
      }
      const slot = this.#queue.length > 0 ? this.#memory.take(this.#queue[0].length) : undefined;
      if (slot !== undefined) {
        const sizeBytes = this.#fill(slot);
        while (!this.#stopped && !this.#trySend(slot, sizeBytes)) yield* this.#waitForRoom();
        continue;
      }
      this.#channel.flush();
      yield* this.#due.wait();
    }
  }

  *#waitForRoom(): GuestTask {
    this.#channel.flush();
    yield* this.#channel.writable.wait();
  }

  /** Puts the first message, and those after it that fit, into a slot; the bytes in it. */
  #fill(slot: Slot): number {
    const { alignment, maxPacketsPerMessage } = this.#memory;
    const target = this.#memory.memoryOf(slot);
    let at = 0;
    for (let count = 0; count < maxPacketsPerMessage; count++) {
      const message = this.#queue[0];
      if (message === undefined) break;
      const padded = Math.ceil(message.length / alignment) * alignment;
      if (at > 0 && at + padded > this.#memory.sectionBytes) break;
      this.#queue.shift();
      // Padding belongs to the message, so that the next begins where it ends.
      const sizeBytes = Math.min(padded, target.length - at);
      RndisHeader.write(message, { length: sizeBytes });
      target.set(message, at);
      target.fill(0, at + message.length, at + sizeBytes);
      at += sizeBytes;
      if (slot.section === undefined) break;
    }
    this.#room.set();
    return at;
  }

  #trySend(slot: Slot, sizeBytes: number): boolean {
    const { section, pages, transactionId } = slot;
    const nvsp = NvspRndisPacket.encode({
      type: NvspMessage.SEND_RNDIS_PKT,
      channelType: RndisChannel.DATA,
      sendBufferSectionIndex: section ?? NVSP_NO_SECTION,
      sendBufferSectionSize: section === undefined ? 0 : sizeBytes,
    });
    const sent =
      pages === undefined
        ? this.#channel.trySend(nvsp, transactionId, true)
        : this.#channel.trySendBuffers(nvsp, [{ pages: pages.pages, offset: 0, sizeBytes }], transactionId);
    slot.inFlight = sent;
    return sent;
  }

  #tryComplete({ lo, hi, status }: DueCompletion): boolean {
    const payload = status === NvspStatus.SUCCESS ? COMPLETION_OK : COMPLETION_FAILED;
    return this.#channel.tryComplete(lo, hi, payload);
  }
}

const COMPLETION_OK = completion(NvspStatus.SUCCESS);
const COMPLETION_FAILED = completion(NvspStatus.FAIL);

function completion(status: number): Uint8Array {
  return NvspRndisPacketComplete.encode({ type: NvspMessage.SEND_RNDIS_PKT_COMPLETE, status });
}
