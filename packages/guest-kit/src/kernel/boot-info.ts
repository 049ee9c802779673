import { struct, u32, u64 } from '@kensho/core';

/** Where the loader leaves {@link BootInfo} and the memory map behind it. */
export const BOOT_INFO_GPA = 0x1000;
export const BOOT_INFO_MAGIC = 0x5449_4b4b; // "KKIT"
export const MAX_MEMORY_RANGES = 32;

/** How a kit guest learns of its memory; the kit's own boot protocol. */
export const BootInfo = struct('KIT_BOOT_INFO', 16, {
  magic: [0, u32],
  rangeCount: [4, u32],
  vpCount: [8, u32],
});

/** One range of RAM that the guest may use. */
export const BootMemoryRange = struct('KIT_BOOT_MEMORY_RANGE', 16, {
  gpa: [0, u64],
  sizeBytes: [8, u64],
});
