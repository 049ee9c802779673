// The interpreter: one loop, one switch over the hot handlers, whose work is in hot-handlers.ts; the others are a call
// away (execute.ts).
//
// A fused handler stands for its record and the next one, which stays as it is: it holds the jump's target, and a fault
// between the two is one of the second.
import { noteLeave } from './debugger';
import { advance, breakpoint, EXIT_YIELD, jump, next, refresh, stepEnd } from './dispatch';
import { AGAIN, CONTINUE, execute, YIELD } from './execute';
import { DEC, INC } from './flags';
import {
  ADD as FPU_ADD,
  DIVIDE as FPU_DIVIDE,
  MULTIPLY as FPU_MULTIPLY,
  SUBTRACT as FPU_SUBTRACT,
} from './fpu/sse-number';
import { H } from './handlers';
import { address, canonical, displaced, read, write } from './hot-access';
import {
  asFpu,
  callRegister,
  compareJump,
  extendM,
  extendR,
  fallThrough,
  holds,
  imul32,
  imul64,
  incDec,
  jumpOnResult,
  loadXmm,
  MI,
  mi,
  move32If,
  move64If,
  moveXmm,
  movsdLoad,
  movsdStore,
  MR,
  mr,
  neg,
  OP_ADC,
  OP_ADD,
  OP_AND,
  OP_CMP,
  OP_MOV,
  OP_OR,
  OP_SBB,
  OP_SUB,
  OP_TEST,
  OP_XOR,
  pop32,
  pop64,
  popTwo,
  push32,
  push64,
  pushTwo,
  put,
  pxor,
  quietRI,
  quietRR,
  ret64,
  RI,
  ri,
  RM,
  rm,
  rol,
  ror,
  RR,
  rr,
  sar,
  scalarMemory,
  scalarRegister,
  shl,
  shr,
  storeXmm,
  taken,
  testJump,
} from './hot-handlers';
import { indexInBlock, nextOffsetOf, RECORD_SIZE, regOf, rmOf } from './record';
import { COUNTDOWN, CUR, EXIT_REASON, RIP, RIP_PAGE } from './state';

