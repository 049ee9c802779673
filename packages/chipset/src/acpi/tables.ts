import { APIC_PAGE_GPA, assert, type RamSlot, type Struct, type StructTable } from '@kensho/core';
import { checksumOf, type MemoryImage } from '../firmware-table.ts';
import { PM_BASE, PM_RESET_VALUE, PmRegister, SCI_IRQ } from '../pm.ts';
import { RTC_CENTURY } from '../rtc.ts';
import { amlConcat, asciiBytes } from './aml.ts';
import { dsdtBody, IO_APIC_GPA, processorUid } from './dsdt.ts';
import {
  FACS,
  FADT,
  GAS,
  MADT,
  MADT_IO_APIC,
  MADT_LOCAL_APIC,
  MADT_LOCAL_NMI,
  MADT_OVERRIDE,
  RSDP,
  SDT_HEADER,
  SRAT,
  SRAT_LOCAL_APIC,
  SRAT_MEMORY,
} from './layouts.ts';

/** What the tables describe. The board itself is always the same. */
export interface AcpiConfig {
  /** Where the tables go, one after another, the RSDP first: 64-byte aligned, below 4 GiB. */
  readonly gpa: number;
  /** Processors; APIC ids are their indices. At most 254. */
  readonly vpCount: number;
  /** Serial ports that are there. @default none */
  readonly comPorts?: readonly (1 | 2)[];
  /** Whether a keyboard controller with a keyboard is there. Without it Linux does not probe. @default false */
  readonly keyboard?: boolean;
  /** Whether to describe a VMBus, which Linux's hv_vmbus binds to. @default true */
  readonly vmbus?: boolean;
  /** Address space above 4 GiB for MMIO of PCI and VMBus devices. @default none */
  readonly highMmio?: RamSlot;
  /** RAM, for an SRAT with one proximity domain. @default no SRAT */
  readonly ram?: readonly RamSlot[];
}

/** Tables ready to be put into guest memory; each image is named by its signature. */
export interface AcpiTables {
  readonly images: readonly MemoryImage[];
  /** What the boot protocol passes on; a kernel that searches for it looks in 0xE0000 to 0xFFFFF. */
  readonly rsdpGpa: number;
  /** From the configured address on: what the memory map declares as ACPI tables. */
  readonly sizeBytes: number;
}

const OEM_ID = 'KENSHO';
const CREATOR_ID = 'KNSH';
/** The FACS asks for it; the rest has it to be found easily in a dump. */
const TABLE_ALIGNMENT = 64;
/** Offset of the checksum in the RSDP, and what it covers there. */
const RSDP_FIRST_BYTES = 20;

/** FADT flags (ACPI 6.4, table 5.10). A clear PWR_BUTTON says that the power button is a fixed one. */
const WBINVD = 1 << 0;
const PROC_C1 = 1 << 2;
const SLP_BUTTON = 1 << 5;
const FIX_RTC = 1 << 6;
const TMR_VAL_EXT = 1 << 8;
const RESET_REG_SUP = 1 << 10;
const USE_PLATFORM_CLOCK = 1 << 15;

/** FADT boot architecture flags (ACPI 6.4, table 5.11). */
const LEGACY_DEVICES = 1 << 0;
const HAS_8042 = 1 << 1;
const VGA_NOT_PRESENT = 1 << 2;

/** Latencies beyond these bounds say that there is no such state (ACPI 6.4, table 5.9). */
const NO_C2 = 101;
const NO_C3 = 1001;

const SYSTEM_IO = 1;
const AccessSize = { BYTE: 1, WORD: 2, DWORD: 3 } as const;

const MADT_PCAT_COMPAT = 1;
const ENABLED = 1;
const LEVEL_ACTIVE_HIGH = 0x000d;
const ALL_PROCESSORS = 0xff;
const LINT1 = 1;

