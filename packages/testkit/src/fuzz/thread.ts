import type { FuzzOptions, FuzzResult } from './driver.ts';

/** What the thread that runs the cases shows of itself while it runs: words of shared memory. */
export const Shared = {
  /** Seed of the case under way. */
  SEED: 0,
  /** Cases that ended; -1 until the first one begins. */
  CASES: 1,
  /** Not zero: end soon. */
  STOP: 2,
} as const;
export const SHARED_WORDS = 3;

export type RunOptions = Pick<FuzzOptions, 'seed' | 'only' | 'cases' | 'seconds' | 'growthLimitBytes'>;

/** What the thread is given. */
export interface FuzzAssignment {
  /** URL of a module that exports `FUZZ_TARGETS`. */
  readonly module: string;
  readonly targetId: string;
  readonly options: RunOptions;
  readonly shared: SharedArrayBuffer;
}

/** What it answers. */
export type FuzzAnswer = { readonly result: FuzzResult } | { readonly failure: { readonly reason: string } };
