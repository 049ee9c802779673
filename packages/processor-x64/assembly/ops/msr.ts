// Model-specific registers that the processor keeps itself (Intel SDM 4); the hypervisor answers for the others.
import { msrRead, msrWrite, tscTicks } from '../host';
import { raiseGp } from '../raise';
import { segment } from '../segment-access';
import { updateMode } from '../segments';
import {
  CPL,
  CR0,
  CR0_PG,
  CR4,
  CR4_TSD,
  EFER,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  EXCHANGE,
  FS,
  GS,
  MSR_CSTAR,
  MSR_FMASK,
  MSR_KERNEL_GS_BASE,
  MSR_LSTAR,
  MSR_MISC_ENABLE,
  MSR_MTRR_DEF_TYPE,
  MSR_MTRR_FIXED,
  MSR_MTRR_VARIABLE,
  MSR_PAT,
  MSR_SPEC_CTRL,
  MSR_STAR,
  MSR_SYSENTER_CS,
  MSR_SYSENTER_EIP,
  MSR_SYSENTER_ESP,
  MSR_TSC_ADJUST,
  MSR_TSC_AUX,
  RAX,
  RCX,
  RDX,
  SEG_BASE,
  TSC_OFFSET,
} from '../state';
import { flushAll } from '../tlb';
import { requirePrivilege } from './system';

const IA32_TSC: u32 = 0x10;
const IA32_PLATFORM_ID: u32 = 0x17;
const IA32_TSC_ADJUST: u32 = 0x3b;
const IA32_SPEC_CTRL: u32 = 0x48;
const IA32_PRED_CMD: u32 = 0x49;
const IA32_BIOS_SIGN_ID: u32 = 0x8b;
const IA32_MTRRCAP: u32 = 0xfe;
const IA32_ARCH_CAPABILITIES: u32 = 0x10a;
const IA32_SYSENTER_CS: u32 = 0x174;
const IA32_SYSENTER_ESP: u32 = 0x175;
const IA32_SYSENTER_EIP: u32 = 0x176;
const IA32_MCG_CAP: u32 = 0x179;
const IA32_MISC_ENABLE: u32 = 0x1a0;
const IA32_MTRR_PHYSBASE0: u32 = 0x200;
const IA32_MTRR_PHYS_END: u32 = 0x210;
const IA32_MTRR_FIX64K_00000: u32 = 0x250;
const IA32_MTRR_FIX16K_80000: u32 = 0x258;
const IA32_MTRR_FIX4K_C0000: u32 = 0x268;
const IA32_PAT: u32 = 0x277;
const IA32_MTRR_DEF_TYPE: u32 = 0x2ff;
const IA32_EFER: u32 = 0xc0000080;
const IA32_STAR: u32 = 0xc0000081;
const IA32_LSTAR: u32 = 0xc0000082;
const IA32_CSTAR: u32 = 0xc0000083;
const IA32_FMASK: u32 = 0xc0000084;
const IA32_FS_BASE: u32 = 0xc0000100;
const IA32_GS_BASE: u32 = 0xc0000101;
const IA32_KERNEL_GS_BASE: u32 = 0xc0000102;
const IA32_TSC_AUX: u32 = 0xc0000103;

/**
 * The revision that Hyper-V shows its guests, in the upper half: newer than any, so that none leaves a feature alone for
 * want of an update (Linux: TSC-deadline timers).
 */
const MICROCODE_REVISION: u64 = 0xffff_ffff_0000_0000;

/** Eight variable ranges, fixed ranges, write-combining. */
const MTRR_CAPABILITIES: u64 = 0x508;

/** IBRS, STIBP, BHI_DIS_S. */
const SPEC_CTRL_BITS: u64 = 0x403;
const PRED_CMD_IBPB: u64 = 1;
/**
 * Nothing is executed that the program did not come to, so that nothing of that kind leaks: RDCL_NO, IBRS_ALL,
 * SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO,
 * GDS_NO, RFDS_NO, ITS_NO. A guest that knows leaves out what it would defend itself with (Linux: return thunks,
 * retpolines, page table isolation).
 */
const ARCH_CAPABILITIES: u64 = 0x4000_0000_0d10_e17b;

export function timeStamp(): u64 {
  return <u64>(<i64>tscTicks() + load<i64>(TSC_OFFSET));
}

/** Where an MSR that is plain storage is kept, 0 for the others. */
function place(msr: u32): u32 {
  if (msr >= IA32_MTRR_PHYSBASE0 && msr < IA32_MTRR_PHYS_END) return MSR_MTRR_VARIABLE + ((msr & 15) << 3);
  if (msr >= IA32_MTRR_FIX4K_C0000 && msr < IA32_MTRR_FIX4K_C0000 + 8) {
    return MSR_MTRR_FIXED + ((3 + msr - IA32_MTRR_FIX4K_C0000) << 3);
  }
  switch (msr) {
    case IA32_MTRR_FIX64K_00000:
      return MSR_MTRR_FIXED;
    case IA32_MTRR_FIX16K_80000:
      return MSR_MTRR_FIXED + 8;
    case IA32_MTRR_FIX16K_80000 + 1:
      return MSR_MTRR_FIXED + 16;
    case IA32_MTRR_DEF_TYPE:
      return MSR_MTRR_DEF_TYPE;
    case IA32_PAT:
      return MSR_PAT;
    case IA32_SPEC_CTRL:
      return MSR_SPEC_CTRL;
    case IA32_MISC_ENABLE:
      return MSR_MISC_ENABLE;
    case IA32_SYSENTER_CS:
      return MSR_SYSENTER_CS;
    case IA32_SYSENTER_ESP:
      return MSR_SYSENTER_ESP;
    case IA32_SYSENTER_EIP:
      return MSR_SYSENTER_EIP;
    case IA32_STAR:
      return MSR_STAR;
    case IA32_LSTAR:
      return MSR_LSTAR;
    case IA32_CSTAR:
      return MSR_CSTAR;
    case IA32_FMASK:
      return MSR_FMASK;
    case IA32_FS_BASE:
      return segment(FS) + SEG_BASE;
    case IA32_GS_BASE:
      return segment(GS) + SEG_BASE;
    case IA32_KERNEL_GS_BASE:
      return MSR_KERNEL_GS_BASE;
    case IA32_TSC_AUX:
      return MSR_TSC_AUX;
    case IA32_TSC_ADJUST:
      return MSR_TSC_ADJUST;
    default:
      return 0;
  }
}

