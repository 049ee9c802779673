import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { I8254Counter } from './i8254.ts';
import { PIT_HZ, Pit } from './pit.ts';
import { fakeServices } from './test-utils/fakes.ts';
import { tickTimeNs } from './ticks.ts';

/**
 * The 8254 as its data sheet tells it, one clock pulse after another: what the counter must agree with at every
 * pulse, although it looks only now and then.
 */
class ReferenceCounter {
  mode = 0;
  gate = true;
  output = false;
  element = 0;
  count = 0;
  loaded = false;
  /** A load is due at the next pulse. */
  loading = false;
  armed = false;
  high = true;
  pending = 0;
  strobing = false;

  control(mode: number): void {
    this.mode = mode;
    this.output = mode !== 0;
    this.loaded = this.loading = this.armed = this.strobing = false;
    this.high = true;
    this.count = this.pending = 0;
  }

  write(count: number): void {
    switch (this.mode) {
      case 0:
        this.output = false;
        this.count = count;
        this.loading = true;
        return;
      case 4:
        this.count = count;
        this.loading = true;
        return;
      case 2:
      case 3:
        if (this.loaded) this.pending = count;
        else {
          this.count = count;
          this.loading = true;
        }
        return;
      default:
        this.count = count;
    }
  }

  setGate(level: boolean): void {
    const rises = level && !this.gate;
    this.gate = level;
    if (this.mode === 2 || this.mode === 3) {
      if (!level) this.output = true;
      else if (rises && (this.loaded || this.loading)) {
        if (this.pending !== 0) this.count = this.pending;
        this.pending = 0;
        this.loading = true;
        this.loaded = false;
      }
    } else if (rises && (this.mode === 1 || this.mode === 5) && this.count !== 0) this.loading = true;
  }

  pulse(): void {
    if (this.strobing) {
      this.strobing = false;
      this.output = true;
    }
    if (this.loading) {
      this.loading = false;
      this.loaded = true;
      this.armed = true;
      this.high = true;
      this.element = this.mode === 3 ? this.count & ~1 : this.count;
      if (this.mode === 1) this.output = false;
      return;
    }
    if (!this.loaded) return;
    const counts = this.gate || this.mode === 1 || this.mode === 5;
    if (!counts) return;
    switch (this.mode) {
      case 2:
        this.element--;
        if (this.element === 0) this.reload();
        this.output = this.element !== 1;
        return;
      case 3: {
        // Odd: the high half lasts until one pulse after zero, the low half ends with zero.
        const last = this.high && (this.count & 1) === 1 ? 0 : 2;
        if (this.element === last) {
          this.high = !this.high;
          this.reload();
          this.output = this.high;
        } else this.element -= 2;
        return;
      }
      default:
        this.element = (this.element - 1) & 0xffff;
        if (this.element !== 0 || !this.armed) return;
        this.armed = false;
        if (this.mode <= 1) this.output = true;
        else {
          this.output = false;
          this.strobing = true;
        }
    }
  }

  reload(): void {
    if (this.pending !== 0) this.count = this.pending;
    this.pending = 0;
    this.element = this.mode === 3 ? this.count & ~1 : this.count;
  }
}

