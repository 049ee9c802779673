import { gzipSync } from 'node:zlib';
import { GpaAccess, HvRegister, PAGE_SIZE, segmentRegister } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import type { LinuxGuestOptions } from './plugin.ts';
import { BootParams, E820Entry, SetupRngSeed } from './protocol/boot-params.ts';
import {
  MULTIBOOT_HEADER_MAGIC,
  MultibootHeader,
  MultibootInfo,
  MultibootMmapEntry,
  MultibootModule,
} from './protocol/multiboot.ts';
import { HvmMemmapEntry, HvmModlistEntry, HvmStartInfo } from './protocol/pvh.ts';
import { buildBzImage, SETUP_BYTES } from './test-utils/build-bzimage.ts';
import { buildElf, pvhNote } from './test-utils/build-elf.ts';
import { codeOf } from './test-utils/kernel-error.ts';
import { type LoadedMachine, loadInto, type TestMachineOptions } from './test-utils/test-machine.ts';

const MIB = 2 ** 20;
const CODE = Uint8Array.of(1, 2, 3, 4, 5);
const KERNEL = 0x200000;
const INITRD = Uint8Array.from({ length: 5000 }, (_, i) => i * 7);

const vmlinux = buildElf({
  entry: KERNEL + 1,
  segments: [{ gpa: KERNEL, bytes: CODE, memoryBytes: 0x30000 }],
  notes: pvhNote(KERNEL + 2),
});
const multiboot = buildElf({
  bits: 32,
  entry: 0x400004,
  segments: [
    {
      gpa: 0x400000,
      bytes: MultibootHeader.encode({
        magic: MULTIBOOT_HEADER_MAGIC,
        flags: 3,
        checksum: -(MULTIBOOT_HEADER_MAGIC + 3) >>> 0,
      }),
    },
  ],
});

const hexOf = (machine: LoadedMachine, name: number) => `0x${machine.register(name).toString(16)}`;

/** A segment register, taken apart. */
function segment(machine: LoadedMachine, name: number) {
  const bits = machine.register(name);
  return {
    base: BigInt.asUintN(64, bits),
    limit: Number((bits >> 64n) & 0xffffffffn),
    selector: Number((bits >> 96n) & 0xffffn),
    attributes: Number(bits >> 112n),
  };
}

/** What a processor would load from the GDT for a selector, in the same form. */
function descriptor(machine: LoadedMachine, selector: number) {
  const gdt = machine.register(HvRegister.GDTR);
  expect(Number((gdt >> 48n) & 0xffffn)).toBeGreaterThan(selector + 7);
  const raw = machine.u64((gdt >> 64n) + BigInt(selector));
  const attributes = Number((raw >> 40n) & 0xf0ffn);
  const limit = Number((raw & 0xffffn) | ((raw >> 32n) & 0xf0000n));
  return {
    base: ((raw >> 16n) & 0xffffffn) | ((raw >> 56n) << 24n),
    limit: attributes & 0x8000 ? limit * PAGE_SIZE + PAGE_SIZE - 1 : limit,
    selector,
    attributes,
  };
}

function expectSegments(machine: LoadedMachine, code: number) {
  const data = [HvRegister.DS, HvRegister.ES, HvRegister.SS, HvRegister.FS, HvRegister.GS];
  expect(segment(machine, HvRegister.CS)).toEqual({
    base: 0n,
    limit: 0xffffffff,
    selector: 0x10,
    attributes: code,
  });
  for (const name of data) {
    expect(segment(machine, name)).toEqual({
      base: 0n,
      limit: 0xffffffff,
      selector: 0x18,
      attributes: 0xc093,
    });
  }
  expect(segment(machine, HvRegister.TR)).toEqual({
    base: 0n,
    limit: 0x67,
    selector: 0x20,
    attributes: 0x8b,
  });
  for (const name of [HvRegister.CS, HvRegister.TR, ...data]) {
    const loaded = segment(machine, name);
    expect(descriptor(machine, loaded.selector)).toEqual(loaded);
  }
  expect(machine.register(HvRegister.RFLAGS)).toBe(2n);
  expect(machine.register(HvRegister.IDTR)).toBe(0n);
}

