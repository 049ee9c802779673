import type { Qword } from '../processor/contract.ts';
import type { LocalApic } from './local-apic.ts';
import {
  ApicRegister,
  IA32_APIC_BASE,
  IA32_TSC_DEADLINE,
  Icr,
  LVT_WRITABLE,
  X2APIC_MSR_BASE,
  X2APIC_MSR_END,
} from './registers.ts';

// The two ways to a local APIC's registers: the xAPIC page, and the MSRs (which hold the x2APIC's registers too).

/** Reads from the xAPIC page. Registers are the first four bytes of each sixteen; all ones outside xAPIC mode. */
export function readApicPage(apic: LocalApic, offset: number, sizeBytes: number): number {
  const mask = 2 ** (8 * sizeBytes) - 1;
  if (!apic.enabled || apic.x2apic) return mask;
  const within = offset & 0xf;
  if (within + sizeBytes > 4) return 0;
  const register = offset & ~0xf;
  const value = apic.readRegister(register);
  if (value < 0) {
    if (register !== ApicRegister.EOI) apic.illegalRegister();
    return 0;
  }
  return ((value >>> (8 * within)) & mask) >>> 0;
}

/** Writes to the xAPIC page. Only aligned writes of a whole register have an effect (Intel SDM 3A, 10.4.1). */
export function writeApicPage(apic: LocalApic, offset: number, sizeBytes: number, value: number): void {
  if (!apic.enabled || apic.x2apic || sizeBytes !== 4 || (offset & 0xf) !== 0) return;
  if (!apic.writeRegister(offset, value) && apic.readRegister(offset) < 0) apic.illegalRegister();
}

export function isApicMsr(msr: number): boolean {
  return (
    msr === IA32_APIC_BASE || msr === IA32_TSC_DEADLINE || (msr >= X2APIC_MSR_BASE && msr < X2APIC_MSR_END)
  );
}

/** RDMSR of a register of the local APIC; false: #GP. */
export function readApicMsr(apic: LocalApic, msr: number, value: Qword): boolean {
  value.hi = 0;
  if (msr === IA32_APIC_BASE) {
    value.lo = apic.base;
    return true;
  }
  if (msr === IA32_TSC_DEADLINE) {
    value.lo = apic.timer.deadlineLo;
    value.hi = apic.timer.deadlineHi;
    return true;
  }
  const offset = (msr - X2APIC_MSR_BASE) << 4;
  if (!apic.x2apic || XAPIC_ONLY.has(offset)) return false;
  const register = apic.readRegister(offset);
  if (register < 0) return false;
  value.lo = register;
  if (offset === ApicRegister.ICR_LOW) value.hi = apic.readRegister(ApicRegister.ICR_HIGH);
  return true;
}

/** WRMSR of a register of the local APIC; false: #GP, also for reserved bits (Intel SDM 3A, 10.12.1.3). */
export function writeApicMsr(apic: LocalApic, msr: number, value: Qword): boolean {
  const { lo, hi } = value;
  if (msr === IA32_APIC_BASE) return apic.writeBase(lo, hi);
  if (msr === IA32_TSC_DEADLINE) {
    apic.timer.setDeadline(lo, hi);
    return true;
  }
  const offset = (msr - X2APIC_MSR_BASE) << 4;
  if (!apic.x2apic || XAPIC_ONLY.has(offset)) return false;
  if (offset === ApicRegister.ICR_LOW) {
    if ((lo & ~Icr.WRITABLE) !== 0) return false;
    apic.writeIcr(lo, hi);
    return true;
  }
  if (offset === ApicRegister.LDR || hi !== 0 || (lo & reservedBits(offset)) !== 0) return false;
  if (offset === ApicRegister.SELF_IPI) {
    apic.writeIcr(SELF_IPI_COMMAND | lo, 0);
    return true;
  }
  return apic.writeRegister(offset, lo);
}

/** Registers of the xAPIC page that have no MSR. */
const XAPIC_ONLY: ReadonlySet<number> = new Set([ApicRegister.APR, ApicRegister.DFR, ApicRegister.ICR_HIGH]);

/** Fixed, edge-triggered, to oneself. */
const SELF_IPI_COMMAND = 1 << Icr.SHORTHAND_SHIFT;

/** Bits that must be zero in a write to an x2APIC register. LVT entries also have two that are read-only. */
function reservedBits(offset: number): number {
  switch (offset) {
    case ApicRegister.TPR:
    case ApicRegister.SELF_IPI:
      return ~0xff;
    case ApicRegister.EOI:
    case ApicRegister.ESR:
      return ~0;
    case ApicRegister.SVR:
      return ~0x3ff;
    case ApicRegister.DIVIDE_CONFIGURATION:
      return ~0xb;
  }
  const lvt = LVT_WRITABLE[(offset - ApicRegister.LVT_TIMER) >> 4];
  return lvt === undefined ? 0 : ~(lvt | 0x5000);
}
