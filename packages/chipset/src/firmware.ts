import {
  type AcpiTables,
  assert,
  GpaAccess,
  type GpaSpace,
  PAGE_SIZE,
  type PartitionInfo,
  type Token,
  token,
} from '@kensho/core';
import { buildAcpiTables } from './acpi/tables.ts';
import type { MemoryImage } from './firmware-table.ts';
import { buildSmbiosTables, type SmbiosConfig } from './smbios.ts';

/** Where kernels that are not told look for the RSDP, and for SMBIOS entry points (ACPI 6.4, 5.2.5.1; DSP0134, 5.2). */
const ACPI_GPA = 0xe0000;
const SMBIOS_GPA = 0xf0000;
const SMBIOS_END = 0x100000;

/** Pages that a partition with a device of kind `firmware-tables` has beside its RAM, whatever the tables say. */
export const FIRMWARE_PAGES = (SMBIOS_END - ACPI_GPA) / PAGE_SIZE;

/** Who a machine is that does not show its hypervisor: guests know Hyper-V by its name. */
const HIDDEN_MANUFACTURER = 'Kensho';

/** Options of the device kind `firmware-tables`. */
export interface FirmwareOptions {
  /**
   * Who the machine says that it is.
   * @default as {@link SmbiosConfig} says; with `Kensho` for the manufacturer where the partition is not enlightened
   */
  readonly smbios?: Omit<Partial<SmbiosConfig>, 'gpa' | 'memoryBytes' | 'vpCount'>;
}

/** What firmware tables stand on. */
export interface FirmwareServices {
  readonly gpa: GpaSpace;
  readonly info: PartitionInfo;
}

/**
 * The tables that firmware leaves for a kernel: ACPI at 0xE0000, in memory that is not RAM and yet writable, since the
 * FACS holds a lock; SMBIOS at 0xF0000, read-only.
 *
 * Devices that the tables may or may not name say that they are there as they are made; the tables are built when all
 * are. `pit`, `rtc` and `pm` are always named.
 */
export class Firmware implements AcpiTables {
  rsdpGpa: number | undefined;
  readonly ram = [];
  readonly #services: FirmwareServices;
  readonly #comPorts = new Set<1 | 2>();
  #keyboard = false;
  #placed: (() => void)[] = [];

  constructor(services: FirmwareServices) {
    this.#services = services;
  }

  describeComPort(com: 1 | 2): void {
    this.#comPorts.add(com);
  }

  describeKeyboard(): void {
    this.#keyboard = true;
  }

  /**
   * Puts the tables into memory; they describe a VMBus where the partition is enlightened.
   *
   * @throws KenshoError OUT_OF_GUEST_MEMORY where the partition has no {@link FIRMWARE_PAGES}
   */
  place({ smbios }: FirmwareOptions): void {
    assert(this.rsdpGpa === undefined, 'firmware tables are placed once');
    const { memoryBytes, vpCount, enlightened } = this.#services.info;
    const acpi = buildAcpiTables({
      gpa: ACPI_GPA,
      vpCount,
      comPorts: [...this.#comPorts].sort(),
      keyboard: this.#keyboard,
      vmbus: enlightened,
    });
    const manufacturer = enlightened ? undefined : HIDDEN_MANUFACTURER;
    const identity = buildSmbiosTables({ manufacturer, ...smbios, gpa: SMBIOS_GPA, memoryBytes, vpCount });
    this.#map(ACPI_GPA, SMBIOS_GPA, GpaAccess.READ_WRITE, acpi.images);
    this.#map(SMBIOS_GPA, SMBIOS_END, GpaAccess.READ, identity.images);
    this.rsdpGpa = acpi.rsdpGpa;
  }

  /** Takes the tables out of memory again. */
  remove(): void {
    this.rsdpGpa = undefined;
    for (const unmap of this.#placed.splice(0)) unmap();
  }

  #map(gpa: number, end: number, access: number, images: readonly MemoryImage[]): void {
    const { gpa: space } = this.#services;
    const { arena } = space;
    const count = (end - gpa) / PAGE_SIZE;
    const first = arena.take(count);
    for (const image of images) {
      assert(image.gpa + image.bytes.length <= end, `${image.name} fits where it belongs`);
      arena.bytes.set(image.bytes, first * PAGE_SIZE + image.gpa - gpa);
    }
    space.map(gpa / PAGE_SIZE, first, count, access);
    this.#placed.push(() => {
      space.unmap(gpa / PAGE_SIZE, count);
      arena.give(first, count);
    });
  }
}
export const FIRMWARE: Token<Firmware> = token<Firmware>('@kensho/chipset:Firmware');
