import { assert, PAGE_SIZE } from '@kensho/core';

const WORDS_PER_PAGE = PAGE_SIZE / 4;
/** Memory of more words has indices that do not fit 32 bits. */
const INT32_WORDS = 2 ** 31;

/**
 * Where a ring lies: a control page and data pages, which need not be neighbours.
 *
 * The data area is addressed by ring offsets. Most rings lie in one piece, so readers and writers work on the memory
 * in place and ask {@link pieceEnd} how far that goes; what crosses a gap, or the ring's end, is copied piecewise.
 */
export class RingMemory {
  /** All of the memory that holds the ring, by 32-bit word. */
  readonly words: Uint32Array;
  /** The same memory by byte. */
  readonly bytes: Uint8Array;
  readonly dataSizeBytes: number;
  /** Word index of the control page. */
  control = 0;
  /** For each data page, what to add to a ring offset in words to get a word index. */
  readonly #wordBase: Int32Array | Float64Array;
  /** For each data page, the ring offset at which the piece that it belongs to ends. */
  readonly #pieceEnd: Uint32Array;

  /**
   * @param words - the memory, from its page 0 on
   * @param bytes - a view of the same bytes
   * @param arenaPages - pages of that memory: the control page, then one data page or more
   */
  constructor(words: Uint32Array, bytes: Uint8Array, arenaPages: ArrayLike<number>) {
    assert(arenaPages.length >= 2, 'a ring has a control page and a data page');
    this.words = words;
    this.bytes = bytes;
    this.dataSizeBytes = (arenaPages.length - 1) * PAGE_SIZE;
    const dataPages = arenaPages.length - 1;
    this.#wordBase = words.length > INT32_WORDS ? new Float64Array(dataPages) : new Int32Array(dataPages);
    this.#pieceEnd = new Uint32Array(dataPages);
    this.remap(arenaPages);
  }

  /** Says where the pages lie now: as many as before. */
  remap(arenaPages: ArrayLike<number>): void {
    const count = this.#wordBase.length;
    assert(arenaPages.length === count + 1, 'a ring keeps its size');
    this.control = arenaPages[0] * WORDS_PER_PAGE;
    let pieceEnd = this.dataSizeBytes;
    for (let page = count - 1; page >= 0; page--) {
      if (page < count - 1 && arenaPages[page + 1] + 1 !== arenaPages[page + 2])
        pieceEnd = (page + 1) * PAGE_SIZE;
      this.#wordBase[page] = (arenaPages[page + 1] - page) * WORDS_PER_PAGE;
      this.#pieceEnd[page] = pieceEnd;
    }
  }

  /** Word index of a ring offset that is below the data size. */
  wordAt(offset: number): number {
    return this.#wordBase[offset >>> 12] + (offset >>> 2);
  }

  /** The ring offset up to which the memory from `offset` on lies in one piece. */
  pieceEnd(offset: number): number {
    return this.#pieceEnd[offset >>> 12];
  }

  /** Copies `count` words from a ring offset on out of the ring, around its end if need be. */
  gather(offset: number, count: number, target: Uint32Array, at: number): void {
    const words = this.words;
    let from = offset;
    for (let left = count; left > 0; ) {
      const piece = Math.min(left, (this.pieceEnd(from) - from) >>> 2);
      const first = this.wordAt(from);
      for (let i = 0; i < piece; i++) target[at + i] = words[first + i];
      at += piece;
      left -= piece;
      from += piece * 4;
      if (from === this.dataSizeBytes) from = 0;
    }
  }

  /** Copies `count` words of `source` into the ring from a ring offset on. */
  scatter(offset: number, count: number, source: Uint32Array): void {
    const words = this.words;
    let to = offset;
    for (let done = 0; done < count; ) {
      const piece = Math.min(count - done, (this.pieceEnd(to) - to) >>> 2);
      const first = this.wordAt(to);
      for (let i = 0; i < piece; i++) words[first + i] = source[done + i];
      done += piece;
      to += piece * 4;
      if (to === this.dataSizeBytes) to = 0;
    }
  }
}
