import type { CpuidResult } from '../processor/contract.ts';
import { HV_INTERFACE, HV_MAX_VPS, HV_VENDOR, HvCpuidLeaf, type HvFeatures } from './features.ts';

/** Leaf 1 ECX: a hypervisor is present. */
const HYPERVISOR_PRESENT = 0x80000000;
/** The hypervisor's range ends here; leaves in it that say nothing read as zero. */
const LAST_LEAF = 0x400000ff;
/** What the hypervisor says it is: the interface of Windows Server 2022. */
const BUILD = 20348;
const VERSION = (10 << 16) | 0;
/** Leaf 0x40000004 EBX: never report long spin waits. */
const SPIN_FOREVER = 0xffffffff;

/**
 * Lays the hypervisor's leaves over the processor's answer (TLFS 2, "Feature and interface discovery").
 *
 * @param hypercallPrivileges - upper half of the partition's privilege mask
 */
export function hypervisorCpuid(
  leaf: number,
  features: HvFeatures,
  hypercallPrivileges: number,
  result: CpuidResult,
): void {
  if (leaf === 1) {
    result.ecx = (result.ecx | HYPERVISOR_PRESENT) >>> 0;
    return;
  }
  if (leaf < HvCpuidLeaf.VENDOR || leaf > LAST_LEAF) return;
  result.eax = 0;
  result.ebx = 0;
  result.ecx = 0;
  result.edx = 0;
  switch (leaf) {
    case HvCpuidLeaf.VENDOR:
      result.eax = HvCpuidLeaf.NESTED_FEATURES;
      [result.ebx, result.ecx, result.edx] = HV_VENDOR;
      break;
    case HvCpuidLeaf.INTERFACE:
      result.eax = HV_INTERFACE;
      break;
    case HvCpuidLeaf.VERSION:
      result.eax = BUILD;
      result.ebx = VERSION;
      break;
    case HvCpuidLeaf.FEATURES:
      result.eax = features.privileges >>> 0;
      result.ebx = hypercallPrivileges >>> 0;
      result.edx = features.features >>> 0;
      break;
    case HvCpuidLeaf.RECOMMENDATIONS:
      result.eax = features.hints >>> 0;
      result.ebx = SPIN_FOREVER;
      break;
    case HvCpuidLeaf.LIMITS:
      result.eax = HV_MAX_VPS;
      result.ebx = HV_MAX_VPS;
      break;
  }
}
