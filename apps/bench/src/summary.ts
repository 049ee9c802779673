import type { CounterSnapshot } from '@kensho/core';
import { MARKER_REGION } from './marker.ts';
import type { BenchPath, BenchSettings, Job } from './options.ts';
import { INTERCEPT_KINDS, type InterceptKind } from './per-operation.ts';
import { project } from './projection.ts';
import type { Figures, Latency, Ratio, Sample } from './results.ts';
import { medianEstimate, pairedRatioEstimate } from './stats/estimate.ts';
import { seededRandom } from './stats/random.ts';
import type { Topic } from './topic.ts';

/** Port and MMIO regions that a hypervisor on hardware serves itself. */
const INTERRUPT_CONTROLLER_PORTS = /^intercept\.port\.pic$/;
const INTERRUPT_CONTROLLER_MMIO = /^intercept\.mmio\.(local-apic|ioapic)$/;
const GUEST_SIGNALS = /^vmbus\..+\.signals\.in$/;

/** Figures and ratios from raw samples; the same samples give the same numbers. */
export function summarise<J extends Job>(
  samples: readonly Sample<J>[],
  settings: BenchSettings<J>,
  topic: Topic<J>,
): { figures: Figures<J>[]; ratios: Ratio<J>[] } {
  const of = (job: J, path: BenchPath) =>
    samples
      .filter((sample) => topic.jobName(sample.job) === topic.jobName(job) && sample.path === path)
      .sort((a, b) => a.run - b.run);
  const random = seededRandom(settings.seed);
  const figures = settings.jobs.flatMap((job) =>
    settings.paths.map((path): Figures<J> => {
      const own = of(job, path);
      const estimate = (measure: (sample: Sample<J>) => number) => medianEstimate(own.map(measure), random);
      const waited = own.every(hasLatency);
      const { perOperation, projection } = countsOf(own, topic);
      return {
        path,
        job,
        samples: own.length,
        throughputBytesPerSecond: estimate(
          (sample) => operationsPerSecond(sample) * topic.bytesPerOperation(job),
        ),
        operationsPerSecond: estimate(operationsPerSecond),
        ...(waited && {
          latencyP50Ns: estimate(latencyOf('p50')),
          latencyP99Ns: estimate(latencyOf('p99')),
        }),
        cpuNsPerOperation: estimate(cpuNsPerOperation),
        ...(waited && {
          inFlight: estimate((sample) => (latencyOf('mean')(sample) * sample.operations) / sample.elapsedNs),
        }),
        ...(own.every(({ lostOperations }) => lostOperations !== undefined) && {
          lossRate: estimate(
            ({ lostOperations = 0, operations }) => lostOperations / (lostOperations + operations),
          ),
        }),
        perOperation,
        projection,
        ...meanProfile(own),
      };
    }),
  );
  const bothPaths = settings.paths.includes('enlightened') && settings.paths.includes('emulated');
  const ratios = !bothPaths
    ? []
    : settings.jobs.map((job): Ratio<J> => {
        const enlightened = of(job, 'enlightened');
        const emulated = of(job, 'emulated');
        const ratio = (measure: (sample: Sample<J>) => number) =>
          pairedRatioEstimate(enlightened.map(measure), emulated.map(measure), random);
        return {
          job,
          throughput: ratio(operationsPerSecond),
          ...([...enlightened, ...emulated].every(hasLatency) && {
            latencyP50: ratio(latencyOf('p50')),
            latencyP99: ratio(latencyOf('p99')),
          }),
          cpuPerOperation: ratio(cpuNsPerOperation),
        };
      });
  return { figures, ratios };
}

/** Operations of a sample per second of the guest's clock. */
export function operationsPerSecond(sample: Sample): number {
  return sample.operations / (sample.elapsedNs / 1e9);
}

/** Processor time of a sample for one operation. */
export function cpuNsPerOperation(sample: Sample): number {
  return sample.cpuNs / sample.countedOperations;
}

/** Whether somebody waited for answers in a sample. */
export function hasLatency({ latencyNs }: Sample): boolean {
  return latencyNs !== undefined;
}

/** A latency of samples that have them. */
export function latencyOf(name: keyof Latency): (sample: Sample) => number {
  return ({ latencyNs }) => latencyNs?.[name] ?? Number.NaN;
}

function countsOf(samples: readonly Sample[], topic: Topic): Pick<Figures, 'perOperation' | 'projection'> {
  const operations = samples.reduce((total, sample) => total + sample.countedOperations, 0);
  const totals = new Map<string, number>();
  for (const sample of samples) {
    for (const [name, count] of Object.entries(withoutMarker(sample.counters))) {
      totals.set(name, (totals.get(name) ?? 0) + count);
    }
  }
  const each = (matches: (name: string) => boolean) => {
    let total = 0;
    for (const [name, count] of totals) if (matches(name)) total += count;
    return total / operations;
  };
  const intercepts = Object.fromEntries(
    INTERCEPT_KINDS.map((kind) => [kind, each((name) => name === `intercept.${kind}`)]),
  ) as Record<InterceptKind, number>;
  const hypercalls = Object.fromEntries(
    [...totals]
      .filter(([name]) => name.startsWith('hypercall.'))
      .map(([name, count]) => [name.slice('hypercall.'.length), count / operations]),
  );
  const perOperation = {
    instructions: each((name) => name === 'run.instructions'),
    intercepts,
    interceptsTotal: Object.values(intercepts).reduce((sum, count) => sum + count, 0),
    hypercalls,
    hypercallsTotal: Object.values(hypercalls).reduce((sum, count) => sum + count, 0),
    interrupts: each((name) => name === 'interrupt.delivered'),
    guestSignals: each((name) => GUEST_SIGNALS.test(name)),
    bytesCopied: each((name) => name === 'copy.bytes'),
    ...(topic.counts.length > 0 && {
      own: Object.fromEntries(
        topic.counts.map(({ label, of }) => [
          label,
          samples.reduce((total, sample) => total + of(sample), 0) / operations,
        ]),
      ),
    }),
  };
  const projection = project(perOperation, {
    port: each((name) => INTERRUPT_CONTROLLER_PORTS.test(name)),
    mmio: each((name) => INTERRUPT_CONTROLLER_MMIO.test(name)),
  });
  return { perOperation, projection };
}

function meanProfile(samples: readonly Sample[]): Pick<Figures, 'profile'> {
  const profiles = samples.flatMap(({ profile }) => (profile ? [profile] : []));
  if (profiles.length === 0) return {};
  const places = new Map<string, number>();
  for (const profile of profiles) {
    for (const [place, share] of Object.entries(profile)) {
      places.set(place, (places.get(place) ?? 0) + share / profiles.length);
    }
  }
  return { profile: Object.fromEntries([...places].sort(([, a], [, b]) => b - a)) };
}

/** The marker's own intercepts are the benchmark's, not the workload's. */
function withoutMarker(counters: CounterSnapshot): CounterSnapshot {
  const own = `intercept.port.${MARKER_REGION}`;
  const { [own]: markers = 0, ...others } = counters;
  return { ...others, 'intercept.port': (others['intercept.port'] ?? 0) - markers };
}
