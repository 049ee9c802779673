import { describe, expect, it } from 'vitest';
import { buildSmbiosTables, type SmbiosConfig } from './smbios.ts';

const GIB = 2 ** 30;
const CONFIG: SmbiosConfig = { gpa: 0xf0000, memoryBytes: 512 * 2 ** 20, vpCount: 4 };

const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

interface Structure {
  readonly type: number;
  readonly handle: number;
  readonly fields: Uint8Array;
  readonly strings: readonly string[];
}

/** Reads structures as an operating system does: by their lengths, and strings up to the double zero. */
function walk(table: Uint8Array): Structure[] {
  const structures: Structure[] = [];
  for (let at = 0; at < table.length; ) {
    const fields = table.subarray(at, at + table[at + 1]);
    let end = at + fields.length;
    while (table[end] !== 0 || table[end + 1] !== 0) end++;
    const strings = text(table.subarray(at + fields.length, end)).split('\0');
    structures.push({ type: fields[0], handle: viewOf(fields).getUint16(2, true), fields, strings });
    at = end + 2;
  }
  return structures;
}

function setUp(config: Partial<SmbiosConfig> = {}) {
  const { images, sizeBytes } = buildSmbiosTables({ ...CONFIG, ...config });
  const [entryPoint, entryPoint64, table] = images.map((image) => image.bytes);
  const structures = walk(table);
  const ofType = (type: number) => structures.filter((structure) => structure.type === type);
  return { images, sizeBytes, entryPoint, entryPoint64, table, structures, ofType };
}

describe('buildSmbiosTables', () => {
  it('has a 2.8 entry point in two halves, each with its checksum', () => {
    const { images, entryPoint, table, structures } = setUp();
    expect(images[0].gpa).toBe(0xf0000);
    expect(text(entryPoint.subarray(0, 4))).toBe('_SM_');
    expect(text(entryPoint.subarray(16, 21))).toBe('_DMI_');
    expect(entryPoint[5]).toBe(entryPoint.length);
    expect(sum(entryPoint)).toBe(0);
    expect(sum(entryPoint.subarray(16))).toBe(0);
    const view = viewOf(entryPoint);
    expect([entryPoint[6], entryPoint[7]]).toEqual([2, 8]);
    expect(view.getUint16(22, true)).toBe(table.length);
    expect(view.getUint32(24, true)).toBe(images[2].gpa);
    expect(view.getUint16(28, true)).toBe(structures.length);
  });

  it('has a 3.0 entry point to the same table, at an address that is searched', () => {
    const { images, entryPoint64, table } = setUp();
    expect(images[1].gpa % 16).toBe(0);
    expect(text(entryPoint64.subarray(0, 5))).toBe('_SM3_');
    expect(entryPoint64[6]).toBe(entryPoint64.length);
    expect(sum(entryPoint64)).toBe(0);
    expect(viewOf(entryPoint64).getUint32(12, true)).toBe(table.length);
    expect(viewOf(entryPoint64).getBigUint64(16, true)).toBe(BigInt(images[2].gpa));
  });

  it('can be walked to its end, with a handle of its own for each structure', () => {
    const { structures, entryPoint, images, sizeBytes } = setUp({ memoryBytes: 8 * GIB });
    expect(structures.map((structure) => structure.type)).toEqual([0, 1, 3, 4, 16, 17, 19, 19, 19, 32, 127]);
    expect(new Set(structures.map((structure) => structure.handle)).size).toBe(structures.length);
    const largest = Math.max(...structures.map((s) => s.fields.length + s.strings.join('\0').length + 2));
    expect(viewOf(entryPoint).getUint16(8, true)).toBe(largest);
    expect(images[2].gpa + images[2].bytes.length).toBe(0xf0000 + sizeBytes);
  });

  it('says that it is a Hyper-V machine, by default', () => {
    const { ofType } = setUp();
    const [system] = ofType(1);
    expect(system.strings[system.fields[4] - 1]).toBe('Microsoft Corporation');
    expect(system.strings[system.fields[5] - 1]).toBe('Virtual Machine');
    const [bios] = ofType(0);
    // A virtual machine (extension byte 2), and a date after which Linux trusts PCI mechanism 1.
    expect(bios.fields[19] & 0x10).toBe(0x10);
    expect(Number(bios.strings[bios.fields[8] - 1].slice(-4))).toBeGreaterThanOrEqual(2001);
  });

  it('says what else it is told to, and nothing where it is not', () => {
    const { ofType } = setUp({
      manufacturer: 'Kensho',
      product: 'Board',
      serialNumber: 'K-1',
      uuid: '00112233-4455-6677-8899-aabbccddeeff',
    });
    const [system] = ofType(1);
    expect(system.strings).toEqual(['Kensho', 'Board', '7.0', 'K-1']);
    expect(Buffer.from(system.fields.subarray(8, 24)).toString('hex')).toBe(
      '33221100554477668899aabbccddeeff',
    );
    expect(setUp().ofType(1)[0].fields[7]).toBe(0);
  });

  it.each([
    [512 * 2 ** 20, 512, 0],
    [31 * GIB, 31 * 1024, 0],
    [40 * GIB, 0x7fff, 40 * 1024],
  ])('tells %i bytes of memory', (memoryBytes, sizeMib, extendedMib) => {
    const { ofType } = setUp({ memoryBytes });
    const device = viewOf(ofType(17)[0].fields);
    expect([device.getUint16(12, true), device.getUint32(28, true)]).toEqual([sizeMib, extendedMib]);
    expect(viewOf(ofType(16)[0].fields).getUint32(7, true)).toBe(memoryBytes / 1024);
  });

  it('maps memory where the partition has it', () => {
    const { ofType } = setUp({ memoryBytes: 8 * GIB });
    const ranges = ofType(19).map(({ fields }) => {
      const view = viewOf(fields);
      return [view.getUint32(4, true) * 1024, (view.getUint32(8, true) + 1) * 1024];
    });
    expect(ranges).toEqual([
      [0, 0xa0000],
      [0x100000, 0xf8000000],
      [4 * GIB, 4 * GIB + 8 * GIB - 0xf8000000],
    ]);
  });
});
