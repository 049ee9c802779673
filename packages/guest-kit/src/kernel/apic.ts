import {
  APIC_PAGE_GPA,
  ApicRegister,
  type GuestCpu,
  IA32_TSC_DEADLINE,
  SVR_SOFTWARE_ENABLE,
} from '@kensho/core';

const LVT_TSC_DEADLINE = 2 << 17;
export const SPURIOUS_VECTOR = 0xff;

/** The VP's local APIC in xAPIC mode, as the kernel drives it. */
export class ApicDriver {
  readonly #cpu: GuestCpu;

  constructor(cpu: GuestCpu) {
    this.#cpu = cpu;
  }

  enable(): void {
    this.#cpu.setInterruptHandler(SPURIOUS_VECTOR, () => {});
    this.#write(ApicRegister.TPR, 0);
    this.#write(ApicRegister.SVR, SVR_SOFTWARE_ENABLE | SPURIOUS_VECTOR);
  }

  endOfInterrupt(): void {
    this.#write(ApicRegister.EOI, 0);
  }

  /** Routes the APIC's timer to `vector` in TSC-deadline mode. */
  enableDeadlineTimer(vector: number): void {
    this.#write(ApicRegister.LVT_TIMER, LVT_TSC_DEADLINE | vector);
  }

  /** @param ticks - absolute TSC value; 0 disarms */
  armDeadline(ticks: number): void {
    this.#cpu.wrmsr(IA32_TSC_DEADLINE, ticks >>> 0, Math.floor(ticks / 2 ** 32));
  }

  /** INIT, then SIPI: starts the VP whose APIC id is given. */
  startProcessor(apicId: number): void {
    this.#write(ApicRegister.ICR_HIGH, apicId << 24);
    this.#write(ApicRegister.ICR_LOW, 0x4500);
    this.#write(ApicRegister.ICR_HIGH, apicId << 24);
    this.#write(ApicRegister.ICR_LOW, 0x4608);
  }

  #write(register: number, value: number): void {
    this.#cpu.store(APIC_PAGE_GPA + register, 4, value);
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
