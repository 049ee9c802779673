/** The partition's source of time: monotonic nanoseconds from a start of its own. */
export interface Clock {
  nowNs(): number;
  /** Whether time stands still unless it is advanced, so that runs repeat. */
  readonly virtual: boolean;
  /** Lets time stand still until {@link resume}. Left out by clocks that move only when they are told to. Idempotent. */
  pause?(): void;
  resume?(): void;
}

/** The host's monotonic clock, less the time for which it was paused. */
export class RealClock implements Clock {
  readonly virtual = false;
  #startMs = performance.now();
  #pausedMs: number | undefined;

  nowNs(): number {
    return Math.round(((this.#pausedMs ?? performance.now()) - this.#startMs) * 1e6);
  }

  pause(): void {
    this.#pausedMs ??= performance.now();
  }

  resume(): void {
    if (this.#pausedMs === undefined) return;
    this.#startMs += performance.now() - this.#pausedMs;
    this.#pausedMs = undefined;
  }
}

/** Time that moves only when told to: by retired instructions, by idle VPs skipping to the next deadline, by a test. */
export class VirtualClock implements Clock {
  readonly virtual = true;
  #nowNs = 0;
  #slice: (() => number) | undefined;

  nowNs(): number {
    return this.#slice === undefined ? this.#nowNs : this.#nowNs + this.#slice();
  }

  /**
   * While a VP runs, `elapsedNs` says how far it has come since the last {@link advance}, so that time moves within
   * a slice too. Undefined once the slice has ended.
   */
  setSlice(elapsedNs: (() => number) | undefined): void {
    this.#slice = elapsedNs;
  }

  /** Moves time forward by `ns` (not negative). */
  advance(ns: number): void {
    this.#nowNs += ns;
  }
}

/** A deadline that was set; `cancel` is idempotent. */
export interface Timer {
  cancel(): void;
}

interface Entry {
  readonly atNs: number;
  readonly order: number;
  readonly run: () => void;
  /** Index in the heap, -1 when it is not there. */
  slot: number;
}

/**
 * Deadlines of one partition, run by its own loop between slices, in order of time and then of setting.
 * Nothing here touches the host's timers.
 */
export class TimerQueue {
  readonly clock: Clock;
  readonly #heap: Entry[] = [];
  #order = 0;
  #onEarliest: (() => void) | undefined;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** Tells the run loop, its one listener, that {@link nextNs} became earlier. */
  onEarliest(listener: () => void): void {
    this.#onEarliest = listener;
  }

  /** Runs `run` once the clock has reached `atNs`; a time in the past runs at the next {@link runDue}. */
  at(atNs: number, run: () => void): Timer {
    const entry: Entry = { atNs, order: this.#order++, run, slot: -1 };
    this.#insert(entry);
    if (entry.slot === 0) this.#onEarliest?.();
    return { cancel: () => this.#remove(entry) };
  }

  /** The earliest deadline, or Infinity. */
  nextNs(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0].atNs;
  }

  /** Runs what was due when the call began; what those callbacks set for now or earlier waits for the next call. */
  runDue(): void {
    const nowNs = this.clock.nowNs();
    const limit = this.#order;
    while (this.#heap.length > 0 && this.#heap[0].atNs <= nowNs && this.#heap[0].order < limit) {
      const entry = this.#heap[0];
      this.#remove(entry);
      entry.run();
    }
  }

  #insert(entry: Entry): void {
    entry.slot = this.#heap.length;
    this.#heap.push(entry);
    this.#up(entry.slot);
  }

  #remove(entry: Entry): void {
    const slot = entry.slot;
    if (slot < 0) return;
    entry.slot = -1;
    const last = this.#heap.pop() as Entry;
    if (last === entry) return;
    last.slot = slot;
    this.#heap[slot] = last;
    this.#up(slot);
    this.#down(last.slot);
  }

  #up(from: number): void {
    let slot = from;
    while (slot > 0) {
      const parent = (slot - 1) >> 1;
      if (!before(this.#heap[slot], this.#heap[parent])) return;
      this.#swap(slot, parent);
      slot = parent;
    }
  }

  #down(from: number): void {
    let slot = from;
    for (;;) {
      let least = slot;
      for (const child of [2 * slot + 1, 2 * slot + 2]) {
        if (child < this.#heap.length && before(this.#heap[child], this.#heap[least])) least = child;
      }
      if (least === slot) return;
      this.#swap(slot, least);
      slot = least;
    }
  }

  #swap(a: number, b: number): void {
    const entry = this.#heap[a];
    this.#heap[a] = this.#heap[b];
    this.#heap[b] = entry;
    this.#heap[a].slot = a;
    this.#heap[b].slot = b;
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.atNs < b.atNs || (a.atNs === b.atNs && a.order < b.order);
}
