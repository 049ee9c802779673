import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { checkDisk, convertDisk, createDisk } from './image-tool.ts';
import { openDisk } from './open.ts';

const MIB = 1 << 20;
const missing = spawnSync('qemu-img', ['--version']).error !== undefined;
const qemu = (...args: string[]) => execFileSync('qemu-img', args, { encoding: 'utf8', stdio: 'pipe' });

/** Without QEMU there is no judge here; its images are read in qemu-images.test.ts all the same. */
describe.skipIf(missing)(
  missing ? 'qemu-img (not on PATH: install qemu-utils to run these)' : 'qemu-img',
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'kensho-qemu-'));
    afterAll(() => rmSync(directory, { recursive: true }));
    const at = (name: string) => join(directory, name);

    async function scatter(path: string): Promise<void> {
      const disk = await openDisk(path);
      for (const [index, offset] of [0, 3 * MIB - 2048, 7 * MIB + 512, 20 * MIB - 4096].entries()) {
        await disk.write(offset, [new Uint8Array(4096).fill(index + 1)]);
      }
      if (disk.canTrim) await disk.trim(7 * MIB, 2 * MIB);
      await disk.close();
    }

    it.each([
      ['vhdx', 'dynamic', 'vhdx'],
      ['vhdx', 'fixed', 'vhdx'],
      ['vhd', 'dynamic', 'vpc'],
      ['vhd', 'fixed', 'vpc'],
    ] as const)('reads our %s images, %s', async (format, allocation, driver) => {
      const path = at(`${allocation}.${format}`);
      await createDisk(path, {
        sizeBytes: 20 * MIB,
        allocation,
        blockSizeBytes: format === 'vhdx' ? MIB : undefined,
      });
      await scatter(path);
      const flat = at(`${format}-${allocation}.img`);
      await convertDisk(path, flat);
      expect(qemu('compare', '-f', driver, '-F', 'raw', path, flat)).toMatch(/identical/);
      if (format === 'vhdx') expect(qemu('check', '-f', driver, path)).toMatch(/No errors/);
    });

    it('replays our log as we do', async () => {
      const path = at('open.vhdx');
      await createDisk(path, { sizeBytes: 20 * MIB, blockSizeBytes: MIB });
      const disk = await openDisk(path);
      await disk.write(5 * MIB, [new Uint8Array(8192).fill(9)]);
      await disk.flush();
      const [theirs, ours] = [at('theirs.vhdx'), at('ours.vhdx')];
      for (const copy of [theirs, ours]) copyFileSync(path, copy);
      await disk.close();
      expect(spawnSync('qemu-img', ['check', '-r', 'all', theirs], { encoding: 'utf8' }).stdout).toMatch(
        /No errors/,
      );
      expect(await checkDisk(ours, { repair: true })).toMatchObject({
        problems: [],
        repaired: [expect.stringMatching(/replayed the log, entries: 1/)],
      });
      for (const copy of [theirs, ours]) expect(qemu('compare', copy, path)).toMatch(/identical/);
    });

    it.each([
      ['vhdx', 'vhdx'],
      ['vpc', 'vhd'],
    ])('makes %s images that we write and it still reads', async (driver, extension) => {
      const path = at(`theirs-too.${extension}`);
      qemu('create', '-q', '-f', driver, path, '20M');
      await scatter(path);
      expect((await checkDisk(path)).problems).toEqual([]);
      const flat = at(`${driver}-flat.img`);
      await convertDisk(path, flat);
      expect(qemu('compare', '-f', driver, '-F', 'raw', path, flat)).toMatch(/identical/);
    });
  },
);
