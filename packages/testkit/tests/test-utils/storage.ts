import { chipsetPlugin } from '@kensho/chipset';
import {
  type DeviceSpec,
  GUEST_BLOCK_DEVICES,
  type GuestBlockDevice,
  type GuestTask,
  type Guid,
} from '@kensho/core';
import {
  createRamDisk,
  type Disk,
  type IdeDriveOptions,
  IdeDriver,
  type IdeOptions,
  type ScsiControllerOptions,
  StorageVsc,
  storagePlugin,
} from '@kensho/devices-storage';
import type { KitKernel } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { expect } from 'vitest';
import { type GuestRun, guestFailure, Random } from '../../src/index.ts';

export const MIB: number = 1024 * 1024;
export const plugins = [vmbusPlugin, chipsetPlugin, storagePlugin];

/** A guest with the integration services, and one without. */
export const installed = () => ({ vscs: [new StorageVsc()], pci: [new IdeDriver()] });
export const legacy = () => ({ pci: [new IdeDriver()] });

let disks = 0;
export function ramDisk(sizeBytes: number = 4 * MIB): Disk {
  const id: Guid = `00000000-0000-4000-8000-${(++disks).toString(16).padStart(12, '0')}`;
  return createRamDisk({ sizeBytes, id });
}

/** A SCSI controller with these disks as its LUNs. */
export function scsi(
  disks: readonly Disk[],
  more: Partial<ScsiControllerOptions> = {},
  id = 'scsi0',
): DeviceSpec {
  const luns = disks.map((disk, lun) => ({ lun, kind: 'disk', disk }) as const);
  const options: ScsiControllerOptions = { luns, ...more };
  return { kind: 'scsi', id, options };
}

const PLACES = [
  { channel: 0, position: 'master' },
  { channel: 0, position: 'slave' },
  { channel: 1, position: 'master' },
  { channel: 1, position: 'slave' },
] as const;

/** An IDE controller with these disks, masters and slaves in order. */
export function ide(disks: readonly Disk[], more: Partial<IdeOptions> = {}): DeviceSpec {
  const drives: IdeDriveOptions[] = disks.map((disk, i) => ({ ...PLACES[i], kind: 'disk', disk }));
  return { kind: 'ide', id: 'ide0', options: { drives, ...more } };
}

export function pattern(seed: number, sizeBytes: number): Uint8Array {
  return new Random(seed).bytes(sizeBytes);
}

/** The guest's block devices, once there are that many. */
export function blockDevices(kernel: KitKernel, count: number): GuestTask<readonly GuestBlockDevice[]> {
  return kernel.waitForDevices(GUEST_BLOCK_DEVICES, count);
}

export function* write(
  kernel: KitKernel,
  device: GuestBlockDevice,
  offset: number,
  data: Uint8Array,
): GuestTask {
  const pages = kernel.allocate(data.length);
  pages.bytes.set(data);
  try {
    yield* device.write(offset / device.sectorSizeBytes, data.length / device.sectorSizeBytes, pages);
  } finally {
    pages.free();
  }
}

export function* read(
  kernel: KitKernel,
  device: GuestBlockDevice,
  offset: number,
  sizeBytes: number,
): GuestTask<Uint8Array> {
  const pages = kernel.allocate(sizeBytes);
  try {
    yield* device.read(offset / device.sectorSizeBytes, sizeBytes / device.sectorSizeBytes, pages);
    return pages.bytes.slice(0, sizeBytes);
  } finally {
    pages.free();
  }
}

export function* expectAt(
  kernel: KitKernel,
  device: GuestBlockDevice,
  offset: number,
  data: Uint8Array,
): GuestTask {
  const got = yield* read(kernel, device, offset, data.length);
  if (Buffer.compare(got, data) !== 0) throw new Error(`${device.name} holds other data at ${offset}`);
}

/** What the host finds on a disk. */
export async function hostRead(disk: Disk, offset = 0, sizeBytes = disk.sizeBytes): Promise<Uint8Array> {
  const data = new Uint8Array(sizeBytes);
  await disk.read(offset, [data]);
  return data;
}

/** The run came to its end; its counters. */
export function succeeded(run: GuestRun): GuestRun {
  expect(guestFailure(run)).toBeUndefined();
  return run;
}

/** A disk some of whose methods are replaced. */
export function withChanges(disk: Disk, changes: Partial<Disk>): Disk {
  return new Proxy(disk, {
    get(target, key) {
      if (Object.hasOwn(changes, key)) return Reflect.get(changes, key);
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
