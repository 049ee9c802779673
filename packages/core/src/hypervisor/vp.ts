import { APIC_PAGE_GPA, APIC_PAGE_SIZE } from '../apic/registers.ts';
import type { Counter, Counters } from '../counters.ts';
import type { VpPlatform } from '../enlightenment/platform.ts';
import type { HypercallDispatcher } from '../hypercall/dispatcher.ts';
import type { GpaSpace, MmioRegion } from '../memory/gpa-space.ts';
import type {
  CpuidResult,
  HypercallFrame,
  ProcessorEngine,
  Qword,
  RegisterValue,
  VirtualProcessor,
  VpIntercepts,
} from '../processor/contract.ts';
import type { InterceptTable } from './intercepts.ts';
import type { IoPortTable } from './io-ports.ts';

/** Registers of the partition API that are synthetic MSRs (TLFS, HV_REGISTER_NAME). */
const REGISTER_MSRS: ReadonlyMap<number, number> = new Map([
  [0x00090002, 0x40000000], // HvRegisterGuestOsId
  [0x00090003, 0x40000002], // HvRegisterVpIndex
  [0x00090004, 0x40000020], // HvRegisterTimeRefCount
]);

/** What the VPs of a partition share. */
export interface VpMachine {
  readonly gpa: GpaSpace;
  readonly ioPorts: IoPortTable;
  readonly intercepts: InterceptTable;
  readonly counters: Counters;
  readonly hypercalls: HypercallDispatcher;
  readonly platform: { readonly hypercallsEnabled: boolean };
}

/**
 * One virtual processor: the processor that runs it, and the answers to its intercepts.
 *
 * Each intercept is counted here, at its source: `intercept.port`, `.mmio`, `.msr`, `.cpuid`, `.hypercall`, and
 * each MMIO region's as `intercept.mmio.<name>`. Its halts are counted by the run loop.
 */
export class Vp implements VpIntercepts {
  readonly index: number;
  readonly processor: VirtualProcessor;
  readonly platform: VpPlatform;
  readonly #machine: VpMachine;
  readonly #ioPorts: IoPortTable;
  readonly #gpa: GpaSpace;
  readonly #ports: Counter;
  readonly #mmio: Counter;
  readonly #apic: Counter;
  readonly #unclaimedMmio: Counter;
  readonly #msrs: Counter;
  readonly #cpuids: Counter;
  readonly #hypercalls: Counter;
  /** The MMIO region that was used last and its counter: accesses come in runs. */
  #region: MmioRegion | undefined;
  #regionCounter: Counter;

  constructor(index: number, engine: ProcessorEngine, platform: VpPlatform, machine: VpMachine) {
    this.index = index;
    this.platform = platform;
    this.#machine = machine;
    this.#ioPorts = machine.ioPorts;
    this.#gpa = machine.gpa;
    const { counters } = machine;
    this.#ports = counters.counter('intercept.port');
    this.#mmio = counters.counter('intercept.mmio');
    this.#apic = counters.counter('intercept.mmio.local-apic');
    this.#unclaimedMmio = counters.counter('intercept.mmio.unclaimed');
    this.#msrs = counters.counter('intercept.msr');
    this.#cpuids = counters.counter('intercept.cpuid');
    this.#hypercalls = counters.counter('intercept.hypercall');
    this.#regionCounter = this.#unclaimedMmio;
    this.processor = engine.createVp(index, machine.gpa, this);
  }

  portRead(port: number, sizeBytes: number): number {
    this.#ports.value++;
    return this.#ioPorts.read(port, sizeBytes);
  }

  portWrite(port: number, sizeBytes: number, value: number): void {
    this.#ports.value++;
    this.#ioPorts.write(port, sizeBytes, value);
  }

