import type { Counter, Counters, DmaDomain, GuestFaults, Timer, TimerQueue, WorkQueue } from '@kensho/core';
import {
  type ChannelEndpoint,
  type Gpadl,
  type HostChannel,
  type IncomingPacket,
  PacketType,
  type TransferRange,
} from '../channel.ts';
import {
  align8,
  DESCRIPTOR_SIZE_BYTES,
  MAX_PACKET_SIZE_BYTES,
  PACKET_FLAG_COMPLETION_REQUESTED,
  TRAILER_SIZE_BYTES,
} from '../ring/layout.ts';
import {
  PacketTarget,
  packetSizeBytes,
  putPacket,
  putTransferRanges,
  transferDescriptorSizeBytes,
} from '../ring/packet-encoder.ts';
import type { RingMemory } from '../ring/ring-memory.ts';
import { RingRead, RingReader } from '../ring/ring-reader.ts';
import { RingWriter } from '../ring/ring-writer.ts';

/** Packets held back for a guest that does not read; one more is dropped. */
const QUEUE_LIMIT_BYTES = 4 * 1024 * 1024;

/**
 * What a guest that writes a burst leaves between two packets at most, and for how long it is let do so: on a host
 * that is busy otherwise a request of Linux may take it some hundred microseconds.
 */
const BURST_GAP_NS = 1_000_000;
const BURST_LIMIT_NS = 4_000_000;
/** Signals that are served at once after one for which waiting gained nothing. */
const SERVED_AT_ONCE = 64;

/** Where the pages of a channel's rings lie in the arena, each with its control page first. */
export interface RingPages {
  readonly incoming: ArrayLike<number>;
  readonly outgoing: ArrayLike<number>;
}

/** What the bus gives a channel that the guest opened. */
export interface HostChannelDeps {
  readonly relid: number;
  readonly subChannelIndex: number;
  readonly openData: Uint8Array;
  /** Guest to host. */
  readonly incoming: RingMemory;
  /** Host to guest. */
  readonly outgoing: RingMemory;
  /** Sets the channel's event flag in the guest. */
  interrupt(): void;
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  /** The offer's name: names the counters. */
  readonly name: string;
  /** See `OfferOptions`. */
  readonly batched: boolean;
  readonly dma: DmaDomain;
  gpadl(handle: number): Gpadl | undefined;
  readonly endpoint: Pick<ChannelEndpoint, 'ready'>;
  /** Resolves the rings' pages again after the domain changed; undefined where one is not there any more. */
  resolve(): RingPages | undefined;
}

/**
 * The root's end of an open channel: its two rings, and when to signal.
 *
 * The rules (Linux, drivers/hv/ring_buffer.c and connection.c) and how they are kept:
 *
 * - What is sent goes into the ring at once, and is published by a task at the end of the run loop's round. A VSP
 *   that answers a batch so costs one store of the index and at most one interrupt, and the guest could not have
 *   seen anything earlier: it runs on this thread.
 * - While a batch is read the guest's signals are masked. When the ring is empty the read index is published, the
 *   mask cleared, and the ring looked at again, because what the guest wrote meanwhile came without a signal.
 * - A batched channel also stays masked from the guest's signal until its packets are read, which is when the guest
 *   has written all that it had to write: guest and host share this thread, so that the requests which it adds in the
 *   meantime lose nothing by it, and share one signal, one round of work and, where they are answered at once, one
 *   interrupt. A guest that wrote but one packet, or does something else meanwhile, has its next signals served at
 *   once.
 * - Where the guest's ring has no room, packets wait in order, and nothing is read: the guest gets no answers that
 *   it makes no room for. The pending-send size asks it for a signal once it made room, for half a ring at a time so
 *   that a slow reader does not cost a signal for each packet. A guest that does not offer that feature (Linux
 *   always does) is served at its next signal.
 *
 * Counted: `vmbus.<name>.packets.in`, `.packets.out`, payload bytes copied as `.bytes.in`, `.bytes.out` and in
 * `copy.bytes`, signals from the guest as `.signals.in`, interrupts as `.signals.out`.
 */
