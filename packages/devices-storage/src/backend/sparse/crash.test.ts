import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlockFile } from '../block-file.ts';
import type { Disk } from '../disk.ts';
import type { MemoryFile } from '../memory-file.ts';
import { CrashFile } from '../test-utils/crash-file.ts';
import { type ImageKind, type TestImage, vhdKind, vhdxKind } from '../test-utils/images.ts';
import { Random } from '../test-utils/random.ts';

const SECTOR = 512;
/** Requests are whole cells, so that a few values tell what a sector may hold. */
const CELL = 4096;

/** One change of one cell, with the times at which it began and ended. */
interface CellChange {
  readonly value: number;
  readonly began: number;
  readonly ended: number;
  /** A trim: the cell may be zero, or as it was. */
  readonly optional: boolean;
}

/** What the guest did, as far as it decides what may be there after a crash. */
class History {
  readonly #cells = new Map<number, CellChange[]>();
  readonly #flushes: { readonly began: number; readonly ended: number }[] = [];

  changed(cell: number, change: CellChange): void {
    const changes = this.#cells.get(cell) ?? [];
    changes.push(change);
    this.#cells.set(cell, changes);
  }

  flushed(began: number, ended: number): void {
    this.#flushes.push({ began, ended });
  }

  /** The values that a sector of a cell may have when everything stopped at `time`. */
  allowed(cell: number, initial: number, time: number): ReadonlySet<number> {
    const flushedUntil = this.#flushes
      .filter(({ ended }) => ended <= time)
      .reduce((latest, { began }) => Math.max(latest, began), 0);
    let allowed = new Set([initial]);
    for (const change of this.#cells.get(cell) ?? []) {
      if (change.began > time) break;
      if (change.ended <= flushedUntil && !change.optional) allowed = new Set();
      allowed.add(change.value);
    }
    return allowed;
  }
}

/** Workers that write, trim and flush for a while, none of them waiting for another except on the same cells. */
async function work(disk: Disk, file: CrashFile, random: Random, blockBytes: number): Promise<History> {
  const history = new History();
  const busy = new Set<number>();
  const cells = disk.sizeBytes / CELL;
  let value = 1;
  const change = async (first: number, count: number, optional: boolean, operation: () => unknown) => {
    const own = Array.from({ length: count }, (_, i) => first + i);
    if (own.some((cell) => busy.has(cell))) return;
    for (const cell of own) busy.add(cell);
    const began = file.tick();
    const written = optional ? 0 : value;
    await operation();
    const ended = file.tick();
    for (const cell of own) {
      history.changed(cell, { value: written, began, ended, optional });
      busy.delete(cell);
    }
  };
  const flush = async () => {
    const began = file.tick();
    await disk.flush();
    history.flushed(began, file.tick());
  };
  const worker = async (steps: number) => {
    for (let step = 0; step < steps; step++) {
      const kind = random.below(10);
      if (kind === 0) await flush();
      else if (kind === 1 && disk.canTrim) {
        const perBlock = blockBytes / CELL;
        const block = random.below(Math.floor(cells / perBlock));
        await change(block * perBlock, perBlock, true, () => disk.trim(block * blockBytes, blockBytes));
      } else {
        // Few places, so that blocks are shared, trimmed and written again; now and then a whole block.
        const whole = random.chance(0.1);
        const perBlock = blockBytes / CELL;
        const first = whole
          ? random.below(4) * perBlock
          : random.below(6) * Math.floor(cells / 6) + random.below(8);
        const count = whole ? perBlock : 1 + random.below(6);
        value = (value % 250) + 1;
        const data = new Uint8Array(count * CELL).fill(value);
        await change(first, count, false, () => disk.write(first * CELL, [data]));
      }
    }
  };
  await Promise.all(Array.from({ length: 6 }, () => worker(8)));
  await flush();
  await worker(6);
  await disk.close();
  history.flushed(file.time, file.tick());
  return history;
}

async function expectAllowed(
  disk: Disk,
  allowed: (cell: number) => ReadonlySet<number>,
  context: string,
): Promise<void> {
  const contents = new Uint8Array(disk.sizeBytes);
  await disk.read(0, [contents]);
  for (let at = 0; at < contents.length; at += SECTOR) {
    const values = allowed(Math.floor(at / CELL));
    if (!values.has(contents[at])) {
      throw new Error(`${context}: sector ${at / SECTOR} holds ${contents[at]}, not one of ${[...values]}`);
    }
    for (let i = 1; i < SECTOR; i += 73) {
      if (contents[at + i] !== contents[at]) throw new Error(`${context}: sector ${at / SECTOR} is torn`);
    }
  }
}

async function crashRun(kind: ImageKind, seed: number, withParent: boolean): Promise<void> {
  const random = new Random(seed);
  const sizeBytes = kind.blockBytes * 6;
  const parent = withParent ? await filled(kind, sizeBytes) : undefined;
  const image = await kind.create(sizeBytes, parent);
  const file = new CrashFile(image.file, random);
  const initial = withParent ? 0xff : 0;
  const history = await work(await image.open(file), file, random, kind.blockBytes);
  for (let crash = 0; crash < 8; crash++) {
    const time = random.below(file.time + 1);
    const context = `seed ${seed}, at ${time} of ${file.time}`;
    const allowed = (cell: number) => history.allowed(cell, initial, time);
    const after = crash % 3 === 0 ? file.killAt(time, random) : file.crashAt(time, random);
    // A second failure while the first is being put right.
    const recovery = new CrashFile(after, random);
    await openAndClose(image, recovery);
    await expectSound(
      image,
      recovery.crashAt(random.below(recovery.time + 1), random),
      allowed,
      `${context}, twice`,
    );
    await expectSound(image, after, allowed, context);
  }
}

async function openAndClose(image: TestImage, file: BlockFile): Promise<void> {
  const disk = await image.open(file);
  await disk.close();
}

/** Opens, holds what it may, passes the check, and works. */
async function expectSound(
  image: TestImage,
  file: MemoryFile,
  allowed: (cell: number) => ReadonlySet<number>,
  context: string,
): Promise<void> {
  const disk = await image.open(file);
  await expectAllowed(disk, allowed, context);
  const first = Math.floor(disk.sizeBytes / CELL / 2);
  const data = new Uint8Array(3 * CELL).fill(0xab);
  await disk.write(first * CELL, [data]);
  await disk.close();
  expect(await image.check(file), context).toEqual([]);
  const again = await image.open(file);
  const isNew = (cell: number) => cell >= first && cell < first + 3;
  await expectAllowed(
    again,
    (cell) => (isNew(cell) ? new Set([0xab]) : allowed(cell)),
    `${context}, reopened`,
  );
}

async function filled(kind: ImageKind, sizeBytes: number): Promise<TestImage> {
  const image = await kind.create(sizeBytes);
  const disk = await image.open(image.file);
  await disk.write(0, [new Uint8Array(sizeBytes).fill(0xff)]);
  await disk.close();
  return image;
}

describe.each([vhdxKind, vhdKind])('$name after a power failure or a kill at any moment', (kind) => {
  it.each([false, true])('opens with what was flushed; parent: %s', async (withParent) => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), (seed) => crashRun(kind, seed, withParent)),
      { numRuns: 3, endOnFailure: true },
    );
  });
});
