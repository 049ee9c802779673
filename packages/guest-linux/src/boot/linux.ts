import { HvRegister, KenshoError } from '@kensho/core';
import type { BzImage } from '../image/bzimage.ts';
import type { ElfImage } from '../image/elf.ts';
import {
  BOOT_FLAG,
  BootParams,
  E820_MAX_ENTRIES,
  E820_TABLE_OFFSET,
  E820Entry,
  ENTRY_64_OFFSET,
  LOADER_UNKNOWN,
  LoadFlag,
  SETUP_HEADER_MAGIC,
  SETUP_HEADER_OFFSET,
  SETUP_RNG_SEED,
  SetupRngSeed,
  VIDEO_MODE_NORMAL,
} from '../protocol/boot-params.ts';
import { encodeCommandLine } from './command-line.ts';
import type { BootRequest, Machine } from './machine.ts';
import { longModeState, type ProcessorState, protectedModeState } from './processor-state.ts';

/** A vmlinux brings no header; these are x86-64's own figures (arch/x86/boot/header.S, asm/setup.h). */
const VMLINUX_VERSION = 0x020f;
const VMLINUX_ALIGNMENT = 0x200000;
const VMLINUX_COMMAND_LINE_MAX = 2047;
const VMLINUX_INITRD_ADDRESS_MAX = 0x7fffffff;
/** Whatever a kernel says it takes. */
const COMMAND_LINE_LIMIT = 64 * 1024;

/** Loads an ELF image of Linux; `header` is that of the bzImage it was in. The state is that of its 64-bit entry. */
export function bootLinux(
  machine: Machine,
  elf: ElfImage,
  header: BzImage | undefined,
  request: BootRequest,
): ProcessorState {
  machine.loadElf(elf);
  return longModeState(machine, elf.entry, placeBootParams(machine, header, request));
}

/** Loads a bzImage that loads itself. The state is that of its 64-bit entry, or of its 32-bit one if that is all. */
export function bootBzImage(machine: Machine, image: BzImage, request: BootRequest): ProcessorState {
  machine.load('the kernel', image.loadGpa, image.code, image.initBytes);
  const bootParams = placeBootParams(machine, image, request);
  return image.has64BitEntry
    ? longModeState(machine, image.loadGpa + ENTRY_64_OFFSET, bootParams)
    : protectedModeState(machine, image.loadGpa, [[HvRegister.RSI, BigInt(bootParams)]]);
}

function placeBootParams(machine: Machine, header: BzImage | undefined, request: BootRequest): number {
  const { modules, rngSeed } = request;
  if (modules.length > 1) {
    throw new KenshoError('UNUSED_MODULES', 'Linux takes an initrd, no further modules');
  }
  const max = Math.min(header?.commandLineMax ?? VMLINUX_COMMAND_LINE_MAX, COMMAND_LINE_LIMIT);
  const commandLine = encodeCommandLine(request.commandLine, max);
  const params = new Uint8Array(BootParams.sizeBytes);
  if (header === undefined) {
    BootParams.write(params, {
      boot_flag: BOOT_FLAG,
      header: SETUP_HEADER_MAGIC,
      version: VMLINUX_VERSION,
      loadflags: LoadFlag.LOADED_HIGH,
      kernel_alignment: VMLINUX_ALIGNMENT,
    });
  } else {
    params.set(header.setupHeader, SETUP_HEADER_OFFSET);
  }
  BootParams.write(params, {
    vid_mode: VIDEO_MODE_NORMAL,
    type_of_loader: LOADER_UNKNOWN,
    loadflags: BootParams.read(params).loadflags & ~LoadFlag.CAN_USE_HEAP,
    heap_end_ptr: 0,
    cmd_line_ptr: machine.placeLow('the command line', commandLine),
    hardware_subarch: 0,
    setup_data: BigInt(rngSeed === undefined ? 0 : placeRngSeed(machine, rngSeed)),
    acpi_rsdp_addr: BigInt(machine.rsdpGpa ?? 0),
  });
  const initrd = modules[0]?.bytes;
  if (initrd !== undefined && initrd.length > 0) {
    const limit = (header?.initrdAddressMax ?? VMLINUX_INITRD_ADDRESS_MAX) + 1;
    BootParams.write(params, {
      ramdisk_image: machine.placeHigh('the initrd', initrd, limit),
      ramdisk_size: initrd.length,
    });
  }
  if (machine.textScreen) writeTextScreen(params);
  writeMemoryMap(params, machine);
  return machine.placeLow('boot_params', params);
}

/** The text mode that a PC's firmware leaves: 80 by 25 in colour. */
function writeTextScreen(params: Uint8Array): void {
  BootParams.write(params, {
    orig_video_mode: 3,
    orig_video_cols: 80,
    orig_video_lines: 25,
    orig_video_isVGA: 1,
    orig_video_points: 16,
  });
}

function writeMemoryMap(params: Uint8Array, { map }: Machine): void {
  if (map.length > E820_MAX_ENTRIES) {
    throw new KenshoError(
      'SCATTERED_MEMORY',
      `the partition's memory is in ${map.length} pieces, Linux is told of ${E820_MAX_ENTRIES} at most`,
    );
  }
  BootParams.write(params, { e820_entries: map.length });
  for (const [i, { gpa, sizeBytes, type }] of map.entries()) {
    const entry = { addr: BigInt(gpa), size: BigInt(sizeBytes), type };
    E820Entry.write(params, entry, E820_TABLE_OFFSET + i * E820Entry.sizeBytes);
  }
}

function placeRngSeed(machine: Machine, seed: Uint8Array): number {
  const node = SetupRngSeed.encode({ type: SETUP_RNG_SEED, length: seed.length, seed });
  return machine.placeLow('the RNG seed', node);
}
