import type { GuestCpu } from '@kensho/core';

/** Local APIC registers (Intel SDM 3A, table 10-1). */
const APIC_BASE = 0xfee00000;
const APIC_TPR = APIC_BASE + 0x80;
const APIC_EOI = APIC_BASE + 0xb0;
const APIC_SVR = APIC_BASE + 0xf0;
const APIC_LVT_TIMER = APIC_BASE + 0x320;
const APIC_ICR_LOW = APIC_BASE + 0x300;
const APIC_ICR_HIGH = APIC_BASE + 0x310;

const SVR_ENABLE = 0x100;
const LVT_TSC_DEADLINE = 2 << 17;
export const SPURIOUS_VECTOR = 0xff;
const IA32_TSC_DEADLINE = 0x6e0;

/** The VP's local APIC in xAPIC mode, as the kernel drives it. */
export class ApicDriver {
  readonly #cpu: GuestCpu;

  constructor(cpu: GuestCpu) {
    this.#cpu = cpu;
  }

  enable(): void {
    this.#cpu.setInterruptHandler(SPURIOUS_VECTOR, () => {});
    this.#cpu.store(APIC_TPR, 4, 0);
    this.#cpu.store(APIC_SVR, 4, SVR_ENABLE | SPURIOUS_VECTOR);
  }

  endOfInterrupt(): void {
    this.#cpu.store(APIC_EOI, 4, 0);
  }

  /** Routes the APIC's timer to `vector` in TSC-deadline mode. */
  enableDeadlineTimer(vector: number): void {
    this.#cpu.store(APIC_LVT_TIMER, 4, LVT_TSC_DEADLINE | vector);
  }

  /** @param ticks - absolute TSC value; 0 disarms */
  armDeadline(ticks: number): void {
    this.#cpu.wrmsr(IA32_TSC_DEADLINE, ticks >>> 0, Math.floor(ticks / 2 ** 32));
  }

  /** INIT, then SIPI: starts the VP whose APIC id is given. */
  startProcessor(apicId: number): void {
    this.#cpu.store(APIC_ICR_HIGH, 4, apicId << 24);
    this.#cpu.store(APIC_ICR_LOW, 4, 0x4500);
    this.#cpu.store(APIC_ICR_HIGH, 4, apicId << 24);
    this.#cpu.store(APIC_ICR_LOW, 4, 0x4608);
  }
}

const IO_APIC = 0xfec00000;
const IOREGSEL = IO_APIC;
const IOWIN = IO_APIC + 0x10;
const IOREDTBL = 0x10;

/** The board's I/O APIC (Intel 82093AA). */
export class IoApicDriver {
  readonly #cpu: GuestCpu;

  constructor(cpu: GuestCpu) {
    this.#cpu = cpu;
  }

  /** Routes an edge-triggered, active-high input to `vector` of the VP with APIC id 0. */
  route(gsi: number, vector: number): void {
    this.#write(IOREDTBL + 2 * gsi + 1, 0);
    this.#write(IOREDTBL + 2 * gsi, vector);
  }

  #write(register: number, value: number): void {
    this.#cpu.store(IOREGSEL, 4, register);
    this.#cpu.store(IOWIN, 4, value);
  }
}
