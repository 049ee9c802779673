import { GpaAccess } from '@kensho/core';
import type { Gpadl } from '@kensho/vmbus';

/** Size of a send buffer's sections, as Hyper-V has it. */
export const SEND_SECTION_BYTES = 6144;

/** A guest's send buffer: sections that it fills and names by index. */
export class SendBuffer {
  readonly sectionCount: number;
  readonly #gpadl: Gpadl;

  constructor(gpadl: Gpadl) {
    this.#gpadl = gpadl;
    this.sectionCount = Math.floor(gpadl.sizeBytes / SEND_SECTION_BYTES);
  }

  /** Whether a section has that many bytes; both are the guest's word. */
  has(section: number, sizeBytes: number): boolean {
    return section < this.sectionCount && sizeBytes <= SEND_SECTION_BYTES;
  }

  /** Adds views of the first bytes of a section; false, and a DMA fault, where its memory is not there. */
  collect(section: number, sizeBytes: number, out: Uint8Array[]): boolean {
    return this.#gpadl.collect(section * SEND_SECTION_BYTES, sizeBytes, GpaAccess.READ, out);
  }
}
