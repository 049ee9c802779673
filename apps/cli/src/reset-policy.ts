import type { RunEnd } from './guest-end.ts';

/** What a guest's reset does: the machine is made anew in its place, or the run ends. */
export const RESET_ACTIONS = ['restart', 'exit'] as const;
export type ResetAction = (typeof RESET_ACTIONS)[number];

/** A guest that resets sooner than this, of its own time, has hardly done anything. */
const SHORT_BOOT_NS = 3e9;
/** So many of them in a row, and nothing but the next is to be expected. */
const SHORT_BOOTS_MAX = 5;

/** Decides, each time a partition has ended, whether its machine goes on in another one. */
export class ResetPolicy {
  readonly #action: ResetAction;
  #restarts = 0;
  #shortBoots = 0;

  constructor(action: ResetAction) {
    this.#action = action;
  }

  /** How often it was decided that the machine goes on. */
  get restarts(): number {
    return this.#restarts;
  }

  /**
   * How the run ends; undefined where it goes on.
   *
   * @param ranNs - how long the partition ran, by its own clock
   */
  endOf(end: RunEnd, ranNs: number): RunEnd | undefined {
    if (end.reason !== 'reset' || this.#action === 'exit') return end;
    this.#shortBoots = ranNs < SHORT_BOOT_NS ? this.#shortBoots + 1 : 0;
    if (this.#shortBoots === SHORT_BOOTS_MAX) return { reason: 'reset-loop', resets: SHORT_BOOTS_MAX };
    this.#restarts++;
    return undefined;
  }
}
