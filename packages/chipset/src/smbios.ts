import {
  assert,
  bytes,
  type Guid,
  guid,
  ramLayout,
  type Struct,
  type StructFields,
  type StructTable,
  struct,
  u8,
  u16,
  u32,
  u64,
} from '@kensho/core';
import { checksumOf, type MemoryImage } from './firmware-table.ts';

/** What the SMBIOS tables say. */
export interface SmbiosConfig {
  /**
   * Where the entry points go, the structures behind them: a multiple of 16 below 4 GiB. A kernel without EFI
   * searches 0xF0000 to 0xFFFFF.
   */
  readonly gpa: number;
  /** RAM size: see PartitionInfo. */
  readonly memoryBytes: number;
  readonly vpCount: number;
  /**
   * Together with the product, how guests tell that they run on Hyper-V; Linux's ata_piix then leaves all disks to
   * hv_storvsc. @default 'Microsoft Corporation'
   */
  readonly manufacturer?: string;
  /** @default 'Virtual Machine' */
  readonly product?: string;
  /** @default '7.0' */
  readonly version?: string;
  /** @default none */
  readonly serialNumber?: string;
  /** @default not set */
  readonly uuid?: Guid;
  /** @default the manufacturer */
  readonly biosVendor?: string;
  /** @default '1.0' */
  readonly biosVersion?: string;
  /** MM/DD/YYYY. @default '01/01/2026' */
  readonly biosDate?: string;
}

/** Tables ready to be put into guest memory. */
export interface SmbiosTables {
  readonly images: readonly MemoryImage[];
  /** From the configured address on. */
  readonly sizeBytes: number;
}

/** SMBIOS 2.1 entry point (DMTF DSP0134 3.0, 5.2.1); the intermediate one is its second half. */
const ENTRY_POINT = struct('SMBIOS entry point', 31, {
  anchor: [0, bytes(4)],
  checksum: [4, u8],
  length: [5, u8],
  majorVersion: [6, u8],
  minorVersion: [7, u8],
  maximumStructureSize: [8, u16],
  intermediateAnchor: [16, bytes(5)],
  intermediateChecksum: [21, u8],
  tableLength: [22, u16],
  tableAddress: [24, u32],
  structureCount: [28, u16],
  bcdRevision: [30, u8],
});

/** SMBIOS 3.0 entry point (DSP0134 3.0, 5.2.2). */
const ENTRY_POINT_64 = struct('SMBIOS 64-bit entry point', 24, {
  anchor: [0, bytes(5)],
  checksum: [5, u8],
  length: [6, u8],
  majorVersion: [7, u8],
  minorVersion: [8, u8],
  docrev: [9, u8],
  entryPointRevision: [10, u8],
  tableMaximumSize: [12, u32],
  tableAddress: [16, u64],
});

/** Header of every structure (DSP0134 3.0, 6.1.2). */
const HEADER = struct('SMBIOS structure header', 4, { type: [0, u8], length: [1, u8], handle: [2, u16] });

/** BIOS Information, type 0 (DSP0134 3.0, 7.1). */
const BIOS = struct('SMBIOS BIOS', 24, {
  vendor: [4, u8],
  version: [5, u8],
  startSegment: [6, u16],
  releaseDate: [8, u8],
  romSize: [9, u8],
  characteristics: [10, u64],
  extension1: [18, u8],
  extension2: [19, u8],
  majorRelease: [20, u8],
  minorRelease: [21, u8],
  controllerMajorRelease: [22, u8],
  controllerMinorRelease: [23, u8],
});

/** System Information, type 1 (DSP0134 3.0, 7.2). */
const SYSTEM = struct('SMBIOS system', 27, {
  manufacturer: [4, u8],
  product: [5, u8],
  version: [6, u8],
  serialNumber: [7, u8],
  uuid: [8, guid],
  wakeUpType: [24, u8],
  sku: [25, u8],
  family: [26, u8],
});

