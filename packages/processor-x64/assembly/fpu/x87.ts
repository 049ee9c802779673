// x87 instructions (Intel SDM 1, chapter 8; SDM 2).
//
// Handlers are numbered by opcode: 0 to 63 the memory forms, (opcode & 7) << 3 | ModRM.reg; 64 to 127 the register
// forms likewise; 128 to 159 D9 E0 to D9 FF.
import { condition, setFlags } from '../flags';
import {
  checkAlignment,
  readGuest16,
  readGuest32,
  readGuest64,
  readGuestBytes,
  writeGuest16,
  writeGuest32,
  writeGuest64,
  writeGuestBytes,
} from '../memory';
import { effectiveAddress } from '../operand';
import { rmOf } from '../record';
import { CF, FPU_SCRATCH, PF, RAX, X87_CONTROL, X87_STATUS, ZF } from '../state';
import { FPU_FIRST } from './form';
import {
  arithmetic,
  C0,
  C1,
  C2,
  C3,
  CLASS_DENORMAL,
  CLASS_INFINITE,
  CLASS_NORMAL,
  CLASS_UNSUPPORTED,
  CLASS_ZERO,
  classOf,
  compare,
  control,
  EXPONENT,
  extractExponent,
  extractSignificand,
  fromDecimal,
  fromFloat32,
  fromFloat64,
  fromInteger,
  invalid,
  NO_QUOTIENT,
  outSe,
  outSig,
  partialRemainder,
  quietLoaded,
  root,
  roundToInteger,
  scale,
  setOut,
  SIGN,
  sourceDenormal,
  stopped,
  toDecimal,
  toFloat32,
  toFloat64,
  toInteger,
} from './float80';
import { DE, exceptions, IE, OE, signal, UE } from './number';
import {
  arcTangent,
  cosineOf,
  exponentialMinusOne,
  logarithm,
  logarithmPlusOne,
  outOfRange,
  sineOf,
  tangentOf,
} from './transcendental';
import {
  beginX87,
  BUSY,
  checkPending,
  conclude,
  ES,
  initializeX87,
  isEmpty,
  moveTop,
  pop,
  push,
  recordInstruction,
  recordOperand,
  refreshSummary,
  seOf,
  setConditions,
  setEmpty,
  setRegister,
  sigOf,
  st,
  stackFault,
  take,
} from './x87-state';
import { loadEnvironment, restoreX87, saveX87, storeEnvironment } from './x87-save';

export function executeX87(handler: u32, op: u32): void {
  const number = handler - FPU_FIRST;
  if (number < 64) memoryForm(number, op);
  else if (number < 128) registerForm(number - 64, rmOf(op) & 7, op);
  else unaryForm(number - 128, op);
}

