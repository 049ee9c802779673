import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AcpiConfig, buildAcpiTables } from './tables.ts';

const CONFIG: AcpiConfig = {
  gpa: 0x80000,
  vpCount: 3,
  comPorts: [1, 2],
  keyboard: true,
  highMmio: { gpa: 0x1_8000_0000, sizeBytes: 2 ** 32 },
  ram: [
    { gpa: 0, sizeBytes: 0xa0000 },
    { gpa: 0x100000, sizeBytes: 0x3ff00000 },
  ],
};

/** The compiler and disassembler of ACPICA, if it is installed. */
const IASL = 'iasl';

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

function setUp(config: AcpiConfig = CONFIG) {
  const tables = buildAcpiTables(config);
  const at = (gpa: number) => {
    const image = tables.images.find((candidate) => candidate.gpa === gpa);
    if (image === undefined) throw new Error(`no table at 0x${gpa.toString(16)}`);
    return image.bytes;
  };
  /** Finds the tables as an operating system does. */
  const rsdp = at(tables.rsdpGpa);
  const xsdt = at(Number(viewOf(rsdp).getBigUint64(24, true)));
  const listed = new Map<string, Uint8Array>();
  for (let offset = 36; offset < xsdt.length; offset += 8) {
    const bytes = at(Number(viewOf(xsdt).getBigUint64(offset, true)));
    listed.set(text(bytes.subarray(0, 4)), bytes);
  }
  const fadt = listed.get('FACP') as Uint8Array;
  return { tables, at, rsdp, xsdt, listed, fadt, dsdt: at(viewOf(fadt).getUint32(40, true)) };
}

