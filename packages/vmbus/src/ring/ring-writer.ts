import { freeBytes, isRingIndex, RingControl, TRAILER_SIZE_BYTES } from './layout.ts';
import { PacketTarget } from './packet-encoder.ts';
import type { RingMemory } from './ring-memory.ts';

/**
 * The producer's end of a ring.
 *
 * A packet is put in place by {@link reserve}, the encoder's functions and {@link commit}; {@link publish} makes all
 * that was committed visible at once. The write index is the writer's own and only ever stored; the read index
 * belongs to the peer, is loaded where the space known of does not do, and an index that cannot be right means full.
 *
 * Memory order: a partition runs on one thread, so plain stores in program order (data, then write index, then the
 * loads of mask and read index) are all that the protocol needs. With the peer on another thread, the store of the
 * index and the loads after it have to be sequentially consistent (Atomics).
 */
export class RingWriter {
  readonly #memory: RingMemory;
  readonly #inPlace: PacketTarget;
  /** For packets that do not lie in one piece. */
  #staging: PacketTarget;
  #reserved: PacketTarget;
  /** Where the next packet goes, and up to where the peer knows. */
  #write: number;
  #published: number;
  /** Free bytes by the read index as last loaded. */
  #free = 0;

  constructor(memory: RingMemory) {
    this.#memory = memory;
    this.#inPlace = new PacketTarget(memory.words, memory.bytes);
    this.#staging = PacketTarget.allocate(512);
    this.#reserved = this.#inPlace;
    const index = memory.words[memory.control + RingControl.WRITE_INDEX];
    this.#write = isRingIndex(index, memory.dataSizeBytes) ? index : 0;
    this.#published = this.#write;
    this.refresh();
  }

  /** Whether there is room for a packet of that size (without its trailer). */
  hasRoom(sizeBytes: number): boolean {
    // A packet that left no byte free would make a full ring look empty.
    if (this.#free > sizeBytes + TRAILER_SIZE_BYTES) return true;
    this.refresh();
    return this.#free > sizeBytes + TRAILER_SIZE_BYTES;
  }

  /** Whether a packet of that size fits the ring when it is empty. */
  canEverHold(sizeBytes: number): boolean {
    return this.#memory.dataSizeBytes > sizeBytes + TRAILER_SIZE_BYTES;
  }

  /**
   * Finds room for a packet.
   *
   * @param sizeBytes - a multiple of 8, without the trailer
   * @returns where to put it, good until {@link commit}; undefined where there is no room
   */
  reserve(sizeBytes: number): PacketTarget | undefined {
    if (!this.hasRoom(sizeBytes)) return undefined;
    const write = this.#write;
    const memory = this.#memory;
    let target = this.#inPlace;
    if (write + sizeBytes + TRAILER_SIZE_BYTES <= memory.pieceEnd(write)) {
      target.at = memory.wordAt(write);
    } else {
      target = this.#staging;
      if (target.bytes.length < sizeBytes + TRAILER_SIZE_BYTES) {
        target = PacketTarget.allocate(2 * (sizeBytes + TRAILER_SIZE_BYTES));
        this.#staging = target;
      }
    }
    this.#reserved = target;
    return target;
  }

  /** Ends a packet of the size that was reserved. */
  commit(sizeBytes: number): void {
    const target = this.#reserved;
    const trailer = target.at + (sizeBytes >>> 2);
    target.words[trailer] = 0;
    target.words[trailer + 1] = this.#write;
    const total = sizeBytes + TRAILER_SIZE_BYTES;
    if (target !== this.#inPlace) this.#memory.scatter(this.#write, total >>> 2, target.words);
    const next = this.#write + total;
    this.#write = next < this.#memory.dataSizeBytes ? next : next - this.#memory.dataSizeBytes;
    this.#free -= total;
  }

  /**
   * Shows the peer what was committed.
   *
   * @returns whether the peer must be signalled: it wants signals, and had read all that was published before
   */
  publish(): boolean {
    const before = this.#published;
    if (this.#write === before) return false;
    const { words, control } = this.#memory;
    words[control + RingControl.WRITE_INDEX] = this.#write;
    this.#published = this.#write;
    return (
      words[control + RingControl.INTERRUPT_MASK] === 0 && words[control + RingControl.READ_INDEX] === before
    );
  }

  /**
   * Asks the peer for a signal once there is room for packets of `sizeBytes` bytes, the last one's trailer left out.
   * The caller must look for room again afterwards: the peer may have made it before it could see the request.
   */
  requestRoom(sizeBytes: number): void {
    this.#setPendingSendSize(sizeBytes + TRAILER_SIZE_BYTES);
  }

  /** Takes the request back. */
  cancelRequest(): void {
    this.#setPendingSendSize(0);
  }

  /**
   * Loads the peer's read index.
   *
   * @returns false where it cannot be right
   */
  refresh(): boolean {
    const { words, control, dataSizeBytes } = this.#memory;
    const read = words[control + RingControl.READ_INDEX];
    if (!isRingIndex(read, dataSizeBytes)) {
      this.#free = 0;
      return false;
    }
    this.#free = freeBytes(read, this.#write, dataSizeBytes);
    return true;
  }

  #setPendingSendSize(sizeBytes: number): void {
    this.#memory.words[this.#memory.control + RingControl.PENDING_SEND_SIZE] = sizeBytes;
  }
}
