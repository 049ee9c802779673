// Compares the processor with the host's own, on an x86-64 Linux host with gcc:
//
//   node tests/oracle/compare.ts [cases] [first seed] [file for the vectors]
//
// Prints what differs, the rate, and which of the opcode forms that the processor has were in it. With a file, the cases' expected results are kept there as hashes, for oracle.test.ts.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { instructions } from '../fpu/cases.ts';
import { existingForms, formOf } from './forms.ts';
import { Generator, type OracleCase } from './generator.ts';
import { agree, describe, OracleGuest } from './guest.ts';
import { CASE_BYTES, CaseOffset, RESULT_BYTES } from './layout.ts';
import { digest } from './vectors.ts';

const count = Number(process.argv[2] ?? 10_000);
const firstSeed = Number(process.argv[3] ?? 1);
const vectorFile = process.argv[4];
const BATCH = 20_000;
const SHOWN_MAX = 12;

function encode(test: OracleCase): Uint8Array {
  const bytes = new Uint8Array(CASE_BYTES);
  const view = new DataView(bytes.buffer);
  test.registers.forEach((value, i) => {
    view.setBigUint64(CaseOffset.REGISTERS + i * 8, value, true);
  });
  view.setBigUint64(CaseOffset.FLAGS, BigInt(test.flags), true);
  view.setUint32(CaseOffset.BITS, test.bits, true);
  view.setUint32(CaseOffset.FILL, test.fill, true);
  view.setUint32(CaseOffset.CODE_LENGTH, test.code.length, true);
  bytes.set(test.code, CaseOffset.CODE);
  return bytes;
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-oracle-'));
const native = path.join(folder, 'native');
execFileSync('gcc', ['-O1', '-o', native, path.join(import.meta.dirname, 'native.c')]);

const guest = new OracleGuest();
const kept: number[] = [];
const different = new Map<string, number>();
const covered = new Set<string>();
const startMs = performance.now();
let failures = 0;
let shown = 0;
for (let done = 0; done < count; done += BATCH) {
  const size = Math.min(BATCH, count - done);
  const tests = Array.from({ length: size }, (_, i) => new Generator(firstSeed + done + i).generate());
  const run = spawnSync(native, { input: Buffer.concat(tests.map(encode)), maxBuffer: 2 ** 30 });
  if (run.stdout.length !== size * RESULT_BYTES)
    throw new Error(`native: ${run.status} ${run.signal} ${run.stderr}`);
  tests.forEach((test, i) => {
    const bytes = run.stdout.subarray(i * RESULT_BYTES, (i + 1) * RESULT_BYTES);
    const expected = new DataView(bytes.buffer, bytes.byteOffset, RESULT_BYTES);
    if (vectorFile !== undefined) kept.push(digest(describe(test, expected)));
    for (const form of test.forms) covered.add(form);
    const result = guest.run(test);
    if (agree(test, result, expected)) return;
    failures++;
    for (const name of test.names) different.set(name, (different.get(name) ?? 0) + 1);
    if (shown++ >= SHOWN_MAX) return;
    const theirs = describe(test, expected).split('\n');
    const ours = describe(test, result).split('\n');
    const differences = ours.filter((line, n) => line !== theirs[n]);
    const wanted = theirs.filter((line, n) => line !== ours[n]);
    console.log(`seed ${firstSeed + done + i}: ${test.bits}-bit, ${test.names.join('; ')}`);
    console.log(`  code ${Buffer.from(test.code).toString('hex')}`);
    console.log(`  native ${wanted.join(', ')}\n  found  ${differences.join(', ')}`);
  });
}
fs.rmSync(folder, { recursive: true });
for (const [name, times] of [...different].sort((a, b) => b[1] - a[1]).slice(0, 15)) {
  console.log(`${times} with ${name}`);
}
const seconds = (performance.now() - startMs) / 1000;
console.log(
  `${count} random sequences, ${failures} different; ${seconds.toFixed(0)} s, ${Math.round(count / seconds)} a second`,
);
const existing = [...existingForms()].sort();
const byFpu = new Set(instructions().map(({ code }) => formOf(code, 64)));
const missing = existing.filter((form) => !covered.has(form) && !byFpu.has(form));
const here = existing.filter((form) => covered.has(form)).length;
console.log(
  `opcode forms: ${here} in these sequences, ${existing.length - here - missing.length} more by oracle/fpu, of ${existing.length}`,
);
console.log(
  `in neither, as they belong to the system, have no defined result, or are not compared: ${missing.join(', ')}`,
);
if (vectorFile !== undefined) fs.writeFileSync(vectorFile, Uint32Array.from(kept));
process.exitCode = failures > 0 ? 1 : 0;
