import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Board } from './board.ts';
import { PIIX4_PM_DEVFN } from './pci/isa-bridge.ts';
import { PM_TIMER_HZ, PowerManagement } from './pm.ts';
import { fakeServices } from './test-utils/fakes.ts';
import { tickTimeNs } from './ticks.ts';

const PM1_STATUS = 0x400;
const PM1_ENABLE = 0x402;
const PM1_CONTROL = 0x404;
const PM_TIMER = 0x408;

function setUp() {
  const services = fakeServices();
  const board = new Board(services);
  const pm = new PowerManagement({ ...services, pciBus: board.pciBus });
  const config = (register: number) => {
    services.ports.out(0xcf8, (0x80000000 | (PIIX4_PM_DEVFN << 8) | register) >>> 0, 4);
    return 0xcfc;
  };
  return {
    ...services,
    pm,
    readConfig: (register: number) => services.ports.in(config(register), 4),
    writeConfig: (register: number, value: number) => services.ports.out(config(register), value, 4),
    sci: () => services.interruptLines.levels[9],
  };
}

describe('PowerManagement', () => {
  it('is function 0:7.3, a PIIX4 of revision 3 whose registers are at 0x400', () => {
    const { readConfig } = setUp();
    expect(readConfig(0x00)).toBe(0x71138086);
    expect(readConfig(0x08)).toBe(0x06800003);
    expect(readConfig(0x40)).toBe(0x401);
    expect(readConfig(0x80) & 1).toBe(1);
  });

  it('has a timer of 3.579545 MHz and 32 bits, whole in one access', () => {
    const { ports, runTo } = setUp();
    expect(ports.in(PM_TIMER, 4)).toBe(0);
    runTo(1e9);
    expect(ports.in(PM_TIMER, 4)).toBe(PM_TIMER_HZ);
    runTo(tickTimeNs(2 ** 32 + 12_345, PM_TIMER_HZ));
    expect(ports.in(PM_TIMER, 4)).toBe(12_345);
    runTo(tickTimeNs(2 ** 32 + 0x89abcdef, PM_TIMER_HZ));
    expect(ports.in(PM_TIMER, 4)).toBe(0x89abcdef);
    expect(ports.in(PM_TIMER + 1, 2)).toBe(0xabcd);
    ports.out(PM_TIMER, 0, 4);
    expect(ports.in(PM_TIMER, 4)).toBe(0x89abcdef);
  });

  it('notes each change of the top bit of the timer, and interrupts for it if asked', () => {
    const { ports, runTo, sci } = setUp();
    runTo(tickTimeNs(2 ** 31, PM_TIMER_HZ) - 1);
    expect(ports.in(PM1_STATUS, 2)).toBe(0);
    ports.out(PM1_ENABLE, 0x01, 2);
    runTo(tickTimeNs(2 ** 31, PM_TIMER_HZ));
    expect(sci()).toBe(true);
    expect(ports.in(PM1_STATUS, 2)).toBe(0x01);
    ports.out(PM1_STATUS, 0x01, 2);
    expect(sci()).toBe(false);
    runTo(tickTimeNs(2 ** 32, PM_TIMER_HZ));
    expect(sci()).toBe(true);
  });

  it('powers off with SLP_EN and the sleep type of S5', () => {
    const { ports, control } = setUp();
    expect(ports.in(PM1_CONTROL, 2)).toBe(1);
    ports.out(PM1_CONTROL, 0x0001, 2);
    expect(control.ends).toEqual([]);
    ports.out(PM1_CONTROL, 0x2001, 2);
    expect(control.ends).toEqual([{ reason: 'power-off' }]);
    expect(ports.in(PM1_CONTROL, 2)).toBe(1);
  });

  it('has no other sleep state, and is always in ACPI mode', () => {
    const { ports, control, counters } = setUp();
    ports.out(PM1_CONTROL, 0x2000 | (3 << 10), 2);
    expect(control.ends).toEqual([]);
    expect(counters.counter('fault.pm.sleep-type').value).toBe(1);
    expect(ports.in(PM1_CONTROL, 2)).toBe(1 | (3 << 10));
  });

  it('resets through the reset register and through reset control', () => {
    const { ports, control } = setUp();
    ports.out(0x433, 0);
    expect(control.ends).toEqual([]);
    ports.out(0x433, 1);
    expect(control.ends).toEqual([{ reason: 'reset' }]);
    ports.out(0xcf9, 0x02);
    expect(control.ends.length).toBe(1);
    ports.out(0xcf9, 0x06);
    expect(control.ends.length).toBe(2);
    expect(ports.in(0xcf9)).toBe(0x06);
  });

  it('tells the guest that the power button was pressed', () => {
    const { ports, pm, work, sci } = setUp();
    ports.out(PM1_ENABLE, 0x0100, 2);
    pm.pressPowerButton();
    expect(sci()).toBe(false);
    work.run();
    expect(sci()).toBe(true);
    expect(ports.in(PM1_STATUS, 4)).toBe(0x0100_0100);
    ports.out(PM1_STATUS + 1, 0x01);
    expect(sci()).toBe(false);
    expect(ports.in(PM1_STATUS, 2)).toBe(0);
  });

  it('keeps the event enables, and has no general-purpose event to tell of', () => {
    const { ports } = setUp();
    ports.out(PM1_ENABLE, 0xffff, 2);
    expect(ports.in(PM1_ENABLE, 2)).toBe(0x0521);
    ports.out(0x40c, 0xffffffff, 4);
    expect(ports.in(0x40c, 4)).toBe(0xffff0000);
  });

  it('moves its registers with the base address, and hides them when they are not decoded', () => {
    const { ports, writeConfig } = setUp();
    writeConfig(0x40, 0x5000);
    expect(ports.in(PM1_CONTROL, 2)).toBe(0xffff);
    expect(ports.in(0x5004, 2)).toBe(1);
    writeConfig(0x80, 0);
    expect(ports.in(0x5004, 2)).toBe(0xffff);
    writeConfig(0x80, 1);
    expect(ports.in(0x5004, 2)).toBe(1);
  });

  it('is not decoded over ports of others', () => {
    const { ports, writeConfig, counters } = setUp();
    writeConfig(0x40, 0xcc0);
    expect(counters.counter('fault.pm.base').value).toBe(1);
    expect(ports.in(0xcf8, 4)).not.toBe(0xffffffff);
    writeConfig(0x40, 0x400);
    expect(ports.in(PM1_CONTROL, 2)).toBe(1);
  });

  it('has memory at ports B2 and B3', () => {
    const { ports } = setUp();
    ports.out(0xb2, 0x1234, 2);
    expect(ports.in(0xb3)).toBe(0x12);
    expect(ports.in(0xb2, 2)).toBe(0x1234);
  });

  it('counts accesses to registers that are not there', () => {
    const { ports, counters } = setUp();
    expect(ports.in(0x420, 4)).toBe(0);
    ports.out(0x421, 1);
    expect(counters.counter('fault.pm.register').value).toBe(2);
  });

  it('goes away whole, wherever its registers are', () => {
    const { ports, pm, work, sci, writeConfig, readConfig } = setUp();
    ports.out(PM1_ENABLE, 0x0101, 2);
    writeConfig(0x40, 0x5000);
    pm.stop();
    pm.pressPowerButton();
    work.run();
    expect(sci()).toBe(false);
    expect(readConfig(0)).toBe(0xffffffff);
    expect(ports.in(0x5004, 2)).toBe(0xffff);
    expect(ports.in(0xb2)).toBe(0xff);
  });

  it('bears any sequence of accesses', () => {
    const access = fc.tuple(
      fc.boolean(),
      fc.nat({ max: 0x3f }),
      fc.constantFrom(1, 2, 4),
      fc.nat({ max: 0xffffffff }),
      fc.nat({ max: 2e12 }),
    );
    fc.assert(
      fc.property(fc.array(access, { maxLength: 40 }), (accesses) => {
        const { ports, writeConfig, runTo, clock } = setUp();
        for (const [toConfig, offset, sizeBytes, value, ns] of accesses) {
          if (toConfig) writeConfig(offset < 0x20 ? 0x40 : 0x80, value);
          else ports.out(0x400 + offset, value, sizeBytes);
          runTo(clock.nowNs() + ns);
          expect(ports.in(0x400 + offset, sizeBytes)).toBeLessThanOrEqual(2 ** (8 * sizeBytes) - 1);
        }
      }),
      { numRuns: 200 },
    );
  });
});
