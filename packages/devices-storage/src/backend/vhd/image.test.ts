import { KenshoError } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryFile } from '../memory-file.ts';
import { vhdKind } from '../test-utils/images.ts';
import { guids, Random } from '../test-utils/random.ts';
import { frozenFile } from '../test-utils/wrap-file.ts';
import { checkVhd } from './check.ts';
import { createVhd } from './create.ts';
import { geometryOf, geometrySectors } from './geometry.ts';
import { openVhd } from './image.ts';
import { checksum, DynamicHeader, Footer } from './layout.ts';

const newGuid = guids(new Random(5));
const MIB = 1 << 20;
const HEADER_OFFSET = 512;
const TABLE_OFFSET = 1536;

async function image(fixed = false): Promise<MemoryFile> {
  const file = new MemoryFile(0, { name: 'test.vhd' });
  await createVhd(file, { sizeBytes: 8 * MIB, fixed, newGuid, nowMs: () => 1e12 });
  const { disk } = await openVhd(file);
  await disk.write(2 * MIB, [new Uint8Array(4096).fill(7)]);
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
  const { disk } = await openVhd(frozenFile(file));
  const sector = new Uint8Array(512);
  await disk.read(offset, [sector]);
  return sector[0];
}

function editFooters(file: MemoryFile, fields: Parameters<typeof Footer.write>[1]): void {
  for (const offset of [0, file.sizeBytes - 512]) {
    const footer = bytesAt(file, offset, 512);
    Footer.write(footer, fields);
    Footer.write(footer, { Checksum: checksum(footer, 64) });
    file.write(offset, [footer]);
  }
}

function editHeader(file: MemoryFile, fields: Parameters<typeof DynamicHeader.write>[1]): void {
  const header = bytesAt(file, HEADER_OFFSET, 1024);
  DynamicHeader.write(header, fields);
  DynamicHeader.write(header, { Checksum: checksum(header, 36) });
  file.write(HEADER_OFFSET, [header]);
}

describe('geometry', () => {
  it.each([
    // Sizes and what the specification's algorithm, as Virtual PC and QEMU run it, makes of them.
    [40960, { cylinders: 602, heads: 4, sectorsPerTrack: 17 }],
    [2 ** 21, { cylinders: 2080, heads: 16, sectorsPerTrack: 63 }],
    [65535 * 16 * 63, { cylinders: 16191, heads: 16, sectorsPerTrack: 255 }],
    [2 ** 32 - 1, { cylinders: 65535, heads: 16, sectorsPerTrack: 255 }],
  ])('of %i sectors', (sectors, geometry) => {
    expect(geometryOf(sectors)).toEqual(geometry);
  });

  it('never exceeds the disk or its fields, and loses little', () => {
    fc.assert(
      fc.property(fc.integer({ min: 4 * 17, max: 2 ** 32 }), (sectors) => {
        const geometry = geometryOf(sectors);
        expect(geometrySectors(geometry)).toBeLessThanOrEqual(sectors);
        expect(geometry.cylinders).toBeLessThanOrEqual(65535);
        if (sectors < 65535 * 16 * 255)
          expect(sectors - geometrySectors(geometry)).toBeLessThan(16 * 255 + 255);
      }),
    );
  });
});

describe('size', () => {
  it.each([
    ['win ', 8 * MIB],
    ['qem2', 8 * MIB],
    ['tap\0', 8 * MIB],
    ['vbox', 8 * MIB],
    ['vpc ', 963 * 17 * 512],
    ['qemu', 963 * 17 * 512],
  ])('of an image by "%s"', async (creator, sizeBytes) => {
    const file = await image();
    editFooters(file, {
      CreatorApplication: new TextEncoder().encode(creator),
      Cylinders: 963,
      Heads: 1,
      SectorsPerTrack: 17,
    });
    expect((await openVhd(file)).disk.sizeBytes).toBe(sizeBytes);
  });

  it('is not taken from a geometry that only says "large"', async () => {
    const file = await image();
    editFooters(file, {
      CreatorApplication: new TextEncoder().encode('vpc '),
      Cylinders: 65535,
      Heads: 16,
      SectorsPerTrack: 255,
    });
    expect((await openVhd(file)).disk.sizeBytes).toBe(8 * MIB);
  });
});

