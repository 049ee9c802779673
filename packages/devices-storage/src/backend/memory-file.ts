import { assert } from '@kensho/core';
import type { BlockFile } from './block-file.ts';
import { badImage } from './image-error.ts';
import { viewsLength } from './views.ts';

const CHUNK_BYTES = 64 * 1024;

/** A file in memory that takes space only where it was written. Every operation ends inline. */
export class MemoryFile implements BlockFile {
  readonly name: string;
  readonly readOnly: boolean;
  #sizeBytes: number;
  readonly #chunks: Map<number, Uint8Array>;

  constructor(sizeBytes = 0, options: { name?: string; readOnly?: boolean } = {}) {
    this.name = options.name ?? 'memory';
    this.readOnly = options.readOnly ?? false;
    this.#sizeBytes = sizeBytes;
    this.#chunks = new Map();
  }

  /** A file with these contents. */
  static of(contents: Uint8Array, name?: string): MemoryFile {
    const file = new MemoryFile(contents.length, { name });
    file.write(0, [contents]);
    return file;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Memory that the contents take. */
  get allocatedBytes(): number {
    return this.#chunks.size * CHUNK_BYTES;
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): void {
    const lengthBytes = viewsLength(target);
    if (offsetBytes + lengthBytes > this.#sizeBytes) {
      throw badImage(this.name, `ends at ${this.#sizeBytes}, before ${offsetBytes + lengthBytes}`);
    }
    this.#walk(offsetBytes, target, (index, within, view) => {
      const chunk = this.#chunks.get(index);
      if (chunk === undefined) view.fill(0);
      else view.set(chunk.subarray(within, within + view.length));
    });
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): void {
    assert(!this.readOnly, 'a read-only file is not written');
    this.#walk(offsetBytes, source, (index, within, view) => {
      let chunk = this.#chunks.get(index);
      if (chunk === undefined) this.#chunks.set(index, (chunk = new Uint8Array(CHUNK_BYTES)));
      chunk.set(view, within);
    });
    this.#sizeBytes = Math.max(this.#sizeBytes, offsetBytes + viewsLength(source));
  }

  truncate(sizeBytes: number): void {
    assert(!this.readOnly, 'a read-only file is not truncated');
    if (sizeBytes < this.#sizeBytes) this.discard(sizeBytes, this.#sizeBytes - sizeBytes);
    this.#sizeBytes = sizeBytes;
  }

  flush(): void {}

  discard(offsetBytes: number, lengthBytes: number): void {
    const end = offsetBytes + lengthBytes;
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    // A range may span far more chunks than there are.
    const span = last - Math.floor(offsetBytes / CHUNK_BYTES) + 1;
    const indices =
      span > this.#chunks.size
        ? [...this.#chunks.keys()]
        : Array.from({ length: span }, (_, i) => Math.floor(offsetBytes / CHUNK_BYTES) + i);
    for (const index of indices) {
      const from = Math.max(0, offsetBytes - index * CHUNK_BYTES);
      const to = Math.min(CHUNK_BYTES, end - index * CHUNK_BYTES);
      if (from >= to) continue;
      if (from === 0 && to === CHUNK_BYTES) this.#chunks.delete(index);
      else this.#chunks.get(index)?.fill(0, from, to);
    }
  }

  close(): void {}

  /** A copy that shares nothing. */
  clone(name = this.name): MemoryFile {
    const copy = new MemoryFile(this.#sizeBytes, { name });
    for (const [index, chunk] of this.#chunks) copy.#chunks.set(index, chunk.slice());
    return copy;
  }

  #walk(
    offsetBytes: number,
    views: readonly Uint8Array[],
    visit: (index: number, within: number, view: Uint8Array) => void,
  ): void {
    let at = offsetBytes;
    for (const view of views) {
      for (let done = 0; done < view.length; ) {
        const within = at % CHUNK_BYTES;
        const count = Math.min(view.length - done, CHUNK_BYTES - within);
        visit(Math.floor(at / CHUNK_BYTES), within, view.subarray(done, done + count));
        done += count;
        at += count;
      }
    }
  }
}
