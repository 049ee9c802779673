import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LineReader, MAX_LINE_BYTES, parseReply, parseRequest } from './protocol.ts';

describe('LineReader', () => {
  it('gives the lines whatever the pieces are that they arrive in', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ''))),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
        (lines, cuts) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
          const read: string[] = [];
          const reader = new LineReader((line) => read.push(line));
          for (let at = 0, cut = 0; at < bytes.length; cut++) {
            const end = at + cuts[cut % cuts.length];
            reader.add(bytes.subarray(at, end));
            at = end;
          }
          expect(read).toEqual(lines);
        },
      ),
    );
  });

  it('takes no line without end', () => {
    const reader = new LineReader(() => {});
    reader.add(Buffer.alloc(MAX_LINE_BYTES, 0x20));
    expect(() => reader.add(Buffer.from(' '))).toThrow(expect.objectContaining({ code: 'CONTROL_PROTOCOL' }));
  });
});

it.each([
  ['no JSON', 'CONTROL_PROTOCOL'],
  ['[]', 'CONTROL_PROTOCOL'],
  ['null', 'CONTROL_PROTOCOL'],
  ['{"verb": "show"}', 'CONTROL_VERSION'],
  ['{"kensho": 2, "verb": "show"}', 'CONTROL_VERSION'],
  ['{"kensho": 1, "verb": 7}', 'CONTROL_PROTOCOL'],
  ['{"kensho": 1, "verb": "show", "args": 7}', 'CONTROL_PROTOCOL'],
])('the request %s is refused', (line, code) => {
  expect(() => parseRequest(line)).toThrow(expect.objectContaining({ code }));
});

it.each(['{}', '{"result": 1, "error": {}}', '7'])('the reply %s is refused', (line) => {
  expect(() => parseReply(line)).toThrow(expect.objectContaining({ code: 'CONTROL_PROTOCOL' }));
});
