import type { GuestKernel, GuestTask, HostedPartition } from '@kensho/core';
import type { KitMain } from '@kensho/guest-kit';
import {
  type GuestFileStart,
  type GuestFileStore,
  GuestKvpPools,
  GuestWallClock,
  IcStatus,
  INTEGRATION_SERVICES,
  type IntegrationDevicesOptions,
  type IntegrationServices,
  integrationDevices,
  integrationServicesPlugin,
  integrationVscs,
  type KvpIpInfo,
} from '@kensho/integration-services';
import { type VscDriver, vmbusPlugin } from '@kensho/vmbus';
import { type GuestRun, guestFailure, runGuest } from '../../src/index.ts';

export const integrationPlugins = [vmbusPlugin, integrationServicesPlugin];

export function servicesOf(partition: HostedPartition): IntegrationServices {
  return partition.services.resolve(INTEGRATION_SERVICES);
}

/** A service that the partition has. */
export function service<K extends keyof IntegrationServices>(
  partition: HostedPartition,
  name: K,
): NonNullable<IntegrationServices[K]> {
  const found = servicesOf(partition)[name];
  if (found === undefined) throw new Error(`the partition has no ${name}`);
  return found;
}

/** Files in a guest's memory, sparse: what was written, by offset. */
export class MemoryStore implements GuestFileStore {
  readonly files = new Map<string, Uint8Array>();
  readonly started: GuestFileStart[] = [];
  /** Folders that are there. */
  readonly folders = new Set(['/tmp/']);
  /** Refuses what lies beyond. */
  capacityBytes = 2 ** 30;

  *open(file: GuestFileStart): ReturnType<GuestFileStore['open']> {
    this.started.push(file);
    const path = file.folder + file.name;
    if (!this.folders.has(file.folder)) {
      if (!file.createPath) return IcStatus.E_FAIL;
      this.folders.add(file.folder);
    }
    if (this.files.has(path) && !file.overwrite) return IcStatus.ERROR_ALREADY_EXISTS;
    let content = new Uint8Array(0);
    const { files } = this;
    const capacity = () => this.capacityBytes;
    files.set(path, content);
    return {
      *write(offset, data) {
        const end = Number(offset) + data.length;
        if (end > capacity()) return IcStatus.ERROR_DISK_FULL;
        if (end > content.length) {
          const grown = new Uint8Array(end);
          grown.set(content);
          content = grown;
        }
        content.set(data, Number(offset));
        return IcStatus.S_OK;
      },
      *complete() {
        files.set(path, content);
        return IcStatus.S_OK;
      },
      cancel() {
        files.delete(path);
      },
    };
  }
}

/** What is installed in a guest with all integration services, and what they have done to it. */
export class InstalledServices {
  readonly pools = new GuestKvpPools();
  readonly clock = new GuestWallClock();
  readonly store = new MemoryStore();
  readonly samples: number[] = [];
  readonly log: string[] = [];
  /** What freezing and thawing answer, one after another; then true. */
  readonly freezes: boolean[] = [];
  readonly thaws: boolean[] = [];
  /** Time that a freeze takes. */
  freezeNs = 0;
  /** The adapters that there are, by id. */
  readonly addresses = new Map<string, KvpIpInfo>();
  agrees = true;
  /** How the host wished it to end. */
  ended: string | undefined;

  vscs(): VscDriver[] {
    const { log } = this;
    return integrationVscs({
      shutdown: {
        agrees: (request) => {
          log.push(`${request.action}${request.force ? ' by force' : ''}: ${request.message}`);
          return this.agrees;
        },
        end: (request) => (this.ended = request.action),
      },
      timeSync: { clock: this.clock, onSample: (behindMs) => this.samples.push(behindMs) },
      kvp: {
        pools: this.pools,
        addresses: {
          get: (id) => this.addresses.get(id),
          set: (info) => {
            const known = this.addresses.has(info.adapterId);
            if (known) this.addresses.set(info.adapterId, info);
            return known;
          },
        },
      },
      vss: {
        freeze: (kernel) => this.#freeze(kernel),
        thaw: () => this.#thaw(),
      },
      fileCopy: this.store,
    });
  }

  *#freeze(kernel: GuestKernel): GuestTask<boolean> {
    if (this.freezeNs > 0) yield* kernel.sleep(this.freezeNs);
    this.log.push('freeze');
    return this.freezes.shift() ?? true;
  }

  *#thaw(): GuestTask<boolean> {
    this.log.push('thaw');
    return this.thaws.shift() ?? true;
  }
}

export interface IntegrationRunOptions {
  readonly guest?: InstalledServices;
  /** What the host does while the guest runs, once all services are ready; the run ends with it. */
  readonly host: (services: IntegrationServices, partition: HostedPartition) => Promise<void>;
  readonly devices?: IntegrationDevicesOptions;
  /** @default all of {@link InstalledServices} */
  readonly vscs?: readonly VscDriver[];
  /** What the guest does meanwhile. @default it sleeps */
  readonly main?: KitMain;
  /** Services that must be ready before the host begins. @default all */
  readonly ready?: readonly (keyof IntegrationServices)[];
}

const ALL = ['heartbeat', 'shutdown', 'timeSync', 'kvp', 'vss', 'fileCopy'] as const;

/** Boots a kit guest with integration services, and lets the host use them. */
export async function withServices(options: IntegrationRunOptions): Promise<GuestRun> {
  const guest = options.guest ?? new InstalledServices();
  let done = false;
  const run = await runGuest({
    plugins: integrationPlugins,
    devices: integrationDevices(options.devices),
    drivers: { vscs: options.vscs ?? guest.vscs() },
    *main(kernel) {
      kernel.print('up');
      if (options.main !== undefined) yield* options.main(kernel);
      while (!done) yield* kernel.sleep(1e6);
    },
    async onLine(line, partition) {
      if (line !== 'up') return;
      try {
        const services = servicesOf(partition);
        for (const name of options.ready ?? ALL) {
          while (services[name]?.component.state !== 'ready') await new Promise(setImmediate);
        }
        await options.host(services, partition);
      } finally {
        done = true;
      }
    },
  });
  const failure = guestFailure(run);
  if (failure !== undefined) throw new Error(failure);
  return run;
}
