import type { CpuidResult, HypercallFrame, Qword, VpIntercepts } from '@kensho/core';

/**
 * The hypervisor's answers to a program that could catch what they throw. Nothing throws for what a guest did, so
 * that what does come out is a fault of the host: it is kept for {@link rethrow}, whatever the program makes of it.
 * CR8 is none of what a kit program has.
 */
export class GuardedIntercepts implements Omit<VpIntercepts, 'readTaskPriority' | 'writeTaskPriority'> {
  readonly #intercepts: VpIntercepts;
  #failure: { readonly error: unknown } | undefined;

  constructor(intercepts: VpIntercepts) {
    this.#intercepts = intercepts;
  }

  /** Throws what an answer threw, if one did. */
  rethrow(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  portRead(port: number, sizeBytes: number): number {
    try {
      return this.#intercepts.portRead(port, sizeBytes);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  portWrite(port: number, sizeBytes: number, value: number): void {
    try {
      this.#intercepts.portWrite(port, sizeBytes, value);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  mmioRead(gpa: number, sizeBytes: number): number {
    try {
      return this.#intercepts.mmioRead(gpa, sizeBytes);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  mmioWrite(gpa: number, sizeBytes: number, value: number): void {
    try {
      this.#intercepts.mmioWrite(gpa, sizeBytes, value);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  msrRead(msr: number, value: Qword): boolean {
    try {
      return this.#intercepts.msrRead(msr, value);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  msrWrite(msr: number, value: Qword): boolean {
    try {
      return this.#intercepts.msrWrite(msr, value);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  cpuid(leaf: number, subleaf: number, result: CpuidResult): void {
    try {
      this.#intercepts.cpuid(leaf, subleaf, result);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  hypercall(frame: HypercallFrame): boolean {
    try {
      return this.#intercepts.hypercall(frame);
    } catch (error) {
      throw this.#keep(error);
    }
  }

  acknowledgeInterrupt(): number {
    try {
      return this.#intercepts.acknowledgeInterrupt();
    } catch (error) {
      throw this.#keep(error);
    }
  }

  #keep(error: unknown): unknown {
    this.#failure ??= { error };
    return error;
  }
}
