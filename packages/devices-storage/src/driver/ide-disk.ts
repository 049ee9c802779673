import { type GuestBlockDevice, GuestIoError, type GuestPages, type GuestTask } from '@kensho/core';
import { ATA_SECTOR_BYTES, AtaCommand, AtaDevice, AtaFeature } from '../protocol/ide.ts';
import type { AtaPort, TaskFile } from './ata-port.ts';

/** Largest transfer of a 28-bit command. */
const SHORT_SECTORS = 256;
/** Largest transfer that the driver gives a 48-bit command: 1 MiB. */
const EXT_SECTORS = 2048;
/** Below this 28-bit commands reach; libata keeps one sector of distance too. */
const SHORT_LIMIT = 2 ** 28 - 1;

/** What IDENTIFY DEVICE said about a disk. */
interface Capabilities {
  readonly sectorCount: number;
  readonly ext: boolean;
  readonly flush: boolean;
  readonly flushExt: boolean;
  /** Sectors of a DRQ block of READ and WRITE MULTIPLE; 0: use the single-sector commands. */
  readonly multipleSectors: number;
  /** The fastest DMA mode as SET FEATURES takes it; undefined: none. */
  readonly dmaMode: number | undefined;
}

/** A disk on an IDE channel as guest programs use it. */
export class IdeDisk implements GuestBlockDevice {
  readonly name: string;
  readonly path = 'emulated';
  readonly sectorSizeBytes = ATA_SECTOR_BYTES;
  readonly sectorCount: number;
  readonly readOnly = false;
  readonly queueDepth = 1;
  readonly maxTransferBytes: number;
  readonly #port: AtaPort;
  readonly #device: number;
  readonly #capabilities: Capabilities;
  readonly #byDma: boolean;

  /**
   * @param position - 0 for the master, 1 for the slave
   * @param identity - IDENTIFY DEVICE data
   * @param mayUseDma - whether the channel has a bus master, to be used if the disk has DMA
   */
  constructor(name: string, port: AtaPort, position: number, identity: Uint16Array, mayUseDma: boolean) {
    const capabilities = capabilitiesOf(identity);
    this.name = name;
    this.sectorCount = capabilities.sectorCount;
    this.maxTransferBytes = (capabilities.ext ? EXT_SECTORS : SHORT_SECTORS) * ATA_SECTOR_BYTES;
    this.#port = port;
    this.#device = AtaDevice.OBSOLETE | (position === 0 ? 0 : AtaDevice.DEV);
    this.#capabilities = capabilities;
    this.#byDma = mayUseDma && capabilities.dmaMode !== undefined;
  }

  /** Chooses the transfer mode. */
  *configure(): GuestTask {
    const { dmaMode } = this.#capabilities;
    if (!this.#byDma || dmaMode === undefined) return;
    const address = { features: AtaFeature.SET_TRANSFER_MODE, count: dmaMode, lba: 0, ext: false };
    yield* this.#port.execute({ command: AtaCommand.SET_FEATURES, device: this.#device, address });
  }

  read(lba: number, count: number, target: GuestPages, offset = 0): GuestTask {
    return this.#transfer(true, lba, count, target, offset);
  }

  write(lba: number, count: number, source: GuestPages, offset = 0): GuestTask {
    return this.#transfer(false, lba, count, source, offset);
  }

  *flush(): GuestTask {
    const { flush, flushExt } = this.#capabilities;
    if (!flush) return;
    const command = flushExt ? AtaCommand.FLUSH_CACHE_EXT : AtaCommand.FLUSH_CACHE;
    yield* this.#execute({ command, device: this.#device });
  }

  *#transfer(toMemory: boolean, lba: number, count: number, memory: GuestPages, offset: number): GuestTask {
    const sizeBytes = count * ATA_SECTOR_BYTES;
    if (sizeBytes > this.maxTransferBytes || offset + sizeBytes > memory.sizeBytes) {
      throw new GuestIoError(
        `${this.name}: ${sizeBytes} bytes at ${offset} do not fit the buffer or one request`,
      );
    }
    if (count === 0) return;
    const { multipleSectors, ext: hasExt } = this.#capabilities;
    const ext = hasExt && (lba + count >= SHORT_LIMIT || count > SHORT_SECTORS);
    const head = ext ? 0 : Math.floor(lba / 2 ** 24) & AtaDevice.HEAD;
    const file = {
      command: this.#byDma ? dmaCommand(toMemory, ext) : pioCommand(toMemory, ext, multipleSectors > 0),
      device: this.#device | AtaDevice.LBA | head,
      address: { features: 0, count, lba, ext },
    };
    yield* this.#execute(file, {
      toMemory,
      gpa: memory.gpa + offset,
      sizeBytes,
      blockBytes: Math.max(1, multipleSectors) * ATA_SECTOR_BYTES,
      byDma: this.#byDma,
    });
  }

  *#execute(...command: [TaskFile, Parameters<AtaPort['execute']>[1]?]): GuestTask {
    try {
      yield* this.#port.execute(...command);
    } catch (error) {
      if (!(error instanceof GuestIoError)) throw error;
      const code = command[0].command.toString(16);
      throw new GuestIoError(`${this.name}: command 0x${code}: ${error.message}`);
    }
  }
}

function dmaCommand(read: boolean, ext: boolean): number {
  if (ext) return read ? AtaCommand.READ_DMA_EXT : AtaCommand.WRITE_DMA_EXT;
  return read ? AtaCommand.READ_DMA : AtaCommand.WRITE_DMA;
}

function pioCommand(read: boolean, ext: boolean, multiple: boolean): number {
  if (multiple && ext) return read ? AtaCommand.READ_MULTIPLE_EXT : AtaCommand.WRITE_MULTIPLE_EXT;
  if (multiple) return read ? AtaCommand.READ_MULTIPLE : AtaCommand.WRITE_MULTIPLE;
  if (ext) return read ? AtaCommand.READ_SECTORS_EXT : AtaCommand.WRITE_SECTORS_EXT;
  return read ? AtaCommand.READ_SECTORS : AtaCommand.WRITE_SECTORS;
}

/** Reads IDENTIFY DEVICE data (ATA/ATAPI-6, 8.15.8). */
function capabilitiesOf(words: Uint16Array): Capabilities {
  const ext = (words[83] & 0x0400) !== 0;
  const short = words[60] + words[61] * 2 ** 16;
  const long = words[100] + words[101] * 2 ** 16 + words[102] * 2 ** 32 + words[103] * 2 ** 48;
  return {
    ext,
    sectorCount: ext ? long : short,
    flush: (words[83] & 0x1000) !== 0,
    flushExt: (words[83] & 0x2000) !== 0,
    multipleSectors: (words[59] & 0x0100) !== 0 ? words[59] & 0xff : 0,
    dmaMode: dmaModeOf(words),
  };
}

const ULTRA_DMA = 0x40;
const MULTIWORD_DMA = 0x20;

function dmaModeOf(words: Uint16Array): number | undefined {
  const hasDma = (words[49] & 0x0100) !== 0;
  if (!hasDma) return undefined;
  // Ultra DMA 2 is the most that a cable of 40 wires carries.
  const ultra = (words[53] & 0x0004) !== 0 ? words[88] & 0x07 : 0;
  if (ultra !== 0) return ULTRA_DMA | (31 - Math.clz32(ultra));
  const multiword = words[63] & 0x07;
  return multiword !== 0 ? MULTIWORD_DMA | (31 - Math.clz32(multiword)) : undefined;
}
