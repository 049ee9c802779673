import {
  type GuestCpu,
  type GuestDeviceClass,
  GuestEvent,
  GuestFault,
  type GuestKernel,
  type GuestPages,
  type GuestPciDriver,
  type GuestPortDriver,
  type GuestTask,
  PAGE_SIZE,
  RunAllocator,
} from '@kensho/core';
import { VmbusClient, type VmbusVersion, type VscDriver } from '@kensho/vmbus';
import type { KitStep } from '../processor/kit-vp.ts';
import { ApicDriver, IoApicDriver } from './apic.ts';
import { BOOT_INFO_GPA, BOOT_INFO_MAGIC, BootInfo, BootMemoryRange, MAX_MEMORY_RANGES } from './boot-info.ts';
import { KernelClock } from './clock.ts';
import { ConsoleDriver } from './console.ts';
import { HypervDriver } from './hyperv.ts';
import { scanPciBus } from './pci.ts';
import { Scheduler } from './scheduler.ts';

/** Interrupt vectors of the board's inputs: GSI n is vector 0x30 + n. */
const FIRST_GSI_VECTOR = 0x30;

/** What is installed in a guest. */
export interface KitDrivers {
  /** The integration services: with none of them the guest drives legacy devices, as one without them does. */
  readonly vscs: readonly VscDriver[];
  readonly pci: readonly GuestPciDriver[];
  readonly ports: readonly GuestPortDriver[];
  /** Newest version of VMBus that the guest speaks. @default 5.3 */
  readonly maxVmbusVersion?: VmbusVersion;
}

/** What a guest is for. It ends when this does. */
export type KitMain = (kernel: KitKernel) => GuestTask;

/**
 * A tiny kernel: it finds out what machine it is on, brings up the drivers for it, and runs one program.
 *
 * With VSCs installed, on a host that shows the hypervisor, it connects VMBus. Otherwise, or where the bus does not
 * answer, it looks for legacy devices: which path it takes is its own choice, made from what it sees.
 */
export class KitKernel implements GuestKernel {
  readonly cpu: GuestCpu;
  /** How devices are reached. */
  path: 'enlightened' | 'emulated' = 'emulated';
  /** The connection to VMBus, on the enlightened path. */
  bus: VmbusClient | undefined;
  readonly #memory: RunAllocator;
  readonly #scheduler: Scheduler;
  readonly #console: ConsoleDriver;
  readonly #apic: ApicDriver;
  readonly #ioApic: IoApicDriver;
  readonly #hyperv: HypervDriver | undefined;
  readonly #clock: KernelClock;
  readonly #published = new Map<GuestDeviceClass<{ name: string }>, { name: string }[]>();
  readonly #publication = new Set<GuestEvent>();
  readonly #endOfInterrupt: () => void;
  #finished = false;

  constructor(cpu: GuestCpu) {
    this.cpu = cpu;
    const info = BootInfo.read(cpu.memory(BOOT_INFO_GPA, BootInfo.sizeBytes));
    if (info.magic !== BOOT_INFO_MAGIC)
      throw new GuestFault('no boot information: not loaded by the kit loader');
    this.#memory = readMemoryMap(cpu, info.rangeCount);
    this.#console = new ConsoleDriver(cpu, this.allocate(PAGE_SIZE));
    this.#scheduler = new Scheduler((name, error) => this.#panic(name, error));
    this.#apic = new ApicDriver(cpu);
    this.#ioApic = new IoApicDriver(cpu);
    this.#apic.enable();
    const hyperv = HypervDriver.detect(cpu, (sizeBytes) => this.allocate(sizeBytes), info.vpCount);
    this.#hyperv = hyperv;
    this.#endOfInterrupt =
      hyperv?.hasApicMsrs === true ? () => hyperv.endOfInterruptByMsr() : () => this.#apic.endOfInterrupt();
    this.#clock = new KernelClock(cpu, this.#apic, hyperv, this.#endOfInterrupt);
  }

