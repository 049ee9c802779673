import { bytes, guid, struct, u16, u32, u64 } from '@kensho/core';

/**
 * Structures and constants of [MS-VHDX], Virtual Hard Disk v2 (VHDX) File Format. Everything is little-endian.
 */

export const MIB = 1 << 20;

/** 2.2: the header section: the file identifier at 0, two headers, two region tables. */
export const HEADER_OFFSETS = [64 * 1024, 128 * 1024] as const;
export const REGION_TABLE_OFFSETS = [192 * 1024, 256 * 1024] as const;
export const HEADER_SECTION_BYTES = MIB;

export const FILE_SIGNATURE = 'vhdxfile';
/** "head", "regi", "loge", "desc", "zero" and "data" as they read in a 32-bit field. */
export const HEADER_SIGNATURE = 0x64616568;
export const REGION_SIGNATURE = 0x69676572;
export const LOG_ENTRY_SIGNATURE = 0x65676f6c;
export const DATA_DESCRIPTOR_SIGNATURE = 0x63736564;
export const ZERO_DESCRIPTOR_SIGNATURE = 0x6f72657a;
export const DATA_SECTOR_SIGNATURE = 0x61746164;
export const METADATA_SIGNATURE = 'metadata';

/** 2.2.2. The checksum covers the whole structure of 4 KiB. */
export const HEADER_BYTES = 4096;
export const Header = struct('VHDX header', HEADER_BYTES, {
  Signature: [0, u32],
  Checksum: [4, u32],
  SequenceNumber: [8, u64],
  FileWriteGuid: [16, guid],
  DataWriteGuid: [32, guid],
  LogGuid: [48, guid],
  LogVersion: [64, u16],
  Version: [66, u16],
  LogLength: [68, u32],
  LogOffset: [72, u64],
});

/** 2.2.3. The checksum covers the whole table of 64 KiB. */
export const REGION_TABLE_BYTES = 64 * 1024;
export const MAX_TABLE_ENTRIES = 2047;
export const RegionTableHeader = struct('VHDX region table header', 16, {
  Signature: [0, u32],
  Checksum: [4, u32],
  EntryCount: [8, u32],
});
export const RegionTableEntry = struct('VHDX region table entry', 32, {
  Guid: [0, guid],
  FileOffset: [16, u64],
  Length: [24, u32],
  Required: [28, u32],
});
export const BAT_REGION = '2dc27766-f623-4200-9d64-115e9bfd4a08';
export const METADATA_REGION = '8b7ca206-4790-4b9a-b8fe-575f050f886e';

/** 2.3.1. */
export const LOG_SECTOR_BYTES = 4096;
export const LogEntryHeader = struct('VHDX log entry header', 64, {
  Signature: [0, u32],
  Checksum: [4, u32],
  EntryLength: [8, u32],
  Tail: [12, u32],
  SequenceNumber: [16, u64],
  DescriptorCount: [24, u32],
  LogGuid: [32, guid],
  FlushedFileOffset: [48, u64],
  LastFileOffset: [56, u64],
});
/** 2.3.1.2 and 2.3.1.3; the two middle fields are ZeroLength and reserved in a zero descriptor. */
export const LOG_DESCRIPTOR_BYTES = 32;
export const LogDescriptor = struct('VHDX log descriptor', LOG_DESCRIPTOR_BYTES, {
  Signature: [0, u32],
  TrailingBytes: [4, bytes(4)],
  LeadingBytes: [8, bytes(8)],
  FileOffset: [16, u64],
  SequenceNumber: [24, u64],
});
export const LEADING_BYTES = 8;
export const TRAILING_BYTES = 4;
/** 2.3.1.4, without its 4084 bytes of data at 8. */
export const LogDataSector = struct('VHDX log data sector', LOG_SECTOR_BYTES, {
  Signature: [0, u32],
  SequenceHigh: [4, u32],
  SequenceLow: [4092, u32],
});

/** 2.5.1.1 and 2.5.1.2. */
export const PAYLOAD_BLOCK_NOT_PRESENT = 0;
export const PAYLOAD_BLOCK_UNDEFINED = 1;
export const PAYLOAD_BLOCK_ZERO = 2;
export const PAYLOAD_BLOCK_UNMAPPED = 3;
/** What drafts before 1.00 called UNMAPPED; images with it exist. */
export const PAYLOAD_BLOCK_UNMAPPED_V095 = 5;
export const PAYLOAD_BLOCK_FULLY_PRESENT = 6;
export const PAYLOAD_BLOCK_PARTIALLY_PRESENT = 7;
export const SB_BLOCK_PRESENT = 6;

/** 2.4: a sector bitmap block has one bit for each of these. */
export const SECTORS_PER_CHUNK = 2 ** 23;
export const BITMAP_BLOCK_BYTES = MIB;
export const BAT_ENTRY_BYTES = 8;

/** 2.6.1. */
export const METADATA_TABLE_BYTES = 64 * 1024;
export const MetadataTableHeader = struct('VHDX metadata table header', 32, {
  Signature: [0, bytes(8)],
  EntryCount: [10, u16],
});
export const MetadataTableEntry = struct('VHDX metadata table entry', 32, {
  ItemID: [0, guid],
  Offset: [16, u32],
  Length: [20, u32],
  Flags: [24, u32],
});
export const METADATA_IS_USER = 1;
export const METADATA_IS_VIRTUAL_DISK = 2;
export const METADATA_IS_REQUIRED = 4;

/** 2.6.2. */
export const FILE_PARAMETERS_ITEM = 'caa16737-fa36-4d43-b3b6-33f0aa44e76b';
export const VIRTUAL_DISK_SIZE_ITEM = '2fa54224-cd1b-4876-b211-5dbed83bf4b8';
export const VIRTUAL_DISK_ID_ITEM = 'beca12ab-b2e6-4523-93ef-c309e000c746';
export const LOGICAL_SECTOR_SIZE_ITEM = '8141bf1d-a96f-4709-ba47-f233a8faab5f';
export const PHYSICAL_SECTOR_SIZE_ITEM = 'cda348c7-445d-4471-9cc9-e9885251c556';
export const PARENT_LOCATOR_ITEM = 'a8d35f2d-b30b-454d-abf7-d3d84834ab0c';

export const FileParameters = struct('VHDX file parameters', 8, { BlockSize: [0, u32], Flags: [4, u32] });
export const LEAVE_BLOCK_ALLOCATED = 1;
export const HAS_PARENT = 2;
export const VirtualDiskSize = struct('VHDX virtual disk size', 8, { VirtualDiskSize: [0, u64] });
export const VirtualDiskId = struct('VHDX virtual disk id', 16, { VirtualDiskId: [0, guid] });
export const SectorSize = struct('VHDX sector size', 4, { SectorSize: [0, u32] });

/** 2.6.2.6. */
export const ParentLocatorHeader = struct('VHDX parent locator header', 20, {
  LocatorType: [0, guid],
  KeyValueCount: [18, u16],
});
export const ParentLocatorEntry = struct('VHDX parent locator entry', 12, {
  KeyOffset: [0, u32],
  ValueOffset: [4, u32],
  KeyLength: [8, u16],
  ValueLength: [10, u16],
});
export const VHDX_LOCATOR_TYPE = 'b04aefb7-d19e-4a81-b789-25b8e9445913';

export const NULL_GUID = '00000000-0000-0000-0000-000000000000';
export const MAX_DISK_BYTES = 64 * 2 ** 40;
export const MIN_BLOCK_BYTES = MIB;
export const MAX_BLOCK_BYTES = 256 * MIB;
