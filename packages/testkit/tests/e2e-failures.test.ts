import { GuestIoError, type GuestTask } from '@kensho/core';
import type { Disk } from '@kensho/devices-storage';
import { describe, expect, it } from 'vitest';
import { runGuest } from '../src/index.ts';
import {
  blockDevices,
  expectAt,
  ide,
  installed,
  legacy,
  pattern,
  plugins,
  ramDisk,
  read,
  scsi,
  succeeded,
  withChanges,
  write,
} from './test-utils/storage.ts';

/** The same disk and the same program over both paths. */
const paths = [
  ['enlightened', (disk: Disk) => ({ devices: [scsi([disk])], drivers: installed() })],
  ['emulated', (disk: Disk) => ({ devices: [ide([disk])], drivers: legacy() })],
] as const;

function* failureOf(task: GuestTask<unknown>): GuestTask<string | undefined> {
  try {
    yield* task;
    return undefined;
  } catch (error) {
    if (!(error instanceof GuestIoError)) throw error;
    return error.message;
  }
}

describe.each(paths)('a disk that fails at the host (%s)', (path, machine) => {
  const kinds: readonly (readonly [string, () => never | Promise<void>])[] = [
    [
      'at once',
      () => {
        throw new Error('the medium is damaged');
      },
    ],
    [
      'later',
      async () => {
        await new Promise((resolve) => setImmediate(resolve));
        throw new Error('the medium is damaged');
      },
    ],
  ];

  it.each(kinds)('gives errors where it fails (%s), and the guest lives', async (_name, fail) => {
    const disk = ramDisk();
    const BAD = 64 * 1024;
    const isBad = (offset: number) => offset >= BAD && offset < 2 * BAD;
    const failing = withChanges(disk, {
      read: (offset, target) => (isBad(offset) ? fail() : disk.read(offset, target)),
      write: (offset, source) => (isBad(offset) ? fail() : disk.write(offset, source)),
    });
    const { counters } = succeeded(
      await runGuest({
        plugins,
        ...machine(failing),
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          expect(device.path).toBe(path);
          for (let i = 0; i < 5; i++) {
            expect(yield* failureOf(read(kernel, device, BAD, 4096))).toBeDefined();
            expect(yield* failureOf(write(kernel, device, BAD + 4096, pattern(i, 8192)))).toBeDefined();
            yield* write(kernel, device, 4096 * i, pattern(i, 4096));
            yield* expectAt(kernel, device, 4096 * i, pattern(i, 4096));
          }
        },
      }),
    );
    const hostErrors = Object.entries(counters).filter(([name]) => /^device\.\w+\.errors\.host$/.test(name));
    expect(hostErrors.map(([, count]) => count)).toEqual([10]);
  });

  it('says so when a flush fails', async () => {
    const disk = ramDisk();
    const failing = withChanges(disk, {
      async flush() {
        throw new Error('the cable fell out');
      },
    });
    succeeded(
      await runGuest({
        plugins,
        ...machine(failing),
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          yield* write(kernel, device, 0, pattern(1, 4096));
          expect(yield* failureOf(device.flush())).toBeDefined();
          yield* expectAt(kernel, device, 0, pattern(1, 4096));
        },
      }),
    );
  });

  it('refuses what lies beyond its end', async () => {
    const disk = ramDisk();
    succeeded(
      await runGuest({
        plugins,
        ...machine(disk),
        *main(kernel) {
          const [device] = yield* blockDevices(kernel, 1);
          expect(yield* failureOf(read(kernel, device, disk.sizeBytes, 512))).toBeDefined();
          expect(
            yield* failureOf(write(kernel, device, disk.sizeBytes - 512, pattern(1, 1024))),
          ).toBeDefined();
          yield* expectAt(kernel, device, disk.sizeBytes - 512, new Uint8Array(512));
        },
      }),
    );
  });
});
