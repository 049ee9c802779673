import type { Job } from '../options.ts';
import type { Figures, Ratio, Report } from '../results.ts';
import type { Estimate } from '../stats/estimate.ts';
import type { Topic } from '../topic.ts';
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
export function rowsOf(report: Report, job: Job, topic: Topic): Row[] {
  const name = topic.jobName(job);
  const unit = topic.unitOf(job);
  const figures = report.settings.paths.map((path) => {
    const found = report.figures.find((one) => one.path === path && topic.jobName(one.job) === name);
    if (found === undefined) throw new RangeError(`the report has no figures for ${name}, ${path}`);
    return found;
  });
  const ratios = report.ratios.find((one) => topic.jobName(one.job) === name);
  /** No row where there is no such figure. */
  const timed = (
    label: string,
    of: (one: Figures) => Estimate | undefined,
    per: number,
    ratio: (one: Ratio) => Estimate | undefined,
  ): Row[] => {
    const values = figures.map(of).filter((value) => value !== undefined);
    const times = ratios && ratio(ratios);
    if (values.length < figures.length) return [];
    return [
      {
        label,
        values: values.map((value) => estimate(value, per)),
        ratio: times === undefined ? '' : estimate(times, 1, '×'),
        kind: 'time',
      },
    ];
  };
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
  const { throughput } = topic;
  const own = Object.keys(figures[0].perOperation.own ?? {});
  return [
    ...timed(
      `throughput, ${throughput.unit}`,
      (one) => one.throughputBytesPerSecond,
      throughput.bytesPerSecond,
      (one) => one.throughput,
    ),
    ...timed(
      `${RATE_LABELS[unit] ?? unit}s/s`,
      (one) => one.operationsPerSecond,
      1,
      (one) => one.throughput,
    ),
    ...timed(
      'lost, %',
      (one) => one.lossRate,
      0.01,
      () => undefined,
    ),
    ...timed(
      'latency p50, µs',
      (one) => one.latencyP50Ns,
      1e3,
      (one) => one.latencyP50,
    ),
    ...timed(
      'latency p99, µs',
      (one) => one.latencyP99Ns,
      1e3,
      (one) => one.latencyP99,
    ),
    ...timed(
      `CPU time, µs/${unit}`,
      (one) => one.cpuNsPerOperation,
      1e3,
      (one) => one.cpuPerOperation,
    ),
    ...(figures.every(({ inFlight }) => inFlight !== undefined)
      ? [counted('in flight, mean', (one) => one.inFlight?.value ?? 0, 'detail')]
      : []),
    ...(profiled.length > 0
      ? [
          counted(`guest instructions/${unit}`, (one) => one.perOperation.instructions),
          counted(
            'in the path’s own drivers',
            (one) => driverShare(one, topic) * one.perOperation.instructions,
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
    counted(`intercepts/${unit}`, (one) => one.perOperation.interceptsTotal),
    ...kinds.map(([kind, label]) => counted(label, (one) => one.perOperation.intercepts[kind], 'detail')),
    counted(`hypercalls/${unit}`, (one) => one.perOperation.hypercallsTotal),
    ...calls.map((call) => counted(call, (one) => one.perOperation.hypercalls[call] ?? 0, 'detail')),
    counted(`interrupts/${unit}`, (one) => one.perOperation.interrupts),
    counted(`guest signals/${unit}`, (one) => one.perOperation.guestSignals, 'detail'),
    counted(`bytes copied/${unit}`, (one) => one.perOperation.bytesCopied),
    ...own.map((label) => counted(`${label}/${unit}`, (one) => one.perOperation.own?.[label] ?? 0, 'detail')),
    counted(`projected exits, µs/${unit}`, (one) => one.projection.microsecondsPerOperation, 'projection'),
  ];
}

/** Units that are written out where the row is about nothing else. */
const RATE_LABELS: Readonly<Record<string, string>> = { op: 'operation' };

/** What share of the guest's instructions a path's own drivers took. */
function driverShare({ path, profile }: Figures, { drivers }: Topic): number {
  return drivers[path].reduce((sum, module) => sum + (profile?.[module] ?? 0), 0);
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
