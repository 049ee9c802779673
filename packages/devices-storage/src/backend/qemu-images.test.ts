import { describe, expect, it } from 'vitest';
import type { BlockFile } from './block-file.ts';
import type { Disk } from './disk.ts';
import { qemuImage, type qemuImages } from './test-utils/qemu-images.ts';
import { frozenFile } from './test-utils/wrap-file.ts';
import { checkVhd } from './vhd/check.ts';
import { openVhd } from './vhd/image.ts';
import { checkVhdx } from './vhdx/check.ts';
import { openVhdx } from './vhdx/image.ts';

const MIB = 1 << 20;
/** Where the images hold what. */
const RUNS = [
  { offset: 64 * 1024, length: 4096, value: 0xa1 },
  { offset: 5 * MIB, length: 512, value: 0xb2 },
  { offset: 10_484_736, length: 2048, value: 0xc3 },
];

const openers = {
  vhd: async (file: BlockFile): Promise<Disk> => (await openVhd(file)).disk,
  vhdx: async (file: BlockFile): Promise<Disk> => (await openVhdx(file)).disk,
};

async function contents(disk: Disk): Promise<Buffer> {
  const target = Buffer.alloc(disk.sizeBytes);
  await disk.read(0, [target]);
  return target;
}

function expected(sizeBytes: number, runs: readonly (typeof RUNS)[number][]): Buffer {
  const target = Buffer.alloc(sizeBytes);
  for (const { offset, length, value } of runs) target.fill(value, offset, offset + length);
  return target;
}

interface Case {
  readonly name: keyof typeof qemuImages;
  readonly format: keyof typeof openers;
  readonly sizeBytes: number;
  readonly runs: readonly (typeof RUNS)[number][];
}

const cases: readonly Case[] = [
  // Asked for 20 MiB, rounded up to a geometry: 603 cylinders, 4 heads, 17 sectors.
  { name: 'vhdByGeometry', format: 'vhd', sizeBytes: 20_994_048, runs: RUNS },
  { name: 'vhdDynamic', format: 'vhd', sizeBytes: 20 * MIB, runs: RUNS },
  { name: 'vhdFixed', format: 'vhd', sizeBytes: 256 * 1024, runs: RUNS.slice(0, 1) },
  { name: 'vhdxDynamic', format: 'vhdx', sizeBytes: 20 * MIB, runs: RUNS },
  { name: 'vhdxFixed', format: 'vhdx', sizeBytes: 2 * MIB, runs: RUNS.slice(0, 1) },
];

describe.each(cases)("QEMU's image $name", ({ name, format, sizeBytes, runs }) => {
  it('reads as QEMU wrote it, without being changed', async () => {
    const disk = await openers[format](frozenFile(qemuImage(name)));
    expect(disk.sizeBytes).toBe(sizeBytes);
    expect((await contents(disk)).equals(expected(sizeBytes, runs))).toBe(true);
    await disk.close();
  });

  it('takes writes, and passes the check after', async () => {
    const file = qemuImage(name);
    const disk = await openers[format](file);
    const more = { offset: 128 * 1024, length: 8192, value: 0x5e };
    const last = { offset: sizeBytes - 1024, length: 1024, value: 0x6f };
    for (const { offset, length, value } of [more, last]) {
      await disk.write(offset, [new Uint8Array(length).fill(value)]);
    }
    await disk.close();
    const { problems } =
      format === 'vhd' ? await checkVhd(file) : await checkVhdx(file, () => crypto.randomUUID());
    expect(problems).toEqual([]);
    const again = await openers[format](file);
    expect((await contents(again)).equals(expected(sizeBytes, [...runs, more, last]))).toBe(true);
  });
});

it("replays the log of QEMU's image vhdxWithLog, whose writer was killed before the block's entry was in place", async () => {
  const file = qemuImage('vhdxWithLog');
  await expect(openVhdx(frozenFile(file))).rejects.toMatchObject({ code: 'DISK_NEEDS_REPLAY' });
  const disk = await openers.vhdx(file);
  expect((await contents(disk)).equals(expected(20 * MIB, RUNS.slice(0, 1)))).toBe(true);
  await disk.close();
  expect((await openVhdx(frozenFile(file))).disk.sizeBytes).toBe(20 * MIB);
});