/** System Enclosure, type 3 (DSP0134 3.0, 7.4). */
const CHASSIS = struct('SMBIOS chassis', 22, {
  manufacturer: [4, u8],
  type: [5, u8],
  version: [6, u8],
  serialNumber: [7, u8],
  assetTag: [8, u8],
  bootUpState: [9, u8],
  powerSupplyState: [10, u8],
  thermalState: [11, u8],
  securityStatus: [12, u8],
});

/** Processor Information, type 4 (DSP0134 3.0, 7.5). */
const PROCESSOR = struct('SMBIOS processor', 48, {
  socket: [4, u8],
  processorType: [5, u8],
  family: [6, u8],
  manufacturer: [7, u8],
  version: [16, u8],
  status: [24, u8],
  upgrade: [25, u8],
  l1Cache: [26, u16],
  l2Cache: [28, u16],
  l3Cache: [30, u16],
  coreCount: [35, u8],
  coresEnabled: [36, u8],
  threadCount: [37, u8],
  characteristics: [38, u16],
  family2: [40, u16],
  coreCount2: [42, u16],
  coresEnabled2: [44, u16],
  threadCount2: [46, u16],
});

/** Physical Memory Array, type 16 (DSP0134 3.0, 7.17). */
const MEMORY_ARRAY = struct('SMBIOS memory array', 23, {
  location: [4, u8],
  use: [5, u8],
  errorCorrection: [6, u8],
  maximumKib: [7, u32],
  errorHandle: [11, u16],
  deviceCount: [13, u16],
  maximumBytes: [15, u64],
});

/** Memory Device, type 17 (DSP0134 3.0, 7.18). */
const MEMORY_DEVICE = struct('SMBIOS memory device', 40, {
  arrayHandle: [4, u16],
  errorHandle: [6, u16],
  totalWidth: [8, u16],
  dataWidth: [10, u16],
  sizeMib: [12, u16],
  formFactor: [14, u8],
  locator: [16, u8],
  memoryType: [18, u8],
  typeDetail: [19, u16],
  manufacturer: [23, u8],
  extendedSizeMib: [28, u32],
});

/** Memory Array Mapped Address, type 19 (DSP0134 3.0, 7.20). */
const MAPPED_ADDRESS = struct('SMBIOS mapped address', 31, {
  startKib: [4, u32],
  endKib: [8, u32],
  arrayHandle: [12, u16],
  partitionWidth: [14, u8],
  startBytes: [15, u64],
  endBytes: [23, u64],
});

/** System Boot Information, type 32 (DSP0134 3.0, 7.33): no errors. */
const BOOT = struct('SMBIOS boot', 11, { status: [10, u8] });

/** End-of-Table, type 127 (DSP0134 3.0, 7.45). */
const END = struct('SMBIOS end of table', 4, {});

/** "BIOS characteristics are not supported", ACPI, and "a virtual machine" (DSP0134 3.0, 7.1.1 and 7.1.2). */
const NO_CHARACTERISTICS = 1n << 3n;
const EXTENSION1_ACPI = 0x01;
const EXTENSION2_VIRTUAL_MACHINE = 0x10;
const NO_CONTROLLER = 0xff;

const WAKE_UP_POWER_SWITCH = 6;
const CHASSIS_DESKTOP = 3;
const STATE_SAFE = 3;
const SECURITY_NONE = 3;
const PROCESSOR_CENTRAL = 3;
const UNKNOWN = 2;
const PROCESSOR_ENABLED = 0x41;
const UPGRADE_NONE = 6;
const NO_HANDLE = 0xffff;
const PROCESSOR_64_BIT_MULTI_CORE = 0x000c;
const ARRAY_ON_BOARD = 3;
const ARRAY_SYSTEM_MEMORY = 3;
const ERROR_CORRECTION_NONE = 3;
const NO_ERROR_HANDLE = 0xfffe;
const USE_EXTENDED_MAXIMUM = 0x80000000;
const USE_EXTENDED_SIZE = 0x7fff;
const USE_EXTENDED_ADDRESS = 0xffffffff;
const UNKNOWN_WIDTH = 0xffff;
const FORM_DIMM = 9;
const MEMORY_RAM = 7;
const DETAIL_UNKNOWN = 0x0004;