function expectProtectedMode(machine: LoadedMachine, entry: number) {
  expectSegments(machine, 0xc09b);
  expect(machine.register(HvRegister.RIP)).toBe(BigInt(entry));
  expect(hexOf(machine, HvRegister.CR0)).toBe('0x11');
  for (const name of [HvRegister.CR3, HvRegister.CR4, HvRegister.EFER]) {
    expect(machine.register(name)).toBe(0n);
  }
}

/** Where long mode's page tables lead to. */
function translate(machine: LoadedMachine, address: bigint): bigint {
  let table = machine.register(HvRegister.CR3);
  for (const shift of [39n, 30n, 21n]) {
    const entry = machine.u64(table + ((address >> shift) & 511n) * 8n);
    expect(entry & 3n).toBe(3n);
    if (shift === 21n) {
      expect(entry & 0x80n).toBe(0x80n);
      return (entry & ~0x1fffffn) | (address & 0x1fffffn);
    }
    table = entry & ~0xfffn;
  }
  throw new Error('no page');
}

function expectLongMode(machine: LoadedMachine, entry: number) {
  expectSegments(machine, 0xa09b);
  expect(machine.register(HvRegister.RIP)).toBe(BigInt(entry));
  expect(hexOf(machine, HvRegister.CR0)).toBe('0x80000011');
  expect(hexOf(machine, HvRegister.CR4)).toBe('0x20');
  expect(hexOf(machine, HvRegister.EFER)).toBe('0x500');
  for (const address of [0n, 0x1234n, 0x3fffffffn, 0x40000000n, 0xfee00020n, 0xffffffffn]) {
    expect(translate(machine, address)).toBe(address);
  }
}

function bootParams(machine: LoadedMachine) {
  const gpa = machine.register(HvRegister.RSI);
  const bytes = machine.bytes(gpa, BootParams.sizeBytes);
  const params = BootParams.read(bytes);
  const e820 = Array.from({ length: params.e820_entries }, (_, i) => {
    const { addr, size, type } = E820Entry.read(bytes, 0x2d0 + i * 20);
    return [Number(addr), Number(addr + size), type];
  });
  return { ...params, bytes, e820 };
}

