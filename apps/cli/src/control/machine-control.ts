import fs from 'node:fs';
import path from 'node:path';
import {
  CLOCK,
  type HostedPartition,
  KenshoError,
  PARTITION_EVENTS,
  PARTITION_INFO,
  type PartitionEvent,
} from '@kensho/core';
import { formatMac } from '@kensho/devices-net';
import { type Disk, type SnapshotDisk, saveDisk } from '@kensho/devices-storage';
import {
  INTEGRATION_SERVICES,
  type IntegrationServices,
  KvpPool,
  type KvpValue,
  type ShutdownAction,
  versionName,
} from '@kensho/integration-services';
import { checkFolder, makeFolder } from '../files.ts';
import type { RunEnd } from '../guest-end.ts';
import { type ControlledAdapter, getAddresses, setAddresses } from './addresses.ts';
import { Arguments } from './arguments.ts';
import { copyIntoGuest } from './copy-files.ts';
import type { VerbContext, VerbHandler } from './server.ts';

/** A disk that can be backed up. */
export interface ControlledDisk {
  /** Of its image. */
  readonly name: string;
  readonly disk: SnapshotDisk;
}

/** A machine as its control reaches it. */
export interface ControlledMachine {
  readonly name: string;
  readonly partition: HostedPartition;
  readonly disks: readonly ControlledDisk[];
  readonly adapters: readonly ControlledAdapter[];
  /** How often its guest has reset it. */
  readonly restarts: number;
  /** Resolves when the partition's run has ended. */
  readonly ended: Promise<BootEnd>;
}

/** How a partition's run ended, and whether the machine goes on in another one. */
export type BootEnd = Pick<RunEnd, 'reason'> & { readonly restarting: boolean };

const POOLS: Readonly<Record<string, number>> = {
  external: KvpPool.EXTERNAL,
  guest: KvpPool.GUEST,
  auto: KvpPool.AUTO,
  'auto-external': KvpPool.AUTO_EXTERNAL,
  'auto-internal': KvpPool.AUTO_INTERNAL,
};
/** Names of the pools, for the command line. */
export const POOL_NAMES: readonly string[] = Object.keys(POOLS);

/** What `kensho vm` can do with a running machine. */
export class MachineControl {
  readonly #machine: ControlledMachine;
  readonly #services: IntegrationServices | undefined;
  #crash: Extract<PartitionEvent, { kind: 'crashed' }> | undefined;

  constructor(machine: ControlledMachine) {
    this.#machine = machine;
    const { services } = machine.partition;
    this.#services = services.tryResolve(INTEGRATION_SERVICES);
    services.resolve(PARTITION_EVENTS).listen((event) => {
      if (event.kind === 'crashed') this.#crash = event;
    });
  }

  readonly handle: VerbHandler = async (verb, given, context) => {
    const args = new Arguments(given);
    const { partition, adapters } = this.#machine;
    switch (verb) {
      case 'show':
        return this.#show();
      case 'pause':
        await partition.pause();
        return this.#show();
      case 'resume':
        partition.resume();
        return this.#show();
      case 'heartbeat':
        return this.#heartbeat();
      case 'shutdown':
        return await this.#shutdown(args);
      case 'time':
        return await this.#need('timeSync').sync();
      case 'kvp-get':
        return await this.#kvpGet(args);
      case 'kvp-set': {
        const value: KvpValue = { type: 'string', value: args.text('value') };
        return await this.#need('kvp').set(poolOf(args), args.text('key'), value);
      }
      case 'kvp-delete':
        return { deleted: await this.#need('kvp').delete(poolOf(args), args.text('key')) };
      case 'kvp-list': {
        const items = await this.#need('kvp').enumerate(poolOf(args));
        return items.map(({ key, value }) => ({ key, value: plain(value) }));
      }
      case 'addresses':
        return await getAddresses(this.#need('kvp'), adapters, args);
      case 'set-addresses':
        return await setAddresses(this.#need('kvp'), adapters, args);
      case 'copy':
        return await copyIntoGuest(this.#need('fileCopy'), args, context);
      case 'backup':
        return await this.#backup(args, context);
      default:
        throw new KenshoError('CONTROL_PROTOCOL', `this machine does not know '${verb}'`);
    }
  };

  #show(): unknown {
    const { name, partition, disks, adapters, restarts } = this.#machine;
    const { services } = partition;
    const info = services.resolve(PARTITION_INFO);
    const components = Object.values(this.#services ?? {})
      .filter((one) => one !== undefined)
      .map(({ component }) => ({
        id: component.definition.id,
        state: component.state,
        version: component.version && versionName(component.version),
      }));
    return {
      name,
      pid: process.pid,
      state: services.resolve(PARTITION_EVENTS).paused ? 'paused' : 'running',
      restarts,
      // The partition's own time, which stands still while it is paused.
      seconds: Math.round(services.resolve(CLOCK).nowNs() / 1e9),
      processors: info.vpCount,
      memoryBytes: info.memoryBytes,
      heartbeat: this.#services?.heartbeat?.state ?? 'no-contact',
      services: components,
      disks: disks.map(({ name, disk }) => ({ name, sizeBytes: disk.sizeBytes })),
      adapters: adapters.map(({ id, mac }) => ({ name: id, mac: formatMac(mac) })),
      crash: this.#crash && {
        message: this.#crash.message?.trim(),
        parameters: this.#crash.parameters.map((parameter) => `0x${parameter.toString(16)}`),
      },
    };
  }

  #heartbeat(): unknown {
    const { state, missed, sinceLastBeatMs: since } = this.#need('heartbeat');
    return { state, missed, sinceLastBeatMs: since === undefined ? undefined : Math.round(since) };
  }

  async #shutdown(args: Arguments): Promise<unknown> {
    const action = args.oneOf<ShutdownAction>('action', ['power-off', 'reboot', 'hibernate']);
    const force = args.flag('force');
    const message = args.optionalText('message');
    await this.#need('shutdown').request({ action, force, message });
    if (!args.flag('wait')) return { accepted: true };
    const { reason, restarting } = await this.#machine.ended;
    return { accepted: true, end: reason, restarting };
  }

  async #kvpGet(args: Arguments): Promise<unknown> {
    const pool = poolOf(args);
    const key = args.text('key');
    const value = await this.#need('kvp').get(pool, key);
    if (value === undefined) {
      throw new KenshoError(
        'NO_SUCH_KEY',
        `there is no '${key}' in pool ${args.text('pool')}; --pool names another`,
      );
    }
    return plain(value);
  }

