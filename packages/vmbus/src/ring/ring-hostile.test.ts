import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PacketType } from '../channel.ts';
import { MAX_GPA_RANGES, RingControl } from './layout.ts';
import { RingMemory } from './ring-memory.ts';
import { RingRead, RingReader } from './ring-reader.ts';
import { RingWriter } from './ring-writer.ts';
import { inBand, watchedRing, write as writePacket } from './test-utils/packets.ts';

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const index = fc.oneof(
  fc.integer({ min: 0, max: 1023 }).map((n) => n * 8),
  word,
);

/** Words that look enough like descriptors to get past the first checks. */
const plausible = fc.oneof(
  word,
  fc
    .record({ type: fc.constantFrom(5, 6, 7, 8, 9, 11), offset8: fc.integer({ min: 0, max: 12 }) })
    .map(({ type, offset8 }) => type | (offset8 << 16)),
  fc.integer({ min: 0, max: 40 }),
);

/** A ring with this descriptor, and these words after it, as its only packet. */
function ringWith(
  type: number,
  offset8: number,
  length8: number,
  words: readonly number[],
  writeIndex: number,
) {
  const ring = watchedRing([3, 1]);
  const at = 1024;
  ring.words[at] = type | (offset8 << 16);
  ring.words[at + 1] = length8;
  ring.words.set(words, at + 4);
  ring.control[RingControl.WRITE_INDEX] = writeIndex;
  return { ring, reader: new RingReader(ring.memory) };
}

