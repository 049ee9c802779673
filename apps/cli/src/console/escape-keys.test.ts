import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EscapeKeys } from './escape-keys.ts';

/** What comes of pieces that are typed one after another: text for the guest, and commands in brackets. */
function decode(...pieces: readonly string[]): string {
  const keys = new EscapeKeys();
  const parts = pieces.flatMap((piece) => keys.decode(Buffer.from(piece, 'latin1')));
  return parts
    .map((part) => (typeof part === 'string' ? `[${part}]` : Buffer.from(part).toString('latin1')))
    .join('');
}

describe('the escape key', () => {
  it.each([
    [['ls\r'], 'ls\r'],
    [['\x03\x1a\x04'], '\x03\x1a\x04'],
    [['\x01x'], '[quit]'],
    [['a\x01pb'], 'a[power-button]b'],
    [['\x01', 'b'], '[break]'],
    [['\x01?\x01h'], '[help][help]'],
    [['a\x01\x01b'], 'a\x01b'],
    [['\x01', '\x01', 'x'], '\x01x'],
    [['a\x01zb'], 'ab'],
    [['\x01x\x01\x01\x01'], '[quit]\x01'],
  ])('%j', (pieces, result) => expect(decode(...pieces)).toBe(result));

  it('means the same however what is typed comes in pieces', () => {
    const key = fc.constantFrom('\x01', 'x', 'p', 'a', '\x7f');
    fc.assert(
      fc.property(fc.array(fc.string({ unit: key })), (pieces) => {
        expect(decode(...pieces)).toBe(decode(pieces.join('')));
      }),
      { numRuns: 100 },
    );
  });
});
