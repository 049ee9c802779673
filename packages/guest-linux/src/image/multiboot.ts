import { hex } from '../format.ts';
import {
  MULTIBOOT_HEADER_MAGIC,
  MULTIBOOT_SEARCH_BYTES,
  MultibootFlag,
  MultibootHeader,
} from '../protocol/multiboot.ts';
import { type NamedFile, refuse } from './kernel-file.ts';

const UNDERSTOOD = MultibootFlag.PAGE_ALIGN | MultibootFlag.MEMORY_INFO;

/**
 * Whether an image has a Multiboot 1 header. Throws KenshoError UNSUPPORTED_KERNEL where that asks for something
 * that must be there and is not.
 */
export function hasMultibootHeader(file: NamedFile): boolean {
  const searched = file.bytes.subarray(0, MULTIBOOT_SEARCH_BYTES);
  for (let at = 0; at + MultibootHeader.sizeBytes <= searched.length; at += 4) {
    const { magic, flags, checksum } = MultibootHeader.read(searched, at);
    if (magic !== MULTIBOOT_HEADER_MAGIC || (magic + flags + checksum) >>> 0 !== 0) continue;
    const missing = flags & 0xffff & ~UNDERSTOOD;
    if (missing !== 0) {
      const what = missing & MultibootFlag.VIDEO_MODE ? 'a video mode' : `features ${hex(missing)}`;
      throw refuse(
        file,
        'UNSUPPORTED_KERNEL',
        `asks its Multiboot loader for ${what}, which this one does not have`,
      );
    }
    return true;
  }
  return false;
}
