import { GuestFault } from '@kensho/core';
import {
  type GuestNetworkInterface,
  NetworkVsc,
  type NetworkVscOptions,
  NvspVersion,
} from '@kensho/devices-net';
import { describe, expect, it } from 'vitest';
import { Random } from '../src/index.ts';
import {
  demandSame,
  exchange,
  followLink,
  holdBack,
  type Program,
  runBackToBack,
  type TwoAdapters,
} from './test-utils/back-to-back.ts';
import { frameTo, nic, plugins, tcpTo } from './test-utils/network.ts';

/** Runs a guest with two adapters back to back. */
function withTwo(program: Program, vsc: NetworkVscOptions = {}, host: { maxSubChannels?: number } = {}) {
  const machine: TwoAdapters = {
    plugins,
    device: (number, end) => nic(number, end, host),
    drivers: { vscs: [new NetworkVsc(vsc)] },
  };
  return runBackToBack(machine, program);
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
    const run = await withTwo(holdBack(1000, 50e6), { queueFrames: 8, receiveBufferBytes: 128 * 1024 });
    expect(run.counters['device.nic2.waits']).toBeGreaterThan(0);
    expect(run.counters['device.nic2.dropped']).toBe(0);
  });

  it('follow the link', async () => {
    await withTwo(followLink);
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
