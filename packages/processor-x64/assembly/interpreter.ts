// The interpreter: one loop, one switch over the hot handlers; the others are a call away (execute.ts).
//
// Every handler that can fault does so before it changes anything. The fused handlers read the target in the jump's
// own record, the next one.
import { noteLeave } from './debugger';
import { advance, branch, breakpoint, EXIT_YIELD, jump, next, refresh } from './dispatch';
import { AGAIN, CONTINUE, execute, YIELD } from './execute';
import {
  carry,
  condition,
  DEC,
  INC,
  lazy,
  lazyLogic,
  lazyShift,
  overflow,
  parity,
  sign,
  SUB,
  ADD,
  zero,
} from './flags';
import { H } from './handlers';
import { checkAlignment, hostAddress, probeWrite, read, write } from './memory';
import { address } from './operand';
import { raiseGp } from './raise';
import { indexInBlock, nextOffsetOf, regOf, rmOf } from './record';
import { CF, COUNTDOWN, CUR, EXIT_REASON, FL_A, FL_B, FL_KIND, OF, RIP, RIP_PAGE, RSP, TLB } from './state';
import { TLB_ADDEND, TLB_MASK, WRITE } from './tlb';

const OP_ADD: u32 = 0;
const OP_OR: u32 = 1;
const OP_AND: u32 = 4;
const OP_SUB: u32 = 5;
const OP_XOR: u32 = 6;
const OP_CMP: u32 = 7;
const OP_TEST: u32 = 8;
const OP_MOV: u32 = 9;

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
  } else if (operation == OP_MOV) {
    return b;
  } else {
    const result = <T>(operation == OP_OR ? a | b : operation == OP_XOR ? a ^ b : a & b);
    lazyLogic(<i64>result);
    return result;
  }
}

/**
 * Writes a register; one of 32 bits clears its upper half.
 *
 * The value must not come straight from a signed load: Binaryen turns the extension of one, whatever its sign, into a
 * load that extends the sign.
 */
// @ts-ignore: decorator
@inline function put<T>(at: u32, value: T): void {
  if (sizeof<T>() == 4) store<u64>(at, <u64>(<u32>value));
  else store<T>(at, value);
}

// @ts-ignore: decorator
@inline function keeps(operation: u32): bool {
  return operation != OP_CMP && operation != OP_TEST;
}

/** rm, reg */
// @ts-ignore: decorator
@inline function rr<T>(op: u32, operation: u32): void {
  const at = rmOf(op);
  const result = compute<T>(operation, load<T>(at), load<T>(regOf(op)));
  if (keeps(operation)) put<T>(at, result);
}

/** rm, immediate */
// @ts-ignore: decorator
@inline function ri<T>(op: u32, operation: u32): void {
  const at = rmOf(op);
  const result = compute<T>(operation, load<T>(at), load<T>(op, 24));
  if (keeps(operation)) put<T>(at, result);
}

/** reg, memory */
// @ts-ignore: decorator
@inline function rm<T>(op: u32, operation: u32): void {
  const b = read<T>(address(op, sizeof<T>(), false));
  const at = regOf(op);
  const result = compute<T>(operation, load<T>(at), b);
  if (keeps(operation)) put<T>(at, result);
}

/** The place of an operand that is read and written, 0 where it takes the long way; faults come now. */
// @ts-ignore: decorator
@inline function writable<T>(va: u64): u32 {
  const entry = load<u32>(TLB) + ((<u32>(va >> 12) & TLB_MASK) << 5);
  return load<u64>(entry, 8) == ((va + (sizeof<T>() - 1)) & ~0xfff)
    ? <u32>va + load<u32>(entry, TLB_ADDEND)
    : prepareWrite(va, sizeof<T>());
}

function prepareWrite(va: u64, size: u32): u32 {
  checkAlignment(va, size);
  if ((<u32>va & 0xfff) + size <= 0x1000) return hostAddress(va, size, WRITE);
  probeWrite(va, size);
  return 0;
}

// @ts-ignore: decorator
@inline function modify<T>(op: u32, operation: u32, b: T): void {
  if (operation == OP_MOV) {
    write<T>(address(op, sizeof<T>(), true), b);
  } else if (operation == OP_CMP || operation == OP_TEST) {
    compute<T>(operation, read<T>(address(op, sizeof<T>(), false)), b);
  } else {
    const va = address(op, sizeof<T>(), true);
    const at = writable<T>(va);
    if (at != 0) store<T>(at, compute<T>(operation, load<T>(at), b));
    else write<T>(va, compute<T>(operation, read<T>(va), b));
  }
}

