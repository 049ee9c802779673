import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PacketType } from '../channel.ts';
import { DESCRIPTOR_SIZE_BYTES, RingControl, TRAILER_SIZE_BYTES } from './layout.ts';
import { putPacket } from './packet-encoder.ts';
import { RingMemory } from './ring-memory.ts';
import { RingRead, RingReader } from './ring-reader.ts';
import { RingWriter } from './ring-writer.ts';
import {
  contentOf,
  expectedContent,
  inBand,
  type SentPacket,
  sentPacket,
  watchedRing,
  write,
} from './test-utils/packets.ts';

const LAYOUTS = [
  { name: 'one data page', pages: [1, 2] },
  { name: 'two data pages in one piece', pages: [1, 2, 3] },
  { name: 'pages in two pieces', pages: [7, 1, 2, 5] },
  { name: 'pages in reverse', pages: [1, 6, 5, 4] },
];

/** Puts a packet of that size into the ring, without caring for its content. */
function fill(writer: RingWriter, sizeBytes: number): boolean {
  const payload = new Uint8Array(sizeBytes - DESCRIPTOR_SIZE_BYTES);
  const target = writer.reserve(sizeBytes);
  if (target === undefined) return false;
  putPacket(target, PacketType.IN_BAND, DESCRIPTOR_SIZE_BYTES, sizeBytes, 0, 0, 0, payload);
  writer.commit(sizeBytes);
  return true;
}

describe('layout in memory', () => {
  it('is found in memory of any size', () => {
    const words = { length: 2 ** 32 } as Uint32Array;
    const memory = new RingMemory(words, new Uint8Array(0), [2 ** 22 - 2, 2 ** 22 - 1, 2 ** 22 - 3]);
    expect(memory.control).toBe((2 ** 22 - 2) * 1024);
    expect(memory.wordAt(8)).toBe((2 ** 22 - 1) * 1024 + 2);
    expect(memory.wordAt(4096 + 8)).toBe((2 ** 22 - 3) * 1024 + 2);
  });

  it('writes descriptor, padded payload and trailer as the guest reads them', () => {
    const ring = watchedRing([0, 1], 4088);
    ring.words.fill(0xffff_ffff, 1024);
    const writer = new RingWriter(ring.memory);
    write(writer, {
      ...inBand(Uint8Array.of(1, 2, 3, 4, 5), 0x11223344),
      idHi: 0x55667788,
      completionRequested: true,
    });
    writer.publish();
    expect(ring.control[RingControl.WRITE_INDEX]).toBe(24);
    const data = ring.bytes.subarray(4096, 8192);
    const packet = [...data.subarray(4088), ...data.subarray(0, 24)];
    expect(packet).toEqual([
      ...[6, 0, 2, 0, 3, 0, 1, 0],
      ...[0x44, 0x33, 0x22, 0x11, 0x88, 0x77, 0x66, 0x55],
      ...[1, 2, 3, 4, 5, 0, 0, 0],
      ...[0, 0, 0, 0, 0xf8, 0x0f, 0, 0],
    ]);
  });

  it('writes GPA ranges as {size, offset, pages} with 64-bit page numbers', () => {
    const ring = watchedRing([0, 1]);
    const writer = new RingWriter(ring.memory);
    write(writer, {
      ...inBand(new Uint8Array(8)),
      type: PacketType.GPA_DIRECT,
      buffers: [{ offset: 0x800, sizeBytes: 0x1000, pages: [5, 0x12_3456_789a] }],
    });
    expect([...ring.words.subarray(1024, 1024 + 16)]).toEqual([
      ...[0x0006_0009, 0x0000_0007, 0, 0],
      ...[0, 1, 0x1000, 0x800, 5, 0, 0x3456_789a, 0x12],
      ...[0, 0, 0, 0],
    ]);
  });
});

