import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Random } from '../random.ts';
import { FuzzFailure, type FuzzSubject, type FuzzTarget } from './target.ts';

export interface FuzzOptions {
  /** The cases' seeds come from this one. */
  readonly seed: number;
  /** Runs this case and no other. */
  readonly only?: number;
  /** Ends after that many cases. @default no bound */
  readonly cases?: number;
  /** Ends after that time. @default no bound */
  readonly seconds?: number;
  /** Memory that the run may gain between its tenth part and its end. @default 32 MiB */
  readonly growthLimitBytes?: number;
  /** Told before each case, so that one which never ends can be named. */
  readonly onCase?: (seed: number, casesBefore: number) => void;
  /** Asked now and then: true ends the run early. */
  readonly stopped?: () => boolean;
}

export interface FuzzResult {
  readonly target: string;
  readonly seed: number;
  readonly cases: number;
  readonly seconds: number;
  readonly casesPerSecond: number;
  /** Memory in use after a tenth of the run and at its end, after a garbage collection. */
  readonly heapBytesEarly: number;
  readonly heapBytesEnd: number;
}

/** How many cases pass between two looks at the clock; what they leave to the end of a turn stays in memory so long. */
const BATCH = 16;
/** Below this many cases memory says nothing: code is still being compiled. */
const LEAST_CASES_FOR_GROWTH = 10_000;
const GROWTH_LIMIT_BYTES = 32 * 2 ** 20;

/**
 * Runs cases of a target until a bound is reached. Throws FuzzFailure at the first case that fails, and, with the
 * seed of the last one, where memory grew beyond the limit.
 */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const subject = target.create();
  const seeds = new Random(options.seed);
  const { only, seconds: timeLimit = Infinity, onCase } = options;
  const caseLimit = only === undefined ? (options.cases ?? Infinity) : 1;
  const startMs = performance.now();
  const elapsed = () => (performance.now() - startMs) / 1000;
  let cases = 0;
  let last = 0;
  let early: { readonly cases: number; readonly bytes: number } | undefined;
  const share = () => Math.max(cases / caseLimit, elapsed() / timeLimit);
  while (cases < caseLimit && elapsed() < timeLimit && options.stopped?.() !== true) {
    if (early === undefined && cases > 0 && share() >= 0.1) early = { cases, bytes: await memoryInUse() };
    for (let i = 0; i < BATCH && cases < caseLimit; i++, cases++) {
      last = only ?? seeds.u32();
      onCase?.(last, cases);
      await runCase(target, subject, last);
    }
    // Timers and messages get their turn: cases may all end inline.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const seconds = elapsed();
  const heapBytesEnd = await memoryInUse();
  const heapBytesEarly = early?.bytes ?? heapBytesEnd;
  const grown = heapBytesEnd - heapBytesEarly;
  const limit = options.growthLimitBytes ?? GROWTH_LIMIT_BYTES;
  if (early !== undefined && cases - early.cases >= LEAST_CASES_FOR_GROWTH && grown > limit) {
    throw new FuzzFailure(target.id, last, `memory grew by ${grown} bytes in ${cases - early.cases} cases`);
  }
  return {
    target: target.id,
    seed: options.seed,
    cases,
    seconds,
    casesPerSecond: seconds > 0 ? cases / seconds : 0,
    heapBytesEarly,
    heapBytesEnd,
  };
}

/** Runs one case on a subject of its own. Throws FuzzFailure. */
export async function replay(target: FuzzTarget, seed: number): Promise<void> {
  await runCase(target, target.create(), seed);
}

async function runCase(target: FuzzTarget, subject: FuzzSubject, seed: number): Promise<void> {
  try {
    const pending = subject.run(new Random(seed));
    if (pending instanceof Promise) await pending;
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    throw new FuzzFailure(target.id, seed, reason, { cause });
  }
}

/** What memory is in use shows only after a collection; a thread cannot be started with the option that allows one. */
function collectGarbage(): void {
  if (globalThis.gc === undefined) {
    setFlagsFromString('--expose-gc');
    globalThis.gc = runInNewContext('gc') as NodeJS.GCFunction;
  }
  globalThis.gc();
}

/** Twice, with a pause: what a collection found to be garbage is given back beside the thread. */
async function memoryInUse(): Promise<number> {
  for (let i = 0; i < 2; i++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
