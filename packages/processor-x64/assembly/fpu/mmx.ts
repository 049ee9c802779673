// Instructions of MMX registers, and what XMM registers share with them (Intel SDM 1, chapter 9).
import { probeWrite, writeGuest8 } from '../memory';
import { inLongCode, sourcePointer, storeOperand } from '../operand';
import {
  addressSizeOf,
  FLAG_SEGMENTED,
  flagsOf,
  immOf,
  isMemory,
  regOf,
  rmOf,
  segmentOf,
  sizeOf,
} from '../record';
import { segmentAddress } from '../segment-access';
import { DS, FPU_SCRATCH, RDI, X87_STATUS, X87_TAG } from '../state';
import { PD, PS, SD, SS } from './map1';
import { packedOperation, shiftArithmetic, shiftLeft, shiftRight } from './packed-integer';
import { float32ToMmx, float64ToMmx, mmxToFloat32, packedIntegerToFloat64, setMmx } from './sse-convert';
import { setDestination, setGeneral32 } from './sse-operand';
import { checkPending, enterMmx } from './x87-state';

// @ts-ignore: decorator
@inline export function mmxSource(op: u32): v128 {
  return v128.load64_zero(sourcePointer(op, 8));
}

/** Instructions of MMX registers, which check for a pending x87 exception. */
export function executeMmx(number: u32, op: u32): void {
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
@inline export function setMmxVector(op: u32, value: v128): void {
  setMmx(op, <u64>i64x2.extract_lane(value, 0));
}

/** MOVD and MOVQ to ModRM.rm, which clears the upper half of a register. */
export function storeGeneral(op: u32, from: u32): void {
  if (sizeOf(op) == 3) storeOperand(op, from, 8);
  else if (isMemory(op)) storeOperand(op, from, 4);
  else store<u64>(rmOf(op), load<u32>(from));
}

/** Four words by two bits each. */
export function shuffleWords(words: u64, selector: u32): u64 {
  let result: u64 = 0;
  for (let i: u32 = 0; i < 4; i++) {
    result |= ((words >> (((selector >> (i << 1)) & 3) << 4)) & 0xffff) << (i << 4);
  }
  return result;
}

/** MASKMOVQ and MASKMOVDQU: the bytes whose mask has its top bit set, to DS:[rDI]. */
export function maskedStore(op: u32, from: u32, mask: u32, size: u32): void {
  const width = addressSizeOf(op);
  const offset = width == 1 ? <u64>load<u16>(RDI) : width == 3 || inLongCode() ? load<u64>(RDI) : <u64>load<u32>(RDI);
  const va = segmentAddress(flagsOf(op) & FLAG_SEGMENTED ? segmentOf(op) : DS, offset, size, true);
  for (let i: u32 = 0; i < size; i++) if (load<u8>(mask + i) & 0x80) probeWrite(va + i, 1);
  for (let i: u32 = 0; i < size; i++) if (load<u8>(mask + i) & 0x80) writeGuest8(va + i, load<u8>(from + i));
}

/** PALIGNR of MMX registers. */
export function alignMmx(op: u32): void {
  checkPending();
  v128.store(FPU_SCRATCH, mmxSource(op));
  v128.store(FPU_SCRATCH, v128.load64_zero(regOf(op)), 8);
  setMmx(op, load<u64>(FPU_SCRATCH + min<u32>(<u32>immOf(op) & 0xff, 16)));
}

/** The shift by an immediate that an opcode and ModRM.reg name: (opcode & 3) << 3 | reg. */
// @ts-ignore: decorator
@inline export function shifted(number: u32, a: v128, count: i32): v128 {
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

export function shiftXmm(number: u32, op: u32): void {
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

export function shiftMmx(number: u32, op: u32): void {
  checkPending();
  const register = rmOf(op);
  const result = shifted(number, v128.load64_zero(register), <i32>(<u32>immOf(op) & 0xff));
  enterMmx();
  store<u64>(register, <u64>i64x2.extract_lane(result, 0));
  store<u16>(register, 0xffff, 8);
}
