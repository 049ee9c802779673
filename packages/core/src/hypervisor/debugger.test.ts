import { describe, expect, it } from 'vitest';
import { RealClock, TimerQueue } from '../clock.ts';
import { Counters } from '../counters.ts';
import { PAGE_SIZE, PageArena } from '../memory/arena.ts';
import { GpaAccess, GpaSpace } from '../memory/gpa-space.ts';
import { type VirtualProcessor, VpExit } from '../processor/contract.ts';
import type { DebugPoint, ProcessorDebug } from '../processor/debug.ts';
import { type DebugStop, VpDebugger } from './debugger.ts';
import { PartitionRunner } from './run-loop.ts';
import { WorkQueue } from './work.ts';

/** VPs that leave their slices as a list says, and a note of who ran. */
function machine(exits: readonly VpExit[][]) {
  const clock = new RealClock();
  const ran: number[] = [];
  const steps: [vp: number, on: boolean][] = [];
  let points: readonly DebugPoint[] = [];
  const vps = exits.map((list, index) => {
    let retired = 0;
    const processor = {
      get instructionsRetired() {
        return retired;
      },
      run() {
        retired++;
        ran.push(index);
        return list.shift() ?? VpExit.ENDED;
      },
      requestExit: () => {},
    } as unknown as VirtualProcessor;
    return { index, processor, platform: { addRunTime: () => {} } };
  });
  const processor: ProcessorDebug = {
    setPoints(list) {
      points = list;
      return list.length < 3;
    },
    setStep: (vp, on) => void steps.push([vp, on]),
    stopOf: () => ({ reason: 'breakpoint' }),
    // The second page is not mapped.
    translate: (_vp, gva) => (gva >= PAGE_SIZE && gva < 2 * PAGE_SIZE ? -1 : Number(gva)),
    setBranchRecording: () => {},
    branches: () => [],
    setTrace: () => {},
  };
  const work = new WorkQueue(clock);
  const runner = new PartitionRunner({
    vps,
    timers: new TimerQueue(clock),
    work,
    counters: new Counters(),
    nsPerInstruction: 1,
  });
  const gpa = new GpaSpace(new PageArena(new ArrayBuffer(4 * PAGE_SIZE), 0, 4));
  gpa.map(0, gpa.arena.take(4), 4, GpaAccess.ALL);
  const made = new VpDebugger({ processor, runner, gpa });
  return { debug: made, runner, ran, steps, clock, points: () => points };
}

describe('the debugger of a partition', () => {
  it('is told of each stop, with VPs and time at rest, and lets them go on', async () => {
    const { debug, runner, clock, ran } = machine([[VpExit.BUDGET, VpExit.DEBUG, VpExit.BUDGET]]);
    const stops: DebugStop[] = [];
    const stopped = Promise.withResolvers<void>();
    debug.attach((stop) => {
      stops.push(stop);
      stopped.resolve();
    });
    const end = runner.run();
    await stopped.promise;
    await runner.pause();
    expect(stops).toEqual([{ reason: 'breakpoint', vpIndex: 0 }]);
    expect([debug.stopped, ran.length]).toEqual([true, 2]);
    const nowNs = clock.nowNs();
    await new Promise((resolve) => setTimeout(resolve, 2));
    expect(clock.nowNs()).toBe(nowNs);
    debug.resume();
    expect(await end).toEqual({ reason: 'guest-ended' });
  });

  it('may let VPs go on at once', async () => {
    const { debug, runner } = machine([[VpExit.DEBUG, VpExit.DEBUG]]);
    let stops = 0;
    debug.attach(() => {
      stops++;
      debug.resume();
    });
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
    expect(stops).toBe(2);
  });

  it('steps a VP behind a slice of each other, or alone', async () => {
    const { debug, runner, ran, steps } = machine([
      [VpExit.DEBUG, VpExit.DEBUG, VpExit.DEBUG],
      [VpExit.BUDGET, VpExit.BUDGET],
    ]);
    const moves = [
      () => debug.resume({ step: 0 }),
      () => debug.resume({ step: 0, only: 0 }),
      () => runner.stop(),
    ];
    debug.attach(() => moves.shift()?.());
    await runner.run();
    expect(ran).toEqual([0, 1, 0, 0]);
    expect(steps).toEqual([
      [0, true],
      [0, false],
      [0, true],
      [0, false],
    ]);
  });

  it('hears of a triple fault before it ends the run', async () => {
    const { debug, runner } = machine([[VpExit.TRIPLE_FAULT, VpExit.TRIPLE_FAULT]]);
    const stops: DebugStop[] = [];
    debug.attach((stop) => {
      stops.push(stop);
      debug.resume();
    });
    expect(await runner.run()).toEqual({ reason: 'triple-fault', vpIndex: 0 });
    expect(stops).toEqual([{ reason: 'triple-fault', vpIndex: 0 }]);
  });

  it('stops a run from outside, and is one at a time', async () => {
    const { debug, runner, points } = machine([Array.from({ length: 1e6 }, () => VpExit.BUDGET)]);
    const stopped = Promise.withResolvers<DebugStop>();
    debug.attach(stopped.resolve);
    expect(() => debug.attach(() => {})).toThrow('detach it first');
    expect(debug.setPoints([{ kind: 'execute', address: 1n, sizeBytes: 1 }])).toBe(true);
    const end = runner.run();
    debug.pause();
    expect(await stopped.promise).toEqual({ reason: 'pause' });
    debug.detach();
    expect(points()).toEqual([]);
    expect(runner.paused).toBe(false);
    runner.stop();
    expect(await end).toEqual({ reason: 'stopped' });
  });

  it('reads and writes memory as far as it is there', () => {
    const { debug } = machine([[]]);
    expect(debug.writeMemory(0, BigInt(PAGE_SIZE - 2), Uint8Array.of(1, 2, 3))).toBe(2);
    const bytes = new Uint8Array(4);
    expect(debug.readMemory(0, BigInt(PAGE_SIZE - 2), bytes)).toBe(2);
    expect([...bytes]).toEqual([1, 2, 0, 0]);
    expect(debug.readMemory(0, BigInt(PAGE_SIZE), bytes)).toBe(0);
    expect(debug.readMemory(0, BigInt(3 * PAGE_SIZE - 2), bytes)).toBe(4);
    expect(debug.readMemory(0, 0xffff_ffff_ffff_fffen, bytes)).toBe(0);
  });

  it('needs a processor that can be debugged', () => {
    const { runner } = machine([[]]);
    const gpa = new GpaSpace(new PageArena(new ArrayBuffer(PAGE_SIZE), 0, 1));
    const debug = new VpDebugger({ processor: undefined, runner, gpa });
    expect(() => debug.attach(() => {})).toThrow('cannot be debugged');
    expect(debug.setPoints([])).toBe(false);
    expect(debug.readMemory(0, 0n, new Uint8Array(1))).toBe(0);
  });
});
