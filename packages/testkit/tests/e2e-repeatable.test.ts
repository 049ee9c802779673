import { VirtualClock } from '@kensho/core';
import { createDisk, type Disk, openDisk } from '@kensho/devices-storage';
import { afterAll, describe, expect, it } from 'vitest';
import { type GuestRun, Random, runGuest } from '../src/index.ts';
import { ImageFolder } from './test-utils/images.ts';
import {
  blockDevices,
  expectAt,
  ide,
  installed,
  legacy,
  MIB,
  pattern,
  plugins,
  scsi,
  succeeded,
  write,
} from './test-utils/storage.ts';

const folder = new ImageFolder();
afterAll(() => folder.remove());

const machines = {
  enlightened: (disk: Disk) => ({ devices: [scsi([disk])], drivers: installed() }),
  emulated: (disk: Disk) => ({ devices: [ide([disk])], drivers: legacy() }),
};

/** Eight tasks that write, read, flush and sleep, and say when they did. */
async function mixedWork(path: keyof typeof machines): Promise<GuestRun> {
  const image = folder.fresh('.vhdx');
  await createDisk(image, { sizeBytes: 16 * MIB });
  const disk = await openDisk(image, { clock: new VirtualClock() });
  try {
    return succeeded(
      await runGuest({
        plugins,
        ...machines[path](disk),
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          let left = 8;
          const user = function* (task: number) {
            const random = new Random(task + 1);
            for (let round = 0; round < 12; round++) {
              const offset = task * 2 * MIB + 512 * random.below(2048);
              const data = pattern(task + round, 512 * (1 + random.below(128)));
              yield* write(kernel, device, offset, data);
              if (random.oneIn(3)) yield* device.flush();
              yield* expectAt(kernel, device, offset, data);
              if (random.oneIn(2)) yield* kernel.sleep(random.below(1e6));
              kernel.print(`${task}.${round} ${kernel.nowNs()}`);
            }
            left--;
          };
          for (let task = 0; task < 8; task++) kernel.spawn(`user ${task}`, user(task));
          while (left > 0) yield* kernel.sleep(1e5);
        },
      }),
    );
  } finally {
    await disk.close();
  }
}

describe('with a virtual clock', () => {
  it.each(['enlightened', 'emulated'] as const)(
    'two runs with the same inputs are the same, to the instruction (%s)',
    async (path) => {
      const first = await mixedWork(path);
      // Other work of the host makes its I/O take other times.
      const [second] = await Promise.all([mixedWork(path), mixedWork(path)]);
      expect(first.console).toHaveLength(96);
      expect(second.console).toEqual(first.console);
      expect(second.counters).toEqual(first.counters);
      // Instructions take a nanosecond each; the rest was idle.
      expect(second.elapsedNs - second.counters['run.idle.ns']).toBe(
        first.elapsedNs - first.counters['run.idle.ns'],
      );
    },
  );
});
