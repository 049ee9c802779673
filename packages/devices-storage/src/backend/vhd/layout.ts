import { bytes, struct, u8, u16be, u32be, u64be } from '@kensho/core';

/**
 * Structures and constants of Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0. Everything is
 * big-endian; a sector is 512 bytes.
 */

export const SECTOR_BYTES = 512;

/** "Hard Disk Footer Format"; dynamic and differencing images have a copy at their start. */
export const FOOTER_BYTES = 512;
export const FOOTER_COOKIE = 'conectix';
export const Footer = struct('VHD footer', FOOTER_BYTES, {
  Cookie: [0, bytes(8)],
  Features: [8, u32be],
  FileFormatVersion: [12, u32be],
  DataOffset: [16, u64be],
  TimeStamp: [24, u32be],
  CreatorApplication: [28, bytes(4)],
  CreatorVersion: [32, u32be],
  CreatorHostOS: [36, bytes(4)],
  OriginalSize: [40, u64be],
  CurrentSize: [48, u64be],
  Cylinders: [56, u16be],
  Heads: [58, u8],
  SectorsPerTrack: [59, u8],
  DiskType: [60, u32be],
  Checksum: [64, u32be],
  UniqueId: [68, bytes(16)],
  SavedState: [84, u8],
});
export const FILE_FORMAT_VERSION = 0x00010000;
/** The bit that is always set. */
export const FEATURES_RESERVED = 2;
export const NO_OFFSET = 0xffff_ffff_ffff_ffffn;

export const DISK_TYPE_FIXED = 2;
export const DISK_TYPE_DYNAMIC = 3;
export const DISK_TYPE_DIFFERENCING = 4;

/** "Dynamic Disk Header Format". */
export const DYNAMIC_HEADER_BYTES = 1024;
export const DYNAMIC_HEADER_COOKIE = 'cxsparse';
export const PARENT_NAME_BYTES = 512;
export const DynamicHeader = struct('VHD dynamic disk header', DYNAMIC_HEADER_BYTES, {
  Cookie: [0, bytes(8)],
  DataOffset: [8, u64be],
  TableOffset: [16, u64be],
  HeaderVersion: [24, u32be],
  MaxTableEntries: [28, u32be],
  BlockSize: [32, u32be],
  Checksum: [36, u32be],
  ParentUniqueId: [40, bytes(16)],
  ParentTimeStamp: [56, u32be],
  ParentUnicodeName: [64, bytes(PARENT_NAME_BYTES)],
});
export const DYNAMIC_HEADER_VERSION = 0x00010000;

/** Eight of these follow in the header. */
export const PARENT_LOCATORS_OFFSET = 576;
export const PARENT_LOCATOR_COUNT = 8;
export const ParentLocatorEntry = struct('VHD parent locator entry', 24, {
  PlatformCode: [0, bytes(4)],
  PlatformDataSpace: [4, u32be],
  PlatformDataLength: [8, u32be],
  PlatformDataOffset: [16, u64be],
});
/** Windows paths in UTF-16LE: relative to the child, and absolute. */
export const PLATFORM_W2RU = 'W2ru';
export const PLATFORM_W2KU = 'W2ku';

/** "Block Allocation Table": an entry of a block that is not in the file. */
export const UNUSED_ENTRY = 0xffff_ffff;
export const BAT_ENTRY_BYTES = 4;

export const DEFAULT_BLOCK_BYTES = 2 * 2 ** 20;
/** What Hyper-V allows. */
export const MAX_DISK_BYTES = 2040 * 2 ** 30;

/** The one's complement of the sum of all bytes, the checksum field's own counting as zero. */
export function checksum(structure: Uint8Array, fieldOffset: number): number {
  let sum = 0;
  for (let i = 0; i < structure.length; i++) {
    if (i < fieldOffset || i >= fieldOffset + 4) sum += structure[i];
  }
  return ~sum >>> 0;
}

export function ascii(source: Uint8Array): string {
  return String.fromCharCode(...source);
}

export function fromAscii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
