import { GuestEvent, GuestFault, type GuestTask } from '@kensho/core';
import {
  type GuestNetworkInterface,
  NetworkVsc,
  type NetworkVscOptions,
  NvspVersion,
} from '@kensho/devices-net';
import type { KitKernel } from '@kensho/guest-kit';
import { describe, expect, it } from 'vitest';
import { Random, runGuest } from '../src/index.ts';
import { BackToBack, frameTo, interfaces, nic, plugins, tcpTo } from './test-utils/network.ts';
import { succeeded } from './test-utils/storage.ts';

type Program = (
  kernel: KitKernel,
  left: GuestNetworkInterface,
  right: GuestNetworkInterface,
  cable: BackToBack,
) => GuestTask;

/** Runs a guest with two adapters back to back. */
async function withTwo(
  program: Program,
  vsc: NetworkVscOptions = {},
  host: { maxSubChannels?: number } = {},
) {
  const cable = new BackToBack();
  const run = await runGuest({
    plugins,
    devices: [nic(1, cable.ends[0], host), nic(2, cable.ends[1], host)],
    drivers: { vscs: [new NetworkVsc(vsc)] },
    *main(kernel) {
      const [left, right] = yield* interfaces(kernel, 2);
      yield* program(kernel, left, right, cable);
    },
    onLine(line) {
      if (line === 'pull') cable.setLink(false);
      if (line === 'plug') cable.setLink(true);
    },
  });
  return succeeded(run);
}

function demandSame(got: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(got, expected) !== 0) throw new GuestFault(`${what}: other bytes (${got.length})`);
}

/** Sends `frames` from one end while the other receives as many. */
function* exchange(
  kernel: KitKernel,
  from: GuestNetworkInterface,
  to: GuestNetworkInterface,
  frames: readonly Uint8Array[],
): GuestTask {
  const done = new GuestEvent();
  const receiver = function* (): GuestTask {
    for (const [i, frame] of frames.entries()) {
      const received = yield* to.receive();
      demandSame(received.bytes, frame, `frame ${i}`);
    }
    done.set();
  };
  kernel.spawn('receiver', receiver());
  for (const bytes of frames) yield* from.send({ bytes });
  yield* done.wait();
}

