import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { createDisk, type Disk, diskInfo, openDisk } from '@kensho/devices-storage';
import {
  DEFAULT_SPAN_BYTES,
  SECTOR_BYTES,
  type StorageBenchOptions,
  type StorageSettings,
  spanOf,
} from './options.ts';
import type { ImageFacts } from './results.ts';
import { hashSpan } from './span.ts';

/** The image that samples run on, and how to be rid of what was made for it. */
export interface BenchImage {
  readonly path: string;
  readonly spanBytes: number;
  readonly facts: ImageFacts;
  /** Throws KenshoError IMAGE_CHANGED where the file is not as it was when it was opened. */
  checkUnchanged(): void;
  /** Removes what was made. */
  close(): void;
}

/** Opens the user's image, or makes one; either way the host reads and hashes the span. */
export async function openBenchImage(
  options: StorageBenchOptions,
  settings: StorageSettings,
): Promise<BenchImage> {
  if (options.image !== undefined) return openUsersImage(options.image, options, settings);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-bench-'));
  const remove = () => fs.rmSync(folder, { recursive: true, force: true });
  // Also where the process is about to be ended by a signal's handler.
  process.once('exit', remove);
  try {
    const spanBytes = spanOf(options.spanBytes ?? DEFAULT_SPAN_BYTES, settings);
    const format = options.format ?? 'raw';
    const file = path.join(folder, `image.${format}`);
    await createDisk(file, { format, sizeBytes: spanBytes });
    const disk = await openDisk(file, { format });
    try {
      await fillWithKnownContent(disk, settings.seed);
    } finally {
      await disk.close();
    }
    return await readImage(file, format, spanBytes, true, remove);
  } catch (error) {
    remove();
    throw error;
  }
}

async function openUsersImage(
  file: string,
  options: StorageBenchOptions,
  settings: StorageSettings,
): Promise<BenchImage> {
  if (!fs.existsSync(file)) throw new KenshoError('NO_IMAGE', `${file}: no such file`);
  const info = await diskInfo(file, { format: options.format });
  if (info.logicalSectorBytes !== SECTOR_BYTES) {
    throw new KenshoError(
      'UNSUPPORTED_IMAGE',
      `${file}: sectors of ${info.logicalSectorBytes} bytes; an IDE disk has sectors of ${SECTOR_BYTES} only`,
    );
  }
  const wanted = options.spanBytes ?? Math.min(DEFAULT_SPAN_BYTES, info.sizeBytes);
  if (wanted > info.sizeBytes) {
    throw new KenshoError('INVALID_OPTION', `span of ${wanted} bytes: the image has ${info.sizeBytes}`);
  }
  return readImage(file, info.format, spanOf(wanted, settings), false, () => {});
}

async function readImage(
  file: string,
  format: string,
  spanBytes: number,
  generated: boolean,
  close: () => void,
): Promise<BenchImage> {
  const before = fs.statSync(file);
  const disk = await openDisk(file, { format, readOnly: true });
  try {
    const facts = {
      name: generated ? 'generated' : path.basename(file),
      format,
      sizeBytes: disk.sizeBytes,
      generated,
      sha256: await hashSpan(disk, spanBytes),
    };
    const checkUnchanged = () => {
      const after = fs.statSync(file);
      if (after.mtimeMs !== before.mtimeMs || after.size !== before.size) {
        throw new KenshoError('IMAGE_CHANGED', `${file} changed during the run: the figures mean nothing`);
      }
    };
    return { path: file, spanBytes, facts, checkUnchanged, close };
  } finally {
    await disk.close();
  }
}

/** Gives every sector a content of its own, which follows from the seed and its place. */
async function fillWithKnownContent(disk: Disk, seed: number): Promise<void> {
  const words = new Uint32Array(2 ** 18);
  const bytes = new Uint8Array(words.buffer);
  const wordsPerSector = SECTOR_BYTES / 4;
  for (let offset = 0; offset < disk.sizeBytes; offset += bytes.length) {
    for (let i = 0; i < words.length; i++) {
      const sector = offset / SECTOR_BYTES + Math.floor(i / wordsPerSector);
      // A multiplicative hash of place and seed: cheap, and no two sectors are the same.
      words[i] = i % wordsPerSector === 0 ? sector : Math.imul(sector ^ (i * 0x9e3779b1) ^ seed, 0x85ebca6b);
    }
    await disk.write(offset, [bytes.subarray(0, Math.min(bytes.length, disk.sizeBytes - offset))]);
  }
}
