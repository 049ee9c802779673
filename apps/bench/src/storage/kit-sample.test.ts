import { createRamDisk, type Disk } from '@kensho/devices-storage';
import { describe, expect, it } from 'vitest';
import { type BenchPath, PATHS } from '../options.ts';
import { takeKitSample } from './kit-sample.ts';
import type { Workload } from './options.ts';
import type { StorageSample } from './results.ts';
import { hashSpan } from './span.ts';

const SPAN_BYTES = 256 * 1024;
const BLOCK_BYTES = 4096;

/** A disk in memory whose blocks all differ. */
async function knownDisk(): Promise<Disk> {
  const disk = createRamDisk({ sizeBytes: SPAN_BYTES, id: '11111111-2222-3333-4444-555555555555' });
  const content = new Uint8Array(SPAN_BYTES).map((_, index) => index / BLOCK_BYTES + 1);
  await disk.write(0, [content]);
  return disk;
}

/** The disk as it is but for the requests that are given. */
function but(disk: Disk, changes: Partial<Pick<Disk, 'read' | 'write' | 'flush'>>): Disk {
  return {
    sizeBytes: disk.sizeBytes,
    logicalSectorBytes: disk.logicalSectorBytes,
    physicalSectorBytes: disk.physicalSectorBytes,
    readOnly: disk.readOnly,
    canTrim: disk.canTrim,
    id: disk.id,
    read: (offset, target) => disk.read(offset, target),
    write: (offset, source) => disk.write(offset, source),
    flush: () => disk.flush(),
    trim: (offset, length) => disk.trim(offset, length),
    close: () => disk.close(),
    ...changes,
  };
}

async function sampleOn(
  disk: Disk,
  workload: Workload,
  path: BenchPath,
  imageSha256?: string,
): Promise<StorageSample> {
  return takeKitSample(
    disk,
    {
      imageSha256: imageSha256 ?? (await hashSpan(disk, SPAN_BYTES)),
      spanBytes: SPAN_BYTES,
      path,
      run: 0,
      order: 0,
      seconds: 0.02,
      seed: 1,
    },
    { workload, blockBytes: BLOCK_BYTES, depth: 4 },
  );
}

const sizeOf = (views: readonly Uint8Array[]) => views.reduce((sum, view) => sum + view.length, 0);

describe.each(PATHS)('a sample on the %s path', (path) => {
  it('ends well on a disk that does what it should', async () => {
    const sample = await sampleOn(await knownDisk(), 'rand-write', path);
    expect(sample.verification.checkedBlocks).toBeGreaterThan(0);
  });

  it('fails where the guest reads another image than the host', async () => {
    await expect(sampleOn(await knownDisk(), 'rand-read', path, 'another')).rejects.toMatchObject({
      code: 'VERIFICATION_FAILED',
    });
  });

  it('fails where a read gives another block', async () => {
    const disk = await knownDisk();
    const astray = but(disk, {
      read: (offset, target) =>
        disk.read(sizeOf(target) === BLOCK_BYTES ? (offset + BLOCK_BYTES) % SPAN_BYTES : offset, target),
    });
    await expect(sampleOn(astray, 'rand-read', path)).rejects.toThrow(/reads differently than before/);
  });

  it('fails where a write is lost', async () => {
    const disk = await knownDisk();
    let writes = 0;
    const forgetful = but(disk, {
      write: (offset, source) => (++writes > 50 ? undefined : disk.write(offset, source)),
    });
    await expect(sampleOn(forgetful, 'seq-write', path)).rejects.toThrow(
      /does not hold what was last written/,
    );
  });

  it('fails where the host reads something else than the guest did', async () => {
    const disk = await knownDisk();
    let readSinceFlush = Number.NEGATIVE_INFINITY;
    const twofaced = but(disk, {
      flush: () => {
        readSinceFlush = 0;
      },
      async read(offset, target) {
        await disk.read(offset, target);
        if (readSinceFlush >= SPAN_BYTES) target[0][0] ^= 1;
        readSinceFlush += sizeOf(target);
      },
    });
    await expect(sampleOn(twofaced, 'rand-write', path)).rejects.toThrow(/different data after the writes/);
  });
});
