/** Where a case of the oracle lies, in the native process and in the guest alike: pages of 4 KiB, all else absent. */
export const CODE = 0x100000;
export const DATA = 0x200000;
export const STACK = 0x300000;
export const CODE_BYTES = 0x1000;
export const DATA_BYTES = 0x2000;
export const STACK_BYTES = 0x1000;

/** Arithmetic flags, as RFLAGS has them. */
export const Flag = { CF: 1, PF: 4, AF: 0x10, ZF: 0x40, SF: 0x80, DF: 0x400, OF: 0x800 } as const;

export const ARITHMETIC = Flag.CF | Flag.PF | Flag.AF | Flag.ZF | Flag.SF | Flag.OF;

/** How a case is handed to the native harness (native.c): a record of 384 bytes, little-endian. */
export const CASE_BYTES = 384;
export const CaseOffset = {
  /** 16 general registers, then RFLAGS. */
  REGISTERS: 0,
  FLAGS: 128,
  /** u32: 64 or 32. */
  BITS: 136,
  /** u32: seed of the contents of the data and stack pages. */
  FILL: 140,
  CODE_LENGTH: 144,
  CODE: 148,
} as const;

/** What comes back: a record of 192 bytes. */
export const RESULT_BYTES = 192;
export const ResultOffset = {
  REGISTERS: 0,
  RIP: 128,
  FLAGS: 136,
  /** u32: exception; 3 where the case ran to its end. */
  VECTOR: 144,
  ERROR: 148,
  ADDRESS: 152,
  /** u64: a hash of the data pages, then of the stack page. */
  DATA_HASH: 160,
  STACK_HASH: 168,
} as const;
