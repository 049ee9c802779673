// Arithmetic flags, kept as the operation that set them and computed when somebody looks (Intel SDM 1, 3.4.3.1).
//
// Results and operands are stored sign-extended from the operation's size. That keeps both signed and unsigned order,
// so that one formula on 64 bits serves all sizes.
import { AF, ARITHMETIC, CF, EFLAGS, FL_A, FL_B, FL_KIND, FL_RES, OF, PF, SF, ZF } from './state';

/** The flags are in EFLAGS. */
export const EXPLICIT: u32 = 0;
/** RES = A + B. */
export const ADD: u32 = 1;
/** RES = A - B. */
export const SUB: u32 = 2;
/** CF and OF clear. */
export const LOGIC: u32 = 3;
/** RES = A + 1; B is the carry that stays. */
export const INC: u32 = 4;
/** RES = A - 1; B is the carry that stays. */
export const DEC: u32 = 5;
/** RES = A + B + carry. */
export const ADC: u32 = 6;
/** RES = A - B - carry. */
export const SBB: u32 = 7;
/** ZF, SF and PF by RES; the others are bits of A. */
export const SHIFT: u32 = 8;
/** RES is the lower half of A * B; CF and OF are set where that is not all of it. */
export const MUL: u32 = 9;

// @ts-ignore: decorator
@inline export function lazy(kind: u32, result: i64, a: i64, b: i64): void {
  store<u32>(FL_KIND, kind);
  store<i64>(FL_RES, result);
  store<i64>(FL_A, a);
  store<i64>(FL_B, b);
}

// @ts-ignore: decorator
@inline export function lazyLogic(result: i64): void {
  store<u32>(FL_KIND, LOGIC);
  store<i64>(FL_RES, result);
}

// @ts-ignore: decorator
@inline export function lazyShift(result: i64, bits: u32): void {
  store<u32>(FL_KIND, SHIFT);
  store<i64>(FL_RES, result);
  store<i64>(FL_A, bits);
}

/** Whether a signed product does not fit 64 bits. */
function overflows(a: i64, b: i64): bool {
  if (a == <i64>(<i32>a) && b == <i64>(<i32>b)) return false;
  if (a == 0 || b == 0) return false;
  if ((a == -1 && b == i64.MIN_VALUE) || (b == -1 && a == i64.MIN_VALUE)) return true;
  return (a * b) / b != a;
}

/** 1 where the carry flag is set. */
export function carry(): u32 {
  const a = load<i64>(FL_A);
  const b = load<i64>(FL_B);
  switch (load<u32>(FL_KIND)) {
    case ADD:
      return u32(<u64>load<i64>(FL_RES) < <u64>a);
    case SUB:
      return u32(<u64>a < <u64>b);
    case LOGIC:
      return 0;
    case INC:
    case DEC:
      return <u32>b;
    case ADC: {
      const result = load<i64>(FL_RES);
      return <u32>(<u64>((a & b) | ((a | b) & ~result)) >> 63);
    }
    case SBB: {
      const result = load<i64>(FL_RES);
      return <u32>(<u64>((~a & b) | (~(a ^ b) & result)) >> 63);
    }
    case SHIFT:
      return <u32>a & CF;
    case MUL:
      return u32(overflows(a, b));
    default:
      return load<u32>(EFLAGS) & CF;
  }
}

export function overflow(): bool {
  const a = load<i64>(FL_A);
  const b = load<i64>(FL_B);
  const result = load<i64>(FL_RES);
  switch (load<u32>(FL_KIND)) {
    case ADD:
    case ADC:
      return ((a ^ result) & (b ^ result)) < 0;
    case SUB:
    case SBB:
      return ((a ^ b) & (a ^ result)) < 0;
    case LOGIC:
      return false;
    case INC:
      return (~a & result) < 0;
    case DEC:
      return (a & ~result) < 0;
    case SHIFT:
      return (<u32>a & OF) != 0;
    case MUL:
      return overflows(a, b);
    default:
      return (load<u32>(EFLAGS) & OF) != 0;
  }
}

// @ts-ignore: decorator
@inline export function zero(): bool {
  return load<u32>(FL_KIND) == EXPLICIT ? (load<u32>(EFLAGS) & ZF) != 0 : load<i64>(FL_RES) == 0;
}

// @ts-ignore: decorator
@inline export function sign(): bool {
  return load<u32>(FL_KIND) == EXPLICIT ? (load<u32>(EFLAGS) & SF) != 0 : load<i64>(FL_RES) < 0;
}

export function parity(): bool {
  if (load<u32>(FL_KIND) == EXPLICIT) return (load<u32>(EFLAGS) & PF) != 0;
  return (popcnt<u32>(load<u8>(FL_RES)) & 1) == 0;
}

function adjust(): bool {
  switch (load<u32>(FL_KIND)) {
    case EXPLICIT:
      return (load<u32>(EFLAGS) & AF) != 0;
    case LOGIC:
    case MUL:
      return false;
    case INC:
    case DEC:
      return ((load<u32>(FL_A) ^ load<u32>(FL_RES)) & AF) != 0;
    case SHIFT:
      return (load<u32>(FL_A) & AF) != 0;
    default:
      return ((load<u32>(FL_A) ^ load<u32>(FL_B) ^ load<u32>(FL_RES)) & AF) != 0;
  }
}

/** The six arithmetic flags as RFLAGS has them. */
export function arithmeticFlags(): u32 {
  if (load<u32>(FL_KIND) == EXPLICIT) return load<u32>(EFLAGS) & ARITHMETIC;
  return (
    carry() |
    (parity() ? PF : 0) |
    (adjust() ? AF : 0) |
    (zero() ? ZF : 0) |
    (sign() ? SF : 0) |
    (overflow() ? OF : 0)
  );
}

export function readFlags(): u32 {
  return (load<u32>(EFLAGS) & ~ARITHMETIC) | arithmeticFlags() | 2;
}

/** Replaces the six arithmetic flags. */
export function setFlags(bits: u32): void {
  store<u32>(FL_KIND, EXPLICIT);
  store<u32>(EFLAGS, (load<u32>(EFLAGS) & ~ARITHMETIC) | (bits & ARITHMETIC));
}

/** Rotations change CF and OF only: each 0 or 1. */
export function rotated(carryOut: u32, overflowOut: u32): void {
  setFlags((arithmeticFlags() & ~(CF | OF)) | carryOut | (overflowOut << 11));
}

/** Replaces the whole register. */
export function writeFlags(value: u32): void {
  store<u32>(FL_KIND, EXPLICIT);
  store<u32>(EFLAGS, value | 2);
}

/** Whether a condition holds, numbered as in the opcodes of Jcc. */
export function condition(cc: u32): bool {
  let holds: bool;
  const subtracted = load<u32>(FL_KIND) == SUB;
  switch (cc >> 1) {
    case 0:
      holds = overflow();
      break;
    case 1:
      holds = carry() != 0;
      break;
    case 2:
      holds = zero();
      break;
    case 3:
      holds = subtracted ? load<u64>(FL_A) <= load<u64>(FL_B) : carry() != 0 || zero();
      break;
    case 4:
      holds = sign();
      break;
    case 5:
      holds = parity();
      break;
    case 6:
      holds = subtracted ? load<i64>(FL_A) < load<i64>(FL_B) : sign() != overflow();
      break;
    default:
      holds = subtracted ? load<i64>(FL_A) <= load<i64>(FL_B) : zero() || sign() != overflow();
      break;
  }
  return holds != ((cc & 1) != 0);
}
