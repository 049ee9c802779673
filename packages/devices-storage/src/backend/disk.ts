import { type ContributionPoint, contributionPoint, type Guid, type MaybePromise } from '@kensho/core';

/** What a disk is, beside its bytes. */
export interface DiskInfo {
  /** Capacity, a multiple of the logical sector size. */
  readonly sizeBytes: number;
  /** Smallest addressable unit: 512, 2048 (CD) or 4096. */
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean;
  /** Whether {@link Disk.trim} frees anything. */
  readonly canTrim: boolean;
  /** Identity that stays the same for the same disk; feeds the SCSI and ATA identifiers. */
  readonly id: Guid;
}

/**
 * What both paths serve: whole sectors at a position, now or later.
 *
 * Offsets and lengths are in bytes and multiples of the logical sector; callers have checked them against the
 * capacity and the read-only flag, and an implementation asserts both. Buffers are lists of views, filled or drained
 * in order; they may lie in shared memory, and stay valid until the operation ends. Operations that overlap
 * have no order among themselves unless one ended before the other began. An error says what failed at the host.
 */
export interface Disk extends DiskInfo {
  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void>;
  /** Done when the data will be read back; durable after the next {@link flush}. */
  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void>;
  /** Done when everything written before survives a power failure of the host. */
  flush(): MaybePromise<void>;
  /** Says that a range is no longer needed; it may read as zeroes or as before. */
  trim(offsetBytes: number, lengthBytes: number): MaybePromise<void>;
  /** Flushes and frees. Nothing else may be outstanding. */
  close(): MaybePromise<void>;
}

/** How a disk image is opened. */
export interface DiskOpenOptions {
  /** Id of a {@link DiskFormat}; recognised by content and file name where it is left out. */
  readonly format?: string;
  /** @default false */
  readonly readOnly?: boolean;
}

/** A format of disk images, contributed by a plugin. */
export interface DiskFormat {
  readonly id: string;
  readonly description: string;
  /** File name endings, with the dot. */
  readonly extensions: readonly string[];
  /** Whether a file with this beginning and end (up to 64 KiB and 512 bytes) is of this format. */
  recognises(head: Uint8Array, tail: Uint8Array): boolean;
  open(path: string, options: DiskOpenOptions): Promise<Disk>;
}

export const DISK_FORMATS: ContributionPoint<DiskFormat> = contributionPoint<DiskFormat>('disk format');
