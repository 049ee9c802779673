import os from 'node:os';
import {
  CLOCK,
  type CounterSnapshot,
  createHost,
  type DeviceSpec,
  type HostedPartition,
  type Logger,
  RealClock,
  TeardownStack,
  VirtualClock,
} from '@kensho/core';
import { type NetworkDevice, netPlugin, type PortForward } from '@kensho/devices-net';
import { DISK_FORMATS } from '@kensho/devices-storage';
import { integrationDevices, integrationServicesPlugin } from '@kensho/integration-services';
import { MACHINE_PLUGINS, type MachineOptions, machineConfig } from '@kensho/machine';
import { kernelTestPlugin } from '@kensho/testkit';
import type { ControlledAdapter } from './control/addresses.ts';
import { ControlEndpoint } from './control/control-endpoint.ts';
import { type BootEnd, type ControlledDisk, MachineControl } from './control/machine-control.ts';
import { type Debugging, type DebugRequest, type GdbAddress, startDebugging } from './debugging.ts';
import { type DiskRequest, openDisks } from './disks.ts';
import { ExitCode } from './exit.ts';
import { explainEnd, type RunEnd, vpDump } from './guest-end.ts';
import { type NicRequest, openNics } from './nics.ts';
import { type LoadedPlugins, reachable } from './plugins.ts';
import { type ResetAction, ResetPolicy } from './reset-policy.ts';

/** A machine, and what is done with it while it runs. */
export interface KernelRun {
  readonly machine: MachineOptions;
  /** The name by which `kensho vm` controls it. @default nobody can */
  readonly name?: string;
  /** Whether a crash that the guest reports ends the run. @default 'end' */
  readonly onCrash?: 'end' | 'report';
  /** What a reset does that the guest asks for. @default 'restart' */
  readonly onReset?: ResetAction;
  /** @default none */
  readonly disks?: readonly DiskRequest[];
  /** @default none */
  readonly nics?: readonly NicRequest[];
  /** Ports that lead to the guest. @default none */
  readonly forwards?: readonly PortForward[];
  /** Of third parties. @default none */
  readonly plugins?: LoadedPlugins;
  /** Of the host's time, from the kernel's first entry on. @default for ever */
  readonly timeoutSeconds?: number;
  /** Ends the run: as its reason says where that is an {@link Ended}, else by throwing the reason. */
  readonly signal: AbortSignal;
  /** @default nobody looks */
  readonly debug?: DebugRequest;
  /** Called each time the kernel is loaded, before its first instruction. */
  readonly onLoaded?: (partition: HostedPartition, boot: Boot) => void;
  /** Called when the guest has reset the machine: that partition is to be forgotten, and its memory with it. */
  readonly onUnload?: () => void;
  /** @default silent */
  readonly logger?: Logger;
}

/** One boot of a machine. */
export interface Boot {
  /** How many there were before it. */
  readonly restarts: number;
  /** Where GDB is served. */
  readonly gdb?: GdbAddress;
}

/** How a run went. */
export interface RunReport {
  readonly end: RunEnd;
  readonly exitCode: number;
  /** How often the guest's reset made the machine anew. */
  readonly restarts: number;
  /** Of the host's time, from the kernel's first entry on. */
  readonly seconds: number;
  readonly instructions: number;
  /** What was counted in all boots, but for what is zero. */
  readonly counters: CounterSnapshot;
  /** Registers, code, stack and last branches: of the VP that took a triple fault, or of all where time was over. */
  readonly dump?: string;
}

/** Why somebody else than the guest ended the run. */
export class Ended extends Error {
  readonly end: RunEnd;

  constructor(end: RunEnd) {
    super(end.reason);
    this.end = end;
  }
}

/**
 * Makes a machine, boots a kernel on it as often as the guest resets it, and takes everything away again when it has
 * ended.
 */
export async function runKernel(run: KernelRun): Promise<RunReport> {
  const machine = await KernelMachine.open(run);
  let exitCode: number = ExitCode.SIGINT;
  try {
    for (;;) {
      const report = await machine.boot();
      if (report !== undefined) {
        ({ exitCode } = report);
        return report;
      }
      // Memory of the partition that has ended is only given back by the collector, which is in no hurry.
      globalThis.gc?.();
    }
  } finally {
    await machine.close(exitCode);
  }
}