/** Runs until the slice ends; the reason is one of VpExit. */
export function run(): u32 {
  let pc = next();
  for (;;) {
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
      case H.PUSH_R_64:
        push64(pc, load<u64>(rmOf(pc)));
        break;
      case H.POP_R_64:
        pop64(pc);
        break;
      case H.PUSH_I_64:
        push64(pc, load<u64>(pc, 24));
        break;
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
        shl<i32>(pc, true);
        break;
      case H.SHL_RI_64:
        shl<i64>(pc, true);
        break;
      case H.SHR_RI_32:
        shr<u32>(pc, true);
        break;
      case H.SHR_RI_64:
        shr<u64>(pc, true);
        break;
      case H.SAR_RI_32:
        sar<i32>(pc, true);
        break;
      case H.SAR_RI_64:
        sar<i64>(pc, true);
        break;
      case H.IMUL_RR_32:
        imul32(pc, load<i32>(regOf(pc)), load<i32>(rmOf(pc)));
        break;
      case H.IMUL_RR_64:
        imul64(pc, load<i64>(regOf(pc)), load<i64>(rmOf(pc)));
        break;
      case H.IMUL_RM_32:
        imul32(pc, load<i32>(regOf(pc)), read<i32>(pc, address(pc, 4, false)));
        break;
      case H.IMUL_RM_64:
        imul64(pc, load<i64>(regOf(pc)), read<i64>(pc, address(pc, 8, false)));
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
      case H.NOP:
        break;
      case H.JO:
        pc = holds(0) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JNO:
        pc = holds(1) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JB:
        pc = holds(2) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JAE:
        pc = holds(3) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JE:
        pc = holds(4) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JNE:
        pc = holds(5) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JBE:
        pc = holds(6) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JA:
        pc = holds(7) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JS:
        pc = holds(8) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JNS:
        pc = holds(9) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JP:
        pc = holds(10) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JNP:
        pc = holds(11) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JL:
        pc = holds(12) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JGE:
        pc = holds(13) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JLE:
        pc = holds(14) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JG:
        pc = holds(15) ? taken(pc) : pc + RECORD_SIZE;
        continue;
      case H.JMP:
        pc = taken(pc);
        continue;
      case H.FALL:
        pc = fallThrough(pc);
        continue;
      case H.CALL_64:
        push64(pc, load<u64>(RIP_PAGE) + nextOffsetOf(pc));
        pc = taken(pc);
        continue;
      case H.RET_64:
        pc = ret64(pc);
        continue;
      case H.JMP_R_64:
        pc = jump(pc, canonical(pc, load<u64>(rmOf(pc))));
        continue;
      case H.CALL_R_64:
        pc = callRegister(pc);
        continue;
      case H.STEP_END:
        pc = stepEnd(pc);
        continue;
      case H.BREAK:
        pc = breakpoint(pc);
        continue;
      case H.STALE:
        pc = refresh(pc);
        continue;
      case H.EXIT:
        return load<u32>(EXIT_REASON);
      case H.CMP_RR_32_JB:
        pc = compareJump<i32>(pc, RR, 2);
        continue;
      case H.CMP_RR_32_JAE:
        pc = compareJump<i32>(pc, RR, 3);
        continue;
      case H.CMP_RR_32_JE:
        pc = compareJump<i32>(pc, RR, 4);
        continue;
      case H.CMP_RR_32_JNE:
        pc = compareJump<i32>(pc, RR, 5);
        continue;
      case H.CMP_RR_32_JBE:
        pc = compareJump<i32>(pc, RR, 6);
        continue;
      case H.CMP_RR_32_JA:
        pc = compareJump<i32>(pc, RR, 7);
        continue;
      case H.CMP_RR_32_JL:
        pc = compareJump<i32>(pc, RR, 12);
        continue;
      case H.CMP_RR_32_JGE:
        pc = compareJump<i32>(pc, RR, 13);
        continue;
      case H.CMP_RR_32_JLE:
        pc = compareJump<i32>(pc, RR, 14);
        continue;
      case H.CMP_RR_32_JG:
        pc = compareJump<i32>(pc, RR, 15);
        continue;
      case H.CMP_RR_64_JB:
        pc = compareJump<i64>(pc, RR, 2);
        continue;
      case H.CMP_RR_64_JAE:
        pc = compareJump<i64>(pc, RR, 3);
        continue;
      case H.CMP_RR_64_JE:
        pc = compareJump<i64>(pc, RR, 4);
        continue;
      case H.CMP_RR_64_JNE:
        pc = compareJump<i64>(pc, RR, 5);
        continue;
      case H.CMP_RR_64_JBE:
        pc = compareJump<i64>(pc, RR, 6);
        continue;
      case H.CMP_RR_64_JA:
        pc = compareJump<i64>(pc, RR, 7);
        continue;
      case H.CMP_RR_64_JL:
        pc = compareJump<i64>(pc, RR, 12);
        continue;
      case H.CMP_RR_64_JGE:
        pc = compareJump<i64>(pc, RR, 13);
        continue;
      case H.CMP_RR_64_JLE:
        pc = compareJump<i64>(pc, RR, 14);
        continue;
      case H.CMP_RR_64_JG:
        pc = compareJump<i64>(pc, RR, 15);
        continue;
      case H.CMP_RI_32_JB:
        pc = compareJump<i32>(pc, RI, 2);
        continue;
      case H.CMP_RI_32_JAE:
        pc = compareJump<i32>(pc, RI, 3);
        continue;
      case H.CMP_RI_32_JE:
        pc = compareJump<i32>(pc, RI, 4);
        continue;
      case H.CMP_RI_32_JNE:
        pc = compareJump<i32>(pc, RI, 5);
        continue;
      case H.CMP_RI_32_JBE:
        pc = compareJump<i32>(pc, RI, 6);
        continue;
      case H.CMP_RI_32_JA:
        pc = compareJump<i32>(pc, RI, 7);
        continue;
      case H.CMP_RI_32_JL:
        pc = compareJump<i32>(pc, RI, 12);
        continue;
      case H.CMP_RI_32_JGE:
        pc = compareJump<i32>(pc, RI, 13);
        continue;
      case H.CMP_RI_32_JLE:
        pc = compareJump<i32>(pc, RI, 14);
        continue;
      case H.CMP_RI_32_JG:
        pc = compareJump<i32>(pc, RI, 15);
        continue;
      case H.CMP_RI_64_JB:
        pc = compareJump<i64>(pc, RI, 2);
        continue;
      case H.CMP_RI_64_JAE:
        pc = compareJump<i64>(pc, RI, 3);
        continue;
      case H.CMP_RI_64_JE:
        pc = compareJump<i64>(pc, RI, 4);
        continue;
      case H.CMP_RI_64_JNE:
        pc = compareJump<i64>(pc, RI, 5);
        continue;
      case H.CMP_RI_64_JBE:
        pc = compareJump<i64>(pc, RI, 6);
        continue;
      case H.CMP_RI_64_JA:
        pc = compareJump<i64>(pc, RI, 7);
        continue;
      case H.CMP_RI_64_JL:
        pc = compareJump<i64>(pc, RI, 12);
        continue;
      case H.CMP_RI_64_JGE:
        pc = compareJump<i64>(pc, RI, 13);
        continue;
      case H.CMP_RI_64_JLE:
        pc = compareJump<i64>(pc, RI, 14);
        continue;
      case H.CMP_RI_64_JG:
        pc = compareJump<i64>(pc, RI, 15);
        continue;
      case H.TEST_RR_8_JE:
        pc = testJump<i8>(pc, RR, 4);
        continue;
      case H.TEST_RR_8_JNE:
        pc = testJump<i8>(pc, RR, 5);
        continue;
      case H.TEST_RR_8_JS:
        pc = testJump<i8>(pc, RR, 8);
        continue;
      case H.TEST_RR_8_JNS:
        pc = testJump<i8>(pc, RR, 9);
        continue;
      case H.TEST_RR_8_JLE:
        pc = testJump<i8>(pc, RR, 14);
        continue;
      case H.TEST_RR_8_JG:
        pc = testJump<i8>(pc, RR, 15);
        continue;
      case H.TEST_RR_32_JE:
        pc = testJump<i32>(pc, RR, 4);
        continue;
      case H.TEST_RR_32_JNE:
        pc = testJump<i32>(pc, RR, 5);
        continue;
      case H.TEST_RR_32_JS:
        pc = testJump<i32>(pc, RR, 8);
        continue;
      case H.TEST_RR_32_JNS:
        pc = testJump<i32>(pc, RR, 9);
        continue;
      case H.TEST_RR_32_JLE:
        pc = testJump<i32>(pc, RR, 14);
        continue;
      case H.TEST_RR_32_JG:
        pc = testJump<i32>(pc, RR, 15);
        continue;
      case H.TEST_RR_64_JE:
        pc = testJump<i64>(pc, RR, 4);
        continue;
      case H.TEST_RR_64_JNE:
        pc = testJump<i64>(pc, RR, 5);
        continue;
      case H.TEST_RR_64_JS:
        pc = testJump<i64>(pc, RR, 8);
        continue;
      case H.TEST_RR_64_JNS:
        pc = testJump<i64>(pc, RR, 9);
        continue;
      case H.TEST_RR_64_JLE:
        pc = testJump<i64>(pc, RR, 14);
        continue;
      case H.TEST_RR_64_JG:
        pc = testJump<i64>(pc, RR, 15);
        continue;
      case H.QUIET_ADD_RR_32:
        quietRR<i32>(pc, OP_ADD);
        break;
      case H.QUIET_ADD_RR_64:
        quietRR<i64>(pc, OP_ADD);
        break;
      case H.QUIET_ADD_RI_32:
        quietRI<i32>(pc, OP_ADD);
        break;
      case H.QUIET_ADD_RI_64:
        quietRI<i64>(pc, OP_ADD);
        break;
      case H.QUIET_OR_RR_32:
        quietRR<i32>(pc, OP_OR);
        break;
      case H.QUIET_OR_RR_64:
        quietRR<i64>(pc, OP_OR);
        break;
      case H.QUIET_OR_RI_32:
        quietRI<i32>(pc, OP_OR);
        break;
      case H.QUIET_OR_RI_64:
        quietRI<i64>(pc, OP_OR);
        break;
      case H.QUIET_AND_RR_32:
        quietRR<i32>(pc, OP_AND);
        break;
      case H.QUIET_AND_RR_64:
        quietRR<i64>(pc, OP_AND);
        break;
      case H.QUIET_AND_RI_32:
        quietRI<i32>(pc, OP_AND);
        break;
      case H.QUIET_AND_RI_64:
        quietRI<i64>(pc, OP_AND);
        break;
      case H.QUIET_SUB_RR_32:
        quietRR<i32>(pc, OP_SUB);
        break;
      case H.QUIET_SUB_RR_64:
        quietRR<i64>(pc, OP_SUB);
        break;
      case H.QUIET_SUB_RI_32:
        quietRI<i32>(pc, OP_SUB);
        break;
      case H.QUIET_SUB_RI_64:
        quietRI<i64>(pc, OP_SUB);
        break;
      case H.QUIET_XOR_RR_32:
        quietRR<i32>(pc, OP_XOR);
        break;
      case H.QUIET_XOR_RR_64:
        quietRR<i64>(pc, OP_XOR);
        break;
      case H.QUIET_XOR_RI_32:
        quietRI<i32>(pc, OP_XOR);
        break;
      case H.QUIET_XOR_RI_64:
        quietRI<i64>(pc, OP_XOR);
        break;
      case H.QUIET_SHL_RI_32:
        shl<i32>(pc, false);
        break;
      case H.QUIET_SHL_RI_64:
        shl<i64>(pc, false);
        break;
      case H.QUIET_SHR_RI_32:
        shr<u32>(pc, false);
        break;
      case H.QUIET_SHR_RI_64:
        shr<u64>(pc, false);
        break;
      case H.QUIET_SAR_RI_32:
        sar<i32>(pc, false);
        break;
      case H.QUIET_SAR_RI_64:
        sar<i64>(pc, false);
        break;
      case H.QUIET_ROL_RI_32:
        rol<u32>(pc, false);
        break;
      case H.QUIET_ROL_RI_64:
        rol<u64>(pc, false);
        break;
      case H.ROL_RI_32:
        rol<u32>(pc, true);
        break;
      case H.ROL_RI_64:
        rol<u64>(pc, true);
        break;
      case H.ROR_RI_32:
        ror<u32>(pc);
        break;
      case H.ROR_RI_64:
        ror<u64>(pc);
        break;
      case H.ADC_RR_32:
        rr<i32>(pc, OP_ADC);
        break;
      case H.ADC_RR_64:
        rr<i64>(pc, OP_ADC);
        break;
      case H.ADC_RI_32:
        ri<i32>(pc, OP_ADC);
        break;
      case H.ADC_RI_64:
        ri<i64>(pc, OP_ADC);
        break;
      case H.SBB_RR_32:
        rr<i32>(pc, OP_SBB);
        break;
      case H.SBB_RR_64:
        rr<i64>(pc, OP_SBB);
        break;
      case H.SBB_RI_32:
        ri<i32>(pc, OP_SBB);
        break;
      case H.SBB_RI_64:
        ri<i64>(pc, OP_SBB);
        break;
      case H.SETO_R:
        store<u8>(rmOf(pc), u32(holds(0)));
        break;
      case H.SETNO_R:
        store<u8>(rmOf(pc), u32(holds(1)));
        break;
      case H.SETB_R:
        store<u8>(rmOf(pc), u32(holds(2)));
        break;
      case H.SETAE_R:
        store<u8>(rmOf(pc), u32(holds(3)));
        break;
      case H.SETE_R:
        store<u8>(rmOf(pc), u32(holds(4)));
        break;
      case H.SETNE_R:
        store<u8>(rmOf(pc), u32(holds(5)));
        break;
      case H.SETBE_R:
        store<u8>(rmOf(pc), u32(holds(6)));
        break;
      case H.SETA_R:
        store<u8>(rmOf(pc), u32(holds(7)));
        break;
      case H.SETS_R:
        store<u8>(rmOf(pc), u32(holds(8)));
        break;
      case H.SETNS_R:
        store<u8>(rmOf(pc), u32(holds(9)));
        break;
      case H.SETP_R:
        store<u8>(rmOf(pc), u32(holds(10)));
        break;
      case H.SETNP_R:
        store<u8>(rmOf(pc), u32(holds(11)));
        break;
      case H.SETL_R:
        store<u8>(rmOf(pc), u32(holds(12)));
        break;
      case H.SETGE_R:
        store<u8>(rmOf(pc), u32(holds(13)));
        break;
      case H.SETLE_R:
        store<u8>(rmOf(pc), u32(holds(14)));
        break;
      case H.SETG_R:
        store<u8>(rmOf(pc), u32(holds(15)));
        break;
      case H.CMOVO_RR_32:
        move32If(pc, holds(0));
        break;
      case H.CMOVNO_RR_32:
        move32If(pc, holds(1));
        break;
      case H.CMOVB_RR_32:
        move32If(pc, holds(2));
        break;
      case H.CMOVAE_RR_32:
        move32If(pc, holds(3));
        break;
      case H.CMOVE_RR_32:
        move32If(pc, holds(4));
        break;
      case H.CMOVNE_RR_32:
        move32If(pc, holds(5));
        break;
      case H.CMOVBE_RR_32:
        move32If(pc, holds(6));
        break;
      case H.CMOVA_RR_32:
        move32If(pc, holds(7));
        break;
      case H.CMOVS_RR_32:
        move32If(pc, holds(8));
        break;
      case H.CMOVNS_RR_32:
        move32If(pc, holds(9));
        break;
      case H.CMOVP_RR_32:
        move32If(pc, holds(10));
        break;
      case H.CMOVNP_RR_32:
        move32If(pc, holds(11));
        break;
      case H.CMOVL_RR_32:
        move32If(pc, holds(12));
        break;
      case H.CMOVGE_RR_32:
        move32If(pc, holds(13));
        break;
      case H.CMOVLE_RR_32:
        move32If(pc, holds(14));
        break;
      case H.CMOVG_RR_32:
        move32If(pc, holds(15));
        break;
      case H.CMOVO_RR_64:
        move64If(pc, holds(0));
        break;
      case H.CMOVNO_RR_64:
        move64If(pc, holds(1));
        break;
      case H.CMOVB_RR_64:
        move64If(pc, holds(2));
        break;
      case H.CMOVAE_RR_64:
        move64If(pc, holds(3));
        break;
      case H.CMOVE_RR_64:
        move64If(pc, holds(4));
        break;
      case H.CMOVNE_RR_64:
        move64If(pc, holds(5));
        break;
      case H.CMOVBE_RR_64:
        move64If(pc, holds(6));
        break;
      case H.CMOVA_RR_64:
        move64If(pc, holds(7));
        break;
      case H.CMOVS_RR_64:
        move64If(pc, holds(8));
        break;
      case H.CMOVNS_RR_64:
        move64If(pc, holds(9));
        break;
      case H.CMOVP_RR_64:
        move64If(pc, holds(10));
        break;
      case H.CMOVNP_RR_64:
        move64If(pc, holds(11));
        break;
      case H.CMOVL_RR_64:
        move64If(pc, holds(12));
        break;
      case H.CMOVGE_RR_64:
        move64If(pc, holds(13));
        break;
      case H.CMOVLE_RR_64:
        move64If(pc, holds(14));
        break;
      case H.CMOVG_RR_64:
        move64If(pc, holds(15));
        break;
      case H.LOAD_32:
        put<u32>(regOf(pc), read<u32>(pc, displaced(pc)));
        break;
      case H.LOAD_64:
        put<u64>(regOf(pc), read<u64>(pc, displaced(pc)));
        break;
      case H.STORE_32:
        write<u32>(pc, displaced(pc), load<u32>(regOf(pc)));
        break;
      case H.STORE_64:
        write<u64>(pc, displaced(pc), load<u64>(regOf(pc)));
        break;
      case H.PUSH_PUSH:
        pc = pushTwo(pc);
        continue;
      case H.POP_POP:
        pc = popTwo(pc);
        continue;
      case H.PUSH_R_32:
        push32(pc, load<u32>(rmOf(pc)));
        break;
      case H.POP_R_32:
        store<u64>(rmOf(pc), pop32(pc));
        break;
      case H.PUSH_I_32:
        push32(pc, load<u32>(pc, 24));
        break;
      case H.CALL_32:
        push32(pc, <u32>load<u64>(RIP_PAGE) + nextOffsetOf(pc));
        pc = taken(pc);
        continue;
      case H.RET_32:
        pc = jump(pc, pop32(pc));
        continue;
      case H.MOVSD_LOAD:
        if (!movsdLoad(pc)) asFpu(pc);
        break;
      case H.MOVSD_STORE:
        if (!movsdStore(pc)) asFpu(pc);
        break;
      case H.MOV_XMM:
        if (!moveXmm(pc)) asFpu(pc);
        break;
      case H.MOV_XMM_LOAD:
        if (!loadXmm(pc)) asFpu(pc);
        break;
      case H.MOV_XMM_STORE:
        if (!storeXmm(pc)) asFpu(pc);
        break;
      case H.PXOR_R:
        if (!pxor(pc)) asFpu(pc);
        break;
      case H.ADDSD_R:
        if (!scalarRegister(pc, FPU_ADD)) asFpu(pc);
        break;
      case H.ADDSD_M:
        if (!scalarMemory(pc, FPU_ADD)) asFpu(pc);
        break;
      case H.MULSD_R:
        if (!scalarRegister(pc, FPU_MULTIPLY)) asFpu(pc);
        break;
      case H.MULSD_M:
        if (!scalarMemory(pc, FPU_MULTIPLY)) asFpu(pc);
        break;
      case H.SUBSD_R:
        if (!scalarRegister(pc, FPU_SUBTRACT)) asFpu(pc);
        break;
      case H.SUBSD_M:
        if (!scalarMemory(pc, FPU_SUBTRACT)) asFpu(pc);
        break;
      case H.DIVSD_R:
        if (!scalarRegister(pc, FPU_DIVIDE)) asFpu(pc);
        break;
      case H.DIVSD_M:
        if (!scalarMemory(pc, FPU_DIVIDE)) asFpu(pc);
        break;
      case H.CMP_RI_8_JE:
        pc = compareJump<i8>(pc, RI, 4);
        continue;
      case H.CMP_RI_8_JNE:
        pc = compareJump<i8>(pc, RI, 5);
        continue;
      case H.CMP_MI_8_JE:
        pc = compareJump<i8>(pc, MI, 4);
        continue;
      case H.CMP_MI_8_JNE:
        pc = compareJump<i8>(pc, MI, 5);
        continue;
      case H.CMP_MI_32_JE:
        pc = compareJump<i32>(pc, MI, 4);
        continue;
      case H.CMP_MI_32_JNE:
        pc = compareJump<i32>(pc, MI, 5);
        continue;
      case H.CMP_MI_64_JE:
        pc = compareJump<i64>(pc, MI, 4);
        continue;
      case H.CMP_MI_64_JNE:
        pc = compareJump<i64>(pc, MI, 5);
        continue;
      case H.CMP_RM_32_JE:
        pc = compareJump<i32>(pc, RM, 4);
        continue;
      case H.CMP_RM_32_JNE:
        pc = compareJump<i32>(pc, RM, 5);
        continue;
      case H.CMP_RM_64_JE:
        pc = compareJump<i64>(pc, RM, 4);
        continue;
      case H.CMP_RM_64_JNE:
        pc = compareJump<i64>(pc, RM, 5);
        continue;
      case H.CMP_MR_32_JE:
        pc = compareJump<i32>(pc, MR, 4);
        continue;
      case H.CMP_MR_32_JNE:
        pc = compareJump<i32>(pc, MR, 5);
        continue;
      case H.CMP_MR_64_JE:
        pc = compareJump<i64>(pc, MR, 4);
        continue;
      case H.CMP_MR_64_JNE:
        pc = compareJump<i64>(pc, MR, 5);
        continue;
      case H.TEST_RI_8_JE:
        pc = testJump<i8>(pc, RI, 4);
        continue;
      case H.TEST_RI_8_JNE:
        pc = testJump<i8>(pc, RI, 5);
        continue;
      case H.TEST_RI_32_JE:
        pc = testJump<i32>(pc, RI, 4);
        continue;
      case H.TEST_RI_32_JNE:
        pc = testJump<i32>(pc, RI, 5);
        continue;
      case H.TEST_MI_8_JE:
        pc = testJump<i8>(pc, MI, 4);
        continue;
      case H.TEST_MI_8_JNE:
        pc = testJump<i8>(pc, MI, 5);
        continue;
      case H.TEST_MI_32_JE:
        pc = testJump<i32>(pc, MI, 4);
        continue;
      case H.TEST_MI_32_JNE:
        pc = testJump<i32>(pc, MI, 5);
        continue;
      case H.SUB_RI_32_JE:
        ri<i32>(pc, OP_SUB);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.SUB_RI_32_JNE:
        ri<i32>(pc, OP_SUB);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.SUB_RI_64_JE:
        ri<i64>(pc, OP_SUB);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.SUB_RI_64_JNE:
        ri<i64>(pc, OP_SUB);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.ADD_RI_32_JE:
        ri<i32>(pc, OP_ADD);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.ADD_RI_32_JNE:
        ri<i32>(pc, OP_ADD);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.ADD_RI_64_JE:
        ri<i64>(pc, OP_ADD);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.ADD_RI_64_JNE:
        ri<i64>(pc, OP_ADD);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.AND_RI_32_JE:
        ri<i32>(pc, OP_AND);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.AND_RI_32_JNE:
        ri<i32>(pc, OP_AND);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.AND_RI_64_JE:
        ri<i64>(pc, OP_AND);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.AND_RI_64_JNE:
        ri<i64>(pc, OP_AND);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.DEC_R_32_JE:
        incDec<i32>(pc, DEC);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.DEC_R_32_JNE:
        incDec<i32>(pc, DEC);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.DEC_R_64_JE:
        incDec<i64>(pc, DEC);
        pc = jumpOnResult(pc, 4);
        continue;
      case H.DEC_R_64_JNE:
        incDec<i64>(pc, DEC);
        pc = jumpOnResult(pc, 5);
        continue;
      case H.STEP_32_CMP_RR_32_JNE:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RR, 5);
        continue;
      case H.STEP_32_CMP_RR_32_JB:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RR, 2);
        continue;
      case H.STEP_32_CMP_RR_64_JNE:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RR, 5);
        continue;
      case H.STEP_32_CMP_RR_64_JB:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RR, 2);
        continue;
      case H.STEP_32_CMP_RI_32_JNE:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RI, 5);
        continue;
      case H.STEP_32_CMP_RI_32_JBE:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RI, 6);
        continue;
      case H.STEP_32_CMP_RI_64_JNE:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RI, 5);
        continue;
      case H.STEP_32_CMP_RI_64_JBE:
        quietRI<i32>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RI, 6);
        continue;
      case H.STEP_64_CMP_RR_32_JNE:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RR, 5);
        continue;
      case H.STEP_64_CMP_RR_32_JB:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RR, 2);
        continue;
      case H.STEP_64_CMP_RR_64_JNE:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RR, 5);
        continue;
      case H.STEP_64_CMP_RR_64_JB:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RR, 2);
        continue;
      case H.STEP_64_CMP_RI_32_JNE:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RI, 5);
        continue;
      case H.STEP_64_CMP_RI_32_JBE:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i32>(pc + RECORD_SIZE, RI, 6);
        continue;
      case H.STEP_64_CMP_RI_64_JNE:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RI, 5);
        continue;
      case H.STEP_64_CMP_RI_64_JBE:
        quietRI<i64>(pc, OP_ADD);
        pc = compareJump<i64>(pc + RECORD_SIZE, RI, 6);
        continue;
      default: {
        store<u32>(CUR, pc);
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
        continue;
      }
    }
    pc += RECORD_SIZE;
  }
  // Not reached: the compiler asks for it.
  return 0;
}
