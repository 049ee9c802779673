// Multiboot Specification version 0.6.96.
import { struct, u32, u64 } from '@kensho/core';

export const MULTIBOOT_HEADER_MAGIC = 0x1badb002;
/** The header lies within these first bytes of the image, at a multiple of four. */
export const MULTIBOOT_SEARCH_BYTES = 8192;
/** What EAX holds at the entry. */
export const MULTIBOOT_BOOTLOADER_MAGIC = 0x2badb002;

/** What an image asks for; the lower half must be understood by the loader. */
export const MultibootFlag = { PAGE_ALIGN: 1 << 0, MEMORY_INFO: 1 << 1, VIDEO_MODE: 1 << 2 } as const;

export const MultibootHeader = struct('multiboot_header', 12, {
  magic: [0, u32],
  flags: [4, u32],
  checksum: [8, u32],
});

export const MultibootInfoFlag = {
  MEMORY: 1 << 0,
  CMDLINE: 1 << 2,
  MODS: 1 << 3,
  MEM_MAP: 1 << 6,
  BOOT_LOADER_NAME: 1 << 9,
} as const;

export const MultibootInfo = struct('multiboot_info', 88, {
  flags: [0, u32],
  mem_lower: [4, u32],
  mem_upper: [8, u32],
  cmdline: [16, u32],
  mods_count: [20, u32],
  mods_addr: [24, u32],
  mmap_length: [44, u32],
  mmap_addr: [48, u32],
  boot_loader_name: [64, u32],
});

export const MultibootModule = struct('multiboot_mod_list', 16, {
  mod_start: [0, u32],
  mod_end: [4, u32],
  cmdline: [8, u32],
});

/** `size` counts what follows it. */
export const MultibootMmapEntry = struct('multiboot_mmap_entry', 24, {
  size: [0, u32],
  addr: [4, u64],
  len: [12, u64],
  type: [20, u32],
});
