// Runs the handlers of the FPU part.
import { setFlags } from '../flags';
import { probeWrite, writeGuest8 } from '../memory';
import { inLongCode, requireAligned16, sourcePointer, storeOperand } from '../operand';
import { addressSizeOf, FLAG_SEGMENTED, flagsOf, immOf, isMemory, regOf, rmOf, segmentOf, sizeOf } from '../record';
import { segmentAddress } from '../segment-access';
import { CF, DS, FPU_SCRATCH, RAX, RCX, RDI, RDX, X87_STATUS, X87_TAG, XMM, ZF } from '../state';
import {
  carrylessProduct,
  crc32c,
  decryptRound,
  encryptRound,
  inverseMixColumns,
  keyGenerationAssist,
  sha1Message1,
  sha1Message2,
  sha1NextE,
  sha1Rounds,
  sha256Message1,
  sha256Message2,
  sha256Rounds,
} from './crypto';
import {
  AESKEYGENASSIST,
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
import {
  blockDifferences,
  extend,
  packedOperation,
  packedOperation38,
  shiftArithmetic,
  shiftLeft,
  shiftRight,
} from './packed-integer';
import {
  float32ToMmx,
  float64ToMmx,
  integerToScalar,
  mmxToFloat32,
  packedFloat32ToInteger,
  packedFloat64ToInteger,
  packedIntegerToFloat32,
  packedIntegerToFloat64,
  packedNarrow,
  packedWiden,
  scalarNarrow,
  scalarToInteger,
  scalarWiden,
  setMmx,
} from './sse-convert';
import {
  addSubtract,
  compareToFlags,
  dotProduct,
  horizontal,
  packed,
  packedApproximate,
  packedCompare,
  packedRoot,
  packedRound,
  packedSelect,
  scalar,
  scalarApproximate,
  scalarCompare,
  scalarRoot,
  scalarRound,
  scalarSelect,
} from './sse-float';
import { ADD, DIVIDE, MAXIMUM, MINIMUM, MULTIPLY, SUBTRACT } from './sse-number';
import { destination, setDestination, setGeneral32, source, source16 } from './sse-operand';
import { compareStrings, explicitLength, implicitLength, indexOfResult, maskOfResult, stringFlags } from './sse-string';
import { executeX87 } from './x87';
import { fxrstor, fxsave, ldmxcsr, stmxcsr, xrstor, xsave, xsavec } from './x87-save';
import { checkPending, enterMmx } from './x87-state';

// Prefixes, in the lowest two bits of a number of map 1.
const PS: u32 = 0;
const PD: u32 = 1;
const SS: u32 = 2;
const SD: u32 = 3;

/** Runs a handler of the FPU part. */
export function executeFpu(handler: u32, op: u32): void {
  if (handler < MAP1) executeX87(handler, op);
  else if (handler < MAP2) executeMap1(handler - MAP1, op);
  else if (handler < MAP2_HIGH) executeMap2(handler - MAP2, op);
  else if (handler < MAP3) executeMap2High(handler - MAP2_HIGH + 0xc8, op);
  else if (handler < PALIGNR_MMX) executeMap3(handler - MAP3, op);
  else if (handler < SHIFT_XMM) executeNamed(handler, op);
  else if (handler < SHIFT_MMX) shiftXmm(handler - SHIFT_XMM, op);
  else shiftMmx(handler - SHIFT_MMX, op);
}

// @ts-ignore: decorator
@inline function mmxSource(op: u32): v128 {
  return v128.load64_zero(sourcePointer(op, 8));
}

/** The opcodes of one row of the map at a time, so that each switch is a dense table. */
function executeMap1(number: u32, op: u32): void {
  switch (number >> 6) {
    case 0x1:
      executeMoves(number, op);
      break;
    case 0x2:
      executeConversions(number, op);
      break;
    case 0x5:
      executeArithmetic(number, op);
      break;
    case 0x6:
      executePacked6(number, op);
      break;
    case 0x7:
      executePacked7(number, op);
      break;
    case 0xc:
      executeShuffles(number, op);
      break;
    default:
      executePackedD(number, op);
  }
}

/** A packed operation of two XMM registers, or an instruction of MMX registers. */
// @ts-ignore: decorator
@inline function executePacked(number: u32, op: u32): void {
  if ((number & 3) == PD) {
    const b = source(op);
    setDestination(op, packedOperation(number >> 2, destination(op), b, false));
  } else executeMmx(number, op);
}

/** 0F 10 to 17: moves, UNPCKL and UNPCKH. */
function executeMoves(number: u32, op: u32): void {
  switch (number) {
    case (0x10 << 2) | PS:
    case (0x10 << 2) | PD:
      setDestination(op, v128.load(sourcePointer(op, 16)));
      break;
    case (0x10 << 2) | SS:
      if (isMemory(op)) setDestination(op, v128.load32_zero(sourcePointer(op, 4)));
      else store<u32>(regOf(op), load<u32>(rmOf(op)));
      break;
    case (0x10 << 2) | SD:
      if (isMemory(op)) setDestination(op, v128.load64_zero(sourcePointer(op, 8)));
      else store<u64>(regOf(op), load<u64>(rmOf(op)));
      break;
    case (0x11 << 2) | PS:
    case (0x11 << 2) | PD:
      storeOperand(op, regOf(op), 16);
      break;
    case (0x11 << 2) | SS:
      storeOperand(op, regOf(op), 4);
      break;
    case (0x11 << 2) | SD:
      storeOperand(op, regOf(op), 8);
      break;
    case (0x12 << 2) | PS:
      // MOVLPS, MOVHLPS
      store<u64>(regOf(op), isMemory(op) ? load<u64>(sourcePointer(op, 8)) : load<u64>(rmOf(op), 8));
      break;
    case (0x12 << 2) | PD:
      store<u64>(regOf(op), load<u64>(sourcePointer(op, 8)));
      break;
    case (0x12 << 2) | SS: {
      const x = source(op);
      setDestination(op, v128.shuffle<i32>(x, x, 0, 0, 2, 2));
      break;
    }
    case (0x12 << 2) | SD:
      setDestination(op, v128.load64_splat(sourcePointer(op, 8)));
      break;
    case (0x13 << 2) | PS:
    case (0x13 << 2) | PD:
      storeOperand(op, regOf(op), 8);
      break;
    case (0x14 << 2) | PS:
      setDestination(op, v128.shuffle<i32>(destination(op), source(op), 0, 4, 1, 5));
      break;
    case (0x14 << 2) | PD:
      setDestination(op, v128.shuffle<i64>(destination(op), source(op), 0, 2));
      break;
    case (0x15 << 2) | PS:
      setDestination(op, v128.shuffle<i32>(destination(op), source(op), 2, 6, 3, 7));
      break;
    case (0x15 << 2) | PD:
      setDestination(op, v128.shuffle<i64>(destination(op), source(op), 1, 3));
      break;
    case (0x16 << 2) | PS:
    case (0x16 << 2) | PD:
      // MOVHPS, MOVLHPS
      store<u64>(regOf(op), load<u64>(sourcePointer(op, 8)), 8);
      break;
    case (0x16 << 2) | SS: {
      const x = source(op);
      setDestination(op, v128.shuffle<i32>(x, x, 1, 1, 3, 3));
      break;
    }
    case (0x17 << 2) | PS:
    case (0x17 << 2) | PD:
      storeOperand(op, regOf(op) + 8, 8);
      break;
    default:
  }
}

/** 0F 28 to 2F: moves, conversions of integers, comparisons. */
function executeConversions(number: u32, op: u32): void {
  switch (number) {
    case (0x28 << 2) | PS:
    case (0x28 << 2) | PD:
      setDestination(op, source(op));
      break;
    case (0x29 << 2) | PS:
    case (0x29 << 2) | PD:
    case (0x2b << 2) | PS:
    case (0x2b << 2) | PD:
      storeAligned(op);
      break;
    case (0x2a << 2) | SS:
      integerToScalar<f32>(op);
      break;
    case (0x2a << 2) | SD:
      integerToScalar<f64>(op);
      break;
    case (0x2c << 2) | SS:
      scalarToInteger<f32>(op, true);
      break;
    case (0x2c << 2) | SD:
      scalarToInteger<f64>(op, true);
      break;
    case (0x2d << 2) | SS:
      scalarToInteger<f32>(op, false);
      break;
    case (0x2d << 2) | SD:
      scalarToInteger<f64>(op, false);
      break;
    case (0x2e << 2) | PS:
      compareToFlags<f32>(op, true);
      break;
    case (0x2e << 2) | PD:
      compareToFlags<f64>(op, true);
      break;
    case (0x2f << 2) | PS:
      compareToFlags<f32>(op, false);
      break;
    case (0x2f << 2) | PD:
      compareToFlags<f64>(op, false);
      break;
    default:
      executeMmx(number, op);
  }
}

/** 0F 50 to 5F: arithmetic. */
function executeArithmetic(number: u32, op: u32): void {
  switch (number) {
    case (0x50 << 2) | PS:
      setGeneral32(op, i32x4.bitmask(v128.load(rmOf(op))));
      break;
    case (0x50 << 2) | PD:
      setGeneral32(op, i64x2.bitmask(v128.load(rmOf(op))));
      break;
    case (0x51 << 2) | PS:
      packedRoot<f32>(op);
      break;
    case (0x51 << 2) | PD:
      packedRoot<f64>(op);
      break;
    case (0x51 << 2) | SS:
      scalarRoot<f32>(op);
      break;
    case (0x51 << 2) | SD:
      scalarRoot<f64>(op);
      break;
    case (0x52 << 2) | PS:
      packedApproximate(op, true);
      break;
    case (0x52 << 2) | SS:
      scalarApproximate(op, true);
      break;
    case (0x53 << 2) | PS:
      packedApproximate(op, false);
      break;
    case (0x53 << 2) | SS:
      scalarApproximate(op, false);
      break;
    case (0x54 << 2) | PS:
    case (0x54 << 2) | PD:
      setDestination(op, v128.and(destination(op), source(op)));
      break;
    case (0x55 << 2) | PS:
    case (0x55 << 2) | PD:
      setDestination(op, v128.andnot(source(op), destination(op)));
      break;
    case (0x56 << 2) | PS:
    case (0x56 << 2) | PD:
      setDestination(op, v128.or(destination(op), source(op)));
      break;
    case (0x57 << 2) | PS:
    case (0x57 << 2) | PD:
      setDestination(op, v128.xor(destination(op), source(op)));
      break;
    case (0x58 << 2) | PS:
      packed<f32>(ADD, op);
      break;
    case (0x58 << 2) | PD:
      packed<f64>(ADD, op);
      break;
    case (0x58 << 2) | SS:
      scalar<f32>(ADD, op);
      break;
    case (0x58 << 2) | SD:
      scalar<f64>(ADD, op);
      break;
    case (0x59 << 2) | PS:
      packed<f32>(MULTIPLY, op);
      break;
    case (0x59 << 2) | PD:
      packed<f64>(MULTIPLY, op);
      break;
    case (0x59 << 2) | SS:
      scalar<f32>(MULTIPLY, op);
      break;
    case (0x59 << 2) | SD:
      scalar<f64>(MULTIPLY, op);
      break;
    case (0x5a << 2) | PS:
      packedWiden(op);
      break;
    case (0x5a << 2) | PD:
      packedNarrow(op);
      break;
    case (0x5a << 2) | SS:
      scalarWiden(op);
      break;
    case (0x5a << 2) | SD:
      scalarNarrow(op);
      break;
    case (0x5b << 2) | PS:
      packedIntegerToFloat32(op);
      break;
    case (0x5b << 2) | PD:
      packedFloat32ToInteger(op, false);
      break;
    case (0x5b << 2) | SS:
      packedFloat32ToInteger(op, true);
      break;
    case (0x5c << 2) | PS:
      packed<f32>(SUBTRACT, op);
      break;
    case (0x5c << 2) | PD:
      packed<f64>(SUBTRACT, op);
      break;
    case (0x5c << 2) | SS:
      scalar<f32>(SUBTRACT, op);
      break;
    case (0x5c << 2) | SD:
      scalar<f64>(SUBTRACT, op);
      break;
    case (0x5d << 2) | PS:
      packedSelect<f32>(MINIMUM, op);
      break;
    case (0x5d << 2) | PD:
      packedSelect<f64>(MINIMUM, op);
      break;
    case (0x5d << 2) | SS:
      scalarSelect<f32>(MINIMUM, op);
      break;
    case (0x5d << 2) | SD:
      scalarSelect<f64>(MINIMUM, op);
      break;
    case (0x5e << 2) | PS:
      packed<f32>(DIVIDE, op);
      break;
    case (0x5e << 2) | PD:
      packed<f64>(DIVIDE, op);
      break;
    case (0x5e << 2) | SS:
      scalar<f32>(DIVIDE, op);
      break;
    case (0x5e << 2) | SD:
      scalar<f64>(DIVIDE, op);
      break;
    case (0x5f << 2) | PS:
      packedSelect<f32>(MAXIMUM, op);
      break;
    case (0x5f << 2) | PD:
      packedSelect<f64>(MAXIMUM, op);
      break;
    case (0x5f << 2) | SS:
      scalarSelect<f32>(MAXIMUM, op);
      break;
    case (0x5f << 2) | SD:
      scalarSelect<f64>(MAXIMUM, op);
      break;
    default:
  }
}

/** 0F 60 to 6F: packed integers, moves. */
function executePacked6(number: u32, op: u32): void {
  switch (number) {
    case (0x6e << 2) | PD: {
      const from = sourcePointer(op, sizeOf(op) == 3 ? 8 : 4);
      setDestination(op, sizeOf(op) == 3 ? v128.load64_zero(from) : v128.load32_zero(from));
      break;
    }
    case (0x6f << 2) | PD:
      setDestination(op, source(op));
      break;
    case (0x6f << 2) | SS:
      setDestination(op, v128.load(sourcePointer(op, 16)));
      break;
    default:
      executePacked(number, op);
  }
}

/** 0F 70 to 7F: shuffles, packed integers, moves. */
function executePacked7(number: u32, op: u32): void {
  switch (number) {
    case (0x70 << 2) | PD:
      setDestination(op, i8x16.swizzle(source(op), selectDwords(<u32>immOf(op))));
      break;
    case (0x70 << 2) | SS: {
      const from = source16(op);
      const low = load<u64>(from);
      store<u64>(regOf(op), shuffleWords(load<u64>(from, 8), <u32>immOf(op)), 8);
      store<u64>(regOf(op), low);
      break;
    }
    case (0x70 << 2) | SD: {
      const from = source16(op);
      const high = load<u64>(from, 8);
      store<u64>(regOf(op), shuffleWords(load<u64>(from), <u32>immOf(op)));
      store<u64>(regOf(op), high, 8);
      break;
    }
    case (0x7c << 2) | PD:
      horizontal<f64>(ADD, op);
      break;
    case (0x7c << 2) | SD:
      horizontal<f32>(ADD, op);
      break;
    case (0x7d << 2) | PD:
      horizontal<f64>(SUBTRACT, op);
      break;
    case (0x7d << 2) | SD:
      horizontal<f32>(SUBTRACT, op);
      break;
    case (0x7e << 2) | PD:
      storeGeneral(op, regOf(op));
      break;
    case (0x7e << 2) | SS:
      setDestination(op, v128.load64_zero(sourcePointer(op, 8)));
      break;
    case (0x7f << 2) | PD:
      storeAligned(op);
      break;
    case (0x7f << 2) | SS:
      storeOperand(op, regOf(op), 16);
      break;
    default:
      executePacked(number, op);
  }
}

/** 0F C2 to C6: comparisons, shuffles. */
function executeShuffles(number: u32, op: u32): void {
  switch (number) {
    case (0xc2 << 2) | PS:
      packedCompare<f32>(op);
      break;
    case (0xc2 << 2) | PD:
      packedCompare<f64>(op);
      break;
    case (0xc2 << 2) | SS:
      scalarCompare<f32>(op);
      break;
    case (0xc2 << 2) | SD:
      scalarCompare<f64>(op);
      break;
    case (0xc3 << 2) | PS:
      storeOperand(op, regOf(op), sizeOf(op) == 3 ? 8 : 4);
      break;
    case (0xc4 << 2) | PD:
      store<u16>(regOf(op) + ((<u32>immOf(op) & 7) << 1), load<u16>(sourcePointer(op, 2)));
      break;
    case (0xc5 << 2) | PD:
      setGeneral32(op, load<u16>(rmOf(op) + ((<u32>immOf(op) & 7) << 1)));
      break;
    case (0xc6 << 2) | PS: {
      const selector = selectDwords(<u32>immOf(op));
      const high = i8x16.swizzle(source(op), selector);
      setDestination(op, v128.shuffle<i64>(i8x16.swizzle(destination(op), selector), high, 0, 3));
      break;
    }
    case (0xc6 << 2) | PD: {
      const from = source16(op);
      const imm = <u32>immOf(op);
      const low = load<u64>(regOf(op) + ((imm & 1) << 3));
      const high = load<u64>(from + ((imm & 2) << 2));
      store<u64>(regOf(op), low);
      store<u64>(regOf(op), high, 8);
      break;
    }
    default:
      executeMmx(number, op);
  }
}

/** 0F D0 to FF: packed integers, and among them others. */
function executePackedD(number: u32, op: u32): void {
  switch (number) {
    case (0xd0 << 2) | PD:
      addSubtract<f64>(op);
      break;
    case (0xd0 << 2) | SD:
      addSubtract<f32>(op);
      break;
    case (0xd6 << 2) | PD:
      if (isMemory(op)) storeOperand(op, regOf(op), 8);
      else v128.store(rmOf(op), v128.load64_zero(regOf(op)));
      break;
    case (0xd7 << 2) | PD:
      setGeneral32(op, i8x16.bitmask(v128.load(rmOf(op))));
      break;
    case (0xe6 << 2) | PD:
      packedFloat64ToInteger(op, true);
      break;
    case (0xe6 << 2) | SS:
      packedIntegerToFloat64(op);
      break;
    case (0xe6 << 2) | SD:
      packedFloat64ToInteger(op, false);
      break;
    case (0xe7 << 2) | PD:
      storeAligned(op);
      break;
    case (0xf0 << 2) | SD:
      setDestination(op, v128.load(sourcePointer(op, 16)));
      break;
    case (0xf7 << 2) | PD:
      maskedStore(op, regOf(op), rmOf(op), 16);
      break;
    default:
      executePacked(number, op);
  }
}

/** Instructions of MMX registers, which check for a pending x87 exception. */
function executeMmx(number: u32, op: u32): void {
  // CVTPI2PS and CVTPI2PD of memory do without MMX registers.
  if (number >> 2 != 0x2a || !isMemory(op)) checkPending();
  switch (number) {
    case (0x6e << 2) | PS: {
      const from = sourcePointer(op, sizeOf(op) == 3 ? 8 : 4);
      setMmx(op, sizeOf(op) == 3 ? load<u64>(from) : <u64>load<u32>(from));
      break;
    }
    case (0x7e << 2) | PS:
      storeGeneral(op, regOf(op));
      enterMmx();
      break;
    case (0x6f << 2) | PS:
      setMmx(op, load<u64>(sourcePointer(op, 8)));
      break;
    case (0x7f << 2) | PS:
      storeOperand(op, regOf(op), 8);
      enterMmx();
      if (!isMemory(op)) store<u16>(rmOf(op), 0xffff, 8);
      break;
    case (0xe7 << 2) | PS:
      storeOperand(op, regOf(op), 8);
      enterMmx();
      break;
    case (0x70 << 2) | PS:
      setMmx(op, shuffleWords(load<u64>(sourcePointer(op, 8)), <u32>immOf(op)));
      break;
    case (0x77 << 2) | PS:
      store<u16>(X87_TAG, 0xffff);
      store<u16>(X87_STATUS, <u32>load<u16>(X87_STATUS) & ~0x3800);
      break;
    case (0xc4 << 2) | PS: {
      const shift = <u64>((<u32>immOf(op) & 3) << 4);
      const value = <u64>load<u16>(sourcePointer(op, 2));
      setMmx(op, (load<u64>(regOf(op)) & ~((<u64>0xffff) << shift)) | (value << shift));
      break;
    }
    case (0xc5 << 2) | PS:
      enterMmx();
      setGeneral32(op, load<u16>(rmOf(op) + ((<u32>immOf(op) & 3) << 1)));
      break;
    case (0xd7 << 2) | PS:
      enterMmx();
      setGeneral32(op, i8x16.bitmask(v128.load64_zero(rmOf(op))));
      break;
    case (0xf7 << 2) | PS:
      maskedStore(op, regOf(op), rmOf(op), 8);
      enterMmx();
      break;
    case (0xd6 << 2) | SS:
      setDestination(op, v128.load64_zero(rmOf(op)));
      enterMmx();
      break;
    case (0xd6 << 2) | SD:
      setMmx(op, load<u64>(rmOf(op)));
      break;
    case (0x2a << 2) | PS:
      mmxToFloat32(op);
      break;
    case (0x2a << 2) | PD:
      packedIntegerToFloat64(op);
      if (!isMemory(op)) enterMmx();
      break;
    case (0x2c << 2) | PS:
      float32ToMmx(op, true);
      break;
    case (0x2d << 2) | PS:
      float32ToMmx(op, false);
      break;
    case (0x2c << 2) | PD:
      float64ToMmx(op, true);
      break;
    case (0x2d << 2) | PD:
      float64ToMmx(op, false);
      break;
    default: {
      const b = mmxSource(op);
      setMmxVector(op, packedOperation(number >> 2, v128.load64_zero(regOf(op)), b, true));
    }
  }
}

// @ts-ignore: decorator
@inline function setMmxVector(op: u32, value: v128): void {
  setMmx(op, <u64>i64x2.extract_lane(value, 0));
}

function storeAligned(op: u32): void {
  requireAligned16(op);
  storeOperand(op, regOf(op), 16);
}

/** MOVD and MOVQ to ModRM.rm, which clears the upper half of a register. */
function storeGeneral(op: u32, from: u32): void {
  if (sizeOf(op) == 3) storeOperand(op, from, 8);
  else if (isMemory(op)) storeOperand(op, from, 4);
  else store<u64>(rmOf(op), load<u32>(from));
}

/** The bytes of the four doublewords that two bits each of an immediate select. */
// @ts-ignore: decorator
@inline function selectDwords(immediate: u32): v128 {
  // Each lane's two bits to bits 6 and 7.
  const shifted = i32x4.mul(i32x4.splat(immediate), i32x4(64, 16, 4, 1));
  const lanes = v128.and(i32x4.shr_u(shifted, 6), i32x4.splat(3));
  return i32x4.add(i32x4.mul(lanes, i32x4.splat(0x04040404)), i32x4.splat(0x03020100));
}

/** Four words by two bits each. */
function shuffleWords(words: u64, selector: u32): u64 {
  let result: u64 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    result |= ((words >> (((selector >> (i << 1)) & 3) << 4)) & 0xffff) << (i << 4);
  }
  return result;
}

