import type { Timer, TimerQueue } from '@kensho/core';

/** None. */
export const NEVER = Number.POSITIVE_INFINITY;

/**
 * The deadlines of one connection on one timer. It may go off early, and is then set again: deadlines mostly move on,
 * and setting a timer anew with each segment would cost more.
 */
export class Deadlines {
  /** When the oldest segment is sent again. */
  retransmitNs = NEVER;
  /** When the other side is asked whether its window is still closed. */
  probeNs = NEVER;
  /** When the connection is given up, or at its end forgotten. */
  expiryNs: number;
  readonly #timers: TimerQueue;
  readonly #onTimer: () => void;
  #timer: Timer | undefined;
  #timerNs = NEVER;

  constructor(timers: TimerQueue, expiryNs: number, onTimer: () => void) {
    this.#timers = timers;
    this.#onTimer = onTimer;
    this.expiryNs = expiryNs;
  }

  /** Makes sure that the timer goes off at the next deadline, or before. */
  arm(): void {
    const next = Math.min(this.retransmitNs, this.probeNs, this.expiryNs);
    if (this.#timer !== undefined && this.#timerNs <= next) return;
    this.#timer?.cancel();
    this.#timerNs = next;
    this.#timer = this.#timers.at(next, () => {
      this.#timer = undefined;
      this.#onTimer();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
