import { KenshoError } from '@kensho/core';

/** How the guest reaches its disk. */
export type BenchPath = 'enlightened' | 'emulated';
export const PATHS: readonly BenchPath[] = ['enlightened', 'emulated'];

/** What the guest does with its disk. */
export type Workload = 'seq-read' | 'seq-write' | 'rand-read' | 'rand-write';
export const WORKLOADS: readonly Workload[] = ['seq-read', 'seq-write', 'rand-read', 'rand-write'];

/** What to measure, and how. */
export interface StorageBenchOptions {
  /** A disk image, which is never written to; without one an image of known content is made. */
  readonly image?: string;
  /** Format of the image. @default recognised, or raw for the image that is made */
  readonly format?: string;
  /** @default both */
  readonly paths?: readonly BenchPath[];
  /** @default all */
  readonly workloads?: readonly Workload[];
  /** Size of one request. @default 4096 */
  readonly blockBytes?: number;
  /** Requests that the guest keeps in flight. @default 32 */
  readonly depth?: number;
  /** Length of the measured window of one sample, by the guest's clock. @default 0.5 */
  readonly seconds?: number;
  /** Samples of each workload on each path. @default 5 */
  readonly runs?: number;
  /** The part of the disk, from its start, that is used. @default 64 MiB, or the disk if it is smaller */
  readonly spanBytes?: number;
  /** Serves that part from the host's memory instead of from the file. @default false */
  readonly memory?: boolean;
  /** Seed of everything random. @default 1 */
  readonly seed?: number;
}

/** The same with every default in place; `image` and `spanBytes` are known once the image is open. */
export type Settings = Required<Omit<StorageBenchOptions, 'image' | 'format' | 'spanBytes'>>;

const MIB = 1024 * 1024;
export const SECTOR_BYTES = 512;
export const DEFAULT_SPAN_BYTES = 64 * MIB;
/** So that two requests of one window seldom meet, and writes never do. */
const BLOCKS_PER_REQUEST_IN_FLIGHT = 4;

/** Applies the defaults and checks the bounds. Throws KenshoError INVALID_OPTION with what is allowed. */
export function settingsOf(options: StorageBenchOptions): Settings {
  const settings: Settings = {
    paths: options.paths ?? PATHS,
    workloads: options.workloads ?? WORKLOADS,
    blockBytes: options.blockBytes ?? 4096,
    depth: options.depth ?? 32,
    seconds: options.seconds ?? 0.5,
    runs: options.runs ?? 5,
    memory: options.memory ?? false,
    seed: options.seed ?? 1,
  };
  subset('path', settings.paths, PATHS);
  subset('workload', settings.workloads, WORKLOADS);
  whole('block', settings.blockBytes, SECTOR_BYTES, MIB);
  if (settings.blockBytes % SECTOR_BYTES !== 0) {
    throw invalid(`block of ${settings.blockBytes} bytes: must be a multiple of ${SECTOR_BYTES}`);
  }
  whole('depth', settings.depth, 1, 256);
  within('seconds', settings.seconds, 0.01, 3600);
  whole('runs', settings.runs, 1, 1000);
  whole('seed', settings.seed, 0, 2 ** 32 - 1);
  if (options.spanBytes !== undefined) spanOf(options.spanBytes, settings);
  return settings;
}

/** A span in whole blocks, checked against what the settings need. Throws KenshoError INVALID_OPTION. */
export function spanOf(bytes: number, settings: Settings): number {
  const span = Math.floor(bytes / settings.blockBytes) * settings.blockBytes;
  const needed = settings.blockBytes * settings.depth * BLOCKS_PER_REQUEST_IN_FLIGHT;
  if (span < needed) {
    throw invalid(
      `span of ${bytes} bytes: ${settings.depth} requests of ${settings.blockBytes} bytes in flight need at least ${needed}`,
    );
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

function whole(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value)) throw invalid(`${what} of ${value}: must be a whole number`);
  within(what, value, least, most);
}

function within(what: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most))
    throw invalid(`${what} of ${value}: must be from ${least} to ${most}`);
}

function invalid(message: string): KenshoError {
  return new KenshoError('INVALID_OPTION', message);
}
