import { GpaAccess, GpaSpace, PAGE_SIZE, PageArena, type PartitionInfo } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { FIRMWARE_PAGES, Firmware } from './firmware.ts';

function setUp({ enlightened = true, arenaPages = FIRMWARE_PAGES } = {}) {
  const gpa = new GpaSpace(PageArena.allocate(arenaPages));
  const info = { vpCount: 2, memoryBytes: 64 * 2 ** 20, enlightened } as PartitionInfo;
  const firmware = new Firmware({ gpa, info });
  const bytes = (at: number, count: number) => {
    const target = Buffer.alloc(count);
    expect(gpa.read(at, target)).toBe(true);
    return target;
  };
  /** The table of that signature, found as a kernel finds it. */
  const table = (signature: string) => {
    const rsdp = bytes(0xe0000, 36);
    expect(rsdp.toString('latin1', 0, 8)).toBe('RSD PTR ');
    const sizeAt = (at: number) => bytes(at, 8).readUInt32LE(4);
    const xsdtAt = Number(rsdp.readBigUInt64LE(24));
    const xsdt = bytes(xsdtAt, sizeAt(xsdtAt));
    const places = [];
    for (let at = 36; at < xsdt.length; at += 8) places.push(Number(xsdt.readBigUInt64LE(at)));
    const tables = places.map((at) => bytes(at, sizeAt(at)));
    const facp = tables.find((one) => one.toString('latin1', 0, 4) === 'FACP') as Buffer;
    const dsdtAt = facp.readUInt32LE(40);
    return [...tables, bytes(dsdtAt, sizeAt(dsdtAt))].find(
      (one) => one.toString('latin1', 0, 4) === signature,
    ) as Buffer;
  };
  return { gpa, firmware, bytes, table };
}

const COM1 = Buffer.from('COM1\0');
const COM2 = Buffer.from('COM2\0');
const KEYBOARD = Buffer.from('PS2K');
const VMBUS = Buffer.from('VMBus\0');

describe('firmware tables', () => {
  it('name the devices that there are', () => {
    const { firmware, table } = setUp();
    firmware.describeComPort(2);
    firmware.describeKeyboard();
    firmware.place({});
    const dsdt = table('DSDT');
    expect(dsdt.includes(COM2)).toBe(true);
    expect(dsdt.includes(COM1)).toBe(false);
    expect(dsdt.includes(KEYBOARD)).toBe(true);
    // The FADT says so too, else Linux does not probe.
    expect(table('FACP').readUInt16LE(109) & 2).toBe(2);
    expect(table('APIC').length).toBe(44 + 2 * 8 + 12 + 2 * 10 + 6);
  });

  it('name none that is not there', () => {
    const { firmware, table } = setUp();
    firmware.place({});
    for (const name of [COM1, COM2, KEYBOARD]) expect(table('DSDT').includes(name)).toBe(false);
    expect(table('FACP').readUInt16LE(109) & 2).toBe(0);
  });

  it.each([
    [true, 'Microsoft Corporation'],
    [false, 'Kensho'],
  ])('describe Hyper-V where the partition is enlightened: %s', (enlightened, manufacturer) => {
    const { firmware, table, bytes } = setUp({ enlightened });
    firmware.place({});
    expect(table('DSDT').includes(VMBUS)).toBe(enlightened);
    const smbios = bytes(0xf0000, 0x1000);
    expect(smbios.toString('latin1', 0, 4)).toBe('_SM_');
    expect(smbios.includes(Buffer.from(`${manufacturer}\0Virtual Machine\0`))).toBe(true);
  });

  it('say who the machine is as told', () => {
    const { firmware, bytes } = setUp({ enlightened: false });
    firmware.place({ smbios: { manufacturer: 'ACME', serialNumber: 'S-1' } });
    expect(bytes(0xf0000, 0x1000).includes(Buffer.from('ACME\0Virtual Machine\x007.0\0S-1\0'))).toBe(true);
  });

  it('are where kernels look, in memory that is no RAM', () => {
    const { firmware, gpa } = setUp();
    expect(firmware.rsdpGpa).toBeUndefined();
    firmware.place({});
    expect(firmware.rsdpGpa).toBe(0xe0000);
    expect(firmware.ram).toEqual([]);
    for (let page = 0xe0; page < 0x100; page++) {
      expect(gpa.accessOf(page)).toBe(page < 0xf0 ? GpaAccess.READ_WRITE : GpaAccess.READ);
    }
  });

  it('leave nothing behind', () => {
    const { firmware, gpa } = setUp();
    for (let round = 0; round < 2; round++) {
      firmware.place({});
      firmware.remove();
      expect(firmware.rsdpGpa).toBeUndefined();
      expect(gpa.accessOf(0xe0)).toBe(GpaAccess.NONE);
      expect(gpa.accessOf(0xf0)).toBe(GpaAccess.NONE);
    }
    expect(gpa.arena.take(FIRMWARE_PAGES)).toBe(0);
    expect(gpa.arena.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('take no half of what they need', () => {
    const { firmware, gpa } = setUp({ arenaPages: FIRMWARE_PAGES - 1 });
    expect(() => firmware.place({})).toThrow(expect.objectContaining({ code: 'OUT_OF_GUEST_MEMORY' }));
    firmware.remove();
    expect(gpa.arena.take(FIRMWARE_PAGES - 1)).toBe(0);
    expect(gpa.arena.bytes.length).toBe((FIRMWARE_PAGES - 1) * PAGE_SIZE);
  });
});
