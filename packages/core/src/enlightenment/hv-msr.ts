/** Synthetic MSRs (TLFS, appendix A "Hypervisor synthetic MSRs"; HV_X64_MSR_*). */
export const HvMsr = {
  GUEST_OS_ID: 0x40000000,
  HYPERCALL: 0x40000001,
  VP_INDEX: 0x40000002,
  RESET: 0x40000003,
  VP_RUNTIME: 0x40000010,
  TIME_REF_COUNT: 0x40000020,
  REFERENCE_TSC: 0x40000021,
  TSC_FREQUENCY: 0x40000022,
  APIC_FREQUENCY: 0x40000023,
  EOI: 0x40000070,
  ICR: 0x40000071,
  TPR: 0x40000072,
  VP_ASSIST_PAGE: 0x40000073,
  SCONTROL: 0x40000080,
  SVERSION: 0x40000081,
  SIEFP: 0x40000082,
  SIMP: 0x40000083,
  EOM: 0x40000084,
  /** SINT0; SINTn is at + n. */
  SINT0: 0x40000090,
  SINT15: 0x4000009f,
  /** CONFIG of timer 0; timer n is at + 2n, its COUNT one further. */
  STIMER0_CONFIG: 0x400000b0,
  STIMER0_COUNT: 0x400000b1,
  STIMER3_COUNT: 0x400000b7,
  CRASH_P0: 0x40000100,
  CRASH_P4: 0x40000104,
  CRASH_CTL: 0x40000105,
} as const;

/** Where synthetic MSRs may lie; all of it that is not listed raises #GP. */
export const HV_MSR_FIRST = 0x40000000;
export const HV_MSR_LAST = 0x40000fff;

/** Bit 0 of each MSR that places an overlay page: the page is in place. */
export const HV_PAGE_ENABLE = 1;
/** HYPERCALL: the MSR cannot be written again. */
export const HV_HYPERCALL_LOCKED = 2;

/** Bits of SCONTROL and SINTx (TLFS 11.8, "SynIC registers"). */
export const HvSynic = {
  SCONTROL_ENABLE: 1,
  SINT_VECTOR: 0xff,
  SINT_MASKED: 1 << 16,
  SINT_AUTO_EOI: 1 << 17,
  SINT_POLLING: 1 << 18,
} as const;

/** SINTs of each VP. */
export const HV_SINT_COUNT = 16;
/** Payload of a SynIC message at most. */
export const HV_MESSAGE_PAYLOAD_BYTES = 240;
/** Event flags of each SINT. */
export const HV_EVENT_FLAGS_COUNT = 2048;
/** A message slot in the SIM page, and a SINT's flags in the SIEF page. */
export const HV_SYNIC_SLOT_BYTES = 256;

/** Message types (TLFS, HV_MESSAGE_TYPE). */
export const HvMessageType = {
  NONE: 0,
  TIMER_EXPIRED: 0x80000010,
} as const;

/** Bits of STIMERn_CONFIG (TLFS 12.3.4). */
export const HvStimer = {
  ENABLE: 1,
  PERIODIC: 2,
  LAZY: 4,
  AUTO_ENABLE: 8,
  VECTOR_SHIFT: 4,
  DIRECT: 1 << 12,
  SINT_SHIFT: 16,
} as const;

/** Bits 63 and 62 of CRASH_CTL, as bits of its high half. */
export const HvCrashControl = {
  NOTIFY_HI: 0x80000000,
  MESSAGE_HI: 0x40000000,
} as const;
