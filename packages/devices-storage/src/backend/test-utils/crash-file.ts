import type { BlockFile } from '../block-file.ts';
import type { MemoryFile } from '../memory-file.ts';
import { viewsLength } from '../views.ts';
import type { Random } from './random.ts';

/** Torn writes are torn here: what a disk writes whole. */
const ATOMIC_BYTES = 512;

/** Something that changed the file, with the times at which it began and ended; Infinity where it has not. */
interface Change {
  readonly kind: 'write' | 'truncate';
  readonly offsetBytes: number;
  readonly data: Uint8Array;
  readonly began: number;
  ended: number;
}

interface Flush {
  readonly began: number;
  ended: number;
}

/**
 * A file that records everything, so that one run yields the file as a power failure could have left it at any
 * moment: what was flushed is there; of what was not, any part, torn at sectors. Operations end after a few turns of
 * the microtask queue, in an order that depends on the random numbers.
 */
export class CrashFile implements BlockFile {
  readonly name = 'crash';
  readonly readOnly = false;
  readonly #initial: MemoryFile;
  readonly #now: MemoryFile;
  readonly #random: Random;
  readonly #changes: Change[] = [];
  readonly #flushes: Flush[] = [];
  #time = 0;

  constructor(initial: MemoryFile, random: Random) {
    this.#initial = initial.clone();
    this.#now = initial.clone();
    this.#random = random;
  }

  get sizeBytes(): number {
    return this.#now.sizeBytes;
  }

  /** Counts everything that happens, also what the caller marks with {@link tick}. */
  get time(): number {
    return this.#time;
  }

  tick(): number {
    return ++this.#time;
  }

  async read(offsetBytes: number, target: readonly Uint8Array[]): Promise<void> {
    await this.#turns();
    this.#now.read(offsetBytes, target);
  }

  async write(offsetBytes: number, source: readonly Uint8Array[]): Promise<void> {
    const data = new Uint8Array(viewsLength(source));
    let at = 0;
    for (const view of source) {
      data.set(view, at);
      at += view.length;
    }
    const change: Change = {
      kind: 'write',
      offsetBytes,
      data,
      began: this.tick(),
      ended: Number.POSITIVE_INFINITY,
    };
    this.#changes.push(change);
    await this.#turns();
    this.#now.write(offsetBytes, [data]);
    change.ended = this.tick();
  }

  truncate(sizeBytes: number): void {
    const began = this.tick();
    this.#now.truncate(sizeBytes);
    this.#changes.push({
      kind: 'truncate',
      offsetBytes: sizeBytes,
      data: new Uint8Array(),
      began,
      ended: this.tick(),
    });
  }

  async flush(): Promise<void> {
    const flush: Flush = { began: this.tick(), ended: Number.POSITIVE_INFINITY };
    this.#flushes.push(flush);
    await this.#turns();
    flush.ended = this.tick();
  }

  close(): void {}

  /** The file as a power failure at `time` could leave it. */
  crashAt(time: number, random: Random): MemoryFile {
    const flushedUntil = this.#flushes
      .filter(({ ended }) => ended <= time)
      .reduce((latest, { began }) => Math.max(latest, began), 0);
    const image = this.#initial.clone('after the crash');
    const byEnd = this.#changes
      .filter(({ began }) => began <= time)
      .sort((a, b) => a.ended - b.ended || a.began - b.began);
    for (const change of byEnd) {
      const durable = change.ended <= flushedUntil;
      if (change.kind === 'truncate') {
        // What is durable was truncated in this order; what is not may have been left out.
        if (durable || random.chance(0.5)) image.truncate(change.offsetBytes);
        continue;
      }
      const whole = durable || random.chance(0.3);
      for (let at = 0; at < change.data.length; at += ATOMIC_BYTES) {
        if (!whole && random.chance(0.5)) continue;
        image.write(change.offsetBytes + at, [change.data.subarray(at, at + ATOMIC_BYTES)]);
      }
    }
    return image;
  }

  /** The file as a killed process leaves it: the host has everything that ended, and parts of what had begun. */
  killAt(time: number, random: Random): MemoryFile {
    const image = this.#initial.clone('after the kill');
    for (const change of this.#changes
      .filter(({ began }) => began <= time)
      .sort((a, b) => a.ended - b.ended)) {
      if (change.kind === 'truncate') image.truncate(change.offsetBytes);
      else if (change.ended <= time || random.chance(0.5)) image.write(change.offsetBytes, [change.data]);
    }
    return image;
  }

  async #turns(): Promise<void> {
    for (let left = this.#random.below(8); left > 0; left--) await null;
  }
}
