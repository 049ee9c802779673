/** A small repeatable generator (xorshift32), so that a failure names its seed and comes again. */
export class Random {
  #state: number;

  /** @param seed - any integer; 0 is taken as 1 */
  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** 32 random bits, unsigned. */
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
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
    for (let i = 0; i < sizeBytes; i++) target[i] = this.u32();
    return target;
  }
}
