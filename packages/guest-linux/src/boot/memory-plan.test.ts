import { GpaAccess, GpaSpace, KenshoError, PAGE_SIZE, PageArena } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryType } from '../protocol/boot-params.ts';
import { EBDA, type MemoryRange, memoryMap, ramOf } from './memory-map.ts';
import { MemoryPlan } from './memory-plan.ts';

const end = ({ gpa, sizeBytes }: MemoryRange) => gpa + sizeBytes;
const within = (range: MemoryRange, ram: readonly MemoryRange[]) =>
  ram.some((one) => range.gpa >= one.gpa && end(range) <= end(one));
const isSorted = (ranges: readonly MemoryRange[]) =>
  ranges.every((range, i) => i === 0 || end(ranges[i - 1]) <= range.gpa);

/** What is mapped where, in pages: gaps and runs in turns. */
const layout = fc.array(
  fc.record({
    gap: fc.nat(40),
    pages: fc.integer({ min: 1, max: 60 }),
    access: fc.constantFrom(GpaAccess.ALL, GpaAccess.ALL, GpaAccess.READ, GpaAccess.READ | GpaAccess.EXECUTE),
  }),
  { maxLength: 12 },
);
const LIMIT_PAGE = 1200;

function spaceOf(runs: { gap: number; pages: number; access: number }[]): GpaSpace {
  const gpa = new GpaSpace(PageArena.allocate(1));
  let page = 0;
  for (const { gap, pages, access } of runs) {
    page += gap;
    for (let i = 0; i < pages; i++) gpa.map(page++, 0, 1, access);
  }
  return gpa;
}

const range = fc
  .record({ gpa: fc.nat(LIMIT_PAGE * PAGE_SIZE), sizeBytes: fc.integer({ min: 1, max: 30 * PAGE_SIZE }) })
  .map(({ gpa, sizeBytes }) => ({ gpa, sizeBytes }));

describe('the memory map', () => {
  it('is sorted, has no overlaps, and says of each byte what it is', () => {
    fc.assert(
      fc.property(layout, fc.array(range, { maxLength: 2 }), (runs, acpi) => {
        const gpa = spaceOf(runs);
        const map = memoryMap(gpa, LIMIT_PAGE, acpi);
        expect(isSorted(map)).toBe(true);
        const typeAt = (at: number) => map.find((one) => at >= one.gpa && at < end(one))?.type;
        const inside = (at: number, one: MemoryRange) => at >= one.gpa && at < end(one);
        for (let at = 0; at < LIMIT_PAGE * PAGE_SIZE; at += 0x400) {
          const access = gpa.accessOf(Math.floor(at / PAGE_SIZE));
          // Boundaries of ACPI ranges lie anywhere: look where the whole KiB is one thing.
          if (acpi.some((one) => [one.gpa, end(one)].some((edge) => edge > at && edge < at + 0x400)))
            continue;
          let expected: number | undefined;
          if (access === GpaAccess.ALL) {
            if (inside(at, EBDA)) expected = MemoryType.RESERVED;
            else expected = acpi.some((one) => inside(at, one)) ? MemoryType.ACPI : MemoryType.RAM;
          } else if (access !== 0) {
            expected = MemoryType.RESERVED;
          }
          if (typeAt(at) !== expected) expect({ at, type: typeAt(at) }).toEqual({ at, type: expected });
        }
      }),
      { numRuns: 40 },
    );
  });

  it('is as short as it can be', () => {
    const gpa = spaceOf([{ gap: 0, pages: 300, access: GpaAccess.ALL }]);
    expect(memoryMap(gpa, LIMIT_PAGE, [])).toEqual([
      { gpa: 0, sizeBytes: EBDA.gpa, type: MemoryType.RAM },
      { ...EBDA, type: MemoryType.RESERVED },
      { gpa: 0xa0000, sizeBytes: 300 * PAGE_SIZE - 0xa0000, type: MemoryType.RAM },
    ]);
  });
});

describe('a memory plan', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('claim' as const), range }),
    fc.record({
      kind: fc.constantFrom('low' as const, 'high' as const),
      sizeBytes: fc.nat(50 * PAGE_SIZE),
      limit: fc.nat(LIMIT_PAGE * PAGE_SIZE),
    }),
  );

  it('gives away each byte of RAM once at most, and nothing else', () => {
    fc.assert(
      fc.property(layout, fc.array(step, { maxLength: 20 }), (runs, steps) => {
        const ram = ramOf(memoryMap(spaceOf(runs), LIMIT_PAGE, []));
        const plan = new MemoryPlan(ram);
        for (const one of steps) {
          try {
            if (one.kind === 'claim') {
              plan.claim('it', one.range.gpa, one.range.sizeBytes);
              continue;
            }
            const place = one.kind === 'low' ? plan.placeLow : plan.placeHigh;
            const gpa = place.call(plan, 'it', one.sizeBytes, one.limit);
            expect(gpa % PAGE_SIZE).toBe(0);
            expect(gpa).toBeGreaterThan(0);
            expect(gpa + one.sizeBytes).toBeLessThanOrEqual(one.limit);
            expect(plan.claims).toContainEqual(expect.objectContaining({ gpa }));
          } catch (error) {
            if (!(error instanceof KenshoError)) throw error;
            expect(['OUTSIDE_MEMORY', 'OVERLAP', 'NO_ROOM']).toContain(error.code);
          }
        }
        expect(isSorted(plan.claims)).toBe(true);
        expect(plan.claims.every((claim) => within(claim, ram))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('finds room wherever there is some', () => {
    fc.assert(
      fc.property(layout, fc.integer({ min: 1, max: 40 }), (runs, pages) => {
        const ram = ramOf(memoryMap(spaceOf(runs), LIMIT_PAGE, []));
        const limit = LIMIT_PAGE * PAGE_SIZE;
        const fits = ram.some(({ gpa, sizeBytes }) => {
          const first = Math.max(gpa, PAGE_SIZE);
          return Math.floor((gpa + sizeBytes - first) / PAGE_SIZE) >= pages;
        });
        for (const place of ['placeLow', 'placeHigh'] as const) {
          const plan = new MemoryPlan(ram);
          let found = true;
          try {
            plan[place]('it', pages * PAGE_SIZE, limit);
          } catch {
            found = false;
          }
          expect(found).toBe(fits);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('takes the lowest and the highest place, around what is claimed', () => {
    const plan = new MemoryPlan([{ gpa: 0, sizeBytes: 0x20000 }]);
    plan.claim('the kernel', 0x4800, 0x1000);
    expect(plan.placeLow('a', 0x3000, 0x20000)).toBe(0x1000);
    expect(plan.placeLow('b', 1, 0x20000)).toBe(0x6000);
    expect(plan.placeHigh('c', 0x1001, 0x10000)).toBe(0xe000);
    expect(plan.placeHigh('d', 0, 0x10000)).toBe(0xd000);
    expect(() => plan.placeHigh('the initrd', 0x20000, 0x10000)).toThrow(
      'the initrd of 128 KiB does not fit: the largest free piece of RAM below 0x10000 has 24 KiB',
    );
    expect(() => plan.claim('segment 1', 0x5000, 0x1000)).toThrow(
      'segment 1 at 0x5000-0x5fff overlaps the kernel at 0x4800-0x57ff',
    );
    expect(() => plan.claim('segment 2', 0x1f000, 0x2000)).toThrow(
      "segment 2 at 0x1f000-0x20fff is outside the partition's RAM (0x0-0x1ffff)",
    );
  });
});
