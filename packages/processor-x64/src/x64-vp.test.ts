import { GpaAccess, HvRegister, VpExit } from '@kensho/core';
import { describe, expect, test } from 'vitest';
import { Machine, Segment } from './test-utils/machine.ts';

const CODE = 0x10000;
const STACK = 0x80000;
const HANDLER = 0x11000;

function longMode(hex: string, level: 0 | 3 = 0): Machine {
  const machine = new Machine();
  machine.enterLongMode(CODE, STACK, level);
  machine.code(CODE, hex);
  return machine;
}

describe('running', () => {
  test('computes a sum, halts, and counts each instruction once', () => {
    // mov eax, 0; mov ecx, 100; add eax, ecx; dec ecx; jnz; hlt
    const machine = longMode('b800000000 b964000000 01c8 ffc9 75fa f4');
    expect(machine.vp.run(10_000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(5050n);
    expect(machine.vp.instructionsRetired).toBe(2 + 300 + 1);
    expect(machine.vp.run(10_000)).toBe(VpExit.HALT);
    expect(machine.vp.instructionsRetired).toBe(303);
  });

  test('ends a slice at about its budget, and goes on from there', () => {
    // inc eax; jmp
    const machine = longMode('ffc0 ebfc');
    expect(machine.vp.run(1000)).toBe(VpExit.BUDGET);
    const retired = machine.vp.instructionsRetired;
    expect(retired).toBeGreaterThanOrEqual(1000);
    expect(retired).toBeLessThan(1100);
    machine.vp.run(1000);
    expect(machine.get(HvRegister.RAX)).toBe(BigInt(machine.vp.instructionsRetired / 2));
  });

  test('an intercept sees the count up to date and can end the slice', () => {
    // nop; nop; out 80h, al; inc ecx; jmp to itself
    const machine = longMode('9090 e680 ffc1 ebfe');
    let seen = -1;
    machine.io.onPortWrite = () => {
      seen = machine.vp.instructionsRetired;
      machine.vp.requestExit();
    };
    expect(machine.vp.run(1000)).toBe(VpExit.BUDGET);
    expect(seen).toBe(2);
    expect(machine.vp.instructionsRetired).toBe(3);
    expect(machine.get(HvRegister.RCX)).toBe(0n);
  });

  test('yields at every 16th PAUSE where there are other VPs', () => {
    const code = `${'f390'.repeat(20)} f4`;
    const alone = longMode(code);
    expect(alone.vp.run(100)).toBe(VpExit.HALT);
    const two = new Machine({ vpCount: 2 });
    two.enterLongMode(CODE, STACK);
    two.code(CODE, code);
    expect(two.vp.run(100)).toBe(VpExit.YIELD);
    expect(two.vp.instructionsRetired).toBe(16);
    expect(two.vp.run(100)).toBe(VpExit.HALT);
  });

  test('two VPs keep their registers apart; the second waits for its SIPI', () => {
    const machine = new Machine({ vpCount: 2, shared: true });
    machine.enterLongMode(CODE, STACK);
    machine.code(CODE, 'b801000000 f4');
    machine.code(0x9000, 'b80200 8cc9 f4');
    const second = machine.vps[1];
    expect(second.run(100)).toBe(VpExit.HALT);
    machine.vp.run(100);
    second.startup(9);
    expect(second.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(1n);
    expect(machine.get(HvRegister.RAX, second)).toBe(2n);
    // CS: the vector in the upper bits.
    expect(machine.get(HvRegister.RCX, second)).toBe(0x900n);
  });
});

describe('exceptions and interrupts', () => {
  test('a page fault names its address and cause, and comes back to the instruction', () => {
    // mov rax, [0x40000000] faults; the handler adds the missing page and returns
    const machine = longMode('488b042500000040 f4');
    machine.descriptorTables({ 14: HANDLER }, STACK);
    machine.write64(0x2008, 0n);
    // pop rbx; mov rcx, cr2; mov qword [0x2008], 0x83; iretq
    machine.code(HANDLER, '5b 0f20d1 48c704250820000083000000 48cf');
    machine.write64(0, 0x1122334455667788n);
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(0n);
    expect(machine.get(HvRegister.RCX)).toBe(0x40000000n);
    expect(machine.get(HvRegister.RAX)).toBe(0x1122334455667788n);
    expect(machine.get(HvRegister.RSP)).toBe(BigInt(STACK));
  });

  test('user code enters level 0 by INT on the stack of the TSS and returns', () => {
    const machine = longMode('cd80 cd81', 3);
    machine.descriptorTables({ 128: HANDLER, 129: HANDLER + 0x100 }, 0x70000);
    machine.segment(Segment.CS, 0x1b, 0, 0xffffffff, 0xa0fb);
    machine.segment(Segment.SS, 0x23, 0, 0xffffffff, 0xc0f3);
    machine.code(HANDLER, '4889e0 8ccb 48cf');
    machine.code(HANDLER + 0x100, 'f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(0x70000n - 40n);
    expect(machine.get(HvRegister.RBX)).toBe(8n);
    expect(machine.read64(0x70000 - 8)).toBe(0x23n);
    expect(machine.read64(0x70000 - 16)).toBe(BigInt(STACK));
  });

  test('a fault in the delivery of a fault is a double fault, in that of a double fault the end', () => {
    const machine = longMode('0f0b');
    machine.descriptorTables({ 8: HANDLER }, STACK);
    // #UD has no gate: #GP, which has none either: #DF.
    machine.code(HANDLER, '58 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(0n);
    const bare = longMode('0f0b');
    expect(bare.vp.run(100)).toBe(VpExit.TRIPLE_FAULT);
    expect(bare.vp.run(100)).toBe(VpExit.TRIPLE_FAULT);
  });

  test('takes an interrupt behind the shadow of STI, and wakes from HLT', () => {
    // sti; inc ecx; inc ecx; hlt; inc edx; cli; hlt
    const machine = longMode('fb ffc1 ffc1 f4 ffc2 fa f4');
    machine.descriptorTables({ 48: HANDLER, 49: HANDLER + 0x10 }, STACK);
    // mov eax, ecx; iretq
    machine.code(HANDLER, '89c8 48cf');
    machine.code(HANDLER + 0x10, 'ffc3 48cf');
    machine.set(HvRegister.RDX, 0n);
    machine.io.vectors.push(0x30);
    machine.vp.setInterruptPending(true);
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(1n);
    machine.io.vectors.push(0x31);
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect([HvRegister.RBX, HvRegister.RDX].map((register) => machine.get(register))).toEqual([1n, 1n]);
  });

  test('an NMI is held back until IRET', () => {
    const machine = longMode('90 90 f4');
    machine.descriptorTables({ 2: HANDLER }, STACK);
    machine.code(HANDLER, 'ffc0 48cf');
    machine.vp.injectNmi();
    machine.vp.injectNmi();
    machine.vp.run(100);
    expect(machine.get(HvRegister.RAX)).toBe(1n);
    machine.vp.injectNmi();
    machine.vp.run(100);
    expect(machine.get(HvRegister.RAX)).toBe(2n);
  });

  test('single-steps', () => {
    // pushfq; or qword [rsp], 100h; popfq; nop; jmp +0; nop; hlt
    const machine = longMode('9c 48810c2400010000 9d 90 eb00 90 f4');
    machine.descriptorTables({ 1: HANDLER }, STACK);
    // inc ecx; cmp ecx, 3; jne; and qword [rsp + 16], ~100h; iretq
    machine.code(HANDLER, 'ffc1 83f903 7509 4881642410fffeffff 48cf');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RCX)).toBe(3n);
  });

  test('stops at breakpoints on execution and on writing', () => {
    // mov eax, CODE + 1ch; mov dr0, rax; mov eax, 20000h; mov dr1, rax; mov eax, d0000ah; mov dr7, rax; five times
    // nop, the last one watched; mov dword [20004h], 0; mov dword [20000h], 7; hlt
    const machine = longMode(
      'b81c000100 0f23c0 b800000200 0f23c8 b80a00d000 0f23f8 9090 9090 90 c7042504000200 00000000 c7042500000200 07000000 f4',
    );
    machine.descriptorTables({ 1: HANDLER }, STACK);
    // inc ecx; mov rdx, dr6; shl rbx, 4; and edx, 15; or rbx, rdx; xor edx, edx; mov dr6, rdx; or RF; iretq
    machine.code(HANDLER, 'ffc1 0f21f2 48c1e304 83e20f 4809d3 31d2 0f23f2 48814c241000000100 48cf');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RCX)).toBe(2n);
    expect(machine.get(HvRegister.RBX)).toBe(0x12n);
  });
});

describe('memory', () => {
  test('a write across a page that cannot be done leaves the first page as it was', () => {
    // mov qword [0x3ffffffc], imm: the page behind it is not there
    const machine = longMode('48c70425fcffff3f 11223344 f4');
    machine.write64(0x3000 + 511 * 8, 0x83n);
    expect(machine.vp.run(100)).toBe(VpExit.TRIPLE_FAULT);
    expect(machine.get(HvRegister.CR2)).toBe(0x40000000n);
    expect(machine.read(0x1ffffc, 4)).toEqual(new Uint8Array(4));
  });

  test('sets the accessed bit with the first access, the dirty bit with the first write', () => {
    // mov al, [0x200000]; out 80h, al; mov [0x200000], al; hlt
    const machine = longMode('8a042500002000 e680 88042500002000 f4');
    const bits: bigint[] = [machine.read64(0x3008) & 0x60n];
    machine.io.onPortWrite = () => bits.push(machine.read64(0x3008) & 0x60n);
    machine.vp.run(100);
    bits.push(machine.read64(0x3008) & 0x60n);
    expect(bits).toEqual([0n, 0x20n, 0x60n]);
  });

  test('code that changes itself runs as it is now', () => {
    // mov ecx, 3; L: mov [rip + x], cl; jmp +0; add ebx, imm8 (x); nop; dec ecx; jnz L; hlt
    const machine = longMode('b903000000 880d04000000 eb00 83c300 90 ffc9 75ee f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(6n);
  });

  test('a block sees its own change of an instruction behind', () => {
    // mov byte [rip + 3], 5; nop; add ebx, imm8; hlt
    const machine = longMode('c6050300000005 90 83c300 f4');
    machine.vp.run(100);
    expect(machine.get(HvRegister.RBX)).toBe(5n);
  });

  test('code that a device wrote over runs as it is now', () => {
    // L: mov ebx, 1; out 80h, al; cmp ebx, 2; jne L; hlt, with 2 written over the 1 meanwhile
    const machine = longMode('bb01000000 e680 83fb02 75f4 f4');
    machine.io.onPortWrite = () => machine.write(CODE + 1, [2]);
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.vp.instructionsRetired).toBe(9);
  });

  test('an instruction in two pages sees a change of either', () => {
    const machine = longMode('b902000000 e9f30f0000');
    machine.code(0x10ffd, 'b811223344 01c3 c604250010010055 ffc9 75ed f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(0x44332211n + 0x44552211n);
  });

  test('pages without RAM belong to the hypervisor, in pieces of at most 4 bytes', () => {
    const machine = longMode('488b042500008000 4889042504008000 f4');
    machine.io.mmioValue = 0x12345678;
    machine.vp.run(100);
    expect(machine.get(HvRegister.RAX)).toBe(0x1234567812345678n);
    expect(machine.io.mmio).toEqual([
      ['read', 0x800000, 4, 0x12345678],
      ['read', 0x800004, 4, 0x12345678],
      ['write', 0x800004, 4, 0x12345678],
      ['write', 0x800008, 4, 0x12345678],
    ]);
  });

  test('an overlay page is seen at once, and what lay beneath when it goes', () => {
    // mov eax, [0x200000]; out 80h, al; mov ecx, [0x200000]; out 80h, al; mov edx, [0x200000]; hlt
    const machine = longMode('8b042500002000 e680 8b0c2500002000 e680 8b142500002000 f4');
    machine.write(0x200000, [1]);
    const overlay = machine.gpa.createOverlay(GpaAccess.READ);
    machine.engine.arena.page(overlay.arenaPage)[0] = 2;
    const places = [0x200, undefined];
    machine.io.onPortWrite = () => overlay.place(places.shift());
    machine.vp.run(100);
    const values = [HvRegister.RAX, HvRegister.RCX, HvRegister.RDX].map((register) => machine.get(register));
    expect(values).toEqual([1n, 2n, 1n]);
  });

  test('a repeated move takes its faults where they are, and goes on from there', () => {
    // mov esi, 0x100000; mov edi, 0x1ffff8; mov ecx, 16; rep movsb; hlt
    const machine = longMode('be00001000 bff8ff1f00 b910000000 f3a4 f4');
    machine.descriptorTables({ 14: HANDLER }, STACK);
    machine.write64(0x3008, 0n);
    // pop rax; mov ebx, ecx; mov qword [0x3008], 0x200083; iretq
    machine.code(HANDLER, '58 89cb 48c704250830000083002000 48cf');
    machine.write(
      0x100000,
      Array.from({ length: 16 }, (_, i) => i + 1),
    );
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RBX)).toBe(8n);
    expect(machine.get(HvRegister.RAX)).toBe(2n);
    expect([...machine.read(0x1ffff8, 16)]).toEqual([...machine.read(0x100000, 16)]);
  });
});

