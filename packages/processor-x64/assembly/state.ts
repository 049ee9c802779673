// Where everything is in the linear memory that the engine, its handlers, generated code and TypeScript share.
//
// The state of the VP that runs is at fixed addresses, so that a micro-op names a register by its address. The state
// of the others is parked beside it; `selectVp` exchanges them between slices. Tables whose size depends on the
// partition lie behind the fixed part; their places are in the globals at the end of this file.

/** Static data of the module ends below. */
export const STATE: u32 = 0x10000;
export const STATE_SIZE: u32 = 0x1000;

// General registers, 8 bytes each, in the order of their encodings. AH is at RAX + 1, and so on.
export const GPR: u32 = STATE;
export const RAX: u32 = GPR;
export const RCX: u32 = GPR + 8;
export const RDX: u32 = GPR + 16;
export const RBX: u32 = GPR + 24;
export const RSP: u32 = GPR + 32;
export const RBP: u32 = GPR + 40;
export const RSI: u32 = GPR + 48;
export const RDI: u32 = GPR + 56;
export const R8: u32 = GPR + 64;
export const R11: u32 = GPR + 88;

/** Eight bytes of zero: the base or index of an address that has none. */
export const ZERO: u32 = STATE + 0x080;
/** The instruction pointer. Current between blocks; within one, see RIP_PAGE. */
export const RIP: u32 = STATE + 0x088;
/** What the instruction pointer would be at the first byte of the code page that runs. */
export const RIP_PAGE: u32 = STATE + 0x090;

// Lazy arithmetic flags: which operation set them, its result and operands, sign-extended to 64 bits. See flags.ts.
export const FL_KIND: u32 = STATE + 0x098;
export const FL_RES: u32 = STATE + 0x0a0;
export const FL_A: u32 = STATE + 0x0a8;
export const FL_B: u32 = STATE + 0x0b0;
/** RFLAGS; its arithmetic bits count only while FL_KIND is EXPLICIT. */
export const EFLAGS: u32 = STATE + 0x0b8;

/** The record of the micro-op that runs, 0 outside a block. */
export const CUR: u32 = STATE + 0x0bc;
/** i32: instructions until the slice is looked at again; counted down at the end of each block. */
export const COUNTDOWN: u32 = STATE + 0x0c0;
/** What waits for an instruction boundary: bits EVENT_*. */
export const EVENTS: u32 = STATE + 0x0c4;
/** i64: instructions retired = LIMIT - COUNTDOWN, and what the block that runs has retired. */
export const LIMIT: u32 = STATE + 0x0c8;

/** u32: 0 to 3. */
export const CPL: u32 = STATE + 0x0d0;
/** u32: what blocks are keyed by beside their place: bits MODE_*. */
export const MODE: u32 = STATE + 0x0d4;
/** u32: the upper half of the address space may have had code in pages that are not global; see tlb.ts. */
export const UPPER_CODE_CHANGES: u32 = STATE + 0x0d8;
/** u32: address of the TLB table that data accesses use. */
export const TLB: u32 = STATE + 0x0dc;
/** u32: for one instruction SHADOW_STI or SHADOW_MOV_SS behind what holds interrupts back. */
export const SHADOW: u32 = STATE + 0x0e0;
/** u32: ACTIVITY_*. */
export const ACTIVITY: u32 = STATE + 0x0e4;
/** u32: NMIs are held back until IRET. */
export const NMI_BLOCKED: u32 = STATE + 0x0e8;
/** u32: index of the VP. */
export const VP_INDEX: u32 = STATE + 0x0ec;
/** u64: all ones in 64-bit code, else 0xffffffff. */
export const RIP_MASK: u32 = STATE + 0x0f0;
/** u32: what POPF, SYSCALL and the like may have made due; traps of the last instruction (DR6 bits). */
export const PENDING_TRAP: u32 = STATE + 0x0f8;
/** In PENDING_TRAP, above DR6's bits: the trap of ICEBP, which DR6 does not show. */
export const ICEBP: u32 = 0x10000;

// Segment registers, 32 bytes each, in the order of their encodings, then LDTR and TR.
export const SEGMENTS: u32 = STATE + 0x100;
export const SEGMENT_SIZE: u32 = 32;
export const SEG_SELECTOR: u32 = 0; // u16
/** u16: bits 40 to 55 of the descriptor: type, S, DPL, P; then limit's upper bits (unused), AVL, L, D/B, G. */
export const SEG_ATTR: u32 = 2;
/** u32: in bytes, with granularity applied. */
export const SEG_LIMIT: u32 = 4;
export const SEG_BASE: u32 = 8; // u64
export const ES: u32 = 0;
export const CS: u32 = 1;
export const SS: u32 = 2;
export const DS: u32 = 3;
export const FS: u32 = 4;
export const GS: u32 = 5;
export const LDTR: u32 = 6;
export const TR: u32 = 7;