/** What a machine has at the host: opened before its first partition, closed behind its last. */
interface HostSide {
  readonly devices: readonly DeviceSpec[];
  readonly disks: readonly ControlledDisk[];
  flushDisks(): Promise<void>;
  createPartition(): Promise<HostedPartition>;
  readonly owned: TeardownStack;
}

const LONGEST_INTERVAL_MS = 2 ** 31 - 1;

/**
 * A machine, over all of its boots. Each is a partition of its own, made of the same description: where the guest
 * resets the machine, the partition ends with all of its devices, and the next one begins with nothing of it. Disks,
 * networks, the console, its control and GDB stay.
 */
class KernelMachine {
  readonly #run: KernelRun;
  readonly #hostSide: HostSide;
  readonly #endpoint: ControlEndpoint | undefined;
  readonly #policy: ResetPolicy;
  /** Ends the run for other reasons than the user's. */
  readonly #ending = new AbortController();
  readonly #stopping: AbortSignal;
  /** Of all boots. */
  readonly #counters: Record<string, number> = {};
  // Node would end where nothing is left that could wake a guest which sleeps for good; the user has not said so.
  readonly #staying = setInterval(() => {}, LONGEST_INTERVAL_MS);
  #timer: NodeJS.Timeout | undefined;
  #startMs: number | undefined;
  #debugging: Debugging | undefined;
  #partition: HostedPartition | undefined;

  static async open(run: KernelRun): Promise<KernelMachine> {
    const hostSide = await openHostSide(run);
    try {
      const endpoint = run.name === undefined ? undefined : await ControlEndpoint.listen(run.name);
      return new KernelMachine(run, hostSide, endpoint);
    } catch (error) {
      await hostSide.owned.unwind();
      throw error;
    }
  }

  private constructor(run: KernelRun, hostSide: HostSide, endpoint: ControlEndpoint | undefined) {
    this.#run = run;
    this.#hostSide = hostSide;
    this.#endpoint = endpoint;
    this.#policy = new ResetPolicy(run.onReset ?? 'restart');
    this.#stopping = AbortSignal.any([run.signal, this.#ending.signal]);
  }

