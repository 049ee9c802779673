import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Board } from '../board.ts';
import { fakeServices } from '../test-utils/fakes.ts';
import { devfnOf } from './pci-bus.ts';
import { PciConfigSpace } from './pci-config-space.ts';
import { mmioBar, portBar } from './pci-function.ts';

const DEVFN = devfnOf(9, 0);

function setUp() {
  const services = fakeServices();
  const board = new Board(services);
  const { ports, gpa, faults } = services;
  const address = (devfn: number, register: number) => (0x80000000 | (devfn << 8) | (register & 0xfc)) >>> 0;
  const read = (devfn: number, register: number, sizeBytes = 4) => {
    ports.out(0xcf8, address(devfn, register), 4);
    return ports.in(0xcfc + (register & 3), sizeBytes);
  };
  const write = (devfn: number, register: number, value: number, sizeBytes = 4) => {
    ports.out(0xcf8, address(devfn, register), 4);
    ports.out(0xcfc + (register & 3), value, sizeBytes);
  };
  const addFunction = () => {
    const writes: number[] = [];
    const fn = new PciConfigSpace(
      {
        name: 'test function',
        vendorId: 0x1234,
        deviceId: 0x5678,
        revision: 0x9a,
        classCode: 0x020000,
        interruptPin: 1,
        bars: [
          portBar(ports, {
            index: 0,
            sizeBytes: 128,
            name: 'test-ports',
            handler: { read: (offset) => offset, write: () => {} },
          }),
          mmioBar(gpa, {
            index: 1,
            sizeBytes: 4096,
            name: 'test-mmio',
            handler: { read: (offset) => offset, write: () => {} },
          }),
        ],
        registers: [{ offset: 0x41, sizeBytes: 2, reset: 0x8001, writable: 0x0ff0, clearedByOne: 0x8000 }],
        onWrite: (offset) => writes.push(offset),
      },
      faults,
    );
    board.pciBus.add(DEVFN, fn);
    return { fn, writes };
  };
  return { ...services, board, read, write, addFunction };
}

describe('configuration mechanism 1', () => {
  it("passes Linux's probe", () => {
    const { ports, read } = setUp();
    ports.out(0xcfb, 0x01);
    ports.out(0xcf8, 0x80000000, 4);
    expect(ports.in(0xcf8, 4)).toBe(0x80000000);
    // The sanity check that follows looks for a host bridge on bus 0.
    expect(read(0, 0x0a, 2)).toBe(0x0600);
  });

  it('keeps the address only from dword writes, without its reserved bits', () => {
    const { ports } = setUp();
    ports.out(0xcf8, 0xffffffff, 4);
    expect(ports.in(0xcf8, 4)).toBe(0x80fffffc);
    ports.out(0xcf8, 0x12, 1);
    ports.out(0xcfa, 0x1234, 2);
    expect(ports.in(0xcf8, 4)).toBe(0x80fffffc);
    expect(ports.in(0xcf8, 1)).toBe(0xff);
  });

  it('reads all ones from absent functions, other buses, and with the enable bit clear', () => {
    const { ports, read } = setUp();
    expect(read(devfnOf(3, 0), 0)).toBe(0xffffffff);
    expect(read(devfnOf(3, 0), 2, 2)).toBe(0xffff);
    expect(read(devfnOf(3, 0), 1, 1)).toBe(0xff);
    ports.out(0xcf8, 0x80010000, 4);
    expect(ports.in(0xcfc, 4)).toBe(0xffffffff);
    ports.out(0xcf8, 0x00000000, 4);
    expect(ports.in(0xcfc, 4)).toBe(0xffffffff);
  });

  it('reaches bytes and words, and nothing beyond the dword', () => {
    const { ports, read } = setUp();
    expect(read(0, 0x00)).toBe(0x71928086);
    expect([0, 1, 2, 3].map((i) => read(0, i, 1))).toEqual([0x86, 0x80, 0x92, 0x71]);
    expect(read(0, 0x02, 2)).toBe(0x7192);
    ports.out(0xcf8, 0x80000000, 4);
    expect(ports.in(0xcff, 2)).toBe(0xff71);
  });
});

