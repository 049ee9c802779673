import { decompressPayload } from '../decompress/payload.ts';
import { type BzImage, isBzImage, readBzImage } from './bzimage.ts';
import { type ElfImage, isElf, readElf } from './elf.ts';
import { type NamedFile, refuse } from './kernel-file.ts';
import { hasMultibootHeader } from './multiboot.ts';

/** How a kernel is entered. */
export type BootProtocol = 'linux' | 'pvh' | 'multiboot';

/** A kernel and the way to boot it. */
export type Kernel =
  /** An ELF image at its 64-bit entry, with boot_params; `header` is that of the bzImage it came in. */
  | { readonly boot: 'linux'; readonly elf: ElfImage; readonly header: BzImage | undefined }
  /** A bzImage that has no payload to take out: it is entered itself. */
  | { readonly boot: 'linux-bzimage'; readonly image: BzImage }
  | { readonly boot: 'pvh'; readonly elf: ElfImage; readonly entry: number }
  | { readonly boot: 'multiboot'; readonly elf: ElfImage };

/**
 * Finds out what a file is and how it is booted.
 *
 * Without `wanted`, a bzImage boots by the Linux protocol, an ELF image with a Multiboot header by that, one of 64 bits
 * by the Linux protocol, and one of 32 bits with a PVH entry by PVH.
 *
 * @param limitBytes - a compressed kernel that is larger is refused
 * @throws KenshoError with a {@link KernelFault} as its code
 */
export async function readKernel(
  file: NamedFile,
  wanted: BootProtocol | undefined,
  limitBytes: number,
): Promise<Kernel> {
  if (isBzImage(file.bytes)) return readCompressed(file, wanted, limitBytes);
  if (!isElf(file.bytes)) throw unknownFile(file);
  const elf = readElf(file);
  const boot = wanted ?? protocolOf(file, elf);
  if (boot === 'multiboot') {
    if (!hasMultibootHeader(file)) throw refuse(file, 'UNSUPPORTED_KERNEL', 'has no Multiboot header');
    return { boot, elf };
  }
  return boot === 'pvh' ? pvhKernel(file, elf) : linuxKernel(file, elf, undefined);
}

async function readCompressed(
  file: NamedFile,
  wanted: BootProtocol | undefined,
  limitBytes: number,
): Promise<Kernel> {
  const image = readBzImage(file);
  if (wanted === 'multiboot') {
    throw refuse(file, 'UNSUPPORTED_KERNEL', 'is a bzImage: it boots by the protocol linux or pvh');
  }
  if (image.payload === undefined) {
    if (wanted === 'pvh') throw refuse(file, 'UNSUPPORTED_KERNEL', 'is a bzImage without an ELF image in it');
    return { boot: 'linux-bzimage', image };
  }
  const bytes = await decompressPayload(file, image.payload, limitBytes);
  const unpacked = { name: `${file.name}, unpacked`, bytes };
  if (!isElf(bytes)) throw refuse(unpacked, 'NOT_A_KERNEL', 'is not an ELF image');
  const elf = readElf(unpacked);
  return wanted === 'pvh' ? pvhKernel(unpacked, elf) : linuxKernel(unpacked, elf, image);
}

function protocolOf(file: NamedFile, elf: ElfImage): BootProtocol {
  if (hasMultibootHeader(file)) return 'multiboot';
  return elf.bits === 32 && elf.pvhEntry !== undefined ? 'pvh' : 'linux';
}

function linuxKernel(file: NamedFile, elf: ElfImage, header: BzImage | undefined): Kernel {
  if (elf.bits === 32) {
    throw refuse(file, 'WRONG_ARCHITECTURE', 'is a 32-bit kernel without a Multiboot header or PVH entry');
  }
  return { boot: 'linux', elf, header };
}

function pvhKernel(file: NamedFile, elf: ElfImage): Kernel {
  if (elf.pvhEntry === undefined) {
    throw refuse(file, 'UNSUPPORTED_KERNEL', 'has no PVH entry: Linux has one if built with CONFIG_PVH');
  }
  return { boot: 'pvh', elf, entry: elf.pvhEntry };
}

/** Where a raw ARM kernel has its magic number, and what that is (arm64 booting.rst; arm booting). */
const ARM64_MAGIC = { at: 0x38, value: 0x644d5241 };
const ARM_MAGIC = { at: 0x24, value: 0x016f2818 };

function unknownFile(file: NamedFile): Error {
  const { bytes } = file;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const has = ({ at, value }: { at: number; value: number }) =>
    bytes.length >= at + 4 && data.getUint32(at, true) === value;
  if (has(ARM64_MAGIC))
    return refuse(file, 'WRONG_ARCHITECTURE', 'is for 64-bit ARM, an x86-64 kernel is needed');
  if (has(ARM_MAGIC))
    return refuse(file, 'WRONG_ARCHITECTURE', 'is for 32-bit ARM, an x86-64 kernel is needed');
  const what = bytes.length === 0 ? 'is empty' : 'is neither a bzImage nor an ELF image';
  return refuse(file, 'NOT_A_KERNEL', `${what}: give a bzImage (vmlinuz), a vmlinux, or a Multiboot kernel`);
}
