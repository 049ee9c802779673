import {
  type PciBus,
  PciCommand,
  PciConfigSpace,
  type PciRegisterDefinition,
  PIIX4_IDE_DEVFN,
  portBar,
  tryAddPorts,
} from '@kensho/chipset';
import {
  type Device,
  type DmaDomain,
  type InterruptLines,
  type IoPortSpace,
  type PortHandler,
  type PortRegion,
  stableGuid,
} from '@kensho/core';
import type { Disk } from '../backend/disk.ts';
import {
  BUS_MASTER_BAR,
  BUS_MASTER_PORTS,
  BUS_MASTER_STRIDE,
  BusMasterStatus,
  IDE_CHANNELS,
  IDE_CLASS,
  IDE_PROG_IF_LEGACY,
  IDETIM_DECODE_ENABLE,
  PIIX4_IDE_DEVICE_ID,
  PIIX4_IDE_VENDOR_ID,
  PiixConfig,
} from '../protocol/ide.ts';
import { DvdUnit } from '../scsi/dvd-unit.ts';
import { AtaDrive } from './ata-drive.ts';
import { AtapiDrive } from './atapi-drive.ts';
import { BusMaster } from './bus-master.ts';
import { IdeChannel } from './ide-channel.ts';
import type { DriveServices, IdeDrive } from './ide-drive.ts';

/** A place on one of the cables. */
export interface IdeDrivePlace {
  readonly channel: 0 | 1;
  readonly position: 'master' | 'slave';
}

/** One drive. Its disk was opened by the caller, who closes it after the partition ended. */
export type IdeDriveOptions =
  | (IdeDrivePlace & { readonly kind: 'disk'; readonly disk: Disk })
  /** A drive, with a medium in it or without. */
  | (IdeDrivePlace & { readonly kind: 'dvd'; readonly disk?: Disk });

/** What the controller needs of its partition. */
export interface IdeServices extends DriveServices {
  readonly ports: IoPortSpace;
  readonly pciBus: PciBus;
  readonly interruptLines: InterruptLines;
  /** The controller's own domain. */
  readonly dma: DmaDomain;
}

/** Where firmware would have put the bus master registers. */
const BUS_MASTER_BASE = 0xffa0;

/** Timing registers: stored, and without effect but for the decode bits (82371AB, 5.1). */
const TIMING_REGISTERS: readonly PciRegisterDefinition[] = [
  ...PiixConfig.IDETIM.map(
    (offset) => ({ offset, sizeBytes: 2, reset: IDETIM_DECODE_ENABLE, writable: 0xf3ff }) as const,
  ),
  { offset: PiixConfig.SIDETIM, sizeBytes: 1, reset: 0, writable: 0xff },
  { offset: PiixConfig.UDMACTL, sizeBytes: 1, reset: 0, writable: 0x0f },
  { offset: PiixConfig.UDMATIM, sizeBytes: 2, reset: 0, writable: 0x3333 },
];

/**
 * The IDE function of the PIIX4 at 0:7.1: two channels in legacy mode, each with a bus master.
 *
 * It starts as firmware leaves it: channels decoded, bus master registers placed, ready to master the bus.
 */
export class IdeController implements Device {
  readonly #services: IdeServices;
  readonly #config: PciConfigSpace;
  readonly #channels: readonly IdeChannel[];
  readonly #legacy: { readonly regions: readonly PortRegion[]; decoded: boolean }[];

