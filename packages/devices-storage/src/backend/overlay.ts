import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock, Guid, MaybePromise } from '@kensho/core';
import type { BlockFile } from './block-file.ts';
import type { Disk } from './disk.ts';
import { HostFile } from './host-file.ts';
import { checkedLength, checkRange, checkWritable, ViewCursor } from './views.ts';

/** Sectors of one piece of the map; a piece takes 4 KiB of memory and exists once a sector of it was written. */
const SECTORS_PER_PIECE = 32768;

/**
 * A disk that keeps what is written to itself and leaves the disk below as it was. What was written is gone when it
 * is closed, so a flush has nothing to make durable.
 */
export class OverlayDisk implements Disk {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly = false;
  readonly canTrim = false;
  readonly id: Guid;
  readonly #base: Disk;
  readonly #store: BlockFile;
  /** One bit for each sector that the store has, by piece. */
  readonly #written = new Map<number, Uint8Array>();

  /**
   * @param base - read only; closed with the overlay
   * @param store - an empty file that holds what is written, each sector at its place; closed with the overlay
   */
  constructor(base: Disk, store: BlockFile) {
    this.#base = base;
    this.#store = store;
    this.sizeBytes = base.sizeBytes;
    this.logicalSectorBytes = base.logicalSectorBytes;
    this.physicalSectorBytes = base.physicalSectorBytes;
    this.id = base.id;
  }

  /** The sectors that were written since, in bytes. */
  get writtenBytes(): number {
    let sectors = 0;
    for (const piece of this.#written.values()) {
      for (let byte of piece) for (; byte !== 0; byte &= byte - 1) sectors++;
    }
    return sectors * this.logicalSectorBytes;
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    const sectors = checkedLength(this, offsetBytes, target) / this.logicalSectorBytes;
    const first = offsetBytes / this.logicalSectorBytes;
    const run = this.#runLength(first, sectors);
    if (run === sectors) return this.#from(first).read(offsetBytes, target);
    return this.#readRuns(first, sectors, target);
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    checkWritable(this);
    const sectors = checkedLength(this, offsetBytes, source) / this.logicalSectorBytes;
    const first = offsetBytes / this.logicalSectorBytes;
    const written = this.#store.write(offsetBytes, source);
    if (written instanceof Promise) return written.then(() => this.#mark(first, sectors));
    this.#mark(first, sectors);
  }

  flush(): void {}

  trim(offsetBytes: number, lengthBytes: number): void {
    checkWritable(this);
    checkRange(this, offsetBytes, lengthBytes);
  }

  async close(): Promise<void> {
    try {
      await this.#store.close();
    } finally {
      await this.#base.close();
    }
  }

  async #readRuns(first: number, sectors: number, target: readonly Uint8Array[]): Promise<void> {
    const cursor = new ViewCursor(target);
    for (let done = 0; done < sectors; ) {
      const run = this.#runLength(first + done, sectors - done);
      const views = cursor.take(run * this.logicalSectorBytes);
      await this.#from(first + done).read((first + done) * this.logicalSectorBytes, views);
      done += run;
    }
  }

  #from(sector: number): Disk | BlockFile {
    return this.#has(sector) ? this.#store : this.#base;
  }

  #has(sector: number): boolean {
    const bit = sector % SECTORS_PER_PIECE;
    const piece = this.#written.get((sector - bit) / SECTORS_PER_PIECE);
    return piece !== undefined && (piece[bit >> 3] & (1 << (bit & 7))) !== 0;
  }

  /** Sectors from `first` on, at most `count`, that are all in the store or all not. */
  #runLength(first: number, count: number): number {
    const has = this.#has(first);
    let length = 1;
    while (length < count && this.#has(first + length) === has) length++;
    return length;
  }

  #mark(first: number, count: number): void {
    for (let sector = first; sector < first + count; sector++) {
      const bit = sector % SECTORS_PER_PIECE;
      const index = (sector - bit) / SECTORS_PER_PIECE;
      let piece = this.#written.get(index);
      if (piece === undefined) this.#written.set(index, (piece = new Uint8Array(SECTORS_PER_PIECE / 8)));
      piece[bit >> 3] |= 1 << (bit & 7);
    }
  }
}

export interface OverlayOptions {
  /** Where what is written goes meanwhile. @default the host's directory for temporary files */
  readonly directory?: string;
  readonly clock?: Clock;
}

/** Puts an overlay over a disk. */
export function createOverlay(base: Disk, options: OverlayOptions = {}): OverlayDisk {
  return new OverlayDisk(base, createScratchFile(options));
}

/** An empty file that has no name any more, so that it goes even if the process is killed. */
export function createScratchFile(options: OverlayOptions): BlockFile {
  const path = join(options.directory ?? tmpdir(), `kensho-overlay-${randomUUID()}`);
  const file = HostFile.create(path, { clock: options.clock });
  rmSync(path, { force: true });
  return file;
}
