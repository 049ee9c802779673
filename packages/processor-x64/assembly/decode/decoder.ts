// Decodes one guest instruction into a record (Intel SDM 2, chapter 2 and the opcode maps of appendix A).
import { FORM_HANDLER, FORM_IMM8, FORM_REG_SHIFT, FORM_RM_SHIFT } from '../fpu/form';
import { CLASS_MMX, CLASS_STACK, CLASS_XMM } from '../fpu/form';
import { sseForm, x87Form } from '../fpu/decode';
import { H } from '../handlers';
import {
  FLAG_ADDRESS32,
  FLAG_IMMEDIATE,
  FLAG_LOCK,
  FLAG_MEMORY,
  FLAG_REP,
  FLAG_REPNE,
  FLAG_SEGMENTED,
  FLAG_TO_REG,
} from '../record';
import {
  CS,
  DS,
  ES,
  FS,
  GPR,
  GS,
  MODE_CODE32,
  MODE_CODE64,
  MODE_CODE_MASK,
  MODE_FLAT,
  RBP,
  RBX,
  RDI,
  RIP_PAGE,
  RSI,
  SS,
  X87,
  XMM,
  XMM_STRIDE,
  ZERO,
} from '../state';
import { decodeVex } from './vex';
import { fetch16, fetch32, fetch64, fetch8, fetched, peek8 } from './fetch';

/** What decoding one instruction says of the block that it is in. */
export const NEXT: u32 = 0;
/** The block ends behind it. */
export const END: u32 = 1;

let record: u32 = 0;
let mode: u32 = 0;
let code: u32 = 0;
let flat: bool = false;
let prefix66: bool = false;
let prefix67: bool = false;
let repeat: u32 = 0;
let lock: bool = false;
let rex: u32 = 0;
/** -1 without an override. */
let segmentOverride: i32 = -1;
/** Power of two of the operand size. */
let size: u32 = 2;
let addressSize: u32 = 2;
let modrm: u32 = 0;
let ends: u32 = NEXT;
/** Offset in the page of the instruction's first byte. */
let start: u32 = 0;

export function operandSize(): u32 {
  return size;
}

export function rexByte(): u32 {
  return rex;
}

export function is64(): bool {
  return code == MODE_CODE64;
}

export function endBlock(): void {
  ends = END;
}

// @ts-ignore: decorator
@inline function setHandler(handler: u32): void {
  store<u16>(record, handler);
}

// @ts-ignore: decorator
@inline function setSize(power: u32): void {
  size = power;
  store<u8>(record, power, 4);
}

// @ts-ignore: decorator
@inline function addFlags(flags: u32): void {
  store<u8>(record, load<u8>(record, 5) | flags, 5);
}

// @ts-ignore: decorator
@inline function setImm(value: i64): void {
  store<i64>(record, value, 24);
}

function gpr(n: u32): u32 {
  return GPR + (n << 3);
}

/** The register of an encoding, of the size given: without REX, 4 to 7 of the 8-bit ones are AH to BH. */
function sizedGpr(n: u32, power: u32): u32 {
  return power == 0 && rex == 0 && n >= 4 && n < 8 ? GPR + ((n - 4) << 3) + 1 : GPR + (n << 3);
}

function regNumber(): u32 {
  return ((modrm >> 3) & 7) | ((rex & 4) << 1);
}

function rmNumber(): u32 {
  return (modrm & 7) | ((rex & 1) << 3);
}

function isRegister(): bool {
  return modrm >= 0xc0;
}

function extension(): u32 {
  return (modrm >> 3) & 7;
}

/** Immediate of the operand's size, at most 32 bits, sign-extended. */
function fetchImm(power: u32): i64 {
  switch (power) {
    case 0:
      return <i64>(<i8>fetch8());
    case 1:
      return <i64>(<i16>fetch16());
    default:
      return <i64>(<i32>fetch32());
  }
}

/** Sets how the address of the memory operand is formed. */
function setAddress(segment: u32): void {
  if (segmentOverride >= 0) {
    // In 64-bit mode only FS and GS have a base.
    if (code != MODE_CODE64 || segmentOverride >= <i32>FS) segment = <u32>segmentOverride;
  }
  let flags: u32 = 0;
  if (code == MODE_CODE64) {
    if (segment >= FS) flags = FLAG_SEGMENTED;
    else if (addressSize == 2) flags = FLAG_ADDRESS32;
  } else if (flat && segment < FS && segment != CS && addressSize == 2) {
    flags = FLAG_ADDRESS32;
  } else {
    flags = FLAG_SEGMENTED;
  }
  addFlags(flags);
  store<u8>(record, (load<u8>(record, 6) & 0x18) | segment | (addressSize << 5), 6);
}

/** ModRM's memory operand (Intel SDM 2A, 2.1.5). */
function decodeMemory(immediateBytes: u32): void {
  const form = modrm >> 6;
  let base: u32 = ZERO;
  let index: u32 = ZERO;
  let scale: u32 = 0;
  let disp: i32 = 0;
  let segment: u32 = DS;
  let relative = false;
  if (addressSize == 1) {
    switch (modrm & 7) {
      case 0:
        base = RBX;
        index = RSI;
        break;
      case 1:
        base = RBX;
        index = RDI;
        break;
      case 2:
        base = RBP;
        index = RSI;
        segment = SS;
        break;
      case 3:
        base = RBP;
        index = RDI;
        segment = SS;
        break;
      case 4:
        base = RSI;
        break;
      case 5:
        base = RDI;
        break;
      case 6:
        if (form == 0) {
          disp = <i32>(<i16>fetch16());
        } else {
          base = RBP;
          segment = SS;
        }
        break;
      default:
        base = RBX;
    }
    if (form == 1) disp = <i32>(<i8>fetch8());
    else if (form == 2) disp = <i32>(<i16>fetch16());
  } else {
    let rm = modrm & 7;
    if (rm == 4) {
      const sib = fetch8();
      const indexNumber = ((sib >> 3) & 7) | ((rex & 2) << 2);
      if (indexNumber != 4) {
        index = gpr(indexNumber);
        scale = sib >> 6;
      }
      rm = sib & 7;
      if (rm == 5 && form == 0) {
        disp = <i32>fetch32();
      } else {
        base = gpr(rm | ((rex & 1) << 3));
        // RSP and RBP imply the stack segment; R12 and R13 do not.
        if ((rm == 4 || rm == 5) && (rex & 1) == 0) segment = SS;
      }
    } else if (rm == 5 && form == 0) {
      disp = <i32>fetch32();
      if (code == MODE_CODE64) {
        base = RIP_PAGE;
        relative = true;
      }
    } else {
      base = gpr(rm | ((rex & 1) << 3));
      if (rm == 5 && (rex & 1) == 0) segment = SS;
    }
    if (form == 1) disp = <i32>(<i8>fetch8());
    else if (form == 2) disp = <i32>fetch32();
  }
  // RIP-relative: from the end of the instruction, immediate included.
  if (relative) disp += <i32>(start + fetched() + immediateBytes);
  store<u32>(record, base, 12);
  store<u32>(record, index, 16);
  store<i32>(record, disp, 20);
  store<u8>(record, scale << 3, 6);
  addFlags(FLAG_MEMORY);
  setAddress(segment);
}

