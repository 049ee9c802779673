import type { CounterSnapshot } from '@kensho/core';
import { currentEnvironment } from '../environment.ts';
import type { BenchPath } from '../options.ts';
import { type StorageBenchOptions, type StorageJob, settingsOf } from '../storage/options.ts';
import { STORAGE_REPORT_SCHEMA, type StorageReport, type StorageSample } from '../storage/results.ts';
import { storageTopic } from '../storage/topic.ts';
import { summarise } from '../summary.ts';

const COUNTERS: Record<BenchPath, CounterSnapshot> = {
  enlightened: {
    'intercept.port': 1,
    'intercept.port.bench-marker': 1,
    'intercept.hypercall': 500,
    'intercept.msr': 1000,
    'intercept.halt': 400,
    'hypercall.HvCallSignalEvent': 500,
    'interrupt.delivered': 450,
    'vmbus.scsi0.signals.in': 500,
    'copy.bytes': 80_000,
  },
  emulated: {
    'intercept.port': 15_001,
    'intercept.port.bench-marker': 1,
    'intercept.port.ide0': 15_000,
    'intercept.mmio': 1000,
    'intercept.mmio.local-apic': 1000,
    'intercept.halt': 1000,
    'interrupt.delivered': 1000,
  },
};

/** A made-up sample of 1,000 operations; `speed` is in operations per second. */
export function sampleOf(path: BenchPath, job: StorageJob, run: number, speed: number): StorageSample {
  return {
    path,
    job,
    run,
    order: run,
    operations: 1000,
    elapsedNs: 1e12 / speed,
    countedOperations: 1000,
    cpuNs: 1.2e12 / speed,
    latencyNs: { p50: 1e9 / speed, p90: 2e9 / speed, p99: 3e9 / speed, max: 9e9 / speed, mean: 1e9 / speed },
    counters: COUNTERS[path],
    verification: { imageSha256: 'ab'.repeat(32), checkedReads: 1000, checkedBlocks: 0 },
  };
}

/** A made-up report: `speed` gives operations per second for each sample. */
export function reportOf(
  speed: (path: BenchPath, job: StorageJob, run: number) => number,
  options: StorageBenchOptions = {},
): StorageReport {
  const settings = settingsOf(options);
  const samples = settings.jobs.flatMap((job) =>
    settings.paths.flatMap((path) =>
      Array.from({ length: settings.runs }, (_, run) => sampleOf(path, job, run, speed(path, job, run))),
    ),
  );
  return {
    schema: STORAGE_REPORT_SCHEMA,
    version: '0.0.0',
    created: '2026-01-02T03:04:05.000Z',
    elapsedSeconds: 12,
    settings: { ...settings, spanBytes: 64 * 1024 * 1024 },
    image: {
      name: 'generated',
      format: 'raw',
      sizeBytes: 64 * 1024 * 1024,
      generated: true,
      sha256: 'ab'.repeat(32),
    },
    guest: options.linux?.description ?? 'kit',
    environment: currentEnvironment(),
    loadAverage: 0.5,
    verified: true,
    ...summarise(samples, settings, storageTopic),
    samples,
  };
}
