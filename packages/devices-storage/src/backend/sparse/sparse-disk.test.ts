import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Disk } from '../disk.ts';
import { ByteModel, split } from '../test-utils/byte-model.ts';
import { CrashFile } from '../test-utils/crash-file.ts';
import { type ImageKind, type TestImage, vhdKind, vhdxKind } from '../test-utils/images.ts';
import { Random } from '../test-utils/random.ts';
import { frozenFile, wrapFile } from '../test-utils/wrap-file.ts';

const SECTOR = 512;

/** Sizes that end inside a block. */
const DISK_BLOCKS = 5.5;

/** What a random run does: disjoint requests at once, then all of them awaited, sometimes a flush or a reopen. */
async function run(kind: ImageKind, seed: number, depth: number): Promise<void> {
  const random = new Random(seed);
  const sizeBytes = kind.blockBytes * DISK_BLOCKS;
  const model = new ByteModel(sizeBytes);
  let parent: TestImage | undefined;
  for (let level = 0; level < depth; level++) {
    const image = await kind.create(sizeBytes, parent);
    const disk = await image.open(image.file);
    await writeSome(disk, model, random, 6);
    await disk.close();
    parent = image;
  }
  const image = await kind.create(sizeBytes, parent);
  let file = new CrashFile(image.file, random);
  let disk = await image.open(file);
  for (let round = 0; round < 10; round++) {
    await writeSome(disk, model, random, 8);
    if (disk.canTrim && random.chance(0.4)) {
      const from = random.below(sizeBytes / SECTOR) * SECTOR;
      const length = random.below((sizeBytes - from) / SECTOR + 1) * SECTOR;
      await disk.trim(from, length);
      await adopt(disk, model, from, length);
    }
    if (random.chance(0.3)) await disk.flush();
    await compare(disk, model, random);
    if (random.chance(0.2)) {
      await disk.close();
      const closed = file.crashAt(file.time, random);
      expect(await image.check(closed)).toEqual([]);
      file = new CrashFile(closed, random);
      disk = await image.open(file);
      await compare(disk, model, random, true);
    }
  }
  await disk.close();
  const closed = file.crashAt(file.time, random);
  expect(await image.check(closed)).toEqual([]);
  await compare(await image.open(closed), model, random, true);
}

/** Up to `count` requests at once that touch no sector in common, but often the same blocks. */
async function writeSome(disk: Disk, model: ByteModel, random: Random, count: number): Promise<void> {
  const taken = new Set<number>();
  const writes: unknown[] = [];
  const hot = random.below(disk.sizeBytes / SECTOR);
  for (let i = 0; i < count; i++) {
    const from = random.chance(0.5) ? hot + random.below(64) : random.below(disk.sizeBytes / SECTOR);
    const most = random.chance(0.1) ? 3000 : 40;
    const sectors = Math.min(1 + random.below(most), disk.sizeBytes / SECTOR - from);
    const range = Array.from({ length: Math.max(0, sectors) }, (_, k) => from + k);
    if (sectors <= 0 || range.some((sector) => taken.has(sector))) continue;
    for (const sector of range) taken.add(sector);
    const data = model.fill(from * SECTOR, sectors * SECTOR, 1 + random.below(250));
    writes.push(disk.write(from * SECTOR, split(data, 100 + random.below(5000))));
  }
  await Promise.all(writes);
}

async function compare(disk: Disk, model: ByteModel, random: Random, whole = false): Promise<void> {
  const from = whole ? 0 : random.below(disk.sizeBytes / SECTOR) * SECTOR;
  const length = whole ? disk.sizeBytes : Math.min(disk.sizeBytes - from, (1 + random.below(4000)) * SECTOR);
  const got = new Uint8Array(length).fill(0xee);
  await disk.read(from, split(got, 3000 + random.below(10000)));
  expect(Buffer.compare(got, model.bytes.subarray(from, from + length))).toBe(0);
}

/** After a trim each sector may be as before or zero; the model takes what it is, and nothing else. */
async function adopt(disk: Disk, model: ByteModel, from: number, length: number): Promise<void> {
  const got = new Uint8Array(length);
  await disk.read(from, [got]);
  for (let at = 0; at < length; at += SECTOR) {
    const sector = got.subarray(at, at + SECTOR);
    const before = model.bytes.subarray(from + at, from + at + SECTOR);
    if (Buffer.compare(sector, before) !== 0) expect(sector.every((byte) => byte === 0)).toBe(true);
  }
  model.bytes.set(got, from);
}

