import { KenshoError } from '@kensho/core';

/** How the guest reaches its device. */
export type BenchPath = 'enlightened' | 'emulated';
export const PATHS: readonly BenchPath[] = ['enlightened', 'emulated'];

/** Who does the I/O: a kit guest's own program, or Debian's Linux with the usual tool. */
export type BenchGuest = 'kit' | 'linux';
export const BENCH_GUESTS: readonly BenchGuest[] = ['kit', 'linux'];

/** A guest of Debian's Linux with the tools that a benchmark needs, as it was built. */
export interface LinuxGuestFiles {
  /** A path. */
  readonly kernel: string;
  /** A path. */
  readonly initrd: string;
  /** What it is made of, for the report: `Linux 6.1.0-1-amd64, fio 3.33-3`. */
  readonly description: string;
}

/** One measurement: what the guest does, and in which sizes. Each benchmark has jobs of its own. */
export interface Job {
  readonly workload: string;
}

/** What every benchmark can be told. */
export interface BenchOptions {
  /** @default 'kit' */
  readonly guest?: BenchGuest;
  /** For Linux. */
  readonly linux?: LinuxGuestFiles;
  /** @default both */
  readonly paths?: readonly BenchPath[];
  /** Length of the measured window of one sample, by the guest's clock. */
  readonly seconds?: number;
  /** Samples of each job on each path. */
  readonly runs?: number;
  /** Seed of everything random. @default 1 */
  readonly seed?: number;
}

/** The same with every default in place. */
export type BenchSettings<J extends Job = Job> = Required<Omit<BenchOptions, 'linux'>> & {
  readonly jobs: readonly J[];
};

/**
 * Applies the defaults and checks the bounds. Throws KenshoError INVALID_OPTION with what is allowed.
 *
 * @param defaults - what is different from guest to guest
 * @param jobs - of the guest
 */
export function benchSettings<J extends Job>(
  options: BenchOptions,
  defaults: Readonly<Record<BenchGuest, { readonly seconds: number; readonly runs: number }>>,
  jobs: (guest: BenchGuest) => readonly J[],
): BenchSettings<J> {
  const guest = options.guest ?? 'kit';
  subset('guest', [guest], BENCH_GUESTS);
  const settings = {
    guest,
    paths: options.paths ?? PATHS,
    jobs: jobs(guest),
    seconds: options.seconds ?? defaults[guest].seconds,
    runs: options.runs ?? defaults[guest].runs,
    seed: options.seed ?? 1,
  };
  if (guest === 'linux' && options.linux === undefined)
    throw invalid('no Linux guest: name the files of one that was built');
  subset('path', settings.paths, PATHS);
  within('seconds', settings.seconds, 0.01, 3600);
  whole('runs', settings.runs, 1, 1000);
  whole('seed', settings.seed, 0, 2 ** 32 - 1);
  return settings;
}

/** Checks that some of what there is was chosen, each once. Throws KenshoError INVALID_OPTION. */
export function subset<T extends string>(what: string, chosen: readonly T[], known: readonly T[]): void {
  if (chosen.length === 0) throw invalid(`no ${what} chosen: there are ${known.join(', ')}`);
  for (const one of chosen) {
    if (!known.includes(one)) throw invalid(`unknown ${what} '${one}': there are ${known.join(', ')}`);
  }
  if (new Set(chosen).size !== chosen.length) throw invalid(`a ${what} is named twice: ${chosen.join(',')}`);
}

/** Checks values of which each is wanted once. Throws KenshoError INVALID_OPTION. */
export function distinct(what: string, values: readonly number[], check: (value: number) => void): void {
  if (values.length === 0) throw invalid(`no ${what} chosen`);
  for (const value of values) check(value);
  if (new Set(values).size !== values.length) throw invalid(`a ${what} is named twice: ${values.join(',')}`);
}

export function whole(what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value)) throw invalid(`${what} of ${value}: must be a whole number`);
  within(what, value, least, most);
}

export function within(what: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most))
    throw invalid(`${what} of ${value}: must be from ${least} to ${most}`);
}

export function invalid(message: string): KenshoError {
  return new KenshoError('INVALID_OPTION', message);
}
