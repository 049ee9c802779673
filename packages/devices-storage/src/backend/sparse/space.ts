import type { MaybePromise } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';

/** A place for a block. */
export interface Place {
  readonly offsetBytes: number;
  /** Whether the file reads as zeroes there. */
  readonly zeroed: boolean;
}

/** A run of the file that nothing uses. */
export interface Hole {
  offsetBytes: number;
  lengthBytes: number;
}

/** Where new blocks go: into holes of the right size, else at the end of the file, which grows by zeroes. */
export class Space {
  readonly #file: BlockFile;
  readonly #unitBytes: number;
  /** The last one is used first, from its beginning. Runs, not places: a sparse file may have more than fit memory. */
  readonly #holes: Hole[];
  /** Where the next block that finds no hole goes: the end of everything that the image uses. */
  endBytes: number;
  /** Freed, but the file still says otherwise. */
  #freed: number[] = [];

  /** @param holes - each with room for one block or more; the object keeps them */
  constructor(file: BlockFile, unitBytes: number, endBytes: number, holes: Hole[] = []) {
    this.#file = file;
    this.#unitBytes = unitBytes;
    this.#holes = holes;
    this.endBytes = endBytes;
  }

  /** Room for one block. */
  take(): MaybePromise<Place> {
    const hole = this.#holes.at(-1);
    if (hole === undefined) return this.append(this.#unitBytes);
    const { offsetBytes } = hole;
    hole.offsetBytes += this.#unitBytes;
    hole.lengthBytes -= this.#unitBytes;
    if (hole.lengthBytes < this.#unitBytes) this.#holes.pop();
    return { offsetBytes, zeroed: false };
  }

  /** Room at the end of the file for any number of bytes. */
  async append(lengthBytes: number): Promise<Place> {
    const offsetBytes = this.endBytes;
    this.endBytes += lengthBytes;
    if (this.endBytes > this.#file.sizeBytes) await this.#file.truncate(this.endBytes);
    return { offsetBytes, zeroed: true };
  }

  /** Gives back a place that the file never mentioned. */
  giveBack(offsetBytes: number): void {
    this.#holes.push({ offsetBytes, lengthBytes: this.#unitBytes });
  }

  /** Gives back a place that the file still mentions; it is used again only after a commit. */
  free(offsetBytes: number): void {
    this.#freed.push(offsetBytes);
  }

  /** Runs the commit that makes the file forget what was freed so far. */
  async whileCommitting(commit: () => Promise<void>): Promise<void> {
    const freed = this.#freed;
    this.#freed = [];
    try {
      await commit();
    } catch (error) {
      for (const place of freed) this.#freed.push(place);
      throw error;
    }
    for (const place of freed) this.giveBack(place);
  }
}
