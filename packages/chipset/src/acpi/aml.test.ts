import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  amlBuffer,
  amlDevice,
  amlEisaId,
  amlInteger,
  amlName,
  amlPackage,
  amlScope,
  amlString,
} from './aml.ts';
import { ioPorts, isaInterrupt, memoryWindow64, resourceTemplate } from './resources.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Reads a package length back as ACPI 6.4, 20.2.4 defines it: its value, and the bytes it takes. */
function packageLength(bytes: Uint8Array): readonly [length: number, sizeBytes: number] {
  const more = bytes[0] >> 6;
  if (more === 0) return [bytes[0] & 0x3f, 1];
  let length = bytes[0] & 0x0f;
  for (let i = 0; i < more; i++) length += bytes[1 + i] * 2 ** (4 + 8 * i);
  return [length, 1 + more];
}

describe('AML', () => {
  it('writes integers in the fewest bytes', () => {
    expect(
      [0, 1, 2, 0xff, 0x100, 0xffff, 0x10000, 0xffffffff].map((value) => hex(amlInteger(value))),
    ).toEqual(['00', '01', '0a02', '0aff', '0b0001', '0bffff', '0c00000100', '0cffffffff']);
    expect(hex(amlInteger(0x1_2345_6789))).toBe('0e8967452301000000');
  });

  it('writes names, alone and in paths', () => {
    const one = amlInteger(1);
    expect(hex(amlName('_S5', one))).toBe('085f53355f01');
    expect(hex(amlName('\\_S5', one))).toBe('085c5f53355f01');
    expect(hex(amlName('\\_SB.PCI0', one))).toBe('085c2e5f53425f5043493001');
    expect(hex(amlName('_SB.PCI0.ISA', one))).toBe('082f035f53425f504349304953415f01');
  });

  it('compresses plug-and-play ids', () => {
    expect(hex(amlEisaId('PNP0A03'))).toBe('0c41d00a03');
    expect(hex(amlEisaId('PNP0501'))).toBe('0c41d00501');
    expect(hex(amlEisaId('PNP0000'))).toBe('0b41d0');
  });

  it('writes strings, packages, devices and scopes', () => {
    expect(hex(amlString('COM1'))).toBe('0d434f4d3100');
    expect(hex(amlPackage(amlInteger(0), amlInteger(5)))).toBe('120502000a05');
    expect(hex(amlDevice('VMBS'))).toBe('5b8205564d4253');
    expect(hex(amlScope('\\_SB'))).toBe('10065c5f53425f');
  });

  it('counts lengths that the specification reads back, at every width', () => {
    const size = fc.oneof(
      fc.nat({ max: 200 }),
      fc.integer({ min: 4000, max: 4200 }),
      fc.constantFrom(2 ** 20 - 10, 2 ** 20 - 9, 2 ** 20 - 8, 2 ** 20),
    );
    fc.assert(
      fc.property(size, (size) => {
        const term = amlBuffer(new Uint8Array(size));
        const [length, lengthBytes] = packageLength(term.subarray(1));
        expect(length).toBe(term.length - 1);
        // No longer than it must be.
        expect(lengthBytes).toBe(length < 64 ? 1 : length < 2 ** 12 ? 2 : length < 2 ** 20 ? 3 : 4);
      }),
      { numRuns: 60 },
    );
  });

  it('writes resources', () => {
    expect(hex(ioPorts(0x3f8, 8))).toBe('4701f803f8030108');
    expect(hex(isaInterrupt(4))).toBe('221000');
    expect(hex(resourceTemplate())).toBe('11050a027900');
    expect(hex(memoryWindow64(0xf8000000, 0x6c00000))).toBe(
      '8a2b00000c01' +
        '0000000000000000' +
        '000000f800000000' +
        'ffffbffe00000000' +
        '0000000000000000' +
        '0000c00600000000',
    );
  });
});
