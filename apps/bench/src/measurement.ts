import { measureNet, type NetRequest } from './net/measurement.ts';
import type { Sample } from './results.ts';
import { measureStorage } from './storage/measurement.ts';
import type { StorageRequest } from './storage/request.ts';

/** What a process that takes samples is asked for, by the benchmark. */
export type MeasurementTask =
  | { readonly bench: 'storage'; readonly request: StorageRequest }
  | { readonly bench: 'net'; readonly request: NetRequest };

/**
 * Takes samples in this process: a new host, new partitions, new guests. Throws KenshoError VERIFICATION_FAILED where
 * what arrived is not what was sent, or read not what there was, and SAMPLE_FAILED where a guest did not get as far as
 * that.
 *
 * @param onProgress - told what the guest does now
 */
export function measure(task: MeasurementTask, onProgress: (now: string) => void): Promise<Sample[]> {
  return task.bench === 'storage'
    ? measureStorage(task.request, onProgress)
    : measureNet(task.request, onProgress);
}
