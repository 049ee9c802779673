// Which floating-point and SIMD instructions exist (Intel SDM 2, appendix A), and what they need.
import {
  AESKEYGENASSIST,
  CLASS_GPR,
  CLASS_MMX,
  CLASS_STACK,
  CLASS_XMM,
  FORM_IMM8,
  FORM_MMX,
  FORM_REG_SHIFT,
  FORM_RM_SHIFT,
  FORM_SSE,
  FORM_X87,
  FPU_FIRST,
  FXRSTOR,
  FXSAVE,
  LDMXCSR,
  MAP1,
  MAP2,
  MAP2_HIGH,
  MAP3,
  PALIGNR_MMX,
  SHA1RNDS4,
  SHIFT_MMX,
  SHIFT_XMM,
  STMXCSR,
  XRSTOR,
  XSAVE,
  XSAVEC,
} from './form';

// Prefixes.
const NONE: u32 = 0;
const P66: u32 = 1;
const PF3: u32 = 2;
const PF2: u32 = 3;

// Classes of ModRM.reg and ModRM.rm, in that order, with the units.
const XMM_XMM: u32 = (CLASS_XMM << FORM_REG_SHIFT) | (CLASS_XMM << FORM_RM_SHIFT) | FORM_SSE;
const MMX_MMX: u32 = (CLASS_MMX << FORM_REG_SHIFT) | (CLASS_MMX << FORM_RM_SHIFT) | FORM_MMX;
const XMM_GPR: u32 = (CLASS_XMM << FORM_REG_SHIFT) | (CLASS_GPR << FORM_RM_SHIFT) | FORM_SSE;
const GPR_XMM: u32 = (CLASS_GPR << FORM_REG_SHIFT) | (CLASS_XMM << FORM_RM_SHIFT) | FORM_SSE;
const MMX_GPR: u32 = (CLASS_MMX << FORM_REG_SHIFT) | (CLASS_GPR << FORM_RM_SHIFT) | FORM_MMX;
const GPR_MMX: u32 = (CLASS_GPR << FORM_REG_SHIFT) | (CLASS_MMX << FORM_RM_SHIFT) | FORM_MMX;
const XMM_MMX: u32 = (CLASS_XMM << FORM_REG_SHIFT) | (CLASS_MMX << FORM_RM_SHIFT) | FORM_SSE | FORM_MMX;
const MMX_XMM: u32 = (CLASS_MMX << FORM_REG_SHIFT) | (CLASS_XMM << FORM_RM_SHIFT) | FORM_SSE | FORM_MMX;
const GPR_GPR: u32 = (CLASS_GPR << FORM_REG_SHIFT) | (CLASS_GPR << FORM_RM_SHIFT);

/** The form of an x87 instruction, 0 where there is none. */
export function x87Form(opcode: u32, modrm: u32): u32 {
  const low = opcode & 7;
  const reg = (modrm >> 3) & 7;
  const number = (low << 3) | reg;
  const units = (CLASS_STACK << FORM_RM_SHIFT) | FORM_X87;
  if (modrm < 0xc0) {
    switch (number) {
      case 0x09:
      case 0x1c:
      case 0x1e:
      case 0x2d:
        return 0;
      default:
        return (FPU_FIRST + number) | units;
    }
  }
  switch (low) {
    case 1:
      if (reg == 2) return modrm == 0xd0 ? (FPU_FIRST + 64 + number) | units : 0;
      if (reg < 4) return (FPU_FIRST + 64 + number) | units;
      switch (modrm) {
        case 0xe2:
        case 0xe3:
        case 0xe6:
        case 0xe7:
        case 0xef:
          return 0;
        default:
          return (FPU_FIRST + 128 + (modrm & 31)) | units;
      }
    case 2:
      return reg < 4 || modrm == 0xe9 ? (FPU_FIRST + 64 + number) | units : 0;
    case 3:
      if (reg == 7 || modrm > 0xe4 && modrm < 0xe8) return 0;
      return (FPU_FIRST + 64 + number) | units;
    case 5:
      return reg < 6 ? (FPU_FIRST + 64 + number) | units : 0;
    case 6:
      return reg != 3 || modrm == 0xd9 ? (FPU_FIRST + 64 + number) | units : 0;
    case 7:
      return reg == 7 || (reg == 4 && modrm != 0xe0) ? 0 : (FPU_FIRST + 64 + number) | units;
    default:
      return (FPU_FIRST + 64 + number) | units;
  }
}

/** The form of an MMX or SSE instruction, 0 where there is none. */
export function sseForm(map: u32, prefix: u32, opcode: u32, modrm: u32): u32 {
  if (map == 1) {
    const form = map1Form(prefix, opcode, modrm);
    return form == 0 || (form & 0xfff) != 0 ? form : form | (MAP1 + ((opcode << 2) | prefix));
  }
  if (map == 2) return map2Form(prefix, opcode, modrm);
  return map3Form(prefix, opcode);
}