/** Fetches ModRM and fills in the operands that it names, of general registers. */
function decodeModrm(immediateBytes: u32): void {
  modrm = fetch8();
  store<u32>(record, sizedGpr(regNumber(), size), 8);
  if (isRegister()) store<u32>(record, sizedGpr(rmNumber(), size), 12);
  else decodeMemory(immediateBytes);
}

/** The bytes of an immediate of the operand's size. */
function immBytes(): u32 {
  return size == 0 ? 1 : size == 1 ? 2 : 4;
}

/** Operand size by opcode bit 0: clear means 8 bits. */
function byteOr(opcode: u32): void {
  if ((opcode & 1) == 0) setSize(0);
}

/** The memory operand that string operations and XLAT imply; `rm` is its base. */
function implied(base: u32, segment: u32): void {
  store<u32>(record, base, 12);
  store<u32>(record, ZERO, 16);
  setAddress(segment);
}

function unknown(): void {
  store<u8>(record, 0, 5);
  setHandler(H.UNKNOWN);
  ends = END;
}

/** 66h does not shorten what has 64 bits by default in 64-bit mode, except for the stack operations' 16 bits. */
function stackSize(): void {
  if (code == MODE_CODE64) setSize(prefix66 ? 1 : 3);
}

function branch(displacement: i32, handler: u32): void {
  // In 64-bit mode near branches have 64 bits whatever the prefixes say.
  if (code == MODE_CODE64) setSize(3);
  store<i32>(record, <i32>(start + fetched()) + displacement, 20);
  setHandler(handler);
}

function branchDisplacement(): i32 {
  return code != MODE_CODE64 && size == 1 ? <i32>(<i16>fetch16()) : <i32>fetch32();
}

/** Whether a hot variant of a form exists for this size. */
function hotSize(): bool {
  return size >= 2;
}

/** No operation of {@link hotAlu}. */
const NOT_HOT: u32 = 0xffff;

/** The first handler of ADD to CMP, numbered as in the opcodes, and TEST: those of a group come in one order. */
function hotAlu(operation: u32): u32 {
  switch (operation) {
    case 0:
      return H.ADD_RR_32;
    case 1:
      return H.OR_RR_32;
    case 4:
      return H.AND_RR_32;
    case 5:
      return H.SUB_RR_32;
    case 6:
      return H.XOR_RR_32;
    case 7:
      return H.CMP_RR_32;
    case 8:
      return H.TEST_RR_32;
    default:
      return NOT_HOT;
  }
}

const RR: u32 = 0;
const RI: u32 = 2;
const RM: u32 = 4;
const MR: u32 = 6;
const MI: u32 = 8;

function finishAlu(operation: u32, generic: u32): void {
  setHandler(generic);
  const flags = load<u8>(record, 5);
  const first = hotAlu(operation);
  if (first == NOT_HOT) return;
  const isMem = (flags & FLAG_MEMORY) != 0;
  if (!hotSize()) {
    if (size == 0 && operation == 7) {
      if (flags & FLAG_IMMEDIATE) setHandler(isMem ? H.CMP_MI_8 : H.CMP_RI_8);
      else if (flags & FLAG_TO_REG) setHandler(isMem ? H.CMP_RM_8 : generic);
      else setHandler(isMem ? H.CMP_MR_8 : H.CMP_RR_8);
    } else if (size == 0 && operation == 8) {
      if (flags & FLAG_IMMEDIATE) setHandler(isMem ? H.TEST_MI_8 : H.TEST_RI_8);
      else if (!isMem) setHandler(H.TEST_RR_8);
    }
    return;
  }
  let form: u32;
  if (flags & FLAG_IMMEDIATE) form = isMem ? MI : RI;
  else if (!isMem) form = RR;
  else form = flags & FLAG_TO_REG ? RM : MR;
  // The register form has its destination in rm: swap where it is in reg.
  if (form == RR && (flags & FLAG_TO_REG)) {
    const reg = load<u32>(record, 8);
    store<u32>(record, load<u32>(record, 12), 8);
    store<u32>(record, reg, 12);
  }
  setHandler(first + form + (size == 3 ? 1 : 0));
}

function decodeAlu(opcode: u32): void {
  const operation = opcode >> 3;
  switch (opcode & 7) {
    case 0:
    case 1:
      byteOr(opcode);
      decodeModrm(0);
      break;
    case 2:
    case 3:
      byteOr(opcode);
      decodeModrm(0);
      addFlags(FLAG_TO_REG);
      break;
    default:
      byteOr(opcode);
      store<u32>(record, gpr(0), 12);
      addFlags(FLAG_IMMEDIATE);
      setImm(fetchImm(size));
  }
  finishAlu(operation, H.ALU_ADD + operation);
}

function decodeGroup1(opcode: u32): void {
  byteOr(opcode);
  const short = opcode == 0x80 || opcode >= 0x82;
  decodeModrm(short ? 1 : immBytes());
  addFlags(FLAG_IMMEDIATE);
  setImm(short ? <i64>(<i8>fetch8()) : fetchImm(size));
  finishAlu(extension(), H.ALU_ADD + extension());
}

