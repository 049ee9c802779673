import path from 'node:path';
import {
  BENCH_GUESTS,
  type BenchControl,
  type BenchGuest,
  type BenchOptions,
  type BenchPath,
  type BenchProgress,
  compareReports,
  type LinuxGuestFiles,
  NET_WORKLOADS,
  type NetWorkload,
  PATHS,
  parseReport,
  type Report,
  renderComparison,
  renderHtml,
  renderTable,
  runNetBench,
  runStorageBench,
  WORKLOADS,
  type Workload,
} from '@kensho/bench';
import { KenshoError } from '@kensho/core';
import { buildGuest } from '@kensho/guest-linux';
import { type Command, Option } from 'commander';
import { type CommandContext, printJson } from '../context.ts';
import { checkFolder, makeFolder, readWhole, writeWhole } from '../files.ts';
import { guestsFolder } from '../guests.ts';
import { parseCount, parseList, parseNames, parseSeconds, parseSize } from '../parse.ts';
import { Progress } from '../progress.ts';

/** What every benchmark is told. */
interface BenchFlags {
  guest: BenchGuest | 'auto';
  path?: readonly BenchPath[];
  seconds?: number;
  runs?: number;
  seed?: number;
  out: string;
  json?: boolean;
}

interface StorageFlags extends BenchFlags {
  image?: string;
  format?: string;
  workload?: readonly Workload[];
  block?: readonly number[];
  depth?: readonly number[];
  span?: number;
  memory?: boolean;
}

interface NetFlags extends BenchFlags {
  workload?: readonly NetWorkload[];
}

/** Packages of Debian's that a guest needs, and those of them that a report names. */
interface LinuxPackages {
  /** @default those of every guest, under its usual name */
  readonly own?: { readonly name: string; readonly packages: readonly string[] };
  readonly tools: readonly string[];
}

const STORAGE_PACKAGES: LinuxPackages = { tools: ['fio'] };
/** A guest of its own, which boots in a third of the time: fio needs a hundred megabytes of libraries. */
const NET_PACKAGES: LinuxPackages = {
  own: { name: 'bench-net', packages: ['iperf3', 'sockperf'] },
  tools: ['iperf3', 'sockperf'],
};

/** `kensho bench ...` */
export function addBenchCommands(program: Command, context: CommandContext): void {
  const bench = program
    .command('bench')
    .summary('measure one workload over both paths')
    .helpCommand(false)
    .description('Measures one workload over both paths, and compares runs.');
  const storage = bench
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
    .option('--image <file>', 'disk image to use (default: one of known content is made, and removed again)')
    .option('--format <id>', 'its format: raw, vhd or vhdx (default: recognised; raw for one that is made)')
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
    .option(
      '--span <size>',
      'part of the disk, from its start, that is used (default: 32M or the disk)',
      parseSize,
    )
    .option('--memory', 'serve the disk from memory, without files of the host')
    .action((flags: StorageFlags) =>
      measure(flags, STORAGE_PACKAGES, context, (options, control) =>
        runStorageBench(
          {
            ...options,
            image: flags.image,
            format: flags.format,
            workloads: flags.workload,
            blockBytes: flags.block,
            depths: flags.depth,
            spanBytes: flags.span,
            memory: flags.memory,
          },
          control,
        ),
      ),
    );
  addCommonOptions(storage, 'of the choice of blocks and the made image');
  const net = bench
    .command('net')
    .summary('two guests on one switch, by adapters over VMBus (enlightened) and DEC 21140s (emulated)')
    .description(
      [
        'Runs two guests on one virtual switch, by adapters over VMBus (enlightened) and by DEC 21140s (emulated), and shows the figures side by side.',
        'Guests are programs on the kit kernel, which have no TCP but its frames and a window, and compare every byte that arrives;',
        'or Debian’s Linux with iperf3, and sockperf for tcp-rr, which is built where it is not there yet (needs apt).',
        'Writes report.html and report.json.',
      ].join('\n'),
    )
    .option(
      '--workload <names>',
      `${NET_WORKLOADS.join(', ')} or all, with commas between (default: all)`,
      parseNames(NET_WORKLOADS, 'all'),
    )
    .action((flags: NetFlags) =>
      measure(flags, NET_PACKAGES, context, (options, control) =>
        runNetBench({ ...options, workloads: flags.workload }, control),
      ),
    );
  addCommonOptions(net, 'of what is sent');
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
      const comparison = compareReports(readReport(a), readReport(b));
      if (flags.json) printJson(context, comparison);
      else context.print(renderComparison(comparison));
    });
}

/** Options that every benchmark has. */
function addCommonOptions(command: Command, seedIs: string): void {
  command
    .addOption(
      new Option('--guest <which>', 'who does the I/O; auto is linux where it can be had, else kit')
        .choices([...BENCH_GUESTS, 'auto'])
        .default('kit'),
    )
    .option('--path <names>', 'enlightened, emulated or both (default: both)', parseNames(PATHS, 'both'))
    .option(
      '--seconds <n>',
      'length of a sample by the guest’s clock (default: 0.5; linux: 2, net 3)',
      parseSeconds,
    )
    .option('--runs <n>', 'samples of each job on each path (default: 5; linux: 2)', parseCount)
    .option('--seed <n>', `${seedIs} (default: 1)`, parseCount)
    .option('--out <folder>', 'where the report goes', 'kensho-report')
    .option('--json', 'print the report as JSON instead of tables');
}

/** Runs a benchmark and writes its report. */
async function measure(
  flags: BenchFlags,
  packages: LinuxPackages,
  context: CommandContext,
  run: (options: BenchOptions, control: BenchControl) => Promise<Report>,
): Promise<void> {
  checkFolder(flags.out);
  const progress = new Progress();
  let report: Report;
  try {
    const linux = await linuxGuest(flags.guest, packages, context, (line) => progress.show(line));
    report = await run(
      {
        guest: linux === undefined ? 'kit' : 'linux',
        linux,
        paths: flags.path,
        seconds: flags.seconds,
        runs: flags.runs,
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
  wanted: BenchFlags['guest'],
  { own, tools }: LinuxPackages,
  { signal }: CommandContext,
  onProgress: (line: string) => void,
): Promise<LinuxGuestFiles | undefined> {
  if (wanted === 'kit') return undefined;
  try {
    const { guest } = await buildGuest({ folder: guestsFolder(), ...own, signal, onProgress });
    const { kernelRelease, packages } = guest.manifest;
    const versions = tools.map((tool) => {
      const version = packages.find(({ name }) => name === tool)?.version ?? 'of an unknown version';
      return `${tool} ${version}`;
    });
    const description = [`Linux ${kernelRelease}`, ...versions].join(', ');
    return { kernel: guest.kernel, initrd: guest.initrd, description };
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

function readReport(file: string): Report {
  return parseReport(readWhole(file).toString(), file);
}
