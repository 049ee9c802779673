// The module of the FPU part alone, which its tests run: one instruction at a time, from its bytes.
import {
  CLASS_MMX,
  CLASS_STACK,
  CLASS_XMM,
  FORM_HANDLER,
  FORM_IMM8,
  FORM_REG_SHIFT,
  FORM_RM_SHIFT,
} from './form';
import { sseForm, x87Form } from './decode';
import { executeFpu } from './execute';
import { FLAG_MEMORY } from '../record';
import { GPR, X87, XMM, XMM_STRIDE } from '../state';

export { fxsave, fxrstor } from './x87-save';
export { readFlags, writeFlags } from '../flags';

/** Where the record is that `decode` fills. */
export const RECORD: u32 = 0x8000;

function register(registerClass: u32, n: u32): u32 {
  if (registerClass == CLASS_XMM) return XMM + n * XMM_STRIDE;
  if (registerClass == CLASS_MMX) return X87 + ((n & 7) << 4);
  if (registerClass == CLASS_STACK) return n & 7;
  return GPR + n * 8;
}

/** Decodes the instruction at an address, whose memory operand can only be [register]. 0: there is none. */
export function decode(at: u32): u32 {
  let has66 = false;
  let repeat: u32 = 0;
  let rex: u32 = 0;
  for (; ; at++) {
    const byte = <u32>load<u8>(at);
    if (byte == 0x66) has66 = true;
    else if (byte == 0xf2 || byte == 0xf3) repeat = byte;
    else break;
  }
  if ((load<u8>(at) & 0xf0) == 0x40) rex = load<u8>(at++);
  let opcode = <u32>load<u8>(at++);
  let form: u32;
  let modrm: u32;
  if (opcode == 0x0f) {
    let map: u32 = 1;
    opcode = load<u8>(at++);
    if (opcode == 0x38 || opcode == 0x3a) {
      map = opcode == 0x38 ? 2 : 3;
      opcode = load<u8>(at++);
    }
    modrm = load<u8>(at);
    // EMMS has no ModRM.
    if (!(map == 1 && opcode == 0x77)) at++;
    form = sseForm(map, repeat == 0xf3 ? 2 : repeat == 0xf2 ? 3 : has66 ? 1 : 0, opcode, modrm);
  } else {
    modrm = load<u8>(at++);
    form = x87Form(opcode, modrm);
  }
  if (form == 0) return 0;
  memory.fill(RECORD, 0, 32);
  store<u16>(RECORD, form & FORM_HANDLER);
  store<u8>(RECORD, rex & 8 ? 3 : has66 ? 1 : 2, 4);
  store<u32>(RECORD, register((form >> FORM_REG_SHIFT) & 3, ((modrm >> 3) & 7) | ((rex & 4) << 1)), 8);
  const isRegister = modrm >= 0xc0;
  if (!isRegister) store<u8>(RECORD, FLAG_MEMORY, 5);
  const rm = (modrm & 7) | ((rex & 1) << 3);
  store<u32>(RECORD, isRegister ? register((form >> FORM_RM_SHIFT) & 3, rm) : GPR + rm * 8, 12);
  store<i64>(RECORD, form & FORM_IMM8 ? <i64>load<u8>(at) : opcode >= 0xd8 && opcode < 0xe0 ? modrm : 0, 24);
  return form;
}

/** Runs the instruction that was decoded. */
export function run(): void {
  executeFpu(load<u16>(RECORD), RECORD);
}

/** The same instruction, many times. */
export function repeat(times: u32): void {
  for (; times != 0; times--) executeFpu(load<u16>(RECORD), RECORD);
}
