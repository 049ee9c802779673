import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { defaultFeatures, HvFeature } from './features.ts';
import { HvMsr, HvStimer } from './hv-msr.ts';
import { TestMachine } from './test-utils/machine.ts';

const VECTOR = 0xed;
const DIRECT = HvStimer.DIRECT | (VECTOR << HvStimer.VECTOR_SHIFT);
const SINT2 = 2 << HvStimer.SINT_SHIFT;
const { ENABLE, AUTO_ENABLE, PERIODIC, LAZY } = HvStimer;
const SIM_PAGE = 3;
const SLOT = SIM_PAGE * 4096 + 0x200;

const CONFIG = HvMsr.STIMER0_CONFIG;
const COUNT = HvMsr.STIMER0_COUNT;

function timerMachine(): TestMachine {
  const machine = new TestMachine();
  machine.enableApic();
  machine.wrmsr(HvMsr.SIMP, SIM_PAGE * 4096 + 1);
  machine.wrmsr(HvMsr.SINT0 + 2, 0xf3);
  machine.wrmsr(HvMsr.SCONTROL, 1);
  return machine;
}

describe('one-shot', () => {
  test('as Linux uses it: armed by COUNT, again and again', () => {
    const machine = timerMachine();
    machine.wrmsr(CONFIG, ENABLE | AUTO_ENABLE | DIRECT);
    machine.advanceTo(1000);
    expect(machine.drain()).toEqual([]);
    for (let round = 1; round <= 3; round++) {
      machine.wrmsr(COUNT, round * 100);
      machine.advanceTo(round * 10_000 - 1);
      expect(machine.drain()).toEqual([]);
      machine.advanceTo(round * 10_000);
      expect(machine.drain()).toEqual([VECTOR]);
      expect(machine.rdmsr(CONFIG)).toBe(BigInt(AUTO_ENABLE | DIRECT));
    }
    expect(machine.counters.snapshot()['stimer.expired']).toBe(3);
  });

  test('a count in the past expires at once', () => {
    const machine = timerMachine();
    machine.advanceTo(1_000_000);
    machine.wrmsr(CONFIG, AUTO_ENABLE | DIRECT);
    machine.wrmsr(COUNT, 5);
    expect(machine.drain()).toEqual([VECTOR]);
  });

  test('COUNT = 0 and CONFIG = 0 stop it', () => {
    for (const msr of [COUNT, CONFIG]) {
      const machine = timerMachine();
      machine.wrmsr(CONFIG, AUTO_ENABLE | DIRECT);
      machine.wrmsr(COUNT, 100);
      machine.wrmsr(msr, 0);
      expect((machine.rdmsr(CONFIG) as bigint) & 1n).toBe(0n);
      machine.advanceTo(1_000_000);
      expect(machine.drain()).toEqual([]);
    }
  });

  test('without auto-enable, COUNT alone starts nothing; enabling does', () => {
    const machine = timerMachine();
    machine.wrmsr(CONFIG, DIRECT);
    machine.wrmsr(COUNT, 100);
    machine.advanceTo(20_000);
    expect(machine.drain()).toEqual([]);
    machine.wrmsr(CONFIG, DIRECT | ENABLE);
    expect(machine.drain()).toEqual([VECTOR]);
  });

  test('a message timer cannot be enabled on SINT 0', () => {
    const machine = timerMachine();
    machine.wrmsr(CONFIG, ENABLE | AUTO_ENABLE);
    expect(machine.rdmsr(CONFIG)).toBe(BigInt(AUTO_ENABLE));
    machine.wrmsr(COUNT, 1);
    expect(machine.rdmsr(CONFIG)).toBe(BigInt(AUTO_ENABLE));
  });
});

