import {
  type BenchGuest,
  type BenchOptions,
  type BenchSettings,
  benchSettings,
  type Job,
  subset,
  whole,
} from '../options.ts';

/**
 * What the two guests do, one of them sending:
 *
 * - `tcp-stream`: a stream of bytes, as many at once as TCP's segmentation offload takes;
 * - `tcp-rr`: a small request and its answer, one at a time;
 * - `udp-stream`: datagrams that fill a frame;
 * - `udp-small`: datagrams of the least size.
 */
export type NetWorkload = 'tcp-stream' | 'tcp-rr' | 'udp-stream' | 'udp-small';
export const NET_WORKLOADS: readonly NetWorkload[] = ['tcp-stream', 'tcp-rr', 'udp-stream', 'udp-small'];

/** One measurement. */
export interface NetJob extends Job {
  readonly workload: NetWorkload;
}

/**
 * What one packet carries: of TCP what fits into 1500 bytes beside its timestamps, of UDP what fills 1500 bytes or the
 * least frame.
 */
export const PAYLOAD_BYTES: Readonly<Record<NetWorkload, number>> = {
  'tcp-stream': 1448,
  'tcp-rr': 16,
  'udp-stream': 1472,
  'udp-small': 18,
};

/** What to measure, and how. */
export interface NetBenchOptions extends BenchOptions {
  /** @default all */
  readonly workloads?: readonly NetWorkload[];
  /** @default 0.5; 3 for Linux */
  readonly seconds?: number;
  /** @default 5; 2 for Linux */
  readonly runs?: number;
}

/** The same with every default in place. */
export type NetSettings = BenchSettings<NetJob>;

const DEFAULTS: Readonly<Record<BenchGuest, { seconds: number; runs: number }>> = {
  kit: { seconds: 0.5, runs: 5 },
  // Two boots for each run and path.
  linux: { seconds: 3, runs: 2 },
};

/** Applies the defaults and checks the bounds. Throws KenshoError INVALID_OPTION with what is allowed. */
export function netSettingsOf(options: NetBenchOptions): NetSettings {
  const workloads = options.workloads ?? NET_WORKLOADS;
  subset('workload', workloads, NET_WORKLOADS);
  const settings = benchSettings(options, DEFAULTS, () => workloads.map((workload) => ({ workload })));
  // The tools in it take no fractions.
  if (settings.guest === 'linux') whole('seconds', settings.seconds, 1, 3600);
  return settings;
}
