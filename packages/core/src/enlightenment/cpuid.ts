import type { CpuidResult } from '../processor/contract.ts';
import { HV_MAX_VPS, type HvFeatures } from './features.ts';

/** Leaf 1 ECX: a hypervisor is present. */
const HYPERVISOR_PRESENT = 0x80000000;
const FIRST_LEAF = 0x40000000;
const LAST_LEAF = 0x400000ff;
/** The last leaf that is announced; those between here and LAST_LEAF read as zero. */
const MAX_LEAF = 0x4000000a;
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
  if (leaf < FIRST_LEAF || leaf > LAST_LEAF) return;
  result.eax = 0;
  result.ebx = 0;
  result.ecx = 0;
  result.edx = 0;
  switch (leaf) {
    case 0x40000000:
      result.eax = MAX_LEAF;
      result.ebx = 0x7263694d; // "Micr"
      result.ecx = 0x666f736f; // "osof"
      result.edx = 0x76482074; // "t Hv"
      break;
    case 0x40000001:
      result.eax = 0x31237648; // "Hv#1"
      break;
    case 0x40000002:
      result.eax = BUILD;
      result.ebx = VERSION;
      break;
    case 0x40000003:
      result.eax = features.privileges >>> 0;
      result.ebx = hypercallPrivileges >>> 0;
      result.edx = features.features >>> 0;
      break;
    case 0x40000004:
      result.eax = features.hints >>> 0;
      result.ebx = SPIN_FOREVER;
      break;
    case 0x40000005:
      result.eax = HV_MAX_VPS;
      result.ebx = HV_MAX_VPS;
      break;
  }
}
