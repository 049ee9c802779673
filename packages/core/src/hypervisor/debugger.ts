import { KenshoError } from '../errors.ts';
import { PAGE_SIZE } from '../memory/arena.ts';
import type { GpaSpace } from '../memory/gpa-space.ts';
import { type Token, token } from '../plugin/token.ts';
import { VpExit } from '../processor/contract.ts';
import type { DebugPoint, ProcessorDebug, ProcessorStop } from '../processor/debug.ts';
import type { PartitionRunner } from './run-loop.ts';

/** Why the VPs of a partition stand still for its debugger. */
export type DebugStop =
  | (ProcessorStop & { readonly vpIndex: number })
  /** The run ends when it is resumed. */
  | { readonly reason: 'triple-fault'; readonly vpIndex: number }
  | { readonly reason: 'pause' };

/** How VPs go on. */
export interface DebugResume {
  /** A VP that stops behind one instruction; the others get a slice each before it. */
  readonly step?: number;
  /** The one VP that goes on. @default all do */
  readonly only?: number;
}

/** A partition as its debugger drives it: one at a time, told of each stop, with the VPs at rest in between. */
export interface PartitionDebugger {
  /** What the processor offers; undefined where it is none that can be debugged. */
  readonly processor: ProcessorDebug | undefined;
  /**
   * Makes VPs stop for a debugger: it is told each time they do. Throws KenshoError NO_DEBUGGING, or DEBUGGER_ATTACHED
   * where there is one already.
   */
  attach(onStop: (stop: DebugStop) => void): void;
  /** Forgets the debugger and what it asked for; VPs go on. */
  detach(): void;
  /** Whether VPs stand still for the debugger. */
  readonly stopped: boolean;
  /** Stops all VPs; the debugger is told when they stand still. */
  pause(): void;
  resume(how?: DebugResume): void;
  /** See ProcessorDebug.setPoints. */
  setPoints(points: readonly DebugPoint[]): boolean;
  /** Reads memory as a VP addresses it, as far as there is RAM or ROM behind it; the number of bytes read. */
  readMemory(vpIndex: number, gva: bigint, target: Uint8Array): number;
  /** Writes memory likewise, page protection notwithstanding; the number of bytes written. */
  writeMemory(vpIndex: number, gva: bigint, source: Uint8Array): number;
}

/** What the debugger of a partition stands on. */
export interface VpDebuggerOptions {
  readonly processor: ProcessorDebug | undefined;
  readonly runner: PartitionRunner;
  readonly gpa: GpaSpace;
}

/** {@link PartitionDebugger} over the run loop, which holds the guest's clock too while VPs stand still. */
export class VpDebugger implements PartitionDebugger {
  readonly processor: ProcessorDebug | undefined;
  readonly #runner: PartitionRunner;
  readonly #gpa: GpaSpace;
  #onStop: ((stop: DebugStop) => void) | undefined;
  #stopped = false;
  #stepping: number | undefined;
  /** VPs whose triple fault was told. */
  readonly #shutDown = new Set<number>();

  constructor({ processor, runner, gpa }: VpDebuggerOptions) {
    this.processor = processor;
    this.#runner = runner;
    this.#gpa = gpa;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  attach(onStop: (stop: DebugStop) => void): void {
    const { processor } = this;
    if (processor === undefined) {
      throw new KenshoError('NO_DEBUGGING', 'this kind of processor cannot be debugged: take another');
    }
    if (this.#onStop !== undefined) {
      throw new KenshoError('DEBUGGER_ATTACHED', 'the partition has a debugger: detach it first');
    }
    this.#onStop = onStop;
    this.#runner.onDebugExit((vpIndex, exit) => this.#exited(processor, vpIndex, exit));
  }

  detach(): void {
    if (this.#onStop === undefined) return;
    this.setPoints([]);
    this.#onStop = undefined;
    this.#runner.onDebugExit(undefined);
    this.resume();
  }

  pause(): void {
    void this.#runner.pause().then(() => {
      if (this.#onStop !== undefined && this.#runner.paused) this.#stop({ reason: 'pause' });
    });
  }

  resume({ step, only }: DebugResume = {}): void {
    this.#stopped = false;
    if (step !== undefined) this.processor?.setStep(step, true);
    this.#stepping = step;
    this.#runner.resume({ last: step, only });
  }

  setPoints(points: readonly DebugPoint[]): boolean {
    return this.processor?.setPoints(points) ?? false;
  }

  readMemory(vpIndex: number, gva: bigint, target: Uint8Array): number {
    return this.#eachPage(vpIndex, gva, target, (gpa, part) => this.#gpa.read(gpa, part));
  }

  writeMemory(vpIndex: number, gva: bigint, source: Uint8Array): number {
    return this.#eachPage(vpIndex, gva, source, (gpa, part) => this.#gpa.write(gpa, part));
  }

  #exited(processor: ProcessorDebug, vpIndex: number, exit: VpExit): boolean {
    if (exit === VpExit.DEBUG) {
      this.#stop({ ...processor.stopOf(vpIndex), vpIndex });
      return true;
    }
    // Told once, before the run ends.
    if (this.#shutDown.has(vpIndex)) return false;
    this.#shutDown.add(vpIndex);
    this.#stop({ reason: 'triple-fault', vpIndex });
    return true;
  }

  #stop(stop: DebugStop): void {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#stepping !== undefined) this.processor?.setStep(this.#stepping, false);
    this.#stepping = undefined;
    this.#onStop?.(stop);
  }

  #eachPage(
    vpIndex: number,
    gva: bigint,
    bytes: Uint8Array,
    move: (gpa: number, part: Uint8Array) => boolean,
  ): number {
    let done = 0;
    while (done < bytes.length) {
      const gpa = this.processor?.translate(vpIndex, BigInt.asUintN(64, gva + BigInt(done))) ?? -1;
      if (gpa < 0) break;
      const count = Math.min(bytes.length - done, PAGE_SIZE - (gpa % PAGE_SIZE));
      if (!move(gpa, bytes.subarray(done, done + count))) break;
      done += count;
    }
    return done;
  }
}

export const DEBUGGER: Token<PartitionDebugger> = token<PartitionDebugger>('@kensho/core:PartitionDebugger');
