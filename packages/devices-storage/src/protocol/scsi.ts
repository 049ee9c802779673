/**
 * SCSI as disks and CD/DVD drives speak it: opcodes, statuses, sense codes and the layout of parameter data.
 * All multi-byte fields are big-endian. Sources: SAM-5, SPC-4, SBC-3, MMC-6; the sections stand with each table.
 */
import { bytes, struct, u8, u16be, u32be, u64be } from '@kensho/core';

/** Operation codes (SPC-4 table E.2). */
export const ScsiOp = {
  TEST_UNIT_READY: 0x00,
  REQUEST_SENSE: 0x03,
  READ_6: 0x08,
  WRITE_6: 0x0a,
  INQUIRY: 0x12,
  MODE_SELECT_6: 0x15,
  RESERVE_6: 0x16,
  RELEASE_6: 0x17,
  MODE_SENSE_6: 0x1a,
  START_STOP_UNIT: 0x1b,
  SEND_DIAGNOSTIC: 0x1d,
  PREVENT_ALLOW_MEDIUM_REMOVAL: 0x1e,
  READ_CAPACITY_10: 0x25,
  READ_10: 0x28,
  WRITE_10: 0x2a,
  VERIFY_10: 0x2f,
  SYNCHRONIZE_CACHE_10: 0x35,
  WRITE_SAME_10: 0x41,
  UNMAP: 0x42,
  READ_TOC_PMA_ATIP: 0x43,
  GET_CONFIGURATION: 0x46,
  GET_EVENT_STATUS_NOTIFICATION: 0x4a,
  READ_DISC_INFORMATION: 0x51,
  READ_TRACK_INFORMATION: 0x52,
  MODE_SELECT_10: 0x55,
  RESERVE_10: 0x56,
  RELEASE_10: 0x57,
  MODE_SENSE_10: 0x5a,
  PERSISTENT_RESERVE_IN: 0x5e,
  PERSISTENT_RESERVE_OUT: 0x5f,
  READ_16: 0x88,
  WRITE_16: 0x8a,
  VERIFY_16: 0x8f,
  SYNCHRONIZE_CACHE_16: 0x91,
  WRITE_SAME_16: 0x93,
  SERVICE_ACTION_IN_16: 0x9e,
  REPORT_LUNS: 0xa0,
  READ_12: 0xa8,
  WRITE_12: 0xaa,
  VERIFY_12: 0xaf,
  SET_CD_SPEED: 0xbb,
  MECHANISM_STATUS: 0xbd,
} as const;

/** Service action of SERVICE ACTION IN(16) (SBC-3 5.16). */
export const READ_CAPACITY_16 = 0x10;

/** Status of a command (SAM-5 5.3.1). */
export const ScsiStatus = {
  GOOD: 0x00,
  CHECK_CONDITION: 0x02,
  BUSY: 0x08,
} as const;

/** Peripheral device types (SPC-4 table 144). */
export const DeviceType = { DISK: 0x00, CD_DVD: 0x05 } as const;
/** First byte of INQUIRY data where no unit can be: qualifier 3, type 0x1F. */
export const NO_DEVICE_AT_LUN = 0x7f;

/** Sense keys (SPC-4 table 48). */
export const SenseKey = {
  NO_SENSE: 0,
  RECOVERED_ERROR: 1,
  NOT_READY: 2,
  MEDIUM_ERROR: 3,
  HARDWARE_ERROR: 4,
  ILLEGAL_REQUEST: 5,
  UNIT_ATTENTION: 6,
  DATA_PROTECT: 7,
  ABORTED_COMMAND: 0xb,
  MISCOMPARE: 0xe,
} as const;

