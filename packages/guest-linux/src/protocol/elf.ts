// System V ABI, "Object files"; the AMD64 and i386 supplements for the machine numbers.
import { struct, u8, u16, u32, u64 } from '@kensho/core';

export const ELF_MAGIC = 0x464c457f;

export const ElfClass = { BITS_32: 1, BITS_64: 2 } as const;
export const ELFDATA2LSB = 1;
export const ElfType = { REL: 1, EXEC: 2, DYN: 3, CORE: 4 } as const;
export const ElfMachine = { I386: 3, X86_64: 62 } as const;

export const PT_LOAD = 1;
export const PT_NOTE = 4;

export const ElfIdent = struct('e_ident', 20, {
  magic: [0, u32],
  ei_class: [4, u8],
  ei_data: [5, u8],
  e_type: [16, u16],
  e_machine: [18, u16],
});

export const Elf64Header = struct('Elf64_Ehdr', 64, {
  e_entry: [24, u64],
  e_phoff: [32, u64],
  e_phentsize: [54, u16],
  e_phnum: [56, u16],
});
export const Elf32Header = struct('Elf32_Ehdr', 52, {
  e_entry: [24, u32],
  e_phoff: [28, u32],
  e_phentsize: [42, u16],
  e_phnum: [44, u16],
});

export const Elf64ProgramHeader = struct('Elf64_Phdr', 56, {
  p_type: [0, u32],
  p_offset: [8, u64],
  p_paddr: [24, u64],
  p_filesz: [32, u64],
  p_memsz: [40, u64],
});
export const Elf32ProgramHeader = struct('Elf32_Phdr', 32, {
  p_type: [0, u32],
  p_offset: [4, u32],
  p_paddr: [12, u32],
  p_filesz: [16, u32],
  p_memsz: [20, u32],
});

/** Name and description follow, each padded to four bytes. */
export const ElfNote = struct('Elf_Nhdr', 12, { namesz: [0, u32], descsz: [4, u32], type: [8, u32] });