/** Without a number, which is then the opcode's own. */
function map1Form(prefix: u32, opcode: u32, modrm: u32): u32 {
  const isRegister = modrm >= 0xc0;
  const wide = prefix <= P66;
  switch (opcode) {
    case 0x10:
    case 0x11:
      return XMM_XMM;
    case 0x12:
      // MOVHLPS and MOVDDUP have registers, MOVLPD has not.
      return prefix == P66 && isRegister ? 0 : XMM_XMM;
    case 0x16:
      return prefix == PF2 || (prefix == P66 && isRegister) ? 0 : XMM_XMM;
    case 0x13:
    case 0x17:
    case 0x2b:
      return wide && !isRegister ? XMM_XMM : 0;
    case 0x14:
    case 0x15:
    case 0x28:
    case 0x29:
    case 0x54:
    case 0x55:
    case 0x56:
    case 0x57:
    case 0x2e:
    case 0x2f:
      return wide ? XMM_XMM : 0;
    case 0x2a:
      return wide ? XMM_MMX : XMM_GPR;
    case 0x2c:
    case 0x2d:
      return wide ? MMX_XMM : GPR_XMM;
    case 0x50:
      return wide && isRegister ? GPR_XMM : 0;
    case 0x51:
    case 0x58:
    case 0x59:
    case 0x5a:
    case 0x5c:
    case 0x5d:
    case 0x5e:
    case 0x5f:
      return XMM_XMM;
    case 0x52:
    case 0x53:
      return prefix == NONE || prefix == PF3 ? XMM_XMM : 0;
    case 0x5b:
      return prefix != PF2 ? XMM_XMM : 0;
    case 0x6c:
    case 0x6d:
      return prefix == P66 ? XMM_XMM : 0;
    case 0x6e:
      return prefix == NONE ? MMX_GPR : prefix == P66 ? XMM_GPR : 0;
    case 0x6f:
      return prefix == NONE ? MMX_MMX : prefix != PF2 ? XMM_XMM : 0;
    case 0x7f:
      return prefix == NONE ? MMX_MMX : prefix != PF2 ? XMM_XMM : 0;
    case 0x70:
      return (prefix == NONE ? MMX_MMX : XMM_XMM) | FORM_IMM8;
    case 0x71:
    case 0x72:
    case 0x73:
      return shiftForm(prefix, opcode, modrm);
    case 0x77:
      return prefix == NONE ? GPR_GPR | FORM_MMX : 0;
    case 0x7c:
    case 0x7d:
    case 0xd0:
      return prefix == P66 || prefix == PF2 ? XMM_XMM : 0;
    case 0x7e:
      return prefix == NONE ? MMX_GPR : prefix == P66 ? XMM_GPR : prefix == PF3 ? XMM_XMM : 0;
    case 0xae:
      return stateForm(prefix, (modrm >> 3) & 7, isRegister);
    case 0xc2:
      return XMM_XMM | FORM_IMM8;
    case 0xc3:
      return prefix == NONE && !isRegister ? GPR_GPR | FORM_SSE : 0;
    case 0xc4:
      return prefix == NONE ? MMX_GPR | FORM_IMM8 : prefix == P66 ? XMM_GPR | FORM_IMM8 : 0;
    case 0xc5:
      if (!isRegister) return 0;
      return prefix == NONE ? GPR_MMX | FORM_IMM8 : prefix == P66 ? GPR_XMM | FORM_IMM8 : 0;
    case 0xc6:
      return wide ? XMM_XMM | FORM_IMM8 : 0;
    case 0xc7:
      return ((modrm >> 3) & 7) == 4 && !isRegister && prefix == NONE ? XSAVEC : 0;
    case 0xd6:
      if (prefix == P66) return XMM_XMM;
      if (!isRegister) return 0;
      return prefix == PF3 ? XMM_MMX : prefix == PF2 ? MMX_XMM : 0;
    case 0xd7:
      if (!isRegister) return 0;
      return prefix == NONE ? GPR_MMX : prefix == P66 ? GPR_XMM : 0;
    case 0xe6:
      return prefix != NONE ? XMM_XMM : 0;
    case 0xe7:
      if (isRegister) return 0;
      return prefix == NONE ? MMX_MMX : prefix == P66 ? XMM_XMM : 0;
    case 0xf0:
      return prefix == PF2 && !isRegister ? XMM_XMM : 0;
    case 0xf7:
      if (!isRegister) return 0;
      return prefix == NONE ? MMX_MMX : prefix == P66 ? XMM_XMM : 0;
    default:
      break;
  }
  const integer =
    (opcode >= 0x60 && opcode <= 0x6b) || (opcode >= 0x74 && opcode <= 0x76) || (opcode >= 0xd1 && opcode <= 0xfe);
  if (!integer || !wide) return 0;
  return prefix == NONE ? MMX_MMX : XMM_XMM;
}

