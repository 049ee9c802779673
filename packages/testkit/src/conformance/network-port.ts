import { type Counters, type TimerQueue, VirtualClock, type WorkQueue } from '@kensho/core';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from '@kensho/devices-net';
import { Random } from '../random.ts';
import { type ConformanceCase, type ConformanceSuite, demand } from './case.ts';

/** The partition's services that a connector under examination gets. */
export interface NetworkPortServices {
  readonly work: WorkQueue;
  readonly timers: TimerQueue;
  readonly counters: Counters;
}

/** A network under examination. */
export interface NetworkUnderTest {
  readonly services: NetworkPortServices;
  readonly connector: NetworkConnector;
  /**
   * Makes the network send frames to the adapter: as it likes, but at least so many, in order and no two the same.
   * Left out where nothing that a test can bring about makes it send.
   */
  provoke?(count: number, port: NetworkPort): void;
}

/** How the suite gets at the networks it examines. */
export interface NetworkPortSubject {
  readonly name: string;
  /** A new network with a socket for one adapter of that address, by services of a virtual clock. */
  create(mac: Uint8Array): Promise<NetworkUnderTest> | NetworkUnderTest;
}

const MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x01);
const ROUNDS_TO_SETTLE = 10_000;
/** Time that is given to a network for what it does by timers. */
const PATIENCE_MS = 5000;
const STEP_MS = 10;

/** What every {@link NetworkConnector} must do, whatever it leads to. */
export function networkPortConformance(subject: NetworkPortSubject): ConformanceSuite {
  const withNetwork = (name: string, body: (bench: Bench) => void | Promise<void>): ConformanceCase => ({
    name,
    async run() {
      const bench = new Bench(await subject.create(MAC));
      try {
        await body(bench);
      } finally {
        bench.port.close();
        bench.settle();
      }
    },
  });
  /** A case for networks that can be made to send. */
  const withFrames = (
    name: string,
    body: (bench: Bench, provoke: (count: number) => void) => void | Promise<void>,
  ) =>
    withNetwork(name, async (bench) => {
      const { provoke } = bench.network;
      if (provoke !== undefined) await body(bench, (count) => provoke(count, bench.port));
    });
  const cases: ConformanceCase[] = [
    withNetwork('takes one adapter', ({ network }) => {
      let refused = false;
      try {
        network.connector.connect(new Adapter());
      } catch {
        refused = true;
      }
      demand(refused, 'a second adapter was plugged in');
    }),
    withNetwork('never calls the adapter within a call of the adapter', (bench) => {
      bench.adapter.forbidden = true;
      for (const frame of strangeFrames(new Random(1))) bench.port.send(frame);
      bench.adapter.forbidden = false;
      bench.settle();
    }),
    withNetwork('stands whatever a guest sends', (bench) => {
      const random = new Random(2);
      for (let round = 0; round < 20; round++) {
        for (const frame of strangeFrames(random)) bench.port.send(frame);
        bench.settle();
      }
    }),
    withNetwork('leaves the frames that it was given as they were', (bench) => {
      const random = new Random(3);
      const frames = [...strangeFrames(random), ...strangeFrames(random)];
      const before = frames.map(({ bytes }) => bytes.slice());
      for (const frame of frames) bench.port.send(frame);
      bench.settle();
      for (const [i, { bytes }] of frames.entries()) {
        demand(Buffer.compare(bytes, before[i]) === 0, `frame ${i} changed`);
      }
    }),
    withNetwork('takes receiveReady at any time, and close more than once', (bench) => {
      bench.port.receiveReady();
      bench.port.close();
      bench.port.receiveReady();
      for (const frame of strangeFrames(new Random(4))) bench.port.send(frame);
      bench.port.close();
      bench.settle();
    }),
    withFrames('brings frames as tasks, each of them an Ethernet frame', (bench, provoke) => {
      bench.adapter.forbidden = true;
      provoke(20);
      bench.adapter.forbidden = false;
      bench.settle();
      demand(bench.adapter.frames.length >= 20, `${bench.adapter.frames.length} frames of 20 came`);
      for (const { bytes, vlanTag } of bench.adapter.frames) {
        demand(bytes.length >= 14, `a frame of ${bytes.length} bytes came`);
        demand(bytes[12] !== 0x81 || bytes[13] !== 0, 'a tag came inside the bytes');
        demand(vlanTag === undefined || (vlanTag >= 0 && vlanTag <= 0xffff), `tag ${vlanTag} came`);
      }
    }),
    withFrames('keeps frames, and their order, while the adapter has no room', async (bench, provoke) => {
      const { adapter } = bench;
      const expectFrames = (count: number) => {
        bench.settle();
        demand(
          adapter.frames.length === count,
          `${adapter.frames.length} frames came, with room for ${count}`,
        );
      };
      adapter.room = 3;
      provoke(20);
      expectFrames(3);
      demand(adapter.refused === 1, `${adapter.refused} frames were offered after there was no room`);
      adapter.room = 2;
      bench.port.receiveReady();
      expectFrames(5);
      adapter.room = Number.POSITIVE_INFINITY;
      bench.port.receiveReady();
      bench.settle();
      demand(adapter.frames.length >= 20, `${adapter.frames.length} frames of 20 came in the end`);
      const unhindered = new Bench(await subject.create(MAC));
      unhindered.network.provoke?.(20, unhindered.port);
      unhindered.settle();
      unhindered.port.close();
      const contents = (frames: readonly Frame[]) =>
        frames.map(({ bytes }) => Buffer.from(bytes).toString('hex'));
      demand(
        contents(adapter.frames).join() === contents(unhindered.adapter.frames).join(),
        'the frames, or their order, are not those that come to an adapter with room',
      );
    }),
    withFrames('drops what is too much for an adapter that has no room', (bench, provoke) => {
      bench.adapter.room = 0;
      for (let round = 0; round < 20; round++) {
        provoke(500);
        bench.settle();
      }
      bench.adapter.room = Number.POSITIVE_INFINITY;
      bench.port.receiveReady();
      bench.settle();
      const { length } = bench.adapter.frames;
      demand(length < 9000, `${length} frames were kept`);
    }),
    withFrames('brings nothing after its end', (bench, provoke) => {
      bench.adapter.room = 1;
      provoke(20);
      bench.settle();
      bench.port.close();
      bench.adapter.room = Number.POSITIVE_INFINITY;
      bench.port.receiveReady();
      bench.settle();
      demand(bench.adapter.frames.length <= 1, 'a frame came after the end');
    }),
  ];
  return { name: `network port conformance: ${subject.name}`, cases };
}

