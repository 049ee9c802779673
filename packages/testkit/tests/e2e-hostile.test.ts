import { createHost, GuestFault, type HypercallFrame, type PartitionEnd } from '@kensho/core';
import { guestKitPlugin, type KitGuestOptions, type KitMain } from '@kensho/guest-kit';
import type { VscDriver } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { Random } from '../src/index.ts';
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
  write,
} from './test-utils/storage.ts';

/** One thing that a guest does to its host, at random. A fault that it earns is its own to bear. */
type Mischief = (kernel: Parameters<KitMain>[0], random: Random) => void;

const attempt = (action: () => void) => {
  try {
    action();
  } catch (error) {
    if (!(error instanceof GuestFault)) throw error;
  }
};

const APIC_EOI = 0xfee000b0;
const UNUSED_VECTORS = [...range(0x10, 0x30), ...range(0x40, 0xec)];

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}

const RESET_MSR = 0x40000003;
const CRASH_CTL_MSR = 0x40000105;

const writesMsrs: Mischief = ({ cpu }, random) => {
  const msr = random.pick([
    0x40000000, 0x40000020, 0x40000070, 0x40000080, 0x400000b0, 0x40000100, 0x10, 0x1b, 0x800,
  ]);
  const which = msr + random.below(20);
  // Both would only end the guest.
  if (which === RESET_MSR || which === CRASH_CTL_MSR) return;
  attempt(() => cpu.wrmsr(which, random.u32(), random.oneIn(4) ? random.u32() : 0));
};

const postsMessages: Mischief = ({ cpu }, random) => {
  const page = 0x3000;
  const [type, sizeBytes] = [
    random.oneIn(8) ? random.u32() : 1,
    random.oneIn(8) ? random.u32() : random.below(241),
  ];
  for (const [at, value] of [random.pick([1, 4, random.u32()]), 0, type, sizeBytes].entries()) {
    cpu.store(page + 4 * at, 4, value);
  }
  // A message type of the bus, and random fields.
  cpu.store(page + 16, 4, random.below(30));
  for (let at = 4; at < 240; at += 4)
    cpu.store(page + 16 + at, 4, random.oneIn(2) ? random.below(8) : random.u32());
  call(cpu, 0x5c, page, 0);
};

const makesHypercalls: Mischief = ({ cpu }, random) => {
  const code = random.oneIn(3)
    ? random.below(0x10000)
    : random.pick([2, 3, 8, 0xb, 0x13, 0x14, 0x15, 0x50, 0x51, 0x5c, 0x5d, 0x8001]);
  const fast = random.oneIn(2) ? 0x10000 : 0;
  const [input, output] = [random.oneIn(2) ? random.below(64 * 1024) : random.u32(), random.below(64 * 1024)];
  call(cpu, (code | fast) >>> 0, input, output, random.pick([0, 0, 0, random.below(8), random.u32()]));
};

function call(cpu: Parameters<KitMain>[0]['cpu'], lo: number, input: number, output: number, hi = 0): void {
  const frame: HypercallFrame = {
    control: { lo, hi },
    input: { lo: input, hi: 0 },
    output: { lo: output, hi: 0 },
    result: { lo: 0, hi: 0 },
  };
  attempt(() => cpu.vmcall(frame));
}

const usesPorts: Mischief = ({ cpu }, random) => {
  const port =
    random.pick([0x1f0, 0x170, 0x3f6, 0xffa0, 0xcf8, 0x20, 0xa0, random.below(0x10000)]) + random.below(16);
  // Not the console, which would talk to the test.
  if (port > 0xffff || Math.abs(port - 0xe9) < 4) return;
  const sizeBytes = random.pick([1, 2, 4]);
  if (random.oneIn(3)) cpu.in(port, sizeBytes);
  else cpu.out(port, sizeBytes, sizeBytes === 4 ? random.u32() : random.below(2 ** (8 * sizeBytes)));
};

const storesAnywhere: Mischief = ({ cpu }, random) => {
  const gpa = random.pick([0xfee00000, 0xfec00000, 0xf8000000, 0xa0000]) + 16 * random.below(256);
  if (random.oneIn(2)) cpu.store(gpa, 4, random.u32());
  else cpu.load(gpa, 4);
};

