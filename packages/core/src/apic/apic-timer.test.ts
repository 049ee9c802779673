import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TestMachine } from '../enlightenment/test-utils/machine.ts';
import { ApicRegister, IA32_TSC_DEADLINE, LVT_MASKED } from './registers.ts';

const VECTOR = 0xec;
const PERIODIC = 1 << 17;
const DEADLINE = 2 << 17;

function machineWith(lvt: number, divide = 0xb): TestMachine {
  const machine = new TestMachine({ tscFrequencyHz: 2.5e9 });
  machine.enableApic();
  machine.vp().apicWrite(ApicRegister.DIVIDE_CONFIGURATION, 4, divide);
  machine.vp().apicWrite(ApicRegister.LVT_TIMER, 4, lvt);
  return machine;
}

const start = (machine: TestMachine, count: number) =>
  machine.vp().apicWrite(ApicRegister.INITIAL_COUNT, 4, count);
const current = (machine: TestMachine) => machine.vp().apicRead(ApicRegister.CURRENT_COUNT, 4);

describe('one-shot', () => {
  test('expires once, after the count at 200 MHz over the divisor', () => {
    const machine = machineWith(VECTOR, 0x3);
    start(machine, 1000);
    machine.advanceTo(40_000);
    expect(current(machine)).toBe(500);
    machine.advanceTo(79_999);
    expect(machine.drain()).toEqual([]);
    machine.advanceTo(1_000_000);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(current(machine)).toBe(0);
    expect(machine.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });

  test.each([
    [0x0, 2],
    [0x1, 4],
    [0x2, 8],
    [0x3, 16],
    [0x8, 32],
    [0x9, 64],
    [0xa, 128],
    [0xb, 1],
  ])('divide configuration %i divides by %i', (configuration, divisor) => {
    const machine = machineWith(VECTOR, configuration);
    start(machine, 10);
    expect(machine.timers.nextNs()).toBe(50 * divisor);
  });

  test('a new divisor holds for what is left', () => {
    const machine = machineWith(VECTOR);
    start(machine, 100);
    machine.advanceTo(250);
    machine.vp().apicWrite(ApicRegister.DIVIDE_CONFIGURATION, 4, 0);
    expect(machine.timers.nextNs()).toBe(250 + 50 * 10);
  });

  test('counts while masked, and what expired then is gone', () => {
    const machine = machineWith(VECTOR | LVT_MASKED);
    start(machine, 100);
    expect(machine.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
    machine.advanceTo(200);
    expect(current(machine)).toBe(60);
    machine.advanceTo(600);
    machine.vp().apicWrite(ApicRegister.LVT_TIMER, 4, VECTOR);
    machine.advanceTo(2000);
    expect(machine.drain()).toEqual([]);
  });

  test('an initial count of zero stops it', () => {
    const machine = machineWith(VECTOR);
    start(machine, 100);
    start(machine, 0);
    machine.advanceTo(10_000);
    expect(machine.drain()).toEqual([]);
  });
});

describe('periodic', () => {
  test('stays on the grid of its start, however late it is served', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5000 }),
        fc.array(fc.integer({ min: 1, max: 100_000 }), { maxLength: 30 }),
        (count, stalls) => {
          const machine = machineWith(VECTOR | PERIODIC);
          machine.clock.advance(17);
          start(machine, count);
          const periodNs = count * 5;
          let nowNs = 17;
          for (const stall of stalls) {
            const before = Math.floor((nowNs - 17) / periodNs);
            nowNs += stall;
            machine.stallTo(nowNs);
            const expired = Math.floor((nowNs - 17) / periodNs) > before;
            expect(machine.drain()).toEqual(expired ? [VECTOR] : []);
            const next = 17 + (Math.floor((nowNs - 17) / periodNs) + 1) * periodNs;
            expect(machine.timers.nextNs()).toBe(next);
            expect(current(machine)).toBe(Math.ceil((next - nowNs) / 5));
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test('comes back onto its grid after it was masked', () => {
    const machine = machineWith(VECTOR | PERIODIC | LVT_MASKED);
    start(machine, 100);
    machine.advanceTo(1700);
    machine.vp().apicWrite(ApicRegister.LVT_TIMER, 4, VECTOR | PERIODIC);
    expect(machine.timers.nextNs()).toBe(2000);
  });
});

describe('TSC deadline', () => {
  test('expires when the TSC gets there, once', () => {
    const machine = machineWith(VECTOR | DEADLINE);
    machine.wrmsr(IA32_TSC_DEADLINE, 2_500_000);
    expect(machine.rdmsr(IA32_TSC_DEADLINE)).toBe(2_500_000n);
    machine.advanceTo(999_999);
    expect(machine.drain()).toEqual([]);
    machine.advanceTo(1_000_000);
    expect(machine.drain()).toEqual([VECTOR]);
    expect(machine.rdmsr(IA32_TSC_DEADLINE)).toBe(0n);
  });

  test('the counts are without effect in it, and the deadline in the others', () => {
    const machine = machineWith(VECTOR | DEADLINE);
    start(machine, 100);
    expect(machine.vp().apicRead(ApicRegister.INITIAL_COUNT, 4)).toBe(0);
    machine.wrmsr(IA32_TSC_DEADLINE, 1000);
    machine.vp().apicWrite(ApicRegister.LVT_TIMER, 4, VECTOR);
    expect(machine.rdmsr(IA32_TSC_DEADLINE)).toBe(0n);
    expect(machine.wrmsr(IA32_TSC_DEADLINE, 1000)).toBe(true);
    machine.advanceTo(10_000);
    expect(machine.drain()).toEqual([]);
  });

  test('zero disarms', () => {
    const machine = machineWith(VECTOR | DEADLINE);
    machine.wrmsr(IA32_TSC_DEADLINE, 1000);
    machine.wrmsr(IA32_TSC_DEADLINE, 0);
    expect(machine.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });
});
