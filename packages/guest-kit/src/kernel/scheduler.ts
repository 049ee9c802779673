import type { GuestTask } from '@kensho/core';
import type { KitStep } from '../processor/kit-vp.ts';

/**
 * Runs the guest's tasks in turns, and halts the VP when all of them wait.
 *
 * Interrupt handlers set events between any two instructions, also while the scheduler looks for work: the test
 * for an empty queue and HLT therefore happen with interrupts off, and STI's shadow covers HLT.
 */
export class Scheduler {
  #ready: GuestTask<unknown>[] = [];
  #next: GuestTask<unknown>[] = [];
  readonly #onError: (name: string, error: unknown) => void;
  readonly #names = new WeakMap<GuestTask<unknown>, string>();

  constructor(onError: (name: string, error: unknown) => void) {
    this.#onError = onError;
  }

  spawn(name: string, task: GuestTask<unknown>): void {
    this.#names.set(task, name);
    this.#next.push(task);
  }

  /** The idle loop; ends once `finished` says so. */
  *run(interrupts: { cli(): void; sti(): void }, finished: () => boolean): Generator<KitStep, void, void> {
    while (!finished()) {
      interrupts.cli();
      if (this.#next.length === 0) {
        interrupts.sti();
        yield 'hlt';
        continue;
      }
      interrupts.sti();
      const batch = this.#next;
      this.#next = this.#ready;
      this.#ready = batch;
      for (let i = 0; i < batch.length; i++) this.#step(batch[i]);
      batch.length = 0;
      yield undefined;
    }
  }

  #step(task: GuestTask<unknown>): void {
    let result: IteratorResult<unknown, unknown>;
    try {
      result = task.next();
    } catch (error) {
      this.#onError(this.#names.get(task) ?? 'task', error);
      return;
    }
    if (result.done === true) return;
    const event = result.value as { subscribe(wake: () => void): void } | undefined;
    if (event === undefined) this.#next.push(task);
    else event.subscribe(() => this.#next.push(task));
  }
}
