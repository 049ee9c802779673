// Compares the processor with the host's own, on an x86-64 Linux host with gcc:
//
//   node tests/oracle/compare.ts [cases] [first seed] [file for the vectors]
//
// Prints what differs. With a file, the cases' expected results are kept there as hashes, for oracle.test.ts.
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Generator, type OracleCase } from './generator.ts';
import { describe, OracleGuest } from './guest.ts';
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
    const expected = describe(test, new DataView(bytes.buffer, bytes.byteOffset, RESULT_BYTES));
    kept.push(digest(expected));
    const found = describe(test, guest.run(test));
    if (found === expected) return;
    failures++;
    for (const name of test.names) different.set(name, (different.get(name) ?? 0) + 1);
    if (shown++ >= SHOWN_MAX) return;
    const theirs = expected.split('\n');
    const differences = found.split('\n').filter((line, n) => line !== theirs[n]);
    const wanted = theirs.filter((line, n) => line !== found.split('\n')[n]);
    console.log(`seed ${firstSeed + done + i}: ${test.bits}-bit, ${test.names.join('; ')}`);
    console.log(`  code ${Buffer.from(test.code).toString('hex')}`);
    console.log(`  native ${wanted.join(', ')}\n  found  ${differences.join(', ')}`);
  });
}
fs.rmSync(folder, { recursive: true });
for (const [name, times] of [...different].sort((a, b) => b[1] - a[1]).slice(0, 15)) {
  console.log(`${times} with ${name}`);
}
console.log(`${count} cases, ${failures} different`);
if (vectorFile !== undefined) fs.writeFileSync(vectorFile, Uint32Array.from(kept));
process.exitCode = failures > 0 ? 1 : 0;
