import { describe, expect, it } from 'vitest';
import { compareReports } from './compare.ts';
import { seededRandom } from './stats/random.ts';
import { parseStorageReport } from './storage/results.ts';
import { reportOf } from './test-utils/samples.ts';

/** Samples of about `speed`, a few percent apart. */
function noisy(speed: number, seed: number, options = {}) {
  const random = seededRandom(seed);
  return reportOf(() => speed * (0.97 + 0.06 * random()), { runs: 6, ...options });
}

describe('compare', () => {
  it('tells a difference, its direction and its size', () => {
    const { comparisons, differing } = compareReports(noisy(10_000, 1), noisy(8000, 2));
    expect(differing).toBe(comparisons.length);
    for (const { metric, ratio, p, verdict } of comparisons) {
      expect(verdict).toBe('worse');
      expect(p).toBeCloseTo(2 / 924, 9);
      const expected = metric === 'throughput' ? 0.8 : 1.25;
      expect(ratio.value).toBeGreaterThan(expected * 0.95);
      expect(ratio.value).toBeLessThan(expected * 1.05);
      expect(ratio.low).toBeLessThanOrEqual(ratio.value);
      expect(ratio.high).toBeGreaterThanOrEqual(ratio.value);
    }
    const [faster] = compareReports(noisy(8000, 2), noisy(10_000, 1)).comparisons;
    expect(faster.verdict).toBe('better');
  });

  it('finds nothing between a run and itself', () => {
    const run = noisy(10_000, 1);
    const { comparisons, differing } = compareReports(run, run);
    expect(differing).toBe(0);
    expect(new Set(comparisons.map(({ verdict }) => verdict))).toEqual(new Set(['same']));
  });

  it('says when no difference could be told', () => {
    const { comparisons, differing } = compareReports(
      noisy(10_000, 1, { runs: 3 }),
      noisy(1000, 2, { runs: 3 }),
    );
    expect(differing).toBe(0);
    expect(comparisons[0].verdict).toBe('too-few');
  });

  it('refuses other settings and other images, naming them', () => {
    const run = noisy(1, 1);
    expect(() => compareReports(run, noisy(1, 1, { blockBytes: [8192] }))).toThrow(
      /jobs: .*seq-read 4k x32.* \/ .*seq-read 8k x32/,
    );
    const other = { ...run, image: { ...run.image, sha256: 'cd'.repeat(32) } };
    expect(() => compareReports(run, other)).toThrow(/image/);
    expect(() => compareReports(run, noisy(1, 1, { runs: 9, seed: 5 }))).not.toThrow();
  });

  it('names the environments’ differences', () => {
    const run = noisy(1, 1);
    const moved = { ...run, environment: { ...run.environment, cpu: 'Other' } };
    expect(compareReports(run, moved).environmentDifferences).toEqual([
      `cpu: ${run.environment.cpu} / Other`,
    ]);
  });
});

describe('reports', () => {
  it('survive being written and read', () => {
    const run = noisy(5, 1);
    expect(parseStorageReport(JSON.stringify(run), 'a.json')).toEqual(run);
  });

  it.each([
    ['{', /a.json is not JSON/],
    ['null', /not a report/],
    ['{"schema":"kensho.bench.storage/9"}', /of kensho.bench.storage\/9/],
    ['{"schema":"kensho.bench.storage/2","samples":[]}', /no samples/],
  ])('are refused where they are none: %s', (text, message) => {
    expect(() => parseStorageReport(text, 'a.json')).toThrow(message);
  });
});