describe('buildAcpiTables', () => {
  it('can be walked from the RSDP to every table, each with its length and checksum', () => {
    const { tables, rsdp, listed, at, fadt } = setUp();
    expect(text(rsdp.subarray(0, 8))).toBe('RSD PTR ');
    expect(rsdp[15]).toBe(2);
    expect(sum(rsdp.subarray(0, 20))).toBe(0);
    expect(sum(rsdp)).toBe(0);
    expect([...listed.keys()]).toEqual(['FACP', 'APIC', 'SRAT']);
    for (const { name, bytes } of tables.images) {
      if (name === 'RSDP' || name === 'FACS') continue;
      expect(text(bytes.subarray(0, 4))).toBe(name);
      expect(viewOf(bytes).getUint32(4, true), name).toBe(bytes.length);
      expect(sum(bytes), name).toBe(0);
    }
    const facs = at(viewOf(fadt).getUint32(36, true));
    expect(text(facs.subarray(0, 4))).toBe('FACS');
    expect(viewOf(facs).getUint32(4, true)).toBe(64);
    expect(viewOf(fadt).getBigUint64(140, true)).toBe(BigInt(viewOf(fadt).getUint32(40, true)));
  });

  it('lies within its bounds, aligned, without overlaps', () => {
    const { tables } = setUp({ ...CONFIG, vpCount: 64 });
    let end = CONFIG.gpa;
    for (const { gpa, bytes } of tables.images) {
      expect(gpa % 64).toBe(0);
      expect(gpa).toBeGreaterThanOrEqual(end);
      end = gpa + bytes.length;
    }
    expect(end).toBeLessThanOrEqual(CONFIG.gpa + tables.sizeBytes);
  });

  it('has a FADT of revision 6 with the registers of the board', () => {
    const { fadt } = setUp();
    const view = viewOf(fadt);
    expect(fadt.length).toBe(276);
    expect(fadt[8]).toBe(6);
    expect(view.getUint16(46, true)).toBe(9);
    expect(view.getUint32(48, true)).toBe(0);
    expect([56, 64, 76, 80].map((offset) => view.getUint32(offset, true))).toEqual([
      0x400, 0x404, 0x408, 0x40c,
    ]);
    expect([88, 89, 91, 92].map((offset) => fadt[offset])).toEqual([4, 2, 4, 4]);
    expect([148, 172, 208, 220].map((offset) => [fadt[offset], view.getBigUint64(offset + 4, true)])).toEqual(
      [
        [1, 0x400n],
        [1, 0x404n],
        [1, 0x408n],
        [1, 0x40cn],
      ],
    );
    expect(fadt[108]).toBe(0x32);
    expect(view.getUint16(109, true) & 0x23).toBe(0x03);
    // The reset register, a 32-bit timer, and a power button that is a fixed one.
    expect(view.getUint32(112, true) & 0x510).toBe(0x500);
    expect([fadt[116], view.getBigUint64(120, true), fadt[128]]).toEqual([1, 0x433n, 1]);
  });

  it('does not have a keyboard controller probed where there is none', () => {
    const { fadt, dsdt } = setUp({ gpa: 0, vpCount: 1 });
    expect(viewOf(fadt).getUint16(109, true) & 0x02).toBe(0);
    expect(text(dsdt)).not.toContain('PS2K');
    expect(text(dsdt)).not.toContain('UAR1');
  });

  it('has a MADT with the processors, the I/O APIC and the overrides', () => {
    const { listed } = setUp();
    const madt = listed.get('APIC') as Uint8Array;
    expect(viewOf(madt).getUint32(36, true)).toBe(0xfee00000);
    expect(viewOf(madt).getUint32(40, true)).toBe(1);
    const entries: string[] = [];
    for (let offset = 44; offset < madt.length; offset += madt[offset + 1]) {
      entries.push(Buffer.from(madt.subarray(offset, offset + madt[offset + 1])).toString('hex'));
    }
    expect(entries).toEqual([
      '0008010001000000',
      '0008020101000000',
      '0008030201000000',
      '010c00000000c0fe00000000',
      '020a0000020000000000',
      '020a0009090000000d00',
      '0406ff000001',
    ]);
  });

  it('has an SRAT of one domain where RAM is given', () => {
    const { listed } = setUp();
    const srat = listed.get('SRAT') as Uint8Array;
    const view = viewOf(srat);
    expect(view.getUint32(36, true)).toBe(1);
    expect(srat.length).toBe(48 + 3 * 16 + 2 * 40);
    const second = 48 + 3 * 16 + 40;
    expect([view.getBigUint64(second + 8, true), view.getBigUint64(second + 16, true)]).toEqual([
      0x100000n,
      0x3ff00000n,
    ]);
    expect([...setUp({ gpa: 0, vpCount: 1 }).listed.keys()]).toEqual(['FACP', 'APIC']);
  });

  it('describes a VMBus with a _CRS of its own, unless told not to', () => {
    const vmbs = Buffer.concat([
      Buffer.from('VMBS\x08_HID\x0dVMBus\x00\x08_UID\x00\x08_STA\x0a\x0f\x08_CRS', 'latin1'),
      Buffer.from([0x11, 0x05, 0x0a, 0x02, 0x79, 0x00]),
    ]);
    expect(Buffer.from(setUp().dsdt).includes(vmbs)).toBe(true);
    expect(text(setUp({ ...CONFIG, vmbus: false }).dsdt)).not.toContain('VMBS');
  });

  const hasIasl = spawnSync(IASL, ['-v']).error === undefined;
  it(
    hasIasl
      ? 'is disassembled by iasl without an error, and compiles again to the same bytes'
      : 'is checked by its structure only: iasl (of acpica-tools) is not on the PATH',
    () => {
      if (!hasIasl) return;
      const folder = mkdtempSync(join(tmpdir(), 'kensho-acpi-'));
      try {
        const iasl = (...args: string[]) =>
          execFileSync(IASL, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
        for (const { name, bytes } of setUp().tables.images) {
          if (name === 'RSDP') continue;
          writeFileSync(join(folder, `${name}.aml`), bytes);
          iasl('-d', `${name}.aml`);
          const source = readFileSync(join(folder, `${name}.dsl`), 'utf8');
          expect(source, name).not.toMatch(/error|invalid|unknown|incorrect/i);
        }
        // Beyond the header, which names the compiler. It does not take Microsoft's name of the bus for an id.
        const { dsdt } = setUp({ ...CONFIG, vmbus: false });
        writeFileSync(join(folder, 'again.aml'), dsdt);
        iasl('-d', 'again.aml');
        expect(iasl('-oa', 'again.dsl')).toContain('0 Errors, 0 Warnings');
        const again = readFileSync(join(folder, 'again.aml'));
        expect(again.subarray(36).toString('hex')).toBe(Buffer.from(dsdt.subarray(36)).toString('hex'));
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
});
