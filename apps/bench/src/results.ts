import { type CounterSnapshot, KenshoError } from '@kensho/core';
import type { Environment } from './environment.ts';
import type { GuestProfile } from './linux/profile.ts';
import type { BenchPath, Job, Settings } from './options.ts';
import type { PerOperation } from './per-operation.ts';
import type { Projection } from './projection.ts';
import type { Estimate } from './stats/estimate.ts';

/** Names the shape of {@link StorageReport}; a change that readers must know of changes the number. */
export const STORAGE_REPORT_SCHEMA = 'kensho.bench.storage/2';

/** What the guest saw of its requests, by its own clock; all in nanoseconds. */
export interface Latency {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  readonly mean: number;
}

/** What was compared, and found equal, in one sample. */
export interface Verification {
  /** SHA-256 of the span as the guest read it first; equal to the host's own reading of the image. */
  readonly imageSha256: string;
  /** Reads of the window whose content was checked against the first reading. */
  readonly checkedReads: number;
  /** Blocks that the guest read back and compared with what was last written to them. */
  readonly checkedBlocks: number;
  /** SHA-256 of the span after the writes as the guest read it; equal to the host's reading of the overlay. */
  readonly writtenSha256?: string;
}

/** One job on one path, once. */
export interface Sample {
  readonly path: BenchPath;
  readonly job: Job;
  /** Counts from 0; the samples of one run on both paths are a pair. */
  readonly run: number;
  /** Place in the order in which samples were taken. */
  readonly order: number;
  readonly operations: number;
  readonly elapsedNs: number;
  readonly latencyNs: Latency;
  /** Operations that processor time and counters are of: all of the window, or its steady part. */
  readonly countedOperations: number;
  /** Processor time of the sample's process, all threads. */
  readonly cpuNs: number;
  /** What moved meanwhile, at its source. */
  readonly counters: CounterSnapshot;
  /** Where the guest spent its instructions; of Linux only. */
  readonly profile?: GuestProfile;
  readonly verification: Verification;
}

/** One job on one path. */
export interface Figures {
  readonly path: BenchPath;
  readonly job: Job;
  readonly samples: number;
  readonly throughputBytesPerSecond: Estimate;
  readonly operationsPerSecond: Estimate;
  readonly latencyP50Ns: Estimate;
  readonly latencyP99Ns: Estimate;
  /** Processor time that one operation took, of guest and host together. */
  readonly cpuNsPerOperation: Estimate;
  /** Requests that were in flight on average (Little's law): less than asked for where a driver answers at once. */
  readonly inFlight: Estimate;
  readonly perOperation: PerOperation;
  readonly projection: Projection;
  /** Mean over the samples; of Linux only. */
  readonly profile?: GuestProfile;
}

/** One job, enlightened over emulated; the measured ones are medians over pairs. */
export interface Ratio {
  readonly job: Job;
  readonly throughput: Estimate;
  readonly latencyP50: Estimate;
  readonly latencyP99: Estimate;
  readonly cpuPerOperation: Estimate;
}

/** What the samples ran on. */
export interface ImageFacts {
  /** File name without its folder, or `generated`. */
  readonly name: string;
  readonly format: string;
  readonly sizeBytes: number;
  readonly generated: boolean;
  /** Of the span, as the host read it. */
  readonly sha256: string;
}

/** A whole run of the storage benchmark: its settings, its raw samples, and what follows from them. */
export interface StorageReport {
  readonly schema: typeof STORAGE_REPORT_SCHEMA;
  /** Version of Kensho. */
  readonly version: string;
  /** When it began, ISO 8601. */
  readonly created: string;
  readonly elapsedSeconds: number;
  readonly settings: Settings & { readonly spanBytes: number };
  readonly image: ImageFacts;
  /** What did the I/O, in words. */
  readonly guest: string;
  readonly environment: Environment;
  /** Of the host's last minute before the run; above the number of cores, times are unreliable. */
  readonly loadAverage: number;
  /** Always true: a mismatch ends the run. */
  readonly verified: boolean;
  readonly figures: readonly Figures[];
  /** Empty unless both paths were measured. */
  readonly ratios: readonly Ratio[];
  readonly samples: readonly Sample[];
}

/**
 * Reads a report's JSON text. Throws KenshoError BAD_REPORT where it is not one of this schema.
 *
 * @param name - of the file, for the error
 */
export function parseStorageReport(text: string, name: string): StorageReport {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new KenshoError('BAD_REPORT', `${name} is not JSON: give the report.json of a run`);
  }
  const report = value as Partial<StorageReport> | null;
  if (typeof report !== 'object' || report?.schema !== STORAGE_REPORT_SCHEMA) {
    const found = typeof report === 'object' && report !== null ? report.schema : undefined;
    throw new KenshoError(
      'BAD_REPORT',
      `${name} is not a report of schema ${STORAGE_REPORT_SCHEMA}${found === undefined ? '' : ` but of ${found}`}`,
    );
  }
  if (!Array.isArray(report.samples) || report.samples.length === 0 || report.settings === undefined) {
    throw new KenshoError('BAD_REPORT', `${name} has no samples or settings: it is damaged`);
  }
  return report as StorageReport;
}
