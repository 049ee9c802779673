import { type Guid, guidFromBytes, guidToBytes } from '@kensho/core';
import { type BlockFile, readBytes } from '../block-file.ts';
import { badImage } from '../image-error.ts';
import { type DiskGeometry, geometryOf, geometrySectors, isLargestGeometry } from './geometry.ts';
import {
  ascii,
  checksum,
  DISK_TYPE_DIFFERENCING,
  DISK_TYPE_DYNAMIC,
  DISK_TYPE_FIXED,
  FEATURES_RESERVED,
  FILE_FORMAT_VERSION,
  FOOTER_BYTES,
  FOOTER_COOKIE,
  Footer,
  fromAscii,
  MAX_DISK_BYTES,
  NO_OFFSET,
  SECTOR_BYTES,
} from './layout.ts';

export type VhdKind = 'fixed' | 'dynamic' | 'differencing';

const DISK_TYPES: Readonly<Record<VhdKind, number>> = {
  fixed: DISK_TYPE_FIXED,
  dynamic: DISK_TYPE_DYNAMIC,
  differencing: DISK_TYPE_DIFFERENCING,
};

/** What the footer says. */
export interface VhdFooter {
  readonly kind: VhdKind;
  readonly sizeBytes: number;
  /** Where the dynamic disk header is. */
  readonly headerOffset: number;
  /** Seconds since 2000. */
  readonly timeStamp: number;
  readonly uniqueId: Guid;
  readonly creator: string;
}

/** The footer that was found, as it is stored, and the places that should have it and do not. */
export interface FoundFooter extends VhdFooter {
  readonly bytes: Uint8Array;
  readonly missing: readonly ('start' | 'end')[];
}

/** Creators that round the size down to the geometry and show guests no more; everybody else means Current Size. */
const SIZED_BY_GEOMETRY: ReadonlySet<string> = new Set(['vpc ', 'qemu']);

/**
 * Written as the creator, since readers decide by it whether to believe Current Size: this is what Hyper-V writes,
 * and what all of them know.
 */
const CREATOR = 'win ';
const CREATOR_VERSION = 0x000a0000;
const CREATOR_HOST_OS = 'Wi2k';
/** 2000-01-01T00:00:00Z. */
const EPOCH_MS = 946_684_800_000;

export function hasFooterCookie(sector: Uint8Array): boolean {
  return ascii(sector.subarray(0, FOOTER_COOKIE.length)) === FOOTER_COOKIE;
}

/**
 * Finds the footer: at the end, else its copy at the start. In this order, because the first sector of a fixed image
 * is the guest's.
 */
export async function readFooter(file: BlockFile): Promise<FoundFooter> {
  if (file.sizeBytes < FOOTER_BYTES) throw badImage(file.name, 'too short to be a VHD');
  const endOffset = file.sizeBytes - FOOTER_BYTES;
  const end = await readBytes(file, endOffset, FOOTER_BYTES);
  const start = await readBytes(file, 0, FOOTER_BYTES);
  const atEnd = isValidFooter(end);
  const atStart = isValidFooter(start);
  if (!atEnd && !(atStart && decode(file.name, start).kind !== 'fixed')) {
    throw badImage(file.name, 'it has no valid VHD footer');
  }
  const bytes = atEnd ? end : start;
  const footer = decode(file.name, bytes);
  const missing: ('start' | 'end')[] = [];
  if (!atEnd) missing.push('end');
  if (!atStart && footer.kind !== 'fixed') missing.push('start');
  return { ...footer, bytes, missing };
}

function isValidFooter(sector: Uint8Array): boolean {
  return (
    hasFooterCookie(sector) && Footer.read(sector).Checksum === checksum(sector, Footer.offsetOf('Checksum'))
  );
}

function decode(name: string, source: Uint8Array): VhdFooter {
  const footer = Footer.read(source);
  const kind = (Object.keys(DISK_TYPES) as VhdKind[]).find((key) => DISK_TYPES[key] === footer.DiskType);
  if (kind === undefined) throw badImage(name, `${footer.DiskType} is no VHD disk type`);
  const creator = ascii(footer.CreatorApplication);
  const geometry: DiskGeometry = {
    cylinders: footer.Cylinders,
    heads: footer.Heads,
    sectorsPerTrack: footer.SectorsPerTrack,
  };
  const byGeometry = SIZED_BY_GEOMETRY.has(creator) && !isLargestGeometry(geometry);
  const sizeBytes = byGeometry ? geometrySectors(geometry) * SECTOR_BYTES : Number(footer.CurrentSize);
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0 || sizeBytes > MAX_DISK_BYTES) {
    throw badImage(name, `a VHD disk size of ${sizeBytes} bytes is not allowed`);
  }
  return {
    kind,
    sizeBytes,
    headerOffset: Number(footer.DataOffset),
    timeStamp: footer.TimeStamp,
    uniqueId: guidFromBytes(footer.UniqueId),
    creator: creator.trimEnd(),
  };
}

/** A footer as it is stored. */
export function encodeFooter(footer: Omit<VhdFooter, 'creator'>): Uint8Array {
  const geometry = geometryOf(footer.sizeBytes / SECTOR_BYTES);
  const target = Footer.encode({
    Cookie: fromAscii(FOOTER_COOKIE),
    Features: FEATURES_RESERVED,
    FileFormatVersion: FILE_FORMAT_VERSION,
    DataOffset: footer.kind === 'fixed' ? NO_OFFSET : BigInt(footer.headerOffset),
    TimeStamp: footer.timeStamp,
    CreatorApplication: fromAscii(CREATOR),
    CreatorVersion: CREATOR_VERSION,
    CreatorHostOS: fromAscii(CREATOR_HOST_OS),
    OriginalSize: BigInt(footer.sizeBytes),
    CurrentSize: BigInt(footer.sizeBytes),
    Cylinders: geometry.cylinders,
    Heads: geometry.heads,
    SectorsPerTrack: geometry.sectorsPerTrack,
    DiskType: DISK_TYPES[footer.kind],
    UniqueId: guidToBytes(footer.uniqueId),
  });
  Footer.write(target, { Checksum: checksum(target, Footer.offsetOf('Checksum')) });
  return target;
}

/** A moment as the footer counts it. */
export function timeStampOf(nowMs: number): number {
  return Math.max(0, Math.floor((nowMs - EPOCH_MS) / 1000));
}
