import type { BenchGuest, BenchPath, Job, LinuxGuestFiles } from './options.ts';

/** One guest's life on one path, and the samples to take in it; plain data, as it goes to another process. */
export interface MeasurementRequest {
  readonly guest: BenchGuest;
  /** Paths of the files of a guest that was built; for Linux. */
  readonly linux: LinuxGuestFiles | undefined;
  readonly imagePath: string;
  readonly imageFormat: string;
  /** Of the span, as the host read it. */
  readonly imageSha256: string;
  readonly spanBytes: number;
  readonly path: BenchPath;
  readonly jobs: readonly Job[];
  readonly run: number;
  /** Place of the first sample in the order in which samples are taken. */
  readonly order: number;
  readonly seconds: number;
  readonly memory: boolean;
  readonly seed: number;
}