function memoryForm(number: u32, op: u32): void {
  const reg = number & 7;
  switch (number >> 3) {
    case 0: {
      const va = beginMemory(op, 4);
      fromFloat32(readGuest32(va));
      arithmeticMemory(reg, op, va);
      break;
    }
    case 2: {
      const va = beginMemory(op, 4);
      fromInteger(<i32>readGuest32(va));
      arithmeticMemory(reg, op, va);
      break;
    }
    case 4: {
      const va = beginMemory(op, 8);
      fromFloat64(readGuest64(va));
      arithmeticMemory(reg, op, va);
      break;
    }
    case 6: {
      const va = beginMemory(op, 2);
      fromInteger(<i16>readGuest16(va));
      arithmeticMemory(reg, op, va);
      break;
    }
    case 1:
      switch (reg) {
        case 0: {
          const va = beginMemory(op, 4);
          fromFloat32(readGuest32(va));
          loadFloat(op, va);
          break;
        }
        case 2:
          storeFloat32(op, false);
          break;
        case 3:
          storeFloat32(op, true);
          break;
        case 4:
          checkPending();
          loadEnvironment(op);
          break;
        case 5: {
          checkPending();
          const word = readGuest16(effectiveAddress(op, 2, false));
          store<u16>(X87_CONTROL, (word & 0x1f3f) | 0x40);
          refreshSummary();
          break;
        }
        case 6:
          storeEnvironment(op);
          break;
        default:
          writeGuest16(effectiveAddress(op, 2, true), load<u16>(X87_CONTROL));
      }
      break;
    case 3:
      switch (reg) {
        case 0: {
          const va = beginMemory(op, 4);
          fromInteger(<i32>readGuest32(va));
          loadAny(op, va);
          break;
        }
        case 1:
          storeInteger(op, 32, true, true);
          break;
        case 2:
          storeInteger(op, 32, false, false);
          break;
        case 3:
          storeInteger(op, 32, false, true);
          break;
        case 5: {
          const va = beginMemory(op, 10);
          checkAlignment(va, 8);
          readGuestBytes(va, FPU_SCRATCH, 10);
          setOut(load<u16>(FPU_SCRATCH, 8), load<u64>(FPU_SCRATCH));
          loadAny(op, va);
          break;
        }
        default:
          storeExtended(op);
      }
      break;
    case 5:
      switch (reg) {
        case 0: {
          const va = beginMemory(op, 8);
          fromFloat64(readGuest64(va));
          loadFloat(op, va);
          break;
        }
        case 1:
          storeInteger(op, 64, true, true);
          break;
        case 2:
          storeFloat64(op, false);
          break;
        case 3:
          storeFloat64(op, true);
          break;
        case 4:
          checkPending();
          restoreX87(op);
          break;
        case 6:
          saveX87(op);
          break;
        default:
          writeGuest16(effectiveAddress(op, 2, true), load<u16>(X87_STATUS));
      }
      break;
    default:
      switch (reg) {
        case 0: {
          const va = beginMemory(op, 2);
          fromInteger(<i16>readGuest16(va));
          loadAny(op, va);
          break;
        }
        case 1:
          storeInteger(op, 16, true, true);
          break;
        case 2:
          storeInteger(op, 16, false, false);
          break;
        case 3:
          storeInteger(op, 16, false, true);
          break;
        case 4: {
          const va = beginMemory(op, 10);
          checkAlignment(va, 8);
          readGuestBytes(va, FPU_SCRATCH, 10);
          fromDecimal(FPU_SCRATCH);
          loadAny(op, va);
          break;
        }
        case 5: {
          const va = beginMemory(op, 8);
          fromInteger(<i64>readGuest64(va));
          loadAny(op, va);
          break;
        }
        case 6:
          storeDecimal(op);
          break;
        default:
          storeInteger(op, 64, false, true);
      }
  }
}

// @ts-ignore: decorator
@inline function beginMemory(op: u32, size: u32): u64 {
  beginX87();
  return effectiveAddress(op, size, false);
}

/** ST(0) with a memory operand that was read. */
function arithmeticMemory(operation: u32, op: u32, va: u64): void {
  recordInstruction(op);
  recordOperand(op, va);
  const top = st(0);
  if (operation == 2 || operation == 3) {
    compareTop(outSe, outSig, isEmpty(top), false, operation - 2);
    return;
  }
  if (isEmpty(top)) {
    if (stackFault(false)) setRegister(top, outSe, outSig);
    return;
  }
  arithmetic(operation, seOf(top), sigOf(top), outSe, outSig);
  if (conclude()) setRegister(top, outSe, outSig);
}

/** Compares ST(0), sets the condition codes and pops `pops` times. */
function compareTop(se: u32, sig: u64, empty: bool, quiet: bool, pops: u32): void {
  const top = st(0);
  let codes: u32;
  let goes: bool;
  if (empty) {
    goes = stackFault(false);
    codes = C0 | C2 | C3;
  } else {
    codes = compare(seOf(top), sigOf(top), se, sig, quiet);
    goes = conclude();
  }
  setConditions(codes);
  if (goes) for (; pops != 0; pops--) pop();
}