/** Sense key, additional sense code and its qualifier as one number, `0xKKAAQQ` (SPC-4 4.5.6 and annex F). */
export const Sense = {
  NO_SENSE: 0x00_00_00,
  MEDIUM_NOT_PRESENT_TRAY_CLOSED: 0x02_3a_01,
  MEDIUM_NOT_PRESENT_TRAY_OPEN: 0x02_3a_02,
  WRITE_ERROR: 0x03_0c_00,
  UNRECOVERED_READ_ERROR: 0x03_11_00,
  PARAMETER_LIST_LENGTH_ERROR: 0x05_1a_00,
  INVALID_COMMAND_OPERATION_CODE: 0x05_20_00,
  LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE: 0x05_21_00,
  INVALID_FIELD_IN_CDB: 0x05_24_00,
  INVALID_FIELD_IN_PARAMETER_LIST: 0x05_26_00,
  SAVING_PARAMETERS_NOT_SUPPORTED: 0x05_39_00,
  MEDIUM_REMOVAL_PREVENTED: 0x05_53_02,
  MEDIUM_MAY_HAVE_CHANGED: 0x06_28_00,
  BUS_RESET_OCCURRED: 0x06_29_02,
  DEVICE_RESET_OCCURRED: 0x06_29_03,
  WRITE_PROTECTED: 0x07_27_00,
  MISCOMPARE_DURING_VERIFY: 0x0e_1d_00,
} as const;

/** Response code of fixed-format sense data about the command itself (SPC-4 4.5.3). */
const SENSE_CURRENT_ERRORS = 0x70;
/** Size of the sense data that units give. */
export const SENSE_BYTES = 18;

/** Writes 18 bytes of fixed-format sense data (SPC-4 4.5.3) for a {@link Sense} code. */
export function writeSense(target: Uint8Array, offset: number, sense: number): void {
  target.fill(0, offset, offset + SENSE_BYTES);
  target[offset] = SENSE_CURRENT_ERRORS;
  target[offset + 2] = sense >>> 16;
  target[offset + 7] = SENSE_BYTES - 8;
  target[offset + 12] = (sense >>> 8) & 0xff;
  target[offset + 13] = sense & 0xff;
}

/** The {@link Sense} code of fixed-format sense data; NO_SENSE where it is none. */
export function readSense(source: Uint8Array): number {
  if (source.length < 14 || (source[0] & 0x7e) !== SENSE_CURRENT_ERRORS) return Sense.NO_SENSE;
  return ((source[2] & 0x0f) << 16) | (source[12] << 8) | source[13];
}

/** A sense code as people write it: `5/24/00`. */
export function formatSense(sense: number): string {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return `${hex(sense >>> 16, 1)}/${hex((sense >>> 8) & 0xff, 2)}/${hex(sense & 0xff, 2)}`;
}

/** Length of a CDB by its operation code's group (SPC-4 4.2.5.1); vendor groups count as 6. */
export function cdbLengthOf(operation: number): number {
  return CDB_LENGTHS[operation >>> 5];
}
const CDB_LENGTHS = [6, 10, 10, 6, 16, 12, 6, 6];

/** CDBs that name logical blocks (SPC-4 4.2.5), of 10 and of 12 bytes. */
export const BlockCdb10 = struct('block CDB (10)', 10, {
  operationCode: [0, u8],
  flags: [1, u8],
  logicalBlockAddress: [2, u32be],
  transferLength: [7, u16be],
});
export const BlockCdb12 = struct('block CDB (12)', 12, {
  operationCode: [0, u8],
  flags: [1, u8],
  logicalBlockAddress: [2, u32be],
  transferLength: [6, u32be],
});

/** Bits of byte 1 of block CDBs (SBC-3 5.8, 5.43). */
export const BlockFlags = {
  /** RDPROTECT, WRPROTECT or VRPROTECT: protection information. */
  PROTECT: 0xe0,
  FUA: 0x08,
  /** WRITE SAME: deallocate rather than write. */
  UNMAP: 0x08,
  ANCHOR: 0x10,
  /** WRITE SAME(16): no data-out buffer, zeroes are written. */
  NDOB: 0x01,
  /** VERIFY: what is compared, 0 nothing, 1 the data-out buffer. */
  BYTCHK: 0x06,
} as const;

/** Reads a big-endian number from a CDB or from parameter data. */
export const be16 = (source: Uint8Array, offset: number): number =>
  (source[offset] << 8) | source[offset + 1];
