import { chipsetPlugin } from '@kensho/chipset';
import { createHost, createLogger, type DeviceSpec, KenshoError, type PartitionConfig } from '@kensho/core';
import { type Disk, IdeDriver, StorageVsc, storagePlugin } from '@kensho/devices-storage';
import { guestKitPlugin } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { type GuestResult, RESULT_PREFIX, storageProgram } from './kit-workload.ts';
import { type MarkedWindow, markerPlugin } from './marker.ts';
import { type Job, jobName } from './options.ts';
import type { MeasurementRequest } from './request.ts';
import type { Sample } from './results.ts';
import { hashSpan } from './span.ts';

const MIB = 1024 * 1024;
/** The kernel, its drivers' rings, and the buffer of the sweeps. */
const GUEST_BASE_BYTES = 64 * MIB;
/** The bus has been quiet for long by then: a host signals once more 100 ms after an open. */
const WARM_UP_NS = 300e6;
const WARM_UP_OPERATIONS = 20_000;

/** What a sample of a kit guest needs to know. */
export type KitSampleRequest = Pick<
  MeasurementRequest,
  'imageSha256' | 'spanBytes' | 'path' | 'run' | 'order' | 'seconds' | 'seed'
>;

/**
 * Runs a kit guest on a disk, which is written to. Throws KenshoError VERIFICATION_FAILED and SAMPLE_FAILED as
 * `measure` does.
 */
export async function takeKitSample(disk: Disk, request: KitSampleRequest, job: Job): Promise<Sample> {
  const { result, window } = await runGuest(disk, request, job);
  const failed = (what: string) =>
    new KenshoError('VERIFICATION_FAILED', `${jobName(job)}, ${request.path}: ${what}`);
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
    counters: window.counters,
    verification: { imageSha256, checkedReads, checkedBlocks, writtenSha256 },
  };
}

async function runGuest(
  disk: Disk,
  request: KitSampleRequest,
  job: Job,
): Promise<{ result: GuestResult; window: MarkedWindow }> {
  const complaints: string[] = [];
  const host = await createHost({
    plugins: [chipsetPlugin, vmbusPlugin, storagePlugin, guestKitPlugin, markerPlugin],
    logger: createLogger((level, scope, message, fields) => {
      if (level === 'warn' || level === 'error') complaints.push(`${scope}: ${message} ${describe(fields)}`);
    }),
  });
  try {
    let result: GuestResult | undefined;
    let window: MarkedWindow | undefined;
    const partition = await host.createPartition(
      partitionOf(
        disk,
        request,
        job,
        (line) => {
          if (line.startsWith(RESULT_PREFIX)) result = JSON.parse(line.slice(RESULT_PREFIX.length));
          else complaints.push(line);
        },
        (marked) => {
          window = marked;
        },
      ),
    );
    const end = await partition.run();
    await partition.close();
    if (end.reason === 'guest-ended' && result !== undefined && window !== undefined)
      return { result, window };
    const why = complaints.length === 0 ? '' : `: ${complaints.join('; ')}`;
    throw new KenshoError('SAMPLE_FAILED', `${jobName(job)}, ${request.path}: ${end.reason}${why}`);
  } finally {
    await host.close();
  }
}

/** The same partition, disk and program on both paths: what differs is whether integration services are installed. */
function partitionOf(
  disk: Disk,
  request: KitSampleRequest,
  { workload, blockBytes, depth }: Job,
  onLine: (line: string) => void,
  onWindow: (window: MarkedWindow) => void,
): PartitionConfig {
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
    processor: 'kit',
    memoryBytes: Math.ceil(memoryBytes / MIB) * MIB,
    devices: [
      { kind: 'kit-console', id: 'console', options: { onLine } },
      { kind: 'bench-marker', id: 'marker', options: { onWindow } },
      storage,
    ],
    guest: {
      kind: 'kit',
      options: {
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
      },
    },
  };
}

function describe(fields: unknown): string {
  return fields === undefined
    ? ''
    : JSON.stringify(fields, (_key, value) => (value instanceof Error ? value.stack : value));
}
