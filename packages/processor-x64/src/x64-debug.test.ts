import { type DebugPoint, HvRegister, registerBits, registerValue, VpExit } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Machine } from './test-utils/machine.ts';

const CODE = 0x10000;
const STACK = 0x20000;
const DATA = 0x30000;

/** A machine in 64-bit mode with code to run. */
function machine(hex: string, options: { vpCount?: number } = {}): Machine {
  const made = new Machine(options);
  made.code(CODE, hex);
  made.enterLongMode(CODE, STACK);
  return made;
}

const at = (address: number): DebugPoint => ({ kind: 'execute', address: BigInt(address), sizeBytes: 1 });
const watch = (kind: DebugPoint['kind'], address: number, sizeBytes: number): DebugPoint => ({
  kind,
  address: BigInt(address),
  sizeBytes,
});
const rip = (of: Machine) => Number(of.get(HvRegister.RIP));

/** inc eax; inc ecx; jmp back to the start */
const LOOP = 'ffc0 ffc1 ebfa';

describe('a breakpoint', () => {
  it('stops before its instruction each time round, and lets it pass', () => {
    const m = machine(LOOP);
    m.vp.run(100);
    m.set(HvRegister.RIP, BigInt(CODE));
    m.set(HvRegister.RAX, 0n);
    m.engine.debug.setPoints([at(CODE + 2)]);
    for (let round = 1; round <= 3; round++) {
      expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
      expect(m.engine.debug.stopOf(0)).toEqual({ reason: 'breakpoint' });
      expect(rip(m)).toBe(CODE + 2);
      expect(m.get(HvRegister.RAX)).toBe(BigInt(round));
    }
    m.engine.debug.setPoints([]);
    expect(m.vp.run(1000)).toBe(VpExit.BUDGET);
  });

  it('at the first instruction stops before anything ran', () => {
    const m = machine(LOOP);
    m.engine.debug.setPoints([at(CODE)]);
    expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
    expect(m.vp.instructionsRetired).toBe(0);
    expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
    expect(m.vp.instructionsRetired).toBe(3);
  });

  it('is not hit by the same code at another linear address', () => {
    const m = machine(LOOP);
    // The second GiB shows the first again.
    m.write64(0x2008, 0x3003n);
    m.engine.debug.setPoints([at(CODE + 2)]);
    m.set(HvRegister.RIP, BigInt(2 ** 30 + CODE));
    expect(m.vp.run(1000)).toBe(VpExit.BUDGET);
    m.engine.debug.setPoints([at(2 ** 30 + CODE + 2)]);
    expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
    expect(rip(m)).toBe(2 ** 30 + CODE + 2);
  });

  it('counts what ran, and leaves the guest memory alone', () => {
    const m = machine(LOOP);
    const before = m.read(CODE, 8);
    m.engine.debug.setPoints([at(CODE + 4)]);
    for (let i = 0; i < 5; i++) m.vp.run(1000);
    expect(m.vp.instructionsRetired).toBe(4 * 3 + 2);
    expect(m.read(CODE, 8)).toEqual(before);
  });

  it('survives code that writes over it', () => {
    // mov byte [rip+0], 90h over the first byte of "inc ecx" at +7; jmp $
    const m = machine('c605 00000000 90 ffc1 ebfe');
    m.engine.debug.setPoints([at(CODE + 7)]);
    expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
    expect(rip(m)).toBe(CODE + 7);
    expect(m.read(CODE + 7, 1)[0]).toBe(0x90);
  });

  it('stops a guest that another VP runs past', () => {
    const m = machine(LOOP, { vpCount: 2 });
    m.engine.debug.setPoints([at(CODE + 2)]);
    expect(m.vps[1].run(10)).toBe(VpExit.HALT);
    expect(m.vp.run(10)).toBe(VpExit.DEBUG);
  });

  it('is one of 256', () => {
    const m = machine(LOOP);
    const points = Array.from({ length: 257 }, (_, i) => at(i));
    expect(m.engine.debug.setPoints(points)).toBe(false);
    expect(m.engine.debug.setPoints(points.slice(1))).toBe(true);
  });
});

