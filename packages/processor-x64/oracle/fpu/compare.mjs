// Compares the FPU part with the host's x86-64 processor, one instruction at a time, in random states.
//
//   node oracle/fpu/compare.mjs [--cases N] [--rounds N] [--seed N] [--only HEX] [--show N] [--write]
//
// --cases is the number of states for each instruction form and round. --write keeps hashes of the host's results for
// the cases that `npm test` replays (tests/fpu/fixtures/hashes.json). Needs a C compiler and an x86-64 host with SHA and AES.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  COMPARED,
  fill,
  hashRecord,
  IMAGE,
  instructions,
  isTranscendental,
  keptCases,
  opcodeOf,
  Random,
  RECORD_SIZE,
} from '../../tests/fpu/cases.ts';
import { FpuModule } from '../../tests/fpu/module.ts';
import { buildFpuModule } from './build.mjs';

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    show: { type: 'string', default: '3' },
    write: { type: 'boolean', default: false },
  },
});
const here = dirname(fileURLToPath(import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'fpu-oracle-'));
const oracle = join(folder, 'oracle');
execFileSync('cc', ['-O1', '-o', oracle, join(here, 'oracle.c')]);
const module = new FpuModule(await buildFpuModule('-O2', '--noAssert'));
const count = Number(values.cases);
const selected = instructions().filter((instruction) => instruction.name.startsWith(values.only));
// Several forms in one run of the oracle, within about 64 MB.
const perRun = Math.max(1, Math.floor(80000 / count));
let comparisons = 0;
let mismatches = 0;
let ulps = 0;
const bad = new Map();

/** The distance of two registers of 80 bits in units of the last place, if they may be compared so. */
function distance(a, b, at) {
  const va = new DataView(a.buffer, a.byteOffset + at);
  const vb = new DataView(b.buffer, b.byteOffset + at);
  if (va.getUint16(8, true) >> 15 !== vb.getUint16(8, true) >> 15) return Infinity;
  const wide = (v) =>
    (BigInt(v.getUint16(8, true) & 0x7fff) << 63n) + (v.getBigUint64(0, true) & 0x7fffffffffffffffn);
  const d = wide(va) - wide(vb);
  return Number(d < 0n ? -d : d);
}

function describe(record) {
  const v = new DataView(record.buffer, record.byteOffset);
  const st = [...Array(8)].map(
    (_, i) =>
      `${v
        .getUint16(IMAGE + 40 + i * 16, true)
        .toString(16)
        .padStart(4, '0')}:${v
        .getBigUint64(IMAGE + 32 + i * 16, true)
        .toString(16)
        .padStart(16, '0')}`,
  );
  const xmm = [0, 1, 2].map(
    (i) =>
      `${v
        .getBigUint64(IMAGE + 168 + i * 16, true)
        .toString(16)
        .padStart(16, '0')}_${v
        .getBigUint64(IMAGE + 160 + i * 16, true)
        .toString(16)
        .padStart(16, '0')}`,
  );
  return `    trap ${record[0]} fcw ${v.getUint16(IMAGE, true).toString(16)} fsw ${v.getUint16(IMAGE + 2, true).toString(16)} (top ${(v.getUint16(IMAGE + 2, true) >> 11) & 7}) tags ${record[IMAGE + 4].toString(16)} mxcsr ${v.getUint32(IMAGE + 24, true).toString(16)} flags ${v.getUint32(64, true).toString(16)} rax ${v.getBigUint64(32, true).toString(16)} rcx ${v.getBigUint64(40, true).toString(16)} rdx ${v.getBigUint64(48, true).toString(16)}
    mem ${Buffer.from(record.subarray(192, 208)).toString('hex')}
    st ${st.slice(0, 4).join(' ')}
    xmm ${xmm.join(' ')}`;
}

/** Runs records on the host. */
function runOnHost(records) {
  writeFileSync(join(folder, 'cases'), records);
  execFileSync(oracle, [join(folder, 'cases'), join(folder, 'results')]);
  return new Uint8Array(readFileSync(join(folder, 'results')));
}

if (values.write) {
  const kept = [...keptCases()].length;
  const records = new Uint8Array(kept * RECORD_SIZE);
  const opcodes = [];
  let at = 0;
  for (const { instruction, record } of keptCases()) {
    records.set(record, at);
    at += RECORD_SIZE;
    opcodes.push(opcodeOf(instruction));
  }
  const results = runOnHost(records);
  const hashes = {};
  opcodes.forEach((opcode, i) => {
    const record = results.subarray(i * RECORD_SIZE, (i + 1) * RECORD_SIZE);
    hashes[opcode] = hashRecord(hashes[opcode] ?? 0, record);
  });
  for (const opcode of Object.keys(hashes)) hashes[opcode] = (hashes[opcode] >>> 0).toString(16);
  writeFileSync(join(here, '../../tests/fpu/fixtures/hashes.json'), `${JSON.stringify(hashes, null, 1)}\n`);
  console.log(`hashes of ${kept} results for ${Object.keys(hashes).length} opcodes written`);
}

for (let round = 0; round < Number(values.rounds); round++) {
  for (let first = 0; first < selected.length; first += perRun) {
    const group = selected.slice(first, first + perRun);
    const input = new Uint8Array(group.length * count * RECORD_SIZE);
    group.forEach((instruction, i) => {
      const random = new Random((Number(values.seed) + round) * 0x10001 + first + i);
      for (let n = 0; n < count; n++)
        fill(new DataView(input.buffer, (i * count + n) * RECORD_SIZE), instruction, random);
    });
    const expected = runOnHost(input);
    group.forEach((instruction, i) => {
      for (let n = 0; n < count; n++) {
        const at = (i * count + n) * RECORD_SIZE;
        const record = input.subarray(at, at + RECORD_SIZE);
        const before = record.slice();
        const wanted = expected.subarray(at, at + RECORD_SIZE);
        comparisons++;
        let reason = '';
        if (!module.run(record)) reason = 'not decoded';
        else {
          for (const [from, to] of COMPARED) {
            for (let k = from; k < to; k++) {
              if (record[k] === wanted[k]) continue;
              if (isTranscendental(instruction) && record[IMAGE + 2] === wanted[IMAGE + 2]) {
                // C1 says whether the last bit was rounded up.
                if (k === IMAGE + 3 && ((record[k] ^ wanted[k]) & ~2) === 0) continue;
                if (k >= IMAGE + 32 && k < IMAGE + 160) {
                  const d = distance(record, wanted, ((k - 32 - IMAGE) & ~15) + IMAGE + 32);
                  if (d <= 1) {
                    ulps++;
                    continue;
                  }
                }
              }
              reason = `byte ${k}`;
              break;
            }
            if (reason) break;
          }
        }
        if (reason === '') continue;
        mismatches++;
        const seen = bad.get(instruction.name) ?? 0;
        bad.set(instruction.name, seen + 1);
        if (seen < Number(values.show))
          console.log(
            `${instruction.name} case ${n}: ${reason}\n  before\n${describe(before)}\n  host\n${describe(wanted)}\n  ours\n${describe(record)}`,
          );
      }
    });
  }
}
rmSync(folder, { recursive: true });
console.log([...bad].map(([name, n]) => `${name}: ${n}`).join('\n'));
console.log(
  `${selected.length} forms, ${comparisons} comparisons, ${mismatches} mismatches in ${bad.size} forms; ${ulps} last bits differ`,
);
