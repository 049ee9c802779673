import type { CpuidResult, ProcessorOptions } from '@kensho/core';

const NONE: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/**
 * What the processor itself says of leaf `leaf`, before the hypervisor amends it (Intel SDM 2A, CPUID). It has no
 * machine code to describe: only what its programs can use is announced.
 */
export function kitCpuid(leaf: number, vpIndex: number, options: ProcessorOptions): CpuidResult {
  switch (leaf) {
    case 0:
      // "KenshoKitCPU" in EBX, EDX, ECX.
      return { eax: 0x15, ebx: 0x736e654b, edx: 0x694b6f68, ecx: 0x55504374 };
    case 1:
      return {
        eax: 0x00000600,
        ebx: ((vpIndex & 0xff) << 24) | ((options.vpCount & 0xff) << 16),
        // TSC-deadline timer.
        ecx: 1 << 24,
        // TSC, MSR, CX8, APIC.
        edx: (1 << 4) | (1 << 5) | (1 << 8) | (1 << 9),
      };
    case 0x15:
      // TSC frequency = crystal (ECX) * EBX / EAX.
      return { eax: 1, ebx: 1, ecx: options.tscFrequencyHz, edx: 0 };
    case 0x80000000:
      return { ...NONE, eax: 0x80000007 };
    case 0x80000007:
      return { ...NONE, edx: 1 << 8 };
    default:
      return { ...NONE };
  }
}
