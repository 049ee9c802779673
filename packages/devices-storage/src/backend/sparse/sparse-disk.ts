import { assert, type Guid, type MaybePromise } from '@kensho/core';
import { type BlockFile, writeZeroes } from '../block-file.ts';
import type { Disk } from '../disk.ts';
import { checkedLength, checkRange, checkWritable, ViewCursor, zeroViews } from '../views.ts';
import { Gate, Serial } from './gate.ts';
import type { MetadataPages } from './metadata-pages.ts';
import type { Space } from './space.ts';

/** What an image says of a block. */
export const BlockState = {
  /** The file has nothing of it: the parent's sectors, or zeroes. */
  ABSENT: 0,
  /** Zeroes, whatever the parent has. */
  ZERO: 1,
  /** Every sector is in the file. */
  FULL: 2,
  /** A bitmap says of each sector whether it is in the file. */
  PARTIAL: 3,
} as const;
export type BlockState = (typeof BlockState)[keyof typeof BlockState];

/**
 * How a format keeps track of its blocks. Changes go to its metadata pages and reach the file with
 * {@link BlockLayout.commit}.
 */
export interface BlockLayout {
  readonly blockBytes: number;
  readonly pages: MetadataPages;
  readonly space: Space;
  state(block: number): BlockState;
  /** Where a FULL or PARTIAL block's data begins in the file. */
  dataOffset(block: number): number;
  /** The data's place in a place of {@link Space}. */
  dataOffsetIn(placeBytes: number): number;
  /** Called once, before the first change. */
  beginWriting(): Promise<void>;
  /**
   * Enters a block at its place; its data is in the file, the rest of it as far as the state needs it. PARTIAL: no
   * sector is present yet.
   */
  enter(block: number, placeBytes: number, state: 'full' | 'partial'): Promise<void>;
  /** Takes a FULL or PARTIAL block out of the file; it reads as zeroes. Only where {@link canUnmap}. */
  unmap(block: number): void;
  readonly canUnmap: boolean;
  /** The run of sectors of a PARTIAL block that are alike: its length, negated where they are not in the file. */
  presence(block: number, sector: number, count: number): Promise<number>;
  markPresent(block: number, sector: number, count: number): Promise<void>;
  /** Makes everything so far durable: data first, then the metadata that mentions it. */
  commit(): Promise<void>;
  /** Leaves the file as a closed image; everything is committed. */
  endWriting(): Promise<void>;
}

export interface SparseDiskOptions {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly id: Guid;
  /** Where sectors that the file does not have are read. Closed with the disk. */
  readonly parent?: Disk;
}

/** Changed metadata pages that make a writer wait for a commit, so that memory stays bounded. */
const MAX_DIRTY_PAGES = 256;

/**
 * A disk whose blocks are in a file only once they were written: dynamic and differencing images of both formats.
 *
 * A block's data is written to its place before the metadata mentions it, and the metadata reaches the file only
 * with a flush, after the data has: at any moment the file holds, for each sector, what some moment since the last
 * flush had.
 */
export class SparseDisk implements Disk {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly canTrim: boolean;
  readonly id: Guid;
  readonly #file: BlockFile;
  readonly #layout: BlockLayout;
  readonly #parent: Disk | undefined;
  readonly #gate = new Gate();
  readonly #allocation = new Serial();
  #begun: Promise<void> | undefined;
  /** Whether the first change has been prepared for, so that writes can go straight to the file. */
  #writing = false;
  #commit: Promise<void> | undefined;
  #nextCommit: Promise<void> | undefined;

