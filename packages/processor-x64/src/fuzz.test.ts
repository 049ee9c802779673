import { HvRegister, VpExit } from '@kensho/core';
import { describe, expect, test } from 'vitest';
import { Machine, Segment } from './test-utils/machine.ts';

const CODE = 0x10000;
const STACK = 0x80000;
const PROGRAMS = 100;
const PROGRAM_BYTES = 64;

/** How a program's mode is entered; its code lies at CODE. */
const MODES: Readonly<Record<string, (machine: Machine) => void>> = {
  'real mode': (machine) => {
    machine.segment(Segment.CS, CODE >> 4, CODE, 0xffff, 0x9b);
    machine.set(HvRegister.RIP, 0n);
    machine.set(HvRegister.RSP, 0xfff0n);
  },
  'protected mode': (machine) => {
    machine.set(HvRegister.CR0, 0x11n);
    for (const n of [Segment.ES, Segment.SS, Segment.DS, Segment.FS, Segment.GS]) {
      machine.segment(n, 0x10, 0, 0xffffffff, 0xc093);
    }
    machine.segment(Segment.CS, 8, 0, 0xffffffff, 0xc09b);
    machine.set(HvRegister.RIP, BigInt(CODE));
    machine.set(HvRegister.RSP, BigInt(STACK));
  },
  'long mode': (machine) => {
    machine.enterLongMode(CODE, STACK);
    machine.descriptorTables({ 6: CODE + 32, 13: CODE + 16, 14: CODE + 8 }, STACK - 0x1000);
  },
  'long mode, user': (machine) => {
    machine.enterLongMode(CODE, STACK, 3);
    machine.descriptorTables({ 6: CODE + 32, 13: CODE + 16, 14: CODE + 8 }, STACK - 0x1000);
  },
};

/** Repeatable random numbers (splitmix32). */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let value = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    value = Math.imul(value ^ (value >>> 15), 0x735a2d97);
    return (value ^ (value >>> 15)) >>> 0;
  };
}

describe('random bytes as code neither hang nor break the host', () => {
  test.each(Object.entries(MODES))('%s', (_name, enter) => {
    const machine = new Machine({ memoryPages: 256, codeCacheBytes: 2 ** 20 });
    const exits: number[] = Object.values(VpExit);
    for (let program = 0; program < PROGRAMS; program++) {
      const random = sequence(program);
      machine.vp.init();
      machine.engine.exports.startup(0);
      enter(machine);
      const bytes = Array.from({ length: PROGRAM_BYTES }, () => {
        const value = random();
        // Two-byte opcodes and prefixes more often than by chance.
        return (value & 0x700) === 0 ? [0x0f, 0x66, 0xf3, 0x48][value & 3] : value & 0xff;
      });
      machine.write(CODE, bytes);
      for (let i = 0; i < 16; i++) {
        if (i !== 4) machine.set(HvRegister.RAX + i, BigInt(random() % 0x200000));
      }
      const before = machine.vp.instructionsRetired;
      for (let slice = 0; slice < 3; slice++) expect(exits).toContain(machine.vp.run(200));
      expect(machine.vp.instructionsRetired - before).toBeLessThan(1000);
    }
  });
});