/** MASKMOVQ and MASKMOVDQU: the bytes whose mask has its top bit set, to DS:[rDI]. */
function maskedStore(op: u32, from: u32, mask: u32, size: u32): void {
  const width = addressSizeOf(op);
  const offset = width == 1 ? <u64>load<u16>(RDI) : width == 3 || inLongCode() ? load<u64>(RDI) : <u64>load<u32>(RDI);
  const va = segmentAddress(flagsOf(op) & FLAG_SEGMENTED ? segmentOf(op) : DS, offset, size, true);
  for (let i: u32 = 0; i < size; i++) if (load<u8>(mask + i) & 0x80) probeWrite(va + i, 1);
  for (let i: u32 = 0; i < size; i++) if (load<u8>(mask + i) & 0x80) writeGuest8(va + i, load<u8>(from + i));
}

function executeMap2(number: u32, op: u32): void {
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
function executeMap2High(opcode: u32, op: u32): void {
  if (opcode >= 0xf0) {
    const size: u32 = opcode == 0xf0 ? 1 : <u32>1 << sizeOf(op);
    const from = sourcePointer(op, size);
    const value = size == 8 ? load<u64>(from) : size == 1 ? <u64>load<u8>(from) : size == 2 ? <u64>load<u16>(from) : <u64>load<u32>(from);
    setGeneral32(op, crc32c(load<u32>(regOf(op)), value, size));
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

function executeMap3(opcode: u32, op: u32): void {
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

function executeNamed(handler: u32, op: u32): void {
  switch (handler) {
    case PALIGNR_MMX:
      checkPending();
      v128.store(FPU_SCRATCH, mmxSource(op));
      v128.store(FPU_SCRATCH, v128.load64_zero(regOf(op)), 8);
      setMmx(op, load<u64>(FPU_SCRATCH + min<u32>(<u32>immOf(op), 16)));
      break;
    case SHA1RNDS4: {
      const b = source(op);
      setDestination(op, sha1Rounds(destination(op), b, <u32>immOf(op)));
      break;
    }
    case AESKEYGENASSIST:
      setDestination(op, keyGenerationAssist(source(op), <u32>immOf(op) & 0xff));
      break;
    case FXSAVE:
      fxsave(op);
      break;
    case FXRSTOR:
      fxrstor(op);
      break;
    case LDMXCSR:
      ldmxcsr(op);
      break;
    case STMXCSR:
      stmxcsr(op);
      break;
    case XSAVE:
      xsave(op);
      break;
    case XRSTOR:
      xrstor(op);
      break;
    case XSAVEC:
      xsavec(op);
      break;
    default:
  }
}

/** The shift by an immediate that an opcode and ModRM.reg name: (opcode & 3) << 3 | reg. */
// @ts-ignore: decorator
@inline function shifted(number: u32, a: v128, count: i32): v128 {
  switch (number) {
    case 0x0a:
      return shiftRight<u16>(a, count);
    case 0x0c:
      return shiftArithmetic<i16>(a, count);
    case 0x0e:
      return shiftLeft<u16>(a, count);
    case 0x12:
      return shiftRight<u32>(a, count);
    case 0x14:
      return shiftArithmetic<i32>(a, count);
    case 0x16:
      return shiftLeft<u32>(a, count);
    case 0x1a:
      return shiftRight<u64>(a, count);
    default:
      return shiftLeft<u64>(a, count);
  }
}

function shiftXmm(number: u32, op: u32): void {
  const count = <i32>(<u32>immOf(op) & 0xff);
  const register = rmOf(op);
  if (number == 0x1b || number == 0x1f) {
    // PSRLDQ, PSLLDQ: by bytes.
    const by = min<i32>(count, 16);
    v128.store(FPU_SCRATCH, i64x2.splat(0));
    v128.store(FPU_SCRATCH, v128.load(register), 16);
    v128.store(FPU_SCRATCH, i64x2.splat(0), 32);
    v128.store(register, v128.load(FPU_SCRATCH + 16 + (number == 0x1b ? by : -by)));
  } else v128.store(register, shifted(number, v128.load(register), count));
}

function shiftMmx(number: u32, op: u32): void {
  checkPending();
  const register = rmOf(op);
  const result = shifted(number, v128.load64_zero(register), <i32>(<u32>immOf(op) & 0xff));
  enterMmx();
  store<u64>(register, <u64>i64x2.extract_lane(result, 0));
  store<u16>(register, 0xffff, 8);
}
