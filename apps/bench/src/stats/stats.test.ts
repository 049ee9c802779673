import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, medianEstimate, pairedRatioEstimate, ratioEstimate } from './estimate.ts';
import { seededRandom } from './random.ts';
import { leastRankSumP, rankSumTest } from './rank-sum.ts';

const values = fc.array(fc.double({ min: 0.5, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 12 });

/** Few enough different values that some are the same. */
const ties = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 12 });

describe('estimates', () => {
  it('medians', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
  });

  it('stay inside what was measured, around the value, and repeat', () => {
    fc.assert(
      fc.property(values, fc.integer(), (sample, seed) => {
        const estimate = medianEstimate(sample, seededRandom(seed));
        expect(estimate).toEqual(medianEstimate(sample, seededRandom(seed)));
        expect(estimate.low).toBeGreaterThanOrEqual(Math.min(...sample));
        expect(estimate.high).toBeLessThanOrEqual(Math.max(...sample));
        expect(estimate.low).toBeLessThanOrEqual(estimate.value);
        expect(estimate.high).toBeGreaterThanOrEqual(estimate.value);
      }),
      { numRuns: 30 },
    );
  });

  it('cover the true median about as often as they say', () => {
    const random = seededRandom(7);
    let covered = 0;
    for (let trial = 0; trial < 200; trial++) {
      const sample = Array.from({ length: 15 }, () => random());
      const { low, high } = medianEstimate(sample, random);
      if (low <= 0.5 && high >= 0.5) covered++;
    }
    expect(covered / 200).toBeGreaterThan(0.88);
  });

  it('cancel what a pair has in common', () => {
    const emulated = [10, 40, 20, 80, 30];
    const ratio = pairedRatioEstimate(
      emulated.map((value) => value * 3),
      emulated,
      seededRandom(1),
    );
    expect(ratio).toEqual({ value: 3, low: 3, high: 3 });
    expect(() => pairedRatioEstimate([1], [1, 2], seededRandom(1))).toThrow(RangeError);
  });

  it('of two independent samples turn round with them', () => {
    const there = ratioEstimate([10, 11, 12], [20, 22, 24], seededRandom(1));
    const back = ratioEstimate([20, 22, 24], [10, 11, 12], seededRandom(1));
    expect(there.value).toBeCloseTo(2, 5);
    expect(there.value * back.value).toBeCloseTo(1, 5);
    expect(there.low).toBeGreaterThan(1);
    expect(back.high).toBeLessThan(1);
  });
});

describe('rank-sum test', () => {
  it('agrees with published exact values', () => {
    // All of one below all of the other: 2 of C(n + m, n) ways.
    expect(rankSumTest([1, 2, 3], [4, 5, 6])).toBeCloseTo(2 / 20, 12);
    expect(rankSumTest([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(2 / 252, 12);
    // U = 3 of 4 x 5 (Mann and Whitney 1947, table I, n = 5, m = 4: 0.056 one-sided).
    expect(rankSumTest([1, 2, 3, 7], [4, 5, 6, 8, 9])).toBeCloseTo(14 / 126, 12);
    expect(leastRankSumP(3, 3)).toBeCloseTo(0.1, 12);
  });

  it('finds nothing between equals, ties included', () => {
    expect(rankSumTest([5, 5, 5], [5, 5, 5])).toBe(1);
    expect(rankSumTest([1, 2, 3, 4], [1, 2, 3, 4])).toBeCloseTo(1, 12);
  });

  it('is symmetric and blind to monotone change', () => {
    fc.assert(
      fc.property(ties, ties, (a, b) => {
        const p = rankSumTest(a, b);
        expect(p).toBeGreaterThan(0);
        expect(p).toBeLessThanOrEqual(1);
        expect(rankSumTest(b, a)).toBeCloseTo(p, 9);
        expect(rankSumTest(a.map(Math.log), b.map(Math.log))).toBeCloseTo(p, 9);
      }),
      { numRuns: 40 },
    );
  });

  it('passes smoothly from exact to approximate', () => {
    const random = seededRandom(3);
    const a = Array.from({ length: 30 }, () => random());
    const b = Array.from({ length: 30 }, () => random() + 0.2);
    const exact = rankSumTest(a, b);
    const approximate = rankSumTest(a, [...b, 0.5]);
    expect(approximate).toBeGreaterThan(exact / 3);
    expect(approximate).toBeLessThan(exact * 3);
  });
});
