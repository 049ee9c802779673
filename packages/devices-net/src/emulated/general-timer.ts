import type { Timer, TimerQueue } from '@kensho/core';
import { TIMER_CONTINUOUS } from '../protocol/dec21140.ts';

const VALUE_MASK = 0xffff;
/** Bits of CSR11 that are not there read as ones. */
const RESERVED = 0xfffe0000;

/** The general-purpose timer (CSR11): counts down from what is written, once or again and again. */
export class GeneralTimer {
  readonly #timers: TimerQueue;
  readonly #onExpired: () => void;
  #continuous = false;
  #value = 0;
  #cycleNs = 1;
  #deadlineNs = 0;
  #timer: Timer | undefined;

  constructor(timers: TimerQueue, onExpired: () => void) {
    this.#timers = timers;
    this.#onExpired = onExpired;
  }

  /** CSR11, with the cycles that are left. */
  read(): number {
    const continuous = this.#continuous ? TIMER_CONTINUOUS : 0;
    if (this.#timer === undefined) return (RESERVED | continuous) >>> 0;
    const leftNs = Math.max(0, this.#deadlineNs - this.#timers.clock.nowNs());
    return (RESERVED | continuous | (Math.ceil(leftNs / this.#cycleNs) & VALUE_MASK)) >>> 0;
  }

  /** Starts the timer anew; a value of 0 stops it. @param cycleNs - how long one count takes */
  write(value: number, cycleNs: number): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#continuous = (value & TIMER_CONTINUOUS) !== 0;
    this.#value = value & VALUE_MASK;
    this.#cycleNs = cycleNs;
    if (this.#value === 0) return;
    this.#deadlineNs = this.#timers.clock.nowNs() + this.#value * cycleNs;
    this.#set();
  }

  reset(): void {
    this.write(0, 1);
  }

  #set(): void {
    this.#timer = this.#timers.at(this.#deadlineNs, () => {
      this.#timer = undefined;
      if (this.#continuous) {
        const periodNs = this.#value * this.#cycleNs;
        // Without drift, and without making up for time in which nobody ran.
        this.#deadlineNs = Math.max(this.#deadlineNs, this.#timers.clock.nowNs() - periodNs) + periodNs;
        this.#set();
      }
      this.#onExpired();
    });
  }
}
