// What a block's records become once all of them are decoded: common forms get handlers of their own, flags that nobody
// will see are left out, and some neighbours become one. All of it keeps a record for each instruction, so that faults
// and addresses stay what they are.
import { MAP1 } from './fpu/form';
import { PD, PS, SD, SS } from './fpu/map1';
import { COLD_FIRST, H } from './handlers';
import {
  addressSizeOf,
  FLAG_ADDRESS32,
  FLAG_IMMEDIATE,
  FLAG_MEMORY,
  FLAG_SEGMENTED,
  FLAG_TO_REG,
  flagsOf,
  handlerOf,
  immOf,
  indexOf,
  RECORD_SIZE,
  rmOf,
  segmentOf,
  sizeOf,
} from './record';
import { MODE, MODE_CODE32, MODE_FLAT, MODE_STACK32, RSP, SEG_BASE, SEGMENT_SIZE, SEGMENTS, ZERO } from './state';

const NOT_FUSED: u32 = 0xff;
/** Bits of MODE that 64-bit code never has together. */
const FLAT32: u32 = MODE_CODE32 | MODE_STACK32 | MODE_FLAT;

export function fuse(records: u32, count: u32): void {
  const end = records + count * RECORD_SIZE;
  for (let op = records; op < end; op += RECORD_SIZE) specialize(op);
  dropFlags(records, count);
  // From the end, so that what was fused can be part of more.
  for (let i: i32 = <i32>count - 2; i >= 0; i--) fuseWithNext(records + <u32>i * RECORD_SIZE);
}

// Forms.

function isWide(op: u32): u32 {
  return sizeOf(op) == 3 ? 1 : 0;
}

function specialize(op: u32): void {
  const handler = <i32>handlerOf(op);
  const isMem = (flagsOf(op) & FLAG_MEMORY) != 0;
  if (handler == H.SHIFT_IMM) {
    if (!isMem && sizeOf(op) >= 2) specializeRotation(op);
    return;
  }
  if (handler == H.ALU_ADC || handler == H.ALU_SBB) {
    specializeCarry(op, handler);
    return;
  }
  if (handler >= <i32>MAP1) {
    specializeSse(op, handler, isMem);
    return;
  }
  if (handler >= <i32>COLD_FIRST) {
    if (!isMem && sizeOf(op) == 2 && (load<u32>(MODE) & FLAT32) == FLAT32) specializeStack32(op, handler);
    return;
  }
  if (!isMem) return;
  if ((flagsOf(op) & FLAG_SEGMENTED) != 0) {
    // In 64-bit code the base of FS or GS is one more thing to add: it takes the place of a missing index.
    if (addressSizeOf(op) != 3 || indexOf(op) != ZERO) return;
    store<u8>(op, flagsOf(op) & ~FLAG_SEGMENTED, 5);
    store<u32>(op, SEGMENTS + segmentOf(op) * SEGMENT_SIZE + SEG_BASE, 16);
    return;
  }
  if ((flagsOf(op) & FLAG_ADDRESS32) != 0 || indexOf(op) != ZERO) return;
  switch (handler) {
    case H.MOV_RM_32:
    case H.MOV_RM_64:
      store<u16>(op, handler - H.MOV_RM_32 + H.LOAD_32);
      break;
    case H.MOV_MR_32:
    case H.MOV_MR_64:
      store<u16>(op, handler - H.MOV_MR_32 + H.STORE_32);
      break;
  }
}

/** The stack in flat 32-bit code. */
function specializeStack32(op: u32, handler: i32): void {
  switch (handler) {
    case H.PUSH_RM:
      store<u16>(op, H.PUSH_R_32);
      break;
    case H.POP_RM:
      store<u16>(op, H.POP_R_32);
      break;
    case H.PUSH_IMM:
      store<u16>(op, H.PUSH_I_32);
      break;
    case H.CALL:
      store<u16>(op, H.CALL_32);
      break;
    case H.RET:
      if (immOf(op) == 0) store<u16>(op, H.RET_32);
      break;
  }
}

/** Rotations of registers by a count other than 0. */
function specializeRotation(op: u32): void {
  const count = <u32>load<u8>(op, 24) & (sizeOf(op) == 3 ? 63 : 31);
  const operation: u32 = load<u8>(op, 31);
  if (count == 0 || operation > 1) return;
  store<u8>(op, count, 24);
  store<u16>(op, (operation == 0 ? H.ROL_RI_32 : H.ROR_RI_32) + isWide(op));
}

