import {
  type BenchGuest,
  type BenchOptions,
  type BenchSettings,
  benchSettings,
  distinct,
  invalid,
  type Job,
  subset,
  whole,
} from '../options.ts';

/** What the guest does with its disk. */
export type Workload = 'seq-read' | 'seq-write' | 'rand-read' | 'rand-write';
export const WORKLOADS: readonly Workload[] = ['seq-read', 'seq-write', 'rand-read', 'rand-write'];

/** One measurement: what the guest does, in which sizes, how much of it at once. */
export interface StorageJob extends Job {
  readonly workload: Workload;
  /** Size of one request. */
  readonly blockBytes: number;
  /** Requests that the guest keeps in flight. */
  readonly depth: number;
}

/** A job's name, for people and as a key: `rand-read 4k x32`. */
export function jobName({ workload, blockBytes, depth }: StorageJob): string {
  return `${workload} ${shortSize(blockBytes)} x${depth}`;
}

/** What to measure, and how. */
export interface StorageBenchOptions extends BenchOptions {
  /** A disk image, which is never written to; without one an image of known content is made. */
  readonly image?: string;
  /** Format of the image. @default recognised, or raw for the image that is made */
  readonly format?: string;
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
  /** @default 0.5; 3 for Linux */
  readonly seconds?: number;
  /** @default 5; 2 for Linux */
  readonly runs?: number;
  /** The part of the disk, from its start, that is used. @default 64 MiB, or the disk if it is smaller */
  readonly spanBytes?: number;
  /** Serves that part from the host's memory instead of from the file. @default false */
  readonly memory?: boolean;
}

/** The same with every default in place; `image` and `spanBytes` are known once the image is open. */
export type StorageSettings = BenchSettings<StorageJob> & { readonly memory: boolean };

const MIB = 1024 * 1024;
export const SECTOR_BYTES = 512;
export const DEFAULT_SPAN_BYTES = 32 * MIB;
const DEFAULTS: Readonly<Record<BenchGuest, { seconds: number; runs: number }>> = {
  kit: { seconds: 0.5, runs: 5 },
  // A boot for each run and path: few, and each long enough for a slow path.
  linux: { seconds: 2, runs: 2 },
};
/** What is asked of a disk most often: small requests at random, one and many at a time, and large ones in a row. */
export const LINUX_JOBS: readonly StorageJob[] = [
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
export function settingsOf(options: StorageBenchOptions): StorageSettings {
  const settings = {
    ...benchSettings(options, DEFAULTS, (guest) => jobsOf(options, guest)),
    memory: options.memory ?? false,
  };
  if (options.spanBytes !== undefined) spanOf(options.spanBytes, settings);
  return settings;
}

function jobsOf(options: StorageBenchOptions, guest: BenchGuest): readonly StorageJob[] {
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
export function spanOf(bytes: number, { jobs }: StorageSettings): number {
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

function shortSize(bytes: number): string {
  if (bytes % MIB === 0) return `${bytes / MIB}M`;
  return bytes % 1024 === 0 ? `${bytes / 1024}k` : `${bytes}`;
}