describe('the hypervisor', () => {
  test('gets hypercalls of level 0 with their registers', () => {
    const machine = longMode('0f01c1 f4');
    machine.set(HvRegister.RCX, 0x1_0000_0002n);
    machine.set(HvRegister.RDX, 0x3000n);
    machine.set(HvRegister.R8, 0x4000n);
    const seen: number[] = [];
    machine.io.onHypercall = (frame) => {
      seen.push(frame.control.lo, frame.control.hi, frame.input.lo, frame.output.lo);
      frame.result.lo = 5;
      frame.result.hi = 6;
      return true;
    };
    machine.vp.run(100);
    expect(seen).toEqual([2, 1, 0x3000, 0x4000]);
    expect(machine.get(HvRegister.RAX)).toBe(0x6_0000_0005n);
  });

  test('is asked for MSRs that the processor does not keep', () => {
    // mov ecx, 0x40000000; rdmsr; inc eax; wrmsr; mov ecx, 0xc0000101; mov eax, 7; xor edx, edx; wrmsr; hlt
    const machine = longMode('b900000040 0f32 ffc0 0f30 b9010100c0 b807000000 31d2 0f30 f4');
    machine.io.msrs.set(0x40000000, { lo: 41, hi: 1 });
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.io.msrs.get(0x40000000)).toEqual({ lo: 42, hi: 1 });
  });

  test('says that it does not speculate, and takes the orders of guests that ask for none', () => {
    // mov ecx, 0x10a; rdmsr; mov esi, eax; mov ecx, 0x48; mov eax, 0x401; xor edx, edx; wrmsr; rdmsr; hlt
    const machine = longMode('b90a010000 0f32 89c6 b948000000 b801040000 31d2 0f30 0f32 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    const [RDCL_NO, IBRS_ALL] = [1n, 2n];
    expect(machine.get(HvRegister.RSI) & (RDCL_NO | IBRS_ALL)).toBe(RDCL_NO | IBRS_ALL);
    expect(machine.get(HvRegister.RAX)).toBe(0x401n);
    // mov ecx, 0x48; mov eax, 8; xor edx, edx; wrmsr, where no handler is: the bit is reserved
    const refused = longMode('b948000000 b808000000 31d2 0f30 f4');
    expect(refused.vp.run(100)).toBe(VpExit.TRIPLE_FAULT);
  });

  test('shows a revision of its microcode that no guest wants to have updated', () => {
    // mov ecx, 0x8b; xor eax, eax; xor edx, edx; wrmsr; rdmsr; hlt
    const machine = longMode('b98b000000 31c0 31d2 0f30 0f32 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect([machine.get(HvRegister.RAX), machine.get(HvRegister.RDX)]).toEqual([0n, 0xffffffffn]);
  });

  test('reads the time stamp off the clock', () => {
    const machine = longMode('0f31 f4');
    machine.clock.advance(0x1_0000_0005);
    machine.vp.run(100);
    expect([machine.get(HvRegister.RAX), machine.get(HvRegister.RDX)]).toEqual([5n, 1n]);
  });

  test('hears of instructions that are not known, and the guest gets #UD', () => {
    const unknown: string[] = [];
    const machine = new Machine({ onUnknownInstruction: (bytes) => unknown.push(bytes) });
    machine.enterLongMode(CODE, STACK);
    machine.descriptorTables({ 6: HANDLER }, STACK);
    machine.code(CODE, '0f0400');
    machine.code(HANDLER, '58 f4');
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(BigInt(CODE));
    expect(unknown).toEqual(['0f 04 00']);
  });
});

describe('other modes', () => {
  test('starts in real mode, enters protected and then long mode', () => {
    const machine = new Machine();
    machine.segment(Segment.CS, 0, 0, 0xffff, 0x9b);
    machine.set(HvRegister.RIP, 0x7c00n);
    machine.write64(0x508, 0x00cf9b000000ffffn);
    machine.write64(0x510, 0x00cf93000000ffffn);
    machine.write64(0x518, 0x00af9b000000ffffn);
    machine.write(0x600, [0x1f, 0, 0, 5, 0, 0]);
    machine.write64(0x1000, 0x2003n);
    machine.write64(0x2000, 0x83n);
    // lgdt [0x600]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:0x7d00
    machine.code(0x7c00, '0f01160006 0f20c0 0c01 0f22c0 ea007d0800');
    // mov ax, 16; mov ds, ax; mov ss, ax; mov eax, cr4; or al, 32; mov cr4, eax; mov eax, 0x1000; mov cr3, eax;
    // mov ecx, 0xc0000080; rdmsr; or ah, 1; wrmsr; mov eax, cr0; or eax, 1 << 31; mov cr0, eax; jmp 0x18:0x7e00
    machine.code(
      0x7d00,
      '66b81000 8ed8 8ed0 0f20e0 0c20 0f22e0 b800100000 0f22d8 b9800000c0 0f32 80cc01 0f30 0f20c0 0d00000080 0f22c0 ea007e00001800',
    );
    // mov rax, 0x1122334455667788; hlt
    machine.code(0x7e00, '48b88877665544332211 f4');
    expect(machine.vp.run(1000)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RAX)).toBe(0x1122334455667788n);
    expect(machine.get(HvRegister.EFER)).toBe(0x500n);
  });

  test('keeps accesses within a segment', () => {
    const machine = new Machine();
    machine.segment(Segment.CS, 0, 0, 0xffff, 0x9b);
    machine.set(HvRegister.RIP, 0x1000n);
    machine.set(HvRegister.RSP, 0x7000n);
    // mov eax, [0xfffe]: 4 bytes beyond a limit of 0xffff; the handler of #GP
    machine.code(0x1000, '66a1feff');
    machine.write(13 * 4, [0, 0x20, 0, 0]);
    machine.code(0x2000, 'f4');
    machine.engine.view.setUint32(machine.engine.exports.STATE.value + 0x218, 0x3ff, true);
    expect(machine.vp.run(100)).toBe(VpExit.HALT);
    expect(machine.get(HvRegister.RIP)).toBe(0x2001n);
    expect([...machine.read(0x7000 - 6, 2)]).toEqual([0, 0x10]);
  });
});
