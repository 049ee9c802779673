import { type Guid, guidToBytes } from '@kensho/core';
import type { DiskInfo } from '../backend/disk.ts';
import { ATA_SECTOR_BYTES, IDENTIFY_BYTES } from '../protocol/ide.ts';

/** Largest capacity that 28-bit commands reach, in sectors. */
export const LBA28_SECTORS = 0x0fffffff;
/** Largest capacity that 48-bit commands reach. */
export const LBA48_SECTORS = 2 ** 48 - 1;
/** Largest DRQ block of READ and WRITE MULTIPLE. */
export const MAX_MULTIPLE_SECTORS = 16;

/** How cylinder, head and sector numbers become a linear address. */
export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectorsPerTrack: number;
}

/** The geometry that a disk has by default (ATA/ATAPI-5, annex B): 16 heads of 63 sectors. */
export function defaultGeometry(sectors: number): Geometry {
  return translatedGeometry(sectors, 16, 63);
}

/** The geometry after INITIALIZE DEVICE PARAMETERS. */
export function translatedGeometry(sectors: number, heads: number, sectorsPerTrack: number): Geometry {
  return {
    cylinders: Math.min(16383, Math.floor(sectors / (heads * sectorsPerTrack))),
    heads,
    sectorsPerTrack,
  };
}

/** Settings of a device that SET FEATURES and its relatives change. */
export interface DriveSettings {
  /** The selected multiword DMA mode as a bit, 0 for none. */
  multiwordDma: number;
  /** The selected Ultra DMA mode as a bit, 0 for none. */
  ultraDma: number;
  writeCache: boolean;
  lookAhead: boolean;
  /** Sectors of a DRQ block of READ and WRITE MULTIPLE; 0: they are off. */
  multipleSectors: number;
}

/** Modes that drives have: multiword DMA 0 to 2 and, with the cable that the board reports, Ultra DMA 0 to 2. */
export const MULTIWORD_DMA_MODES = 0x07;
export const ULTRA_DMA_MODES = 0x07;

// Words 82 to 87: command sets, as supported and as enabled.
const NOP = 1 << 14;
const DEVICE_RESET = 1 << 9;
const LOOK_AHEAD = 1 << 6;
const WRITE_CACHE = 1 << 5;
const PACKET = 1 << 4;
const POWER_MANAGEMENT = 1 << 3;
const FLUSH_CACHE_EXT = 1 << 13;
const FLUSH_CACHE = 1 << 12;
const LBA48 = 1 << 10;
const FUA = 1 << 6;
/** Words that say that they are valid have bits 15:14 = 01. */
const VALID = 1 << 14;
/** ATA/ATAPI-4 to 6. */
const MAJOR_VERSIONS = 0x0070;

/** IDENTIFY DEVICE data of a disk (ATA/ATAPI-6, 8.15). */
export function identifyDisk(disk: DiskInfo, geometry: Geometry, settings: DriveSettings): Uint8Array {
  const words = new Uint16Array(IDENTIFY_BYTES / 2);
  const sectors = Math.min(disk.sizeBytes / ATA_SECTOR_BYTES, LBA48_SECTORS);
  const native = defaultGeometry(sectors);
  words[0] = 0x0040;
  words[1] = native.cylinders;
  words[3] = native.heads;
  words[6] = native.sectorsPerTrack;
  writeNames(words, disk.id, 'Virtual HD');
  words[47] = 0x8000 | MAX_MULTIPLE_SECTORS;
  words[48] = 0x0001; // the data port takes dwords
  words[49] = 0x2f00; // standard standby timers, IORDY, LBA, DMA
  words[50] = VALID;
  words[53] = 0x0007; // words 54 to 58, 64 to 70 and 88 are valid
  words[54] = geometry.cylinders;
  words[55] = geometry.heads;
  words[56] = geometry.sectorsPerTrack;
  writeNumber(words, 57, 2, geometry.cylinders * geometry.heads * geometry.sectorsPerTrack);
  words[59] = settings.multipleSectors === 0 ? 0 : 0x0100 | settings.multipleSectors;
  writeNumber(words, 60, 2, Math.min(sectors, LBA28_SECTORS));
  writeModes(words, settings);
  words[82] = NOP | LOOK_AHEAD | WRITE_CACHE | POWER_MANAGEMENT;
  words[83] = VALID | FLUSH_CACHE_EXT | FLUSH_CACHE | LBA48;
  words[84] = VALID | FUA;
  words[85] =
    NOP | POWER_MANAGEMENT | (settings.lookAhead ? LOOK_AHEAD : 0) | (settings.writeCache ? WRITE_CACHE : 0);
  words[86] = FLUSH_CACHE_EXT | FLUSH_CACHE | LBA48;
  words[87] = words[84];
  writeNumber(words, 100, 4, sectors);
  const perPhysical = Math.log2(disk.physicalSectorBytes / ATA_SECTOR_BYTES);
  words[106] = VALID | (perPhysical > 0 ? (1 << 13) | perPhysical : 0);
  return seal(words);
}

/** IDENTIFY PACKET DEVICE data of a CD/DVD drive (ATA/ATAPI-6, 8.16). */
export function identifyDvd(id: Guid, settings: DriveSettings): Uint8Array {
  const words = new Uint16Array(IDENTIFY_BYTES / 2);
  words[0] = 0x85c0; // ATAPI, CD/DVD, removable, DRQ soon after PACKET without an interrupt, packets of 12 bytes
  writeNames(words, id, 'Virtual CD');
  words[49] = 0x0f00;
  words[50] = VALID;
  words[53] = 0x0006;
  writeModes(words, settings);
  words[82] = NOP | DEVICE_RESET | PACKET | POWER_MANAGEMENT;
  words[83] = VALID;
  words[84] = VALID;
  words[85] = words[82];
  words[87] = VALID;
  return seal(words);
}

function writeModes(words: Uint16Array, settings: DriveSettings): void {
  words[51] = 0x0200;
  words[63] = MULTIWORD_DMA_MODES | (settings.multiwordDma << 8);
  words[64] = 0x0003; // PIO 3 and 4
  words.fill(120, 65, 69); // cycle times, ns
  words[80] = MAJOR_VERSIONS;
  words[88] = ULTRA_DMA_MODES | (settings.ultraDma << 8);
  words[93] = VALID | 0x0003; // a cable of 40 wires
}

function writeNames(words: Uint16Array, id: Guid, model: string): void {
  const serial = Array.from(guidToBytes(id), (byte) => byte.toString(16).padStart(2, '0')).join('');
  writeText(words, 10, 10, serial.toUpperCase());
  writeText(words, 23, 4, '1.0');
  writeText(words, 27, 20, model);
}

/** Text has its first character in a word's high byte, and spaces behind it. */
function writeText(words: Uint16Array, first: number, count: number, text: string): void {
  const padded = text.padEnd(2 * count);
  for (let i = 0; i < count; i++) {
    words[first + i] = (padded.charCodeAt(2 * i) << 8) | padded.charCodeAt(2 * i + 1);
  }
}

function writeNumber(words: Uint16Array, first: number, count: number, value: number): void {
  for (let i = 0; i < count; i++) words[first + i] = Math.floor(value / 2 ** (16 * i)) % 0x10000;
}

/** Adds word 255: a signature, and the byte that makes the sum of all bytes zero. */
function seal(words: Uint16Array): Uint8Array {
  const bytes = new Uint8Array(words.buffer);
  bytes[510] = 0xa5;
  bytes[511] = -bytes.reduce((sum, byte) => sum + byte, 0);
  return bytes;
}
