import type { Clock } from '../clock.ts';
import type { PageArena } from '../memory/arena.ts';
import type { GpaSpace } from '../memory/gpa-space.ts';
import type { ProcessorDebug } from './debug.ts';

/** A 64-bit value as two unsigned halves; reused on hot paths so that nothing is allocated. */
export interface Qword {
  lo: number;
  hi: number;
}

/**
 * The value of a register as the partition API carries it (TLFS, HV_REGISTER_VALUE): 128 bits, of which most registers
 * use the lower 64.
 */
export interface RegisterValue extends Qword {
  /** Bits 95:64, unsigned. */
  upperLo: number;
  /** Bits 127:96, unsigned. */
  upperHi: number;
}

/** The four registers of a CPUID leaf, unsigned. */
export interface CpuidResult {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/**
 * The registers of one hypercall, whatever the processor's mode calls them
 * (TLFS 3.7, x64: RCX, RDX, R8 and RAX; x86: EDX:EAX, EBX:ECX, EDI:ESI and EDX:EAX).
 */
export interface HypercallFrame {
  /** The hypercall input value. */
  readonly control: Qword;
  /** GPA of the input, or the first 8 bytes of it for a fast call. */
  readonly input: Qword;
  /** GPA of the output, or the second 8 bytes of input for a fast call. */
  readonly output: Qword;
  /** Set by the hypervisor: the hypercall result value. */
  readonly result: Qword;
}

/**
 * What a processor calls when the guest does something that the hypervisor must answer. Calls are plain and inline:
 * the software processors call from the middle of an instruction, a hardware one would call at an exit.
 * No call throws for anything a guest did.
 */
export interface VpIntercepts {
  /** @param sizeBytes - 1, 2 or 4; @returns an unsigned value, all ones where nothing answers */
  portRead(port: number, sizeBytes: number): number;
  portWrite(port: number, sizeBytes: number, value: number): void;
  /** An access to a guest-physical address without a page behind it; a wider one is split by the processor. */
  mmioRead(gpa: number, sizeBytes: number): number;
  mmioWrite(gpa: number, sizeBytes: number, value: number): void;
  /** An MSR that the processor does not keep itself. False: the guest gets #GP(0). */
  msrRead(msr: number, value: Qword): boolean;
  msrWrite(msr: number, value: Qword): boolean;
  /** Called with the processor's own answer in `result`, for the hypervisor to amend. */
  cpuid(leaf: number, subleaf: number, result: CpuidResult): void;
  /** VMCALL or VMMCALL at CPL 0 (elsewhere the processor raises #UD itself). False: the guest gets #UD. */
  hypercall(frame: HypercallFrame): boolean;
  /** The vector to deliver now, taken into service, or -1. Called when the VP can accept an interrupt. */
  acknowledgeInterrupt(): number;
  /** The task priority as CR8 shows it (bits 7:4 of the local APIC's TPR). */
  readTaskPriority(): number;
  writeTaskPriority(priority: number): void;
}

/** Why a VP stopped running. */
export const VpExit = {
  /** It used up its budget, or was asked to stop. */
  BUDGET: 0,
  /** HLT with nothing deliverable. Run again while that is still so, the VP says the same with nothing retired. */
  HALT: 1,
  /** It waits in a spin loop (PAUSE): let others run first. */
  YIELD: 2,
  /** A triple fault: the partition must be reset or ended. */
  TRIPLE_FAULT: 3,
  /** The program that a TypeScript guest consists of has ended. */
  ENDED: 4,
  /** A debugger's step is done, or its breakpoint or watchpoint was hit: see ProcessorDebug. */
  DEBUG: 5,
} as const;
export type VpExit = (typeof VpExit)[keyof typeof VpExit];

/**
 * Registers that the partition API reads and writes by name (TLFS, HV_REGISTER_NAME). They are 64 bits wide, but for
 * those of the floating-point units, and segment and table registers, which have 128: see {@link segmentRegister} and
 * {@link tableRegister}.
 */
export const HvRegister = {
  RAX: 0x00020000,
  RCX: 0x00020001,
  RDX: 0x00020002,
  RBX: 0x00020003,
  RSP: 0x00020004,
  RBP: 0x00020005,
  RSI: 0x00020006,
  RDI: 0x00020007,
  R8: 0x00020008,
  R9: 0x00020009,
  R10: 0x0002000a,
  R11: 0x0002000b,
  R12: 0x0002000c,
  R13: 0x0002000d,
  R14: 0x0002000e,
  R15: 0x0002000f,
  RIP: 0x00020010,
  RFLAGS: 0x00020011,
  /** XMM1 to XMM15 follow. */
  XMM0: 0x00030000,
  /** ST(0), as FXSAVE has it: significand in the lower 64 bits; ST(1) to ST(7) follow. */
  FP_MMX0: 0x00030010,
  /** Control 15:0, status 31:16, tags (bit n: register n is in use) 39:32, opcode 63:48, last RIP 127:64. */
  FP_CONTROL_STATUS: 0x00030018,
  /** Last RDP 63:0, MXCSR 95:64, its mask 127:96. */
  XMM_CONTROL_STATUS: 0x00030019,
  CR0: 0x00040000,
  CR2: 0x00040001,
  CR3: 0x00040002,
  CR4: 0x00040003,
  CR8: 0x00040004,
  DR0: 0x00050000,
  DR1: 0x00050001,
  DR2: 0x00050002,
  DR3: 0x00050003,
  DR6: 0x00050004,
  DR7: 0x00050005,
  ES: 0x00060000,
  CS: 0x00060001,
  SS: 0x00060002,
  DS: 0x00060003,
  FS: 0x00060004,
  GS: 0x00060005,
  LDTR: 0x00060006,
  TR: 0x00060007,
  IDTR: 0x00070000,
  GDTR: 0x00070001,
  EFER: 0x00080001,
  KERNEL_GS_BASE: 0x00080002,
} as const;
export type HvRegister = (typeof HvRegister)[keyof typeof HvRegister];

/** Whether a register has more than 64 bits: those of the floating-point units, segment and table registers. */
export function isWideRegister(register: number): boolean {
  const group = register >>> 16;
  return group === 3 || group === 6 || group === 7;
}

/** One virtual processor as the hypervisor drives it. */
export interface VirtualProcessor {
  /**
   * Runs guest code until it halts, yields, ends, or has retired about `budget` instructions. Interrupts that
   * {@link setInterruptPending} announced are taken at the next instruction boundary where the guest allows it.
   */
  run(budget: number): VpExit;
  /**
   * Instructions retired since creation. Up to date within intercepts: the virtual clock is made of it, and
   * `clock.nowNs()` includes what the current slice has retired.
   */
  readonly instructionsRetired: number;
  /** Ends the current {@link run} at the next instruction boundary; called from inside an intercept. */
  requestExit(): void;
  /** Whether {@link VpIntercepts.acknowledgeInterrupt} would give a vector now. Level, not edge. */
  setInterruptPending(pending: boolean): void;
  injectNmi(): void;
  /** INIT: back to the state after reset, waiting for {@link startup}. */
  init(): void;
  /** SIPI: starts at `vector` << 12 in real mode; ignored unless the VP waits for it. */
  startup(vector: number): void;
  /** False where the processor has no such register. The upper half comes in as zero and stays so for 64 bits. */
  getRegister(register: number, value: RegisterValue): boolean;
  /**
   * Puts a value into a register as it is: no check against the others, no side effect but that what was derived from
   * the old one is dropped. Whoever sets several registers leaves them consistent before the VP runs. A VP that runs
   * from reset state, VP 0, starts with what was set. False where the processor has no such register.
   */
  setRegister(register: number, value: RegisterValue): boolean;
  /** Drops translations of guest-virtual addresses; `gvaPages` undefined means all of them. */
  flushTlb(gvaPages?: readonly { page: number; count: number }[]): void;
}

/** What a partition asks of its processor at creation. */
export interface ProcessorOptions {
  /** RAM and ROM, in pages of 4 KiB. */
  readonly memoryPages: number;
  /** Pages for the hypervisor's overlays, beside them. */
  readonly overlayPages: number;
  readonly vpCount: number;
  /** Whether guest memory must be a SharedArrayBuffer. */
  readonly sharedMemory: boolean;
  readonly clock: Clock;
  /** Rate of the guest's TSC, which counts from the clock's zero. */
  readonly tscFrequencyHz: number;
  /** Where the guest's random numbers begin; undefined: they are the system's. */
  readonly randomSeed?: number;
}

/** The processor of one partition: its guest memory and its VPs. */
export interface ProcessorEngine {
  readonly arena: PageArena;
  /** Undefined where its VPs cannot be debugged. */
  readonly debug?: ProcessorDebug;
  createVp(index: number, gpa: GpaSpace, intercepts: VpIntercepts): VirtualProcessor;
  dispose(): void;
}

/** A kind of processor that a plugin contributes. */
export interface ProcessorKind {
  readonly id: string;
  readonly description: string;
  create(options: ProcessorOptions): ProcessorEngine;
}
