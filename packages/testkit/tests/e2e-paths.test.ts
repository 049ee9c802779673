import {
  createDisk,
  createRamDisk,
  type Disk,
  IdeDriver,
  openDisk,
  StorageVsc,
} from '@kensho/devices-storage';
import { afterAll, describe, expect, it } from 'vitest';
import { type GuestRunOptions, runGuest } from '../src/index.ts';
import { ImageFolder } from './test-utils/images.ts';
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
  write,
} from './test-utils/storage.ts';

const folder = new ImageFolder();
afterAll(() => folder.remove());

/** A board with the same disk on both controllers. */
const both = (disk: Disk): Pick<GuestRunOptions, 'plugins' | 'devices'> => ({
  plugins,
  devices: [scsi([disk]), ide([disk])],
});

describe('one disk over both paths', () => {
  const images: readonly (readonly [string, () => Promise<Disk>])[] = [
    ['in memory', async () => ramDisk()],
    ...['.img', '.vhd', '.vhdx'].map((extension) => {
      const open = async () => {
        const path = folder.fresh(extension);
        await createDisk(path, { sizeBytes: 4 * MIB });
        return openDisk(path);
      };
      return [`in a file *${extension}`, open] as const;
    }),
  ];

  it.each(images)('%s: what one path writes the other reads, and so does the host', async (_name, open) => {
    const disk = await open();
    const [first, second] = [pattern(1, 256 * 1024), pattern(2, 192 * 1024)];
    try {
      succeeded(
        await runGuest({
          ...both(disk),
          drivers: installed(),
          *main(kernel) {
            const [device] = yield* blockDevices(kernel, 1);
            expect([kernel.path, device.path, device.sectorCount]).toEqual([
              'enlightened',
              'enlightened',
              8192,
            ]);
            yield* write(kernel, device, 64 * 1024, first);
            yield* device.flush();
          },
        }),
      );
      succeeded(
        await runGuest({
          ...both(disk),
          drivers: legacy(),
          *main(kernel) {
            const [device] = yield* blockDevices(kernel, 1);
            expect([kernel.path, device.path, device.sectorCount]).toEqual(['emulated', 'emulated', 8192]);
            yield* expectAt(kernel, device, 64 * 1024, first);
            yield* write(kernel, device, 3 * MIB, second);
            yield* device.flush();
          },
        }),
      );
      succeeded(
        await runGuest({
          ...both(disk),
          drivers: installed(),
          *main(kernel) {
            const [device] = yield* blockDevices(kernel, 1);
            yield* expectAt(kernel, device, 3 * MIB, second);
          },
        }),
      );
      const expected = new Uint8Array(4 * MIB);
      expected.set(first, 64 * 1024);
      expected.set(second, 3 * MIB);
      expect(Buffer.compare(await hostRead(disk), expected)).toBe(0);
    } finally {
      await disk.close();
    }
  });

  it.each(['dma', 'pio'] as const)('reads and writes every size over IDE by %s', async (transfer) => {
    const disk = ramDisk();
    const model = new Uint8Array(disk.sizeBytes);
    succeeded(
      await runGuest({
        plugins,
        devices: [ide([disk])],
        drivers: { pci: [new IdeDriver({ transfer })] },
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          for (const sectors of [1, 2, 7, 16, 17, 128, 255, 256, 257, 1024]) {
            const data = pattern(sectors, sectors * 512);
            yield* write(kernel, device, 512 * sectors, data);
            model.set(data, 512 * sectors);
            yield* expectAt(kernel, device, 512 * sectors, data);
          }
        },
      }),
    );
    expect(Buffer.compare(await hostRead(disk), model)).toBe(0);
  });
});

it('a disk on IDE is on VMBus, too, as on a Generation-1 machine', async () => {
  const disk = ramDisk();
  const devices = [ide([ramDisk(), disk], { enlightened: true })];
  const data = pattern(3, 64 * 1024);
  for (const [drivers, names, then] of [
    [installed(), ['scsi0.0', 'scsi1.0'], write],
    [legacy(), ['ide0.0', 'ide0.1'], expectAt],
  ] as const) {
    succeeded(
      await runGuest({
        plugins,
        devices,
        drivers,
        *main(kernel) {
          const found = yield* blockDevices(kernel, 2);
          expect(found.map(({ name }) => name)).toEqual(names);
          yield* then(kernel, found[1], MIB, data);
        },
      }),
    );
  }
});

describe('the guest chooses its path by what it sees', () => {
  const pathOf = async (options: Partial<GuestRunOptions>) => {
    let chosen: unknown;
    const run = succeeded(
      await runGuest({
        ...both(ramDisk()),
        ...options,
        *main(kernel) {
          const devices = yield* blockDevices(kernel, 1);
          chosen = [kernel.path, ...devices.map(({ name }) => name)];
        },
      }),
    );
    return { chosen, ...run };
  };

  it('VSCs installed, hypervisor shown: VMBus', async () => {
    const { chosen, counters } = await pathOf({ drivers: installed() });
    expect(chosen).toEqual(['enlightened', 'scsi0.0']);
    expect(counters['vmbus.channels.opened']).toBe(1);
    expect(counters['device.ide0.requests'] ?? 0).toBe(0);
  });

  it('no VSCs installed: IDE', async () => {
    const { chosen, counters } = await pathOf({ drivers: legacy() });
    expect(chosen).toEqual(['emulated', 'ide0.0']);
    expect(counters['vmbus.messages.in']).toBe(0);
  });

  it('VSCs installed, hypervisor hidden: IDE, without asking twice', async () => {
    const { chosen, counters } = await pathOf({ drivers: installed(), enlightened: false });
    expect(chosen).toEqual(['emulated', 'ide0.0']);
    expect(counters['intercept.hypercall']).toBe(0);
  });

  it('VSCs installed, hypervisor without a bus: IDE, and says why', async () => {
    const { chosen, console: lines } = await pathOf({
      plugins: plugins.slice(1),
      devices: [ide([ramDisk()])],
      drivers: installed(),
    });
    expect(chosen).toEqual(['emulated', 'ide0.0']);
    expect(lines).toContainEqual(expect.stringContaining('looking for legacy devices'));
  });
});