describe('a vmlinux', () => {
  it('starts at its 64-bit entry with all that Linux asks for', async () => {
    const acpi = { rsdpGpa: 0xe0000, ram: [{ gpa: 15 * MIB, sizeBytes: 0x5000 }] };
    const machine = await loadInto(
      { kernel: vmlinux, initrd: INITRD, commandLine: 'console=ttyS0 quiet' },
      { acpi, prepare: (gpa) => gpa.map(0xe0, gpa.arena.take(1), 1, GpaAccess.READ) },
    );
    expectLongMode(machine, KERNEL + 1);
    expect(machine.bytes(KERNEL, 6)).toEqual(Uint8Array.of(...CODE, 0));
    const params = bootParams(machine);
    expect(params).toMatchObject({
      boot_flag: 0xaa55,
      header: 0x53726448,
      version: 0x20f,
      type_of_loader: 0xff,
      loadflags: 1,
      vid_mode: 0xffff,
      hardware_subarch: 0,
      acpi_rsdp_addr: 0xe0000n,
      ramdisk_size: INITRD.length,
      ramdisk_image: 16 * MIB - 2 * PAGE_SIZE,
      orig_video_isVGA: 0,
    });
    expect(machine.text(params.cmd_line_ptr)).toBe('console=ttyS0 quiet');
    expect(machine.bytes(params.ramdisk_image, INITRD.length)).toEqual(INITRD);
    expect(params.e820).toEqual([
      [0, 0x9fc00, 1],
      [0x9fc00, 0xa0000, 2],
      [0xe0000, 0xe1000, 2],
      [MIB, 15 * MIB, 1],
      [15 * MIB, 15 * MIB + 0x5000, 3],
      [15 * MIB + 0x5000, 16 * MIB, 1],
    ]);
    // The sentinel: a loader that does not clear boot_params leaves something here.
    expect(params.bytes[0x1ef]).toBe(0);
  });

  it('clears what its segments leave empty, also where the memory was used before', async () => {
    const machine = await loadInto(
      { kernel: vmlinux },
      { prepare: (gpa) => gpa.write(KERNEL, new Uint8Array(0x30001).fill(0xff)) },
    );
    expect(machine.bytes(KERNEL + CODE.length, 0x30000 - CODE.length).every((byte) => byte === 0)).toBe(true);
    expect(machine.bytes(KERNEL + 0x30000, 1)[0]).toBe(0xff);
  });

  it('hears of a text screen where one answers', async () => {
    const handler = { read: () => 0, write: () => {} };
    const machine = await loadInto(
      { kernel: vmlinux },
      { prepare: (gpa) => gpa.addMmio({ name: 'vga', gpa: 0xa0000, sizeBytes: 0x20000, handler }) },
    );
    expect(bootParams(machine)).toMatchObject({
      orig_video_mode: 3,
      orig_video_cols: 80,
      orig_video_lines: 25,
      orig_video_isVGA: 1,
      orig_video_points: 16,
    });
  });

  it('gets the same seed with a virtual clock, another with a real one, and the one that was given', async () => {
    const seedOf = async (options: Partial<LinuxGuestOptions>, machineOptions?: TestMachineOptions) => {
      const machine = await loadInto({ kernel: vmlinux, ...options }, machineOptions);
      const { setup_data } = bootParams(machine);
      if (setup_data === 0n) return undefined;
      const node = SetupRngSeed.read(machine.bytes(setup_data, SetupRngSeed.sizeBytes));
      expect(node).toMatchObject({ next: 0n, type: 9 });
      return Buffer.from(node.seed.subarray(0, node.length)).toString('hex');
    };
    const fixed = await seedOf({});
    expect(fixed).toHaveLength(64);
    expect(await seedOf({})).toBe(fixed);
    const random = await seedOf({}, { clock: 'real' });
    expect(random).toHaveLength(64);
    expect(await seedOf({}, { clock: 'real' })).not.toBe(random);
    expect(await seedOf({ rngSeed: Uint8Array.of(0xab, 0xcd) })).toBe('abcd');
    expect(await seedOf({ rngSeed: new Uint8Array(0) })).toBeUndefined();
    expect(await codeOf(() => seedOf({ rngSeed: new Uint8Array(33) }))).toBe('INVALID_SEED');
  });
});

describe('a bzImage', () => {
  it('starts at the entry of the kernel that was unpacked from it, with its own header', async () => {
    const header = { loadflags: 0x81, initrd_addr_max: 0xbfffff };
    const kernel = buildBzImage({ payload: gzipSync(vmlinux), header });
    const machine = await loadInto({ kernel, initrd: INITRD, commandLine: 'x'.repeat(2047) });
    expectLongMode(machine, KERNEL + 1);
    const params = bootParams(machine);
    // The header's length byte says that it ends at 0x26C.
    expect(params.bytes.subarray(0x22c, 0x250)).toEqual(kernel.subarray(0x22c, 0x250));
    expect(params.bytes.subarray(0x258, 0x26c)).toEqual(kernel.subarray(0x258, 0x26c));
    expect(params).toMatchObject({ loadflags: 1, heap_end_ptr: 0, ramdisk_image: 0xc00000 - 2 * PAGE_SIZE });
    expect(machine.text(params.cmd_line_ptr)).toHaveLength(2047);
  });

  it('without a payload starts at its own 64-bit entry', async () => {
    const kernel = buildBzImage();
    const machine = await loadInto({ kernel });
    expectLongMode(machine, 0x200200);
    const code = kernel.subarray(SETUP_BYTES);
    expect(machine.bytes(0x200000, code.length)).toEqual(code);
  });

  it('without a payload and a 64-bit entry starts at the 32-bit one', async () => {
    const header = { xloadflags: 0, relocatable_kernel: 0 };
    const machine = await loadInto({ kernel: buildBzImage({ header }), commandLine: 'a' });
    expectProtectedMode(machine, MIB);
    expect(machine.text(bootParams(machine).cmd_line_ptr)).toBe('a');
    for (const name of [HvRegister.RBP, HvRegister.RDI, HvRegister.RBX])
      expect(machine.register(name)).toBe(0n);
  });
});

