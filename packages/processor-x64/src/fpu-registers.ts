import { HvRegister, type RegisterValue } from '@kensho/core';

// Places in a VP's state (assembly/state.ts).
const X87 = 0x480;
const X87_STRIDE = 16;
const X87_CONTROL = 0x500;
const X87_STATUS = 0x502;
const X87_TAG = 0x504;
const X87_OPCODE = 0x506;
const X87_IP = 0x508;
const X87_DP = 0x510;
const MXCSR = 0x51c;
const XMM = 0x580;
const XMM_STRIDE = 32;

/** The bits of MXCSR that exist. */
const MXCSR_MASK = 0xffff;
const OPCODE_MASK = 0x7ff;

/** Whether a register is one of the floating-point units (TLFS, HV_REGISTER_NAME, 0x0003xxxx). */
export function isFpuRegister(register: number): boolean {
  return register >>> 16 === 3;
}

/** Reads one from the VP's state, which begins at `state`; false where there is no such register. */
export function getFpuRegister(
  view: DataView,
  state: number,
  register: number,
  value: RegisterValue,
): boolean {
  const at = placeOf(view, state, register);
  if (at !== undefined) {
    const wide = register < HvRegister.FP_MMX0;
    value.lo = view.getUint32(at, true);
    value.hi = view.getUint32(at + 4, true);
    value.upperLo = wide ? view.getUint32(at + 8, true) : view.getUint16(at + 8, true);
    value.upperHi = wide ? view.getUint32(at + 12, true) : 0;
    return true;
  }
  switch (register) {
    case HvRegister.FP_CONTROL_STATUS:
      value.lo = view.getUint32(state + X87_CONTROL, true);
      value.hi =
        usedOf(view.getUint16(state + X87_TAG, true)) | (view.getUint16(state + X87_OPCODE, true) << 16);
      value.hi >>>= 0;
      value.upperLo = view.getUint32(state + X87_IP, true);
      value.upperHi = view.getUint32(state + X87_IP + 4, true);
      return true;
    case HvRegister.XMM_CONTROL_STATUS:
      value.lo = view.getUint32(state + X87_DP, true);
      value.hi = view.getUint32(state + X87_DP + 4, true);
      value.upperLo = view.getUint32(state + MXCSR, true);
      value.upperHi = MXCSR_MASK;
      return true;
    default:
      return false;
  }
}

/** Writes one; who changed x87's control or status word brings its summary up to date afterwards. */
export function setFpuRegister(
  view: DataView,
  state: number,
  register: number,
  value: RegisterValue,
): boolean {
  const at = placeOf(view, state, register);
  if (at !== undefined) {
    view.setUint32(at, value.lo, true);
    view.setUint32(at + 4, value.hi, true);
    if (register < HvRegister.FP_MMX0) {
      view.setUint32(at + 8, value.upperLo, true);
      view.setUint32(at + 12, value.upperHi, true);
    } else {
      view.setUint16(at + 8, value.upperLo, true);
    }
    return true;
  }
  switch (register) {
    case HvRegister.FP_CONTROL_STATUS:
      view.setUint32(state + X87_CONTROL, value.lo, true);
      view.setUint16(state + X87_TAG, tagsOf(value.hi & 0xff), true);
      view.setUint16(state + X87_OPCODE, (value.hi >>> 16) & OPCODE_MASK, true);
      view.setUint32(state + X87_IP, value.upperLo, true);
      view.setUint32(state + X87_IP + 4, value.upperHi, true);
      return true;
    case HvRegister.XMM_CONTROL_STATUS:
      view.setUint32(state + X87_DP, value.lo, true);
      view.setUint32(state + X87_DP + 4, value.hi, true);
      view.setUint32(state + MXCSR, value.upperLo & MXCSR_MASK, true);
      return true;
    default:
      return false;
  }
}

/** Where an XMM register lies, or ST(i), whose place the top of stack decides. */
function placeOf(view: DataView, state: number, register: number): number | undefined {
  if (register < HvRegister.FP_MMX0) return state + XMM + (register - HvRegister.XMM0) * XMM_STRIDE;
  if (register >= HvRegister.FP_CONTROL_STATUS) return undefined;
  const top = (view.getUint16(state + X87_STATUS, true) >> 11) & 7;
  return state + X87 + ((top + register - HvRegister.FP_MMX0) & 7) * X87_STRIDE;
}

/** FXSAVE's tags, a bit for each register in use, from the state's, which has 3 for each empty one. */
function usedOf(tags: number): number {
  let used = 0;
  for (let i = 0; i < 8; i++) if (((tags >> (2 * i)) & 3) !== 3) used |= 1 << i;
  return used;
}

function tagsOf(used: number): number {
  let tags = 0;
  for (let i = 0; i < 8; i++) if ((used & (1 << i)) === 0) tags |= 3 << (2 * i);
  return tags;
}
