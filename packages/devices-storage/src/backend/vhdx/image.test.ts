import { KenshoError } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryFile } from '../memory-file.ts';
import { vhdxKind } from '../test-utils/images.ts';
import { guids, Random } from '../test-utils/random.ts';
import { frozenFile, wrapFile } from '../test-utils/wrap-file.ts';
import { checkVhdx } from './check.ts';
import { crc32c, structureChecksum } from './crc32c.ts';
import { createVhdx } from './create.ts';
import { openVhdx } from './image.ts';
import {
  BAT_ENTRY_BYTES,
  HEADER_BYTES,
  HEADER_OFFSETS,
  Header,
  LogEntryHeader,
  MIB,
  PAYLOAD_BLOCK_NOT_PRESENT,
  PAYLOAD_BLOCK_UNDEFINED,
  PAYLOAD_BLOCK_UNMAPPED,
  PAYLOAD_BLOCK_UNMAPPED_V095,
  REGION_TABLE_BYTES,
  REGION_TABLE_OFFSETS,
  RegionTableEntry,
  RegionTableHeader,
} from './layout.ts';
import { encodeLogEntry } from './log.ts';

const newGuid = guids(new Random(3));
const BAT_OFFSET = 3 * MIB;
const METADATA_OFFSET = 2 * MIB;
const LOG_OFFSET = MIB;

async function image(sizeBytes = 8 * MIB): Promise<MemoryFile> {
  const file = new MemoryFile(0, { name: 'test.vhdx' });
  await createVhdx(file, { sizeBytes, blockBytes: MIB, newGuid });
  const { disk } = await openVhdx(file, { newGuid });
  await disk.write(MIB, [new Uint8Array(MIB).fill(7)]);
  await disk.close();
  return file;
}

function bytesAt(file: MemoryFile, offset: number, length: number): Uint8Array {
  const target = new Uint8Array(length);
  file.read(offset, [target]);
  return target;
}

function flip(file: MemoryFile, offset: number): void {
  const byte = bytesAt(file, offset, 1);
  byte[0] ^= 0xff;
  file.write(offset, [byte]);
}

async function firstByte(file: MemoryFile, offset: number): Promise<number> {
  const { disk } = await openVhdx(file, { newGuid });
  const sector = new Uint8Array(512);
  await disk.read(offset, [sector]);
  await disk.close();
  return sector[0];
}

/** Rewrites the current header and its copy. */
function editHeaders(file: MemoryFile, fields: Parameters<typeof Header.write>[1]): void {
  for (const offset of HEADER_OFFSETS) {
    const header = bytesAt(file, offset, HEADER_BYTES);
    Header.write(header, fields);
    Header.write(header, { Checksum: structureChecksum(header, 4) });
    file.write(offset, [header]);
  }
}

function editRegions(file: MemoryFile, edit: (table: Uint8Array) => void): void {
  for (const offset of REGION_TABLE_OFFSETS) {
    const table = bytesAt(file, offset, REGION_TABLE_BYTES);
    edit(table);
    RegionTableHeader.write(table, { Checksum: structureChecksum(table, 4) });
    file.write(offset, [table]);
  }
}

it('computes CRC-32C', () => {
  // RFC 3720, B.4.
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
});

