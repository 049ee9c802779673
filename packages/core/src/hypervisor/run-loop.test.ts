import { describe, expect, it } from 'vitest';
import { type Clock, RealClock, TimerQueue, VirtualClock } from '../clock.ts';
import { Counters } from '../counters.ts';
import type { VpIntercepts } from '../processor/contract.ts';
import { PartitionRunner, type PartitionRunnerOptions } from './run-loop.ts';
import { haltForever, type Script, ScriptedVp } from './test-utils/scripted-processor.ts';
import { WorkQueue } from './work.ts';

/** Pending vectors of each VP: all that these tests need of a local APIC. */
function machine(clock: Clock, scripts: readonly Script[], options: Partial<PartitionRunnerOptions> = {}) {
  const timers = new TimerQueue(clock);
  const work = new WorkQueue(clock);
  const counters = new Counters();
  const runTimeNs = scripts.map(() => 0);
  const pending: number[][] = scripts.map(() => []);
  const vps = scripts.map((script, index) => {
    const acknowledgeInterrupt = () => pending[index].shift() ?? -1;
    return new ScriptedVp(index, { acknowledgeInterrupt } as VpIntercepts, script);
  });
  const runner = new PartitionRunner({
    vps: vps.map((processor, index) => ({
      index,
      processor,
      platform: { addRunTime: (ns: number) => (runTimeNs[index] += ns) },
    })),
    timers,
    work,
    counters,
    nsPerInstruction: 2,
    sliceInstructions: 1000,
    ...options,
  });
  const interrupt = (index: number, vector: number) => {
    pending[index].push(vector);
    vps[index].setInterruptPending(true);
  };
  return { timers, work, counters, runner, vps, interrupt, runTimeNs };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('with a virtual clock', () => {
  it('time is made of retired instructions, also within a slice', async () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    const { runner, runTimeNs } = machine(clock, [
      function* () {
        seen.push(clock.nowNs());
        yield 10;
        seen.push(clock.nowNs());
        yield 2500;
        seen.push(clock.nowNs());
      },
    ]);
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
    expect(seen).toEqual([0, 20, 5020]);
    expect(clock.nowNs()).toBe(5020);
    expect(runTimeNs).toEqual([5020]);
  });

  it('a slice ends at the next deadline', async () => {
    const clock = new VirtualClock();
    const { runner, timers, counters } = machine(clock, [
      function* () {
        yield 5000;
      },
    ]);
    const firedNs: number[] = [];
    timers.at(100, () => firedNs.push(clock.nowNs()));
    timers.at(777, () => firedNs.push(clock.nowNs()));
    await runner.run();
    // Instructions take 2 ns: 777 is within one.
    expect(firedNs).toEqual([100, 778]);
    expect(counters.counter('run.instructions').value).toBe(5000);
  });

  it('does what waits for idle VPs when all of them are, before it sleeps', async () => {
    const clock = new VirtualClock();
    const seen: number[] = [];
    const { runner, work, timers, interrupt } = machine(clock, [
      function* () {
        yield 100;
        work.whenIdle(() => {
          seen.push(clock.nowNs());
          interrupt(0, 0x30);
        });
        yield 3000;
        yield 'halt';
        seen.push(clock.nowNs());
      },
    ]);
    timers.at(1e6, () => {});
    await runner.run();
    expect(seen).toEqual([6202, 6202]);
  });

  it('is sampled each time so many instructions retired, whatever ends the slices', async () => {
    const clock = new VirtualClock();
    const { runner, timers } = machine(clock, [
      function* () {
        yield 5000;
      },
    ]);
    timers.at(300, () => {});
    const samples: [vpIndex: number, ns: number][] = [];
    runner.sample(1500, (vpIndex) => samples.push([vpIndex, clock.nowNs()]));
    await runner.run();
    expect(samples).toEqual([
      [0, 3000],
      [0, 6000],
      [0, 9000],
    ]);
  });

  it('a deadline that an intercept sets ends the slice in time', async () => {
    const clock = new VirtualClock();
    let firedNs = 0;
    const { runner, timers } = machine(clock, [
      function* () {
        yield 10;
        timers.at(clock.nowNs() + 60, () => (firedNs = clock.nowNs()));
        yield 5000;
      },
    ]);
    await runner.run();
    expect(firedNs).toBe(80);
  });

  it('idle VPs skip to the next deadline', async () => {
    const clock = new VirtualClock();
    const { runner, timers, interrupt, counters } = machine(clock, [
      function* () {
        yield 'halt';
        yield 'halt';
      },
    ]);
    timers.at(1e9, () => interrupt(0, 0x30));
    timers.at(3600e9, () => interrupt(0, 0x31));
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
    expect(clock.nowNs()).toBe(3600e9);
    expect(counters.counter('intercept.halt').value).toBe(2);
    expect(counters.counter('run.idle').value).toBe(2);
    expect(counters.counter('run.idle.ns').value).toBe(3600e9 - 4);
  });

  it('VPs stand still while I/O is under way, so that the guest sees the same time however long it takes', async () => {
    const clock = new VirtualClock();
    let doneNs = 0;
    const { runner, work, vps } = machine(clock, [
      function* () {
        yield 50;
        const slow = new Promise<number>((resolve) => setTimeout(() => resolve(7), 5));
        work.complete(slow, () => (doneNs = clock.nowNs()));
        vps[0].requestExit();
        yield 1000;
      },
    ]);
    await runner.run();
    expect(doneNs).toBe(100);
    expect(clock.nowNs()).toBe(2100);
  });

  it('a guest that nothing can wake waits for somebody outside', async () => {
    const clock = new VirtualClock();
    const { runner, vps } = machine(clock, [haltForever]);
    const end = runner.run();
    for (let i = 0; i < 20; i++) await turn();
    const { slices } = vps[0];
    for (let i = 0; i < 20; i++) await turn();
    expect(vps[0].slices).toBe(slices);
    runner.stop();
    expect(await end).toEqual({ reason: 'stopped' });
  });

  it('a halted guest with interrupts off and a timer that ticks for ever does not keep the host busy', async () => {
    const clock = new VirtualClock();
    let ticks = 0;
    const { runner, timers, interrupt } = machine(clock, [
      function* (vp) {
        vp.interruptsEnabled = false;
        yield 'halt';
      },
    ]);
    const tick = () => {
      ticks++;
      interrupt(0, 0x40);
      timers.at(clock.nowNs() + 4e9, tick);
    };
    timers.at(0, tick);
    const end = runner.run();
    for (let i = 0; i < 200; i++) await turn();
    // The first thousand are free, the next takes four seconds of real time.
    const settled = ticks;
    for (let i = 0; i < 200; i++) await turn();
    expect(ticks).toBe(settled);
    expect(ticks).toBeGreaterThan(900);
    runner.stop();
    await end;
  });

  it('two runs are the same', async () => {
    const trace = async () => {
      const clock = new VirtualClock();
      const log: string[] = [];
      const { runner, timers, work, interrupt } = machine(clock, [
        function* (vp) {
          for (let i = 0; i < 20; i++) {
            yield 333 * (i + 1);
            work.complete(new Promise((resolve) => setImmediate(resolve)), () => {
              log.push(`io ${clock.nowNs()}`);
              interrupt(1, 0x50 + i);
            });
            vp.requestExit();
          }
        },
        function* (vp) {
          for (;;) {
            yield 'halt';
            log.push(`woken ${vp.taken.at(-1)} ${clock.nowNs()}`);
          }
        },
      ]);
      for (let at = 0; at < 20_000; at += 700) timers.at(at, () => log.push(`timer ${at} ${clock.nowNs()}`));
      await runner.run();
      return log;
    };
    const first = await trace();
    expect(first.length).toBeGreaterThan(40);
    expect(await trace()).toEqual(first);
  });
});

