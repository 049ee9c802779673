/** Hands out runs of consecutive numbers (pages, ids) from a range, first fit. */
export class RunAllocator {
  /** Free runs by their first number, in order; neighbours are always merged. */
  readonly #free: { first: number; count: number }[];

  constructor(first: number, count: number) {
    this.#free = count > 0 ? [{ first, count }] : [];
  }

  /** The first number of a run of `count`, or -1 where there is none that long. */
  take(count: number): number {
    const at = this.#free.findIndex((candidate) => candidate.count >= count);
    if (at < 0) return -1;
    const run = this.#free[at];
    const first = run.first;
    run.first += count;
    run.count -= count;
    if (run.count === 0) this.#free.splice(at, 1);
    return first;
  }

  /** Gives back a run that was taken, or adds a new one. */
  give(first: number, count: number): void {
    let at = this.#free.findIndex((run) => run.first > first);
    if (at < 0) at = this.#free.length;
    this.#free.splice(at, 0, { first, count });
    for (const i of [at, at - 1]) {
      const left = this.#free[i];
      const right = this.#free[i + 1];
      if (left !== undefined && right !== undefined && left.first + left.count === right.first) {
        left.count += right.count;
        this.#free.splice(i + 1, 1);
      }
    }
  }
}
