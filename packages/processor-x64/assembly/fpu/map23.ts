// Instructions of the maps 0F 38 and 0F 3A (Intel SDM 2, tables ).
import { setFlags } from '../flags';
import { loadUnsigned, sourcePointer, storeOperand } from '../operand';
import { immOf, isMemory, regOf, rmOf, sizeOf } from '../record';
import { CF, FPU_SCRATCH, RAX, RCX, RDX, XMM, ZF } from '../state';
import {
  carrylessProduct,
  crc32c,
  decryptRound,
  encryptRound,
  inverseMixColumns,
  sha1Message1,
  sha1Message2,
  sha1NextE,
  sha256Message1,
  sha256Message2,
  sha256Rounds,
} from './crypto';
import { mmxSource, setMmxVector, storeGeneral } from './mmx';
import { blockDifferences, extend, packedOperation38 } from './packed-integer';
import { dotProduct, packedRound, scalarRound } from './sse-float';
import { destination, setDestination, setGeneral32, source, source16 } from './sse-operand';
import {
  compareStrings,
  explicitLength,
  implicitLength,
  indexOfResult,
  maskOfResult,
  stringFlags,
} from './sse-string';
import { checkPending } from './x87-state';

export function executeMap2(number: u32, op: u32): void {
  const opcode = number >> 1;
  if ((number & 1) == 0) {
    checkPending();
    const b = mmxSource(op);
    setMmxVector(op, packedOperation38(opcode, v128.load64_zero(regOf(op)), b, true));
    return;
  }
  switch (opcode) {
    case 0x10: {
      const b = source(op);
      setDestination(op, v128.bitselect(b, destination(op), i8x16.shr_s(v128.load(XMM), 7)));
      break;
    }
    case 0x14: {
      const b = source(op);
      setDestination(op, v128.bitselect(b, destination(op), i32x4.shr_s(v128.load(XMM), 31)));
      break;
    }
    case 0x15: {
      const b = source(op);
      setDestination(op, v128.bitselect(b, destination(op), i64x2.shr_s(v128.load(XMM), 63)));
      break;
    }
    case 0x17: {
      const b = source(op);
      const a = destination(op);
      const zero = v128.any_true(v128.and(a, b)) ? 0 : ZF;
      setFlags(zero | (v128.any_true(v128.andnot(b, a)) ? 0 : CF));
      break;
    }
    case 0x2a:
      setDestination(op, source(op));
      break;
    case 0x20:
    case 0x23:
    case 0x25:
    case 0x30:
    case 0x33:
    case 0x35:
      setDestination(op, extend(opcode, v128.load64_zero(sourcePointer(op, 8))));
      break;
    case 0x21:
    case 0x24:
    case 0x31:
    case 0x34:
      setDestination(op, extend(opcode, v128.load32_zero(sourcePointer(op, 4))));
      break;
    case 0x22:
    case 0x32:
      setDestination(op, extend(opcode, i16x8.splat(load<i16>(sourcePointer(op, 2)))));
      break;
    default: {
      const b = source(op);
      setDestination(op, packedOperation38(opcode, destination(op), b, false));
    }
  }
}

/** 0F 38 C8 to F1. */
export function executeMap2High(opcode: u32, op: u32): void {
  if (opcode >= 0xf0) {
    const size: u32 = opcode == 0xf0 ? 1 : <u32>1 << sizeOf(op);
    const from = sourcePointer(op, size);
    setGeneral32(op, crc32c(load<u32>(regOf(op)), loadUnsigned(from, ctz(size)), size));
    return;
  }
  const b = source(op);
  const a = destination(op);
  let result: v128;
  switch (opcode) {
    case 0xc8:
      result = sha1NextE(a, b);
      break;
    case 0xc9:
      result = sha1Message1(a, b);
      break;
    case 0xca:
      result = sha1Message2(a, b);
      break;
    case 0xcb:
      result = sha256Rounds(a, b, v128.load(XMM));
      break;
    case 0xcc:
      result = sha256Message1(a, b);
      break;
    case 0xcd:
      result = sha256Message2(a, b);
      break;
    case 0xdb:
      result = inverseMixColumns(b);
      break;
    case 0xdc:
      result = encryptRound(a, b, false);
      break;
    case 0xdd:
      result = encryptRound(a, b, true);
      break;
    case 0xde:
      result = decryptRound(a, b, false);
      break;
    default:
      result = decryptRound(a, b, true);
  }
  setDestination(op, result);
}

