import { assert, type GuestFaults } from '@kensho/core';
import type { PciBar, PciFunction } from './pci-function.ts';

/** Offsets in the type 0 configuration header (PCI Local Bus 2.2, 6.1). */
export const PciRegister = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  CLASS_CODE: 0x09,
  CACHE_LINE_SIZE: 0x0c,
  LATENCY_TIMER: 0x0d,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
} as const;

/** Bits of the command register (PCI Local Bus 2.2, 6.2.2). */
export const PciCommand = {
  IO_SPACE: 0x0001,
  MEMORY_SPACE: 0x0002,
  BUS_MASTER: 0x0004,
} as const;

const HEADER_MULTI_FUNCTION = 0x80;
const BAR_IO = 0x1;
const BAR_PREFETCHABLE = 0x8;
/** An x86 has 64 Ki I/O ports: a BAR's upper half is wired to zero, as 6.2.5.1 allows. */
const IO_ADDRESS_MASK = 0xffff;

/** One register of a function: what it holds after reset, and which bits a write changes. */
export interface PciRegisterDefinition {
  readonly offset: number;
  readonly sizeBytes: 1 | 2 | 4;
  readonly reset: number;
  /** Bits that take what is written. @default 0 */
  readonly writable?: number;
  /** Bits that a written one clears. @default 0 */
  readonly clearedByOne?: number;
}

/** What a function is, and what its configuration space holds. */
export interface PciConfigSpaceOptions {
  readonly name: string;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  /** Base class, subclass and programming interface: 0xBBSSPP. */
  readonly classCode: number;
  /** @default 0 */
  readonly subsystemVendorId?: number;
  /** @default 0 */
  readonly subsystemId?: number;
  /** The command register after reset. @default 0 */
  readonly command?: number;
  /** Bits of the command register that the function implements. @default I/O, memory and bus master */
  readonly commandWritable?: number;
  /** The status register after reset. @default 0x0280 (medium DEVSEL, fast back-to-back) */
  readonly status?: number;
  /** Whether the device has functions beside this one, which must then be function 0. @default false */
  readonly multiFunction?: boolean;
  /** 1 to 4 for INTA# to INTD#. @default 0, no pin */
  readonly interruptPin?: number;
  /** The interrupt line register after reset. @default 0 */
  readonly interruptLine?: number;
  readonly bars?: readonly PciBar[];
  /** Registers of the function's own, beyond the header. */
  readonly registers?: readonly PciRegisterDefinition[];
  /** Called after each write. */
  readonly onWrite?: (offset: number, sizeBytes: number) => void;
}

/**
 * The 256 bytes of configuration space of one function: identity, command and status, base address registers, and
 * registers of the function's own. What is not defined reads as zero and ignores writes.
 *
 * A BAR's region is in the address space while the command register enables its kind and the BAR holds an address.
 * Sizing works as the specification describes: after a write of all ones, the bits that stayed zero tell the size.
 */
export class PciConfigSpace implements PciFunction {
  readonly name: string;
  readonly #bytes = new Uint8Array(256);
  readonly #writable = new Uint8Array(256);
  readonly #clearedByOne = new Uint8Array(256);
  readonly #data = new DataView(this.#bytes.buffer);
  readonly #bars: readonly PciBar[];
  /** Where each BAR's region is now. */
  readonly #placed: (number | undefined)[];
  readonly #faults: GuestFaults;
  readonly #onWrite: (offset: number, sizeBytes: number) => void;

  constructor(options: PciConfigSpaceOptions, faults: GuestFaults) {
    this.name = options.name;
    this.#faults = faults;
    this.#bars = options.bars ?? [];
    this.#placed = this.#bars.map(() => undefined);
    this.#onWrite = options.onWrite ?? (() => {});
    for (const register of [...headerOf(options), ...(options.registers ?? [])]) this.#define(register);
    for (const bar of this.#bars) this.#defineBar(bar);
    this.#placeBars();
  }

  readConfig(offset: number, sizeBytes: number): number {
    switch (sizeBytes) {
      case 1:
        return this.#bytes[offset];
      case 2:
        return this.#data.getUint16(offset, true);
      default:
        return this.#data.getUint32(offset, true);
    }
  }

  writeConfig(offset: number, sizeBytes: number, value: number): void {
    for (let i = 0; i < sizeBytes; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const writable = this.#writable[at];
      this.#bytes[at] =
        ((this.#bytes[at] & ~writable) | (byte & writable)) & ~(byte & this.#clearedByOne[at]) & 0xff;
    }
    // Covers the command register and all BARs; the rest of the header changes nothing here.
    if (offset >= PciRegister.COMMAND && offset < PciRegister.BAR0 + 24) this.#placeBars();
    this.#onWrite(offset, sizeBytes);
  }

  /** The command register. */
  get command(): number {
    return this.#data.getUint16(PciRegister.COMMAND, true);
  }

  /** Takes all regions out of the address space, for the function's removal. */
  unplace(): void {
    this.#bars.forEach((bar, i) => {
      bar.place(undefined);
      this.#placed[i] = undefined;
    });
  }

  #define({ offset, sizeBytes, reset, writable = 0, clearedByOne = 0 }: PciRegisterDefinition): void {
    for (let i = 0; i < sizeBytes; i++) {
      this.#bytes[offset + i] = reset >>> (8 * i);
      this.#writable[offset + i] = writable >>> (8 * i);
      this.#clearedByOne[offset + i] = clearedByOne >>> (8 * i);
    }
  }