/** Opens its disk's channel and then scribbles on the rings, their indices first. */
function ringScribbler(random: Random): VscDriver {
  const ringSizeBytes = 16 * 1024;
  return {
    id: 'scribbler',
    interfaceIds: ['ba6163d9-04a1-4d29-b605-72e2ffb1dc7f'],
    *attach(device, kernel) {
      // The kernel gives out memory from the bottom: the rings come to lie right behind this page.
      const rings = kernel.allocate(4096).gpa + 4096;
      const channel = yield* device.open({ ringSizeBytes });
      for (let round = 0; round < 200; round++) {
        const ring = rings + random.below(2) * ringSizeBytes;
        for (let i = 0; i < 4; i++) {
          const offset = random.oneIn(2) ? 4 * random.below(4) : 4 * random.below(ringSizeBytes / 4);
          kernel.cpu.store(ring + offset, 4, random.oneIn(2) ? random.u32() : 8 * random.below(1600));
        }
        attempt(() => {
          channel.trySend(random.bytes(random.below(128)), round, true);
          channel.flush();
          channel.read();
        });
        // The host looks at the rings when the guest has nothing else to do.
        if (random.oneIn(4)) yield* kernel.sleep(1000);
        else yield undefined;
      }
      yield* channel.close();
    },
  };
}

describe('beside a guest that misbehaves', () => {
  const kinds: readonly (readonly [string, Mischief | undefined])[] = [
    ['writes nonsense into its rings', undefined],
    ['writes MSRs at random', writesMsrs],
    ['posts garbage', postsMessages],
    ['makes hypercalls at random', makesHypercalls],
    ['uses ports at random', usesPorts],
    ['reaches for devices in memory', storesAnywhere],
  ];

  it.each(kinds)('the host and the other guests go on: one that %s', async (_name, mischief) => {
    const host = await createHost({ plugins: [guestKitPlugin, ...plugins] });
    const disk = ramDisk();
    const good = await host.createPartition({
      name: 'good',
      processor: 'kit',
      memoryBytes: 16 * MIB,
      devices: [scsi([disk])],
      guest: {
        kind: 'kit',
        options: {
          drivers: { ports: [], ...installed() },
          *main(kernel) {
            const [device] = yield* blockDevices(kernel, 1);
            for (let i = 0; i < 200; i++) {
              yield* write(kernel, device, 4096 * i, pattern(i, 4096));
              yield* expectAt(kernel, device, 4096 * i, pattern(i, 4096));
            }
          },
        } satisfies KitGuestOptions,
      },
    });
    let faults = 0;
    const bad = async (seed: number): Promise<PartitionEnd> => {
      const random = new Random(seed);
      const vscs = mischief === undefined ? [ringScribbler(random)] : installed().vscs;
      const partition = await host.createPartition({
        name: `bad${seed}`,
        processor: 'kit',
        memoryBytes: 8 * MIB,
        clock: 'virtual',
        devices: [scsi([ramDisk()]), ide([ramDisk()])],
        guest: {
          kind: 'kit',
          options: {
            drivers: { ...legacy(), vscs, ports: [] },
            *main(kernel) {
              // It would only harm itself by interrupts that it does not expect.
              for (const vector of UNUSED_VECTORS) {
                kernel.cpu.setInterruptHandler(vector, () => kernel.cpu.store(APIC_EOI, 4, 0));
              }
              for (let i = 0; i < 1500; i++) {
                mischief?.(kernel, random);
                if (mischief === undefined) yield* kernel.sleep(1000);
                else if (random.oneIn(8)) yield undefined;
              }
            },
          } satisfies KitGuestOptions,
        },
      });
      const ending = partition.run();
      // One that has put itself to sleep for good is ended from outside.
      const timer = setTimeout(() => partition.stop(), 100);
      const end = await ending;
      clearTimeout(timer);
      for (const [name, count] of Object.entries(partition.counters.snapshot())) {
        if (name.startsWith('fault.')) faults += count;
      }
      await partition.close();
      return end;
    };
    const running = good.run();
    for (let seed = 1; seed <= 3; seed++) {
      const { reason } = await bad(seed);
      expect(['guest-ended', 'crash', 'triple-fault', 'reset', 'stopped']).toContain(reason);
    }
    expect(faults).toBeGreaterThan(0);
    expect(await running).toEqual({ reason: 'guest-ended' });
    expect(await hostRead(disk, 4096 * 199, 4096)).toEqual(pattern(199, 4096));
    await host.close();
  });
});
