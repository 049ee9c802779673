import {
  COUNTERS,
  type Device,
  type DeviceKind,
  DMA,
  GUEST_FAULTS,
  type Guid,
  KenshoError,
  LOGGER,
  stableGuid,
  WORK,
} from '@kensho/core';
import { VMBUS } from '@kensho/vmbus';
import type { Disk } from '../backend/disk.ts';
import { DiskUnit } from '../scsi/disk-unit.ts';
import { DvdUnit } from '../scsi/dvd-unit.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import { StorageVsp } from './storage-vsp.ts';

/** A unit of a controller. Its disk was opened by the caller, who closes it after the partition ended. */
export type ScsiUnitOptions =
  | { readonly lun: number; readonly kind: 'disk'; readonly disk: Disk }
  /** A drive, with a medium in it or without. */
  | { readonly lun: number; readonly kind: 'dvd'; readonly disk?: Disk };

/** Options of device kind `scsi`. */
export interface ScsiControllerOptions {
  /** @default made from the device's id */
  readonly instanceId?: Guid;
  /** @default none */
  readonly luns?: readonly ScsiUnitOptions[];
  /** Largest transfer of one request, a multiple of 4096. @default 1 MiB */
  readonly maxTransferBytes?: number;
  /** Requests in progress on one channel. @default 256 */
  readonly maxInFlight?: number;
  /** Sub-channels that the guest may ask for. @default 0 */
  readonly maxSubChannels?: number;
}

/** A synthetic SCSI controller of a partition. */
export interface ScsiController extends Device {
  /** Attach and detach units here while the partition runs. */
  readonly vsp: StorageVsp;
}

/**
 * Device kind `scsi`; takes {@link ScsiControllerOptions}.
 *
 * Before it is removed from a running Linux its units must be detached, and the guest must have noticed: Linux reads no
 * answer after a rescind (`drivers/hv/channel_mgmt.c`), and would wait for one to its SYNCHRONIZE CACHE for good.
 */
export const scsiControllerKind: DeviceKind = {
  id: 'scsi',
  description: 'Synthetic SCSI controller with disks and DVD drives, over VMBus',
  path: 'enlightened',
  create(partition, { id, options }): ScsiController {
    const { instanceId, luns = [], ...limits } = (options ?? {}) as ScsiControllerOptions;
    const services = {
      bus: partition.resolve(VMBUS),
      work: partition.resolve(WORK),
      counters: partition.resolve(COUNTERS),
      faults: partition.resolve(GUEST_FAULTS),
      log: partition.resolve(LOGGER),
    };
    const remapping = partition.resolve(DMA);
    const dma = remapping.attach(id, 'passthrough');
    try {
      const identity = { id, instanceId: instanceId ?? stableGuid(`scsi:${id}`) };
      const vsp = new StorageVsp({ ...limits, ...identity }, { ...services, dma });
      for (const one of luns) vsp.attach(one.lun, createUnit(id, one));
      return {
        vsp,
        start: () => vsp.start(),
        async stop() {
          await vsp.stop();
          remapping.detach(id);
        },
      };
    } catch (error) {
      remapping.detach(id);
      throw error;
    }
  },
};

function createUnit(controller: string, options: ScsiUnitOptions): LogicalUnit {
  switch (options.kind) {
    case 'disk':
      return new DiskUnit(options.disk);
    case 'dvd':
      return new DvdUnit(stableGuid(`dvd:${controller}:${options.lun}`), options.disk);
    default: {
      const { kind } = options as { kind: unknown };
      throw new KenshoError(
        'INVALID_OPTIONS',
        `${controller}: a unit is a 'disk' or a 'dvd', not ${String(kind)}`,
      );
    }
  }
}
