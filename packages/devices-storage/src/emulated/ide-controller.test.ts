import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AtaHost } from '../test-utils/ata-host.ts';
import { IdeMachine, page } from '../test-utils/ide-machine.ts';
import { pattern, TestDisk } from '../test-utils/test-disk.ts';

const READY = 0x50;
const DRQ = 0x08;
const BSY = 0x80;
const NIEN = 0x02;
const SRST = 0x04;

const disk = (channel: 0 | 1, position: 'master' | 'slave', sectors = 1000) => ({
  channel,
  position,
  kind: 'disk' as const,
  disk: new TestDisk(sectors),
});
const dvd = (channel: 0 | 1, position: 'master' | 'slave') => ({
  channel,
  position,
  kind: 'dvd' as const,
  disk: new TestDisk(100, { readOnly: true, sectorBytes: 2048 }),
});

describe('a channel', () => {
  it('without drives floats at 0x7F, which is neither busy nor a drive', () => {
    const machine = new IdeMachine([disk(0, 'master')]);
    const host = new AtaHost(machine, 1);
    expect(host.status()).toBe(0x7f);
    expect(host.alternateStatus()).toBe(0x7f);
    machine.out(host.base + 2, 0x55);
    machine.out(host.base + 3, 0xaa);
    expect([host.register(2), host.register(3)]).toEqual([0x7f, 0x7f]);
    expect(machine.in(host.base, 2)).toBe(0xffff);
    host.command(0xec);
    expect(host.interrupt).toBe(false);
  });

  it('answers zero for a slave that is not there, so that it cannot be taken for one', () => {
    const machine = new IdeMachine([disk(0, 'master')]);
    const host = new AtaHost(machine);
    machine.out(host.base + 6, 0xb0);
    machine.out(host.base + 2, 0x55);
    machine.out(host.base + 3, 0xaa);
    expect([host.register(2), host.register(3), host.status()]).toEqual([0, 0, 0]);
    machine.out(host.base + 7, 0xec);
    expect(host.interrupt).toBe(false);
    machine.out(host.base + 6, 0xa0);
    expect([host.register(2), host.register(3), host.status()]).toEqual([0x55, 0xaa, READY]);
  });

  it('gives commands and the interrupt of the selected drive only', () => {
    const machine = new IdeMachine([disk(0, 'master', 1000), disk(0, 'slave', 2000)]);
    const host = new AtaHost(machine);
    host.command(0xec, { device: 0xb0 });
    expect(host.interrupt).toBe(true);
    const slave = new Uint16Array(host.readData(512).buffer);
    expect(slave[60]).toBe(2000);
    expect(host.interrupt).toBe(true);
    machine.out(host.base + 6, 0xa0);
    expect(host.interrupt).toBe(false);
    machine.out(host.base + 6, 0xb0);
    expect(host.interrupt).toBe(true);
    host.status();
    expect(host.interrupt).toBe(false);
  });

  it('keeps interrupts from the line and from the bus master while nIEN is set', () => {
    const machine = new IdeMachine([disk(0, 'master')]);
    const host = new AtaHost(machine);
    machine.out(host.control, NIEN);
    host.command(0xec);
    expect(host.alternateStatus()).toBe(READY | DRQ);
    expect(host.interrupt).toBe(false);
    expect(machine.in(host.busMaster + 2)).toBe(0x60);
    machine.out(host.control, 0);
    expect(host.interrupt).toBe(true);
    expect(machine.in(host.busMaster + 2)).toBe(0x64);
    host.status();
    expect(host.interrupt).toBe(false);
    // The latch in the bus master is the guest's to clear.
    expect(machine.in(host.busMaster + 2)).toBe(0x64);
    machine.out(host.busMaster + 2, 0x64);
    expect(machine.in(host.busMaster + 2)).toBe(0x60);
  });

  it('has its two interrupts apart', () => {
    const machine = new IdeMachine([disk(0, 'master'), disk(1, 'slave')]);
    const secondary = new AtaHost(machine, 1);
    secondary.command(0xec, { device: 0xb0 });
    expect(machine.levels.get(14) ?? false).toBe(false);
    expect(secondary.interrupt).toBe(true);
    expect(machine.in(0xffa2)).toBe(0x60);
    expect(machine.in(0xffaa)).toBe(0x64);
  });

  it('ends an interrupt when the next command is written', () => {
    const machine = new IdeMachine([disk(0, 'master')]);
    const host = new AtaHost(machine);
    host.command(0xe5);
    host.command(0xe5);
    expect(host.rises).toBe(2);
  });
});

