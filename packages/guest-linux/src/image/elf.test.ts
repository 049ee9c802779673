import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ElfMachine, ElfType } from '../protocol/elf.ts';
import { buildElf, note, pvhNote } from '../test-utils/build-elf.ts';
import { codeOf } from '../test-utils/kernel-error.ts';
import { readElf } from './elf.ts';

const read = (bytes: Uint8Array) => readElf({ name: 'vmlinux', bytes });
const code = Uint8Array.of(0x90, 0x90, 0xf4);

describe.each([64, 32] as const)('an ELF image of %i bits', (bits) => {
  it('has segments, an entry, and the PVH entry of its notes', () => {
    const notes = Buffer.concat([
      note('Linux', 18, Uint8Array.of(1, 2, 3, 4)),
      note('Xen', 6, new TextEncoder().encode('linux')),
      pvhNote(0x200001),
    ]);
    const segments = [
      { gpa: 0x200000, bytes: code, memoryBytes: 0x1000 },
      { gpa: 0x300000, bytes: new Uint8Array(0), memoryBytes: 8 },
      { gpa: 0x400000, bytes: new Uint8Array(0), memoryBytes: 0 },
    ];
    expect(read(buildElf({ bits, segments, notes }))).toEqual({
      bits,
      entry: 0x200000,
      segments: [
        { gpa: 0x200000, bytes: code, sizeBytes: 0x1000 },
        { gpa: 0x300000, bytes: new Uint8Array(0), sizeBytes: 8 },
      ],
      pvhEntry: 0x200001,
    });
  });

  it('has no PVH entry where its notes are cut short or of another kind', () => {
    const cut = pvhNote(0x100000).subarray(0, 16);
    expect(read(buildElf({ bits, notes: cut })).pvhEntry).toBeUndefined();
    expect(read(buildElf({ bits, notes: note('Xen', 18, Uint8Array.of(1)) })).pvhEntry).toBeUndefined();
    const endless = note('Xen', 18, Uint8Array.of(0, 0, 16, 0));
    endless.set([0xff, 0xff, 0xff, 0xff], 4);
    expect(read(buildElf({ bits, notes: endless })).pvhEntry).toBeUndefined();
  });

  it('may be anything without breaking the reader', async () => {
    const image = buildElf({ bits, notes: pvhNote(0x100000), segments: [{ gpa: 0x100000, bytes: code }] });
    const changes = fc.array(
      fc.record({ at: fc.nat(image.length - 1), value: fc.oneof(fc.constantFrom(0, 1, 255), fc.nat(255)) }),
      { maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(changes, fc.nat(image.length), async (list, length) => {
        const bytes = image.slice();
        for (const { at, value } of list) bytes[at] = value;
        const outcome = await codeOf(() => {
          for (const one of read(bytes.subarray(0, length === 0 ? undefined : length)).segments) {
            expect(one.bytes.length).toBeLessThanOrEqual(one.sizeBytes);
          }
        });
        const faults = ['NOT_A_KERNEL', 'WRONG_ARCHITECTURE', 'TRUNCATED_KERNEL', 'CORRUPT_KERNEL'];
        expect(['nothing', ...faults]).toContain(outcome);
      }),
      { numRuns: 500 },
    );
  });
});

describe('an ELF file is refused', () => {
  const big = 2n ** 60n;
  it.each<[string, Uint8Array, string, RegExp]>([
    ['of another machine', buildElf({ machine: 183 }), 'WRONG_ARCHITECTURE', /64-bit ARM/],
    ['of an unknown machine', buildElf({ machine: 999 }), 'WRONG_ARCHITECTURE', /999/],
    ['that is big-endian', buildElf({ data: 2 }), 'WRONG_ARCHITECTURE', /big-endian/],
    ['that is a module', buildElf({ type: ElfType.REL }), 'NOT_A_KERNEL', /module/],
    ['that is a core dump', buildElf({ type: ElfType.CORE }), 'NOT_A_KERNEL', /executed/],
    ['with nothing to load', buildElf({ segments: [] }), 'NOT_A_KERNEL', /nothing to load/],
    ['that was truncated', buildElf().subarray(0, -1), 'TRUNCATED_KERNEL', /before its segment 0/],
    ['that ends in its header', buildElf().subarray(0, 40), 'TRUNCATED_KERNEL', /header/],
    [
      'beyond all memory',
      buildElf({ segments: [{ gpa: big, bytes: code }] }),
      'CORRUPT_KERNEL',
      /segment 0 at 0x1000000000000000, beyond/,
    ],
    [
      'larger in the file than in memory',
      buildElf({ segments: [{ gpa: 0, bytes: code, memoryBytes: 1 }] }),
      'CORRUPT_KERNEL',
      /more in the file/,
    ],
    ['that starts nowhere', buildElf({ entry: 0x300000 }), 'CORRUPT_KERNEL', /0x300000/],
    ['that is none', Uint8Array.of(0x7f, 0x45), 'NOT_A_KERNEL', /not an ELF/],
  ])('%s', async (_, bytes, kind, message) => {
    expect(await codeOf(() => read(bytes))).toBe(kind);
    expect(() => read(bytes)).toThrow(message);
    expect(() => read(bytes)).toThrow(/^vmlinux: /);
  });
});

it('is for either x86', () => {
  expect(read(buildElf({ bits: 32, machine: ElfMachine.X86_64 })).bits).toBe(32);
});