export const GDTR_BASE: u32 = STATE + 0x200; // u64
export const GDTR_LIMIT: u32 = STATE + 0x208; // u32
export const IDTR_BASE: u32 = STATE + 0x210;
export const IDTR_LIMIT: u32 = STATE + 0x218;

// Control and debug registers, 8 bytes each; CR8 is the local APIC's.
export const CR0: u32 = STATE + 0x220;
export const CR2: u32 = STATE + 0x228;
export const CR3: u32 = STATE + 0x230;
export const CR4: u32 = STATE + 0x238;
export const EFER: u32 = STATE + 0x240;
export const XCR0: u32 = STATE + 0x248;
export const DR0: u32 = STATE + 0x250;
export const DR6: u32 = STATE + 0x280;
export const DR7: u32 = STATE + 0x288;

// MSRs that the processor keeps, 8 bytes each.
export const MSR_STAR: u32 = STATE + 0x290;
export const MSR_LSTAR: u32 = STATE + 0x298;
export const MSR_CSTAR: u32 = STATE + 0x2a0;
export const MSR_FMASK: u32 = STATE + 0x2a8;
export const MSR_KERNEL_GS_BASE: u32 = STATE + 0x2b0;
export const MSR_TSC_AUX: u32 = STATE + 0x2b8;
export const MSR_SYSENTER_CS: u32 = STATE + 0x2c0;
export const MSR_SYSENTER_ESP: u32 = STATE + 0x2c8;
export const MSR_SYSENTER_EIP: u32 = STATE + 0x2d0;
export const MSR_PAT: u32 = STATE + 0x2d8;
export const MSR_MISC_ENABLE: u32 = STATE + 0x2e0;
/** i64: added to the clock's TSC. */
export const TSC_OFFSET: u32 = STATE + 0x2e8;
export const MSR_TSC_ADJUST: u32 = STATE + 0x2f0;
export const MSR_MTRR_DEF_TYPE: u32 = STATE + 0x2f8;
/** 11 fixed-range MTRRs, then 8 pairs of base and mask. */
export const MSR_MTRR_FIXED: u32 = STATE + 0x300;
export const MSR_MTRR_VARIABLE: u32 = STATE + 0x358;

/** u32: address of the VP's three TLB tables. */
export const VP_TLB: u32 = STATE + 0x3d8;
/** i32: instructions of the slice that are kept from COUNTDOWN so that events are looked at. */
export const REST: u32 = STATE + 0x3dc;
/** u32: the instruction that runs is single-stepped. */
export const STEP_TRAP: u32 = STATE + 0x3e0;
/** u32: why `run` came back: the values of VpExit. */
export const EXIT_REASON: u32 = STATE + 0x3e4;
/** u32: entries of the TLB's log; see tlb.ts. */
export const TLB_LOG_COUNT: u32 = STATE + 0x3e8;

/** u32: breakpoints of DR7 that are on, as its bits 0, 2, 4 and 6; every instruction is a block of its own then. */
export const BREAKPOINTS: u32 = STATE + 0x3ec;
/** u32: what the debugger asked of the next instruction: bits STEP_*. */
export const DEBUG_STEP: u32 = STATE + 0x3f0;
/** u32: why the debugger was called: see debugger.ts. */
export const DEBUG_REASON: u32 = STATE + 0x3f4;
/** i64: instructions that had retired when the VP stopped at a breakpoint, which it passes then. */
export const DEBUG_PASSED: u32 = STATE + 0x3f8;

/** Two u32, for the lower and upper half of the address space: with MODE, the validity of the jump cache's entries. */
export const GENERATIONS: u32 = STATE + 0x428;

// The exception that is being raised or delivered.
export const FAULT_VECTOR: u32 = STATE + 0x400; // u32
export const FAULT_ERROR: u32 = STATE + 0x404; // u32
/** i32: vector whose delivery is under way, -1 when none. */
export const DELIVERING: u32 = STATE + 0x408;
/** u64: linear address of a page fault; CR2 once it is delivered. */
export const FAULT_ADDRESS: u32 = STATE + 0x410;
/** u32: the fault has an error code. */
export const FAULT_HAS_ERROR: u32 = STATE + 0x418;
/** u32: the event being delivered came from outside the program. */
export const FAULT_EXTERNAL: u32 = STATE + 0x41c;

export const MSR_SPEC_CTRL: u32 = STATE + 0x420; // u64