/** Shifts and rotates: the count is imm8, 1 or CL. */
function decodeShift(opcode: u32): void {
  byteOr(opcode);
  const byImm = opcode < 0xd0;
  decodeModrm(byImm ? 1 : 0);
  const operation = extension();
  if (byImm) setImm(fetch8());
  else if (opcode < 0xd2) setImm(1);
  const byCl = opcode >= 0xd2;
  if (byCl) {
    setHandler(H.SHIFT_CL);
  } else {
    setHandler(H.SHIFT_IMM);
    const count = <u32>load<u8>(record, 24) & (size == 3 ? 63 : 31);
    if (hotSize() && isRegister() && count != 0) {
      const wide: u32 = size == 3 ? 1 : 0;
      store<u8>(record, count, 24);
      if (operation == 4 || operation == 6) setHandler(H.SHL_RI_32 + wide);
      else if (operation == 5) setHandler(H.SHR_RI_32 + wide);
      else if (operation == 7) setHandler(H.SAR_RI_32 + wide);
    }
  }
  // Which of the eight, beside the count.
  store<u8>(record, operation, 31);
}

function decodeMov(opcode: u32): void {
  byteOr(opcode);
  decodeModrm(0);
  const mem = !isRegister();
  const toReg = (opcode & 2) != 0;
  if (toReg) addFlags(FLAG_TO_REG);
  setHandler(H.MOV);
  if (!mem) {
    if (toReg) {
      const reg = load<u32>(record, 8);
      store<u32>(record, load<u32>(record, 12), 8);
      store<u32>(record, reg, 12);
      store<u8>(record, load<u8>(record, 5) & ~FLAG_TO_REG, 5);
    }
    if (size == 0) setHandler(H.MOV_RR_8);
    else if (hotSize()) setHandler(H.MOV_RR_32 + (size == 3 ? 1 : 0));
  } else if (size == 0) {
    setHandler(toReg ? H.MOV_RM_8 : H.MOV_MR_8);
  } else if (hotSize()) {
    setHandler(H.MOV_RR_32 + (toReg ? RM : MR) + (size == 3 ? 1 : 0));
  } else if (!toReg) {
    setHandler(H.MOV_MR_16);
  }
}

function decodeGroup3(opcode: u32): void {
  byteOr(opcode);
  const next = peek8();
  const isTest = (next & 0x38) < 0x10;
  decodeModrm(isTest ? immBytes() : 0);
  switch (extension()) {
    case 0:
    case 1:
      addFlags(FLAG_IMMEDIATE);
      setImm(fetchImm(size));
      finishAlu(8, H.TEST);
      break;
    case 2:
      setHandler(hotSize() && isRegister() ? H.NOT_R_32 + (size == 3 ? 1 : 0) : H.NOT);
      break;
    case 3:
      setHandler(hotSize() && isRegister() ? H.NEG_R_32 + (size == 3 ? 1 : 0) : H.NEG);
      break;
    case 4:
      setHandler(H.MUL);
      break;
    case 5:
      setHandler(H.IMUL1);
      break;
    case 6:
      setHandler(H.DIV);
      break;
    default:
      setHandler(H.IDIV);
  }
}

function decodeIncDec(decrement: bool): void {
  if (hotSize() && isRegister()) {
    setHandler((decrement ? H.DEC_R_32 : H.INC_R_32) + (size == 3 ? 1 : 0));
  } else {
    setHandler(decrement ? H.DEC : H.INC);
  }
}

function decodeGroup5(): void {
  const operation = (peek8() >> 3) & 7;
  if (code == MODE_CODE64 && (operation == 2 || operation == 4)) setSize(3);
  if (operation == 6) stackSize();
  decodeModrm(0);
  switch (operation) {
    case 0:
    case 1:
      decodeIncDec(operation == 1);
      return;
    case 2:
      setHandler(size == 3 && isRegister() ? H.CALL_R_64 : H.CALL_RM);
      ends = END;
      return;
    case 4:
      setHandler(size == 3 && isRegister() ? H.JMP_R_64 : H.JMP_RM);
      ends = END;
      return;
    case 3:
    case 5:
      if (isRegister()) unknown();
      else setHandler(operation == 3 ? H.CALL_FAR_M : H.JMP_FAR_M);
      ends = END;
      return;
    case 6:
      setHandler(H.PUSH_RM);
      return;
    default:
      unknown();
  }
}

function decodeString(opcode: u32): void {
  byteOr(opcode);
  let handler: u32;
  switch (opcode & 0xfe) {
    case 0xa4:
      handler = H.MOVS;
      break;
    case 0xa6:
      handler = H.CMPS;
      break;
    case 0xaa:
      handler = H.STOS;
      break;
    case 0xac:
      handler = H.LODS;
      break;
    default:
      handler = H.SCAS;
  }
  implied(RSI, DS);
  setHandler(handler);
  // With a repeat prefix it may have to be run again: the block ends.
  if (repeat != 0) ends = END;
}

function decodePortString(opcode: u32): void {
  byteOr(opcode);
  if (size == 3) setSize(2);
  implied(RSI, DS);
  setHandler((opcode & 2) != 0 ? H.OUTS : H.INS);
  ends = END;
}

/** Fills the record of a form of the FPU part. */
function decodeForm(form: u32): void {
  const regClass = (form >> FORM_REG_SHIFT) & 3;
  const rmClass = (form >> FORM_RM_SHIFT) & 3;
  setSize((rex & 8) != 0 ? 3 : 2);
  store<u32>(record, classRegister(regClass, regNumber()), 8);
  if (isRegister()) store<u32>(record, classRegister(rmClass, rmNumber()), 12);
  else decodeMemory((form & FORM_IMM8) != 0 ? 1 : 0);
  setImm((form & FORM_IMM8) != 0 ? <i64>fetch8() : 0);
  // The units lie in the byte that no immediate of 8 bits reaches.
  store<u8>(record, form >> 17, 31);
  setHandler(form & FORM_HANDLER);
}

function classRegister(registerClass: u32, n: u32): u32 {
  if (registerClass == CLASS_XMM) return XMM + n * XMM_STRIDE;
  if (registerClass == CLASS_MMX) return X87 + ((n & 7) << 4);
  if (registerClass == CLASS_STACK) return n & 7;
  return gpr(n);
}

function decodeX87(opcode: u32): void {
  modrm = fetch8();
  const form = x87Form(opcode, modrm);
  if (form == 0) {
    unknown();
    return;
  }
  decodeForm(form);
}

function ssePrefix(): u32 {
  return repeat == 0xf3 ? 2 : repeat == 0xf2 ? 3 : prefix66 ? 1 : 0;
}

function decodeSse(map: u32, opcode: u32): void {
  modrm = fetch8();
  const form = sseForm(map, ssePrefix(), opcode, modrm);
  if (form == 0) unknown();
  else decodeForm(form);
  // MASKMOVQ and MASKMOVDQU store to memory that rDI points to, in a segment that can be overridden.
  if (map == 1 && opcode == 0xf7) setAddress(DS);
}

