import type { MeasurementRequest } from '../request.ts';
import { takeKitNetSample } from './kit-sample.ts';
import { measureLinuxNet } from './linux-measurement.ts';
import type { NetJob } from './options.ts';
import type { NetSample } from './results.ts';

/** Two guests' life on one switch. */
export type NetRequest = MeasurementRequest<NetJob>;

/** Takes samples of two guests. */
export async function measureNet(
  request: NetRequest,
  onProgress: (now: string) => void,
): Promise<NetSample[]> {
  if (request.guest === 'linux' && request.linux !== undefined)
    return measureLinuxNet(request, request.linux, onProgress);
  const samples: NetSample[] = [];
  for (const [index, job] of request.jobs.entries()) {
    onProgress(job.workload);
    samples.push(await takeKitNetSample({ ...request, order: request.order + index }, job));
  }
  return samples;
}