describe('damage', () => {
  it.each(HEADER_OFFSETS)('survives the loss of the header at %i and renews it', async (offset) => {
    const file = await image();
    flip(file, offset + 100);
    expect(await firstByte(file.clone(), MIB)).toBe(7);
    expect(await checkVhdx(file, newGuid)).toMatchObject({
      problems: [],
      repaired: [expect.stringContaining('header')],
    });
    flip(file, HEADER_OFFSETS[0] + HEADER_OFFSETS[1] - offset + 100);
    expect(await firstByte(file, MIB)).toBe(7);
  });

  it.each(REGION_TABLE_OFFSETS)(
    'survives the loss of the region table at %i and renews it',
    async (offset) => {
      const file = await image();
      flip(file, offset + 20);
      expect(await firstByte(file.clone(), MIB)).toBe(7);
      const { repaired } = await checkVhdx(file, newGuid);
      expect(repaired).toEqual([expect.stringContaining('region table')]);
      expect((await checkVhdx(file, newGuid)).repaired).toEqual([]);
    },
  );

  it('uses the header with the greater number', async () => {
    const file = await image();
    const [first, second] = HEADER_OFFSETS.map((offset) => Header.read(bytesAt(file, offset, HEADER_BYTES)));
    const [older, newer] = first.SequenceNumber < second.SequenceNumber ? [0, 1] : [1, 0];
    const header = bytesAt(file, HEADER_OFFSETS[older], HEADER_BYTES);
    Header.write(header, { LogOffset: 1n << 40n });
    Header.write(header, { Checksum: structureChecksum(header, 4) });
    file.write(HEADER_OFFSETS[older], [header]);
    expect(await firstByte(file.clone(), MIB)).toBe(7);
    flip(file, HEADER_OFFSETS[newer] + 8);
    // Once only the older one is left, it counts: its log would be written to.
    await expect(openVhdx(file, { newGuid })).rejects.toThrow(/log lies outside the file/);
  });

  it.each([
    ['signature', 0, /not a VHDX/],
    ['metadata table', METADATA_OFFSET, /metadata table is damaged/],
  ])('refuses a damaged %s', async (_, offset, message) => {
    const file = await image();
    flip(file, offset);
    await expect(openVhdx(file)).rejects.toThrow(message);
  });

  it('refuses both headers or both region tables gone', async () => {
    const headers = await image();
    for (const offset of HEADER_OFFSETS) flip(headers, offset + 5);
    await expect(openVhdx(headers)).rejects.toThrow(/neither VHDX header/);
    const regions = await image();
    for (const offset of REGION_TABLE_OFFSETS) flip(regions, offset + 5);
    await expect(openVhdx(regions)).rejects.toThrow(/neither VHDX region table/);
  });

  it.each([
    [1, 'header'],
    [64 * 1024 + 100, 'headers'],
    [MIB, 'regions'],
    [METADATA_OFFSET + 1000, 'metadata'],
    [BAT_OFFSET + 10, 'BAT'],
    [4 * MIB + 10, 'data'],
  ])('refuses a file cut at %i (%s)', async (sizeBytes) => {
    const file = await image();
    file.truncate(sizeBytes);
    await expect(openVhdx(file)).rejects.toMatchObject({ code: 'BAD_DISK_IMAGE' });
  });

  it('says what is wrong in one line that names the file and ends with what to do', async () => {
    const file = await image();
    file.truncate(4 * MIB + 10);
    await expect(openVhdx(file)).rejects.toThrow(
      /^test\.vhdx: BAT entry 1 points to 5242880, beyond the file's 4194314 bytes; restore it from a copy$/,
    );
  });

  it('finds overlapping blocks', async () => {
    const file = await image();
    const entry = bytesAt(file, BAT_OFFSET + BAT_ENTRY_BYTES, BAT_ENTRY_BYTES);
    file.write(BAT_OFFSET, [entry]);
    expect((await checkVhdx(file, newGuid)).problems).toEqual([
      expect.stringMatching(/BAT entry . overlaps BAT entry/),
    ]);
  });

  it('refuses regions that overlap, are not aligned, or are required and unknown', async () => {
    const at = (index: number) => RegionTableHeader.sizeBytes + index * RegionTableEntry.sizeBytes;
    const overlapping = await image();
    editRegions(overlapping, (table) =>
      RegionTableEntry.write(table, { FileOffset: BigInt(BAT_OFFSET) }, at(1)),
    );
    await expect(openVhdx(overlapping)).rejects.toThrow(/overlaps/);
    const unaligned = await image();
    editRegions(unaligned, (table) =>
      RegionTableEntry.write(table, { FileOffset: BigInt(BAT_OFFSET + 512) }, at(0)),
    );
    await expect(openVhdx(unaligned)).rejects.toThrow(/not aligned/);
    const unknown = await image();
    editRegions(unknown, (table) => {
      RegionTableHeader.write(table, { EntryCount: 3 });
      RegionTableEntry.write(
        table,
        { Guid: newGuid(), FileOffset: BigInt(4 * MIB), Length: MIB, Required: 1 },
        at(2),
      );
    });
    await expect(openVhdx(unknown)).rejects.toMatchObject({ code: 'UNSUPPORTED_DISK_IMAGE' });
  });

  it('never fails but with a KenshoError, whatever a few bytes are', async () => {
    const sound = await image();
    const places = [
      0,
      64 * 1024,
      128 * 1024,
      192 * 1024,
      256 * 1024,
      METADATA_OFFSET,
      METADATA_OFFSET + 65536,
      BAT_OFFSET,
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...places), fc.nat(200), fc.nat(255)), {
          minLength: 1,
          maxLength: 6,
        }),
        async (edits) => {
          const file = sound.clone();
          for (const [place, offset, value] of edits) file.write(place + offset, [Uint8Array.of(value)]);
          for (const offset of HEADER_OFFSETS) {
            const header = bytesAt(file, offset, HEADER_BYTES);
            Header.write(header, { Checksum: structureChecksum(header, 4) });
            file.write(offset, [header]);
          }
          editRegions(file, () => {});
          try {
            const { disk } = await openVhdx(file, { newGuid });
            await disk.read(0, [new Uint8Array(4096)]);
            await disk.close();
          } catch (error) {
            if (!(error instanceof KenshoError)) throw error;
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('states of blocks', () => {
  it('finds room in a sparse file that has more of it than memory', async () => {
    const file = await image();
    file.truncate(2 ** 46);
    const { disk } = await openVhdx(file, { newGuid });
    await disk.write(4 * MIB, [new Uint8Array(512).fill(9)]);
    await disk.write(5 * MIB, [new Uint8Array(512).fill(8)]);
    await disk.close();
    expect(file.sizeBytes).toBe(2 ** 46);
    expect((await checkVhdx(file, newGuid)).problems).toEqual([]);
    expect([await firstByte(file.clone(), 4 * MIB), await firstByte(file, 5 * MIB)]).toEqual([9, 8]);
  });

  it.each([
    PAYLOAD_BLOCK_NOT_PRESENT,
    PAYLOAD_BLOCK_UNDEFINED,
    PAYLOAD_BLOCK_UNMAPPED,
    PAYLOAD_BLOCK_UNMAPPED_V095,
  ])('%i reads as zeroes and takes writes', async (state) => {
    const file = await image();
    const entry = bytesAt(file, BAT_OFFSET + BAT_ENTRY_BYTES, BAT_ENTRY_BYTES);
    entry[0] = (entry[0] & ~7) | state;
    file.write(BAT_OFFSET + BAT_ENTRY_BYTES, [entry]);
    expect(await firstByte(file, MIB)).toBe(0);
    const { disk } = await openVhdx(file, { newGuid });
    await disk.write(MIB + 4096, [new Uint8Array(512).fill(5)]);
    await disk.close();
    expect(await firstByte(file, MIB + 4096)).toBe(5);
    expect(await firstByte(file, MIB)).toBe(0);
  });

  it('does not believe old bits of a sector bitmap when a block becomes partial again', async () => {
    const parent = await vhdxKind.create(4 * MIB);
    const filled = await parent.open(parent.file);
    await filled.write(0, [new Uint8Array(4 * MIB).fill(9)]);
    await filled.close();
    const child = await vhdxKind.create(4 * MIB, parent);
    const disk = await child.open(child.file);
    await disk.write(0, [new Uint8Array(8192).fill(1)]);
    await disk.close();
    child.file.write(BAT_OFFSET, [new Uint8Array(BAT_ENTRY_BYTES)]);
    const again = await child.open(child.file);
    await again.write(8192, [new Uint8Array(512).fill(2)]);
    const got = new Uint8Array(16384);
    await again.read(0, [got]);
    expect([got[0], got[8192], got[8704]]).toEqual([9, 2, 9]);
  });

  it('takes a trim only when no read can still be using the place', async () => {
    const file = await image();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let holding = false;
    const slow = wrapFile(file, {
      read: async (offset, target) => {
        if (holding) await held;
        file.read(offset, target);
      },
    });
    const { disk } = await openVhdx(slow, { newGuid });
    holding = true;
    const got = new Uint8Array(MIB);
    const reading = disk.read(MIB, [got]);
    let trimmed = false;
    const trimming = Promise.resolve(disk.trim(MIB, MIB)).then(() => {
      trimmed = true;
    });
    for (let turn = 0; turn < 50; turn++) await null;
    expect(trimmed).toBe(false);
    release();
    await Promise.all([reading, trimming]);
    expect(got.every((byte) => byte === 7)).toBe(true);
    await disk.read(MIB, [got]);
    expect(got.every((byte) => byte === 0)).toBe(true);
  });
});

describe('identifiers', () => {
  it('change with the first write of a session, and the data one not with a read', async () => {
    const file = await image();
    const before = (await openVhdx(file)).dataWriteGuid;
    const { disk } = await openVhdx(file);
    await disk.read(0, [new Uint8Array(512)]);
    await disk.close();
    expect((await openVhdx(file)).dataWriteGuid).toBe(before);
    const writing = await openVhdx(file);
    await writing.disk.write(0, [new Uint8Array(512)]);
    await writing.disk.close();
    expect((await openVhdx(file)).dataWriteGuid).not.toBe(before);
  });
});

describe('log', () => {
  const guid = newGuid();
  const sector = (value: number) => new Uint8Array(4096).fill(value);
  /** Where the pages of the entries below go: the data of block 1. */
  const DATA = 4 * MIB;

  interface Entry {
    readonly at: number;
    readonly tail: number;
    readonly number: number;
    readonly pages: readonly { readonly offsetBytes: number; readonly bytes: Uint8Array }[];
    readonly flushed?: number;
    readonly last?: number;
    readonly guid?: string;
  }

  async function withLog(entries: readonly Entry[]): Promise<MemoryFile> {
    const file = await image();
    editHeaders(file, { LogGuid: guid });
    for (const entry of entries) {
      const encoded = encodeLogEntry(
        {
          logGuid: entry.guid ?? guid,
          tail: entry.tail,
          sequenceNumber: BigInt(entry.number),
          flushedFileOffset: entry.flushed ?? file.sizeBytes,
          lastFileOffset: entry.last ?? file.sizeBytes,
        },
        entry.pages,
      );
      const first = Math.min(encoded.length, MIB - entry.at);
      file.write(LOG_OFFSET + entry.at, [encoded.subarray(0, first)]);
      if (first < encoded.length) file.write(LOG_OFFSET, [encoded.subarray(first)]);
    }
    return file;
  }
  const page = (index: number, value: number) => ({ offsetBytes: DATA + index * 4096, bytes: sector(value) });

  it('is replayed, in order, and then empty', async () => {
    const file = await withLog([
      { at: 0, tail: 0, number: 5, pages: [page(0, 1), page(1, 1)] },
      { at: 3 * 4096, tail: 0, number: 6, pages: [page(1, 2)] },
    ]);
    const { disk } = await openVhdx(file, { newGuid });
    const got = new Uint8Array(3 * 4096);
    await disk.read(MIB, [got]);
    expect([got[0], got[4096], got[8192]]).toEqual([1, 2, 7]);
    await disk.close();
    file.write(DATA, [sector(3)]);
    expect(await firstByte(file, MIB)).toBe(3);
  });

  it('is replayed where a sequence wraps around the end, also inside an entry', async () => {
    const file = await withLog([
      { at: MIB - 2 * 4096, tail: MIB - 2 * 4096, number: 8, pages: [page(0, 1)] },
      { at: 0, tail: MIB - 2 * 4096, number: 9, pages: [page(1, 2)] },
    ]);
    expect([await firstByte(file.clone(), MIB), await firstByte(file, MIB + 4096)]).toEqual([1, 2]);
    const split = await withLog([
      { at: MIB - 4096, tail: MIB - 4096, number: 8, pages: [page(0, 1), page(1, 4)] },
    ]);
    expect(await firstByte(split, MIB + 4096)).toBe(4);
  });

  it('leaves out what is not of the newest complete sequence', async () => {
    const older = { at: 0, tail: 0, number: 3, pages: [page(0, 1)] };
    const newer = { at: 64 * 1024, tail: 64 * 1024, number: 9, pages: [page(1, 2)] };
    const foreign = { at: 128 * 1024, tail: 128 * 1024, number: 20, pages: [page(2, 3)], guid: newGuid() };
    const headless = { at: 192 * 1024, tail: 188 * 1024, number: 30, pages: [page(3, 4)] };
    const file = await withLog([older, newer, foreign, headless]);
    const { disk } = await openVhdx(file, { newGuid });
    const got = new Uint8Array(4 * 4096);
    await disk.read(MIB, [got]);
    expect([0, 1, 2, 3].map((index) => got[index * 4096])).toEqual([7, 2, 7, 7]);
  });

  it('falls back to the sequence before when the newest entry is torn anywhere', async () => {
    const good = { at: 0, tail: 0, number: 3, pages: [page(0, 1)] };
    const torn = { at: 8192, tail: 8192, number: 4, pages: [page(0, 2)] };
    for (const offset of [0, 9, 40, 64, 80, 4096, 5000, 8191]) {
      const file = await withLog([good, torn]);
      flip(file, LOG_OFFSET + torn.at + offset);
      expect(await firstByte(file, MIB)).toBe(1);
    }
  });

  it('extends the file to what its newest entry says', async () => {
    const file = await withLog([{ at: 0, tail: 0, number: 1, pages: [], last: 64 * MIB }]);
    await openVhdx(file, { newGuid });
    expect(file.sizeBytes).toBe(64 * MIB);
  });

  it('is refused where the file was truncated since, where nothing is valid, or where it asks for too much', async () => {
    const truncated = await withLog([{ at: 0, tail: 0, number: 1, pages: [], flushed: 1024 * MIB }]);
    await expect(openVhdx(truncated, { newGuid })).rejects.toThrow(/truncated/);
    await expect(openVhdx(await withLog([]), { newGuid })).rejects.toThrow(
      /no part of the VHDX log is valid/,
    );
    const huge = await withLog([{ at: 0, tail: 0, number: 1, pages: [], last: 2 ** 52 }]);
    await expect(openVhdx(huge, { newGuid })).rejects.toThrow(/far outside/);
    const far = await withLog([
      { at: 0, tail: 0, number: 1, pages: [{ offsetBytes: 2 ** 52, bytes: sector(1) }] },
    ]);
    await expect(openVhdx(far, { newGuid })).rejects.toThrow(/far outside/);
  });

  it.each([0, HEADER_OFFSETS[0], HEADER_OFFSETS[1], LOG_OFFSET, LOG_OFFSET + MIB - 4096])(
    'is refused where it asks for a change at %i, which is never logged',
    async (offsetBytes) => {
      const file = await withLog([{ at: 0, tail: 0, number: 1, pages: [{ offsetBytes, bytes: sector(1) }] }]);
      await expect(openVhdx(file, { newGuid })).rejects.toThrow(/a header or to itself/);
    },
  );

  it('is refused for reading only, with what to do', async () => {
    const file = await withLog([{ at: 0, tail: 0, number: 1, pages: [page(0, 1)] }]);
    await expect(openVhdx(frozenFile(file))).rejects.toThrow(/open it once for writing/);
  });

  it('does not take long over entries that overlap', async () => {
    const file = await withLog([]);
    const header = LogEntryHeader.encode({
      Signature: 0x65676f6c,
      LogGuid: guid,
      SequenceNumber: 1n,
      EntryLength: MIB,
    });
    for (let at = 0; at < MIB; at += 4096) file.write(LOG_OFFSET + at, [header]);
    await expect(openVhdx(file, { newGuid })).rejects.toThrow(/overlap each other/);
  });

  it('replays zero descriptors', async () => {
    const file = await withLog([{ at: 0, tail: 0, number: 1, pages: [page(0, 1)] }]);
    const entry = bytesAt(file, LOG_OFFSET, 8192);
    const data = new DataView(entry.buffer);
    data.setUint32(64, 0x6f72657a, true);
    data.setBigUint64(72, 8192n, true);
    LogEntryHeader.write(entry, { Checksum: structureChecksum(entry, 4) });
    file.write(LOG_OFFSET, [entry]);
    expect([await firstByte(file, MIB), await firstByte(file, MIB + 8192)]).toEqual([0, 7]);
  });
});

it('writes more metadata than one log entry holds', async () => {
  const parent = await vhdxKind.create(2 ** 34);
  const child = await vhdxKind.create(2 ** 34, parent);
  const disk = await child.open(child.file);
  // Each of these has its own page of the sector bitmap.
  for (let index = 0; index < 200; index++)
    await disk.write(index * 16 * MIB, [new Uint8Array(512).fill(index)]);
  await disk.close();
  expect(await child.check(child.file)).toEqual([]);
  const again = await child.open(child.file);
  const got = new Uint8Array(1024);
  for (let index = 0; index < 200; index++) {
    await again.read(index * 16 * MIB, [got]);
    expect([got[0], got[512]]).toEqual([index, 0]);
  }
});

it('refuses specifications that make no VHDX', async () => {
  const refuse = (spec: object) =>
    expect(createVhdx(new MemoryFile(), { sizeBytes: MIB, ...spec })).rejects.toMatchObject({
      code: 'BAD_DISK_SPEC',
    });
  await refuse({ sizeBytes: 0 });
  await refuse({ sizeBytes: 1000 });
  await refuse({ sizeBytes: 2 ** 47 });
  await refuse({ sizeBytes: 512, logicalSectorBytes: 4096 });
  await refuse({ blockBytes: 3 * MIB });
  await refuse({ blockBytes: 512 * MIB });
  await refuse({ logicalSectorBytes: 2048 });
  await refuse({ sizeBytes: 2 ** 44, blockBytes: MIB });
});
