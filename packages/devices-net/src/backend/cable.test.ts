import { describe, expect, it } from 'vitest';
import { TestAdapter, TestPartition, testFrame } from '../test-utils/network.ts';
import { createCable } from './cable.ts';

const MAC = ['02:00:00:00:00:01', '02:00:00:00:00:02'] as const;

describe('cable', () => {
  it('carries frames both ways while both ends are plugged in, each in its own partition', () => {
    const partitions = [new TestPartition(), new TestPartition()];
    const ends = createCable(partitions[0], partitions[1]);
    const adapters = MAC.map((mac, n) => new TestAdapter(`nic${n}`, mac));
    const first = ends[0].connect(adapters[0]);
    first.send({ bytes: testFrame(MAC[1], MAC[0]) });
    expect(first.linkUp).toBe(false);
    const second = ends[1].connect(adapters[1]);
    for (const partition of partitions) partition.settle();
    expect(adapters.map(({ links }) => links)).toEqual([[true], [true]]);
    const frame = { bytes: testFrame(MAC[1], MAC[0]), vlanTag: 5, offload: { segmentPayloadBytes: 1 } };
    first.send(frame);
    partitions[0].settle();
    expect(adapters[1].take()).toEqual([]);
    partitions[1].settle();
    expect(adapters[1].take()).toEqual([frame]);
    second.send(frame);
    first.close();
    for (const partition of partitions) partition.settle();
    expect(adapters[0].take()).toEqual([]);
    expect([second.linkUp, adapters[1].links]).toEqual([false, [true, false]]);
    expect(() => ends[1].connect(adapters[1])).toThrow(/taken/);
  });
});