const MEMORY_ARRAY_HANDLE = 0x1000;
const KIB = 1024;
const MIB = 2 ** 20;
/** Memory device sizes are 15 bits of MiB, or more in another field. */
const MAX_SIZE_MIB = 0x7fff;

const ENTRY_POINT_64_OFFSET = 0x20;
const TABLE_OFFSET = 0x40;

/**
 * SMBIOS tables: both entry points (2.8 and 3.0) and the structures that guests look at.
 *
 * @throws RangeError where the uuid is none
 */
export function buildSmbiosTables(config: SmbiosConfig): SmbiosTables {
  const { gpa } = config;
  assert(gpa % 16 === 0 && gpa < 2 ** 32, 'SMBIOS entry points are at multiples of 16 below 4 GiB');
  const structures = structuresOf(config);
  const table = concat(structures);
  const tableGpa = gpa + TABLE_OFFSET;

  const entryPoint = ENTRY_POINT.encode({
    anchor: ascii('_SM_'),
    length: ENTRY_POINT.sizeBytes,
    majorVersion: 2,
    minorVersion: 8,
    maximumStructureSize: Math.max(...structures.map((structure) => structure.length)),
    intermediateAnchor: ascii('_DMI_'),
    tableLength: table.length,
    tableAddress: tableGpa,
    structureCount: structures.length,
    bcdRevision: 0x28,
  });
  const intermediate = entryPoint.subarray(ENTRY_POINT.offsetOf('intermediateAnchor'));
  entryPoint[ENTRY_POINT.offsetOf('intermediateChecksum')] = checksumOf(intermediate);
  entryPoint[ENTRY_POINT.offsetOf('checksum')] = checksumOf(entryPoint);

  const entryPoint64 = ENTRY_POINT_64.encode({
    anchor: ascii('_SM3_'),
    length: ENTRY_POINT_64.sizeBytes,
    majorVersion: 3,
    minorVersion: 0,
    entryPointRevision: 1,
    tableMaximumSize: table.length,
    tableAddress: BigInt(tableGpa),
  });
  entryPoint64[ENTRY_POINT_64.offsetOf('checksum')] = checksumOf(entryPoint64);

  return {
    images: [
      { name: '_SM_', gpa, bytes: entryPoint },
      { name: '_SM3_', gpa: gpa + ENTRY_POINT_64_OFFSET, bytes: entryPoint64 },
      { name: 'SMBIOS', gpa: tableGpa, bytes: table },
    ],
    sizeBytes: TABLE_OFFSET + table.length,
  };
}