describe('several VPs', () => {
  it('take turns, slice by slice', async () => {
    const order: number[] = [];
    const busy = (count: number): Script =>
      function* (vp) {
        for (let i = 0; i < count; i++) {
          order.push(vp.index);
          yield 1000;
        }
      };
    const { runner } = machine(new VirtualClock(), [busy(4), busy(9), busy(9)]);
    await runner.run();
    expect(order.slice(0, 9)).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2]);
  });

  it('a spin loop lets the others run first', async () => {
    let released = false;
    let spins = 0;
    const { runner } = machine(new VirtualClock(), [
      function* () {
        while (!released) {
          spins++;
          yield 'pause';
        }
      },
      function* () {
        yield 2500;
        released = true;
        yield* haltForever();
      },
    ]);
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
    expect(spins).toBe(3);
  });

  it('one that halts after waking another does not put both to sleep', async () => {
    const { runner, interrupt } = machine(new VirtualClock(), [
      function* () {
        for (let i = 0; i < 5; i++) {
          yield 'halt';
          interrupt(1, 0x30 + i);
        }
        yield 'halt';
      },
      function* () {
        for (let i = 0; i < 5; i++) {
          interrupt(0, 0x30 + i);
          yield 'halt';
        }
      },
    ]);
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
  });
});

