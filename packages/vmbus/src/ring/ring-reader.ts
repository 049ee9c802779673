import { PAGE_SIZE } from '@kensho/core';
import { type GpaRange, type IncomingPacket, PacketType } from '../channel.ts';
import {
  DESCRIPTOR_SIZE_BYTES,
  FEATURE_PENDING_SEND_SIZE,
  freeBytes,
  isRingIndex,
  MAX_GPA_RANGES,
  MAX_TRANSFER_RANGES,
  PACKET_FLAG_COMPLETION_REQUESTED,
  RANGED_DESCRIPTOR_SIZE_BYTES,
  RingControl,
  TRAILER_SIZE_BYTES,
} from './layout.ts';
import { pageCountOf } from './packet-encoder.ts';
import type { RingMemory } from './ring-memory.ts';

/** What {@link RingReader.next} found. */
export const RingRead = {
  EMPTY: 0,
  PACKET: 1,
  /** The peer's write index cannot be right: the ring counts as empty. */
  BAD_INDEX: 2,
  /** A length that leads nowhere: everything up to the write index was discarded. */
  BAD_LENGTH: 3,
} as const;

const NO_PAYLOAD = new Uint8Array(0);
/** Copying by words beats `set`, which needs a view of the source to be made, up to about this size. */
const WORD_COPY_LIMIT = 192 / 4;
/** Payload views are kept for payloads below this size. */
const KEPT_VIEW_LIMIT_BYTES = 4096;
/** Page numbers of 40 bits reach further than any x64 physical address (52 bits). */
const MAX_PAGE_NUMBER_HI = 0xff;

/**
 * The consumer's end of a ring.
 *
 * {@link next} takes packets up to the write index as last loaded; when these are used up it publishes how far it
 * read and loads the index anew, so that the control page is touched once for a batch. The read index is the reader's
 * own and only ever stored.
 *
 * The ring belongs to a peer that is not trusted: each word of it is loaded once, into a local or into memory of the
 * reader's, before it is judged. What is bounded: a packet by the 16 bits of its length, the number of its ranges by
 * {@link MAX_GPA_RANGES} and {@link MAX_TRANSFER_RANGES}, page numbers by the descriptor that holds them.
 *
 * For the order of loads and stores see `RingWriter`.
 */
export class RingReader {
  /** The packet that {@link next} found, until it is called again. */
  readonly packet: IncomingPacket = {
    type: 0,
    completionRequested: false,
    transactionIdLo: 0,
    transactionIdHi: 0,
    payload: NO_PAYLOAD,
    ranges: [],
    rangeCount: 0,
    pages: new Float64Array(64),
    transferSetId: 0,
    malformed: false,
  };
  readonly #memory: RingMemory;
  /** Payload of the current packet. */
  #payload = new Uint32Array(KEPT_VIEW_LIMIT_BYTES / 4);
  #payloadBytes = new Uint8Array(this.#payload.buffer);
  /** Views of it by length in units of 8 bytes, so that a stream of packets makes no garbage. */
  readonly #views: (Uint8Array | undefined)[] = new Array(KEPT_VIEW_LIMIT_BYTES / 8);
  /** A packet that does not lie in one piece. */
  #staging = new Uint32Array(128);
  /** Where the next packet begins, and up to where the peer knows. */
  #read: number;
  #published: number;
  /** Bytes up to the write index as last loaded. */
  #available = 0;
  #signalDue = false;

  constructor(memory: RingMemory) {
    this.#memory = memory;
    const index = memory.words[memory.control + RingControl.READ_INDEX];
    this.#read = isRingIndex(index, memory.dataSizeBytes) ? index : 0;
    this.#published = this.#read;
  }

