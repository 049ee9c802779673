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
const PAGE_FAULT = 14;
/** Offset in the engine's state. */
const IDTR_LIMIT = 0x218;
const INSTRUCTIONS_MAX = 10_000;

/** The processor that runs cases of the oracle, as the operating system's user code runs. */
export class OracleGuest {
  readonly machine = new Machine({ memoryPages: 1024 });
  readonly #code = new Uint8Array(CODE_BYTES);
  /** The data pages, then the stack. */
  readonly #words = new Uint32Array((DATA_BYTES + STACK_BYTES) / 4);
  readonly #data = new Uint8Array(this.#words.buffer, 0, DATA_BYTES);
  readonly #stack = new Uint8Array(this.#words.buffer, DATA_BYTES);
  readonly #result = new DataView(new ArrayBuffer(RESULT_BYTES));

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

  /** Runs a case and gives a record like the native harness's, which is good until the next one. */
  run(test: OracleCase): DataView {
    const { machine } = this;
    const { exports, view } = machine.engine;
    const code = this.#code.fill(0xcc);
    code.set(test.code);
    fill(this.#words, test.fill);
    machine.gpa.write(CODE, code);
    machine.gpa.write(DATA, this.#data);
    machine.gpa.write(STACK, this.#stack);
    machine.vp.init();
    exports.startup(0);
    // Without an IDT, INT3 is a general protection fault that names its gate.
    view.setUint32(exports.STATE.value + IDTR_LIMIT, 0, true);
    machine.set(HvRegister.CR4, 0x2a0n);
    machine.set(HvRegister.CR3, BigInt(ROOT));
    machine.set(HvRegister.EFER, 0x901n);
    machine.set(HvRegister.CR0, 0x80010033n);
    for (const n of [Segment.ES, Segment.SS, Segment.DS]) machine.segment(n, 0x2b, 0, 0xffffffff, 0xc0f3);
    if (test.bits === 64) machine.segment(Segment.CS, 0x33, 0, 0xffffffff, CODE64_USER);
    else machine.segment(Segment.CS, 0x23, 0, 0xffffffff, CODE32_USER);
    // Without an I/O permission bitmap no port is the user's.
    machine.segment(Segment.TR, 0x40, 0, 0, 0x8b);
    const general = exports.GPR.value;
    for (let i = 0; i < 16; i++) view.setBigUint64(general + i * 8, test.registers[i], true);
    machine.set(HvRegister.RFLAGS, BigInt(test.flags));
    machine.set(HvRegister.RIP, BigInt(CODE));
    const left = machine.engine.runToFault(INSTRUCTIONS_MAX);
    if (!left) {
      const where = machine.get(HvRegister.RIP).toString(16);
      throw new Error(
        `no end: ${test.names.join('; ')}: ${Buffer.from(test.code).toString('hex')} at ${where}`,
      );
    }
    const { vector, error, address } = machine.lastFault;
    const result = this.#result;
    for (let i = 0; i < 16; i++) {
      result.setBigUint64(ResultOffset.REGISTERS + i * 8, view.getBigUint64(general + i * 8, true), true);
    }
    // INT3 is a trap, reported behind itself.
    const rip = machine.get(HvRegister.RIP);
    const ended = vector === 13 && error === 0x1a && machine.read(Number(rip), 1)[0] === 0xcc;
    result.setBigUint64(ResultOffset.RIP, ended ? rip + 1n : rip, true);
    result.setBigUint64(ResultOffset.FLAGS, machine.get(HvRegister.RFLAGS), true);
    result.setUint32(ResultOffset.VECTOR, ended ? BREAKPOINT : vector, true);
    result.setUint32(ResultOffset.ERROR, ended ? 0 : error, true);
    result.setBigUint64(ResultOffset.ADDRESS, vector === PAGE_FAULT ? address : 0n, true);
    machine.gpa.read(DATA, this.#data);
    machine.gpa.read(STACK, this.#stack);
    result.setUint32(ResultOffset.DATA_HASH, hash(this.#words, 0, DATA_BYTES / 4), true);
    result.setUint32(ResultOffset.STACK_HASH, hash(this.#words, DATA_BYTES / 4, this.#words.length), true);
    return result;
  }
}

/** The contents of memory that a seed stands for; the native harness has the same. */
function fill(words: Uint32Array, seed: number): void {
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    words[i] = state;
  }
}

function hash(words: Uint32Array, from: number, to: number): number {
  let value = 0x811c9dc5;
  for (let i = from; i < to; i++) {
    value = Math.imul(value ^ words[i], 0x01000193);
    value ^= value >>> 15;
  }
  return value >>> 0;
}

/** The flags of a result that count. */
function flagsOf(test: OracleCase, result: DataView): number {
  const vector = result.getUint32(ResultOffset.VECTOR, true);
  const undefinedFlags = vector === BREAKPOINT ? test.undefinedAtEnd : test.undefinedEver;
  return result.getUint32(ResultOffset.FLAGS, true) & (ARITHMETIC | Flag.DF) & ~undefinedFlags;
}

/** Whether two results of a case agree in all that counts. */
export function agree(test: OracleCase, a: DataView, b: DataView): boolean {
  const same = (from: number, to: number) => {
    for (let at = from; at < to; at += 4) if (a.getInt32(at, true) !== b.getInt32(at, true)) return false;
    return true;
  };
  const registers = test.bits === 64 ? 16 : 8;
  return (
    same(ResultOffset.REGISTERS, ResultOffset.REGISTERS + registers * 8) &&
    same(ResultOffset.RIP, ResultOffset.FLAGS) &&
    same(ResultOffset.VECTOR, ResultOffset.ERROR) &&
    (a.getUint32(ResultOffset.VECTOR, true) !== PAGE_FAULT ||
      same(ResultOffset.ERROR, ResultOffset.DATA_HASH)) &&
    same(ResultOffset.DATA_HASH, ResultOffset.STACK_HASH + 8) &&
    flagsOf(test, a) === flagsOf(test, b)
  );
}

/** What of a result counts, as text: what two results that agree have in common. */
export function describe(test: OracleCase, result: DataView): string {
  const u64 = (offset: number) => result.getBigUint64(offset, true).toString(16);
  const vector = result.getUint32(ResultOffset.VECTOR, true);
  const flags = flagsOf(test, result);
  const lines = Array.from({ length: test.bits === 64 ? 16 : 8 }, (_, i) => `r${i} ${u64(i * 8)}`);
  lines.push(`rip ${u64(ResultOffset.RIP)}`, `flags ${flags.toString(16)}`, `vector ${vector}`);
  if (vector === PAGE_FAULT) {
    lines.push(`error ${result.getUint32(ResultOffset.ERROR, true)}`, `address ${u64(ResultOffset.ADDRESS)}`);
  }
  lines.push(`data ${u64(ResultOffset.DATA_HASH)}`, `stack ${u64(ResultOffset.STACK_HASH)}`);
  return lines.join('\n');
}
