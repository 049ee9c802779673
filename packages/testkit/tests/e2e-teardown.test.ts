import {
  createHost,
  type DeviceSpec,
  type GuestBlockDevice,
  GuestIoError,
  type GuestTask,
} from '@kensho/core';
import { type Disk, DiskUnit, type ScsiController } from '@kensho/devices-storage';
import { guestKitPlugin, type KitDrivers, type KitKernel } from '@kensho/guest-kit';
import { describe, expect, it } from 'vitest';
import {
  blockDevices,
  ide,
  installed,
  legacy,
  pattern,
  plugins,
  ramDisk,
  scsi,
  withChanges,
  write,
} from './test-utils/storage.ts';

/** A guest that writes to a disk of which the host ends no write until it is let. */
async function stuckGuest(
  device: (disk: Disk) => DeviceSpec,
  drivers: Partial<KitDrivers>,
  clock: 'real' | 'virtual',
) {
  const disk = ramDisk();
  const held: (() => void)[] = [];
  const seen = Promise.withResolvers<void>();
  let ended = 0;
  const slow = withChanges(disk, {
    async write(offset, source) {
      await new Promise<void>((resolve) => {
        held.push(resolve);
        seen.resolve();
      });
      await disk.write(offset, source);
      ended++;
    },
  });
  const host = await createHost({ plugins: [guestKitPlugin, ...plugins] });
  const spec = device(slow);
  const partition = await host.createPartition({
    name: 'guest',
    processor: 'kit',
    memoryBytes: 16 * 1024 * 1024,
    clock,
    devices: [{ kind: 'kit-console', id: 'console', options: { onLine: () => {} } }, spec],
    guest: {
      kind: 'kit',
      options: {
        drivers: { vscs: [], pci: [], ports: [], ...drivers },
        *main(kernel: KitKernel) {
          const [found] = yield* blockDevices(kernel, 1);
          for (let i = 0; i < 4; i++) kernel.spawn(`write ${i}`, tryWrite(kernel, found, i * 8192));
          for (;;) yield* kernel.sleep(1e6);
        },
      },
    },
  });
  return {
    host,
    partition,
    spec,
    seen: seen.promise,
    held,
    ended: () => ended,
    let: () => {
      for (const go of held.splice(0)) go();
    },
  };
}

function* tryWrite(kernel: KitKernel, device: GuestBlockDevice, offset: number): GuestTask {
  try {
    yield* write(kernel, device, offset, pattern(offset, 8192));
  } catch (error) {
    if (!(error instanceof GuestIoError)) throw error;
  }
}

const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 2));

async function resolvesOnlyAfter(what: Promise<unknown>, guest: Awaited<ReturnType<typeof stuckGuest>>) {
  let done = false;
  void what.then(() => {
    done = true;
  });
  for (let i = 0; i < 5; i++) await turn();
  expect(done).toBe(false);
  const outstanding = guest.held.length;
  expect(outstanding).toBeGreaterThan(0);
  guest.let();
  await what;
  expect(guest.ended()).toBe(outstanding);
}

describe.each([
  ['SCSI over VMBus', (disk: Disk) => scsi([disk]), installed()],
  ['IDE', (disk: Disk) => ide([disk]), legacy()],
] as const)('%s: a write that the host has not ended', (_name, device, drivers) => {
  describe.each(['real', 'virtual'] as const)('on a %s clock', (clock) => {
    it('keeps the device while the guest runs', async () => {
      const guest = await stuckGuest(device, drivers, clock);
      const run = guest.partition.run();
      await guest.seen;
      await resolvesOnlyAfter(guest.partition.removeDevice(guest.spec.id), guest);
      await guest.partition.close();
      expect((await run).reason).toBe('stopped');
      await guest.host.close();
    });

    it('keeps the device while the guest is paused', async () => {
      const guest = await stuckGuest(device, drivers, clock);
      const run = guest.partition.run();
      await guest.seen;
      await guest.partition.pause();
      await resolvesOnlyAfter(guest.partition.removeDevice(guest.spec.id), guest);
      guest.partition.resume();
      await guest.host.close();
      expect((await run).reason).toBe('stopped');
    });

    it('keeps the device after the run', async () => {
      const guest = await stuckGuest(device, drivers, clock);
      const run = guest.partition.run();
      await guest.seen;
      guest.partition.stop();
      await run;
      await resolvesOnlyAfter(guest.partition.removeDevice(guest.spec.id), guest);
      await guest.host.close();
    });

    it('keeps the partition that is closed, paused or not', async () => {
      for (const paused of [true, false]) {
        const guest = await stuckGuest(device, drivers, clock);
        const run = guest.partition.run();
        await guest.seen;
        if (paused) await guest.partition.pause();
        await resolvesOnlyAfter(guest.host.close(), guest);
        expect((await run).reason).toBe('stopped');
      }
    });
  });

  it('is none before the run, and a device comes and goes', async () => {
    const guest = await stuckGuest(device, drivers, 'virtual');
    await guest.partition.removeDevice(guest.spec.id);
    await guest.partition.addDevice(guest.spec);
    await guest.host.close();
  });
});

describe('a unit', () => {
  it.each(['real', 'virtual'] as const)(
    'is detached when its last command ended (%s clock)',
    async (clock) => {
      const guest = await stuckGuest((disk) => scsi([disk]), installed(), clock);
      const run = guest.partition.run();
      await guest.seen;
      const { vsp } = guest.partition.device('scsi0') as ScsiController;
      await resolvesOnlyAfter(vsp.detach(0), guest);
      vsp.attach(0, new DiskUnit(ramDisk()));
      await guest.host.close();
      await run;
    },
  );
});
