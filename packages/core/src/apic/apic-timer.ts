import type { Timer, TimerQueue } from '../clock.ts';
import { TimerMode } from './registers.ts';

/** Nanoseconds for each tick of the undivided timer clock. */
const TICK_NS = 5;
/** The undivided timer clock, as the APIC_FREQUENCY MSR shows it: 200 MHz, as on Hyper-V. */
export const APIC_FREQUENCY_HZ: number = 1e9 / TICK_NS;

/**
 * The local APIC's timer (Intel SDM 3A, 10.5.4).
 *
 * It always counts by the clock, whether or not its interrupt is masked; the queue holds a deadline only while an
 * interrupt can come of it. A periodic timer's expiries lie on the grid of its start: being served late moves none
 * of them, and those that were missed altogether are one interrupt, as they are in the IRR.
 */
export class ApicTimer {
  readonly #timers: TimerQueue;
  readonly #tscPerNs: number;
  readonly #expired: () => void;
  #mode: number = TimerMode.ONE_SHOT;
  #masked = true;
  #initialCount = 0;
  #divideConfiguration = 0;
  #tickNs = 2 * TICK_NS;
  /** When the count next reaches zero; Infinity while the timer is stopped. */
  #expiryNs = Number.POSITIVE_INFINITY;
  #deadlineLo = 0;
  #deadlineHi = 0;
  #armed: Timer | undefined;

  /** @param expired - requests the LVT entry's interrupt; called only while it is not masked */
  constructor(timers: TimerQueue, tscFrequencyHz: number, expired: () => void) {
    this.#timers = timers;
    this.#tscPerNs = tscFrequencyHz / 1e9;
    this.#expired = expired;
  }

  /** Takes mode and mask from the LVT entry. Switching to or from TSC-deadline mode disarms the timer. */
  configure(mode: number, masked: boolean): void {
    this.#advance();
    if ((mode === TimerMode.TSC_DEADLINE) !== (this.#mode === TimerMode.TSC_DEADLINE)) {
      this.#initialCount = 0;
      this.#stop();
    }
    this.#mode = mode;
    this.#masked = masked;
    this.#arm();
  }

  get initialCount(): number {
    return this.#initialCount;
  }

  /** Starts the countdown, 0 stops it. Without effect in TSC-deadline mode. */
  set initialCount(count: number) {
    if (this.#mode === TimerMode.TSC_DEADLINE) return;
    this.#initialCount = count;
    this.#expiryNs =
      count === 0 ? Number.POSITIVE_INFINITY : this.#timers.clock.nowNs() + count * this.#tickNs;
    this.#arm();
  }

  get currentCount(): number {
    if (this.#mode === TimerMode.TSC_DEADLINE) return 0;
    this.#advance();
    if (this.#expiryNs === Number.POSITIVE_INFINITY) return 0;
    return Math.max(0, Math.ceil((this.#expiryNs - this.#timers.clock.nowNs()) / this.#tickNs));
  }

  get divideConfiguration(): number {
    return this.#divideConfiguration;
  }

  /** Bits 3, 1 and 0 select the divisor. What is left of a running count goes on at the new rate. */
  set divideConfiguration(value: number) {
    const left = this.currentCount;
    this.#divideConfiguration = value;
    const selector = ((value >> 1) & 4) | (value & 3);
    this.#tickNs = TICK_NS * (selector === 7 ? 1 : 2 << selector);
    if (left === 0) return;
    this.#expiryNs = this.#timers.clock.nowNs() + left * this.#tickNs;
    this.#arm();
  }

  /** The armed deadline; zero where none is or the timer is in another mode. */
  get deadlineLo(): number {
    this.#advance();
    return this.#deadlineLo;
  }

  get deadlineHi(): number {
    this.#advance();
    return this.#deadlineHi;
  }

  /** Arms the timer for a TSC value, zero disarms it. Without effect in the other modes. */
  setDeadline(lo: number, hi: number): void {
    if (this.#mode !== TimerMode.TSC_DEADLINE) return;
    this.#stop();
    if (lo === 0 && hi === 0) return;
    this.#deadlineLo = lo;
    this.#deadlineHi = hi;
    this.#expiryNs = Math.ceil((hi * 2 ** 32 + lo) / this.#tscPerNs);
    this.#arm();
  }

  /** The state after power-up or INIT. */
  reset(): void {
    this.#stop();
    this.#mode = TimerMode.ONE_SHOT;
    this.#masked = true;
    this.#initialCount = 0;
    this.divideConfiguration = 0;
  }

  #stop(): void {
    this.#expiryNs = Number.POSITIVE_INFINITY;
    this.#deadlineLo = 0;
    this.#deadlineHi = 0;
    this.#disarm();
  }

  /** Moves past expiries that nothing was armed for, because the interrupt was masked. */
  #advance(): void {
    if (this.#armed === undefined && this.#timers.clock.nowNs() >= this.#expiryNs) this.#next();
  }

  /** From an expiry to what follows it. */
  #next(): void {
    if (this.#mode === TimerMode.PERIODIC) {
      const periodNs = this.#initialCount * this.#tickNs;
      const late = Math.floor((this.#timers.clock.nowNs() - this.#expiryNs) / periodNs);
      this.#expiryNs += (late + 1) * periodNs;
    } else {
      this.#expiryNs = Number.POSITIVE_INFINITY;
      this.#deadlineLo = 0;
      this.#deadlineHi = 0;
    }
  }

  #arm(): void {
    this.#disarm();
    if (this.#masked || this.#expiryNs === Number.POSITIVE_INFINITY) return;
    this.#armed = this.#timers.at(this.#expiryNs, () => {
      this.#armed = undefined;
      this.#next();
      this.#arm();
      this.#expired();
    });
  }

  #disarm(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
  }
}