/** FCOMI and its kind: ZF, PF and CF instead of condition codes. */
function compareToFlags(i: u32, quiet: bool, pops: bool): void {
  const top = st(0);
  const other = st(i);
  let codes: u32;
  let goes: bool;
  if (isEmpty(top) || isEmpty(other)) {
    goes = stackFault(false);
    codes = C0 | C2 | C3;
  } else {
    codes = compare(seOf(top), sigOf(top), seOf(other), sigOf(other), quiet);
    // C1 tells only of stack faults here.
    const before = <u32>load<u16>(X87_STATUS) & C1;
    goes = conclude();
    store<u16>(X87_STATUS, <u32>load<u16>(X87_STATUS) | before);
  }
  // AMD's processors, unlike Intel's, set the flags even where the exception is not masked.
  setFlags((codes & C0 ? CF : 0) | (codes & C2 ? PF : 0) | (codes & C3 ? ZF : 0));
  if (goes && pops) pop();
}

/** Pushes a number of 32 or 64 bits. */
function loadFloat(op: u32, va: u64): void {
  if (sourceDenormal) signal(DE);
  quietLoaded();
  loadAny(op, va);
}

function loadAny(op: u32, va: u64): void {
  recordInstruction(op);
  recordOperand(op, va);
  push();
}

/** Ends a store: the exceptions, and the pop where there is one. The value was written if it was to be. */
function concludeStore(op: u32, va: u64, empty: bool, pops: bool): void {
  recordInstruction(op);
  recordOperand(op, va);
  if (empty) stackFault(false);
  else conclude();
  if (pops && !storeStopped()) pop();
}

/** A store in memory happens unless an exception other than the precision's is not masked. */
// @ts-ignore: decorator
@inline function storeStopped(): bool {
  return (exceptions & ~control & (IE | DE | OE | UE)) != 0;
}

function storeFloat32(op: u32, pops: bool): void {
  beginX87();
  const va = effectiveAddress(op, 4, true);
  const top = st(0);
  const empty = isEmpty(top);
  let bits: u32 = 0xffc00000;
  if (empty) signal(IE);
  else bits = toFloat32(seOf(top), sigOf(top));
  if (!storeStopped()) writeGuest32(va, bits);
  concludeStore(op, va, empty, pops);
}

function storeFloat64(op: u32, pops: bool): void {
  beginX87();
  const va = effectiveAddress(op, 8, true);
  const top = st(0);
  const empty = isEmpty(top);
  let bits: u64 = 0xfff8000000000000;
  if (empty) signal(IE);
  else bits = toFloat64(seOf(top), sigOf(top));
  if (!storeStopped()) writeGuest64(va, bits);
  concludeStore(op, va, empty, pops);
}

function storeExtended(op: u32): void {
  beginX87();
  const va = effectiveAddress(op, 10, true);
  checkAlignment(va, 8);
  const top = st(0);
  const empty = isEmpty(top);
  if (empty) invalid();
  else take(top);
  if (!storeStopped()) {
    store<u64>(FPU_SCRATCH, outSig);
    store<u16>(FPU_SCRATCH, outSe, 8);
    writeGuestBytes(va, FPU_SCRATCH, 10);
  }
  concludeStore(op, va, empty, true);
}

function storeInteger(op: u32, bits: u32, truncate: bool, pops: bool): void {
  beginX87();
  const va = effectiveAddress(op, bits >> 3, true);
  const top = st(0);
  const empty = isEmpty(top);
  let value: i64 = 0 - ((<i64>1) << (bits - 1));
  if (empty) signal(IE);
  else value = toInteger(seOf(top), sigOf(top), bits, truncate);
  if (!storeStopped()) {
    if (bits == 16) writeGuest16(va, <u32>value & 0xffff);
    else if (bits == 32) writeGuest32(va, <u32>value);
    else writeGuest64(va, value);
  }
  concludeStore(op, va, empty, pops);
}

function storeDecimal(op: u32): void {
  beginX87();
  const va = effectiveAddress(op, 10, true);
  checkAlignment(va, 8);
  const top = st(0);
  const empty = isEmpty(top);
  // An empty register stores what a NaN does.
  if (empty) toDecimal(0xffff, u64.MAX_VALUE, FPU_SCRATCH);
  else toDecimal(seOf(top), sigOf(top), FPU_SCRATCH);
  if (!storeStopped()) writeGuestBytes(va, FPU_SCRATCH, 10);
  concludeStore(op, va, empty, true);
}