/** PUSH and POP of a segment register. */
function segmentStack(segment: u32, pop: bool): void {
  stackSize();
  setImm(segment);
  setHandler(pop ? H.POP_SEG : H.PUSH_SEG);
  if (pop) ends = END;
}

function farImmediate(handler: u32): void {
  const offset: u64 = size == 1 ? fetch16() : fetch32();
  setImm(<i64>offset | (<i64>fetch16() << 32));
  setHandler(handler);
  ends = END;
}

function decodeOneByte(opcode: u32): void {
  const in64 = code == MODE_CODE64;
  if (opcode < 0x40) {
    if ((opcode & 7) < 6) {
      decodeAlu(opcode);
      return;
    }
    if (in64) {
      unknown();
      return;
    }
    switch (opcode) {
      case 0x27:
        setHandler(H.DAA);
        break;
      case 0x2f:
        setHandler(H.DAS);
        break;
      case 0x37:
        setHandler(H.AAA);
        break;
      case 0x3f:
        setHandler(H.AAS);
        break;
      default:
        // 06, 07: ES; 0E: CS; 16, 17: SS; 1E, 1F: DS.
        segmentStack(opcode >> 3, (opcode & 1) != 0);
    }
    return;
  }
  switch (opcode) {
    case 0x40: case 0x41: case 0x42: case 0x43: case 0x44: case 0x45: case 0x46: case 0x47:
    case 0x48: case 0x49: case 0x4a: case 0x4b: case 0x4c: case 0x4d: case 0x4e: case 0x4f:
      modrm = 0xc0;
      store<u32>(record, gpr(opcode & 7), 12);
      decodeIncDec(opcode >= 0x48);
      break;
    case 0x50: case 0x51: case 0x52: case 0x53: case 0x54: case 0x55: case 0x56: case 0x57:
      stackSize();
      store<u32>(record, gpr((opcode & 7) | ((rex & 1) << 3)), 12);
      setHandler(size == 3 ? H.PUSH_R_64 : H.PUSH_RM);
      break;
    case 0x58: case 0x59: case 0x5a: case 0x5b: case 0x5c: case 0x5d: case 0x5e: case 0x5f:
      stackSize();
      store<u32>(record, gpr((opcode & 7) | ((rex & 1) << 3)), 12);
      setHandler(size == 3 ? H.POP_R_64 : H.POP_RM);
      break;
    case 0x60:
      if (in64) unknown();
      else setHandler(H.PUSHA);
      break;
    case 0x61:
      if (in64) unknown();
      else setHandler(H.POPA);
      break;
    case 0x62:
      if (in64 || peek8() >= 0xc0) {
        unknown();
        break;
      }
      decodeModrm(0);
      setHandler(H.BOUND);
      break;
    case 0x63:
      if (in64) {
        decodeModrm(0);
        if (size == 3) setHandler(isRegister() ? H.MOVSX_R_32_64 : H.MOVSX_M_32_64);
        else {
          addFlags(FLAG_TO_REG);
          setHandler(H.MOV);
        }
      } else {
        setSize(1);
        decodeModrm(0);
        setHandler(H.ARPL);
      }
      break;
    case 0x68:
      stackSize();
      setImm(size == 1 ? <i64>(<i16>fetch16()) : <i64>(<i32>fetch32()));
      setHandler(size == 3 ? H.PUSH_I_64 : H.PUSH_IMM);
      break;
    case 0x6a:
      stackSize();
      setImm(<i64>(<i8>fetch8()));
      setHandler(size == 3 ? H.PUSH_I_64 : H.PUSH_IMM);
      break;
    case 0x69:
    case 0x6b:
      decodeModrm(opcode == 0x6b ? 1 : immBytes());
      setImm(opcode == 0x6b ? <i64>(<i8>fetch8()) : fetchImm(size));
      if (hotSize() && isRegister()) setHandler(H.IMUL_RRI_32 + (size == 3 ? 1 : 0));
      else setHandler(H.IMUL3);
      break;
    case 0x6c: case 0x6d: case 0x6e: case 0x6f:
      decodePortString(opcode);
      break;
    case 0x70: case 0x71: case 0x72: case 0x73: case 0x74: case 0x75: case 0x76: case 0x77:
    case 0x78: case 0x79: case 0x7a: case 0x7b: case 0x7c: case 0x7d: case 0x7e: case 0x7f:
      branch(<i32>(<i8>fetch8()), H.JO + (opcode & 15));
      break;
    case 0x82:
      if (in64) {
        unknown();
        break;
      }
      decodeGroup1(opcode);
      break;
    case 0x80: case 0x81: case 0x83:
      decodeGroup1(opcode);
      break;
    case 0x84: case 0x85:
      byteOr(opcode);
      decodeModrm(0);
      // The register form with memory reads only; its order does not matter.
      if (isRegister()) finishAlu(8, H.TEST);
      else {
        setHandler(H.TEST);
        addFlags(FLAG_TO_REG);
        if (hotSize()) setHandler(H.TEST_RM_32 + (size == 3 ? 1 : 0));
      }
      break;
    case 0x86: case 0x87:
      byteOr(opcode);
      decodeModrm(0);
      setHandler(H.XCHG);
      break;
    case 0x88: case 0x89: case 0x8a: case 0x8b:
      decodeMov(opcode);
      break;
    case 0x8c:
      modrm = fetch8();
      if (extension() > 5) {
        unknown();
        break;
      }
      // To memory always 16 bits.
      if (!isRegister()) setSize(1);
      if (isRegister()) store<u32>(record, gpr(rmNumber()), 12);
      else decodeMemory(0);
      setImm(extension());
      setHandler(H.MOV_FROM_SEG);
      break;
    case 0x8e:
      setSize(1);
      modrm = fetch8();
      if (extension() > 5 || extension() == CS) {
        unknown();
        break;
      }
      if (isRegister()) store<u32>(record, gpr(rmNumber()), 12);
      else decodeMemory(0);
      setImm(extension());
      setHandler(H.MOV_TO_SEG);
      ends = END;
      break;
    case 0x8d:
      decodeModrm(0);
      if (isRegister()) {
        unknown();
        break;
      }
      if ((load<u8>(record, 5) & (FLAG_ADDRESS32 | FLAG_SEGMENTED)) == 0 && hotSize())
        setHandler(size == 3 ? H.LEA_64 : H.LEA_32);
      else setHandler(H.LEA);
      break;
    case 0x8f:
      if (((peek8() >> 3) & 7) != 0) {
        unknown();
        break;
      }
      stackSize();
      decodeModrm(0);
      setHandler(size == 3 && isRegister() ? H.POP_R_64 : H.POP_RM);
      break;
    case 0x90:
      if ((rex & 1) == 0) {
        if (repeat == 0xf3) {
          setHandler(H.PAUSE);
          ends = END;
        } else setHandler(H.NOP);
        break;
      }
    // falls through
    case 0x91: case 0x92: case 0x93: case 0x94: case 0x95: case 0x96: case 0x97:
      store<u32>(record, gpr(0), 8);
      store<u32>(record, gpr((opcode & 7) | ((rex & 1) << 3)), 12);
      setHandler(H.XCHG);
      break;
    case 0x98:
      setHandler(H.CBW);
      break;
    case 0x99:
      setHandler(H.CWD);
      break;
    case 0x9a:
      if (in64) unknown();
      else farImmediate(H.CALL_FAR);
      break;
    case 0x9b:
      setHandler(H.WAIT);
      break;
    case 0x9c:
      stackSize();
      setHandler(H.PUSHF);
      break;
    case 0x9d:
      stackSize();
      setHandler(H.POPF);
      ends = END;
      break;
    case 0x9e:
      setHandler(H.SAHF);
      break;
    case 0x9f:
      setHandler(H.LAHF);
      break;
    case 0xa0: case 0xa1: case 0xa2: case 0xa3: {
      byteOr(opcode);
      const offset: u64 = addressSize == 3 ? fetch64() : addressSize == 2 ? fetch32() : fetch16();
      implied(ZERO, DS);
      setImm(<i64>offset);
      setHandler((opcode & 2) != 0 ? H.MOV_TO_OFFSET : H.MOV_FROM_OFFSET);
      break;
    }
    case 0xa4: case 0xa5: case 0xa6: case 0xa7: case 0xaa: case 0xab:
    case 0xac: case 0xad: case 0xae: case 0xaf:
      decodeString(opcode);
      break;
    case 0xa8: case 0xa9:
      byteOr(opcode);
      modrm = 0xc0;
      store<u32>(record, gpr(0), 12);
      addFlags(FLAG_IMMEDIATE);
      setImm(fetchImm(size));
      finishAlu(8, H.TEST);
      break;
    case 0xb0: case 0xb1: case 0xb2: case 0xb3: case 0xb4: case 0xb5: case 0xb6: case 0xb7:
      setSize(0);
      store<u32>(record, sizedGpr((opcode & 7) | ((rex & 1) << 3), 0), 12);
      setImm(fetch8());
      setHandler(H.MOV_RI_8);
      break;
    case 0xb8: case 0xb9: case 0xba: case 0xbb: case 0xbc: case 0xbd: case 0xbe: case 0xbf:
      store<u32>(record, gpr((opcode & 7) | ((rex & 1) << 3)), 12);
      addFlags(FLAG_IMMEDIATE);
      setImm(size == 3 ? <i64>fetch64() : size == 2 ? <i64>fetch32() : <i64>fetch16());
      setHandler(size == 1 ? H.MOV : size == 3 ? H.MOV_RI_64 : H.MOV_RI_32);
      break;
    case 0xc0: case 0xc1: case 0xd0: case 0xd1: case 0xd2: case 0xd3:
      decodeShift(opcode);
      break;
    case 0xc2:
    case 0xc3:
      if (in64) setSize(3);
      setImm(opcode == 0xc2 ? <i64>fetch16() : 0);
      setHandler(in64 && opcode == 0xc3 ? H.RET_64 : H.RET);
      ends = END;
      break;
    case 0xc4:
    case 0xc5:
      if (in64 || peek8() >= 0xc0) {
        vex(opcode);
        break;
      }
      decodeModrm(0);
      setImm(opcode == 0xc4 ? ES : DS);
      setHandler(H.LOAD_FAR);
      ends = END;
      break;
    case 0xc6: case 0xc7:
      byteOr(opcode);
      if (((peek8() >> 3) & 7) != 0) {
        unknown();
        break;
      }
      decodeModrm(immBytes());
      addFlags(FLAG_IMMEDIATE);
      setImm(fetchImm(size));
      setHandler(H.MOV);
      if (hotSize()) setHandler(H.MOV_RR_32 + (isRegister() ? RI : MI) + (size == 3 ? 1 : 0));
      else if (size == 0) setHandler(isRegister() ? H.MOV_RI_8 : H.MOV_MI_8);
      break;
    case 0xc8:
      stackSize();
      setImm(<i64>fetch16());
      setImm(load<i64>(record, 24) | (<i64>fetch8() << 16));
      setHandler(H.ENTER);
      break;
    case 0xc9:
      stackSize();
      setHandler(H.LEAVE);
      break;
    case 0xca:
    case 0xcb:
      setImm(opcode == 0xca ? <i64>fetch16() : 0);
      setHandler(H.RET_FAR);
      ends = END;
      break;
    case 0xcc:
      setImm(3);
      setHandler(H.INT3);
      ends = END;
      break;
    case 0xcd:
      setImm(fetch8());
      setHandler(H.INT);
      ends = END;
      break;
    case 0xce:
      if (in64) unknown();
      else setHandler(H.INTO);
      ends = END;
      break;
    case 0xcf:
      setHandler(H.IRET);
      ends = END;
      break;
    case 0xd4:
    case 0xd5:
      if (in64) {
        unknown();
        break;
      }
      setImm(fetch8());
      setHandler(opcode == 0xd4 ? H.AAM : H.AAD);
      break;
    case 0xd6:
      if (in64) unknown();
      else setHandler(H.SALC);
      break;
    case 0xd7:
      implied(RBX, DS);
      setHandler(H.XLAT);
      break;
    case 0xd8: case 0xd9: case 0xda: case 0xdb: case 0xdc: case 0xdd: case 0xde: case 0xdf:
      decodeX87(opcode);
      break;
    case 0xe0: case 0xe1: case 0xe2: case 0xe3:
      store<u8>(record, addressSize << 5, 6);
      branch(<i32>(<i8>fetch8()), H.LOOPNE + (opcode & 3));
      ends = END;
      break;
    case 0xe4: case 0xe5: case 0xe6: case 0xe7:
      byteOr(opcode);
      if (size == 3) setSize(2);
      setImm(fetch8());
      setHandler((opcode & 2) != 0 ? H.OUT_IMM : H.IN_IMM);
      ends = END;
      break;
    case 0xec: case 0xed: case 0xee: case 0xef:
      byteOr(opcode);
      if (size == 3) setSize(2);
      setHandler((opcode & 2) != 0 ? H.OUT_DX : H.IN_DX);
      ends = END;
      break;
    case 0xe8:
      branch(branchDisplacement(), in64 ? H.CALL_64 : H.CALL);
      ends = END;
      break;
    case 0xe9:
      branch(branchDisplacement(), H.JMP);
      ends = END;
      break;
    case 0xea:
      if (in64) unknown();
      else farImmediate(H.JMP_FAR);
      break;
    case 0xeb:
      branch(<i32>(<i8>fetch8()), H.JMP);
      ends = END;
      break;
    case 0xf1:
      setHandler(H.ICEBP);
      ends = END;
      break;
    case 0xf4:
      setHandler(H.HLT);
      ends = END;
      break;
    case 0xf5:
      setHandler(H.CMC);
      break;
    case 0xf6: case 0xf7:
      decodeGroup3(opcode);
      break;
    case 0xf8:
      setHandler(H.CLC);
      break;
    case 0xf9:
      setHandler(H.STC);
      break;
    case 0xfa:
      setHandler(H.CLI);
      break;
    case 0xfb:
      setHandler(H.STI);
      ends = END;
      break;
    case 0xfc:
      setHandler(H.CLD);
      break;
    case 0xfd:
      setHandler(H.STD);
      break;
    case 0xfe:
      setSize(0);
      decodeModrm(0);
      if (extension() > 1) unknown();
      else decodeIncDec(extension() == 1);
      break;
    case 0xff:
      decodeGroup5();
      break;
    default:
      unknown();
  }
}

