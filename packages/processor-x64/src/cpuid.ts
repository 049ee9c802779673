import type { CpuidResult } from '@kensho/core';

/** Leaf 1 EDX (Intel SDM 2A, CPUID): what works, and nothing else. */
const LEAF1_EDX = {
  FPU: 1 << 0,
  DE: 1 << 2,
  PSE: 1 << 3,
  TSC: 1 << 4,
  MSR: 1 << 5,
  PAE: 1 << 6,
  CX8: 1 << 8,
  APIC: 1 << 9,
  SEP: 1 << 11,
  MTRR: 1 << 12,
  PGE: 1 << 13,
  CMOV: 1 << 15,
  PAT: 1 << 16,
  PSE36: 1 << 17,
  CLFSH: 1 << 19,
  MMX: 1 << 23,
  FXSR: 1 << 24,
  SSE: 1 << 25,
  SSE2: 1 << 26,
} as const;

const LEAF1_ECX = {
  SSE3: 1 << 0,
  PCLMULQDQ: 1 << 1,
  SSSE3: 1 << 9,
  CX16: 1 << 13,
  PCID: 1 << 17,
  SSE4_1: 1 << 19,
  SSE4_2: 1 << 20,
  X2APIC: 1 << 21,
  MOVBE: 1 << 22,
  POPCNT: 1 << 23,
  TSC_DEADLINE: 1 << 24,
  AESNI: 1 << 25,
  XSAVE: 1 << 26,
  RDRAND: 1 << 30,
} as const;

const LEAF7_EBX = {
  FSGSBASE: 1 << 0,
  TSC_ADJUST: 1 << 1,
  BMI1: 1 << 3,
  SMEP: 1 << 7,
  BMI2: 1 << 8,
  ERMS: 1 << 9,
  INVPCID: 1 << 10,
  RDSEED: 1 << 18,
  ADX: 1 << 19,
  SMAP: 1 << 20,
  PCOMMIT: 1 << 22,
  CLFLUSHOPT: 1 << 23,
  CLWB: 1 << 24,
  SHA: 1 << 29,
} as const;

const LEAF7_ECX = {
  UMIP: 1 << 2,
  RDPID: 1 << 22,
} as const;

/** Controls of speculation that there is none of, so that guests need no measures of their own. */
const LEAF7_EDX = {
  IBRS_IBPB: 1 << 26,
  STIBP: 1 << 27,
  ARCH_CAPABILITIES: 1 << 29,
} as const;
const LEAF7_2_EDX = {
  BHI_CTRL: 1 << 4,
  MCDT_NO: 1 << 5,
} as const;
const LAST_SUBLEAF_7 = 2;

/** CR4.OSXSAVE, as leaf 1 ECX shows it. */
const OSXSAVE = 1 << 27;
/** More than one logical processor in the package. */
const HTT = 1 << 28;

/** Leaf 0Dh: x87 and SSE state, in the legacy region and the header behind it (Intel SDM 1, 13.4). */
const XSAVE_FEATURES = 3;
const XSAVE_BYTES = 576;
/** XSAVEC. */
const XSAVE_COMPACTED = 1 << 1;

const EXTENDED1_ECX = {
  LAHF: 1 << 0,
  LZCNT: 1 << 5,
  PREFETCHW: 1 << 8,
} as const;

const EXTENDED1_EDX = {
  SYSCALL: 1 << 11,
  NX: 1 << 20,
  PAGE1GB: 1 << 26,
  RDTSCP: 1 << 27,
  LM: 1 << 29,
} as const;

/** TSC that never stops nor changes its rate (leaf 80000007h EDX). */
const INVARIANT_TSC = 1 << 8;

const LAST_LEAF = 0x15;
const LAST_EXTENDED_LEAF = 0x80000008;
const LINEAR_BITS = 48;
const CLFLUSH_QUADWORDS = 8;
const BRAND = 'Kensho software x86-64 processor';

