// npm run bench:cpu: how fast the software processor runs compiled code and boots Linux, beside its peers.
//
//   [--rounds N] [--v86 FOLDER] [--kernel VMLINUX --initrd FILE [--boots N] [--memory MIB]] [--json FILE]
//
// Every engine runs the same images in processes of their own, in turns. Times are processor time of the whole engine,
// compilers included, so that other work on the machine counts little. Instructions are what Kensho counts.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { median } from '../stats/estimate.ts';
import { type BootOptions, type BootTime, bootOnKensho, bootOnQemu } from './boot.ts';
import { type Engine, kensho, qemu, qemuVersion, v86 } from './engines.ts';
import { buildGuests, type GuestImages } from './guest.ts';
import type { KernelRun } from './marks.ts';
import { type EngineRuns, type KernelFigures, summarize } from './summary.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    boots: { type: 'string', default: '3' },
    v86: { type: 'string' },
    kernel: { type: 'string' },
    initrd: { type: 'string' },
    memory: { type: 'string', default: '512' },
    json: { type: 'string' },
  },
});

const TABLE = {
  chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  style: { head: [], border: [], 'padding-left': 1, 'padding-right': 1 },
};
const say = (line: string) => process.stdout.write(`${line}\n`);
const round = (value: number, digits = 0) => value.toFixed(digits);
const label = ({ engine, bits }: { engine: string; bits: number }) => `${engine}, ${bits} bit`;

async function runKernels(images: GuestImages, rounds: number): Promise<EngineRuns[]> {
  const all = [kensho(64), qemu(64), kensho(32), v86(values.v86)];
  for (const { name, missing } of all) if (missing !== undefined) say(`Without ${name}: ${missing}`);
  const taking = all
    .filter(({ missing }) => missing === undefined)
    .map((engine) => ({ engine, rounds: [] as (readonly KernelRun[])[] }));
  for (let n = 0; n < rounds; n++) {
    for (const { engine, rounds: done } of taking) done.push(await runOne(engine, images));
    process.stderr.write(`round ${n + 1} of ${rounds}\n`);
  }
  return taking.map(({ engine, rounds: done }) => ({ engine: engine.name, bits: engine.bits, rounds: done }));
}

function runOne(engine: Engine, images: GuestImages): Promise<readonly KernelRun[]> {
  return engine.run(engine.bits === 64 ? images.bits64 : images.bits32);
}

function showKernels(engines: readonly EngineRuns[], figures: readonly KernelFigures[]): void {
  const table = new Table({
    ...TABLE,
    head: ['MIPS', ...engines.map(label)],
    colAligns: ['left', ...engines.map(() => 'right' as const)],
  });
  for (const { kernel, mips } of figures) table.push([kernel, ...mips.map((value) => round(value))]);
  const columns = engines.map((_, i) => median(figures.map(({ mips }) => mips[i] ?? 0)));
  table.push(['median', ...columns.map((value) => round(value))]);
  say(table.toString());
  engines.forEach((peer, i) => {
    const own = engines.findIndex(({ engine, bits }) => engine === 'Kensho' && bits === peer.bits);
    if (own === i || own < 0) return;
    const ratio = median(figures.map(({ mips }) => (mips[i] ?? 0) / (mips[own] ?? 1)));
    say(`${label(peer)} is ${round(ratio, 1)} times as fast as Kensho (median of the kernels' ratios).`);
  });
}

async function runBoots(
  options: BootOptions,
  boots: number,
): Promise<{ engine: string; times: BootTime[] }[]> {
  const runs = [{ engine: 'Kensho', boot: bootOnKensho, times: [] as BootTime[] }];
  const version = qemuVersion();
  if (version === undefined) say('Boot without QEMU: qemu-system-x86_64 is not installed');
  else runs.push({ engine: `QEMU ${version} TCG`, boot: bootOnQemu, times: [] });
  for (let n = 0; n < boots; n++) {
    for (const { boot, times } of runs) times.push(await boot(options));
    process.stderr.write(`boot ${n + 1} of ${boots}\n`);
  }
  return runs.map(({ engine, times }) => ({ engine, times }));
}

function showBoots(runs: readonly { engine: string; times: readonly BootTime[] }[]): void {
  const table = new Table({
    ...TABLE,
    head: ['Boot to the prompt', 'processor s', 'wall s', 'M instructions', 'resident MiB'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
  });
  const middle = (times: readonly BootTime[], of: (time: BootTime) => number | undefined) => {
    const found = times.map(of).filter((value) => value !== undefined);
    return found.length === 0 ? undefined : median(found);
  };
  for (const { engine, times } of runs) {
    const instructions = middle(times, (time) => time.instructions);
    const resident = middle(times, (time) => time.residentBytes);
    table.push([
      engine,
      round(middle(times, (time) => time.cpuSeconds) ?? 0, 2),
      round(middle(times, (time) => time.wallSeconds) ?? 0, 2),
      instructions === undefined ? '' : round(instructions / 1e6),
      resident === undefined ? '' : round(resident / 2 ** 20),
    ]);
  }
  say(table.toString());
  const [own, peer] = runs.map(({ times }) => middle(times, (time) => time.cpuSeconds));
  if (own !== undefined && peer !== undefined) say(`Kensho takes ${round(own / peer, 1)} times as long.`);
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'kensho-bench-'));
const report: Record<string, unknown> = {
  node: process.version,
  processor: os.cpus()[0]?.model,
  load: os.loadavg(),
};
try {
  let images: GuestImages | undefined;
  try {
    images = buildGuests(folder);
  } catch (error) {
    say(`Without kernels: ${(error as Error).message}`);
  }
  if (images !== undefined) {
    const engines = await runKernels(images, Number(values.rounds));
    const kernels = summarize(engines);
    showKernels(engines, kernels);
    Object.assign(report, { engines, kernels });
  }
  const { kernel, initrd } = values;
  if (kernel === undefined || initrd === undefined) {
    say('Without a boot: give an uncompressed kernel and an initial file system by --kernel and --initrd');
  } else {
    const options = { kernel, initrd, commandLine: 'console=ttyS0', memoryMib: Number(values.memory) };
    const boots = await runBoots(options, Number(values.boots));
    showBoots(boots);
    Object.assign(report, { boots });
  }
  if (values.json !== undefined) fs.writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`);
} finally {
  fs.rmSync(folder, { recursive: true });
}
