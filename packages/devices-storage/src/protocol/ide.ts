/**
 * Registers of ATA and ATAPI devices (ATA/ATAPI-6, T13 1410D) and of the PCI IDE controller in front of them (SFF-8038i
 * "Bus Master Programming Interface for IDE ATA Controllers"; Intel 290562, 82371AB), shared by both ends.
 */
import { struct, u16, u32 } from '@kensho/core';

/** The controller's PCI identity. */
export const PIIX4_IDE_VENDOR_ID = 0x8086;
export const PIIX4_IDE_DEVICE_ID = 0x7111;
/** Base class and subclass of an IDE controller. */
export const IDE_CLASS = 0x0101;
/** Programming interface: both channels fixed in legacy mode, bus master capable. */
export const IDE_PROG_IF_LEGACY = 0x80;

/** Places of a channel in legacy mode: command block, control block (one port), interrupt. */
export const IDE_CHANNELS = [
  { commandPort: 0x1f0, controlPort: 0x3f6, gsi: 14 },
  { commandPort: 0x170, controlPort: 0x376, gsi: 15 },
] as const;

/** Command block registers, as offsets. */
export const AtaRegister = {
  DATA: 0,
  /** Read: {@link AtaError}. */
  ERROR: 1,
  /** Written. */
  FEATURES: 1,
  /** For PACKET: {@link InterruptReason}. */
  SECTOR_COUNT: 2,
  LBA_LOW: 3,
  /** For PACKET: low half of the byte count. */
  LBA_MID: 4,
  LBA_HIGH: 5,
  DEVICE: 6,
  /** Read: {@link AtaStatus}; ends the interrupt. */
  STATUS: 7,
  /** Written: {@link AtaCommand}. */
  COMMAND: 7,
} as const;

export const AtaStatus = {
  ERR: 0x01,
  DRQ: 0x08,
  /** Seek complete, in ATA-3 and before. */
  DSC: 0x10,
  DF: 0x20,
  DRDY: 0x40,
  BSY: 0x80,
} as const;

export const AtaError = {
  ABRT: 0x04,
  IDNF: 0x10,
  UNC: 0x40,
} as const;

/** Bits of the device control register. */
export const AtaControl = {
  /** Interrupts off. */
  NIEN: 0x02,
  /** Software reset, while it is set. */
  SRST: 0x04,
  /** Reads give what registers held before the last write. */
  HOB: 0x80,
} as const;

/** Bits of the device register. */
export const AtaDevice = {
  HEAD: 0x0f,
  DEV: 0x10,
  LBA: 0x40,
  /** Bits that devices before ATA-5 wanted set. */
  OBSOLETE: 0xa0,
} as const;

/** What the sector count register says during PACKET. */
export const InterruptReason = {
  /** The data is a command packet; with IO, the command has ended. */
  COD: 0x01,
  /** Towards the host. */
  IO: 0x02,
} as const;

export const AtaCommand = {
  NOP: 0x00,
  DEVICE_RESET: 0x08,
  RECALIBRATE: 0x10,
  READ_SECTORS: 0x20,
  READ_SECTORS_WITHOUT_RETRY: 0x21,
  READ_SECTORS_EXT: 0x24,
  READ_DMA_EXT: 0x25,
  READ_MULTIPLE_EXT: 0x29,
  WRITE_SECTORS: 0x30,
  WRITE_SECTORS_WITHOUT_RETRY: 0x31,
  WRITE_SECTORS_EXT: 0x34,
  WRITE_DMA_EXT: 0x35,
  WRITE_MULTIPLE_EXT: 0x39,
  WRITE_DMA_FUA_EXT: 0x3d,
  READ_VERIFY_SECTORS: 0x40,
  READ_VERIFY_SECTORS_WITHOUT_RETRY: 0x41,
  READ_VERIFY_SECTORS_EXT: 0x42,
  SEEK: 0x70,
  EXECUTE_DEVICE_DIAGNOSTIC: 0x90,
  INITIALIZE_DEVICE_PARAMETERS: 0x91,
  PACKET: 0xa0,
  IDENTIFY_PACKET_DEVICE: 0xa1,
  READ_MULTIPLE: 0xc4,
  WRITE_MULTIPLE: 0xc5,
  SET_MULTIPLE_MODE: 0xc6,
  READ_DMA: 0xc8,
  READ_DMA_WITHOUT_RETRY: 0xc9,
  WRITE_DMA: 0xca,
  WRITE_DMA_WITHOUT_RETRY: 0xcb,
  WRITE_MULTIPLE_FUA_EXT: 0xce,
  STANDBY_IMMEDIATE: 0xe0,
  IDLE_IMMEDIATE: 0xe1,
  STANDBY: 0xe2,
  IDLE: 0xe3,
  CHECK_POWER_MODE: 0xe5,
  SLEEP: 0xe6,
  FLUSH_CACHE: 0xe7,
  FLUSH_CACHE_EXT: 0xea,
  IDENTIFY_DEVICE: 0xec,
  SET_FEATURES: 0xef,
} as const;

