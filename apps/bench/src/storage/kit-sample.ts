import { type DeviceSpec, KenshoError } from '@kensho/core';
import { type Disk, IdeDriver, StorageVsc, storagePlugin } from '@kensho/devices-storage';
import { type KitGuest, runKitGuests } from '../kit-guests.ts';
import { type GuestResult, storageProgram } from './kit-workload.ts';
import { jobName, type StorageJob } from './options.ts';
import type { StorageSampleRequest } from './request.ts';
import type { StorageSample } from './results.ts';
import { hashSpan } from './span.ts';

const MIB = 1024 * 1024;
/** The kernel, its drivers' rings, and the buffer of the sweeps. */
const GUEST_BASE_BYTES = 64 * MIB;
/** The bus has been quiet for long by then: a host signals once more 100 ms after an open. */
const WARM_UP_NS = 300e6;
const WARM_UP_OPERATIONS = 20_000;

/**
 * Runs a kit guest on a disk, which is written to. Throws KenshoError VERIFICATION_FAILED and SAMPLE_FAILED as
 * `measure` does.
 */
export async function takeKitSample(
  disk: Disk,
  request: StorageSampleRequest,
  job: StorageJob,
): Promise<StorageSample> {
  const what = `${jobName(job)}, ${request.path}`;
  const { results, window } = await runKitGuests(what, [storagePlugin], [guestOf(disk, request, job)]);
  const result = results[0] as GuestResult;
  const failed = (how: string) => new KenshoError('VERIFICATION_FAILED', `${what}: ${how}`);
  if (result.path !== request.path) throw failed(`the guest took the ${result.path} path`);
  if (result.imageSha256 !== request.imageSha256)
    throw failed('the guest read another image than the host did');
  if (result.writtenSha256 !== undefined) {
    const read = await hashSpan(disk, request.spanBytes);
    if (read !== result.writtenSha256)
      throw failed('the guest and the host read different data after the writes');
  }
  if (result.operations === 0) throw new KenshoError('SAMPLE_FAILED', 'no operation ended within the window');
  const { path, imageSha256, checkedReads, checkedBlocks, writtenSha256, ...measured } = result;
  return {
    path,
    job,
    run: request.run,
    order: request.order,
    ...measured,
    countedOperations: measured.operations,
    cpuNs: window.cpuNs,
    counters: window.counters[0],
    verification: { imageSha256, checkedReads, checkedBlocks, writtenSha256 },
  };
}

/** The same partition, disk and program on both paths: what differs is whether integration services are installed. */
function guestOf(
  disk: Disk,
  request: StorageSampleRequest,
  { workload, blockBytes, depth }: StorageJob,
): KitGuest {
  const { path, spanBytes, seed, run } = request;
  const storage: DeviceSpec =
    path === 'enlightened'
      ? { kind: 'scsi', id: 'scsi0', options: { luns: [{ lun: 0, disk, kind: 'disk' }] } }
      : {
          kind: 'ide',
          id: 'ide0',
          options: { drives: [{ channel: 0, position: 'master', disk, kind: 'disk' }] },
        };
  const memoryBytes = GUEST_BASE_BYTES + depth * Math.max(blockBytes, 4096);
  return {
    name: 'bench',
    memoryBytes: Math.ceil(memoryBytes / MIB) * MIB,
    devices: [storage],
    drivers: {
      vscs: path === 'enlightened' ? [new StorageVsc()] : [],
      pci: [new IdeDriver()],
      ports: [],
    },
    main: storageProgram({
      workload,
      blockBytes,
      depth,
      spanBytes,
      warmUpNs: WARM_UP_NS,
      warmUpOperations: WARM_UP_OPERATIONS,
      windowNs: request.seconds * 1e9,
      // Both paths of a pair get the same requests, each run others.
      seed: seed + run,
    }),
  };
}
