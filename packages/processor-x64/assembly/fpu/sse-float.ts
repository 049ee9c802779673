// SSE arithmetic and comparison (Intel SDM 2).
//
// WebAssembly rounds to the nearest and has no flags. Where that is right (all exceptions masked, PE already set or the
// result exact, operands and result ordinary numbers) its result is taken; all else is computed by sse-number.ts.
import { setFlags } from '../flags';
import { sourcePointer } from '../operand';
import { immOf, regOf } from '../record';
import { CF, FPU_SCRATCH, MXCSR, PF, ZF } from '../state';
import { PE } from './number';
import {
  ADD,
  arithmetic,
  beginSse,
  compares,
  comparison,
  concludeSse,
  DIVIDE,
  MINIMUM,
  MULTIPLY,
  root,
  roundByImmediate,
  SUBTRACT,
} from './sse-number';
import { destination, setDestination, source16 } from './sse-operand';

// MXCSR: rounding mode, masks and PE, and what they are on the fast path; DAZ and FTZ do not matter there.
const FAST_MASK: u32 = 0x7fa0;
const FAST: u32 = 0x1fa0;

// @ts-ignore: decorator
@inline export function fast(): bool {
  return (load<u32>(MXCSR) & FAST_MASK) == FAST;
}

const MIN32: f32 = reinterpret<f32>(0x00800000);
const MIN64: f64 = reinterpret<f64>(0x0010000000000000);

// @ts-ignore: decorator
@inline function smallest<T>(): T {
  return sizeof<T>() == 4 ? <T>MIN32 : <T>MIN64;
}

/** Neither denormal nor NaN; infinities show in the result. */
// @ts-ignore: decorator
@inline export function ordinary<T>(x: T): bool {
  return abs<T>(x) >= smallest<T>() || x == <T>0;
}

/** Certainly neither overflown nor tiny. The smallest normal number may have been rounded to. */
// @ts-ignore: decorator
@inline export function safe<T>(x: T): bool {
  return abs<T>(x) > smallest<T>() && abs<T>(x) < <T>Infinity;
}

// @ts-ignore: decorator
@inline function loadBits<T>(at: u32): u64 {
  return sizeof<T>() == 4 ? <u64>load<u32>(at) : load<u64>(at);
}

// @ts-ignore: decorator
@inline function storeBits<T>(at: u32, bits: u64): void {
  if (sizeof<T>() == 4) store<u32>(at, <u32>bits);
  else store<u64>(at, bits);
}

// @ts-ignore: decorator
@inline function native<T>(operation: u32, x: T, y: T): T {
  switch (operation) {
    case ADD:
      return x + y;
    case SUBTRACT:
      return x - y;
    case MULTIPLY:
      return x * y;
    default:
      return x / y;
  }
}

/** Whether a product certainly has no more bits than the significand. */
function fits(x: f64, y: f64): bool {
  const hidden: u64 = 1 << 52;
  return ctz(reinterpret<u64>(x) | hidden) + ctz(reinterpret<u64>(y) | hidden) >= 53;
}

/** Whether an ordinary result is exact; it may be so where this says no. */
function isExact<T>(operation: u32, x: T, y: T, result: T): bool {
  if (operation == SUBTRACT) y = -y;
  if (operation == ADD || operation == SUBTRACT) {
    // The error of a sum is a number, and this is it (Knuth).
    const part = result - x;
    return x - (result - part) == <T>0 && y - part == <T>0;
  }
  if (operation == MULTIPLY) {
    return sizeof<T>() == 4 ? <f64>x * <f64>y == <f64>result : fits(<f64>x, <f64>y);
  }
  if (sizeof<T>() == 4) return <f64>result * <f64>y == <f64>x;
  return fits(<f64>result, <f64>y) && result * y == x;
}

