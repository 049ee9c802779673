import { type BlockFile, readBytes } from '../block-file.ts';
import { badImage, unsupportedImage } from '../image-error.ts';
import { structureChecksum } from './crc32c.ts';
import {
  BAT_REGION,
  MAX_TABLE_ENTRIES,
  METADATA_REGION,
  MIB,
  REGION_SIGNATURE,
  REGION_TABLE_BYTES,
  REGION_TABLE_OFFSETS,
  RegionTableEntry,
  RegionTableHeader,
} from './layout.ts';

/** A run of the file. */
export interface Extent {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Where an image's regions are ([MS-VHDX] 2.2.3). */
export interface Regions {
  readonly bat: Extent;
  readonly metadata: Extent;
  /** Every region, also those that are not understood. */
  readonly all: readonly Extent[];
  /** The table as it is stored. */
  readonly table: Uint8Array;
  /** The places without a valid table. */
  readonly invalid: readonly number[];
}

/** Reads the region table from the first of its two places that has a valid one. */
export async function readRegions(file: BlockFile): Promise<Regions> {
  const tables = await Promise.all(
    REGION_TABLE_OFFSETS.map((offset) => readBytes(file, offset, REGION_TABLE_BYTES)),
  );
  const valid = tables.map(isValid);
  const table = tables[valid.indexOf(true)];
  if (table === undefined) throw badImage(file.name, 'neither VHDX region table is valid');
  const { EntryCount } = RegionTableHeader.read(table);
  let bat: Extent | undefined;
  let metadata: Extent | undefined;
  const all: Extent[] = [];
  for (let index = 0; index < EntryCount; index++) {
    const entry = RegionTableEntry.read(
      table,
      RegionTableHeader.sizeBytes + index * RegionTableEntry.sizeBytes,
    );
    const extent = { offsetBytes: Number(entry.FileOffset), lengthBytes: entry.Length };
    const end = extent.offsetBytes + extent.lengthBytes;
    if (extent.offsetBytes < MIB || extent.offsetBytes % MIB !== 0 || extent.lengthBytes % MIB !== 0) {
      throw badImage(file.name, `VHDX region ${entry.Guid} is not aligned to 1 MiB`);
    }
    if (end > file.sizeBytes) {
      throw badImage(
        file.name,
        `VHDX region ${entry.Guid} ends at ${end}, beyond the file's ${file.sizeBytes} bytes`,
      );
    }
    if (
      all.some(
        (other) => extent.offsetBytes < other.offsetBytes + other.lengthBytes && other.offsetBytes < end,
      )
    ) {
      throw badImage(file.name, `VHDX region ${entry.Guid} overlaps another`);
    }
    all.push(extent);
    if (entry.Guid === BAT_REGION) bat = extent;
    else if (entry.Guid === METADATA_REGION) metadata = extent;
    else if ((entry.Required & 1) !== 0) {
      throw unsupportedImage(
        file.name,
        `needs VHDX region ${entry.Guid}`,
        'convert it with the program that wrote it',
      );
    }
  }
  if (bat === undefined || metadata === undefined) {
    throw badImage(file.name, `the VHDX region table names no ${bat === undefined ? 'BAT' : 'metadata'}`);
  }
  return { bat, metadata, all, table, invalid: REGION_TABLE_OFFSETS.filter((_, index) => !valid[index]) };
}

function isValid(table: Uint8Array): boolean {
  const header = RegionTableHeader.read(table);
  return (
    header.Signature === REGION_SIGNATURE &&
    header.EntryCount <= MAX_TABLE_ENTRIES &&
    header.Checksum === structureChecksum(table, RegionTableHeader.offsetOf('Checksum'))
  );
}

/** The region table of a new image. */
export function encodeRegionTable(bat: Extent, metadata: Extent): Uint8Array {
  const table = new Uint8Array(REGION_TABLE_BYTES);
  const regions = [
    { Guid: BAT_REGION, ...bat },
    { Guid: METADATA_REGION, ...metadata },
  ];
  regions.forEach(({ Guid, offsetBytes, lengthBytes }, index) => {
    RegionTableEntry.write(
      table,
      { Guid, FileOffset: BigInt(offsetBytes), Length: lengthBytes, Required: 1 },
      RegionTableHeader.sizeBytes + index * RegionTableEntry.sizeBytes,
    );
  });
  RegionTableHeader.write(table, { Signature: REGION_SIGNATURE, EntryCount: regions.length });
  RegionTableHeader.write(table, {
    Checksum: structureChecksum(table, RegionTableHeader.offsetOf('Checksum')),
  });
  return table;
}
