import { bytes, struct, u8, u16, u32, u64 } from '@kensho/core';

/** Root System Description Pointer (ACPI 6.4, 5.2.5.3). */
export const RSDP = struct('RSDP', 36, {
  signature: [0, bytes(8)],
  /** Of the first 20 bytes. */
  checksum: [8, u8],
  oemId: [9, bytes(6)],
  revision: [15, u8],
  rsdtAddress: [16, u32],
  length: [20, u32],
  xsdtAddress: [24, u64],
  extendedChecksum: [32, u8],
});

/** System Description Table Header (ACPI 6.4, 5.2.6). */
export const SDT_HEADER = struct('SDT header', 36, {
  signature: [0, bytes(4)],
  length: [4, u32],
  revision: [8, u8],
  checksum: [9, u8],
  oemId: [10, bytes(6)],
  oemTableId: [16, bytes(8)],
  oemRevision: [24, u32],
  creatorId: [28, bytes(4)],
  creatorRevision: [32, u32],
});

/** Generic Address Structure (ACPI 6.4, 5.2.3.2). */
export const GAS = struct('GAS', 12, {
  addressSpace: [0, u8],
  bitWidth: [1, u8],
  bitOffset: [2, u8],
  accessSize: [3, u8],
  address: [4, u64],
});

/** Fixed ACPI Description Table, all of it (ACPI 6.4, 5.2.9). What is left out here is zero. */
export const FADT = struct('FADT', 276, {
  firmwareControl: [36, u32],
  dsdt: [40, u32],
  sciInterrupt: [46, u16],
  pm1aEventBlock: [56, u32],
  pm1aControlBlock: [64, u32],
  pmTimerBlock: [76, u32],
  gpe0Block: [80, u32],
  pm1EventLength: [88, u8],
  pm1ControlLength: [89, u8],
  pmTimerLength: [91, u8],
  gpe0BlockLength: [92, u8],
  c2Latency: [96, u16],
  c3Latency: [98, u16],
  century: [108, u8],
  bootArchitecture: [109, u16],
  flags: [112, u32],
  resetRegister: [116, bytes(12)],
  resetValue: [128, u8],
  minorVersion: [131, u8],
  xDsdt: [140, u64],
  xPm1aEventBlock: [148, bytes(12)],
  xPm1aControlBlock: [172, bytes(12)],
  xPmTimerBlock: [208, bytes(12)],
  xGpe0Block: [220, bytes(12)],
});

/** Firmware ACPI Control Structure (ACPI 6.4, 5.2.10). */
export const FACS = struct('FACS', 64, {
  signature: [0, bytes(4)],
  length: [4, u32],
  version: [32, u8],
});

/** Multiple APIC Description Table, before its entries (ACPI 6.4, 5.2.12). */
export const MADT = struct('MADT', 44, {
  localApicAddress: [36, u32],
  flags: [40, u32],
});

/** Processor Local APIC Structure (ACPI 6.4, 5.2.12.2). */
export const MADT_LOCAL_APIC = struct('MADT local APIC', 8, {
  type: [0, u8],
  length: [1, u8],
  processorUid: [2, u8],
  apicId: [3, u8],
  flags: [4, u32],
});

/** I/O APIC Structure (ACPI 6.4, 5.2.12.3). */
export const MADT_IO_APIC = struct('MADT I/O APIC', 12, {
  type: [0, u8],
  length: [1, u8],
  ioApicId: [2, u8],
  address: [4, u32],
  gsiBase: [8, u32],
});

/** Interrupt Source Override Structure (ACPI 6.4, 5.2.12.5). */
export const MADT_OVERRIDE = struct('MADT interrupt source override', 10, {
  type: [0, u8],
  length: [1, u8],
  bus: [2, u8],
  source: [3, u8],
  gsi: [4, u32],
  flags: [8, u16],
});

/** Local APIC NMI Structure (ACPI 6.4, 5.2.12.7). */
export const MADT_LOCAL_NMI = struct('MADT local APIC NMI', 6, {
  type: [0, u8],
  length: [1, u8],
  processorUid: [2, u8],
  flags: [3, u16],
  lint: [5, u8],
});

/** System Resource Affinity Table, before its entries (ACPI 6.4, 5.2.16). */
export const SRAT = struct('SRAT', 48, {
  reserved1: [36, u32],
});

/** Processor Local APIC Affinity Structure (ACPI 6.4, 5.2.16.1). */
export const SRAT_LOCAL_APIC = struct('SRAT local APIC', 16, {
  type: [0, u8],
  length: [1, u8],
  proximityDomain: [2, u8],
  apicId: [3, u8],
  flags: [4, u32],
});

/** Memory Affinity Structure (ACPI 6.4, 5.2.16.2). */
export const SRAT_MEMORY = struct('SRAT memory', 40, {
  type: [0, u8],
  length: [1, u8],
  proximityDomain: [2, u32],
  address: [8, u64],
  sizeBytes: [16, u64],
  flags: [28, u32],
});
