import { PciCommand, PciRegister } from '@kensho/chipset';
import {
  GUEST_BLOCK_DEVICES,
  GuestIoError,
  type GuestKernel,
  type GuestPciDriver,
  type GuestPciFunction,
  type GuestTask,
} from '@kensho/core';
import {
  AtaSignature,
  BUS_MASTER_BAR,
  BUS_MASTER_STRIDE,
  IDE_CHANNELS,
  IDE_CLASS,
  IDETIM_DECODE_ENABLE,
  PIIX4_IDE_DEVICE_ID,
  PIIX4_IDE_VENDOR_ID,
  PiixConfig,
} from '../protocol/ide.ts';
import { AtaPort } from './ata-port.ts';
import { IdeDisk } from './ide-disk.ts';

export interface IdeDriverOptions {
  /** How data moves; PIO also where the controller has no bus master registers. @default 'dma' */
  readonly transfer?: 'dma' | 'pio';
}

/** Programming interface bits of a controller whose channels are at ports of their own, not the legacy ones. */
const NATIVE_MODE = 0x05;
const BAR_IO_ADDRESS = 0xfffc;

/**
 * The legacy driver of kit guests for PCI IDE controllers in legacy mode: publishes a block device for each ATA disk,
 * as `ide<channel>.<position>`. CD/DVD drives are left alone.
 */
export class IdeDriver implements GuestPciDriver {
  readonly id = 'ide';
  readonly #transfer: 'dma' | 'pio';

  constructor(options: IdeDriverOptions = {}) {
    this.#transfer = options.transfer ?? 'dma';
  }

  matches(fn: GuestPciFunction): boolean {
    return fn.classCode >>> 8 === IDE_CLASS && (fn.classCode & NATIVE_MODE) === 0;
  }

  *attach(fn: GuestPciFunction, kernel: GuestKernel): GuestTask {
    const command = fn.read(PciRegister.COMMAND, 2);
    fn.write(PciRegister.COMMAND, 2, command | PciCommand.IO_SPACE | PciCommand.BUS_MASTER);
    const busMaster =
      this.#transfer === 'pio' ? 0 : fn.read(PciRegister.BAR0 + 4 * BUS_MASTER_BAR, 4) & BAR_IO_ADDRESS;
    for (const channel of [0, 1] as const) {
      if (!isDecoded(fn, channel)) continue;
      const { gsi, ...places } = IDE_CHANNELS[channel];
      const port = new AtaPort(kernel, {
        ...places,
        busMasterPort: busMaster === 0 ? undefined : busMaster + channel * BUS_MASTER_STRIDE,
      });
      try {
        yield* attachDrives(kernel, port, channel, gsi, busMaster !== 0);
      } catch (error) {
        if (!(error instanceof GuestIoError)) throw error;
        kernel.print(`ide${channel}: ${error.message}`);
      }
    }
  }
}

function* attachDrives(
  kernel: GuestKernel,
  port: AtaPort,
  channel: number,
  gsi: number,
  mayUseDma: boolean,
): GuestTask {
  if (port.isFloating()) return;
  // Whoever had the drives before may have left one in the midst of a command, deaf to everything else.
  yield* port.reset();
  const present = [0, 1].filter((position) => port.probe(position));
  if (present.length === 0) return;
  const disks: IdeDisk[] = [];
  for (const position of present) {
    const { lbaMid, lbaHigh } = port.signature(position);
    if (lbaMid !== AtaSignature.ATA.lbaMid || lbaHigh !== AtaSignature.ATA.lbaHigh) continue;
    const identity = yield* port.identify(position);
    if (identity === undefined) continue;
    disks.push(new IdeDisk(`ide${channel}.${position}`, port, position, identity, mayUseDma));
  }
  if (disks.length === 0) return;
  kernel.connectInterrupt(gsi, () => port.interrupt());
  for (const disk of disks) {
    yield* disk.configure();
    kernel.publish(GUEST_BLOCK_DEVICES, disk);
  }
}

/** A PIIX tells which of its channels are there; of others the legacy ports are all there is to ask. */
function isDecoded(fn: GuestPciFunction, channel: 0 | 1): boolean {
  if (fn.vendorId !== PIIX4_IDE_VENDOR_ID || fn.deviceId !== PIIX4_IDE_DEVICE_ID) return true;
  return (fn.read(PiixConfig.IDETIM[channel], 2) & IDETIM_DECODE_ENABLE) !== 0;
}
