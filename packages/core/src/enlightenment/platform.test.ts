import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GpaAccess } from '../memory/gpa-space.ts';
import type { CpuidResult } from '../processor/contract.ts';
import { defaultFeatures, HvFeature, HvPrivilege } from './features.ts';
import { HvMsr } from './hv-msr.ts';
import { RAM_PAGES, TestMachine } from './test-utils/machine.ts';

const LINUX_OS_ID = 0x8100_0006_01c0_0000n;

function cpuid(machine: TestMachine, leaf: number): CpuidResult {
  const result = { eax: 0x11, ebx: 0x22, ecx: 0x33, edx: 0x44 };
  machine.vp().cpuid(leaf, 0, result);
  return result;
}

test('a guest that enables its pages finds room for them, whatever devices have taken', () => {
  const machine = new TestMachine({ vpCount: 2 });
  expect(() => machine.gpa.arena.take(1)).toThrow(expect.objectContaining({ code: 'OUT_OF_GUEST_MEMORY' }));
  machine.wrmsr(HvMsr.GUEST_OS_ID, 1);
  const pages = [HvMsr.HYPERCALL, HvMsr.REFERENCE_TSC];
  const own = [HvMsr.SIMP, HvMsr.SIEFP, HvMsr.VP_ASSIST_PAGE];
  for (const vp of [0, 1]) {
    for (const msr of vp === 0 ? [...pages, ...own] : own) expect(machine.wrmsr(msr, 0x5001, vp)).toBe(true);
  }
});

describe('CPUID', () => {
  test('what Linux checks before it calls the machine Hyper-V', () => {
    const machine = new TestMachine();
    expect(cpuid(machine, 1).ecx >>> 31).toBe(1);
    const identity = cpuid(machine, 0x40000000);
    expect(identity.eax).toBe(0x4000000a);
    const text = new Uint8Array(Uint32Array.of(identity.ebx, identity.ecx, identity.edx).buffer);
    expect(new TextDecoder().decode(text)).toBe('Microsoft Hv');
    expect(cpuid(machine, 0x40000001)).toEqual({ eax: 0x31237648, ebx: 0, ecx: 0, edx: 0 });
    expect(cpuid(machine, 0x40000003).eax & 0x60).toBe(0x60);
    expect(cpuid(machine, 0x40000004).ebx).toBe(0xffffffff);
  });

  test('the features are those of the guest contract, with all that is optional', () => {
    const one = new TestMachine();
    expect(cpuid(one, 0x40000003)).toEqual({ eax: 0xaff, ebx: 0x30, ecx: 0, edx: 0xe0500 });
    expect(cpuid(one, 0x40000004).eax).toBe(0x228);
    const several = new TestMachine({ vpCount: 2 });
    expect(cpuid(several, 0x40000004).eax).toBe(0x62c);
  });

  test('leaves that say nothing are zero', () => {
    for (const leaf of [0x40000006, 0x4000000a, 0x40000081, 0x40000082, 0x400000ff]) {
      expect(cpuid(new TestMachine(), leaf)).toEqual({ eax: 0, ebx: 0, ecx: 0, edx: 0 });
    }
  });

  test('hypercall privileges are the partition’s own', () => {
    const machine = new TestMachine({ hypercallPrivileges: () => 0x100030 });
    expect(cpuid(machine, 0x40000003).ebx).toBe(0x100030);
  });
});

describe('a partition that is not enlightened', () => {
  test('shows no trace of the hypervisor', () => {
    const machine = new TestMachine({ enlightened: false });
    expect(cpuid(machine, 1).ecx >>> 31).toBe(0);
    expect(cpuid(machine, 0x40000000)).toEqual({ eax: 0x11, ebx: 0x22, ecx: 0x33, edx: 0x44 });
    expect(machine.wrmsr(HvMsr.GUEST_OS_ID, 1)).toBe(false);
    expect(machine.rdmsr(HvMsr.TIME_REF_COUNT)).toBeUndefined();
    expect(machine.platform.hypercallsEnabled).toBe(false);
  });

  test('has a local APIC all the same', () => {
    const machine = new TestMachine({ enlightened: false });
    machine.enableApic();
    machine.vp().requestInterrupt(0x30);
    expect(machine.drain()).toEqual([0x30]);
  });
});

