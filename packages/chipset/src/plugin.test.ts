import {
  ACPI_TABLES,
  compose,
  DEVICES,
  GPA_SPACE,
  GpaSpace,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
  PARTITION_CONTROL,
  PARTITION_INFO,
  PageArena,
  type PartitionInfo,
  TeardownStack,
  TIMERS,
  WORK,
} from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { FIRMWARE_PAGES } from './firmware.ts';
import { PCI_BUS } from './pci/pci-bus.ts';
import { chipsetPlugin } from './plugin.ts';
import { POWER_MANAGEMENT } from './pm.ts';
import { fakeServices } from './test-utils/fakes.ts';

function setUp() {
  const { ports, control, faults, timers, work } = fakeServices();
  const gpa = new GpaSpace(PageArena.allocate(FIRMWARE_PAGES));
  const info = { memoryBytes: 64 * 2 ** 20, vpCount: 1, enlightened: true } as PartitionInfo;
  const provided = [IO_PORTS, GPA_SPACE, PARTITION_CONTROL, GUEST_FAULTS, TIMERS, WORK, PARTITION_INFO];
  const composition = compose([chipsetPlugin], { provided, teardown: new TeardownStack() });
  const teardown = new TeardownStack();
  const scope = composition.createPartitionScope(teardown);
  scope.bind(IO_PORTS, ports);
  scope.bind(GPA_SPACE, gpa);
  scope.bind(PARTITION_CONTROL, control);
  scope.bind(GUEST_FAULTS, faults);
  scope.bind(TIMERS, timers);
  scope.bind(WORK, work);
  scope.bind(PARTITION_INFO, info);
  const create = (kind: string, options?: unknown) =>
    composition.contributions.get(DEVICES, kind).create(scope, { kind, id: kind, options });
  return { ports, gpa, control, scope, teardown, create };
}

describe('chipsetPlugin', () => {
  it('makes one board when the first of its services is asked for, and ends it with the partition', async () => {
    const { ports, scope, teardown } = setUp();
    expect(ports.regions).toEqual([]);
    const lines = scope.resolve(INTERRUPT_LINES);
    expect(ports.in(0xcf8, 4)).toBe(0);
    scope.resolve(PCI_BUS);
    expect(scope.resolve(INTERRUPT_LINES)).toBe(lines);
    await teardown.unwind();
    expect(ports.regions).toEqual([]);
  });

  it('makes it for a device of kind board too', () => {
    const { ports, create } = setUp();
    create('board');
    expect(ports.in(0xcf8, 4)).toBe(0);
  });

  it('makes every part of the board, and each takes itself away', async () => {
    const { ports, teardown, create, scope } = setUp();
    const kinds = ['pit', 'rtc', 'pm', 'uart', 'i8042', 'post'];
    const devices = [];
    for (const kind of kinds) devices.push(await create(kind));
    for (const port of [0x40, 0x61, 0x71, 0x404, 0xb2, 0x3fd, 0x64, 0x80]) {
      expect(ports.in(port), `port 0x${port.toString(16)}`).not.toBe(0xff);
    }
    ports.out(0x80, 0x42);
    expect(ports.in(0x80)).toBe(0x42);
    expect(scope.resolve(POWER_MANAGEMENT)).toBe(scope.resolve(POWER_MANAGEMENT));
    for (const device of devices) await device.stop?.();
    await teardown.unwind();
    expect(ports.regions).toEqual([]);
  });

  it('describes the devices that were made, once all are', async () => {
    const { gpa, scope, create } = setUp();
    expect(scope.resolve(ACPI_TABLES).rsdpGpa).toBeUndefined();
    const tables = await create('firmware-tables');
    create('uart', { com: 2 });
    create('i8042', { keyboard: true });
    await tables.start?.();
    const { rsdpGpa = 0 } = scope.resolve(ACPI_TABLES);
    const bytes = Buffer.alloc(0x4000);
    expect(gpa.read(rsdpGpa, bytes)).toBe(true);
    expect(bytes.toString('latin1', 0, 8)).toBe('RSD PTR ');
    expect(['UAR1', 'UAR2', 'PS2K'].map((name) => bytes.includes(name))).toEqual([false, true, true]);
    await tables.stop?.();
    expect(scope.resolve(ACPI_TABLES).rsdpGpa).toBeUndefined();
  });

  it('ends the run at the exit port, with what was written', async () => {
    const { ports, control, create } = setUp();
    const exit = await create('exit-port');
    expect(ports.in(0xf4)).toBe(0);
    ports.out(0xf4, 3);
    ports.out(0xf4, 0x12345678, 4);
    expect(control.ends).toEqual([
      { reason: 'guest-ended', code: 3 },
      { reason: 'guest-ended', code: 0x12345678 },
    ]);
    await exit.stop?.();
    expect(ports.in(0xf4)).toBe(0xff);
    create('exit-port', { port: 0x501 });
    ports.out(0x501, 0);
    expect(control.ends).toHaveLength(3);
  });

  it('refuses a second part in the same place', () => {
    const { ports, create } = setUp();
    create('uart', { com: 2 });
    const before = ports.regions.length;
    expect(() => create('uart', { com: 2 })).toThrow(expect.objectContaining({ code: 'PORTS_IN_USE' }));
    expect(ports.regions.length).toBe(before);
  });

  it.each([
    ['rtc', { baseTimeMs: -1 }],
    ['rtc', { baseTimeMs: Number.NaN }],
    ['uart', { com: 3 }],
    ['uart', { backend: {} }],
    ['i8042', { keyboard: 1 }],
    ['exit-port', { port: 0xfffd }],
    ['exit-port', { port: 'f4' }],
  ])('refuses options of %s that make no sense: %o', (kind, options) => {
    expect(() => setUp().create(kind, options)).toThrow(expect.objectContaining({ code: 'INVALID_OPTIONS' }));
  });
});