function specializeCarry(op: u32, handler: u32): void {
  const flags = flagsOf(op);
  if ((flags & FLAG_MEMORY) != 0 || sizeOf(op) < 2) return;
  let form: u32 = 0;
  if ((flags & FLAG_IMMEDIATE) != 0) {
    form = 2;
  } else if ((flags & FLAG_TO_REG) != 0) {
    const reg = load<u32>(op, 8);
    store<u32>(op, load<u32>(op, 12), 8);
    store<u32>(op, reg, 12);
  }
  store<u16>(op, (handler == H.ALU_ADC ? H.ADC_RR_32 : H.SBB_RR_32) + form + isWide(op));
}

/** The FPU part's own handler goes to the place of the immediate, which these instructions do not have. */
function specializeSse(op: u32, handler: u32, isMem: bool): void {
  let hot: u32 = 0;
  switch (handler - MAP1) {
    case (0x10 << 2) | SD:
      if (isMem) hot = H.MOVSD_LOAD;
      break;
    case (0x7e << 2) | SS:
      // MOVQ
      if (isMem) hot = H.MOVSD_LOAD;
      break;
    case (0x11 << 2) | SD:
    case (0xd6 << 2) | PD:
      if (isMem) hot = H.MOVSD_STORE;
      break;
    case (0x10 << 2) | PS:
    case (0x10 << 2) | PD:
    case (0x28 << 2) | PS:
    case (0x28 << 2) | PD:
    case (0x6f << 2) | PD:
    case (0x6f << 2) | SS:
      hot = isMem ? H.MOV_XMM_LOAD : H.MOV_XMM;
      break;
    case (0x11 << 2) | PS:
    case (0x11 << 2) | PD:
    case (0x29 << 2) | PS:
    case (0x29 << 2) | PD:
    case (0x7f << 2) | PD:
    case (0x7f << 2) | SS:
      if (isMem) hot = H.MOV_XMM_STORE;
      break;
    case (0xef << 2) | PD:
    case (0x57 << 2) | PS:
    case (0x57 << 2) | PD:
      if (!isMem) hot = H.PXOR_R;
      break;
    case (0x58 << 2) | SD:
      hot = isMem ? H.ADDSD_M : H.ADDSD_R;
      break;
    case (0x59 << 2) | SD:
      hot = isMem ? H.MULSD_M : H.MULSD_R;
      break;
    case (0x5c << 2) | SD:
      hot = isMem ? H.SUBSD_M : H.SUBSD_R;
      break;
    case (0x5e << 2) | SD:
      hot = isMem ? H.DIVSD_M : H.DIVSD_R;
      break;
  }
  if (hot == 0) return;
  store<u16>(op, handler, 24);
  store<u16>(op, hot);
}

// Flags.

/** Neither reads nor writes flags, and cannot fault. */
const NEUTRAL: u32 = 0;
/** Writes all six flags, without reading any, and cannot fault. */
const WRITES: u32 = 1;
/** Anything else: whatever the flags are, they may be seen. */
const SEES: u32 = 2;

function effectOnFlags(handler: i32): u32 {
  // The forms of ADD to TEST and MOV, ten of each: RR, RI, RM, MR, MI, of 32 and 64 bits.
  if (handler < H.MOV_RR_8) {
    if ((handler - H.ADD_RR_32) % 10 >= 4) return SEES;
    return handler < H.MOV_RR_32 ? WRITES : NEUTRAL;
  }
  switch (handler) {
    case H.MOV_RR_8:
    case H.MOV_RI_8:
    case H.MOVZX_R_8:
    case H.MOVZX_R_16:
    case H.MOVSX_R_8_32:
    case H.MOVSX_R_16_32:
    case H.MOVSX_R_8_64:
    case H.MOVSX_R_16_64:
    case H.MOVSX_R_32_64:
    case H.LEA_32:
    case H.LEA_64:
    case H.NOT_R_32:
    case H.NOT_R_64:
    case H.NOP:
      return NEUTRAL;
    case H.CMP_RI_8:
    case H.CMP_RR_8:
    case H.TEST_RR_8:
    case H.TEST_RI_8:
    case H.SHL_RI_32:
    case H.SHL_RI_64:
    case H.SHR_RI_32:
    case H.SHR_RI_64:
    case H.SAR_RI_32:
    case H.SAR_RI_64:
    case H.IMUL_RR_32:
    case H.IMUL_RR_64:
    case H.IMUL_RRI_32:
    case H.IMUL_RRI_64:
    case H.NEG_R_32:
    case H.NEG_R_64:
      return WRITES;
    default:
      return SEES;
  }
}

