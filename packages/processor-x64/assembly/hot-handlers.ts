// What the hot handlers do, for operands of a type. interpreter.ts has a case for each handler and calls these, which
// are all inlined there. Those that branch give the record to go on with.
//
// A handler that can fault does so before it changes anything.
import { branch, jump } from './dispatch';
import { execute } from './execute';
import {
  ADC,
  ADD,
  carry,
  condition,
  INC,
  lazy,
  lazyLogic,
  lazyShift,
  MUL,
  overflow,
  parity,
  rotated,
  SBB,
  sign,
  SUB,
  zero,
} from './flags';
import { scalarFrom } from './fpu/sse-float';
import { address, canonical, modifiable, read, readable, writable, write } from './hot-access';
import { indexInBlock, nextOffsetOf, RECORD_SIZE, regOf, rmOf } from './record';
import {
  CF,
  COUNTDOWN,
  CR0,
  CR0_EM,
  CR0_TS,
  CR4,
  CR4_OSFXSR,
  CUR,
  FL_A,
  FL_B,
  FL_KIND,
  FL_RES,
  OF,
  RIP_PAGE,
  RSP,
} from './state';

export const OP_ADD: u32 = 0;
export const OP_OR: u32 = 1;
export const OP_ADC: u32 = 2;
export const OP_SBB: u32 = 3;
export const OP_AND: u32 = 4;
export const OP_SUB: u32 = 5;
export const OP_XOR: u32 = 6;
export const OP_CMP: u32 = 7;
export const OP_TEST: u32 = 8;
export const OP_MOV: u32 = 9;

// Forms of a comparison: what is compared with what.
export const RR: u32 = 0;
export const RI: u32 = 1;
export const RM: u32 = 2;
export const MR: u32 = 3;
export const MI: u32 = 4;

// @ts-ignore: decorator
@inline function compute<T>(operation: u32, a: T, b: T): T {
  if (operation == OP_ADD) {
    const result = <T>(a + b);
    lazy(ADD, <i64>result, <i64>a, <i64>b);
    return result;
  } else if (operation == OP_SUB || operation == OP_CMP) {
    const result = <T>(a - b);
    lazy(SUB, <i64>result, <i64>a, <i64>b);
    return result;
  } else if (operation == OP_ADC) {
    const result = <T>(a + b + <T>carry());
    lazy(ADC, <i64>result, <i64>a, <i64>b);
    return result;
  } else if (operation == OP_SBB) {
    const result = <T>(a - b - <T>carry());
    lazy(SBB, <i64>result, <i64>a, <i64>b);
    return result;
  } else if (operation == OP_MOV) {
    return b;
  } else {
    const result = logic<T>(operation, a, b);
    lazyLogic(<i64>result);
    return result;
  }
}

// @ts-ignore: decorator
@inline function logic<T>(operation: u32, a: T, b: T): T {
  return <T>(operation == OP_OR ? a | b : operation == OP_XOR ? a ^ b : a & b);
}

/** The same where nobody will look at the flags. */
// @ts-ignore: decorator
@inline function computeQuietly<T>(operation: u32, a: T, b: T): T {
  return operation == OP_ADD ? <T>(a + b) : operation == OP_SUB ? <T>(a - b) : logic<T>(operation, a, b);
}

/**
 * Writes a register; one of 32 bits clears its upper half.
 *
 * The value must not come straight from a signed load: Binaryen turns the extension of one, whatever its sign, into a
 * load that extends the sign.
 */
// @ts-ignore: decorator
@inline export function put<T>(at: u32, value: T): void {
  if (sizeof<T>() == 4) store<u64>(at, <u64>(<u32>value));
  else store<T>(at, value);
}

// @ts-ignore: decorator
@inline function keeps(operation: u32): bool {
  return operation != OP_CMP && operation != OP_TEST;
}

/** rm, reg */
// @ts-ignore: decorator
@inline export function rr<T>(op: u32, operation: u32): void {
  const at = rmOf(op);
  const result = compute<T>(operation, load<T>(at), load<T>(regOf(op)));
  if (keeps(operation)) put<T>(at, result);
}

