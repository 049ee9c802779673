export type { BenchControl, BenchProgress } from './bench-run.ts';
export {
  type Comparison,
  compareReports,
  type Metric,
  type RunComparison,
  type Verdict,
} from './compare.ts';
export { currentEnvironment, type Environment } from './environment.ts';
export { runNetBench } from './net/net-bench.ts';
export {
  NET_WORKLOADS,
  type NetBenchOptions,
  type NetJob,
  type NetSettings,
  type NetWorkload,
} from './net/options.ts';
export {
  NET_REPORT_SCHEMA,
  type NetReport,
  type NetSample,
  type NetVerification,
  parseNetReport,
} from './net/results.ts';
export {
  BENCH_GUESTS,
  type BenchGuest,
  type BenchOptions,
  type BenchPath,
  type BenchSettings,
  type Job,
  type LinuxGuestFiles,
  PATHS,
} from './options.ts';
export type { InterceptKind, PerOperation } from './per-operation.ts';
export { EXIT_COSTS, type ExitCost, PROJECTION_ASSUMPTIONS, type Projection } from './projection.ts';
export { renderHtml } from './report/html.ts';
export { renderComparison, renderTable } from './report/table.ts';
export type { Figures, Latency, Ratio, Report, Sample } from './results.ts';
export type { Estimate } from './stats/estimate.ts';
export {
  DEFAULT_SPAN_BYTES,
  jobName,
  type StorageBenchOptions,
  type StorageJob,
  type StorageSettings,
  WORKLOADS,
  type Workload,
} from './storage/options.ts';
export {
  type ImageFacts,
  parseStorageReport,
  STORAGE_REPORT_SCHEMA,
  type StorageReport,
  type StorageSample,
  type StorageVerification,
} from './storage/results.ts';
export { runStorageBench } from './storage/storage-bench.ts';
export { parseReport } from './topics.ts';