/** The handler that does the same but for the flags; the handler itself where there is none. */
function quietOf(op: u32, handler: i32): u32 {
  switch (handler) {
    case H.ADD_RR_32:
    case H.ADD_RR_64:
    case H.ADD_RI_32:
    case H.ADD_RI_64:
      return handler - H.ADD_RR_32 + H.QUIET_ADD_RR_32;
    case H.OR_RR_32:
    case H.OR_RR_64:
    case H.OR_RI_32:
    case H.OR_RI_64:
      return handler - H.OR_RR_32 + H.QUIET_OR_RR_32;
    case H.AND_RR_32:
    case H.AND_RR_64:
    case H.AND_RI_32:
    case H.AND_RI_64:
      return handler - H.AND_RR_32 + H.QUIET_AND_RR_32;
    case H.SUB_RR_32:
    case H.SUB_RR_64:
      return handler - H.SUB_RR_32 + H.QUIET_SUB_RR_32;
    case H.SUB_RI_32:
    case H.SUB_RI_64:
      // An addition: one form less to fuse.
      store<i64>(op, -load<i64>(op, 24), 24);
      return handler - H.SUB_RI_32 + H.QUIET_ADD_RI_32;
    case H.XOR_RR_32:
    case H.XOR_RR_64:
    case H.XOR_RI_32:
    case H.XOR_RI_64:
      return handler - H.XOR_RR_32 + H.QUIET_XOR_RR_32;
    case H.SHL_RI_32:
    case H.SHL_RI_64:
    case H.SHR_RI_32:
    case H.SHR_RI_64:
    case H.SAR_RI_32:
    case H.SAR_RI_64:
      return handler - H.SHL_RI_32 + H.QUIET_SHL_RI_32;
    case H.INC_R_32:
    case H.INC_R_64:
      store<i64>(op, 1, 24);
      return handler - H.INC_R_32 + H.QUIET_ADD_RI_32;
    case H.DEC_R_32:
    case H.DEC_R_64:
      store<i64>(op, -1, 24);
      return handler - H.DEC_R_32 + H.QUIET_ADD_RI_32;
    case H.ROL_RI_32:
    case H.ROL_RI_64:
      return handler - H.ROL_RI_32 + H.QUIET_ROL_RI_32;
    case H.ROR_RI_32:
      store<u8>(op, 32 - load<u8>(op, 24), 24);
      return H.QUIET_ROL_RI_32;
    case H.ROR_RI_64:
      store<u8>(op, 64 - load<u8>(op, 24), 24);
      return H.QUIET_ROL_RI_64;
    default:
      return handler;
  }
}

/** Flags that the block itself overwrites before anything can look at them need not be kept. */
function dropFlags(records: u32, count: u32): void {
  let dead = false;
  for (let i: i32 = <i32>count - 1; i >= 0; i--) {
    const op = records + <u32>i * RECORD_SIZE;
    const handler = <i32>handlerOf(op);
    if (dead) {
      const quiet = quietOf(op, handler);
      if (quiet != handler) {
        store<u16>(op, quiet);
        continue;
      }
    }
    const effect = effectOnFlags(handler);
    if (effect != NEUTRAL) dead = effect == WRITES;
  }
}

// Neighbours.

/** Position of a condition among the fused handlers of CMP: JB JAE JE JNE JBE JA JL JGE JLE JG. */
function compareIndex(condition: u32): u32 {
  if (condition >= 2 && condition <= 7) return condition - 2;
  if (condition >= 12) return condition - 6;
  return NOT_FUSED;
}

/** Position among those of TEST: JE JNE JS JNS JLE JG. */
function testIndex(condition: u32): u32 {
  switch (condition) {
    case 4:
      return 0;
    case 5:
      return 1;
    case 8:
      return 2;
    case 9:
      return 3;
    case 14:
      return 4;
    case 15:
      return 5;
    default:
      return NOT_FUSED;
  }
}

/** Position among those that have only JE and JNE. */
function equalIndex(condition: u32): u32 {
  return condition == 4 ? 0 : condition == 5 ? 1 : NOT_FUSED;
}

