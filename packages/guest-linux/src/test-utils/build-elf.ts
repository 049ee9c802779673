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

export interface ElfPlan {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  readonly type?: number;
  readonly data?: number;
  readonly entry?: number | bigint;
  readonly segments?: readonly {
    readonly gpa: number | bigint;
    readonly bytes: Uint8Array;
    readonly memoryBytes?: number | bigint;
  }[];
  readonly notes?: Uint8Array;
}

/** A note as ELF files have it. */
export function note(name: string, type: number, description: Uint8Array): Uint8Array {
  const padded = (length: number) => Math.ceil(length / 4) * 4;
  const nameBytes = new TextEncoder().encode(`${name}\0`);
  const bytes = new Uint8Array(ElfNote.sizeBytes + padded(nameBytes.length) + padded(description.length));
  ElfNote.write(bytes, { namesz: nameBytes.length, descsz: description.length, type });
  bytes.set(nameBytes, ElfNote.sizeBytes);
  bytes.set(description, ElfNote.sizeBytes + padded(nameBytes.length));
  return bytes;
}

/** The note that names a PVH entry. */
export function pvhNote(entry: number): Uint8Array {
  return note('Xen', 18, new Uint8Array(Uint32Array.of(entry).buffer));
}

/** A small ELF image: headers, then the contents of the segments. */
export function buildElf(plan: ElfPlan = {}): Uint8Array {
  const {
    bits = 64,
    machine = bits === 64 ? ElfMachine.X86_64 : ElfMachine.I386,
    type = ElfType.EXEC,
  } = plan;
  const segments = plan.segments ?? [{ gpa: 0x100000, bytes: Uint8Array.of(0xf4) }];
  const headerBytes = bits === 64 ? Elf64Header.sizeBytes : Elf32Header.sizeBytes;
  const entryBytes = bits === 64 ? Elf64ProgramHeader.sizeBytes : Elf32ProgramHeader.sizeBytes;
  const parts = segments.map((one) => ({
    p_type: PT_LOAD,
    bytes: one.bytes,
    gpa: BigInt(one.gpa),
    memoryBytes: BigInt(one.memoryBytes ?? one.bytes.length),
  }));
  if (plan.notes !== undefined) {
    parts.push({ p_type: PT_NOTE, bytes: plan.notes, gpa: 0n, memoryBytes: BigInt(plan.notes.length) });
  }
  const contentAt = headerBytes + parts.length * entryBytes;
  const file = new Uint8Array(contentAt + parts.reduce((sum, { bytes }) => sum + bytes.length, 0));
  ElfIdent.write(file, {
    magic: ELF_MAGIC,
    ei_class: bits === 64 ? ElfClass.BITS_64 : ElfClass.BITS_32,
    ei_data: plan.data ?? ELFDATA2LSB,
    e_type: type,
    e_machine: machine,
  });
  const entry = BigInt(plan.entry ?? segments[0]?.gpa ?? 0);
  const counts = { e_phentsize: entryBytes, e_phnum: parts.length };
  if (bits === 64) Elf64Header.write(file, { e_entry: entry, e_phoff: BigInt(headerBytes), ...counts });
  else Elf32Header.write(file, { e_entry: Number(entry), e_phoff: headerBytes, ...counts });
  let at = contentAt;
  for (const [i, { p_type, bytes, gpa, memoryBytes }] of parts.entries()) {
    const header = headerBytes + i * entryBytes;
    if (bits === 64) {
      Elf64ProgramHeader.write(
        file,
        { p_type, p_offset: BigInt(at), p_paddr: gpa, p_filesz: BigInt(bytes.length), p_memsz: memoryBytes },
        header,
      );
    } else {
      Elf32ProgramHeader.write(
        file,
        { p_type, p_offset: at, p_paddr: Number(gpa), p_filesz: bytes.length, p_memsz: Number(memoryBytes) },
        header,
      );
    }
    file.set(bytes, at);
    at += bytes.length;
  }
  return file;
}
