import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCount, parseList, parseNames, parsePort, parseSeconds, parseSize } from './parse.ts';

describe('sizes', () => {
  it.each([
    ['512', 512],
    ['4k', 4096],
    ['4K', 4096],
    ['64M', 64 * 2 ** 20],
    ['64MiB', 64 * 2 ** 20],
    ['1.5G', 1.5 * 2 ** 30],
    ['2TB', 2 * 2 ** 40],
  ])('%s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each(['', '0', 'k', '-1', '4q', '1e3', '0x10', '1.0001', '4 k k', '99999999T', 'NaN'])(
    'refuses %j',
    (text) => expect(() => parseSize(text)).toThrow(/bytes/),
  );

  it('reads back what it is shown', () => {
    const unit = fc.constantFrom(['', 1], ['k', 2 ** 10], ['M', 2 ** 20], ['G', 2 ** 30]) as fc.Arbitrary<
      [string, number]
    >;
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), unit, (count, [name, factor]) => {
        expect(parseSize(`${count}${name}`)).toBe(count * factor);
      }),
      { numRuns: 50 },
    );
  });
});

describe('counts, seconds and names', () => {
  it('take what they should', () => {
    expect(parseCount('32')).toBe(32);
    expect(parseSeconds('0.25')).toBe(0.25);
    expect(parseSeconds('2147483')).toBe(2_147_483);
    expect([parsePort('f4'), parsePort('0x3F8')]).toEqual([0xf4, 0x3f8]);
    expect(parseList(parseSize)('4k, 1M')).toEqual([4096, 2 ** 20]);
    const parse = parseNames(['a', 'b'], 'all');
    expect(parse('all')).toEqual(['a', 'b']);
    expect(parse('b, a')).toEqual(['b', 'a']);
  });

  it('refuse the rest', () => {
    for (const text of ['', '-1', '1.5', 'x', '1e99']) expect(() => parseCount(text)).toThrow();
    for (const text of ['', '-1', '.5', 'x', '1e3', '2147484']) expect(() => parseSeconds(text)).toThrow();
    for (const text of ['', 'g', '0x', '12345', '-1']) expect(() => parsePort(text)).toThrow(/hexadecimal/);
    expect(() => parseNames(['a', 'b'], 'all')('a,c')).toThrow(/a, b, or all/);
  });
});