  /** @throws KenshoError where a drive's disk does not suit it, or the controller's place or a port is taken */
  constructor(services: IdeServices, drives: readonly IdeDriveOptions[]) {
    this.#services = services;
    const { id, ports, faults, dma, interruptLines } = services;
    const capabilities = BusMasterStatus.DRIVE_0_DMA | BusMasterStatus.DRIVE_1_DMA;
    const mayMaster = () => (this.#config.command & PciCommand.BUS_MASTER) !== 0;
    const busMasters = IDE_CHANNELS.map(() => new BusMaster(dma, faults, capabilities, mayMaster));
    this.#channels = IDE_CHANNELS.map(
      ({ gsi }, i) => new IdeChannel(id, busMasters[i], interruptLines.line(gsi), faults),
    );
    for (const drive of drives) {
      const channel = this.#channels[drive.channel];
      channel.connect(drive.position === 'master' ? 0 : 1, createDrive(channel, drive, services));
    }

    this.#legacy = IDE_CHANNELS.map(({ commandPort, controlPort }, i) => ({
      regions: [
        { name: `${id}.channel${i}`, port: commandPort, count: 8, handler: this.#channels[i].commandBlock },
        { name: `${id}.channel${i}`, port: controlPort, count: 1, handler: this.#channels[i].controlBlock },
      ],
      decoded: true,
    }));
    this.#config = new PciConfigSpace(
      {
        name: id,
        vendorId: PIIX4_IDE_VENDOR_ID,
        deviceId: PIIX4_IDE_DEVICE_ID,
        revision: 1,
        classCode: (IDE_CLASS << 8) | IDE_PROG_IF_LEGACY,
        command: PciCommand.IO_SPACE | PciCommand.BUS_MASTER,
        commandWritable: PciCommand.IO_SPACE | PciCommand.BUS_MASTER,
        bars: [
          portBar(ports, {
            index: BUS_MASTER_BAR,
            sizeBytes: BUS_MASTER_PORTS,
            initialBase: BUS_MASTER_BASE,
            name: `${id}.bus-master`,
            handler: busMasterPorts(busMasters),
          }),
        ],
        registers: TIMING_REGISTERS,
        onWrite: () => this.#decodeLegacy(),
      },
      faults,
    );
    this.#claim();
  }

  /** Takes the controller out of the guest's sight and lets outstanding disk operations end. */
  async stop(): Promise<void> {
    this.#services.pciBus.remove(PIIX4_IDE_DEVFN);
    this.#leavePorts();
    await Promise.all(this.#channels.map((channel) => channel.stop()));
  }

  /** Takes the controller's place on the bus and its legacy ports; where one is taken, gives back what it has. */
  #claim(): void {
    const { ports, pciBus } = this.#services;
    try {
      for (const { regions } of this.#legacy) for (const region of regions) ports.add(region);
      pciBus.add(PIIX4_IDE_DEVFN, this.#config);
    } catch (error) {
      this.#leavePorts();
      throw error;
    }
  }

  #leavePorts(): void {
    this.#config.unplace();
    for (const { regions } of this.#legacy) for (const region of regions) this.#services.ports.remove(region);
  }

  /** Puts the legacy ports where the guest's settings want them: at their places, or nowhere. */
  #decodeLegacy(): void {
    const { ports, faults, id } = this.#services;
    this.#legacy.forEach((channel, i) => {
      const enabled =
        (this.#config.command & PciCommand.IO_SPACE) !== 0 &&
        (this.#config.readConfig(PiixConfig.IDETIM[i], 2) & IDETIM_DECODE_ENABLE) !== 0;
      if (enabled === channel.decoded) return;
      if (!enabled) {
        for (const region of channel.regions) ports.remove(region);
        channel.decoded = false;
        return;
      }
      const placed = channel.regions.filter((region) => tryAddPorts(ports, region));
      channel.decoded = placed.length === channel.regions.length;
      if (channel.decoded) return;
      for (const region of placed) ports.remove(region);
      faults.report('ide.ports', `${id}: the ports of channel ${i} are taken, it is not decoded`);
    });
  }
}

function createDrive(cable: IdeChannel, options: IdeDriveOptions, services: DriveServices): IdeDrive {
  if (options.kind === 'disk') return new AtaDrive(services, cable, options.disk);
  const id = stableGuid(`dvd:${services.id}:${options.channel}:${options.position}`);
  return new AtapiDrive(services, cable, new DvdUnit(id, options.disk), id);
}

/** The registers are bytes; a wider access is the accesses to its bytes, lowest first. */
function busMasterPorts(busMasters: readonly BusMaster[]): PortHandler {
  const at = (offset: number) => busMasters[Math.floor(offset / BUS_MASTER_STRIDE)];
  return {
    read(offset, sizeBytes) {
      let value = 0;
      for (let i = 0; i < sizeBytes; i++) {
        value |= at(offset + i).read((offset + i) % BUS_MASTER_STRIDE) << (8 * i);
      }
      return value >>> 0;
    },
    write(offset, sizeBytes, value) {
      for (let i = 0; i < sizeBytes; i++) {
        at(offset + i).write((offset + i) % BUS_MASTER_STRIDE, (value >>> (8 * i)) & 0xff);
      }
    },
  };
}