function vex(opcode: u32): void {
  // Where VEX may not follow a prefix (Intel SDM 2A, 2.3.3).
  if (prefix66 || repeat != 0 || lock || rex != 0) {
    unknown();
    return;
  }
  const handler = decodeVex(opcode);
  if (handler == 0) unknown();
  else setHandler(handler);
}

/** Called by the VEX decoder once it knows the prefix's bits: REX as a legacy one would have it, and the width. */
export function vexOperands(rexBits: u32, wide: bool, immediateBytes: u32): u32 {
  rex = rexBits | 0x40;
  setSize(wide ? 3 : 2);
  decodeModrm(immediateBytes);
  return modrm;
}

export function vexRegister(n: u32, imm: i64): void {
  // The third operand's register number, in the bits above an 8-bit immediate.
  setImm(imm | (<i64>n << 32));
}

function decodeGroup7(): void {
  modrm = fetch8();
  const operation = extension();
  if (!isRegister()) {
    setSize(operation == 4 || operation == 6 ? 1 : code == MODE_CODE64 ? 3 : size);
    decodeMemory(0);
    switch (operation) {
      case 0:
        setHandler(H.SGDT);
        return;
      case 1:
        setHandler(H.SIDT);
        return;
      case 2:
        setHandler(H.LGDT);
        return;
      case 3:
        setHandler(H.LIDT);
        return;
      case 4:
        setHandler(H.SMSW);
        return;
      case 6:
        setHandler(H.LMSW);
        ends = END;
        return;
      case 7:
        setHandler(H.INVLPG);
        ends = END;
        return;
      default:
        unknown();
        return;
    }
  }
  store<u32>(record, gpr(rmNumber()), 12);
  if (operation == 4) {
    setHandler(H.SMSW);
    return;
  }
  ends = END;
  if (operation == 6) {
    setSize(1);
    setHandler(H.LMSW);
    return;
  }
  switch (modrm) {
    case 0xc1:
    case 0xd9:
      setHandler(H.VMCALL);
      return;
    case 0xca:
      setHandler(H.CLAC);
      return;
    case 0xcb:
      setHandler(H.STAC);
      return;
    case 0xd0:
      setHandler(H.XGETBV);
      return;
    case 0xd1:
      setHandler(H.XSETBV);
      return;
    case 0xf8:
      if (code == MODE_CODE64) setHandler(H.SWAPGS);
      else unknown();
      return;
    case 0xf9:
      setHandler(H.RDTSCP);
      return;
    default:
      unknown();
  }
}

