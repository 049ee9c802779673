// SSE conversions between integers and floating point (Intel SDM 2, CVT*). What does not fit an integer gives the
// smallest one and IE; NaNs keep the upper bits of their payload.
import { sourcePointer } from '../operand';
import { isMemory, regOf, sizeOf } from '../record';
import { FPU_SCRATCH, MXCSR } from '../state';
import { fast, ordinary, safe } from './sse-float';
import {
  beginSse,
  concludeSse,
  fromInteger,
  narrow,
  operand32,
  roundingMode,
  toInt32,
  toInt64,
  widen,
} from './sse-number';
import { setDestination, source16 } from './sse-operand';
import { enterMmx } from './x87-state';

/** In MXCSR: PE is masked and was raised before. */
const PE_KNOWN: u32 = 0x1020;

/** Rounding of the CVTT forms. */
const TRUNCATE: u32 = 3;

/** CVTSI2SS and CVTSI2SD, of 32 or 64 bits. */
export function integerToScalar<T>(op: u32): void {
  const wide = sizeOf(op) == 3;
  const from = sourcePointer(op, wide ? 8 : 4);
  const value = wide ? load<i64>(from) : <i64>load<i32>(from);
  // What fits the significand is exact.
  if (abs<i64>(value) <= (sizeof<T>() == 4 ? 1 << 24 : <i64>1 << 53)) {
    store<T>(regOf(op), <T>value);
    return;
  }
  beginSse();
  const bits = fromInteger<T>(value);
  concludeSse();
  if (sizeof<T>() == 4) store<u32>(regOf(op), <u32>bits);
  else store<u64>(regOf(op), bits);
}

/** CVTSS2SI, CVTTSD2SI and so on. */
export function scalarToInteger<T>(op: u32, truncate: bool): void {
  const from = sourcePointer(op, sizeof<T>());
  if (truncate) {
    // Neither out of range nor inexact, or PE is masked and set already.
    const x = <f64>load<T>(from);
    const whole = trunc<f64>(x);
    if (abs<f64>(whole) < 2147483648.0 && (whole == x || (load<u32>(MXCSR) & PE_KNOWN) == PE_KNOWN)) {
      if (sizeOf(op) == 3) store<i64>(regOf(op), <i64>whole);
      else store<u64>(regOf(op), <u32>(<i32>whole));
      return;
    }
  }
  beginSse();
  const x = sizeof<T>() == 4 ? operand32(load<u32>(from)) : load<f64>(from);
  const mode = truncate ? TRUNCATE : roundingMode();
  if (sizeOf(op) == 3) {
    const value = toInt64(x, mode);
    concludeSse();
    store<i64>(regOf(op), value);
  } else {
    const value = toInt32(x, mode);
    concludeSse();
    store<u64>(regOf(op), <u32>value);
  }
}

export function scalarWiden(op: u32): void {
  const from = sourcePointer(op, 4);
  const x = load<f32>(from);
  if (ordinary<f32>(x)) {
    store<f64>(regOf(op), <f64>x);
    return;
  }
  beginSse();
  const bits = widen(load<u32>(from));
  concludeSse();
  store<u64>(regOf(op), bits);
}

export function scalarNarrow(op: u32): void {
  const from = sourcePointer(op, 8);
  if (fast()) {
    const x = <f32>load<f64>(from);
    if (safe<f32>(x)) {
      store<f32>(regOf(op), x);
      return;
    }
  }
  beginSse();
  const bits = narrow(load<u64>(from));
  concludeSse();
  store<u32>(regOf(op), bits);
}

export function packedWiden(op: u32): void {
  const from = sourcePointer(op, 8);
  beginSse();
  const first = widen(load<u32>(from));
  const second = widen(load<u32>(from, 4));
  concludeSse();
  store<u64>(regOf(op), first);
  store<u64>(regOf(op), second, 8);
}

export function packedNarrow(op: u32): void {
  const from = source16(op);
  beginSse();
  const first = narrow(load<u64>(from));
  const second = narrow(load<u64>(from, 8));
  concludeSse();
  store<u64>(regOf(op), <u64>first | (<u64>second << 32));
  store<u64>(regOf(op), 0, 8);
}

/** CVTDQ2PS */
export function packedIntegerToFloat32(op: u32): void {
  const from = source16(op);
  beginSse();
  for (let at: u32 = 0; at < 16; at += 4) {
    store<u32>(FPU_SCRATCH + at, <u32>fromInteger<f32>(<i64>load<i32>(from + at)));
  }
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

/** CVTDQ2PD and CVTPI2PD, which are exact. */
export function packedIntegerToFloat64(op: u32): void {
  setDestination(op, f64x2.convert_low_i32x4_s(v128.load64_zero(sourcePointer(op, 8))));
}

/** CVTPS2DQ, CVTTPS2DQ */
export function packedFloat32ToInteger(op: u32, truncate: bool): void {
  const from = source16(op);
  beginSse();
  const mode = truncate ? TRUNCATE : roundingMode();
  for (let at: u32 = 0; at < 16; at += 4) {
    store<i32>(FPU_SCRATCH + at, toInt32(operand32(load<u32>(from + at)), mode));
  }
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

// @ts-ignore: decorator
@inline function twoIntegers(first: f64, second: f64, mode: u32): u64 {
  return <u64>(<u32>toInt32(first, mode)) | (<u64>(<u32>toInt32(second, mode)) << 32);
}

/** CVTPD2DQ, CVTTPD2DQ */
export function packedFloat64ToInteger(op: u32, truncate: bool): void {
  const from = source16(op);
  beginSse();
  const mode = truncate ? TRUNCATE : roundingMode();
  const value = twoIntegers(load<f64>(from), load<f64>(from, 8), mode);
  concludeSse();
  store<u64>(regOf(op), value);
  store<u64>(regOf(op), 0, 8);
}

// MMX registers: using one goes over to them even where the conversion then raises #XM.

/** CVTPI2PS: the upper half of the destination stays. */
export function mmxToFloat32(op: u32): void {
  const from = sourcePointer(op, 8);
  if (!isMemory(op)) enterMmx();
  beginSse();
  const first = fromInteger<f32>(<i64>load<i32>(from));
  const second = fromInteger<f32>(<i64>load<i32>(from, 4));
  concludeSse();
  store<u64>(regOf(op), first | (second << 32));
}

/** CVTPS2PI, CVTTPS2PI */
export function float32ToMmx(op: u32, truncate: bool): void {
  const from = sourcePointer(op, 8);
  beginSse();
  const mode = truncate ? TRUNCATE : roundingMode();
  const value = twoIntegers(operand32(load<u32>(from)), operand32(load<u32>(from, 4)), mode);
  enterMmx();
  concludeSse();
  setMmx(op, value);
}

/** CVTPD2PI, CVTTPD2PI */
export function float64ToMmx(op: u32, truncate: bool): void {
  const from = source16(op);
  beginSse();
  const mode = truncate ? TRUNCATE : roundingMode();
  const value = twoIntegers(load<f64>(from), load<f64>(from, 8), mode);
  enterMmx();
  concludeSse();
  setMmx(op, value);
}

/** Writes an MMX register; the exponent of the x87 register becomes all ones. */
export function setMmx(op: u32, value: u64): void {
  enterMmx();
  store<u64>(regOf(op), value);
  store<u16>(regOf(op), 0xffff, 8);
}