describe('hypercall page', () => {
  test('needs an OS id; then it covers the page with code that calls', () => {
    const machine = new TestMachine();
    machine.setWord(7 * 4096, 0xaaaa);
    machine.wrmsr(HvMsr.HYPERCALL, 7 * 4096 + 1);
    expect(machine.rdmsr(HvMsr.HYPERCALL)).toBe(7n * 4096n);
    expect(machine.platform.hypercallsEnabled).toBe(false);
    machine.wrmsr(HvMsr.GUEST_OS_ID, LINUX_OS_ID);
    machine.wrmsr(HvMsr.HYPERCALL, 7 * 4096 + 1);
    expect(machine.platform.hypercallsEnabled).toBe(true);
    expect([...machine.page(7).subarray(0, 5)]).toEqual([0x0f, 0x01, 0xc1, 0xc3, 0xcc]);
    expect(machine.page(7)[4095]).toBe(0xcc);
    expect(machine.gpa.accessOf(7)).toBe(GpaAccess.READ | GpaAccess.EXECUTE);
    machine.wrmsr(HvMsr.GUEST_OS_ID, 0);
    expect(machine.platform.hypercallsEnabled).toBe(false);
    expect((machine.rdmsr(HvMsr.HYPERCALL) as bigint) & 1n).toBe(0n);
    expect(machine.word(7 * 4096)).toBe(0xaaaa);
  });

  test('locked, it stays where it is', () => {
    const machine = new TestMachine();
    machine.wrmsr(HvMsr.GUEST_OS_ID, 1);
    machine.wrmsr(HvMsr.HYPERCALL, 7 * 4096 + 3);
    expect(machine.wrmsr(HvMsr.HYPERCALL, 8 * 4096 + 1)).toBe(false);
    machine.wrmsr(HvMsr.GUEST_OS_ID, 0);
    expect(machine.platform.hypercallsEnabled).toBe(true);
    expect(machine.rdmsr(HvMsr.HYPERCALL)).toBe(7n * 4096n + 3n);
  });

  test('does not go beyond the GPA space', () => {
    const machine = new TestMachine();
    machine.wrmsr(HvMsr.GUEST_OS_ID, 1);
    expect(machine.wrmsr(HvMsr.HYPERCALL, (1n << 52n) | 1n)).toBe(false);
  });

  test('is one for all VPs', () => {
    const machine = new TestMachine({ vpCount: 2 });
    machine.wrmsr(HvMsr.GUEST_OS_ID, LINUX_OS_ID, 0);
    machine.wrmsr(HvMsr.HYPERCALL, 7 * 4096 + 1, 1);
    expect(machine.rdmsr(HvMsr.HYPERCALL, 0)).toBe(7n * 4096n + 1n);
    expect(machine.rdmsr(HvMsr.GUEST_OS_ID, 1)).toBe(LINUX_OS_ID);
  });
});