  mmioRead(gpa: number, sizeBytes: number): number {
    this.#mmio.value++;
    if (gpa >= APIC_PAGE_GPA && gpa < APIC_PAGE_GPA + APIC_PAGE_SIZE) {
      this.#apic.value++;
      return this.platform.apicRead(gpa - APIC_PAGE_GPA, sizeBytes);
    }
    const region = this.#regionAt(gpa);
    if (region === undefined) return sizeBytes === 4 ? 0xffffffff : 2 ** (8 * sizeBytes) - 1;
    const offset = gpa - region.gpa;
    if (offset + sizeBytes <= region.sizeBytes) return region.handler.read(offset, sizeBytes);
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) {
      const own = this.#gpa.findMmio(gpa + i);
      value |= (own === undefined ? 0xff : own.handler.read(gpa + i - own.gpa, 1)) << (8 * i);
    }
    return value >>> 0;
  }

  mmioWrite(gpa: number, sizeBytes: number, value: number): void {
    this.#mmio.value++;
    if (gpa >= APIC_PAGE_GPA && gpa < APIC_PAGE_GPA + APIC_PAGE_SIZE) {
      this.#apic.value++;
      this.platform.apicWrite(gpa - APIC_PAGE_GPA, sizeBytes, value);
      return;
    }
    const region = this.#regionAt(gpa);
    if (region === undefined) return;
    const offset = gpa - region.gpa;
    if (offset + sizeBytes <= region.sizeBytes) {
      region.handler.write(offset, sizeBytes, value);
      return;
    }
    for (let i = 0; i < sizeBytes; i++) {
      const own = this.#gpa.findMmio(gpa + i);
      own?.handler.write(gpa + i - own.gpa, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  msrRead(msr: number, value: Qword): boolean {
    this.#msrs.value++;
    return this.platform.msrRead(msr, value) || this.#machine.intercepts.msrRead(msr, value);
  }

  msrWrite(msr: number, value: Qword): boolean {
    this.#msrs.value++;
    return this.platform.msrWrite(msr, value) || this.#machine.intercepts.msrWrite(msr, value);
  }

  cpuid(leaf: number, subleaf: number, result: CpuidResult): void {
    this.#cpuids.value++;
    this.platform.cpuid(leaf, subleaf, result);
    this.#machine.intercepts.cpuid(leaf, subleaf, result);
  }

  hypercall(frame: HypercallFrame): boolean {
    this.#hypercalls.value++;
    // Before the guest has set up the interface there is nothing that the instruction could mean: #UD.
    if (!this.#machine.platform.hypercallsEnabled) return false;
    this.#machine.hypercalls.dispatch(this.index, frame);
    return true;
  }

  acknowledgeInterrupt(): number {
    return this.platform.acknowledgeInterrupt();
  }

  readTaskPriority(): number {
    return this.platform.readTaskPriority();
  }

  writeTaskPriority(priority: number): void {
    this.platform.writeTaskPriority(priority);
  }

  /** Reads a register by its name (TLFS, HV_REGISTER_NAME); false where there is no such register. */
  getRegister(register: number, value: RegisterValue): boolean {
    value.upperLo = 0;
    value.upperHi = 0;
    const msr = REGISTER_MSRS.get(register);
    return msr === undefined
      ? this.processor.getRegister(register, value)
      : this.platform.msrRead(msr, value);
  }

  /** Writes a register; false where there is no such register or it is read-only. */
  setRegister(register: number, value: RegisterValue): boolean {
    return !REGISTER_MSRS.has(register) && this.processor.setRegister(register, value);
  }

  /** The MMIO region at an address, counted. */
  #regionAt(gpa: number): MmioRegion | undefined {
    const region = this.#gpa.findMmio(gpa);
    if (region !== this.#region) {
      this.#region = region;
      this.#regionCounter =
        region === undefined
          ? this.#unclaimedMmio
          : this.#machine.counters.counter(`intercept.mmio.${region.name}`);
    }
    this.#regionCounter.value++;
    return region;
  }
}
