import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildFpuModule } from '../../oracle/fpu/build.mjs';
import { hashRecord, IMAGE, keptCases, opcodeOf, RECORD_SIZE } from './cases.ts';
import { FpuModule } from './module.ts';

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
