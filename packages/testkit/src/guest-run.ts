import {
  type CounterSnapshot,
  createHost,
  type DeviceSpec,
  type HostedPartition,
  type PartitionEnd,
  type Plugin,
} from '@kensho/core';
import { guestKitPlugin, type KitDrivers, type KitMain } from '@kensho/guest-kit';

/** A partition with a kit guest, and what is installed in both. */
export interface GuestRunOptions {
  /** Beside that of the guest kit, which is always there. */
  readonly plugins: readonly Plugin[];
  readonly devices?: readonly DeviceSpec[];
  readonly drivers?: Partial<KitDrivers>;
  /** The guest's program; the run ends with it. */
  readonly main: KitMain;
  /** @default true */
  readonly enlightened?: boolean;
  /** @default 'virtual', so that a run repeats */
  readonly clock?: 'real' | 'virtual';
  /** @default 16 MiB */
  readonly memoryBytes?: number;
  /** Called for each line that the guest prints: how a guest's program asks the host to do something. */
  readonly onLine?: (line: string, partition: HostedPartition) => void;
}

/** How a run went. */
export interface GuestRun {
  readonly end: PartitionEnd;
  /** What the guest printed. */
  readonly console: readonly string[];
  readonly counters: CounterSnapshot;
}

/** Boots a kit guest on a host of its own, lets it run to its end, and takes everything down again. */
export async function runGuest(options: GuestRunOptions): Promise<GuestRun> {
  const lines: string[] = [];
  const host = await createHost({ plugins: [guestKitPlugin, ...options.plugins] });
  try {
    const onLine = (line: string) => {
      lines.push(line);
      options.onLine?.(line, partition);
    };
    const partition: HostedPartition = await host.createPartition({
      name: 'guest',
      processor: 'kit',
      memoryBytes: options.memoryBytes ?? 16 * 1024 * 1024,
      clock: options.clock ?? 'virtual',
      enlightened: options.enlightened ?? true,
      devices: [{ kind: 'kit-console', id: 'console', options: { onLine } }, ...(options.devices ?? [])],
      guest: {
        kind: 'kit',
        options: { drivers: { vscs: [], pci: [], ports: [], ...options.drivers }, main: options.main },
      },
    });
    const end = await partition.run();
    return { end, console: lines, counters: partition.counters.snapshot() };
  } finally {
    await host.close();
  }
}

/** The guest's panic, if it had one; a guest that did not come to its own end has failed. */
export function guestFailure(run: GuestRun): string | undefined {
  const panic = run.console.find((line) => line.startsWith('panic:'));
  if (panic !== undefined) return panic;
  return run.end.reason === 'guest-ended' ? undefined : `the guest's run ended with ${run.end.reason}`;
}
