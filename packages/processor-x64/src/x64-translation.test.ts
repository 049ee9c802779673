// What a change of CR3 leaves of the TLB and of what was known of code (Intel SDM 3, 4.10.4).
import { HvRegister } from '@kensho/core';
import { describe, expect, test } from 'vitest';
import { Machine } from './test-utils/machine.ts';

const FIRST_ROOT = 0x1000;
const SECOND_ROOT = 0x8000;
/** Of the two pages that the roots map at the same addresses. */
const FIRST_PAGE = 0x200000;
const SECOND_PAGE = 0x400000;
const LARGE_WRITABLE = 0x83n;
const GLOBAL = 0x100n;
const LOWER = 0x40000000n;
const UPPER = 0xffff800040000000n;

/** Long mode with two roots: LOWER and UPPER lead to FIRST_PAGE in one, to SECOND_PAGE in the other. */
function twoRoots(flags: bigint): Machine {
  const m = new Machine({ memoryPages: 2048 });
  m.enterLongMode(0x10000, 0x80000);
  const identity = m.read64(0x2000);
  for (const [root, page] of [
    [FIRST_ROOT, FIRST_PAGE],
    [SECOND_ROOT, SECOND_PAGE],
  ] as const) {
    const pointers = root + 0x10000;
    const directory = root + 0x11000;
    m.write64(root, BigInt(pointers) | 3n);
    m.write64(root + 256 * 8, BigInt(pointers) | 3n);
    m.write64(pointers, identity);
    m.write64(pointers + 8, BigInt(directory) | 3n);
    m.write64(directory, BigInt(page) | LARGE_WRITABLE | flags);
  }
  m.set(HvRegister.CR3, BigInt(FIRST_ROOT));
  m.set(HvRegister.RCX, BigInt(SECOND_ROOT));
  return m;
}

function run(m: Machine, code: string): void {
  m.code(0x10000, `${code} f4`);
  m.vp.run(1000);
}

describe.each([
  ['lower', LOWER],
  ['upper', UPPER],
])('a change of CR3, %s half', (_half, address) => {
  test('drops data translations but for those of global pages, which INVLPG drops', () => {
    // mov rax, [r8]; mov cr3, rcx; mov rbx, [r8]; invlpg [r8]; mov rdx, [r8]
    const code = '498b00 0f22d9 498b18 410f0138 498b10';
    for (const [flags, behind] of [
      [0n, 2n],
      [GLOBAL, 1n],
    ] as const) {
      const m = twoRoots(flags);
      m.write64(FIRST_PAGE, 1n);
      m.write64(SECOND_PAGE, 2n);
      m.set(HvRegister.R8, address);
      run(m, code);
      expect([HvRegister.RAX, HvRegister.RBX, HvRegister.RDX].map((r) => m.get(r))).toEqual([1n, behind, 2n]);
    }
  });

  test('leads to the code that is there now', () => {
    // call r8; mov ebx, eax; mov cr3, rcx; call r8; mov edx, eax; invlpg [r8]; call r8
    const code = '41ffd0 89c3 0f22d9 41ffd0 89c2 410f0138 41ffd0';
    for (const [flags, behind] of [
      [0n, 2n],
      [GLOBAL, 1n],
    ] as const) {
      const m = twoRoots(flags);
      m.code(FIRST_PAGE, 'b801000000 c3'); // mov eax, 1; ret
      m.code(SECOND_PAGE, 'b802000000 c3');
      m.set(HvRegister.R8, address);
      run(m, code);
      expect([HvRegister.RBX, HvRegister.RDX, HvRegister.RAX].map((r) => m.get(r))).toEqual([1n, behind, 2n]);
    }
  });

  test('more pages than are remembered one by one are dropped as well', () => {
    const m = twoRoots(0n);
    for (let i = 0; i < 512; i++) {
      m.write64(FIRST_PAGE + i * 0x1000, 1n);
      m.write64(SECOND_PAGE + i * 0x1000, 2n);
    }
    // Twice, for reading and for writing: lea rsi, [r8]; mov edi, 512; again: mov rax, [rsi]; mov [rsi], rax;
    // add rsi, 4096; dec edi; jnz again; mov cr3, rcx; mov rbx, [r8]
    m.set(HvRegister.R8, address);
    run(m, '498d30 bf00020000 488b06 488906 4881c600100000 ffcf 75ef 0f22d9 498b18');
    m.vp.run(5000);
    expect(m.get(HvRegister.RBX)).toBe(2n);
  });
});
