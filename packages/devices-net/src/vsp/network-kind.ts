import {
  COUNTERS,
  type Device,
  type DeviceKind,
  DMA,
  GUEST_FAULTS,
  type Guid,
  KenshoError,
  PARTITION_INFO,
  stableGuid,
  TIMERS,
  WORK,
} from '@kensho/core';
import { VMBUS } from '@kensho/vmbus';
import { stableMac } from '../backend/mac.ts';
import { type NetworkSpec, withNetwork } from '../backend/network.ts';
import type { NetworkConnector } from '../backend/port.ts';
import { NetworkVsp, type NetworkVspOptions } from './network-vsp.ts';

/** Options of device kind `network`. */
export interface NetworkOptions
  extends Pick<NetworkVspOptions, 'mtu' | 'maxSubChannels' | 'linkSpeedBitsPerSecond' | 'allowMacChange'> {
  /** The network that the adapter is plugged into: what a plugin contributes, or a socket that the caller has. */
  readonly network: NetworkSpec | NetworkConnector;
  /** 6 bytes. @default 00:15:5d and three bytes made from the names of partition and device */
  readonly mac?: Uint8Array;
  /** @default made from the device's id */
  readonly instanceId?: Guid;
}

/** A synthetic network adapter of a partition. */
export interface NetworkDevice extends Device {
  readonly vsp: NetworkVsp;
}

/** Device kind `network`; takes {@link NetworkOptions}. */
export const networkKind: DeviceKind = {
  id: 'network',
  description: 'Synthetic network adapter, over VMBus',
  path: 'enlightened',
  async create(partition, { id, options }): Promise<NetworkDevice> {
    const { network, mac, instanceId, ...limits } = (options ?? {}) as NetworkOptions;
    if (network === undefined) {
      throw new KenshoError(
        'INVALID_OPTIONS',
        `${id}: option network has to say what the adapter is plugged into`,
      );
    }
    return withNetwork(partition, network, (connector) => {
      const services = {
        bus: partition.resolve(VMBUS),
        work: partition.resolve(WORK),
        timers: partition.resolve(TIMERS),
        counters: partition.resolve(COUNTERS),
        faults: partition.resolve(GUEST_FAULTS),
      };
      const remapping = partition.resolve(DMA);
      const dma = remapping.attach(id, 'passthrough');
      try {
        const identity = {
          id,
          instanceId: instanceId ?? stableGuid(`network:${id}`),
          mac: mac ?? stableMac(`${partition.resolve(PARTITION_INFO).name}:${id}`),
        };
        const vsp = new NetworkVsp({ ...limits, ...identity, connector }, { ...services, dma });
        return {
          vsp,
          start: () => vsp.start(),
          async stop() {
            await vsp.stop();
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
