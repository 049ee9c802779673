import { createHash } from 'node:crypto';
import { createOverlay, createRamDisk, type Disk, openDisk } from '@kensho/devices-storage';
import type { StorageRequest } from './request.ts';

const HASH_CHUNK_BYTES = 1024 * 1024;

/** SHA-256 of the first `spanBytes` bytes of a disk, read at the host. */
export async function hashSpan(disk: Disk, spanBytes: number): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(HASH_CHUNK_BYTES, spanBytes));
  for (let offset = 0; offset < spanBytes; offset += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, spanBytes - offset));
    await disk.read(offset, [part]);
    hash.update(part);
  }
  return hash.digest('hex');
}

/** The image under a copy-on-write overlay, or the span's copy in memory: to be written to and closed. */
export async function openSpan(request: StorageRequest): Promise<Disk> {
  const image = await openDisk(request.imagePath, { format: request.imageFormat, readOnly: true });
  if (!request.memory) return createOverlay(image);
  try {
    const { spanBytes } = request;
    const copy = createRamDisk({
      sizeBytes: spanBytes,
      id: image.id,
      logicalSectorBytes: image.logicalSectorBytes,
    });
    const buffer = new Uint8Array(HASH_CHUNK_BYTES);
    for (let offset = 0; offset < spanBytes; offset += buffer.length) {
      const part = [buffer.subarray(0, Math.min(buffer.length, spanBytes - offset))];
      await image.read(offset, part);
      await copy.write(offset, part);
    }
    return copy;
  } finally {
    await image.close();
  }
}