function registerForm(number: u32, i: u32, op: u32): void {
  const reg = number & 7;
  switch (number >> 3) {
    case 0:
      beginX87();
      recordInstruction(op);
      if (reg == 2 || reg == 3) compareRegister(i, false, reg - 2);
      else arithmeticRegisters(reg, 0, 0, i, false);
      break;
    case 1:
      beginX87();
      recordInstruction(op);
      if (reg == 0) loadRegister(i);
      else if (reg == 1) exchange(i);
      else if (reg == 3) storeUnchecked(i);
      break;
    case 2:
      beginX87();
      recordInstruction(op);
      if (reg == 5) compareRegister(1, true, 2);
      else conditionalMove(i, condition(moveCondition(reg)));
      break;
    case 3:
      if (reg == 4) {
        controlForm(i);
        break;
      }
      beginX87();
      recordInstruction(op);
      if (reg == 5) compareToFlags(i, true, false);
      else if (reg == 6) compareToFlags(i, false, false);
      else conditionalMove(i, condition(moveCondition(reg) | 1));
      break;
    case 4:
      beginX87();
      recordInstruction(op);
      if (reg == 2 || reg == 3) compareRegister(i, false, reg - 2);
      else arithmeticRegisters(reg, i, 0, i, false);
      break;
    case 5:
      beginX87();
      recordInstruction(op);
      if (reg == 0) {
        setEmpty(st(i));
        conclude();
      } else if (reg == 1) exchange(i);
      else if (reg == 2) storeRegister(i, false);
      else if (reg == 3) storeRegister(i, true);
      else compareRegister(i, true, reg - 4);
      break;
    case 6:
      beginX87();
      recordInstruction(op);
      if (reg == 2) compareRegister(i, false, 1);
      else if (reg == 3) compareRegister(1, false, 2);
      else arithmeticRegisters(reg, i, 0, i, true);
      break;
    default:
      if (reg == 4) {
        store<u16>(RAX, load<u16>(X87_STATUS));
        break;
      }
      beginX87();
      recordInstruction(op);
      if (reg == 0) {
        setEmpty(st(i));
        conclude();
        pop();
      } else if (reg == 1) exchange(i);
      else if (reg < 4) storeRegister(i, true);
      else compareToFlags(i, reg == 5, true);
  }
}

/** The condition of FCMOVB, FCMOVE, FCMOVBE and FCMOVU, as in Jcc. */
function moveCondition(reg: u32): u32 {
  return reg < 3 ? 2 + (reg << 1) : 10;
}

function compareRegister(i: u32, quiet: bool, pops: u32): void {
  const other = st(i);
  compareTop(seOf(other), sigOf(other), isEmpty(st(0)) || isEmpty(other), quiet, pops);
}

/** ST(to) = ST(a) op ST(b). */
function arithmeticRegisters(operation: u32, to: u32, a: u32, b: u32, pops: bool): void {
  const first = st(a);
  const second = st(b);
  let goes: bool;
  if (isEmpty(first) || isEmpty(second)) goes = stackFault(false);
  else {
    arithmetic(operation, seOf(first), sigOf(first), seOf(second), sigOf(second));
    goes = conclude();
  }
  if (!goes) return;
  setRegister(st(to), outSe, outSig);
  if (pops) pop();
}

function loadRegister(i: u32): void {
  const from = st(i);
  if (!isEmpty(from)) {
    take(from);
    push();
  } else if (stackFault(false)) {
    // Both faults at once where the place is taken too: the register is overwritten.
    moveTop(-1);
    setRegister(st(0), outSe, outSig);
  }
}

function storeRegister(i: u32, pops: bool): void {
  const top = st(0);
  if (isEmpty(top)) {
    if (!stackFault(false)) return;
  } else {
    take(top);
    conclude();
  }
  setRegister(st(i), outSe, outSig);
  if (pops) pop();
}

