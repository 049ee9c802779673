import type { Guid } from '@kensho/core';
import { type BlockFile, readBytes } from '../block-file.ts';
import { badImage, unsupportedImage } from '../image-error.ts';
import {
  FILE_PARAMETERS_ITEM,
  FileParameters,
  HAS_PARENT,
  LEAVE_BLOCK_ALLOCATED,
  LOGICAL_SECTOR_SIZE_ITEM,
  MAX_BLOCK_BYTES,
  MAX_DISK_BYTES,
  MAX_TABLE_ENTRIES,
  METADATA_IS_REQUIRED,
  METADATA_IS_USER,
  METADATA_IS_VIRTUAL_DISK,
  METADATA_SIGNATURE,
  METADATA_TABLE_BYTES,
  MetadataTableEntry,
  MetadataTableHeader,
  MIB,
  MIN_BLOCK_BYTES,
  PARENT_LOCATOR_ITEM,
  PHYSICAL_SECTOR_SIZE_ITEM,
  SectorSize,
  VIRTUAL_DISK_ID_ITEM,
  VIRTUAL_DISK_SIZE_ITEM,
  VirtualDiskId,
  VirtualDiskSize,
} from './layout.ts';
import { decodeParentLocator, encodeParentLocator, type ParentLocator } from './parent-locator.ts';
import type { Extent } from './region.ts';

/** What the metadata region says of the disk ([MS-VHDX] 2.6.2). */
export interface VhdxMetadata {
  readonly sizeBytes: number;
  readonly blockBytes: number;
  /** Whether blocks stay in the file for good: a fixed image. */
  readonly leaveBlocksAllocated: boolean;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly diskId: Guid;
  /** Present in a differencing image. */
  readonly parent?: ParentLocator;
}

const KNOWN_ITEMS: ReadonlySet<Guid> = new Set([
  FILE_PARAMETERS_ITEM,
  VIRTUAL_DISK_SIZE_ITEM,
  VIRTUAL_DISK_ID_ITEM,
  LOGICAL_SECTOR_SIZE_ITEM,
  PHYSICAL_SECTOR_SIZE_ITEM,
  PARENT_LOCATOR_ITEM,
]);

/** Reads and checks the metadata region. */
export async function readMetadata(file: BlockFile, region: Extent): Promise<VhdxMetadata> {
  if (region.lengthBytes < METADATA_TABLE_BYTES)
    throw badImage(file.name, 'the VHDX metadata region is too small');
  const table = await readBytes(file, region.offsetBytes, METADATA_TABLE_BYTES);
  const header = MetadataTableHeader.read(table);
  if (
    String.fromCharCode(...header.Signature) !== METADATA_SIGNATURE ||
    header.EntryCount > MAX_TABLE_ENTRIES
  ) {
    throw badImage(file.name, 'the VHDX metadata table is damaged');
  }
  const items = new Map<Guid, Extent>();
  for (let index = 1; index <= header.EntryCount; index++) {
    const entry = MetadataTableEntry.read(table, index * MetadataTableEntry.sizeBytes);
    if ((entry.Flags & METADATA_IS_USER) === 0 && KNOWN_ITEMS.has(entry.ItemID)) {
      items.set(entry.ItemID, { offsetBytes: entry.Offset, lengthBytes: entry.Length });
    } else if ((entry.Flags & METADATA_IS_REQUIRED) !== 0) {
      throw unsupportedImage(
        file.name,
        `needs VHDX metadata item ${entry.ItemID}`,
        'convert it with the program that wrote it',
      );
    }
  }
  const readItem = async (id: Guid, name: string, minBytes: number): Promise<Uint8Array> => {
    const item = items.get(id);
    if (item === undefined) throw badImage(file.name, `the VHDX metadata has no ${name}`);
    const { offsetBytes, lengthBytes } = item;
    if (
      offsetBytes < METADATA_TABLE_BYTES ||
      lengthBytes < minBytes ||
      lengthBytes > MIB ||
      offsetBytes + lengthBytes > region.lengthBytes
    ) {
      throw badImage(file.name, `the VHDX metadata item "${name}" lies outside its region`);
    }
    return await readBytes(file, region.offsetBytes + offsetBytes, lengthBytes);
  };

  const parameters = FileParameters.read(await readItem(FILE_PARAMETERS_ITEM, 'file parameters', 8));
  const blockBytes = parameters.BlockSize;
  if (blockBytes < MIN_BLOCK_BYTES || blockBytes > MAX_BLOCK_BYTES || (blockBytes & (blockBytes - 1)) !== 0) {
    throw badImage(file.name, `a VHDX block size of ${blockBytes} is not allowed`);
  }
  const sectorSize = async (id: Guid, name: string) => {
    const size = SectorSize.read(await readItem(id, name, 4)).SectorSize;
    if (size !== 512 && size !== 4096) throw badImage(file.name, `a VHDX ${name} of ${size} is not allowed`);
    return size;
  };
  const logicalSectorBytes = await sectorSize(LOGICAL_SECTOR_SIZE_ITEM, 'logical sector size');
  const physicalSectorBytes = await sectorSize(PHYSICAL_SECTOR_SIZE_ITEM, 'physical sector size');
  const sizeBytes = Number(
    VirtualDiskSize.read(await readItem(VIRTUAL_DISK_SIZE_ITEM, 'virtual disk size', 8)).VirtualDiskSize,
  );
  if (sizeBytes === 0 || sizeBytes % logicalSectorBytes !== 0 || sizeBytes > MAX_DISK_BYTES) {
    throw badImage(file.name, `a VHDX disk size of ${sizeBytes} bytes is not allowed`);
  }
  const diskId = VirtualDiskId.read(
    await readItem(VIRTUAL_DISK_ID_ITEM, 'virtual disk id', 16),
  ).VirtualDiskId;
  const parent =
    (parameters.Flags & HAS_PARENT) !== 0
      ? decodeParentLocator(file.name, await readItem(PARENT_LOCATOR_ITEM, 'parent locator', 20))
      : undefined;
  return {
    sizeBytes,
    blockBytes,
    leaveBlocksAllocated: parent === undefined && (parameters.Flags & LEAVE_BLOCK_ALLOCATED) !== 0,
    logicalSectorBytes,
    physicalSectorBytes,
    diskId,
    parent,
  };
}

