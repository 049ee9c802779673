import { KenshoError } from '@kensho/core';
import type { BenchPath, Job } from './options.ts';
import type { Report, Sample } from './results.ts';
import { type Estimate, ratioEstimate } from './stats/estimate.ts';
import { seededRandom } from './stats/random.ts';
import { leastRankSumP, rankSumTest } from './stats/rank-sum.ts';
import { cpuNsPerOperation, hasLatency, latencyOf, operationsPerSecond } from './summary.ts';
import type { Topic } from './topic.ts';
import { topicOf } from './topics.ts';

/** A difference is called one where chance alone would show it less often than this. */
const SIGNIFICANCE = 0.05;

/** What is compared. */
export type Metric = 'throughput' | 'latencyP50' | 'latencyP99' | 'cpuPerOperation';
const METRICS: Readonly<Record<Metric, { better: 'more' | 'less'; of(sample: Sample): number }>> = {
  throughput: { better: 'more', of: operationsPerSecond },
  latencyP50: { better: 'less', of: latencyOf('p50') },
  latencyP99: { better: 'less', of: latencyOf('p99') },
  cpuPerOperation: { better: 'less', of: cpuNsPerOperation },
};

const METRIC_NAMES = Object.keys(METRICS) as readonly Metric[];

/**
 * - `better`, `worse`: B differs from A, and how;
 * - `same`: no difference was found, which is not to say that there is none;
 * - `too-few`: so few samples that no difference, however large, could be told from chance.
 */
export type Verdict = 'better' | 'worse' | 'same' | 'too-few';

/** One metric of one job on one path in both runs. */
export interface Comparison {
  readonly job: Job;
  readonly path: BenchPath;
  readonly metric: Metric;
  readonly samplesA: number;
  readonly samplesB: number;
  /** How many times A's value B's is. */
  readonly ratio: Estimate;
  /** Of the two-sided rank-sum test. */
  readonly p: number;
  readonly verdict: Verdict;
}

/** Two runs side by side. */
export interface RunComparison {
  /** Names the shape; each benchmark has its own. */
  readonly schema: string;
  readonly a: { readonly created: string; readonly version: string };
  readonly b: { readonly created: string; readonly version: string };
  /** Facts of the environment that differ: `cpu: X / Y`. */
  readonly environmentDifferences: readonly string[];
  readonly comparisons: readonly Comparison[];
  readonly differing: number;
}

/**
 * Compares two runs of the same settings, sample against sample. The samples of two runs are not paired, so that the
 * test is one of ranks. Throws KenshoError SETTINGS_DIFFER, naming what differs.
 */
export function compareReports(a: Report, b: Report): RunComparison {
  const topic = topicOf(a);
  checkSettings(a, b, topic);
  const random = seededRandom(a.settings.seed);
  const { jobs, paths } = a.settings;
  const comparisons = jobs.flatMap((job) =>
    paths.flatMap((path) => {
      const own = ({ samples }: Report) =>
        samples.filter((sample) => topic.jobName(sample.job) === topic.jobName(job) && sample.path === path);
      const waited = [...own(a), ...own(b)].every(hasLatency);
      const metrics = waited ? METRIC_NAMES : METRIC_NAMES.filter((name) => !name.startsWith('latency'));
      return metrics.map((metric): Comparison => {
        const { better, of } = METRICS[metric];
        const valuesA = own(a).map(of);
        const valuesB = own(b).map(of);
        const ratio = ratioEstimate(valuesA, valuesB, random);
        const p = rankSumTest(valuesA, valuesB);
        let verdict: Verdict = 'same';
        if (leastRankSumP(valuesA.length, valuesB.length) >= SIGNIFICANCE) verdict = 'too-few';
        else if (p < SIGNIFICANCE) verdict = ratio.value > 1 === (better === 'more') ? 'better' : 'worse';
        return {
          job,
          path,
          metric,
          samplesA: valuesA.length,
          samplesB: valuesB.length,
          ratio,
          p,
          verdict,
        };
      });
    }),
  );
  return {
    schema: topic.comparisonSchema,
    a: { created: a.created, version: a.version },
    b: { created: b.created, version: b.version },
    environmentDifferences: differences(a.environment, b.environment),
    comparisons,
    differing: comparisons.filter(({ verdict }) => verdict === 'better' || verdict === 'worse').length,
  };
}

function checkSettings(a: Report, b: Report, topic: Topic): void {
  if (a.schema !== b.schema) {
    throw new KenshoError('SETTINGS_DIFFER', `the runs are of two benchmarks: ${a.schema} and ${b.schema}`);
  }
  // More runs are more samples, not another experiment; the seed only chooses which blocks.
  const { runs: _runsA, seed: _seedA, jobs: jobsA, ...settingsA } = a.settings;
  const { runs: _runsB, seed: _seedB, jobs: jobsB, ...settingsB } = b.settings;
  const names = (jobs: readonly Job[]) => ({ jobs: jobs.map((job) => topic.jobName(job)).join(', ') });
  const found = [
    ...differences(names(jobsA), names(jobsB)),
    ...differences(settingsA, settingsB),
    ...differences({ guest: a.guest }, { guest: b.guest }),
    ...differences(topic.comparable(a), topic.comparable(b)),
  ];
  if (found.length > 0) {
    throw new KenshoError(
      'SETTINGS_DIFFER',
      `the runs cannot be compared, their settings differ: ${found.join('; ')}`,
    );
  }
}

function differences(a: object, b: object): string[] {
  const left = new Map(Object.entries(a));
  const right = new Map(Object.entries(b));
  return [...new Set([...left.keys(), ...right.keys()])]
    .filter((key) => JSON.stringify(left.get(key)) !== JSON.stringify(right.get(key)))
    .map((key) => `${key}: ${left.get(key)} / ${right.get(key)}`);
}
