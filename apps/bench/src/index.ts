export {
  type Comparison,
  compareStorageReports,
  type Metric,
  STORAGE_COMPARISON_SCHEMA,
  type StorageComparison,
  type Verdict,
} from './compare.ts';
export { currentEnvironment, type Environment } from './environment.ts';
export {
  BENCH_GUESTS,
  type BenchGuest,
  type BenchPath,
  DEFAULT_SPAN_BYTES,
  type Job,
  jobName,
  type LinuxGuestFiles,
  PATHS,
  type Settings,
  type StorageBenchOptions,
  WORKLOADS,
  type Workload,
} from './options.ts';
export type { InterceptKind, PerOperation } from './per-operation.ts';
export { EXIT_COSTS, type ExitCost, PROJECTION_ASSUMPTIONS, type Projection } from './projection.ts';
export { renderHtml } from './report/html.ts';
export { renderComparison, renderTable } from './report/table.ts';
export {
  type Figures,
  type ImageFacts,
  type Latency,
  parseStorageReport,
  type Ratio,
  type Sample,
  STORAGE_REPORT_SCHEMA,
  type StorageReport,
  type Verification,
} from './results.ts';
export type { Estimate } from './stats/estimate.ts';
export { type BenchControl, type BenchProgress, runStorageBench } from './storage-bench.ts';
