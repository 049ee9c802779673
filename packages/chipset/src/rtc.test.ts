import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rtc, type RtcOptions } from './rtc.ts';
import { fakeServices } from './test-utils/fakes.ts';

const BASE_MS = Date.UTC(2026, 1, 28, 23, 59, 58);
const MIB = 2 ** 20;
const bcd = (value: number) => (Math.floor(value / 10) << 4) | (value % 10);

function setUp(options: RtcOptions = { baseTimeMs: BASE_MS }, memoryBytes = 64 * MIB) {
  const services = fakeServices();
  const rtc = new Rtc({ ...services, memoryBytes }, options);
  const read = (register: number) => {
    services.ports.out(0x70, register);
    return services.ports.in(0x71);
  };
  const write = (register: number, value: number) => {
    services.ports.out(0x70, register);
    services.ports.out(0x71, value);
  };
  const time = () => [0x32, 9, 8, 7, 4, 2, 0].map(read);
  const { interruptLines } = services;
  return {
    ...services,
    rtc,
    read,
    write,
    time,
    raised: () => interruptLines.levels[8],
    rises: () => interruptLines.rises[8],
  };
}

describe('the time', () => {
  it('begins at the base time and goes on with the clock', () => {
    const { time, read, runTo } = setUp();
    expect(time()).toEqual([0x20, 0x26, 0x02, 0x28, 0x23, 0x59, 0x58]);
    expect(read(6)).toBe(7);
    runTo(1.999999999e9);
    expect(time()).toEqual([0x20, 0x26, 0x02, 0x28, 0x23, 0x59, 0x59]);
    runTo(2e9);
    expect(time()).toEqual([0x20, 0x26, 0x03, 0x01, 0x00, 0x00, 0x00]);
    expect(read(6)).toBe(1);
  });

  it('keeps the fraction of a second of the base time', () => {
    const { read, runTo } = setUp({ baseTimeMs: BASE_MS + 250 });
    runTo(0.749999999e9);
    expect(read(0)).toBe(0x58);
    runTo(0.75e9);
    expect(read(0)).toBe(0x59);
  });

  it('agrees with Date in every format, at any moment', () => {
    const moment = fc.date({ min: new Date(0), max: new Date('9990-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(
        moment,
        fc.nat({ max: 1e6 }),
        fc.boolean(),
        fc.boolean(),
        (base, seconds, binary, hours24) => {
          const { time, write, read, runTo } = setUp({ baseTimeMs: base.getTime() });
          write(0x0b, (binary ? 4 : 0) | (hours24 ? 2 : 0));
          runTo(seconds * 1e9);
          const date = new Date(base.getTime() + seconds * 1000);
          const number = (value: number) => (binary ? value : bcd(value));
          const year = date.getUTCFullYear();
          const hours = date.getUTCHours();
          expect(time()).toEqual([
            number(Math.floor(year / 100)),
            number(year % 100),
            number(date.getUTCMonth() + 1),
            number(date.getUTCDate()),
            hours24 ? number(hours) : number(hours % 12 || 12) | (hours >= 12 ? 0x80 : 0),
            number(date.getUTCMinutes()),
            number(date.getUTCSeconds()),
          ]);
          expect(read(6)).toBe(date.getUTCDay() + 1);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('is what the guest sets, in every format', () => {
    const moment = fc.date({ min: new Date(0), max: new Date('9990-01-01'), noInvalidDate: true });
    fc.assert(
      fc.property(moment, fc.nat({ max: 2e9 }), fc.boolean(), fc.boolean(), (set, ns, binary, hours24) => {
        const { time, write, runTo, read } = setUp();
        runTo(ns);
        const b = (binary ? 4 : 0) | (hours24 ? 2 : 0);
        const number = (value: number) => (binary ? value : bcd(value));
        const hours = set.getUTCHours();
        const year = set.getUTCFullYear();
        const written = [
          number(Math.floor(year / 100)),
          number(year % 100),
          number(set.getUTCMonth() + 1),
          number(set.getUTCDate()),
          hours24 ? number(hours) : number(hours % 12 || 12) | (hours >= 12 ? 0x80 : 0),
          number(set.getUTCMinutes()),
          number(set.getUTCSeconds()),
        ];
        write(0x0b, 0x80 | b);
        for (const [i, register] of [0x32, 9, 8, 7, 4, 2, 0].entries()) write(register, written[i]);
        write(6, number(set.getUTCDay() + 1));
        runTo(ns + 7.5e9);
        expect(time()).toEqual(written);
        write(0x0b, b);
        expect(time()).toEqual(written);
        expect(read(6)).toBe(set.getUTCDay() + 1);
        runTo(ns + 8.5e9);
        expect(read(0)).toBe(number((set.getUTCSeconds() + 1) % 60));
      }),
      { numRuns: 100 },
    );
  });

  it('takes a day of the week that is not the calendar one', () => {
    const { read, write, runTo } = setUp();
    write(6, 3);
    expect(read(6)).toBe(3);
    runTo(86_400e9 * 5);
    expect(read(6)).toBe(1);
  });

  it("follows Linux's way to set it: the first update is half a second after the divider's reset", () => {
    const { read, write, runTo } = setUp();
    runTo(0.3e9);
    write(0x0b, 0x82);
    write(0x0a, 0x76);
    for (const [register, value] of [
      [9, 0x30],
      [8, 0x12],
      [7, 0x31],
      [4, 0x23],
      [2, 0x59],
      [0, 0x59],
    ]) {
      write(register, value);
    }
    write(0x0b, 0x02);
    write(0x0a, 0x26);
    expect(read(0)).toBe(0x59);
    runTo(0.799999999e9);
    expect(read(9)).toBe(0x30);
    runTo(0.8e9);
    expect([read(9), read(8), read(7), read(4)]).toEqual([0x31, 0x01, 0x01, 0x00]);
  });

  it('is being updated for 2228 µs before each change, and never while it is held', () => {
    const { read, write, runTo } = setUp();
    runTo(0.997771999e9);
    expect(read(0x0a)).toBe(0x26);
    runTo(0.997772e9);
    expect(read(0x0a)).toBe(0xa6);
    write(0x0b, 0x82);
    expect(read(0x0a)).toBe(0x26);
    write(0x0b, 0x02);
    runTo(1e9);
    expect(read(0x0a)).toBe(0x26);
    expect(read(0)).toBe(0x59);
  });
});

describe('interrupts', () => {
  it('periodic ones come at the rate of register A, without drift', () => {
    const { write, read, runTo, rises } = setUp();
    write(0x0b, 0x42);
    write(0x0a, 0x26);
    let served = 0;
    for (let i = 1; i <= 10 * 1024; i++) {
      runTo(Math.ceil((i * 1e9) / 1024));
      if ((read(0x0c) & 0xc0) === 0xc0) served++;
    }
    expect(served).toBe(10 * 1024);
    expect(rises()).toBe(10 * 1024);
  });

  it.each([
    [3, 8192],
    [6, 1024],
    [15, 2],
    [1, 256],
    [2, 128],
  ])('rate %i is %i Hz', (rate, hz) => {
    const { write, read, runTo, raised } = setUp();
    write(0x0a, 0x20 | rate);
    write(0x0b, 0x42);
    runTo(Math.ceil(1e9 / hz) - 1);
    expect(raised()).toBe(false);
    runTo(Math.ceil(1e9 / hz));
    expect(raised()).toBe(true);
    expect(read(0x0c)).toBe(0xc0);
    expect(raised()).toBe(false);
    expect(read(0x0c)).toBe(0);
  });

  it('the end of an update raises one until register C is read', () => {
    const { write, read, runTo, raised, rises } = setUp();
    write(0x0b, 0x12);
    runTo(0.999999999e9);
    expect(raised()).toBe(false);
    runTo(5e9);
    expect(raised()).toBe(true);
    expect(rises()).toBe(1);
    expect(read(0x0c) & 0x90).toBe(0x90);
    expect(raised()).toBe(false);
    runTo(6e9);
    expect(rises()).toBe(2);
  });

  it('flags are set with interrupts off, and raise the line when those come on', () => {
    const { write, read, runTo, raised } = setUp();
    runTo(1.5e9);
    expect(raised()).toBe(false);
    write(0x0b, 0x12);
    expect(raised()).toBe(true);
    expect(read(0x0c)).toBe(0xd0);
  });

  it('an alarm comes at its second, every day', () => {
    const { write, read, runTo, raised, rises } = setUp();
    write(5, 0x00);
    write(3, 0x00);
    write(1, 0x05);
    write(0x0b, 0x22);
    runTo(6.999999999e9);
    expect(raised()).toBe(false);
    runTo(7e9);
    expect(read(0x0c) & 0xa0).toBe(0xa0);
    runTo(7e9 + 86_400e9);
    expect(rises()).toBe(2);
  });

  it('an alarm with a wildcard hour comes every hour, one that is no time never', () => {
    const { write, read, runTo, rises } = setUp();
    write(5, 0xff);
    write(3, 0x30);
    write(1, 0x00);
    write(0x0b, 0x22);
    for (let hour = 0; hour < 5; hour++) {
      runTo((hour + 1) * 3600e9);
      expect(read(0x0c) & 0x20).toBe(0x20);
    }
    expect(rises()).toBe(5);
    write(3, 0x75);
    runTo(10 * 86_400e9);
    expect(rises()).toBe(5);
  });

  it('an alarm in 12-hour format knows noon', () => {
    const { write, runTo, rises } = setUp();
    write(0x0b, 0x00);
    write(5, 0x92);
    write(3, 0x00);
    write(1, 0x00);
    write(0x0b, 0x20);
    runTo((12 * 3600 + 1) * 1e9);
    expect(rises()).toBe(0);
    runTo((12 * 3600 + 2) * 1e9);
    expect(rises()).toBe(1);
  });

  it('holding the clock turns the one at the end of updates off', () => {
    const { write, read } = setUp();
    write(0x0b, 0x92);
    expect(read(0x0b)).toBe(0x82);
  });
});

describe('memory', () => {
  it('keeps what is written, and tells the size of RAM', () => {
    const { read, write } = setUp();
    write(0x40, 0xa5);
    expect(read(0x40)).toBe(0xa5);
    expect(read(0x15) | (read(0x16) << 8)).toBe(640);
    expect(read(0x17) | (read(0x18) << 8)).toBe(63 * 1024);
    expect((read(0x34) | (read(0x35) << 8)) * 65_536).toBe(48 * MIB);
    expect(read(0x5b) | read(0x5c) | read(0x5d)).toBe(0);
  });

  it('tells what lies above 4 GiB in registers of its own', () => {
    const { read } = setUp(undefined, 6 * 1024 * MIB);
    const low = (read(0x34) | (read(0x35) << 8)) * 65_536 + 16 * MIB;
    const high = (read(0x5b) | (read(0x5c) << 8) | (read(0x5d) << 16)) * 65_536;
    expect(low).toBe(0xf8000000);
    expect(low + high).toBe(6 * 1024 * MIB);
  });

  it('has the index with its NMI mask bit, a valid battery, and nothing to write in C and D', () => {
    const { read, write, ports } = setUp();
    ports.out(0x70, 0x8d);
    expect(ports.in(0x70)).toBe(0x8d);
    expect(ports.in(0x71)).toBe(0x80);
    write(0x0d, 0);
    write(0x0c, 0xff);
    expect(read(0x0d)).toBe(0x80);
    expect(read(0x0c)).toBe(0);
  });
});

it('bears any sequence of accesses', () => {
  const register = fc.oneof(fc.nat({ max: 13 }), fc.constant(0x32), fc.nat({ max: 255 }));
  const access = fc.tuple(register, fc.nat({ max: 255 }), fc.nat({ max: 3e9 }));
  fc.assert(
    fc.property(fc.array(access, { maxLength: 40 }), (accesses) => {
      const { read, write, clock, timers } = setUp();
      for (const [register, value, ns] of accesses) {
        write(register, value);
        clock.advance(ns);
        timers.runDue();
        expect(read(register)).toBeLessThanOrEqual(0xff);
      }
    }),
    { numRuns: 300 },
  );
});

it('goes away with its timer', () => {
  const { rtc, write, runTo, rises, ports } = setUp();
  write(0x0b, 0x72);
  rtc.stop();
  runTo(5e9);
  expect(rises()).toBe(0);
  expect(ports.regions).toEqual([]);
});
