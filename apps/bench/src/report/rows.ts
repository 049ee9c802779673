import { driverShare } from '../linux/profile.ts';
import { type Job, jobName } from '../options.ts';
import type { Figures, Ratio, StorageReport } from '../results.ts';
import { estimate, number } from './format.ts';

/** One line of the comparison, as both the terminal and the page show it. */
export interface Row {
  readonly label: string;
  /** One for each path, in the report's order. */
  readonly values: readonly string[];
  /** Enlightened over emulated; empty where it says nothing. */
  readonly ratio: string;
  /** Measured in time, counted, part of another count, or projected. */
  readonly kind: 'time' | 'count' | 'detail' | 'projection';
}

/** All lines of one job. */
export function rowsOf(report: StorageReport, job: Job): Row[] {
  const name = jobName(job);
  const figures = report.settings.paths.map((path) => {
    const found = report.figures.find((one) => one.path === path && jobName(one.job) === name);
    if (found === undefined) throw new RangeError(`the report has no figures for ${name}, ${path}`);
    return found;
  });
  const ratios = report.ratios.find((one) => jobName(one.job) === name);
  const timed = (label: string, of: (one: Figures) => string, ratio: (one: Ratio) => string): Row => ({
    label,
    values: figures.map(of),
    ratio: ratios === undefined ? '' : ratio(ratios),
    kind: 'time',
  });
  const counted = (label: string, of: (one: Figures) => number, kind: Row['kind'] = 'count'): Row => ({
    label,
    values: figures.map((one) => number(of(one))),
    ratio: ratios === undefined ? '' : ratioOfCounts(figures, of),
    kind,
  });
  const kinds = INTERCEPT_LABELS.filter(([kind]) =>
    figures.some((one) => one.perOperation.intercepts[kind] > 0),
  );
  const calls = [...new Set(figures.flatMap((one) => Object.keys(one.perOperation.hypercalls)))].sort();
  const profiled = figures.flatMap(({ profile }) => Object.entries(profile ?? {}));
  const places = [...new Set(profiled.filter(([, share]) => share >= SHOWN_SHARE).map(([place]) => place))];
  return [
    timed(
      'throughput, MB/s',
      (one) => estimate(one.throughputBytesPerSecond, 1e6),
      (one) => estimate(one.throughput, 1, '×'),
    ),
    timed(
      'operations/s',
      (one) => estimate(one.operationsPerSecond),
      (one) => estimate(one.throughput, 1, '×'),
    ),
    timed(
      'latency p50, µs',
      (one) => estimate(one.latencyP50Ns, 1e3),
      (one) => estimate(one.latencyP50, 1, '×'),
    ),
    timed(
      'latency p99, µs',
      (one) => estimate(one.latencyP99Ns, 1e3),
      (one) => estimate(one.latencyP99, 1, '×'),
    ),
    timed(
      'CPU time, µs/op',
      (one) => estimate(one.cpuNsPerOperation, 1e3),
      (one) => estimate(one.cpuPerOperation, 1, '×'),
    ),
    counted('in flight, mean', (one) => one.inFlight.value, 'detail'),
    ...(profiled.length > 0
      ? [counted('guest instructions/op', (one) => one.perOperation.instructions)]
      : []),
    ...(profiled.length > 0
      ? [
          counted(
            'in the path’s own drivers',
            (one) => driverShare(one.path, one.profile ?? {}) * one.perOperation.instructions,
          ),
        ]
      : []),
    ...places.map((place) =>
      counted(
        PLACES[place] ?? `of which in ${place}`,
        (one) => (one.profile?.[place] ?? 0) * one.perOperation.instructions,
        'detail',
      ),
    ),
    counted('intercepts/op', (one) => one.perOperation.interceptsTotal),
    ...kinds.map(([kind, label]) => counted(label, (one) => one.perOperation.intercepts[kind], 'detail')),
    counted('hypercalls/op', (one) => one.perOperation.hypercallsTotal),
    ...calls.map((call) => counted(call, (one) => one.perOperation.hypercalls[call] ?? 0, 'detail')),
    counted('interrupts/op', (one) => one.perOperation.interrupts),
    counted('guest signals/op', (one) => one.perOperation.guestSignals, 'detail'),
    counted('bytes copied/op', (one) => one.perOperation.bytesCopied),
    counted('projected exits, µs/op', (one) => one.projection.microsecondsPerOperation, 'projection'),
  ];
}

/** A share of the guest's instructions below which a place is not worth a line. */
const SHOWN_SHARE = 0.01;
const PLACES: Readonly<Record<string, string>> = {
  programs: 'of which in programs',
  kernel: 'of which in the kernel itself',
};

/** Names of the kinds of intercepts, in the order in which they are shown. */
export const INTERCEPT_LABELS = [
  ['port', 'port'],
  ['mmio', 'MMIO'],
  ['msr', 'MSR'],
  ['cpuid', 'CPUID'],
  ['halt', 'halt'],
  ['hypercall', 'hypercall'],
] as const;

function ratioOfCounts(figures: readonly Figures[], of: (one: Figures) => number): string {
  const enlightened = figures.find((one) => one.path === 'enlightened');
  const emulated = figures.find((one) => one.path === 'emulated');
  if (enlightened === undefined || emulated === undefined || of(emulated) === 0) return '';
  return `${number(of(enlightened) / of(emulated))}×`;
}
