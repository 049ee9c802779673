// Instructions of the map 0F, numbered opcode << 2 | prefix (Intel SDM 2, table A-3).
import { requireAligned16, sourcePointer, storeOperand } from '../operand';
import { immOf, isMemory, regOf, rmOf, sizeOf } from '../record';
import { XMM } from '../state';
import { executeMmx, maskedStore, shifted, shuffleWords, storeGeneral } from './mmx';
import { packedOperation } from './packed-integer';
import {
  integerToScalar,
  packedFloat32ToInteger,
  packedFloat64ToInteger,
  packedIntegerToFloat32,
  packedIntegerToFloat64,
  packedNarrow,
  packedWiden,
  scalarNarrow,
  scalarToInteger,
  scalarWiden,
} from './sse-convert';
import {
  addSubtract,
  compareToFlags,
  horizontal,
  packed,
  packedApproximate,
  packedCompare,
  packedRoot,
  packedSelect,
  scalar,
  scalarApproximate,
  scalarCompare,
  scalarRoot,
  scalarSelect,
} from './sse-float';
import { ADD, DIVIDE, MAXIMUM, MINIMUM, MULTIPLY, SUBTRACT } from './sse-number';
import { destination, setDestination, setGeneral32, source, source16 } from './sse-operand';

// Prefixes, in the lowest two bits of a number.
export const PS: u32 = 0;
export const PD: u32 = 1;
export const SS: u32 = 2;
export const SD: u32 = 3;

/** The opcodes of one row of the map at a time, so that each switch is a dense table. */
export function executeMap1(number: u32, op: u32): void {
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

function storeAligned(op: u32): void {
  requireAligned16(op);
  storeOperand(op, regOf(op), 16);
}

/** The bytes of the four doublewords that two bits each of an immediate select. */
// @ts-ignore: decorator
@inline function selectDwords(immediate: u32): v128 {
  // Each lane's two bits to bits 6 and 7.
  const shifted = i32x4.mul(i32x4.splat(immediate), i32x4(64, 16, 4, 1));
  const lanes = v128.and(i32x4.shr_u(shifted, 6), i32x4.splat(3));
  return i32x4.add(i32x4.mul(lanes, i32x4.splat(0x04040404)), i32x4.splat(0x03020100));
}