describe('work', () => {
  it('that an intercept defers ends the slice and runs before the VP goes on', async () => {
    const log: string[] = [];
    const { runner, work } = machine(new VirtualClock(), [
      function* () {
        yield 10;
        work.defer(() => log.push('work'));
        log.push('intercept');
        yield 10;
        log.push('guest');
      },
    ]);
    await runner.run();
    expect(log).toEqual(['intercept', 'work', 'guest']);
  });

  it('wakes halted VPs', async () => {
    const { runner, work, interrupt, vps } = machine(new RealClock(), [
      function* () {
        yield 'halt';
      },
    ]);
    const end = runner.run();
    await turn();
    work.defer(() => interrupt(0, 0x77));
    expect(await end).toEqual({ reason: 'guest-ended' });
    expect(vps[0].taken).toEqual([0x77]);
  });

  it('that adds work for ever does not keep VPs from running', async () => {
    const { runner, work } = machine(new VirtualClock(), [
      function* () {
        yield 3000;
      },
    ]);
    const again = () => work.defer(again);
    again();
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
  });
});

describe('with a real clock', () => {
  it('idle VPs wait for their deadline', async () => {
    const clock = new RealClock();
    const { runner, timers, interrupt, counters } = machine(clock, [
      function* () {
        yield 'halt';
        yield 'halt';
      },
    ]);
    const startNs = clock.nowNs();
    timers.at(startNs + 3e6, () => interrupt(0, 0x30));
    timers.at(startNs + 3.2e6, () => interrupt(0, 0x31));
    await runner.run();
    expect(clock.nowNs() - startNs).toBeGreaterThanOrEqual(3.2e6);
    expect(counters.counter('run.idle.ns').value).toBeGreaterThan(0);
  });

  it('a busy guest leaves the event loop its turns, and I/O completes', async () => {
    let done = false;
    const { runner, work } = machine(new RealClock(), [
      function* () {
        work.complete(new Promise((resolve) => setTimeout(resolve, 2)), () => (done = true));
        while (!done) yield 100;
      },
    ]);
    expect(await runner.run()).toEqual({ reason: 'guest-ended' });
  });
});

