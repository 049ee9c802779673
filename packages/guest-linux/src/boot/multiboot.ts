import { HvRegister } from '@kensho/core';
import type { ElfImage } from '../image/elf.ts';
import {
  MULTIBOOT_BOOTLOADER_MAGIC,
  MultibootInfo,
  MultibootInfoFlag,
  MultibootMmapEntry,
  MultibootModule,
} from '../protocol/multiboot.ts';
import { encodeCommandLine } from './command-line.ts';
import { type BootRequest, END_OF_4_GIB, type Machine } from './machine.ts';
import type { MemoryRange } from './memory-map.ts';
import { ramOf } from './memory-map.ts';
import { type ProcessorState, protectedModeState } from './processor-state.ts';

/** A bound of ours; the specification has none. */
const COMMAND_LINE_MAX = 4095;
const LOADER_NAME = 'kensho';
const MIB = 2 ** 20;
const KIB = 2 ** 10;

/**
 * Loads a Multiboot 1 ELF image with its modules. The state is that of its entry.
 *
 * @param name - the kernel's name, which is the first word of its command line
 */
export function bootMultiboot(
  machine: Machine,
  elf: ElfImage,
  name: string,
  { commandLine, modules }: BootRequest,
): ProcessorState {
  machine.loadElf(elf);
  const placeText = (what: string, text: string) =>
    machine.placeLow(what, encodeCommandLine(text, COMMAND_LINE_MAX));

  const list = new Uint8Array(modules.length * MultibootModule.sizeBytes);
  for (const [i, one] of modules.entries()) {
    const mod_start = machine.placeHigh(`module ${i}`, one.bytes, END_OF_4_GIB);
    const cmdline = placeText(`the command line of module ${i}`, one.commandLine);
    MultibootModule.write(
      list,
      { mod_start, mod_end: mod_start + one.bytes.length, cmdline },
      i * MultibootModule.sizeBytes,
    );
  }
  const map = new Uint8Array(machine.map.length * MultibootMmapEntry.sizeBytes);
  for (const [i, { gpa, sizeBytes, type }] of machine.map.entries()) {
    MultibootMmapEntry.write(
      map,
      { size: MultibootMmapEntry.sizeBytes - 4, addr: BigInt(gpa), len: BigInt(sizeBytes), type },
      i * MultibootMmapEntry.sizeBytes,
    );
  }
  const ram = ramOf(machine.map);
  const info = MultibootInfo.encode({
    flags:
      MultibootInfoFlag.MEMORY |
      MultibootInfoFlag.CMDLINE |
      MultibootInfoFlag.MODS |
      MultibootInfoFlag.MEM_MAP |
      MultibootInfoFlag.BOOT_LOADER_NAME,
    mem_lower: kibFrom(ram, 0),
    mem_upper: kibFrom(ram, MIB),
    cmdline: placeText('the command line', commandLine === '' ? name : `${name} ${commandLine}`),
    mods_count: modules.length,
    mods_addr: modules.length === 0 ? 0 : machine.placeLow('the module list', list),
    mmap_length: map.length,
    mmap_addr: machine.placeLow('the memory map', map),
    boot_loader_name: placeText("the loader's name", LOADER_NAME),
  });
  const start = machine.placeLow('the Multiboot information', info);
  return protectedModeState(machine, elf.entry, [
    [HvRegister.RAX, BigInt(MULTIBOOT_BOOTLOADER_MAGIC)],
    [HvRegister.RBX, BigInt(start)],
  ]);
}

/** RAM without a gap from an address on. */
function kibFrom(ram: readonly MemoryRange[], gpa: number): number {
  const range = ram.find((one) => one.gpa === gpa);
  return range === undefined ? 0 : Math.floor(range.sizeBytes / KIB);
}
