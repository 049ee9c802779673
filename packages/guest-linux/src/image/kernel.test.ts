import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MULTIBOOT_HEADER_MAGIC, MultibootHeader } from '../protocol/multiboot.ts';
import { buildBzImage, SETUP_BYTES } from '../test-utils/build-bzimage.ts';
import { buildElf, pvhNote } from '../test-utils/build-elf.ts';
import { codeOf } from '../test-utils/kernel-error.ts';
import { type BootProtocol, readKernel } from './kernel.ts';

const LIMIT = 2 ** 24;
const read = (bytes: Uint8Array, wanted?: BootProtocol) =>
  readKernel({ name: 'vmlinuz', bytes }, wanted, LIMIT);

function multibootHeader(flags: number): Uint8Array {
  return MultibootHeader.encode({
    magic: MULTIBOOT_HEADER_MAGIC,
    flags,
    checksum: -(MULTIBOOT_HEADER_MAGIC + flags) >>> 0,
  });
}
const multibootElf = (flags: number, bits: 32 | 64 = 32) =>
  buildElf({ bits, segments: [{ gpa: 0x400000, bytes: multibootHeader(flags) }] });

describe('a kernel is booted', () => {
  const notes = pvhNote(0x100000);
  const elf = buildElf({ notes });
  const bzImage = buildBzImage({ payload: gzipSync(elf) });
  it.each<[string, Uint8Array, BootProtocol | undefined, string]>([
    ['a bzImage as Linux', bzImage, undefined, 'linux'],
    ['a bzImage by PVH where wanted', bzImage, 'pvh', 'pvh'],
    ['a bzImage without payload by itself', buildBzImage(), undefined, 'linux-bzimage'],
    ['a vmlinux as Linux', elf, undefined, 'linux'],
    ['a vmlinux by PVH where wanted', elf, 'pvh', 'pvh'],
    ['a 32-bit ELF with a PVH note by that', buildElf({ bits: 32, notes }), undefined, 'pvh'],
    ['an ELF with a Multiboot header by that', multibootElf(3), undefined, 'multiboot'],
    ['also one of 64 bits', multibootElf(0x10003, 64), undefined, 'multiboot'],
    ['a Multiboot kernel as Linux where wanted', multibootElf(3, 64), 'linux', 'linux'],
  ])('%s', async (_, bytes, wanted, boot) => {
    expect((await read(bytes, wanted)).boot).toBe(boot);
  });
});

describe('a file is refused', () => {
  const arm64 = new Uint8Array(64);
  arm64.set([0x41, 0x52, 0x4d, 0x64], 0x38);
  const arm = new Uint8Array(64);
  arm.set([0x18, 0x28, 0x6f, 0x01], 0x24);
  const bzImage = buildBzImage({ payload: gzipSync(buildElf()) });
  it.each<[string, Uint8Array, BootProtocol | undefined, string, RegExp]>([
    ['empty', new Uint8Array(0), undefined, 'NOT_A_KERNEL', /is empty/],
    ['a script', new TextEncoder().encode('#!/bin/sh\n'), undefined, 'NOT_A_KERNEL', /neither/],
    ['an ARM kernel', arm64, undefined, 'WRONG_ARCHITECTURE', /64-bit ARM/],
    ['an older ARM kernel', arm, undefined, 'WRONG_ARCHITECTURE', /32-bit ARM/],
    ['a 32-bit kernel', buildElf({ bits: 32 }), undefined, 'WRONG_ARCHITECTURE', /32-bit/],
    [
      'a 32-bit kernel in a bzImage',
      buildBzImage({ payload: gzipSync(buildElf({ bits: 32 })) }),
      undefined,
      'WRONG_ARCHITECTURE',
      /^vmlinuz, unpacked: .*32-bit/,
    ],
    ['a zImage', buildBzImage({ header: { loadflags: 0 } }), undefined, 'UNSUPPORTED_KERNEL', /zImage/],
    ['half a bzImage', bzImage.subarray(0, 2000), undefined, 'TRUNCATED_KERNEL', /ends before/],
    [
      'a bzImage that is only set-up',
      bzImage.subarray(0, SETUP_BYTES),
      undefined,
      'TRUNCATED_KERNEL',
      /ends/,
    ],
    [
      'one with nothing in it',
      buildBzImage({ header: { syssize: 0 } }),
      undefined,
      'CORRUPT_KERNEL',
      /without/,
    ],
    [
      'one with its payload elsewhere',
      buildBzImage({ header: { payload_offset: 0xfffffff0, payload_length: 0xfffffff0 } }),
      undefined,
      'CORRUPT_KERNEL',
      /beyond/,
    ],
    [
      'one that wants to be nowhere',
      buildBzImage({ header: { pref_address: 2n ** 63n } }),
      undefined,
      'CORRUPT_KERNEL',
      /beyond all memory/,
    ],
    [
      'one without a kernel in its payload',
      buildBzImage({ payload: gzipSync(new Uint8Array(100)) }),
      undefined,
      'NOT_A_KERNEL',
      /not an ELF/,
    ],
    ['a bzImage as Multiboot', bzImage, 'multiboot', 'UNSUPPORTED_KERNEL', /linux or pvh/],
    ['a bzImage without payload by PVH', buildBzImage(), 'pvh', 'UNSUPPORTED_KERNEL', /ELF/],
    ['an ELF by PVH without an entry', buildElf(), 'pvh', 'UNSUPPORTED_KERNEL', /CONFIG_PVH/],
    ['an ELF as Multiboot without a header', buildElf(), 'multiboot', 'UNSUPPORTED_KERNEL', /no Multiboot/],
    ['Multiboot with video', multibootElf(4), undefined, 'UNSUPPORTED_KERNEL', /video mode/],
    ['Multiboot with the unknown', multibootElf(0x8000), undefined, 'UNSUPPORTED_KERNEL', /0x8000/],
  ])('%s', async (_, bytes, wanted, kind, message) => {
    const outcome = read(bytes, wanted);
    await expect(outcome).rejects.toThrow(message);
    expect(await codeOf(() => outcome)).toBe(kind);
  });
});

it('whatever a bzImage’s header says, there is an answer', async () => {
  const image = buildBzImage({ payload: gzipSync(buildElf()) });
  const changes = fc.array(fc.record({ at: fc.integer({ min: 0x1f1, max: 0x263 }), value: fc.nat(255) }), {
    minLength: 1,
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(changes, async (list) => {
      const bytes = image.slice();
      for (const { at, value } of list) bytes[at] = value;
      const outcome = await codeOf(async () => {
        const kernel = await read(bytes);
        if (kernel.boot === 'linux-bzimage') {
          expect(kernel.image.initBytes).toBeGreaterThanOrEqual(kernel.image.code.length);
        }
      });
      const faults = ['NOT_A_KERNEL', 'TRUNCATED_KERNEL', 'CORRUPT_KERNEL', 'UNSUPPORTED_KERNEL'];
      expect(['nothing', ...faults]).toContain(outcome);
    }),
    { numRuns: 300 },
  );
});
