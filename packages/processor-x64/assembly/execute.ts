// The handlers that are not hot, by number.
import { FPU_FIRST } from './fpu/form';
import { executeFpu } from './fpu/execute';
import { readFlags, setFlags } from './flags';
import { H } from './handlers';
import { alu, aaa, aad, aam, addWithFlag, cmpxchg, daa, div, idiv, imul1, imul2, imul3 } from './ops/alu';
import { incDec, mul, neg, not, test, xadd, xchg } from './ops/alu';
import * as bits from './ops/bits';
import * as control from './ops/control';
import { input, output, portOf } from './ops/io';
import * as misc from './ops/misc';
import { readMsr, readTimeStamp, writeMsr } from './ops/msr';
import { doubleShift, shift } from './ops/shift';
import { runString } from './ops/string';
import * as system from './ops/system';
import { raiseGp, raiseNm, raiseUd } from './raise';
import { FLAG_REP, FLAG_REPNE, flagsOf, immOf, rmOf, sizeOf } from './record';
import { segment } from './segment-access';
import { push } from './stack';
import * as transfer from './transfer';
import {
  ACTIVITY,
  ACTIVITY_HALTED,
  CF,
  CR0,
  CR0_EM,
  CR0_MP,
  CR0_TS,
  CR4,
  CR4_OSFXSR,
  DF,
  EFLAGS,
  EX_BP,
  EX_OF,
  FS,
  GDTR_BASE,
  GDTR_LIMIT,
  GS,
  ICEBP,
  IDTR_BASE,
  IDTR_LIMIT,
  LDTR,
  MSR_TSC_AUX,
  OF,
  PAUSES,
  PENDING_TRAP,
  RCX,
  RIP,
  SEG_BASE,
  TR,
} from './state';

/** The block goes on with the next record. */
export const CONTINUE: u32 = 0;
/** RIP says where to go on. */
export const LEAVE: u32 = 1;
/** The instruction is not done: it is to be run again, once events were looked at. */
export const AGAIN: u32 = 2;
/** As LEAVE, and the slice ends: others may run. */
export const YIELD: u32 = 3;

const UNIT_X87: u32 = 1;
const UNIT_MMX: u32 = 2;
const UNIT_SSE: u32 = 4;

/** Availability of the floating-point units (Intel SDM 3, 2.5 and 13.3). */
function checkUnits(units: u32): void {
  const cr0 = load<u32>(CR0);
  if ((units & UNIT_X87) != 0) {
    if ((cr0 & (CR0_EM | CR0_TS)) != 0) raiseNm();
  } else if (units != 0) {
    if ((cr0 & CR0_EM) != 0) raiseUd();
    if ((units & UNIT_SSE) != 0 && (load<u32>(CR4) & CR4_OSFXSR) == 0) raiseUd();
    if ((cr0 & CR0_TS) != 0) raiseNm();
  }
}

