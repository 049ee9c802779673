import { createHistogram } from 'node:perf_hooks';
import { GuestFault, type GuestTask } from '@kensho/core';
import { type Frame, GUEST_NETWORK_INTERFACES, type GuestNetworkInterface } from '@kensho/devices-net';
import type { KitKernel, KitMain } from '@kensho/guest-kit';
import { printResult } from '../kit-guests.ts';
import { MARK_BEGIN, MARK_END, MARKER_PORT } from '../marker.ts';
import type { BenchPath } from '../options.ts';
import type { Latency } from '../results.ts';
import { type NetWorkload, PAYLOAD_BYTES } from './options.ts';
import { Packet, PacketMaker, Pattern, Port, type Protocol, type Station } from './packet.ts';

/** What both guests are told: their command line, so to speak. */
export interface NetPlan {
  readonly workload: NetWorkload;
  readonly sender: Station;
  readonly receiver: Station;
  /** Least time and operations before the window, so that compilers have seen the whole path. */
  readonly warmUpNs: number;
  readonly warmUpOperations: number;
  readonly windowNs: number;
  readonly seed: number;
}

/** What the sender gives when it is done. */
export interface SenderResult {
  readonly path: BenchPath;
  readonly operations: number;
  readonly elapsedNs: number;
  readonly latencyNs?: Latency;
}

/** What the receiver gives when the sender is done. */
export interface ReceiverResult {
  readonly path: BenchPath;
  readonly checkedBytes: number;
}

/** How a stream is sent; there is no TCP, but its window and its confirmations. */
interface StreamShape {
  readonly protocol: Protocol;
  /** Bytes in flight at most. */
  readonly windowBytes: number;
  /** After so many bytes the receiver confirms. */
  readonly confirmBytes: number;
}

const SHAPES: Readonly<Record<NetWorkload, StreamShape>> = {
  'tcp-stream': {
    protocol: 'tcp',
    windowBytes: 256 * 1024,
    // Every second packet, as TCP does (RFC 1122, 4.2.3.2).
    confirmBytes: 2 * PAYLOAD_BYTES['tcp-stream'],
  },
  'tcp-rr': { protocol: 'tcp', windowBytes: 0, confirmBytes: 0 },
  // Fewer than a port of the switch holds, so that none is lost.
  'udp-stream': {
    protocol: 'udp',
    windowBytes: 512 * PAYLOAD_BYTES['udp-stream'],
    confirmBytes: 64 * PAYLOAD_BYTES['udp-stream'],
  },
  'udp-small': {
    protocol: 'udp',
    windowBytes: 512 * PAYLOAD_BYTES['udp-small'],
    confirmBytes: 64 * PAYLOAD_BYTES['udp-small'],
  },
};
/** Packets of the longest segment that an IPv4 packet holds. */
const PACKETS_PER_SEGMENT = Math.floor((0xffff - 40) / PAYLOAD_BYTES['tcp-stream']);
const SEQUENCE_MASK = 0xffff_ffff;
const EMPTY = new Uint8Array(0);
/** A greeting is repeated until somebody is there to answer it. */
const GREETING_NS = 10e6;
/** For the last frame to leave before the machine goes. */
const FAREWELL_NS = 20e6;
/** A slow network, or a slow machine, does not warm up for ever. */
const LONGEST_WARM_UPS = 10;

/** The sender's program: greets the receiver, sends for a while, and says goodbye. */
export function senderProgram(plan: NetPlan): KitMain {
  return function* main(kernel) {
    const [adapter] = yield* kernel.waitForDevices(GUEST_NETWORK_INTERFACES, 1);
    printResult(kernel, yield* new Sender(kernel, adapter, plan).run());
  };
}

/** The receiver's program: checks what comes, and answers it as its port says. */
export function receiverProgram(plan: NetPlan): KitMain {
  return function* main(kernel) {
    const [adapter] = yield* kernel.waitForDevices(GUEST_NETWORK_INTERFACES, 1);
    const result: ReceiverResult = yield* new Receiver(adapter, plan).run();
    yield* kernel.sleep(FAREWELL_NS);
    printResult(kernel, result);
  };
}

class Sender {
  readonly #kernel: KitKernel;
  readonly #adapter: GuestNetworkInterface;
  readonly #plan: NetPlan;
  readonly #shape: StreamShape;
  readonly #pattern: Pattern;
  readonly #packets: PacketMaker;
  readonly #answer = new Packet();
  /** Of one segment. */
  readonly #segmentBytes: number;
  /** Since the start, of the stream. */
  #sentBytes = 0;
  #confirmedBytes = 0;
  #roundTrips = 0;

