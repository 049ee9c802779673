import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildFpuModule } from '../../oracle/fpu/build.mjs';
import { hashRecord, IMAGE, keptCases, opcodeOf, RECORD_SIZE } from './cases.ts';
import { FpuModule, STATE } from './module.ts';

let fpu: FpuModule;

beforeAll(async () => {
  fpu = new FpuModule(await buildFpuModule());
}, 60_000);

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8')) as T;
}

test("every instruction form does what an x86-64 processor did in the oracle's cases", () => {
  const hashes = new Map<string, number>();
  for (const { instruction, record } of keptCases()) {
    if (!fpu.run(record)) expect.fail(`${instruction.name} is not decoded`);
    const opcode = opcodeOf(instruction);
    hashes.set(opcode, hashRecord(hashes.get(opcode) ?? 0, record));
  }
  const results = Object.fromEntries(
    [...hashes].map(([opcode, hash]) => [opcode, (hash >>> 0).toString(16)]),
  );
  // A difference is found by `node oracle/fpu/compare.mjs --only` with the opcode's bytes.
  expect(results).toEqual(fixture('hashes.json'));
});

type Vector = readonly [function_: string, st0: string, st1: string, result: string];

const TRANSCENDENTAL: Record<string, { readonly code: readonly number[]; readonly at: number }> = {
  f2xm1: { code: [0xd9, 0xf0], at: 0 },
  fyl2x: { code: [0xd9, 0xf1], at: 0 },
  fptan: { code: [0xd9, 0xf2], at: 1 },
  fpatan: { code: [0xd9, 0xf3], at: 0 },
  fyl2xp1: { code: [0xd9, 0xf9], at: 0 },
  fsin: { code: [0xd9, 0xfe], at: 0 },
  fcos: { code: [0xd9, 0xff], at: 0 },
};

/** A record with ST(0) and ST(1), as hexadecimal sign and exponent, then significand. */
function x87Record(code: readonly number[], stack: readonly string[]): Uint8Array {
  const record = new Uint8Array(RECORD_SIZE);
  const view = new DataView(record.buffer);
  record[0] = code.length;
  record.set(code, 1);
  view.setUint16(IMAGE, 0x37f, true);
  view.setUint16(IMAGE + 2, 4 << 11, true);
  for (const [i, text] of stack.entries()) {
    record[IMAGE + 4]! |= 1 << (4 + i);
    view.setBigUint64(IMAGE + 32 + i * 16, BigInt(`0x${text.slice(4)}`), true);
    view.setUint16(IMAGE + 40 + i * 16, Number.parseInt(text.slice(0, 4), 16), true);
  }
  view.setUint32(IMAGE + 24, 0x1f80, true);
  return record;
}

function stackRegister(record: Uint8Array, i: number): string {
  const view = new DataView(record.buffer, record.byteOffset);
  const significand = view
    .getBigUint64(IMAGE + 32 + i * 16, true)
    .toString(16)
    .padStart(16, '0');
  return (
    view
      .getUint16(IMAGE + 40 + i * 16, true)
      .toString(16)
      .padStart(4, '0') + significand
  );
}

describe('transcendental functions', () => {
  test.each(Object.keys(TRANSCENDENTAL))('%s is rounded correctly', (name) => {
    const { code, at } = TRANSCENDENTAL[name]!;
    const vectors = fixture<Vector[]>('transcendental.json').filter(([function_]) => function_ === name);
    expect(vectors.length).toBeGreaterThan(50);
    for (const [, st0, st1, result] of vectors) {
      const record = x87Record(code, [st0, st1]);
      fpu.run(record);
      expect(stackRegister(record, at), `${name} of ${st0}, ${st1}`).toBe(result);
    }
  });
});