/** u32: PAUSEs since others last had their turn. */
export const PAUSES: u32 = STATE + 0x440;
/** u32: accesses have to be aligned: CPL 3 with CR0.AM and EFLAGS.AC. No page is in the user's TLB table then. */
export const ALIGNED_ONLY: u32 = STATE + 0x444;
/** u64: GiBs, by a hash, of which the TLB has parts of a page of 1 GiB. */
export const GIGABYTE_PAGES: u32 = STATE + 0x448;

// x87 (Intel SDM 1, 8.1). Physical registers, 16 bytes each: significand in bytes 0 to 7, sign and exponent in 8 and 9.
export const X87: u32 = STATE + 0x480;
export const X87_STRIDE: u32 = 16;
export const X87_CONTROL: u32 = STATE + 0x500; // u16
/** u16: the status word; TOP in bits 11 to 13 is the one that counts. */
export const X87_STATUS: u32 = STATE + 0x502;
/** u16: the full tag word, two bits for each physical register. */
export const X87_TAG: u32 = STATE + 0x504;
export const X87_OPCODE: u32 = STATE + 0x506; // u16: FOP, 11 bits
export const X87_IP: u32 = STATE + 0x508; // u64
export const X87_DP: u32 = STATE + 0x510; // u64
export const X87_CS: u32 = STATE + 0x518; // u16
export const X87_DS: u32 = STATE + 0x51a; // u16
export const MXCSR: u32 = STATE + 0x51c; // u32

/** XMM0 to XMM15, 32 bytes apart: the upper halves are kept for YMM. */
export const XMM: u32 = STATE + 0x580;
export const XMM_STRIDE: u32 = 32;

/** 64 bytes for an operand that lies in two pages or in no RAM, 16-byte aligned. */
export const SCRATCH: u32 = STATE + 0x800;
/** 64 bytes for the FPU handlers' own use. */
export const FPU_SCRATCH: u32 = STATE + 0x840;
/** The bytes of an instruction that lies in two pages. */
export const FETCH_BUFFER: u32 = STATE + 0x880;
/** Bits for the pieces of 2 MiB, by a hash, of which the TLB has parts of a larger page than 4 KiB. */
export const LARGE_PAGES: u32 = STATE + 0xa00;
export const LARGE_PAGES_BYTES: u32 = 512;
/** What TypeScript and the engine hand each other: Qwords and the like. */
export const EXCHANGE: u32 = STATE + 0x8c0;

// Bits of DEBUG_STEP.
/** One instruction, then stop. */
export const STEP_ASKED: u32 = 1;
/** That instruction runs. */
export const STEP_RUNS: u32 = 2;
/** One instruction as a block of its own, so that a watchpoint stops right behind it. */
export const STEP_ARMED: u32 = 4;

// What the VPs' debugger wants, behind the state of the VP (debugger.ts).
/** u32: bits DEBUG_*. */
export const DEBUG: u32 = 0x12000;
export const DEBUG_BREAK_COUNT: u32 = DEBUG + 4; // u32
export const DEBUG_WATCH_COUNT: u32 = DEBUG + 8; // u32
/** u32: a watchpoint was hit, at DEBUG_HIT_ADDRESS. */
export const DEBUG_HIT: u32 = DEBUG + 12;
export const DEBUG_HIT_ADDRESS: u32 = DEBUG + 16; // u64
/** u32: branches noted since the start. */
export const RECENT_COUNT: u32 = DEBUG + 24;
export const DEBUG_BREAKS: u32 = DEBUG + 0x100;
export const DEBUG_BREAKS_MAX: u32 = 256;
export const DEBUG_WATCHES: u32 = DEBUG + 0x900;
export const DEBUG_WATCHES_MAX: u32 = 64;
export const RECENT: u32 = DEBUG + 0xe00;
export const RECENT_ENTRIES: u32 = 64;

// Bits of DEBUG.
/** Each instruction is told to the host before it runs. */
export const DEBUG_TRACE: u32 = 1;
export const DEBUG_BREAK: u32 = 2;
export const DEBUG_WATCH: u32 = 4;
/** Every branch is noted: none is linked to its target. */
export const DEBUG_BRANCHES: u32 = 8;

// Bits of MODE.
export const MODE_CODE_MASK: u32 = 3;
export const MODE_CODE16: u32 = 0;
export const MODE_CODE32: u32 = 1;
export const MODE_CODE64: u32 = 2;
/** The stack pointer has 32 bits (of code outside 64-bit mode). */
export const MODE_STACK32: u32 = 4;
/** CS, DS, ES and SS have base 0 and no limit. */
export const MODE_FLAT: u32 = 8;
/** One instruction, then events are looked at. */
export const MODE_STEP: u32 = 16;
/** CPL 3; only the jump cache looks at it. */
export const MODE_USER: u32 = 32;

