import type { Clock } from '../clock.ts';

/** A result now or later. */
export type MaybePromise<T> = T | Promise<T>;

/**
 * How work reaches a partition's thread from outside the VP's slice: short tasks for the run loop, and completions
 * of asynchronous operations.
 *
 * Intercepts must be brief, so a device that was signalled queues a task here and the run loop runs it between
 * slices. With a virtual clock, completions are delivered in the order in which the operations began and VPs
 * stand still while any is outstanding: however long the host took, the guest sees the same run.
 */
export class WorkQueue {
  readonly #inOrder: boolean;
  #tasks: (() => void)[] = [];
  #running: (() => void)[] = [];
  readonly #pending: PendingCompletion[] = [];
  #whenIdle: (() => void)[] = [];
  #outstanding = 0;
  readonly #waiters = new Set<() => void>();
  #onDefer: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#inOrder = clock.virtual;
  }

  /** Tells the run loop, its one listener, that a task was added: it ends the slice that is running. */
  onDefer(listener: () => void): void {
    this.#onDefer = listener;
  }

  /** Runs `task` from the run loop, after the current slice. */
  defer(task: () => void): void {
    this.#tasks.push(task);
    this.#onDefer?.();
    this.#wake();
  }

  /**
   * Runs `task` when no VP has anything to do: for work that a guest which is still busy would only add to. Who cannot
   * wait for ever sets a timer as well.
   */
  whenIdle(task: () => void): void {
    this.#whenIdle.push(task);
    this.#wake();
  }

  /** Every VP is idle: runs the tasks that wait for that; false where there are none. */
  runWhenIdle(): boolean {
    if (this.#whenIdle.length === 0) return false;
    this.#tasks.push(...this.#whenIdle.splice(0));
    this.run();
    return true;
  }

  /**
   * Delivers the outcome of an operation on the partition's thread. An outcome that is there already is delivered
   * inline.
   *
   * @param operation - the result, or the promise of it
   * @param done - called exactly once, with the error where it failed
   */
  complete<T>(
    operation: MaybePromise<T>,
    done: (error: Error | undefined, result: T | undefined) => void,
  ): void {
    if (!(operation instanceof Promise)) {
      if (this.#inOrder && this.#pending.length > 0) {
        this.#pending.push({ settled: true, deliver: () => done(undefined, operation) });
      } else {
        done(undefined, operation);
      }
      return;
    }
    this.#outstanding++;
    const completion: PendingCompletion = { settled: false, deliver: () => {} };
    if (this.#inOrder) this.#pending.push(completion);
    const settle = (deliver: () => void) => {
      this.#outstanding--;
      completion.settled = true;
      completion.deliver = deliver;
      if (this.#inOrder) this.#wake();
      else this.defer(deliver);
    };
    operation.then(
      (result) => settle(() => done(undefined, result)),
      (reason: unknown) => settle(() => done(asError(reason), undefined)),
    );
  }

  /**
   * Runs everything that is ready, also what the tasks themselves add, up to a bound; true where more is left. What a
   * task throws comes out, and the tasks behind it run at the next call: teardown may wait for them.
   */
  run(): boolean {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      while (this.#pending.length > 0 && this.#pending[0].settled)
        (this.#pending.shift() as PendingCompletion).deliver();
      if (this.#tasks.length === 0) return false;
      const batch = this.#tasks;
      this.#tasks = this.#running;
      this.#running = batch;
      this.#runBatch(batch);
    }
    return this.#tasks.length > 0;
  }

  /** Whether {@link run} has something to do now. */
  get ready(): boolean {
    return this.#tasks.length > 0 || (this.#pending.length > 0 && this.#pending[0].settled);
  }

  /** Operations that have begun and not yet ended. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Whether VPs must stand still until outstanding operations have been delivered. */
  get stalled(): boolean {
    return this.#inOrder && this.#pending.length > 0;
  }

  /** Resolves when there is something to run, at once if there is, or when the time is over. */
  wait(timeoutMs: number): Promise<void> {
    if (this.ready) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
        resolve();
      };
      const timer = Number.isFinite(timeoutMs) ? setTimeout(waiter, timeoutMs) : undefined;
      this.#waiters.add(waiter);
    });
  }

  #runBatch(batch: (() => void)[]): void {
    let next = 0;
    try {
      while (next < batch.length) batch[next++]();
    } finally {
      if (next < batch.length) this.#tasks = [...batch.slice(next), ...this.#tasks];
      batch.length = 0;
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }
}

/** Rounds of tasks that add tasks before VPs get their turn again. */
const MAX_ROUNDS = 16;

interface PendingCompletion {
  settled: boolean;
  deliver: () => void;
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