/** Subcommands of SET FEATURES, in the features register. */
export const AtaFeature = {
  ENABLE_WRITE_CACHE: 0x02,
  SET_TRANSFER_MODE: 0x03,
  DISABLE_LOOK_AHEAD: 0x55,
  KEEP_SETTINGS_OVER_RESET: 0x66,
  DISABLE_WRITE_CACHE: 0x82,
  ENABLE_LOOK_AHEAD: 0xaa,
  REVERT_SETTINGS_AT_RESET: 0xcc,
} as const;

/** What the LBA mid and high registers hold after a reset, by kind of device. */
export const AtaSignature = {
  ATA: { lbaMid: 0x00, lbaHigh: 0x00 },
  ATAPI: { lbaMid: 0x14, lbaHigh: 0xeb },
} as const;

/** Features register of PACKET: the data goes by DMA. */
export const PACKET_DMA = 0x01;
/** Bytes of a command packet. */
export const PACKET_BYTES = 12;

export const ATA_SECTOR_BYTES = 512;
/** Bytes of IDENTIFY data. */
export const IDENTIFY_BYTES = 512;

/** Bus master registers of a channel, as offsets; the secondary channel's are {@link BUS_MASTER_STRIDE} further. */
export const BusMasterRegister = {
  COMMAND: 0,
  STATUS: 2,
  PRD_TABLE: 4,
} as const;
export const BUS_MASTER_STRIDE = 8;
/** BAR of the bus master registers, and its size. */
export const BUS_MASTER_BAR = 4;
export const BUS_MASTER_PORTS = 16;

export const BusMasterCommand = {
  START: 0x01,
  /** The device's data goes to memory (the bus master writes). */
  TO_MEMORY: 0x08,
} as const;

export const BusMasterStatus = {
  ACTIVE: 0x01,
  /** A write of one clears it. */
  ERROR: 0x02,
  /** The channel's interrupt has risen. A write of one clears it. */
  INTERRUPT: 0x04,
  DRIVE_0_DMA: 0x20,
  DRIVE_1_DMA: 0x40,
} as const;

/** Physical region descriptor. A table of them is at most 64 KiB and crosses no 64 KiB boundary. */
export const Prd = struct('PRD', 8, {
  address: [0, u32],
  /** Even; 0 means 64 KiB. */
  byteCount: [4, u16],
  flags: [6, u16],
});
export const PRD_END_OF_TABLE = 0x8000;
/** Most bytes of one region, which crosses no boundary of that size. */
export const PRD_REGION_BYTES = 0x10000;

/** Configuration registers: timing of both channels (bit 15: decoded), slave timing, UDMA control and timing. */
export const PiixConfig = {
  IDETIM: [0x40, 0x42],
  SIDETIM: 0x44,
  UDMACTL: 0x48,
  UDMATIM: 0x4a,
} as const;
export const IDETIM_DECODE_ENABLE = 0x8000;
