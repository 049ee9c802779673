import { takeKitSample } from './kit-sample.ts';
import { measureLinux } from './linux/linux-measurement.ts';
import type { MeasurementRequest } from './request.ts';
import type { Sample } from './results.ts';
import { openSpan } from './span.ts';

/**
 * Takes samples in this process: a new host, a new partition, a new guest; a copy-on-write overlay keeps the image
 * as it is. Throws KenshoError VERIFICATION_FAILED where the guest read anything but what the host reads, and
 * SAMPLE_FAILED where the guest did not get as far as that.
 *
 * @param onProgress - told what the guest does now
 */
export async function measure(
  request: MeasurementRequest,
  onProgress: (now: string) => void,
): Promise<Sample[]> {
  if (request.guest === 'linux' && request.linux !== undefined)
    return measureLinux(request, request.linux, onProgress);
  const samples: Sample[] = [];
  for (const [index, job] of request.jobs.entries()) {
    onProgress(job.workload);
    const disk = await openSpan(request);
    try {
      samples.push(await takeKitSample(disk, { ...request, order: request.order + index }, job));
    } finally {
      await disk.close();
    }
  }
  return samples;
}
