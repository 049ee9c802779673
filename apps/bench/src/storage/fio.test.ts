import { describe, expect, it } from 'vitest';
import { fioCommand, parseFio } from './fio.ts';

const direction = (total_ios: number) => ({
  total_ios,
  runtime: 2000,
  lat_ns: {
    mean: 120_000,
    max: 900_000,
    percentile: { '50.000000': 100_000, '90.000000': 200_000, '99.000000': 400_000 },
  },
});

const report = (error = 0) =>
  `fio: a warning first\n${JSON.stringify({ jobs: [{ error, read: direction(500), write: direction(7) }] })}`;

describe('fio', () => {
  it('is asked for the job, in batches where there are several requests', () => {
    const options = { device: '/dev/sda', seconds: 2, spanBytes: 2 ** 25, seed: 9 };
    const one = fioCommand({ workload: 'rand-write', blockBytes: 4096, depth: 1 }, options);
    for (const part of [
      '--rw=randwrite',
      '--bs=4096',
      '--iodepth=1',
      '--direct=1',
      '--runtime=2',
      '--randseed=9',
    ])
      expect(one).toContain(part);
    expect(one).not.toContain('batch');
    const many = fioCommand({ workload: 'seq-read', blockBytes: 2 ** 20, depth: 5 }, options);
    expect(many).toContain('--iodepth_batch_submit=3 --iodepth_batch_complete_max=5');
  });

  it('reports the direction of the workload, in nanoseconds', () => {
    const latencyNs = { p50: 100_000, p90: 200_000, p99: 400_000, max: 900_000, mean: 120_000 };
    expect(parseFio(report(), 'seq-read')).toEqual({ operations: 500, elapsedNs: 2e9, latencyNs });
    expect(parseFio(report(), 'rand-write').operations).toBe(7);
  });

  it.each([
    ['', /no report$/],
    ['fio: failed to open /dev/sda', /failed to open/],
    ['{"jobs":[]}', /without jobs/],
    [report(5), /error 5/],
  ])('that failed is no sample: %s', (text, message) => {
    expect(() => parseFio(text, 'seq-read')).toThrow(message);
    expect(() => parseFio(text, 'seq-read')).toThrow(expect.objectContaining({ code: 'SAMPLE_FAILED' }));
  });
});
