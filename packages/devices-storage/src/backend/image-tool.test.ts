import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Disk } from './disk.ts';
import { checkDisk, convertDisk, createDisk, diskInfo } from './image-tool.ts';
import { openDisk } from './open.ts';
import { createOverlay } from './overlay.ts';

const root = mkdtempSync(join(tmpdir(), 'kensho-images-'));
afterAll(() => rmSync(root, { recursive: true }));
let directory: string;
let count = 0;
beforeEach(() => {
  directory = join(root, `${count++}`);
  mkdirSync(directory);
});
const at = (name: string) => join(directory, name);

const MIB = 1 << 20;

async function using<T>(disk: Promise<Disk>, use: (disk: Disk) => Promise<T>): Promise<T> {
  const opened = await disk;
  try {
    return await use(opened);
  } finally {
    await opened.close();
  }
}
const put = (path: string, offset: number, value: number, length = 4096) =>
  using(openDisk(path), async (disk) => disk.write(offset, [new Uint8Array(length).fill(value)]));
const get = (path: string, offset: number) =>
  using(openDisk(path, { readOnly: true }), async (disk) => {
    const sector = new Uint8Array(disk.logicalSectorBytes);
    await disk.read(offset, [sector]);
    return sector[0];
  });

describe.each(['vhd', 'vhdx'])('%s files', (format) => {
  it.each(['fixed', 'dynamic'] as const)(
    'are made %s, written, described and checked',
    async (allocation) => {
      const path = at(`disk.${format}`);
      await createDisk(path, { sizeBytes: 10 * MIB, allocation });
      await put(path, 5 * MIB, 9);
      expect(await get(path, 5 * MIB)).toBe(9);
      expect(await diskInfo(path)).toMatchObject({ format, kind: allocation, sizeBytes: 10 * MIB });
      expect(await checkDisk(path)).toEqual({ format, problems: [], repaired: [] });
    },
  );

  it('make chains, found by their relative paths', async () => {
    const names = ['a', 'b', 'c', 'd'].map((name) => `${name}.${format}`);
    await createDisk(at(names[0]), { sizeBytes: 10 * MIB });
    for (const [level, name] of names.entries()) {
      if (level > 0) await createDisk(at(name), { parent: at(names[level - 1]) });
      await put(at(name), level * MIB, level + 1);
    }
    const moved = join(root, `moved-${format}`);
    renameSync(directory, moved);
    const youngest = join(moved, names[3]);
    expect(await diskInfo(youngest)).toMatchObject({ kind: 'differencing', parent: join(moved, names[2]) });
    for (const level of [0, 1, 2, 3]) expect(await get(youngest, level * MIB)).toBe(level + 1);
    expect(await get(join(moved, names[1]), 2 * MIB)).toBe(0);
    await convertDisk(youngest, join(moved, 'flat.img'));
    expect(readFileSync(join(moved, 'flat.img'))[3 * MIB]).toBe(4);
  });

  it('refuse a parent that is missing, and themselves as an ancestor', async () => {
    const [parent, child] = [at(`parent.${format}`), at(`child.${format}`)];
    await createDisk(parent, { sizeBytes: 4 * MIB });
    await createDisk(child, { parent });
    const grandchild = at(`grandchild.${format}`);
    await createDisk(grandchild, { parent: child });
    rmSync(parent);
    await expect(openDisk(child)).rejects.toThrow(/its parent is not at .*put it back there/);
    expect((await diskInfo(child)).parent).toBe(`.\\parent.${format}`);
    renameSync(grandchild, parent);
    await expect(openDisk(child)).rejects.toMatchObject({ code: 'DISK_PARENT_LOOP' });
    rmSync(parent);
    await createDisk(parent, { sizeBytes: 4 * MIB });
    await expect(openDisk(child)).rejects.toMatchObject({ code: 'DISK_PARENT_MISMATCH' });
    await openDisk(parent).then((disk) => disk.close());
  });

  it('are not open for writing twice, also as a parent', async () => {
    const [parent, child] = [at(`parent.${format}`), at(`child.${format}`)];
    await createDisk(parent, { sizeBytes: 4 * MIB });
    await createDisk(child, { parent });
    await using(openDisk(child), async () => {
      for (const path of [parent, child])
        await expect(openDisk(path)).rejects.toMatchObject({ code: 'DISK_IN_USE' });
    });
    await using(openDisk(child), async () => {});
  });
});

it('a VHDX child notices that its parent was written', async () => {
  await createDisk(at('p.vhdx'), { sizeBytes: 4 * MIB });
  await createDisk(at('c.vhdx'), { parent: at('p.vhdx') });
  await put(at('p.vhdx'), 0, 1);
  await expect(openDisk(at('c.vhdx'))).rejects.toThrow(/parent was changed/);
});

