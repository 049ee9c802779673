/** One running total. The hot path adds to `value` directly. */
export interface Counter {
  readonly name: string;
  value: number;
}

/** Totals by name at one moment. */
export type CounterSnapshot = Readonly<Record<string, number>>;

/**
 * The totals of one partition, each counted at its source.
 *
 * Names are dotted, general to particular: `intercept.port`, `hypercall.HvCallSignalEvent`,
 * `device.ide0.dma.bytes`. A name stands for one counter, whoever asks for it.
 */
export class Counters {
  readonly #byName = new Map<string, Counter>();

  /** The counter of that name, made at the first call. */
  counter(name: string): Counter {
    let counter = this.#byName.get(name);
    if (counter === undefined) {
      counter = { name, value: 0 };
      this.#byName.set(name, counter);
    }
    return counter;
  }

  /** All totals, sorted by name. */
  snapshot(): CounterSnapshot {
    return Object.fromEntries(
      [...this.#byName.values()].map((c) => [c.name, c.value] as const).sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  }
}

/** What was counted between two snapshots; counters that did not move are left out. */
export function counterDifference(before: CounterSnapshot, after: CounterSnapshot): CounterSnapshot {
  const moved: Record<string, number> = {};
  for (const [name, value] of Object.entries(after)) {
    const delta = value - (before[name] ?? 0);
    if (delta !== 0) moved[name] = delta;
  }
  return moved;
}
