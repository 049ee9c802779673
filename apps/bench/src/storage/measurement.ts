import { takeKitSample } from './kit-sample.ts';
import { measureLinux } from './linux-measurement.ts';
import type { StorageRequest } from './request.ts';
import type { StorageSample } from './results.ts';
import { openSpan } from './span.ts';

/**
 * Takes samples of one guest; a copy-on-write overlay keeps the image as it is. Throws KenshoError VERIFICATION_FAILED where the guest read anything but what the host reads, and
 * SAMPLE_FAILED where the guest did not get as far as that.
 *
 * @param onProgress - told what the guest does now
 */
export async function measureStorage(
  request: StorageRequest,
  onProgress: (now: string) => void,
): Promise<StorageSample[]> {
  if (request.guest === 'linux' && request.linux !== undefined)
    return measureLinux(request, request.linux, onProgress);
  const samples: StorageSample[] = [];
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