  /** Boots, and runs until the partition ends. Undefined where the machine is to boot again. */
  async boot(): Promise<RunReport | undefined> {
    const { restarts } = this.#policy;
    const partition = await this.#hostSide.createPartition();
    this.#partition = partition;
    await this.#debug(partition);
    const ended = Promise.withResolvers<BootEnd>();
    const { devices, disks } = this.#hostSide;
    if (this.#endpoint !== undefined) {
      const { name } = this.#endpoint;
      const adapters = adaptersOf(partition, devices);
      this.#endpoint.join(
        new MachineControl({ name, partition, disks, adapters, restarts, ended: ended.promise }),
      );
    }
    this.#run.onLoaded?.(partition, { restarts, gdb: this.#debugging?.gdb });
    this.#startTime();
    const reason = await runUntil(partition, this.#stopping);
    const end = this.#policy.endOf(reason, partition.services.resolve(CLOCK).nowNs());
    addTo(this.#counters, partition.counters.snapshot());
    ended.resolve({ ...(end ?? reason), restarting: end === undefined });
    if (end !== undefined) return this.#report(partition, end);
    this.#run.onUnload?.();
    this.#endpoint?.leave();
    this.#debugging?.leave();
    this.#partition = undefined;
    await partition.close();
    await this.#hostSide.flushDisks();
    return undefined;
  }

  /** Takes everything away, whatever state it is in. */
  async close(exitCode: number): Promise<void> {
    clearTimeout(this.#timer);
    clearInterval(this.#staying);
    const { owned } = this.#hostSide;
    owned.push('partition', () => this.#partition?.close());
    owned.push('debugging', () => this.#debugging?.close(exitCode));
    owned.push('control', () => this.#endpoint?.close());
    await owned.unwind();
  }

  async #debug(partition: HostedPartition): Promise<void> {
    const { debug } = this.#run;
    if (debug === undefined) return;
    if (this.#debugging !== undefined) this.#debugging.join(partition);
    else this.#debugging = await startDebugging(partition, debug, () => this.#endWith({ reason: 'quit' }));
  }

  /** Time begins when the first boot does. */
  #startTime(): void {
    if (this.#startMs !== undefined) return;
    this.#startMs = performance.now();
    const { timeoutSeconds } = this.#run;
    if (timeoutSeconds === undefined) return;
    this.#timer = setTimeout(() => this.#endWith({ reason: 'time-out' }), timeoutSeconds * 1000);
  }

  #endWith(end: RunEnd): void {
    this.#ending.abort(new Ended(end));
  }

  #report(partition: HostedPartition, end: RunEnd): RunReport {
    return {
      end,
      exitCode: explainEnd(end).exitCode,
      restarts: this.#policy.restarts,
      seconds: (performance.now() - (this.#startMs ?? 0)) / 1000,
      instructions: this.#counters['run.instructions'] ?? 0,
      counters: this.#counters,
      ...dumpOf(partition, this.#run.machine.vpCount, end),
    };
  }
}

async function openHostSide({
  machine,
  name,
  onCrash,
  disks = [],
  nics = [],
  forwards = [],
  plugins = { plugins: [], devices: [] },
  logger,
}: KernelRun): Promise<HostSide> {
  const { integration } = machine;
  const virtual = machine.clock === 'virtual';
  const wallClockMs = virtual ? undefined : () => Date.now();
  const owned = new TeardownStack();
  try {
    const host = await createHost({
      plugins: [
        ...MACHINE_PLUGINS,
        netPlugin,
        integrationServicesPlugin,
        kernelTestPlugin,
        ...plugins.plugins,
      ],
      logger,
    });
    owned.push('host', () => host.close());
    const { contributions } = host;
    const media = await openDisks(disks, {
      integration,
      formats: contributions.all(DISK_FORMATS),
      clock: virtual ? new VirtualClock() : new RealClock(),
    });
    owned.push('disks', () => media.close());
    const networks = await openNics(
      nics,
      { integration, forwards, epochMs: wallClockMs ?? 0 },
      contributions,
    );
    owned.push('networks', () => networks.close());
    const hostItems = { HostName: os.hostname(), VirtualMachineName: name ?? 'machine' };
    const devices = [
      ...(machine.devices ?? []),
      ...networks.devices,
      ...media.devices,
      ...(integration ? integrationDevices({ timeSync: { wallClockMs }, kvp: { hostItems } }) : []),
      ...reachable(plugins.devices, contributions, integration),
    ];
    return {
      devices,
      disks: media.disks,
      flushDisks: () => media.flush(),
      createPartition: () => host.createPartition({ ...machineConfig({ ...machine, devices }), onCrash }),
      owned,
    };
  } catch (error) {
    await owned.unwind();
    throw error;
  }
}

/** Those on VMBus, whose addresses the guest can be asked for. */
function adaptersOf(partition: HostedPartition, devices: readonly DeviceSpec[]): ControlledAdapter[] {
  return devices
    .filter(({ kind }) => kind === 'network')
    .map(({ id }) => (partition.device(id) as NetworkDevice).vsp);
}

function addTo(totals: Record<string, number>, more: CounterSnapshot): void {
  for (const [name, value] of Object.entries(more)) {
    if (value !== 0) totals[name] = (totals[name] ?? 0) + value;
  }
}

/** What is looked for first where a guest did not end by itself. */
function dumpOf(partition: HostedPartition, vpCount: number, end: RunEnd): { dump?: string } {
  if (end.reason === 'triple-fault') return { dump: vpDump(partition, end.vpIndex) };
  if (end.reason !== 'time-out') return {};
  return { dump: Array.from({ length: vpCount }, (_, vp) => vpDump(partition, vp)).join('\n') };
}

/** Runs a partition to its end; or until the signal, whose reason says how that ends it, or is thrown. */
async function runUntil(partition: HostedPartition, signal: AbortSignal): Promise<RunEnd> {
  if (!signal.aborted) {
    const stop = () => partition.stop();
    signal.addEventListener('abort', stop);
    try {
      const end = await partition.run();
      // The guest may have come to its own end first.
      if (end.reason !== 'stopped' || !signal.aborted) return end;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }
  if (signal.reason instanceof Ended) return signal.reason.end;
  throw signal.reason;
}
