import type { Guid } from '@kensho/core';
import { InstanceId, InterfaceId } from '@kensho/vmbus';
import { IcMessageType, type IcVersion } from '../protocol/icmsg.ts';

/** What makes one integration component different from another on the wire. */
export interface ComponentDefinition {
  /** Kind of device, and name of counters and log lines. */
  readonly id: string;
  readonly interfaceId: Guid;
  /** The same for every partition: each has one of a kind. */
  readonly instanceId: Guid;
  /** Of its messages, beside negotiation. */
  readonly messageType: number;
  /** Newest first. */
  readonly frameworks: readonly IcVersion[];
  /** Newest first. */
  readonly versions: readonly IcVersion[];
}

const V = (major: number, minor = 0): IcVersion => ({ major, minor });

/** The newer framework came with Windows Server 2008 R2, the older with 2008. */
const BOTH_FRAMEWORKS = [V(3), V(1)];

/**
 * The components of Hyper-V, with the versions that Linux 6.1 knows (`drivers/hv/hv_util.c`, `hv_kvp.c`,
 * `hv_snapshot.c`, `hv_fcopy.c`).
 */
export const Component = {
  HEARTBEAT: {
    id: 'heartbeat',
    interfaceId: InterfaceId.HEARTBEAT,
    instanceId: 'fd149e91-82e0-4a7d-afa6-2a4166cbd7c0',
    messageType: IcMessageType.HEARTBEAT,
    frameworks: BOTH_FRAMEWORKS,
    versions: [V(3), V(1)],
  },
  SHUTDOWN: {
    id: 'shutdown',
    interfaceId: InterfaceId.SHUTDOWN,
    instanceId: InstanceId.SHUTDOWN,
    messageType: IcMessageType.SHUTDOWN,
    frameworks: BOTH_FRAMEWORKS,
    versions: [V(3, 2), V(3, 1), V(3), V(1)],
  },
  TIME_SYNC: {
    id: 'time-sync',
    interfaceId: InterfaceId.TIME_SYNC,
    instanceId: InstanceId.TIME_SYNC,
    messageType: IcMessageType.TIMESYNC,
    frameworks: BOTH_FRAMEWORKS,
    versions: [V(4), V(3), V(1)],
  },
  KVP: {
    id: 'kvp',
    interfaceId: InterfaceId.KVP,
    instanceId: InstanceId.KVP,
    messageType: IcMessageType.KVPEXCHANGE,
    frameworks: BOTH_FRAMEWORKS,
    versions: [V(4), V(3), V(1)],
  },
  VSS: {
    id: 'vss',
    interfaceId: InterfaceId.VSS,
    instanceId: '5ced1297-4598-4915-a5fc-ad21bb4d02a4',
    messageType: IcMessageType.VSS,
    frameworks: [V(3)],
    versions: [V(5)],
  },
  FILE_COPY: {
    id: 'file-copy',
    interfaceId: InterfaceId.FILE_COPY,
    instanceId: 'eb765408-105f-49b6-b4aa-c123b64d17d4',
    messageType: IcMessageType.FCOPY,
    frameworks: [V(3)],
    versions: [V(1, 1)],
  },
} as const satisfies Record<string, ComponentDefinition>;