function fuseWithNext(op: u32): void {
  const handler = <i32>handlerOf(op);
  const following = <i32>handlerOf(op + RECORD_SIZE);
  if (following >= H.JO && following <= H.JG) {
    fuseJump(op, handler, following - H.JO);
    return;
  }
  switch (handler) {
    case H.QUIET_ADD_RI_32:
      fuseStep(op, following, H.STEP_32_CMP_RR_32_JNE);
      break;
    case H.QUIET_ADD_RI_64:
      fuseStep(op, following, H.STEP_64_CMP_RR_32_JNE);
      break;
    case H.PUSH_R_64:
      if (following == H.PUSH_R_64 && rmOf(op) != RSP && rmOf(op + RECORD_SIZE) != RSP) store<u16>(op, H.PUSH_PUSH);
      break;
    case H.POP_R_64:
      if (following == H.POP_R_64 && rmOf(op) != RSP && rmOf(op + RECORD_SIZE) != RSP) store<u16>(op, H.POP_POP);
      break;
  }
}

/** An addition and the comparison and jump behind it: the end of a loop. */
function fuseStep(op: u32, following: i32, first: u32): void {
  switch (following) {
    case H.CMP_RR_32_JNE:
      store<u16>(op, first);
      break;
    case H.CMP_RR_32_JB:
      store<u16>(op, first + 1);
      break;
    case H.CMP_RR_64_JNE:
      store<u16>(op, first + 2);
      break;
    case H.CMP_RR_64_JB:
      store<u16>(op, first + 3);
      break;
    case H.CMP_RI_32_JNE:
      store<u16>(op, first + 4);
      break;
    case H.CMP_RI_32_JBE:
      store<u16>(op, first + 5);
      break;
    case H.CMP_RI_64_JNE:
      store<u16>(op, first + 6);
      break;
    case H.CMP_RI_64_JBE:
      store<u16>(op, first + 7);
      break;
  }
}

/** One of the handlers that set flags, and the conditional jump behind it. */
function fuseJump(op: u32, handler: i32, condition: u32): void {
  let first: u32;
  let index = equalIndex(condition);
  switch (handler) {
    case H.CMP_RR_32:
      first = H.CMP_RR_32_JB;
      index = compareIndex(condition);
      break;
    case H.CMP_RR_64:
      first = H.CMP_RR_64_JB;
      index = compareIndex(condition);
      break;
    case H.CMP_RI_32:
      first = H.CMP_RI_32_JB;
      index = compareIndex(condition);
      break;
    case H.CMP_RI_64:
      first = H.CMP_RI_64_JB;
      index = compareIndex(condition);
      break;
    case H.TEST_RR_8:
      first = H.TEST_RR_8_JE;
      index = testIndex(condition);
      break;
    case H.TEST_RR_32:
      first = H.TEST_RR_32_JE;
      index = testIndex(condition);
      break;
    case H.TEST_RR_64:
      first = H.TEST_RR_64_JE;
      index = testIndex(condition);
      break;
    case H.CMP_RI_8:
      first = H.CMP_RI_8_JE;
      break;
    case H.CMP_MI_8:
      first = H.CMP_MI_8_JE;
      break;
    case H.CMP_MI_32:
      first = H.CMP_MI_32_JE;
      break;
    case H.CMP_MI_64:
      first = H.CMP_MI_64_JE;
      break;
    case H.CMP_RM_32:
      first = H.CMP_RM_32_JE;
      break;
    case H.CMP_RM_64:
      first = H.CMP_RM_64_JE;
      break;
    case H.CMP_MR_32:
      first = H.CMP_MR_32_JE;
      break;
    case H.CMP_MR_64:
      first = H.CMP_MR_64_JE;
      break;
    case H.TEST_RI_8:
      first = H.TEST_RI_8_JE;
      break;
    case H.TEST_RI_32:
      first = H.TEST_RI_32_JE;
      break;
    case H.TEST_MI_8:
      first = H.TEST_MI_8_JE;
      break;
    case H.TEST_MI_32:
      first = H.TEST_MI_32_JE;
      break;
    case H.SUB_RI_32:
      first = H.SUB_RI_32_JE;
      break;
    case H.SUB_RI_64:
      first = H.SUB_RI_64_JE;
      break;
    case H.ADD_RI_32:
      first = H.ADD_RI_32_JE;
      break;
    case H.ADD_RI_64:
      first = H.ADD_RI_64_JE;
      break;
    case H.AND_RI_32:
      first = H.AND_RI_32_JE;
      break;
    case H.AND_RI_64:
      first = H.AND_RI_64_JE;
      break;
    case H.DEC_R_32:
      first = H.DEC_R_32_JE;
      break;
    case H.DEC_R_64:
      first = H.DEC_R_64_JE;
      break;
    default:
      return;
  }
  if (index != NOT_FUSED) store<u16>(op, first + index);
}