  #defineBar(bar: PciBar): void {
    const smallest = bar.space === 'io' ? 4 : 16;
    assert(
      bar.sizeBytes >= smallest && (bar.sizeBytes & (bar.sizeBytes - 1)) === 0,
      `${this.name}: the size of BAR ${bar.index} is a power of two`,
    );
    const kind = bar.space === 'io' ? BAR_IO : bar.prefetchable === true ? BAR_PREFETCHABLE : 0;
    this.#define({
      offset: PciRegister.BAR0 + 4 * bar.index,
      sizeBytes: 4,
      reset: ((bar.initialBase ?? 0) | kind) >>> 0,
      writable: addressMask(bar),
    });
  }

  #placeBars(): void {
    const command = this.command;
    const wanted = this.#bars.map((bar) => {
      const enabled = command & (bar.space === 'io' ? PciCommand.IO_SPACE : PciCommand.MEMORY_SPACE);
      const base = (this.#data.getUint32(PciRegister.BAR0 + 4 * bar.index, true) & addressMask(bar)) >>> 0;
      return enabled !== 0 && base !== 0 ? base : undefined;
    });
    // All that moves leaves first, so that two BARs may change places.
    this.#bars.forEach((bar, i) => {
      if (this.#placed[i] === wanted[i] || this.#placed[i] === undefined) return;
      bar.place(undefined);
      this.#placed[i] = undefined;
    });
    this.#bars.forEach((bar, i) => {
      const base = wanted[i];
      if (this.#placed[i] === base || base === undefined) return;
      if (bar.place(base)) this.#placed[i] = base;
      else {
        this.#faults.report(
          'pci.bar',
          `${this.name}: BAR ${bar.index} covers another region and is not decoded`,
          {
            base: `0x${base.toString(16)}`,
          },
        );
      }
    });
  }
}

function addressMask(bar: PciBar): number {
  return (~(bar.sizeBytes - 1) & (bar.space === 'io' ? IO_ADDRESS_MASK : 0xffffffff)) >>> 0;
}

function headerOf(options: PciConfigSpaceOptions): PciRegisterDefinition[] {
  const decodes = PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE | PciCommand.BUS_MASTER;
  return [
    { offset: PciRegister.VENDOR_ID, sizeBytes: 2, reset: options.vendorId },
    { offset: PciRegister.DEVICE_ID, sizeBytes: 2, reset: options.deviceId },
    {
      offset: PciRegister.COMMAND,
      sizeBytes: 2,
      reset: options.command ?? 0,
      writable: options.commandWritable ?? decodes,
    },
    { offset: PciRegister.STATUS, sizeBytes: 2, reset: options.status ?? 0x0280, clearedByOne: 0xf900 },
    // Revision and class share a dword: 0xBBSSPPRR.
    {
      offset: PciRegister.REVISION_ID,
      sizeBytes: 4,
      reset: ((options.classCode << 8) | options.revision) >>> 0,
    },
    { offset: PciRegister.CACHE_LINE_SIZE, sizeBytes: 1, reset: 0, writable: 0xff },
    { offset: PciRegister.LATENCY_TIMER, sizeBytes: 1, reset: 0, writable: 0xff },
    {
      offset: PciRegister.HEADER_TYPE,
      sizeBytes: 1,
      reset: options.multiFunction === true ? HEADER_MULTI_FUNCTION : 0,
    },
    { offset: PciRegister.SUBSYSTEM_VENDOR_ID, sizeBytes: 2, reset: options.subsystemVendorId ?? 0 },
    { offset: PciRegister.SUBSYSTEM_ID, sizeBytes: 2, reset: options.subsystemId ?? 0 },
    {
      offset: PciRegister.INTERRUPT_LINE,
      sizeBytes: 1,
      reset: options.interruptLine ?? 0,
      writable: 0xff,
    },
    { offset: PciRegister.INTERRUPT_PIN, sizeBytes: 1, reset: options.interruptPin ?? 0 },
  ];
}