/** rm, immediate */
// @ts-ignore: decorator
@inline export function ri<T>(op: u32, operation: u32): void {
  const at = rmOf(op);
  const result = compute<T>(operation, load<T>(at), load<T>(op, 24));
  if (keeps(operation)) put<T>(at, result);
}

// @ts-ignore: decorator
@inline export function quietRR<T>(op: u32, operation: u32): void {
  const at = rmOf(op);
  put<T>(at, computeQuietly<T>(operation, load<T>(at), load<T>(regOf(op))));
}

// @ts-ignore: decorator
@inline export function quietRI<T>(op: u32, operation: u32): void {
  const at = rmOf(op);
  put<T>(at, computeQuietly<T>(operation, load<T>(at), load<T>(op, 24)));
}

/** reg, memory */
// @ts-ignore: decorator
@inline export function rm<T>(op: u32, operation: u32): void {
  const b = read<T>(op, address(op, sizeof<T>(), false));
  const at = regOf(op);
  const result = compute<T>(operation, load<T>(at), b);
  if (keeps(operation)) put<T>(at, result);
}

// @ts-ignore: decorator
@inline function modify<T>(op: u32, operation: u32, b: T): void {
  if (operation == OP_MOV) {
    write<T>(op, address(op, sizeof<T>(), true), b);
  } else if (operation == OP_CMP || operation == OP_TEST) {
    compute<T>(operation, read<T>(op, address(op, sizeof<T>(), false)), b);
  } else {
    const va = address(op, sizeof<T>(), true);
    const at = modifiable<T>(op, va);
    if (at != 0) store<T>(at, compute<T>(operation, load<T>(at), b));
    else write<T>(op, va, compute<T>(operation, read<T>(op, va), b));
  }
}

/** memory, reg */
// @ts-ignore: decorator
@inline export function mr<T>(op: u32, operation: u32): void {
  modify<T>(op, operation, load<T>(regOf(op)));
}

/** memory, immediate */
// @ts-ignore: decorator
@inline export function mi<T>(op: u32, operation: u32): void {
  modify<T>(op, operation, load<T>(op, 24));
}

/** Register from a register or memory of another size; D is the destination's, unsigned where that extends. */
// @ts-ignore: decorator
@inline export function extendR<S, D>(op: u32): void {
  const value: i64 = load<S>(rmOf(op));
  store<i64>(regOf(op), sizeof<D>() == 4 ? value & 0xffffffff : value);
}

// @ts-ignore: decorator
@inline export function extendM<S, D>(op: u32): void {
  const value: i64 = <i64>read<S>(op, address(op, sizeof<S>(), false));
  store<i64>(regOf(op), sizeof<D>() == 4 ? value & 0xffffffff : value);
}

// @ts-ignore: decorator
@inline export function push64(op: u32, value: u64): void {
  const top = load<u64>(RSP) - 8;
  write<u64>(op, top, value);
  store<u64>(RSP, top);
}

// @ts-ignore: decorator
@inline export function pop64(op: u32): void {
  const top = load<u64>(RSP);
  const value = read<u64>(op, top);
  store<u64>(RSP, top + 8);
  store<u64>(rmOf(op), value);
}

// The same in flat 32-bit code.

// @ts-ignore: decorator
@inline export function push32(op: u32, value: u32): void {
  const top: u32 = load<u32>(RSP) - 4;
  write<u32>(op, top, value);
  store<u64>(RSP, top);
}

/** What lies on top of the stack, which it is taken off. */
// @ts-ignore: decorator
@inline export function pop32(op: u32): u32 {
  const top: u32 = load<u32>(RSP);
  const value = read<u32>(op, top);
  const above: u32 = top + 4;
  store<u64>(RSP, above);
  return value;
}

