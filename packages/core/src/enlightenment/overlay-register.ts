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
 * The page is made when it is first enabled and keeps its contents from then on, wherever it is moved and however
 * often it is taken out of sight. One that lies beyond the GPA space exists but cannot be seen by the guest.
 */
export class OverlayRegister {
  readonly value: Qword = { lo: 0, hi: 0 };
  readonly #gpa: GpaSpace;
  readonly #pageLimit: number;
  readonly #access: number;
  readonly #fill: ((bytes: Uint8Array) => void) | undefined;
  #overlay: OverlayPage | undefined;

  /**
   * @param access - the guest's right to the page
   * @param pageLimit - guest pages from here on are beyond the GPA space
   * @param fill - writes the page's first contents; otherwise it is zero
   */
  constructor(gpa: GpaSpace, access: number, pageLimit: number, fill?: (bytes: Uint8Array) => void) {
    this.#gpa = gpa;
    this.#access = access;
    this.#pageLimit = pageLimit;
    this.#fill = fill;
  }

  get enabled(): boolean {
    return (this.value.lo & HV_PAGE_ENABLE) !== 0;
  }

  /** The arena page of the overlay. Only once it has been enabled. */
  get arenaPage(): number {
    return (this.#overlay as OverlayPage).arenaPage;
  }

  write(value: Qword): void {
    this.value.lo = value.lo;
    this.value.hi = value.hi;
    if (!this.enabled) {
      this.#overlay?.place(undefined);
      return;
    }
    if (this.#overlay === undefined) {
      this.#overlay = this.#gpa.createOverlay(this.#access);
      this.#fill?.(this.#gpa.arena.page(this.#overlay.arenaPage));
    }
    const page = pageNumber(value);
    this.#overlay.place(page < this.#pageLimit ? page : undefined);
  }

  /** Clears the enable bit, and takes the page out of sight. */
  disable(): void {
    this.value.lo = (this.value.lo & ~HV_PAGE_ENABLE) >>> 0;
    this.#overlay?.place(undefined);
  }
}
