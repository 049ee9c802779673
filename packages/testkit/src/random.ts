/** A small repeatable generator (xorshift32), so that a failure names its seed and comes again. */
export class Random {
  /** Signed: unlike larger numbers, it is kept without an allocation for each change. */
  #state: number;

  /** @param seed - any integer; neighbouring seeds give unrelated sequences */
  constructor(seed: number) {
    this.#state = scramble(seed) | 0 || 1;
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    this.#state = next(this.#state);
    return this.#state >>> 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.u32() / 2 ** 32) * limit);
  }

  /** True once in `n`. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  bytes(sizeBytes: number): Uint8Array {
    const target = new Uint8Array(sizeBytes);
    let x = this.#state;
    for (let i = 0; i < sizeBytes; i++) {
      x = next(x);
      target[i] = x;
    }
    this.#state = x;
    return target;
  }
}

function next(state: number): number {
  let x = state;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  return x;
}

/**
 * Spreads a seed over all bits (the finalizer of MurmurHash3). Without it a generator that is seeded with another
 * one's output would go through that one's own sequence.
 */
function scramble(seed: number): number {
  let x = seed | 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