describe('damage', () => {
  it.each(['start', 'end'] as const)(
    'survives the loss of the footer at the %s and writes it again',
    async (place) => {
      const file = await image();
      flip(file, place === 'start' ? 20 : file.sizeBytes - 400);
      expect(await firstByte(file, 2 * MIB)).toBe(7);
      expect((await checkVhd(frozenFile(file))).problems).toEqual([
        `the footer at the ${place} is missing or damaged`,
      ]);
      expect((await checkVhd(file)).repaired).toHaveLength(1);
      expect(await checkVhd(file)).toEqual({ problems: [], repaired: [] });
      expect(await firstByte(file, 2 * MIB)).toBe(7);
    },
  );

  it('never takes a fixed image for what its guest wrote into the first sector', async () => {
    const victim = await image(true);
    const forged = await image();
    victim.write(0, [bytesAt(forged, 0, 2048)]);
    const { disk } = await openVhd(victim);
    expect(disk.sizeBytes).toBe(8 * MIB);
    expect(await firstByte(victim, 2 * MIB)).toBe(7);
  });

  it.each([
    ['both footers', (file: MemoryFile) => [20, file.sizeBytes - 400], /no valid VHD footer/],
    ['the header', () => [HEADER_OFFSET + 100], /checksum of its VHD dynamic disk header/],
    ['the header, by its name', () => [HEADER_OFFSET], /no VHD dynamic disk header/],
    ['the table', () => [TABLE_OFFSET + 4], /block 1 points to/],
  ])('refuses damage to %s', async (_, places, message) => {
    const file = await image();
    for (const place of places(file)) flip(file, place);
    await expect(openVhd(file)).rejects.toThrow(message);
  });

  it.each([100, 511, 600, 1600, 2 * MIB])('refuses a file cut at %i', async (sizeBytes) => {
    const file = await image();
    file.truncate(sizeBytes);
    await expect(openVhd(file)).rejects.toMatchObject({ code: 'BAD_DISK_IMAGE' });
  });

  it('refuses a fixed image whose end is a footer and whose data is not all there', async () => {
    const file = await image(true);
    const footer = bytesAt(file, 8 * MIB, 512);
    file.truncate(4 * MIB);
    file.write(4 * MIB, [footer]);
    await expect(openVhd(file)).rejects.toThrow(/too few for a disk/);
    expect((await checkVhd(file)).problems).toHaveLength(1);
  });

  it.each([
    { MaxTableEntries: 1 },
    // More than the file has, though the disk needs less.
    { MaxTableEntries: 2 ** 24 },
    { BlockSize: 3 * MIB },
    { BlockSize: 2 ** 31 },
    { TableOffset: 1n << 60n },
    { TableOffset: 1000n },
  ])('refuses a header with %o', async (fields) => {
    const file = await image();
    editHeader(file, fields);
    await expect(openVhd(file)).rejects.toMatchObject({ code: 'BAD_DISK_IMAGE' });
  });

  it.each([{ CurrentSize: 1n << 60n }, { CurrentSize: 0n }, { DiskType: 9 }, { DataOffset: 1n << 61n }])(
    'refuses a footer with %o',
    async (fields) => {
      const file = await image();
      editFooters(file, fields);
      await expect(openVhd(file)).rejects.toMatchObject({ code: 'BAD_DISK_IMAGE' });
    },
  );

  it('refuses blocks so far out that the table cannot name what comes behind them', async () => {
    const file = await image();
    file.truncate(4 * 2 ** 40);
    const table = bytesAt(file, 1536, 4);
    new DataView(table.buffer).setUint32(0, 0xffff_fff0);
    file.write(1536, [table]);
    await expect(openVhd(file)).rejects.toThrow(/no place that the table can name/);
  });

  it('finds blocks that overlap', async () => {
    const file = await image();
    file.write(TABLE_OFFSET, [bytesAt(file, TABLE_OFFSET + 4, 4)]);
    expect((await checkVhd(file)).problems).toEqual([expect.stringMatching(/^block \d overlaps block \d$/)]);
  });

  it('never fails but with a KenshoError, whatever a few bytes are', async () => {
    const sound = await vhdKind.create(8 * MIB, await vhdKind.create(8 * MIB));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(0, 512, 1088, 1536), fc.nat(250), fc.nat(255)), {
          minLength: 1,
          maxLength: 6,
        }),
        async (edits) => {
          const file = sound.file.clone();
          for (const [place, offset, value] of edits) file.write(place + offset, [Uint8Array.of(value)]);
          file.write(file.sizeBytes - 512, [bytesAt(file, 0, 512)]);
          editFooters(file, {});
          editHeader(file, {});
          try {
            const disk = await sound.open(file);
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

it('reads sectors of a dynamic image that its bitmap leaves out as zeroes, and sets their bits when they are written', async () => {
  const file = await image();
  const block = new DataView(bytesAt(file, TABLE_OFFSET + 4, 4).buffer).getUint32(0) * 512;
  expect(bytesAt(file, block, 512).every((byte) => byte === 0xff)).toBe(true);
  file.write(block, [Uint8Array.of(0x7f)]);
  expect([await firstByte(file, 2 * MIB), await firstByte(file, 2 * MIB + 512)]).toEqual([0, 7]);
  const { disk } = await openVhd(file);
  await disk.write(2 * MIB, [new Uint8Array(512).fill(4)]);
  await disk.close();
  expect(bytesAt(file, block, 1)[0]).toBe(0xff);
  expect(await firstByte(file, 2 * MIB)).toBe(4);
});

it('refuses a parent that is another image', async () => {
  const parent = await vhdKind.create(4 * MIB);
  const child = await vhdKind.create(4 * MIB, parent);
  const other = (await vhdKind.create(4 * MIB)).file;
  await expect(openVhd(child.file, { openParent: () => openVhd(other) })).rejects.toMatchObject({
    code: 'DISK_PARENT_MISMATCH',
  });
});

it('refuses specifications that make no VHD', async () => {
  const refuse = (spec: object) =>
    expect(createVhd(new MemoryFile(), { sizeBytes: MIB, ...spec })).rejects.toMatchObject({
      code: 'BAD_DISK_SPEC',
    });
  await refuse({ sizeBytes: 0 });
  await refuse({ sizeBytes: 1000 });
  await refuse({ sizeBytes: 2041 * 2 ** 30 });
  await refuse({ blockBytes: 3 * MIB });
});
