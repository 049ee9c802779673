import { HvStatus } from '../hv-status.ts';

/** The two formats of HV_VP_SET. */
const SPARSE = 0;
const ALL = 1;

const BANK_COUNT = 64;

/** A set of VPs of one partition, reused from call to call. */
export class VpSet {
  readonly #members: Uint8Array;

  constructor(vpCount: number) {
    this.#members = new Uint8Array(vpCount);
  }

  has(vpIndex: number): boolean {
    return this.#members[vpIndex] === 1;
  }

  setAll(): void {
    this.#members.fill(1);
  }

  /** VPs 0 to 63 by a 64-bit mask; a bit without a VP is ignored. */
  setMask(lo: number, hi: number): void {
    this.#members.fill(0);
    this.#addBank(0, lo, hi);
  }

  /**
   * Reads an HV_VP_SET (TLFS): format u64, mask of valid banks u64, and one u64 for each of them.
   *
   * @param bankBytes - size of the banks that the caller gave, as the variable header
   * @returns INVALID_HYPERCALL_INPUT where that size does not go with the mask, INVALID_PARAMETER for other formats
   */
  readFrom(input: DataView, offset: number, bankBytes: number): HvStatus {
    const format = input.getUint32(offset, true);
    if (input.getUint32(offset + 4, true) !== 0 || format > ALL) return HvStatus.INVALID_PARAMETER;
    if (format !== SPARSE) {
      this.setAll();
      return HvStatus.SUCCESS;
    }
    const valid = [input.getUint32(offset + 8, true), input.getUint32(offset + 12, true)];
    this.#members.fill(0);
    let at = offset + 16;
    const end = at + bankBytes;
    for (let bank = 0; bank < BANK_COUNT; bank++) {
      if (((valid[bank >> 5] >>> (bank & 31)) & 1) === 0) continue;
      if (at + 8 > end) return HvStatus.INVALID_HYPERCALL_INPUT;
      this.#addBank(bank * 64, input.getUint32(at, true), input.getUint32(at + 4, true));
      at += 8;
    }
    return at === end ? HvStatus.SUCCESS : HvStatus.INVALID_HYPERCALL_INPUT;
  }

  #addBank(first: number, lo: number, hi: number): void {
    const count = Math.min(64, this.#members.length - first);
    for (let i = 0; i < count; i++) {
      if ((((i < 32 ? lo : hi) >>> (i & 31)) & 1) === 1) this.#members[first + i] = 1;
    }
  }
}
