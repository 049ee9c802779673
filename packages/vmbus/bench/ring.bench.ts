/**
 * Packets per second through the rings: `node packages/vmbus/bench/ring.bench.ts`.
 *
 * `raw` moves packets through one ring, writer to reader. `answered` is a round trip through an open channel: the
 * guest writes a batch and signals, the run loop calls an endpoint that answers each packet, the guest reads the
 * answers; what a batch costs besides its packets (signals, tasks, control pages) is spread over `depth` packets.
 * Both ends run in this process, one after the other, and each packet is checked for its transaction id.
 */
import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  GuestFaults,
  PageArena,
  RealClock,
  silentLogger,
  TimerQueue,
  WorkQueue,
} from '@kensho/core';
import { PacketType } from '../src/channel.ts';
import { RingGuestChannel } from '../src/guest/guest-channel.ts';
import { DESCRIPTOR_SIZE_BYTES } from '../src/ring/layout.ts';
import { packetSizeBytes, putPacket } from '../src/ring/packet-encoder.ts';
import { RingMemory } from '../src/ring/ring-memory.ts';
import { RingRead, RingReader } from '../src/ring/ring-reader.ts';
import { RingWriter } from '../src/ring/ring-writer.ts';
import { RingHostChannel } from '../src/server/host-channel.ts';

const PAYLOAD_BYTES = 64;
const PACKETS_PER_RUN = 1 << 20;
const RUNS = 9;
const RING_PAGES = 33;

function pagesFrom(first: number): number[] {
  return Array.from({ length: RING_PAGES }, (_, i) => first + i);
}

/** One ring, `depth` packets written and published, then read. */
function raw(depth: number): () => void {
  const arena = PageArena.allocate(RING_PAGES);
  const memory = new RingMemory(arena.words, arena.bytes, pagesFrom(0));
  const writer = new RingWriter(memory);
  const reader = new RingReader(memory);
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(0x5a);
  const size = packetSizeBytes(DESCRIPTOR_SIZE_BYTES, payload);
  return () => {
    for (let sent = 0; sent < PACKETS_PER_RUN; sent += depth) {
      for (let i = 0; i < depth; i++) {
        const target = writer.reserve(size);
        if (target === undefined) throw new Error('the ring is full');
        putPacket(target, PacketType.IN_BAND, DESCRIPTOR_SIZE_BYTES, size, 0, sent + i, 0, payload);
        writer.commit(size);
      }
      writer.publish();
      let next = sent;
      while (reader.next() === RingRead.PACKET) {
        if (reader.packet.transactionIdLo !== next++) throw new Error('packet out of order');
      }
      if (next !== sent + depth) throw new Error('packets lost');
    }
  };
}

/** An open channel whose endpoint answers each packet with its own payload. */
function answered(depth: number): () => void {
  const arena = PageArena.allocate(2 * RING_PAGES);
  const gpa = new GpaSpace(arena);
  gpa.map(0, 0, 2 * RING_PAGES, GpaAccess.ALL);
  const counters = new Counters();
  const faults = new GuestFaults(counters, silentLogger);
  const clock = new RealClock();
  const work = new WorkQueue(clock);
  const guest = new RingGuestChannel({
    relid: 1,
    subChannelIndex: 0,
    rings: arena.bytes,
    downstreamPage: RING_PAGES,
    signal: () => host.onGuestSignal(),
  });
  const host = new RingHostChannel({
    relid: 1,
    subChannelIndex: 0,
    openData: new Uint8Array(120),
    incoming: new RingMemory(arena.words, arena.bytes, pagesFrom(0)),
    outgoing: new RingMemory(arena.words, arena.bytes, pagesFrom(RING_PAGES)),
    interrupt: () => guest.onInterrupt(),
    work,
    timers: new TimerQueue(clock),
    counters,
    faults,
    name: 'echo',
    batched: false,
    dma: new DmaDomain('echo', 'passthrough', gpa, counters, faults),
    gpadl: () => undefined,
    endpoint: {
      ready: (channel) => {
        for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
          channel.complete(packet.transactionIdLo, packet.transactionIdHi, packet.payload);
        }
      },
    },
    resolve: () => undefined,
  });
  const payload = new Uint8Array(PAYLOAD_BYTES).fill(0x5a);
  return () => {
    for (let sent = 0; sent < PACKETS_PER_RUN; sent += depth) {
      for (let i = 0; i < depth; i++) {
        if (!guest.trySend(payload, sent + i, true)) throw new Error('the ring is full');
      }
      guest.flush();
      work.run();
      let next = sent;
      for (let packet = guest.read(); packet !== undefined; packet = guest.read()) {
        if (packet.transactionIdLo !== next++) throw new Error('answer out of order');
      }
      if (next !== sent + depth) throw new Error('answers lost');
    }
  };
}

function measure(name: string, depth: number, run: () => void): void {
  run();
  const rates: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const start = performance.now();
    run();
    rates.push(PACKETS_PER_RUN / ((performance.now() - start) / 1000));
  }
  rates.sort((a, b) => a - b);
  const median = rates[RUNS >> 1];
  const millions = (rate: number) => (rate / 1e6).toFixed(2).padStart(6);
  console.log(
    `${name.padEnd(9)} depth ${String(depth).padStart(4)}  median ${millions(median)} M/s` +
      `  (${millions(rates[0])} to ${millions(rates[RUNS - 1])}), ${(1e9 / median).toFixed(0).padStart(4)} ns each`,
  );
}

console.log(`${PAYLOAD_BYTES}-byte payloads, ${RUNS} runs of ${PACKETS_PER_RUN} packets`);
for (const depth of [1, 16, 256]) measure('raw', depth, raw(depth));
for (const depth of [1, 4, 16, 64, 256]) measure('answered', depth, answered(depth));
