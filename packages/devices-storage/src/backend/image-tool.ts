import { rmSync } from 'node:fs';
import { KenshoError } from '@kensho/core';
import type {
  Disk,
  DiskAllocation,
  DiskFormat,
  DiskImageCheck,
  DiskImageInfo,
  DiskImageSpec,
} from './disk.ts';
import { BUILT_IN_DISK_FORMATS, formatById, formatByName, formatOf } from './open.ts';

/** What image functions share. */
export interface ImageToolOptions {
  /** Id of the format. @default recognised, or taken from the name of a new file */
  readonly format?: string;
}

/** Says what an image is, without changing it. */
export async function diskInfo(
  path: string,
  options: ImageToolOptions = {},
  formats: readonly DiskFormat[] = BUILT_IN_DISK_FORMATS,
): Promise<DiskImageInfo> {
  return await (await formatOf(path, options.format, formats)).inspect(path);
}

/** Makes an image. Throws KenshoError DISK_EXISTS, BAD_DISK_SPEC, UNKNOWN_DISK_FORMAT or DISK_FORMAT_CANNOT. */
export async function createDisk(
  path: string,
  spec: DiskImageSpec & ImageToolOptions,
  formats: readonly DiskFormat[] = BUILT_IN_DISK_FORMATS,
): Promise<void> {
  await creator(newFormat(path, spec.format, formats))(path, spec);
}

/** Looks for inconsistencies in an image; with `repair`, mends what can be mended without loss. */
export async function checkDisk(
  path: string,
  options: ImageToolOptions & { readonly repair?: boolean } = {},
  formats: readonly DiskFormat[] = BUILT_IN_DISK_FORMATS,
): Promise<DiskImageCheck> {
  const format = await formatOf(path, options.format, formats);
  if (format.check === undefined) return { format: format.id, problems: [], repaired: [] };
  return await format.check(path, { repair: options.repair ?? false });
}

/** How a disk is copied into a new image. */
export interface SaveOptions {
  /** Id of the new image's format. @default taken from its name */
  readonly format?: string;
  readonly allocation?: DiskAllocation;
  readonly blockSizeBytes?: number;
  /** Told now and then how far it is. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Ends the conversion early; its reason is thrown. */
  readonly signal?: AbortSignal;
}

export interface ConvertOptions extends SaveOptions {
  /** Id of the source's format. @default recognised */
  readonly sourceFormat?: string;
}

const PIECE_BYTES = 1 << 20;

/**
 * Copies a disk into a new image, with its parents' sectors if it has any. Zeroes are left out, so that the new
 * image is sparse. One that could not be finished is removed.
 */
export async function convertDisk(
  from: string,
  to: string,
  options: ConvertOptions = {},
  formats: readonly DiskFormat[] = BUILT_IN_DISK_FORMATS,
): Promise<void> {
  newFormat(to, options.format, formats);
  const sourceFormat = await formatOf(from, options.sourceFormat, formats);
  const source = await sourceFormat.open(from, { readOnly: true });
  try {
    await saveDisk(source, to, options, formats);
  } finally {
    await source.close();
  }
}

/** Copies an open disk into a new image, as {@link convertDisk} does. The disk stays open. */
export async function saveDisk(
  source: Disk,
  to: string,
  options: SaveOptions = {},
  formats: readonly DiskFormat[] = BUILT_IN_DISK_FORMATS,
): Promise<void> {
  const format = newFormat(to, options.format, formats);
  await creator(format)(to, {
    sizeBytes: source.sizeBytes,
    allocation: options.allocation,
    blockSizeBytes: options.blockSizeBytes,
    // A CD's contents become those of a hard disk, which has no sectors of that size.
    logicalSectorBytes: source.logicalSectorBytes === 2048 ? undefined : source.logicalSectorBytes,
  });
  try {
    const target = await format.open(to, {});
    try {
      await copy(source, target, options);
    } finally {
      await target.close();
    }
  } catch (error) {
    rmSync(to, { force: true });
    throw error;
  }
}

async function copy(source: Disk, target: Disk, { onProgress, signal }: SaveOptions): Promise<void> {
  const piece = new Uint8Array(PIECE_BYTES);
  const zeroes = Buffer.alloc(PIECE_BYTES);
  for (let done = 0; done < source.sizeBytes; ) {
    signal?.throwIfAborted();
    const view = piece.subarray(0, Math.min(PIECE_BYTES, source.sizeBytes - done));
    await source.read(done, [view]);
    if (zeroes.compare(view, 0, view.length, 0, view.length) !== 0) await target.write(done, [view]);
    done += view.length;
    onProgress?.(done, source.sizeBytes);
    // Both sides may end inline; others want to run too.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function newFormat(path: string, id: string | undefined, formats: readonly DiskFormat[]): DiskFormat {
  const format = id === undefined ? formatByName(path, formats) : formatById(id, formats);
  if (format === undefined) {
    throw new KenshoError(
      'UNKNOWN_DISK_FORMAT',
      `${path}: its name belongs to no disk format; name the format`,
    );
  }
  return format;
}

function creator(format: DiskFormat): NonNullable<DiskFormat['create']> {
  if (format.create === undefined) {
    throw new KenshoError('DISK_FORMAT_CANNOT', `${format.id} images cannot be made; choose another format`);
  }
  return format.create.bind(format);
}
