import type { Counter, Counters } from '../counters.ts';
import type { PortRegion } from '../devices.ts';
import { HvError } from '../errors.ts';
import { HvStatus } from '../hv-status.ts';
import type { CpuidResult, Qword } from '../processor/contract.ts';

/** What answers an MSR that neither the processor nor the hypervisor keeps; false: the guest gets #GP(0). */
export interface MsrHandler {
  read(value: Qword): boolean;
  write(value: Qword): boolean;
}

/**
 * An intercept that the root installs in a child (TLFS, HV_INTERCEPT_TYPE): which of the guest's accesses it wants
 * to answer itself.
 *
 * - `io-port-range`: a range of I/O ports; those that nobody asked for read all ones and ignore writes.
 * - `msr`: an MSR that the hypervisor does not keep; those that nobody asked for raise #GP.
 * - `cpuid`: a leaf, seen after the hypervisor's own answer and amended in place.
 */
export type Intercept =
  | { readonly type: 'io-port-range'; readonly region: PortRegion }
  | { readonly type: 'msr'; readonly msr: number; readonly handler: MsrHandler }
  | {
      readonly type: 'cpuid';
      readonly leaf: number;
      amend(subleaf: number, result: CpuidResult): void;
    };

type CpuidIntercept = Extract<Intercept, { type: 'cpuid' }>;

/** The MSR and CPUID intercepts of one partition. */
export class InterceptTable {
  readonly #msrs = new Map<number, MsrHandler>();
  readonly #leaves = new Map<number, CpuidIntercept>();
  readonly #unclaimedMsrs: Counter;

  constructor(counters: Counters) {
    this.#unclaimedMsrs = counters.counter('intercept.msr.unclaimed');
  }

  /** Throws HvError OBJECT_IN_USE where the MSR or leaf is taken. The result removes the intercept. */
  install(intercept: Exclude<Intercept, { type: 'io-port-range' }>): () => void {
    if (intercept.type === 'msr') return claim(this.#msrs, intercept.msr, intercept.handler, 'MSR');
    return claim(this.#leaves, intercept.leaf, intercept, 'CPUID leaf');
  }

  msrRead(msr: number, value: Qword): boolean {
    return this.#handlerOf(msr)?.read(value) ?? false;
  }

  msrWrite(msr: number, value: Qword): boolean {
    return this.#handlerOf(msr)?.write(value) ?? false;
  }

  cpuid(leaf: number, subleaf: number, result: CpuidResult): void {
    this.#leaves.get(leaf)?.amend(subleaf, result);
  }

  #handlerOf(msr: number): MsrHandler | undefined {
    const handler = this.#msrs.get(msr);
    if (handler === undefined) this.#unclaimedMsrs.value++;
    return handler;
  }
}

function claim<T>(table: Map<number, T>, key: number, value: T, what: string): () => void {
  if (table.has(key)) {
    throw new HvError('HvCallInstallIntercept', HvStatus.OBJECT_IN_USE, `${what} 0x${key.toString(16)}`);
  }
  table.set(key, value);
  return () => {
    if (table.get(key) === value) table.delete(key);
  };
}
