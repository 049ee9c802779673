/** What small frames are cut from. */
const SLAB_BYTES = 16 * 1024;
/** Frames longer than this get memory of their own. */
const LARGEST_CUT_BYTES = 4096;

/**
 * Memory for frames: small ones share an allocation, which for each by itself would cost more than its copy. Who
 * keeps one of them keeps up to 16 KiB.
 */
export class FrameMemory {
  #slab = new ArrayBuffer(0);
  #used = 0;

  /** Memory that nobody else has; all of it has to be written. */
  take(sizeBytes: number): Uint8Array {
    if (sizeBytes > LARGEST_CUT_BYTES) return new Uint8Array(sizeBytes);
    if (this.#used + sizeBytes > this.#slab.byteLength) {
      this.#slab = new ArrayBuffer(SLAB_BYTES);
      this.#used = 0;
    }
    const bytes = new Uint8Array(this.#slab, this.#used, sizeBytes);
    // Sums over a frame read words.
    this.#used += (sizeBytes + 7) & ~7;
    return bytes;
  }
}
