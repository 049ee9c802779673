import { type Token, token } from '@kensho/core';
import type { FileCopyService } from './vsp/file-copy.ts';
import type { HeartbeatService } from './vsp/heartbeat.ts';
import type { KvpService } from './vsp/kvp.ts';
import type { ShutdownService } from './vsp/shutdown.ts';
import type { TimeSyncService } from './vsp/time-sync.ts';
import type { VssService } from './vsp/vss.ts';

/** The integration services of one partition, as its management reaches them; undefined where it has no such device. */
export interface IntegrationServices {
  readonly heartbeat: HeartbeatService | undefined;
  readonly shutdown: ShutdownService | undefined;
  readonly timeSync: TimeSyncService | undefined;
  readonly kvp: KvpService | undefined;
  readonly vss: VssService | undefined;
  readonly fileCopy: FileCopyService | undefined;
}
export const INTEGRATION_SERVICES: Token<IntegrationServices> = token<IntegrationServices>(
  '@kensho/integration-services:IntegrationServices',
);

/** What the devices fill in as they come and go. */
export class IntegrationServiceTable implements IntegrationServices {
  heartbeat: HeartbeatService | undefined;
  shutdown: ShutdownService | undefined;
  timeSync: TimeSyncService | undefined;
  kvp: KvpService | undefined;
  vss: VssService | undefined;
  fileCopy: FileCopyService | undefined;
}
