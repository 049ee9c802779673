// What the decoder needs to know of a floating-point or SIMD instruction, in 32 bits.

/** Bits 0-11: the handler's number, at least FPU_FIRST. */
export const FORM_HANDLER: u32 = 0xfff;

/** The first number of the FPU part's handlers, and the first that is not one of them. */
export const FPU_FIRST: u32 = 512;
export const FPU_END: u32 = 2048;

// Register files.
export const CLASS_GPR: u32 = 0;
export const CLASS_XMM: u32 = 1;
export const CLASS_MMX: u32 = 2;
/** An x87 stack register: the address is of no use, `rmOf` holds ModRM.rm itself. */
export const CLASS_STACK: u32 = 3;

/** Bits 12-13: the class of ModRM.reg. */
export const FORM_REG_SHIFT: u32 = 12;
/** Bits 14-15: the class of ModRM.rm, where it is a register. */
export const FORM_RM_SHIFT: u32 = 14;
/** Bit 16: an imm8 follows. */
export const FORM_IMM8: u32 = 1 << 16;
/** Bits 17-19: the units whose availability the engine checks. */
export const FORM_X87: u32 = 1 << 17;
export const FORM_MMX: u32 = 1 << 18;
export const FORM_SSE: u32 = 1 << 19;