describe('reset', () => {
  it('shows the signatures of both drives, after being busy while SRST is set', () => {
    const machine = new IdeMachine([disk(0, 'master'), dvd(0, 'slave')]);
    const host = new AtaHost(machine);
    host.command(0xec, { device: 0xb0 });
    machine.out(host.control, SRST);
    expect(host.status()).toBe(BSY);
    expect(host.interrupt).toBe(false);
    machine.out(host.control, 0);
    expect(host.status()).toBe(READY);
    expect([1, 2, 3, 4, 5, 6].map((r) => host.register(r))).toEqual([1, 1, 1, 0, 0, 0]);
    machine.out(host.base + 6, 0xb0);
    expect(host.status()).toBe(0);
    expect([1, 2, 3, 4, 5].map((r) => host.register(r))).toEqual([1, 1, 1, 0x14, 0xeb]);
  });

  it('drops a data phase', () => {
    const machine = new IdeMachine([disk(0, 'master')]);
    const host = new AtaHost(machine);
    host.command(0x30, { count: 4 });
    machine.out(host.control, SRST);
    machine.out(host.control, 0);
    expect(host.status()).toBe(READY);
    machine.out(host.base, 0x1234, 2);
    expect(machine.faults['fault.ide.data']).toBe(1);
  });

  it('waits for the outstanding operation and drops its outcome', async () => {
    const drive = disk(0, 'master');
    const machine = new IdeMachine([drive]);
    const host = new AtaHost(machine);
    drive.disk.held = true;
    machine.prdTable(page(1), [{ address: page(2), byteCount: 512 }]);
    host.command(0xc8, { count: 1 });
    host.startDma(page(1), true);
    for (let i = 0; i < 3; i++) {
      machine.out(host.control, SRST);
      machine.out(host.control, 0);
      host.command(0xc8, { count: 1 });
    }
    expect(host.status()).toBe(BSY);
    expect(drive.disk.waiting).toBe(1);
    drive.disk.release();
    await machine.settle();
    expect(host.interrupt).toBe(false);
    expect(host.status()).toBe(READY);
    expect(host.register(1)).toBe(1);
    drive.disk.held = false;
    host.stopDma();
    host.command(0xc8, { count: 1 });
    host.startDma(page(1), true);
    expect(host.interrupt).toBe(true);
  });

  it('also drops an outcome that is there but waits behind another drive', async () => {
    const [slow, quick] = [disk(0, 'master'), disk(1, 'master')];
    const machine = new IdeMachine([slow, quick]);
    const [primary, secondary] = [new AtaHost(machine, 0), new AtaHost(machine, 1)];
    slow.disk.held = true;
    primary.command(0x20, { count: 1 });
    secondary.command(0x20, { count: 1 });
    machine.out(secondary.control, SRST);
    machine.out(secondary.control, 0);
    expect(secondary.status()).toBe(BSY);
    slow.disk.release();
    await machine.settle();
    expect(primary.status()).toBe(READY | DRQ);
    expect(secondary.interrupt).toBe(false);
    expect(secondary.status()).toBe(READY);
  });

  it('is what EXECUTE DEVICE DIAGNOSTIC does, with one interrupt and the master selected', () => {
    const machine = new IdeMachine([disk(0, 'master'), disk(0, 'slave')]);
    const host = new AtaHost(machine);
    host.command(0x90, { device: 0xb0, count: 9 });
    expect(host.rises).toBe(1);
    expect([1, 2, 3, 6].map((r) => host.register(r))).toEqual([1, 1, 1, 0]);
    expect(host.status()).toBe(READY);
    machine.out(host.base + 6, 0xb0);
    expect(host.interrupt).toBe(false);
  });
});