describe('two adapters back to back', () => {
  it('pass frames of all lengths both ways', async () => {
    const run = await withTwo(function* (kernel, left, right) {
      const random = new Random(1);
      const frames = (to: GuestNetworkInterface, from: GuestNetworkInterface) =>
        Array.from({ length: 100 }, (_, i) => frameTo(to.mac, from.mac, random.bytes(i === 0 ? 0 : i * 15)));
      yield* exchange(kernel, left, right, frames(right, left));
      yield* exchange(kernel, right, left, frames(left, right));
    });
    expect(run.counters['device.nic1.frames.out']).toBe(100);
    expect(run.counters['device.nic1.frames.in']).toBe(100);
    expect(run.counters['device.nic2.refused']).toBe(0);
  });

  it.each(Object.entries(NvspVersion))('speak version %s', async (_, maxVersion) => {
    await withTwo(
      function* (kernel, left, right) {
        const payload = new Random(2).bytes(1500);
        yield* exchange(kernel, left, right, [frameTo(right.mac, left.mac, payload)]);
      },
      { maxVersion },
    );
  });

  it.each([576, 1500, 9000])('carry what an MTU of %i allows', async (mtu) => {
    await withTwo(
      function* (kernel, left, right) {
        if (left.mtu !== mtu) throw new GuestFault(`the MTU is ${left.mtu}`);
        const frame = frameTo(right.mac, left.mac, new Random(3).bytes(mtu));
        yield* exchange(kernel, left, right, [frame, frame.subarray(0, 60), frame]);
      },
      { mtu, receiveBufferBytes: 2 * 1024 * 1024 },
    );
  });

  it('keep a VLAN tag beside the bytes', async () => {
    await withTwo(function* (_, left, right) {
      yield* left.send({ bytes: frameTo(right.mac, left.mac, new Uint8Array(50)), vlanTag: 0xb123 });
      const { vlanTag } = yield* right.receive();
      if (vlanTag !== 0xb123) throw new GuestFault(`tag ${vlanTag}`);
    });
  });

  it('pass large TCP segments in one piece', async () => {
    const run = await withTwo(function* (_, left, right) {
      const payload = new Random(4).bytes(64_000);
      for (let i = 0; i < 4; i++) {
        const bytes = tcpTo(right.mac, left.mac, 1000 + i, payload);
        yield* left.send({ bytes, offload: { segmentPayloadBytes: 1460 } });
        const received = yield* right.receive();
        demandSame(received.bytes.subarray(54), payload, `segment ${i}`);
        if (received.checksumGood !== true) throw new GuestFault('the checksum is not vouched for');
      }
    });
    expect(run.counters['device.nic2.large.in']).toBe(4);
    expect(run.counters['device.nic2.frames.in']).toBe(4);
  });

  it('cut large TCP segments for a guest that does not take them', async () => {
    await withTwo(
      function* (_, left, right) {
        const payload = new Random(5).bytes(64_000);
        const bytes = tcpTo(right.mac, left.mac, 1000, payload);
        yield* left.send({ bytes, offload: { segmentPayloadBytes: 1460 } });
        for (let at = 0; at < payload.length; at += 1460) {
          const received = yield* right.receive();
          demandSame(received.bytes.subarray(54), payload.subarray(at, at + 1460), `piece at ${at}`);
          if (received.checksumGood !== true) throw new GuestFault('a checksum is wrong');
        }
      },
      { coalescing: false },
    );
  });

  it('hold the sender back while the receiver does not read, and lose nothing', async () => {
    const run = await withTwo(
      function* (kernel, left, right, cable) {
        const frames = Array.from({ length: 1000 }, (_, i) =>
          frameTo(right.mac, left.mac, new Random(i).bytes(1200)),
        );
        const sender = function* (): GuestTask {
          for (const bytes of frames) yield* left.send({ bytes });
        };
        kernel.spawn('sender', sender());
        yield* kernel.sleep(50e6);
        if (cable.waiting === 0) throw new GuestFault('the cable is empty');
        for (const [i, frame] of frames.entries()) {
          demandSame((yield* right.receive()).bytes, frame, `frame ${i}`);
        }
      },
      { queueFrames: 8, receiveBufferBytes: 128 * 1024 },
    );
    expect(run.counters['device.nic2.waits']).toBeGreaterThan(0);
    expect(run.counters['device.nic2.dropped']).toBe(0);
  });

  it('follow the link', async () => {
    await withTwo(function* (kernel, left, right) {
      for (const up of [false, true, false, true]) {
        kernel.print(up ? 'plug' : 'pull');
        yield* left.linkChanged.wait();
        if (left.linkUp !== up) throw new GuestFault(`the link is ${left.linkUp ? 'up' : 'down'}`);
      }
      yield* exchange(kernel, left, right, [frameTo(right.mac, left.mac, new Uint8Array(100))]);
    });
  });

  it('spread flows over sub-channels', async () => {
    const run = await withTwo(
      function* (_, left, right) {
        const payload = new Random(6).bytes(100);
        const hashes = new Set<number | undefined>();
        for (let port = 0; port < 64; port++) {
          const bytes = tcpTo(right.mac, left.mac, port, payload);
          const checksum = { startOffset: 34, fieldOffset: 50 };
          yield* left.send({ bytes, offload: { checksum } });
        }
        for (let port = 0; port < 64; port++) hashes.add((yield* right.receive()).hash);
        if (hashes.size < 60 || hashes.has(undefined)) throw new GuestFault(`${hashes.size} hashes`);
      },
      { subChannels: 3 },
      { maxSubChannels: 3 },
    );
    expect(run.counters['device.nic2.frames.in']).toBe(64);
    expect(run.counters['device.nic2.batches.in']).toBeGreaterThan(3);
  });

  it('share interrupts, signals and messages among many frames', async () => {
    const count = 2000;
    const run = await withTwo(function* (kernel, left, right) {
      const bytes = frameTo(right.mac, left.mac, new Random(7).bytes(1000));
      yield* exchange(kernel, left, right, Array<Uint8Array>(count).fill(bytes));
    });
    const { counters } = run;
    expect(counters['vmbus.nic2.signals.out'] / count).toBeLessThan(0.1);
    expect(counters['vmbus.nic1.signals.in'] / count).toBeLessThan(0.1);
    expect(counters['device.nic1.batches.out'] / count).toBeLessThan(0.3);
    expect(counters['device.nic2.batches.in'] / count).toBeLessThan(0.1);
  });
});
