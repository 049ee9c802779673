import { KenshoError, PAGE_SIZE } from '@kensho/core';
import { hex, size } from '../format.ts';
import type { MemoryRange } from './memory-map.ts';

/** A range of RAM that has a use. */
export interface Claim extends MemoryRange {
  /** Names it in errors: "the initrd". */
  readonly what: string;
}

/** Nothing is placed in the first page: that is where PC software looks for the BIOS's data. */
const FIRST_PLACE = PAGE_SIZE;

/** Who gets which RAM: nothing overlaps, and all is RAM. */
export class MemoryPlan {
  readonly #ram: readonly MemoryRange[];
  readonly #claims: Claim[] = [];

  /** @param ram - sorted, without overlaps */
  constructor(ram: readonly MemoryRange[]) {
    this.#ram = ram;
  }

  /** What was claimed, in order of addresses. */
  get claims(): readonly Claim[] {
    return this.#claims;
  }

  /**
   * Claims RAM at a place that is given. Throws KenshoError OUTSIDE_MEMORY where it is not all RAM, and OVERLAP where
   * another claim has it.
   */
  claim(what: string, gpa: number, sizeBytes: number): void {
    if (sizeBytes === 0) return;
    const end = gpa + sizeBytes;
    const range = `${what} at ${hex(gpa)}-${hex(end - 1)}`;
    const ram = this.#ram.find((one) => gpa >= one.gpa && gpa < one.gpa + one.sizeBytes);
    if (ram === undefined || end > ram.gpa + ram.sizeBytes) {
      throw new KenshoError(
        'OUTSIDE_MEMORY',
        `${range} is outside the partition's RAM (${this.#ramText()}): give it more memory`,
      );
    }
    const other = this.#claims.find((one) => gpa < one.gpa + one.sizeBytes && one.gpa < end);
    if (other !== undefined) {
      throw new KenshoError(
        'OVERLAP',
        `${range} overlaps ${other.what} at ${hex(other.gpa)}-${hex(other.gpa + other.sizeBytes - 1)}`,
      );
    }
    this.#insert({ what, gpa, sizeBytes });
  }

  /** Claims whole free pages at the lowest place and returns it. Throws KenshoError NO_ROOM. */
  placeLow(what: string, sizeBytes: number, limitGpa: number): number {
    for (const { gpa, sizeBytes: free } of this.#free(limitGpa)) {
      if (free >= sizeBytes) return this.#insert({ what, gpa, sizeBytes: wholePages(sizeBytes) });
    }
    throw this.#noRoom(what, sizeBytes, limitGpa);
  }

  /** Claims whole free pages at the highest place below `limitGpa` and returns it. Throws KenshoError NO_ROOM. */
  placeHigh(what: string, sizeBytes: number, limitGpa: number): number {
    const pages = wholePages(sizeBytes);
    for (const { gpa, sizeBytes: free } of this.#free(limitGpa).reverse()) {
      if (free >= pages) return this.#insert({ what, gpa: gpa + free - pages, sizeBytes: pages });
    }
    throw this.#noRoom(what, sizeBytes, limitGpa);
  }

  #insert(claim: Claim): number {
    this.#claims.push(claim);
    this.#claims.sort((a, b) => a.gpa - b.gpa);
    return claim.gpa;
  }

  /** Free whole pages below an address, lowest first. */
  #free(limitGpa: number): MemoryRange[] {
    const free: MemoryRange[] = [];
    const add = (from: number, to: number) => {
      const first = Math.max(Math.ceil(from / PAGE_SIZE) * PAGE_SIZE, FIRST_PLACE);
      const end = Math.floor(Math.min(to, limitGpa) / PAGE_SIZE) * PAGE_SIZE;
      if (end > first) free.push({ gpa: first, sizeBytes: end - first });
    };
    for (const ram of this.#ram) {
      const end = ram.gpa + ram.sizeBytes;
      let from = ram.gpa;
      for (const claim of this.#claims) {
        if (claim.gpa < from || claim.gpa >= end) continue;
        add(from, claim.gpa);
        from = claim.gpa + claim.sizeBytes;
      }
      add(from, end);
    }
    return free;
  }

  #noRoom(what: string, sizeBytes: number, limitGpa: number): KenshoError {
    const largest = this.#free(limitGpa).reduce((most, { sizeBytes: one }) => Math.max(most, one), 0);
    return new KenshoError(
      'NO_ROOM',
      `${what} of ${size(sizeBytes)} does not fit: the largest free piece of RAM below ${hex(limitGpa)} has ` +
        `${size(largest)}: give the partition more memory`,
    );
  }

  #ramText(): string {
    return (
      this.#ram.map(({ gpa, sizeBytes }) => `${hex(gpa)}-${hex(gpa + sizeBytes - 1)}`).join(', ') || 'none'
    );
  }
}

function wholePages(sizeBytes: number): number {
  return Math.max(Math.ceil(sizeBytes / PAGE_SIZE), 1) * PAGE_SIZE;
}
