import { describe, expect, it } from 'vitest';
import { TestAdapter, TestPartition, testFrame } from '../test-utils/network.ts';
import { createCable } from './cable.ts';
import { type ImpairmentOptions, impair } from './impairment.ts';
import type { Frame } from './port.ts';

const MAC = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;

function line(options: Omit<ImpairmentOptions, 'seed'>, seed = 1) {
  const partition = new TestPartition();
  const [left, right] = createCable(partition, partition);
  const near = new TestAdapter('near', MAC[0]);
  const far = new TestAdapter('far', MAC[1]);
  const farPort = right.connect(far);
  const port = impair(left, { seed, ...options }, partition).connect(near);
  partition.settle();
  const numbers = (frames: readonly Frame[]) => frames.map(({ bytes }) => (bytes[14] << 8) | bytes[15]);
  return {
    partition,
    port,
    farPort,
    near,
    send(count: number) {
      for (let i = 0; i < count; i++) port.send({ bytes: testFrame(MAC[1], MAC[0], [i >> 8, i & 0xff]) });
    },
    got: () => numbers(far.take()),
    back(count: number) {
      for (let i = 0; i < count; i++) farPort.send({ bytes: testFrame(MAC[0], MAC[1], [i >> 8, i & 0xff]) });
    },
    gotBack: () => numbers(near.take()),
    count: (name: string) => partition.counters.counter(`network.near.line.${name}`).value,
  };
}

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

describe('impaired line', () => {
  it('carries everything in order where nothing is wrong with it', () => {
    const { send, got, back, gotBack, partition } = line({});
    send(100);
    back(100);
    partition.advance(0);
    expect(got()).toEqual(upTo(100));
    expect(gotBack()).toEqual(upTo(100));
  });

  it('loses and duplicates as often as it is told, the same for the same seed', () => {
    const run = (seed: number) => {
      const { send, got, partition, count } = line({ lossRate: 0.1, duplicateRate: 0.2 }, seed);
      send(900);
      partition.advance(0);
      const frames = got();
      expect(frames).toHaveLength(900 - count('lost') + count('duplicated'));
      return { frames, lost: count('lost'), duplicated: count('duplicated') };
    };
    const first = run(1);
    expect(first.lost).toBeGreaterThan(50);
    expect(first.lost).toBeLessThan(150);
    expect(first.duplicated).toBeGreaterThan(100);
    expect(run(1)).toEqual(first);
    expect(run(2).frames).not.toEqual(first.frames);
  });

  it('delays, and keeps the order while the delay varies', () => {
    const { send, got, partition } = line({ delayMs: 10, jitterMs: 5 });
    send(50);
    partition.advance(9.9);
    expect(got()).toEqual([]);
    partition.advance(5.2);
    expect(got()).toEqual(upTo(50));
  });

  it('lets frames overtake those that it holds back', () => {
    const { send, got, partition, count } = line({ reorderRate: 0.2, reorderMs: 3 });
    send(50);
    partition.advance(1);
    const first = got();
    partition.advance(3);
    const late = got();
    expect(late).toHaveLength(count('reordered'));
    expect(late.length).toBeGreaterThan(3);
    expect([...first, ...late].sort((a, b) => a - b)).toEqual(upTo(50));
  });

  it('is as fast as its rate, and loses what does not fit', () => {
    const { send, got, partition, count } = line({ bitsPerSecond: 16 * 8 * 1000, maxFrames: 20 });
    send(50);
    partition.advance(10);
    expect(got()).toHaveLength(10);
    partition.advance(1000);
    expect(got()).toHaveLength(10);
    expect(count('full')).toBe(30);
  });

  it('makes frames ready for the wire first', () => {
    const { port, got, partition } = line({});
    // No TCP: there is nothing to cut.
    port.send({ bytes: testFrame(MAC[1], MAC[0]), offload: { segmentPayloadBytes: 100 } });
    partition.advance(0);
    expect(got()).toEqual([]);
  });

  it('says when the link goes, and carries nothing after its end', () => {
    const { near, farPort, port, send, got, partition } = line({ delayMs: 5 });
    send(1);
    port.close();
    partition.advance(10);
    expect(got()).toEqual([]);
    const other = line({});
    other.farPort.close();
    other.partition.settle();
    expect(other.near.links.at(-1)).toBe(false);
    expect([farPort.linkUp, near.links.at(-1)]).toEqual([false, true]);
  });

  it('refuses what makes no sense', () => {
    for (const options of [
      { lossRate: 2 },
      { delayMs: -1 },
      { bitsPerSecond: 0 },
      { jitterMs: Number.NaN },
    ]) {
      expect(() => line(options)).toThrow(/rates from 0 to 1/);
    }
  });
});
