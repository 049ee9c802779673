import os from 'node:os';
import { currentEnvironment } from './environment.ts';
import { openBenchImage } from './image.ts';
import {
  type BenchPath,
  type Settings,
  type StorageBenchOptions,
  settingsOf,
  type Workload,
} from './options.ts';
import { type Sample, STORAGE_REPORT_SCHEMA, type StorageReport } from './results.ts';
import { takeSampleInProcess } from './sample-runner.ts';
import { summarise } from './summary.ts';

/** How far a run has come. */
export interface BenchProgress {
  readonly done: number;
  readonly total: number;
  /** What is measured now; undefined at the end. */
  readonly now: { readonly path: BenchPath; readonly workload: Workload; readonly run: number } | undefined;
}

/** Who is told, and who can end it. */
export interface BenchControl {
  /** Version of Kensho, for the report. */
  readonly version: string;
  readonly onProgress?: (progress: BenchProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Runs the storage benchmark: one new process for each sample, the two paths in turns.
 *
 * Throws KenshoError: INVALID_OPTION, NO_IMAGE and what opening it throws, SAMPLE_FAILED, VERIFICATION_FAILED,
 * IMAGE_CHANGED; and the signal's reason where that aborts.
 */
export async function runStorageBench(
  options: StorageBenchOptions,
  control: BenchControl,
): Promise<StorageReport> {
  const settings = settingsOf(options);
  const began = new Date();
  const [loadAverage] = os.loadavg();
  const signal = control.signal ?? new AbortController().signal;
  const plan = sampleOrder(settings);
  const image = await openBenchImage(options, settings);
  const samples: Sample[] = [];
  try {
    for (const [order, now] of plan.entries()) {
      control.onProgress?.({ done: order, total: plan.length, now });
      const { blockBytes, depth, seconds, memory, seed } = settings;
      const request = {
        ...now,
        order,
        imagePath: image.path,
        imageFormat: image.facts.format,
        imageSha256: image.facts.sha256,
        spanBytes: image.spanBytes,
        blockBytes,
        depth,
        seconds,
        memory,
        seed,
      };
      samples.push(await takeSampleInProcess(request, signal));
    }
    image.checkUnchanged();
    control.onProgress?.({ done: plan.length, total: plan.length, now: undefined });
  } finally {
    image.close();
  }
  return {
    schema: STORAGE_REPORT_SCHEMA,
    version: control.version,
    created: began.toISOString(),
    elapsedSeconds: (Date.now() - began.getTime()) / 1000,
    settings: { ...settings, spanBytes: image.spanBytes },
    image: image.facts,
    environment: currentEnvironment(),
    loadAverage,
    verified: true,
    ...summarise(samples, settings),
    samples,
  };
}

/**
 * Every workload on every path in each run; which path goes first changes from pair to pair (A B, B A), so that what
 * drifts favours neither.
 */
export function sampleOrder(settings: Settings): { path: BenchPath; workload: Workload; run: number }[] {
  const order: { path: BenchPath; workload: Workload; run: number }[] = [];
  for (let run = 0; run < settings.runs; run++) {
    for (const [index, workload] of settings.workloads.entries()) {
      const paths = (run + index) % 2 === 0 ? settings.paths : [...settings.paths].reverse();
      for (const path of paths) order.push({ path, workload, run });
    }
  }
  return order;
}
