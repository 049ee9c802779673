import { PageArena } from '../../memory/arena.ts';
import type { GpaSpace } from '../../memory/gpa-space.ts';
import type {
  ProcessorEngine,
  ProcessorKind,
  ProcessorOptions,
  RegisterValue,
  VirtualProcessor,
  VpIntercepts,
} from '../../processor/contract.ts';
import { VpExit } from '../../processor/contract.ts';

/**
 * What a scripted VP does, step by step: retire a number of instructions, halt, wait in a spin loop, or fault.
 * Between the yields it may use the VP's intercepts. Its end is the guest's end.
 */
export type Script = (vp: ScriptedVp) => Generator<number | 'halt' | 'pause' | 'triple-fault', void, void>;

/** A VP that follows a script, for tests of what drives it. */
export class ScriptedVp implements VirtualProcessor {
  readonly index: number;
  readonly intercepts: VpIntercepts;
  readonly registers = new Map<number, RegisterValue>();
  /** Vectors taken, in order. */
  readonly taken: number[] = [];
  readonly flushes: (readonly { page: number; count: number }[] | undefined)[] = [];
  instructionsRetired = 0;
  interruptsEnabled = true;
  slices = 0;
  readonly #program: ReturnType<Script>;
  #pending = false;
  #halted = false;
  #exit = false;
  /** Instructions of the current step that are still to be retired. */
  #left = 0;

  constructor(index: number, intercepts: VpIntercepts, script: Script) {
    this.index = index;
    this.intercepts = intercepts;
    this.#program = script(this);
  }

  run(budget: number): VpExit {
    this.slices++;
    this.#exit = false;
    const end = this.instructionsRetired + budget;
    for (;;) {
      if (this.#pending && this.interruptsEnabled) {
        const vector = this.intercepts.acknowledgeInterrupt();
        if (vector >= 0) {
          this.taken.push(vector);
          this.#halted = false;
        } else {
          this.#pending = false;
        }
      }
      if (this.#halted) return VpExit.HALT;
      if (this.#exit || this.instructionsRetired >= end) return VpExit.BUDGET;
      if (this.#left > 0) {
        const count = Math.min(this.#left, end - this.instructionsRetired);
        this.#left -= count;
        this.instructionsRetired += count;
        continue;
      }
      const { done, value } = this.#program.next();
      if (done === true) return VpExit.ENDED;
      if (typeof value === 'number') {
        this.#left = value;
        continue;
      }
      this.instructionsRetired++;
      if (value === 'triple-fault') return VpExit.TRIPLE_FAULT;
      if (value === 'pause') return VpExit.YIELD;
      this.#halted = true;
    }
  }

  requestExit(): void {
    this.#exit = true;
  }

  setInterruptPending(pending: boolean): void {
    this.#pending = pending;
  }

  injectNmi(): void {
    this.#halted = false;
  }

  init(): void {
    this.#halted = true;
  }

  startup(): void {
    this.#halted = false;
  }

  getRegister(register: number, value: RegisterValue): boolean {
    const held = this.registers.get(register);
    if (held !== undefined) Object.assign(value, held);
    return held !== undefined;
  }

  setRegister(register: number, value: RegisterValue): boolean {
    if (!this.registers.has(register)) return false;
    this.registers.set(register, { ...value });
    return true;
  }

  flushTlb(gvaPages?: readonly { page: number; count: number }[]): void {
    this.flushes.push(gvaPages?.map((range) => ({ ...range })));
  }
}

/** A kind of processor whose VPs follow scripts; `vps` fills as they are created. */
export class ScriptedProcessor implements ProcessorKind {
  readonly id = 'scripted';
  readonly description = 'follows scripts';
  readonly vps: ScriptedVp[] = [];
  disposed = false;
  options: ProcessorOptions | undefined;
  readonly #scripts: readonly Script[];

  constructor(...scripts: readonly Script[]) {
    this.#scripts = scripts;
  }

  create(options: ProcessorOptions): ProcessorEngine {
    this.options = options;
    return {
      arena: PageArena.allocate(options.memoryPages + options.overlayPages, { shared: options.sharedMemory }),
      createVp: (index: number, _gpa: GpaSpace, intercepts: VpIntercepts) => {
        const vp = new ScriptedVp(index, intercepts, this.#scripts[index] ?? haltForever);
        this.vps.push(vp);
        return vp;
      },
      dispose: () => {
        this.disposed = true;
      },
    };
  }
}

/** Halts, whatever wakes it. */
export function* haltForever(): Generator<'halt', void, void> {
  for (;;) yield 'halt';
}
