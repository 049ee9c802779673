import { crc32 } from 'node:zlib';

/** The frame check sequence (IEEE 802.3, 3.2.9) of a frame, to be written little-endian behind it. */
export function fcsOf(frame: Uint8Array): number {
  return crc32(frame);
}
