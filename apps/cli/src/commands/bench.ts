import fs from 'node:fs';
import path from 'node:path';
import {
  BENCH_GUESTS,
  type BenchGuest,
  type BenchPath,
  type BenchProgress,
  compareStorageReports,
  type LinuxGuestFiles,
  PATHS,
  parseStorageReport,
  renderComparison,
  renderHtml,
  renderTable,
  runStorageBench,
  type StorageReport,
  WORKLOADS,
  type Workload,
} from '@kensho/bench';
import { KenshoError } from '@kensho/core';
import { buildGuest } from '@kensho/guest-linux';
import { type Command, Option } from 'commander';
import { type CommandContext, printJson } from '../context.ts';
import { checkFolder, makeFolder, writeWhole } from '../files.ts';
import { guestsFolder } from '../guests.ts';
import { parseCount, parseList, parseNames, parseSeconds, parseSize } from '../parse.ts';
import { Progress } from '../progress.ts';

interface StorageFlags {
  guest: BenchGuest | 'auto';
  image?: string;
  format?: string;
  path?: readonly BenchPath[];
  workload?: readonly Workload[];
  block?: readonly number[];
  depth?: readonly number[];
  seconds?: number;
  runs?: number;
  span?: number;
  memory?: boolean;
  seed?: number;
  out: string;
  json?: boolean;
}

/** `kensho bench ...` */
export function addBenchCommands(program: Command, context: CommandContext): void {
  const bench = program
    .command('bench')
    .summary('measure one workload over both paths')
    .helpCommand(false)
    .description('Measures one workload over both paths, and compares runs.');
  bench
    .command('storage')
    .summary('a disk over VMBus (enlightened) and IDE (emulated)')
    .description(
      [
        'Runs one guest against one disk, over VMBus and SCSI (enlightened) and over IDE (emulated), and shows the figures side by side.',
        'What the guest reads and writes is verified against what the host reads; an image that you give is never written to.',
        'The guest is a program on the kit kernel, or Debian’s Linux with fio, which is built where it is not there yet (needs apt).',
        'Writes report.html and report.json.',
      ].join('\n'),
    )
    .addOption(
      new Option('--guest <which>', 'who does the I/O; auto is linux where it can be had, else kit')
        .choices([...BENCH_GUESTS, 'auto'])
        .default('kit'),
    )
    .option('--image <file>', 'disk image to use (default: one of known content is made, and removed again)')
    .option('--format <id>', 'its format: raw, vhd or vhdx (default: recognised; raw for one that is made)')
    .option('--path <names>', 'enlightened, emulated or both (default: both)', parseNames(PATHS, 'both'))
    .option(
      '--workload <names>',
      `${WORKLOADS.join(', ')} or all, with commas between (default: all)`,
      parseNames(WORKLOADS, 'all'),
    )
    .option('--block <sizes>', 'sizes of a request, 512 to 1M (default: 4k)', parseList(parseSize))
    .option(
      '--depth <counts>',
      'requests in flight, 1 to 256 (default: 32; for linux, where no size and depth is given, those asked for most often)',
      parseList(parseCount),
    )
    .option('--seconds <n>', 'length of a sample by the guest’s clock (default: 0.5; linux: 3)', parseSeconds)
    .option('--runs <n>', 'samples of each job on each path (default: 5; linux: 2)', parseCount)
    .option(
      '--span <size>',
      'part of the disk, from its start, that is used (default: 64M or the disk)',
      parseSize,
    )
    .option('--memory', 'serve the disk from memory, without files of the host')
    .option('--seed <n>', 'of the choice of blocks and the made image (default: 1)', parseCount)
    .option('--out <folder>', 'where the report goes', 'kensho-report')
    .option('--json', 'print the report as JSON instead of tables')
    .action((flags: StorageFlags) => storage(flags, context));
  bench
    .command('compare')
    .summary('tell whether two runs differ')
    .description(
      [
        'Tells, for each workload, path and metric, whether two runs of the same settings differ:',
        'a rank-sum test over their samples, with the ratio of B to A and its 95 % interval.',
        'At least 4 runs in each file are needed to tell anything.',
      ].join('\n'),
    )
    .argument('<a>', 'report.json of one run')
    .argument('<b>', 'report.json of the other')
    .option('--json', 'print the comparison as JSON instead of a table')
    .action((a: string, b: string, flags: { json?: boolean }) => {
      const comparison = compareStorageReports(readReport(a), readReport(b));
      if (flags.json) printJson(context, comparison);
      else context.print(renderComparison(comparison));
    });
}

async function storage(flags: StorageFlags, context: CommandContext): Promise<void> {
  checkFolder(flags.out);
  const progress = new Progress();
  let report: StorageReport;
  try {
    const linux = await linuxGuest(flags.guest, context, (line) => progress.show(line));
    report = await runStorageBench(
      {
        guest: linux === undefined ? 'kit' : 'linux',
        linux,
        image: flags.image,
        format: flags.format,
        paths: flags.path,
        workloads: flags.workload,
        blockBytes: flags.block,
        depths: flags.depth,
        seconds: flags.seconds,
        runs: flags.runs,
        spanBytes: flags.span,
        memory: flags.memory,
        seed: flags.seed,
      },
      {
        version: context.version,
        signal: context.signal,
        onProgress: (now) => progress.show(progressLine(now)),
      },
    );
  } finally {
    progress.clear();
  }
  makeFolder(flags.out);
  const page = path.join(flags.out, 'report.html');
  const data = path.join(flags.out, 'report.json');
  writeWhole(page, renderHtml(report));
  writeWhole(data, `${JSON.stringify(report, null, 2)}\n`);
  if (flags.json) return printJson(context, report);
  context.print(renderTable(report));
  context.print(`Report: ${page} and ${data}`);
}

/** Debian's Linux, built first where need be; undefined for the kit guest. Throws what building does. */
async function linuxGuest(
  wanted: StorageFlags['guest'],
  { signal }: CommandContext,
  onProgress: (line: string) => void,
): Promise<LinuxGuestFiles | undefined> {
  if (wanted === 'kit') return undefined;
  try {
    const { guest } = await buildGuest({ folder: guestsFolder(), signal, onProgress });
    const { kernelRelease, packages } = guest.manifest;
    const fio = packages.find(({ name }) => name === 'fio')?.version ?? 'of an unknown version';
    return { kernel: guest.kernel, initrd: guest.initrd, description: `Linux ${kernelRelease}, fio ${fio}` };
  } catch (error) {
    if (wanted === 'linux' || signal.aborted || !(error instanceof KenshoError)) throw error;
    process.stderr.write(`kensho: no Linux guest (${error.message}): measuring the kit guest\n`);
    return undefined;
  }
}

function progressLine({ done, total, now }: BenchProgress): string {
  if (now === undefined) return `${done}/${total} samples taken`;
  return `${String(done + 1).padStart(String(total).length)}/${total} ${now.what}, ${now.path}, run ${now.run + 1}`;
}

function readReport(file: string): StorageReport {
  return parseStorageReport(fs.readFileSync(file, 'utf8'), file);
}
