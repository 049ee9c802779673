import os from 'node:os';
import { currentEnvironment } from './environment.ts';
import { type Measured, measureInProcess } from './measurement-runner.ts';
import type { BenchOptions, BenchPath, BenchSettings, Job } from './options.ts';
import type { MeasurementRequest } from './request.ts';
import type { Report, Sample } from './results.ts';
import { summarise } from './summary.ts';
import type { Topic } from './topic.ts';

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

/** One guest's life: the path it takes, and what it measures. */
export type Measurement<J extends Job = Job> = Pick<MeasurementRequest<J>, 'path' | 'run' | 'jobs'>;

/**
 * Every job on every path in each run; which path goes first changes from pair to pair (A B, B A), so that what
 * drifts favours neither. A kit guest starts in milliseconds and does one job; Linux does all of them in one life.
 */
export function measurementOrder<J extends Job>({
  guest,
  paths,
  jobs,
  runs,
}: BenchSettings<J>): Measurement<J>[] {
  const lives = guest === 'kit' ? jobs.map((job) => [job]) : [jobs];
  const order: Measurement<J>[] = [];
  for (let run = 0; run < runs; run++) {
    for (const [index, life] of lives.entries()) {
      const turns = (run + index) % 2 === 0 ? paths : [...paths].reverse();
      for (const path of turns) order.push({ path, run, jobs: life });
    }
  }
  return order;
}

/**
 * Takes all samples, in one new process for each guest's life, the two paths in turns, and draws the report from them.
 * Throws what measuring throws, and the signal's reason where that aborts.
 *
 * @param complete - says what the samples' process is to do, and how much longer than its windows it may take
 * @param afterwards - called when all samples are taken; what it throws ends the run
 */
export async function runBench<J extends Job, S extends Sample<J>>(
  { options, settings, topic, control }: BenchRun<J>,
  complete: (request: MeasurementRequest<J>) => Measured,
  afterwards: () => void = () => {},
): Promise<Omit<Report<J>, 'schema' | 'samples'> & { readonly samples: readonly S[] }> {
  const began = new Date();
  const [loadAverage] = os.loadavg();
  const signal = control.signal ?? new AbortController().signal;
  const { guest, seconds, seed } = settings;
  const total = settings.runs * settings.paths.length * settings.jobs.length;
  const samples: S[] = [];
  for (const { path, run, jobs } of measurementOrder(settings)) {
    const order = samples.length;
    const tell = (what: string) => control.onProgress?.({ done: order, total, now: { path, run, what } });
    const request = { guest, linux: options.linux, path, jobs, run, order, seconds, seed };
    const name = jobs.length === 1 ? topic.jobName(jobs[0]) : `${guest} guest`;
    samples.push(...((await measureInProcess(name, complete(request), signal, tell)) as readonly S[]));
  }
  afterwards();
  control.onProgress?.({ done: total, total, now: undefined });
  return {
    version: control.version,
    created: began.toISOString(),
    elapsedSeconds: (Date.now() - began.getTime()) / 1000,
    settings,
    guest: options.linux?.description ?? 'a program on the kit kernel',
    environment: currentEnvironment(),
    loadAverage,
    verified: true,
    ...summarise(samples, settings, topic),
    samples,
  };
}

/** What one run of a benchmark is of. */
export interface BenchRun<J extends Job> {
  readonly options: BenchOptions;
  readonly settings: BenchSettings<J>;
  readonly topic: Topic<J>;
  readonly control: BenchControl;
}
