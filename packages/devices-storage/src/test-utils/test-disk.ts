import type { Guid, MaybePromise } from '@kensho/core';
import type { Disk } from '../backend/disk.ts';

/** A sparse disk in memory whose operations can be held back and made to fail. */
export class TestDisk implements Disk {
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly canTrim = false;
  readonly id: Guid = '11223344-5566-7788-99aa-bbccddeeff00';
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Operations, in order. */
  readonly log: string[] = [];
  failure: Error | undefined;
  /** Operations wait until {@link release}. */
  held = false;
  readonly #sectors = new Map<number, Uint8Array>();
  readonly #waiting: (() => void)[] = [];

  constructor(sectors: number, options: { readOnly?: boolean; sectorBytes?: number } = {}) {
    this.logicalSectorBytes = options.sectorBytes ?? 512;
    this.physicalSectorBytes = Math.max(4096, this.logicalSectorBytes);
    this.sizeBytes = sectors * this.logicalSectorBytes;
    this.readOnly = options.readOnly ?? false;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  release(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  /** The bytes of sectors, zero where they were never written. */
  peek(sector: number, count = 1): Uint8Array {
    const bytes = new Uint8Array(count * this.logicalSectorBytes);
    for (let i = 0; i < count; i++) {
      const stored = this.#sectors.get(sector + i);
      if (stored !== undefined) bytes.set(stored, i * this.logicalSectorBytes);
    }
    return bytes;
  }

  poke(sector: number, bytes: Uint8Array): void {
    for (let i = 0; i * this.logicalSectorBytes < bytes.length; i++) {
      const at = i * this.logicalSectorBytes;
      this.#sectors.set(sector + i, bytes.slice(at, at + this.logicalSectorBytes));
    }
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    return this.#run(`read ${offsetBytes}+${length(target)}`, () => {
      const sector = offsetBytes / this.logicalSectorBytes;
      const bytes = this.peek(sector, length(target) / this.logicalSectorBytes);
      let at = 0;
      for (const view of target) {
        view.set(bytes.subarray(at, at + view.length));
        at += view.length;
      }
    });
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    return this.#run(`write ${offsetBytes}+${length(source)}`, () => {
      const bytes = new Uint8Array(length(source));
      let at = 0;
      for (const view of source) {
        bytes.set(view, at);
        at += view.length;
      }
      this.poke(offsetBytes / this.logicalSectorBytes, bytes);
    });
  }

  flush(): MaybePromise<void> {
    return this.#run('flush', () => {});
  }

  trim(): MaybePromise<void> {}
  close(): MaybePromise<void> {}

  #run(what: string, action: () => void): MaybePromise<void> {
    this.log.push(what);
    const failure = this.failure;
    if (!this.held) {
      if (failure !== undefined) throw failure;
      action();
      return;
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => {
        if (failure !== undefined) {
          reject(failure);
          return;
        }
        action();
        resolve();
      });
    });
  }
}

function length(views: readonly Uint8Array[]): number {
  return views.reduce((sum, view) => sum + view.length, 0);
}

/** Bytes that differ from sector to sector and within one. */
export function pattern(sizeBytes: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let i = 0; i < sizeBytes; i++) bytes[i] = (i * 7 + (i >> 9) * 31 + seed * 101) & 0xff;
  return bytes;
}