  /** Takes the next packet into {@link packet}. Returns a {@link RingRead}. */
  next(): number {
    if (this.#available === 0) {
      const outcome = this.#refill();
      if (outcome !== RingRead.PACKET) return outcome;
    }
    const memory = this.#memory;
    const read = this.#read;
    let words = memory.words;
    let at = memory.wordAt(read);
    const inPiece = memory.pieceEnd(read) - read;
    const head = words[at];
    const size = words[at + 1];
    const sizeBytes = (size & 0xffff) << 3;
    const total = sizeBytes + TRAILER_SIZE_BYTES;
    if (sizeBytes < DESCRIPTOR_SIZE_BYTES || total > this.#available) return this.#resync();
    if (sizeBytes > inPiece) {
      if (this.#staging.length < sizeBytes >>> 2) this.#staging = new Uint32Array(sizeBytes >>> 1);
      memory.gather(read, sizeBytes >>> 2, this.#staging, 0);
      words = this.#staging;
      at = 0;
    }
    const packet = this.packet;
    packet.type = head & 0xffff;
    packet.completionRequested = (size & (PACKET_FLAG_COMPLETION_REQUESTED << 16)) !== 0;
    packet.transactionIdLo = words[at + 2];
    packet.transactionIdHi = words[at + 3];
    const descriptorBytes = (head >>> 16) << 3;
    if (descriptorBytes < DESCRIPTOR_SIZE_BYTES || descriptorBytes > sizeBytes) {
      this.#malformed();
    } else {
      packet.malformed = false;
      packet.rangeCount = 0;
      if (packet.type !== PacketType.IN_BAND && packet.type !== PacketType.COMPLETION) {
        this.#parseRanges(words, at, descriptorBytes);
      }
      this.#takePayload(words, at + (descriptorBytes >>> 2), (sizeBytes - descriptorBytes) >>> 2);
    }
    const next = read + total;
    this.#read = next < memory.dataSizeBytes ? next : next - memory.dataSizeBytes;
    this.#available -= total;
    return RingRead.PACKET;
  }

  /** The peer's write index, unchecked: whether it moved says whether the peer writes. */
  get writeIndex(): number {
    return this.#memory.words[this.#memory.control + RingControl.WRITE_INDEX];
  }

  /** Whether there is something to read now. */
  hasMore(): boolean {
    return this.#available > 0 || this.#refill() === RingRead.PACKET;
  }

  /**
   * Shows the peer what was read.
   *
   * @returns whether the peer must be signalled, now or because of an earlier publication by {@link next}: it waits
   * for room, did not have it, and has it now (Linux, `hv_pkt_iter_close`)
   */
  publish(): boolean {
    this.#publish();
    const due = this.#signalDue;
    this.#signalDue = false;
    return due;
  }

  /** Tells the peer whether to signal what it writes. After unmasking, look for more: it may have come unsignalled. */
  setInterruptMask(masked: boolean): void {
    this.#memory.words[this.#memory.control + RingControl.INTERRUPT_MASK] = masked ? 1 : 0;
  }

  #publish(): void {
    const before = this.#published;
    const read = this.#read;
    if (read === before) return;
    const { words, control, dataSizeBytes } = this.#memory;
    words[control + RingControl.READ_INDEX] = read;
    this.#published = read;
    const pending = words[control + RingControl.PENDING_SEND_SIZE];
    if (pending === 0 || (words[control + RingControl.FEATURE_BITS] & FEATURE_PENDING_SEND_SIZE) === 0)
      return;
    const write = words[control + RingControl.WRITE_INDEX];
    if (!isRingIndex(write, dataSizeBytes)) return;
    // Some guests ask for all of the ring but one byte. Free space is a multiple of 8, so that the strict comparison
    // does what masking the request's low bits would.
    const was = freeBytes(before, write, dataSizeBytes);
    if (was <= pending && freeBytes(read, write, dataSizeBytes) > pending) this.#signalDue = true;
  }

  #refill(): number {
    this.#publish();
    const { words, control, dataSizeBytes } = this.#memory;
    const write = words[control + RingControl.WRITE_INDEX];
    if (write === this.#read) return RingRead.EMPTY;
    if (!isRingIndex(write, dataSizeBytes)) return RingRead.BAD_INDEX;
    this.#available = dataSizeBytes - freeBytes(this.#read, write, dataSizeBytes);
    return RingRead.PACKET;
  }

  #resync(): number {
    const { dataSizeBytes } = this.#memory;
    this.#read = (this.#read + this.#available) % dataSizeBytes;
    this.#available = 0;
    return RingRead.BAD_LENGTH;
  }

  #malformed(): void {
    this.packet.malformed = true;
    this.packet.rangeCount = 0;
    this.packet.payload = NO_PAYLOAD;
  }