describe.each([vhdxKind, vhdKind])('$name', (kind) => {
  it.each([0, 1, 3])('holds what was written, over %i parents', async (depth) => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), (seed) => run(kind, seed, depth)),
      { numRuns: depth === 0 ? 5 : 3 },
    );
  });

  it('gives two writes into one absent block one block', async () => {
    const image = await kind.create(kind.blockBytes * 4);
    const file = new CrashFile(image.file, new Random(7));
    const disk = await image.open(file);
    const writes = Array.from({ length: 32 }, (_, i) =>
      disk.write(i * 4096, [new Uint8Array(4096).fill(i + 1)]),
    );
    await Promise.all(writes);
    const grown = file.sizeBytes - image.file.sizeBytes;
    expect(grown).toBeLessThan(2 * kind.blockBytes);
    const got = new Uint8Array(32 * 4096);
    await disk.read(0, [got]);
    expect(Array.from({ length: 32 }, (_, i) => got[i * 4096])).toEqual(
      Array.from({ length: 32 }, (_, i) => i + 1),
    );
    await disk.close();
  });

  it('reports a failing host and goes on when it recovers', async () => {
    const image = await kind.create(kind.blockBytes * 4);
    let failing = true;
    const inner = image.file.clone();
    const file = wrapFile(inner, {
      write(offset, source) {
        if (failing && source[0][0] === 9) throw new Error('disk full');
        inner.write(offset, source);
      },
    });
    const disk = await image.open(file);
    const data = new Uint8Array(4096).fill(9);
    const last = disk.sizeBytes - kind.blockBytes;
    await expect((async () => disk.write(last, [data]))()).rejects.toThrow('disk full');
    failing = false;
    await disk.write(last, [data]);
    await disk.close();
    expect(await image.check(inner)).toEqual([]);
    const got = new Uint8Array(4096);
    await (await image.open(inner)).read(last, [got]);
    expect(got).toEqual(data);
  });
});

it('a VHDX reuses the place of a trimmed block, and only after the trim is durable', async () => {
  const image = await vhdxKind.create(8 << 20);
  const disk = await image.open(image.file);
  const data = new Uint8Array(4096).fill(3);
  for (let block = 0; block < 4; block++) await disk.write(block << 20, [data]);
  await disk.flush();
  const full = image.file.sizeBytes;
  await disk.trim(0, 2 << 20);
  await disk.write(5 << 20, [data]);
  expect(image.file.sizeBytes).toBe(full + (1 << 20));
  await disk.flush();
  await disk.write(6 << 20, [data]);
  await disk.write(7 << 20, [data]);
  expect(image.file.sizeBytes).toBe(full + (1 << 20));
  const got = new Uint8Array(1 << 20);
  await disk.read(6 << 20, [got]);
  expect(got.subarray(0, 4096)).toEqual(data);
  expect(got.subarray(4096).every((byte) => byte === 0)).toBe(true);
  await disk.close();
  expect(await image.check(image.file)).toEqual([]);
});

it('a child that is larger than its parent reads zeroes beyond it', async () => {
  const parent = await vhdxKind.create(2 << 20);
  const filled = await parent.open(parent.file);
  await filled.write(0, [new Uint8Array(2 << 20).fill(5)]);
  await filled.close();
  const child = await vhdxKind.create(4 << 20, parent);
  const disk = await child.open(child.file);
  const got = new Uint8Array(4 << 20).fill(1);
  await disk.read(0, [got]);
  expect(got.subarray(0, 2 << 20).every((byte) => byte === 5)).toBe(true);
  expect(got.subarray(2 << 20).every((byte) => byte === 0)).toBe(true);
});

it.each([vhdxKind, vhdKind])('$name: reading changes nothing in the file, read-only or not', async (kind) => {
  const image = await kind.create(4 << 20);
  const filled = await image.open(image.file);
  await filled.write(0, [new Uint8Array(4096).fill(5)]);
  await filled.close();
  for (const readOnly of [true, false]) {
    const disk = await image.open(wrapFile(frozenFile(image.file), { readOnly }));
    expect(disk.readOnly).toBe(readOnly);
    const got = new Uint8Array(8192);
    await disk.read(0, [got]);
    expect([got[0], got[4096]]).toEqual([5, 0]);
    await disk.flush();
    await disk.close();
  }
});