export const be32 = (source: Uint8Array, offset: number): number =>
  source[offset] * 0x100_0000 + ((source[offset + 1] << 16) | (source[offset + 2] << 8) | source[offset + 3]);
/** As a double: values beyond 2^53 lose low bits but stay beyond every capacity. */
export const be64 = (source: Uint8Array, offset: number): number =>
  be32(source, offset) * 0x1_0000_0000 + be32(source, offset + 4);

/** Standard INQUIRY data, 36 bytes (SPC-4 6.4.2). */
export const InquiryData = struct('standard INQUIRY data', 36, {
  peripheral: [0, u8],
  /** Bit 7: removable medium. */
  removable: [1, u8],
  version: [2, u8],
  /** 2: the format of this table. */
  responseDataFormat: [3, u8],
  additionalLength: [4, u8],
  /** Bit 1: tagged commands. */
  commandQueue: [7, u8],
  vendor: [8, bytes(8)],
  product: [16, bytes(16)],
  revision: [32, bytes(4)],
});
export const INQUIRY_VERSION_SPC3 = 5;

/** Vital product data pages (SPC-4 7.8, SBC-3 6.6). */
export const VpdPage = {
  SUPPORTED_PAGES: 0x00,
  UNIT_SERIAL_NUMBER: 0x80,
  DEVICE_IDENTIFICATION: 0x83,
  BLOCK_LIMITS: 0xb0,
  BLOCK_DEVICE_CHARACTERISTICS: 0xb1,
  LOGICAL_BLOCK_PROVISIONING: 0xb2,
} as const;

/** Block limits page (SBC-3 6.6.4); zero says "no limit reported". */
export const BlockLimitsPage = struct('block limits VPD page', 64, {
  peripheral: [0, u8],
  pageCode: [1, u8],
  pageLength: [2, u16be],
  optimalTransferGranularity: [6, u16be],
  maximumTransferLength: [8, u32be],
  optimalTransferLength: [12, u32be],
  maximumUnmapLbaCount: [20, u32be],
  maximumUnmapDescriptorCount: [24, u32be],
  optimalUnmapGranularity: [28, u32be],
  unmapGranularityAlignment: [32, u32be],
  maximumWriteSameLength: [36, u64be],
});

/** READ CAPACITY data (SBC-3 5.15 and 5.16). */
export const ReadCapacity10Data = struct('READ CAPACITY(10) data', 8, {
  lastLogicalBlockAddress: [0, u32be],
  blockLength: [4, u32be],
});
export const ReadCapacity16Data = struct('READ CAPACITY(16) data', 32, {
  lastLogicalBlockAddress: [0, u64be],
  blockLength: [8, u32be],
  /** Low nibble: logical blocks in a physical one, as a power of two. */
  physicalBlockExponent: [13, u8],
  /** Bit 7: the unit is thin-provisioned (LBPME). */
  provisioning: [14, u8],
});
/** Bit of {@link ReadCapacity16Data}'s `provisioning`. */
export const LBPME = 0x80;

/** Mode pages (SPC-4 7.5, SBC-3 6.5, MMC-6 7). */
export const ModePage = {
  ERROR_RECOVERY: 0x01,
  CACHING: 0x08,
  CONTROL: 0x0a,
  CD_CAPABILITIES: 0x2a,
  ALL: 0x3f,
} as const;
/** Bits of a disk's device-specific mode parameter (SBC-3 6.5.1). */
export const ModeDeviceSpecific = { WRITE_PROTECT: 0x80, DPO_FUA: 0x10 } as const;
/** Write cache enable, byte 2 of the caching page. */
export const CACHING_WCE = 0x04;

/** Parameter list of UNMAP (SBC-3 5.28). */
export const UnmapHeader = struct('UNMAP parameter list', 8, {
  dataLength: [0, u16be],
  descriptorDataLength: [2, u16be],
});
export const UnmapDescriptor = struct('UNMAP block descriptor', 16, {
  logicalBlockAddress: [0, u64be],
  blockCount: [8, u32be],
});
