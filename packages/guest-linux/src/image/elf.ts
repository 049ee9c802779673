import { hex, size } from '../format.ts';
import {
  ELF_MAGIC,
  ELFDATA2LSB,
  Elf32Header,
  Elf32ProgramHeader,
  Elf64Header,
  Elf64ProgramHeader,
  ElfClass,
  ElfIdent,
  ElfMachine,
  ElfNote,
  ElfType,
  PT_LOAD,
  PT_NOTE,
} from '../protocol/elf.ts';
import { PVH_NOTE_NAME, XEN_ELFNOTE_PHYS32_ENTRY } from '../protocol/pvh.ts';
import { type NamedFile, refuse } from './kernel-file.ts';

/** A part of an ELF image as it lies in memory: the bytes of the file, and zeros behind them. */
export interface ElfSegment {
  /** Physical address. */
  readonly gpa: number;
  readonly bytes: Uint8Array;
  /** At least the length of `bytes`. */
  readonly sizeBytes: number;
}

/** What a boot needs of an ELF image. */
export interface ElfImage {
  readonly bits: 32 | 64;
  readonly entry: number;
  /** Not empty, in the file's order. */
  readonly segments: readonly ElfSegment[];
  /** The 32-bit entry of the PVH protocol, where there is one. */
  readonly pvhEntry: number | undefined;
}

/** More program headers than any kernel has. */
const MAX_PROGRAM_HEADERS = 256;

const MACHINE_NAMES: ReadonlyMap<number, string> = new Map([
  [8, 'MIPS'],
  [20, 'PowerPC'],
  [21, '64-bit PowerPC'],
  [22, 'S/390'],
  [40, '32-bit ARM'],
  [183, '64-bit ARM'],
  [243, 'RISC-V'],
  [258, 'LoongArch'],
]);

export function isElf(bytes: Uint8Array): boolean {
  return bytes.length >= ElfIdent.sizeBytes && ElfIdent.read(bytes).magic === ELF_MAGIC;
}

/**
 * Reads an executable ELF image for x86, of 32 or 64 bits. Every offset and length is checked against the file.
 * Throws KenshoError with a {@link KernelFault} as its code.
 */
export function readElf(file: NamedFile): ElfImage {
  const { bytes } = file;
  if (!isElf(bytes)) throw refuse(file, 'NOT_A_KERNEL', 'is not an ELF image');
  const ident = ElfIdent.read(bytes);
  const bits = ident.ei_class === ElfClass.BITS_64 ? 64 : 32;
  checkKind(file, ident);
  const headerBytes = bits === 64 ? Elf64Header.sizeBytes : Elf32Header.sizeBytes;
  if (bytes.length < headerBytes) throw refuse(file, 'TRUNCATED_KERNEL', 'ends within its ELF header');
  const header = bits === 64 ? Elf64Header.read(bytes) : Elf32Header.read(bytes);

  const programHeader = bits === 64 ? Elf64ProgramHeader : Elf32ProgramHeader;
  const { e_phnum: count, e_phentsize: entryBytes } = header;
  if (count === 0)
    throw refuse(file, 'NOT_A_KERNEL', 'is an ELF file without program headers: nothing to load');
  if (entryBytes !== programHeader.sizeBytes || count > MAX_PROGRAM_HEADERS) {
    throw refuse(file, 'CORRUPT_KERNEL', `has ${count} program headers of ${entryBytes} bytes each`);
  }
  const headersAt = within(file, 'its program headers', header.e_phoff, count * entryBytes);

  const segments: ElfSegment[] = [];
  let pvhEntry: number | undefined;
  for (let i = 0; i < count; i++) {
    const at = headersAt + i * entryBytes;
    const { p_type, p_offset, p_paddr, p_filesz, p_memsz } =
      bits === 64 ? Elf64ProgramHeader.read(bytes, at) : Elf32ProgramHeader.read(bytes, at);
    if (p_type === PT_LOAD && p_memsz > 0) {
      if (p_filesz > p_memsz) {
        throw refuse(file, 'CORRUPT_KERNEL', `has a segment with more in the file than in memory`);
      }
      const fileBytes = Number(p_filesz);
      const from = within(file, `its segment ${i}`, p_offset, fileBytes);
      segments.push({
        gpa: address(file, `its segment ${i}`, p_paddr),
        bytes: bytes.subarray(from, from + fileBytes),
        sizeBytes: address(file, `the end of its segment ${i}`, p_memsz),
      });
    } else if (p_type === PT_NOTE) {
      const noteBytes = Number(p_filesz);
      const from = within(file, 'its notes', p_offset, noteBytes);
      pvhEntry ??= findPvhEntry(bytes.subarray(from, from + noteBytes));
    }
  }
  if (segments.length === 0) throw refuse(file, 'NOT_A_KERNEL', 'is an ELF file with nothing to load');
  const entry = address(file, 'its entry', header.e_entry);
  for (const start of pvhEntry === undefined ? [entry] : [entry, pvhEntry]) {
    if (!segments.some(({ gpa, sizeBytes }) => start >= gpa && start < gpa + sizeBytes)) {
      throw refuse(file, 'CORRUPT_KERNEL', `starts at ${hex(start)}, where it has nothing`);
    }
  }
  return { bits, entry, segments, pvhEntry };
}