  /** A consistent copy of the disks: the guest stands still only for as long as taking their snapshots takes. */
  async #backup(args: Arguments, context: VerbContext): Promise<unknown> {
    const folder = args.text('folder');
    const format = args.optionalText('format') ?? 'vhdx';
    const { disks } = this.#machine;
    if (disks.length === 0) throw new KenshoError('NO_DISKS', 'the machine has no disks');
    const targets = disks.map(({ name }, index) =>
      path.join(folder, `${index}-${path.parse(name).name}.${format === 'raw' ? 'img' : format}`),
    );
    checkFolder(folder);
    makeFolder(folder);
    const taken = targets.find((file) => fs.existsSync(file));
    if (taken !== undefined)
      throw new KenshoError('FILE_EXISTS', `${taken} is there already: choose another folder`);
    const snapshots: Disk[] = [];
    let taking = Promise.resolve();
    let frozenAtMs = 0;
    try {
      await this.#need('vss').backup(
        () => {
          frozenAtMs = performance.now();
          taking = this.#snapshot(snapshots);
          return taking;
        },
        { signal: context.signal },
      );
      const frozenMs = Math.round(performance.now() - frozenAtMs);
      return { frozenMs, images: await saveAll(snapshots, targets, format, context) };
    } finally {
      // Who gave up did not wait for it.
      await taking.catch(() => {});
      for (const snapshot of snapshots) await snapshot.close();
    }
  }

  async #snapshot(into: Disk[]): Promise<void> {
    for (const { disk } of this.#machine.disks) into.push(await disk.snapshot());
  }

  #need<K extends keyof IntegrationServices>(name: K): NonNullable<IntegrationServices[K]> {
    const service = this.#services?.[name];
    if (service !== undefined) return service;
    throw new KenshoError('NO_INTEGRATION', 'the machine runs without integration services');
  }
}

function poolOf(args: Arguments): number {
  return POOLS[args.oneOf('pool', POOL_NAMES)];
}

/** JSON has no integers of 64 bits. */
function plain({ value }: KvpValue): string | number {
  return typeof value === 'bigint' ? String(value) : value;
}

/** Makes images of disks: of all of them, or of none. */
async function saveAll(
  disks: readonly Disk[],
  files: readonly string[],
  format: string,
  { signal, progress }: VerbContext,
): Promise<{ file: string; sizeBytes: number }[]> {
  const images: { file: string; sizeBytes: number }[] = [];
  try {
    for (const [index, disk] of disks.entries()) {
      const file = files[index];
      const onProgress = (done: number, total: number) => progress({ what: file, done, total });
      await saveDisk(disk, file, { format, signal, onProgress });
      images.push({ file, sizeBytes: disk.sizeBytes });
    }
    return images;
  } catch (error) {
    for (const { file } of images) fs.rmSync(file, { force: true });
    throw error;
  }
}
