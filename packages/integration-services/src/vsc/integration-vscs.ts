import type { VscDriver } from '@kensho/vmbus';
import { fileCopyVsc, type GuestFileStore } from './file-copy-vsc.ts';
import { heartbeatVsc } from './heartbeat-vsc.ts';
import { GuestKvpPools, type KvpVscOptions, kvpVsc } from './kvp-vsc.ts';
import { type ShutdownVscOptions, shutdownVsc } from './shutdown-vsc.ts';
import { GuestWallClock, type TimeSyncVscOptions, timeSyncVsc } from './time-sync-vsc.ts';
import { type VssVscOptions, vssVsc } from './vss-vsc.ts';

/** What a guest's integration services work on. */
export interface IntegrationVscsOptions {
  /** How the guest ends. @default the host cannot ask it to */
  readonly shutdown?: ShutdownVscOptions;
  /** @default a clock that no program reads */
  readonly timeSync?: TimeSyncVscOptions;
  /** @default pools that no program reads, and no adapters */
  readonly kvp?: KvpVscOptions;
  /** How the guest holds still. @default the host cannot back it up */
  readonly vss?: VssVscOptions;
  /** Where files go. @default the host cannot copy any */
  readonly fileCopy?: GuestFileStore;
}

/**
 * Integration services for a kit guest, to be installed among its drivers: the guest's end of each service, but for
 * those of which the guest can do nothing, because the options do not say how. These stay closed, as those of a Linux
 * guest without the daemon.
 */
export function integrationVscs(options: IntegrationVscsOptions = {}): VscDriver[] {
  const { shutdown, timeSync, kvp, vss, fileCopy } = options;
  return [
    heartbeatVsc(),
    ...(shutdown === undefined ? [] : [shutdownVsc(shutdown)]),
    timeSyncVsc(timeSync ?? { clock: new GuestWallClock() }),
    kvpVsc(kvp ?? { pools: new GuestKvpPools() }),
    ...(vss === undefined ? [] : [vssVsc(vss)]),
    ...(fileCopy === undefined ? [] : [fileCopyVsc(fileCopy)]),
  ];
}