  constructor(file: BlockFile, layout: BlockLayout, options: SparseDiskOptions) {
    this.#file = file;
    this.#layout = layout;
    this.#parent = options.parent;
    this.sizeBytes = options.sizeBytes;
    this.logicalSectorBytes = options.logicalSectorBytes;
    this.physicalSectorBytes = options.physicalSectorBytes;
    this.id = options.id;
    this.readOnly = file.readOnly;
    this.canTrim = layout.canUnmap && !this.readOnly;
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    const lengthBytes = checkedLength(this, offsetBytes, target);
    return this.#gate.shared(() =>
      this.#eachBlock(offsetBytes, lengthBytes, target, (block, within, length, views) =>
        this.#readBlock(block, within, length, views),
      ),
    );
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    checkWritable(this);
    const lengthBytes = checkedLength(this, offsetBytes, source);
    return this.#gate.shared(() =>
      this.#eachBlock(offsetBytes, lengthBytes, source, (block, within, length, views) =>
        this.#writeBlock(block, within, length, views),
      ),
    );
  }

  /**
   * Takes whole blocks out of the file. Alone: a request under way could otherwise still be reading or writing a
   * place that another block gets meanwhile.
   */
  trim(offsetBytes: number, lengthBytes: number): MaybePromise<void> {
    checkWritable(this);
    checkRange(this, offsetBytes, lengthBytes);
    if (!this.canTrim) return;
    const { blockBytes } = this.#layout;
    const end = offsetBytes + lengthBytes;
    const first = Math.ceil(offsetBytes / blockBytes);
    const last = end === this.sizeBytes ? Math.ceil(end / blockBytes) : Math.floor(end / blockBytes);
    if (first >= last) return;
    return this.#gate.exclusive(async () => {
      await this.#begin();
      for (let block = first; block < last; block++) {
        if (this.#layout.state(block) >= BlockState.FULL) this.#layout.unmap(block);
      }
    });
  }

  /** Flushes that arrive while a commit is under way share the next one. */
  flush(): Promise<void> {
    if (!this.#writing) return Promise.resolve();
    if (this.#nextCommit !== undefined) return this.#nextCommit;
    if (this.#commit === undefined) return (this.#commit = this.#runCommit());
    this.#nextCommit = this.#commit
      .catch(() => {})
      .then(() => {
        this.#commit = this.#nextCommit;
        this.#nextCommit = undefined;
        return this.#runCommit();
      });
    return this.#nextCommit;
  }

  async close(): Promise<void> {
    try {
      if (this.#begun !== undefined) await this.#begun;
      await this.flush();
      if (this.#writing) await this.#layout.endWriting();
    } finally {
      try {
        await this.#file.close();
      } finally {
        await this.#parent?.close();
      }
    }
  }

  async #runCommit(): Promise<void> {
    try {
      await this.#layout.commit();
    } finally {
      this.#commit = undefined;
    }
  }

  async #begin(): Promise<void> {
    // A failure is not kept, so that the next write tries again.
    this.#begun ??= this.#layout.beginWriting().catch((error) => {
      this.#begun = undefined;
      throw error;
    });
    await this.#begun;
    this.#writing = true;
  }

  /** Splits a request at block boundaries. Ends when every part has ended, also where one fails: buffers are the caller's again then. */
  #eachBlock(
    offsetBytes: number,
    lengthBytes: number,
    views: readonly Uint8Array[],
    visit: (
      block: number,
      within: number,
      length: number,
      views: readonly Uint8Array[],
    ) => MaybePromise<void>,
  ): MaybePromise<void> {
    const { blockBytes } = this.#layout;
    let block = Math.floor(offsetBytes / blockBytes);
    let within = offsetBytes % blockBytes;
    if (within + lengthBytes <= blockBytes) {
      return lengthBytes === 0 ? undefined : visit(block, within, lengthBytes, views);
    }
    const cursor = new ViewCursor(views);
    const pending: Promise<void>[] = [];
    for (let left = lengthBytes; left > 0; ) {
      const length = Math.min(left, blockBytes - within);
      try {
        const part = visit(block, within, length, cursor.take(length));
        if (part instanceof Promise) pending.push(part);
      } catch (error) {
        pending.push(Promise.reject(error));
        break;
      }
      left -= length;
      block++;
      within = 0;
    }
    if (pending.length > 0) return allEnded(pending);
  }

  #readBlock(
    block: number,
    within: number,
    length: number,
    views: readonly Uint8Array[],
  ): MaybePromise<void> {
    const layout = this.#layout;
    switch (layout.state(block)) {
      case BlockState.FULL:
        return this.#file.read(layout.dataOffset(block) + within, views);
      case BlockState.PARTIAL:
        return this.#readPartial(block, within, length, views);
      case BlockState.ABSENT:
        return this.#readBehind(block * layout.blockBytes + within, length, views);
      case BlockState.ZERO:
        zeroViews(views);
    }
  }

  /** Reads what this file does not have. The parent may be smaller. */
  #readBehind(offsetBytes: number, length: number, views: readonly Uint8Array[]): MaybePromise<void> {
    const there = this.#parent === undefined ? 0 : Math.min(length, this.#parent.sizeBytes - offsetBytes);
    if (there === length) return this.#parent?.read(offsetBytes, views);
    if (there <= 0) return zeroViews(views);
    const cursor = new ViewCursor(views);
    const read = this.#parent?.read(offsetBytes, cursor.take(there));
    zeroViews(cursor.take(length - there));
    return read;
  }

  async #readPartial(
    block: number,
    within: number,
    length: number,
    views: readonly Uint8Array[],
  ): Promise<void> {
    const layout = this.#layout;
    const sectorBytes = this.logicalSectorBytes;
    const cursor = new ViewCursor(views);
    for (let done = 0; done < length; ) {
      const at = within + done;
      const run = await layout.presence(block, at / sectorBytes, (length - done) / sectorBytes);
      const runBytes = Math.abs(run) * sectorBytes;
      const piece = cursor.take(runBytes);
      if (run > 0) await this.#file.read(layout.dataOffset(block) + at, piece);
      else await this.#readBehind(block * layout.blockBytes + at, runBytes, piece);
      done += runBytes;
    }
  }

  #writeBlock(
    block: number,
    within: number,
    length: number,
    views: readonly Uint8Array[],
  ): MaybePromise<void> {
    const layout = this.#layout;
    if (this.#writing && layout.state(block) === BlockState.FULL) {
      return this.#file.write(layout.dataOffset(block) + within, views);
    }
    return this.#writeAfterPreparation(block, within, length, views);
  }

  async #writeAfterPreparation(
    block: number,
    within: number,
    length: number,
    views: readonly Uint8Array[],
  ): Promise<void> {
    const layout = this.#layout;
    await this.#begin();
    if (layout.state(block) < BlockState.FULL) {
      // One block at a time; a request that waited may find that the one before it allocated the same block.
      const written = await this.#allocation.run(() => this.#allocate(block, within, length, views));
      if (written) return this.#boundDirty();
    }
    await this.#file.write(layout.dataOffset(block) + within, views);
    if (layout.state(block) === BlockState.PARTIAL) {
      await layout.markPresent(block, within / this.logicalSectorBytes, length / this.logicalSectorBytes);
      await this.#boundDirty();
    }
  }

  /** Finds a place for a block, writes the request's data there, and enters it; false where it has been done. */
  async #allocate(
    block: number,
    within: number,
    length: number,
    views: readonly Uint8Array[],
  ): Promise<boolean> {
    const layout = this.#layout;
    const state = layout.state(block);
    if (state >= BlockState.FULL) return false;
    const usedBytes = Math.min(layout.blockBytes, this.sizeBytes - block * layout.blockBytes);
    const partial = state === BlockState.ABSENT && this.#parent !== undefined && length < usedBytes;
    const place = await layout.space.take();
    try {
      const dataOffset = layout.dataOffsetIn(place.offsetBytes);
      if (!partial && !place.zeroed && length < layout.blockBytes) {
        await writeZeroes(this.#file, dataOffset, layout.blockBytes);
      }
      await this.#file.write(dataOffset + within, views);
      await layout.enter(block, place.offsetBytes, partial ? 'partial' : 'full');
    } catch (error) {
      if (layout.state(block) < BlockState.FULL) layout.space.giveBack(place.offsetBytes);
      throw error;
    }
    assert(
      layout.dataOffset(block) === layout.dataOffsetIn(place.offsetBytes),
      'the block is where its data went',
    );
    if (partial) {
      await layout.markPresent(block, within / this.logicalSectorBytes, length / this.logicalSectorBytes);
    }
    return true;
  }

  async #boundDirty(): Promise<void> {
    if (this.#layout.pages.dirtyCount > MAX_DIRTY_PAGES) await this.flush();
  }
}

/** Ends when all have ended, with the first failure if there was one. */
async function allEnded(operations: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(operations)) {
    if (outcome.status === 'rejected') throw outcome.reason;
  }
}