/** 0F 71 to 73: shifts of ModRM.rm by an immediate. */
function shiftForm(prefix: u32, opcode: u32, modrm: u32): u32 {
  if (modrm < 0xc0 || prefix > P66) return 0;
  const reg = (modrm >> 3) & 7;
  let exists: bool;
  if (opcode == 0x73) exists = reg == 2 || reg == 6 || ((reg == 3 || reg == 7) && prefix == P66);
  else exists = reg == 2 || reg == 4 || reg == 6;
  if (!exists) return 0;
  const number = ((opcode & 3) << 3) | reg;
  if (prefix == NONE) return (SHIFT_MMX + number) | MMX_MMX | FORM_IMM8;
  return (SHIFT_XMM + number) | XMM_XMM | FORM_IMM8;
}

/** 0F AE: states in memory. The fences and CLFLUSH are the integer part's. */
function stateForm(prefix: u32, reg: u32, isRegister: bool): u32 {
  if (isRegister || prefix != NONE) return 0;
  switch (reg) {
    case 0:
      return FXSAVE | FORM_X87;
    case 1:
      return FXRSTOR | FORM_X87;
    case 2:
      return LDMXCSR | FORM_SSE;
    case 3:
      return STMXCSR | FORM_SSE;
    case 4:
    case 6:
      return XSAVE;
    case 5:
      return XRSTOR;
    default:
      return 0;
  }
}

function map2Form(prefix: u32, opcode: u32, modrm: u32): u32 {
  const number = MAP2 + ((opcode << 1) | prefix);
  // SSSE3, for both register files.
  if (opcode <= 0x0b || (opcode >= 0x1c && opcode <= 0x1e)) {
    return prefix == NONE ? number | MMX_MMX : prefix == P66 ? number | XMM_XMM : 0;
  }
  switch (opcode) {
    case 0x2a:
      return prefix == P66 && modrm < 0xc0 ? number | XMM_XMM : 0;
    case 0x10:
    case 0x14:
    case 0x15:
    case 0x17:
    case 0x20:
    case 0x21:
    case 0x22:
    case 0x23:
    case 0x24:
    case 0x25:
    case 0x28:
    case 0x29:
    case 0x2b:
    case 0x30:
    case 0x31:
    case 0x32:
    case 0x33:
    case 0x34:
    case 0x35:
    case 0x37:
    case 0x38:
    case 0x39:
    case 0x3a:
    case 0x3b:
    case 0x3c:
    case 0x3d:
    case 0x3e:
    case 0x3f:
    case 0x40:
    case 0x41:
      return prefix == P66 ? number | XMM_XMM : 0;
    case 0xc8:
    case 0xc9:
    case 0xca:
    case 0xcb:
    case 0xcc:
    case 0xcd:
      return prefix == NONE ? (MAP2_HIGH + opcode - 0xc8) | XMM_XMM : 0;
    case 0xdb:
    case 0xdc:
    case 0xdd:
    case 0xde:
    case 0xdf:
      return prefix == P66 ? (MAP2_HIGH + opcode - 0xc8) | XMM_XMM : 0;
    case 0xf0:
    case 0xf1:
      return prefix == PF2 ? (MAP2_HIGH + opcode - 0xc8) | GPR_GPR : 0;
    default:
      return 0;
  }
}

function map3Form(prefix: u32, opcode: u32): u32 {
  if (prefix == NONE) {
    if (opcode == 0x0f) return PALIGNR_MMX | MMX_MMX | FORM_IMM8;
    if (opcode == 0xcc) return SHA1RNDS4 | XMM_XMM | FORM_IMM8;
    return 0;
  }
  if (prefix != P66) return 0;
  switch (opcode) {
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x0b:
    case 0x0c:
    case 0x0d:
    case 0x0e:
    case 0x0f:
    case 0x21:
    case 0x40:
    case 0x41:
    case 0x42:
    case 0x44:
    case 0x60:
    case 0x61:
    case 0x62:
    case 0x63:
      return (MAP3 + opcode) | XMM_XMM | FORM_IMM8;
    case 0x14:
    case 0x15:
    case 0x16:
    case 0x17:
    case 0x20:
    case 0x22:
      return (MAP3 + opcode) | XMM_GPR | FORM_IMM8;
    case 0xdf:
      return AESKEYGENASSIST | XMM_XMM | FORM_IMM8;
    default:
      return 0;
  }
}