const all = (bits: Record<string, number>) => Object.values(bits).reduce((sum, bit) => sum | bit, 0) >>> 0;

/** What the leaves say of one processor. */
export interface CpuidTopic {
  readonly vpIndex: number;
  readonly vpCount: number;
  readonly tscFrequencyHz: number;
  readonly physicalBits: number;
  /** Family, model and stepping. */
  readonly signature: number;
  /** CR4.OSXSAVE, which leaf 1 shows. */
  readonly osxsave: boolean;
}

/** Fills `result` with what the processor itself says of a leaf (Intel SDM 2A, CPUID). */
export function x64Cpuid(leaf: number, subleaf: number, topic: CpuidTopic, result: CpuidResult): void {
  result.eax = 0;
  result.ebx = 0;
  result.ecx = 0;
  result.edx = 0;
  switch (leaf) {
    case 0:
      // "GenuineIntel": what guests ask before they use what is announced here.
      result.eax = LAST_LEAF;
      result.ebx = 0x756e6547;
      result.edx = 0x49656e69;
      result.ecx = 0x6c65746e;
      break;
    case 1:
      result.eax = topic.signature;
      result.ebx = ((topic.vpIndex & 0xff) << 24) | ((topic.vpCount & 0xff) << 16) | (CLFLUSH_QUADWORDS << 8);
      result.ebx >>>= 0;
      result.ecx = (all(LEAF1_ECX) | (topic.osxsave ? OSXSAVE : 0)) >>> 0;
      result.edx = all(LEAF1_EDX);
      if (topic.vpCount > 1) result.edx |= HTT;
      break;
    case 7:
      if (subleaf === 0) {
        result.eax = LAST_SUBLEAF_7;
        result.ebx = all(LEAF7_EBX);
        result.ecx = all(LEAF7_ECX);
        result.edx = all(LEAF7_EDX);
      } else if (subleaf === LAST_SUBLEAF_7) {
        result.edx = all(LEAF7_2_EDX);
      }
      break;
    case 0xb:
      // One thread to a core; all cores in one package (x2APIC topology).
      result.edx = topic.vpIndex;
      result.ecx = subleaf & 0xff;
      if (subleaf === 0) {
        result.ebx = 1;
        result.ecx |= 1 << 8;
      } else if (subleaf === 1) {
        result.eax = Math.ceil(Math.log2(Math.max(topic.vpCount, 1)));
        result.ebx = topic.vpCount;
        result.ecx |= 2 << 8;
      }
      break;
    case 0xd:
      if (subleaf === 0) {
        result.eax = XSAVE_FEATURES;
        result.ebx = XSAVE_BYTES;
        result.ecx = XSAVE_BYTES;
      } else if (subleaf === 1) {
        result.eax = XSAVE_COMPACTED;
        result.ebx = XSAVE_BYTES;
      }
      break;
    case 0x15:
      // TSC frequency = crystal (ECX) * EBX / EAX.
      result.eax = 1;
      result.ebx = 1;
      result.ecx = topic.tscFrequencyHz >>> 0;
      break;
    case 0x80000000:
      result.eax = LAST_EXTENDED_LEAF;
      break;
    case 0x80000001:
      result.ecx = all(EXTENDED1_ECX);
      result.edx = all(EXTENDED1_EDX);
      break;
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: {
      const text = Buffer.alloc(48);
      text.write(BRAND, 'latin1');
      const at = (leaf - 0x80000002) * 16;
      result.eax = text.readUInt32LE(at);
      result.ebx = text.readUInt32LE(at + 4);
      result.ecx = text.readUInt32LE(at + 8);
      result.edx = text.readUInt32LE(at + 12);
      break;
    }
    case 0x80000007:
      result.edx = INVARIANT_TSC;
      break;
    case 0x80000008:
      result.eax = topic.physicalBits | (LINEAR_BITS << 8);
      break;
  }
}
