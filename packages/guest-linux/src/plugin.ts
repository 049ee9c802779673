import { randomBytes } from 'node:crypto';
import path from 'node:path';
import {
  ACPI_TABLES,
  definePlugin,
  GPA_SPACE,
  GpaAccess,
  GUESTS,
  type GuestKind,
  KenshoError,
  LOGGER,
  PAGE_SIZE,
  PARTITION_INFO,
  type Resolver,
  ramLayout,
  randomSequence,
  VP_REGISTERS,
} from '@kensho/core';
import { bootBzImage, bootLinux } from './boot/linux.ts';
import { type BootRequest, Machine } from './boot/machine.ts';
import { memoryMap } from './boot/memory-map.ts';
import { bootMultiboot } from './boot/multiboot.ts';
import type { ProcessorState } from './boot/processor-state.ts';
import { bootPvh } from './boot/pvh.ts';
import { discard, readFileFor } from './files.ts';
import { hex } from './format.ts';
import { type BootProtocol, type Kernel, readKernel } from './image/kernel.ts';
import { RNG_SEED_BYTES } from './protocol/boot-params.ts';

/** A file, by its path or as the bytes themselves. */
export type FileSource = string | Uint8Array;

/** A file that a Multiboot or PVH kernel gets beside the initrd. */
export interface LinuxGuestModule {
  readonly file: FileSource;
  /** @default '' */
  readonly commandLine?: string;
}

/** How a partition's configuration asks for a kernel. */
export interface LinuxGuestOptions {
  /** A bzImage (vmlinuz), an ELF vmlinux, an ELF image with a PVH entry, or a Multiboot 1 ELF image. */
  readonly kernel: FileSource;
  /** The initial RAM disk; the first module where the kernel is a Multiboot one. */
  readonly initrd?: FileSource;
  /** Further modules, for Multiboot and PVH. */
  readonly modules?: readonly LinuxGuestModule[];
  /** @default '' */
  readonly commandLine?: string;
  /** How the kernel is entered. @default what the file is: see {@link readKernel} */
  readonly protocol?: BootProtocol;
  /**
   * Up to 32 bytes for the random numbers of Linux; empty for none.
   * @default by the partition's seed, or random where it has none
   */
  readonly rngSeed?: Uint8Array;
}

const linuxGuest: GuestKind = {
  id: 'linux',
  description: 'Linux (bzImage, vmlinux), or another kernel with a PVH or Multiboot entry',
  async load(partition, options) {
    const request = options as LinuxGuestOptions;
    const { memoryBytes } = partition.resolve(PARTITION_INFO);
    const kernelFile = await readFileFor('kernel', request.kernel, Number.POSITIVE_INFINITY);
    const kernel = await readKernel(kernelFile, request.protocol, memoryBytes);
    const name = path.basename(kernelFile.name);
    const machine = machineOf(partition);
    enter(partition, boot(machine, kernel, name, await bootRequest(partition, request)));
    if ('elf' in kernel) {
      const given = typeof request.kernel === 'string' ? undefined : kernelFile.bytes.buffer;
      for (const { bytes } of kernel.elf.segments) if (bytes.buffer !== given) discard(bytes.buffer);
    }
    const log = partition.resolve(LOGGER);
    log.info(`loaded ${name}`, { boot: kernel.boot });
    for (const { what, gpa, sizeBytes } of machine.plan.claims) {
      log.debug(`${hex(gpa)}-${hex(gpa + sizeBytes - 1)}: ${what}`);
    }
  },
};

async function bootRequest(partition: Resolver, options: LinuxGuestOptions): Promise<BootRequest> {
  const { memoryBytes } = partition.resolve(PARTITION_INFO);
  const sources = [...(options.modules ?? [])];
  if (options.initrd !== undefined) sources.unshift({ file: options.initrd });
  else if (sources.length > 0)
    throw new KenshoError('NO_INITRD', 'modules come after an initrd: give that, too');
  const modules = [];
  for (const { file, commandLine = '' } of sources) {
    modules.push({ bytes: (await readFileFor('initrd', file, memoryBytes)).bytes, commandLine });
  }
  return { commandLine: options.commandLine ?? '', modules, rngSeed: seedOf(partition, options.rngSeed) };
}

function seedOf(partition: Resolver, given: Uint8Array | undefined): Uint8Array | undefined {
  if (given === undefined) {
    const { randomSeed } = partition.resolve(PARTITION_INFO);
    if (randomSeed === undefined) return randomBytes(RNG_SEED_BYTES);
    // Another sequence than the processor's own random numbers.
    const next = randomSequence(~randomSeed);
    return Uint8Array.from({ length: RNG_SEED_BYTES }, next);
  }
  if (given.length > RNG_SEED_BYTES) {
    throw new KenshoError(
      'INVALID_SEED',
      `the RNG seed has ${given.length} bytes: give it up to ${RNG_SEED_BYTES}`,
    );
  }
  return given.length === 0 ? undefined : given;
}

/** ROMs of a PC lie below. */
const LEGACY_END = 0x100000;
/** Where the text of a VGA screen is. */
const VGA_TEXT_GPA = 0xb8000;

function machineOf(partition: Resolver): Machine {
  const gpa = partition.resolve(GPA_SPACE);
  const acpi = partition.tryResolve(ACPI_TABLES);
  const ram = ramLayout(partition.resolve(PARTITION_INFO).memoryBytes);
  const end = ram.reduce((last, slot) => Math.max(last, slot.gpa + slot.sizeBytes), LEGACY_END);
  return new Machine({
    gpa,
    map: memoryMap(gpa, end / PAGE_SIZE, acpi?.ram ?? []),
    rsdpGpa: acpi?.rsdpGpa,
    textScreen:
      gpa.findMmio(VGA_TEXT_GPA) !== undefined || gpa.accessOf(VGA_TEXT_GPA / PAGE_SIZE) !== GpaAccess.NONE,
  });
}

function boot(machine: Machine, kernel: Kernel, name: string, request: BootRequest): ProcessorState {
  switch (kernel.boot) {
    case 'linux':
      return bootLinux(machine, kernel.elf, kernel.header, request);
    case 'linux-bzimage':
      return bootBzImage(machine, kernel.image, request);
    case 'pvh':
      return bootPvh(machine, kernel.elf, kernel.entry, request);
    case 'multiboot':
      return bootMultiboot(machine, kernel.elf, name, request);
  }
}

/** VP 0 starts in that state; the others wait for the guest to start them. */
function enter(partition: Resolver, state: ProcessorState): void {
  try {
    partition.resolve(VP_REGISTERS).set(0, state);
  } catch (cause) {
    if (!(cause instanceof KenshoError)) throw cause;
    throw new KenshoError(
      'WRONG_PROCESSOR',
      "a guest of kind 'linux' needs a processor with x86-64 registers",
      {
        cause,
      },
    );
  }
}

/** The guest kind `linux`. */
export const guestLinuxPlugin = definePlugin({
  id: '@kensho/guest-linux',
  register: (context) => context.contribute(GUESTS, linuxGuest),
});
