import { APIC_FREQUENCY_HZ } from '../apic/apic-timer.ts';
import type { LocalApic } from '../apic/local-apic.ts';
import { ApicRegister } from '../apic/registers.ts';
import type { GuestFaults } from '../logger.ts';
import type { Qword } from '../processor/contract.ts';
import type { CrashRegisters } from './crash.ts';
import { HvFeature, type HvFeatures, HvPrivilege } from './features.ts';
import { HvMsr } from './hv-msr.ts';
import type { HypercallPage } from './hypercall-page.ts';
import type { OverlayRegister } from './overlay-register.ts';
import { REFERENCE_UNIT_NS, type ReferenceTime, setQword } from './reference-time.ts';
import type { Synic } from './synic.ts';
import type { SyntheticTimers } from './synthetic-timers.ts';

/** What the synthetic MSRs of one VP stand for. The first group is the partition's. */
export interface SyntheticMsrTargets {
  readonly features: HvFeatures;
  readonly hypercall: HypercallPage;
  readonly time: ReferenceTime;
  readonly crash: CrashRegisters;
  readonly faults: GuestFaults;
  onReset(): void;

  readonly vpIndex: number;
  readonly apic: LocalApic;
  readonly synic: Synic;
  readonly timers: SyntheticTimers;
  readonly assistPage: OverlayRegister;
  runTimeNs(): number;
}

/**
 * The synthetic MSRs of one VP (TLFS, appendix A). An MSR that is not there, that the partition has no privilege for,
 * or that cannot be accessed so, raises #GP.
 */
export class SyntheticMsrs {
  readonly #targets: SyntheticMsrTargets;

  constructor(targets: SyntheticMsrTargets) {
    this.#targets = targets;
  }