describe('reference time', () => {
  const pageTime = (machine: TestMachine, tsc: bigint) => {
    const page = machine.page(6);
    const data = new DataView(page.buffer, page.byteOffset);
    expect(data.getUint32(0, true)).toBe(1);
    return ((tsc * data.getBigUint64(8, true)) >> 64n) + data.getBigInt64(16, true);
  };

  test('the counter and the TSC page agree', () => {
    const hz = fc.oneof(
      fc.integer({ min: 2, max: 500 }).map((tens) => tens * 10_000_000),
      fc.integer({ min: 1e8, max: 5e9 }),
    );
    fc.assert(
      fc.property(hz, fc.integer({ min: 0, max: 1e15 }), (tscFrequencyHz, nowNs) => {
        const machine = new TestMachine({ tscFrequencyHz });
        machine.clock.advance(nowNs);
        machine.wrmsr(HvMsr.REFERENCE_TSC, 6 * 4096 + 1);
        const counter = machine.rdmsr(HvMsr.TIME_REF_COUNT) as bigint;
        expect(counter).toBe(BigInt(nowNs) / 100n);
        const tsc = (BigInt(nowNs) * BigInt(tscFrequencyHz)) / 1_000_000_000n;
        const behind = counter - pageTime(machine, tsc);
        if (tscFrequencyHz % 10_000_000 === 0) expect(behind).toBe(0n);
        else expect(behind === 0n || behind === 1n).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  test('the counter is beyond 32 bits, and read-only', () => {
    const machine = new TestMachine();
    machine.clock.advance(2 ** 50);
    expect(machine.rdmsr(HvMsr.TIME_REF_COUNT)).toBe(2n ** 50n / 100n);
    expect(machine.wrmsr(HvMsr.TIME_REF_COUNT, 0)).toBe(false);
  });

  test('a TSC too slow for the page sends the guest to the counter', () => {
    const machine = new TestMachine({ tscFrequencyHz: 1e7 });
    machine.wrmsr(HvMsr.REFERENCE_TSC, 6 * 4096 + 1);
    expect(machine.word(6 * 4096)).toBe(0);
  });

  test('frequencies', () => {
    const machine = new TestMachine({ tscFrequencyHz: 5e9 });
    expect(machine.rdmsr(HvMsr.TSC_FREQUENCY)).toBe(5_000_000_000n);
    expect(machine.rdmsr(HvMsr.APIC_FREQUENCY)).toBe(200_000_000n);
  });

  test('the page goes away and comes back', () => {
    const machine = new TestMachine();
    machine.wrmsr(HvMsr.REFERENCE_TSC, 6 * 4096 + 1);
    machine.wrmsr(HvMsr.REFERENCE_TSC, 6 * 4096);
    expect(machine.word(6 * 4096)).toBe(0);
    machine.wrmsr(HvMsr.REFERENCE_TSC, 8 * 4096 + 1);
    expect(machine.word(8 * 4096)).toBe(1);
  });
});

describe('crash', () => {
  const notify = 1n << 63n;
  const message = 1n << 62n;

  test('parameters are reported when the control register says so', () => {
    const machine = new TestMachine({ vpCount: 2 });
    for (let i = 0; i < 5; i++) machine.wrmsr(HvMsr.CRASH_P0 + i, BigInt(i) << 40n, 1);
    expect(machine.rdmsr(HvMsr.CRASH_P4, 0)).toBe(4n << 40n);
    expect(machine.rdmsr(HvMsr.CRASH_CTL)).toBe(notify | message);
    machine.wrmsr(HvMsr.CRASH_CTL, message);
    expect(machine.crashes).toEqual([]);
    machine.wrmsr(HvMsr.CRASH_CTL, notify);
    expect(machine.crashes).toEqual([
      { parameters: [0n, 1n << 40n, 2n << 40n, 3n << 40n, 4n << 40n], message: undefined },
    ]);
  });

  test('a message comes from guest memory, 4096 bytes of it at most', () => {
    const machine = new TestMachine();
    machine.gpa.write(0x1ffc, new TextEncoder().encode('Kernel panic'));
    machine.wrmsr(HvMsr.CRASH_P0 + 3, 0x1ffc);
    machine.wrmsr(HvMsr.CRASH_P4, 12);
    machine.wrmsr(HvMsr.CRASH_CTL, notify | message);
    expect(machine.crashes[0].message).toBe('Kernel panic');
    machine.gpa.write(0x3000, new Uint8Array(8192).fill(0x61));
    machine.wrmsr(HvMsr.CRASH_P0 + 3, 0x3000);
    machine.wrmsr(HvMsr.CRASH_P4, 2n ** 64n - 1n);
    machine.wrmsr(HvMsr.CRASH_CTL, notify | message);
    expect(machine.crashes[1].message).toHaveLength(4096);
  });

  test.each([RAM_PAGES * 4096, 2n ** 64n - 8n])('a message that is nowhere (0x%x) is none', (gpa) => {
    const machine = new TestMachine();
    machine.wrmsr(HvMsr.CRASH_P0 + 3, gpa);
    machine.wrmsr(HvMsr.CRASH_P4, 100);
    machine.wrmsr(HvMsr.CRASH_CTL, notify | message);
    expect(machine.crashes[0].message).toBeUndefined();
  });
});

describe('the other MSRs', () => {
  test('VP_INDEX, VP_RUNTIME and RESET', () => {
    const machine = new TestMachine({ vpCount: 3 });
    expect(machine.rdmsr(HvMsr.VP_INDEX, 2)).toBe(2n);
    machine.vp(2).addRunTime(1250);
    expect(machine.rdmsr(HvMsr.VP_RUNTIME, 2)).toBe(12n);
    expect(machine.rdmsr(HvMsr.VP_RUNTIME, 1)).toBe(0n);
    machine.wrmsr(HvMsr.RESET, 0);
    expect(machine.resets).toBe(0);
    machine.wrmsr(HvMsr.RESET, 1);
    expect(machine.resets).toBe(1);
  });

  test('EOI, ICR and TPR are those of the local APIC', () => {
    const machine = new TestMachine({ vpCount: 2 });
    machine.enableApic(0);
    machine.enableApic(1);
    machine.wrmsr(HvMsr.ICR, (1n << 56n) | 0x4041n);
    expect(machine.rdmsr(HvMsr.ICR)).toBe((1n << 56n) | 0x4041n);
    machine.wrmsr(HvMsr.TPR, 0x40, 1);
    expect(machine.vp(1).readTaskPriority()).toBe(4);
    expect(machine.vp(1).acknowledgeInterrupt()).toBe(-1);
    machine.wrmsr(HvMsr.TPR, 0x30, 1);
    expect(machine.vp(1).acknowledgeInterrupt()).toBe(0x41);
    machine.wrmsr(HvMsr.EOI, 0, 1);
    expect(machine.vp(1).apicRead(0x120, 4)).toBe(0);
    expect(machine.rdmsr(HvMsr.EOI)).toBeUndefined();
    expect(machine.wrmsr(HvMsr.TPR, 0x100)).toBe(false);
  });

  test('the assist page is an overlay with the no-EOI bit clear', () => {
    const machine = new TestMachine();
    machine.setWord(9 * 4096, 1);
    expect(machine.wrmsr(HvMsr.VP_ASSIST_PAGE, 9 * 4096 + 1)).toBe(true);
    expect(machine.word(9 * 4096)).toBe(0);
    expect(machine.gpa.accessOf(9)).toBe(GpaAccess.READ_WRITE);
  });

  test.each([
    [HvPrivilege.VP_RUNTIME, HvMsr.VP_RUNTIME],
    [HvPrivilege.REFERENCE_COUNTER, HvMsr.TIME_REF_COUNT],
    [HvPrivilege.SYNIC, HvMsr.SINT0 + 3],
    [HvPrivilege.SYNTHETIC_TIMERS, HvMsr.STIMER3_COUNT],
    [HvPrivilege.APIC, HvMsr.TPR],
    [HvPrivilege.HYPERCALL, HvMsr.GUEST_OS_ID],
    [HvPrivilege.VP_INDEX, HvMsr.VP_INDEX],
    [HvPrivilege.RESET, HvMsr.RESET],
    [HvPrivilege.REFERENCE_TSC, HvMsr.REFERENCE_TSC],
    [HvPrivilege.FREQUENCY, HvMsr.APIC_FREQUENCY],
  ])('without privilege 0x%x, MSR 0x%x raises #GP', (privilege, msr) => {
    const all = defaultFeatures(1);
    const machine = new TestMachine({ features: { ...all, privileges: all.privileges & ~privilege } });
    expect(machine.rdmsr(msr)).toBeUndefined();
    expect(machine.wrmsr(msr, 0)).toBe(false);
    expect(new TestMachine().rdmsr(msr)).toBeDefined();
  });

  test('crash MSRs have a feature bit; the assist page needs nothing', () => {
    const all = defaultFeatures(1);
    const machine = new TestMachine({
      features: { ...all, privileges: 0, features: all.features & ~HvFeature.CRASH_MSRS },
    });
    expect(machine.rdmsr(HvMsr.CRASH_CTL)).toBeUndefined();
    expect(machine.wrmsr(HvMsr.VP_ASSIST_PAGE, 0)).toBe(true);
  });

  test('what does not exist is refused and counted', () => {
    const machine = new TestMachine();
    expect(machine.rdmsr(0x400000f0)).toBeUndefined();
    expect(machine.wrmsr(0x40000118, 1)).toBe(false);
    expect(machine.counters.snapshot()).toMatchObject({ 'fault.msr.read': 1, 'fault.msr.write': 1 });
    expect(machine.rdmsr(0x174)).toBeUndefined();
    expect(machine.counters.snapshot()['fault.msr.read']).toBe(1);
  });
});

test('no sequence of MSR accesses throws, and what is read is two unsigned halves', () => {
  const known = Object.values(HvMsr);
  const msr = fc.oneof(
    fc.constantFrom(...known),
    fc.integer({ min: 0x40000070, max: 0x400000b7 }),
    fc.integer({ min: 0x40000000, max: 0x40001000 }),
    fc.integer({ min: 0x800, max: 0x8ff }),
    fc.constantFrom(0x1b, 0x6e0),
  );
  const word = fc.oneof(
    fc.nat(0xffff),
    fc.integer({ min: 0, max: 0xffffffff }),
    fc.nat(0x1fff).map((page) => page * 4096 + 1),
  );
  const step = fc.record({
    kind: fc.constantFrom('write', 'write', 'read', 'time', 'message', 'event', 'acknowledge', 'apic'),
    msr,
    lo: word,
    hi: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: word }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const machine = new TestMachine({ vpCount: 2 });
      machine.enableApic();
      const value = { lo: 0, hi: 0 };
      for (const { kind, msr, lo, hi } of steps) {
        switch (kind) {
          case 'write':
            machine.vp().msrWrite(msr, { lo, hi });
            break;
          case 'time':
            machine.stallTo(machine.clock.nowNs() + lo);
            break;
          case 'message':
            machine.vp().postMessage(lo % 16, 1, new Uint8Array(hi % 241), lo);
            break;
          case 'event':
            machine.vp().signalEvent(lo % 16, hi % 2048);
            break;
          case 'acknowledge':
            machine.vp().acknowledgeInterrupt();
            break;
          case 'apic':
            machine.vp().apicWrite(lo & 0xff0, 4, hi);
        }
        if (machine.vp().msrRead(msr, value)) {
          expect(value.lo >>> 0).toBe(value.lo);
          expect(value.hi >>> 0).toBe(value.hi);
        }
      }
      machine.platform.dispose();
      expect(machine.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
    }),
    { numRuns: 200 },
  );
});