describe('a step', () => {
  it('is one instruction', () => {
    const m = machine(LOOP);
    for (const address of [2, 4, 0, 2]) {
      m.engine.debug.setStep(0, true);
      expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
      expect(m.engine.debug.stopOf(0)).toEqual({ reason: 'step' });
      expect(rip(m)).toBe(CODE + address);
    }
    expect(m.vp.run(1000)).toBe(VpExit.BUDGET);
  });

  it('takes no interrupt before it, but what HLT waits for', () => {
    const m = machine('fb f4 ffc0 ebfe'); // sti; hlt; inc eax; jmp $
    m.descriptorTables({ 64: CODE + 0x100 }, STACK);
    m.code(CODE + 0x100, 'ffc1 48cf'); // inc ecx; iretq
    m.io.vectors = [0x40];
    m.vp.setInterruptPending(true);
    const step = () => {
      m.engine.debug.setStep(0, true);
      expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
      return rip(m);
    };
    expect([step(), step()]).toEqual([CODE + 1, CODE + 2]);
    expect(step()).toBe(CODE + 0x102);
  });

  it('over a fault ends in its handler', () => {
    const m = machine('0f0b');
    m.descriptorTables({ 6: CODE + 0x100 }, STACK);
    m.engine.debug.setStep(0, true);
    expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
    expect(rip(m)).toBe(CODE + 0x100);
  });
});

describe('a watchpoint', () => {
  // mov eax, [rbx]; mov [rbx], ecx; inc dword [rbx]; mov [rbx + 8], ecx; jmp $
  const ACCESSES = '8b03 890b ff03 894b08 ebfe';
  const run = (point: DebugPoint) => {
    const m = machine(ACCESSES);
    m.set(HvRegister.RBX, BigInt(DATA));
    m.engine.debug.setPoints([point]);
    const stops: number[] = [];
    while (m.vp.run(1000) === VpExit.DEBUG) {
      expect(m.engine.debug.stopOf(0)).toEqual({ reason: 'watchpoint', address: point.address });
      stops.push(rip(m) - CODE);
    }
    return stops;
  };

  it.each<[kind: DebugPoint['kind'], offset: number, sizeBytes: number, stops: number[]]>([
    ['write', 0, 4, [4, 6]],
    ['read', 0, 4, [2, 6]],
    ['access', 0, 4, [2, 4, 6]],
    ['write', 3, 1, [4, 6]],
    ['write', 4, 4, []],
    ['write', 7, 2, [9]],
    ['write', -0x1000, 0x2000, [4, 6, 9]],
  ])('on %s at %i of %i bytes stops behind the accesses', (kind, offset, sizeBytes, stops) => {
    expect(run(watch(kind, DATA + offset, sizeBytes))).toEqual(stops);
  });

  it('sees what the delivery of an exception writes', () => {
    const m = machine('0f0b');
    m.descriptorTables({ 6: CODE + 0x100 }, STACK);
    m.engine.debug.setPoints([watch('write', STACK - 40, 8)]);
    expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
    expect(rip(m)).toBe(CODE + 0x100);
    expect(m.read64(STACK - 40)).toBe(BigInt(CODE));
  });

  it('does not count an instruction twice', () => {
    const m = machine(ACCESSES);
    m.set(HvRegister.RBX, BigInt(DATA));
    m.engine.debug.setPoints([watch('write', DATA, 4)]);
    m.vp.run(1000);
    expect(m.vp.instructionsRetired).toBe(2);
  });
});

/** Instructions that access the memory at RBX, and others that set, use and hide flags. */
const ACCESSES = new Set(['0103', '8b03', '890b', 'ff03', '3b03', '48890b', '8b4b02']);
const INSTRUCTIONS = [
  ...ACCESSES,
  ...['01c8', '29d0', '4801f0', 'ffc1', 'ffca', '31c6', 'd1e0', '48c1e803', '11c8', '19ca', '00430f'],
  ...[
    '85c0',
    '39ca',
    '0f94c2',
    '0f42c1',
    'f7d8',
    'd1d0',
    '0fb6c8',
    '48ffc6',
    '9c',
    '59',
    'f9',
    '7500',
    '9d',
    'fa',
    'fb',
  ],
];