/** Runs a handler from COLD_FIRST up. */
export function execute(handler: u32, op: u32): u32 {
  if (handler >= FPU_FIRST) {
    checkUnits(load<u8>(op, 31));
    executeFpu(handler, op);
    return CONTINUE;
  }
  switch (handler) {
    case H.UNKNOWN:
      misc.unknown(op);
      break;
    case H.UD2:
      raiseUd();
      break;
    case H.ALU_ADD:
    case H.ALU_OR:
    case H.ALU_ADC:
    case H.ALU_SBB:
    case H.ALU_AND:
    case H.ALU_SUB:
    case H.ALU_XOR:
    case H.ALU_CMP:
      alu(op, handler - H.ALU_ADD);
      break;
    case H.TEST:
      test(op);
      break;
    case H.MOV:
      misc.move(op);
      break;
    case H.NOT:
      not(op);
      break;
    case H.NEG:
      neg(op);
      break;
    case H.INC:
      incDec(op, false);
      break;
    case H.DEC:
      incDec(op, true);
      break;
    case H.MUL:
      mul(op);
      break;
    case H.IMUL1:
      imul1(op);
      break;
    case H.DIV:
      div(op);
      break;
    case H.IDIV:
      idiv(op);
      break;
    case H.IMUL2:
      imul2(op);
      break;
    case H.IMUL3:
      imul3(op);
      break;
    case H.SHIFT_IMM:
      shift(op, false);
      break;
    case H.SHIFT_CL:
      shift(op, true);
      break;
    case H.SHLD:
      doubleShift(op, false);
      break;
    case H.SHRD:
      doubleShift(op, true);
      break;
    case H.BT:
    case H.BTS:
    case H.BTR:
    case H.BTC:
      bits.bitTest(op, handler - H.BT);
      break;
    case H.BSF:
      bits.scan(op, false);
      break;
    case H.BSR:
      bits.scan(op, true);
      break;
    case H.TZCNT:
      bits.tzcnt(op);
      break;
    case H.LZCNT:
      bits.lzcnt(op);
      break;
    case H.POPCNT:
      bits.countOnes(op);
      break;
    case H.BSWAP:
      bits.bswap(rmOf(op), sizeOf(op));
      break;
    case H.MOVZX:
      misc.moveExtended(op, false);
      break;
    case H.MOVSX:
      misc.moveExtended(op, true);
      break;
    case H.CMOV:
      misc.conditionalMove(op);
      break;
    case H.SETCC:
      misc.setOnCondition(op);
      break;
    case H.LEA:
      misc.loadAddress(op);
      break;
    case H.XCHG:
      xchg(op);
      break;
    case H.XADD:
      xadd(op);
      break;
    case H.CMPXCHG:
      cmpxchg(op);
      break;
    case H.CMPXCHG8B:
      misc.compareExchange8(op);
      break;
    case H.CMPXCHG16B:
      misc.compareExchange16(op);
      break;
    case H.CBW:
      misc.widen(op);
      break;
    case H.CWD:
      misc.spreadSign(op);
      break;
    case H.SAHF:
      control.storeAh();
      break;
    case H.LAHF:
      control.loadAh();
      break;
    case H.CMC:
      setFlags(readFlags() ^ CF);
      break;
    case H.CLC:
      setFlags(readFlags() & ~CF);
      break;
    case H.STC:
      setFlags(readFlags() | CF);
      break;
    case H.CLD:
      store<u32>(EFLAGS, load<u32>(EFLAGS) & ~DF);
      break;
    case H.STD:
      store<u32>(EFLAGS, load<u32>(EFLAGS) | DF);
      break;
    case H.DAA:
      daa(false);
      break;
    case H.DAS:
      daa(true);
      break;
    case H.AAA:
      aaa(false);
      break;
    case H.AAS:
      aaa(true);
      break;
    case H.AAM:
      aam(op);
      break;
    case H.AAD:
      aad(op);
      break;
    case H.SALC:
      misc.setAlFromCarry();
      break;
    case H.XLAT:
      misc.translateByte(op);
      break;
    case H.BOUND:
      control.bound(op);
      break;
    case H.ARPL:
      system.adjustRpl(op);
      break;
    case H.MOV_TO_OFFSET:
      misc.moveToOffset(op);
      break;
    case H.MOV_FROM_OFFSET:
      misc.moveFromOffset(op);
      break;
    case H.MOVBE_LOAD:
      misc.moveBigEndian(op, false);
      break;
    case H.MOVBE_STORE:
      misc.moveBigEndian(op, true);
      break;
    case H.CRC32:
      bits.crc32(op);
      break;
    case H.ADCX:
      addWithFlag(op, CF);
      break;
    case H.ADOX:
      addWithFlag(op, OF);
      break;
    case H.ANDN:
      bits.andn(op);
      break;
    case H.BLSR:
      bits.bls(op, bits.BLS_RESET);
      break;
    case H.BLSMSK:
      bits.bls(op, bits.BLS_MASK);
      break;
    case H.BLSI:
      bits.bls(op, bits.BLS_ISOLATE);
      break;
    case H.BZHI:
      bits.bzhi(op);
      break;
    case H.PEXT:
      bits.pext(op);
      break;
    case H.PDEP:
      bits.pdep(op);
      break;
    case H.MULX:
      bits.mulx(op);
      break;
    case H.BEXTR:
      bits.bextr(op);
      break;
    case H.SHLX:
      bits.shiftBy(op, bits.SHIFT_LEFT);
      break;
    case H.SARX:
      bits.shiftBy(op, bits.SHIFT_ARITHMETIC);
      break;
    case H.SHRX:
      bits.shiftBy(op, bits.SHIFT_RIGHT);
      break;
    case H.RORX:
      bits.rorx(op);
      break;
    case H.RDRAND:
    case H.RDSEED:
      misc.randomNumber(op);
      break;
    case H.RDPID:
      misc.readProcessorId(op);
      break;
    case H.CLFLUSH:
      misc.flushLine(op);
      break;
    case H.PUSH_RM:
      control.pushOperand(op);
      break;
    case H.PUSH_IMM:
      push(immOf(op), sizeOf(op));
      break;
    case H.POP_RM:
      control.popOperand(op);
      break;
    case H.PUSHA:
      control.pushAll(op);
      break;
    case H.POPA:
      control.popAll(op);
      break;
    case H.PUSHF:
      control.pushFlags(op);
      break;
    case H.ENTER:
      control.enter(op);
      break;
    case H.LEAVE:
      control.leave(op);
      break;
    case H.PUSH_SEG:
      control.pushSegment(op);
      break;
    case H.MOV_FROM_SEG:
      control.moveFromSegment(op);
      break;
    case H.WAIT:
      if ((load<u32>(CR0) & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) raiseNm();
      break;
    case H.SLDT:
      system.storeSelector(op, LDTR);
      break;
    case H.STR:
      system.storeSelector(op, TR);
      break;
    case H.VERR:
      system.verify(op, false);
      break;
    case H.VERW:
      system.verify(op, true);
      break;
    case H.LAR:
      system.loadRights(op, false);
      break;
    case H.LSL:
      system.loadRights(op, true);
      break;
    case H.SGDT:
      system.storeTable(op, GDTR_BASE, GDTR_LIMIT);
      break;
    case H.SIDT:
      system.storeTable(op, IDTR_BASE, IDTR_LIMIT);
      break;
    case H.LGDT:
      system.loadTable(op, GDTR_BASE, GDTR_LIMIT);
      break;
    case H.LIDT:
      system.loadTable(op, IDTR_BASE, IDTR_LIMIT);
      break;
    case H.SMSW:
      system.storeMachineStatus(op);
      break;
    case H.CLTS:
      system.clearTaskSwitched();
      break;
    case H.WBINVD:
      system.requirePrivilege();
      break;
    case H.RDTSC:
      readTimeStamp();
      break;
    case H.RDPMC:
      // There are no counters.
      raiseGp(0);
      break;
    case H.CLI:
      control.setInterruptFlag(op, false);
      break;
    case H.MOVS:
    case H.CMPS:
    case H.STOS:
    case H.LODS:
    case H.SCAS: {
      const done = runString(op);
      if ((flagsOf(op) & (FLAG_REP | FLAG_REPNE)) == 0) break;
      if (!done) return AGAIN;
      control.goNext(op);
      return LEAVE;
    }
    default:
      return executeLast(handler, op);
  }
  return CONTINUE;
}

/** Others get their turn after so many PAUSEs: giving it to them costs as much as a dozen looks at a lock. */
const PAUSES_PER_TURN: u32 = 16;

function endsTurn(): bool {
  const pauses = load<u32>(PAUSES) + 1;
  store<u32>(PAUSES, pauses < PAUSES_PER_TURN ? pauses : 0);
  return pauses >= PAUSES_PER_TURN;
}

/** The handlers that end their block. */
function executeLast(handler: u32, op: u32): u32 {
  switch (handler) {
    // Those that say themselves where to go on.
    case H.CALL_RM:
      control.callOperand(op);
      return LEAVE;
    case H.JMP_RM:
      control.jumpOperand(op);
      return LEAVE;
    case H.CALL:
      control.callRelative(op);
      return LEAVE;
    case H.RET:
      control.returnNear(op);
      return LEAVE;
    case H.CALL_FAR_M: {
      const offset = control.farPointer(op);
      transfer.callFar(control.farSelector(), offset, sizeOf(op), control.nextRip(op));
      return LEAVE;
    }
    case H.JMP_FAR_M: {
      const offset = control.farPointer(op);
      transfer.jumpFar(control.farSelector(), offset);
      return LEAVE;
    }
    case H.CALL_FAR:
      transfer.callFar(<u32>(immOf(op) >> 32), <u64>immOf(op) & 0xffffffff, sizeOf(op), control.nextRip(op));
      return LEAVE;
    case H.JMP_FAR:
      transfer.jumpFar(<u32>(immOf(op) >> 32), <u64>immOf(op) & 0xffffffff);
      return LEAVE;
    case H.RET_FAR:
      transfer.returnFar(sizeOf(op), <u32>immOf(op));
      return LEAVE;
    case H.INT3:
      control.interrupt(op, EX_BP);
      return LEAVE;
    case H.INT:
      control.numberedInterrupt(op);
      return LEAVE;
    case H.INTO:
      if ((readFlags() & OF) != 0) {
        control.interrupt(op, EX_OF);
        return LEAVE;
      }
      break;
    case H.IRET:
      transfer.interruptReturn(sizeOf(op));
      return LEAVE;
    case H.LOOPNE:
    case H.LOOPE:
    case H.LOOP:
    case H.JCXZ:
      control.loop(op, handler - H.LOOPNE);
      return LEAVE;
    case H.SYSCALL:
      transfer.syscall(control.nextRip(op));
      return LEAVE;
    case H.SYSRET:
      transfer.sysret(sizeOf(op) == 3);
      return LEAVE;
    case H.SYSENTER:
      transfer.sysenter();
      return LEAVE;
    case H.SYSEXIT:
      transfer.sysexit(sizeOf(op) == 3);
      return LEAVE;
    case H.INS:
    case H.OUTS:
      if (!runString(op)) return AGAIN;
      break;
    case H.PAUSE:
      control.goNext(op);
      return endsTurn() ? YIELD : LEAVE;
    // The others go on behind themselves.
    case H.ICEBP:
      control.goNext(op);
      store<u32>(PENDING_TRAP, load<u32>(PENDING_TRAP) | ICEBP);
      return LEAVE;
    case H.POPF:
      control.popFlags(op);
      break;
    case H.POP_SEG:
      control.popSegment(op);
      break;
    case H.MOV_TO_SEG:
      control.moveToSegment(op);
      break;
    case H.LOAD_FAR:
      control.loadFar(op);
      break;
    case H.IN_IMM:
      input(op, portOf(op, true));
      break;
    case H.OUT_IMM:
      output(op, portOf(op, true));
      break;
    case H.IN_DX:
      input(op, portOf(op, false));
      break;
    case H.OUT_DX:
      output(op, portOf(op, false));
      break;
    case H.HLT:
      system.requirePrivilege();
      store<u32>(ACTIVITY, ACTIVITY_HALTED);
      break;
    case H.STI:
      control.setInterruptFlag(op, true);
      break;
    case H.LLDT:
      system.loadSystemSegment(op, false);
      break;
    case H.LTR:
      system.loadSystemSegment(op, true);
      break;
    case H.LMSW:
      system.loadMachineStatus(op);
      break;
    case H.INVLPG:
      system.invalidatePage(op);
      break;
    case H.INVPCID:
      system.invalidatePcid(op);
      break;
    case H.VMCALL:
      misc.callHypervisor();
      break;
    case H.CLAC:
      system.setAlignmentCheck(false);
      break;
    case H.STAC:
      system.setAlignmentCheck(true);
      break;
    case H.XGETBV:
      system.getExtendedControl();
      break;
    case H.XSETBV:
      system.setExtendedControl();
      break;
    case H.SWAPGS:
      transfer.swapgs();
      break;
    case H.RDTSCP:
      readTimeStamp();
      store<u64>(RCX, load<u32>(MSR_TSC_AUX));
      break;
    case H.MOV_FROM_CR:
      system.moveFromControl(op);
      break;
    case H.MOV_FROM_DR:
      system.moveFromDebug(op);
      break;
    case H.MOV_TO_CR:
      // A change of mode must not change how the next RIP is formed.
      control.goNext(op);
      system.moveToControl(op);
      return LEAVE;
    case H.MOV_TO_DR:
      system.moveToDebug(op);
      break;
    case H.WRMSR:
      writeMsr();
      break;
    case H.RDMSR:
      readMsr();
      break;
    case H.CPUID:
      misc.identify();
      break;
    case H.RDFSBASE:
    case H.RDGSBASE:
      system.requireFsGsBase();
      readBase(op, handler == H.RDFSBASE ? FS : GS);
      break;
    case H.WRFSBASE:
    case H.WRGSBASE:
      system.requireFsGsBase();
      writeBase(op, handler == H.WRFSBASE ? FS : GS);
      break;
    default:
      raiseUd();
  }
  control.goNext(op);
  return LEAVE;
}

function readBase(op: u32, n: u32): void {
  const base = load<u64>(segment(n) + SEG_BASE);
  store<u64>(rmOf(op), sizeOf(op) == 3 ? base : base & 0xffffffff);
}

function writeBase(op: u32, n: u32): void {
  const base = sizeOf(op) == 3 ? load<u64>(rmOf(op)) : <u64>load<u32>(rmOf(op));
  if (<u64>((<i64>base << 16) >> 16) != base) raiseGp(0);
  store<u64>(segment(n) + SEG_BASE, base);
}
