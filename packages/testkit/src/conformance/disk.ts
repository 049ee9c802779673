import type { MaybePromise } from '@kensho/core';
import type { Disk } from '@kensho/devices-storage';
import { Random } from '../random.ts';
import { type ConformanceCase, type ConformanceSuite, demand } from './case.ts';

/** How the suite gets at the disks it examines. */
export interface DiskSubject {
  readonly name: string;
  /** A new disk of that capacity, all zeroes. */
  create(sizeBytes: number): Promise<Disk> | Disk;
  /** Opens again what `create` made last, after it was closed; left out where a disk does not outlive its closing. */
  reopen?(options: { readonly readOnly: boolean }): Promise<Disk> | Disk;
}

const SIZE_BYTES = 8 * 1024 * 1024;
/** As many as the pages of the largest PRD table; more than one system call takes (IOV_MAX). */
const MANY_VIEWS = 8192;

/** What every {@link Disk} must do, whatever it stores its bytes in. */
export function diskConformance(subject: DiskSubject): ConformanceSuite {
  const withDisk = (name: string, body: (disk: Disk) => Promise<void>): ConformanceCase => ({
    name,
    async run() {
      const disk = await subject.create(SIZE_BYTES);
      try {
        await body(disk);
      } finally {
        await disk.close();
      }
    },
  });
  const cases: ConformanceCase[] = [
    withDisk('says what it is', async (disk) => {
      demand(disk.sizeBytes === SIZE_BYTES, `asked for ${SIZE_BYTES} bytes, got ${disk.sizeBytes}`);
      demand(
        [512, 2048, 4096].includes(disk.logicalSectorBytes),
        `logical sector of ${disk.logicalSectorBytes}`,
      );
      demand(
        disk.physicalSectorBytes >= disk.logicalSectorBytes,
        'the physical sector is smaller than the logical one',
      );
      demand(!disk.readOnly, 'a new disk is read-only');
      demand(/^[0-9a-f-]{36}$/.test(disk.id), `id ${disk.id} is not a GUID in lower case`);
    }),
    withDisk('reads zeroes before anything was written', async (disk) => {
      for (const offset of [0, SIZE_BYTES / 2, SIZE_BYTES - disk.logicalSectorBytes]) {
        const data = new Uint8Array(disk.logicalSectorBytes).fill(0xff);
        await disk.read(offset, [data]);
        demand(
          data.every((byte) => byte === 0),
          `offset ${offset} is not zero`,
        );
      }
    }),
    withDisk('reads back the first and the last sector', async (disk) => {
      const sector = disk.logicalSectorBytes;
      const last = SIZE_BYTES - sector;
      await disk.write(0, [new Uint8Array(sector).fill(1)]);
      await disk.write(last, [new Uint8Array(sector).fill(2)]);
      await expectBytes(disk, 0, new Uint8Array(sector).fill(1));
      await expectBytes(disk, last, new Uint8Array(sector).fill(2));
    }),
    withDisk('fills and drains lists of views in order', async (disk) => {
      const sector = disk.logicalSectorBytes;
      const data = new Random(7).bytes(3 * sector);
      await disk.write(sector, [
        data.subarray(0, 5),
        data.subarray(5, sector + 1),
        data.subarray(sector + 1),
      ]);
      const target = new Uint8Array(3 * sector + 16).fill(0xee);
      await disk.read(sector, [
        target.subarray(8, 8 + 2 * sector - 3),
        target.subarray(8 + 2 * sector - 3, 8 + 3 * sector),
      ]);
      demand(equal(target.subarray(8, 8 + 3 * sector), data), 'scattered data differs');
      demand(target[7] === 0xee && target[8 + 3 * sector] === 0xee, 'it wrote beside the views');
    }),
    withDisk('takes thousands of small views at once', async (disk) => {
      const data = new Random(10).bytes(8 * MANY_VIEWS);
      const views = (bytes: Uint8Array) =>
        Array.from({ length: MANY_VIEWS }, (_, i) => bytes.subarray(8 * i, 8 * i + 8));
      await disk.write(0, views(data));
      await expectBytes(disk, 0, data);
      const target = new Uint8Array(data.length);
      await disk.read(0, views(target));
      demand(equal(target, data), 'scattered data differs');
    }),
    withDisk('refuses what is not whole sectors within it', async (disk) => {
      const sector = disk.logicalSectorBytes;
      await disk.write(SIZE_BYTES - sector, [new Uint8Array(sector).fill(3)]);
      const outside = [
        [SIZE_BYTES, sector],
        [SIZE_BYTES - sector, 2 * sector],
        [-sector, sector],
        [1, sector],
        [0, sector - 1],
      ] as const;
      for (const [offset, length] of outside) {
        const where = `${length} bytes at ${offset}`;
        await refuses(`a read of ${where}`, () => disk.read(offset, [new Uint8Array(length)]));
        await refuses(`a write of ${where}`, () => disk.write(offset, [new Uint8Array(length)]));
        await refuses(`a trim of ${where}`, () => disk.trim(offset, length));
      }
      demand(disk.sizeBytes === SIZE_BYTES, 'the disk grew');
      await expectBytes(disk, SIZE_BYTES - sector, new Uint8Array(sector).fill(3));
    }),
    withDisk('trims no more than it is told', async (disk) => {
      const sector = disk.logicalSectorBytes;
      const data = randomWords(new Random(12), 4 * 1024 * 1024);
      await disk.write(0, [data]);
      // Beside large units of allocation, and within them.
      const ranges = [
        [sector, 3 * sector],
        [1024 * 1024 - sector, 3 * 1024 * 1024 + sector],
      ] as const;
      for (const [first, end] of ranges) {
        await disk.trim(first, end - first);
        await expectBytes(disk, first - sector, data.subarray(first - sector, first));
        await expectBytes(disk, end, data.subarray(end, end + sector));
      }
    }),
    withDisk('leaves the source of a write as it was', async (disk) => {
      const data = new Random(8).bytes(disk.logicalSectorBytes);
      const before = data.slice();
      await disk.write(0, [data]);
      demand(equal(data, before), 'the source changed');
    }),
    withDisk('agrees with a model under random reads, writes, trims and flushes', async (disk) => {
      await compareWithModel(disk, new Random(1), 300);
    }),
    withDisk('keeps apart operations that are in flight together', async (disk) => {
      const block = 64 * 1024;
      const blocks = SIZE_BYTES / block;
      const order = Array.from({ length: blocks }, (_, i) => (i * 37) % blocks);
      await Promise.all(
        order.map(async (i) => disk.write(i * block, [new Uint8Array(block).fill((i % 251) + 1)])),
      );
      await Promise.all(
        order.map((i) => expectBytes(disk, i * block, new Uint8Array(block).fill((i % 251) + 1))),
      );
    }),
    withDisk('serves shared memory', async (disk) => {
      const sector = disk.logicalSectorBytes;
      const shared = new Uint8Array(new SharedArrayBuffer(sector)).fill(0x5a);
      await disk.write(sector, [shared]);
      shared.fill(0);
      await disk.read(sector, [shared]);
      demand(
        shared.every((byte) => byte === 0x5a),
        'data through shared memory differs',
      );
    }),
  ];
  const { reopen } = subject;
  if (reopen !== undefined) {
    cases.push(
      {
        name: 'keeps what was written when it is closed and opened again',
        async run() {
          const disk = await subject.create(SIZE_BYTES);
          const data = randomWords(new Random(9), 256 * 1024);
          await disk.write(1024 * 1024, [data]);
          await disk.flush();
          await disk.write(SIZE_BYTES - data.length, [data]);
          const { id } = disk;
          await disk.close();
          const again = await reopen({ readOnly: false });
          try {
            demand(again.sizeBytes === SIZE_BYTES, 'the capacity changed');
            demand(again.id === id, 'the identity changed');
            await expectBytes(again, 1024 * 1024, data);
            await expectBytes(again, SIZE_BYTES - data.length, data);
          } finally {
            await again.close();
          }
        },
      },
      {
        name: 'refuses changes when it is opened for reading only',
        async run() {
          const disk = await subject.create(SIZE_BYTES);
          const data = new Random(13).bytes(disk.logicalSectorBytes);
          await disk.write(0, [data]);
          await disk.close();
          const again = await reopen({ readOnly: true });
          try {
            demand(again.readOnly, 'it does not say that it is read-only');
            await refuses('a write', () => again.write(0, [new Uint8Array(data.length)]));
            await refuses('a trim', () => again.trim(0, data.length));
            await again.flush();
            await expectBytes(again, 0, data);
          } finally {
            await again.close();
          }
        },
      },
    );
  }
  return { name: `disk conformance: ${subject.name}`, cases };
}

