import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { KenshoError } from '@kensho/core';
import type { FuzzResult } from './driver.ts';
import { type FuzzAnswer, type FuzzAssignment, type RunOptions, SHARED_WORDS, Shared } from './thread.ts';

export interface WatchOptions extends RunOptions {
  /** URL of a module that exports `FUZZ_TARGETS`. @default Kensho's own */
  readonly module?: string;
  /** Ends the run early, with the result so far. */
  readonly signal?: AbortSignal;
  /** A case that takes longer has hung. @default 30 */
  readonly hangSeconds?: number;
  /** Told once a second. */
  readonly onProgress?: (cases: number, seed: number) => void;
}

const DEFAULT_HANG_SECONDS = 30;
/** What loading the target's code may take, on a busy machine. */
const LOADING_SECONDS = 60;
const LOOK_EVERY_MS = 1000;
/** Entries have this file's ending: sources run as they are, builds as built. */
const ENDING = path.extname(import.meta.filename);
const here = (name: string) => pathToFileURL(path.join(import.meta.dirname, `${name}${ENDING}`));

/**
 * Runs cases in a thread of their own, so that one which never ends is noticed and named. Throws KenshoError
 * FUZZ_FAILED where a case failed, FUZZ_HANG where one hung; both name its seed.
 */
export async function fuzzWatched(targetId: string, options: WatchOptions): Promise<FuzzResult> {
  const shared = new SharedArrayBuffer(4 * SHARED_WORDS);
  const state = new Int32Array(shared);
  Atomics.store(state, Shared.CASES, -1);
  const { seed, only, cases, seconds, growthLimitBytes, signal } = options;
  const assignment: FuzzAssignment = {
    module: options.module ?? here('targets').href,
    targetId,
    options: { seed, only, cases, seconds, growthLimitBytes },
    shared,
  };
  const worker = new Worker(here('worker'), {
    workerData: assignment,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const stop = () => void Atomics.store(state, Shared.STOP, 1);
  signal?.addEventListener('abort', stop);
  if (signal?.aborted === true) stop();
  let look: ReturnType<typeof setInterval> | undefined;
  try {
    const answer = await Promise.race([
      answerOf(worker),
      new Promise<never>((_, reject) => {
        look = watch(targetId, state, options, reject);
      }),
    ]);
    if ('result' in answer) return answer.result;
    throw new KenshoError('FUZZ_FAILED', answer.failure.reason);
  } finally {
    clearInterval(look);
    signal?.removeEventListener('abort', stop);
    await worker.terminate();
  }
}

function answerOf(worker: Worker): Promise<FuzzAnswer> {
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', (code) =>
      reject(new KenshoError('FUZZ_FAILED', `the cases' thread ended with ${code}`)),
    );
  });
}

/** Looks whether cases go on ending. */
function watch(
  targetId: string,
  state: Int32Array,
  { hangSeconds = DEFAULT_HANG_SECONDS, onProgress }: WatchOptions,
  reject: (error: Error) => void,
): ReturnType<typeof setInterval> {
  let cases = Atomics.load(state, Shared.CASES);
  let sinceMs = performance.now();
  return setInterval(
    () => {
      const now = Atomics.load(state, Shared.CASES);
      const patience = now < 0 ? Math.max(hangSeconds, LOADING_SECONDS) : hangSeconds;
      const seed = Atomics.load(state, Shared.SEED) >>> 0;
      if (now !== cases) {
        cases = now;
        sinceMs = performance.now();
        onProgress?.(cases, seed);
      } else if (performance.now() - sinceMs > patience * 1000) {
        const message = `${targetId}: case ${seed} has not ended for ${patience} s (run it again with --case ${seed})`;
        reject(new KenshoError('FUZZ_HANG', message));
      }
    },
    Math.min(LOOK_EVERY_MS, hangSeconds * 250),
  );
}
