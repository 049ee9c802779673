import { PAGE_SIZE } from '../memory/arena.ts';

/** A run of RAM in a guest-physical address space. */
export interface RamSlot {
  readonly gpa: number;
  readonly sizeBytes: number;
}

/** End of conventional memory: from here to 1 MiB lie the frame buffer and ROMs of the PC/AT. */
const LEGACY_HOLE_START = 0xa0000;
const LEGACY_HOLE_END = 0x100000;

/** Where the MMIO below 4 GiB begins: PCI, VMBus devices, I/O APIC, local APIC. */
export const MMIO_HOLE_START = 0xf8000000;
const MMIO_HOLE_END = 0x1_0000_0000;

/**
 * Where the RAM of a partition lies: all below the MMIO hole with the PC/AT's legacy hole left out, and the rest
 * from 4 GiB on.
 *
 * @param memoryBytes - rounded up to whole pages; the legacy hole counts as part of it, as on a PC
 */
export function ramLayout(memoryBytes: number): readonly RamSlot[] {
  const end = Math.ceil(memoryBytes / PAGE_SIZE) * PAGE_SIZE;
  const slots: RamSlot[] = [];
  const add = (gpa: number, slotEnd: number) => {
    if (slotEnd > gpa) slots.push({ gpa, sizeBytes: slotEnd - gpa });
  };
  add(0, Math.min(end, LEGACY_HOLE_START));
  add(LEGACY_HOLE_END, Math.min(end, MMIO_HOLE_START));
  add(MMIO_HOLE_END, MMIO_HOLE_END + end - MMIO_HOLE_START);
  return slots;
}
