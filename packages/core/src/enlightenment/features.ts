/** The hypervisor's CPUID leaves (TLFS 2.4, "Microsoft hypervisor CPUID leaves"). */
export const HvCpuidLeaf = {
  /** EAX: the last leaf; EBX, ECX, EDX: {@link HV_VENDOR}. */
  VENDOR: 0x40000000,
  /** EAX: {@link HV_INTERFACE}. */
  INTERFACE: 0x40000001,
  /** EAX: build; EBX: major and minor version. */
  VERSION: 0x40000002,
  /** EAX: {@link HvPrivilege}; EBX: privileges to make hypercalls; EDX: {@link HvFeature}. */
  FEATURES: 0x40000003,
  /** EAX: {@link HvHint}; EBX: spins before a long wait is reported. */
  RECOMMENDATIONS: 0x40000004,
  /** EAX: virtual processors; EBX: logical processors. */
  LIMITS: 0x40000005,
  /** The last one that is announced. */
  NESTED_FEATURES: 0x4000000a,
} as const;

/** "Microsoft Hv", as EBX, ECX and EDX hold it. */
export const HV_VENDOR: readonly [number, number, number] = [0x7263694d, 0x666f736f, 0x76482074];
/** "Hv#1": the leaves and MSRs that follow are those of the TLFS. */
export const HV_INTERFACE = 0x31237648;

/** Leaf 0x40000003 EAX: what the partition may use (TLFS, HV_PARTITION_PRIVILEGE_MASK, low half). */
export const HvPrivilege = {
  VP_RUNTIME: 1 << 0,
  REFERENCE_COUNTER: 1 << 1,
  SYNIC: 1 << 2,
  SYNTHETIC_TIMERS: 1 << 3,
  APIC: 1 << 4,
  HYPERCALL: 1 << 5,
  VP_INDEX: 1 << 6,
  RESET: 1 << 7,
  REFERENCE_TSC: 1 << 9,
  FREQUENCY: 1 << 11,
} as const;

/** Leaf 0x40000003 EDX. */
export const HvFeature = {
  FREQUENCY_MSRS: 1 << 8,
  CRASH_MSRS: 1 << 10,
  SINT_POLLING: 1 << 17,
  HYPERCALL_MSR_LOCK: 1 << 18,
  DIRECT_SYNTHETIC_TIMERS: 1 << 19,
} as const;

/** Leaf 0x40000004 EAX: what the guest had better do. */
export const HvHint = {
  REMOTE_TLB_FLUSH_HYPERCALL: 1 << 2,
  APIC_MSRS: 1 << 3,
  RELAXED_TIMING: 1 << 5,
  DEPRECATE_AUTO_EOI: 1 << 9,
  CLUSTER_IPI_HYPERCALL: 1 << 10,
} as const;

/** What a partition is offered besides hypercalls. An MSR beyond it raises #GP. */
export interface HvFeatures {
  readonly privileges: number;
  readonly features: number;
  readonly hints: number;
}

/**
 * VPs of a partition at most: without the ExProcessorMasks hint a guest names VPs by a mask of 64 bits.
 */
export const HV_MAX_VPS = 64;

/** Everything that is implemented. Hypercalls that stand in for IPIs are worth their while with several VPs only. */
export function defaultFeatures(vpCount: number): HvFeatures {
  const all = (bits: Readonly<Record<string, number>>) =>
    Object.values(bits).reduce((sum, bit) => sum | bit, 0);
  const hints = HvHint.APIC_MSRS | HvHint.RELAXED_TIMING | HvHint.DEPRECATE_AUTO_EOI;
  const several = HvHint.REMOTE_TLB_FLUSH_HYPERCALL | HvHint.CLUSTER_IPI_HYPERCALL;
  return {
    privileges: all(HvPrivilege),
    features: all(HvFeature),
    hints: vpCount > 1 ? hints | several : hints,
  };
}
