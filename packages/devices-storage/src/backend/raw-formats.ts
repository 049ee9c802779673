import { KenshoError } from '@kensho/core';
import type { BlockFile } from './block-file.ts';
import type { DiskFormat, DiskImageInfo } from './disk.ts';
import { HostFile } from './host-file.ts';
import { guidOfPath } from './host-identity.ts';
import { createFile, withFile } from './image-file.ts';
import { RawDisk, type RawDiskOptions } from './raw.ts';

/** Sectors in order and nothing else. Nothing tells such a file from another, so only its name speaks for it. */
export const rawFormat: DiskFormat = {
  id: 'raw',
  description: 'The sectors in order; takes space only where it was written if the host can',
  extensions: ['.img', '.raw', '.bin'],
  recognises: () => false,
  open: (path, options) =>
    openRaw(HostFile.open(path, options), { id: guidOfPath(path), logicalSectorBytes: 512 }),
  async create(path, { sizeBytes = 0, logicalSectorBytes = 512, parent }) {
    if (parent !== undefined)
      throw new KenshoError('BAD_DISK_SPEC', 'a raw image has no parent; use vhd or vhdx');
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % logicalSectorBytes !== 0) {
      throw new KenshoError(
        'BAD_DISK_SPEC',
        `${sizeBytes} bytes are not whole sectors of ${logicalSectorBytes}`,
      );
    }
    await createFile(path, async (file) => file.truncate(sizeBytes));
  },
  inspect: (path) => inspectRaw('raw', path, 512, false),
};

/** Where an ISO 9660 or UDF image has its first volume descriptor, and what it says. */
const VOLUME_DESCRIPTOR_OFFSET = 0x8000;
const VOLUME_IDENTIFIERS: ReadonlySet<string> = new Set(['CD001', 'BEA01']);
const CD_SECTOR_BYTES = 2048;

/** An image of a CD or DVD: read-only, in sectors of 2048 bytes. */
export const isoFormat: DiskFormat = {
  id: 'iso',
  description: 'CD or DVD image, read-only (ECMA-119)',
  extensions: ['.iso'],
  recognises(head) {
    const identifier = head.subarray(VOLUME_DESCRIPTOR_OFFSET + 1, VOLUME_DESCRIPTOR_OFFSET + 6);
    return VOLUME_IDENTIFIERS.has(String.fromCharCode(...identifier));
  },
  open: (path, options) =>
    openRaw(HostFile.open(path, { ...options, readOnly: true }), {
      id: guidOfPath(path),
      logicalSectorBytes: CD_SECTOR_BYTES,
    }),
  inspect: (path) => inspectRaw('iso', path, CD_SECTOR_BYTES, true),
};

async function openRaw(file: BlockFile, options: RawDiskOptions): Promise<RawDisk> {
  try {
    return new RawDisk(file, options);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function inspectRaw(
  format: string,
  path: string,
  sectorBytes: number,
  readOnly: boolean,
): Promise<DiskImageInfo> {
  return withFile(path, true, async (file) => ({
    format,
    kind: 'raw',
    sizeBytes: file.sizeBytes,
    fileSizeBytes: file.sizeBytes,
    logicalSectorBytes: sectorBytes,
    physicalSectorBytes: sectorBytes,
    id: guidOfPath(path),
    readOnly,
  }));
}
