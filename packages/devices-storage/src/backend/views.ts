import { assert } from '@kensho/core';
import type { DiskInfo } from './disk.ts';

/** Bytes in a list of views. */
export function viewsLength(views: readonly Uint8Array[]): number {
  let length = 0;
  for (const view of views) length += view.length;
  return length;
}

/** Sets every byte to zero. */
export function zeroViews(views: readonly Uint8Array[]): void {
  for (const view of views) view.fill(0);
}

/** Hands out a list of views piece by piece, in order. */
export class ViewCursor {
  readonly #views: readonly Uint8Array[];
  #index = 0;
  #within = 0;

  constructor(views: readonly Uint8Array[]) {
    this.#views = views;
  }

  /** Views of the next `lengthBytes` bytes, which must be there. */
  take(lengthBytes: number): Uint8Array[] {
    const piece: Uint8Array[] = [];
    let left = lengthBytes;
    while (left > 0) {
      const view = this.#views[this.#index];
      const count = Math.min(left, view.length - this.#within);
      if (count > 0) piece.push(view.subarray(this.#within, this.#within + count));
      left -= count;
      this.#within += count;
      if (this.#within === view.length) {
        this.#index++;
        this.#within = 0;
      }
    }
    return piece;
  }
}

/** Asserts what the {@link Disk} contract asks of a caller, and returns the request's length. */
export function checkedLength(disk: DiskInfo, offsetBytes: number, views: readonly Uint8Array[]): number {
  const lengthBytes = viewsLength(views);
  checkRange(disk, offsetBytes, lengthBytes);
  return lengthBytes;
}

/** {@link checkedLength} for a request that has no buffer. */
export function checkRange(disk: DiskInfo, offsetBytes: number, lengthBytes: number): void {
  const sector = disk.logicalSectorBytes;
  assert(offsetBytes % sector === 0 && lengthBytes % sector === 0, 'disk requests are whole sectors');
  assert(
    offsetBytes >= 0 && offsetBytes + lengthBytes <= disk.sizeBytes,
    'disk requests lie within the disk',
  );
}

/** Asserts that a disk may be changed. */
export function checkWritable(disk: DiskInfo): void {
  assert(!disk.readOnly, 'a read-only disk is not written');
}
