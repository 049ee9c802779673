import { HvRegister } from '@kensho/core';
import { Machine, Segment } from '../../src/test-utils/machine.ts';
import type { OracleCase } from './generator.ts';
import {
  ARITHMETIC,
  CODE,
  CODE_BYTES,
  DATA,
  DATA_BYTES,
  Flag,
  RESULT_BYTES,
  ResultOffset,
  STACK,
  STACK_BYTES,
} from './layout.ts';

const ROOT = 0x1000;
const USER_PAGE = 7n;
const CODE32_USER = 0xc0fb;
const CODE64_USER = 0xa0fb;
/** #BP: a case ends at an INT3. */
const BREAKPOINT = 3;
/** Offset in the engine's state. */
const IDTR_LIMIT = 0x218;
const INSTRUCTIONS_MAX = 10_000;

/** The processor that runs cases of the oracle, as the operating system's user code runs. */
export class OracleGuest {
  readonly machine = new Machine({ memoryPages: 1024 });

  constructor() {
    const { machine } = this;
    machine.enterLongMode(CODE, STACK, 3);
    // The pages of a case only: a PML4, a directory pointer table, a directory and a table for each 2 MiB.
    machine.write64(ROOT, BigInt(ROOT + 0x1000) | USER_PAGE);
    machine.write64(ROOT + 0x1000, BigInt(ROOT + 0x2000) | USER_PAGE);
    machine.write(ROOT + 0x2000, new Uint8Array(0x3000));
    machine.write64(ROOT + 0x2000, BigInt(ROOT + 0x3000) | USER_PAGE);
    machine.write64(ROOT + 0x2008, BigInt(ROOT + 0x4000) | USER_PAGE);
    for (const [start, size] of [
      [CODE, CODE_BYTES],
      [DATA, DATA_BYTES],
      [STACK, STACK_BYTES],
    ]) {
      for (let gpa = start; gpa < start + size; gpa += 0x1000) {
        const table = ROOT + (gpa < 0x200000 ? 0x3000 : 0x4000);
        machine.write64(table + ((gpa >> 12) & 511) * 8, BigInt(gpa) | USER_PAGE);
      }
    }
  }

  /** Runs a case and gives a record like the native harness's. */
  run(test: OracleCase): DataView {
    const { machine } = this;
    const { exports } = machine.engine;
    const code = new Uint8Array(CODE_BYTES).fill(0xcc);
    code.set(test.code);
    machine.write(CODE, code);
    const memory = new Uint8Array(DATA_BYTES + STACK_BYTES);
    fill(memory, test.fill);
    machine.write(DATA, memory.subarray(0, DATA_BYTES));
    machine.write(STACK, memory.subarray(DATA_BYTES));
    machine.vp.init();
    exports.startup(0);
    // Without an IDT, INT3 is a general protection fault that names its gate.
    machine.engine.view.setUint32(exports.STATE.value + IDTR_LIMIT, 0, true);
    machine.set(HvRegister.CR4, 0x2a0n);
    machine.set(HvRegister.CR3, BigInt(ROOT));
    machine.set(HvRegister.EFER, 0x901n);
    machine.set(HvRegister.CR0, 0x80010033n);
    for (const n of [Segment.ES, Segment.SS, Segment.DS]) machine.segment(n, 0x2b, 0, 0xffffffff, 0xc0f3);
    if (test.bits === 64) machine.segment(Segment.CS, 0x33, 0, 0xffffffff, CODE64_USER);
    else machine.segment(Segment.CS, 0x23, 0, 0xffffffff, CODE32_USER);
    test.registers.forEach((value, i) => {
      machine.set(HvRegister.RAX + i, value);
    });
    machine.set(HvRegister.RFLAGS, BigInt(test.flags));
    machine.set(HvRegister.RIP, BigInt(CODE));
    exports.dropCode();
    const result = new DataView(new ArrayBuffer(RESULT_BYTES));
    const left = machine.engine.runToFault(INSTRUCTIONS_MAX);
    if (!left) {
      const where = machine.get(HvRegister.RIP).toString(16);
      throw new Error(
        `no end: ${test.names.join('; ')}: ${Buffer.from(test.code).toString('hex')} at ${where}`,
      );
    }
    const { vector, error, address } = machine.lastFault;
    for (let i = 0; i < 16; i++) {
      result.setBigUint64(ResultOffset.REGISTERS + i * 8, machine.get(HvRegister.RAX + i), true);
    }
    // INT3 is a trap, reported behind itself.
    const rip = machine.get(HvRegister.RIP);
    const ended = vector === 13 && machine.read(Number(rip), 1)[0] === 0xcc && error === 0x1a;
    result.setBigUint64(ResultOffset.RIP, ended ? rip + 1n : rip, true);
    result.setBigUint64(ResultOffset.FLAGS, machine.get(HvRegister.RFLAGS), true);
    result.setUint32(ResultOffset.VECTOR, ended ? BREAKPOINT : vector, true);
    result.setUint32(ResultOffset.ERROR, ended ? 0 : error, true);
    result.setBigUint64(ResultOffset.ADDRESS, vector === 14 ? address : 0n, true);
    result.setBigUint64(ResultOffset.DATA_HASH, hash(machine.read(DATA, DATA_BYTES)), true);
    result.setBigUint64(ResultOffset.STACK_HASH, hash(machine.read(STACK, STACK_BYTES)), true);
    return result;
  }
}

/** The contents of memory that a seed stands for; the native harness has the same. */
export function fill(bytes: Uint8Array, seed: number): void {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state;
  }
}

function hash(bytes: Uint8Array): bigint {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let value = 0x811c9dc5;
  for (const word of words) {
    value = Math.imul(value ^ word, 0x01000193);
    value ^= value >>> 15;
  }
  return BigInt(value >>> 0);
}

/** What of a result counts, as text: what two results that agree have in common. */
export function describe(test: OracleCase, result: DataView): string {
  const u64 = (offset: number) => result.getBigUint64(offset, true).toString(16);
  const vector = result.getUint32(ResultOffset.VECTOR, true);
  const undefinedFlags = vector === BREAKPOINT ? test.undefinedAtEnd : test.undefinedEver;
  const flags = result.getUint32(ResultOffset.FLAGS, true) & (ARITHMETIC | Flag.DF) & ~undefinedFlags;
  const lines = Array.from({ length: test.bits === 64 ? 16 : 8 }, (_, i) => `r${i} ${u64(i * 8)}`);
  lines.push(`rip ${u64(ResultOffset.RIP)}`, `flags ${flags.toString(16)}`, `vector ${vector}`);
  if (vector === 14) {
    lines.push(`error ${result.getUint32(ResultOffset.ERROR, true)}`, `address ${u64(ResultOffset.ADDRESS)}`);
  }
  lines.push(`data ${u64(ResultOffset.DATA_HASH)}`, `stack ${u64(ResultOffset.STACK_HASH)}`);
  return lines.join('\n');
}
