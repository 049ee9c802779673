import { KenshoError } from '@kensho/core';
import type { Latency } from '../results.ts';
import type { StorageJob, Workload } from './options.ts';

/** What fio calls the workloads (fio(1), readwrite). */
const FIO_MODES: Readonly<Record<Workload, string>> = {
  'seq-read': 'read',
  'seq-write': 'write',
  'rand-read': 'randread',
  'rand-write': 'randwrite',
};

/**
 * The command line of a job on a device of the guest; its report is JSON on stdout. Requests are submitted by up to
 * half the depth and taken back as many as have ended, as programs do that keep so many in flight.
 */
export function fioCommand(
  { workload, blockBytes, depth }: StorageJob,
  options: { device: string; seconds: number; spanBytes: number; seed: number },
): string {
  return [
    'fio --name=job --ioengine=libaio --direct=1 --time_based --output-format=json',
    '--lat_percentiles=1 --clat_percentiles=0',
    `--filename=${options.device}`,
    `--size=${options.spanBytes}`,
    `--rw=${FIO_MODES[workload]}`,
    `--bs=${blockBytes}`,
    `--iodepth=${depth}`,
    ...(depth > 1
      ? [`--iodepth_batch_submit=${Math.ceil(depth / 2)}`, `--iodepth_batch_complete_max=${depth}`]
      : []),
    `--runtime=${options.seconds}`,
    `--randseed=${options.seed}`,
  ].join(' ');
}

/** What fio measured, by the guest's clock. */
export interface FioResult {
  readonly operations: number;
  readonly elapsedNs: number;
  readonly latencyNs: Latency;
}

interface FioDirection {
  readonly total_ios: number;
  readonly runtime: number;
  readonly lat_ns: {
    readonly mean: number;
    readonly max: number;
    readonly percentile?: Readonly<Record<string, number>>;
  };
}

/**
 * Reads fio's report of one job; latencies are from the program's request to its completion (fio(1), `lat`).
 * Throws KenshoError SAMPLE_FAILED where it is none, or reports an error.
 */
export function parseFio(text: string, workload: Workload): FioResult {
  const failed = (what: string) => new KenshoError('SAMPLE_FAILED', `fio: ${what}`);
  // What fio warns of comes first.
  const begin = text.indexOf('{');
  let report: { jobs?: { error: number; read: FioDirection; write: FioDirection }[] };
  try {
    report = JSON.parse(text.slice(Math.max(begin, 0)));
  } catch {
    const line = text.trim().split('\n').at(-1) ?? '';
    throw failed(line === '' ? 'no report' : `no report, but: ${line.slice(0, 200)}`);
  }
  const [job] = report.jobs ?? [];
  if (job === undefined) throw failed('a report without jobs');
  if (job.error !== 0) throw failed(`error ${job.error} of the guest (errno)`);
  const { total_ios, runtime, lat_ns } = workload.endsWith('read') ? job.read : job.write;
  const percentile = (name: string) => lat_ns.percentile?.[name] ?? lat_ns.mean;
  return {
    operations: total_ios,
    elapsedNs: runtime * 1e6,
    latencyNs: {
      p50: percentile('50.000000'),
      p90: percentile('90.000000'),
      p99: percentile('99.000000'),
      max: lat_ns.max,
      mean: lat_ns.mean,
    },
  };
}
