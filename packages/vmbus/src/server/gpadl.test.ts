import { GpaAccess } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FakePartition } from '../test-utils/fake-partition.ts';
import { GpadlMemory } from './gpadl.ts';

describe('memory of several ranges', () => {
  const partition = new FakePartition();
  const dma = partition.domain('nic');
  const memory = partition.kernel.allocate(8 * 4096);
  for (let i = 0; i < memory.bytes.length; i++) memory.bytes[i] = i % 251;
  // Out of order, with ragged ends: bytes 100.. of page 5 and all of page 1, then 50 bytes of page 3.
  const pages = (...indices: number[]) => Float64Array.from(indices, (index) => memory.pages[index]);
  const gpadl = new GpadlMemory(
    9,
    [
      { offset: 100, sizeBytes: 3996 + 4096, pages: pages(5, 1) },
      { offset: 7, sizeBytes: 50, pages: pages(3) },
      { offset: 4095, sizeBytes: 2, pages: pages(2, 6) },
    ],
    dma,
  );
  const at = (page: number, from: number, count: number) => [
    ...memory.bytes.subarray(page * 4096 + from, page * 4096 + from + count),
  ];
  const expected = [
    ...at(5, 100, 3996),
    ...at(1, 0, 4096),
    ...at(3, 7, 50),
    ...at(2, 4095, 1),
    ...at(6, 0, 1),
  ];

  it('is one run of bytes', () => {
    expect(gpadl.sizeBytes).toBe(expected.length);
    fc.assert(
      fc.property(fc.nat(expected.length), fc.nat(expected.length), (a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        const views: Uint8Array[] = [];
        expect(gpadl.collect(from, to - from, GpaAccess.READ, views)).toBe(true);
        expect(views.flatMap((view) => [...view])).toEqual(expected.slice(from, to));
      }),
      { numRuns: 30 },
    );
  });

  it('gives nothing beyond its end, of pages that are gone, or after its teardown', () => {
    const out = [new Uint8Array(1)];
    expect(gpadl.collect(0, expected.length + 1, GpaAccess.READ, out)).toBe(false);
    expect(gpadl.collect(-1, 1, GpaAccess.READ, out)).toBe(false);
    partition.gpa.unmap(memory.pages[3], 1);
    expect(gpadl.collect(3990, 5000, GpaAccess.READ, out)).toBe(false);
    expect(gpadl.collect(0, 10, GpaAccess.READ, [])).toBe(true);
    gpadl.tearDown();
    expect(gpadl.collect(0, 10, GpaAccess.READ, out)).toBe(false);
    expect(out).toHaveLength(1);
    expect(partition.counters.counter('fault.dma.nic').value).toBe(4);
  });
});
