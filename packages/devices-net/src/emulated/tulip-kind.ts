import { PCI_BUS } from '@kensho/chipset';
import {
  COUNTERS,
  type Device,
  type DeviceKind,
  DMA,
  GPA_SPACE,
  GUEST_FAULTS,
  IO_PORTS,
  KenshoError,
  LOGGER,
  PARTITION_INFO,
  TIMERS,
  WORK,
} from '@kensho/core';
import { formatMac, isGroupAddress, MAC_BYTES, stableMac } from '../backend/mac.ts';
import { type NetworkSpec, withNetwork } from '../backend/network.ts';
import type { NetworkConnector } from '../backend/port.ts';
import { TulipFunction } from './tulip-function.ts';

/** Options of device kind `tulip`. */
export interface TulipOptions {
  /** The network that the adapter is plugged into: what a plugin contributes, or a socket that the caller has. */
  readonly network: NetworkSpec | NetworkConnector;
  /**
   * 6 bytes. Linux's driver takes addresses that begin with 02:00, a0:00 or c0:00 for ones whose bytes are swapped,
   * and uses them so.
   *
   * @default 00:15:5d and three bytes made from the names of partition and device
   */
  readonly mac?: Uint8Array;
}

/** Device kind `tulip`: an emulated network adapter, for guests without integration services; takes {@link TulipOptions}. */
export const tulipKind: DeviceKind = {
  id: 'tulip',
  description: 'Network adapter with a DECchip 21140A, on the PCI bus',
  path: 'emulated',
  async create(partition, { id, options }): Promise<Device> {
    const { network, mac = stableMac(`${partition.resolve(PARTITION_INFO).name}:${id}`) } = (options ??
      {}) as TulipOptions;
    if (network === undefined) {
      throw new KenshoError(
        'INVALID_OPTIONS',
        `${id}: option network has to say what the adapter is plugged into`,
      );
    }
    if (mac.length !== MAC_BYTES || isGroupAddress(mac, 0)) {
      throw new KenshoError('INVALID_OPTIONS', `${id}: mac has to be 6 bytes, and not a group's address`);
    }
    if (SWAPPED_BY_LINUX.has(mac[0]) && mac[1] === 0) {
      partition
        .resolve(LOGGER)
        .warn(`${id}: Linux will swap the bytes of this address`, { mac: formatMac(mac) });
    }
    return withNetwork(partition, network, (connector) => {
      const services = {
        work: partition.resolve(WORK),
        timers: partition.resolve(TIMERS),
        counters: partition.resolve(COUNTERS),
        faults: partition.resolve(GUEST_FAULTS),
        ports: partition.resolve(IO_PORTS),
        gpa: partition.resolve(GPA_SPACE),
        pciBus: partition.resolve(PCI_BUS),
      };
      const remapping = partition.resolve(DMA);
      const dma = remapping.attach(id, 'passthrough');
      try {
        const fn = new TulipFunction({ id, mac, connector }, { ...services, dma });
        return {
          start: () => fn.start(),
          stop() {
            fn.stop();
            connector.close?.();
            remapping.detach(id);
          },
        };
      } catch (error) {
        remapping.detach(id);
        throw error;
      }
    });
  },
};

/** First bytes that, before a zero, Linux's tulip takes for those of a board that stores its address swapped. */
const SWAPPED_BY_LINUX: ReadonlySet<number> = new Set([0x02, 0xa0, 0xc0]);