export class RingHostChannel implements HostChannel {
  readonly relid: number;
  readonly subChannelIndex: number;
  readonly openData: Uint8Array;
  readonly #deps: HostChannelDeps;
  readonly #reader: RingReader;
  readonly #writer: RingWriter;
  readonly #packetsIn: Counter;
  readonly #packetsOut: Counter;
  readonly #bytesIn: Counter;
  readonly #bytesOut: Counter;
  readonly #bytesCopied: Counter;
  readonly #signalsIn: Counter;
  readonly #signalsOut: Counter;
  readonly #stopListening: () => void;
  /** Packets that found no room, oldest first, and their size in the ring. */
  readonly #queue: PacketTarget[] = [];
  #queueBytes = 0;
  /** Rings must be left alone: closed, packets waiting, or pages to be resolved again. One test on the hot path. */
  #held = false;
  #closed = false;
  #stale = false;
  /** Packets were read since the last publication, with the guest's signals masked. */
  #draining = false;
  #signalDue = false;
  #serviceScheduled = false;
  #flushScheduled = false;
  /** While a burst is awaited. */
  #burstTimer: Timer | undefined;
  #idleAwaited = false;
  /** Signals yet to be served at once. */
  #impatient = 0;

  constructor(deps: HostChannelDeps) {
    this.#deps = deps;
    this.relid = deps.relid;
    this.subChannelIndex = deps.subChannelIndex;
    this.openData = deps.openData;
    this.#reader = new RingReader(deps.incoming);
    this.#writer = new RingWriter(deps.outgoing);
    const counter = (what: string) => deps.counters.counter(`vmbus.${deps.name}.${what}`);
    this.#packetsIn = counter('packets.in');
    this.#packetsOut = counter('packets.out');
    this.#bytesIn = counter('bytes.in');
    this.#bytesOut = counter('bytes.out');
    this.#bytesCopied = deps.counters.counter('copy.bytes');
    this.#signalsIn = counter('signals.in');
    this.#signalsOut = counter('signals.out');
    this.#stopListening = deps.dma.onChange(() => {
      this.#stale = true;
      this.#held = true;
      this.#scheduleService();
    });
  }

  read(): IncomingPacket | undefined {
    if (this.#held) return undefined;
    if (!this.#draining) this.#beginDrain();
    for (;;) {
      const outcome = this.#reader.next();
      if (outcome === RingRead.PACKET) {
        const packet = this.#reader.packet;
        this.#packetsIn.value++;
        this.#bytesIn.value += packet.payload.length;
        this.#bytesCopied.value += packet.payload.length;
        if (packet.malformed) this.#fault('packet', 'malformed packet in the ring', { type: packet.type });
        return packet;
      }
      if (outcome === RingRead.BAD_LENGTH) {
        this.#fault('length', 'packet length leads nowhere: the ring was emptied');
      } else {
        if (outcome === RingRead.BAD_INDEX) this.#fault('index', 'write index is not a place in the ring');
        if (!this.#endDrain()) return undefined;
      }
    }
  }

  complete(transactionIdLo: number, transactionIdHi: number, payload: Uint8Array): void {
    const size = packetSizeBytes(DESCRIPTOR_SIZE_BYTES, payload);
    const target = this.#reserve(size);
    if (target === undefined) return;
    putPacket(
      target,
      PacketType.COMPLETION,
      DESCRIPTOR_SIZE_BYTES,
      size,
      0,
      transactionIdLo,
      transactionIdHi,
      payload,
    );
    this.#commit(size, payload.length);
  }

  send(payload: Uint8Array, transactionId?: number): void {
    const size = packetSizeBytes(DESCRIPTOR_SIZE_BYTES, payload);
    const target = this.#reserve(size);
    if (target === undefined) return;
    const flags = transactionId === undefined ? 0 : PACKET_FLAG_COMPLETION_REQUESTED;
    const id = transactionId ?? 0;
    putPacket(
      target,
      PacketType.IN_BAND,
      DESCRIPTOR_SIZE_BYTES,
      size,
      flags,
      id,
      id / 0x1_0000_0000,
      payload,
    );
    this.#commit(size, payload.length);
  }

  sendTransferPages(
    setId: number,
    ranges: readonly TransferRange[],
    payload: Uint8Array,
    transactionId: number,
  ): void {
    const descriptor = transferDescriptorSizeBytes(ranges);
    const size = packetSizeBytes(descriptor, payload);
    const target = this.#reserve(size);
    if (target === undefined) return;
    const flags = PACKET_FLAG_COMPLETION_REQUESTED;
    const idHi = transactionId / 0x1_0000_0000;
    putPacket(target, PacketType.TRANSFER_PAGES, descriptor, size, flags, transactionId, idHi, payload);
    putTransferRanges(target, setId, ranges);
    this.#commit(size, payload.length);
  }

  gpadl(handle: number): Gpadl | undefined {
    return this.#deps.gpadl(handle);
  }

  /** The guest signalled the channel: its endpoint is called from the run loop. */
  onGuestSignal(): void {
    this.#signalsIn.value++;
    if (!this.#deps.batched || this.#held) this.#scheduleService();
    else if (this.#impatient > 0) {
      this.#impatient--;
      this.#scheduleService();
    } else this.#awaitBurst();
  }

  /** Ends the channel: publishes what was sent, then never touches the rings again. Idempotent. */
  close(): void {
    if (this.#closed) return;
    if (!this.#stale) this.#publish();
    this.#closed = true;
    this.#held = true;
    this.#queue.length = 0;
    this.#queueBytes = 0;
    this.#burstTimer?.cancel();
    this.#stopListening();
  }

  readonly #service = (): void => {
    this.#serviceScheduled = false;
    if (this.#closed) return;
    if (this.#held && !this.#release()) return;
    this.#deps.endpoint.ready(this);
  };

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    if (this.#closed || this.#stale) return;
    this.#publish();
  };

  #awaitBurst(): void {
    if (this.#burstTimer !== undefined || this.#serviceScheduled) return;
    this.#reader.setInterruptMask(true);
    const { clock } = this.#deps.timers;
    this.#watchBurst(clock.nowNs() + BURST_LIMIT_NS);
    if (this.#idleAwaited) return;
    this.#idleAwaited = true;
    this.#deps.work.whenIdle(() => {
      this.#idleAwaited = false;
      this.#endBurst();
    });
  }

  /** Looks again after a while, and ends the burst where nothing was written in it. */
  #watchBurst(untilNs: number): void {
    const { timers } = this.#deps;
    const before = this.#reader.writeIndex;
    const nowNs = timers.clock.nowNs();
    this.#burstTimer = timers.at(Math.min(nowNs + BURST_GAP_NS, untilNs), () => {
      const writes = !this.#stale && this.#reader.writeIndex !== before;
      if (writes && timers.clock.nowNs() < untilNs) return this.#watchBurst(untilNs);
      this.#endBurst();
      if (!writes) this.#impatient = SERVED_AT_ONCE;
    });
  }

  #endBurst(): void {
    if (this.#burstTimer === undefined) return;
    this.#burstTimer.cancel();
    this.#burstTimer = undefined;
    const packetsBefore = this.#packetsIn.value;
    this.#service();
    // One request at a time: the guest would go to sleep and be woken for each.
    if (this.#packetsIn.value - packetsBefore === 1) this.#impatient = SERVED_AT_ONCE;
  }

  #scheduleService(): void {
    if (this.#serviceScheduled) return;
    this.#serviceScheduled = true;
    this.#deps.work.defer(this.#service);
  }

  #scheduleFlush(): void {
    this.#flushScheduled = true;
    this.#deps.work.defer(this.#flush);
  }

  #beginDrain(): void {
    this.#draining = true;
    this.#reader.setInterruptMask(true);
    if (!this.#flushScheduled) this.#scheduleFlush();
  }

  /** Lets the guest signal again; true where there is more to read, which it came too late to signal. */
  #endDrain(): boolean {
    if (this.#reader.publish()) this.#signalDue = true;
    this.#reader.setInterruptMask(false);
    if (this.#reader.hasMore()) {
      this.#reader.setInterruptMask(true);
      return true;
    }
    this.#draining = false;
    return false;
  }

  /** Shows the guest both indices, with one interrupt for all that is due. */
  #publish(): void {
    let signal = this.#signalDue;
    this.#signalDue = false;
    if (this.#draining) {
      // The endpoint stopped before the ring was empty. It stays masked: a guest does not signal into a full ring.
      this.#draining = false;
      if (this.#reader.publish()) signal = true;
    }
    if (this.#writer.publish()) signal = true;
    if (!signal) return;
    this.#signalsOut.value++;
    this.#deps.interrupt();
  }

  #reserve(sizeBytes: number): PacketTarget | undefined {
    if (!this.#held) {
      const target = this.#writer.reserve(sizeBytes);
      if (target !== undefined) return target;
    }
    return this.#enqueue(sizeBytes);
  }

  #commit(sizeBytes: number, payloadLength: number): void {
    this.#packetsOut.value++;
    this.#bytesOut.value += payloadLength;
    this.#bytesCopied.value += payloadLength;
    if (this.#held) return;
    this.#writer.commit(sizeBytes);
    if (!this.#flushScheduled) this.#scheduleFlush();
  }

  #enqueue(sizeBytes: number): PacketTarget | undefined {
    if (this.#closed) return undefined;
    if (sizeBytes > MAX_PACKET_SIZE_BYTES || !this.#writer.canEverHold(sizeBytes)) {
      this.#fault('size', 'the ring is too small for a packet, which was dropped', { sizeBytes });
      return undefined;
    }
    const total = sizeBytes + TRAILER_SIZE_BYTES;
    if (this.#queueBytes + total > QUEUE_LIMIT_BYTES) {
      this.#fault('queue', 'the guest does not read its ring: a packet was dropped', { sizeBytes });
      return undefined;
    }
    const target = PacketTarget.allocate(sizeBytes);
    this.#queue.push(target);
    this.#queueBytes += total;
    this.#held = true;
    if (this.#queue.length === 1) this.#scheduleService();
    return target;
  }

  /** Removes what holds the channel up; false where it stays. */
  #release(): boolean {
    if (this.#stale && !this.#resolveAgain()) return false;
    if (this.#queue.length > 0 && !this.#drainQueue()) return false;
    this.#held = false;
    return true;
  }

  #resolveAgain(): boolean {
    const pages = this.#deps.resolve();
    if (pages === undefined) {
      this.#fault('memory', 'a page of the ring is not there any more');
      return false;
    }
    this.#deps.incoming.remap(pages.incoming);
    this.#deps.outgoing.remap(pages.outgoing);
    this.#stale = false;
    if (!this.#flushScheduled) this.#scheduleFlush();
    return true;
  }

  /** Puts waiting packets into the ring; false where some must wait on, with the guest asked for room. */
  #drainQueue(): boolean {
    const queue = this.#queue;
    if (!this.#writer.refresh()) {
      this.#fault('index', 'read index is not a place in the ring');
      return false;
    }
    for (;;) {
      let moved = 0;
      while (moved < queue.length && this.#move(queue[moved])) moved++;
      queue.splice(0, moved);
      // The guest must see all of the ring before it is asked to make room in it.
      this.#publish();
      if (queue.length === 0) {
        this.#writer.cancelRequest();
        return true;
      }
      const head = queue[0].bytes.length;
      const half = this.#deps.outgoing.dataSizeBytes >>> 1;
      this.#writer.requestRoom(Math.max(head, align8(Math.min(this.#queueBytes, half))));
      if (!this.#writer.hasRoom(head)) return false;
    }
  }

  #move(packet: PacketTarget): boolean {
    const size = packet.bytes.length;
    const target = this.#writer.reserve(size);
    if (target === undefined) return false;
    target.bytes.set(packet.bytes, target.at * 4);
    this.#writer.commit(size);
    this.#queueBytes -= size + TRAILER_SIZE_BYTES;
    return true;
  }

  #fault(kind: string, message: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#deps.faults.report(`vmbus.ring.${kind}`, message, {
      name: this.#deps.name,
      relid: this.relid,
      ...fields,
    });
  }
}
