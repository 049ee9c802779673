import { KenshoError } from '@kensho/core';
import type { BlockFile } from '@kensho/devices-storage';
import { expectAlways } from './target.ts';

const PAGE_BYTES = 4096;

/** What one case may move and keep: far more than any image of a case needs. */
const MAX_MOVED_BYTES = 2 ** 30;
const MAX_PAGES = 2 ** 15;

/**
 * A file in memory, of pages that it may share with the files it was copied from: a copy costs nothing until it
 * differs. It counts what is done to it, so that an operation without bound shows.
 */
export class PatchedFile implements BlockFile {
  readonly name = 'image';
  readonly readOnly: boolean;
  sizeBytes: number;
  closed = false;
  readonly #base: ReadonlyMap<number, Uint8Array>;
  readonly #own = new Map<number, Uint8Array | undefined>();
  #movedBytes = 0;

  private constructor(base: ReadonlyMap<number, Uint8Array>, sizeBytes: number, readOnly: boolean) {
    this.#base = base;
    this.sizeBytes = sizeBytes;
    this.readOnly = readOnly;
  }

  static empty(): PatchedFile {
    return new PatchedFile(new Map(), 0, false);
  }

  /** The file as it is now, for others to begin with. */
  copy(options: { readonly readOnly?: boolean } = {}): PatchedFile {
    const pages = this.#own.size === 0 ? this.#base : this.#flattened();
    return new PatchedFile(pages, this.sizeBytes, options.readOnly ?? false);
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): void {
    const end = offsetBytes + lengthOf(target);
    if (!(offsetBytes >= 0 && end <= this.sizeBytes)) {
      throw new KenshoError('BAD_DISK_IMAGE', `${this.name}: ends at ${this.sizeBytes}, before ${end}`);
    }
    this.#walk(offsetBytes, target, (page, within, view) => {
      const bytes = this.#page(page);
      if (bytes === undefined) view.fill(0);
      else view.set(bytes.subarray(within, within + view.length));
    });
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): void {
    expectAlways(!this.readOnly, 'a file that is read-only was written');
    this.#walk(offsetBytes, source, (page, within, view) => {
      if (this.#page(page) === undefined && isZero(view)) return;
      this.#ownPage(page).set(view, within);
    });
    this.sizeBytes = Math.max(this.sizeBytes, offsetBytes + lengthOf(source));
  }

  truncate(sizeBytes: number): void {
    expectAlways(!this.readOnly, 'a file that is read-only was truncated');
    expectAlways(
      Number.isSafeInteger(sizeBytes) && sizeBytes >= 0,
      () => `a file is to have ${sizeBytes} bytes`,
    );
    if (sizeBytes < this.sizeBytes) {
      const last = Math.floor(sizeBytes / PAGE_BYTES);
      for (const page of new Set([...this.#base.keys(), ...this.#own.keys()])) {
        if (page > last) this.#own.set(page, undefined);
        else if (page === last && this.#page(page) !== undefined)
          this.#ownPage(page).fill(0, sizeBytes % PAGE_BYTES);
      }
    }
    this.sizeBytes = sizeBytes;
  }

  flush(): void {}

  close(): void {
    expectAlways(!this.closed, 'a file was closed twice');
    this.closed = true;
  }

  #page(page: number): Uint8Array | undefined {
    return this.#own.has(page) ? this.#own.get(page) : this.#base.get(page);
  }

  #ownPage(page: number): Uint8Array {
    const own = this.#own.get(page);
    if (own !== undefined) return own;
    expectAlways(this.#own.size < MAX_PAGES, 'an image grew beyond all bounds');
    const base = this.#page(page);
    const bytes = new Uint8Array(PAGE_BYTES);
    if (base !== undefined) bytes.set(base);
    this.#own.set(page, bytes);
    return bytes;
  }

  #flattened(): Map<number, Uint8Array> {
    const pages = new Map(this.#base);
    for (const [page, bytes] of this.#own) {
      if (bytes === undefined) pages.delete(page);
      else pages.set(page, bytes.slice());
    }
    return pages;
  }

  #walk(
    offsetBytes: number,
    views: readonly Uint8Array[],
    visit: (page: number, within: number, view: Uint8Array) => void,
  ): void {
    expectAlways(!this.closed, 'a file is used after it was closed');
    expectAlways(Number.isSafeInteger(offsetBytes) && offsetBytes >= 0, () => `an offset of ${offsetBytes}`);
    let at = offsetBytes;
    for (const view of views) {
      this.#movedBytes += view.length;
      expectAlways(this.#movedBytes <= MAX_MOVED_BYTES, 'an image is read and written without end');
      for (let done = 0; done < view.length; ) {
        const within = at % PAGE_BYTES;
        const count = Math.min(view.length - done, PAGE_BYTES - within);
        visit(Math.floor(at / PAGE_BYTES), within, view.subarray(done, done + count));
        done += count;
        at += count;
      }
    }
  }
}

function lengthOf(views: readonly Uint8Array[]): number {
  return views.reduce((sum, view) => sum + view.length, 0);
}

const ZEROES = Buffer.alloc(PAGE_BYTES);

function isZero(view: Uint8Array): boolean {
  return ZEROES.compare(view, 0, view.length, 0, view.length) === 0;
}