/** D9 D8: FSTP that does not mind an empty register. */
function storeUnchecked(i: u32): void {
  const top = st(0);
  const to = st(i);
  conclude();
  if (!isEmpty(top)) setRegister(to, seOf(top), sigOf(top));
  pop();
}

function exchange(i: u32): void {
  const top = st(0);
  const other = st(i);
  if (isEmpty(top) || isEmpty(other)) {
    if (!stackFault(false)) return;
    if (isEmpty(top)) setRegister(top, outSe, outSig);
    if (isEmpty(other)) setRegister(other, outSe, outSig);
  } else conclude();
  const se = seOf(top);
  const sig = sigOf(top);
  setRegister(top, seOf(other), sigOf(other));
  setRegister(other, se, sig);
}

function conditionalMove(i: u32, holds: bool): void {
  const top = st(0);
  const other = st(i);
  if (isEmpty(top) || isEmpty(other)) {
    if (stackFault(false)) setRegister(top, outSe, outSig);
  } else if (holds) setRegister(top, seOf(other), sigOf(other));
}

/** DB E0 to DB E7. */
function controlForm(i: u32): void {
  switch (i) {
    case 2:
      store<u16>(X87_STATUS, <u32>load<u16>(X87_STATUS) & ~(0x7f | ES | BUSY));
      break;
    case 3:
      initializeX87();
      break;
    default:
    // FENI, FDISI, FSETPM: of older coprocessors, without effect.
  }
}

function unaryForm(number: u32, op: u32): void {
  beginX87();
  recordInstruction(op);
  if (number >= 8 && number < 15) {
    constant(number - 8);
    return;
  }
  const top = st(0);
  switch (number) {
    case 0x05: {
      examine(top);
      return;
    }
    case 0x16:
      moveTop(-1);
      conclude();
      return;
    case 0x17:
      moveTop(1);
      conclude();
      return;
    case 0x04:
      compareTop(0, 0, isEmpty(top), false, 0);
      return;
    case 0x11:
    case 0x13:
    case 0x15:
    case 0x18:
    case 0x19:
    case 0x1d:
      binary(number);
      return;
    case 0x12:
    case 0x1b:
    case 0x14:
      pushing(number);
      return;
    default:
  }
  if (isEmpty(top)) {
    if (number >= 0x1e) clearC2();
    if (stackFault(false)) setRegister(top, outSe, outSig);
    return;
  }
  const se = seOf(top);
  const sig = sigOf(top);
  switch (number) {
    case 0x00:
      setOut(se ^ SIGN, sig);
      break;
    case 0x01:
      setOut(se & EXPONENT, sig);
      break;
    case 0x10:
      exponentialMinusOne(se, sig);
      break;
    case 0x1a:
      root(se, sig);
      break;
    case 0x1c:
      roundToInteger(se, sig);
      break;
    case 0x1e:
      sineOf(se, sig);
      break;
    default:
      cosineOf(se, sig);
  }
  const goes = conclude();
  if (number >= 0x1e) {
    store<u16>(X87_STATUS, (<u32>load<u16>(X87_STATUS) & ~C2) | (outOfRange ? C2 : 0));
    if (outOfRange) return;
  }
  if (goes) setRegister(top, outSe, outSig);
}

function clearC2(): void {
  store<u16>(X87_STATUS, <u32>load<u16>(X87_STATUS) & ~C2);
}