describe('from outside', () => {
  it('pause lets VPs and virtual time stand still until resume', async () => {
    const clock = new VirtualClock();
    let go = true;
    const { runner, vps, work } = machine(clock, [
      function* () {
        while (go) yield 100;
      },
    ]);
    const end = runner.run();
    await runner.pause();
    expect(runner.paused).toBe(true);
    const nowNs = clock.nowNs();
    const { slices } = vps[0];
    let served = false;
    work.defer(() => (served = true));
    for (let i = 0; i < 10; i++) await turn();
    expect(clock.nowNs()).toBe(nowNs);
    expect(vps[0].slices).toBe(slices);
    expect(served).toBe(true);
    runner.resume();
    await turn();
    expect(clock.nowNs()).toBeGreaterThan(nowNs);
    go = false;
    expect(await end).toEqual({ reason: 'guest-ended' });
  });

  it('a real clock stands still from the rest of the last VP to its resumption, and listeners hear of both', async () => {
    const clock = new RealClock();
    const heard: boolean[] = [];
    const { runner } = machine(clock, [haltForever], { onPaused: (paused) => heard.push(paused) });
    const end = runner.run();
    await runner.pause();
    await runner.pause();
    const nowNs = clock.nowNs();
    await turn();
    expect(clock.nowNs()).toBe(nowNs);
    runner.resume();
    runner.resume();
    expect(heard).toEqual([true, false]);
    await runner.pause();
    runner.stop();
    await end;
    expect(heard).toEqual([true, false, true, false]);
    expect(clock.nowNs()).toBeGreaterThan(nowNs);
  });

  it('stop ends a paused run, and the first end is the one that counts', async () => {
    const { runner } = machine(new VirtualClock(), [haltForever]);
    const end = runner.run();
    await runner.pause();
    runner.end({ reason: 'power-off' });
    runner.stop();
    expect(await end).toEqual({ reason: 'power-off' });
    expect(runner.running).toBe(false);
  });

  it('one run at a time; another one may follow', async () => {
    const { runner } = machine(new VirtualClock(), [haltForever]);
    const first = runner.run();
    await expect(runner.run()).rejects.toMatchObject({ code: 'ALREADY_RUNNING' });
    runner.stop();
    await first;
    const second = runner.run();
    runner.stop();
    expect(await second).toEqual({ reason: 'stopped' });
  });

  it('a triple fault names its VP', async () => {
    const { runner } = machine(new VirtualClock(), [
      haltForever,
      function* () {
        yield 5;
        yield 'triple-fault';
      },
    ]);
    expect(await runner.run()).toEqual({ reason: 'triple-fault', vpIndex: 1 });
  });

  it('what a device throws ends the run with its error, and the runner can run again', async () => {
    const { runner, work } = machine(new VirtualClock(), [haltForever]);
    work.defer(() => {
      throw new Error('a bug of ours');
    });
    await expect(runner.run()).rejects.toThrow('a bug of ours');
    expect(runner.running).toBe(false);
  });

  it('without VPs there is nothing to run', async () => {
    const { runner } = machine(new VirtualClock(), []);
    await expect(runner.run()).rejects.toMatchObject({ code: 'NO_VPS' });
  });

  it('serve leaves the work to a run that is under way, and takes over where that ends', async () => {
    const { runner, work } = machine(new RealClock(), [
      function* () {
        for (;;) yield 100;
      },
    ]);
    const end = runner.run();
    const { promise: removed, resolve } = Promise.withResolvers<string>();
    const chain = (left: number) => work.defer(() => (left > 0 ? chain(left - 1) : resolve('removed')));
    chain(100);
    expect(await runner.serve(removed)).toBe('removed');
    const { promise: late, resolve: resolveLate } = Promise.withResolvers<string>();
    const serving = runner.serve(late);
    runner.stop();
    expect(await end).toEqual({ reason: 'stopped' });
    work.defer(() => resolveLate('late'));
    expect(await serving).toBe('late');
  });

  it('serve runs work while the partition does not', async () => {
    for (const clock of [new RealClock(), new VirtualClock()]) {
      const { runner, work } = machine(clock, [haltForever]);
      const stopped = new Promise<string>((resolve) => {
        work.complete(new Promise((io) => setTimeout(io, 1)), () => work.defer(() => resolve('stopped')));
      });
      expect(await runner.serve(stopped)).toBe('stopped');
      await expect(runner.serve(Promise.reject(new Error('failed')))).rejects.toThrow('failed');
    }
  });
});
