import { type DmaDomain, PAGE_SHIFT, PAGE_SIZE } from '@kensho/core';
import type { Gpadl } from '../channel.ts';
import type { GpadlRange } from '../protocol/gpadl.ts';

/**
 * A GPADL that is complete: its ranges one after another, reached through the device's domain at each use, so that
 * nothing of the guest's memory is held between two uses.
 */
export class GpadlMemory implements Gpadl {
  readonly handle: number;
  readonly sizeBytes: number;
  readonly #ranges: readonly GpadlRange[];
  readonly #dma: DmaDomain;
  #tornDown = false;

  constructor(handle: number, ranges: readonly GpadlRange[], dma: DmaDomain) {
    this.handle = handle;
    this.sizeBytes = ranges.reduce((sum, range) => sum + range.sizeBytes, 0);
    this.#ranges = ranges;
    this.#dma = dma;
  }

  collect(offset: number, sizeBytes: number, access: number, out: Uint8Array[]): boolean {
    if (this.#tornDown || offset < 0 || sizeBytes < 0 || offset + sizeBytes > this.sizeBytes) {
      this.#dma.fault(this.#ranges[0].pages[0], access);
      return false;
    }
    const kept = out.length;
    let skip = offset;
    let left = sizeBytes;
    for (const range of this.#ranges) {
      if (left === 0) break;
      if (skip >= range.sizeBytes) {
        skip -= range.sizeBytes;
        continue;
      }
      const start = range.offset + skip;
      const count = Math.min(left, range.sizeBytes - skip);
      const pages = range.pages.subarray(start >>> PAGE_SHIFT);
      if (!this.#dma.collectPages(pages, start & (PAGE_SIZE - 1), count, access, out)) {
        out.length = kept;
        return false;
      }
      skip = 0;
      left -= count;
    }
    return true;
  }

  /** The guest took the memory back: whoever still has the object gets nothing from it. */
  tearDown(): void {
    this.#tornDown = true;
  }
}
