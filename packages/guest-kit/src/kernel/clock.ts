import { type GuestCpu, GuestEvent, GuestFault, type GuestTask, type Qword } from '@kensho/core';
import type { ApicDriver } from './apic.ts';
import type { HypervDriver } from './hyperv.ts';

const CPUID_TSC_FREQUENCY = 0x15;
const APIC_TIMER_VECTOR = 0xec;

interface Sleeper {
  readonly atNs: number;
  readonly event: GuestEvent;
}

/**
 * The guest's time and its sleepers: the TSC at the rate that CPUID names, and one armed timer for the next of
 * them, a synthetic one in direct mode where the hypervisor has those, else the local APIC's in TSC-deadline mode.
 */
export class KernelClock {
  readonly #cpu: GuestCpu;
  readonly #ticksPerNs: number;
  readonly #tsc: Qword = { lo: 0, hi: 0 };
  readonly #arm: (inNs: number) => void;
  /** In order of time. */
  readonly #sleepers: Sleeper[] = [];

  constructor(cpu: GuestCpu, apic: ApicDriver, hyperv: HypervDriver | undefined, endOfInterrupt: () => void) {
    this.#cpu = cpu;
    const rate = cpu.cpuid(CPUID_TSC_FREQUENCY, 0);
    if (rate.eax === 0) throw new GuestFault('CPUID does not name the rate of the TSC');
    this.#ticksPerNs = (rate.ecx * rate.ebx) / rate.eax / 1e9;
    const onTimer = () => {
      endOfInterrupt();
      this.#wake();
    };
    if (hyperv?.hasDirectTimers === true) {
      hyperv.enableTimer(onTimer);
      this.#arm = (inNs) => hyperv.armTimer(hyperv.referenceTime() + Math.ceil(inNs / 100));
    } else {
      cpu.setInterruptHandler(APIC_TIMER_VECTOR, onTimer);
      apic.enableDeadlineTimer(APIC_TIMER_VECTOR);
      this.#arm = (inNs) => apic.armDeadline(Math.ceil(this.#ticks() + inNs * this.#ticksPerNs));
    }
  }

  nowNs(): number {
    return this.#ticks() / this.#ticksPerNs;
  }

  *sleep(ns: number): GuestTask {
    const event = new GuestEvent();
    const atNs = this.nowNs() + ns;
    const after = this.#sleepers.findIndex((other) => other.atNs > atNs);
    this.#sleepers.splice(after < 0 ? this.#sleepers.length : after, 0, { atNs, event });
    if (this.#sleepers[0].event === event) this.#armNext();
    yield* event.wait();
  }

  #ticks(): number {
    this.#cpu.rdtsc(this.#tsc);
    return this.#tsc.hi * 2 ** 32 + this.#tsc.lo;
  }

  #wake(): void {
    const nowNs = this.nowNs();
    while (this.#sleepers.length > 0 && this.#sleepers[0].atNs <= nowNs) this.#sleepers.shift()?.event.set();
    this.#armNext();
  }

  #armNext(): void {
    if (this.#sleepers.length > 0) this.#arm(Math.max(0, this.#sleepers[0].atNs - this.nowNs()));
  }
}
