import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  CONTRIBUTIONS,
  COUNTERS,
  type Contributions,
  LOGGER,
  type Resolver,
  TIMERS,
  type Token,
  WORK,
} from '@kensho/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SWITCHES, Switches } from '../switch/switches.ts';
import { TestAdapter, TestPartition, testFrame } from '../test-utils/network.ts';
import { BUILT_IN_NETWORKS } from './built-in.ts';
import { readCapture } from './capture/pcapng.ts';
import { holdNetwork, type NetworkSpec, openNetwork } from './network.ts';

let folder = '';
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-networks-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

const contributions = {
  get: (_: unknown, id: string) => BUILT_IN_NETWORKS.find((one) => one.id === id),
} as unknown as Contributions;

/** Partitions of one host. */
function host() {
  const switches = new Switches();
  return () => {
    const partition = new TestPartition();
    const services = new Map<Token<unknown>, unknown>([
      [WORK, partition.work],
      [TIMERS, partition.timers],
      [COUNTERS, partition.counters],
      [LOGGER, partition.log],
      [SWITCHES, switches],
      [CONTRIBUTIONS, contributions],
    ]);
    const resolver: Resolver = {
      resolve: <T>(service: Token<T>) => services.get(service) as T,
      tryResolve: <T>(service: Token<T>) => services.get(service) as T | undefined,
    };
    return {
      partition,
      async plug(adapter: TestAdapter, spec: NetworkSpec) {
        return (await openNetwork(resolver, spec)).connect(adapter);
      },
    };
  };
}

const MAC = ['02:00:00:00:00:01', '02:00:00:00:00:02', '02:00:00:00:00:03'] as const;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

describe('network kinds', () => {
  it('put adapters of several partitions on one switch by its name', async () => {
    const partitions = [host()].flatMap((make) => [make(), make()]);
    const adapters = MAC.map((mac, n) => new TestAdapter(`nic${n}`, mac));
    const spec = { kind: 'switch', options: { name: 'lan' } };
    const first = await partitions[0].plug(adapters[0], spec);
    await partitions[1].plug(adapters[1], spec);
    await partitions[1].plug(adapters[2], { kind: 'switch', options: { name: 'other' } });
    first.send({ bytes: testFrame(BROADCAST, MAC[0]) });
    for (const { partition } of partitions) partition.settle();
    expect(adapters.map((adapter) => adapter.take().length)).toEqual([0, 1, 0]);
    const otherwise = { kind: 'switch', options: { name: 'lan', kind: 'external' } };
    await expect(partitions[0].plug(adapters[0], otherwise)).rejects.toThrow(
      'switch lan is private, not external',
    );
  });

  it('connect a switch to another network for as long as the adapter that asked for it', async () => {
    const make = host();
    const { partition, plug } = make();
    const adapters = MAC.map((mac, n) => new TestAdapter(`nic${n}`, mac));
    const far = await plug(adapters[2], { kind: 'switch', options: { name: 'far' } });
    const uplink = { kind: 'switch', options: { name: 'far', allowMacSpoofing: true } };
    const near = { name: 'near', kind: 'external' };
    const first = await plug(adapters[0], { kind: 'switch', options: { ...near, uplink } });
    const second = await plug(adapters[1], { kind: 'switch', options: near });
    second.send({ bytes: testFrame(MAC[2], MAC[1]) });
    partition.settle();
    expect(adapters.map((adapter) => adapter.take().length)).toEqual([1, 0, 1]);
    far.send({ bytes: testFrame(MAC[1], MAC[2]) });
    partition.settle();
    expect(adapters.map((adapter) => adapter.take().length)).toEqual([0, 1, 0]);
    first.close();
    far.send({ bytes: testFrame(MAC[1], MAC[2]) });
    partition.settle();
    expect(adapters.map((adapter) => adapter.take().length)).toEqual([0, 0, 0]);
  });

  it('go around each other: a capture of a bad line to nowhere, which is then replayed', async () => {
    const { partition, plug } = host()();
    const file = path.join(folder, 'a.pcapng');
    const line = { kind: 'impaired', options: { seed: 1, lossRate: 0.5, network: { kind: 'none' } } };
    const adapter = new TestAdapter('nic', MAC[0]);
    const port = await plug(adapter, { kind: 'capture', options: { file, network: line } });
    for (let i = 0; i < 10; i++) port.send({ bytes: testFrame(MAC[1], MAC[0], [i]) });
    partition.settle();
    expect(port.linkUp).toBe(false);
    port.close();
    expect(readCapture(fs.readFileSync(file))).toHaveLength(10);
    await plug(adapter, { kind: 'replay', options: { file, frames: 'all' } });
    partition.advance(10);
    expect(adapter.take().map(({ bytes }) => bytes[14])).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('outlive a partition where they are held: its capture goes on in the next one, also in time', async () => {
    const make = host();
    const file = path.join(folder, 'held.pcapng');
    const line = {
      kind: 'impaired',
      options: { seed: 1, network: { kind: 'switch', options: { name: 'a' } } },
    };
    const held = await holdNetwork(contributions, { kind: 'capture', options: { file, network: line } });
    for (const n of [1, 2]) {
      const { partition, plug } = make();
      const port = await plug(new TestAdapter('nic', MAC[0]), held.spec);
      partition.advance(10);
      port.send({ bytes: testFrame(MAC[1], MAC[0], [n]) });
      partition.advance(5);
      port.close();
    }
    await held.release();
    const frames = readCapture(fs.readFileSync(file));
    expect(frames.map(({ timeNs, bytes }) => [timeNs, bytes[14]])).toEqual([
      [0, 1],
      [15e6, 2],
    ]);
    const plain = { kind: 'none' };
    expect((await holdNetwork(contributions, plain)).spec).toBe(plain);
    const nat = await holdNetwork(contributions, { kind: 'nat' });
    expect(nat.spec).toMatchObject({ kind: 'nat', options: { host: expect.anything() } });
    await nat.release();
  });

  it('say in a line what they cannot do', async () => {
    const { plug } = host()();
    const adapter = new TestAdapter('nic', MAC[0]);
    await expect(plug(adapter, { kind: 'nat' })).rejects.toThrow(/virtual clock/);
    await expect(plug(adapter, { kind: 'replay', options: { file: folder } })).rejects.toThrow(
      /cannot be read/,
    );
  });
});
