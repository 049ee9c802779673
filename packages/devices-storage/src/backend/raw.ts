import { type Guid, KenshoError, type MaybePromise } from '@kensho/core';
import type { BlockFile } from './block-file.ts';
import type { Disk } from './disk.ts';
import { checkedLength, checkRange, checkWritable } from './views.ts';

export interface RawDiskOptions {
  readonly id: Guid;
  /** The part of the file, from its start, that is the disk. @default all of it */
  readonly sizeBytes?: number;
  /** @default 512 */
  readonly logicalSectorBytes?: number;
  /** @default the logical sector size */
  readonly physicalSectorBytes?: number;
  /** @default the file's */
  readonly readOnly?: boolean;
}

/**
 * A disk whose sectors lie in a file in order: raw images, ISO images, fixed VHDs, and memory.
 * Throws KenshoError BAD_DISK_SIZE where the size is not one of whole sectors.
 */
export class RawDisk implements Disk {
  readonly sizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  readonly canTrim: boolean;
  readonly id: Guid;
  readonly #file: BlockFile;

  constructor(file: BlockFile, options: RawDiskOptions) {
    this.#file = file;
    this.id = options.id;
    this.sizeBytes = options.sizeBytes ?? file.sizeBytes;
    this.logicalSectorBytes = options.logicalSectorBytes ?? 512;
    this.physicalSectorBytes = options.physicalSectorBytes ?? this.logicalSectorBytes;
    this.readOnly = options.readOnly ?? file.readOnly;
    this.canTrim = file.discard !== undefined && !this.readOnly;
    if (!(this.sizeBytes > 0) || this.sizeBytes % this.logicalSectorBytes !== 0) {
      throw new KenshoError(
        'BAD_DISK_SIZE',
        `${file.name}: ${this.sizeBytes} bytes are not whole sectors of ${this.logicalSectorBytes}; ` +
          `pad it, e.g. with truncate -s %${this.logicalSectorBytes}`,
      );
    }
  }

  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void> {
    checkedLength(this, offsetBytes, target);
    return this.#file.read(offsetBytes, target);
  }

  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void> {
    checkWritable(this);
    checkedLength(this, offsetBytes, source);
    return this.#file.write(offsetBytes, source);
  }

  flush(): MaybePromise<void> {
    if (!this.readOnly) return this.#file.flush();
  }

  trim(offsetBytes: number, lengthBytes: number): void {
    checkWritable(this);
    checkRange(this, offsetBytes, lengthBytes);
    if (this.canTrim && lengthBytes > 0) this.#file.discard?.(offsetBytes, lengthBytes);
  }

  async close(): Promise<void> {
    try {
      await this.flush();
    } finally {
      await this.#file.close();
    }
  }
}