describe('whatever the code', () => {
  const SET = [HvRegister.RAX, HvRegister.RCX, HvRegister.RDX, HvRegister.RSI];
  const m = machine('');
  const { debug } = m.engine;
  let before = 0;
  const prepare = (code: readonly string[], points: readonly DebugPoint[]) => {
    m.code(CODE, `${code.join('')}ebfe`);
    m.write(DATA, new Uint8Array(32));
    m.write(STACK - 256, new Uint8Array(512));
    for (const [i, register] of SET.entries()) m.set(register, 0x9e3779b97f4a7c15n * BigInt(i + 1));
    m.set(HvRegister.RBX, BigInt(DATA));
    m.set(HvRegister.RSP, BigInt(STACK));
    m.set(HvRegister.RFLAGS, 2n);
    m.set(HvRegister.RIP, BigInt(CODE));
    debug.setPoints(points);
    before = m.vp.instructionsRetired;
  };
  const retired = () => m.vp.instructionsRetired - before;
  const state = () =>
    [...SET, HvRegister.RSP, HvRegister.RIP, HvRegister.RFLAGS].map((register) => m.get(register));
  /** The states before each instruction, and behind the last. */
  const stepThrough = (code: readonly string[]) => {
    prepare(code, []);
    return [
      state(),
      ...code.map(() => {
        debug.setStep(0, true);
        m.vp.run(1000);
        return state();
      }),
    ];
  };
  const programs = fc.array(fc.constantFrom(...INSTRUCTIONS), { minLength: 1, maxLength: 24 });

  it('breakpoints stop where steps come by, with the same registers and flags', () => {
    fc.assert(
      fc.property(programs, fc.nat(), (code, pick) => {
        const states = stepThrough(code);
        const index = pick % states.length;
        prepare(code, [{ kind: 'execute', address: states[index][SET.length + 1], sizeBytes: 1 }]);
        expect(m.vp.run(1000)).toBe(VpExit.DEBUG);
        expect(state()).toEqual(states[index]);
        expect(retired()).toBe(index);
      }),
    );
  });

  it('a trace has a line for each instruction', () => {
    fc.assert(
      fc.property(programs, (code) => {
        const addresses = stepThrough(code).map((registers) => registers[SET.length + 1]);
        prepare(code, []);
        const lines: string[] = [];
        debug.setTrace({ skip: before, count: code.length, sink: (line) => lines.push(line) });
        while (retired() < code.length) m.vp.run(code.length);
        debug.setTrace(undefined);
        expect(lines.map((line) => BigInt(`0x${line.split(' ')[2]}`))).toEqual(addresses.slice(0, -1));
      }),
    );
  });

  it('so do watchpoints', () => {
    fc.assert(
      fc.property(programs, (code) => {
        const states = stepThrough(code);
        prepare(code, [watch('access', DATA, 4)]);
        const stops: number[] = [];
        while (m.vp.run(1000) === VpExit.DEBUG) {
          stops.push(retired());
          expect(state()).toEqual(states[retired()]);
        }
        expect(stops).toEqual(code.flatMap((hex, i) => (ACCESSES.has(hex) ? [i + 1] : [])));
      }),
    );
  });
});

describe('addresses', () => {
  it('are translated without a trace in the tables', () => {
    const m = machine(LOOP);
    m.write64(0x3000 + 8 * 5, 0xa0_0000n | 0x81n);
    const before = m.read(0x1000, 0x3000);
    const { debug } = m.engine;
    expect(debug.translate(0, 0x1234n)).toBe(0x1234);
    // The directory's fifth page is beyond RAM; the second GiB is not mapped; the last is not canonical.
    for (const none of [0xa0_0000n, 0x4000_0000n, 0x8000_0000_0000n])
      expect(debug.translate(0, none)).toBe(-1);
    expect(m.read(0x1000, 0x3000)).toEqual(before);
  });

  it('are physical without paging', () => {
    const m = new Machine();
    expect(m.engine.debug.translate(0, 0x5678n)).toBe(0x5678);
    expect(m.engine.debug.translate(0, 0x1_0000_0000n)).toBe(-1);
  });

  it.each([
    ['4 KiB pages', [0x1003, 0, 0x7003], 0x7abc],
    ['4 MiB pages', [0x0083, 0, 0], 0x3abc],
  ])('of 32-bit paging: %s', (_what, [directory, , entry], gpa) => {
    const m = new Machine();
    m.write(0x4000, new Uint8Array(Uint32Array.of(directory).buffer));
    m.write(0x1000 + 3 * 4, new Uint8Array(Uint32Array.of(entry).buffer));
    m.set(HvRegister.CR4, 0x10n);
    m.set(HvRegister.CR3, 0x4000n);
    m.set(HvRegister.CR0, 0x80000011n);
    expect(m.engine.debug.translate(0, 0x3abcn)).toBe(gpa);
  });
});

