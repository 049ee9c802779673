import os from 'node:os';
import { currentEnvironment } from './environment.ts';
import { openBenchImage } from './image.ts';
import { measureInProcess } from './measurement-runner.ts';
import { type BenchPath, type Settings, type StorageBenchOptions, settingsOf } from './options.ts';
import type { MeasurementRequest } from './request.ts';
import { type Sample, STORAGE_REPORT_SCHEMA, type StorageReport } from './results.ts';
import { summarise } from './summary.ts';

/** How far a run has come. */
export interface BenchProgress {
  readonly done: number;
  readonly total: number;
  /** What is measured now; undefined at the end. */
  readonly now: { readonly path: BenchPath; readonly run: number; readonly what: string } | undefined;
}

/** Who is told, and who can end it. */
export interface BenchControl {
  /** Version of Kensho, for the report. */
  readonly version: string;
  readonly onProgress?: (progress: BenchProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Runs the storage benchmark: one new process for each guest, the two paths in turns.
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
  const plan = measurementOrder(settings);
  const total = settings.runs * settings.paths.length * settings.jobs.length;
  const image = await openBenchImage(options, settings);
  const samples: Sample[] = [];
  try {
    for (const { path, run, jobs } of plan) {
      const { guest, seconds, memory, seed } = settings;
      const order = samples.length;
      const tell = (what: string) => control.onProgress?.({ done: order, total, now: { path, run, what } });
      const request: MeasurementRequest = {
        guest,
        linux: options.linux,
        imagePath: image.path,
        imageFormat: image.facts.format,
        imageSha256: image.facts.sha256,
        spanBytes: image.spanBytes,
        path,
        jobs,
        run,
        order,
        seconds,
        memory,
        seed,
      };
      samples.push(...(await measureInProcess(request, signal, tell)));
    }
    image.checkUnchanged();
    control.onProgress?.({ done: total, total, now: undefined });
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
    guest: options.linux?.description ?? 'a program on the kit kernel',
    environment: currentEnvironment(),
    loadAverage,
    verified: true,
    ...summarise(samples, settings),
    samples,
  };
}

/** One guest's life: the path it takes, and what it measures. */
export type Measurement = Pick<MeasurementRequest, 'path' | 'run' | 'jobs'>;

/**
 * Every job on every path in each run; which path goes first changes from pair to pair (A B, B A), so that what
 * drifts favours neither. A kit guest starts in milliseconds and does one job; Linux does all of them in one life.
 */
export function measurementOrder({ guest, paths, jobs, runs }: Settings): Measurement[] {
  const lives = guest === 'kit' ? jobs.map((job) => [job]) : [jobs];
  const order: Measurement[] = [];
  for (let run = 0; run < runs; run++) {
    for (const [index, life] of lives.entries()) {
      const turns = (run + index) % 2 === 0 ? paths : [...paths].reverse();
      for (const path of turns) order.push({ path, run, jobs: life });
    }
  }
  return order;
}
