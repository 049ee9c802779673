import { type Guid, KenshoError } from '@kensho/core';
import type { BlockFile } from '../block-file.ts';
import { hostIdentity } from '../host-identity.ts';
import { encodeDynamicHeader, type VhdParentLocator } from './dynamic-header.ts';
import { encodeFooter, timeStampOf } from './footer.ts';
import {
  BAT_ENTRY_BYTES,
  DEFAULT_BLOCK_BYTES,
  DYNAMIC_HEADER_BYTES,
  FOOTER_BYTES,
  MAX_DISK_BYTES,
  SECTOR_BYTES,
} from './layout.ts';

/** What a new VHD shall be. */
export interface VhdSpec {
  readonly sizeBytes: number;
  /** @default false */
  readonly fixed?: boolean;
  /** A power of two from 512 KiB to 256 MiB. @default 2 MiB, the only one that every program takes */
  readonly blockBytes?: number;
  readonly parent?: VhdParentLocator;
  /** @default random */
  readonly newGuid?: () => Guid;
  /** @default the host's time */
  readonly nowMs?: () => number;
}

const MIN_BLOCK_BYTES = 512 * 1024;
const MAX_BLOCK_BYTES = 2 ** 28;
const TABLE_OFFSET = FOOTER_BYTES + DYNAMIC_HEADER_BYTES;

/** Writes a new image into an empty file. Throws KenshoError BAD_DISK_SPEC. */
export async function createVhd(file: BlockFile, spec: VhdSpec): Promise<void> {
  const { sizeBytes, parent } = spec;
  const blockBytes = spec.blockBytes ?? DEFAULT_BLOCK_BYTES;
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > MAX_DISK_BYTES) {
    throw new KenshoError(
      'BAD_DISK_SPEC',
      `a VHD has a size up to 2040 GiB, not ${sizeBytes} bytes; use VHDX beyond`,
    );
  }
  if (sizeBytes % SECTOR_BYTES !== 0) {
    throw new KenshoError(
      'BAD_DISK_SPEC',
      `${sizeBytes} bytes are not whole sectors; round up to a multiple of 512`,
    );
  }
  if (
    blockBytes < MIN_BLOCK_BYTES ||
    blockBytes > MAX_BLOCK_BYTES ||
    !Number.isInteger(Math.log2(blockBytes))
  ) {
    throw new KenshoError(
      'BAD_DISK_SPEC',
      `a VHD has blocks of 512 KiB to 256 MiB, a power of two, not ${blockBytes}`,
    );
  }
  const fixed = spec.fixed === true && parent === undefined;
  const footer = encodeFooter({
    kind: parent !== undefined ? 'differencing' : fixed ? 'fixed' : 'dynamic',
    sizeBytes,
    headerOffset: FOOTER_BYTES,
    timeStamp: timeStampOf((spec.nowMs ?? hostIdentity.nowMs)()),
    uniqueId: (spec.newGuid ?? hostIdentity.newGuid)(),
  });
  if (fixed) {
    await file.truncate(sizeBytes);
    await file.write(sizeBytes, [footer]);
  } else {
    const tableEntries = Math.ceil(sizeBytes / blockBytes);
    const table = new Uint8Array(
      Math.ceil((tableEntries * BAT_ENTRY_BYTES) / SECTOR_BYTES) * SECTOR_BYTES,
    ).fill(0xff);
    const { header, paths } = encodeDynamicHeader(
      { tableOffset: TABLE_OFFSET, tableEntries, blockBytes, parent },
      TABLE_OFFSET + table.length,
    );
    await file.write(0, [footer, header, table, paths, footer]);
  }
  await file.flush();
}
