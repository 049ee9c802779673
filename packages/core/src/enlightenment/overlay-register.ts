import type { GpaSpace, OverlayPage } from '../memory/gpa-space.ts';
import type { Qword } from '../processor/contract.ts';
import { HV_PAGE_ENABLE } from './hv-msr.ts';

/** Guest page number in bits 63:12 of a register. */
export function pageNumber(value: Qword): number {
  return value.hi * 2 ** 20 + (value.lo >>> 12);
}

/**
 * An MSR that places an overlay page: bit 0 enables it, bits 63:12 are the guest page, the rest is preserved.
 *
 * The page keeps its contents wherever it is moved and however often it is taken out of sight. It exists from the
 * start, so that a guest which enables it cannot find the partition's memory used up. One that lies beyond the GPA space
 * cannot be seen by the guest.
 */
export class OverlayRegister {
  readonly value: Qword = { lo: 0, hi: 0 };
  readonly #pageLimit: number;
  readonly #overlay: OverlayPage;

  /**
   * @param access - the guest's right to the page
   * @param pageLimit - guest pages from here on are beyond the GPA space
   * @param fill - writes the page's first contents; otherwise it is zero
   */
  constructor(gpa: GpaSpace, access: number, pageLimit: number, fill?: (bytes: Uint8Array) => void) {
    this.#pageLimit = pageLimit;
    this.#overlay = gpa.createOverlay(access);
    fill?.(gpa.arena.page(this.#overlay.arenaPage));
  }

  get enabled(): boolean {
    return (this.value.lo & HV_PAGE_ENABLE) !== 0;
  }

  /** The arena page of the overlay. */
  get arenaPage(): number {
    return this.#overlay.arenaPage;
  }

  write(value: Qword): void {
    this.value.lo = value.lo;
    this.value.hi = value.hi;
    const page = pageNumber(value);
    this.#overlay.place(this.enabled && page < this.#pageLimit ? page : undefined);
  }

  /** Clears the enable bit, and takes the page out of sight. */
  disable(): void {
    this.value.lo = (this.value.lo & ~HV_PAGE_ENABLE) >>> 0;
    this.#overlay.place(undefined);
  }
}