describe('the PCI function', () => {
  it('is the IDE of a PIIX4 in legacy mode', () => {
    const machine = new IdeMachine([]);
    expect(machine.readConfig(0x00, 4)).toBe(0x71118086);
    expect(machine.readConfig(0x08, 4)).toBe(0x01018001);
    expect(machine.readConfig(0x04, 2)).toBe(0x0005);
    expect(machine.readConfig(0x20, 4)).toBe(0x0000ffa1);
    machine.writeConfig(0x20, 4, 0xffffffff);
    expect(machine.readConfig(0x20, 4)).toBe(0x0000fff1);
    expect(machine.readConfig(0x41, 1) & 0x80).toBe(0x80);
    expect(machine.readConfig(0x43, 1) & 0x80).toBe(0x80);
  });

  it('keeps what a driver writes to the timing registers', () => {
    const machine = new IdeMachine([]);
    machine.writeConfig(0x40, 2, 0xe377);
    machine.writeConfig(0x44, 1, 0x0b);
    machine.writeConfig(0x48, 1, 0xff);
    machine.writeConfig(0x4a, 2, 0xffff);
    expect(machine.readConfig(0x40, 2)).toBe(0xe377);
    expect(machine.readConfig(0x44, 1)).toBe(0x0b);
    expect(machine.readConfig(0x48, 4)).toBe(0x3333000f);
  });

  it('decodes a channel while its enable bit and the I/O enable are set', () => {
    const machine = new IdeMachine([disk(0, 'master'), disk(1, 'master')]);
    expect([machine.in(0x1f7), machine.in(0x177)]).toEqual([READY, READY]);
    machine.writeConfig(0x41, 1, 0x00);
    expect([machine.in(0x1f7), machine.in(0x3f6), machine.in(0x177)]).toEqual([0xff, 0xff, READY]);
    machine.writeConfig(0x04, 2, 0x0004);
    expect([machine.in(0x177), machine.in(0xffa2)]).toEqual([0xff, 0xff]);
    machine.writeConfig(0x41, 1, 0x80);
    machine.writeConfig(0x04, 2, 0x0005);
    expect([machine.in(0x1f7), machine.in(0x376), machine.in(0xffa2)]).toEqual([READY, READY, 0x60]);
  });

  it('counts, and survives, bus master registers placed over its own ports', () => {
    const machine = new IdeMachine([disk(0, 'master')]);
    machine.writeConfig(0x20, 4, 0x01f0);
    expect(machine.in(0x1f7)).toBe(READY);
    machine.writeConfig(0x41, 1, 0x00);
    machine.writeConfig(0x20, 4, 0x01f0);
    expect(machine.in(0x1f2)).toBe(0x60);
    machine.writeConfig(0x41, 1, 0x80);
    expect(machine.in(0x1f2)).toBe(0x60);
    expect(machine.in(0x3f6)).toBe(0xff);
    machine.writeConfig(0x20, 4, 0xc000);
    expect(machine.in(0x1f7)).toBe(READY);
    expect(machine.faults).toMatchObject({ 'fault.pci.bar': 1, 'fault.ide.ports': 1 });
  });

  it('leaves nothing behind when it stops, once outstanding reads have ended', async () => {
    const drive = disk(0, 'master');
    const machine = new IdeMachine([drive]);
    const host = new AtaHost(machine);
    drive.disk.held = true;
    host.command(0x20, { count: 1 });
    let stopped = false;
    const stop = machine.controller.stop().then(() => {
      stopped = true;
    });
    await machine.settle();
    expect(stopped).toBe(false);
    drive.disk.release();
    await stop;
    await machine.settle();
    expect(host.interrupt).toBe(false);
    expect([machine.in(0x1f7), machine.in(0xffa2)]).toEqual([0xff, 0xff]);
    expect(machine.readConfig(0x00, 4)).toBe(0xffffffff);
  });

  it('refuses disks whose sectors are not 512 bytes', () => {
    const wrong = { ...disk(0, 'master'), disk: new TestDisk(10, { sectorBytes: 4096 }) };
    expect(() => new IdeMachine([wrong])).toThrowError(
      expect.objectContaining({ code: 'UNSUPPORTED_SECTOR_SIZE' }),
    );
  });
});

