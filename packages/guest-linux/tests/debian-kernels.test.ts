import fs from 'node:fs';
import path from 'node:path';
import { HvRegister, KenshoError } from '@kensho/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { readBzImage } from '../src/image/bzimage.ts';
import { readKernel } from '../src/index.ts';
import { BootParams } from '../src/protocol/boot-params.ts';
import { loadInto } from '../src/test-utils/test-machine.ts';

// Downloads are no part of the tests: scripts/kernels.sh puts the files there.
const FOLDER = process.env.KENSHO_KERNELS ?? path.resolve(import.meta.dirname, '../../../.kensho/kernels');
const found = fs.existsSync(FOLDER) ? fs.readdirSync(FOLDER) : [];
const MIB = 2 ** 20;

/** What Debian's 6.1.192-2 consists of, read off with readelf and hexdump. */
const KNOWN = [
  {
    name: 'vmlinuz-6.1.0-56-amd64',
    initBytes: 0x3f98000,
    payload: [0x7bf070, 'fd377a585a00'],
    unpacked: 65906612,
    segments: [
      [0x1000000, 0x18ea9f0],
      [0x2a00000, 0x644000],
      [0x3044000, 0x35000],
      [0x3079000, 0x1987000],
    ],
  },
  {
    name: 'vmlinuz-6.1.0-56-cloud-amd64',
    initBytes: 0x3378000,
    payload: [0xd696cc, '02214c18'],
    unpacked: 53243444,
    segments: [
      [0x1000000, 0x1826634],
      [0x2a00000, 0x61a000],
      [0x301a000, 0x34000],
      [0x304e000, 0xdb2000],
    ],
  },
] as const;

const open = (name: string) => ({ name, bytes: fs.readFileSync(path.join(FOLDER, name)) });

describe.each(KNOWN)('$name', ({ name, initBytes, payload, unpacked, segments }) => {
  beforeEach(({ skip }) =>
    skip(!found.includes(name), `${name} is not here: scripts/kernels.sh downloads it`),
  );

  it('has the header that it has', () => {
    const image = readBzImage(open(name));
    expect(image).toMatchObject({
      initrdAddressMax: 0x7fffffff,
      commandLineMax: 2047,
      loadGpa: 0x1000000,
      initBytes,
      has64BitEntry: true,
    });
    const bytes = image.payload as Uint8Array;
    const [length, magic] = payload;
    expect(bytes.length).toBe(length);
    expect(Buffer.from(bytes.subarray(0, magic.length / 2)).toString('hex')).toBe(magic);
    expect(new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4).getUint32(0, true)).toBe(unpacked);
  });

  it('has the segments and entries that it has', async () => {
    const kernel = await readKernel(open(name), undefined, 512 * MIB);
    if (kernel.boot !== 'linux') throw new Error(`boots by ${kernel.boot}`);
    expect(kernel.elf.segments.map(({ gpa, sizeBytes }) => [gpa, sizeBytes])).toEqual(segments);
    expect(kernel.elf).toMatchObject({ bits: 64, entry: 0x1000000, pvhEntry: 0x1000850 });
  });
});

const kernels = found.filter((name) => name.startsWith('vmlinuz-'));
describe.each(kernels.length > 0 ? kernels : ['every kernel'])('%s', (name) => {
  beforeEach(({ skip }) =>
    skip(kernels.length === 0, 'no kernels are here: scripts/kernels.sh downloads them'),
  );

  it('is loaded into 256 MiB with an initrd', async () => {
    const options = { kernel: path.join(FOLDER, name), initrd: new Uint8Array(MIB), commandLine: 'quiet' };
    const machine = await loadInto(options, { memoryBytes: 256 * MIB });
    // Newer kernels begin a little behind the start of their image.
    expect(machine.register(HvRegister.RIP) & ~0xfffn).toBe(0x1000000n);
    const params = BootParams.read(machine.bytes(machine.register(HvRegister.RSI), BootParams.sizeBytes));
    expect(params).toMatchObject({ boot_flag: 0xaa55, header: 0x53726448, ramdisk_image: 255 * MIB });
  });

  it('does not fit 32 MiB, and one line says so', async () => {
    const loading = loadInto({ kernel: path.join(FOLDER, name) }, { memoryBytes: 32 * MIB });
    await expect(loading).rejects.toThrow(KenshoError);
    await expect(loading).rejects.toThrow(/^[^\n]*memory[^\n]*$/);
  });
});

describe('memtest86+', () => {
  it.each([
    ['memtest86+x64.bin', 0x100200n],
    ['memtest86+ia32.bin', 0x100000n],
  ])('%s starts at its own entry', async (name, entry) => {
    const machine = await loadInto({ kernel: path.join(FOLDER, name) });
    expect(machine.register(HvRegister.RIP)).toBe(entry);
  });
  beforeEach(({ skip }) =>
    skip(!found.includes('memtest86+x64.bin'), 'memtest86+ is not here: scripts/kernels.sh downloads it'),
  );
});
