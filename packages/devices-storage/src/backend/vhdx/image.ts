import { type Guid, KenshoError } from '@kensho/core';
import { type BlockFile, readBytes } from '../block-file.ts';
import type { Disk } from '../disk.ts';
import { hostIdentity } from '../host-identity.ts';
import { badImage } from '../image-error.ts';
import { SparseDisk } from '../sparse/sparse-disk.ts';
import { Bat } from './bat.ts';
import { HeaderPair } from './header.ts';
import { FILE_SIGNATURE, HEADER_SECTION_BYTES, NULL_GUID } from './layout.ts';
import { replayLog } from './log.ts';
import { readMetadata } from './metadata.ts';
import type { ParentLocator } from './parent-locator.ts';
import { type Regions, readRegions } from './region.ts';
import { VhdxLayout, type VhdxParts } from './vhdx-layout.ts';

/** A parent that was found, and what it says of its contents. */
export interface VhdxParent {
  readonly disk: Disk;
  readonly dataWriteGuid: Guid;
}

export interface VhdxOpenOptions {
  /** Opens the parent of a differencing image, for reading. */
  readonly openParent?: (locator: ParentLocator) => Promise<VhdxParent>;
  /** @default random */
  readonly newGuid?: () => Guid;
}

/** An opened VHDX. */
export interface VhdxImage extends VhdxParent {
  readonly disk: SparseDisk;
}

/** Every structure of an image, read and checked; the log has been replayed if there was one. */
export interface VhdxStructures extends VhdxParts {
  readonly regions: Regions;
  readonly replayedEntries: number;
}

/** Whether a file that begins like this is a VHDX. */
export function isVhdx(head: Uint8Array): boolean {
  return String.fromCharCode(...head.subarray(0, FILE_SIGNATURE.length)) === FILE_SIGNATURE;
}

/**
 * Opens a VHDX, for writing where the file is. The file belongs to the disk from then on; where this fails it stays
 * the caller's.
 */
export async function openVhdx(file: BlockFile, options: VhdxOpenOptions = {}): Promise<VhdxImage> {
  const newGuid = options.newGuid ?? hostIdentity.newGuid;
  const structures = await readStructures(file, newGuid);
  const { metadata, bat, headers } = structures;
  const [problem] = bat.validate(metadata, file.sizeBytes, 1);
  if (problem !== undefined) throw badImage(file.name, problem);
  const { dataWriteGuid } = headers.current;
  const parent = await openParent(file.name, metadata, options);
  const disk = new SparseDisk(file, new VhdxLayout(file, structures, newGuid), {
    sizeBytes: metadata.sizeBytes,
    logicalSectorBytes: metadata.logicalSectorBytes,
    physicalSectorBytes: metadata.physicalSectorBytes,
    id: metadata.diskId,
    parent,
  });
  return { disk, dataWriteGuid };
}

async function openParent(
  name: string,
  metadata: VhdxParts['metadata'],
  options: VhdxOpenOptions,
): Promise<Disk | undefined> {
  if (metadata.parent === undefined) return undefined;
  if (options.openParent === undefined)
    throw badImage(name, 'it is a differencing image', 'say where its parent is');
  const { disk, dataWriteGuid } = await options.openParent(metadata.parent);
  const refuse = async (code: string, message: string): Promise<never> => {
    await disk.close();
    throw new KenshoError(code, `${name}: ${message}`);
  };
  if (!metadata.parent.linkages.includes(dataWriteGuid)) {
    return await refuse(
      'DISK_PARENT_MISMATCH',
      'its parent was changed since this image was made; restore the parent from a copy',
    );
  }
  if (disk.logicalSectorBytes !== metadata.logicalSectorBytes) {
    return await refuse(
      'DISK_PARENT_MISMATCH',
      'its parent has another sector size; restore the right parent',
    );
  }
  return disk;
}

/**
 * Reads every structure; replays the log first where the file may be written. Throws KenshoError BAD_DISK_IMAGE,
 * UNSUPPORTED_DISK_IMAGE or DISK_NEEDS_REPLAY.
 */
export async function readStructures(file: BlockFile, newGuid: () => Guid): Promise<VhdxStructures> {
  if (file.sizeBytes < HEADER_SECTION_BYTES) throw badImage(file.name, 'too short to be a VHDX');
  if (!isVhdx(await readBytes(file, 0, FILE_SIGNATURE.length))) throw badImage(file.name, 'not a VHDX');
  const headers = await HeaderPair.read(file);
  const replayedEntries = await replayIfNeeded(file, headers, newGuid);
  const { logOffset, logLength } = headers.current;
  const regions = await readRegions(file);
  const log = { offsetBytes: logOffset, lengthBytes: logLength };
  const logEnd = logOffset + logLength;
  if (logEnd > file.sizeBytes) throw badImage(file.name, 'the VHDX log lies outside the file');
  if (regions.all.some((r) => r.offsetBytes < logEnd && logOffset < r.offsetBytes + r.lengthBytes)) {
    throw badImage(file.name, 'the VHDX log overlaps a region');
  }
  const metadata = await readMetadata(file, regions.metadata);
  const bat = await Bat.read(file, regions.bat, metadata);
  const header = { offsetBytes: 0, lengthBytes: HEADER_SECTION_BYTES };
  return { headers, metadata, bat, regions, replayedEntries, reserved: [header, log, ...regions.all] };
}

async function replayIfNeeded(file: BlockFile, headers: HeaderPair, newGuid: () => Guid): Promise<number> {
  if (headers.current.logGuid === NULL_GUID) return 0;
  if (file.readOnly) {
    throw new KenshoError(
      'DISK_NEEDS_REPLAY',
      `${file.name}: was not closed and has changes in its log; open it once for writing, or check it with repair`,
    );
  }
  // The log stays marked as in use until its writes are where they belong.
  await headers.update({ fileWriteGuid: newGuid() });
  const entries = await replayLog(file, headers.current);
  await headers.update({ logGuid: NULL_GUID });
  return entries;
}