function decodeGroup6(): void {
  modrm = fetch8();
  const operation = extension();
  // SLDT and STR store 16 bits in memory, the operand's size in a register; the others take 16.
  if (!isRegister() || operation > 1) setSize(1);
  if (isRegister()) store<u32>(record, gpr(rmNumber()), 12);
  else decodeMemory(0);
  if (operation > 5) {
    unknown();
    return;
  }
  setHandler(H.SLDT + operation);
  if (operation == 2 || operation == 3) ends = END;
}

function decodeGroup9(): void {
  const operation = (peek8() >> 3) & 7;
  if (peek8() < 0xc0) {
    if (operation == 1) {
      decodeModrm(0);
      setHandler(size == 3 ? H.CMPXCHG16B : H.CMPXCHG8B);
    } else {
      decodeSse(1, 0xc7);
    }
    return;
  }
  decodeModrm(0);
  if (operation == 7 && repeat == 0xf3) setHandler(H.RDPID);
  else if (operation == 6 && repeat == 0) setHandler(H.RDRAND);
  else if (operation == 7 && repeat == 0) setHandler(H.RDSEED);
  else unknown();
}

function decodeGroup15(): void {
  const next = peek8();
  const operation = (next >> 3) & 7;
  if (next >= 0xc0) {
    if (repeat == 0xf3 && code == MODE_CODE64 && operation < 4) {
      decodeModrm(0);
      setHandler(H.RDFSBASE + operation);
      ends = END;
      return;
    }
    if (repeat == 0 && operation >= 5) {
      fetch8();
      setHandler(H.NOP);
      return;
    }
    unknown();
    return;
  }
  // CLFLUSH, CLFLUSHOPT and CLWB; the rest saves and restores the floating-point state.
  if ((operation == 7 || (operation == 6 && prefix66)) && repeat == 0) {
    setSize(0);
    decodeModrm(0);
    setHandler(H.CLFLUSH);
    return;
  }
  decodeSse(1, 0xae);
  ends = END;
}

