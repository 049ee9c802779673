import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createDisk } from '@kensho/devices-storage';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { StorageBenchOptions } from './options.ts';
import type { StorageReport } from './results.ts';
import { runStorageBench } from './storage-bench.ts';

const MIB = 1024 * 1024;
const SMALL: StorageBenchOptions = { runs: 1, seconds: 0.05, spanBytes: MIB };

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-bench-test-'));
});
afterEach(() => fs.rmSync(folder, { recursive: true }));

function run(options: StorageBenchOptions): Promise<StorageReport> {
  return runStorageBench({ ...SMALL, ...options }, { version: 'test' });
}

describe('storage benchmark', () => {
  it('needs few hypercalls and interrupts on the enlightened path', async () => {
    const [alone, many] = await Promise.all([
      run({ paths: ['enlightened'], workloads: ['rand-read'], depths: [1] }),
      run({ paths: ['enlightened'], workloads: ['rand-read'], depths: [32] }),
    ]);
    const at1 = alone.figures[0].perOperation;
    expect(at1.hypercallsTotal).toBeLessThanOrEqual(1);
    expect(at1.interrupts).toBeLessThanOrEqual(1);
    expect(at1.intercepts.port).toBe(0);
    const at32 = many.figures[0].perOperation;
    expect(at32.hypercallsTotal).toBeLessThan(0.2);
    expect(at32.interrupts).toBeLessThan(0.2);
    for (const { verification, operations } of [...alone.samples, ...many.samples]) {
      expect(verification.checkedReads).toBe(operations);
    }
  });

  it('verifies reads and writes over both paths', async () => {
    const report = await run({ workloads: ['seq-read', 'rand-write'], depths: [8] });
    expect(report.verified).toBe(true);
    expect(report.samples).toHaveLength(4);
    for (const { path: taken, job, verification, operations, counters } of report.samples) {
      expect(verification.imageSha256).toBe(report.image.sha256);
      expect(operations).toBeGreaterThan(0);
      if (job.workload === 'rand-write') {
        expect(verification.checkedBlocks).toBeGreaterThan(0);
        expect(verification.writtenSha256).not.toBe(report.image.sha256);
      }
      if (taken === 'emulated') {
        expect(counters['intercept.port'] / operations).toBeGreaterThan(5);
        expect(counters['hypercall.HvCallSignalEvent']).toBeUndefined();
      } else expect(counters['intercept.port.bench-marker']).toBe(counters['intercept.port']);
    }
    expect(report.ratios).toHaveLength(2);
  });

  it('leaves a given image as it was', async () => {
    const image = path.join(folder, 'disk.vhdx');
    await createDisk(image, { sizeBytes: 8 * MIB });
    const before = fs.readFileSync(image);
    const report = await run({
      image,
      paths: ['emulated'],
      workloads: ['seq-write'],
      depths: [4],
      memory: false,
    });
    expect(report.image).toMatchObject({ name: 'disk.vhdx', format: 'vhdx', generated: false });
    expect(fs.readFileSync(image).equals(before)).toBe(true);
  });

  it('refuses a missing image, and ends when told to', async () => {
    await expect(run({ image: path.join(folder, 'none.vhd') })).rejects.toMatchObject({ code: 'NO_IMAGE' });
    const control = { version: 'test', signal: AbortSignal.abort(new Error('enough')) };
    await expect(runStorageBench(SMALL, control)).rejects.toThrow('enough');
  });
});
