import os from 'node:os';
import {
  type CounterSnapshot,
  counterDifference,
  createHost,
  type HostedPartition,
  type Logger,
  RealClock,
  VirtualClock,
} from '@kensho/core';
import { type NetworkDevice, netPlugin } from '@kensho/devices-net';
import { DISK_FORMATS } from '@kensho/devices-storage';
import { integrationDevices, integrationServicesPlugin } from '@kensho/integration-services';
import { MACHINE_PLUGINS, type MachineOptions, machineConfig } from '@kensho/machine';
import { kernelTestPlugin } from '@kensho/testkit';
import { type ControlledMachine, MachineControl } from './control/machine-control.ts';
import { ControlServer } from './control/server.ts';
import { type Debugging, type DebugRequest, type GdbAddress, startDebugging } from './debugging.ts';
import { type DiskRequest, type OpenDisks, openDisks } from './disks.ts';
import { ExitCode } from './exit.ts';
import { explainEnd, type RunEnd, vpDump } from './guest-end.ts';
import { type LoadedPlugins, reachable } from './plugins.ts';

/** A machine, and what is done with it while it runs. */
export interface KernelRun {
  readonly machine: MachineOptions;
  /** The name by which `kensho vm` controls it. @default nobody can */
  readonly name?: string;
  /** Whether a crash that the guest reports ends the run. @default 'end' */
  readonly onCrash?: 'end' | 'report';
  /** @default none */
  readonly disks?: readonly DiskRequest[];
  /** Of third parties. @default none */
  readonly plugins?: LoadedPlugins;
  /** Of the host's time, from the kernel's entry on. @default for ever */
  readonly timeoutSeconds?: number;
  /** Ends the run: as its reason says where that is an {@link Ended}, else by throwing the reason. */
  readonly signal: AbortSignal;
  /** @default nobody looks */
  readonly debug?: DebugRequest;
  /** Called when the kernel is loaded, before its first instruction, with the address at which GDB is served. */
  readonly onLoaded?: (partition: HostedPartition, gdb?: GdbAddress) => void;
  /** @default silent */
  readonly logger?: Logger;
}

/** How a run went. */
export interface RunReport {
  readonly end: RunEnd;
  readonly exitCode: number;
  /** Of the host's time, from the kernel's entry on. */
  readonly seconds: number;
  readonly instructions: number;
  /** What was counted, but for what is zero. */
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

/** Makes a machine, boots a kernel on it, and takes everything away again when it has ended. */
export async function runKernel({
  machine,
  name,
  onCrash,
  disks = [],
  plugins = { plugins: [], devices: [] },
  timeoutSeconds,
  signal,
  debug,
  onLoaded,
  logger,
}: KernelRun): Promise<RunReport> {
  const host = await createHost({
    plugins: [...MACHINE_PLUGINS, netPlugin, integrationServicesPlugin, kernelTestPlugin, ...plugins.plugins],
    logger,
  });
  let media: OpenDisks | undefined;
  let debugging: Debugging | undefined;
  const killed = new AbortController();
  let exitCode: number = ExitCode.SIGINT;
  try {
    const { integration } = machine;
    media = await openDisks(disks, {
      integration,
      formats: host.contributions.all(DISK_FORMATS),
      clock: machine.clock === 'virtual' ? new VirtualClock() : new RealClock(),
    });
    const added = reachable(plugins.devices, host.contributions, integration);
    const wallClockMs = machine.clock === 'virtual' ? undefined : () => Date.now();
    const hostItems = { HostName: os.hostname(), VirtualMachineName: name ?? 'machine' };
    const services = integration ? integrationDevices({ timeSync: { wallClockMs }, kvp: { hostItems } }) : [];
    const devices = [...(machine.devices ?? []), ...media.devices, ...services, ...added];
    const partition = await host.createPartition({ ...machineConfig({ ...machine, devices }), onCrash });
    if (debug !== undefined) {
      const onKill = () => killed.abort(new Ended({ reason: 'quit' }));
      debugging = await startDebugging(partition, debug, onKill);
    }
    onLoaded?.(partition, debugging?.gdb);
    const startMs = performance.now();
    const run = () => runUntil(partition, AbortSignal.any([signal, killed.signal]), timeoutSeconds);
    const adapters = devices
      .filter(({ kind }) => kind === 'network')
      .map(({ id }) => (partition.device(id) as NetworkDevice).vsp);
    const end = await (name === undefined
      ? run()
      : controlled({ name, partition, disks: media.disks, adapters }, run));
    ({ exitCode } = explainEnd(end));
    const seconds = (performance.now() - startMs) / 1000;
    const counters = counterDifference({}, partition.counters.snapshot());
    return {
      end,
      exitCode,
      seconds,
      instructions: counters['run.instructions'] ?? 0,
      counters,
      ...dumpOf(partition, machine.vpCount, end),
    };
  } finally {
    await debugging?.close(exitCode);
    await host.close();
    await media?.close();
  }
}

/** Lets others control a machine while it runs. */
async function controlled(
  machine: Omit<ControlledMachine, 'ended'>,
  run: () => Promise<RunEnd>,
): Promise<RunEnd> {
  const ended = Promise.withResolvers<RunEnd>();
  const control = new MachineControl({ ...machine, ended: ended.promise });
  const server = await ControlServer.listen(machine.name, control.handle);
  try {
    const end = await run();
    ended.resolve(end);
    return end;
  } finally {
    await server.close();
  }
}

/** What is looked for first where a guest did not end by itself. */
function dumpOf(partition: HostedPartition, vpCount: number, end: RunEnd): { dump?: string } {
  if (end.reason === 'triple-fault') return { dump: vpDump(partition, end.vpIndex) };
  if (end.reason !== 'time-out') return {};
  return { dump: Array.from({ length: vpCount }, (_, vp) => vpDump(partition, vp)).join('\n') };
}

const LONGEST_INTERVAL_MS = 2 ** 31 - 1;

async function runUntil(
  partition: HostedPartition,
  signal: AbortSignal,
  timeoutSeconds: number | undefined,
): Promise<RunEnd> {
  signal.throwIfAborted();
  const stop = () => partition.stop();
  signal.addEventListener('abort', stop);
  let late = false;
  const expire = () => {
    late = true;
    stop();
  };
  const timer = timeoutSeconds === undefined ? undefined : setTimeout(expire, timeoutSeconds * 1000);
  // Node would end where nothing is left that could wake a guest which sleeps for good; the user has not said so.
  const staying = setInterval(() => {}, LONGEST_INTERVAL_MS);
  try {
    const end = await partition.run();
    // The guest may have come to its own end first.
    if (end.reason !== 'stopped') return end;
    if (signal.reason instanceof Ended) return signal.reason.end;
    signal.throwIfAborted();
    return late ? { reason: 'time-out' } : end;
  } finally {
    clearTimeout(timer);
    clearInterval(staying);
    signal.removeEventListener('abort', stop);
  }
}
