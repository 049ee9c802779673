import type { GuestCpu, HypercallFrame } from '@kensho/core';
import type { KitProgram } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { describe, expect, it } from 'vitest';
import { runGuest } from '../src/index.ts';
import {
  blockDevices,
  expectAt,
  installed,
  pattern,
  plugins,
  ramDisk,
  scsi,
  succeeded,
  write,
} from './test-utils/storage.ts';

const VPS = 4;
/** One word for each VP, in memory that the kernel does not use. */
const STARTED = 0x2000;
const COUNT = 0x2100;
const word = (base: number, vpIndex: number) => base + 4 * vpIndex;

const IPI_VECTOR = 0x41;
const APIC_EOI = 0xfee000b0;
const APIC_SVR = 0xfee000f0;
const APIC_ICR_LOW = 0xfee00300;
const APIC_ICR_HIGH = 0xfee00310;
const ALL_BUT_SELF = 3 << 18;
const HVCALL_SEND_SYNTHETIC_CLUSTER_IPI = 0x0b;
const FAST = 0x10000;

function increment(cpu: GuestCpu, gpa: number): void {
  for (;;) {
    const before = cpu.load(gpa, 4);
    if (cpu.compareExchange(gpa, before, before + 1) === before) return;
  }
}

/** Counts the interrupts that it gets, and halts meanwhile. */
const countsInterrupts: KitProgram = function* (cpu) {
  cpu.setInterruptHandler(IPI_VECTOR, () => {
    increment(cpu, word(COUNT, cpu.index));
    cpu.store(APIC_EOI, 4, 0);
  });
  cpu.store(APIC_SVR, 4, 0x1ff);
  increment(cpu, word(STARTED, cpu.index));
  for (;;) {
    cpu.sti();
    yield 'hlt';
  }
};

describe('several VPs in a partition', () => {
  const others = [1, 2, 3];
  const counts = (cpu: GuestCpu, base: number) => others.map((vp) => cpu.load(word(base, vp), 4));

  it('start by INIT and SIPI, not before, and take IPIs of every kind', async () => {
    const seen: Record<string, number[]> = {};
    succeeded(
      await runGuest({
        plugins: [vmbusPlugin],
        vpCount: VPS,
        secondary: () => countsInterrupts,
        *main(kernel) {
          const { cpu } = kernel;
          const look = function* (when: string) {
            yield* kernel.sleep(1e5);
            seen[when] = counts(cpu, COUNT);
          };
          yield* kernel.sleep(1e6);
          seen['before SIPI'] = counts(cpu, STARTED);
          for (const vp of others) kernel.startProcessor(vp);
          yield* kernel.sleep(1e6);
          seen['after SIPI'] = counts(cpu, STARTED);

          cpu.store(APIC_ICR_HIGH, 4, 2 << 24);
          cpu.store(APIC_ICR_LOW, 4, IPI_VECTOR);
          yield* look('to VP 2');
          cpu.store(APIC_ICR_LOW, 4, ALL_BUT_SELF | IPI_VECTOR);
          yield* look('to all others');
          const frame: HypercallFrame = {
            control: { lo: HVCALL_SEND_SYNTHETIC_CLUSTER_IPI | FAST, hi: 0 },
            input: { lo: IPI_VECTOR, hi: 0 },
            output: { lo: 0b1010, hi: 0 },
            result: { lo: 0, hi: 0 },
          };
          cpu.vmcall(frame);
          expect(frame.result.lo & 0xffff).toBe(0);
          yield* look('by hypercall to VPs 1 and 3');
          // Once more from the start: the program begins anew.
          kernel.startProcessor(3);
          yield* kernel.sleep(1e6);
          seen['after INIT and SIPI again'] = counts(cpu, STARTED);
        },
      }),
    );
    expect(seen).toEqual({
      'before SIPI': [0, 0, 0],
      'after SIPI': [1, 1, 1],
      'to VP 2': [0, 1, 0],
      'to all others': [1, 2, 1],
      'by hypercall to VPs 1 and 3': [2, 2, 2],
      'after INIT and SIPI again': [1, 1, 2],
    });
  });

  it('take fair turns, and leave the boot processor its I/O', async () => {
    const disk = ramDisk();
    let shares: number[] = [];
    const spins: KitProgram = function* (cpu) {
      for (;;) {
        increment(cpu, word(COUNT, cpu.index));
        // One of them says that it spins, the others take all they can get.
        yield cpu.index === 1 ? 'pause' : undefined;
      }
    };
    succeeded(
      await runGuest({
        plugins,
        vpCount: VPS,
        devices: [scsi([disk])],
        drivers: installed(),
        secondary: () => spins,
        *main(kernel) {
          for (const vp of others) kernel.startProcessor(vp);
          const [device] = yield* blockDevices(kernel, 1);
          for (let i = 0; i < 10; i++) {
            yield* write(kernel, device, 4096 * i, pattern(i, 4096));
            yield* expectAt(kernel, device, 4096 * i, pattern(i, 4096));
          }
          shares = counts(kernel.cpu, COUNT);
        },
      }),
    );
    const [pausing, ...greedy] = shares;
    expect(pausing).toBeGreaterThan(0);
    expect(Math.max(...greedy) / Math.min(...greedy)).toBeLessThan(1.1);
  });

  it('halt where the guest does not say what else they do', async () => {
    const run = succeeded(
      await runGuest({
        plugins: [vmbusPlugin],
        vpCount: 2,
        *main(kernel) {
          kernel.startProcessor(1);
          yield* kernel.sleep(1e6);
        },
      }),
    );
    expect(run.end).toEqual({ reason: 'guest-ended' });
  });
});
