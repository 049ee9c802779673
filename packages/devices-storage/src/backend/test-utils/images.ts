import type { BlockFile } from '../block-file.ts';
import type { Disk } from '../disk.ts';
import { MemoryFile } from '../memory-file.ts';
import { checkVhd } from '../vhd/check.ts';
import { createVhd } from '../vhd/create.ts';
import { openVhd } from '../vhd/image.ts';
import { checkVhdx } from '../vhdx/check.ts';
import { createVhdx } from '../vhdx/create.ts';
import { openVhdx } from '../vhdx/image.ts';
import { guids, Random } from './random.ts';
import { frozenFile } from './wrap-file.ts';

/** An image in memory, with its parents if it has any. */
export interface TestImage {
  readonly file: MemoryFile;
  /** Opens this image's contents from another file, the parents from their own. */
  open(file: BlockFile): Promise<Disk>;
  check(file: BlockFile): Promise<readonly string[]>;
}

/** One kind of image, for tests that are the same for all. */
export interface ImageKind {
  readonly name: string;
  readonly blockBytes: number;
  create(sizeBytes: number, parent?: TestImage): Promise<TestImage>;
}

const newGuid = guids(new Random(1));

export const vhdxKind: ImageKind = {
  name: 'VHDX',
  blockBytes: 1 << 20,
  async create(sizeBytes, parent) {
    const openParent = async () =>
      openVhdx(frozen(parent), { openParent: parentOf.get(parent as TestImage) });
    const locator =
      parent === undefined
        ? undefined
        : { linkages: [(await openParent()).dataWriteGuid], relativePath: '.\\parent.vhdx' };
    const file = new MemoryFile(0, { name: 'test.vhdx' });
    await createVhdx(file, { sizeBytes, blockBytes: this.blockBytes, newGuid, parent: locator });
    const image: TestImage = {
      file,
      open: async (opened) => (await openVhdx(opened, { newGuid, openParent })).disk,
      check: async (checked) => (await checkVhdx(checked, newGuid)).problems,
    };
    parentOf.set(image, openParent);
    return image;
  },
};

export const vhdKind: ImageKind = {
  name: 'VHD',
  blockBytes: 512 * 1024,
  async create(sizeBytes, parent) {
    const openParent = async () =>
      openVhd(frozen(parent), { openParent: vhdParentOf.get(parent as TestImage) });
    const opened = parent && (await openParent());
    const locator = opened && {
      uniqueId: opened.uniqueId,
      timeStamp: opened.timeStamp,
      relativePath: '.\\parent.vhd',
    };
    const file = new MemoryFile(0, { name: 'test.vhd' });
    await createVhd(file, {
      sizeBytes,
      blockBytes: this.blockBytes,
      newGuid,
      nowMs: () => 1e12,
      parent: locator,
    });
    const image: TestImage = {
      file,
      open: async (other) => (await openVhd(other, { openParent })).disk,
      check: async (checked) => (await checkVhd(checked)).problems,
    };
    vhdParentOf.set(image, openParent);
    return image;
  },
};

const parentOf = new WeakMap<TestImage, () => ReturnType<typeof openVhdx>>();
const vhdParentOf = new WeakMap<TestImage, () => ReturnType<typeof openVhd>>();

/** A parent's contents, for reading only. */
function frozen(image: TestImage | undefined): BlockFile {
  if (image === undefined) throw new Error('there is no parent');
  return frozenFile(image.file);
}
