import { assert, type GpaSpace } from '@kensho/core';
import type { ElfImage } from '../image/elf.ts';
import type { MemoryMapEntry } from './memory-map.ts';
import { ramOf } from './memory-map.ts';
import { MemoryPlan } from './memory-plan.ts';

/** End of what 32-bit addresses reach, and of the page tables at the 64-bit entry. */
export const END_OF_4_GIB = 2 ** 32;

/** A file that is handed to the kernel as it is: an initrd or a module. */
export interface BootModule {
  readonly bytes: Uint8Array;
  readonly commandLine: string;
}

/** What is passed to a kernel, whatever the protocol. */
export interface BootRequest {
  readonly commandLine: string;
  /** The first one is the initrd, where the protocol knows one. */
  readonly modules: readonly BootModule[];
  /** Undefined: the kernel gets none. */
  readonly rngSeed: Uint8Array | undefined;
}

export interface MachineOptions {
  readonly gpa: GpaSpace;
  readonly map: readonly MemoryMapEntry[];
  readonly rsdpGpa: number | undefined;
  /** Whether a VGA text screen answers. */
  readonly textScreen: boolean;
}

/** Written a piece at a time, for memory that must be zero. */
const ZEROS = new Uint8Array(64 * 1024);

/** The partition as a boot protocol fills it: memory that is claimed before it is written. */
export class Machine {
  readonly map: readonly MemoryMapEntry[];
  readonly rsdpGpa: number | undefined;
  readonly textScreen: boolean;
  readonly plan: MemoryPlan;
  readonly #gpa: GpaSpace;

  constructor({ gpa, map, rsdpGpa, textScreen }: MachineOptions) {
    this.#gpa = gpa;
    this.map = map;
    this.rsdpGpa = rsdpGpa;
    this.textScreen = textScreen;
    this.plan = new MemoryPlan(ramOf(map));
  }

  /** Loads bytes at a place that is given, with zeros behind them up to `sizeBytes`. Throws as MemoryPlan.claim. */
  load(what: string, gpa: number, bytes: Uint8Array, sizeBytes: number): void {
    this.plan.claim(what, gpa, sizeBytes);
    this.#write(gpa, bytes);
    for (let done = bytes.length; done < sizeBytes; done += ZEROS.length) {
      this.#write(gpa + done, ZEROS.subarray(0, Math.min(ZEROS.length, sizeBytes - done)));
    }
  }

  /** Loads an ELF image at its physical addresses. Throws as MemoryPlan.claim. */
  loadElf({ segments }: ElfImage): void {
    for (const [i, { gpa, bytes, sizeBytes }] of segments.entries()) {
      this.load(`kernel segment ${i}`, gpa, bytes, sizeBytes);
    }
  }

  /** Puts a small structure at the lowest free place and returns it. Throws KenshoError NO_ROOM. */
  placeLow(what: string, bytes: Uint8Array): number {
    return this.placeLowFor(what, bytes.length, () => bytes);
  }

  /** The same for a structure that holds its own address. */
  placeLowFor(what: string, sizeBytes: number, make: (gpa: number) => Uint8Array): number {
    const gpa = this.plan.placeLow(what, sizeBytes, END_OF_4_GIB);
    this.#write(gpa, make(gpa));
    return gpa;
  }

  /** Puts a file at the highest free place below `limitGpa` and returns it. Throws KenshoError NO_ROOM. */
  placeHigh(what: string, bytes: Uint8Array, limitGpa: number): number {
    const gpa = this.plan.placeHigh(what, bytes.length, limitGpa);
    this.#write(gpa, bytes);
    return gpa;
  }

  #write(gpa: number, bytes: Uint8Array): void {
    assert(this.#gpa.write(gpa, bytes), 'what was claimed is RAM');
  }
}