async function compareWithModel(disk: Disk, random: Random, steps: number): Promise<void> {
  const model = new Uint8Array(SIZE_BYTES);
  /** Sectors whose contents a trim left open. */
  const open = new Uint8Array(SIZE_BYTES / disk.logicalSectorBytes);
  const sector = disk.logicalSectorBytes;
  const sectors = SIZE_BYTES / sector;
  for (let step = 0; step < steps; step++) {
    const count = 1 + random.below(random.oneIn(4) ? 256 : 16);
    const first = random.below(sectors - count);
    const offset = first * sector;
    const length = count * sector;
    switch (random.below(8)) {
      case 0:
        await disk.flush();
        break;
      case 1:
        await disk.trim(offset, length);
        open.fill(1, first, first + count);
        break;
      case 2:
      case 3:
      case 4: {
        const data = randomWords(random, length);
        await disk.write(offset, [data]);
        model.set(data, offset);
        open.fill(0, first, first + count);
        break;
      }
      default: {
        const data = new Uint8Array(length);
        await disk.read(offset, [data]);
        for (let i = 0; i < count; i++) {
          const at = i * sector;
          const expected = model.subarray(offset + at, offset + at + sector);
          const got = data.subarray(at, at + sector);
          // After a trim a sector reads as zeroes or as before, sector by sector.
          const zeroed = open[first + i] === 1 && got.every((byte) => byte === 0);
          demand(zeroed || equal(got, expected), `step ${step}: sector ${first + i} differs`);
        }
      }
    }
  }
}

function randomWords(random: Random, sizeBytes: number): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: sizeBytes / 4 }, () => random.u32()).buffer);
}

async function expectBytes(disk: Disk, offset: number, expected: Uint8Array): Promise<void> {
  const data = new Uint8Array(expected.length);
  await disk.read(offset, [data]);
  demand(equal(data, expected), `data at ${offset} differs`);
}

async function refuses(what: string, operation: () => MaybePromise<void>): Promise<void> {
  try {
    await operation();
  } catch {
    return;
  }
  demand(false, `${what} was not refused`);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
