import {
  type CounterSnapshot,
  counterDifference,
  createHost,
  type HostedPartition,
  type Logger,
  RealClock,
  VirtualClock,
} from '@kensho/core';
import { DISK_FORMATS } from '@kensho/devices-storage';
import { MACHINE_PLUGINS, type MachineOptions, machineConfig } from '@kensho/machine';
import { kernelTestPlugin } from '@kensho/testkit';
import { type DiskRequest, type OpenDisks, openDisks } from './disks.ts';
import { explainEnd, type RunEnd, registerDump } from './guest-end.ts';
import { type LoadedPlugins, reachable } from './plugins.ts';

/** A machine, and what is done with it while it runs. */
export interface KernelRun {
  readonly machine: MachineOptions;
  /** @default none */
  readonly disks?: readonly DiskRequest[];
  /** Of third parties. @default none */
  readonly plugins?: LoadedPlugins;
  /** Of the host's time, from the kernel's entry on. @default for ever */
  readonly timeoutSeconds?: number;
  /** Ends the run: as its reason says where that is an {@link Ended}, else by throwing the reason. */
  readonly signal: AbortSignal;
  /** Called when the kernel is loaded, before its first instruction. */
  readonly onLoaded?: (partition: HostedPartition) => void;
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
  /** Of the VP that took a triple fault. */
  readonly registers?: string;
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
  disks = [],
  plugins = { plugins: [], devices: [] },
  timeoutSeconds,
  signal,
  onLoaded,
  logger,
}: KernelRun): Promise<RunReport> {
  const host = await createHost({
    plugins: [...MACHINE_PLUGINS, kernelTestPlugin, ...plugins.plugins],
    logger,
  });
  let media: OpenDisks | undefined;
  try {
    const { integration } = machine;
    media = await openDisks(disks, {
      integration,
      formats: host.contributions.all(DISK_FORMATS),
      clock: machine.clock === 'virtual' ? new VirtualClock() : new RealClock(),
    });
    const added = reachable(plugins.devices, host.contributions, integration);
    const devices = [...(machine.devices ?? []), ...media.devices, ...added];
    const partition = await host.createPartition(machineConfig({ ...machine, devices }));
    onLoaded?.(partition);
    const startMs = performance.now();
    const end = await runUntil(partition, signal, timeoutSeconds);
    const seconds = (performance.now() - startMs) / 1000;
    const counters = counterDifference({}, partition.counters.snapshot());
    return {
      end,
      exitCode: explainEnd(end).exitCode,
      seconds,
      instructions: counters['run.instructions'] ?? 0,
      counters,
      ...(end.reason === 'triple-fault' ? { registers: registerDump(partition, end.vpIndex) } : {}),
    };
  } finally {
    await host.close();
    await media?.close();
  }
}

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
  try {
    const end = await partition.run();
    // The guest may have come to its own end first.
    if (end.reason !== 'stopped') return end;
    if (signal.reason instanceof Ended) return signal.reason.end;
    signal.throwIfAborted();
    return late ? { reason: 'time-out' } : end;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}
