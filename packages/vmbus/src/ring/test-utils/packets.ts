import fc from 'fast-check';
import { type IncomingPacket, PacketType, type TransferRange } from '../../channel.ts';
import type { GuestBuffer } from '../../guest/contract.ts';
import { align8, DESCRIPTOR_SIZE_BYTES, FEATURE_PENDING_SEND_SIZE, RingControl } from '../layout.ts';
import {
  gpaDirectDescriptorSizeBytes,
  packetSizeBytes,
  putGpaRanges,
  putPacket,
  putTransferRanges,
  transferDescriptorSizeBytes,
} from '../packet-encoder.ts';
import { RingMemory } from '../ring-memory.ts';
import type { RingWriter } from '../ring-writer.ts';

/** A packet as a test wants it sent. */
export interface SentPacket {
  type: number;
  completionRequested: boolean;
  idLo: number;
  idHi: number;
  payload: Uint8Array;
  setId: number;
  transfer: TransferRange[];
  buffers: GuestBuffer[];
}

/** An in-band packet. */
export function inBand(payload: Uint8Array, idLo = 0): SentPacket {
  return {
    type: PacketType.IN_BAND,
    completionRequested: false,
    idLo,
    idHi: 0,
    payload,
    setId: 0,
    transfer: [],
    buffers: [],
  };
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

const buffer: fc.Arbitrary<GuestBuffer> = fc
  .record({
    offset: fc.integer({ min: 0, max: 4095 }),
    sizeBytes: fc.integer({ min: 0, max: 20_000 }),
    firstPage: fc.integer({ min: 0, max: 2 ** 40 - 10 }),
  })
  .map(({ offset, sizeBytes, firstPage }) => ({
    offset,
    sizeBytes,
    pages: Array.from({ length: Math.ceil((offset + sizeBytes) / 4096) }, (_, i) => firstPage + i),
  }));

/** Packets of all types and of sizes up to about 1 KiB. */
export const sentPacket: fc.Arbitrary<SentPacket> = fc.record({
  type: fc.constantFrom(...Object.values(PacketType)),
  completionRequested: fc.boolean(),
  idLo: u32,
  idHi: u32,
  payload: fc.uint8Array({ maxLength: 300 }),
  setId: fc.integer({ min: 0, max: 0xffff }),
  transfer: fc.array(fc.record({ offset: u32, sizeBytes: u32 }), { minLength: 1, maxLength: 20 }),
  buffers: fc.array(buffer, { minLength: 1, maxLength: 6 }),
});

/** Puts a packet into the ring; false where it has no room. */
export function write(writer: RingWriter, packet: SentPacket): boolean {
  const descriptor =
    packet.type === PacketType.TRANSFER_PAGES
      ? transferDescriptorSizeBytes(packet.transfer)
      : packet.type === PacketType.GPA_DIRECT
        ? gpaDirectDescriptorSizeBytes(packet.buffers)
        : DESCRIPTOR_SIZE_BYTES;
  const size = packetSizeBytes(descriptor, packet.payload);
  const target = writer.reserve(size);
  if (target === undefined) return false;
  const flags = packet.completionRequested ? 1 : 0;
  putPacket(target, packet.type, descriptor, size, flags, packet.idLo, packet.idHi, packet.payload);
  if (packet.type === PacketType.TRANSFER_PAGES) putTransferRanges(target, packet.setId, packet.transfer);
  if (packet.type === PacketType.GPA_DIRECT) putGpaRanges(target, packet.buffers);
  writer.commit(size);
  return true;
}

/** What of a received packet can be compared. */
export function contentOf(packet: IncomingPacket) {
  const pageTotal = packet.ranges
    .slice(0, packet.rangeCount)
    .reduce((n, range) => n + Math.ceil((range.offset + range.sizeBytes) / 4096), 0);
  return {
    type: packet.type,
    completionRequested: packet.completionRequested,
    idLo: packet.transactionIdLo,
    idHi: packet.transactionIdHi,
    payload: [...packet.payload],
    ranges: packet.ranges.slice(0, packet.rangeCount).map(({ offset, sizeBytes }) => ({ offset, sizeBytes })),
    pages: packet.type === PacketType.GPA_DIRECT ? [...packet.pages.slice(0, pageTotal)] : [],
    setId: packet.type === PacketType.TRANSFER_PAGES ? packet.transferSetId : 0,
    malformed: packet.malformed,
  };
}

/** The content with which a packet that was sent must arrive. */
export function expectedContent(sent: SentPacket): ReturnType<typeof contentOf> {
  const ranges =
    sent.type === PacketType.TRANSFER_PAGES
      ? sent.transfer
      : sent.type === PacketType.GPA_DIRECT
        ? sent.buffers
        : [];
  const payload = new Uint8Array(align8(sent.payload.length));
  payload.set(sent.payload);
  return {
    type: sent.type,
    completionRequested: sent.completionRequested,
    idLo: sent.idLo,
    idHi: sent.idHi,
    payload: [...payload],
    ranges: ranges.map(({ offset, sizeBytes }) => ({ offset, sizeBytes })),
    pages: sent.type === PacketType.GPA_DIRECT ? sent.buffers.flatMap((b) => [...b.pages]) : [],
    setId: sent.type === PacketType.TRANSFER_PAGES ? sent.setId : 0,
    malformed: false,
  };
}

const CANARY = 0xdead_beef;

/**
 * A ring in memory where everything around its pages is watched: a load from elsewhere throws at once, a store to
 * elsewhere is found by `checkAround`.
 */
export function watchedRing(arenaPages: readonly number[], startIndex = 0) {
  const words = new Uint32Array((Math.max(...arenaPages) + 2) * 1024).fill(CANARY);
  const bytes = new Uint8Array(words.buffer);
  for (const page of arenaPages) words.fill(0, page * 1024, (page + 1) * 1024);
  const allowed = new Set(arenaPages);
  const check = (first: number, end: number) => {
    for (let page = first >> 10; page <= (end - 1) >> 10; page++) {
      if (!allowed.has(page)) throw new Error(`load from page ${page}, which is no part of the ring`);
    }
  };
  const watched = new Proxy(words, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) {
        check(Number(key), Number(key) + 1);
        return target[Number(key)];
      }
      if (key === 'subarray') {
        return (first: number, end: number) => {
          if (end > first) check(first, end);
          return target.subarray(first, end);
        };
      }
      return Reflect.get(target, key, target);
    },
    set(target, key, value) {
      target[Number(key)] = value as number;
      return true;
    },
  });
  const memory = new RingMemory(watched, bytes, arenaPages);
  const control = words.subarray(memory.control, memory.control + 1024);
  control[RingControl.WRITE_INDEX] = startIndex;
  control[RingControl.READ_INDEX] = startIndex;
  control[RingControl.FEATURE_BITS] = FEATURE_PENDING_SEND_SIZE;
  return {
    memory,
    words,
    bytes,
    control,
    /** Throws where a byte outside of the ring's pages changed. */
    checkAround() {
      for (let page = 0; page < words.length / 1024; page++) {
        if (allowed.has(page)) continue;
        for (let i = page * 1024; i < (page + 1) * 1024; i++) {
          if (words[i] !== CANARY) throw new Error(`store to page ${page}, which is no part of the ring`);
        }
      }
    },
  };
}
