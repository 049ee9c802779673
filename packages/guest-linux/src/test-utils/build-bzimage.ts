import { BOOT_FLAG, SETUP_HEADER_MAGIC, SETUP_HEADER_OFFSET, SetupHeader } from '../protocol/boot-params.ts';

const SETUP_SECTORS = 2;
export const SETUP_BYTES = (SETUP_SECTORS + 1) * 512;
/** Where the payload lies in the protected-mode part. */
const PAYLOAD_OFFSET = 0x240;

export interface BzImagePlan {
  /** A compressed kernel with its size appended. */
  readonly payload?: Uint8Array;
  readonly header?: Parameters<typeof SetupHeader.encode>[0];
}

/** A small bzImage, as version 2.15 of the protocol has them. */
export function buildBzImage({ payload = new Uint8Array(0), header = {} }: BzImagePlan = {}): Uint8Array {
  const codeBytes = Math.ceil((PAYLOAD_OFFSET + payload.length) / 16) * 16;
  const file = new Uint8Array(SETUP_BYTES + codeBytes);
  SetupHeader.write(
    file,
    {
      setup_sects: SETUP_SECTORS,
      syssize: codeBytes / 16,
      boot_flag: BOOT_FLAG,
      header_length: 0x6a,
      header: SETUP_HEADER_MAGIC,
      version: 0x020f,
      loadflags: 1,
      code32_start: 0x100000,
      initrd_addr_max: 0x7fffffff,
      kernel_alignment: 0x200000,
      relocatable_kernel: 1,
      xloadflags: 0x7f,
      cmdline_size: 2047,
      payload_offset: payload.length === 0 ? 0 : PAYLOAD_OFFSET,
      payload_length: payload.length,
      pref_address: 0x200000n,
      init_size: 0x10000,
      ...header,
    },
    SETUP_HEADER_OFFSET,
  );
  file.fill(0xcc, SETUP_BYTES, SETUP_BYTES + PAYLOAD_OFFSET);
  file.set(payload, SETUP_BYTES + PAYLOAD_OFFSET);
  return file;
}
