import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { I8042 } from './i8042.ts';
import { fakeServices } from './test-utils/fakes.ts';

function setUp(options = {}) {
  const services = fakeServices();
  const controller = new I8042(services, options);
  const { ports, interruptLines } = services;
  return {
    ...services,
    controller,
    command: (...bytes: number[]) => {
      ports.out(0x64, bytes[0]);
      for (const byte of bytes.slice(1)) ports.out(0x60, byte);
    },
    toKeyboard: (byte: number) => ports.out(0x60, byte),
    status: () => ports.in(0x64),
    data: () => ports.in(0x60),
    drain: () => {
      const bytes: number[] = [];
      while ((ports.in(0x64) & 1) !== 0) bytes.push(ports.in(0x60));
      return bytes;
    },
    levels: interruptLines.levels,
    rises: interruptLines.rises,
  };
}

describe('I8042', () => {
  it('has nothing to read at first, unlike a floating bus', () => {
    expect(setUp().status() & 0x03).toBe(0);
  });

  it('stores the control byte, and says the same each time', () => {
    const { command, drain } = setUp();
    command(0x20);
    command(0x20);
    expect(drain()).toEqual([0x44, 0x44]);
    command(0x60, 0x33);
    command(0x20);
    expect(drain()).toEqual([0x33]);
  });

  it('passes its tests', () => {
    const { command, drain } = setUp();
    command(0xaa);
    expect(drain()).toEqual([0x55]);
    command(0xab);
    command(0xa9);
    expect(drain()).toEqual([0x00, 0x00]);
  });

  it("passes Linux's probe of the auxiliary port: loopback with status bit 5 and IRQ 12, disable shows", () => {
    const { command, drain, status, data, levels } = setUp();
    command(0x60, 0x47);
    command(0xd3, 0x5a);
    expect(status() & 0x21).toBe(0x21);
    expect(levels[12]).toBe(true);
    expect(levels[1]).toBe(false);
    expect(data()).toBe(0x5a);
    expect(levels[12]).toBe(false);
    command(0xa7);
    command(0x20);
    expect(drain()[0] & 0x20).toBe(0x20);
    command(0xa8);
    command(0x20);
    expect(drain()[0] & 0x20).toBe(0);
  });

  it('has a keyboard that answers its commands, one IRQ 1 for each byte', () => {
    const { command, toKeyboard, drain, rises } = setUp();
    command(0x60, 0x05);
    toKeyboard(0xf2);
    expect(drain()).toEqual([0xfa, 0xab, 0x83]);
    expect(rises[1]).toBe(3);
    for (const byte of [0xf5, 0xed, 0x02, 0xf3, 0x00, 0xf4]) toKeyboard(byte);
    expect(drain()).toEqual([0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa]);
    toKeyboard(0xff);
    expect(drain()).toEqual([0xfa, 0xaa]);
    toKeyboard(0xf0);
    toKeyboard(0x00);
    expect(drain()).toEqual([0xfa, 0xfa, 0x02]);
    toKeyboard(0x11);
    expect(drain()).toEqual([0xfe]);
  });

  it('can be without one, and says so at once', () => {
    const { toKeyboard, status, data } = setUp({ keyboard: false });
    toKeyboard(0xf2);
    expect(status() & 0x41).toBe(0x41);
    expect(data()).toBe(0xfe);
  });

  it('finds no mouse', () => {
    const { command, status, data } = setUp();
    command(0xd4, 0xf2);
    expect(status() & 0x61).toBe(0x61);
    expect(data()).toBe(0xfe);
  });

  it('resets the machine by a pulse or through the output port', () => {
    const { command, control } = setUp();
    command(0xff);
    expect(control.ends).toEqual([]);
    command(0xfe);
    expect(control.ends).toEqual([{ reason: 'reset' }]);
    command(0xd1, 0x03);
    expect(control.ends.length).toBe(1);
    command(0xd1, 0x02);
    expect(control.ends.length).toBe(2);
  });

  it('counts unknown commands and answers that nobody reads', () => {
    const { command, counters, drain } = setUp();
    command(0xb0);
    expect(counters.counter('fault.i8042.command').value).toBe(1);
    for (let i = 0; i < 100; i++) command(0x20);
    expect(counters.counter('fault.i8042.overflow').value).toBe(84);
    expect(drain().length).toBe(16);
  });

  it('bears any sequence of accesses', () => {
    const access = fc.tuple(fc.boolean(), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(access, { maxLength: 100 }), (accesses) => {
        const { ports } = setUp();
        for (const [isCommand, value] of accesses) {
          ports.out(isCommand ? 0x64 : 0x60, value);
          if (value & 1) expect(ports.in(isCommand ? 0x60 : 0x64)).toBeLessThanOrEqual(0xff);
        }
      }),
      { numRuns: 200 },
    );
  });
});