describe.each(LAYOUTS)('packets in $name', ({ pages }) => {
  it('arrive as they were sent, in order, whatever the interleaving', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ packet: sentPacket }) },
      { weight: 2, arbitrary: fc.record({ reads: fc.integer({ min: 1, max: 8 }) }) },
      { weight: 1, arbitrary: fc.constant('publish' as const) },
    );
    const start = fc.integer({ min: 0, max: (pages.length - 1) * 512 - 1 }).map((n) => n * 8);
    fc.assert(
      fc.property(start, fc.array(step, { maxLength: 60 }), (startIndex, steps) => {
        const ring = watchedRing(pages, startIndex);
        const writer = new RingWriter(ring.memory);
        const reader = new RingReader(ring.memory);
        const written: SentPacket[] = [];
        let published = 0;
        for (const action of steps) {
          if (action === 'publish') {
            writer.publish();
            published = written.length;
          } else if ('packet' in action) {
            if (write(writer, action.packet)) written.push(action.packet);
          } else {
            for (let i = 0; i < action.reads; i++) {
              const outcome = reader.next();
              expect(outcome).toBe(published > 0 ? RingRead.PACKET : RingRead.EMPTY);
              if (outcome === RingRead.EMPTY) break;
              expect(contentOf(reader.packet)).toEqual(expectedContent(written.shift() as SentPacket));
              published--;
            }
          }
        }
        writer.publish();
        for (const sent of written) {
          expect(reader.next()).toBe(RingRead.PACKET);
          expect(contentOf(reader.packet)).toEqual(expectedContent(sent));
        }
        expect(reader.next()).toBe(RingRead.EMPTY);
        ring.checkAround();
      }),
      { numRuns: 60 },
    );
  });

  it('wrap and cross gaps at every offset, in descriptor, ranges, payload and trailer', () => {
    const packets: SentPacket[] = [
      inBand(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9)),
      {
        ...inBand(Uint8Array.of(9, 8, 7)),
        type: PacketType.GPA_DIRECT,
        buffers: [
          { offset: 4095, sizeBytes: 2, pages: [1, 2 ** 39] },
          { offset: 0, sizeBytes: 4096, pages: [3] },
        ],
      },
    ];
    const ring = watchedRing(pages);
    for (let start = 0; start < ring.memory.dataSizeBytes; start += 8) {
      for (const packet of packets) {
        ring.control[RingControl.WRITE_INDEX] = start;
        ring.control[RingControl.READ_INDEX] = start;
        const writer = new RingWriter(ring.memory);
        const reader = new RingReader(ring.memory);
        write(writer, packet);
        writer.publish();
        expect(reader.next()).toBe(RingRead.PACKET);
        const content = contentOf(reader.packet);
        // Vitest's comparison is slow for this many; one string each is not.
        if (JSON.stringify(content) !== JSON.stringify(expectedContent(packet))) {
          expect(content, `at ${start}`).toEqual(expectedContent(packet));
        }
        expect(reader.next()).toBe(RingRead.EMPTY);
        expect(ring.control[RingControl.READ_INDEX]).toBe(ring.control[RingControl.WRITE_INDEX]);
      }
    }
    ring.checkAround();
  });
});

describe('payloads', () => {
  it('larger than what is kept arrive whole, and smaller ones after them', () => {
    const ring = watchedRing([0, ...Array.from({ length: 16 }, (_, i) => i + 1)], 30_000);
    const writer = new RingWriter(ring.memory);
    const reader = new RingReader(ring.memory);
    for (const [round, length] of [16, 40_000, 16, 192, 200, 4088, 4096, 50_000].entries()) {
      const payload = Uint8Array.from({ length }, (_, i) => i * 7 + round);
      expect(write(writer, inBand(payload))).toBe(true);
      writer.publish();
      expect(reader.next()).toBe(RingRead.PACKET);
      expect(Buffer.compare(reader.packet.payload, payload)).toBe(0);
    }
  });

  it('of one length use one view, so that a stream makes no garbage', () => {
    const ring = watchedRing([0, 1]);
    const writer = new RingWriter(ring.memory);
    const reader = new RingReader(ring.memory);
    write(writer, inBand(new Uint8Array(64)));
    write(writer, inBand(new Uint8Array(64)));
    writer.publish();
    reader.next();
    const first = reader.packet.payload;
    reader.next();
    expect(reader.packet.payload).toBe(first);
  });
});

