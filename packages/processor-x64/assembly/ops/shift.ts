// Shifts and rotates (Intel SDM 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
import { carry, lazyShift, rotated } from '../flags';
import { beginRm, finishRm, readReg, signExtend } from '../operand';
import { FLAG_IMMEDIATE, flagsOf, immOf, sizeOf } from '../record';
import { CF, OF, RCX } from '../state';

/** The count as the processor masks it. */
function countOf(op: u32, byCl: bool): u32 {
  const raw = byCl ? <u32>load<u8>(RCX) : <u32>immOf(op) & 0xff;
  return raw & (sizeOf(op) == 3 ? 63 : 31);
}

export function shift(op: u32, byCl: bool): void {
  const size = sizeOf(op);
  const bits: u32 = 8 << size;
  const value = beginRm(op);
  const count = countOf(op, byCl);
  if (count == 0) {
    // Nothing changes, but a 32-bit register loses its upper half.
    finishRm(op, value);
    return;
  }
  const mask: u64 = 0xffffffffffffffff >> <u64>(64 - bits);
  const top: u32 = bits - 1;
  let result: u64;
  switch (<u32>load<u8>(op, 31)) {
    case 0: {
      const n = count & top;
      result = n == 0 ? value : ((value << n) | (value >> (bits - n))) & mask;
      rotated(<u32>result & 1, <u32>(result ^ (result >> top)) & 1);
      break;
    }
    case 1: {
      const n = count & top;
      result = n == 0 ? value : ((value >> n) | (value << (bits - n))) & mask;
      rotated(<u32>(result >> top) & 1, <u32>((result >> top) ^ (result >> (top - 1))) & 1);
      break;
    }
    case 2: {
      const n = size < 2 ? count % (bits + 1) : count;
      result = value;
      let carried: u64 = carry();
      for (let i: u32 = 0; i < n; i++) {
        const out = (result >> top) & 1;
        result = ((result << 1) | carried) & mask;
        carried = out;
      }
      rotated(<u32>carried, <u32>((result >> top) ^ carried) & 1);
      break;
    }
    case 3: {
      const n = size < 2 ? count % (bits + 1) : count;
      result = value;
      let carried: u64 = carry();
      for (let i: u32 = 0; i < n; i++) {
        const out = result & 1;
        result = (result >> 1) | (carried << top);
        carried = out;
      }
      rotated(<u32>carried, <u32>((result >> top) ^ (result >> (top - 1))) & 1);
      break;
    }
    case 5: {
      result = count < bits ? value >> count : 0;
      const out = count <= bits ? (value >> (count - 1)) & 1 : 0;
      lazyShift(signExtend(result, size), (out != 0 ? CF : 0) | ((value >> top) & 1 ? OF : 0));
      break;
    }
    case 7: {
      const signed = signExtend(value, size);
      const n: u32 = min<u32>(count, 63);
      result = <u64>(signed >> n) & mask;
      const out = (signed >> <i64>min<u32>(count - 1, 63)) & 1;
      lazyShift(signExtend(result, size), out != 0 ? CF : 0);
      break;
    }
    default: {
      // SHL, and SAL by its other encoding.
      result = count < bits ? (value << count) & mask : 0;
      const out = count <= bits ? (value >> (bits - count)) & 1 : 0;
      lazyShift(signExtend(result, size), (out != 0 ? CF : 0) | (((result >> top) ^ out) & 1 ? OF : 0));
    }
  }
  finishRm(op, result);
}

export function doubleShift(op: u32, right: bool): void {
  const size = sizeOf(op);
  const bits: u32 = 8 << size;
  const value = beginRm(op);
  const count = countOf(op, (flagsOf(op) & FLAG_IMMEDIATE) == 0);
  if (count == 0) {
    finishRm(op, value);
    return;
  }
  const mask: u64 = 0xffffffffffffffff >> <u64>(64 - bits);
  const other = readReg(op);
  const top = bits - 1;
  let result: u64;
  let out: u64;
  if (size == 1) {
    // Counts above 16 are undefined; processors shift through destination:source:destination.
    const wide: u64 = right
      ? value | (other << 16) | (value << 32)
      : (value << 32) | (other << 16) | value;
    if (right) {
      result = (wide >> count) & mask;
      out = (wide >> (count - 1)) & 1;
    } else {
      result = ((wide << count) >> 32) & mask;
      out = (wide >> (48 - count)) & 1;
    }
  } else if (right) {
    result = ((value >> count) | (other << (bits - count))) & mask;
    out = (value >> (count - 1)) & 1;
  } else {
    result = ((value << count) | (other >> (bits - count))) & mask;
    out = (value >> (bits - count)) & 1;
  }
  const changed = ((result ^ value) >> top) & 1;
  lazyShift(signExtend(result, size), (out != 0 ? CF : 0) | (changed != 0 ? OF : 0));
  finishRm(op, result);
}
