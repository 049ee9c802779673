import { type CounterSnapshot, KenshoError } from '@kensho/core';
import type { Environment } from './environment.ts';
import type { GuestProfile } from './linux/profile.ts';
import type { BenchPath, BenchSettings, Job } from './options.ts';
import type { PerOperation } from './per-operation.ts';
import type { Projection } from './projection.ts';
import type { Estimate } from './stats/estimate.ts';

/** What the guest saw of its requests, by its own clock; all in nanoseconds. */
export interface Latency {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  readonly mean: number;
}

/** One job on one path, once. */
export interface Sample<J extends Job = Job> {
  readonly path: BenchPath;
  readonly job: J;
  /** Counts from 0; the samples of one run on both paths are a pair. */
  readonly run: number;
  /** Place in the order in which samples were taken. */
  readonly order: number;
  readonly operations: number;
  readonly elapsedNs: number;
  /** Left out by jobs in which nobody waits for an answer. */
  readonly latencyNs?: Latency;
  /** Operations that did not arrive, beside those that did; left out where none may be lost. */
  readonly lostOperations?: number;
  /** Operations that processor time and counters are of: all of the window, or its steady part. */
  readonly countedOperations: number;
  /** Processor time of the sample's process, all threads. */
  readonly cpuNs: number;
  /** What moved meanwhile, at its source; of all guests together. */
  readonly counters: CounterSnapshot;
  /** Where the guest spent its instructions; of Linux only. */
  readonly profile?: GuestProfile;
}

/** One job on one path. */
export interface Figures<J extends Job = Job> {
  readonly path: BenchPath;
  readonly job: J;
  readonly samples: number;
  readonly throughputBytesPerSecond: Estimate;
  readonly operationsPerSecond: Estimate;
  /** These three where the samples have latencies. */
  readonly latencyP50Ns?: Estimate;
  readonly latencyP99Ns?: Estimate;
  /** Requests that were in flight on average (Little's law): less than asked for where a driver answers at once. */
  readonly inFlight?: Estimate;
  /** Share of the operations that did not arrive, where some may be lost. */
  readonly lossRate?: Estimate;
  /** Processor time that one operation took, of guest and host together. */
  readonly cpuNsPerOperation: Estimate;
  readonly perOperation: PerOperation;
  readonly projection: Projection;
  /** Mean over the samples; of Linux only. */
  readonly profile?: GuestProfile;
}

/** One job, enlightened over emulated; the measured ones are medians over pairs. */
export interface Ratio<J extends Job = Job> {
  readonly job: J;
  readonly throughput: Estimate;
  readonly latencyP50?: Estimate;
  readonly latencyP99?: Estimate;
  readonly cpuPerOperation: Estimate;
}

/** A whole run of a benchmark: its settings, its raw samples, and what follows from them. */
export interface Report<J extends Job = Job> {
  /** Names the shape; each benchmark has its own. */
  readonly schema: string;
  /** Version of Kensho. */
  readonly version: string;
  /** When it began, ISO 8601. */
  readonly created: string;
  readonly elapsedSeconds: number;
  readonly settings: BenchSettings<J>;
  /** What did the I/O, in words. */
  readonly guest: string;
  readonly environment: Environment;
  /** Of the host's last minute before the run; above the number of cores, times are unreliable. */
  readonly loadAverage: number;
  /** Always true: a mismatch ends the run. */
  readonly verified: boolean;
  readonly figures: readonly Figures<J>[];
  /** Empty unless both paths were measured. */
  readonly ratios: readonly Ratio<J>[];
  readonly samples: readonly Sample<J>[];
}

/**
 * Reads a report's JSON text. Throws KenshoError BAD_REPORT where it is not one of these schemas.
 *
 * @param name - of the file, for the error
 */
export function parseReportOf(schemas: readonly string[], text: string, name: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new KenshoError('BAD_REPORT', `${name} is not JSON: give the report.json of a run`);
  }
  const report = value as Partial<Report> | null;
  const found = typeof report === 'object' && report !== null ? report.schema : undefined;
  if (found === undefined || !schemas.includes(found)) {
    throw new KenshoError(
      'BAD_REPORT',
      `${name} is not a report of schema ${schemas.join(' or ')}${found === undefined ? '' : ` but of ${found}`}`,
    );
  }
  if (!Array.isArray(report?.samples) || report.samples.length === 0 || report.settings === undefined) {
    throw new KenshoError('BAD_REPORT', `${name} has no samples or settings: it is damaged`);
  }
  return report as Report;
}
