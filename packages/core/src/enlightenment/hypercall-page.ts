import { GpaAccess, type GpaSpace } from '../memory/gpa-space.ts';
import type { Qword } from '../processor/contract.ts';
import { HV_HYPERCALL_LOCKED, HV_PAGE_ENABLE } from './hv-msr.ts';
import { OverlayRegister, pageNumber } from './overlay-register.ts';

/** VMCALL; RET. */
const CODE = [0x0f, 0x01, 0xc1, 0xc3];
/** INT3, so that a jump to anywhere else is noticed. */
const FILLER = 0xcc;

/** GUEST_OS_ID, HYPERCALL and the hypercall page, one for the partition (TLFS 3.12 and 3.13). */
export class HypercallPage {
  readonly guestOsId: Qword = { lo: 0, hi: 0 };
  /** The HYPERCALL MSR. Written through {@link write}. */
  readonly register: OverlayRegister;
  readonly #pageLimit: number;

  constructor(gpa: GpaSpace, pageLimit: number) {
    this.#pageLimit = pageLimit;
    this.register = new OverlayRegister(gpa, GpaAccess.READ | GpaAccess.EXECUTE, pageLimit, (bytes) => {
      bytes.fill(FILLER);
      bytes.set(CODE);
    });
  }

  get enabled(): boolean {
    return this.register.enabled;
  }

  /** Clearing the id disables the page, unless it is locked. */
  writeGuestOsId(value: Qword): void {
    this.guestOsId.lo = value.lo;
    this.guestOsId.hi = value.hi;
    if (value.lo === 0 && value.hi === 0 && !this.#locked) this.register.disable();
  }

  /**
   * Writes HYPERCALL. The enable bit stays clear without an OS id. False (#GP) where the MSR is locked or the page
   * would lie beyond the GPA space.
   */
  write(value: Qword): boolean {
    if (this.#locked) return false;
    const enable = (value.lo & HV_PAGE_ENABLE) !== 0;
    if (enable && pageNumber(value) >= this.#pageLimit) return false;
    const identified = this.guestOsId.lo !== 0 || this.guestOsId.hi !== 0;
    this.register.write(
      enable && !identified ? { lo: (value.lo & ~HV_PAGE_ENABLE) >>> 0, hi: value.hi } : value,
    );
    return true;
  }

  get #locked(): boolean {
    return (this.register.value.lo & HV_HYPERCALL_LOCKED) !== 0;
  }
}
