import type { MaybePromise } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';

/** A place for a block. */
export interface Place {
  readonly offsetBytes: number;
  /** Whether the file reads as zeroes there. */
  readonly zeroed: boolean;
}

/** Where new blocks go: into holes of the right size, else at the end of the file, which grows by zeroes. */
export class Space {
  readonly #file: BlockFile;
  readonly #unitBytes: number;
  readonly #holes: number[];
  /** Where the next block that finds no hole goes: the end of everything that the image uses. */
  endBytes: number;
  /** Freed, but the file still says otherwise. */
  #freed: number[] = [];

  constructor(file: BlockFile, unitBytes: number, endBytes: number, holes: number[] = []) {
    this.#file = file;
    this.#unitBytes = unitBytes;
    this.#holes = holes;
    this.endBytes = endBytes;
  }

  /** Room for one block. */
  take(): MaybePromise<Place> {
    const hole = this.#holes.pop();
    return hole === undefined ? this.append(this.#unitBytes) : { offsetBytes: hole, zeroed: false };
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
    this.#holes.push(offsetBytes);
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
    for (const place of freed) this.#holes.push(place);
  }
}
