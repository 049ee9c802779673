import { crc32 } from 'node:zlib';
import {
  DEC21140_SUBSYSTEM_ID,
  DEC21140_SUBSYSTEM_VENDOR_ID,
  SROM_WORDS,
  Srom,
} from '../protocol/dec21140.ts';

const FORMAT_VERSION = 3;
/** Find out at power-up. */
const AUTOSENSE = 0x0800;
const EXTENDED_BLOCK = 0x80;
const MII_BLOCK = 1;
/** As in a PHY's status and advertisement, each of the four media in a bit. */
const ALL_MEDIA = 0x7800;
const ADVERTISED = 0x01e0;
const FULL_DUPLEX_MEDIA = 0x5000;
const THRESHOLD_MEDIA = 0x1800;

/**
 * What an adapter's serial ROM holds (Digital, "21X4 Serial ROM Format", version 3): its address, and a media table
 * that names one PHY behind the MII, with no pins to set for it.
 *
 * @param mac - 6 bytes
 * @returns 64 words
 */
export function serialRomImage(mac: Uint8Array): Uint16Array {
  const bytes = new Uint8Array(2 * SROM_WORDS);
  const data = new DataView(bytes.buffer);
  data.setUint16(Srom.SUBSYSTEM_VENDOR_ID, DEC21140_SUBSYSTEM_VENDOR_ID, true);
  data.setUint16(Srom.SUBSYSTEM_ID, DEC21140_SUBSYSTEM_ID, true);
  bytes[Srom.FORMAT_VERSION] = FORMAT_VERSION;
  bytes[Srom.CONTROLLER_COUNT] = 1;
  bytes.set(mac, Srom.ADDRESS);
  data.setUint16(Srom.INFO_LEAF_OFFSET, Srom.INFO_LEAF, true);
  bytes.set(infoLeaf(), Srom.INFO_LEAF);
  bytes[Srom.ID_BLOCK_CRC] = idBlockCrc(bytes);
  data.setUint16(Srom.CHECKSUM, crc32(bytes.subarray(0, Srom.CHECKSUM)), true);
  return Uint16Array.from({ length: SROM_WORDS }, (_, i) => data.getUint16(2 * i, true));
}

function infoLeaf(): Uint8Array {
  const word = (value: number) => [value & 0xff, value >> 8];
  const block = [
    MII_BLOCK,
    0, // which PHY
    0, // length of the sequence of pin settings
    0, // length of the reset sequence
    ...word(ALL_MEDIA),
    ...word(ADVERTISED),
    ...word(FULL_DUPLEX_MEDIA),
    ...word(THRESHOLD_MEDIA),
  ];
  const pinDirections = 0;
  const blockCount = 1;
  return Uint8Array.from([
    ...word(AUTOSENSE),
    pinDirections,
    blockCount,
    EXTENDED_BLOCK | block.length,
    ...block,
  ]);
}

/** CRC-8 of the identification block, x^8 + x^2 + x + 1: words 0 to 7 and the upper half of word 8, most significant bit first. */
function idBlockCrc(bytes: Uint8Array): number {
  let crc = 0xff;
  for (let at = 0; at <= Srom.ID_BLOCK_CRC; at++) {
    // Upper bytes of words come first; the last word has no lower one.
    const byte = bytes[at ^ 1];
    for (let bit = 7; bit >= 0; bit--) {
      const feedback = ((byte >> bit) ^ (crc >> 7)) & 1;
      crc = ((crc << 1) & 0xff) ^ (feedback === 1 ? 0x07 : 0);
    }
  }
  return crc;
}
