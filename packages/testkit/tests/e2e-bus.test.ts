import { type DeviceSpec, GUEST_BLOCK_DEVICES, GuestFault, type GuestTask } from '@kensho/core';
import { VMBUS_VERSIONS, vmbusVersionName } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { runGuest } from '../src/index.ts';
import {
  blockDevices,
  expectAt,
  hostRead,
  installed,
  pattern,
  plugins,
  ramDisk,
  scsi,
  succeeded,
  withChanges,
  write,
} from './test-utils/storage.ts';

describe('storage over VMBus', () => {
  it.each(VMBUS_VERSIONS.map((version) => [vmbusVersionName(version), version] as const))(
    'works with a guest that speaks up to version %s',
    async (_name, version) => {
      const disk = ramDisk();
      let agreed: number | undefined;
      succeeded(
        await runGuest({
          plugins,
          devices: [scsi([disk], { maxSubChannels: 2 })],
          drivers: { ...installed(), maxVmbusVersion: version },
          *main(kernel) {
            const [device] = yield* blockDevices(kernel, 1);
            agreed = kernel.bus?.version;
            for (let i = 0; i < 20; i++) {
              yield* write(kernel, device, 8192 * i, pattern(i, 8192));
              yield* expectAt(kernel, device, 8192 * i, pattern(i, 8192));
            }
          },
        }),
      );
      expect(agreed).toBe(version);
      expect(await hostRead(disk, 8192 * 19, 8192)).toEqual(pattern(19, 8192));
    },
  );

  it('comes back when the guest unloads and connects again', async () => {
    const disks = [ramDisk(), ramDisk()];
    const devices: DeviceSpec[] = [scsi([disks[0]], { maxSubChannels: 2 }), scsi([disks[1]], {}, 'scsi1')];
    const versions: number[] = [];
    const run = succeeded(
      await runGuest({
        plugins,
        devices,
        drivers: installed(),
        *main(kernel) {
          const bus = kernel.bus;
          if (bus === undefined) throw new Error('no bus');
          for (let round = 0; round < 10; round++) {
            const found = yield* blockDevices(kernel, 2);
            for (const device of found) {
              yield* write(kernel, device, 4096 * round, pattern(round, 4096));
              if (round > 0) yield* expectAt(kernel, device, 4096 * (round - 1), pattern(round - 1, 4096));
            }
            versions.push(bus.version);
            // With requests in flight as well.
            if (round % 2 === 1)
              kernel.spawn('late', ignoringErrors(write(kernel, found[0], 0, pattern(0, 4096))));
            yield* bus.unload();
            while (kernel.devices(GUEST_BLOCK_DEVICES).length > 0) yield undefined;
            yield* bus.connect();
          }
          yield* blockDevices(kernel, 2);
        },
      }),
    );
    expect(versions).toEqual(new Array(10).fill(0x50003));
    expect(run.counters['vmbus.channels.opened']).toBe(22);
    for (const disk of disks) expect(await hostRead(disk, 4096 * 9, 4096)).toEqual(pattern(9, 4096));
  });

  it('lets go of everything when the guest dies with requests in flight', async () => {
    const disk = ramDisk();
    let inProgress = 0;
    const slow = withChanges(disk, {
      async read(offset, target) {
        inProgress++;
        await new Promise((resolve) => setImmediate(resolve));
        await disk.read(offset, target);
        inProgress--;
      },
    });
    const run = await runGuest({
      plugins,
      devices: [scsi([slow])],
      drivers: installed(),
      clock: 'real',
      *main(kernel) {
        const [device] = yield* blockDevices(kernel, 1);
        for (let i = 0; i < 32; i++) kernel.spawn('read', device.read(8 * i, 8, kernel.allocate(4096)));
        for (let i = 0; i < 4; i++) yield undefined;
        throw new GuestFault('enough');
      },
    });
    expect(run.end).toMatchObject({ reason: 'crash', message: expect.stringContaining('enough') });
    expect(inProgress).toBe(0);
  });
});

function* ignoringErrors(task: GuestTask): GuestTask {
  try {
    yield* task;
  } catch {
    // The disk went away beneath it.
  }
}
