import { setImmediate as nextEventLoopTurn } from 'node:timers/promises';
import { type TimerQueue, VirtualClock } from '../clock.ts';
import type { Counter, Counters } from '../counters.ts';
import { assert, KenshoError } from '../errors.ts';
import { type VirtualProcessor, VpExit } from '../processor/contract.ts';
import type { PartitionEnd } from './services.ts';
import type { WorkQueue } from './work.ts';

/** A VP as the run loop drives it. */
export interface RunnableVp {
  readonly index: number;
  readonly processor: VirtualProcessor;
  readonly platform: { addRunTime(ns: number): void };
}

/** What the run loop of a partition stands on. */
export interface PartitionRunnerOptions {
  readonly vps: readonly RunnableVp[];
  readonly timers: TimerQueue;
  readonly work: WorkQueue;
  readonly counters: Counters;
  /** What one retired instruction adds to a virtual clock. */
  readonly nsPerInstruction: number;
  /** Instructions of one slice. @default 50000 */
  readonly sliceInstructions?: number;
  /** Called when VPs and time have come to a stand, and when they go on. @default nobody */
  onPaused?(paused: boolean): void;
}

/** Which VPs a resumed run begins with; see {@link PartitionRunner.resume}. */
export interface ResumeOptions {
  /** The VP whose turn comes last. */
  readonly last?: number;
  /** The one VP that runs. */
  readonly only?: number;
}

/** Long enough that entering the processor costs nothing, short enough that timers of a real clock are on time. */
const SLICE_INSTRUCTIONS = 50_000;

/**
 * Rounds of the loop between turns of the host's event loop, in which I/O completes and signals arrive. A turn takes
 * about 3 µs, as much as 300 intercepts: too much for each of the short slices of a guest that does I/O, little beside
 * a full slice, which counts for several. While I/O is under way its completion is worth a turn sooner.
 */
const ROUNDS_BETWEEN_TURNS = 64;
const ROUNDS_BETWEEN_TURNS_WITH_IO = 4;
const ROUNDS_OF_FULL_SLICE = 4;

/** Deadlines that idle VPs may skip to in a row without one of them waking, before skipping takes the time it spans. */
const FRUITLESS_SKIPS = 1000;

/** Whom to tell where the guest is, and after how many instructions next. */
interface Sampler {
  readonly everyInstructions: number;
  readonly onSample: (vpIndex: number) => void;
  left: number;
}

/** Host timers are no finer than this, and a longer delay than the second overflows them. */
const TIMER_GRAIN_MS = 1;
const TIMER_MAX_MS = 0x7fffffff;

/**
 * Runs one partition on the current thread: due timers, deferred work, then a slice of one VP after another, in
 * turns. A slice ends at its budget, when the VP halts or waits in a spin loop, or when an intercept deferred work.
 *
 * With a real clock, idle VPs wait for the next deadline or for I/O. With a virtual clock time is made of retired
 * instructions: a slice ends at the next deadline, idle VPs skip to it, and VPs stand still while I/O is under way,
 * so that a run depends on nothing but its inputs. Slices of several VPs follow one another in virtual time.
 *
 * Counts `run.slices`, `run.instructions`, `run.idle`, `run.idle.ns` and `intercept.halt`.
 */
export class PartitionRunner {
  readonly #vps: readonly RunnableVp[];
  readonly #timers: TimerQueue;
  readonly #work: WorkQueue;
  readonly #clock: VirtualClock | undefined;
  readonly #nsPerInstruction: number;
  readonly #sliceInstructions: number;
  readonly #slices: Counter;
  readonly #instructions: Counter;
  readonly #idles: Counter;
  readonly #idleNs: Counter;
  readonly #halts: Counter;
  readonly #onPaused: (paused: boolean) => void;

  /** Resolves when the run that is under way ends. */
  #ended: PromiseWithResolvers<void> | undefined;
  #end: PartitionEnd | undefined;
  #paused = false;
  #resting = false;
  #rested: PromiseWithResolvers<void> | undefined;

  /** The VP whose slice runs, and where it began. */
  #current: RunnableVp | undefined;
  #retiredBefore = 0;
  #deadlineNs = 0;
  readonly #elapsedNs: () => number;

  #turn = 0;
  #only: number | undefined;
  #onDebugExit: ((vpIndex: number, exit: VpExit) => boolean) | undefined;
  /** VPs in a row that halted with nothing to wake them. */
  #halted = 0;
  #rounds = 0;
  #skips = 0;
  #sampler: Sampler | undefined;