describe('messages', () => {
  test('say which timer, when it expired and when that was delivered', () => {
    const machine = timerMachine();
    machine.wrmsr(CONFIG + 2, AUTO_ENABLE | SINT2);
    machine.wrmsr(COUNT + 2, 100);
    machine.stallTo(12_300);
    expect(machine.word(SLOT)).toBe(0x80000010);
    expect(machine.page(SIM_PAGE)[0x204]).toBe(24);
    expect([0, 4, 8, 12, 16, 20].map((at) => machine.word(SLOT + 16 + at))).toEqual([1, 0, 100, 0, 123, 0]);
    expect(machine.drain()).toEqual([0xf3]);
  });

  test('one that finds its slot busy waits, in the order of the queue', () => {
    const machine = timerMachine();
    machine.vp().postMessage(2, 1, new Uint8Array(1), 0);
    machine.wrmsr(CONFIG, AUTO_ENABLE | SINT2);
    machine.wrmsr(COUNT, 100);
    machine.advanceTo(10_000);
    machine.vp().postMessage(2, 1, new Uint8Array(1), 0);
    const types: number[] = [];
    machine.advanceTo(50_000);
    for (let type = machine.word(SLOT); type !== 0; type = machine.word(SLOT)) {
      types.push(type);
      if (type !== 1) expect([8, 16].map((at) => machine.word(SLOT + 16 + at))).toEqual([100, 500]);
      machine.setWord(SLOT, 0);
      machine.wrmsr(HvMsr.EOM, 0);
    }
    expect(types).toEqual([1, 0x80000010, 1]);
  });

  test('a periodic timer has one message under way, not many', () => {
    const machine = timerMachine();
    machine.vp().postMessage(2, 1, new Uint8Array(1), 0);
    machine.wrmsr(CONFIG, AUTO_ENABLE | PERIODIC | SINT2);
    machine.wrmsr(COUNT, 10);
    machine.advanceTo(10_500);
    const drained: number[] = [];
    for (let type = machine.word(SLOT); type !== 0; type = machine.word(SLOT)) {
      drained.push(type);
      machine.setWord(SLOT, 0);
      machine.wrmsr(HvMsr.EOM, 0);
    }
    expect(drained).toEqual([1, 0x80000010]);
    machine.advanceTo(11_000);
    expect(machine.word(SLOT)).toBe(0x80000010);
  });

  test('survives the SynIC being off when it expires', () => {
    const machine = timerMachine();
    machine.wrmsr(CONFIG, AUTO_ENABLE | SINT2);
    machine.wrmsr(COUNT, 10);
    machine.wrmsr(HvMsr.SCONTROL, 0);
    machine.advanceTo(10_000);
    expect(machine.word(SLOT)).toBe(0);
    machine.wrmsr(HvMsr.SCONTROL, 1);
    expect(machine.word(SLOT)).toBe(0x80000010);
  });

  test('stopping the timer takes back what was not delivered', () => {
    const machine = timerMachine();
    machine.vp().postMessage(2, 1, new Uint8Array(1), 0);
    machine.wrmsr(CONFIG, AUTO_ENABLE | SINT2);
    machine.wrmsr(COUNT, 10);
    machine.advanceTo(10_000);
    machine.wrmsr(CONFIG, 0);
    machine.setWord(SLOT, 0);
    machine.wrmsr(HvMsr.EOM, 0);
    expect(machine.word(SLOT)).toBe(0);
  });
});

describe('periodic', () => {
  test('neither drifts nor floods, however late it is served', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 500 }),
        fc.integer({ min: 0, max: 99 }),
        fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 30 }),
        (period, phaseNs, stalls) => {
          const machine = timerMachine();
          machine.clock.advance(1000 + phaseNs);
          machine.wrmsr(CONFIG, AUTO_ENABLE | PERIODIC | DIRECT);
          machine.wrmsr(COUNT, period);
          const expiries = (nowNs: number) => Math.floor((nowNs / 100 - 10) / period);
          let nowNs = machine.clock.nowNs();
          for (const stall of stalls) {
            const before = expiries(nowNs);
            nowNs += stall;
            machine.stallTo(nowNs);
            expect(machine.drain()).toEqual(expiries(nowNs) > before ? [VECTOR] : []);
            expect(machine.timers.nextNs()).toBe(1000 + (expiries(nowNs) + 1) * period * 100);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  test('a lazy one skips an expiry that is served shortly before the next, but not two in a row', () => {
    const machine = timerMachine();
    machine.wrmsr(CONFIG, AUTO_ENABLE | PERIODIC | LAZY | DIRECT);
    machine.wrmsr(COUNT, 100);
    machine.stallTo(19_000);
    expect(machine.drain()).toEqual([]);
    machine.stallTo(29_000);
    expect(machine.drain()).toEqual([VECTOR]);
    machine.advanceTo(30_000);
    expect(machine.drain()).toEqual([VECTOR]);
    machine.stallTo(45_000);
    expect(machine.drain()).toEqual([VECTOR]);
  });
});

describe('CONFIG', () => {
  test.each([1n << 13n, 1n << 20n, 1n << 32n])('refuses reserved bit %i', (value) => {
    expect(timerMachine().wrmsr(CONFIG, value)).toBe(false);
  });

  test('refuses direct mode where that is not offered', () => {
    const all = defaultFeatures(1);
    const machine = new TestMachine({
      features: { ...all, features: all.features & ~HvFeature.DIRECT_SYNTHETIC_TIMERS },
    });
    expect(machine.wrmsr(CONFIG, DIRECT | ENABLE)).toBe(false);
    expect(machine.wrmsr(CONFIG, SINT2 | ENABLE)).toBe(true);
  });
});