export function executeMap3(opcode: u32, op: u32): void {
  const imm = <u32>immOf(op);
  switch (opcode) {
    case 0x08:
      packedRound<f32>(op);
      break;
    case 0x09:
      packedRound<f64>(op);
      break;
    case 0x0a:
      scalarRound<f32>(op);
      break;
    case 0x0b:
      scalarRound<f64>(op);
      break;
    case 0x0c: {
      const bits = i32x4.ne(v128.and(i32x4.splat(imm), i32x4(1, 2, 4, 8)), i32x4.splat(0));
      const b = source(op);
      setDestination(op, v128.bitselect(b, destination(op), bits));
      break;
    }
    case 0x0d: {
      const bits = i64x2.ne(v128.and(i64x2.splat(imm), i64x2(1, 2)), i64x2.splat(0));
      const b = source(op);
      setDestination(op, v128.bitselect(b, destination(op), bits));
      break;
    }
    case 0x0e: {
      const bits = i16x8.ne(v128.and(i16x8.splat(<i16>imm), i16x8(1, 2, 4, 8, 16, 32, 64, 128)), i64x2.splat(0));
      const b = source(op);
      setDestination(op, v128.bitselect(b, destination(op), bits));
      break;
    }
    case 0x0f: {
      // The second operand, with the first above it, moved down by bytes.
      v128.store(FPU_SCRATCH, source(op));
      v128.store(FPU_SCRATCH, destination(op), 16);
      v128.store(FPU_SCRATCH, i64x2.splat(0), 32);
      v128.store(FPU_SCRATCH, i64x2.splat(0), 48);
      setDestination(op, v128.load(FPU_SCRATCH + min<u32>(imm, 32)));
      break;
    }
    case 0x14: {
      const value = <u32>load<u8>(regOf(op) + (imm & 15));
      if (isMemory(op)) {
        store<u8>(FPU_SCRATCH, value);
        storeOperand(op, FPU_SCRATCH, 1);
      } else store<u64>(rmOf(op), value);
      break;
    }
    case 0x15: {
      const from = regOf(op) + ((imm & 7) << 1);
      if (isMemory(op)) storeOperand(op, from, 2);
      else store<u64>(rmOf(op), load<u16>(from));
      break;
    }
    case 0x16:
      if (sizeOf(op) == 3) storeOperand(op, regOf(op) + ((imm & 1) << 3), 8);
      else storeGeneral(op, regOf(op) + ((imm & 3) << 2));
      break;
    case 0x17:
      storeGeneral32(op, regOf(op) + ((imm & 3) << 2));
      break;
    case 0x20:
      store<u8>(regOf(op) + (imm & 15), load<u8>(sourcePointer(op, 1)));
      break;
    case 0x21: {
      const from = isMemory(op) ? sourcePointer(op, 4) : rmOf(op) + ((imm >> 6) << 2);
      const value = load<u32>(from);
      const to = regOf(op);
      store<u32>(to + (((imm >> 4) & 3) << 2), value);
      for (let i: u32 = 0; i < 4; i++) if ((imm >> i) & 1) store<u32>(to + (i << 2), 0);
      break;
    }
    case 0x22:
      if (sizeOf(op) == 3) store<u64>(regOf(op) + ((imm & 1) << 3), load<u64>(sourcePointer(op, 8)));
      else store<u32>(regOf(op) + ((imm & 3) << 2), load<u32>(sourcePointer(op, 4)));
      break;
    case 0x40:
      dotProduct<f32>(op);
      break;
    case 0x41:
      dotProduct<f64>(op);
      break;
    case 0x42: {
      blockDifferences(regOf(op), source16(op), imm, FPU_SCRATCH);
      setDestination(op, v128.load(FPU_SCRATCH));
      break;
    }
    case 0x44: {
      const b = source(op);
      setDestination(op, carrylessProduct(destination(op), b, imm));
      break;
    }
    default:
      compareString(opcode, imm, op);
  }
}

/** EXTRACTPS, whose REX.W changes nothing. */
function storeGeneral32(op: u32, from: u32): void {
  if (isMemory(op)) storeOperand(op, from, 4);
  else store<u64>(rmOf(op), load<u32>(from));
}

/** PCMPESTRM, PCMPESTRI, PCMPISTRM, PCMPISTRI: opcodes 60 to 63. Memory need not be aligned. */
function compareString(opcode: u32, imm: u32, op: u32): void {
  const b = sourcePointer(op, 16);
  const a = regOf(op);
  let aLength: u32;
  let bLength: u32;
  if (opcode < 0x62) {
    const wide = sizeOf(op) == 3;
    aLength = explicitLength(wide ? load<i64>(RAX) : <i64>load<i32>(RAX), imm);
    bLength = explicitLength(wide ? load<i64>(RDX) : <i64>load<i32>(RDX), imm);
  } else {
    aLength = implicitLength(a, imm);
    bLength = implicitLength(b, imm);
  }
  const result = compareStrings(a, aLength, b, bLength, imm);
  if (opcode & 1) store<u64>(RCX, indexOfResult(result, imm));
  else v128.store(XMM, maskOfResult(result, imm));
  setFlags(stringFlags);
}