/** Two PUSH, of registers other than RSP; the first of them where the TLB does not know the stack. */
// @ts-ignore: decorator
@inline export function pushTwo(op: u32): u32 {
  const top = load<u64>(RSP) - 16;
  const at = writable(top, 16);
  if (at == 0) {
    push64(op, load<u64>(rmOf(op)));
    return op + RECORD_SIZE;
  }
  store<u64>(at, load<u64>(rmOf(op)), 8);
  store<u64>(at, load<u64>(rmOf(op + RECORD_SIZE)));
  store<u64>(RSP, top);
  return op + 2 * RECORD_SIZE;
}

/** Two POP, to registers other than RSP. */
// @ts-ignore: decorator
@inline export function popTwo(op: u32): u32 {
  const top = load<u64>(RSP);
  const at = readable(top, 16);
  if (at == 0) {
    pop64(op);
    return op + RECORD_SIZE;
  }
  store<u64>(rmOf(op), load<u64>(at));
  store<u64>(rmOf(op + RECORD_SIZE), load<u64>(at, 8));
  store<u64>(RSP, top + 16);
  return op + 2 * RECORD_SIZE;
}

// @ts-ignore: decorator
@inline export function incDec<T>(op: u32, kind: u32): void {
  const at = rmOf(op);
  const a = load<T>(at);
  const kept = carry();
  const result = <T>(kind == INC ? a + 1 : a - 1);
  lazy(kind, <i64>result, <i64>a, kept);
  put<T>(at, result);
}

// Shifts and rotations by an immediate count, which is not 0.

