import { HvRegister, VpExit } from '@kensho/core';
import { describe, expect, test } from 'vitest';
import { Machine, Segment } from './test-utils/machine.ts';

const CODE = 0x10000;
const STACK = 0x80000;
const HANDLER = 0x11000;
const GDT = 0x4000;
const IDT = 0x5000;
const TSS = 0x4800;
const GDTR = 0x200;
const IDTR = 0x210;
const Vector = { DB: 1, BP: 3, GP: 13, PF: 14, AC: 17 } as const;
/** Selectors of {@link descriptorTables}. */
const Selector = { CODE32: 0x08, DATA32: 0x10, USER_CODE32: 0x1b, USER_DATA32: 0x23, TSS: 0x28 } as const;
const CODE16_USER = 0x00fb;
const DATA16_USER = 0x00f3;

/** Flat 32-bit segments of both levels, a TSS whose stack of level 0 is at STACK, and gates to where `handlers` says. */
function protectedMode(hex: string, level: 0 | 3, handlers: Readonly<Record<number, number>> = {}): Machine {
  const machine = new Machine();
  const { view, exports } = machine.engine;
  machine.set(HvRegister.CR0, 0x11n);
  machine.write64(GDT + 0x08, 0x00cf9b000000ffffn);
  machine.write64(GDT + 0x10, 0x00cf93000000ffffn);
  machine.write64(GDT + 0x18, 0x00cffb000000ffffn);
  machine.write64(GDT + 0x20, 0x00cff3000000ffffn);
  machine.write64(TSS + 4, BigInt(STACK) | (BigInt(Selector.DATA32) << 32n));
  for (const [vector, handler] of Object.entries(handlers)) gate(machine, Number(vector), handler, 0xee);
  machine.segment(Segment.TR, Selector.TSS, TSS, 0x67, 0x8b);
  for (const [at, base, limit] of [
    [GDTR, GDT, 0x7f],
    [IDTR, IDT, 0x7ff],
  ]) {
    view.setBigUint64(exports.STATE.value + at, BigInt(base), true);
    view.setUint32(exports.STATE.value + at + 8, limit, true);
  }
  const dpl = level === 3 ? 0x60 : 0;
  const data = level === 3 ? Selector.USER_DATA32 : Selector.DATA32;
  for (const n of [Segment.ES, Segment.SS, Segment.DS]) machine.segment(n, data, 0, 0xffffffff, 0xc093 | dpl);
  const code = level === 3 ? Selector.USER_CODE32 : Selector.CODE32;
  machine.segment(Segment.CS, code, 0, 0xffffffff, 0xc09b | dpl);
  machine.set(HvRegister.RIP, BigInt(CODE));
  machine.set(HvRegister.RSP, 0x70000n);
  machine.code(CODE, hex);
  return machine;
}

