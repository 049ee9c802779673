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
  /** Makes what the cases are run against; nothing that a case does to it may reach the next one. */
  create(): FuzzSubject;
}

export interface FuzzSubject {
  /** Runs one case; throws, or rejects, where the target misbehaved. */
  run(random: Random): void | Promise<void>;
}

/** A case that failed. */
export class FuzzFailure extends Error {
  readonly target: string;
  readonly seed: number;

  constructor(target: string, seed: number, reason: string, options?: ErrorOptions) {
    super(`${target}: case ${seed} failed (run it again with --case ${seed}): ${reason}`, options);
    this.name = 'FuzzFailure';
    this.target = target;
    this.seed = seed;
  }
}

/** Something that a target must never do. */
export class FuzzViolation extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'FuzzViolation';
  }
}

/** States what holds whatever the case did. */
export function expectAlways(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new FuzzViolation(typeof message === 'string' ? message : message());
}
