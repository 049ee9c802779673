export { Component, type ComponentDefinition } from './component/definition.ts';
export { IcError } from './component/error.ts';
export {
  ask,
  askFor,
  type ComponentListener,
  type ComponentServices,
  type ComponentState,
  type IcAnswer,
  type Operation,
  RootComponent,
  waitFor,
} from './component/root-component.ts';
export * from './plugin.ts';
export {
  IcFlags,
  IcMessageType,
  IcStatus,
  type IcVersion,
  versionName,
} from './protocol/icmsg.ts';
export {
  KvpAddressFamily,
  type KvpIpInfo,
  type KvpItem,
  KvpPool,
  type KvpValue,
} from './protocol/kvp.ts';
export { INTEGRATION_SERVICES, type IntegrationServices } from './services.ts';
export { type ComponentSession, ComponentVsc, type IcReply } from './vsc/component-vsc.ts';
export {
  fileCopyVsc,
  type GuestFileStart,
  type GuestFileStore,
  type GuestFileTarget,
} from './vsc/file-copy-vsc.ts';
export { heartbeatVsc } from './vsc/heartbeat-vsc.ts';
export { type IntegrationVscsOptions, integrationVscs } from './vsc/integration-vscs.ts';
export { type GuestAddresses, GuestKvpPools, type KvpVscOptions, kvpVsc } from './vsc/kvp-vsc.ts';
export { type GuestShutdownRequest, type ShutdownVscOptions, shutdownVsc } from './vsc/shutdown-vsc.ts';
export { GuestWallClock, type TimeSyncVscOptions, timeSyncVsc } from './vsc/time-sync-vsc.ts';
export { type VssVscOptions, vssVsc } from './vsc/vss-vsc.ts';
export { type FileCopyOptions, FileCopyService, type FileSource } from './vsp/file-copy.ts';
export { type HeartbeatOptions, HeartbeatService, type HeartbeatState } from './vsp/heartbeat.ts';
export { type KvpOptions, KvpService } from './vsp/kvp.ts';
export { type ShutdownAction, type ShutdownRequest, ShutdownService } from './vsp/shutdown.ts';
export { type TimeSyncOptions, TimeSyncService } from './vsp/time-sync.ts';
export { type BackupOptions, VssService } from './vsp/vss.ts';