/** Instructions on ST(0) and ST(1). */
function binary(number: u32): void {
  const top = st(0);
  const second = st(1);
  const pops = number < 0x15 || number == 0x19;
  const partial = number == 0x18 || number == 0x15;
  const to = pops ? second : top;
  if (isEmpty(top) || isEmpty(second)) {
    if (partial) clearC2();
    if (!stackFault(false)) return;
    setRegister(to, outSe, outSig);
    if (pops) pop();
    return;
  }
  const se = seOf(top);
  const sig = sigOf(top);
  const otherSe = seOf(second);
  const other = sigOf(second);
  let codes: u32 = 0;
  switch (number) {
    case 0x11:
      logarithm(se, sig, otherSe, other);
      break;
    case 0x13:
      arcTangent(otherSe, other, se, sig);
      break;
    case 0x19:
      logarithmPlusOne(se, sig, otherSe, other);
      break;
    case 0x1d:
      scale(se, sig, otherSe, other);
      break;
    default:
      codes = partialRemainder(se, sig, otherSe, other, number == 0x15);
  }
  const goes = conclude();
  if (codes == NO_QUOTIENT) clearC2();
  else if (partial) setConditions(codes);
  if (!goes) return;
  setRegister(to, outSe, outSig);
  if (pops) pop();
}

/** FPTAN, FSINCOS and FXTRACT: ST(0) is replaced and one more number pushed. */
function pushing(number: u32): void {
  const top = st(0);
  const above = st(7);
  if (isEmpty(top) || !isEmpty(above)) {
    if (number != 0x14) clearC2();
    if (!stackFault(!isEmpty(top))) return;
    setRegister(top, outSe, outSig);
    moveTop(-1);
    setRegister(above, outSe, outSig);
    return;
  }
  const se = seOf(top);
  const sig = sigOf(top);
  let lowerSe: u32 = 0;
  let lower: u64 = 0;
  if (number == 0x14) {
    extractExponent(se, sig);
    lowerSe = outSe;
    lower = outSig;
    if (!stopped()) extractSignificand(se, sig);
  } else if (number == 0x12) {
    tangentOf(se, sig);
    lowerSe = outSe;
    lower = outSig;
    // 1.0 above the tangent, a NaN above a NaN.
    if (classOf(lowerSe, lower) <= CLASS_INFINITE) setOut(0x3fff, 0x8000000000000000);
  } else {
    sineOf(se, sig);
    lowerSe = outSe;
    lower = outSig;
    if (!stopped() && !outOfRange) cosineOf(se, sig);
  }
  const goes = conclude();
  if (number != 0x14) {
    store<u16>(X87_STATUS, (<u32>load<u16>(X87_STATUS) & ~C2) | (outOfRange ? C2 : 0));
    if (outOfRange) return;
  }
  if (!goes) return;
  setRegister(top, lowerSe, lower);
  moveTop(-1);
  setRegister(above, outSe, outSig);
}

/** FXAM (Intel SDM 2, table 3-37). */
function examine(top: u32): void {
  const se = seOf(top);
  let codes: u32 = se & SIGN ? C1 : 0;
  if (isEmpty(top)) codes |= C3 | C0;
  else {
    const kind = classOf(se, sigOf(top));
    if (kind == CLASS_ZERO) codes |= C3;
    else if (kind == CLASS_NORMAL) codes |= C2;
    else if (kind == CLASS_DENORMAL) codes |= C3 | C2;
    else if (kind == CLASS_INFINITE) codes |= C2 | C0;
    else if (kind != CLASS_UNSUPPORTED) codes |= C0;
  }
  setConditions(codes);
}

/** FLD1 to FLDZ. What the nearest rounding has more or less than 64 exact bits depends on the mode. */
function constant(number: u32): void {
  const mode = (control >> 10) & 3;
  const up = mode == 2;
  const cut = (mode & 1) != 0;
  switch (number) {
    case 0:
      setOut(0x3fff, 0x8000000000000000);
      break;
    case 1:
      setOut(0x4000, 0xd49a784bcd1b8afe + u64(up));
      break;
    case 2:
      setOut(0x3fff, 0xb8aa3b295c17f0bc - u64(cut));
      break;
    case 3:
      setOut(0x4000, 0xc90fdaa22168c235 - u64(cut));
      break;
    case 4:
      setOut(0x3ffd, 0x9a209a84fbcff799 - u64(cut));
      break;
    case 5:
      setOut(0x3ffe, 0xb17217f7d1cf79ac - u64(cut));
      break;
    default:
      setOut(0, 0);
  }
  push();
}
