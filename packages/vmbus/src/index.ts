export * from './channel.ts';
export { VmbusClient, type VmbusClientOptions } from './guest/client.ts';
export * from './guest/contract.ts';
export { vmbusPlugin } from './plugin.ts';
export * from './protocol/device-classes.ts';
export {
  CHANNEL_MESSAGES,
  type ChannelMessageRule,
  ChannelMessageType,
  VMBUS_VERSIONS,
  VmbusVersion,
  vmbusVersionName,
} from './protocol/messages.ts';
export * from './ring/ring-memory.ts';
export * from './ring/ring-reader.ts';
export * from './ring/ring-writer.ts';
export { VmbusServer, type VmbusServerDeps } from './server/bus.ts';
export { BusChannel, type ChannelDescription, type OpenRequest } from './server/bus-channel.ts';
export { ControlPlane, type ControlPlaneEffects, type ControlPlaneOptions } from './server/control-plane.ts';
export type { GpadlEntry, GpadlLimits } from './server/gpadl-table.ts';
