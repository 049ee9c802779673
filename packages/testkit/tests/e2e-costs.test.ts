import { type CounterSnapshot, counterDifference, type HostedPartition } from '@kensho/core';
import type { Disk } from '@kensho/devices-storage';
import type { KitDrivers } from '@kensho/guest-kit';
import { describe, expect, it } from 'vitest';
import { runGuest } from '../src/index.ts';
import {
  blockDevices,
  ide,
  installed,
  legacy,
  pattern,
  plugins,
  ramDisk,
  scsi,
  succeeded,
} from './test-utils/storage.ts';

/** What an operation costs, by the counters: these repeat, so that they can be bounds. */

const OPERATIONS = 512;
const BLOCK = 4096;

const machines = {
  enlightened: (disk: Disk) => ({ devices: [scsi([disk])], drivers: installed() }),
  emulated: (disk: Disk) => ({ devices: [ide([disk])], drivers: legacy() }),
};

interface Costs {
  readonly hypercalls: number;
  readonly interrupts: number;
  readonly ports: number;
  readonly mmio: number;
  readonly msrs: number;
}

/** The cost of each of many reads, or writes, of 4 KiB with so many in flight. */
async function costs(
  path: keyof typeof machines,
  kind: 'read' | 'write',
  depth: number,
  drivers?: Partial<KitDrivers>,
): Promise<Costs> {
  const disk = ramDisk();
  await disk.write(0, [pattern(1, disk.sizeBytes)]);
  const marks: CounterSnapshot[] = [];
  const mark = (partition: HostedPartition) => void marks.push(partition.counters.snapshot());
  succeeded(
    await runGuest({
      plugins,
      ...machines[path](disk),
      ...(drivers === undefined ? {} : { drivers }),
      *main(kernel) {
        const [device] = yield* blockDevices(kernel, 1);
        let next = 0;
        let left = depth;
        const user = function* () {
          const pages = kernel.allocate(BLOCK);
          for (let i = next++; i < OPERATIONS; i = next++)
            yield* device[kind](((i * 37) % 1024) * 8, 8, pages);
          left--;
        };
        kernel.print('begin');
        for (let i = 0; i < depth; i++) kernel.spawn(`user ${i}`, user());
        while (left > 0) yield undefined;
        kernel.print('end');
      },
      onLine: (_line, partition) => mark(partition),
    }),
  );
  const counted = counterDifference(marks[0], marks[1]);
  const each = (name: string) => (counted[name] ?? 0) / OPERATIONS;
  return {
    hypercalls: each('intercept.hypercall'),
    interrupts: each('interrupt.delivered'),
    ports: each('intercept.port'),
    mmio: each('intercept.mmio'),
    msrs: each('intercept.msr'),
  };
}

describe.each(['read', 'write'] as const)('a %s of 4 KiB', (kind) => {
  it('enlightened, one at a time: at most one hypercall and one interrupt', async () => {
    const { hypercalls, interrupts, ports, mmio } = await costs('enlightened', kind, 1);
    expect(hypercalls).toBeLessThanOrEqual(1);
    expect(interrupts).toBeLessThanOrEqual(1);
    expect([ports, mmio].map(Math.round)).toEqual([0, 0]);
  });

  it('enlightened, 32 in flight: fewer than 0.2 of each', async () => {
    const { hypercalls, interrupts } = await costs('enlightened', kind, 32);
    expect(hypercalls).toBeLessThan(0.2);
    expect(interrupts).toBeLessThan(0.2);
  });

  it.each([1, 32])('emulated by DMA, %i in flight: what libata does, each time', async (depth) => {
    const { hypercalls, interrupts, ports } = await costs('emulated', kind, depth);
    expect(hypercalls).toBe(0);
    expect(interrupts).toBeCloseTo(1, 1);
    expect(ports).toBeGreaterThan(15);
    expect(ports).toBeLessThan(40);
  });
});