function structuresOf(config: SmbiosConfig): Uint8Array[] {
  const manufacturer = config.manufacturer ?? 'Microsoft Corporation';
  const product = config.product ?? 'Virtual Machine';
  const version = config.version ?? '7.0';
  const serialNumber = config.serialNumber ?? '';
  const { memoryBytes, vpCount } = config;
  const slots = ramLayout(memoryBytes);
  return [
    structure(0, 0x0000, BIOS, (text) => ({
      vendor: text(config.biosVendor ?? manufacturer),
      version: text(config.biosVersion ?? '1.0'),
      startSegment: 0xf000,
      releaseDate: text(config.biosDate ?? '01/01/2026'),
      characteristics: NO_CHARACTERISTICS,
      extension1: EXTENSION1_ACPI,
      extension2: EXTENSION2_VIRTUAL_MACHINE,
      majorRelease: 1,
      controllerMajorRelease: NO_CONTROLLER,
      controllerMinorRelease: NO_CONTROLLER,
    })),
    structure(1, 0x0100, SYSTEM, (text) => ({
      manufacturer: text(manufacturer),
      product: text(product),
      version: text(version),
      serialNumber: text(serialNumber),
      ...(config.uuid === undefined ? {} : { uuid: config.uuid }),
      wakeUpType: WAKE_UP_POWER_SWITCH,
    })),
    structure(3, 0x0300, CHASSIS, (text) => ({
      manufacturer: text(manufacturer),
      type: CHASSIS_DESKTOP,
      version: text(version),
      serialNumber: text(serialNumber),
      bootUpState: STATE_SAFE,
      powerSupplyState: STATE_SAFE,
      thermalState: STATE_SAFE,
      securityStatus: SECURITY_NONE,
    })),
    structure(4, 0x0400, PROCESSOR, (text) => ({
      socket: text('CPU 0'),
      processorType: PROCESSOR_CENTRAL,
      family: UNKNOWN,
      manufacturer: text(manufacturer),
      status: PROCESSOR_ENABLED,
      upgrade: UPGRADE_NONE,
      l1Cache: NO_HANDLE,
      l2Cache: NO_HANDLE,
      l3Cache: NO_HANDLE,
      coreCount: vpCount,
      coresEnabled: vpCount,
      threadCount: vpCount,
      characteristics: PROCESSOR_64_BIT_MULTI_CORE,
      family2: UNKNOWN,
      coreCount2: vpCount,
      coresEnabled2: vpCount,
      threadCount2: vpCount,
    })),
    structure(16, MEMORY_ARRAY_HANDLE, MEMORY_ARRAY, () => ({
      location: ARRAY_ON_BOARD,
      use: ARRAY_SYSTEM_MEMORY,
      errorCorrection: ERROR_CORRECTION_NONE,
      maximumKib:
        memoryBytes / KIB < USE_EXTENDED_MAXIMUM ? Math.ceil(memoryBytes / KIB) : USE_EXTENDED_MAXIMUM,
      errorHandle: NO_ERROR_HANDLE,
      deviceCount: 1,
      maximumBytes: memoryBytes / KIB < USE_EXTENDED_MAXIMUM ? 0n : BigInt(memoryBytes),
    })),
    structure(17, 0x1100, MEMORY_DEVICE, (text) => {
      const sizeMib = Math.ceil(memoryBytes / MIB);
      return {
        arrayHandle: MEMORY_ARRAY_HANDLE,
        errorHandle: NO_ERROR_HANDLE,
        totalWidth: UNKNOWN_WIDTH,
        dataWidth: UNKNOWN_WIDTH,
        sizeMib: sizeMib < MAX_SIZE_MIB ? sizeMib : USE_EXTENDED_SIZE,
        formFactor: FORM_DIMM,
        locator: text('M0'),
        memoryType: MEMORY_RAM,
        typeDetail: DETAIL_UNKNOWN,
        manufacturer: text(manufacturer),
        extendedSizeMib: sizeMib < MAX_SIZE_MIB ? 0 : sizeMib,
      };
    }),
    ...slots.map(({ gpa, sizeBytes }, i) =>
      structure(19, 0x1300 + i, MAPPED_ADDRESS, () => {
        const end = gpa + sizeBytes - 1;
        const isLow = end / KIB < USE_EXTENDED_ADDRESS;
        return {
          startKib: isLow ? gpa / KIB : USE_EXTENDED_ADDRESS,
          endKib: isLow ? Math.floor(end / KIB) : USE_EXTENDED_ADDRESS,
          arrayHandle: MEMORY_ARRAY_HANDLE,
          partitionWidth: 1,
          startBytes: isLow ? 0n : BigInt(gpa),
          endBytes: isLow ? 0n : BigInt(end),
        };
      }),
    ),
    structure(32, 0x2000, BOOT, () => ({})),
    structure(127, 0x7f00, END, () => ({})),
  ];
}

/**
 * One structure with its strings behind it.
 *
 * @param fieldsOf - gets a function that adds a string and gives its number; that of an empty one is 0
 */
function structure<S extends StructTable>(
  type: number,
  handle: number,
  layout: Struct<S>,
  fieldsOf: (text: (value: string) => number) => Partial<StructFields<S>>,
): Uint8Array {
  const strings: string[] = [];
  const fields = fieldsOf((value) => (value === '' ? 0 : strings.push(value)));
  const formatted = layout.encode(fields);
  HEADER.write(formatted, { type, length: layout.sizeBytes, handle });
  // Each string ends with a zero byte and the last is followed by another; without any there are two.
  const text = strings.length === 0 ? '\0\0' : `${strings.join('\0')}\0\0`;
  return concat([formatted, ascii(text)]);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0) & 0x7f);
}
