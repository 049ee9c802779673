import {
  GUEST_BLOCK_DEVICES,
  type GuestBlockDevice,
  GuestIoError,
  type GuestTask,
  type HostedPartition,
} from '@kensho/core';
import { DiskUnit, IdeDriver, type ScsiController } from '@kensho/devices-storage';
import { type KitKernel, scanPciBus } from '@kensho/guest-kit';
import { describe, expect, it } from 'vitest';
import { runGuest } from '../src/index.ts';
import {
  blockDevices,
  expectAt,
  hostRead,
  ide,
  installed,
  legacy,
  MIB,
  pattern,
  plugins,
  ramDisk,
  scsi,
  succeeded,
  withChanges,
  write,
} from './test-utils/storage.ts';

const vspOf = (partition: HostedPartition) => (partition.device('scsi0') as ScsiController).vsp;
const names = (kernel: KitKernel) => kernel.devices(GUEST_BLOCK_DEVICES).map(({ name }) => name);

/** Tasks that write and read back at one device each, until they are told to stop or it fails. */
class Load {
  operations = 0;
  failures = 0;
  running = 0;
  over = false;
  readonly #kernel: KitKernel;

  constructor(kernel: KitKernel) {
    this.#kernel = kernel;
  }

  start(device: GuestBlockDevice, tasks: number): void {
    for (let i = 0; i < tasks; i++) this.#kernel.spawn(`load ${device.name}`, this.#work(device, i));
  }

  *end(): GuestTask {
    this.over = true;
    while (this.running > 0) yield* this.#kernel.sleep(10_000);
  }