// @ts-ignore: decorator
@inline export function shl<T>(op: u32, flags: bool): void {
  const at = rmOf(op);
  const value = load<T>(at);
  const count = <T>load<u8>(op, 24);
  const result = <T>(value << count);
  if (flags) {
    const bits: T = sizeof<T>() * 8;
    const out = <u32>(value >> <T>(bits - count)) & 1;
    const top = <u32>(result < 0);
    lazyShift(<i64>result, out | ((top ^ out) << 11));
  }
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline export function shr<T>(op: u32, flags: bool): void {
  const at = rmOf(op);
  const value = load<T>(at);
  const count = <T>load<u8>(op, 24);
  const result = <T>(value >> count);
  if (flags) {
    const bits = (<u32>(value >> <T>(count - 1)) & 1) | (<u32>(value >> <T>(sizeof<T>() * 8 - 1)) << 11);
    lazyShift(sizeof<T>() == 4 ? <i64>(<i32>result) : <i64>result, bits);
  }
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline export function sar<T>(op: u32, flags: bool): void {
  const at = rmOf(op);
  const value = load<T>(at);
  const count = <T>load<u8>(op, 24);
  const result = <T>(value >> count);
  if (flags) lazyShift(<i64>result, <u32>(value >> <T>(count - 1)) & 1);
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline export function rol<T>(op: u32, flags: bool): void {
  const at = rmOf(op);
  const result = rotl<T>(load<T>(at), <T>load<u8>(op, 24));
  put<T>(at, result);
  const out = <u32>result & 1;
  if (flags) rotated(out, out ^ <u32>(result >> <T>(sizeof<T>() * 8 - 1)));
}

// @ts-ignore: decorator
@inline export function ror<T>(op: u32): void {
  const at = rmOf(op);
  const result = rotr<T>(load<T>(at), <T>load<u8>(op, 24));
  put<T>(at, result);
  const top = <u32>(result >> <T>(sizeof<T>() * 8 - 2));
  rotated(top >> 1, (top ^ (top >> 1)) & 1);
}

// @ts-ignore: decorator
@inline export function imul32(op: u32, a: i64, b: i64): void {
  const product = a * b;
  const result = <i32>product;
  lazyShift(<i64>result, product != <i64>result ? CF | OF : 0);
  store<u64>(regOf(op), <u64>(<u32>result));
}

// @ts-ignore: decorator
@inline export function imul64(op: u32, a: i64, b: i64): void {
  const result = a * b;
  lazy(MUL, result, a, b);
  store<i64>(regOf(op), result);
}

// @ts-ignore: decorator
@inline export function neg<T>(op: u32): void {
  const at = rmOf(op);
  const b = load<T>(at);
  const result = <T>(0 - b);
  lazy(SUB, <i64>result, 0, <i64>b);
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline export function move32If(op: u32, holds: bool): void {
  const at = regOf(op);
  store<u64>(at, load<u32>(holds ? rmOf(op) : at));
}

// @ts-ignore: decorator
@inline export function move64If(op: u32, holds: bool): void {
  const at = regOf(op);
  store<u64>(at, load<u64>(holds ? rmOf(op) : at));
}

// Branches.

/** A branch that is taken: its target's first record. */
// @ts-ignore: decorator
@inline export function taken(op: u32): u32 {
  const left = load<i32>(COUNTDOWN) - <i32>indexInBlock(op) - 1;
  store<i32>(COUNTDOWN, left);
  const link = load<u32>(op, 24);
  return link != 0 && left > 0 ? link : branch(op);
}

/** The end of a block, which is no instruction. */
// @ts-ignore: decorator
@inline export function fallThrough(op: u32): u32 {
  const left = load<i32>(COUNTDOWN) - <i32>indexInBlock(op);
  store<i32>(COUNTDOWN, left);
  const link = load<u32>(op, 24);
  return link != 0 && left > 0 ? link : branch(op);
}

// @ts-ignore: decorator
@inline export function ret64(op: u32): u32 {
  const top = load<u64>(RSP);
  const target = canonical(op, read<u64>(op, top));
  store<u64>(RSP, top + 8);
  return jump(op, target);
}

// @ts-ignore: decorator
@inline export function callRegister(op: u32): u32 {
  const target = canonical(op, load<u64>(rmOf(op)));
  push64(op, load<u64>(RIP_PAGE) + nextOffsetOf(op));
  return jump(op, target);
}

/** Whether a condition holds, numbered as in Jcc: a constant. */
// @ts-ignore: decorator
@inline export function holds(cc: u32): bool {
  const group = cc >> 1;
  const subtracted = load<u32>(FL_KIND) == SUB;
  let yes: bool;
  if (group == 0) yes = overflow();
  else if (group == 1) yes = subtracted ? load<u64>(FL_A) < load<u64>(FL_B) : carry() != 0;
  else if (group == 2) yes = zero();
  else if (group == 3) yes = subtracted ? load<u64>(FL_A) <= load<u64>(FL_B) : condition(6);
  else if (group == 4) yes = sign();
  else if (group == 5) yes = parity();
  else if (group == 6) yes = subtracted ? load<i64>(FL_A) < load<i64>(FL_B) : sign() != overflow();
  else yes = subtracted ? load<i64>(FL_A) <= load<i64>(FL_B) : condition(14);
  return yes != ((cc & 1) != 0);
}

// @ts-ignore: decorator
@inline function compares(cc: u32, a: i64, b: i64): bool {
  const group = cc >> 1;
  let yes: bool;
  if (group == 1) yes = <u64>a < <u64>b;
  else if (group == 2) yes = a == b;
  else if (group == 3) yes = <u64>a <= <u64>b;
  else if (group == 6) yes = a < b;
  else yes = a <= b;
  return yes != ((cc & 1) != 0);
}

// @ts-ignore: decorator
@inline function left<T>(op: u32, form: u32): T {
  if (form == RM) return load<T>(regOf(op));
  if (form >= MR) return read<T>(op, address(op, sizeof<T>(), false));
  return load<T>(rmOf(op));
}

// @ts-ignore: decorator
@inline function right<T>(op: u32, form: u32): T {
  if (form == RM) return read<T>(op, address(op, sizeof<T>(), false));
  if (form == RR || form == MR) return load<T>(regOf(op));
  return load<T>(op, 24);
}

/** CMP and the conditional jump behind it. */
// @ts-ignore: decorator
@inline export function compareJump<T>(op: u32, form: u32, cc: u32): u32 {
  const a = left<T>(op, form);
  const b = right<T>(op, form);
  lazy(SUB, <i64>(<T>(a - b)), <i64>a, <i64>b);
  return compares(cc, <i64>a, <i64>b) ? taken(op + RECORD_SIZE) : op + 2 * RECORD_SIZE;
}

/** TEST and the conditional jump behind it. */
// @ts-ignore: decorator
@inline export function testJump<T>(op: u32, form: u32, cc: u32): u32 {
  const result = <i64>(left<T>(op, form) & right<T>(op, form));
  lazyLogic(result);
  const yes = cc >> 1 == 2 ? result == 0 : cc >> 1 == 4 ? result < 0 : result <= 0;
  return yes != ((cc & 1) != 0) ? taken(op + RECORD_SIZE) : op + 2 * RECORD_SIZE;
}

/** JE or JNE behind an operation that has just left its result. */
// @ts-ignore: decorator
@inline export function jumpOnResult(op: u32, cc: u32): u32 {
  return (load<i64>(FL_RES) == 0) == (cc == 4) ? taken(op + RECORD_SIZE) : op + 2 * RECORD_SIZE;
}

// SSE: the common cases of the common instructions, whose own handlers are at the place of their immediate. False:
// nothing was done, and that handler is to run.

// @ts-ignore: decorator
@inline function sseIsOn(): bool {
  return (load<u32>(CR0) & (CR0_EM | CR0_TS)) == 0 && (load<u32>(CR4) & CR4_OSFXSR) != 0;
}

/** Runs the FPU part's handler of a record that has a hot one. */
export function asFpu(op: u32): void {
  store<u32>(CUR, op);
  execute(load<u16>(op, 24), op);
}

// @ts-ignore: decorator
@inline export function movsdLoad(op: u32): bool {
  if (!sseIsOn()) return false;
  const at = readable(address(op, 8, false), 8);
  if (at == 0) return false;
  v128.store(regOf(op), v128.load64_zero(at));
  return true;
}

// @ts-ignore: decorator
@inline export function movsdStore(op: u32): bool {
  if (!sseIsOn()) return false;
  const at = writable(address(op, 8, true), 8);
  if (at == 0) return false;
  store<u64>(at, load<u64>(regOf(op)));
  return true;
}

// @ts-ignore: decorator
@inline export function moveXmm(op: u32): bool {
  if (!sseIsOn()) return false;
  v128.store(regOf(op), v128.load(rmOf(op)));
  return true;
}

/** MOVUPS and the like, and MOVAPS where the address is aligned. */
// @ts-ignore: decorator
@inline export function loadXmm(op: u32): bool {
  if (!sseIsOn()) return false;
  const va = address(op, 16, false);
  const at = readable(va, 16);
  if (at == 0 || (<u32>va & 15) != 0) return false;
  v128.store(regOf(op), v128.load(at));
  return true;
}

// @ts-ignore: decorator
@inline export function storeXmm(op: u32): bool {
  if (!sseIsOn()) return false;
  const va = address(op, 16, true);
  const at = writable(va, 16);
  if (at == 0 || (<u32>va & 15) != 0) return false;
  v128.store(at, v128.load(regOf(op)));
  return true;
}

// @ts-ignore: decorator
@inline export function pxor(op: u32): bool {
  if (!sseIsOn()) return false;
  const at = regOf(op);
  v128.store(at, v128.xor(v128.load(at), v128.load(rmOf(op))));
  return true;
}

// @ts-ignore: decorator
@inline export function scalarRegister(op: u32, operation: u32): bool {
  return sseIsOn() && scalarFrom<f64>(operation, regOf(op), rmOf(op));
}

// @ts-ignore: decorator
@inline export function scalarMemory(op: u32, operation: u32): bool {
  if (!sseIsOn()) return false;
  const at = readable(address(op, 8, false), 8);
  return at != 0 && scalarFrom<f64>(operation, regOf(op), at);
}