/** ADDSS, SUBSD and so on. */
// @ts-ignore: decorator
@inline export function scalar<T>(operation: u32, op: u32): void {
  const from = sourcePointer(op, sizeof<T>());
  if (!scalarFrom<T>(operation, regOf(op), from)) scalarExact<T>(operation, regOf(op), from);
}

/** The same by WebAssembly's own operation; false, and nothing done, where that may not be right. */
export function scalarFrom<T>(operation: u32, to: u32, from: u32): bool {
  const mode = load<u32>(MXCSR) & FAST_MASK;
  if ((mode | PE) != FAST) return false;
  const x = load<T>(to);
  const y = load<T>(from);
  const result = native<T>(operation, x, y);
  const adds = operation == ADD || operation == SUBTRACT;
  if (!safe<T>(result) && !(result == <T>0 && (adds || x == <T>0))) return false;
  if (!ordinary<T>(x) || !ordinary<T>(y)) return false;
  if (mode != FAST && !isExact<T>(operation, x, y, result)) return false;
  store<T>(to, result);
  return true;
}

function scalarExact<T>(operation: u32, to: u32, from: u32): void {
  beginSse();
  const result = arithmetic<T>(operation, loadBits<T>(to), loadBits<T>(from));
  concludeSse();
  storeBits<T>(to, result);
}

/** MINSS, MAXSD and so on. */
export function scalarSelect<T>(operation: u32, op: u32): void {
  const from = sourcePointer(op, sizeof<T>());
  const to = regOf(op);
  const x = load<T>(to);
  const y = load<T>(from);
  if (ordinary<T>(x) && ordinary<T>(y)) {
    if (!(operation == MINIMUM ? x < y : x > y)) store<T>(to, y);
  } else scalarExact<T>(operation, to, from);
}

export function scalarRoot<T>(op: u32): void {
  const from = sourcePointer(op, sizeof<T>());
  const x = load<T>(from);
  if (fast() && safe<T>(x) && x > <T>0) {
    store<T>(regOf(op), sqrt<T>(x));
    return;
  }
  beginSse();
  const result = root<T>(loadBits<T>(from));
  concludeSse();
  storeBits<T>(regOf(op), result);
}

// @ts-ignore: decorator
@inline function packedNative<T>(operation: u32, x: v128, y: v128): v128 {
  switch (operation) {
    case ADD:
      return v128.add<T>(x, y);
    case SUBTRACT:
      return v128.sub<T>(x, y);
    case MULTIPLY:
      return v128.mul<T>(x, y);
    default:
      return v128.div<T>(x, y);
  }
}

// @ts-ignore: decorator
@inline function ordinaryLanes<T>(x: v128): v128 {
  const zero = v128.splat<T>(<T>0);
  return v128.or(v128.ge<T>(v128.abs<T>(x), v128.splat<T>(smallest<T>())), v128.eq<T>(x, zero));
}

// @ts-ignore: decorator
@inline function safeLanes<T>(x: v128): v128 {
  const magnitude = v128.abs<T>(x);
  return v128.and(
    v128.gt<T>(magnitude, v128.splat<T>(smallest<T>())),
    v128.lt<T>(magnitude, v128.splat<T>(<T>Infinity)),
  );
}

// @ts-ignore: decorator
@inline function allLanes<T>(mask: v128): bool {
  return sizeof<T>() == 4 ? i32x4.all_true(mask) : i64x2.all_true(mask);
}

/** ADDPS, SUBPD and so on. */
// @ts-ignore: decorator
@inline export function packed<T>(operation: u32, op: u32): void {
  const from = source16(op);
  const to = regOf(op);
  if (fast()) {
    const x = v128.load(to);
    const y = v128.load(from);
    const result = packedNative<T>(operation, x, y);
    const zero = v128.splat<T>(<T>0);
    // A zero is exact if the operation adds or has a zero to multiply or divide.
    let exactZero = v128.eq<T>(result, zero);
    if (operation == MULTIPLY || operation == DIVIDE) exactZero = v128.and(exactZero, v128.eq<T>(x, zero));
    const good = v128.and(
      v128.or(safeLanes<T>(result), exactZero),
      v128.and(ordinaryLanes<T>(x), ordinaryLanes<T>(y)),
    );
    if (allLanes<T>(good)) {
      v128.store(to, result);
      return;
    }
  }
  packedExact<T>(operation, to, from);
}

