import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { RealClock, type Timer, TimerQueue, VirtualClock } from './clock.ts';

describe('RealClock', () => {
  afterEach(() => vi.restoreAllMocks());

  test('leaves out the time for which it was paused', () => {
    const hostMs = vi.spyOn(performance, 'now').mockReturnValue(1000);
    const clock = new RealClock();
    const at = (ms: number) => {
      hostMs.mockReturnValue(1000 + ms);
      return clock.nowNs();
    };
    expect(at(5)).toBe(5e6);
    clock.pause();
    expect(at(60)).toBe(5e6);
    clock.pause();
    expect(at(70)).toBe(5e6);
    clock.resume();
    expect(at(70)).toBe(5e6);
    clock.resume();
    expect(at(72)).toBe(7e6);
  });
});

describe('TimerQueue', () => {
  test('agrees with a sorted list, whatever is set, cancelled and run', () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), inNs: fc.integer({ min: -5, max: 100 }) }),
      fc.record({ kind: fc.constant('cancel' as const), which: fc.nat() }),
      fc.record({ kind: fc.constant('advance' as const), ns: fc.nat(10) }),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200, size: 'max' }), (commands) => {
        const clock = new VirtualClock();
        const queue = new TimerQueue(clock);
        const handles: Timer[] = [];
        let model: { id: number; atNs: number }[] = [];
        const ran: number[] = [];
        const expected: number[] = [];
        for (const step of commands) {
          if (step.kind === 'set') {
            const id = handles.length;
            const atNs = clock.nowNs() + step.inNs;
            handles.push(queue.at(atNs, () => ran.push(id)));
            model.push({ id, atNs });
          } else if (step.kind === 'cancel' && handles.length > 0) {
            const id = step.which % handles.length;
            handles[id].cancel();
            model = model.filter((entry) => entry.id !== id);
          } else if (step.kind === 'advance') {
            clock.advance(step.ns);
            queue.runDue();
            const due = model.filter((entry) => entry.atNs <= clock.nowNs());
            model = model.filter((entry) => entry.atNs > clock.nowNs());
            due.sort((a, b) => a.atNs - b.atNs || a.id - b.id);
            expected.push(...due.map((entry) => entry.id));
          }
          expect(queue.nextNs()).toBe(
            Math.min(Number.POSITIVE_INFINITY, ...model.map((entry) => entry.atNs)),
          );
          expect(ran).toEqual(expected);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('what a callback sets for now waits for the next run', () => {
    const queue = new TimerQueue(new VirtualClock());
    const ran: string[] = [];
    queue.at(0, () => {
      ran.push('first');
      queue.at(0, () => ran.push('set by the first'));
    });
    queue.runDue();
    expect(ran).toEqual(['first']);
    queue.runDue();
    expect(ran).toEqual(['first', 'set by the first']);
  });

  test('a callback can cancel one that is due in the same run', () => {
    const queue = new TimerQueue(new VirtualClock());
    const ran: string[] = [];
    queue.at(0, () => second.cancel());
    const second = queue.at(0, () => ran.push('second'));
    queue.runDue();
    expect(ran).toEqual([]);
    second.cancel();
    expect(queue.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });
});