describe('recognition', () => {
  it('goes by contents where the name says nothing, and by the name for raw', async () => {
    await createDisk(at('disk'), { sizeBytes: MIB, format: 'vhdx' });
    expect((await diskInfo(at('disk'))).format).toBe('vhdx');
    await createDisk(at('disk.img'), { sizeBytes: MIB });
    expect((await diskInfo(at('disk.img'))).format).toBe('raw');
    writeFileSync(at('notes.txt'), 'hello');
    await expect(openDisk(at('notes.txt'))).rejects.toThrow(/name it, one of vhdx, vhd, iso, raw/);
    await expect(openDisk(at('disk'), { format: 'qcow2' })).rejects.toMatchObject({
      code: 'UNKNOWN_DISK_FORMAT',
    });
  });

  it('refuses a raw image in which its guest has made another', async () => {
    await createDisk(at('trap.vhd'), { sizeBytes: MIB });
    writeFileSync(at('disk.img'), readFileSync(at('trap.vhd')));
    await expect(openDisk(at('disk.img'))).rejects.toMatchObject({ code: 'AMBIGUOUS_DISK_FORMAT' });
    await using(openDisk(at('disk.img'), { format: 'raw' }), async (disk) => {
      expect(disk.sizeBytes).toBe(readFileSync(at('trap.vhd')).length);
    });
  });

  it('finds ISO images, which are read-only and have large sectors', async () => {
    const contents = Buffer.alloc(40 * 2048);
    contents.write('CD001', 0x8001);
    contents.fill(3, 38 * 2048);
    writeFileSync(at('cd'), contents);
    const disk = await openDisk(at('cd'));
    expect(disk).toMatchObject({
      readOnly: true,
      logicalSectorBytes: 2048,
      sizeBytes: 40 * 2048,
      canTrim: false,
    });
    await disk.close();
    expect(await get(at('cd'), 38 * 2048)).toBe(3);
    await convertDisk(at('cd'), at('cd.vhdx'));
    expect(await get(at('cd.vhdx'), 38 * 2048)).toBe(3);
    truncateSync(at('cd'), 39 * 2048 + 512);
    await expect(openDisk(at('cd'))).rejects.toThrow(/truncate -s %2048$/);
  });

  it('gives a raw image an identity that stays', async () => {
    await createDisk(at('disk.img'), { sizeBytes: MIB });
    const { id } = await diskInfo(at('disk.img'));
    expect(await diskInfo(at('disk.img'))).toMatchObject({ id });
    expect(await using(openDisk(at('disk.img')), async (disk) => disk.id)).toBe(id);
  });
});

describe('conversion', () => {
  it('keeps contents through every format, and leaves zeroes out', async () => {
    await createDisk(at('a.img'), { sizeBytes: 20 * MIB });
    await put(at('a.img'), 4 * MIB - 4096, 7, 8192);
    const steps = ['a.img', 'b.vhd', 'c.vhdx', 'd.raw'];
    const progress: number[] = [];
    for (let i = 1; i < steps.length; i++) {
      await convertDisk(at(steps[i - 1]), at(steps[i]), { onProgress: (done) => progress.push(done) });
    }
    expect(progress.at(-1)).toBe(20 * MIB);
    expect(readFileSync(at('d.raw')).equals(readFileSync(at('a.img')))).toBe(true);
    expect((await diskInfo(at('b.vhd'))).allocatedBlocks).toBe(2);
  });

  it('removes what it could not finish, and nothing that was there', async () => {
    await createDisk(at('a.img'), { sizeBytes: 20 * MIB });
    const abort = new AbortController();
    const onProgress = () => abort.abort(new Error('enough'));
    await expect(
      convertDisk(at('a.img'), at('b.vhdx'), { signal: abort.signal, onProgress }),
    ).rejects.toThrow('enough');
    expect(existsSync(at('b.vhdx'))).toBe(false);
    writeFileSync(at('b.vhdx'), 'precious');
    await expect(convertDisk(at('a.img'), at('b.vhdx'))).rejects.toMatchObject({ code: 'DISK_EXISTS' });
    expect(readFileSync(at('b.vhdx'), 'utf8')).toBe('precious');
  });
});

it('makes no image where the specification is wrong', async () => {
  await expect(createDisk(at('a.vhdx'), { sizeBytes: 1000 })).rejects.toMatchObject({
    code: 'BAD_DISK_SPEC',
  });
  await expect(createDisk(at('a.vhd'), { sizeBytes: 1000 })).rejects.toMatchObject({ code: 'BAD_DISK_SPEC' });
  await expect(createDisk(at('a.img'), { sizeBytes: 1000 })).rejects.toMatchObject({ code: 'BAD_DISK_SPEC' });
  await expect(createDisk(at('a.iso'), { sizeBytes: 2048 })).rejects.toMatchObject({
    code: 'DISK_FORMAT_CANNOT',
  });
  await expect(createDisk(at('a.xyz'), { sizeBytes: 2048 })).rejects.toMatchObject({
    code: 'UNKNOWN_DISK_FORMAT',
  });
  for (const name of ['a.vhdx', 'a.vhd', 'a.img']) expect(existsSync(at(name))).toBe(false);
});

it('an overlay over an image leaves the image as it was', async () => {
  await createDisk(at('a.vhdx'), { sizeBytes: 4 * MIB });
  await put(at('a.vhdx'), 0, 5);
  const before = readFileSync(at('a.vhdx'));
  const overlay = createOverlay(await openDisk(at('a.vhdx'), { readOnly: true }), { directory });
  await overlay.write(4096, [new Uint8Array(128 * 1024).fill(6)]);
  const got = new Uint8Array(8192);
  await overlay.read(0, [got]);
  expect([got[0], got[4096]]).toEqual([5, 6]);
  await overlay.close();
  expect(readFileSync(at('a.vhdx')).equals(before)).toBe(true);
});