  constructor(options: PartitionRunnerOptions) {
    const { timers, counters } = options;
    this.#vps = options.vps;
    this.#timers = timers;
    this.#work = options.work;
    if (timers.clock.virtual) {
      assert(timers.clock instanceof VirtualClock, 'a virtual clock is one that the run loop can advance');
      this.#clock = timers.clock;
    }
    this.#nsPerInstruction = options.nsPerInstruction;
    this.#onPaused = (paused) => options.onPaused?.(paused);
    this.#sliceInstructions = options.sliceInstructions ?? SLICE_INSTRUCTIONS;
    this.#slices = counters.counter('run.slices');
    this.#instructions = counters.counter('run.instructions');
    this.#idles = counters.counter('run.idle');
    this.#idleNs = counters.counter('run.idle.ns');
    this.#halts = counters.counter('intercept.halt');
    this.#elapsedNs = () => {
      const vp = this.#current as RunnableVp;
      return (vp.processor.instructionsRetired - this.#retiredBefore) * this.#nsPerInstruction;
    };
    this.#work.onDefer(() => this.#current?.processor.requestExit());
    timers.onEarliest(() => {
      const early = this.#clock !== undefined && timers.nextNs() < this.#deadlineNs;
      if (early) this.#current?.processor.requestExit();
    });
  }

  /** Whether {@link run} is under way. */
  get running(): boolean {
    return this.#ended !== undefined;
  }

  /** Resolves when no run is under way. */
  async whenEnded(): Promise<void> {
    await this.#ended?.promise;
  }

  /**
   * Tells a debugger, the one listener, that a VP's slice ended with VpExit.DEBUG or TRIPLE_FAULT. Where it says so,
   * that pauses the run instead of going on or ending it.
   */
  onDebugExit(listener: ((vpIndex: number, exit: VpExit) => boolean) | undefined): void {
    this.#onDebugExit = listener;
  }

  /** Whether VPs stand still, or are about to, until {@link resume}. */
  get paused(): boolean {
    return this.#paused;
  }

