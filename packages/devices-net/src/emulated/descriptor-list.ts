import { type DmaDomain, GpaAccess, PAGE_SHIFT, PAGE_SIZE } from '@kensho/core';
import { BusMode, Control, DESCRIPTOR_BYTES, OWN } from '../protocol/dec21140.ts';

/**
 * A place in a list of descriptors in guest memory, and a copy of the descriptor there. Lists are rings, chains, or
 * both, as each descriptor says of itself; none of them is walked further than its descriptors belong to the chip.
 */
export class DescriptorList {
  readonly #dma: DmaDomain;
  readonly #scratch = new Uint8Array(DESCRIPTOR_BYTES);
  readonly #scratchData = new DataView(this.#scratch.buffer);
  #base = 0;
  #current = 0;
  /** The descriptor's words as they were when {@link load} saw them. */
  status = 0;
  control = 0;
  buffer1 = 0;
  buffer2 = 0;

  constructor(dma: DmaDomain) {
    this.#dma = dma;
  }

  /** The first descriptor of the list. */
  get base(): number {
    return this.#base;
  }

  /** Goes to the start of another list. */
  restart(base: number): void {
    this.#base = (base & ~3) >>> 0;
    this.#current = this.#base;
  }

  /** Copies the current descriptor; false where it cannot be reached. */
  load(): boolean {
    const address = this.#current;
    const within = address % PAGE_SIZE;
    let data: DataView = this.#scratchData;
    let at = 0;
    if (within <= PAGE_SIZE - DESCRIPTOR_BYTES) {
      const page = this.#dma.translatePage(address >>> PAGE_SHIFT, GpaAccess.READ);
      if (page < 0) {
        this.#dma.fault(address >>> PAGE_SHIFT, GpaAccess.READ);
        return false;
      }
      data = this.#dma.arena.data;
      at = page * PAGE_SIZE + within;
    } else if (!this.#dma.read(address, this.#scratch)) {
      return false;
    }
    this.status = data.getUint32(at, true);
    this.control = data.getUint32(at + 4, true);
    this.buffer1 = data.getUint32(at + 8, true);
    this.buffer2 = data.getUint32(at + 12, true);
    return true;
  }

  /** Whether the descriptor that was loaded is the chip's. */
  get owned(): boolean {
    return (this.status & OWN) !== 0;
  }

  /** Gives the current descriptor back; false where it cannot be reached. */
  close(status: number): boolean {
    const address = this.#current;
    const page = this.#dma.translatePage(address >>> PAGE_SHIFT, GpaAccess.WRITE);
    if (page < 0) {
      this.#dma.fault(address >>> PAGE_SHIFT, GpaAccess.WRITE);
      return false;
    }
    this.#dma.arena.data.setUint32(page * PAGE_SIZE + (address % PAGE_SIZE), status & ~OWN, true);
    return true;
  }

  /** Goes to the next descriptor, as the one that was loaded says. @param busMode - CSR0 */
  advance(busMode: number): void {
    this.#current = this.#next(busMode);
  }

  /** Whether the next descriptor is the chip's now; not where it cannot be reached. @param busMode - CSR0 */
  isNextOwned(busMode: number): boolean {
    const address = this.#next(busMode);
    const page = this.#dma.translatePage(address >>> PAGE_SHIFT, GpaAccess.READ);
    if (page < 0) return false;
    return (this.#dma.arena.data.getUint32(page * PAGE_SIZE + (address % PAGE_SIZE), true) & OWN) !== 0;
  }

  /** Length of the first buffer. */
  get buffer1Bytes(): number {
    return this.control & Control.BUFFER_1_MASK;
  }

  /** Length of the second buffer; 0 in a chain, where there is none. */
  get buffer2Bytes(): number {
    if ((this.control & Control.CHAINED) !== 0) return 0;
    return (this.control >>> Control.BUFFER_2_SHIFT) & Control.BUFFER_1_MASK;
  }

  #next(busMode: number): number {
    if ((this.control & Control.END_OF_RING) !== 0) return this.#base;
    if ((this.control & Control.CHAINED) !== 0) return (this.buffer2 & ~3) >>> 0;
    const gapBytes = 4 * ((busMode >>> BusMode.SKIP_SHIFT) & BusMode.SKIP_MASK);
    return (this.#current + DESCRIPTOR_BYTES + gapBytes) >>> 0;
  }
}