describe('I8254Counter', () => {
  const controlFor = (mode: number) => 0x30 | (mode << 1);

  it('agrees with the data sheet at every pulse, in all modes', () => {
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant('wait' as const), pulses: fc.nat({ max: 30 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant('count' as const), count: fc.integer({ min: 3, max: 20 }) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('gate' as const), level: fc.boolean() }) },
    );
    fc.assert(
      fc.property(
        fc.nat({ max: 5 }),
        fc.array(action, { maxLength: 25 }),
        fc.nat({ max: 5 }),
        (mode, actions, skip) => {
          const counter = new I8254Counter(true);
          const reference = new ReferenceCounter();
          let tick = 0;
          counter.writeControl(controlFor(mode), tick);
          reference.control(mode);
          const compare = () => {
            const nextRise = counter.nextRise(tick);
            expect(counter.output(tick), `output at ${tick}`).toBe(reference.output);
            if (reference.loaded && !reference.loading) {
              counter.latchCount(tick);
              expect(counter.read(tick) | (counter.read(tick) << 8), `count at ${tick}`).toBe(
                reference.element,
              );
            }
            return nextRise;
          };
          for (const step of actions) {
            if (step.kind === 'count') {
              counter.write(step.count & 0xff, tick);
              // Counting must not go on in between, so both bytes come at one tick.
              counter.write(step.count >> 8, tick);
              reference.write(step.count);
            } else if (step.kind === 'gate') {
              // The strobe of mode 4 is compared with an open gate: what a gate that closes during it does is not said.
              if (mode === 4 && !reference.output) continue;
              counter.setGate(step.level, tick);
              reference.setGate(step.level);
            } else {
              for (let i = 0; i < step.pulses; i++) {
                const nextRise = counter.nextRise(tick);
                const before = reference.output;
                reference.pulse();
                tick++;
                expect(nextRise === tick, `rise at ${tick}`).toBe(!before && reference.output);
                // Looking rarely must give the same as looking at every pulse.
                if (i % (skip + 1) === 0) compare();
              }
            }
            compare();
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  it('sees the same, however rarely it looks', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 5 }),
        fc.integer({ min: 2, max: 0xffff }),
        fc.nat({ max: 1e6 }),
        (mode, count, ticks) => {
          const often = new I8254Counter(false);
          const once = new I8254Counter(false);
          for (const counter of [often, once]) {
            counter.writeControl(controlFor(mode), 0);
            counter.write(count & 0xff, 0);
            counter.write(count >> 8, 0);
            counter.setGate(true, 0);
          }
          for (let at = 0; at < ticks; at += 9973) often.output(at);
          expect(often.output(ticks)).toBe(once.output(ticks));
          expect(often.nextRise(ticks)).toBe(once.nextRise(ticks));
          often.latchCount(ticks);
          once.latchCount(ticks);
          expect([often.read(ticks), often.read(ticks)]).toEqual([once.read(ticks), once.read(ticks)]);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('Pit', () => {
  let services: ReturnType<typeof fakeServices>;
  let pit: Pit;

  beforeEach(() => {
    services = fakeServices();
    pit = new Pit(services);
  });

  const out = (port: number, value: number) => services.ports.out(port, value);
  const inb = (port: number) => services.ports.in(port);
  const atTick = (tick: number) => services.runTo(tickTimeNs(tick, PIT_HZ));
  /** Beside the one that the output begins with. */
  const rises = () => services.interruptLines.rises[0] - 1;
  const setCount = (counter: number, count: number) => {
    out(0x40 + counter, count & 0xff);
    out(0x40 + counter, count >> 8);
  };

  it('ticks at 100 Hz for an hour without drift', () => {
    const count = 11_932;
    out(0x43, 0x34);
    setCount(0, count);
    services.runTo(3600e9);
    // One pulse loads the count, then each period ends with a rise.
    expect(rises()).toBe(Math.floor((3600 * PIT_HZ - 1) / count));
  });

  it('makes one interrupt of the rises that a late timer missed, and keeps to the grid', () => {
    out(0x43, 0x34);
    setCount(0, 1000);
    services.clock.advance(tickTimeNs(10_500, PIT_HZ));
    services.timers.runDue();
    expect(rises()).toBe(1);
    atTick(11_000);
    expect(rises()).toBe(1);
    atTick(11_001);
    expect(rises()).toBe(2);
  });

  it('raises IRQ 0 once at the end of a mode 0 count, and lowers it when a new one is written', () => {
    out(0x43, 0x30);
    setCount(0, 500);
    atTick(500);
    expect(services.interruptLines.levels[0]).toBe(false);
    atTick(501);
    expect(services.interruptLines.levels[0]).toBe(true);
    atTick(100_000);
    expect(rises()).toBe(1);
    out(0x40, 10);
    expect(services.interruptLines.levels[0]).toBe(false);
  });

  it('stops interrupts when a counter is reprogrammed', () => {
    out(0x43, 0x34);
    setCount(0, 100);
    atTick(1050);
    expect(rises()).toBe(10);
    out(0x43, 0x30);
    atTick(5000);
    expect(rises()).toBe(10);
  });

  it("passes Linux's calibration: counter 2 in mode 0 behind port 61h", () => {
    out(0x61, (inb(0x61) & ~0x02) | 0x01);
    out(0x43, 0xb0);
    const latch = Math.floor(PIT_HZ / 20);
    setCount(2, latch);
    expect(inb(0x61) & 0x20).toBe(0);
    atTick(latch);
    expect(inb(0x61) & 0x20).toBe(0);
    atTick(latch + 1);
    expect(inb(0x61) & 0x20).toBe(0x20);
  });

  it("passes Linux's quick calibration: the high byte goes down one by one", () => {
    out(0x61, 0x01);
    out(0x43, 0xb0);
    setCount(2, 0xffff);
    const seen: number[] = [];
    for (let tick = 300; tick < 3000; tick += 256) {
      atTick(tick);
      inb(0x42);
      seen.push(inb(0x42));
    }
    expect(seen).toEqual(seen.map((_, i) => 0xfe - i));
  });

  it('counts only while the gate of counter 2 is open', () => {
    out(0x43, 0xb0);
    setCount(2, 1000);
    atTick(5000);
    out(0x43, 0x80);
    expect(inb(0x42) | (inb(0x42) << 8)).toBe(1000);
    out(0x61, 0x01);
    atTick(5400);
    out(0x43, 0x80);
    expect(inb(0x42) | (inb(0x42) << 8)).toBe(600);
  });

  it('keeps a latched count until it is read', () => {
    out(0x43, 0x34);
    setCount(0, 50_000);
    atTick(1001);
    out(0x43, 0x00);
    atTick(2001);
    out(0x43, 0x00);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(49_000);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(48_000);
  });

  it('reads status and count back, status first', () => {
    out(0x43, 0x36);
    out(0x43, 0xe2);
    expect(inb(0x40)).toBe(0x80 | 0x40 | 0x36);
    setCount(0, 1000);
    atTick(601);
    out(0x43, 0xc2);
    // The low half has begun at tick 501.
    expect(inb(0x40)).toBe(0x36);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(800);
  });

  it('reaches single bytes of the count', () => {
    out(0x43, 0x14);
    out(0x40, 200);
    atTick(51);
    expect(inb(0x40)).toBe(150);
    out(0x43, 0x24);
    out(0x40, 2);
    atTick(51 + 101);
    expect(inb(0x40)).toBe((512 - 100) >> 8);
  });

  it('counts in BCD', () => {
    out(0x43, 0x31);
    setCount(0, 0x1000);
    atTick(2);
    out(0x43, 0x00);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(0x0999);
    atTick(1001);
    expect(rises()).toBe(1);
    atTick(1002);
    out(0x43, 0x00);
    expect(inb(0x40) | (inb(0x40) << 8)).toBe(0x9999);
  });

  it('takes a count of 0 as 65536', () => {
    out(0x43, 0x34);
    setCount(0, 0);
    atTick(65_536);
    expect(rises()).toBe(0);
    atTick(65_537);
    expect(rises()).toBe(1);
  });

  it('keeps the low bits of port 61h, and toggles the refresh bit', () => {
    out(0x61, 0xff);
    expect(inb(0x61) & 0xcf).toBe(0x0f);
    const seen = new Set<number>();
    for (let tick = 0; tick < 40; tick++) {
      atTick(tick);
      seen.add(inb(0x61) & 0x10);
    }
    expect(seen.size).toBe(2);
  });

  it('cannot read its control word', () => {
    expect(inb(0x43)).toBe(0xff);
  });

  it('goes away with its timer', () => {
    out(0x43, 0x34);
    setCount(0, 100);
    pit.stop();
    services.runTo(1e9);
    expect(rises()).toBe(0);
    expect(services.ports.regions).toEqual([]);
  });

  it('bears any sequence of accesses', () => {
    const access = fc.tuple(
      fc.constantFrom(0x40, 0x41, 0x42, 0x43, 0x61),
      fc.nat({ max: 255 }),
      fc.nat({ max: 50_000 }),
    );
    fc.assert(
      fc.property(fc.array(access, { maxLength: 60 }), (accesses) => {
        const services = fakeServices();
        new Pit(services);
        for (const [port, value, ns] of accesses) {
          services.ports.out(port, value);
          services.runTo(services.clock.nowNs() + ns);
          expect(services.ports.in(port)).toBeLessThanOrEqual(0xff);
        }
      }),
      { numRuns: 200 },
    );
  });
});
