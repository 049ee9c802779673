import type { Clock } from '@kensho/core';

/** Requests up to this size may end inline. */
const INLINE_BYTES = 64 * 1024;
/** An inline operation that took longer than this was not served from the host's cache. */
const SLOW_NS = 250_000;
const FIRST_PAUSE = 16;
const LONGEST_PAUSE = 1024;

/**
 * Decides which operations on a host file run inline and which on Node's thread pool.
 *
 * Measured on a warm file with Node 24, alone: 4 KiB take 2 to 3 µs inline and 40 µs through the pool, 64 KiB 10 µs
 * and 64 µs; at 128 KiB the copy outweighs the hand-over. A miss of the host's cache costs 100 µs and more, though,
 * and inline it stops the whole partition. So small operations run inline until one was slow; then the pool takes
 * the next 16, twice as many after every further slow one.
 */
export class InlinePolicy {
  readonly #clock: Clock;
  #pause = 0;
  #nextPause = FIRST_PAUSE;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether an operation of this size shall run inline. */
  inline(lengthBytes: number): boolean {
    if (lengthBytes > INLINE_BYTES) return false;
    if (this.#pause === 0) return true;
    this.#pause--;
    return false;
  }

  /** Runs an operation inline and takes its time into account. A virtual clock stands still, so nothing is slow. */
  run(operation: () => void): void {
    const beganNs = this.#clock.nowNs();
    operation();
    if (this.#clock.nowNs() - beganNs < SLOW_NS) {
      this.#nextPause = FIRST_PAUSE;
      return;
    }
    this.#pause = this.#nextPause;
    this.#nextPause = Math.min(LONGEST_PAUSE, this.#nextPause * 2);
  }
}
