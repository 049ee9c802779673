import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readCpio } from '../../test-utils/read-cpio.ts';
import { cpio } from './cpio.ts';
import type { TreeEntry } from './file-tree.ts';

const archive = (entries: readonly (readonly [string, TreeEntry])[]) => Buffer.concat([...cpio(entries)]);

describe('cpio', () => {
  it('writes each kind of file as Linux reads it', () => {
    const bytes = archive([
      ['dev', { kind: 'folder', mode: 0o755 }],
      ['dev/console', { kind: 'device', mode: 0o600, major: 5, minor: 1 }],
      ['bin', { kind: 'link', target: 'usr/bin' }],
      ['init', { kind: 'file', mode: 0o4755, content: Buffer.from('hello') }],
    ]);
    const found = readCpio(bytes).map(({ content, mode, ...rest }) => ({
      ...rest,
      mode: mode.toString(8),
      content: Buffer.from(content).toString(),
    }));
    expect(found).toEqual([
      { name: 'dev', mode: '40755', content: '', major: 0, minor: 0 },
      { name: 'dev/console', mode: '20600', content: '', major: 5, minor: 1 },
      { name: 'bin', mode: '120777', content: 'usr/bin', major: 0, minor: 0 },
      { name: 'init', mode: '104755', content: 'hello', major: 0, minor: 0 },
    ]);
  });

  it('has the bytes that GNU cpio has', () => {
    // printf 'hi\n' > a; touch -d @0 a; echo a | cpio -o -H newc -R 0:0 --reproducible
    const expected = [
      '07070100000001000081A400000000000000000000000100000000000000030000000000000000000000000000000000000002',
      '00000000a\0',
      'hi\n\0',
      '07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000B',
      '00000000TRAILER!!!\0\0\0\0',
    ].join('');
    const bytes = archive([['a', { kind: 'file', mode: 0o644, content: Buffer.from('hi\n') }]]);
    expect(bytes.toString('latin1').toLowerCase()).toBe(expected.toLowerCase());
  });

  it('keeps names and contents of any length, and lets another archive follow', () => {
    const name = fc.string({ minLength: 1, unit: fc.constantFrom('a', 'b', 'é', '/', ' ') });
    const file = fc.tuple(name, fc.uint8Array({ maxLength: 20 }));
    fc.assert(
      fc.property(fc.array(file, { maxLength: 5 }), fc.array(file, { maxLength: 3 }), (first, second) => {
        const write = (files: typeof first) =>
          archive(files.map(([path, content]) => [path, { kind: 'file', mode: 0o600, content }] as const));
        const bytes = Buffer.concat([write(first), write(second)]);
        const found = readCpio(bytes).map((each) => [each.name, Uint8Array.from(each.content)]);
        expect(found).toEqual([...first, ...second]);
      }),
      { numRuns: 50 },
    );
  });
});
