// Xen, "x86/HVM direct boot ABI" (docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h).
import { struct, u32, u64 } from '@kensho/core';

export const PVH_START_MAGIC = 0x336ec578;
/** Version 1 has the memory map. */
export const PVH_START_VERSION = 1;

/** Owner and type of the ELF note that holds the 32-bit entry. */
export const PVH_NOTE_NAME = 'Xen';
export const XEN_ELFNOTE_PHYS32_ENTRY = 18;

export const HvmStartInfo = struct('hvm_start_info', 56, {
  magic: [0, u32],
  version: [4, u32],
  flags: [8, u32],
  nr_modules: [12, u32],
  modlist_paddr: [16, u64],
  cmdline_paddr: [24, u64],
  rsdp_paddr: [32, u64],
  memmap_paddr: [40, u64],
  memmap_entries: [48, u32],
});

export const HvmModlistEntry = struct('hvm_modlist_entry', 32, {
  paddr: [0, u64],
  size: [8, u64],
  cmdline_paddr: [16, u64],
});

export const HvmMemmapEntry = struct('hvm_memmap_table_entry', 24, {
  addr: [0, u64],
  size: [8, u64],
  type: [16, u32],
});
