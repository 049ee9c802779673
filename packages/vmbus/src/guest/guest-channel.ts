import { assert, GuestEvent, GuestFault, PAGE_SIZE } from '@kensho/core';
import { type IncomingPacket, PacketType } from '../channel.ts';
import {
  DESCRIPTOR_SIZE_BYTES,
  FEATURE_PENDING_SEND_SIZE,
  PACKET_FLAG_COMPLETION_REQUESTED,
  RingControl,
} from '../ring/layout.ts';
import {
  gpaDirectDescriptorSizeBytes,
  type PacketTarget,
  packetSizeBytes,
  putGpaRanges,
  putPacket,
} from '../ring/packet-encoder.ts';
import { RingMemory } from '../ring/ring-memory.ts';
import { RingRead, RingReader } from '../ring/ring-reader.ts';
import { RingWriter } from '../ring/ring-writer.ts';
import type { GuestBuffer, GuestChannel } from './contract.ts';

/** The part of a channel that moves packets; creating and closing it is the bus driver's. */
export type GuestDataPath = Omit<GuestChannel, 'createGpadl' | 'tearDownGpadl' | 'close'>;

export interface GuestDataPathOptions {
  readonly relid: number;
  readonly subChannelIndex: number;
  /** Both rings, the one to the host first, as one run of guest memory; a multiple of 4096 bytes. */
  readonly rings: Uint8Array;
  /** Page of `rings` at which the ring from the host begins. */
  readonly downstreamPage: number;
  /** HvCallSignalEvent for this channel. */
  signal(): void;
}

/**
 * The guest's end of a channel's rings, the counterpart of `RingHostChannel`. Construct it before the open message is
 * sent: it clears the control pages and offers the pending-send feature in both rings.
 *
 * A host that breaks the ring's rules ends the guest (GuestFault): nothing that follows could be trusted.
 */
export class RingGuestChannel implements GuestDataPath {
  readonly relid: number;
  readonly subChannelIndex: number;
  readonly readable = new GuestEvent();
  readonly writable = new GuestEvent();
  readonly #reader: RingReader;
  readonly #writer: RingWriter;
  readonly #signal: () => void;
  #draining = false;
  /** Size of the packet that last found no room; 0 where none waits. */
  #wanted = 0;

  constructor(options: GuestDataPathOptions) {
    const { rings, downstreamPage } = options;
    assert(rings.length % PAGE_SIZE === 0 && rings.byteOffset % 4 === 0, 'rings are whole pages');
    const words = new Uint32Array(rings.buffer, rings.byteOffset, rings.length / 4);
    const pages = Array.from({ length: rings.length / PAGE_SIZE }, (_, page) => page);
    const outgoing = new RingMemory(words, rings, pages.slice(0, downstreamPage));
    const incoming = new RingMemory(words, rings, pages.slice(downstreamPage));
    for (const ring of [outgoing, incoming]) {
      words.fill(0, ring.control, ring.control + PAGE_SIZE / 4);
      words[ring.control + RingControl.FEATURE_BITS] = FEATURE_PENDING_SEND_SIZE;
    }
    this.relid = options.relid;
    this.subChannelIndex = options.subChannelIndex;
    this.#reader = new RingReader(incoming);
    this.#writer = new RingWriter(outgoing);
    this.#signal = () => options.signal();
  }

  /** The host set the channel's event flag: packets may have come, or room. */
  onInterrupt(): void {
    this.readable.set();
    if (this.#wanted > 0 && this.#writer.hasRoom(this.#wanted)) {
      this.#wanted = 0;
      this.#writer.cancelRequest();
      this.writable.set();
    }
  }

  read(): IncomingPacket | undefined {
    if (!this.#draining) {
      this.#draining = true;
      this.#reader.setInterruptMask(true);
    }
    for (;;) {
      const outcome = this.#reader.next();
      if (outcome === RingRead.PACKET) return this.#reader.packet;
      if (outcome !== RingRead.EMPTY) throw new GuestFault(`channel ${this.relid}: the host broke its ring`);
      if (this.#reader.publish()) this.#signal();
      this.#reader.setInterruptMask(false);
      if (!this.#reader.hasMore()) break;
      this.#reader.setInterruptMask(true);
    }
    this.#draining = false;
    return undefined;
  }

  trySend(payload: Uint8Array, transactionId: number, completionRequested: boolean): boolean {
    const flags = completionRequested ? PACKET_FLAG_COMPLETION_REQUESTED : 0;
    return this.#trySimple(PacketType.IN_BAND, flags, transactionId, transactionId / 0x1_0000_0000, payload);
  }

  trySendBuffers(payload: Uint8Array, buffers: readonly GuestBuffer[], transactionId: number): boolean {
    const descriptor = gpaDirectDescriptorSizeBytes(buffers);
    const size = packetSizeBytes(descriptor, payload);
    const target = this.#reserve(size);
    if (target === undefined) return false;
    const flags = PACKET_FLAG_COMPLETION_REQUESTED;
    const idHi = transactionId / 0x1_0000_0000;
    putPacket(target, PacketType.GPA_DIRECT, descriptor, size, flags, transactionId, idHi, payload);
    putGpaRanges(target, buffers);
    this.#writer.commit(size);
    return true;
  }

  tryComplete(transactionIdLo: number, transactionIdHi: number, payload: Uint8Array): boolean {
    return this.#trySimple(PacketType.COMPLETION, 0, transactionIdLo, transactionIdHi, payload);
  }

  flush(): void {
    if (this.#writer.publish()) this.#signal();
  }

  #trySimple(type: number, flags: number, idLo: number, idHi: number, payload: Uint8Array): boolean {
    const size = packetSizeBytes(DESCRIPTOR_SIZE_BYTES, payload);
    const target = this.#reserve(size);
    if (target === undefined) return false;
    putPacket(target, type, DESCRIPTOR_SIZE_BYTES, size, flags, idLo, idHi, payload);
    this.#writer.commit(size);
    return true;
  }

  #reserve(sizeBytes: number): PacketTarget | undefined {
    const target = this.#writer.reserve(sizeBytes);
    return target ?? this.#waitForRoom(sizeBytes);
  }

  /** Asks the host for a signal once there is room, unless there is by now. */
  #waitForRoom(sizeBytes: number): PacketTarget | undefined {
    assert(this.#writer.canEverHold(sizeBytes), 'a packet fits the ring');
    // What was not flushed is what the host would have to read.
    this.flush();
    this.#writer.requestRoom(sizeBytes);
    const target = this.#writer.reserve(sizeBytes);
    if (target === undefined) {
      this.#wanted = sizeBytes;
    } else {
      this.#writer.cancelRequest();
    }
    return target;
  }
}