/** A network with an adapter plugged in. */
class Bench {
  readonly network: NetworkUnderTest;
  readonly adapter = new Adapter();
  readonly port: NetworkPort;

  constructor(network: NetworkUnderTest) {
    this.network = network;
    this.port = network.connector.connect(this.adapter);
    demand(this.adapter.frames.length === 0, 'a frame came before the adapter was plugged in');
    this.settle();
  }

  /** Runs what is queued and what is due for a while. */
  settle(): void {
    const { work, timers } = this.network.services;
    const run = () => {
      let rounds = 0;
      while (work.run()) demand(++rounds < ROUNDS_TO_SETTLE, 'its tasks never end');
    };
    run();
    const { clock } = timers;
    demand(clock instanceof VirtualClock, 'the subject has a virtual clock');
    for (let passed = 0; passed < PATIENCE_MS; passed += STEP_MS) {
      clock.advance(STEP_MS * 1e6);
      timers.runDue();
      run();
    }
  }
}

class Adapter implements NetworkAdapter {
  readonly name = 'conformance';
  readonly mac = MAC;
  readonly frames: Frame[] = [];
  room = Number.POSITIVE_INFINITY;
  refused = 0;
  /** Whether a call now would be one from within the adapter's own. */
  forbidden = false;

  receive(frame: Frame): boolean {
    demand(!this.forbidden, 'the adapter was called within a call of its own');
    if (this.room === 0) {
      this.refused++;
      return false;
    }
    this.room--;
    this.frames.push(frame);
    return true;
  }

  linkChanged(): void {
    demand(!this.forbidden, 'the adapter was called within a call of its own');
  }
}

/** Frames that are damaged, or strange, or just frames. */
function strangeFrames(random: Random): Frame[] {
  const lengths = [0, 1, 13, 14, 15, 60, 64, 1514, 1515, 9014, 65_549, random.below(2000)];
  return lengths.map((length) => {
    const bytes = random.bytes(length);
    if (random.oneIn(2)) bytes.fill(0xff, 0, 6);
    if (random.oneIn(2))
      bytes.set(MAC.subarray(0, Math.max(0, Math.min(6, length - 6))), Math.min(6, length));
    if (length > 16 && random.oneIn(2))
      bytes.set(
        random.pick([
          [8, 0, 0x45],
          [8, 6],
          [0x81, 0],
          [0x86, 0xdd],
        ]),
        12,
      );
    return {
      bytes,
      vlanTag: random.oneIn(4) ? random.below(0x10000) : undefined,
      offload: random.oneIn(3)
        ? {
            checksum: { startOffset: random.below(100), fieldOffset: random.below(100) },
            segmentPayloadBytes: random.oneIn(2) ? random.below(2000) : undefined,
          }
        : undefined,
    };
  });
}