describe('a hostile guest', () => {
  const ports = fc.oneof(
    fc.integer({ min: 0x1f0, max: 0x1f7 }),
    fc.constantFrom(0x3f6, 0x376, 0x1f7, 0x177, 0x1f6),
    fc.integer({ min: 0x170, max: 0x177 }),
    fc.integer({ min: 0xffa0, max: 0xffaf }),
  );
  const commands = fc.constantFrom(
    ...[0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x40, 0x42, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xec, 0xa0],
    ...[0xa1, 0x08, 0x90, 0x91, 0xef, 0xe7, 0xe5, 0x00],
  );
  const step = fc.oneof(
    fc.record({ do: fc.constant('out'), port: ports, size: fc.constantFrom(1, 2, 4), value: fc.nat() }),
    fc.record({ do: fc.constant('in'), port: ports, size: fc.constantFrom(1, 2, 4), value: fc.constant(0) }),
    fc.record({
      do: fc.constant('command'),
      port: fc.constantFrom(0x1f7, 0x177),
      size: fc.constant(1),
      value: commands,
    }),
    fc.record({
      do: fc.constant('data'),
      port: fc.constantFrom(0x1f0, 0x170),
      size: fc.constantFrom(2, 4),
      value: fc.nat({ max: 600 }),
    }),
    fc.record({
      do: fc.constant('config'),
      port: fc.constantFrom(0x04, 0x20, 0x40, 0x42),
      size: fc.constantFrom(1, 2, 4),
      value: fc.nat(),
    }),
    fc.record({
      do: fc.constant('settle'),
      port: fc.constant(0),
      size: fc.constant(0),
      value: fc.nat({ max: 1 }),
    }),
  );

  it('can do anything to the registers without a throw, a hang, or more than one operation for each drive', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), fc.boolean(), async (steps, slow) => {
        const drives = [disk(0, 'master', 5000), dvd(0, 'slave'), disk(1, 'master', 5000)];
        for (const { disk: backend } of drives) backend.held = slow;
        const machine = new IdeMachine(drives);
        for (let at = 0; at < 16; at++)
          machine.prdTable(page(at), [{ address: page(16 + at), byteCount: 0x1000 * at }]);
        for (const { do: action, port, size, value } of steps) {
          switch (action) {
            case 'in':
              expect(machine.in(port, size)).toBeGreaterThanOrEqual(0);
              break;
            case 'config':
              machine.writeConfig(port, size, value);
              break;
            case 'data':
              for (let i = 0; i < value; i++) machine.out(port, i, size);
              for (let i = 0; i < value; i++) machine.in(port, size);
              break;
            case 'settle':
              for (const { disk: backend } of drives) {
                expect(backend.waiting).toBeLessThanOrEqual(1);
                backend.release();
              }
              await machine.settle();
              break;
            default:
              machine.out(port, value, size);
          }
        }
        // Whatever happened, a reset brings the drives back.
        machine.writeConfig(0x04, 2, 0x0005);
        machine.writeConfig(0x20, 4, 0xffa0);
        machine.writeConfig(0x40, 4, 0x80008000);
        for (const channel of [0, 1] as const) machine.out(channel === 0 ? 0x3f6 : 0x376, SRST);
        for (const channel of [0, 1] as const) machine.out(channel === 0 ? 0x3f6 : 0x376, 0);
        for (const { disk: backend } of drives) {
          backend.release();
          backend.held = false;
        }
        await machine.settle();
        drives[0].disk.poke(3, pattern(512, 9));
        const host = new AtaHost(machine);
        host.command(0x20, { lba: 3, count: 1 });
        expect(host.status()).toBe(READY | DRQ);
        expect(host.readData(512)).toEqual(pattern(512, 9));
      }),
      { numRuns: 60 },
    );
  });
});