/** Timer and SCI: the ISA interrupts that are not at the I/O APIC's input of their number, or no edges. */
const OVERRIDES = [
  { source: 0, gsi: 2, flags: 0 },
  { source: SCI_IRQ, gsi: SCI_IRQ, flags: LEVEL_ACTIVE_HIGH },
] as const;

/**
 * The ACPI tables of the Generation-1 board: RSDP, XSDT, FADT, FACS, DSDT, MADT, and an SRAT where asked for.
 *
 * They name I/O ports of the device kinds `pit`, `rtc`, `pm`, and of `uart` and `i8042` as configured.
 */
export function buildAcpiTables(config: AcpiConfig): AcpiTables {
  const { gpa, vpCount, comPorts = [], keyboard = false, vmbus = true, highMmio, ram } = config;
  assert(gpa % TABLE_ALIGNMENT === 0 && gpa < 2 ** 32, 'ACPI tables begin at a multiple of 64 below 4 GiB');
  assert(vpCount >= 1 && vpCount < ALL_PROCESSORS, 'processor uids are bytes');

  const images: MemoryImage[] = [];
  let next = gpa + TABLE_ALIGNMENT;
  const place = (name: string, bytes: Uint8Array): number => {
    const at = next;
    images.push({ name, gpa: at, bytes });
    next += Math.ceil(bytes.length / TABLE_ALIGNMENT) * TABLE_ALIGNMENT;
    return at;
  };

  const facsGpa = place(
    'FACS',
    FACS.encode({ signature: ascii('FACS'), length: FACS.sizeBytes, version: 2 }),
  );
  const dsdtGpa = place('DSDT', sdt('DSDT', 2, dsdtBody({ vpCount, comPorts, keyboard, vmbus, highMmio })));
  const tables = [place('FACP', fadt(facsGpa, dsdtGpa, keyboard)), place('APIC', madt(vpCount))];
  if (ram !== undefined) tables.push(place('SRAT', srat(vpCount, ram)));
  const xsdtGpa = place('XSDT', sdt('XSDT', 1, pointers(tables)));
  images.unshift({ name: 'RSDP', gpa, bytes: rsdp(xsdtGpa) });
  return { images, rsdpGpa: gpa, sizeBytes: next - gpa };
}

function rsdp(xsdtGpa: number): Uint8Array {
  const bytes = RSDP.encode({
    signature: ascii('RSD PTR '),
    oemId: ascii(OEM_ID),
    revision: 2,
    length: RSDP.sizeBytes,
    xsdtAddress: BigInt(xsdtGpa),
  });
  bytes[RSDP.offsetOf('checksum')] = checksumOf(bytes.subarray(0, RSDP_FIRST_BYTES));
  bytes[RSDP.offsetOf('extendedChecksum')] = checksumOf(bytes);
  return bytes;
}

function fadt(facsGpa: number, dsdtGpa: number, keyboard: boolean): Uint8Array {
  const port = (register: number) => PM_BASE + register;
  return sdtOf('FACP', 6, FADT, {
    firmwareControl: facsGpa,
    dsdt: dsdtGpa,
    xDsdt: BigInt(dsdtGpa),
    sciInterrupt: SCI_IRQ,
    pm1aEventBlock: port(PmRegister.PM1_STATUS),
    pm1EventLength: 4,
    xPm1aEventBlock: ioAddress(port(PmRegister.PM1_STATUS), 4, AccessSize.WORD),
    pm1aControlBlock: port(PmRegister.PM1_CONTROL),
    pm1ControlLength: 2,
    xPm1aControlBlock: ioAddress(port(PmRegister.PM1_CONTROL), 2, AccessSize.WORD),
    pmTimerBlock: port(PmRegister.TIMER),
    pmTimerLength: 4,
    xPmTimerBlock: ioAddress(port(PmRegister.TIMER), 4, AccessSize.DWORD),
    gpe0Block: port(PmRegister.GPE0_STATUS),
    gpe0BlockLength: 4,
    xGpe0Block: ioAddress(port(PmRegister.GPE0_STATUS), 4, AccessSize.BYTE),
    c2Latency: NO_C2,
    c3Latency: NO_C3,
    century: RTC_CENTURY,
    bootArchitecture: LEGACY_DEVICES | VGA_NOT_PRESENT | (keyboard ? HAS_8042 : 0),
    flags: WBINVD | PROC_C1 | SLP_BUTTON | FIX_RTC | TMR_VAL_EXT | RESET_REG_SUP | USE_PLATFORM_CLOCK,
    resetRegister: ioAddress(port(PmRegister.RESET), 1, AccessSize.BYTE),
    resetValue: PM_RESET_VALUE,
  });
}