describe('several units', () => {
  it('on one SCSI controller', async () => {
    const disks = Array.from({ length: 8 }, (_, i) => ramDisk((i + 1) * MIB));
    succeeded(
      await runGuest({
        plugins,
        devices: [scsi(disks)],
        drivers: installed(),
        *main(kernel) {
          const devices = yield* blockDevices(kernel, 8);
          expect(devices.map(({ name }) => name)).toEqual(disks.map((_, i) => `scsi0.${i}`));
          expect(devices.map(({ sectorCount }) => sectorCount * 512)).toEqual(disks.map((d) => d.sizeBytes));
          for (const [i, device] of devices.entries()) yield* write(kernel, device, 512 * i, pattern(i, 512));
        },
      }),
    );
    for (const [i, disk] of disks.entries())
      expect(await hostRead(disk, 512 * i, 512)).toEqual(pattern(i, 512));
  });

  it('on two SCSI controllers', async () => {
    const [a, b] = [ramDisk(), ramDisk()];
    succeeded(
      await runGuest({
        plugins,
        devices: [scsi([a]), scsi([b], {}, 'scsi1')],
        drivers: installed(),
        *main(kernel) {
          const devices = yield* blockDevices(kernel, 2);
          for (const [i, device] of devices.entries()) yield* write(kernel, device, 0, pattern(i, 4096));
        },
      }),
    );
    expect([await hostRead(a, 0, 4096), await hostRead(b, 0, 4096)]).toEqual([
      pattern(0, 4096),
      pattern(1, 4096),
    ]);
  });

  it('masters and slaves on both IDE channels', async () => {
    const disks = [ramDisk(1 * MIB), ramDisk(2 * MIB), ramDisk(3 * MIB), ramDisk(4 * MIB)];
    succeeded(
      await runGuest({
        plugins,
        devices: [ide(disks)],
        drivers: legacy(),
        *main(kernel) {
          const devices = yield* blockDevices(kernel, 4);
          expect(devices.map(({ name }) => name)).toEqual(['ide0.0', 'ide0.1', 'ide1.0', 'ide1.1']);
          for (const [i, device] of devices.entries()) yield* write(kernel, device, 512 * i, pattern(i, 512));
        },
      }),
    );
    for (const [i, disk] of disks.entries())
      expect(await hostRead(disk, 512 * i, 512)).toEqual(pattern(i, 512));
  });

  it('a disc in a DVD drive beside a disk', async () => {
    const disc = createRamDisk({
      sizeBytes: MIB,
      id: '3b2a1908-f7e6-4d5c-8b4a-392817060504',
      logicalSectorBytes: 2048,
    });
    const content = pattern(9, 8192);
    await disc.write(4096, [content]);
    succeeded(
      await runGuest({
        plugins,
        devices: [
          scsi([], {
            luns: [
              { lun: 0, kind: 'disk', disk: ramDisk() },
              { lun: 1, kind: 'dvd', disk: disc },
              { lun: 2, kind: 'dvd' },
            ],
          }),
        ],
        drivers: installed(),
        *main(kernel) {
          const devices = yield* blockDevices(kernel, 2);
          expect(devices.map((d) => [d.name, d.sectorSizeBytes, d.readOnly])).toEqual([
            ['scsi0.0', 512, false],
            ['scsi0.1', 2048, true],
          ]);
          yield* expectAt(kernel, devices[1], 4096, content);
          let refused = false;
          try {
            yield* write(kernel, devices[1], 0, content);
          } catch {
            refused = true;
          }
          expect(refused).toBe(true);
        },
      }),
    );
    expect(await hostRead(disc, 4096, 8192)).toEqual(content);
  });

  it('reached through sub-channels', async () => {
    const disk = ramDisk();
    const { counters } = succeeded(
      await runGuest({
        plugins,
        devices: [scsi([disk], { maxSubChannels: 3 })],
        drivers: { vscs: [new StorageVsc({ subChannels: 3, queueDepth: 4 })] },
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          expect(device.queueDepth).toBe(16);
          let left = 16;
          for (let i = 0; i < 16; i++) {
            const user = function* () {
              for (let round = 0; round < 8; round++) {
                const offset = (i * 8 + round) * 4096;
                yield* write(kernel, device, offset, pattern(offset, 4096));
                yield* expectAt(kernel, device, offset, pattern(offset, 4096));
              }
              left--;
            };
            kernel.spawn(`user ${i}`, user());
          }
          while (left > 0) yield* kernel.sleep(10_000);
        },
      }),
    );
    expect(counters['vmbus.channels.opened']).toBe(4);
    for (let block = 0; block < 128; block++) {
      expect(await hostRead(disk, block * 4096, 4096)).toEqual(pattern(block * 4096, 4096));
    }
  });
});
