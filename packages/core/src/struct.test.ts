import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { guid, guidFromBytes, guidToBytes } from './guid.ts';
import { bytes, struct, u8, u16, u16be, u32, u32be, u64, u64be } from './struct.ts';

const EVERYTHING = struct('EVERYTHING', 64, {
  a: [0, u8],
  b: [2, u16],
  c: [4, u32],
  d: [8, u64],
  e: [16, u16be],
  f: [18, u32be],
  g: [24, u64be],
  id: [32, guid],
  raw: [48, bytes(5)],
});

const fields = fc.record({
  a: fc.nat(0xff),
  b: fc.nat(0xffff),
  c: fc.nat(0xffffffff),
  d: fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  e: fc.nat(0xffff),
  f: fc.nat(0xffffffff),
  g: fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }),
  id: fc.uuid(),
  raw: fc.uint8Array({ minLength: 5, maxLength: 5 }),
});

describe('struct', () => {
  it('reads back what it wrote, at any offset, and touches nothing else', () => {
    fc.assert(
      fc.property(fields, fc.nat(100), (value, offset) => {
        const target = new Uint8Array(offset + 64 + 8).fill(0xee);
        EVERYTHING.write(target, value, offset);
        expect(EVERYTHING.read(target, offset)).toEqual(value);
        expect(target.subarray(0, offset).every((byte) => byte === 0xee)).toBe(true);
        expect(target.subarray(offset + 64).every((byte) => byte === 0xee)).toBe(true);
        expect(target[offset + 1]).toBe(0xee);
      }),
    );
  });

  it('lays fields out as the table says', () => {
    const encoded = EVERYTHING.encode({ b: 0x0102, c: 0x03040506, e: 0x0708, d: 1n });
    expect([...encoded.subarray(0, 18)]).toEqual([0, 0, 2, 1, 6, 5, 4, 3, 1, 0, 0, 0, 0, 0, 0, 0, 7, 8]);
    expect(EVERYTHING.offsetOf('g')).toBe(24);
  });

  it('gives a view that follows its binding', () => {
    const buffer = new Uint8Array(128);
    const view = EVERYTHING.view().bind(new DataView(buffer.buffer), 64);
    view.c = 0xfffffffe;
    expect(view.c).toBe(0xfffffffe);
    expect(buffer[68]).toBe(0xfe);
    view.bind(new DataView(buffer.buffer), 0);
    expect(view.c).toBe(0);
  });

  it('refuses tables that cannot be', () => {
    expect(() => struct('LONG', 4, { a: [2, u32] })).toThrow(/LONG\.a/);
    expect(() => struct('NAMED', 4, { data: [0, u32] })).toThrow(/NAMED\.data/);
    expect(() => struct('OVER', 8, { a: [0, u32], b: [3, u8] })).toThrow(/OVER\.b overlaps/);
  });

  it('refuses buffers that are too short and fields that are not there', () => {
    expect(() => EVERYTHING.read(new Uint8Array(63))).toThrow(RangeError);
    expect(() => EVERYTHING.write(new Uint8Array(64), { a: 1 }, 1)).toThrow(RangeError);
    expect(() => EVERYTHING.encode({ nothing: 1 } as never)).toThrow(/nothing/);
    expect(() => EVERYTHING.encode({ raw: new Uint8Array(6) })).toThrow(RangeError);
  });
});

describe('guid', () => {
  it('stores the first three groups little-endian', () => {
    const stored = guidToBytes('ba6163d9-04a1-4d29-b605-72e2ffb1dc7f');
    expect(Buffer.from(stored).toString('hex')).toBe('d96361baa104294db60572e2ffb1dc7f');
  });

  it('round-trips and refuses malformed text', () => {
    fc.assert(fc.property(fc.uuid(), (text) => guidFromBytes(guidToBytes(text)) === text));
    for (const bad of ['', 'ba6163d9-04a1-4d29-b605-72e2ffb1dc7', 'g'.repeat(36)]) {
      expect(() => guidToBytes(bad)).toThrow(RangeError);
    }
  });
});
