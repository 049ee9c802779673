import { HvRegister } from '@kensho/core';
import type { ElfImage } from '../image/elf.ts';
import {
  HvmMemmapEntry,
  HvmModlistEntry,
  HvmStartInfo,
  PVH_START_MAGIC,
  PVH_START_VERSION,
} from '../protocol/pvh.ts';
import { encodeCommandLine } from './command-line.ts';
import { type BootRequest, END_OF_4_GIB, type Machine } from './machine.ts';
import { type ProcessorState, protectedModeState } from './processor-state.ts';

/** A bound of ours; Linux cuts at 2047. */
const COMMAND_LINE_MAX = 4095;

/** Loads an ELF image with a PVH entry. The state is that of the entry. */
export function bootPvh(
  machine: Machine,
  elf: ElfImage,
  entry: number,
  { commandLine, modules }: BootRequest,
): ProcessorState {
  machine.loadElf(elf);
  const placeText = (what: string, text: string) =>
    BigInt(machine.placeLow(what, encodeCommandLine(text, COMMAND_LINE_MAX)));

  const list = new Uint8Array(modules.length * HvmModlistEntry.sizeBytes);
  for (const [i, one] of modules.entries()) {
    const what = i === 0 ? 'the initrd' : `module ${i}`;
    HvmModlistEntry.write(
      list,
      {
        paddr: BigInt(machine.placeHigh(what, one.bytes, END_OF_4_GIB)),
        size: BigInt(one.bytes.length),
        cmdline_paddr:
          one.commandLine === '' ? 0n : placeText(`the command line of ${what}`, one.commandLine),
      },
      i * HvmModlistEntry.sizeBytes,
    );
  }
  const map = new Uint8Array(machine.map.length * HvmMemmapEntry.sizeBytes);
  for (const [i, { gpa, sizeBytes, type }] of machine.map.entries()) {
    const range = { addr: BigInt(gpa), size: BigInt(sizeBytes), type };
    HvmMemmapEntry.write(map, range, i * HvmMemmapEntry.sizeBytes);
  }
  const info = HvmStartInfo.encode({
    magic: PVH_START_MAGIC,
    version: PVH_START_VERSION,
    nr_modules: modules.length,
    modlist_paddr: modules.length === 0 ? 0n : BigInt(machine.placeLow('the module list', list)),
    cmdline_paddr: placeText('the command line', commandLine),
    rsdp_paddr: BigInt(machine.rsdpGpa ?? 0),
    memmap_paddr: BigInt(machine.placeLow('the memory map', map)),
    memmap_entries: machine.map.length,
  });
  const start = machine.placeLow('hvm_start_info', info);
  return protectedModeState(machine, entry, [[HvRegister.RBX, BigInt(start)]]);
}