/** The used beginning of a new image's metadata region. */
export function encodeMetadata(metadata: VhdxMetadata): Uint8Array {
  const flags =
    (metadata.leaveBlocksAllocated ? LEAVE_BLOCK_ALLOCATED : 0) |
    (metadata.parent === undefined ? 0 : HAS_PARENT);
  const disk = METADATA_IS_VIRTUAL_DISK | METADATA_IS_REQUIRED;
  const items: { id: Guid; flags: number; data: Uint8Array }[] = [
    {
      id: FILE_PARAMETERS_ITEM,
      flags: METADATA_IS_REQUIRED,
      data: FileParameters.encode({ BlockSize: metadata.blockBytes, Flags: flags }),
    },
    {
      id: VIRTUAL_DISK_SIZE_ITEM,
      flags: disk,
      data: VirtualDiskSize.encode({ VirtualDiskSize: BigInt(metadata.sizeBytes) }),
    },
    { id: VIRTUAL_DISK_ID_ITEM, flags: disk, data: VirtualDiskId.encode({ VirtualDiskId: metadata.diskId }) },
    {
      id: LOGICAL_SECTOR_SIZE_ITEM,
      flags: disk,
      data: SectorSize.encode({ SectorSize: metadata.logicalSectorBytes }),
    },
    {
      id: PHYSICAL_SECTOR_SIZE_ITEM,
      flags: disk,
      data: SectorSize.encode({ SectorSize: metadata.physicalSectorBytes }),
    },
  ];
  if (metadata.parent !== undefined) {
    items.push({
      id: PARENT_LOCATOR_ITEM,
      flags: METADATA_IS_REQUIRED,
      data: encodeParentLocator(metadata.parent),
    });
  }
  const length = items.reduce((sum, { data }) => sum + align(data.length), METADATA_TABLE_BYTES);
  const region = new Uint8Array(length);
  MetadataTableHeader.write(region, {
    Signature: new TextEncoder().encode(METADATA_SIGNATURE),
    EntryCount: items.length,
  });
  let at = METADATA_TABLE_BYTES;
  items.forEach((item, index) => {
    MetadataTableEntry.write(
      region,
      { ItemID: item.id, Offset: at, Length: item.data.length, Flags: item.flags },
      (index + 1) * MetadataTableEntry.sizeBytes,
    );
    region.set(item.data, at);
    at += align(item.data.length);
  });
  return region;
}

function align(length: number): number {
  return Math.ceil(length / 8) * 8;
}
