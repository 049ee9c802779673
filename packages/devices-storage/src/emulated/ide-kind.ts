import { PCI_BUS } from '@kensho/chipset';
import {
  COUNTERS,
  type DeviceKind,
  DMA,
  GUEST_FAULTS,
  INTERRUPT_LINES,
  IO_PORTS,
  KenshoError,
  LOGGER,
  WORK,
} from '@kensho/core';
import { VMBUS } from '@kensho/vmbus';
import { ideDiskChannel } from '../vsp/ide-disk-channel.ts';
import type { StorageVsp, StorageVspServices } from '../vsp/storage-vsp.ts';
import { IdeController, type IdeDriveOptions } from './ide-controller.ts';

/** Options of the device kind `ide`. */
export interface IdeOptions {
  /** At most one drive for each position of each channel. */
  readonly drives: readonly IdeDriveOptions[];
  /**
   * Whether each disk is on VMBus, too, as it is on a Generation-1 machine. The guest takes one path or the other, or
   * both: they end at the same disk.
   *
   * @default false
   */
  readonly enlightened?: boolean;
}

/** The emulated path to disks: a PIIX4 IDE controller. Takes {@link IdeOptions}; a partition has at most one. */
export const ideKind: DeviceKind = {
  id: 'ide',
  description: 'IDE controller of the PIIX4 with ATA disks and ATAPI CD/DVD drives',
  path: 'emulated',
  create(partition, spec) {
    const { drives, enlightened = false } = checked(spec.id, spec.options);
    const services = {
      id: spec.id,
      work: partition.resolve(WORK),
      counters: partition.resolve(COUNTERS),
      faults: partition.resolve(GUEST_FAULTS),
      log: partition.resolve(LOGGER),
      ports: partition.resolve(IO_PORTS),
      pciBus: partition.resolve(PCI_BUS),
      interruptLines: partition.resolve(INTERRUPT_LINES),
    };
    const remapping = partition.resolve(DMA);
    const dma = remapping.attach(spec.id, 'passthrough');
    try {
      const bus = enlightened ? partition.resolve(VMBUS) : undefined;
      const controller = new IdeController({ ...services, dma }, drives);
      const channels = bus === undefined ? [] : diskChannels({ ...services, dma, bus }, drives);
      return {
        start() {
          for (const channel of channels) channel.start();
        },
        async stop() {
          await Promise.all([controller.stop(), ...channels.map((channel) => channel.stop())]);
          remapping.detach(spec.id);
        },
      };
    } catch (error) {
      remapping.detach(spec.id);
      throw error;
    }
  },
};

function diskChannels(
  services: StorageVspServices & { readonly id: string },
  drives: readonly IdeDriveOptions[],
): readonly StorageVsp[] {
  return drives
    .filter((drive) => drive.kind === 'disk')
    .map((drive) =>
      ideDiskChannel(`${services.id}.${drive.channel}.${drive.position}`, drive, drive.disk, services),
    );
}

/** @throws KenshoError INVALID_OPTIONS */
function checked(id: string, options: unknown): IdeOptions {
  const invalid = (problem: string) => new KenshoError('INVALID_OPTIONS', `IDE controller ${id}: ${problem}`);
  const { drives, enlightened } = (options ?? {}) as Partial<IdeOptions>;
  if (!Array.isArray(drives)) throw invalid('options.drives must list its drives');
  const places = new Set<string>();
  for (const drive of drives as readonly IdeDriveOptions[]) {
    if (drive.channel !== 0 && drive.channel !== 1) throw invalid('a drive is on channel 0 or 1');
    if (drive.position !== 'master' && drive.position !== 'slave') {
      throw invalid("a drive's position is 'master' or 'slave'");
    }
    if (drive.kind !== 'disk' && drive.kind !== 'dvd') throw invalid("a drive's kind is 'disk' or 'dvd'");
    const place = `${drive.position} of channel ${drive.channel}`;
    if (places.has(place)) throw invalid(`two drives are ${place}`);
    places.add(place);
  }
  return { drives, enlightened };
}
