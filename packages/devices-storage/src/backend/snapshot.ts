import { KenshoError, type MaybePromise } from '@kensho/core';
import type { BlockFile } from './block-file.ts';
import type { Disk } from './disk.ts';
import { createScratchFile, type OverlayOptions } from './overlay.ts';
import { checkedLength, ViewCursor } from './views.ts';

/** What is kept at once before a write may change a part of it. */
const BLOCK_BYTES = 64 * 1024;

/**
 * A disk of which the state at one moment can be read while it is written on: before a write changes what a snapshot
 * shows, that is kept in a scratch file. Without a snapshot it only counts the writes that are under way.
 */
export class SnapshotDisk implements Disk {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly canTrim: boolean;
  readonly id: Disk['id'];
  readonly #base: Disk;
  readonly #createScratch: () => BlockFile;
  #snapshot: Snapshot | undefined;
  /** Writes and trims under way, and who waits until there are none; new ones wait meanwhile. */
  #writing = 0;
  #drained: PromiseWithResolvers<void> | undefined;

  /** @param base - closed with this one */
  constructor(base: Disk, options: OverlayOptions = {}) {
    this.#base = base;
    this.#createScratch = () => createScratchFile(options);
    this.sizeBytes = base.sizeBytes;
    this.logicalSectorBytes = base.logicalSectorBytes;
    this.physicalSectorBytes = base.physicalSectorBytes;
    this.readOnly = base.readOnly;
    this.canTrim = base.canTrim;
    this.id = base.id;
  }

  /**
   * The disk as it is now, to be read until it is closed; what was being written has been written. One at a time:
   * throws KenshoError SNAPSHOT_EXISTS. Where the scratch file cannot take what it must keep, the disk goes on, and
   * reads of the snapshot fail.
   */
  async snapshot(): Promise<Disk> {
    if (this.#snapshot !== undefined || this.#drained !== undefined) {
      throw new KenshoError('SNAPSHOT_EXISTS', 'the disk has a snapshot already: close it first');
    }
    const forget = () => {
      this.#snapshot = undefined;
    };
    const scratch = this.#createScratch();
    if (this.#writing > 0) {
      this.#drained = Promise.withResolvers();
      await this.#drained.promise;
      this.#drained = undefined;
    }
    this.#snapshot = new Snapshot(this.#base, scratch, forget);
    return this.#snapshot;
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    return this.#base.read(offsetBytes, target);
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    if (this.#snapshot !== undefined || this.#drained !== undefined) {
      const lengthBytes = checkedLength(this, offsetBytes, source);
      return this.#change(offsetBytes, lengthBytes, () => this.#base.write(offsetBytes, source));
    }
    return this.#counted(this.#base.write(offsetBytes, source));
  }

  flush(): MaybePromise<void> {
    return this.#base.flush();
  }

  trim(offsetBytes: number, lengthBytes: number): MaybePromise<void> {
    if (this.#snapshot !== undefined || this.#drained !== undefined) {
      return this.#change(offsetBytes, lengthBytes, () => this.#base.trim(offsetBytes, lengthBytes));
    }
    return this.#counted(this.#base.trim(offsetBytes, lengthBytes));
  }

  async close(): Promise<void> {
    try {
      await this.#snapshot?.close();
    } finally {
      await this.#base.close();
    }
  }

  async #change(offsetBytes: number, lengthBytes: number, change: () => MaybePromise<void>): Promise<void> {
    await this.#drained?.promise;
    await this.#snapshot?.keep(offsetBytes, lengthBytes);
    await this.#counted(change());
  }

  #counted(change: MaybePromise<void>): MaybePromise<void> {
    if (!(change instanceof Promise)) return;
    this.#writing++;
    return change.finally(() => {
      if (--this.#writing === 0) this.#drained?.resolve();
    });
  }
}

/** A disk as it was: what has been kept, and the rest from the disk itself. */
class Snapshot implements Disk {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly = true;
  readonly canTrim = false;
  readonly id: Disk['id'];
  readonly #base: Disk;
  readonly #scratch: BlockFile;
  readonly #forget: () => void;
  /** Blocks that the scratch file has, or is about to have. */
  readonly #kept = new Map<number, Promise<void> | undefined>();
  /** Reads of the disk itself that are under way, by block: a write of it waits for them. */
  readonly #reading = new Map<number, Set<Promise<void>>>();
  #failure: Error | undefined;
  #closed = false;

  constructor(base: Disk, scratch: BlockFile, forget: () => void) {
    this.#base = base;
    this.#scratch = scratch;
    this.#forget = forget;
    this.sizeBytes = base.sizeBytes;
    this.logicalSectorBytes = base.logicalSectorBytes;
    this.physicalSectorBytes = base.physicalSectorBytes;
    this.id = base.id;
  }

  /** Keeps what a change of that range would destroy. */
  async keep(offsetBytes: number, lengthBytes: number): Promise<void> {
    const end = Math.ceil((offsetBytes + lengthBytes) / BLOCK_BYTES);
    for (let block = Math.floor(offsetBytes / BLOCK_BYTES); block < end; block++) {
      if (this.#closed) return;
      if (!this.#kept.has(block)) this.#kept.set(block, this.#keepBlock(block));
      await this.#kept.get(block);
      const reading = this.#reading.get(block);
      if (reading !== undefined) await Promise.allSettled(reading);
    }
  }

  async read(offsetBytes: number, target: readonly Uint8Array[]): Promise<void> {
    const lengthBytes = checkedLength(this, offsetBytes, target);
    const cursor = new ViewCursor(target);
    for (let done = 0; done < lengthBytes; ) {
      const at = offsetBytes + done;
      const block = Math.floor(at / BLOCK_BYTES);
      const count = Math.min(lengthBytes - done, (block + 1) * BLOCK_BYTES - at);
      const views = cursor.take(count);
      if (this.#kept.has(block)) {
        await this.#kept.get(block);
        if (this.#failure !== undefined) throw this.#failure;
        await this.#scratch.read(at, views);
      } else {
        await this.#readBase(block, at, views);
      }
      done += count;
    }
  }

  write(): never {
    throw new KenshoError('READ_ONLY', 'a snapshot is not written');
  }

  flush(): void {}

  trim(): never {
    throw new KenshoError('READ_ONLY', 'a snapshot is not written');
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#forget();
    await Promise.allSettled([...this.#kept.values()]);
    await this.#scratch.close();
  }

  async #readBase(block: number, offsetBytes: number, views: readonly Uint8Array[]): Promise<void> {
    const read = this.#base.read(offsetBytes, views);
    if (!(read instanceof Promise)) return;
    let reading = this.#reading.get(block);
    if (reading === undefined) this.#reading.set(block, (reading = new Set()));
    reading.add(read);
    try {
      await read;
    } finally {
      reading.delete(read);
      if (reading.size === 0) this.#reading.delete(block);
    }
  }

  /** A guest does not see that its host has no room for the snapshot: the snapshot is what is lost. */
  async #keepBlock(block: number): Promise<void> {
    const offsetBytes = block * BLOCK_BYTES;
    const data = new Uint8Array(Math.min(BLOCK_BYTES, this.sizeBytes - offsetBytes));
    try {
      await this.#base.read(offsetBytes, [data]);
      await this.#scratch.write(offsetBytes, [data]);
      this.#kept.set(block, undefined);
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }
}
