import { describe, expect, it } from 'vitest';
import { type StorageBenchOptions, settingsOf, spanOf, type Workload } from './options.ts';
import { sampleOrder } from './storage-bench.ts';

describe('options', () => {
  it('have defaults', () => {
    expect(settingsOf({})).toMatchObject({ blockBytes: 4096, depth: 32, runs: 5, memory: false });
  });

  it.each<[StorageBenchOptions, RegExp]>([
    [{ workloads: ['seq-reed' as Workload] }, /unknown workload 'seq-reed': there are seq-read/],
    [{ workloads: [] }, /no workload/],
    [{ paths: ['emulated', 'emulated'] }, /named twice/],
    [{ blockBytes: 1000 }, /multiple of 512/],
    [{ blockBytes: 0 }, /from 512/],
    [{ blockBytes: 2 ** 40 }, /to 1048576/],
    [{ depth: 0.5 }, /whole number/],
    [{ depth: 1000 }, /from 1 to 256/],
    [{ seconds: Number.NaN }, /seconds/],
    [{ runs: 0 }, /runs of 0/],
    [{ spanBytes: 4096 }, /need at least 524288/],
    [{ spanBytes: 2 ** 50 }, /at most 1 TiB/],
  ])('refuse %o in one line', (options, message) => {
    expect(() => settingsOf(options)).toThrow(message);
    expect(() => settingsOf(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it('cut the span to whole blocks', () => {
    expect(spanOf(10 * 2 ** 20 + 700, settingsOf({ blockBytes: 1024 }))).toBe(10 * 2 ** 20);
  });
});

describe('order of samples', () => {
  it('takes every pair once and lets the paths go first in turns', () => {
    const settings = settingsOf({ runs: 4 });
    const order = sampleOrder(settings);
    expect(order).toHaveLength(4 * 4 * 2);
    expect(new Set(order.map((one) => JSON.stringify(one))).size).toBe(order.length);
    for (const workload of settings.workloads) {
      const first = order.filter((one, index) => one.workload === workload && index % 2 === 0);
      expect(first.filter(({ path }) => path === 'enlightened')).toHaveLength(2);
    }
    for (let i = 0; i < order.length; i += 2) {
      expect(order[i]).toMatchObject({ workload: order[i + 1].workload, run: order[i + 1].run });
    }
  });
});
