import { chipsetPlugin } from '@kensho/chipset';
import { type DeviceSpec, GUEST_BLOCK_DEVICES, type GuestBlockDevice, type GuestTask } from '@kensho/core';
import { createRamDisk, type Disk, IdeDriver, StorageVsc, storagePlugin } from '@kensho/devices-storage';
import { type KitKernel, scanPciBus } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { describe, it } from 'vitest';
import {
  emulatedDeviceConformance,
  Random,
  registerConformance,
  vscConformance,
  vspConformance,
} from '../src/index.ts';
import { initialiseStorage, probeStorage, STORAGE_REQUESTS } from './test-utils/storvsc.ts';

const plugins = [vmbusPlugin, chipsetPlugin, storagePlugin];
const MIB = 1024 * 1024;
const PATTERN = new Random(5).bytes(4096);

/** A disk whose first page is known, and of which only what lies behind it gets written. */
async function patterned(): Promise<Disk> {
  const disk = createRamDisk({ sizeBytes: 4 * MIB, id: 'b0a7f9a2-3c5d-4f0e-8d6b-7a1e2c3d4e5f' });
  await disk.write(0, [PATTERN]);
  return disk;
}

const disk = await patterned();
/** Writes go nowhere, so that random requests leave the pattern as it is. */
const steadfast: Disk = new Proxy(disk, {
  get(target, key) {
    if (key === 'write' || key === 'trim') return () => {};
    const value: unknown = Reflect.get(target, key);
    return typeof value === 'function' ? value.bind(target) : value;
  },
});

const scsi = (): DeviceSpec => ({
  kind: 'scsi',
  id: 'scsi0',
  options: { luns: [{ lun: 0, kind: 'disk', disk: steadfast }] },
});
const ide = (): DeviceSpec => ({
  kind: 'ide',
  id: 'ide0',
  options: {
    drives: [
      { channel: 0, position: 'master', kind: 'disk', disk: steadfast },
      { channel: 1, position: 'master', kind: 'dvd' },
    ],
  },
});

function* readsThePattern(device: GuestBlockDevice, kernel: KitKernel): GuestTask {
  const pages = kernel.allocate(4096);
  try {
    yield* device.read(0, 8, pages);
    if (Buffer.compare(pages.bytes, PATTERN) !== 0) throw new Error('other data');
  } finally {
    pages.free();
  }
}

registerConformance(
  { describe, it },
  vspConformance({
    name: 'storage',
    plugins,
    device: scsi,
    interfaceId: 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7f',
    handshake: initialiseStorage,
    requests: STORAGE_REQUESTS,
    probe: (channel, kernel) =>
      probeStorage(channel, kernel, (bytes) => Buffer.compare(bytes, PATTERN) === 0),
  }),
);

registerConformance(
  { describe, it },
  vscConformance({
    name: 'storage',
    plugins,
    device: scsi,
    vsc: new StorageVsc(),
    deviceClass: GUEST_BLOCK_DEVICES,
    exercise: readsThePattern,
  }),
);

for (const transfer of ['dma', 'pio'] as const) {
  registerConformance(
    { describe, it },
    emulatedDeviceConformance({
      name: `IDE, driven by ${transfer}`,
      plugins,
      device: ide,
      ports: [
        { port: 0x1f0, count: 8 },
        { port: 0x3f6, count: 1 },
        { port: 0x170, count: 8 },
        { port: 0x376, count: 1 },
        { port: 0xffa0, count: 16 },
      ],
      *exercise(kernel) {
        const before = kernel.devices(GUEST_BLOCK_DEVICES).length;
        const driver = new IdeDriver({ transfer });
        for (const fn of scanPciBus(kernel.cpu)) if (driver.matches(fn)) yield* driver.attach(fn, kernel);
        const device = kernel.devices(GUEST_BLOCK_DEVICES)[before];
        if (device === undefined) throw new Error('the driver found no disk');
        for (let i = 0; i < 10; i++) yield* readsThePattern(device, kernel);
      },
    }),
  );
}
