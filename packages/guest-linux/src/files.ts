import fs from 'node:fs/promises';
import path from 'node:path';
import { KenshoError } from '@kensho/core';
import { size } from './format.ts';
import type { NamedFile } from './image/kernel-file.ts';

/**
 * The bytes of a file, which may already be in memory. Throws KenshoError UNREADABLE_FILE, or NO_ROOM where it is larger
 * than `limitBytes`.
 *
 * @param role - what it is for: names bytes that have no path
 */
export async function readFileFor(
  role: string,
  source: string | Uint8Array,
  limitBytes: number,
): Promise<NamedFile> {
  const checkSize = (sizeBytes: number) => {
    if (sizeBytes <= limitBytes) return;
    throw new KenshoError(
      'NO_ROOM',
      `the ${role} of ${size(sizeBytes)} does not fit the partition's memory of ${size(limitBytes)}: give it more memory`,
    );
  };
  if (typeof source !== 'string') {
    checkSize(source.length);
    return { name: role, bytes: source };
  }
  try {
    const found = await fs.stat(source);
    if (!found.isFile()) throw new Error('it is not a file');
    checkSize(found.size);
    return { name: path.basename(source), bytes: await fs.readFile(source) };
  } catch (cause) {
    if (cause instanceof KenshoError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new KenshoError('UNREADABLE_FILE', `cannot read the ${role} ${source}: ${why}`, { cause });
  }
}

/** What is smaller may share its memory with others, as small buffers of Node.js do. */
const DISCARD_MIN_BYTES = 2 ** 20;

/**
 * Gives a large buffer's memory back at once: an unpacked kernel is more than all else that the host has, and a guest
 * that runs hardly ever makes the garbage collector look. The buffer has no bytes afterwards.
 */
export function discard(buffer: ArrayBufferLike): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= DISCARD_MIN_BYTES) buffer.transfer(0);
}