function decodeTwoByte(): void {
  const opcode = fetch8();
  const in64 = code == MODE_CODE64;
  switch (opcode) {
    case 0x00:
      decodeGroup6();
      return;
    case 0x01:
      decodeGroup7();
      return;
    case 0x02:
    case 0x03:
      // The selector operand has 16 bits in memory.
      decodeModrm(0);
      setHandler(opcode == 2 ? H.LAR : H.LSL);
      return;
    case 0x05:
      setHandler(H.SYSCALL);
      ends = END;
      return;
    case 0x06:
      setHandler(H.CLTS);
      return;
    case 0x07:
      setHandler(H.SYSRET);
      ends = END;
      return;
    case 0x08:
    case 0x09:
      setHandler(H.WBINVD);
      return;
    case 0x0b:
      setHandler(H.UD2);
      ends = END;
      return;
    case 0x0d:
    case 0x18: case 0x19: case 0x1a: case 0x1b: case 0x1c: case 0x1d: case 0x1e: case 0x1f:
      decodeModrm(0);
      setHandler(H.NOP);
      return;
    case 0x20: case 0x21: case 0x22: case 0x23: {
      // ModRM.mod does not count: both are registers.
      setSize(in64 ? 3 : 2);
      modrm = fetch8() | 0xc0;
      store<u32>(record, gpr(rmNumber()), 12);
      setImm(regNumber());
      setHandler(H.MOV_FROM_CR + (opcode & 3));
      ends = END;
      return;
    }
    case 0x30:
      setHandler(H.WRMSR);
      ends = END;
      return;
    case 0x31:
      setHandler(H.RDTSC);
      return;
    case 0x32:
      setHandler(H.RDMSR);
      ends = END;
      return;
    case 0x33:
      setHandler(H.RDPMC);
      return;
    case 0x34:
      setHandler(H.SYSENTER);
      ends = END;
      return;
    case 0x35:
      setHandler(H.SYSEXIT);
      ends = END;
      return;
    case 0x38:
      decodeThreeByte38();
      return;
    case 0x3a: {
      const third = fetch8();
      decodeSse(3, third);
      return;
    }
    case 0x40: case 0x41: case 0x42: case 0x43: case 0x44: case 0x45: case 0x46: case 0x47:
    case 0x48: case 0x49: case 0x4a: case 0x4b: case 0x4c: case 0x4d: case 0x4e: case 0x4f:
      decodeModrm(0);
      setImm(opcode & 15);
      setHandler(hotSize() && isRegister() ? H.CMOVO_RR_32 + (size == 3 ? 16 : 0) + (opcode & 15) : H.CMOV);
      return;
    case 0x80: case 0x81: case 0x82: case 0x83: case 0x84: case 0x85: case 0x86: case 0x87:
    case 0x88: case 0x89: case 0x8a: case 0x8b: case 0x8c: case 0x8d: case 0x8e: case 0x8f:
      branch(branchDisplacement(), H.JO + (opcode & 15));
      return;
    case 0x90: case 0x91: case 0x92: case 0x93: case 0x94: case 0x95: case 0x96: case 0x97:
    case 0x98: case 0x99: case 0x9a: case 0x9b: case 0x9c: case 0x9d: case 0x9e: case 0x9f:
      setSize(0);
      decodeModrm(0);
      setImm(opcode & 15);
      setHandler(isRegister() ? H.SETO_R + (opcode & 15) : H.SETCC);
      return;
    case 0xa0:
      segmentStack(FS, false);
      return;
    case 0xa1:
      segmentStack(FS, true);
      return;
    case 0xa2:
      setHandler(H.CPUID);
      ends = END;
      return;
    case 0xa3: case 0xab: case 0xb3: case 0xbb:
      decodeModrm(0);
      setHandler(H.BT + ((opcode >> 3) & 3));
      return;
    case 0xba:
      decodeModrm(1);
      setImm(fetch8());
      addFlags(FLAG_IMMEDIATE);
      if (extension() < 4) unknown();
      else setHandler(H.BT + (extension() & 3));
      return;
    case 0xa4: case 0xac:
      decodeModrm(1);
      setImm(fetch8());
      addFlags(FLAG_IMMEDIATE);
      setHandler(opcode == 0xa4 ? H.SHLD : H.SHRD);
      return;
    case 0xa5: case 0xad:
      decodeModrm(0);
      setHandler(opcode == 0xa5 ? H.SHLD : H.SHRD);
      return;
    case 0xa8:
      segmentStack(GS, false);
      return;
    case 0xa9:
      segmentStack(GS, true);
      return;
    case 0xae:
      decodeGroup15();
      return;
    case 0xaf:
      decodeModrm(0);
      if (!hotSize()) setHandler(H.IMUL2);
      else setHandler((isRegister() ? H.IMUL_RR_32 : H.IMUL_RM_32) + (size == 3 ? 1 : 0));
      return;
    case 0xb0: case 0xb1:
      byteOr(opcode);
      decodeModrm(0);
      setHandler(H.CMPXCHG);
      return;
    case 0xb2: case 0xb4: case 0xb5:
      decodeModrm(0);
      if (isRegister()) unknown();
      else {
        setImm(opcode == 0xb2 ? SS : opcode == 0xb4 ? FS : GS);
        setHandler(H.LOAD_FAR);
        ends = END;
      }
      return;
    case 0xb6: case 0xb7: case 0xbe: case 0xbf: {
      const signed = opcode >= 0xbe;
      const word = (opcode & 1) != 0;
      decodeExtend(word ? 1 : 0);
      const mem: u32 = isRegister() ? 0 : 1;
      if (size == 1) setHandler(signed ? H.MOVSX : H.MOVZX);
      else if (!signed) setHandler((word ? H.MOVZX_R_16 : H.MOVZX_R_8) + mem);
      else if (size == 2) setHandler((word ? H.MOVSX_R_16_32 : H.MOVSX_R_8_32) + mem);
      else setHandler((word ? H.MOVSX_R_16_64 : H.MOVSX_R_8_64) + mem);
      setImm(word ? 1 : 0);
      return;
    }
    case 0xb8:
      if (repeat != 0xf3) {
        unknown();
        return;
      }
      decodeModrm(0);
      setHandler(H.POPCNT);
      return;
    case 0xb9:
    case 0xff:
      decodeModrm(0);
      setHandler(H.UD2);
      ends = END;
      return;
    case 0xbc:
      decodeModrm(0);
      setHandler(repeat == 0xf3 ? H.TZCNT : H.BSF);
      return;
    case 0xbd:
      decodeModrm(0);
      setHandler(repeat == 0xf3 ? H.LZCNT : H.BSR);
      return;
    case 0xc0: case 0xc1:
      byteOr(opcode);
      decodeModrm(0);
      setHandler(H.XADD);
      return;
    case 0xc3:
      if (peek8() >= 0xc0 || repeat != 0 || prefix66) {
        unknown();
        return;
      }
      // MOVNTI
      decodeModrm(0);
      setHandler(H.MOV_RR_32 + MR + (size == 3 ? 1 : 0));
      return;
    case 0xc7:
      decodeGroup9();
      return;
    case 0xc8: case 0xc9: case 0xca: case 0xcb: case 0xcc: case 0xcd: case 0xce: case 0xcf:
      store<u32>(record, gpr((opcode & 7) | ((rex & 1) << 3)), 12);
      setHandler(H.BSWAP);
      return;
    default:
      if (hasModrm(opcode)) decodeSse(1, opcode);
      else {
        modrm = 0xc0;
        const form = sseForm(1, ssePrefix(), opcode, modrm);
        if (form == 0) unknown();
        else decodeForm(form);
      }
  }
}

