import { type Guid, KenshoError } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';
import type { Disk } from '../disk.ts';
import { badImage } from '../image-error.ts';
import { RawDisk } from '../raw.ts';
import { SparseDisk } from '../sparse/sparse-disk.ts';
import { readDynamicHeader, type VhdDynamicHeader, type VhdParentLocator } from './dynamic-header.ts';
import { type FoundFooter, hasFooterCookie, readFooter } from './footer.ts';
import { FOOTER_BYTES, SECTOR_BYTES } from './layout.ts';
import { VhdLayout, VhdTable } from './vhd-layout.ts';

/** An opened VHD and its identity. */
export interface VhdImage {
  readonly disk: Disk;
  readonly uniqueId: Guid;
  readonly timeStamp: number;
}

export interface VhdOpenOptions {
  /** Opens the parent of a differencing image, for reading. */
  readonly openParent?: (locator: VhdParentLocator) => Promise<VhdImage>;
}

/** What a dynamic or differencing image has beside its footer. */
export interface VhdBlocks {
  readonly header: VhdDynamicHeader;
  readonly table: VhdTable;
}

/** Whether a file with this beginning and end is a VHD. */
export function isVhd(head: Uint8Array, tail: Uint8Array): boolean {
  return hasFooterCookie(tail) || hasFooterCookie(head);
}

/**
 * Opens a VHD, for writing where the file is. The file belongs to the disk from then on; where this fails it stays
 * the caller's. Throws KenshoError BAD_DISK_IMAGE, or what `openParent` throws.
 */
export async function openVhd(file: BlockFile, options: VhdOpenOptions = {}): Promise<VhdImage> {
  const footer = await readFooter(file);
  const { sizeBytes, uniqueId, timeStamp } = footer;
  const blocks = await readBlocks(file, footer);
  if (blocks === undefined) {
    if (sizeBytes + FOOTER_BYTES > file.sizeBytes) {
      throw badImage(file.name, `the file has ${file.sizeBytes} bytes, too few for a disk of ${sizeBytes}`);
    }
    return { disk: new RawDisk(file, { sizeBytes, id: uniqueId }), uniqueId, timeStamp };
  }
  const { header, table } = blocks;
  const [problem] = table.validate(header, file.sizeBytes, 1);
  if (problem !== undefined) throw badImage(file.name, problem);
  const disk = new SparseDisk(file, new VhdLayout(file, header, table, footer.bytes), {
    sizeBytes,
    logicalSectorBytes: SECTOR_BYTES,
    physicalSectorBytes: SECTOR_BYTES,
    id: uniqueId,
    parent: await openParent(file.name, header, options),
  });
  return { disk, uniqueId, timeStamp };
}

/** Header and table; undefined for a fixed image. */
export async function readBlocks(file: BlockFile, footer: FoundFooter): Promise<VhdBlocks | undefined> {
  if (footer.kind === 'fixed') return undefined;
  const header = await readDynamicHeader(file, footer);
  return { header, table: await VhdTable.read(file, header) };
}

async function openParent(
  name: string,
  header: VhdDynamicHeader,
  options: VhdOpenOptions,
): Promise<Disk | undefined> {
  if (header.parent === undefined) return undefined;
  if (options.openParent === undefined)
    throw badImage(name, 'it is a differencing image', 'say where its parent is');
  const { disk, uniqueId } = await options.openParent(header.parent);
  if (uniqueId !== header.parent.uniqueId) {
    await disk.close();
    throw new KenshoError(
      'DISK_PARENT_MISMATCH',
      `${name}: what is at its parent's place is another image; put the right one back`,
    );
  }
  return disk;
}
