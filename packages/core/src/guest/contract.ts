import type { CpuidResult, HypercallFrame, Qword } from '../processor/contract.ts';

/**
 * What guests written in TypeScript, and the drivers in them, stand on.
 *
 * Guest code reaches its machine through {@link GuestCpu} alone: every call is one instruction, with the same
 * intercepts, hypercall ABI and interrupt delivery as machine code has. Code that may have to wait is a generator,
 * so that it runs in its VP's slices and nowhere else.
 */

/** Guest code that can wait: yields the event it waits for, or nothing to let other tasks run first. */
export type GuestTask<T = void> = Generator<GuestEvent | undefined, T, void>;

/** Something to wait for. It stays set until one waiter took it (auto-reset). */
export class GuestEvent {
  #set = false;
  #waiters: (() => void)[] = [];

  /** Wakes all that wait; the first of them to run takes the event. */
  set(): void {
    this.#set = true;
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  /** Takes the event if it is set. */
  take(): boolean {
    const was = this.#set;
    this.#set = false;
    return was;
  }

  /** Waits until the event is set, and takes it. */
  *wait(): GuestTask {
    while (!this.take()) yield this;
  }

  /** For the guest's scheduler: `wake` is called once, at the next {@link set}; at once where it is set already. */
  subscribe(wake: () => void): void {
    if (this.#set) wake();
    else this.#waiters.push(wake);
  }
}

/** A general-protection or invalid-opcode fault that guest code did not expect. */
export class GuestFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GuestFault';
  }
}

/** The instructions of one VP. */
export interface GuestCpu {
  readonly index: number;
  /** IN; sizeBytes 1, 2 or 4. */
  in(port: number, sizeBytes: number): number;
  /** OUT. */
  out(port: number, sizeBytes: number, value: number): void;
  /** REP INSW/INSD into guest RAM: one intercept for each element, as on a processor without string assists. */
  ins(port: number, sizeBytes: number, gpa: number, count: number): void;
  /** REP OUTSW/OUTSD. */
  outs(port: number, sizeBytes: number, gpa: number, count: number): void;
  /** MOV from memory, RAM or MMIO; sizeBytes 1, 2 or 4. Paging is off: addresses are guest-physical. */
  load(gpa: number, sizeBytes: number): number;
  store(gpa: number, sizeBytes: number, value: number): void;
  /** LOCK CMPXCHG on a 32-bit word; returns what was there. */
  compareExchange(gpa: number, expected: number, replacement: number): number;
  /** RDMSR into `value`; throws GuestFault at #GP. */
  rdmsr(msr: number, value: Qword): void;
  /** WRMSR; throws GuestFault at #GP. */
  wrmsr(msr: number, lo: number, hi: number): void;
  cpuid(leaf: number, subleaf: number): CpuidResult;
  /** VMCALL; throws GuestFault at #UD. */
  vmcall(frame: HypercallFrame): void;
  rdtsc(value: Qword): void;
  /** Loads an IDT entry. The handler runs with interrupts off, between two instructions, and must not wait. */
  setInterruptHandler(vector: number, handler: () => void): void;
  sti(): void;
  cli(): void;
  /**
   * A view of RAM that is contiguous in host memory. Valid until the GPA space changes beneath it, as a
   * translation is. Throws GuestFault where the range is not RAM or not contiguous.
   */
  memory(gpa: number, sizeBytes: number): Uint8Array;
}

/** Pages of guest RAM that a driver owns. */
export interface GuestPages {
  readonly gpa: number;
  readonly sizeBytes: number;
  /** Guest page numbers, in order. */
  readonly pages: readonly number[];
  /** The memory itself. */
  readonly bytes: Uint8Array;
  free(): void;
}

/** What the guest's kernel gives its drivers. */
export interface GuestKernel {
  /** The boot processor. */
  readonly cpu: GuestCpu;
  /** Takes zeroed pages, contiguous in guest-physical memory. Throws GuestFault where memory is exhausted. */
  allocate(sizeBytes: number): GuestPages;
  /** Adds a task to the scheduler. An error that it throws ends the guest. */
  spawn(name: string, task: GuestTask): void;
  /** Connects an interrupt line of the board (a GSI of the I/O APIC) to a handler. */
  connectInterrupt(gsi: number, handler: () => void): void;
  /** Waits for a time by the guest's own clock. */
  sleep(ns: number): GuestTask;
  /** The guest's monotonic clock, ns. */
  nowNs(): number;
  /** Writes a line to the guest's console. */
  print(line: string): void;
  /** Makes a device known to the guest's programs. */
  publish<T extends { readonly name: string }>(deviceClass: GuestDeviceClass<T>, device: T): void;
  /** Takes a published device away again. */
  withdraw<T extends { readonly name: string }>(deviceClass: GuestDeviceClass<T>, device: T): void;
}

/** A class of devices that drivers publish and programs use. */
export interface GuestDeviceClass<T extends { readonly name: string }> {
  readonly name: string;
  /** Only carries the type. */
  readonly device?: T;
}

export function guestDeviceClass<T extends { readonly name: string }>(name: string): GuestDeviceClass<T> {
  return { name };
}

/** A PCI function as a driver sees it: its configuration space, through ports 0xCF8 and 0xCFC. */
export interface GuestPciFunction {
  readonly bus: number;
  readonly device: number;
  readonly fn: number;
  readonly vendorId: number;
  readonly deviceId: number;
  /** Base class, subclass and programming interface: 0xBBSSPP. */
  readonly classCode: number;
  read(offset: number, sizeBytes: number): number;
  write(offset: number, sizeBytes: number, value: number): void;
}

/** A driver for a legacy device on the PCI bus. */
export interface GuestPciDriver {
  readonly id: string;
  matches(fn: GuestPciFunction): boolean;
  /** Brings the function up and publishes what it finds. */
  attach(fn: GuestPciFunction, kernel: GuestKernel): GuestTask;
}

/** A driver for a legacy device at ports of its own, which it has to look for. */
export interface GuestPortDriver {
  readonly id: string;
  /** Publishes what it finds; false where the device is not there. */
  probe(kernel: GuestKernel): GuestTask<boolean>;
}

/** A disk as guest programs use it, whichever driver serves it. Many tasks may have requests in flight. */
export interface GuestBlockDevice {
  readonly name: string;
  readonly path: 'enlightened' | 'emulated';
  readonly sectorSizeBytes: number;
  readonly sectorCount: number;
  readonly readOnly: boolean;
  /** Requests that the driver keeps in flight at most; more wait in the driver. */
  readonly queueDepth: number;
  /** Largest transfer of one request. */
  readonly maxTransferBytes: number;
  /** Reads `count` sectors into pages from `offset` bytes on. Throws GuestIoError. */
  read(lba: number, count: number, target: GuestPages, offset?: number): GuestTask;
  write(lba: number, count: number, source: GuestPages, offset?: number): GuestTask;
  flush(): GuestTask;
}

/** An I/O request that the device failed. */
export class GuestIoError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'GuestIoError';
  }
}

export const GUEST_BLOCK_DEVICES: GuestDeviceClass<GuestBlockDevice> =
  guestDeviceClass<GuestBlockDevice>('block');
