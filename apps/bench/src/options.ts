import { KenshoError } from '@kensho/core';

/** How the guest reaches its disk. */
export type BenchPath = 'enlightened' | 'emulated';
export const PATHS: readonly BenchPath[] = ['enlightened', 'emulated'];

/** What the guest does with its disk. */
export type Workload = 'seq-read' | 'seq-write' | 'rand-read' | 'rand-write';
export const WORKLOADS: readonly Workload[] = ['seq-read', 'seq-write', 'rand-read', 'rand-write'];

/** One measurement: what the guest does, in which sizes, how much of it at once. */
export interface Job {
  readonly workload: Workload;
  /** Size of one request. */
  readonly blockBytes: number;
  /** Requests that the guest keeps in flight. */
  readonly depth: number;
}

/** A job's name, for people and as a key: `rand-read 4k x32`. */
export function jobName({ workload, blockBytes, depth }: Job): string {
  return `${workload} ${shortSize(blockBytes)} x${depth}`;
}

/** Who does the I/O: a kit guest's own program, or fio on Debian's Linux. */
export type BenchGuest = 'kit' | 'linux';
export const BENCH_GUESTS: readonly BenchGuest[] = ['kit', 'linux'];

/** A guest of Debian's Linux with fio, as it was built. */
export interface LinuxGuestFiles {
  /** A path. */
  readonly kernel: string;
  /** A path. */
  readonly initrd: string;
  /** What it is made of, for the report: `Linux 6.1.0-1-amd64, fio 3.33-3`. */
  readonly description: string;
}

/** What to measure, and how. */
export interface StorageBenchOptions {
  /** @default 'kit' */
  readonly guest?: BenchGuest;
  /** For Linux. */
  readonly linux?: LinuxGuestFiles;
  /** A disk image, which is never written to; without one an image of known content is made. */
  readonly image?: string;
  /** Format of the image. @default recognised, or raw for the image that is made */
  readonly format?: string;
  /** @default both */
  readonly paths?: readonly BenchPath[];
  /**
   * The jobs are every workload with every block size at every depth.
   *
   * @default all; for Linux, where nothing is said of these three, {@link LINUX_JOBS}
   */
  readonly workloads?: readonly Workload[];
  /** Sizes of one request. @default 4096 */
  readonly blockBytes?: readonly number[];
  /** Requests that the guest keeps in flight. @default 32 */
  readonly depths?: readonly number[];
  /** Length of the measured window of one sample, by the guest's clock. @default 0.5; 3 for Linux */
  readonly seconds?: number;
  /** Samples of each job on each path. @default 5; 2 for Linux */
  readonly runs?: number;
  /** The part of the disk, from its start, that is used. @default 64 MiB, or the disk if it is smaller */
  readonly spanBytes?: number;
  /** Serves that part from the host's memory instead of from the file. @default false */
  readonly memory?: boolean;
  /** Seed of everything random. @default 1 */
  readonly seed?: number;
}

/** The same with every default in place; `image` and `spanBytes` are known once the image is open. */
export type Settings = Required<
  Omit<
    StorageBenchOptions,
    'linux' | 'image' | 'format' | 'spanBytes' | 'workloads' | 'blockBytes' | 'depths'
  >
> & { readonly jobs: readonly Job[] };

const MIB = 1024 * 1024;
export const SECTOR_BYTES = 512;
export const DEFAULT_SPAN_BYTES = 64 * MIB;
const DEFAULTS: Readonly<Record<BenchGuest, { seconds: number; runs: number }>> = {
  kit: { seconds: 0.5, runs: 5 },
  // A boot for each run and path: few, and each long enough for a slow path.
  linux: { seconds: 3, runs: 2 },
};
/** What is asked of a disk most often: small requests at random, one and many at a time, and large ones in a row. */
export const LINUX_JOBS: readonly Job[] = [
  { workload: 'rand-read', blockBytes: 4096, depth: 1 },
  { workload: 'rand-read', blockBytes: 4096, depth: 32 },
  { workload: 'rand-write', blockBytes: 4096, depth: 1 },
  { workload: 'rand-write', blockBytes: 4096, depth: 32 },
  { workload: 'seq-read', blockBytes: MIB, depth: 4 },
  { workload: 'seq-write', blockBytes: MIB, depth: 4 },
];
/** So that two requests of one window seldom meet, and writes never do. */
const BLOCKS_PER_REQUEST_IN_FLIGHT = 4;

