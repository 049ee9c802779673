import Table from 'cli-table3';
import pc from 'picocolors';
import type { Metric, RunComparison, Verdict } from '../compare.ts';
import type { Report } from '../results.ts';
import type { Topic } from '../topic.ts';
import { comparisonTopicOf, topicOf } from '../topics.ts';
import { busyNote, estimate, isBusy, number } from './format.ts';
import { INTERCEPT_LABELS, rowsOf } from './rows.ts';

const PLAIN = {
  chars: { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' },
  style: { head: [], border: [], 'padding-left': 1, 'padding-right': 1 },
};

/** The report for a terminal: both paths side by side, then the intercepts by kind. */
export function renderTable(report: Report): string {
  const topic = topicOf(report);
  const { runs, seconds } = report.settings;
  return [
    topic.words.setup(report),
    figuresTable(report, topic),
    `Medians of ${runs} run${runs === 1 ? '' : 's'} of ${seconds} s [95 % interval]; ratio: enlightened / emulated.`,
    'Time is of guest code and host together, which share one thread. Counts are the hypervisor’s.',
    'Projected exits: events counted × published cost of each on hardware; not measured (see the report).',
    '',
    `Intercepts per ${topic.unit}, by kind`,
    interceptsTable(report, topic),
    ...(isBusy(report) ? [pc.yellow(busyNote(report))] : []),
    `${pc.green('Verified')}: ${topic.words.verified(report)}`,
  ].join('\n');
}

function figuresTable(report: Report, topic: Topic): string {
  const { paths, jobs } = report.settings;
  const columns = [...paths, ...(report.ratios.length > 0 ? ['ratio'] : [])];
  const table = new Table({
    ...PLAIN,
    head: ['', ...columns].map((text) => pc.bold(text)),
    colAligns: ['left', 'right', 'right', 'right'],
  });
  for (const job of jobs) {
    table.push([pc.bold(pc.cyan(topic.jobName(job))), ...columns.map(() => '')]);
    for (const { label, values, ratio, kind } of rowsOf(report, job, topic)) {
      if (kind === 'detail') continue;
      const cells = [`  ${label}`, ...values, ratio].slice(0, 1 + columns.length);
      table.push(kind === 'projection' ? cells.map(pc.dim) : cells);
    }
  }
  return table.toString();
}

function interceptsTable(report: Report, topic: Topic): string {
  const table = new Table({
    ...PLAIN,
    head: ['', '', ...INTERCEPT_LABELS.map(([, label]) => label)].map((text) => pc.bold(text)),
    colAligns: ['left', 'left', ...INTERCEPT_LABELS.map(() => 'right' as const)],
  });
  for (const { job, path, perOperation } of report.figures) {
    table.push([
      topic.jobName(job),
      path,
      ...INTERCEPT_LABELS.map(([kind]) => number(perOperation.intercepts[kind])),
    ]);
  }
  return table.toString();
}

const PAINT: Readonly<Record<Verdict, (text: string) => string>> = {
  better: pc.green,
  worse: pc.red,
  same: (text) => text,
  'too-few': pc.yellow,
};
const METRIC_LABELS: Readonly<Record<Metric, string>> = {
  throughput: 'throughput',
  latencyP50: 'latency p50',
  latencyP99: 'latency p99',
  cpuPerOperation: 'CPU time/op',
};

/** A comparison as a table and a verdict for a terminal. */
export function renderComparison(comparison: RunComparison): string {
  const topic = comparisonTopicOf(comparison);
  const table = new Table({
    ...PLAIN,
    head: ['job', 'path', 'metric', 'B / A', 'p', 'verdict'].map((text) => pc.bold(text)),
    colAligns: ['left', 'left', 'left', 'right', 'right', 'left'],
  });
  for (const { job, path, metric, ratio, p, verdict } of comparison.comparisons) {
    const cells = [
      topic.jobName(job),
      path,
      METRIC_LABELS[metric],
      estimate(ratio, 1, '×'),
      number(p),
      verdictText(verdict),
    ];
    table.push(cells.map(PAINT[verdict]));
  }
  const { comparisons, differing } = comparison;
  const tooFew = comparisons.some(({ verdict }) => verdict === 'too-few');
  return [
    `A: ${comparison.a.created}   B: ${comparison.b.created}`,
    ...comparison.environmentDifferences.map((text) => pc.yellow(`not the same environment: ${text}`)),
    table.toString(),
    tooFew
      ? 'Too few runs to tell any difference from chance: at least 4 in each file are needed, more are better.'
      : `${differing} of ${comparisons.length} differ (rank-sum test, p < 0.05); about ${number(comparisons.length * 0.05)} would by chance.`,
  ].join('\n');
}

function verdictText(verdict: Verdict): string {
  return {
    better: 'B is better',
    worse: 'B is worse',
    same: 'no difference found',
    'too-few': 'too few runs',
  }[verdict];
}
