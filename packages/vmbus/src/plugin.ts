import {
  COUNTERS,
  DEVICES,
  type DeviceKind,
  DMA,
  definePlugin,
  GUEST_FAULTS,
  LOGGER,
  type Plugin,
  PORTS,
  TIMERS,
  WORK,
} from '@kensho/core';
import { VMBUS } from './channel.ts';
import { VmbusServer } from './server/bus.ts';

/** Puts the bus into a partition whose devices do not ask for it themselves; takes no options. */
const vmbusKind: DeviceKind = {
  id: 'vmbus',
  description: 'VMBus, also where no device is on it',
  path: 'enlightened',
  create(partition) {
    partition.resolve(VMBUS);
    return {};
  },
};

/** Gives each partition its bus. One that is not enlightened has a bus that no guest ever connects to. */
export const vmbusPlugin: Plugin = definePlugin({
  id: '@kensho/vmbus',
  provides: [VMBUS],
  needs: [DMA, PORTS, WORK, TIMERS, COUNTERS, GUEST_FAULTS, LOGGER],
  register(context) {
    context.providePartition(VMBUS, {
      useFactory: (partition) =>
        new VmbusServer({
          ports: partition.resolve(PORTS),
          work: partition.resolve(WORK),
          timers: partition.resolve(TIMERS),
          counters: partition.resolve(COUNTERS),
          faults: partition.resolve(GUEST_FAULTS),
          log: partition.resolve(LOGGER).child('vmbus'),
          dma: partition.resolve(DMA).attach('vmbus', 'passthrough'),
        }),
    });
    context.contribute(DEVICES, vmbusKind);
  },
});
