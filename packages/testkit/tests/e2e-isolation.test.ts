import { PCI_BUS } from '@kensho/chipset';
import {
  COUNTERS,
  createHost,
  DEVICES,
  type DeviceSpec,
  DMA,
  type DmaDomain,
  definePlugin,
  GpaAccess,
  GUEST_BLOCK_DEVICES,
  GUEST_FAULTS,
  GuestIoError,
  type GuestTask,
  type HostedPartition,
  INTERRUPT_LINES,
  IO_PORTS,
  LOGGER,
  type Resolver,
  WORK,
} from '@kensho/core';
import { type Disk, DiskUnit, IdeController, StorageVsp } from '@kensho/devices-storage';
import { guestKitPlugin, type KitGuestOptions, type KitKernel, type KitMain } from '@kensho/guest-kit';
import { VMBUS } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { runGuest } from '../src/index.ts';
import {
  blockDevices,
  expectAt,
  hostRead,
  installed,
  legacy,
  MIB,
  pattern,
  plugins,
  ramDisk,
  read,
  scsi,
  succeeded,
  write,
} from './test-utils/storage.ts';

/** Works on its disk for a while, and keeps count. */
function worker(rounds: number, progress: { rounds: number }, seed: number): KitMain {
  return function* (kernel) {
    const [device] = yield* blockDevices(kernel, 1);
    for (let i = 0; i < rounds; i++) {
      const data = pattern(seed + i, 8192);
      yield* write(kernel, device, 8192 * (i % 64), data);
      yield* expectAt(kernel, device, 8192 * (i % 64), data);
      progress.rounds++;
    }
  };
}

describe('two partitions of one host', () => {
  const start = async (clock: 'real' | 'virtual', mains: readonly KitMain[]) => {
    const host = await createHost({ plugins: [guestKitPlugin, ...plugins] });
    const disks = mains.map(() => ramDisk());
    const lines: string[][] = mains.map(() => []);
    const partitions: HostedPartition[] = [];
    for (const [i, main] of mains.entries()) {
      const options: KitGuestOptions = { drivers: { ports: [], ...installed() }, main };
      partitions.push(
        await host.createPartition({
          name: `guest${i}`,
          processor: 'kit',
          memoryBytes: 16 * MIB,
          clock,
          devices: [
            {
              kind: 'kit-console',
              id: 'console',
              options: { onLine: (line: string) => void lines[i].push(line) },
            },
            scsi([disks[i]]),
          ],
          guest: { kind: 'kit', options },
        }),
      );
    }
    return { host, disks, partitions, lines };
  };

  it.each(['real', 'virtual'] as const)('run side by side (%s clock)', async (clock) => {
    const progress = [{ rounds: 0 }, { rounds: 0 }];
    const { host, disks, partitions, lines } = await start(clock, [
      worker(100, progress[0], 1000),
      worker(100, progress[1], 2000),
    ]);
    const ends = await Promise.all(partitions.map((partition) => partition.run()));
    expect(ends).toEqual([{ reason: 'guest-ended' }, { reason: 'guest-ended' }]);
    expect([lines, progress]).toEqual([
      [[], []],
      [{ rounds: 100 }, { rounds: 100 }],
    ]);
    expect(await hostRead(disks[0], 0, 8192)).toEqual(pattern(1064, 8192));
    expect(await hostRead(disks[1], 0, 8192)).toEqual(pattern(2064, 8192));
    await host.close();
  });

  it('one is killed at work, and the other does not notice', async () => {
    const progress = [{ rounds: 0 }, { rounds: 0 }];
    const { host, disks, partitions, lines } = await start('real', [
      worker(Number.POSITIVE_INFINITY, progress[0], 1000),
      worker(400, progress[1], 2000),
    ]);
    const runs = partitions.map((partition) => partition.run());
    while (progress[0].rounds < 20) await new Promise((resolve) => setImmediate(resolve));
    await partitions[0].close();
    expect(await runs[0]).toEqual({ reason: 'stopped' });
    const killedAt = progress[0].rounds;
    expect(progress[1].rounds).toBeLessThan(400);
    expect(await runs[1]).toEqual({ reason: 'guest-ended' });
    expect([lines, progress[0].rounds, progress[1].rounds]).toEqual([[[], []], killedAt, 400]);
    expect(await hostRead(disks[1], 8192 * 15, 8192)).toEqual(pattern(2399, 8192));
    await host.close();
  });
});

/** Options of the devices below. */
interface ConfinedOptions {
  readonly disk: Disk;
  /** Told of the device's domain, which maps nothing yet. */
  readonly onDomain: (domain: DmaDomain) => void;
}

