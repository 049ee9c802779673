import { HvRegister, registerValue, type TraceOptions } from '@kensho/core';
import type { X64Vp } from './x64-vp.ts';

const NAMES = [
  ...(['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const),
];

/** What the last line of a VP waits for: what its instruction changed. */
interface Pending {
  line: string | undefined;
  /** The general registers as they were then, and RFLAGS behind them. */
  readonly registers: BigUint64Array;
}

/**
 * Makes a trace's lines: VP, its instructions so far, RIP, and the registers that the instruction changed, as in
 * `0 1042 ffffffff81000012 rax=1 flags=246`. A line is complete, and written, when the VP's next one begins.
 */
export class Tracer {
  readonly #options: TraceOptions;
  readonly #first: number;
  readonly #end: number;
  readonly #pending: Pending[] = [];
  readonly #value = registerValue(0n);

  constructor(options: TraceOptions) {
    this.#options = options;
    this.#first = options.skip ?? 0;
    this.#end = this.#first + (options.count ?? Number.POSITIVE_INFINITY);
  }

  /** Instructions until a VP's first that is traced: 0 while it is, and -1 when there are no more. */
  untilFirst(retired: number): number {
    return retired >= this.#end ? -1 : Math.max(0, this.#first - retired);
  }

  instruction(vp: X64Vp): void {
    const pending = (this.#pending[vp.index] ??= { line: undefined, registers: new BigUint64Array(17) });
    const changes = this.#takeChanges(vp, pending.registers);
    if (pending.line !== undefined) this.#options.sink(pending.line + changes);
    pending.line = undefined;
    const retired = vp.instructionsRetired;
    if (this.untilFirst(retired) !== 0) return;
    const rip = this.#get(vp, HvRegister.RIP);
    const { addresses } = this.#options;
    if (addresses !== undefined && (rip < addresses.first || rip > addresses.last)) return;
    pending.line = `${vp.index} ${retired} ${rip.toString(16).padStart(16, '0')}`;
  }

  /** Writes the lines that wait, without what is not known of them. */
  flush(): void {
    for (const pending of this.#pending) {
      if (pending?.line !== undefined) this.#options.sink(pending.line);
      if (pending !== undefined) pending.line = undefined;
    }
  }

  #takeChanges(vp: X64Vp, registers: BigUint64Array): string {
    let changes = '';
    for (let i = 0; i <= NAMES.length; i++) {
      const now = this.#get(vp, i < NAMES.length ? HvRegister.RAX + i : HvRegister.RFLAGS);
      if (now === registers[i]) continue;
      registers[i] = now;
      changes += ` ${NAMES[i] ?? 'flags'}=${now.toString(16)}`;
    }
    return changes;
  }

  #get(vp: X64Vp, register: number): bigint {
    vp.getRegister(register, this.#value);
    return (BigInt(this.#value.hi) << 32n) | BigInt(this.#value.lo);
  }
}
