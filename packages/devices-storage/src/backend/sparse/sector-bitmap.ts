import type { MetadataPages } from './metadata-pages.ts';

/** Which end of a byte its first sector has: VHDX counts from the least significant bit, VHD from the other. */
export type BitOrder = 'least-first' | 'most-first';

/** One bit for each sector in metadata pages, addressed by the file offset of the byte that a run begins in. */
export class SectorBitmap {
  readonly #pages: MetadataPages;
  readonly #flip: number;

  constructor(pages: MetadataPages, order: BitOrder) {
    this.#pages = pages;
    this.#flip = order === 'most-first' ? 7 : 0;
  }

  /**
   * The run of equal bits that begins `firstBit` bits after the byte at `baseBytes`: its length, at most `count` and
   * not beyond the page, negated where the bits are clear.
   */
  async run(baseBytes: number, firstBit: number, count: number): Promise<number> {
    const { pageOffset, bit, available } = this.#place(baseBytes, firstBit, count);
    const page = await this.#pages.page(pageOffset);
    const first = this.#get(page, bit);
    let length = 1;
    while (length < available && this.#get(page, bit + length) === first) {
      const whole = first === 1 ? 0xff : 0;
      // Eight sectors at a time where the run passes whole bytes.
      if ((bit + length) % 8 === 0 && length + 8 <= available && page[(bit + length) >> 3] === whole)
        length += 8;
      else length++;
    }
    return first === 1 ? length : -length;
  }

  /** Sets or clears a run of bits. */
  async set(baseBytes: number, firstBit: number, count: number, value: 0 | 1): Promise<void> {
    for (let done = 0; done < count; ) {
      const { pageOffset, bit, available } = this.#place(baseBytes, firstBit + done, count - done);
      // Looked up again after a wait, so that what is changed is the page that everybody sees.
      let page = this.#pages.page(pageOffset);
      while (page instanceof Promise) {
        await page;
        page = this.#pages.page(pageOffset);
      }
      let differs = false;
      for (let i = bit; i < bit + available; i++) {
        if (this.#get(page, i) === value) continue;
        differs = true;
        page[i >> 3] ^= 1 << ((i & 7) ^ this.#flip);
      }
      if (differs) this.#pages.changed(pageOffset, page);
      done += available;
    }
  }

  #get(page: Uint8Array, bit: number): number {
    return (page[bit >> 3] >> ((bit & 7) ^ this.#flip)) & 1;
  }

  #place(
    baseBytes: number,
    firstBit: number,
    count: number,
  ): { pageOffset: number; bit: number; available: number } {
    const at = baseBytes + Math.floor(firstBit / 8);
    const pageOffset = at - (at % this.#pages.pageBytes);
    const bit = (at - pageOffset) * 8 + (firstBit % 8);
    return { pageOffset, bit, available: Math.min(count, this.#pages.pageBytes * 8 - bit) };
  }
}