it('a PVH kernel starts at the entry of its note', async () => {
  const machine = await loadInto(
    {
      kernel: vmlinux,
      protocol: 'pvh',
      initrd: INITRD,
      modules: [{ file: CODE, commandLine: 'second' }],
      commandLine: 'quiet',
    },
    { acpi: { rsdpGpa: 0xf0000, ram: [] } },
  );
  expectProtectedMode(machine, KERNEL + 2);
  const info = HvmStartInfo.read(machine.bytes(machine.register(HvRegister.RBX), HvmStartInfo.sizeBytes));
  expect(info).toMatchObject({
    magic: 0x336ec578,
    version: 1,
    flags: 0,
    nr_modules: 2,
    rsdp_paddr: 0xf0000n,
  });
  expect(machine.text(info.cmdline_paddr)).toBe('quiet');
  const modules = [0n, 32n].map((at) => HvmModlistEntry.read(machine.bytes(info.modlist_paddr + at, 32)));
  expect(modules[0]).toMatchObject({ size: 5000n, cmdline_paddr: 0n });
  expect(machine.bytes(modules[0].paddr, 5000)).toEqual(INITRD);
  expect(machine.bytes(modules[1].paddr, 5)).toEqual(CODE);
  expect(machine.text(modules[1].cmdline_paddr)).toBe('second');
  const map = Array.from({ length: info.memmap_entries }, (_, i) => {
    const { addr, size, type } = HvmMemmapEntry.read(machine.bytes(info.memmap_paddr + BigInt(i * 24), 24));
    return [Number(addr), Number(addr + size), type];
  });
  expect(map).toEqual([
    [0, 0x9fc00, 1],
    [0x9fc00, 0xa0000, 2],
    [MIB, 16 * MIB, 1],
  ]);
});

it('a Multiboot kernel starts at its entry, with its modules', async () => {
  const machine = await loadInto({
    kernel: multiboot,
    initrd: INITRD,
    modules: [{ file: CODE, commandLine: 'second' }],
    commandLine: 'one two',
  });
  expectProtectedMode(machine, 0x400004);
  expect(hexOf(machine, HvRegister.RAX)).toBe('0x2badb002');
  const info = MultibootInfo.read(machine.bytes(machine.register(HvRegister.RBX), MultibootInfo.sizeBytes));
  expect(info).toMatchObject({ flags: 0x24d, mem_lower: 639, mem_upper: 15 * 1024, mods_count: 2 });
  expect(machine.text(info.cmdline)).toBe('kernel one two');
  expect(machine.text(info.boot_loader_name)).toBe('kensho');
  const modules = [0, 16].map((at) => MultibootModule.read(machine.bytes(info.mods_addr + at, 16)));
  expect(modules.map(({ mod_start, mod_end }) => mod_end - mod_start)).toEqual([5000, 5]);
  expect(modules.every(({ mod_start }) => mod_start % PAGE_SIZE === 0)).toBe(true);
  expect(machine.bytes(modules[0].mod_start, 5000)).toEqual(INITRD);
  expect(modules.map(({ cmdline }) => machine.text(cmdline))).toEqual(['', 'second']);
  expect(info.mmap_length).toBe(3 * 24);
  expect(MultibootMmapEntry.read(machine.bytes(info.mmap_addr + 48, 24))).toEqual({
    size: 20,
    addr: BigInt(MIB),
    len: BigInt(15 * MIB),
    type: 1,
  });
});