function madt(vpCount: number): Uint8Array {
  const entries = [
    ...Array.from({ length: vpCount }, (_, vp) =>
      entry(MADT_LOCAL_APIC, 0, { processorUid: processorUid(vp), apicId: vp, flags: ENABLED }),
    ),
    entry(MADT_IO_APIC, 1, { ioApicId: 0, address: IO_APIC_GPA, gsiBase: 0 }),
    ...OVERRIDES.map((override) => entry(MADT_OVERRIDE, 2, override)),
    entry(MADT_LOCAL_NMI, 4, { processorUid: ALL_PROCESSORS, lint: LINT1 }),
  ];
  return sdtOf('APIC', 5, MADT, { localApicAddress: APIC_PAGE_GPA, flags: MADT_PCAT_COMPAT }, entries);
}

function srat(vpCount: number, ram: readonly RamSlot[]): Uint8Array {
  const entries = [
    ...Array.from({ length: vpCount }, (_, vp) => entry(SRAT_LOCAL_APIC, 0, { apicId: vp, flags: ENABLED })),
    ...ram.map(({ gpa, sizeBytes }) =>
      entry(SRAT_MEMORY, 1, { address: BigInt(gpa), sizeBytes: BigInt(sizeBytes), flags: ENABLED }),
    ),
  ];
  return sdtOf('SRAT', 3, SRAT, { reserved1: 1 }, entries);
}

function pointers(addresses: readonly number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(addresses, BigInt).buffer);
}

/** An entry of the MADT or SRAT, with its type and length in front. */
function entry<S extends StructTable>(
  layout: Struct<S>,
  type: number,
  fields: Record<string, unknown>,
): Uint8Array {
  const bytes = layout.encode(fields as Partial<ReturnType<Struct<S>['read']>>);
  bytes[0] = type;
  bytes[1] = layout.sizeBytes;
  return bytes;
}

function ioAddress(port: number, sizeBytes: number, accessSize: number): Uint8Array {
  return GAS.encode({ addressSpace: SYSTEM_IO, bitWidth: 8 * sizeBytes, accessSize, address: BigInt(port) });
}

/** A table whose layout counts the header as its first 36 bytes. */
function sdtOf<S extends StructTable>(
  signature: string,
  revision: number,
  layout: Struct<S>,
  fields: Partial<ReturnType<Struct<S>['read']>>,
  entries: readonly Uint8Array[] = [],
): Uint8Array {
  const fixed = layout.encode(fields).subarray(SDT_HEADER.sizeBytes);
  return sdt(signature, revision, amlConcat([fixed, ...entries]));
}

/** Puts the header in front of a table's body. */
function sdt(signature: string, revision: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(SDT_HEADER.sizeBytes + body.length);
  bytes.set(body, SDT_HEADER.sizeBytes);
  SDT_HEADER.write(bytes, {
    signature: ascii(signature),
    length: bytes.length,
    revision,
    oemId: ascii(OEM_ID),
    oemTableId: ascii(OEM_ID.padEnd(8)),
    oemRevision: 1,
    creatorId: ascii(CREATOR_ID),
    creatorRevision: 1,
  });
  bytes[SDT_HEADER.offsetOf('checksum')] = checksumOf(bytes);
  return bytes;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(asciiBytes(text));
}
