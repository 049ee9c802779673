/** The MSR that places, enables and switches the local APIC (Intel SDM 3A, 10.4.4 and 10.12.1). */
export const IA32_APIC_BASE = 0x1b;
/** The timer's absolute deadline in TSC-deadline mode (Intel SDM 3A, 10.5.4.1). */
export const IA32_TSC_DEADLINE = 0x6e0;
/** x2APIC register r (at r << 4 in the xAPIC page) is MSR 0x800 + r (Intel SDM 3A, table 10-6). */
export const X2APIC_MSR_BASE = 0x800;
export const X2APIC_MSR_END = 0x900;

/** Where the xAPIC page lies; it does not move. */
export const APIC_PAGE_GPA = 0xfee00000;
export const APIC_PAGE_SIZE = 0x1000;

export const ApicBase = {
  BSP: 1 << 8,
  X2APIC_ENABLE: 1 << 10,
  GLOBAL_ENABLE: 1 << 11,
} as const;

/** Register offsets in the xAPIC page (Intel SDM 3A, table 10-1). */
export const ApicRegister = {
  ID: 0x20,
  VERSION: 0x30,
  TPR: 0x80,
  APR: 0x90,
  PPR: 0xa0,
  EOI: 0xb0,
  LDR: 0xd0,
  DFR: 0xe0,
  SVR: 0xf0,
  ISR: 0x100,
  TMR: 0x180,
  IRR: 0x200,
  ESR: 0x280,
  ICR_LOW: 0x300,
  ICR_HIGH: 0x310,
  LVT_TIMER: 0x320,
  LVT_THERMAL: 0x330,
  LVT_PERFORMANCE: 0x340,
  LVT_LINT0: 0x350,
  LVT_LINT1: 0x360,
  LVT_ERROR: 0x370,
  INITIAL_COUNT: 0x380,
  CURRENT_COUNT: 0x390,
  DIVIDE_CONFIGURATION: 0x3e0,
  /** x2APIC only. */
  SELF_IPI: 0x3f0,
} as const;

/** Version 0x14 (integrated), six LVT entries, no suppression of EOI broadcasts. */
export const APIC_VERSION = 0x00050014;

/** Spurious-interrupt vector register. */
export const SVR_SOFTWARE_ENABLE = 1 << 8;

/** Bits of the error status register (Intel SDM 3A, figure 10-9). */
export const ApicError = {
  SEND_ILLEGAL_VECTOR: 1 << 5,
  RECEIVE_ILLEGAL_VECTOR: 1 << 6,
  ILLEGAL_REGISTER: 1 << 7,
} as const;

/** Delivery modes of LVT entries and of the interrupt command register (Intel SDM 3A, figures 10-8 and 10-12). */
export const DeliveryMode = {
  FIXED: 0,
  LOWEST_PRIORITY: 1,
  SMI: 2,
  NMI: 4,
  INIT: 5,
  STARTUP: 6,
  EXTINT: 7,
} as const;

export const LVT_MASKED = 1 << 16;

/** Writable bits of each LVT entry, from the timer on (Intel SDM 3A, figure 10-8). */
export const LVT_WRITABLE: readonly number[] = [0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff];

/** Timer modes, bits 18:17 of the timer's LVT entry. */
export const TimerMode = { ONE_SHOT: 0, PERIODIC: 1, TSC_DEADLINE: 2 } as const;

/** Fields of the interrupt command register. */
export const Icr = {
  LOGICAL: 1 << 11,
  ASSERT: 1 << 14,
  LEVEL: 1 << 15,
  /** Everything but the reserved bits and the read-only delivery status. */
  WRITABLE: 0x000ccfff,
  SHORTHAND_SHIFT: 18,
} as const;

export const Shorthand = { NONE: 0, SELF: 1, ALL: 2, OTHERS: 3 } as const;