export function readMsr(): void {
  requirePrivilege();
  const msr = load<u32>(RCX);
  let value: u64 = 0;
  const at = place(msr);
  if (at != 0) {
    value = load<u64>(at);
  } else {
    switch (msr) {
      case IA32_TSC:
        value = timeStamp();
        break;
      case IA32_EFER:
        value = load<u64>(EFER);
        break;
      case IA32_MTRRCAP:
        value = MTRR_CAPABILITIES;
        break;
      case IA32_ARCH_CAPABILITIES:
        value = ARCH_CAPABILITIES;
        break;
      case IA32_PRED_CMD:
        raiseGp(0);
        break;
      case IA32_BIOS_SIGN_ID:
        value = MICROCODE_REVISION;
        break;
      case IA32_PLATFORM_ID:
      case IA32_MCG_CAP:
        break;
      default:
        if (msrRead(msr) == 0) raiseGp(0);
        value = load<u64>(EXCHANGE);
    }
  }
  store<u64>(RAX, value & 0xffffffff);
  store<u64>(RDX, value >> 32);
}

function isCanonical(va: u64): bool {
  return <u64>((<i64>va << 16) >> 16) == va;
}

/** Memory types: UC, WC, WT, WP, WB, and for the PAT UC-. */
function isMemoryType(type: u64, pat: bool): bool {
  return type == 0 || type == 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

function allTypes(value: u64, pat: bool): bool {
  for (let i: u64 = 0; i < 64; i += 8) if (!isMemoryType((value >> i) & 0xff, pat)) return false;
  return true;
}

export function writeMsr(): void {
  requirePrivilege();
  const msr = load<u32>(RCX);
  const value = <u64>load<u32>(RAX) | (<u64>load<u32>(RDX) << 32);
  const at = place(msr);
  if (at != 0) {
    switch (msr) {
      case IA32_LSTAR:
      case IA32_CSTAR:
      case IA32_FS_BASE:
      case IA32_GS_BASE:
      case IA32_KERNEL_GS_BASE:
      case IA32_SYSENTER_ESP:
      case IA32_SYSENTER_EIP:
        if (!isCanonical(value)) raiseGp(0);
        break;
      case IA32_FMASK:
      case IA32_TSC_AUX:
        if (value >> 32 != 0) raiseGp(0);
        break;
      case IA32_PAT:
        if (!allTypes(value, true)) raiseGp(0);
        break;
      case IA32_SPEC_CTRL:
        if ((value & ~SPEC_CTRL_BITS) != 0) raiseGp(0);
        break;
      case IA32_MTRR_DEF_TYPE:
        if ((value & ~0xcff) != 0 || !isMemoryType(value & 0xff, false)) raiseGp(0);
        break;
      case IA32_TSC_ADJUST:
        store<i64>(TSC_OFFSET, load<i64>(TSC_OFFSET) + <i64>(value - load<u64>(MSR_TSC_ADJUST)));
        break;
      default:
        if (msr >= IA32_MTRR_FIX64K_00000 && msr < IA32_PAT && !allTypes(value, false)) raiseGp(0);
    }
    store<u64>(at, value);
    return;
  }
  switch (msr) {
    case IA32_TSC: {
      const change = <i64>(value - timeStamp());
      store<i64>(TSC_OFFSET, load<i64>(TSC_OFFSET) + change);
      store<i64>(MSR_TSC_ADJUST, load<i64>(MSR_TSC_ADJUST) + change);
      return;
    }
    case IA32_EFER: {
      const allowed: u64 = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
      if ((value & ~allowed) != 0) raiseGp(0);
      const before = load<u64>(EFER);
      if (((value ^ before) & EFER_LME) != 0 && (load<u32>(CR0) & CR0_PG) != 0) raiseGp(0);
      store<u64>(EFER, (value & ~(<u64>EFER_LMA)) | (before & EFER_LMA));
      flushAll();
      updateMode();
      return;
    }
    case IA32_BIOS_SIGN_ID:
      return;
    case IA32_PRED_CMD:
      if ((value & ~PRED_CMD_IBPB) != 0) raiseGp(0);
      return;
    case IA32_PLATFORM_ID:
    case IA32_ARCH_CAPABILITIES:
    case IA32_MTRRCAP:
    case IA32_MCG_CAP:
      raiseGp(0);
      return;
    default:
      store<u64>(EXCHANGE, value);
      if (msrWrite(msr) == 0) raiseGp(0);
  }
}

export function readTimeStamp(): void {
  if (load<u32>(CPL) != 0 && (load<u32>(CR4) & CR4_TSD) != 0) raiseGp(0);
  const value = timeStamp();
  store<u64>(RAX, value & 0xffffffff);
  store<u64>(RDX, value >> 32);
}
