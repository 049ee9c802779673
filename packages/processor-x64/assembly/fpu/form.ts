// What the decoder needs to know of a floating-point or SIMD instruction, in 32 bits.

/** Bits 0-11: the handler's number, at least FPU_FIRST. */
export const FORM_HANDLER: u32 = 0xfff;

/** The first number of the FPU part's handlers, and the first that is not one of them. */
export const FPU_FIRST: u32 = 1024;
export const FPU_END: u32 = 2560;

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

// Handlers are numbered by opcode. After FPU_FIRST come those of x87.ts (0 to 159), then the opcode maps:
/** 0F: opcode << 2 | prefix. */
export const MAP1: u32 = FPU_FIRST + 160;
/** 0F 38, opcodes 00 to 41: opcode << 1 | 1 with 66. */
export const MAP2: u32 = MAP1 + 1024;
/** 0F 38, opcodes C8 to F1, each with one prefix. */
export const MAP2_HIGH: u32 = MAP2 + 0x84;
/** 0F 3A, opcodes 00 to 63 with 66; then PALIGNR of MMX, SHA1RNDS4, AESKEYGENASSIST. */
export const MAP3: u32 = MAP2_HIGH + 0x2a;

export const PALIGNR_MMX: u32 = MAP3 + 0x64;
export const SHA1RNDS4: u32 = MAP3 + 0x65;
export const AESKEYGENASSIST: u32 = MAP3 + 0x66;
export const FXSAVE: u32 = MAP3 + 0x67;
export const FXRSTOR: u32 = MAP3 + 0x68;
export const LDMXCSR: u32 = MAP3 + 0x69;
export const STMXCSR: u32 = MAP3 + 0x6a;
export const XSAVE: u32 = MAP3 + 0x6b;
export const XRSTOR: u32 = MAP3 + 0x6c;
export const XSAVEC: u32 = MAP3 + 0x6d;
/** Shifts by an immediate: then (opcode & 3) << 3 | ModRM.reg; 32 on for MMX. */
export const SHIFT_XMM: u32 = MAP3 + 0x70;
export const SHIFT_MMX: u32 = SHIFT_XMM + 32;