export function packedExact<T>(operation: u32, to: u32, from: u32): void {
  beginSse();
  for (let at: u32 = 0; at < 16; at += sizeof<T>()) {
    storeBits<T>(FPU_SCRATCH + at, arithmetic<T>(operation, loadBits<T>(to + at), loadBits<T>(from + at)));
  }
  concludeSse();
  v128.store(to, v128.load(FPU_SCRATCH));
}

export function packedSelect<T>(operation: u32, op: u32): void {
  const from = source16(op);
  const x = destination(op);
  const y = v128.load(from);
  if (allLanes<T>(v128.and(ordinaryLanes<T>(x), ordinaryLanes<T>(y)))) {
    setDestination(op, v128.bitselect(x, y, operation == MINIMUM ? v128.lt<T>(x, y) : v128.gt<T>(x, y)));
  } else packedExact<T>(operation, regOf(op), from);
}

export function packedRoot<T>(op: u32): void {
  const from = source16(op);
  if (fast()) {
    const x = v128.load(from);
    const good = v128.and(safeLanes<T>(x), v128.gt<T>(x, v128.splat<T>(<T>0)));
    if (allLanes<T>(good)) {
      setDestination(op, v128.sqrt<T>(x));
      return;
    }
  }
  beginSse();
  for (let at: u32 = 0; at < 16; at += sizeof<T>()) storeBits<T>(FPU_SCRATCH + at, root<T>(loadBits<T>(from + at)));
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

/** HADDPS, HSUBPD: neighbours of the first operand, then of the second. */
export function horizontal<T>(operation: u32, op: u32): void {
  const from = source16(op);
  const to = regOf(op);
  const size: u32 = sizeof<T>();
  beginSse();
  for (let at: u32 = 0; at < 8; at += size) {
    const pair = at << 1;
    storeBits<T>(FPU_SCRATCH + at, arithmetic<T>(operation, loadBits<T>(to + pair), loadBits<T>(to + pair + size)));
    storeBits<T>(
      FPU_SCRATCH + 8 + at,
      arithmetic<T>(operation, loadBits<T>(from + pair), loadBits<T>(from + pair + size)),
    );
  }
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

/** ADDSUBPS, ADDSUBPD: even elements are subtracted, odd ones added. */
export function addSubtract<T>(op: u32): void {
  const from = source16(op);
  const to = regOf(op);
  beginSse();
  for (let at: u32 = 0; at < 16; at += sizeof<T>()) {
    const operation = at & sizeof<T>() ? ADD : SUBTRACT;
    storeBits<T>(FPU_SCRATCH + at, arithmetic<T>(operation, loadBits<T>(to + at), loadBits<T>(from + at)));
  }
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

export function scalarCompare<T>(op: u32): void {
  const from = sourcePointer(op, sizeof<T>());
  const to = regOf(op);
  beginSse();
  const holds = compares<T>(<u32>immOf(op) & 7, loadBits<T>(to), loadBits<T>(from));
  concludeSse();
  storeBits<T>(to, holds ? u64.MAX_VALUE : 0);
}

export function packedCompare<T>(op: u32): void {
  const from = source16(op);
  const to = regOf(op);
  const predicate = <u32>immOf(op) & 7;
  beginSse();
  for (let at: u32 = 0; at < 16; at += sizeof<T>()) {
    const holds = compares<T>(predicate, loadBits<T>(to + at), loadBits<T>(from + at));
    storeBits<T>(FPU_SCRATCH + at, holds ? u64.MAX_VALUE : 0);
  }
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

/** COMISS, UCOMISD and so on. */
export function compareToFlags<T>(op: u32, quiet: bool): void {
  const from = sourcePointer(op, sizeof<T>());
  const x = load<T>(regOf(op));
  const y = load<T>(from);
  if (ordinary<T>(x) && ordinary<T>(y)) {
    setFlags(x == y ? ZF : x < y ? CF : 0);
    return;
  }
  beginSse();
  const result = comparison<T>(loadBits<T>(regOf(op)), loadBits<T>(from), quiet);
  concludeSse();
  setFlags(result == 2 ? ZF | PF | CF : result == 0 ? ZF : result < 0 ? CF : 0);
}

export function scalarRound<T>(op: u32): void {
  const from = sourcePointer(op, sizeof<T>());
  beginSse();
  const result = roundByImmediate<T>(loadBits<T>(from), <u32>immOf(op));
  concludeSse();
  storeBits<T>(regOf(op), result);
}

export function packedRound<T>(op: u32): void {
  const from = source16(op);
  beginSse();
  for (let at: u32 = 0; at < 16; at += sizeof<T>()) {
    storeBits<T>(FPU_SCRATCH + at, roundByImmediate<T>(loadBits<T>(from + at), <u32>immOf(op)));
  }
  concludeSse();
  setDestination(op, v128.load(FPU_SCRATCH));
}

/** DPPS and DPPD: products by the upper half of the immediate, their sum to elements by the lower half. */
export function dotProduct<T>(op: u32): void {
  const from = source16(op);
  const to = regOf(op);
  const immediate = <u32>immOf(op);
  const size: u32 = sizeof<T>();
  beginSse();
  for (let at: u32 = 0, i: u32 = 4; at < 16; at += size, i++) {
    const product = (immediate >> i) & 1 ? arithmetic<T>(MULTIPLY, loadBits<T>(to + at), loadBits<T>(from + at)) : 0;
    storeBits<T>(FPU_SCRATCH + at, product);
  }
  // Each of the steps ends at an exception of its own.
  concludeSse();
  beginSse();
  let sum = arithmetic<T>(ADD, loadBits<T>(FPU_SCRATCH), loadBits<T>(FPU_SCRATCH + size));
  if (size == 4) {
    const upper = arithmetic<T>(ADD, loadBits<T>(FPU_SCRATCH + 8), loadBits<T>(FPU_SCRATCH + 12));
    concludeSse();
    beginSse();
    sum = arithmetic<T>(ADD, sum, upper);
  }
  concludeSse();
  for (let at: u32 = 0, i: u32 = 0; at < 16; at += size, i++) {
    storeBits<T>(to + at, (immediate >> i) & 1 ? sum : 0);
  }
}

/** 1 / x or 1 / sqrt(x) to 12 bits: the architecture allows a relative error of 1.5 * 2^-12. No exceptions. */
function approximate(bits: u32, inverseRoot: bool): u32 {
  const sign = bits & 0x80000000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return bits | 0x400000;
  if (magnitude < 0x00800000) return sign | 0x7f800000;
  if (inverseRoot && sign != 0) return 0xffc00000;
  if (magnitude == 0x7f800000) return sign;
  const x = <f64>reinterpret<f32>(magnitude);
  const result = reinterpret<u32>(<f32>(inverseRoot ? 1.0 / sqrt<f64>(x) : 1.0 / x));
  if (result < 0x00800000) return sign;
  return sign | ((result + 0x400) & 0xfffff800);
}

export function scalarApproximate(op: u32, inverseRoot: bool): void {
  store<u32>(regOf(op), approximate(load<u32>(sourcePointer(op, 4)), inverseRoot));
}

export function packedApproximate(op: u32, inverseRoot: bool): void {
  const from = source16(op);
  const to = regOf(op);
  for (let at: u32 = 0; at < 16; at += 4) store<u32>(to + at, approximate(load<u32>(from + at), inverseRoot));
}
