import { Random } from '../random.ts';
import { FuzzFailure, type FuzzTarget } from './target.ts';

export interface FuzzOptions {
  /** First case's seed comes from this one. */
  readonly seed: number;
  /** Ends after that many cases. @default no bound */
  readonly cases?: number;
  /** Ends after that time. @default no bound */
  readonly seconds?: number;
  /** Told now and then, before a case begins. */
  readonly onProgress?: (progress: FuzzProgress) => void;
}

export interface FuzzProgress {
  readonly cases: number;
  /** The case that begins now: what to look at should it never end. */
  readonly nextCase: number;
  readonly heapBytes: number;
}

export interface FuzzResult {
  readonly cases: number;
  readonly seconds: number;
  /** Memory in use after a tenth of the cases and at the end, garbage collected where that can be asked for. */
  readonly heapBytesEarly: number;
  readonly heapBytesEnd: number;
}

/** How many cases pass between two looks at the clock. */
const BATCH = 256;

/** Runs cases of a target until a bound is reached. Throws FuzzFailure at the first case that fails. */
export async function fuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const subject = target.create();
  const seeds = new Random(options.seed);
  const limit = options.cases ?? Number.POSITIVE_INFINITY;
  const startMs = performance.now();
  const elapsed = () => (performance.now() - startMs) / 1000;
  const seconds = options.seconds ?? Number.POSITIVE_INFINITY;
  let cases = 0;
  let early: number | undefined;
  const share = () => Math.max(cases / limit, elapsed() / seconds);
  while (cases < limit && elapsed() < seconds) {
    if (early === undefined && share() >= 0.1) early = memoryInUse();
    const nextCase = seeds.u32();
    options.onProgress?.({ cases, nextCase, heapBytes: process.memoryUsage().heapUsed });
    await runCase(target, subject, nextCase);
    cases++;
    for (let i = 1; i < BATCH && cases < limit; i++, cases++) await runCase(target, subject, seeds.u32());
  }
  return { cases, seconds: elapsed(), heapBytesEarly: early ?? memoryInUse(), heapBytesEnd: memoryInUse() };
}

/** Runs one case on a subject of its own. Throws FuzzFailure. */
export async function replay(target: FuzzTarget, seed: number): Promise<void> {
  await runCase(target, target.create(), seed);
}

async function runCase(target: FuzzTarget, subject: ReturnType<FuzzTarget['create']>, seed: number) {
  try {
    const pending = subject.run(new Random(seed));
    if (pending instanceof Promise) await pending;
  } catch (cause) {
    throw new FuzzFailure(target.id, seed, cause);
  }
}

function memoryInUse(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
