import { assert, KenshoError } from '../errors.ts';
import { RunAllocator } from './run-allocator.ts';

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

/**
 * All host memory that a partition's guest can see: RAM, ROM and the hypervisor's overlay pages, as pages of one
 * buffer. The processor plugin allocates the buffer (it may be a WebAssembly memory that holds the processor's
 * state too); the GPA space maps guest pages onto arena pages. Host integers are assumed little-endian, as all
 * platforms that run Node.js are.
 */
export class PageArena {
  /** The buffer and the place of page 0 in it. */
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly pageCount: number;
  /** Byte view: page p starts at p * 4096. */
  readonly bytes: Uint8Array;
  /** 32-bit view: page p starts at p * 1024. */
  readonly words: Uint32Array;
  readonly data: DataView;
  readonly #free: RunAllocator;

  constructor(buffer: ArrayBufferLike, byteOffset: number, pageCount: number) {
    assert(byteOffset % PAGE_SIZE === 0, 'the arena begins on a page');
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    this.pageCount = pageCount;
    this.bytes = new Uint8Array(buffer, byteOffset, pageCount * PAGE_SIZE);
    this.words = new Uint32Array(buffer, byteOffset, pageCount * (PAGE_SIZE / 4));
    this.data = new DataView(buffer, byteOffset, pageCount * PAGE_SIZE);
    this.#free = new RunAllocator(0, pageCount);
  }

  /** An arena over fresh memory of its own. */
  static allocate(pageCount: number, options: { shared?: boolean } = {}): PageArena {
    const size = pageCount * PAGE_SIZE;
    return new PageArena(
      options.shared === true ? new SharedArrayBuffer(size) : new ArrayBuffer(size),
      0,
      pageCount,
    );
  }

  /** Takes `count` contiguous zeroed pages and returns the first. Throws KenshoError OUT_OF_GUEST_MEMORY. */
  take(count: number): number {
    const first = this.#free.take(count);
    if (first < 0) {
      throw new KenshoError(
        'OUT_OF_GUEST_MEMORY',
        `the partition's memory of ${this.pageCount} pages has no run of ${count} free: give it more memory`,
      );
    }
    return first;
  }

  /** Gives pages back, zeroed. */
  give(first: number, count: number): void {
    this.bytes.fill(0, first * PAGE_SIZE, (first + count) * PAGE_SIZE);
    this.#free.give(first, count);
  }

  /** The bytes of one page. */
  page(page: number): Uint8Array {
    return this.bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
  }
}