/** Applies the defaults and checks the bounds. Throws KenshoError INVALID_OPTION with what is allowed. */
export function settingsOf(options: StorageBenchOptions): Settings {
  const guest = options.guest ?? 'kit';
  const settings: Settings = {
    guest,
    paths: options.paths ?? PATHS,
    jobs: jobsOf(options, guest),
    ...DEFAULTS[guest],
    ...(options.seconds === undefined ? {} : { seconds: options.seconds }),
    ...(options.runs === undefined ? {} : { runs: options.runs }),
    memory: options.memory ?? false,
    seed: options.seed ?? 1,
  };
  subset('guest', [settings.guest], BENCH_GUESTS);
  if (guest === 'linux' && options.linux === undefined)
    throw invalid('no Linux guest: name the files of one that was built');
  subset('path', settings.paths, PATHS);
  within('seconds', settings.seconds, 0.01, 3600);
  whole('runs', settings.runs, 1, 1000);
  whole('seed', settings.seed, 0, 2 ** 32 - 1);
  if (options.spanBytes !== undefined) spanOf(options.spanBytes, settings);
  return settings;
}

function jobsOf(options: StorageBenchOptions, guest: BenchGuest): readonly Job[] {
  const { workloads, blockBytes, depths } = options;
  if (guest === 'linux' && workloads === undefined && blockBytes === undefined && depths === undefined) {
    return LINUX_JOBS;
  }
  subset('workload', workloads ?? WORKLOADS, WORKLOADS);
  distinct('block', blockBytes ?? [4096], (bytes) => {
    whole('block', bytes, SECTOR_BYTES, MIB);
    if (bytes % SECTOR_BYTES !== 0)
      throw invalid(`block of ${bytes} bytes: must be a multiple of ${SECTOR_BYTES}`);
  });
  distinct('depth', depths ?? [32], (depth) => whole('depth', depth, 1, 256));
  return (workloads ?? WORKLOADS).flatMap((workload) =>
    (blockBytes ?? [4096]).flatMap((bytes) =>
      (depths ?? [32]).map((depth) => ({ workload, blockBytes: bytes, depth })),
    ),
  );
}

/** A span in whole blocks, checked against what the jobs need. Throws KenshoError INVALID_OPTION. */
export function spanOf(bytes: number, { jobs }: Settings): number {
  const largest = Math.max(...jobs.map(({ blockBytes }) => blockBytes));
  const span = Math.floor(bytes / largest) * largest;
  for (const { blockBytes, depth } of jobs) {
    const needed = blockBytes * depth * BLOCKS_PER_REQUEST_IN_FLIGHT;
    if (span < needed) {
      throw invalid(
        `span of ${bytes} bytes: ${depth} requests of ${blockBytes} bytes in flight need at least ${needed}`,
      );
    }
  }
  if (span > 2 ** 40) throw invalid(`span of ${bytes} bytes: at most 1 TiB`);
  return span;
}

function subset<T extends string>(what: string, chosen: readonly T[], known: readonly T[]): void {
  if (chosen.length === 0) throw invalid(`no ${what} chosen: there are ${known.join(', ')}`);
  for (const one of chosen) {
    if (!known.includes(one)) throw invalid(`unknown ${what} '${one}': there are ${known.join(', ')}`);
  }
  if (new Set(chosen).size !== chosen.length) throw invalid(`a ${what} is named twice: ${chosen.join(',')}`);
}

function distinct(what: string, values: readonly number[], check: (value: number) => void): void {
  if (values.length === 0) throw invalid(`no ${what} chosen`);
  for (const value of values) check(value);
  if (new Set(values).size !== values.length) throw invalid(`a ${what} is named twice: ${values.join(',')}`);
}

function whole(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value)) throw invalid(`${what} of ${value}: must be a whole number`);
  within(what, value, least, most);
}

function within(what: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most))
    throw invalid(`${what} of ${value}: must be from ${least} to ${most}`);
}

function shortSize(bytes: number): string {
  if (bytes % MIB === 0) return `${bytes / MIB}M`;
  return bytes % 1024 === 0 ? `${bytes / 1024}k` : `${bytes}`;
}

function invalid(message: string): KenshoError {
  return new KenshoError('INVALID_OPTION', message);
}