describe('a reader of a hostile ring', () => {
  it('never throws, never looks elsewhere, and comes to an end', () => {
    fc.assert(
      fc.property(
        fc.array(plausible, { minLength: 8, maxLength: 400 }),
        fc.array(fc.record({ write: index, read: index, pending: word, packets: fc.nat(20) }), {
          maxLength: 8,
        }),
        index,
        (pattern, rounds, start) => {
          const ring = watchedRing([6, 2, 3], start);
          for (let i = 0; i < 2048; i++) ring.words[2 * 1024 + i] = pattern[i % pattern.length];
          const reader = new RingReader(ring.memory);
          for (const round of rounds) {
            ring.control[RingControl.WRITE_INDEX] = round.write;
            ring.control[RingControl.READ_INDEX] = round.read;
            ring.control[RingControl.PENDING_SEND_SIZE] = round.pending;
            for (let i = 0; i < round.packets; i++) {
              const outcome = reader.next();
              if (outcome !== RingRead.PACKET) continue;
              const { packet } = reader;
              expect(packet.payload.length).toBeLessThanOrEqual(8192);
              expect(packet.rangeCount).toBeLessThanOrEqual(packet.ranges.length);
              expect(packet.malformed && packet.rangeCount > 0).toBe(false);
            }
            reader.publish();
            // At most a ring full of smallest packets can be there, then nothing.
            let left = 8192 / 24 + 2;
            while (reader.next() === RingRead.PACKET) expect(left--).toBeGreaterThan(0);
            const published = ring.control[RingControl.READ_INDEX];
            expect(published === round.read || (published < 8192 && published % 8 === 0)).toBe(true);
          }
          ring.checkAround();
        },
      ),
      { numRuns: 200 },
    );
  });

  it('takes an index out of range, or not a multiple of 8, for an empty ring, and goes on when it is right', () => {
    const { ring, reader } = ringWith(PacketType.IN_BAND, 2, 3, [], 4096);
    expect(reader.next()).toBe(RingRead.BAD_INDEX);
    ring.control[RingControl.WRITE_INDEX] = 31;
    expect(reader.next()).toBe(RingRead.BAD_INDEX);
    expect(reader.hasMore()).toBe(false);
    ring.control[RingControl.WRITE_INDEX] = 32;
    expect(reader.next()).toBe(RingRead.PACKET);
  });

  it('begins at 0 where the index it finds cannot be right', () => {
    const ring = watchedRing([0, 1], 4097);
    ring.control[RingControl.WRITE_INDEX] = 0;
    expect(new RingReader(ring.memory).next()).toBe(RingRead.EMPTY);
    expect(new RingWriter(ring.memory).canEverHold(64)).toBe(true);
  });

  it.each([
    ['shorter than a descriptor', 1, 800],
    ['zero', 0, 800],
    ['longer than what is there', 100, 800],
    ['without its trailer', 4, 32],
    ['longer than the ring', 0xffff, 4088],
  ])('discards everything where a length is %s, and lives on', (_, length8, writeIndex) => {
    const { ring, reader } = ringWith(PacketType.IN_BAND, 2, length8, [], writeIndex);
    expect(reader.next()).toBe(RingRead.BAD_LENGTH);
    expect(reader.next()).toBe(RingRead.EMPTY);
    expect(ring.control[RingControl.READ_INDEX]).toBe(writeIndex);
    const writer = new RingWriter(ring.memory);
    writePacket(writer, inBand(new Uint8Array(16), 7));
    writer.publish();
    expect(reader.next()).toBe(RingRead.PACKET);
    expect(reader.packet.transactionIdLo).toBe(7);
  });

  const page = (lo: number, hi = 0) => [lo, hi];
  it.each([
    ['no range', 3, [0, 0]],
    ['too many ranges', 3, [0, MAX_GPA_RANGES + 1]],
    ['a range count beyond the descriptor', 4, [0, 2, 0, 0]],
    ['pages beyond the descriptor', 5, [0, 1, 8192, 0, ...page(1)]],
    ['a size near 2^32', 5, [0, 1, 0xffff_ffff, 4095, ...page(1)]],
    ['an offset beyond the first page', 5, [0, 1, 16, 4096, ...page(1)]],
    ['a page number that no machine has', 5, [0, 1, 16, 0, ...page(0, 0x100)]],
  ])('marks a GPA-direct packet with %s as malformed, and skips it', (_, offset8, words) => {
    const { reader } = ringWith(PacketType.GPA_DIRECT, offset8, 10, words, 88);
    expect(reader.next()).toBe(RingRead.PACKET);
    expect(reader.packet).toMatchObject({ malformed: true, rangeCount: 0 });
    expect(reader.next()).toBe(RingRead.EMPTY);
  });

  it.each([
    ['no range', [5, 0]],
    ['more ranges than its descriptor holds', [5, 3, 1, 2, 3, 4]],
    ['too many ranges', [5, 0xffff_ffff]],
  ])('marks a transfer-page packet with %s as malformed, and skips it', (_, words) => {
    const { reader } = ringWith(PacketType.TRANSFER_PAGES, 5, 10, words, 88);
    expect(reader.next()).toBe(RingRead.PACKET);
    expect(reader.packet).toMatchObject({ malformed: true, rangeCount: 0 });
    expect(reader.next()).toBe(RingRead.EMPTY);
  });

  it.each([
    ['of an unknown type', 8, 2],
    ['whose payload begins in the descriptor', PacketType.IN_BAND, 1],
    ['whose payload begins beyond the packet', PacketType.IN_BAND, 11],
    ['too short for its ranges', PacketType.TRANSFER_PAGES, 2],
  ])('marks a packet %s as malformed, and skips it', (_, type, offset8) => {
    const { reader } = ringWith(type, offset8, 10, [], 88);
    expect(reader.next()).toBe(RingRead.PACKET);
    expect(reader.packet).toMatchObject({ type, malformed: true, rangeCount: 0 });
    expect(reader.next()).toBe(RingRead.EMPTY);
  });

  it('accepts a range without bytes and the largest page number', () => {
    const { reader } = ringWith(
      PacketType.GPA_DIRECT,
      6,
      6,
      [0, 2, 0, 0, 1, 4095, ...page(0xffff_ffff, 0xff)],
      56,
    );
    expect(reader.next()).toBe(RingRead.PACKET);
    expect(reader.packet).toMatchObject({ malformed: false, rangeCount: 2 });
    expect(reader.packet.pages[0]).toBe(2 ** 40 - 1);
  });

  it('hands out a snapshot, which the peer can no longer change', () => {
    const { ring, reader } = ringWith(PacketType.GPA_DIRECT, 5, 6, [0, 1, 16, 8, ...page(77), 1, 2], 56);
    reader.next();
    ring.words.fill(0xffff_ffff, 1024, 2048);
    expect(reader.packet.ranges[0]).toMatchObject({ offset: 8, sizeBytes: 16 });
    expect(reader.packet.pages[0]).toBe(77);
    expect([...reader.packet.payload]).toEqual([1, 0, 0, 0, 2, 0, 0, 0]);
  });

  it('loads each word of a packet in one piece at most once', () => {
    const { ring } = ringWith(PacketType.GPA_DIRECT, 5, 6, [0, 1, 16, 8, ...page(77), 1, 2], 56);
    const loads = new Map<number, number>();
    const counting = new Proxy(ring.words, {
      get(target, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) loads.set(+key, (loads.get(+key) ?? 0) + 1);
        const value = Reflect.get(target, key, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
      set: (target, key, value) => Reflect.set(target, key, value, target),
    });
    const reader = new RingReader(new RingMemory(counting, ring.bytes, [3, 1]));
    expect(reader.next()).toBe(RingRead.PACKET);
    for (let i = 1024; i < 1024 + 12; i++)
      expect(loads.get(i) ?? 0, `word ${i - 1024}`).toBeLessThanOrEqual(1);
  });
});

describe('a writer into a hostile ring', () => {
  it('never writes elsewhere, and takes a read index that cannot be right for a full ring', () => {
    fc.assert(
      fc.property(
        index,
        fc.array(fc.record({ read: index, write: word, size: fc.integer({ min: 2, max: 300 }) }), {
          maxLength: 60,
        }),
        (start, steps) => {
          const ring = watchedRing([4, 2, 6], start);
          const writer = new RingWriter(ring.memory);
          for (const { read, write, size } of steps) {
            ring.control[RingControl.READ_INDEX] = read;
            ring.control[RingControl.WRITE_INDEX] = write;
            expect(writer.refresh()).toBe(read < 8192 && read % 8 === 0);
            const target = writer.reserve(size * 8);
            if (target === undefined) continue;
            expect(writer.hasRoom(size * 8)).toBe(true);
            for (let i = 0; i < size * 2; i++) target.words[target.at + i] = 0x5555_5555;
            writer.commit(size * 8);
            writer.publish();
            expect(ring.control[RingControl.WRITE_INDEX]).toBeLessThan(8192);
          }
          ring.checkAround();
        },
      ),
      { numRuns: 200 },
    );
  });
});
