import { chipsetPlugin } from '@kensho/chipset';
import { GUEST_BLOCK_DEVICES } from '@kensho/core';
import { createRamDisk, IdeDriver, StorageVsc, storagePlugin } from '@kensho/devices-storage';
import { vmbusPlugin } from '@kensho/vmbus';
import { expect, it } from 'vitest';
import { guestFailure, runGuest } from '../../src/index.ts';

it('reads a sector over VMBus', async () => {
  const disk = createRamDisk({ sizeBytes: 1 << 20, id: '7a1e2c3d-4e5f-4061-8273-8495a6b7c8d9' });
  await disk.write(0, [new Uint8Array(512).fill(0x5a)]);
  const run = await runGuest({
    plugins: [vmbusPlugin, chipsetPlugin, storagePlugin],
    devices: [{ kind: 'scsi', id: 'scsi0', options: { luns: [{ lun: 0, kind: 'disk', disk }] } }],
    drivers: { vscs: [new StorageVsc()], pci: [new IdeDriver()] },
    *main(kernel) {
      const [device] = yield* kernel.waitForDevices(GUEST_BLOCK_DEVICES, 1);
      const page = kernel.allocate(4096);
      yield* device.read(0, 1, page);
      kernel.print(`${device.path}: ${page.bytes[0]}`);
    },
  });
  expect(guestFailure(run)).toBeUndefined();
  expect(run.console).toEqual(['enlightened: 90']);
  expect(run.counters['device.scsi0.bytes.read']).toBeGreaterThan(0);
});
