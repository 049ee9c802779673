import type { MaybePromise } from '@kensho/core';

/**
 * Lets many operations run at once, or one alone. An operation that must be alone waits for those under way and
 * holds back the ones that come after it.
 */
export class Gate {
  #running = 0;
  #alone: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  /** Runs beside others; inline where nothing holds it back. */
  shared(operation: () => MaybePromise<void>): MaybePromise<void> {
    if (this.#alone !== undefined) return this.#alone.then(() => this.shared(operation));
    this.#running++;
    let result: MaybePromise<void>;
    try {
      result = operation();
    } catch (error) {
      this.#leave();
      throw error;
    }
    if (!(result instanceof Promise)) {
      this.#leave();
      return;
    }
    return result.finally(() => this.#leave());
  }

  /** Runs with nothing else. */
  async exclusive(operation: () => Promise<void>): Promise<void> {
    while (this.#alone !== undefined) await this.#alone;
    let reopen = () => {};
    this.#alone = new Promise((resolve) => {
      reopen = resolve;
    });
    try {
      if (this.#running > 0) {
        await new Promise<void>((resolve) => {
          this.#drained = resolve;
        });
      }
      await operation();
    } finally {
      this.#alone = undefined;
      reopen();
    }
  }

  #leave(): void {
    this.#running--;
    if (this.#running === 0) {
      this.#drained?.();
      this.#drained = undefined;
    }
  }
}

/** Runs operations one after the other, in the order in which they came. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(operation: () => Promise<T>): Promise<T> {
    const result = this.#last.then(operation);
    this.#last = result.catch(() => {});
    return result;
  }
}
