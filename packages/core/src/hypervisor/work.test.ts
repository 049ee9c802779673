import { describe, expect, it } from 'vitest';
import { RealClock, VirtualClock } from '../clock.ts';
import { WorkQueue } from './work.ts';

/** Lets promise callbacks run. */
const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('tasks', () => {
  it('run in order, with those that they add, and not before run', () => {
    const work = new WorkQueue(new RealClock());
    const log: string[] = [];
    work.defer(() => {
      log.push('a');
      work.defer(() => log.push('c'));
    });
    work.defer(() => log.push('b'));
    expect(log).toEqual([]);
    expect(work.ready).toBe(true);
    expect(work.run()).toBe(false);
    expect(log).toEqual(['a', 'b', 'c']);
    expect(work.ready).toBe(false);
  });

  it('that add tasks for ever leave VPs their turn', () => {
    const work = new WorkQueue(new RealClock());
    let rounds = 0;
    const again = () => {
      rounds++;
      work.defer(again);
    };
    work.defer(again);
    expect(work.run()).toBe(true);
    expect(rounds).toBeLessThan(100);
    expect(work.ready).toBe(true);
  });

  it('that throw do not run again, and take none of the others with them', () => {
    const work = new WorkQueue(new RealClock());
    const log: string[] = [];
    work.defer(() => {
      work.defer(() => log.push('c'));
      log.push('a');
      throw new Error('broken');
    });
    work.defer(() => log.push('b'));
    expect(() => work.run()).toThrow('broken');
    expect(work.ready).toBe(true);
    expect(work.run()).toBe(false);
    work.defer(() => log.push('d'));
    work.run();
    expect(log).toEqual(['a', 'b', 'c', 'd']);
  });

  it('tell the listener', () => {
    const work = new WorkQueue(new RealClock());
    let told = 0;
    work.onDefer(() => told++);
    work.defer(() => {});
    expect(told).toBe(1);
  });
});

describe('completions with a real clock', () => {
  it('are inline where the result is there', () => {
    const work = new WorkQueue(new RealClock());
    const log: unknown[] = [];
    work.complete(5, (error, result) => log.push(error, result));
    expect(log).toEqual([undefined, 5]);
    expect(work.outstanding).toBe(0);
  });

  it('come as tasks, in the order in which operations end', async () => {
    const work = new WorkQueue(new RealClock());
    const log: unknown[] = [];
    const slow = Promise.withResolvers<string>();
    const fast = Promise.withResolvers<string>();
    work.complete(slow.promise, (_error, result) => log.push(result));
    work.complete(fast.promise, (_error, result) => log.push(result));
    expect(work.outstanding).toBe(2);
    expect(work.stalled).toBe(false);
    fast.resolve('fast');
    await settle();
    expect(log).toEqual([]);
    work.run();
    slow.resolve('slow');
    await settle();
    work.run();
    expect(log).toEqual(['fast', 'slow']);
    expect(work.outstanding).toBe(0);
  });

  it('carry errors, also those that are none', async () => {
    const work = new WorkQueue(new RealClock());
    const errors: (Error | undefined)[] = [];
    work.complete(Promise.reject(new RangeError('gone')), (error) => errors.push(error));
    work.complete(Promise.reject('text'), (error) => errors.push(error));
    await settle();
    work.run();
    expect(errors[0]).toBeInstanceOf(RangeError);
    expect(errors[1]).toBeInstanceOf(Error);
    expect(errors[1]?.message).toBe('text');
  });
});

describe('completions with a virtual clock', () => {
  it('come in the order in which operations began, and VPs stand still until then', async () => {
    const work = new WorkQueue(new VirtualClock());
    const log: unknown[] = [];
    const first = Promise.withResolvers<string>();
    work.complete(first.promise, (_error, result) => log.push(result));
    work.complete(Promise.resolve('second'), (_error, result) => log.push(result));
    work.complete('third', (_error, result) => log.push(result));
    await settle();
    expect(work.ready).toBe(false);
    expect(work.stalled).toBe(true);
    work.run();
    expect(log).toEqual([]);
    first.resolve('first');
    await settle();
    expect(work.ready).toBe(true);
    work.run();
    expect(log).toEqual(['first', 'second', 'third']);
    expect(work.stalled).toBe(false);
    expect(work.outstanding).toBe(0);
  });

  it('are inline where nothing is under way', () => {
    const work = new WorkQueue(new VirtualClock());
    const log: unknown[] = [];
    work.complete(1, (_error, result) => log.push(result));
    expect(log).toEqual([1]);
    expect(work.stalled).toBe(false);
  });
});

describe('wait', () => {
  it('ends at once where something is ready', async () => {
    const work = new WorkQueue(new RealClock());
    work.defer(() => {});
    await work.wait(Number.POSITIVE_INFINITY);
  });

  it('ends with a task, with a completion and with its time', async () => {
    const work = new WorkQueue(new RealClock());
    const deferred = work.wait(Number.POSITIVE_INFINITY);
    work.defer(() => {});
    await deferred;
    work.run();

    const operation = Promise.withResolvers<void>();
    work.complete(operation.promise, () => {});
    const completed = work.wait(Number.POSITIVE_INFINITY);
    operation.resolve();
    await completed;
    expect(work.ready).toBe(true);
    work.run();

    await work.wait(1);
    expect(work.ready).toBe(false);
  });

  it('wakes everyone who waits', async () => {
    const work = new WorkQueue(new RealClock());
    const waiting = Promise.all([work.wait(Number.POSITIVE_INFINITY), work.wait(60_000)]);
    work.defer(() => {});
    await waiting;
  });
});