/** memory, reg */
// @ts-ignore: decorator
@inline function mr<T>(op: u32, operation: u32): void {
  modify<T>(op, operation, load<T>(regOf(op)));
}

/** memory, immediate */
// @ts-ignore: decorator
@inline function mi<T>(op: u32, operation: u32): void {
  modify<T>(op, operation, load<T>(op, 24));
}

/** Register from a register or memory of another size; D is the destination's, unsigned where that extends. */
// @ts-ignore: decorator
@inline function extendR<S, D>(op: u32): void {
  const value: i64 = load<S>(rmOf(op));
  store<i64>(regOf(op), sizeof<D>() == 4 ? value & 0xffffffff : value);
}

// @ts-ignore: decorator
@inline function extendM<S, D>(op: u32): void {
  const value: i64 = <i64>read<S>(address(op, sizeof<S>(), false));
  store<i64>(regOf(op), sizeof<D>() == 4 ? value & 0xffffffff : value);
}

// @ts-ignore: decorator
@inline function incDec<T>(op: u32, kind: u32): void {
  const at = rmOf(op);
  const a = load<T>(at);
  const kept = carry();
  const result = <T>(kind == INC ? a + 1 : a - 1);
  lazy(kind, <i64>result, <i64>a, kept);
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline function shl<T>(op: u32): void {
  const at = rmOf(op);
  const value = load<T>(at);
  const count = <T>load<u8>(op, 24);
  const result = <T>(value << count);
  const bits: T = sizeof<T>() * 8;
  const out = <u32>(value >> <T>(bits - count)) & 1;
  const top = <u32>(result < 0);
  lazyShift(<i64>result, out | ((top ^ out) << 11));
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline function shr32(op: u32): void {
  const at = rmOf(op);
  const value = load<u32>(at);
  const count = <u32>load<u8>(op, 24);
  const result = value >> count;
  lazyShift(<i64>(<i32>result), ((value >> (count - 1)) & 1) | ((value >> 31) << 11));
  store<u64>(at, result);
}

// @ts-ignore: decorator
@inline function shr64(op: u32): void {
  const at = rmOf(op);
  const value = load<u64>(at);
  const count = <u64>load<u8>(op, 24);
  const result = value >> count;
  lazyShift(<i64>result, (<u32>(value >> (count - 1)) & 1) | (<u32>(value >> 63) << 11));
  store<u64>(at, result);
}

// @ts-ignore: decorator
@inline function sar<T>(op: u32): void {
  const at = rmOf(op);
  const value = load<T>(at);
  const count = <T>load<u8>(op, 24);
  const result = <T>(value >> count);
  lazyShift(<i64>result, <u32>(value >> <T>(count - 1)) & 1);
  put<T>(at, result);
}

// @ts-ignore: decorator
@inline function imul32(op: u32, a: i64, b: i64): void {
  const product = a * b;
  const result = <i32>product;
  lazyShift(<i64>result, product != <i64>result ? CF | OF : 0);
  store<u64>(regOf(op), <u64>(<u32>result));
}

// @ts-ignore: decorator
@inline function imul64(op: u32, a: i64, b: i64): void {
  const result = a * b;
  lazyShift(result, overflows(a, b) ? CF | OF : 0);
  store<i64>(regOf(op), result);
}

/** Whether a signed product does not fit 64 bits. */
function overflows(a: i64, b: i64): bool {
  if (a == <i64>(<i32>a) && b == <i64>(<i32>b)) return false;
  if (a == 0 || b == 0) return false;
  if ((a == -1 && b == i64.MIN_VALUE) || (b == -1 && a == i64.MIN_VALUE)) return true;
  return (a * b) / b != a;
}

// @ts-ignore: decorator
@inline function neg<T>(op: u32): void {
  const at = rmOf(op);
  const b = load<T>(at);
  const result = <T>(0 - b);
  lazy(SUB, <i64>result, 0, <i64>b);
  put<T>(at, result);
}

/** A branch that is taken: its target's first record, 0 where the slice ends. */
// @ts-ignore: decorator
@inline function taken(op: u32): u32 {
  const left = load<i32>(COUNTDOWN) - <i32>indexInBlock(op) - 1;
  store<i32>(COUNTDOWN, left);
  const link = load<u32>(op, 24);
  return link != 0 && left > 0 ? link : branch(op);
}

/** A branch to where there are no addresses is a fault of the branch. */
// @ts-ignore: decorator
@inline function requireCanonical(target: u64): void {
  if (<u64>((<i64>target << 16) >> 16) != target) raiseGp(0);
}

// Comparisons that are fused with a jump.

// @ts-ignore: decorator
@inline function cmpRR<T>(op: u32): void {
  rr<T>(op, OP_CMP);
}

// @ts-ignore: decorator
@inline function below(): bool {
  return load<u64>(FL_A) < load<u64>(FL_B);
}

// @ts-ignore: decorator
@inline function belowOrEqual(): bool {
  return load<u32>(FL_KIND) == SUB ? load<u64>(FL_A) <= load<u64>(FL_B) : condition(6);
}

// @ts-ignore: decorator
@inline function less(): bool {
  return load<u32>(FL_KIND) == SUB ? load<i64>(FL_A) < load<i64>(FL_B) : sign() != overflow();
}

// @ts-ignore: decorator
@inline function lessOrEqual(): bool {
  return load<u32>(FL_KIND) == SUB ? load<i64>(FL_A) <= load<i64>(FL_B) : condition(14);
}

// @ts-ignore: decorator
@inline function borrow(): bool {
  return load<u32>(FL_KIND) == SUB ? below() : carry() != 0;
}

/** Runs until the slice ends; the reason is one of VpExit. */
export function run(): u32 {
  let pc = next();
  if (pc == 0) return load<u32>(EXIT_REASON);
  for (;;) {
    store<u32>(CUR, pc);
    switch (<u32>load<u16>(pc)) {
      case H.ADD_RR_32:
        rr<i32>(pc, OP_ADD);
        break;
      case H.ADD_RR_64:
        rr<i64>(pc, OP_ADD);
        break;
      case H.ADD_RI_32:
        ri<i32>(pc, OP_ADD);
        break;
      case H.ADD_RI_64:
        ri<i64>(pc, OP_ADD);
        break;
      case H.ADD_RM_32:
        rm<i32>(pc, OP_ADD);
        break;
      case H.ADD_RM_64:
        rm<i64>(pc, OP_ADD);
        break;
      case H.ADD_MR_32:
        mr<i32>(pc, OP_ADD);
        break;
      case H.ADD_MR_64:
        mr<i64>(pc, OP_ADD);
        break;
      case H.ADD_MI_32:
        mi<i32>(pc, OP_ADD);
        break;
      case H.ADD_MI_64:
        mi<i64>(pc, OP_ADD);
        break;
      case H.OR_RR_32:
        rr<i32>(pc, OP_OR);
        break;
      case H.OR_RR_64:
        rr<i64>(pc, OP_OR);
        break;
      case H.OR_RI_32:
        ri<i32>(pc, OP_OR);
        break;
      case H.OR_RI_64:
        ri<i64>(pc, OP_OR);
        break;
      case H.OR_RM_32:
        rm<i32>(pc, OP_OR);
        break;
      case H.OR_RM_64:
        rm<i64>(pc, OP_OR);
        break;
      case H.OR_MR_32:
        mr<i32>(pc, OP_OR);
        break;
      case H.OR_MR_64:
        mr<i64>(pc, OP_OR);
        break;
      case H.OR_MI_32:
        mi<i32>(pc, OP_OR);
        break;
      case H.OR_MI_64:
        mi<i64>(pc, OP_OR);
        break;
      case H.AND_RR_32:
        rr<i32>(pc, OP_AND);
        break;
      case H.AND_RR_64:
        rr<i64>(pc, OP_AND);
        break;
      case H.AND_RI_32:
        ri<i32>(pc, OP_AND);
        break;
      case H.AND_RI_64:
        ri<i64>(pc, OP_AND);
        break;
      case H.AND_RM_32:
        rm<i32>(pc, OP_AND);
        break;
      case H.AND_RM_64:
        rm<i64>(pc, OP_AND);
        break;
      case H.AND_MR_32:
        mr<i32>(pc, OP_AND);
        break;
      case H.AND_MR_64:
        mr<i64>(pc, OP_AND);
        break;
      case H.AND_MI_32:
        mi<i32>(pc, OP_AND);
        break;
      case H.AND_MI_64:
        mi<i64>(pc, OP_AND);
        break;
      case H.SUB_RR_32:
        rr<i32>(pc, OP_SUB);
        break;
      case H.SUB_RR_64:
        rr<i64>(pc, OP_SUB);
        break;
      case H.SUB_RI_32:
        ri<i32>(pc, OP_SUB);
        break;
      case H.SUB_RI_64:
        ri<i64>(pc, OP_SUB);
        break;
      case H.SUB_RM_32:
        rm<i32>(pc, OP_SUB);
        break;
      case H.SUB_RM_64:
        rm<i64>(pc, OP_SUB);
        break;
      case H.SUB_MR_32:
        mr<i32>(pc, OP_SUB);
        break;
      case H.SUB_MR_64:
        mr<i64>(pc, OP_SUB);
        break;
      case H.SUB_MI_32:
        mi<i32>(pc, OP_SUB);
        break;
      case H.SUB_MI_64:
        mi<i64>(pc, OP_SUB);
        break;
      case H.XOR_RR_32:
        rr<i32>(pc, OP_XOR);
        break;
      case H.XOR_RR_64:
        rr<i64>(pc, OP_XOR);
        break;
      case H.XOR_RI_32:
        ri<i32>(pc, OP_XOR);
        break;
      case H.XOR_RI_64:
        ri<i64>(pc, OP_XOR);
        break;
      case H.XOR_RM_32:
        rm<i32>(pc, OP_XOR);
        break;
      case H.XOR_RM_64:
        rm<i64>(pc, OP_XOR);
        break;
      case H.XOR_MR_32:
        mr<i32>(pc, OP_XOR);
        break;
      case H.XOR_MR_64:
        mr<i64>(pc, OP_XOR);
        break;
      case H.XOR_MI_32:
        mi<i32>(pc, OP_XOR);
        break;
      case H.XOR_MI_64:
        mi<i64>(pc, OP_XOR);
        break;
      case H.CMP_RR_32:
        rr<i32>(pc, OP_CMP);
        break;
      case H.CMP_RR_64:
        rr<i64>(pc, OP_CMP);
        break;
      case H.CMP_RI_32:
        ri<i32>(pc, OP_CMP);
        break;
      case H.CMP_RI_64:
        ri<i64>(pc, OP_CMP);
        break;
      case H.CMP_RM_32:
        rm<i32>(pc, OP_CMP);
        break;
      case H.CMP_RM_64:
        rm<i64>(pc, OP_CMP);
        break;
      case H.CMP_MR_32:
        mr<i32>(pc, OP_CMP);
        break;
      case H.CMP_MR_64:
        mr<i64>(pc, OP_CMP);
        break;
      case H.CMP_MI_32:
        mi<i32>(pc, OP_CMP);
        break;
      case H.CMP_MI_64:
        mi<i64>(pc, OP_CMP);
        break;
      case H.TEST_RR_32:
        rr<i32>(pc, OP_TEST);
        break;
      case H.TEST_RR_64:
        rr<i64>(pc, OP_TEST);
        break;
      case H.TEST_RI_32:
        ri<i32>(pc, OP_TEST);
        break;
      case H.TEST_RI_64:
        ri<i64>(pc, OP_TEST);
        break;
      case H.TEST_RM_32:
        rm<i32>(pc, OP_TEST);
        break;
      case H.TEST_RM_64:
        rm<i64>(pc, OP_TEST);
        break;
      case H.TEST_MR_32:
        mr<i32>(pc, OP_TEST);
        break;
      case H.TEST_MR_64:
        mr<i64>(pc, OP_TEST);
        break;
      case H.TEST_MI_32:
        mi<i32>(pc, OP_TEST);
        break;
      case H.TEST_MI_64:
        mi<i64>(pc, OP_TEST);
        break;
      case H.MOV_RR_32:
        rr<u32>(pc, OP_MOV);
        break;
      case H.MOV_RR_64:
        rr<u64>(pc, OP_MOV);
        break;
      case H.MOV_RI_32:
        ri<u32>(pc, OP_MOV);
        break;
      case H.MOV_RI_64:
        ri<u64>(pc, OP_MOV);
        break;
      case H.MOV_RM_32:
        rm<u32>(pc, OP_MOV);
        break;
      case H.MOV_RM_64:
        rm<u64>(pc, OP_MOV);
        break;
      case H.MOV_MR_32:
        mr<u32>(pc, OP_MOV);
        break;
      case H.MOV_MR_64:
        mr<u64>(pc, OP_MOV);
        break;
      case H.MOV_MI_32:
        mi<u32>(pc, OP_MOV);
        break;
      case H.MOV_MI_64:
        mi<u64>(pc, OP_MOV);
        break;
      case H.MOV_RR_8:
        rr<u8>(pc, OP_MOV);
        break;
      case H.MOV_RI_8:
        ri<u8>(pc, OP_MOV);
        break;
      case H.MOV_RM_8:
        rm<u8>(pc, OP_MOV);
        break;
      case H.MOV_MR_8:
        mr<u8>(pc, OP_MOV);
        break;
      case H.MOV_MI_8:
        mi<u8>(pc, OP_MOV);
        break;
      case H.MOV_MR_16:
        mr<u16>(pc, OP_MOV);
        break;
      case H.CMP_RI_8:
        ri<i8>(pc, OP_CMP);
        break;
      case H.CMP_RR_8:
        rr<i8>(pc, OP_CMP);
        break;
      case H.CMP_MI_8:
        mi<i8>(pc, OP_CMP);
        break;
      case H.CMP_RM_8:
        rm<i8>(pc, OP_CMP);
        break;
      case H.CMP_MR_8:
        mr<i8>(pc, OP_CMP);
        break;
      case H.TEST_RR_8:
        rr<i8>(pc, OP_TEST);
        break;
      case H.TEST_RI_8:
        ri<i8>(pc, OP_TEST);
        break;
      case H.TEST_MI_8:
        mi<i8>(pc, OP_TEST);
        break;
      case H.MOVZX_R_8:
        extendR<u8, u32>(pc);
        break;
      case H.MOVZX_M_8:
        extendM<u8, u32>(pc);
        break;
      case H.MOVZX_R_16:
        extendR<u16, u32>(pc);
        break;
      case H.MOVZX_M_16:
        extendM<u16, u32>(pc);
        break;
      case H.MOVSX_R_8_32:
        extendR<i8, i32>(pc);
        break;
      case H.MOVSX_M_8_32:
        extendM<i8, i32>(pc);
        break;
      case H.MOVSX_R_16_32:
        extendR<i16, i32>(pc);
        break;
      case H.MOVSX_M_16_32:
        extendM<i16, i32>(pc);
        break;
      case H.MOVSX_R_8_64:
        extendR<i8, i64>(pc);
        break;
      case H.MOVSX_M_8_64:
        extendM<i8, i64>(pc);
        break;
      case H.MOVSX_R_16_64:
        extendR<i16, i64>(pc);
        break;
      case H.MOVSX_M_16_64:
        extendM<i16, i64>(pc);
        break;
      case H.MOVSX_R_32_64:
        extendR<i32, i64>(pc);
        break;
      case H.MOVSX_M_32_64:
        extendM<i32, i64>(pc);
        break;
      case H.LEA_32:
        store<u64>(regOf(pc), address(pc, 1, false) & 0xffffffff);
        break;
      case H.LEA_64:
        store<u64>(regOf(pc), address(pc, 1, false));
        break;
      case H.PUSH_R_64: {
        const top = load<u64>(RSP) - 8;
        write<u64>(top, load<u64>(rmOf(pc)));
        store<u64>(RSP, top);
        break;
      }
      case H.POP_R_64: {
        const top = load<u64>(RSP);
        const value = read<u64>(top);
        store<u64>(RSP, top + 8);
        store<u64>(rmOf(pc), value);
        break;
      }
      case H.PUSH_I_64: {
        const top = load<u64>(RSP) - 8;
        write<u64>(top, load<u64>(pc, 24));
        store<u64>(RSP, top);
        break;
      }
      case H.INC_R_32:
        incDec<i32>(pc, INC);
        break;
      case H.INC_R_64:
        incDec<i64>(pc, INC);
        break;
      case H.DEC_R_32:
        incDec<i32>(pc, DEC);
        break;
      case H.DEC_R_64:
        incDec<i64>(pc, DEC);
        break;
      case H.SHL_RI_32:
        shl<i32>(pc);
        break;
      case H.SHL_RI_64:
        shl<i64>(pc);
        break;
      case H.SHR_RI_32:
        shr32(pc);
        break;
      case H.SHR_RI_64:
        shr64(pc);
        break;
      case H.SAR_RI_32:
        sar<i32>(pc);
        break;
      case H.SAR_RI_64:
        sar<i64>(pc);
        break;
      case H.IMUL_RR_32:
        imul32(pc, load<i32>(regOf(pc)), load<i32>(rmOf(pc)));
        break;
      case H.IMUL_RR_64:
        imul64(pc, load<i64>(regOf(pc)), load<i64>(rmOf(pc)));
        break;
      case H.IMUL_RM_32:
        imul32(pc, load<i32>(regOf(pc)), read<i32>(address(pc, 4, false)));
        break;
      case H.IMUL_RM_64:
        imul64(pc, load<i64>(regOf(pc)), read<i64>(address(pc, 8, false)));
        break;
      case H.IMUL_RRI_32:
        imul32(pc, load<i32>(rmOf(pc)), load<i32>(pc, 24));
        break;
      case H.IMUL_RRI_64:
        imul64(pc, load<i64>(rmOf(pc)), load<i64>(pc, 24));
        break;
      case H.NOT_R_32:
        put<u32>(rmOf(pc), ~load<u32>(rmOf(pc)));
        break;
      case H.NOT_R_64:
        store<u64>(rmOf(pc), ~load<u64>(rmOf(pc)));
        break;
      case H.NEG_R_32:
        neg<i32>(pc);
        break;
      case H.NEG_R_64:
        neg<i64>(pc);
        break;
      case H.SETCC_R:
        store<u8>(rmOf(pc), condition(load<u32>(pc, 24)) ? 1 : 0);
        break;
      case H.CMOV_RR_32: {
        const from = condition(load<u32>(pc, 24)) ? rmOf(pc) : regOf(pc);
        store<u64>(regOf(pc), load<u32>(from));
        break;
      }
      case H.CMOV_RR_64:
        if (condition(load<u32>(pc, 24))) store<u64>(regOf(pc), load<u64>(rmOf(pc)));
        break;
      case H.NOP:
        break;
      case H.JO:
        if (overflow()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JNO:
        if (!overflow()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JB:
        if (borrow()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JAE:
        if (!borrow()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JE:
        if (zero()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JNE:
        if (!zero()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JBE:
        if (belowOrEqual()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JA:
        if (!belowOrEqual()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JS:
        if (sign()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JNS:
        if (!sign()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JP:
        if (parity()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JNP:
        if (!parity()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JL:
        if (less()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JGE:
        if (!less()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JLE:
        if (lessOrEqual()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JG:
        if (!lessOrEqual()) {
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      case H.JMP:
        pc = taken(pc);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      case H.FALL: {
        // Not an instruction: it only ends a block.
        const left = load<i32>(COUNTDOWN) - <i32>indexInBlock(pc);
        store<i32>(COUNTDOWN, left);
        const link = load<u32>(pc, 24);
        pc = link != 0 && left > 0 ? link : branch(pc);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      }
      case H.CALL_64: {
        const top = load<u64>(RSP) - 8;
        write<u64>(top, load<u64>(RIP_PAGE) + nextOffsetOf(pc));
        store<u64>(RSP, top);
        pc = taken(pc);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      }
      case H.RET_64: {
        const top = load<u64>(RSP);
        const target = read<u64>(top);
        requireCanonical(target);
        store<u64>(RSP, top + 8);
        pc = jump(pc, target);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      }
      case H.JMP_R_64:
        requireCanonical(load<u64>(rmOf(pc)));
        pc = jump(pc, load<u64>(rmOf(pc)));
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      case H.CALL_R_64: {
        const target = load<u64>(rmOf(pc));
        requireCanonical(target);
        const top = load<u64>(RSP) - 8;
        write<u64>(top, load<u64>(RIP_PAGE) + nextOffsetOf(pc));
        store<u64>(RSP, top);
        pc = jump(pc, target);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      }
      case H.STEP_END:
        store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - <i32>indexInBlock(pc));
        store<u64>(RIP, load<u64>(RIP_PAGE) + load<i32>(pc, 20));
        store<u32>(CUR, 0);
        pc = next();
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      case H.BREAK:
        pc = breakpoint(pc);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      case H.STALE:
        pc = refresh(pc);
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      case H.CMP_RR_32_JB: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a < <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JAE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a >= <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a == <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JNE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a != <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JBE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a <= <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JA: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a > <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JL: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a < <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JGE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a >= <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JLE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a <= <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_32_JG: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a > <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JB: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a < <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JAE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a >= <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a == <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JNE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a != <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JBE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a <= <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JA: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a > <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JL: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a < <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JGE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a >= <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JLE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a <= <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RR_64_JG: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(regOf(pc));
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a > <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JB: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a < <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JAE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a >= <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a == <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JNE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a != <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JBE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a <= <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JA: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u32>a > <u32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JL: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a < <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JGE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a >= <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JLE: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a <= <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_32_JG: {
        const a = load<i32>(rmOf(pc));
        const b = load<i32>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i32>a > <i32>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JB: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a < <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JAE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a >= <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a == <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JNE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a != <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JBE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a <= <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JA: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<u64>a > <u64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JL: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a < <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JGE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a >= <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JLE: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a <= <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.CMP_RI_64_JG: {
        const a = load<i64>(rmOf(pc));
        const b = load<i64>(pc, 24);
        lazy(SUB, <i64>(a - b), a, b);
        pc += 32;
        if (<i64>a > <i64>b) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_8_JE: {
        const result = <i64>(load<i8>(rmOf(pc)) & load<i8>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result == 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_8_JNE: {
        const result = <i64>(load<i8>(rmOf(pc)) & load<i8>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result != 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_8_JS: {
        const result = <i64>(load<i8>(rmOf(pc)) & load<i8>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result < 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_8_JNS: {
        const result = <i64>(load<i8>(rmOf(pc)) & load<i8>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result >= 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_8_JLE: {
        const result = <i64>(load<i8>(rmOf(pc)) & load<i8>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result <= 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_8_JG: {
        const result = <i64>(load<i8>(rmOf(pc)) & load<i8>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result > 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_32_JE: {
        const result = <i64>(load<i32>(rmOf(pc)) & load<i32>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result == 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_32_JNE: {
        const result = <i64>(load<i32>(rmOf(pc)) & load<i32>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result != 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_32_JS: {
        const result = <i64>(load<i32>(rmOf(pc)) & load<i32>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result < 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_32_JNS: {
        const result = <i64>(load<i32>(rmOf(pc)) & load<i32>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result >= 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_32_JLE: {
        const result = <i64>(load<i32>(rmOf(pc)) & load<i32>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result <= 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_32_JG: {
        const result = <i64>(load<i32>(rmOf(pc)) & load<i32>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result > 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_64_JE: {
        const result = <i64>(load<i64>(rmOf(pc)) & load<i64>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result == 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_64_JNE: {
        const result = <i64>(load<i64>(rmOf(pc)) & load<i64>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result != 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_64_JS: {
        const result = <i64>(load<i64>(rmOf(pc)) & load<i64>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result < 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_64_JNS: {
        const result = <i64>(load<i64>(rmOf(pc)) & load<i64>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result >= 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_64_JLE: {
        const result = <i64>(load<i64>(rmOf(pc)) & load<i64>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result <= 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      case H.TEST_RR_64_JG: {
        const result = <i64>(load<i64>(rmOf(pc)) & load<i64>(regOf(pc)));
        lazyLogic(result);
        pc += 32;
        if (result > 0) {
          store<u32>(CUR, pc);
          pc = taken(pc);
          if (pc == 0) return load<u32>(EXIT_REASON);
          continue;
        }
        break;
      }
      default: {
        const left = execute(<u32>load<u16>(pc), pc);
        if (left == CONTINUE) break;
        if (left == AGAIN) store<u64>(RIP, load<u64>(RIP_PAGE) + (load<u16>(pc, 2) & 0xfff));
        // A part of a repetition counts as an instruction, so that the longest ends its slice.
        store<i32>(COUNTDOWN, load<i32>(COUNTDOWN) - <i32>indexInBlock(pc) - 1);
        store<u32>(CUR, 0);
        if (left == YIELD) {
          store<u32>(EXIT_REASON, EXIT_YIELD);
          return EXIT_YIELD;
        }
        if (left != AGAIN) noteLeave(pc);
        // A repetition that goes on is a boundary at which events are looked at.
        pc = left == AGAIN ? next() : advance();
        if (pc == 0) return load<u32>(EXIT_REASON);
        continue;
      }
    }
    pc += 32;
  }
  // Not reached: the compiler asks for it.
  return 0;
}