describe('saved states', () => {
  const AREA = 0x30000;
  const X87 = STATE + 0x480;
  const CONTROL = STATE + 0x500;
  const STATUS = STATE + 0x502;
  const MXCSR = STATE + 0x51c;
  const XMM = STATE + 0x580;
  const RAX = STATE;
  const CR0 = STATE + 0x220;
  const CR4 = STATE + 0x238;
  const XCR0 = STATE + 0x248;
  const NONE = 255;

  const FNSTENV = [0xd9, 0x36];
  const FLDENV = [0xd9, 0x26];
  const FNSAVE = [0xdd, 0x36];
  const FRSTOR = [0xdd, 0x26];
  const FNINIT = [0xdb, 0xe3];
  const FLD1 = [0xd9, 0xe8];
  const FLDPI = [0xd9, 0xeb];
  const FLDZ = [0xd9, 0xee];
  const FDIVP = [0xde, 0xf9];
  const FXSAVE = [0x0f, 0xae, 0x06];
  const FXRSTOR = [0x0f, 0xae, 0x0e];
  const XSAVE = [0x0f, 0xae, 0x26];
  const XRSTOR = [0x0f, 0xae, 0x2e];
  const XSAVEC = [0x0f, 0xc7, 0x26];

  function run(...codes: (readonly number[])[]): number {
    let vector = NONE;
    for (const code of codes) vector = fpu.execute(code, AREA);
    return vector;
  }

  /** One, pi and zero on the stack, XMM registers with their numbers. */
  function prepare(): DataView {
    const { view } = fpu;
    new Uint8Array(view.buffer, AREA, 1024).fill(0);
    new Uint8Array(view.buffer, XMM, 512).fill(0);
    view.setUint32(CR0, 0x20, true);
    view.setUint32(CR4, 0x600 | (1 << 18), true);
    view.setUint32(XCR0, 3, true);
    view.setUint32(MXCSR, 0x1f80, true);
    for (let i = 0; i < 16; i++) view.setUint32(XMM + i * 32, 100 + i, true);
    run(FNINIT, FLD1, FLDPI, FLDZ);
    return view;
  }

  test('FNSTENV stores words and full tags, and masks exceptions; FLDENV brings them back', () => {
    const view = prepare();
    view.setUint16(CONTROL, 0x0240, true);
    expect(run(FNSTENV)).toBe(NONE);
    expect([0, 4, 8].map((i) => view.getUint32(AREA + i, true))).toEqual([
      0xffff0240, 0xffff2800, 0xffff07ff,
    ]);
    expect(view.getUint16(CONTROL, true)).toBe(0x027f);
    expect(view.getUint32(AREA + 12, true)).toBe(0x1234);
    run(FNINIT);
    expect(run(FLDENV)).toBe(NONE);
    expect(view.getUint16(CONTROL, true)).toBe(0x0240);
    expect(view.getUint16(STATUS, true)).toBe(0x2800);
  });

  test('the environment of 16-bit operands has 14 bytes', () => {
    const view = prepare();
    view.setUint8(AREA + 14, 0xaa);
    run([0x66, ...FNSTENV]);
    expect([0, 2, 4, 6].map((i) => view.getUint16(AREA + i, true))).toEqual([0x037f, 0x2800, 0x07ff, 0x1234]);
    expect(view.getUint8(AREA + 14)).toBe(0xaa);
  });

  test('FNSAVE stores the stack from its top and initializes; FRSTOR brings it back', () => {
    const view = prepare();
    expect(run(FNSAVE)).toBe(NONE);
    expect(view.getUint16(STATUS, true)).toBe(0);
    expect(view.getUint16(AREA + 28 + 8, true)).toBe(0);
    expect(view.getUint16(AREA + 38 + 8, true)).toBe(0x4000);
    expect(view.getBigUint64(AREA + 38, true)).toBe(0xc90fdaa22168c235n);
    new Uint8Array(view.buffer, X87, 128).fill(0);
    expect(run(FRSTOR)).toBe(NONE);
    expect(view.getUint16(STATUS, true)).toBe(0x2800);
    expect(view.getBigUint64(X87 + 6 * 16, true)).toBe(0xc90fdaa22168c235n);
  });

  test('an exception that is not masked waits for the next instruction that checks', () => {
    const view = prepare();
    view.setUint16(CONTROL, 0x037b, true);
    // pi / 0
    expect(run([0xd9, 0xc9], [0xd9, 0xc9], FDIVP)).toBe(NONE);
    expect(view.getUint16(STATUS, true) & 0x8084).toBe(0x8084);
    expect(run([0xdf, 0xe0])).toBe(NONE);
    expect(run(FLD1)).toBe(16);
    // Without CR0.NE it is the board's to tell, and here nothing is told.
    view.setUint32(CR0, 0, true);
    expect(run([0xd9, 0xd0])).toBe(NONE);
    expect(run([0xdb, 0xe2])).toBe(NONE);
    expect(view.getUint16(STATUS, true) & 0x80ff).toBe(0);
  });

  test('FXSAVE wants 16 bytes of alignment and bits of MXCSR that exist', () => {
    const view = prepare();
    expect(fpu.execute(FXSAVE, AREA + 8)).toBe(13);
    expect(run(FXSAVE)).toBe(NONE);
    expect(view.getUint8(AREA + 4)).toBe(0xe0);
    expect(view.getUint32(AREA + 28, true)).toBe(0xffff);
    expect(view.getUint32(AREA + 160 + 15 * 16, true)).toBe(115);
    view.setUint32(AREA + 24, 0x10000, true);
    expect(run(FNINIT, FXRSTOR)).toBe(13);
    expect(view.getUint16(STATUS, true)).toBe(0);
  });

  test('XSAVE writes the components that are asked for and keeps what it knows of the others', () => {
    const view = prepare();
    view.setUint32(RAX, 2, true);
    view.setUint32(AREA + 512, 1, true);
    expect(run(XSAVE)).toBe(NONE);
    expect(view.getUint16(AREA, true)).toBe(0);
    expect(view.getUint32(AREA + 160 + 16, true)).toBe(101);
    expect(view.getUint32(AREA + 512, true)).toBe(3);
    expect(view.getUint32(AREA + 520, true)).toBe(0);
  });

  test('XRSTOR initializes what the area does not have', () => {
    const view = prepare();
    view.setUint32(RAX, 3, true);
    run(XSAVE);
    view.setUint32(AREA + 512, 1, true);
    view.setUint32(MXCSR, 0x1fbf, true);
    expect(run(FNINIT, XRSTOR)).toBe(NONE);
    expect(view.getUint16(STATUS, true)).toBe(0x2800);
    expect(view.getUint32(XMM + 32, true)).toBe(0);
    expect(view.getUint32(MXCSR, true)).toBe(0x1f80);
  });

  test('XSAVEC writes the compacted header, which XRSTOR accepts', () => {
    const view = prepare();
    view.setUint32(RAX, 3, true);
    expect(run(XSAVEC)).toBe(NONE);
    expect(view.getBigUint64(AREA + 520, true)).toBe(0x8000000000000003n);
    view.setUint32(XMM, 7, true);
    expect(run(XRSTOR)).toBe(NONE);
    expect(view.getUint32(XMM, true)).toBe(100);
  });

  test.each([
    ['an unaligned area', 8, 0, 13],
    ['a component that is not enabled', 0, 512, 13],
    ['a reserved field of the header', 0, 528, 13],
    ['a format that does not exist', 0, 521, 13],
  ])('XRSTOR refuses %s', (_, offset, poke, vector) => {
    const view = prepare();
    view.setUint32(RAX, 3, true);
    run(XSAVE);
    if (poke !== 0) view.setUint8(AREA + poke, 0x80);
    expect(fpu.execute(XRSTOR, AREA + offset)).toBe(vector);
  });

  test('XSAVE needs CR4.OSXSAVE, and CR0.TS clear', () => {
    const view = prepare();
    view.setUint32(CR0, 0x28, true);
    expect(run(XSAVE)).toBe(7);
    view.setUint32(CR4, 0x600, true);
    expect(run(XSAVE)).toBe(6);
    view.setUint32(CR0, 0x20, true);
  });
});