  #takePayload(words: Uint32Array, from: number, count: number): void {
    if (count > this.#payload.length) {
      this.#payload = new Uint32Array(count);
      this.#payloadBytes = new Uint8Array(this.#payload.buffer);
      this.#views.fill(undefined);
    }
    const payload = this.#payload;
    if (count <= WORD_COPY_LIMIT) {
      for (let i = 0; i < count; i++) payload[i] = words[from + i];
    } else {
      payload.set(words.subarray(from, from + count));
    }
    const kept = count >>> 1;
    if (kept >= this.#views.length) {
      this.packet.payload = this.#payloadBytes.subarray(0, count << 2);
      return;
    }
    let view = this.#views[kept];
    if (view === undefined) {
      view = this.#payloadBytes.subarray(0, count << 2);
      this.#views[kept] = view;
    }
    this.packet.payload = view;
  }

  /** Ranges of a packet that has some; a packet of an unknown type, or whose ranges are wrong, is malformed. */
  #parseRanges(words: Uint32Array, at: number, descriptorBytes: number): void {
    const packet = this.packet;
    const end = at + (descriptorBytes >>> 2);
    let ok = false;
    if (descriptorBytes >= RANGED_DESCRIPTOR_SIZE_BYTES) {
      const first = words[at + 4];
      const count = words[at + 5];
      if (packet.type === PacketType.GPA_DIRECT) {
        ok = this.#parseGpaRanges(words, at + 6, end, count);
      } else if (packet.type === PacketType.TRANSFER_PAGES) {
        packet.transferSetId = first & 0xffff;
        ok = this.#parseTransferRanges(words, at + 6, end, count);
      }
    }
    packet.malformed = !ok;
    packet.rangeCount = ok ? packet.rangeCount : 0;
  }

  #parseGpaRanges(words: Uint32Array, at: number, end: number, count: number): boolean {
    if (count === 0 || count > MAX_GPA_RANGES) return false;
    let pageCount = 0;
    for (let i = 0; i < count; i++) {
      if (at + 2 > end) return false;
      const sizeBytes = words[at];
      const offset = words[at + 1];
      at += 2;
      if (offset >= PAGE_SIZE) return false;
      const pagesHere = pageCountOf(offset, sizeBytes);
      if (pagesHere > (end - at) >>> 1) return false;
      this.#setRange(i, offset, sizeBytes, pageCount);
      const pages = this.#pagesFor(pageCount + pagesHere);
      for (let p = 0; p < pagesHere; p++, at += 2) {
        const hi = words[at + 1];
        if (hi > MAX_PAGE_NUMBER_HI) return false;
        pages[pageCount++] = hi * 0x1_0000_0000 + words[at];
      }
    }
    this.packet.rangeCount = count;
    return true;
  }

  #parseTransferRanges(words: Uint32Array, at: number, end: number, count: number): boolean {
    if (count === 0 || count > MAX_TRANSFER_RANGES || count > (end - at) >>> 1) return false;
    for (let i = 0; i < count; i++, at += 2) this.#setRange(i, words[at + 1], words[at], 0);
    this.packet.rangeCount = count;
    return true;
  }

  #setRange(index: number, offset: number, sizeBytes: number, firstPage: number): void {
    const ranges: GpaRange[] = this.packet.ranges;
    if (index === ranges.length) {
      ranges.push({ offset, sizeBytes, firstPage });
      return;
    }
    const range = ranges[index];
    range.offset = offset;
    range.sizeBytes = sizeBytes;
    range.firstPage = firstPage;
  }

  /** The packet's page numbers with room for `count`; what is there stays. */
  #pagesFor(count: number): Float64Array {
    const pages = this.packet.pages;
    if (count <= pages.length) return pages;
    const grown = new Float64Array(2 * count);
    grown.set(pages);
    this.packet.pages = grown;
    return grown;
  }
}