  constructor(kernel: KitKernel, adapter: GuestNetworkInterface, plan: NetPlan) {
    const { workload, sender, receiver } = plan;
    const payloadBytes = PAYLOAD_BYTES[workload];
    const cut = workload === 'tcp-stream' && adapter.offloads;
    this.#kernel = kernel;
    this.#adapter = adapter;
    this.#plan = plan;
    this.#shape = SHAPES[workload];
    this.#pattern = new Pattern(plan.seed);
    this.#segmentBytes = cut ? PACKETS_PER_SEGMENT * payloadBytes : payloadBytes;
    this.#packets = new PacketMaker(sender, receiver, this.#shape.protocol, {
      offloads: adapter.offloads,
      mostPayloadBytes: this.#segmentBytes,
    });
  }

  *run(): GuestTask<SenderResult> {
    const { warmUpNs, warmUpOperations, windowNs } = this.#plan;
    yield* this.#greet();
    const kernel = this.#kernel;
    const warmBeganNs = kernel.nowNs();
    for (
      let elapsedNs = 0;
      elapsedNs < LONGEST_WARM_UPS * warmUpNs;
      elapsedNs = kernel.nowNs() - warmBeganNs
    ) {
      if (elapsedNs >= warmUpNs && this.#operations >= warmUpOperations) break;
      yield* this.#work(warmUpNs, undefined);
    }
    const latencies = createHistogram({ lowest: 1, highest: 60e9, figures: 3 });
    const before = this.#operations;
    kernel.cpu.out(MARKER_PORT, 1, MARK_BEGIN);
    const beganNs = kernel.nowNs();
    yield* this.#work(windowNs, latencies);
    const elapsedNs = kernel.nowNs() - beganNs;
    kernel.cpu.out(MARKER_PORT, 1, MARK_END);
    yield* this.#say(Port.BYE);
    yield* this.#hear(Port.BYE);
    return {
      path: this.#adapter.path,
      operations: this.#operations - before,
      elapsedNs,
      ...(this.#waits && {
        latencyNs: {
          p50: latencies.percentile(50),
          p90: latencies.percentile(90),
          p99: latencies.percentile(99),
          max: latencies.max,
          mean: latencies.mean,
        },
      }),
    };
  }

  /** Whether it waits for the answer to each packet. */
  get #waits(): boolean {
    return this.#plan.workload === 'tcp-rr';
  }

  get #operations(): number {
    return this.#waits ? this.#roundTrips : this.#confirmedBytes / PAYLOAD_BYTES[this.#plan.workload];
  }

  *#greet(): GuestTask {
    for (;;) {
      yield* this.#say(Port.HELLO);
      yield* this.#kernel.sleep(GREETING_NS);
      for (let frame = this.#adapter.tryReceive(); frame !== undefined; frame = this.#adapter.tryReceive()) {
        if (this.#answer.parse(frame.bytes) && this.#answer.port === Port.HELLO) return;
      }
    }
  }

  *#work(durationNs: number, latencies: ReturnType<typeof createHistogram> | undefined): GuestTask {
    const untilNs = this.#kernel.nowNs() + durationNs;
    if (this.#waits) yield* this.#requests(untilNs, latencies);
    else yield* this.#stream(untilNs);
  }

  /** Keeps the window full, and waits at the end until all is confirmed. */
  *#stream(untilNs: number): GuestTask {
    const { windowBytes } = this.#shape;
    const size = this.#segmentBytes;
    for (let last = false; !last; ) {
      last = this.#kernel.nowNs() >= untilNs;
      const offset = this.#sentBytes;
      const payload = this.#pattern.at(offset, size);
      const port = last ? Port.LAST_DATA : Port.DATA;
      yield* this.#adapter.send(this.#packets.make(port, this.#sequenceOf(offset), payload));
      this.#sentBytes += size;
      this.#takeConfirmations();
      while (this.#sentBytes + size - this.#confirmedBytes > windowBytes) yield* this.#confirmation();
      // A driver may take all that there is room for at once; the others are to have their turn all the same.
      yield undefined;
    }
    while (this.#confirmedBytes < this.#sentBytes) yield* this.#confirmation();
  }

  *#requests(untilNs: number, latencies: ReturnType<typeof createHistogram> | undefined): GuestTask {
    const size = PAYLOAD_BYTES['tcp-rr'];
    const kernel = this.#kernel;
    for (let beganNs = kernel.nowNs(); beganNs < untilNs; beganNs = kernel.nowNs()) {
      const sequence = (this.#roundTrips * size) & SEQUENCE_MASK;
      const payload = this.#pattern.at(this.#roundTrips * size, size);
      yield* this.#adapter.send(this.#packets.make(Port.ECHO, sequence, payload));
      yield* this.#hear(Port.ECHO);
      if (this.#answer.sequence !== sequence >>> 0 || Buffer.compare(this.#answer.payload, payload) !== 0) {
        throw new GuestFault(`round trip ${this.#roundTrips}: another answer than the request`);
      }
      this.#roundTrips++;
      latencies?.record(Math.max(1, Math.round(kernel.nowNs() - beganNs)));
    }
  }

  #sequenceOf(offset: number): number {
    return this.#shape.protocol === 'tcp'
      ? offset % 2 ** 32
      : (offset / PAYLOAD_BYTES[this.#plan.workload]) % 2 ** 32;
  }

  *#confirmation(): GuestTask {
    const frame = yield* this.#adapter.receive();
    this.#confirm(frame);
    this.#takeConfirmations();
  }

  #takeConfirmations(): void {
    for (let frame = this.#adapter.tryReceive(); frame !== undefined; frame = this.#adapter.tryReceive()) {
      this.#confirm(frame);
    }
  }

  #confirm({ bytes }: Frame): void {
    if (!this.#answer.parse(bytes) || this.#answer.port !== Port.CONFIRM) return;
    // In packets, of which fewer than 2^32 are in flight.
    const unit = PAYLOAD_BYTES[this.#plan.workload];
    const confirmed = this.#confirmedBytes / unit;
    const more = (this.#answer.sequence - (confirmed % 2 ** 32) + 2 ** 32) % 2 ** 32;
    this.#confirmedBytes = (confirmed + more) * unit;
    if (this.#confirmedBytes > this.#sentBytes) throw new GuestFault('more is confirmed than was sent');
  }

  *#say(port: number): GuestTask {
    yield* this.#adapter.send(this.#packets.make(port, 0, EMPTY_PAYLOADS[this.#shape.protocol]));
  }

  *#hear(port: number): GuestTask {
    for (;;) {
      const { bytes } = yield* this.#adapter.receive();
      if (this.#answer.parse(bytes) && this.#answer.port === port) return;
    }
  }
}

/** In UDP the sequence number is part of the payload. */
const EMPTY_PAYLOADS: Readonly<Record<Protocol, Uint8Array>> = { tcp: EMPTY, udp: new Uint8Array(4) };

class Receiver {
  readonly #adapter: GuestNetworkInterface;
  readonly #plan: NetPlan;
  readonly #shape: StreamShape;
  readonly #pattern: Pattern;
  readonly #packets: PacketMaker;
  readonly #packet = new Packet();
  /** Of the stream, since the start. */
  #receivedBytes = 0;
  #unconfirmedBytes = 0;
  #echoedBytes = 0;

  constructor(adapter: GuestNetworkInterface, plan: NetPlan) {
    const { workload, sender, receiver } = plan;
    this.#adapter = adapter;
    this.#plan = plan;
    this.#shape = SHAPES[workload];
    this.#pattern = new Pattern(plan.seed);
    this.#packets = new PacketMaker(receiver, sender, this.#shape.protocol, {
      offloads: adapter.offloads,
      mostPayloadBytes: PAYLOAD_BYTES[workload],
    });
  }

  *run(): GuestTask<ReceiverResult> {
    for (;;) {
      const { bytes } = yield* this.#adapter.receive();
      if (!this.#packet.parse(bytes)) continue;
      switch (this.#packet.port) {
        case Port.DATA:
          yield* this.#take(this.#shape.confirmBytes);
          break;
        case Port.LAST_DATA:
          yield* this.#take(0);
          break;
        case Port.ECHO:
          yield* this.#answer(Port.ECHO, this.#packet.sequence, this.#packet.payload);
          this.#echoedBytes += this.#packet.payloadBytes;
          break;
        case Port.HELLO:
          yield* this.#answer(Port.HELLO, 0, EMPTY_PAYLOADS[this.#shape.protocol]);
          break;
        case Port.BYE:
          yield* this.#answer(Port.BYE, 0, EMPTY_PAYLOADS[this.#shape.protocol]);
          return { path: this.#adapter.path, checkedBytes: this.#receivedBytes + this.#echoedBytes };
      }
    }
  }

  /** Checks the next part of the stream, and confirms where enough has come. */
  *#take(confirmBytes: number): GuestTask {
    const { payload, payloadBytes, sequence } = this.#packet;
    const unit = PAYLOAD_BYTES[this.#plan.workload];
    const offset = this.#receivedBytes;
    const due = (this.#shape.protocol === 'tcp' ? offset : offset / unit) % 2 ** 32;
    if (sequence !== due) throw new GuestFault(`packet ${sequence} arrived where ${due} was due`);
    // Its start is the sequence number, where that is part of it.
    const contentOffset = offset + payloadBytes - payload.length;
    if (!this.#pattern.matches(contentOffset, payload)) {
      throw new GuestFault(`packet ${sequence} did not arrive as it was sent`);
    }
    this.#receivedBytes += payloadBytes;
    this.#unconfirmedBytes += payloadBytes;
    if (this.#unconfirmedBytes < confirmBytes) return;
    this.#unconfirmedBytes = 0;
    const packets = (this.#receivedBytes / unit) % 2 ** 32;
    yield* this.#answer(Port.CONFIRM, packets, EMPTY_PAYLOADS[this.#shape.protocol]);
  }

  *#answer(port: number, sequence: number, payload: Uint8Array): GuestTask {
    yield* this.#adapter.send(this.#packets.make(port, sequence, payload));
  }
}
