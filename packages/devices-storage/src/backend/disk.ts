import {
  type Clock,
  type ContributionPoint,
  contributionPoint,
  type Guid,
  type MaybePromise,
} from '@kensho/core';

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
  /**
   * The partition's clock. With a virtual one, whether a request ends inline depends on nothing but the request, so
   * that runs repeat; with a real one a slow host is also taken into account.
   *
   * @default a real clock
   */
  readonly clock?: Clock;
}

/** Whether an image takes its whole size at once or grows with what is written. */
export type DiskAllocation = 'fixed' | 'dynamic';

/** What a new image shall be. */
export interface DiskImageSpec {
  /** Capacity; may be left out where there is a parent, whose capacity it then is. */
  readonly sizeBytes?: number;
  /** @default 'dynamic' where the format knows it; ignored where there is a parent */
  readonly allocation?: DiskAllocation;
  /** Path of the image of the same format that the new one shall hold the differences from. */
  readonly parent?: string;
  /** Unit of allocation. @default the format's own */
  readonly blockSizeBytes?: number;
  /** @default 512, or the parent's */
  readonly logicalSectorBytes?: number;
}

/** What an image is, as far as its file says. */
export interface DiskImageInfo {
  /** Id of its {@link DiskFormat}. */
  readonly format: string;
  readonly kind: 'raw' | 'fixed' | 'dynamic' | 'differencing';
  readonly sizeBytes: number;
  /** Length of the file. */
  readonly fileSizeBytes: number;
  readonly logicalSectorBytes: number;
  readonly physicalSectorBytes: number;
  readonly id: Guid;
  /** Whether it is opened for reading only. */
  readonly readOnly: boolean;
  readonly blockSizeBytes?: number;
  /** Blocks that the file holds, of how many; for kinds that have blocks. */
  readonly allocatedBlocks?: number;
  readonly totalBlocks?: number;
  /** Path of the parent; as the image stores it where nothing is there. */
  readonly parent?: string;
  /** What wrote the image, in its own words. */
  readonly creator?: string;
}

/** What a check of an image found. */
export interface DiskImageCheck {
  readonly format: string;
  /** One line each; empty where the image is sound. */
  readonly problems: readonly string[];
  /** One line for each thing that was repaired; these are not among the problems. */
  readonly repaired: readonly string[];
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
  /** Makes an image at a path where nothing is yet. Left out by formats that cannot. */
  create?(path: string, spec: DiskImageSpec): Promise<void>;
  /** Says what the image is, without changing it. */
  inspect(path: string): Promise<DiskImageInfo>;
  /** Looks for inconsistencies; with `repair`, mends what can be mended without loss. */
  check?(path: string, options: { readonly repair: boolean }): Promise<DiskImageCheck>;
}

export const DISK_FORMATS: ContributionPoint<DiskFormat> = contributionPoint<DiskFormat>('disk format');
