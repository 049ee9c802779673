import { describe, expect, it } from 'vitest';
import { measurementOrder } from '../bench-run.ts';
import {
  jobName,
  LINUX_JOBS,
  type StorageBenchOptions,
  settingsOf,
  spanOf,
  type Workload,
} from './options.ts';

const GUEST = { kernel: 'vmlinuz', initrd: 'initrd', description: 'Linux' };

describe('options', () => {
  it('have defaults', () => {
    expect(settingsOf({})).toMatchObject({ guest: 'kit', seconds: 0.5, runs: 5, memory: false });
    expect(settingsOf({}).jobs.map(jobName)).toEqual([
      'seq-read 4k x32',
      'seq-write 4k x32',
      'rand-read 4k x32',
      'rand-write 4k x32',
    ]);
  });

  it('have jobs of their own for Linux, unless some are named', () => {
    expect(settingsOf({ guest: 'linux', linux: GUEST })).toMatchObject({ jobs: LINUX_JOBS, runs: 2 });
    const chosen = settingsOf({ guest: 'linux', linux: GUEST, workloads: ['rand-read'], depths: [1, 8] });
    expect(chosen.jobs.map(jobName)).toEqual(['rand-read 4k x1', 'rand-read 4k x8']);
  });

  it.each<[StorageBenchOptions, RegExp]>([
    [{ workloads: ['seq-reed' as Workload] }, /unknown workload 'seq-reed': there are seq-read/],
    [{ workloads: [] }, /no workload/],
    [{ paths: ['emulated', 'emulated'] }, /named twice/],
    [{ blockBytes: [1000] }, /multiple of 512/],
    [{ blockBytes: [0] }, /from 512/],
    [{ blockBytes: [2 ** 40] }, /to 1048576/],
    [{ depths: [0.5] }, /whole number/],
    [{ depths: [1000] }, /from 1 to 256/],
    [{ seconds: Number.NaN }, /seconds/],
    [{ depths: [4, 4] }, /named twice/],
    [{ depths: [] }, /no depth/],
    [{ guest: 'linux' }, /no Linux guest/],
    [{ runs: 0 }, /runs of 0/],
    [{ spanBytes: 4096 }, /need at least 524288/],
    [{ spanBytes: 2 ** 50 }, /at most 1 TiB/],
  ])('refuse %o in one line', (options, message) => {
    expect(() => settingsOf(options)).toThrow(message);
    expect(() => settingsOf(options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }));
  });

  it('cut the span to whole blocks', () => {
    expect(spanOf(10 * 2 ** 20 + 700, settingsOf({ blockBytes: [1024] }))).toBe(10 * 2 ** 20);
  });
});

describe('order of measurements', () => {
  it('takes every pair once and lets the paths go first in turns', () => {
    const settings = settingsOf({ runs: 4 });
    const order = measurementOrder(settings);
    expect(order).toHaveLength(4 * 4 * 2);
    expect(new Set(order.map((one) => JSON.stringify(one))).size).toBe(order.length);
    for (const job of settings.jobs) {
      const first = order.filter((one, index) => one.jobs.includes(job) && index % 2 === 0);
      expect(first.filter(({ path }) => path === 'enlightened')).toHaveLength(2);
    }
    for (let i = 0; i < order.length; i += 2) {
      expect(order[i]).toMatchObject({ jobs: order[i + 1].jobs, run: order[i + 1].run });
    }
  });

  it('gives Linux one life for all jobs', () => {
    const order = measurementOrder(settingsOf({ guest: 'linux', linux: GUEST, runs: 2 }));
    expect(order.map(({ path }) => path)).toEqual(['enlightened', 'emulated', 'emulated', 'enlightened']);
    for (const { jobs } of order) expect(jobs).toEqual(LINUX_JOBS);
  });
});