describe('a full ring', () => {
  it('keeps at least 8 bytes free, so that full never looks like empty', () => {
    const ring = watchedRing([0, 1]);
    const writer = new RingWriter(ring.memory);
    expect(fill(writer, 4096 - TRAILER_SIZE_BYTES)).toBe(false);
    expect(writer.canEverHold(4096 - TRAILER_SIZE_BYTES)).toBe(false);
    expect(writer.canEverHold(4096 - 2 * TRAILER_SIZE_BYTES)).toBe(true);
    expect(fill(writer, 4096 - 2 * TRAILER_SIZE_BYTES)).toBe(true);
    expect(fill(writer, DESCRIPTOR_SIZE_BYTES)).toBe(false);
    writer.publish();
    const reader = new RingReader(ring.memory);
    expect(reader.next()).toBe(RingRead.PACKET);
    reader.publish();
    expect(fill(writer, DESCRIPTOR_SIZE_BYTES)).toBe(true);
  });

  it('has no room until the reader published', () => {
    const ring = watchedRing([0, 1]);
    const writer = new RingWriter(ring.memory);
    const reader = new RingReader(ring.memory);
    fill(writer, 3000);
    fill(writer, 1000);
    writer.publish();
    reader.next();
    expect(writer.hasRoom(2000)).toBe(false);
    reader.publish();
    expect(writer.hasRoom(2000)).toBe(true);
  });
});

describe('signals to the consumer', () => {
  it('are due only where the ring was empty and not masked', () => {
    const ring = watchedRing([0, 1]);
    const writer = new RingWriter(ring.memory);
    const reader = new RingReader(ring.memory);
    expect(writer.publish(), 'nothing written').toBe(false);
    fill(writer, 64);
    fill(writer, 64);
    expect(writer.publish(), 'empty before').toBe(true);
    fill(writer, 64);
    expect(writer.publish(), 'not read yet').toBe(false);
    for (let i = 0; i < 3; i++) reader.next();
    fill(writer, 64);
    expect(writer.publish(), 'read, but not published').toBe(false);
    reader.next();
    reader.publish();
    reader.setInterruptMask(true);
    fill(writer, 64);
    expect(writer.publish(), 'masked').toBe(false);
  });
});

describe('signals to a producer that waits for room', () => {
  /** A ring with 1024 bytes free; what is read first frees 1032. */
  function nearlyFull() {
    const ring = watchedRing([0, 1]);
    const writer = new RingWriter(ring.memory);
    for (const size of [1024, 1024, 1000]) fill(writer, size);
    writer.publish();
    expect(writer.hasRoom(1016 - 8)).toBe(true);
    expect(writer.hasRoom(1016)).toBe(false);
    return { ring, writer, reader: new RingReader(ring.memory) };
  }

  it('are due once, when free space crosses the size asked for', () => {
    const { ring, reader } = nearlyFull();
    ring.control[RingControl.PENDING_SEND_SIZE] = 2056;
    reader.next();
    expect(reader.publish(), 'exactly as much is not enough').toBe(false);
    reader.next();
    expect(reader.publish(), 'crossed').toBe(true);
    reader.next();
    expect(reader.publish(), 'had room before').toBe(false);
  });

  it('are remembered where the reader published by itself', () => {
    const { ring, reader } = nearlyFull();
    ring.control[RingControl.PENDING_SEND_SIZE] = 2048;
    for (let i = 0; i < 3; i++) reader.next();
    expect(reader.next()).toBe(RingRead.EMPTY);
    expect(reader.publish()).toBe(true);
    expect(reader.publish()).toBe(false);
  });

  it('are not due without a request, or without the feature bit', () => {
    const { ring, reader } = nearlyFull();
    reader.next();
    expect(reader.publish()).toBe(false);
    ring.control[RingControl.PENDING_SEND_SIZE] = 3000;
    ring.control[RingControl.FEATURE_BITS] = 0;
    reader.next();
    expect(reader.publish()).toBe(false);
  });

  it('are due for a request of all of the ring but one byte when it is empty', () => {
    const { ring, reader } = nearlyFull();
    ring.control[RingControl.PENDING_SEND_SIZE] = 4095;
    while (reader.next() === RingRead.PACKET);
    expect(reader.publish()).toBe(true);
  });

  it('are not due where the write index cannot be right', () => {
    const { ring, reader } = nearlyFull();
    ring.control[RingControl.PENDING_SEND_SIZE] = 1024;
    reader.next();
    ring.control[RingControl.WRITE_INDEX] = 4096;
    expect(reader.publish()).toBe(false);
  });
});
