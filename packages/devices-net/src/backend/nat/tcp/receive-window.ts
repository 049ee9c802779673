import { ReorderBuffer } from './reorder-buffer.ts';
import type { Segment } from './segment.ts';
import { advance, distance } from './sequence.ts';

const MAX_WINDOW = 0xffff;

/** The receiving half of a connection: what comes next, how far the other side may go, and what came too early. */
export class ReceiveWindow {
  /** The number that is expected next. */
  next = 0;
  /** By how many bits windows in headers are shifted. */
  scale = 0;
  /** Right edge of the window that was offered last; it never moves back. */
  #edge = 0;
  #unconsumed = 0;
  readonly #early = new ReorderBuffer();

  /** Received bytes that are here or at the owner. */
  get unconsumedBytes(): number {
    return this.#unconsumed;
  }

  /** Whether there is data that came before the data in front of it. */
  get hasGap(): boolean {
    return !this.#early.isEmpty;
  }

  /** The other side's SYN has that number. */
  begin(synSequence: number): void {
    this.next = advance(synSequence, 1);
    this.#edge = this.next;
  }

  /**
   * RFC 9293, 3.10.7.4, first step: whether any of the segment lies in the window. One without data may also stand at
   * its right edge, where a side stands that has filled it.
   */
  accepts({ sequence, length, payload }: Segment): boolean {
    const window = distance(this.#edge, this.next);
    const start = distance(sequence, this.next);
    if (length === 0) return start >= 0 && start <= window;
    // Data at a closed window's edge is not taken, but what it acknowledges must be: so are probes.
    if (window === 0) return start === 0 && payload.length <= 1;
    return start < window && start + length > 0;
  }

  /**
   * Takes a segment's data, cut to the window.
   *
   * @param deliver - gets what is in order now
   * @returns false where the data came too early, and is kept for later
   */
  take({ sequence, payload }: Segment, deliver: (bytes: Uint8Array) => void): boolean {
    const behind = Math.max(0, distance(this.next, sequence));
    const start = advance(sequence, behind);
    const room = Math.max(0, distance(this.#edge, start));
    const bytes = payload.subarray(Math.min(behind, payload.length)).subarray(0, room);
    if (start !== this.next) {
      if (bytes.length > 0) this.#early.add(start, bytes);
      return false;
    }
    for (
      let piece = bytes.length > 0 ? bytes : undefined;
      piece !== undefined;
      piece = this.#early.next(this.next)
    ) {
      this.next = advance(this.next, piece.length);
      this.#unconsumed += piece.length;
      deliver(piece);
    }
    return true;
  }

  /** The other side's FIN is next: nothing comes after it. */
  takeFin(): void {
    this.next = advance(this.next, 1);
    this.#edge = advance(this.#edge, 1);
    this.clear();
  }

  /** Forgets what came too early. */
  clear(): void {
    this.#early.clear();
  }

  /**
   * The owner is done with bytes that it got.
   *
   * @returns whether the other side should be told: its window was so small that it may have stopped
   */
  consumed(count: number, limitBytes: number, segmentBytes: number): boolean {
    this.#unconsumed -= count;
    const grown = distance(this.#possibleEdge(limitBytes), this.#edge);
    const offered = distance(this.#edge, this.next);
    return grown > 0 && offered <= 4 * segmentBytes + grown / 2;
  }

  /** The window for a header, which is offered by that. Windows in SYNs are not scaled. */
  offer(isSyn: boolean, limitBytes: number, segmentBytes: number): number {
    const possible = this.#possibleEdge(limitBytes);
    // Not by small steps: they would make for small segments (RFC 9293, 3.8.6.2.2).
    const worthwhile = distance(possible, this.#edge) >= Math.min(segmentBytes, limitBytes / 2);
    const room = Math.max(0, distance(worthwhile ? possible : this.#edge, this.next));
    const unit = isSyn ? 1 : 2 ** this.scale;
    const window = Math.min(MAX_WINDOW, Math.ceil(room / unit));
    const offered = advance(this.next, window * unit);
    if (distance(offered, this.#edge) > 0) this.#edge = offered;
    return window;
  }

  #possibleEdge(limitBytes: number): number {
    return advance(this.next, Math.max(0, limitBytes - this.#unconsumed));
  }
}
