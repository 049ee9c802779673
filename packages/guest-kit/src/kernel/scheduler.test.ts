import { GuestEvent, type GuestTask } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { Scheduler } from './scheduler.ts';

const interrupts = { cli: () => {}, sti: () => {} };

describe('Scheduler', () => {
  it('runs tasks in turns, lets them wait, and halts when all do', () => {
    const log: string[] = [];
    const event = new GuestEvent();
    let finished = false;
    const scheduler = new Scheduler(() => {});
    scheduler.spawn(
      'waiter',
      (function* (): GuestTask {
        log.push('waits');
        yield* event.wait();
        log.push('woken');
        finished = true;
      })(),
    );
    scheduler.spawn(
      'worker',
      (function* (): GuestTask {
        for (let i = 0; i < 2; i++) {
          log.push(`works ${i}`);
          yield undefined;
        }
      })(),
    );
    const steps: (string | undefined)[] = [];
    for (const step of scheduler.run(interrupts, () => finished)) {
      steps.push(step);
      if (step === 'hlt') event.set();
    }
    expect(log).toEqual(['waits', 'works 0', 'works 1', 'woken']);
    expect(steps.filter((step) => step === 'hlt')).toHaveLength(1);
  });

  it('looks for work and halts with interrupts off', () => {
    const scheduler = new Scheduler(() => {});
    let on = true;
    let finished = false;
    const loop = scheduler.run(
      {
        cli: () => {
          on = false;
        },
        sti: () => {
          // An interrupt that comes with STI's successor, HLT, must find the work queue ready for it.
          expect(on).toBe(false);
          on = true;
        },
      },
      () => finished,
    );
    expect(loop.next().value).toBe('hlt');
    expect(on).toBe(true);
    finished = true;
    expect(loop.next().done).toBe(true);
  });

  it('reports a task that throws, and goes on', () => {
    const failures: unknown[] = [];
    let after = false;
    const scheduler = new Scheduler((name, error) => failures.push([name, (error as Error).message]));
    scheduler.spawn(
      'bad',
      (function* (): GuestTask {
        throw new Error('no');
      })(),
    );
    scheduler.spawn(
      'good',
      (function* (): GuestTask {
        after = true;
      })(),
    );
    for (const _ of scheduler.run(interrupts, () => after)) {
    }
    expect(failures).toEqual([['bad', 'no']]);
  });
});
