import { GpaAccess } from '@kensho/core';
import type { Gpadl } from '@kensho/vmbus';
import type { GuestBytes } from './guest-bytes.ts';

/** End of a chain of sections. */
export const NO_SECTION = -1;

/**
 * A guest's receive buffer: sections of one size, and which of them the guest has.
 *
 * Sections that go to the guest in one packet form a chain, which comes back as a whole with the packet's
 * completion. Its first section names the transaction, so that a completion is looked up without a table and one
 * that nobody waits for is known.
 */
export class ReceiveBuffer {
  /** What the guest calls it: each transfer-page packet names it. */
  readonly id: number;
  readonly sectionBytes: number;
  readonly sectionCount: number;
  readonly #gpadl: Gpadl;
  /** Tells the transactions of this buffer from those of one that was revoked. */
  readonly #generation: number;
  readonly #free: Int32Array;
  #freeCount: number;
  /** The section after each in its chain. */
  readonly #next: Int32Array;
  /** For the first section of a chain that the guest has: index of the channel that it went by; otherwise -1. */
  readonly #channelOf: Int16Array;

  /** @param generation - a number of the channel's life that no earlier buffer had, below 2^20 */
  constructor(gpadl: Gpadl, id: number, sectionBytes: number, generation: number) {
    this.id = id;
    this.sectionBytes = sectionBytes;
    this.sectionCount = Math.floor(gpadl.sizeBytes / sectionBytes);
    this.#gpadl = gpadl;
    this.#generation = generation;
    this.#free = new Int32Array(this.sectionCount);
    // The lowest sections are taken first, and again while they are warm.
    for (let i = 0; i < this.sectionCount; i++) this.#free[i] = this.sectionCount - 1 - i;
    this.#freeCount = this.sectionCount;
    this.#next = new Int32Array(this.sectionCount).fill(NO_SECTION);
    this.#channelOf = new Int16Array(this.sectionCount).fill(-1);
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** Takes a section, of which there must be one, and puts it in front of a chain. */
  take(chain: number): number {
    const section = this.#free[--this.#freeCount];
    this.#next[section] = chain;
    return section;
  }

  offsetOf(section: number): number {
    return section * this.sectionBytes;
  }

  /** Resolves the memory of a section; false, and a DMA fault, where it is not there. */
  open(section: number, sizeBytes: number, target: GuestBytes): boolean {
    target.clear();
    const there = this.#gpadl.collect(this.offsetOf(section), sizeBytes, GpaAccess.WRITE, target.views);
    if (there) target.seal();
    return there;
  }

  /** The chain goes to the guest. Returns the transaction id, never 0. */
  lend(chain: number, channelIndex: number): number {
    this.#channelOf[chain] = channelIndex;
    return this.#generation * 0x1_0000_0000 + chain + 1;
  }

  /** The guest completed a transaction; false where it is not one that this channel waits for. */
  takeBack(transactionIdLo: number, transactionIdHi: number, channelIndex: number): boolean {
    const chain = transactionIdLo - 1;
    if (transactionIdHi !== this.#generation || chain < 0 || chain >= this.sectionCount) return false;
    if (this.#channelOf[chain] !== channelIndex) return false;
    this.#channelOf[chain] = -1;
    this.release(chain);
    return true;
  }

  /** Takes back all that went by a channel which is gone. */
  takeBackAll(channelIndex: number): void {
    for (let section = 0; section < this.sectionCount; section++) {
      if (this.#channelOf[section] !== channelIndex) continue;
      this.#channelOf[section] = -1;
      this.release(section);
    }
  }

  /** Makes the sections of a chain free that the guest does not have. */
  release(chain: number): void {
    for (let section = chain; section !== NO_SECTION; section = this.#next[section]) {
      this.#free[this.#freeCount++] = section;
    }
  }
}
