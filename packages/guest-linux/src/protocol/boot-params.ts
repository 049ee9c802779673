// The Linux boot protocol: Linux, Documentation/arch/x86/boot.rst and zero-page.rst.
import { bytes, struct, u8, u16, u32, u64 } from '@kensho/core';

/** Where the setup header lies, in the first sectors of a bzImage and in boot_params alike. */
export const SETUP_HEADER_OFFSET = 0x1f1;
/** Where what follows the setup header begins in boot_params: a longer header is cut there. */
export const SETUP_HEADER_LIMIT = 0x290;

/** "HdrS" */
export const SETUP_HEADER_MAGIC = 0x53726448;
export const BOOT_FLAG = 0xaa55;

/** A boot loader without an assigned number. */
export const LOADER_UNKNOWN = 0xff;
/** vid_mode: leave the screen as it is. */
export const VIDEO_MODE_NORMAL = 0xffff;

export const LoadFlag = {
  LOADED_HIGH: 0x01,
  KASLR_FLAG: 0x02,
  QUIET_FLAG: 0x20,
  CAN_USE_HEAP: 0x80,
} as const;
export const XloadFlag = { KERNEL_64: 0x01, CAN_BE_LOADED_ABOVE_4G: 0x02 } as const;

/** The 64-bit entry of a bzImage lies this far behind its start. */
export const ENTRY_64_OFFSET = 0x200;

/** setup_header, from offset 0x1F1 of the file; fields that the protocol's version does not have read as zero. */
export const SetupHeader = struct('setup_header', 0x264 - SETUP_HEADER_OFFSET, {
  setup_sects: [0x1f1 - SETUP_HEADER_OFFSET, u8],
  syssize: [0x1f4 - SETUP_HEADER_OFFSET, u32],
  boot_flag: [0x1fe - SETUP_HEADER_OFFSET, u16],
  /** The second byte of a short jump over the header, counted from 0x202: says how long the header is. */
  header_length: [0x201 - SETUP_HEADER_OFFSET, u8],
  header: [0x202 - SETUP_HEADER_OFFSET, u32],
  version: [0x206 - SETUP_HEADER_OFFSET, u16],
  loadflags: [0x211 - SETUP_HEADER_OFFSET, u8],
  code32_start: [0x214 - SETUP_HEADER_OFFSET, u32],
  initrd_addr_max: [0x22c - SETUP_HEADER_OFFSET, u32],
  kernel_alignment: [0x230 - SETUP_HEADER_OFFSET, u32],
  relocatable_kernel: [0x234 - SETUP_HEADER_OFFSET, u8],
  xloadflags: [0x236 - SETUP_HEADER_OFFSET, u16],
  cmdline_size: [0x238 - SETUP_HEADER_OFFSET, u32],
  payload_offset: [0x248 - SETUP_HEADER_OFFSET, u32],
  payload_length: [0x24c - SETUP_HEADER_OFFSET, u32],
  pref_address: [0x258 - SETUP_HEADER_OFFSET, u64],
  init_size: [0x260 - SETUP_HEADER_OFFSET, u32],
});

/** boot_params, the "zero page"; what a loader of this kind leaves zero is not named. */
export const BootParams = struct('boot_params', 4096, {
  orig_video_mode: [0x006, u8],
  orig_video_cols: [0x007, u8],
  orig_video_lines: [0x00e, u8],
  orig_video_isVGA: [0x00f, u8],
  orig_video_points: [0x010, u16],
  acpi_rsdp_addr: [0x070, u64],
  e820_entries: [0x1e8, u8],
  vid_mode: [0x1fa, u16],
  boot_flag: [0x1fe, u16],
  header: [0x202, u32],
  version: [0x206, u16],
  type_of_loader: [0x210, u8],
  loadflags: [0x211, u8],
  ramdisk_image: [0x218, u32],
  ramdisk_size: [0x21c, u32],
  heap_end_ptr: [0x224, u16],
  cmd_line_ptr: [0x228, u32],
  kernel_alignment: [0x230, u32],
  hardware_subarch: [0x23c, u32],
  setup_data: [0x250, u64],
});

export const E820_TABLE_OFFSET = 0x2d0;
export const E820_MAX_ENTRIES = 128;

/** One entry of the memory map, packed. */
export const E820Entry = struct('boot_e820_entry', 20, { addr: [0, u64], size: [8, u64], type: [16, u32] });

/** What a range of memory is (ACPI 6.5, 15.1, "Address range types"). */
export const MemoryType = { RAM: 1, RESERVED: 2, ACPI: 3, NVS: 4 } as const;
export type MemoryType = (typeof MemoryType)[keyof typeof MemoryType];

/** Bytes of randomness that are passed on. */
export const RNG_SEED_BYTES = 32;
export const SETUP_RNG_SEED = 9;

/** A node of the setup_data list that carries a seed for the kernel's random numbers. */
export const SetupRngSeed = struct('setup_data', 16 + RNG_SEED_BYTES, {
  next: [0, u64],
  type: [8, u32],
  length: [12, u32],
  seed: [16, bytes(RNG_SEED_BYTES)],
});
