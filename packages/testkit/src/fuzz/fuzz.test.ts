import { describe, expect, it } from 'vitest';
import { fuzz, replay } from './driver.ts';
import { FuzzFailure } from './target.ts';
import { FUZZ_TARGETS } from './targets.ts';
import { FUZZ_TARGETS as BROKEN_TARGETS } from './test-utils/broken-targets.ts';
import { fuzzWatched } from './watch.ts';

const BROKEN_MODULE = new URL('./test-utils/broken-targets.ts', import.meta.url).href;

function broken(id: string) {
  const target = BROKEN_TARGETS.find((one) => one.id === id);
  if (target === undefined) throw new Error(`no target ${id}`);
  return target;
}

async function failureOf(run: Promise<unknown>): Promise<Error> {
  return await run.then(
    () => expect.unreachable('it did not fail'),
    (error: Error) => error,
  );
}

describe.each(FUZZ_TARGETS)('fuzz target $id', (target) => {
  it('stands its corpus', async () => {
    for (const seed of target.corpus) await replay(target, seed);
  });

  it('stands 200 cases', async () => {
    expect(await fuzz(target, { seed: 2024, cases: 200 })).toMatchObject({ target: target.id, cases: 200 });
  });
});

describe('the driver', () => {
  it.each(['throws', 'rejects'])('names the case of a target that %s, which then fails again', async (id) => {
    const failure = await failureOf(fuzz(broken(id), { seed: 1, cases: 10_000 }));
    expect(failure).toBeInstanceOf(FuzzFailure);
    const { seed, message, cause } = failure as FuzzFailure;
    expect(message).toContain(`--case ${seed}`);
    expect(cause).toBeInstanceOf(RangeError);
    expect(await failureOf(replay(broken(id), seed))).toMatchObject({ seed });
    expect(await failureOf(fuzz(broken(id), { seed: 9, only: seed }))).toMatchObject({ seed });
  });

  it('runs the same cases for the same seed, and others for another', async () => {
    const seedsOf = async (seed: number) => {
      const seeds: number[] = [];
      await fuzz(FUZZ_TARGETS[0], { seed, cases: 5, onCase: (one) => seeds.push(one) });
      return seeds;
    };
    expect(await seedsOf(3)).toEqual(await seedsOf(3));
    expect(await seedsOf(3)).not.toEqual(await seedsOf(4));
  });

  it('fails where memory grows', async () => {
    const options = { seed: 1, cases: 30_000, growthLimitBytes: 4 * 2 ** 20 };
    expect((await failureOf(fuzz(broken('grows'), options))).message).toMatch(/memory grew by \d+ bytes/);
  });
});

describe('the watcher', () => {
  it('gives the result of cases in a thread', async () => {
    const result = await fuzzWatched('hypercall', { seed: 5, cases: 50 });
    expect(result).toMatchObject({ target: 'hypercall', seed: 5, cases: 50 });
  });

  it('passes on the failure of a case', async () => {
    const failure = await failureOf(fuzzWatched('throws', { seed: 1, cases: 10_000, module: BROKEN_MODULE }));
    expect(failure).toMatchObject({ code: 'FUZZ_FAILED' });
    expect(failure.message).toMatch(/--case \d+/);
  });

  it.each(['spins', 'waits'])('names the case of a target that %s, which then hangs again', async (id) => {
    const options = { module: BROKEN_MODULE, hangSeconds: 1 };
    const failure = await failureOf(fuzzWatched(id, { ...options, seed: 1, cases: 10_000 }));
    expect(failure).toMatchObject({ code: 'FUZZ_HANG' });
    const seed = Number(/--case (\d+)/.exec(failure.message)?.[1]);
    const again = await failureOf(fuzzWatched(id, { ...options, seed: 1, only: seed }));
    expect(again.message).toContain(`case ${seed} has not ended`);
  });

  it('ends early with the result so far when it is told to', async () => {
    const interruption = new AbortController();
    const running = fuzzWatched('hypercall', { seed: 1, signal: interruption.signal });
    setTimeout(() => interruption.abort(), 300);
    expect((await running).cases).toBeLessThan(1e6);
  });

  it('says so where there is no such target', async () => {
    const failure = await failureOf(fuzzWatched('nothing', { seed: 1 }));
    expect(failure.message).toMatch(/no fuzz target 'nothing'/);
  });
});
