import type { MaybePromise } from '../hypervisor/work.ts';

/**
 * What must be undone, ended in reverse order of beginning. An end that fails does not keep the others from
 * running; what failed is thrown at the end, together.
 */
export class TeardownStack {
  readonly #steps: { name: string; end: () => MaybePromise<void> }[] = [];

  /**
   * @param name - whose end it is, for the error
   * @returns takes the step off again, for what has ended by itself
   */
  push(name: string, end: () => MaybePromise<void>): () => void {
    const step = { name, end };
    this.#steps.push(step);
    return () => {
      const at = this.#steps.indexOf(step);
      if (at >= 0) this.#steps.splice(at, 1);
    };
  }

  /** Runs every end, last first; a second call finds nothing left to do. */
  async unwind(): Promise<void> {
    const failures: Error[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.end();
      } catch (cause) {
        failures.push(
          new Error(`${step.name}: ${cause instanceof Error ? cause.message : cause}`, { cause }),
        );
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, failures.map((f) => f.message).join('; '));
  }
}