  *#work(device: GuestBlockDevice, task: number): GuestTask {
    this.running++;
    const offset = task * 64 * 1024;
    try {
      for (let round = 0; !this.over; round++) {
        const data = pattern(task * 1000 + round, 8192);
        yield* write(this.#kernel, device, offset, data);
        yield* expectAt(this.#kernel, device, offset, data);
        this.operations++;
      }
    } catch (error) {
      if (!(error instanceof GuestIoError)) throw error;
      this.failures++;
    }
    this.running--;
  }
}

function* until(kernel: KitKernel, condition: () => boolean): GuestTask {
  while (!condition()) yield* kernel.sleep(1000);
}

describe('while the guest works on its disks', () => {
  it('a unit is added, used and removed again, and the others do not notice', async () => {
    const [disk, added] = [ramDisk(), ramDisk(2 * MIB)];
    succeeded(
      await runGuest({
        plugins,
        devices: [scsi([disk])],
        drivers: installed(),
        *main(kernel) {
          const [first] = yield* blockDevices(kernel, 1);
          const load = new Load(kernel);
          load.start(first, 8);
          for (let round = 0; round < 3; round++) {
            kernel.print('add');
            yield* until(kernel, () => names(kernel).length === 2);
            const [, second] = kernel.devices(GUEST_BLOCK_DEVICES);
            expect([second.name, second.sectorCount]).toEqual(['scsi0.5', 4096]);
            const own = new Load(kernel);
            own.start(second, 8);
            yield* until(kernel, () => own.operations > 20);
            kernel.print('remove');
            yield* until(kernel, () => own.running === 0);
            expect(own.failures).toBe(8);
            yield* until(kernel, () => names(kernel).length === 1);
          }
          const before = load.operations;
          yield* until(kernel, () => load.operations > before + 20);
          yield* load.end();
          expect(load.failures).toBe(0);
        },
        async onLine(line, partition) {
          if (line === 'add') vspOf(partition).attach(5, new DiskUnit(added));
          if (line === 'remove') expect(await vspOf(partition).detach(5)).toBe(true);
        },
      }),
    );
  });

  it('a unit is exchanged for another in one step', async () => {
    const [before, after] = [ramDisk(MIB), ramDisk(2 * MIB)];
    await after.write(0, [pattern(7, 4096)]);
    succeeded(
      await runGuest({
        plugins,
        devices: [scsi([before])],
        drivers: installed(),
        *main(kernel) {
          const [first] = yield* blockDevices(kernel, 1);
          kernel.print('exchange');
          yield* until(kernel, () => kernel.devices(GUEST_BLOCK_DEVICES)[0]?.sectorCount === 4096);
          const [second] = kernel.devices(GUEST_BLOCK_DEVICES);
          expect(second).not.toBe(first);
          yield* expectAt(kernel, second, 0, pattern(7, 4096));
        },
        async onLine(line, partition) {
          if (line !== 'exchange') return;
          const removed = vspOf(partition).detach(0);
          vspOf(partition).attach(0, new DiskUnit(after));
          await removed;
        },
      }),
    );
  });

  it('a controller is removed with requests in flight, and added again', async () => {
    const disks = [ramDisk(), ramDisk()];
    let outstanding = 0;
    /** The guest may see the controller gone before the host is done with it. */
    let last = Promise.resolve();
    // Slow at the host, so that requests are in progress there too.
    const slow = withChanges(disks[0], {
      async write(offset, source) {
        outstanding++;
        await new Promise((resolve) => setImmediate(resolve));
        await disks[0].write(offset, source);
        outstanding--;
      },
    });
    const run = succeeded(
      await runGuest({
        plugins,
        devices: [scsi([slow]), scsi([disks[1]], {}, 'scsi1')],
        drivers: installed(),
        *main(kernel) {
          const [first, other] = yield* blockDevices(kernel, 2);
          const load = new Load(kernel);
          load.start(other, 4);
          for (let round = 0; round < 3; round++) {
            const own = new Load(kernel);
            own.start(round === 0 ? first : kernel.devices(GUEST_BLOCK_DEVICES)[1], 16);
            yield* until(kernel, () => own.operations > 20);
            kernel.print('remove');
            yield* until(kernel, () => own.running === 0);
            expect(own.failures).toBe(16);
            yield* until(kernel, () => names(kernel).length === 1);
            kernel.print('add');
            yield* until(kernel, () => names(kernel).length === 2);
          }
          yield* load.end();
          expect(load.failures).toBe(0);
        },
        onLine(line, partition) {
          last = last.then(async () => {
            if (line === 'remove') {
              await partition.removeDevice('scsi0');
              expect(outstanding).toBe(0);
            }
            if (line === 'add') await partition.addDevice(scsi([slow]));
          });
          return last;
        },
      }),
    );
    expect(run.counters['vmbus.channels.opened']).toBe(5);
  });

  it('the IDE controller can be taken away and comes back with other disks', async () => {
    const [before, after] = [ramDisk(), ramDisk(2 * MIB)];
    await after.write(0, [pattern(2, 4096)]);
    succeeded(
      await runGuest({
        plugins,
        devices: [ide([before])],
        drivers: legacy(),
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          yield* write(kernel, device, 0, pattern(1, 4096));
          const status = () => kernel.cpu.in(0x1f7, 1);
          kernel.print('exchange');
          // A floating bus: nothing is there.
          yield* until(kernel, () => status() === 0xff);
          yield* until(kernel, () => status() !== 0xff);
          const driver = new IdeDriver();
          for (const fn of scanPciBus(kernel.cpu)) if (driver.matches(fn)) yield* driver.attach(fn, kernel);
          const [, again] = kernel.devices(GUEST_BLOCK_DEVICES);
          expect(again.sectorCount).toBe(4096);
          yield* expectAt(kernel, again, 0, pattern(2, 4096));
        },
        async onLine(line, partition) {
          if (line !== 'exchange') return;
          await partition.removeDevice('ide0');
          // Long enough for the guest to see it gone.
          await new Promise((resolve) => setTimeout(resolve, 5));
          await partition.addDevice(ide([after]));
        },
      }),
    );
    expect(await hostRead(before, 0, 4096)).toEqual(pattern(1, 4096));
  });
});
