import { hex, size } from '../format.ts';
import {
  BOOT_FLAG,
  LoadFlag,
  SETUP_HEADER_LIMIT,
  SETUP_HEADER_MAGIC,
  SETUP_HEADER_OFFSET,
  SetupHeader,
  XloadFlag,
} from '../protocol/boot-params.ts';
import { type NamedFile, refuse } from './kernel-file.ts';

const SECTOR_BYTES = 512;
/** What setup_sects stands for where it is 0. */
const DEFAULT_SETUP_SECTORS = 4;
/** syssize is in units of 16 bytes, so the file's last one may be incomplete. */
const PARAGRAPH_BYTES = 16;

/** Versions of the boot protocol that brought fields read here. */
const VERSION_LOADED_HIGH = 0x0200;
const VERSION_INITRD_ADDR_MAX = 0x0203;
const VERSION_CMDLINE_SIZE = 0x0206;
const VERSION_PAYLOAD = 0x0208;
const VERSION_PREF_ADDRESS = 0x020a;
const VERSION_XLOADFLAGS = 0x020c;

/** What older kernels take: boot.rst at the fields' descriptions. */
const OLD_INITRD_ADDR_MAX = 0x37ffffff;
const OLD_CMDLINE_SIZE = 255;
const LOAD_ADDRESS = 0x100000;

/** A kernel of the Linux boot protocol: a real-mode part with a header that says all, and a protected-mode part. */
export interface BzImage {
  /** As it goes into boot_params at {@link SETUP_HEADER_OFFSET}. */
  readonly setupHeader: Uint8Array;
  readonly initrdAddressMax: number;
  /** Longest command line, without its end. */
  readonly commandLineMax: number;
  /** The protected-mode part, which loads itself where no payload is taken out of it. */
  readonly code: Uint8Array;
  readonly loadGpa: number;
  /** What the protected-mode part uses from its address on until it has read the memory map. */
  readonly initBytes: number;
  readonly has64BitEntry: boolean;
  /** The compressed ELF image in it, with its size appended; undefined in what only speaks the protocol. */
  readonly payload: Uint8Array | undefined;
}

export function isBzImage(bytes: Uint8Array): boolean {
  if (bytes.length < SETUP_HEADER_OFFSET + SetupHeader.sizeBytes) return false;
  const { boot_flag, header } = SetupHeader.read(bytes, SETUP_HEADER_OFFSET);
  return boot_flag === BOOT_FLAG && header === SETUP_HEADER_MAGIC;
}

/** Throws KenshoError with a {@link KernelFault} as its code. */
export function readBzImage(file: NamedFile): BzImage {
  const { bytes } = file;
  if (!isBzImage(bytes)) throw refuse(file, 'NOT_A_KERNEL', 'is not a bzImage');
  const header = SetupHeader.read(bytes, SETUP_HEADER_OFFSET);
  const { version } = header;
  if (version < VERSION_LOADED_HIGH || (header.loadflags & LoadFlag.LOADED_HIGH) === 0) {
    throw refuse(
      file,
      'UNSUPPORTED_KERNEL',
      `is a zImage, boot protocol ${version >> 8}.${version & 0xff}: a bzImage is needed`,
    );
  }
  const setupBytes = ((header.setup_sects || DEFAULT_SETUP_SECTORS) + 1) * SECTOR_BYTES;
  const codeBytes = header.syssize * PARAGRAPH_BYTES;
  if (codeBytes === 0) throw refuse(file, 'CORRUPT_KERNEL', 'is a bzImage without a protected-mode part');
  if (bytes.length <= setupBytes + codeBytes - PARAGRAPH_BYTES) {
    throw refuse(
      file,
      'TRUNCATED_KERNEL',
      `ends before its kernel does: has ${size(bytes.length)}, needs ${size(setupBytes + codeBytes)}`,
    );
  }
  const code = bytes.subarray(setupBytes, setupBytes + codeBytes);
  const placed = version >= VERSION_PREF_ADDRESS;
  const loadGpa =
    placed && header.relocatable_kernel !== 0
      ? Number(header.pref_address)
      : header.code32_start || LOAD_ADDRESS;
  if (!Number.isSafeInteger(loadGpa)) {
    throw refuse(
      file,
      'CORRUPT_KERNEL',
      `wants to be loaded at ${hex(header.pref_address)}, beyond all memory`,
    );
  }
  const headerEnd = Math.min(0x202 + header.header_length, SETUP_HEADER_LIMIT, setupBytes);
  return {
    setupHeader: bytes.subarray(SETUP_HEADER_OFFSET, headerEnd),
    initrdAddressMax: version >= VERSION_INITRD_ADDR_MAX ? header.initrd_addr_max : OLD_INITRD_ADDR_MAX,
    commandLineMax: version >= VERSION_CMDLINE_SIZE ? header.cmdline_size : OLD_CMDLINE_SIZE,
    code,
    loadGpa,
    initBytes: Math.max(code.length, placed ? header.init_size : 0),
    has64BitEntry: version >= VERSION_XLOADFLAGS && (header.xloadflags & XloadFlag.KERNEL_64) !== 0,
    payload: version >= VERSION_PAYLOAD ? payloadOf(file, code, header) : undefined,
  };
}

function payloadOf(
  file: NamedFile,
  code: Uint8Array,
  { payload_offset: offset, payload_length: length }: { payload_offset: number; payload_length: number },
): Uint8Array | undefined {
  if (length === 0) return undefined;
  if (offset + length > code.length) {
    throw refuse(
      file,
      'CORRUPT_KERNEL',
      `has its compressed kernel at ${hex(offset)}, ${length} bytes, beyond the ${code.length} that there are`,
    );
  }
  return code.subarray(offset, offset + length);
}
