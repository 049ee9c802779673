import type { Counter, InterruptLine } from '@kensho/core';
import { Status } from '../protocol/dec21140.ts';

/** What the normal summary covers, and what the abnormal one. */
const NORMAL_CAUSES = Status.TRANSMIT | Status.TRANSMIT_UNAVAILABLE | Status.RECEIVE;
const ABNORMAL_CAUSES =
  Status.TRANSMIT_STOPPED |
  Status.TRANSMIT_JABBER |
  Status.TRANSMIT_UNDERFLOW |
  Status.RECEIVE_UNAVAILABLE |
  Status.RECEIVE_STOPPED |
  Status.RECEIVE_WATCHDOG |
  Status.TIMER |
  Status.BUS_ERROR;
const CAUSES = NORMAL_CAUSES | ABNORMAL_CAUSES;
const ENABLE_WRITABLE = CAUSES | Status.NORMAL | Status.ABNORMAL;
/** Bits of CSR7 that are not there read as ones. */
const ENABLE_RESERVED = 0xf3fe0000;

/**
 * Causes in CSR5, their mask in CSR7, and the interrupt line: asserted while a cause is enabled and so is the summary
 * that covers it. The summaries are of enabled causes only.
 */
export class Interrupts {
  readonly #line: InterruptLine;
  readonly #count: Counter;
  #causes = 0;
  #enabled = 0;
  #asserted = false;

  /** @param count - counts how often the line rose */
  constructor(line: InterruptLine, count: Counter) {
    this.#line = line;
    this.#count = count;
  }

  /** The lower 17 bits of CSR5. */
  get status(): number {
    return this.#causes | this.#summaries;
  }

  /** CSR7. */
  get enabled(): number {
    return (ENABLE_RESERVED | this.#enabled) >>> 0;
  }

  set enabled(value: number) {
    this.#enabled = value & ENABLE_WRITABLE;
    this.#update();
  }

  raise(causes: number): void {
    this.#causes |= causes;
    this.#update();
  }

  /** A written one clears its cause; summaries follow what is left. */
  clear(written: number): void {
    this.#causes &= ~(written & CAUSES);
    this.#update();
  }

  reset(): void {
    this.#causes = 0;
    this.#enabled = 0;
    this.#update();
  }

  get #summaries(): number {
    const pending = this.#causes & this.#enabled;
    return (
      ((pending & NORMAL_CAUSES) !== 0 ? Status.NORMAL : 0) |
      ((pending & ABNORMAL_CAUSES) !== 0 ? Status.ABNORMAL : 0)
    );
  }

  #update(): void {
    const asserted = (this.#summaries & this.#enabled) !== 0;
    if (asserted === this.#asserted) return;
    this.#asserted = asserted;
    if (asserted) this.#count.value++;
    this.#line.set(asserted);
  }
}
