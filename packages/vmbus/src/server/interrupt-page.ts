import { type DmaDomain, GpaAccess, PAGE_SIZE } from '@kensho/core';

/** The page's halves: channels that the host signals, and channels that the guest signals. */
const GUEST_HALF_BYTES = PAGE_SIZE / 2;
/** A bit for each relid that there can be. */
const FLAGS_BYTES = 2048 / 8;

/**
 * The page in which a guest of a version before 5.0 may note which channels it signals, before it signals the one
 * connection that they share (Linux, `vmbus_send_interrupt` and `VMBUS_EVENT_CONNECTION_ID`). Only the guest's half
 * is used: guests from 2.4 on take the host's signals by event flags.
 */
export class InterruptPage {
  readonly #dma: DmaDomain;
  readonly #gpaPage: number;

  constructor(dma: DmaDomain, gpaPage: number) {
    this.#dma = dma;
    this.#gpaPage = gpaPage;
  }

  /** Takes the flags that the guest has set, and gives the relid of each to `signal`. */
  take(signal: (relid: number) => void): void {
    const page = this.#dma.translatePage(this.#gpaPage, GpaAccess.READ_WRITE);
    if (page < 0) {
      this.#dma.fault(this.#gpaPage, GpaAccess.READ_WRITE);
      return;
    }
    const { words } = this.#dma.arena;
    const first = (page * PAGE_SIZE + GUEST_HALF_BYTES) / 4;
    for (let word = 0; word < FLAGS_BYTES / 4; word++) {
      const flags = words[first + word];
      if (flags === 0) continue;
      words[first + word] = 0;
      for (let bit = 0; bit < 32; bit++) {
        if ((flags & (1 << bit)) !== 0) signal(32 * word + bit);
      }
    }
  }
}