describe('SIMD exceptions', () => {
  const ADDPS = [0x0f, 0x58, 0xca];
  const MXCSR = STATE + 0x51c;
  const XMM = STATE + 0x580;
  const CR4 = STATE + 0x238;

  test('#XM, or #UD where the system does not handle it; the destination stays', () => {
    const { view } = fpu;
    view.setFloat32(XMM + 32, 3, true);
    view.setFloat32(XMM + 64, 2 ** -30, true);
    view.setUint32(MXCSR, 0x0f80, true);
    view.setUint32(CR4, 0x600, true);
    expect(fpu.execute(ADDPS, 0)).toBe(19);
    expect(view.getUint32(MXCSR, true)).toBe(0x0fa0);
    expect(view.getFloat32(XMM + 32, true)).toBe(3);
    view.setUint32(CR4, 0x200, true);
    expect(fpu.execute(ADDPS, 0)).toBe(6);
    view.setUint32(CR4, 0x600, true);
  });

  test('memory operands of 16 bytes must be aligned', () => {
    expect(fpu.execute([0x0f, 0x58, 0x0e], 0x30008)).toBe(13);
    // MOVUPS and PCMPISTRI need not.
    expect(fpu.execute([0x0f, 0x10, 0x0e], 0x30008)).toBe(255);
    expect(fpu.execute([0x66, 0x0f, 0x3a, 0x63, 0x0e, 0], 0x30008)).toBe(255);
  });
});

describe('approximations', () => {
  const XMM = STATE + 0x580;

  /** RCPPS or RSQRTPS of one number. */
  function approximate(opcode: number, x: number): number {
    fpu.view.setFloat32(XMM + 64, x, true);
    expect(fpu.execute([0x0f, opcode, 0xca], 0)).toBe(255);
    return fpu.view.getFloat32(XMM + 32, true);
  }

  test.each([
    ['RCPPS', 0x53, (x: number) => 1 / x],
    ['RSQRTPS', 0x52, (x: number) => 1 / Math.sqrt(x)],
  ])('%s is within 1.5 * 2^-12', (_, opcode, exact) => {
    for (let x = 1e-30; x < 1e30; x *= 1.37) {
      expect(Math.abs(approximate(opcode, x) / exact(Math.fround(x)) - 1)).toBeLessThan(1.5 * 2 ** -12);
    }
  });

  test.each([
    [0x53, 0, Infinity],
    [0x53, -0, -Infinity],
    [0x53, 1e-40, Infinity],
    [0x53, -Infinity, -0],
    [0x53, 3e38, 0],
    [0x52, -0, -Infinity],
    [0x52, -1, NaN],
    [0x52, Infinity, 0],
  ])('0F %d of %d is %d', (opcode, x, result) => {
    expect(approximate(opcode, x)).toBe(result);
  });
});
