import { assert, type Counter, type WorkQueue } from '@kensho/core';
import type { Frame, NetworkAdapter } from './port.ts';

/** Bounds of one queue. */
export interface DeliveryLimits {
  /** A power of two. @default 1024 */
  readonly maxFrames?: number;
  /** Beyond this no further frame is taken, whatever its length. @default 4 MiB */
  readonly maxBytes?: number;
}

/** What a queue does beside delivering. */
export interface DeliveryQueueOptions extends DeliveryLimits {
  /** Counts frames that found no room. */
  readonly dropped: Counter;
  /** Called after a push that was refused, or {@link DeliveryQueue.awaitRoom}, once half of the queue is free. */
  readonly onRoom?: () => void;
}

const MAX_FRAMES = 1024;
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Frames on their way to one adapter. They are handed over by a task of the adapter's partition, never from within
 * the call that sent them, so that two partitions on one network do not run inside each other, and in the order in
 * which they came. Where the adapter has no room they wait here, up to a bound.
 */
export class DeliveryQueue {
  readonly #adapter: NetworkAdapter;
  readonly #work: WorkQueue;
  readonly #dropped: Counter;
  readonly #onRoom: (() => void) | undefined;
  readonly #maxBytes: number;
  readonly #ring: (Frame | undefined)[];
  readonly #mask: number;
  #head = 0;
  #count = 0;
  #bytes = 0;
  /** A task is queued, or runs. */
  #scheduled = false;
  #draining = false;
  /** The adapter said that it has no room. */
  #blocked = false;
  #roomWanted = false;
  #closed = false;

  constructor(adapter: NetworkAdapter, work: WorkQueue, options: DeliveryQueueOptions) {
    const maxFrames = options.maxFrames ?? MAX_FRAMES;
    assert(isPowerOfTwo(maxFrames), 'a queue is for a power of two of frames');
    this.#adapter = adapter;
    this.#work = work;
    this.#dropped = options.dropped;
    this.#onRoom = options.onRoom;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#ring = new Array<Frame | undefined>(maxFrames).fill(undefined);
    this.#mask = maxFrames - 1;
  }

  /** Whether the next {@link push} will be taken. */
  get hasRoom(): boolean {
    return this.#count <= this.#mask && this.#bytes < this.#maxBytes;
  }

  /** Queues a frame; false where it was dropped and counted. */
  push(frame: Frame): boolean {
    if (this.#closed) return false;
    if (!this.hasRoom) {
      this.#dropped.value++;
      this.#roomWanted = true;
      return false;
    }
    this.#ring[(this.#head + this.#count) & this.#mask] = frame;
    this.#count++;
    this.#bytes += frame.bytes.length;
    this.#schedule();
    return true;
  }

  /** Asks for one call of `onRoom`. */
  awaitRoom(): void {
    this.#roomWanted = true;
  }

  /** The adapter has room again: it gets frames during the call. */
  ready(): void {
    this.#blocked = false;
    if (!this.#draining) this.#drain();
  }

  /** Drops what waits, and everything that comes. */
  close(): void {
    this.#closed = true;
    this.#dropped.value += this.#count;
    this.#count = 0;
    this.#bytes = 0;
    this.#ring.fill(undefined);
  }

  #schedule(): void {
    if (this.#scheduled || this.#blocked) return;
    this.#scheduled = true;
    this.#work.defer(this.#task);
  }

  readonly #task = (): void => {
    this.#scheduled = false;
    if (!this.#draining) this.#drain();
  };

  #drain(): void {
    this.#draining = true;
    // What comes meanwhile waits for a task of its own: an adapter that answers each frame must not keep others away.
    for (let left = this.#count; left > 0 && this.#count > 0 && !this.#blocked; left--) {
      const frame = this.#ring[this.#head] as Frame;
      // Before the call: the adapter may say during it that it has room again.
      this.#blocked = true;
      if (!this.#adapter.receive(frame)) break;
      this.#blocked = false;
      if (this.#closed) break;
      this.#ring[this.#head] = undefined;
      this.#head = (this.#head + 1) & this.#mask;
      this.#count--;
      this.#bytes -= frame.bytes.length;
    }
    this.#draining = false;
    if (this.#count > 0) this.#schedule();
    if (this.#roomWanted && this.#count <= this.#mask >> 1 && this.#bytes <= this.#maxBytes / 2) {
      this.#roomWanted = false;
      this.#onRoom?.();
    }
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && (value & (value - 1)) === 0;
}
