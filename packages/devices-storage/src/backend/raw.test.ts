import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Disk } from './disk.ts';
import { MemoryFile } from './memory-file.ts';
import { OverlayDisk } from './overlay.ts';
import { createRamDisk } from './ram.ts';
import { RawDisk } from './raw.ts';
import { ByteModel, pattern, split } from './test-utils/byte-model.ts';
import { CrashFile } from './test-utils/crash-file.ts';
import { Random } from './test-utils/random.ts';
import { frozenFile } from './test-utils/wrap-file.ts';

const SECTOR = 512;
const ID = '00000000-0000-0000-0000-000000000001';

async function randomRun(disk: Disk, model: ByteModel, random: Random): Promise<void> {
  const sectors = disk.sizeBytes / SECTOR;
  for (let step = 0; step < 60; step++) {
    const from = random.below(sectors);
    const count = Math.min(sectors - from, 1 + random.below(random.chance(0.1) ? 2000 : 20));
    const range: [number, number] = [from * SECTOR, count * SECTOR];
    const kind = random.below(4);
    if (kind === 0 && disk.canTrim) {
      await disk.trim(...range);
      model.bytes.fill(0, range[0], range[0] + range[1]);
    } else if (kind < 3) {
      await disk.write(range[0], split(model.fill(...range, 1 + random.below(250)), 777));
    } else {
      const got = new Uint8Array(range[1]);
      await disk.read(range[0], split(got, 1234));
      expect(Buffer.compare(got, model.bytes.subarray(range[0], range[0] + range[1]))).toBe(0);
    }
  }
  const all = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [all]);
  expect(Buffer.compare(all, model.bytes)).toBe(0);
}

describe('RAM disk', () => {
  it('holds what was written and forgets what was trimmed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), (seed) =>
        randomRun(createRamDisk({ sizeBytes: 1 << 20, id: ID }), new ByteModel(1 << 20), new Random(seed)),
      ),
      { numRuns: 10 },
    );
  });

  it('takes memory only where it was written, and gives it back', async () => {
    const file = new MemoryFile(2 ** 50);
    const disk = new RawDisk(file, { id: ID });
    await disk.write(2 ** 49, [new Uint8Array(512).fill(1)]);
    await disk.write(0, [new Uint8Array(512).fill(1)]);
    expect(file.allocatedBytes).toBeLessThan(1 << 18);
    await disk.trim(0, 2 ** 50);
    expect(file.allocatedBytes).toBe(0);
    const got = new Uint8Array(512).fill(2);
    await disk.read(2 ** 49, [got]);
    expect(got.every((byte) => byte === 0)).toBe(true);
  });
});

describe('raw disk', () => {
  it('serves a part of a file, and asserts what the contract asks', () => {
    const disk = new RawDisk(new MemoryFile(4096), { id: ID, sizeBytes: 2048 });
    expect(disk.sizeBytes).toBe(2048);
    expect(() => disk.read(2048, [new Uint8Array(512)])).toThrow(/within the disk/);
    expect(() => disk.read(100, [new Uint8Array(512)])).toThrow(/whole sectors/);
    expect(() => disk.write(0, [new Uint8Array(100)])).toThrow(/whole sectors/);
    const readOnly = new RawDisk(frozenFile(new MemoryFile(4096)), { id: ID });
    expect(() => readOnly.write(0, [new Uint8Array(512)])).toThrow(/read-only/);
  });

  it('refuses a size that is not whole sectors', () => {
    for (const [sizeBytes, logicalSectorBytes] of [
      [0, 512],
      [1000, 512],
      [512 * 5, 2048],
    ]) {
      expect(() => new RawDisk(new MemoryFile(sizeBytes), { id: ID, logicalSectorBytes })).toThrow(
        expect.objectContaining({ code: 'BAD_DISK_SIZE' }),
      );
    }
  });
});

describe('overlay', () => {
  it('holds what was written and leaves the disk below alone', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const random = new Random(seed);
        const sizeBytes = 1 << 20;
        const base = new MemoryFile(sizeBytes);
        const model = new ByteModel(sizeBytes);
        base.write(0, [model.fill(0, sizeBytes, 9)]);
        const store = new CrashFile(new MemoryFile(), random);
        const overlay = new OverlayDisk(new RawDisk(frozenFile(base), { id: ID }), store);
        await randomRun(overlay, model, random);
        expect(overlay.writtenBytes).toBeGreaterThan(0);
        await overlay.close();
      }),
      { numRuns: 8 },
    );
  });

  it('knows its sectors also across the pieces of its map', async () => {
    const base = createRamDisk({ sizeBytes: 64 << 20, id: ID });
    const overlay = new OverlayDisk(base, new MemoryFile());
    const border = 16 << 20;
    const data = pattern(8192, 4);
    await overlay.write(border - 4096, [data]);
    expect(overlay.writtenBytes).toBe(8192);
    const got = new Uint8Array(16384);
    await overlay.read(border - 8192, [got]);
    expect(Buffer.compare(got.subarray(4096, 12288), data)).toBe(0);
    expect(got.subarray(0, 4096).every((byte) => byte === 0)).toBe(true);
  });
});