it('only VP 0 is set up', async () => {
  const machine = await loadInto({ kernel: vmlinux });
  expect(() => machine.register(HvRegister.RIP, 1)).toThrow(/INVALID_PARAMETER/);
  expect(machine.register(HvRegister.LDTR)).toBe(
    segmentRegister({ base: 0n, limit: 0, selector: 0, attributes: 0 }),
  );
});

describe('absurd input gets one clear line', () => {
  const two = (first: number, second: number) =>
    buildElf({
      segments: [
        { gpa: first, bytes: CODE, memoryBytes: 0x2000 },
        { gpa: second, bytes: CODE },
      ],
    });
  it.each<[string, LinuxGuestOptions, string, RegExp]>([
    ['overlapping segments', { kernel: two(KERNEL, KERNEL + 0x1000) }, 'OVERLAP', /segment 1.*segment 0/],
    ['segments outside RAM', { kernel: two(15 * MIB, 16 * MIB) }, 'OUTSIDE_MEMORY', /more memory/],
    ['segments in the legacy hole', { kernel: two(0x9f000, MIB) }, 'OUTSIDE_MEMORY', /0x9f000/],
    [
      'a kernel that needs more than there is',
      { kernel: buildBzImage({ header: { init_size: 0xffffffff } }) },
      'OUTSIDE_MEMORY',
      /the kernel at 0x200000/,
    ],
    [
      'an initrd larger than memory',
      { kernel: vmlinux, initrd: new Uint8Array(17 * MIB) },
      'NO_ROOM',
      /17 MiB/,
    ],
    [
      'an initrd that is too large',
      { kernel: vmlinux, initrd: new Uint8Array(14 * MIB) },
      'NO_ROOM',
      /14 MiB/,
    ],
    [
      'an initrd where no RAM is low enough',
      { kernel: buildBzImage({ header: { initrd_addr_max: 0x9ff } }), initrd: CODE },
      'NO_ROOM',
      /below 0xa00/,
    ],
    [
      'a long command line',
      { kernel: vmlinux, commandLine: 'x'.repeat(2048) },
      'COMMAND_LINE_TOO_LONG',
      /2047/,
    ],
    [
      'a long one in UTF-8',
      { kernel: vmlinux, commandLine: 'é'.repeat(1024) },
      'COMMAND_LINE_TOO_LONG',
      /2048/,
    ],
    ['a cut command line', { kernel: vmlinux, commandLine: 'a\0b' }, 'INVALID_COMMAND_LINE', /NUL/],
    ['a file that is not there', { kernel: '/nowhere/vmlinuz' }, 'UNREADABLE_FILE', /ENOENT/],
    ['a folder', { kernel: vmlinux, initrd: import.meta.dirname }, 'UNREADABLE_FILE', /not a file/],
    [
      'modules for Linux',
      { kernel: vmlinux, initrd: CODE, modules: [{ file: CODE }] },
      'UNUSED_MODULES',
      /no further/,
    ],
    ['modules without an initrd', { kernel: multiboot, modules: [{ file: CODE }] }, 'NO_INITRD', /initrd/],
  ])('%s', async (_, options, code, message) => {
    const outcome = loadInto(options);
    await expect(outcome).rejects.toThrow(message);
    expect(await codeOf(() => outcome)).toBe(code);
  });

  it('a payload that claims to be larger than memory is not unpacked', async () => {
    const payload = gzipSync(vmlinux);
    payload.writeUInt32LE(0xf0000000, payload.length - 4);
    const outcome = loadInto({ kernel: buildBzImage({ payload }) });
    await expect(outcome).rejects.toThrow(/3840 MiB, more than the 16 MiB/);
  });

  it('a processor without x86 registers', async () => {
    const outcome = loadInto({ kernel: vmlinux }, { processor: 'no-registers' });
    expect(await codeOf(() => outcome)).toBe('WRONG_PROCESSOR');
  });

  it('a partition without memory for a kernel', async () => {
    const outcome = loadInto({ kernel: vmlinux }, { memoryBytes: 64 * 1024 });
    expect(await codeOf(() => outcome)).toBe('OUTSIDE_MEMORY');
  });
});