function gate(machine: Machine, vector: number, offset: number, attributes: number): void {
  const high = (offset & 0xffff0000) | (attributes << 8);
  const low = (offset & 0xffff) | (Selector.CODE32 << 16);
  machine.write64(IDT + vector * 8, (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
}

function callGate(
  machine: Machine,
  selector: number,
  offset: number,
  attributes: number,
  count: number,
): void {
  const high = (offset & 0xffff0000) | (attributes << 8) | count;
  const low = (offset & 0xffff) | (Selector.CODE32 << 16);
  machine.write64(GDT + (selector & ~7), (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0));
}

function longMode(hex: string, level: 0 | 3 = 0): Machine {
  const machine = new Machine();
  machine.enterLongMode(CODE, STACK, level);
  machine.code(CODE, hex);
  return machine;
}

const stack32 = (machine: Machine, top: number, count: number) =>
  Array.from({ length: count }, (_, i) => Number(machine.read64(top + i * 4) & 0xffffffffn));

describe('gates', () => {
  test('a call gate of 32 bits copies its parameters to the inner stack, and RETF releases them', () => {
    // push 1; push 2; call 33h:0; hlt (a fault: what the handler of #GP sees)
    const machine = protectedMode('6a01 6a02 9a000000003300 f4', 3, { [Vector.GP]: HANDLER + 0x100 });
    callGate(machine, 0x33, HANDLER, 0xec, 2);
    // mov eax, [esp + 8]; mov ebx, [esp + 12]; mov ecx, esp; retf 8
    machine.code(HANDLER, '8b442408 8b5c240c 89e1 ca0800');
    machine.code(HANDLER + 0x100, 'f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(2n);
    expect(machine.get(HvRegister.RBX)).toBe(1n);
    expect(machine.get(HvRegister.RCX)).toBe(BigInt(STACK - 24));
    // HLT was refused behind the call, on the stack as it was before the parameters.
    const [error, rip, cs, , sp, ss] = stack32(machine, STACK - 24, 6);
    expect([error, rip, cs, sp, ss]).toEqual([
      0,
      CODE + 11,
      Selector.USER_CODE32,
      0x70000,
      Selector.USER_DATA32,
    ]);
  });

  test('a call gate of 64 bits enters level 0 on the stack of the TSS', () => {
    // call far [rip + 1]; hlt; the pointer
    const machine = longMode('ff1d01000000 f4 000000003300', 3);
    machine.descriptorTables({ [Vector.GP]: HANDLER + 0x100 }, STACK);
    machine.engine.view.setUint32(machine.engine.exports.STATE.value + GDTR + 8, 0x7f, true);
    machine.segment(Segment.CS, 0x1b, 0, 0xffffffff, 0xa0fb);
    machine.segment(Segment.SS, 0x23, 0, 0xffffffff, 0xc0f3);
    machine.set(HvRegister.RSP, 0x70000n);
    callGate(machine, 0x33, HANDLER, 0xec, 0);
    // mov rcx, rsp; mov eax, ss; retfq
    machine.code(HANDLER, '4889e1 8cd0 48cb');
    machine.code(HANDLER + 0x100, '8cd3 f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RCX)).toBe(BigInt(STACK - 32));
    expect(machine.get(HvRegister.RAX)).toBe(0n);
    // #GP of HLT, back at level 3.
    expect(machine.read64(STACK - 8)).toBe(0x23n);
    expect(machine.read64(STACK - 16)).toBe(0x70000n);
    expect(machine.read64(STACK - 40)).toBe(BigInt(CODE + 6));
  });

  test('task gates and the TSS as a target are refused', () => {
    // int 80h; jmp 28h:0
    const machine = protectedMode('cd80 ea000000002800', 0, { [Vector.GP]: HANDLER });
    gate(machine, 0x80, 0, 0x85);
    machine.write64(GDT + 0x28, 0x0000890048000067n);
    // pop eax; add dword [esp], edi (behind the instruction); shl ebx, 16; or ebx, eax; mov edi, 7; iret
    machine.code(HANDLER, '58 013c24 c1e310 09c3 bf07000000 cf');
    machine.set(HvRegister.RDI, 2n);
    machine.code(CODE + 9, 'f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(0x0402_0028n);
  });
});

describe('fast system calls', () => {
  test.each([
    ['of 32 bits', '0f35', Selector.USER_CODE32, 0x23],
    ['of 64 bits', '480f35', 0x2b, 0x33],
  ])('SYSENTER enters flat segments of level 0, SYSEXIT %s leaves them', (_name, exit, cs, ss) => {
    const machine = longMode('', 3);
    machine.segment(Segment.CS, 0x08, 0, 0xffffffff, 0xa09b);
    machine.segment(Segment.SS, 0x10, 0, 0xffffffff, 0xc093);
    machine.descriptorTables({ [Vector.GP]: HANDLER + 0x100 }, STACK);
    const msrs: [number, number][] = [
      [0x174, Selector.CODE32],
      [0x175, 0x60000],
      [0x176, HANDLER],
    ];
    // For each: mov ecx, msr; mov eax, value; xor edx, edx; wrmsr. Then sysenter, which level 0 may do as well.
    const setup = msrs.map(([msr, value]) => `b9${hex32(msr)} b8${hex32(value)} 31d2 0f30`).join(' ');
    machine.code(CODE, `${setup} 0f34`);
    // mov rbx, rsp; mov esi, cs; mov edi, ss; mov edx, CODE + 100h; mov ecx, 50000h; sysexit
    machine.code(HANDLER, `4889e3 8cce 8cd7 ba${hex32(CODE + 0x100)} b900000500 ${exit}`);
    // mov eax, cs; mov ebp, ss; hlt, which is refused
    machine.code(CODE + 0x100, '8cc8 8cd5 f4');
    machine.code(HANDLER + 0x100, 'f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(0x60000n);
    expect(machine.get(HvRegister.RSI)).toBe(8n);
    expect(machine.get(HvRegister.RDI)).toBe(0x10n);
    expect(machine.get(HvRegister.RAX)).toBe(BigInt(cs));
    expect(machine.get(HvRegister.RBP)).toBe(BigInt(ss));
    expect(machine.read64(STACK - 16)).toBe(0x50000n);
  });

  test('SYSENTER without a code segment is a fault', () => {
    const machine = longMode('0f34');
    machine.descriptorTables({ [Vector.GP]: HANDLER }, STACK);
    machine.code(HANDLER, '58 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(0n);
  });
});

const hex32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('hex');
};

test('there are no performance counters to read, whoever asks', () => {
  // mov eax, cr4; or ah, 1; mov cr4, rax; xor ecx, ecx; rdpmc
  const machine = longMode('0f20e0 80cc01 0f22e0 31c9 0f33');
  machine.descriptorTables({ [Vector.GP]: HANDLER }, STACK);
  machine.code(HANDLER, '58 f4');
  expect(machine.vp.run(100)).toBe(VpExit.HALT);
  expect(machine.read64(STACK - 40)).toBe(BigInt(CODE + 11));
});

describe('alignment checks', () => {
  const CR0_AM = 1n << 18n;
  const AC = 1n << 18n;
  const accesses: [name: string, code: string, faults: boolean][] = [
    ['a read of 4 bytes at 2', '8b042502002000', true],
    ['a write of 8 bytes at 4', '4889042504002000', true],
    ['a sum in memory at 1', '8304250100200005', true],
    ['an exchange at 6', '87042506002000', true],
    ['a push to an odd stack', '6a00', true],
    ['a string at 1', 'be01002000 66ad', true],
    ['an unaligned load of 10 bytes', 'db2c2504002000', true],
    ['a read of a byte', '8a042501002000', false],
    ['a read of 8 bytes at 8', '488b042508002000', false],
  ];

  test.each(accesses)('%s', (_name, code, faults) => {
    const run = (am: bigint, ac: bigint) => {
      const machine = longMode(`${code} f4`, 3);
      machine.descriptorTables({ [Vector.AC]: HANDLER, [Vector.GP]: HANDLER + 0x100 }, STACK);
      machine.set(HvRegister.CR0, machine.get(HvRegister.CR0) | am);
      machine.set(HvRegister.RFLAGS, ac | 2n);
      machine.set(HvRegister.RSP, code === '6a00' ? 0x70001n : 0x70000n);
      machine.set(HvRegister.RAX, 0n);
      // pop rax, the error code, and another number at the end of what ran: HLT is refused there.
      machine.code(HANDLER, '5a f4');
      machine.code(HANDLER + 0x100, 'ba99000000 f4');
      expect(machine.vp.run(100)).toBe(VpExit.HALT);
      return machine.get(HvRegister.RDX);
    };
    expect(run(CR0_AM, AC)).toBe(faults ? 0n : 0x99n);
    expect(run(0n, AC)).toBe(0x99n);
    expect(run(CR0_AM, 0n)).toBe(0x99n);
  });

  test('are not made at level 0', () => {
    const machine = longMode('8b042502002000 f4');
    machine.set(HvRegister.CR0, machine.get(HvRegister.CR0) | CR0_AM);
    machine.set(HvRegister.RFLAGS, AC | 2n);
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
  });
});

describe('debug registers', () => {
  test('a breakpoint on ports is a trap behind the access, with CR4.DE', () => {
    // mov eax, 80h; mov dr0, rax; mov eax, 20002h; mov dr7, rax; out 80h, al; out 81h, al; hlt
    const code = 'b880000000 0f23c0 b802000200 0f23f8 e680 e681 f4';
    const hits = [0n, 8n].map((debugExtensions) => {
      const machine = longMode(code);
      machine.descriptorTables({ [Vector.DB]: HANDLER }, STACK);
      // inc ecx; mov rbx, [rsp]; iretq
      machine.code(HANDLER, 'ffc1 488b1c24 48cf');
      machine.set(HvRegister.CR4, machine.get(HvRegister.CR4) | debugExtensions);
      expect(machine.vp.run(100)).toBe(VpExit.HALT);
      return [machine.get(HvRegister.RCX), machine.get(HvRegister.RBX)];
    });
    expect(hits).toEqual([
      [0n, 0n],
      [1n, BigInt(CODE + 18)],
    ]);
  });

  test('a repeated instruction traps behind each of its elements', () => {
    // mov ecx, 3; pushfq; or byte [rsp + 1], 1; popfq; rep stosb; hlt
    const machine = longMode('b903000000 9c 804c240101 9d f3aa f4');
    machine.descriptorTables({ [Vector.DB]: HANDLER }, STACK);
    machine.set(HvRegister.RDI, 0x20000n);
    // shl rbx, 4; or rbx, rcx; test ecx, ecx; jnz; and byte [rsp + 17], ~1; iretq
    machine.code(HANDLER, '48c1e304 4809cb 85c9 7505 80642411fe 48cf');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(0x210n);
  });

  test('code in a page with a watched address can still be written over', () => {
    // mov eax, 10ff8h; mov dr1, rax; mov eax, d0000ch; mov dr7, rax; mov byte [rip + 1], 5; mov bl, 1; hlt
    const machine = longMode('b8f80f0100 0f23c8 b80c00d000 0f23f8 c6050100000005 b301 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(5n);
  });
});

describe('INVLPG', () => {
  const LARGE = 0x83n;

  test.each([
    ['2 MiB', 0x3008, 0x200000n | LARGE, 0x400000n | LARGE],
    ['1 GiB', 0x2008, LARGE, 0x40000000n | LARGE],
  ])('drops all of a page of %s', (_name, entry, before, after) => {
    // mov eax, [rsi]; mov [entry], rbx; invlpg [rdi]; mov ecx, [rsi]; hlt
    const machine = longMode('8b06 48891d00000000 0f013f 8b0e f4');
    const large = entry === 0x2008;
    const base = large ? 0x40000000n : 0x200000n;
    machine.code(CODE + 2, `48891c25${hex32(entry)}`);
    machine.code(CODE + 10, '0f013f 8b0e f4');
    machine.write64(entry, before);
    machine.write64(0x200008, 1n);
    machine.write64(8, 1n);
    machine.set(HvRegister.RSI, base + 8n);
    machine.set(HvRegister.RDI, base + 0x5000n);
    machine.set(HvRegister.RBX, after);
    machine.io.mmioValue = 7;
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(1n);
    // What is there now has no RAM.
    expect(machine.get(HvRegister.RCX)).toBe(7n);
  });
});

test('32-bit addresses beyond 2 GiB have no sign', () => {
  // mov dword [fee000f0h], 1; mov eax, fee00000h; mov ebx, [eax + 20h]; mov ecx, [eax * 1 + 30h]; mov edx, 4;
  // mov [edx - 4], eax; mov [eax + 1200010h], edx; hlt
  const machine = protectedMode(
    'c705f000e0fe01000000 b80000e0fe 8b5820 8b0c0530000000 ba04000000 8942fc 899010002001 f4',
    0,
  );
  // Pages of 4 MiB, each at its own address.
  for (const page of [0, 0xfee00000 >>> 22]) {
    machine.write(0x1000 + page * 4, Buffer.from(hex32(((page << 22) | 0x83) >>> 0), 'hex'));
  }
  machine.set(HvRegister.CR4, 0x10n);
  machine.set(HvRegister.CR3, 0x1000n);
  machine.set(HvRegister.CR0, 0x80000011n);
  expect(machine.vp.run(100)).toBe(VpExit.HALT);
  expect(machine.io.mmio.map(([what, gpa]) => [what, gpa])).toEqual([
    ['write', 0xfee000f0],
    ['read', 0xfee00020],
    ['read', 0xfee00030],
  ]);
  // Sums wrap at 4 GiB: 4 - 4, and fee00000h + 1200010h.
  expect(machine.read64(0)).toBe(0xfee00000n);
  expect(machine.read64(0x10)).toBe(4n);
});

test('32-bit paging has pages of 4 KiB and, with CR4.PSE, of 4 MiB', () => {
  // mov eax, [400004h]; mov ecx, [800008h]; hlt
  const machine = protectedMode('a104004000 8b0d08008000 f4', 0);
  const words: [number, number][] = [
    [0x1000, 0x83],
    [0x1004, 0x2003],
    [0x1008, 0x83],
    [0x2000, 0x100003],
  ];
  for (const [at, value] of words) machine.write(at, Buffer.from(hex32(value), 'hex'));
  machine.write(0x100004, [5]);
  machine.write(8, [6]);
  machine.set(HvRegister.CR4, 0x10n);
  machine.set(HvRegister.CR3, 0x1000n);
  machine.set(HvRegister.CR0, 0x80000011n);
  expect(machine.vp.run(100)).toBe(VpExit.HALT);
  expect(machine.get(HvRegister.RAX)).toBe(5n);
  expect(machine.get(HvRegister.RCX)).toBe(6n);
});

describe('16-bit protected mode', () => {
  /** Code and data of 16 bits and level 3, with limits of 64 KiB, code at CODE. */
  function enter(hex: string, handlers: Readonly<Record<number, number>>): Machine {
    const machine = protectedMode(hex, 3, handlers);
    machine.segment(Segment.CS, 0x33, CODE, 0xffff, CODE16_USER);
    machine.segment(Segment.SS, 0x3b, 0x30000, 0xffff, DATA16_USER);
    machine.segment(Segment.DS, 0x3b, 0x30000, 0xffff, DATA16_USER);
    machine.write64(GDT + 0x30, 0x0000fb010000ffffn);
    machine.write64(GDT + 0x38, 0x0000f3030000ffffn);
    machine.set(HvRegister.RIP, 0n);
    machine.set(HvRegister.RSP, 0xaaaa0100n);
    return machine;
  }

  test('operands, addresses and the stack have 16 bits', () => {
    // mov ax, 1234h; push ax; mov bx, [0feh]; call +1; nop; pop cx; hlt
    const machine = enter('b83412 50 8b1efe00 e80100 90 59 f4', { [Vector.GP]: HANDLER });
    machine.code(HANDLER, 'f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(0x1234n);
    expect(machine.get(HvRegister.RCX)).toBe(0xbn);
    // The outer stack pointer in the frame keeps its upper half.
    expect(stack32(machine, STACK - 8, 2)).toEqual([0xaaaa00fe, 0x3b]);
  });

  test('a call gate of 16 bits pushes words, to the stack of a 16-bit TSS', () => {
    // push 5; call 43h:0; hlt
    const machine = enter('6a05 9a00004300 f4', { [Vector.GP]: HANDLER + 0x100 });
    machine.segment(Segment.TR, Selector.TSS, TSS, 0x2b, 0x83);
    machine.write64(TSS, (0x48n << 32n) | (0x200n << 16n));
    machine.write64(GDT + 0x48, 0x00009305_0000ffffn);
    machine.write64(GDT + 0x50, 0x00009b01_1000ffffn);
    machine.write64(GDT + 0x40, (0xe401n << 32n) | (0x50n << 16n));
    // pop ax; pop bx; pop cx; mov dx, sp; hlt
    machine.code(HANDLER, '58 5b 59 89e2 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(7n);
    expect(machine.get(HvRegister.RBX)).toBe(0x33n);
    expect(machine.get(HvRegister.RCX)).toBe(5n);
    expect(machine.get(HvRegister.RDX) & 0xffffn).toBe(0x200n - 4n);
    expect([...machine.read(0x501fc, 4)]).toEqual([0xfe, 0x00, 0x3b, 0x00]);
  });

  test('limits count, also downwards', () => {
    // mov al, [100h]; mov al, [0ffh]
    const machine = enter('a00001 a0ff00', { [Vector.GP]: HANDLER });
    machine.segment(Segment.DS, 0x3b, 0x30000, 0xff, DATA16_USER | 4);
    machine.code(HANDLER, 'f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(stack32(machine, STACK - 24, 2)).toEqual([0, 3]);
  });
});

describe('virtual-8086 mode', () => {
  const VM = 0x20000;
  const FLAGS = VM | 2;

  /** Enters it by IRET from level 0, with code at 1000:0 and a stack at 3000:100. */
  function enter(hex: string, ioPrivilege: number, handlers: Readonly<Record<number, number>>): Machine {
    const machine = protectedMode('cf', 0, handlers);
    const frame = [0, 0x1000, FLAGS | (ioPrivilege << 12), 0x100, 0x3000, 0x2000, 0x2100, 0, 0];
    for (const [i, value] of frame.entries()) machine.write64(0x70000 + i * 4, BigInt(value));
    machine.code(0x11000, 'cf');
    machine.write(0x10000, [0x90]);
    machine.set(HvRegister.RIP, 0x11000n);
    machine.code(0x10000, hex);
    return machine;
  }
  const HANDLER_32 = 0x12000;

  test('segments are paragraphs; interrupts leave it with the data segments on the stack of level 0', () => {
    // mov ax, ds; mov bl, [5]; int 20h
    const machine = enter('8cd8 8a1e0500 cd20', 3, { 32: HANDLER_32 });
    machine.write(0x21005, [0x77]);
    machine.code(HANDLER_32, '8cda f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(0x2100n);
    expect(machine.get(HvRegister.RBX)).toBe(0x77n);
    expect(machine.get(HvRegister.RDX)).toBe(0n);
    expect(stack32(machine, STACK - 36, 9)).toEqual([
      8,
      0x1000,
      FLAGS | 0x3000,
      0x100,
      0x3000,
      0x2000,
      0x2100,
      0,
      0,
    ]);
  });

  test.each([
    ['INT n', 'cd20', Vector.GP],
    ['INT 3 of two bytes', 'cd03', Vector.GP],
    ['INT3', 'cc', Vector.BP],
    ['PUSHF', '9c', Vector.GP],
    ['CLI', 'fa', Vector.GP],
    ['IRET', 'cf', Vector.GP],
    ['HLT', 'f4', Vector.GP],
    ['IN of a port that the bitmap keeps', 'e480', Vector.GP],
  ])('%s without I/O privilege comes to the monitor', (_name, hex, vector) => {
    const machine = enter(`${hex} f4`, 0, { [Vector.GP]: HANDLER_32, [Vector.BP]: HANDLER_32 + 16 });
    machine.code(HANDLER_32, 'b80d000000 f4');
    machine.code(HANDLER_32 + 16, 'b803000000 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(BigInt(vector));
  });
});