describe('the functions of the board', () => {
  it('are a 440BX and a PIIX4 that has more than one function', () => {
    const { read } = setUp();
    expect(read(0, 0x04)).toBe(0x02000006);
    expect(read(0, 0x08)).toBe(0x06000003);
    expect(read(devfnOf(7, 0), 0x00)).toBe(0x71108086);
    expect(read(devfnOf(7, 0), 0x08)).toBe(0x06010003);
    expect(read(devfnOf(7, 0), 0x0e, 1)).toBe(0x80);
    expect(read(devfnOf(7, 0), 0x2c, 2)).toBe(0x1414);
  });

  it('refuses a second function at a place, and forgets one that was removed', () => {
    const { board, read, addFunction } = setUp();
    const { fn } = addFunction();
    expect(() => board.pciBus.add(DEVFN, fn)).toThrowError(
      expect.objectContaining({ code: 'PCI_FUNCTION_IN_USE' }),
    );
    expect(read(DEVFN, 0)).toBe(0x56781234);
    board.pciBus.remove(DEVFN);
    expect(read(DEVFN, 0)).toBe(0xffffffff);
  });

  it('routes a pin by its PIRQ to the IRQ that the guest chose, and follows a change', () => {
    const { board, control, ports, gpa, write } = setUp();
    const line = board.pciBus.interruptLine(DEVFN, 1);
    const apic = gpa.findMmio(0xfec00000)?.handler;
    const entry = (pin: number, low: number) => {
      apic?.write(0x00, 4, 0x10 + 2 * pin);
      apic?.write(0x10, 4, low);
    };
    entry(11, 0x61 | (1 << 15));
    entry(10, 0x62 | (1 << 15));
    line.set(true);
    expect(control.asserted.map((i) => i.vector)).toEqual([0x61]);
    // Device 9 pin A is PIRQ A.
    write(devfnOf(7, 0), 0x60, 10, 1);
    expect(control.asserted.map((i) => i.vector)).toEqual([0x61, 0x62]);
    control.endOfInterrupt(0x61);
    expect(control.asserted).toHaveLength(2);
    write(devfnOf(7, 0), 0x60, 0x80, 1);
    control.endOfInterrupt(0x62);
    expect(control.asserted).toHaveLength(2);
    expect(ports.in(0x4d1)).toBe(0x08);
  });

  it('leaves nothing behind when it stops', () => {
    const { board, ports, gpa } = setUp();
    board.stop();
    expect(ports.regions).toEqual([]);
    expect(gpa.findMmio(0xfec00000)).toBeUndefined();
  });
});