  /** Everything that the boot processor does, from the drivers' start to the end of `main`. */
  *run(drivers: KitDrivers, main: KitMain): Generator<KitStep, void, void> {
    this.spawn('init', this.#init(drivers, main));
    yield* this.#scheduler.run(this.cpu, () => this.#finished);
  }

  allocate(sizeBytes: number): GuestPages {
    const count = Math.ceil(sizeBytes / PAGE_SIZE);
    const first = this.#memory.take(count);
    if (first < 0) throw new GuestFault(`out of memory: ${sizeBytes} bytes`);
    const gpa = first * PAGE_SIZE;
    const bytes = this.cpu.memory(gpa, count * PAGE_SIZE).fill(0);
    const pages = Array.from({ length: count }, (_, i) => first + i);
    return { gpa, sizeBytes: count * PAGE_SIZE, pages, bytes, free: () => this.#memory.give(first, count) };
  }

  spawn(name: string, task: GuestTask): void {
    this.#scheduler.spawn(name, task);
  }

  connectInterrupt(gsi: number, handler: () => void): void {
    this.cpu.setInterruptHandler(FIRST_GSI_VECTOR + gsi, () => {
      handler();
      this.#endOfInterrupt();
    });
    this.#ioApic.route(gsi, FIRST_GSI_VECTOR + gsi);
  }

  sleep(ns: number): GuestTask {
    return this.#clock.sleep(ns);
  }

  nowNs(): number {
    return this.#clock.nowNs();
  }

  print(line: string): void {
    this.#console.print(line);
  }

  publish<T extends { readonly name: string }>(deviceClass: GuestDeviceClass<T>, device: T): void {
    const known = this.#published.get(deviceClass);
    if (known === undefined) this.#published.set(deviceClass, [device]);
    else known.push(device);
    this.#announce();
  }

  withdraw<T extends { readonly name: string }>(deviceClass: GuestDeviceClass<T>, device: T): void {
    const known = this.#published.get(deviceClass) ?? [];
    const at = known.indexOf(device);
    if (at >= 0) known.splice(at, 1);
    this.#announce();
  }

  /** The devices of a class that are there now. */
  devices<T extends { readonly name: string }>(deviceClass: GuestDeviceClass<T>): readonly T[] {
    return (this.#published.get(deviceClass) ?? []) as unknown as readonly T[];
  }

  /** Waits until a class has at least `count` devices; throws GuestFault after `timeoutNs` by the guest's clock. */
  *waitForDevices<T extends { readonly name: string }>(
    deviceClass: GuestDeviceClass<T>,
    count: number,
    timeoutNs = 30e9,
  ): GuestTask<readonly T[]> {
    const changed = new GuestEvent();
    let timedOut = false;
    this.#publication.add(changed);
    const sleep = this.#clock.sleep(timeoutNs);
    this.spawn(
      'timeout',
      wakeAfter(sleep, () => {
        timedOut = true;
        changed.set();
      }),
    );
    try {
      while (this.devices(deviceClass).length < count) {
        if (timedOut) {
          throw new GuestFault(
            `${this.devices(deviceClass).length} of ${count} ${deviceClass.name} devices appeared`,
          );
        }
        yield* changed.wait();
      }
      return this.devices(deviceClass);
    } finally {
      this.#publication.delete(changed);
    }
  }

  /** INIT and SIPI for another VP. */
  startProcessor(apicId: number): void {
    this.#apic.startProcessor(apicId);
  }

  *#init(drivers: KitDrivers, main: KitMain): GuestTask {
    this.cpu.sti();
    this.bus = yield* this.#connectBus(drivers);
    this.path = this.bus === undefined ? 'emulated' : 'enlightened';
    if (this.bus === undefined) yield* this.#probeLegacy(drivers);
    yield* main(this);
    if (this.bus !== undefined) yield* this.bus.unload();
    this.#finished = true;
  }

  /** The bus, if there are drivers for it, the hypervisor is to be seen, and it answers. */
  *#connectBus({ vscs, maxVmbusVersion }: KitDrivers): GuestTask<VmbusClient | undefined> {
    if (this.#hyperv === undefined || vscs.length === 0) return undefined;
    this.#hyperv.enableSynic(this.#endOfInterrupt);
    const bus = new VmbusClient({
      kernel: this,
      hypercalls: this.#hyperv,
      drivers: vscs,
      maxVersion: maxVmbusVersion,
    });
    try {
      yield* bus.connect();
      return bus;
    } catch (error) {
      if (!(error instanceof GuestFault)) throw error;
      this.print(`vmbus: ${error.message}; looking for legacy devices`);
      return undefined;
    }
  }

  *#probeLegacy(drivers: KitDrivers): GuestTask {
    for (const fn of scanPciBus(this.cpu)) {
      const driver = drivers.pci.find((candidate) => candidate.matches(fn));
      if (driver !== undefined) yield* driver.attach(fn, this);
    }
    for (const driver of drivers.ports) yield* driver.probe(this);
  }

  #announce(): void {
    for (const event of this.#publication) event.set();
  }

  #panic(name: string, error: unknown): void {
    const text = `panic: ${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    this.print(text);
    this.#finished = true;
    if (this.#hyperv?.hasCrashMsrs === true) {
      const page = this.allocate(PAGE_SIZE);
      const message = new TextEncoder().encode(text).subarray(0, page.sizeBytes);
      page.bytes.set(message);
      this.#hyperv.reportCrash(page, message.length);
    }
  }
}

function* wakeAfter(sleep: GuestTask, wake: () => void): GuestTask {
  yield* sleep;
  wake();
}

function readMemoryMap(cpu: GuestCpu, rangeCount: number): RunAllocator {
  const memory = new RunAllocator(0, 0);
  for (let i = 0; i < Math.min(rangeCount, MAX_MEMORY_RANGES); i++) {
    const at = BOOT_INFO_GPA + BootInfo.sizeBytes + i * BootMemoryRange.sizeBytes;
    const range = BootMemoryRange.read(cpu.memory(at, BootMemoryRange.sizeBytes));
    memory.give(Number(range.gpa) / PAGE_SIZE, Number(range.sizeBytes) / PAGE_SIZE);
  }
  return memory;
}