  /**
   * Runs until the partition ends. One at a time: throws KenshoError ALREADY_RUNNING. What a device or the hypervisor
   * itself throws ends the run with that error.
   */
  async run(): Promise<PartitionEnd> {
    if (this.running) throw new KenshoError('ALREADY_RUNNING', 'the partition is running: stop it first');
    if (this.#vps.length === 0) throw new KenshoError('NO_VPS', 'the partition has no VP: create one first');
    const ended = Promise.withResolvers<void>();
    this.#ended = ended;
    this.#end = undefined;
    this.#halted = 0;
    try {
      for (;;) {
        this.#runDueWork();
        if (this.#end !== undefined) return this.#end;
        if (this.#paused) {
          this.#rest();
          await this.#work.wait(Number.POSITIVE_INFINITY);
        } else if (this.#work.stalled) {
          await this.#work.wait(Number.POSITIVE_INFINITY);
        } else if (this.#halted < this.#vps.length) {
          this.#runSlice();
        } else if (this.#work.runWhenIdle()) {
          this.#halted = 0;
        } else {
          await this.#idle();
        }
        const turn = this.#work.outstanding > 0 ? ROUNDS_BETWEEN_TURNS_WITH_IO : ROUNDS_BETWEEN_TURNS;
        if (++this.#rounds >= turn) {
          this.#rounds = 0;
          await nextEventLoopTurn();
        }
      }
    } finally {
      this.#ended = undefined;
      this.#current = undefined;
      this.#clock?.setSlice(undefined);
      this.#goOn();
      this.#rested?.resolve();
      ended.resolve();
    }
  }

  /**
   * Calls back each time so many instructions have retired, all VPs together, between two instructions of the VP that
   * is named: its registers say where the guest is. One at a time; undefined ends it.
   */
  sample(everyInstructions: number, onSample: ((vpIndex: number) => void) | undefined): void {
    assert(everyInstructions >= 1, 'samples are at least one instruction apart');
    this.#sampler = onSample && { everyInstructions, onSample, left: everyInstructions };
  }

  /** Ends the run after the current slice; the first end given is the one that counts. */
  end(end: PartitionEnd): void {
    if (!this.running) return;
    this.#end ??= end;
    this.resume();
  }

  /** Ends the run with the reason `stopped`. */
  stop(): void {
    this.end({ reason: 'stopped' });
  }

  /**
   * Lets VPs stand still, and time with them: the reference counter of a partition all of whose VPs are suspended does
   * not count (TLFS 12, "Partition reference counter"), nor do its TSC and its timers. Resolves when they do. Work
   * is still served.
   */
  async pause(): Promise<void> {
    this.#paused = true;
    if (!this.running) return;
    this.#rested ??= Promise.withResolvers<void>();
    this.#wake();
    await this.#rested.promise;
  }

  /** Lets paused VPs go on, all of them where nothing else is said. */
  resume({ last, only }: ResumeOptions = {}): void {
    this.#paused = false;
    this.#only = only;
    if (last !== undefined) this.#turn = (last + 1) % this.#vps.length;
    this.#goOn();
    this.#rested?.resolve();
    this.#rested = undefined;
    this.#wake();
  }

  /**
   * Serves deferred work and completions until a promise settles, and gives its outcome: for devices that come and
   * go while the partition does not run. What a task throws meanwhile is thrown when the promise has settled.
   */
  async serve<T>(until: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
      this.#wake();
    };
    const settling = until.then(settle, settle);
    let failure: { readonly error: unknown } | undefined;
    while (!settled) {
      // A run that is under way does the work itself.
      if (this.#ended !== undefined) {
        await Promise.race([settling, this.#ended.promise]);
        continue;
      }
      try {
        if (this.#work.run() || this.#work.runWhenIdle()) await nextEventLoopTurn();
        else await this.#work.wait(Number.POSITIVE_INFINITY);
      } catch (error) {
        failure ??= { error };
        await nextEventLoopTurn();
      }
    }
    const outcome = await until;
    if (failure !== undefined) throw failure.error;
    return outcome;
  }

  /** No VP is in a slice, and none will be: time stops with them. */
  #rest(): void {
    if (!this.#resting) {
      this.#resting = true;
      this.#timers.clock.pause?.();
      this.#onPaused(true);
    }
    this.#rested?.resolve();
  }

  #goOn(): void {
    if (!this.#resting) return;
    this.#resting = false;
    this.#timers.clock.resume?.();
    this.#onPaused(false);
  }

  /** Gets the loop out of a slice or out of a wait. */
  #wake(): void {
    this.#work.defer(() => {});
  }

  #runDueWork(): void {
    if (this.#timers.nextNs() <= this.#timers.clock.nowNs()) {
      this.#halted = 0;
      this.#timers.runDue();
    }
    if (this.#work.ready) {
      this.#halted = 0;
      this.#work.run();
    }
  }

  #runSlice(): void {
    const vp = this.#vps[this.#only ?? this.#turn];
    this.#turn = (this.#turn + 1) % this.#vps.length;
    const { processor } = vp;
    this.#slices.value++;
    this.#retiredBefore = processor.instructionsRetired;
    this.#current = vp;
    const sampler = this.#sampler;
    let budget = sampler ? Math.min(sampler.left, this.#sliceInstructions) : this.#sliceInstructions;
    if (this.#clock !== undefined) {
      const nowNs = this.#clock.nowNs();
      this.#deadlineNs = nowNs + budget * this.#nsPerInstruction;
      const untilNs = this.#timers.nextNs() - nowNs;
      budget = Math.min(budget, Math.max(1, Math.ceil(untilNs / this.#nsPerInstruction)));
      this.#clock.setSlice(this.#elapsedNs);
    }
    const exit = processor.run(budget);
    const elapsedNs = this.#elapsedNs();
    this.#current = undefined;
    if (this.#clock !== undefined) {
      this.#clock.setSlice(undefined);
      this.#clock.advance(elapsedNs);
    }
    if (elapsedNs > 0) {
      this.#skips = 0;
      vp.platform.addRunTime(elapsedNs);
    }
    const instructions = processor.instructionsRetired - this.#retiredBefore;
    this.#instructions.value += instructions;
    if (sampler) {
      sampler.left -= instructions;
      if (sampler.left <= 0) {
        sampler.left = sampler.everyInstructions;
        sampler.onSample(vp.index);
      }
    }
    if (instructions >= this.#sliceInstructions) {
      this.#rounds += ROUNDS_OF_FULL_SLICE;
    }
    switch (exit) {
      case VpExit.HALT:
        // A VP that ran may have woken any other; one that did not run is as asleep as before.
        if (elapsedNs > 0) {
          this.#halts.value++;
          this.#halted = 1;
        } else {
          this.#halted++;
        }
        return;
      case VpExit.DEBUG:
      case VpExit.TRIPLE_FAULT:
        this.#halted = 0;
        if (this.#onDebugExit !== undefined) {
          // Before it is told: it may let the VPs go on at once.
          this.#paused = true;
          if (this.#onDebugExit(vp.index, exit)) return;
          this.#paused = false;
        }
        if (exit === VpExit.DEBUG) return;
        this.#end ??= { reason: 'triple-fault', vpIndex: vp.index };
        return;
      case VpExit.ENDED:
        this.#end ??= { reason: 'guest-ended' };
        return;
      default:
        this.#halted = 0;
    }
  }

  /** Every VP is halted: waits for the next deadline, for I/O, or for somebody outside. */
  async #idle(): Promise<void> {
    this.#idles.value++;
    const { clock } = this.#timers;
    const beforeNs = clock.nowNs();
    const waitNs = this.#timers.nextNs() - beforeNs;
    const waitMs = waitNs / 1e6;
    if (this.#clock === undefined) {
      // What is nearer than the host's timers can tell is waited for with turns of the event loop.
      if (waitMs < TIMER_GRAIN_MS) await nextEventLoopTurn();
      else await this.#work.wait(clamp(waitMs));
    } else if (waitMs === Number.POSITIVE_INFINITY) {
      await this.#work.wait(waitMs);
    } else {
      // A guest that nothing wakes, with timers that go on for ever, must not keep the host busy: it gets real time.
      if (++this.#skips > FRUITLESS_SKIPS) {
        await this.#work.wait(clamp(waitMs));
        if (this.#work.ready) return;
      }
      this.#clock.advance(waitNs);
    }
    this.#idleNs.value += clock.nowNs() - beforeNs;
  }
}

/** A delay that the host's timers can take; infinity means no timer. */
function clamp(waitMs: number): number {
  return waitMs === Number.POSITIVE_INFINITY ? waitMs : Math.min(Math.floor(waitMs), TIMER_MAX_MS);
}
