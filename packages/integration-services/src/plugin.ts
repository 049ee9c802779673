import {
  COUNTERS,
  DEVICES,
  type Device,
  type DeviceKind,
  type DeviceSpec,
  DMA,
  definePlugin,
  GUEST_FAULTS,
  KenshoError,
  LOGGER,
  PARTITION_EVENTS,
  PARTITION_INFO,
  type Plugin,
  type Resolver,
  TIMERS,
  WORK,
} from '@kensho/core';
import { VMBUS } from '@kensho/vmbus';
import { Component, type ComponentDefinition } from './component/definition.ts';
import type { ComponentServices, RootComponent } from './component/root-component.ts';
import { INTEGRATION_SERVICES, IntegrationServiceTable } from './services.ts';
import { FileCopyService } from './vsp/file-copy.ts';
import { type HeartbeatOptions, HeartbeatService } from './vsp/heartbeat.ts';
import { type KvpOptions, KvpService } from './vsp/kvp.ts';
import { ShutdownService } from './vsp/shutdown.ts';
import { type TimeSyncOptions, TimeSyncService } from './vsp/time-sync.ts';
import { VssService } from './vsp/vss.ts';

/** A device that is the root's end of a component. */
export interface ComponentDevice extends Device {
  readonly component: RootComponent;
}

interface Service {
  readonly component: RootComponent;
  start(): void;
  stop(): Promise<void>;
}

/** A kind of device that is the root's end of one component, to be found in {@link INTEGRATION_SERVICES} meanwhile. */
function componentKind<K extends keyof IntegrationServiceTable>(
  name: K,
  { id: kind }: ComponentDefinition,
  description: string,
  make: (
    services: ComponentServices,
    options: unknown,
    partition: Resolver,
  ) => Service & IntegrationServiceTable[K],
): DeviceKind {
  return {
    id: kind,
    description: `${description}, over VMBus`,
    path: 'enlightened',
    create(partition, { id, options }): ComponentDevice {
      const table = partition.resolve(INTEGRATION_SERVICES) as IntegrationServiceTable;
      if (table[name] !== undefined) {
        throw new KenshoError(
          'DUPLICATE_DEVICE',
          `a partition has one device of kind ${kind}: leave ${id} out`,
        );
      }
      const remapping = partition.resolve(DMA);
      const dma = remapping.attach(id, 'passthrough');
      try {
        const service = make({ ...servicesOf(partition), dma }, options, partition);
        table[name] = service;
        return {
          component: service.component,
          start: () => service.start(),
          async stop() {
            await service.stop();
            table[name] = undefined as IntegrationServiceTable[K];
            remapping.detach(id);
          },
        };
      } catch (error) {
        remapping.detach(id);
        throw error;
      }
    },
  };
}

function servicesOf(partition: Resolver): Omit<ComponentServices, 'dma'> {
  return {
    bus: partition.resolve(VMBUS),
    work: partition.resolve(WORK),
    timers: partition.resolve(TIMERS),
    counters: partition.resolve(COUNTERS),
    faults: partition.resolve(GUEST_FAULTS),
    log: partition.resolve(LOGGER),
    events: partition.resolve(PARTITION_EVENTS),
  };
}

const KINDS: readonly DeviceKind[] = [
  componentKind(
    'heartbeat',
    Component.HEARTBEAT,
    'Heartbeat: whether the guest is alive',
    (services, options) => new HeartbeatService(services, options as HeartbeatOptions),
  ),
  componentKind(
    'shutdown',
    Component.SHUTDOWN,
    'Orderly power-off, reboot and hibernation',
    (services) => new ShutdownService(services),
  ),
  componentKind(
    'timeSync',
    Component.TIME_SYNC,
    'The host’s time for the guest',
    (services, options) => new TimeSyncService(services, options as TimeSyncOptions),
  ),
  componentKind('kvp', Component.KVP, 'Key-value pairs and IP addresses', (services, options, partition) => {
    const { hostItems } = (options ?? {}) as KvpOptions;
    const { name } = partition.resolve(PARTITION_INFO);
    return new KvpService(services, hostItems ?? { VirtualMachineName: name });
  }),
  componentKind('vss', Component.VSS, 'Backup of a running guest', (services) => new VssService(services)),
  componentKind(
    'fileCopy',
    Component.FILE_COPY,
    'Copies files into the guest',
    (services) => new FileCopyService(services),
  ),
];

/** Options of all integration services at once. */
export interface IntegrationDevicesOptions {
  readonly heartbeat?: HeartbeatOptions;
  readonly timeSync?: TimeSyncOptions;
  readonly kvp?: KvpOptions;
}

/** One device of each kind, in the order in which Hyper-V offers them. */
export function integrationDevices(options: IntegrationDevicesOptions = {}): DeviceSpec[] {
  const device = ({ id }: ComponentDefinition, given?: unknown): DeviceSpec => ({
    kind: id,
    id,
    ...(given === undefined ? {} : { options: given }),
  });
  return [
    device(Component.HEARTBEAT, options.heartbeat),
    device(Component.SHUTDOWN),
    device(Component.TIME_SYNC, options.timeSync),
    device(Component.KVP, options.kvp),
    device(Component.VSS),
    device(Component.FILE_COPY),
  ];
}

/**
 * The root's ends of the integration services: device kinds `heartbeat`, `shutdown`, `time-sync`, `kvp`, `vss` and
 * `file-copy`, and {@link INTEGRATION_SERVICES}, by which a partition's management uses them.
 */
export const integrationServicesPlugin: Plugin = definePlugin({
  id: '@kensho/integration-services',
  provides: [INTEGRATION_SERVICES],
  needs: [VMBUS],
  register(context) {
    context.providePartition(INTEGRATION_SERVICES, { useFactory: () => new IntegrationServiceTable() });
    for (const kind of KINDS) context.contribute(DEVICES, kind);
  },
});
