import { parentPort, workerData } from 'node:worker_threads';
import { fuzz } from './driver.ts';
import type { FuzzTarget } from './target.ts';
import { type FuzzAnswer, type FuzzAssignment, Shared } from './thread.ts';

/** The thread in which cases run. A case that never ends keeps this one busy, and whoever watches names it. */
const { module, targetId, options, shared } = workerData as FuzzAssignment;
const state = new Int32Array(shared);

async function work(): Promise<FuzzAnswer> {
  const targets: { readonly FUZZ_TARGETS: readonly FuzzTarget[] } = await import(module);
  const target = targets.FUZZ_TARGETS.find(({ id }) => id === targetId);
  if (target === undefined) return { failure: { reason: `${module} has no fuzz target '${targetId}'` } };
  try {
    const result = await fuzz(target, {
      ...options,
      onCase(seed, casesBefore) {
        Atomics.store(state, Shared.SEED, seed);
        Atomics.store(state, Shared.CASES, casesBefore);
      },
      stopped: () => Atomics.load(state, Shared.STOP) !== 0,
    });
    return { result };
  } catch (error) {
    return { failure: { reason: error instanceof Error ? error.message : String(error) } };
  }
}

// Where a case fails shows when it is run again: errors are part of many cases, and their stacks cost more than they do.
if (options.only === undefined) Error.stackTraceLimit = 0;
// A case that waits for ever must not look like a thread with nothing left to do.
const alive = setInterval(() => {}, 2 ** 30);
parentPort?.postMessage(await work());
clearInterval(alive);
