import { extname } from 'node:path';
import { KenshoError } from '@kensho/core';
import type { Disk, DiskFormat, DiskOpenOptions } from './disk.ts';
import { withFile } from './image-file.ts';
import { isoFormat, rawFormat } from './raw-formats.ts';
import { vhdFormat } from './vhd/format.ts';
import { vhdxFormat } from './vhdx/format.ts';

/** The formats that this package contributes. */
export const BUILT_IN_DISK_FORMATS: readonly DiskFormat[] = [vhdxFormat, vhdFormat, isoFormat, rawFormat];

const HEAD_BYTES = 64 * 1024;
const TAIL_BYTES = 512;

/**
 * Opens a disk image. Its format is the one named, else the one that its contents show, else the one that its name
 * belongs to.
 *
 * @param formats - those to choose from: the contributions to {@link DISK_FORMATS}
 */
export async function openDisk(
  path: string,
  options: DiskOpenOptions = {},
  formats: readonly DiskFormat[] = BUILT_IN_DISK_FORMATS,
): Promise<Disk> {
  const format = await formatOf(path, options.format, formats);
  return await format.open(path, options);
}

/**
 * The format of an image. Throws KenshoError UNKNOWN_DISK_FORMAT, or AMBIGUOUS_DISK_FORMAT where contents and name
 * disagree: the guest of a raw image chooses its contents, and could make it name any file of the host as its parent.
 */
export async function formatOf(
  path: string,
  id: string | undefined,
  formats: readonly DiskFormat[],
): Promise<DiskFormat> {
  if (id !== undefined) return formatById(id, formats);
  const { head, tail } = await readEnds(path);
  const byContents = formats.find((format) => format.recognises(head, tail));
  const byName = formatByName(path, formats);
  if (byContents === undefined && byName === undefined) {
    throw new KenshoError(
      'UNKNOWN_DISK_FORMAT',
      `${path}: of no known format; name it, one of ${list(formats)}`,
    );
  }
  if (byContents !== undefined && byName !== undefined && byContents !== byName) {
    throw new KenshoError(
      'AMBIGUOUS_DISK_FORMAT',
      `${path}: looks like ${byContents.id} but is named like ${byName.id}; say which format it is`,
    );
  }
  return (byContents ?? byName) as DiskFormat;
}

/** Throws KenshoError UNKNOWN_DISK_FORMAT, listing those that there are. */
export function formatById(id: string, formats: readonly DiskFormat[]): DiskFormat {
  const format = formats.find((candidate) => candidate.id === id);
  if (format === undefined) {
    throw new KenshoError('UNKNOWN_DISK_FORMAT', `${id} is no disk format; take one of ${list(formats)}`);
  }
  return format;
}

/** The format that a file's name belongs to. */
export function formatByName(path: string, formats: readonly DiskFormat[]): DiskFormat | undefined {
  const extension = extname(path).toLowerCase();
  return formats.find((format) => format.extensions.includes(extension));
}

function list(formats: readonly DiskFormat[]): string {
  return formats.map(({ id }) => id).join(', ');
}

function readEnds(path: string): Promise<{ head: Uint8Array; tail: Uint8Array }> {
  return withFile(path, true, async (file) => {
    const head = new Uint8Array(Math.min(HEAD_BYTES, file.sizeBytes));
    const tail = new Uint8Array(Math.min(TAIL_BYTES, file.sizeBytes));
    await file.read(0, [head]);
    await file.read(file.sizeBytes - tail.length, [tail]);
    return { head, tail };
  });
}
