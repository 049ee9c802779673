import { type Guid, KenshoError } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';
import { hostIdentity } from '../host-identity.ts';
import { BatGeometry, MAX_BAT_BYTES } from './bat.ts';
import { encodeHeader } from './header.ts';
import {
  BAT_ENTRY_BYTES,
  FILE_SIGNATURE,
  HEADER_OFFSETS,
  MAX_BLOCK_BYTES,
  MAX_DISK_BYTES,
  MIB,
  MIN_BLOCK_BYTES,
  NULL_GUID,
  PAYLOAD_BLOCK_FULLY_PRESENT,
  REGION_TABLE_OFFSETS,
} from './layout.ts';
import { encodeMetadata } from './metadata.ts';
import type { ParentLocator } from './parent-locator.ts';
import { encodeRegionTable } from './region.ts';

/** What a new VHDX shall be. */
export interface VhdxSpec {
  readonly sizeBytes: number;
  /** Whether every block is in the file from the start. @default false */
  readonly fixed?: boolean;
  /** A power of two from 1 to 256 MiB. @default 32 MiB; 2 MiB for a differencing image */
  readonly blockBytes?: number;
  /** 512 or 4096. @default 512 */
  readonly logicalSectorBytes?: number;
  /** 512 or 4096. @default 4096 */
  readonly physicalSectorBytes?: number;
  readonly parent?: ParentLocator;
  /** @default random */
  readonly newGuid?: () => Guid;
}

const LOG_OFFSET = MIB;
const LOG_BYTES = MIB;
const METADATA_OFFSET = 2 * MIB;
const METADATA_BYTES = MIB;
const BAT_OFFSET = 3 * MIB;
const DEFAULT_BLOCK_BYTES = 32 * MIB;
/** What a guest writes into a differencing image is scattered, and each first write takes a block. */
const DEFAULT_DIFFERENCING_BLOCK_BYTES = 2 * MIB;
const CREATOR = 'Kensho';

/** Writes a new image into an empty file. Throws KenshoError BAD_DISK_SPEC. */
export async function createVhdx(file: BlockFile, spec: VhdxSpec): Promise<void> {
  const newGuid = spec.newGuid ?? hostIdentity.newGuid;
  const blockBytes =
    spec.blockBytes ?? (spec.parent === undefined ? DEFAULT_BLOCK_BYTES : DEFAULT_DIFFERENCING_BLOCK_BYTES);
  const logicalSectorBytes = spec.logicalSectorBytes ?? 512;
  const physicalSectorBytes = spec.physicalSectorBytes ?? 4096;
  checkSpec({ ...spec, blockBytes, logicalSectorBytes, physicalSectorBytes });
  const fixed = spec.fixed === true && spec.parent === undefined;
  const metadata = {
    sizeBytes: spec.sizeBytes,
    blockBytes,
    leaveBlocksAllocated: fixed,
    logicalSectorBytes,
    physicalSectorBytes,
    diskId: newGuid(),
    parent: spec.parent,
  };
  const geometry = new BatGeometry(metadata);
  const batBytes = Math.ceil((geometry.entryCount * BAT_ENTRY_BYTES) / MIB) * MIB;
  if (batBytes > MAX_BAT_BYTES) {
    throw new KenshoError(
      'BAD_DISK_SPEC',
      `${spec.sizeBytes} bytes are too many for blocks of ${blockBytes}; take larger ones`,
    );
  }
  const bat = { offsetBytes: BAT_OFFSET, lengthBytes: batBytes };
  const dataOffset = BAT_OFFSET + batBytes;
  await file.truncate(dataOffset + (fixed ? geometry.payloadBlocks * blockBytes : 0));
  await file.write(METADATA_OFFSET, [encodeMetadata(metadata)]);
  if (fixed) await writeFixedBat(file, geometry, blockBytes, dataOffset);
  const regionTable = encodeRegionTable(bat, { offsetBytes: METADATA_OFFSET, lengthBytes: METADATA_BYTES });
  for (const offset of REGION_TABLE_OFFSETS) await file.write(offset, [regionTable]);
  const header = {
    fileWriteGuid: newGuid(),
    dataWriteGuid: newGuid(),
    logGuid: NULL_GUID,
    logLength: LOG_BYTES,
    logOffset: LOG_OFFSET,
  };
  for (const [index, offset] of HEADER_OFFSETS.entries()) {
    await file.write(offset, [encodeHeader({ ...header, sequenceNumber: BigInt(index) })]);
  }
  // The signature comes last: a file that was not finished is no image.
  await file.flush();
  const identifier = new Uint8Array(8 + 512);
  identifier.set(new TextEncoder().encode(FILE_SIGNATURE));
  identifier.set(Buffer.from(CREATOR, 'utf16le'), 8);
  await file.write(0, [identifier]);
  await file.flush();
}

function checkSpec(
  spec: Required<Pick<VhdxSpec, 'sizeBytes' | 'blockBytes' | 'logicalSectorBytes' | 'physicalSectorBytes'>>,
): void {
  const { sizeBytes, blockBytes, logicalSectorBytes, physicalSectorBytes } = spec;
  const refuse = (message: string) => {
    throw new KenshoError('BAD_DISK_SPEC', message);
  };
  for (const sector of [logicalSectorBytes, physicalSectorBytes]) {
    if (sector !== 512 && sector !== 4096) refuse(`a VHDX has sectors of 512 or 4096 bytes, not ${sector}`);
  }
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > MAX_DISK_BYTES) {
    refuse(`a VHDX has a size up to 64 TiB, not ${sizeBytes} bytes`);
  }
  if (sizeBytes % logicalSectorBytes !== 0) {
    refuse(
      `${sizeBytes} bytes are not a multiple of the sector size; round up to whole ${logicalSectorBytes} bytes`,
    );
  }
  if (
    blockBytes < MIN_BLOCK_BYTES ||
    blockBytes > MAX_BLOCK_BYTES ||
    !Number.isInteger(Math.log2(blockBytes))
  ) {
    refuse(`a VHDX has blocks of 1 to 256 MiB, a power of two, not ${blockBytes} bytes`);
  }
}

async function writeFixedBat(
  file: BlockFile,
  geometry: BatGeometry,
  blockBytes: number,
  dataOffset: number,
): Promise<void> {
  const entries = new BigUint64Array(geometry.entryCount);
  for (let block = 0; block < geometry.payloadBlocks; block++) {
    entries[geometry.payloadIndex(block)] =
      BigInt(dataOffset + block * blockBytes) | BigInt(PAYLOAD_BLOCK_FULLY_PRESENT);
  }
  await file.write(BAT_OFFSET, [new Uint8Array(entries.buffer)]);
}