  /** False: #GP. */
  read(msr: number, value: Qword): boolean {
    if (this.#permitted(msr) && this.#read(msr, value)) return true;
    this.#targets.faults.report('msr.read', 'RDMSR of a synthetic MSR refused', { msr: msr.toString(16) });
    return false;
  }

  /** False: #GP. */
  write(msr: number, value: Qword): boolean {
    if (this.#permitted(msr) && this.#write(msr, value)) return true;
    this.#targets.faults.report('msr.write', 'WRMSR of a synthetic MSR refused', { msr: msr.toString(16) });
    return false;
  }

  #permitted(msr: number): boolean {
    const { privileges, features } = this.#targets.features;
    if (msr >= HvMsr.CRASH_P0 && msr <= HvMsr.CRASH_CTL) return (features & HvFeature.CRASH_MSRS) !== 0;
    // Linux writes this one on every CPU, whatever it was offered.
    if (msr === HvMsr.VP_ASSIST_PAGE) return true;
    return (privileges & requiredPrivilege(msr)) !== 0;
  }

  #read(msr: number, value: Qword): boolean {
    const { hypercall, time, apic, crash } = this.#targets;
    value.lo = 0;
    value.hi = 0;
    switch (msr) {
      case HvMsr.GUEST_OS_ID:
        Object.assign(value, hypercall.guestOsId);
        return true;
      case HvMsr.HYPERCALL:
        Object.assign(value, hypercall.register.value);
        return true;
      case HvMsr.VP_INDEX:
        value.lo = this.#targets.vpIndex;
        return true;
      case HvMsr.RESET:
        return true;
      case HvMsr.VP_RUNTIME:
        setQword(value, Math.floor(this.#targets.runTimeNs() / REFERENCE_UNIT_NS));
        return true;
      case HvMsr.TIME_REF_COUNT:
        setQword(value, time.now());
        return true;
      case HvMsr.REFERENCE_TSC:
        Object.assign(value, time.tscPage.value);
        return true;
      case HvMsr.TSC_FREQUENCY:
        setQword(value, time.tscFrequencyHz);
        return true;
      case HvMsr.APIC_FREQUENCY:
        setQword(value, APIC_FREQUENCY_HZ);
        return true;
      case HvMsr.ICR:
        value.lo = apic.readRegister(ApicRegister.ICR_LOW);
        value.hi = apic.readRegister(ApicRegister.ICR_HIGH);
        return true;
      case HvMsr.TPR:
        value.lo = apic.taskPriority;
        return true;
      case HvMsr.VP_ASSIST_PAGE:
        Object.assign(value, this.#targets.assistPage.value);
        return true;
      case HvMsr.CRASH_CTL:
        crash.readControl(value);
        return true;
    }
    if (isSynicMsr(msr)) return this.#targets.synic.msrRead(msr, value);
    if (isTimerMsr(msr)) {
      this.#targets.timers.msrRead(msr, value);
      return true;
    }
    const parameter = crash.parameters[msr - HvMsr.CRASH_P0];
    if (parameter === undefined) return false;
    Object.assign(value, parameter);
    return true;
  }

  #write(msr: number, value: Qword): boolean {
    const { hypercall, time, apic, crash } = this.#targets;
    switch (msr) {
      case HvMsr.GUEST_OS_ID:
        hypercall.writeGuestOsId(value);
        return true;
      case HvMsr.HYPERCALL:
        return hypercall.write(value);
      case HvMsr.RESET:
        if ((value.lo & 1) !== 0) this.#targets.onReset();
        return true;
      case HvMsr.REFERENCE_TSC:
        time.tscPage.write(value);
        return true;
      case HvMsr.EOI:
        apic.endOfInterrupt();
        return true;
      case HvMsr.ICR:
        apic.writeIcr(value.lo, value.hi);
        return true;
      case HvMsr.TPR:
        if (value.hi !== 0 || value.lo > 0xff) return false;
        apic.taskPriority = value.lo;
        return true;
      case HvMsr.VP_ASSIST_PAGE:
        this.#targets.assistPage.write(value);
        return true;
      case HvMsr.CRASH_CTL:
        crash.writeControl(value);
        return true;
    }
    if (isSynicMsr(msr)) return this.#targets.synic.msrWrite(msr, value);
    if (isTimerMsr(msr)) return this.#targets.timers.msrWrite(msr, value);
    const parameter = crash.parameters[msr - HvMsr.CRASH_P0];
    if (parameter === undefined) return false;
    Object.assign(parameter, value);
    return true;
  }
}

function isSynicMsr(msr: number): boolean {
  return msr >= HvMsr.SCONTROL && msr <= HvMsr.SINT15;
}

function isTimerMsr(msr: number): boolean {
  return msr >= HvMsr.STIMER0_CONFIG && msr <= HvMsr.STIMER3_COUNT;
}

/** The privilege that gives access to an MSR; 0 for one that does not exist. */
function requiredPrivilege(msr: number): number {
  if (isSynicMsr(msr)) return HvPrivilege.SYNIC;
  if (isTimerMsr(msr)) return HvPrivilege.SYNTHETIC_TIMERS;
  switch (msr) {
    case HvMsr.GUEST_OS_ID:
    case HvMsr.HYPERCALL:
      return HvPrivilege.HYPERCALL;
    case HvMsr.VP_INDEX:
      return HvPrivilege.VP_INDEX;
    case HvMsr.RESET:
      return HvPrivilege.RESET;
    case HvMsr.VP_RUNTIME:
      return HvPrivilege.VP_RUNTIME;
    case HvMsr.TIME_REF_COUNT:
      return HvPrivilege.REFERENCE_COUNTER;
    case HvMsr.REFERENCE_TSC:
      return HvPrivilege.REFERENCE_TSC;
    case HvMsr.TSC_FREQUENCY:
    case HvMsr.APIC_FREQUENCY:
      return HvPrivilege.FREQUENCY;
    case HvMsr.EOI:
    case HvMsr.ICR:
    case HvMsr.TPR:
      return HvPrivilege.APIC;
    default:
      return 0;
  }
}