describe('PciConfigSpace', () => {
  it('sizes BARs by all ones', () => {
    const { read, write, addFunction } = setUp();
    addFunction();
    write(DEVFN, 0x10, 0xffffffff);
    write(DEVFN, 0x14, 0xffffffff);
    write(DEVFN, 0x18, 0xffffffff);
    write(DEVFN, 0x30, 0xffffffff);
    expect(read(DEVFN, 0x10)).toBe(0x0000ff81);
    expect(read(DEVFN, 0x14)).toBe(0xfffff000);
    expect(read(DEVFN, 0x18)).toBe(0);
    expect(read(DEVFN, 0x30)).toBe(0);
  });

  it('decodes while the command register says so, and moves with the BAR', () => {
    const { ports, gpa, read, write, addFunction } = setUp();
    addFunction();
    write(DEVFN, 0x10, 0xc000);
    write(DEVFN, 0x14, 0xe0000000);
    expect(ports.in(0xc005)).toBe(0xff);
    expect(gpa.findMmio(0xe0000000)).toBeUndefined();
    write(DEVFN, 0x04, 0x0003, 2);
    expect(ports.in(0xc005)).toBe(5);
    expect(gpa.findMmio(0xe0000000)?.name).toBe('test-mmio');

    write(DEVFN, 0x11, 0xd0, 1);
    expect(ports.in(0xc005)).toBe(0xff);
    expect(ports.in(0xd07f)).toBe(0x7f);

    write(DEVFN, 0x04, 0x0002, 2);
    expect(ports.in(0xd07f)).toBe(0xff);
    expect(gpa.findMmio(0xe0000fff)?.name).toBe('test-mmio');
    expect(read(DEVFN, 0x04, 2)).toBe(0x0002);
  });

  it('counts a BAR that covers something else, and decodes it once it was moved', () => {
    const { ports, counters, write, addFunction } = setUp();
    addFunction();
    write(DEVFN, 0x04, 0x0001, 2);
    write(DEVFN, 0x10, 0x0c80);
    expect(counters.snapshot()['fault.pci.bar']).toBe(1);
    expect(ports.in(0xcf8, 4)).toBe((0x80000000 | (DEVFN << 8) | 0x10) >>> 0);
    write(DEVFN, 0x10, 0x1000);
    expect(ports.in(0x1001)).toBe(1);
  });

  it('honours write masks and bits that a one clears', () => {
    const { read, write, addFunction } = setUp();
    const { writes } = addFunction();
    write(DEVFN, 0x40, 0xffffffff);
    expect(read(DEVFN, 0x40)).toBe(0x000ff100);
    expect(writes).toEqual([0x40]);
    write(DEVFN, 0x3c, 0x0b, 1);
    write(DEVFN, 0x00, 0);
    expect(read(DEVFN, 0x3c)).toBe(0x0000010b);
    expect(read(DEVFN, 0x00)).toBe(0x56781234);
  });

  it('stays in order whatever is written', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            register: fc.integer({ min: 0, max: 63 }),
            value: fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 0xffffffff })),
          }),
          { maxLength: 40 },
        ),
        (writes) => {
          const { ports, gpa, read, write, addFunction } = setUp();
          const { fn } = addFunction();
          for (const { register, value } of writes) write(DEVFN, register * 4, value);
          expect(read(DEVFN, 0)).toBe(0x56781234);
          expect(read(DEVFN, 8)).toBe(0x0200009a);
          const region = ports.regions.find((r) => r.name === 'test-ports');
          const enabled = (fn.command & 1) !== 0;
          if (region !== undefined) {
            expect(enabled).toBe(true);
            expect(region.port).toBe(read(DEVFN, 0x10) & 0xff80);
          }
          fn.unplace();
          expect(ports.regions.some((r) => r.name === 'test-ports')).toBe(false);
          expect(gpa.findMmio(read(DEVFN, 0x14) & 0xfffff000)?.name).not.toBe('test-mmio');
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('interrupt lines', () => {
  it('take the timer to I/O APIC input 2 and PIC input 0 under either number', () => {
    for (const gsi of [0, 2]) {
      const { board, control, ports, gpa } = setUp();
      const apic = gpa.findMmio(0xfec00000)?.handler;
      apic?.write(0, 4, 0x14);
      apic?.write(0x10, 4, 0x44);
      board.interruptLines.line(gsi).set(true);
      expect(control.asserted.map((i) => i.vector)).toEqual([0x44]);
      expect(ports.in(0x20)).toBe(0x01);
    }
  });

  it('are asserted while any of their sources is', () => {
    const { board, ports } = setUp();
    const [a, b] = [board.interruptLines.line(11), board.interruptLines.line(11)];
    a.set(true);
    b.set(true);
    a.set(false);
    expect(ports.in(0xa0)).toBe(0x08);
    b.set(false);
    expect(ports.in(0xa0)).toBe(0);
  });

  it('do not exist beyond the I/O APIC', () => {
    const { board } = setUp();
    expect(() => board.interruptLines.line(24)).toThrowError(
      expect.objectContaining({ code: 'NO_SUCH_GSI' }),
    );
  });
});