const servicesOf = (partition: Resolver) => ({
  work: partition.resolve(WORK),
  counters: partition.resolve(COUNTERS),
  faults: partition.resolve(GUEST_FAULTS),
  log: partition.resolve(LOGGER),
});

/** Storage by both paths, each device behind a domain that its owner fills. */
const confinedStorage = definePlugin({
  id: 'confined-storage',
  needs: [VMBUS],
  register(context) {
    const domainOf = (partition: Resolver, { id, options }: DeviceSpec) => {
      const { disk, onDomain } = options as ConfinedOptions;
      const dma = partition.resolve(DMA).attach(id, 'remapped');
      onDomain(dma);
      return { disk, dma };
    };
    context.contribute(DEVICES, {
      id: 'confined-scsi',
      description: 'a SCSI controller behind a remapping domain',
      path: 'enlightened',
      create(partition, spec) {
        const { disk, dma } = domainOf(partition, spec);
        const identity = { id: spec.id, instanceId: '7f1c0e5a-2b3d-4c6e-8f90-a1b2c3d4e5f6' };
        const vsp = new StorageVsp(identity, {
          ...servicesOf(partition),
          bus: partition.resolve(VMBUS),
          dma,
        });
        vsp.attach(0, new DiskUnit(disk));
        return vsp;
      },
    });
    context.contribute(DEVICES, {
      id: 'confined-ide',
      description: 'an IDE controller behind a remapping domain',
      path: 'emulated',
      create(partition, spec) {
        const { disk, dma } = domainOf(partition, spec);
        return new IdeController(
          {
            ...servicesOf(partition),
            id: spec.id,
            ports: partition.resolve(IO_PORTS),
            pciBus: partition.resolve(PCI_BUS),
            interruptLines: partition.resolve(INTERRUPT_LINES),
            dma,
          },
          [{ channel: 0, position: 'master', kind: 'disk', disk }],
        );
      },
    });
  },
});

describe.each([
  ['confined-scsi', installed],
  ['confined-ide', legacy],
] as const)('a device behind a remapping domain (%s)', (kind, drivers) => {
  /** Runs a guest that is told to take a page from the device and reads into it. */
  const run = async (mapped: boolean, main: (kernel: KitKernel) => GuestTask) => {
    const disk = ramDisk();
    await disk.write(0, [pattern(3, 8192)]);
    let domain: DmaDomain | undefined;
    const onDomain = (dma: DmaDomain) => {
      domain = dma;
      if (mapped) dma.mapPages(0, 0, (16 * MIB) / 4096, GpaAccess.READ_WRITE);
    };
    const options: ConfinedOptions = { disk, onDomain };
    return runGuest({
      plugins: [...plugins, confinedStorage],
      devices: [{ kind, id: 'confined', options }],
      drivers: drivers(),
      main,
      onLine(line) {
        const page = /^take page (\d+)$/.exec(line)?.[1];
        if (page !== undefined) domain?.unmapPages(Number(page), 1);
      },
    });
  };

  it('touches nothing that is not mapped, and serves what is', async () => {
    const { counters } = succeeded(
      await run(true, function* (kernel) {
        const [device] = yield* blockDevices(kernel, 1);
        const pages = kernel.allocate(8192);
        pages.bytes.fill(0xaa);
        kernel.print(`take page ${pages.pages[1]}`);
        let refused = false;
        try {
          yield* device.read(0, 16, pages);
        } catch (error) {
          refused = error instanceof GuestIoError;
        }
        expect(refused).toBe(true);
        expect(pages.bytes.every((byte) => byte === 0xaa)).toBe(true);
        yield* device.read(0, 8, pages);
        expect(Buffer.compare(pages.bytes.subarray(0, 4096), pattern(3, 8192).subarray(0, 4096))).toBe(0);
        yield* expectAt(kernel, device, 0, pattern(3, 8192));
      }),
    );
    expect(counters['fault.dma.confined']).toBe(1);
  });

  it('without any mapping reaches nothing at all, and the guest goes on', async () => {
    const { counters } = succeeded(
      await run(false, function* (kernel) {
        yield* kernel.sleep(1e9);
        for (const device of kernel.devices(GUEST_BLOCK_DEVICES)) {
          let refused = false;
          try {
            yield* read(kernel, device, 0, 4096);
          } catch (error) {
            refused = error instanceof GuestIoError;
          }
          expect(refused).toBe(true);
        }
      }),
    );
    expect(counters['fault.dma.confined']).toBeGreaterThan(0);
    expect(counters['device.confined.bytes.read']).toBe(0);
  });
});