function checkKind(
  file: NamedFile,
  {
    ei_class,
    ei_data,
    e_type,
    e_machine,
  }: { ei_class: number; ei_data: number; e_type: number; e_machine: number },
): void {
  const known = ei_class === ElfClass.BITS_32 || ei_class === ElfClass.BITS_64;
  if (!known) throw refuse(file, 'CORRUPT_KERNEL', `is an ELF file of unknown class ${ei_class}`);
  if (ei_data !== ELFDATA2LSB) {
    throw refuse(file, 'WRONG_ARCHITECTURE', 'is for a big-endian machine, an x86-64 kernel is needed');
  }
  if (e_machine !== ElfMachine.X86_64 && e_machine !== ElfMachine.I386) {
    const machine = MACHINE_NAMES.get(e_machine) ?? `ELF machine ${e_machine}`;
    throw refuse(file, 'WRONG_ARCHITECTURE', `is for ${machine}, an x86-64 kernel is needed`);
  }
  if (e_type === ElfType.REL) {
    throw refuse(file, 'NOT_A_KERNEL', 'is an object file or a kernel module, not a kernel');
  }
  if (e_type !== ElfType.EXEC && e_type !== ElfType.DYN) {
    throw refuse(file, 'NOT_A_KERNEL', 'is an ELF file that cannot be executed');
  }
}

/** The offset of a part of the file; throws where the part is not all in it. */
function within(file: NamedFile, what: string, offset: bigint | number, sizeBytes: number): number {
  if (BigInt(offset) + BigInt(sizeBytes) > BigInt(file.bytes.length)) {
    throw refuse(
      file,
      'TRUNCATED_KERNEL',
      `ends before ${what}: has ${size(file.bytes.length)}, needs ${size(Number(offset) + sizeBytes)}`,
    );
  }
  return Number(offset);
}

/** Addresses that no partition has are refused here, so that the rest can count in numbers. */
function address(file: NamedFile, what: string, value: bigint | number): number {
  if (value > Number.MAX_SAFE_INTEGER) {
    throw refuse(file, 'CORRUPT_KERNEL', `has ${what} at ${hex(value)}, beyond all physical memory`);
  }
  return Number(value);
}

/** Notes that are cut short end the search: Linux has many that are of no interest here. */
function findPvhEntry(notes: Uint8Array): number | undefined {
  const padded = (length: number) => Math.ceil(length / 4) * 4;
  for (let at = 0; at + ElfNote.sizeBytes <= notes.length; ) {
    const { namesz, descsz, type } = ElfNote.read(notes, at);
    const name = at + ElfNote.sizeBytes;
    const description = name + padded(namesz);
    at = description + padded(descsz);
    if (at > notes.length) return undefined;
    if (type !== XEN_ELFNOTE_PHYS32_ENTRY || (descsz !== 4 && descsz !== 8)) continue;
    if (new TextDecoder('latin1').decode(notes.subarray(name, name + namesz)) !== `${PVH_NOTE_NAME}\0`)
      continue;
    return new DataView(notes.buffer, notes.byteOffset + description).getUint32(0, true);
  }
  return undefined;
}