describe('what happened last', () => {
  it('has interrupts and exceptions always', () => {
    const m = machine('ffc0 0f0b');
    m.descriptorTables({ 6: CODE + 0x100 }, STACK);
    m.code(CODE + 0x100, 'ebfe');
    m.vp.run(100);
    const from = BigInt(CODE + 2);
    expect(m.engine.debug.branches()).toEqual([{ vpIndex: 0, from, to: BigInt(CODE + 0x100), vector: 6 }]);
  });

  it('says what a triple fault was made of', () => {
    const m = machine('0f0b');
    m.vp.run(100);
    expect(m.engine.debug.branches().map(({ to, vector }) => [to, vector])).toEqual([
      [undefined, 6],
      [undefined, 13],
      [undefined, 8],
    ]);
  });

  it('has all branches where that was asked for, with the same run', () => {
    // call +2; jmp $; test eax, eax; jnz +2; nop; ret
    const code = 'e802000000 ebfe 85c0 7502 90 c3';
    const m = machine(code);
    m.set(HvRegister.RSP, BigInt(STACK));
    m.engine.debug.setBranchRecording(true);
    m.vp.run(20);
    const branches = m.engine.debug.branches().map(({ from, to }) => [Number(from), Number(to)]);
    expect(branches.slice(0, 3)).toEqual([
      [CODE, CODE + 7],
      [CODE + 12, CODE + 5],
      [CODE + 5, CODE + 5],
    ]);
    const plain = machine(code);
    plain.vp.run(20);
    expect(m.vp.instructionsRetired).toBe(plain.vp.instructionsRetired);
  });
});

describe('a trace', () => {
  const trace = (m: Machine, options: object, budget: number) => {
    const lines: string[] = [];
    m.engine.debug.setTrace({ ...options, sink: (line) => lines.push(line) });
    while (m.vp.instructionsRetired < budget) m.vp.run(budget - m.vp.instructionsRetired);
    m.engine.debug.setTrace(undefined);
    return lines;
  };

  it('has a line for each instruction, with what it changed', () => {
    const m = machine(LOOP);
    m.set(HvRegister.RDX, 0n);
    expect(trace(m, {}, 4)).toEqual([
      '0 0 0000000000010000 rax=1',
      '0 1 0000000000010002 rcx=1',
      '0 2 0000000000010004',
      '0 3 0000000000010000',
    ]);
  });

  it('begins and ends where it was asked to', () => {
    const lines = trace(machine(LOOP), { skip: 100, count: 3 }, 1000);
    expect(lines.map((line) => line.split(' ')[1])).toEqual(['100', '101', '102']);
  });

  it('keeps to its addresses', () => {
    const addresses = { first: BigInt(CODE + 2), last: BigInt(CODE + 3) };
    const lines = trace(machine(LOOP), { addresses }, 30);
    expect(lines).toHaveLength(10);
    expect(new Set(lines.map((line) => line.split(' ')[2]))).toEqual(new Set(['0000000000010002']));
  });
});

describe('registers of the floating-point units', () => {
  const get = (m: Machine, register: number) => {
    const value = registerValue(0n);
    expect(m.vp.getRegister(register, value)).toBe(true);
    return registerBits(value);
  };

  it('are those of the guest', () => {
    // fninit; fld1; fldpi; movdqu xmm3, [rbx]; jmp $
    const m = machine('dbe3 d9e8 d9eb f30f6f1b ebfe');
    m.set(HvRegister.CR0, 0x80010033n & ~4n);
    m.set(HvRegister.RBX, BigInt(DATA));
    m.write64(DATA, 0x1122334455667788n);
    m.write64(DATA + 8, 0x99aabbccddeeff00n);
    m.vp.run(10);
    expect(get(m, HvRegister.FP_MMX0)).toBe(0x4000_c90fdaa22168c235n);
    expect(get(m, HvRegister.FP_MMX0 + 1)).toBe(0x3fff_8000000000000000n);
    expect(get(m, HvRegister.XMM0 + 3)).toBe(0x99aabbccddeeff00_1122334455667788n);
    expect(get(m, HvRegister.FP_CONTROL_STATUS) & 0xff_ffff_ffffn).toBe(0xc0_3000_037fn);
    expect((get(m, HvRegister.XMM_CONTROL_STATUS) >> 64n) & 0xffffffffn).toBe(0x1f80n);
  });

  it.each([HvRegister.XMM0 + 15, HvRegister.DR0 + 1, HvRegister.KERNEL_GS_BASE])(
    'and others take what is put into them: %i',
    (register) => {
      const m = machine(LOOP);
      expect(m.vp.setRegister(register, registerValue(0x1234567890abcdefn))).toBe(true);
      expect(get(m, register)).toBe(0x1234567890abcdefn);
    },
  );
});