// Bits of EVENTS.
export const EVENT_EXIT: u32 = 1;
export const EVENT_INTERRUPT: u32 = 2;
export const EVENT_NMI: u32 = 4;

// Values of SHADOW.
export const SHADOW_STI: u32 = 1;
/** Debug traps are held back too. */
export const SHADOW_MOV_SS: u32 = 2;

// Values of ACTIVITY.
export const ACTIVITY_RUNNING: u32 = 0;
export const ACTIVITY_HALTED: u32 = 1;
export const ACTIVITY_WAIT_FOR_SIPI: u32 = 2;
export const ACTIVITY_SHUTDOWN: u32 = 3;

// Bits of EFLAGS, CR0, CR4 and EFER.
export const CF: u32 = 1 << 0;
export const PF: u32 = 1 << 2;
export const AF: u32 = 1 << 4;
export const ZF: u32 = 1 << 6;
export const SF: u32 = 1 << 7;
export const TF: u32 = 1 << 8;
export const IF: u32 = 1 << 9;
export const DF: u32 = 1 << 10;
export const OF: u32 = 1 << 11;
export const IOPL: u32 = 3 << 12;
export const NT: u32 = 1 << 14;
export const RF: u32 = 1 << 16;
export const VM: u32 = 1 << 17;
export const AC: u32 = 1 << 18;
export const VIF: u32 = 1 << 19;
export const VIP: u32 = 1 << 20;
export const ID: u32 = 1 << 21;
export const ARITHMETIC: u32 = CF | PF | AF | ZF | SF | OF;

export const CR0_PE: u32 = 1 << 0;
export const CR0_MP: u32 = 1 << 1;
export const CR0_EM: u32 = 1 << 2;
export const CR0_TS: u32 = 1 << 3;
export const CR0_ET: u32 = 1 << 4;
export const CR0_NE: u32 = 1 << 5;
export const CR0_WP: u32 = 1 << 16;
export const CR0_AM: u32 = 1 << 18;
export const CR0_NW: u32 = 1 << 29;
export const CR0_CD: u32 = 1 << 30;
export const CR0_PG: u32 = 1 << 31;

export const CR4_VME: u32 = 1 << 0;
export const CR4_PVI: u32 = 1 << 1;
export const CR4_TSD: u32 = 1 << 2;
export const CR4_DE: u32 = 1 << 3;
export const CR4_PSE: u32 = 1 << 4;
export const CR4_PAE: u32 = 1 << 5;
export const CR4_MCE: u32 = 1 << 6;
export const CR4_PGE: u32 = 1 << 7;
export const CR4_PCE: u32 = 1 << 8;
export const CR4_OSFXSR: u32 = 1 << 9;
export const CR4_OSXMMEXCPT: u32 = 1 << 10;
export const CR4_UMIP: u32 = 1 << 11;
export const CR4_FSGSBASE: u32 = 1 << 16;
export const CR4_PCIDE: u32 = 1 << 17;
export const CR4_OSXSAVE: u32 = 1 << 18;
export const CR4_SMEP: u32 = 1 << 20;
export const CR4_SMAP: u32 = 1 << 21;

export const EFER_SCE: u32 = 1 << 0;
export const EFER_LME: u32 = 1 << 8;
export const EFER_LMA: u32 = 1 << 10;
export const EFER_NXE: u32 = 1 << 11;

// Exceptions (Intel SDM 3, 6.3.1).
export const EX_DE: u32 = 0;
export const EX_DB: u32 = 1;
export const EX_NMI: u32 = 2;
export const EX_BP: u32 = 3;
export const EX_OF: u32 = 4;
export const EX_BR: u32 = 5;
export const EX_UD: u32 = 6;
export const EX_NM: u32 = 7;
export const EX_DF: u32 = 8;
export const EX_TS: u32 = 10;
export const EX_NP: u32 = 11;
export const EX_SS: u32 = 12;
export const EX_GP: u32 = 13;
export const EX_PF: u32 = 14;
export const EX_MF: u32 = 16;
export const EX_AC: u32 = 17;
export const EX_XM: u32 = 19;

// The tables of the partition; `configure` lays them out.

/** The record that ends the slice: what there is to go on with where there is nothing. */
export const EXIT_RECORD: u32 = STATE + STATE_SIZE;

/** Static tables whose size is fixed lie between the state and here. */
export const JUMP_CACHE: u32 = 0x20000;
export const JUMP_CACHE_ENTRIES: u32 = 4096;
export const BLOCK_HASH: u32 = 0x40000;
export const BLOCK_HASH_ENTRIES: u32 = 0x10000;
export const TABLES: u32 = 0x80000;
