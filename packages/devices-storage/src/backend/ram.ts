import type { Guid } from '@kensho/core';
import { MemoryFile } from './memory-file.ts';
import { RawDisk } from './raw.ts';

export interface RamDiskOptions {
  readonly sizeBytes: number;
  readonly id: Guid;
  /** @default 512 */
  readonly logicalSectorBytes?: number;
}

/** A disk in memory that takes space only where it was written and gives it back when it is trimmed. */
export function createRamDisk(options: RamDiskOptions): RawDisk {
  return new RawDisk(new MemoryFile(options.sizeBytes, { name: 'RAM disk' }), options);
}
