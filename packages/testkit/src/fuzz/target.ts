import type { Random } from '../random.ts';

/**
 * Something that is fed nonsense. A case is wholly made of the random numbers it draws, so that its seed is its
 * record; what it must never do (throw, hang, lose an answer, touch what is not its own) it finds out itself.
 */
export interface FuzzTarget {
  readonly id: string;
  readonly description: string;
  /** Seeds of cases that once found a fault, or that reach far: replayed by the tests. */
  readonly corpus: readonly number[];
  /** Makes what the cases are run against; may be kept from case to case. */
  create(): FuzzSubject;
}

export interface FuzzSubject {
  /** Runs one case; throws, or rejects, where the target misbehaved. */
  run(random: Random): void | Promise<void>;
}

/** A case that failed. */
export class FuzzFailure extends Error {
  readonly seed: number;

  constructor(target: string, seed: number, cause: unknown) {
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    super(`${target}: case ${seed} failed (run it again with --case ${seed}): ${reason}`, { cause });
    this.name = 'FuzzFailure';
    this.seed = seed;
  }
}