/** Of what is left of the two-byte map, EMMS alone has no ModRM. */
function hasModrm(opcode: u32): bool {
  return opcode != 0x77;
}

/** MOVZX and MOVSX: the source's size is not the destination's. */
function decodeExtend(source: u32): void {
  modrm = fetch8();
  store<u32>(record, gpr(regNumber()), 8);
  if (isRegister()) store<u32>(record, sizedGpr(rmNumber(), source), 12);
  else decodeMemory(0);
}

function decodeThreeByte38(): void {
  const opcode = fetch8();
  switch (opcode) {
    case 0x82:
      if (prefix66 && repeat == 0 && peek8() < 0xc0) {
        setSize(code == MODE_CODE64 ? 3 : 2);
        decodeModrm(0);
        setHandler(H.INVPCID);
        ends = END;
        return;
      }
      break;
    case 0xf0:
    case 0xf1:
      if (repeat == 0xf2) {
        // CRC32: the source has the opcode's size, the destination 32 or 64 bits.
        const source: u32 = opcode == 0xf0 ? 0 : size;
        setSize(source);
        decodeModrm(0);
        store<u32>(record, gpr(regNumber()), 8);
        setHandler(H.CRC32);
        return;
      }
      if (repeat == 0 && peek8() < 0xc0) {
        decodeModrm(0);
        setHandler(opcode == 0xf0 ? H.MOVBE_LOAD : H.MOVBE_STORE);
        return;
      }
      break;
    case 0xf6:
      if (repeat == 0xf3 || (prefix66 && repeat == 0)) {
        setSize((rex & 8) != 0 ? 3 : 2);
        decodeModrm(0);
        setHandler(repeat == 0xf3 ? H.ADOX : H.ADCX);
        return;
      }
      break;
  }
  decodeSse(2, opcode);
}

/** Whether LOCK may precede it: a read-modify-write of memory (Intel SDM 2A, LOCK). */
function lockable(): bool {
  if ((load<u8>(record, 5) & FLAG_MEMORY) == 0) return false;
  const handler = <i32>load<u16>(record);
  if (handler >= H.ADD_RR_32 && handler < H.TEST_RR_32) {
    const form = ((handler - H.ADD_RR_32) % 10) & ~1;
    return handler < H.CMP_RR_32 && (form == MR || form == MI);
  }
  if (handler >= H.ALU_ADD && handler < H.ALU_CMP) return (load<u8>(record, 5) & FLAG_TO_REG) == 0;
  switch (handler) {
    case H.INC:
    case H.DEC:
    case H.NOT:
    case H.NEG:
    case H.BTS:
    case H.BTR:
    case H.BTC:
    case H.XCHG:
    case H.XADD:
    case H.CMPXCHG:
    case H.CMPXCHG8B:
    case H.CMPXCHG16B:
      return true;
    default:
      return false;
  }
}

/**
 * Decodes the instruction at the fetch position into `to`, as the instruction `offset` bytes into its page.
 * Its length is what {@link fetched} says afterwards. END: nothing may follow it in its block.
 */
export function decode(to: u32, offset: u32, blockMode: u32): u32 {
  record = to;
  mode = blockMode;
  code = mode & MODE_CODE_MASK;
  flat = (mode & MODE_FLAT) != 0;
  start = offset;
  prefix66 = false;
  prefix67 = false;
  repeat = 0;
  lock = false;
  rex = 0;
  segmentOverride = -1;
  ends = NEXT;
  memory.fill(to, 0, 32);

  let opcode: u32;
  for (;;) {
    opcode = fetch8();
    if ((opcode & 0xf0) == 0x40 && code == MODE_CODE64) {
      // REX counts only right before the opcode.
      rex = opcode;
      continue;
    }
    let isPrefix = true;
    switch (opcode) {
      case 0x26:
        segmentOverride = ES;
        break;
      case 0x2e:
        segmentOverride = CS;
        break;
      case 0x36:
        segmentOverride = SS;
        break;
      case 0x3e:
        segmentOverride = DS;
        break;
      case 0x64:
        segmentOverride = FS;
        break;
      case 0x65:
        segmentOverride = GS;
        break;
      case 0x66:
        prefix66 = true;
        break;
      case 0x67:
        prefix67 = true;
        break;
      case 0xf0:
        lock = true;
        break;
      case 0xf2:
      case 0xf3:
        repeat = opcode;
        break;
      default:
        isPrefix = false;
    }
    if (!isPrefix) break;
    rex = 0;
    if (fetched() > 14) break;
  }
  if (code == MODE_CODE64) {
    setSize((rex & 8) != 0 ? 3 : prefix66 ? 1 : 2);
    addressSize = prefix67 ? 2 : 3;
  } else {
    const wide = code == MODE_CODE32;
    setSize(wide != prefix66 ? 2 : 1);
    addressSize = wide != prefix67 ? 2 : 1;
  }
  if (repeat == 0xf3) addFlags(FLAG_REP);
  else if (repeat == 0xf2) addFlags(FLAG_REPNE);
  if (lock) addFlags(FLAG_LOCK);

  if (opcode == 0x0f) decodeTwoByte();
  else decodeOneByte(opcode);

  if (lock && !lockable()) {
    setHandler(H.UD2);
    ends = END;
  }
  return ends;
}
