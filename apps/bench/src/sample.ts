import { createHash } from 'node:crypto';
import { chipsetPlugin } from '@kensho/chipset';
import { createHost, createLogger, type DeviceSpec, KenshoError, type PartitionConfig } from '@kensho/core';
import {
  createOverlay,
  createRamDisk,
  type Disk,
  IdeDriver,
  openDisk,
  StorageVsc,
  storagePlugin,
} from '@kensho/devices-storage';
import { guestKitPlugin } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { type GuestResult, RESULT_PREFIX, storageProgram } from './guest-workload.ts';
import { type MarkedWindow, markerPlugin } from './marker.ts';
import type { BenchPath, Workload } from './options.ts';
import type { Sample } from './results.ts';

/** One sample to take; plain data, as it goes to another process. */
export interface SampleRequest {
  readonly imagePath: string;
  readonly imageFormat: string;
  /** Of the span, as the host read it. */
  readonly imageSha256: string;
  readonly spanBytes: number;
  readonly path: BenchPath;
  readonly workload: Workload;
  readonly run: number;
  readonly order: number;
  readonly blockBytes: number;
  readonly depth: number;
  readonly seconds: number;
  readonly memory: boolean;
  readonly seed: number;
}

const MIB = 1024 * 1024;
/** The kernel, its drivers' rings, and the buffer of the sweeps. */
const GUEST_BASE_BYTES = 64 * MIB;
/** The bus has been quiet for long by then: a host signals once more 100 ms after an open. */
const WARM_UP_NS = 300e6;
const WARM_UP_OPERATIONS = 20_000;
const HASH_CHUNK_BYTES = MIB;

/**
 * Takes one sample in this process: a new host, a new partition, a new guest; a copy-on-write overlay keeps the image
 * as it is. Throws KenshoError VERIFICATION_FAILED where the guest read anything but what the host reads, and
 * SAMPLE_FAILED where the guest did not get as far as that.
 */
export async function takeSample(request: SampleRequest): Promise<Sample> {
  const disk = await openSpan(request);
  try {
    return await takeSampleOn(disk, request);
  } finally {
    await disk.close();
  }
}

/** The same on a disk that is open already and stays open; it is written to. */
export async function takeSampleOn(disk: Disk, request: SampleRequest): Promise<Sample> {
  const { result, window } = await runGuest(request, disk);
  const failed = (what: string) =>
    new KenshoError('VERIFICATION_FAILED', `${request.workload}, ${request.path}: ${what}`);
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
    workload: request.workload,
    run: request.run,
    order: request.order,
    ...measured,
    cpuNs: window.cpuNs,
    counters: window.counters,
    verification: { imageSha256, checkedReads, checkedBlocks, writtenSha256 },
  };
}

/** SHA-256 of the first `spanBytes` bytes of a disk, read at the host. */
export async function hashSpan(disk: Disk, spanBytes: number): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(HASH_CHUNK_BYTES, spanBytes));
  for (let offset = 0; offset < spanBytes; offset += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, spanBytes - offset));
    await disk.read(offset, [part]);
    hash.update(part);
  }
  return hash.digest('hex');
}

async function openSpan(request: SampleRequest): Promise<Disk> {
  const image = await openDisk(request.imagePath, { format: request.imageFormat, readOnly: true });
  if (!request.memory) return createOverlay(image);
  try {
    const { spanBytes } = request;
    const copy = createRamDisk({
      sizeBytes: spanBytes,
      id: image.id,
      logicalSectorBytes: image.logicalSectorBytes,
    });
    const buffer = new Uint8Array(HASH_CHUNK_BYTES);
    for (let offset = 0; offset < spanBytes; offset += buffer.length) {
      const part = [buffer.subarray(0, Math.min(buffer.length, spanBytes - offset))];
      await image.read(offset, part);
      await copy.write(offset, part);
    }
    return copy;
  } finally {
    await image.close();
  }
}

async function runGuest(
  request: SampleRequest,
  disk: Disk,
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
        request,
        disk,
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
    throw new KenshoError('SAMPLE_FAILED', `${request.workload}, ${request.path}: ${end.reason}${why}`);
  } finally {
    await host.close();
  }
}

/** The same partition, disk and program on both paths: what differs is whether integration services are installed. */
function partitionOf(
  request: SampleRequest,
  disk: Disk,
  onLine: (line: string) => void,
  onWindow: (window: MarkedWindow) => void,
): PartitionConfig {
  const { path, workload, blockBytes, depth, spanBytes, seed, run } = request;
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
