import type { BenchGuest, BenchPath, Job, LinuxGuestFiles } from './options.ts';

/** One guest's life on one path, and the samples to take in it; plain data, as it goes to another process. */
export interface MeasurementRequest<J extends Job = Job> {
  readonly guest: BenchGuest;
  /** Paths of the files of a guest that was built; for Linux. */
  readonly linux: LinuxGuestFiles | undefined;
  readonly path: BenchPath;
  readonly jobs: readonly J[];
  readonly run: number;
  /** Place of the first sample in the order in which samples are taken. */
  readonly order: number;
  readonly seconds: number;
  readonly seed: number;
}

/** What a sample of a kit guest needs to know. */
export type KitSampleRequest = Pick<MeasurementRequest, 'path' | 'run' | 'order' | 'seconds' | 'seed'>;
