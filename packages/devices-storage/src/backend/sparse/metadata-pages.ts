import type { MaybePromise } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';

/** A piece of metadata and where in the file it belongs. */
export interface MetadataPage {
  readonly offsetBytes: number;
  readonly bytes: Uint8Array;
}

/** Clean pages that are kept. */
const CACHED_PAGES = 1024;

/**
 * An image's metadata between the file and the requests: pages are read when needed, changed in memory, and handed
 * to the format's commit as one set. What was not committed is lost with the process, together with the data that
 * it described; that is what a disk promises for writes that no flush has followed.
 */
export class MetadataPages {
  readonly pageBytes: number;
  readonly #file: BlockFile;
  /** Clean pages, the least recently used first. */
  readonly #clean = new Map<number, Uint8Array>();
  /** Pages that differ from the file. */
  #dirty = new Map<number, Uint8Array>();
  /** Pages of the commit under way: no longer dirty, not yet what the file holds. */
  #committing = new Map<number, Uint8Array>();
  readonly #loading = new Map<number, Promise<Uint8Array>>();

  constructor(file: BlockFile, pageBytes: number) {
    this.#file = file;
    this.pageBytes = pageBytes;
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** The page at a file offset, a multiple of the page size. */
  page(offsetBytes: number): MaybePromise<Uint8Array> {
    const held = this.#dirty.get(offsetBytes) ?? this.#committing.get(offsetBytes);
    if (held !== undefined) return held;
    const clean = this.#clean.get(offsetBytes);
    if (clean !== undefined) {
      this.#clean.delete(offsetBytes);
      this.#clean.set(offsetBytes, clean);
      return clean;
    }
    return this.#loading.get(offsetBytes) ?? this.#load(offsetBytes);
  }

  /** Says that a page was changed in memory; `bytes` is the page itself and stays so. */
  changed(offsetBytes: number, bytes: Uint8Array): void {
    this.#clean.delete(offsetBytes);
    this.#dirty.set(offsetBytes, bytes);
  }

  /**
   * Hands copies of every changed page to `write`, in order of their offsets. Where it fails they count as
   * changed again.
   */
  async commit(write: (pages: readonly MetadataPage[]) => Promise<void>): Promise<void> {
    this.#committing = this.#dirty;
    this.#dirty = new Map();
    const pages = [...this.#committing]
      .map(([offsetBytes, bytes]) => ({ offsetBytes, bytes: bytes.slice() }))
      .sort((a, b) => a.offsetBytes - b.offsetBytes);
    try {
      await write(pages);
      for (const [offsetBytes, bytes] of this.#committing) {
        if (!this.#dirty.has(offsetBytes)) this.#keep(offsetBytes, bytes);
      }
    } catch (error) {
      for (const [offsetBytes, bytes] of this.#committing) this.#dirty.set(offsetBytes, bytes);
      throw error;
    } finally {
      this.#committing = new Map();
    }
  }

  #load(offsetBytes: number): MaybePromise<Uint8Array> {
    const bytes = new Uint8Array(this.pageBytes);
    const read = this.#file.read(offsetBytes, [bytes]);
    if (!(read instanceof Promise)) {
      this.#keep(offsetBytes, bytes);
      return bytes;
    }
    const loading = read.then(() => {
      this.#keep(offsetBytes, bytes);
      return bytes;
    });
    this.#loading.set(offsetBytes, loading);
    return loading.finally(() => this.#loading.delete(offsetBytes));
  }

  #keep(offsetBytes: number, bytes: Uint8Array): void {
    this.#clean.set(offsetBytes, bytes);
    if (this.#clean.size > CACHED_PAGES) {
      const [oldest] = this.#clean.keys();
      this.#clean.delete(oldest);
    }
  }
}
