import { chipsetPlugin } from '@kensho/chipset';
import { createHost, createLogger, type DeviceSpec, KenshoError, type Plugin } from '@kensho/core';
import { guestKitPlugin, type KitDrivers, type KitKernel, type KitMain } from '@kensho/guest-kit';
import { vmbusPlugin } from '@kensho/vmbus';
import { type MarkedWindow, markerPlugin } from './marker.ts';

/** A kit guest on a partition of its own. */
export interface KitGuest {
  readonly name: string;
  readonly memoryBytes: number;
  readonly devices: readonly DeviceSpec[];
  readonly drivers: KitDrivers;
  readonly main: KitMain;
}

/** What guests gave as their results, and what happened between the first one's marks. */
export interface KitRun {
  /** As {@link printResult} got them, by guest. */
  readonly results: readonly unknown[];
  readonly window: MarkedWindow;
}

const RESULT_PREFIX = 'bench-result ';

/** Gives a guest's result, over its console as any guest could. */
export function printResult(kernel: KitKernel, result: unknown): void {
  kernel.print(RESULT_PREFIX + JSON.stringify(result));
}

/**
 * Runs kit guests on one host until each has ended; the first marks the window. Throws KenshoError SAMPLE_FAILED where
 * one ends without a result, or no window was marked.
 *
 * @param what - is measured, for errors
 * @param plugins - beside those of the machine itself
 */
export async function runKitGuests(
  what: string,
  plugins: readonly Plugin[],
  guests: readonly KitGuest[],
): Promise<KitRun> {
  const complaints: string[] = [];
  const results: unknown[] = [];
  let window: MarkedWindow | undefined;
  const host = await createHost({
    plugins: [chipsetPlugin, vmbusPlugin, guestKitPlugin, markerPlugin, ...plugins],
    logger: createLogger((level, scope, message, fields) => {
      if (level === 'warn' || level === 'error') complaints.push(`${scope}: ${message} ${describe(fields)}`);
    }),
  });
  const failed = (reason: string) => {
    const why = complaints.length === 0 ? '' : `: ${complaints.join('; ')}`;
    return new KenshoError('SAMPLE_FAILED', `${what}: ${reason}${why}`);
  };
  try {
    const partitions: Awaited<ReturnType<typeof host.createPartition>>[] = [];
    for (const [index, { name, memoryBytes, devices, drivers, main }] of guests.entries()) {
      const onLine = (line: string) => {
        if (line.startsWith(RESULT_PREFIX)) results[index] = JSON.parse(line.slice(RESULT_PREFIX.length));
        else complaints.push(line);
      };
      const marker = {
        watched: () => partitions.map(({ counters }) => counters),
        onWindow: (marked: MarkedWindow) => {
          window = marked;
        },
      };
      partitions.push(
        await host.createPartition({
          name,
          processor: 'kit',
          memoryBytes,
          devices: [
            { kind: 'kit-console', id: 'console', options: { onLine } },
            ...(index === 0 ? [{ kind: 'bench-marker', id: 'marker', options: marker }] : []),
            ...devices,
          ],
          guest: { kind: 'kit', options: { drivers, main } },
        }),
      );
    }
    await Promise.all(
      partitions.map(async (partition, index) => {
        try {
          const { reason } = await partition.run();
          if (reason !== 'guest-ended' || results[index] === undefined) throw failed(reason);
        } catch (error) {
          // The others would wait for this one for ever.
          for (const other of partitions) other.stop();
          throw error;
        }
      }),
    );
    for (const partition of partitions) await partition.close();
    if (window === undefined) throw failed('the guest did not mark a window');
    return { results, window };
  } finally {
    await host.close();
  }
}

function describe(fields: unknown): string {
  return fields === undefined
    ? ''
    : JSON.stringify(fields, (_key, value) => (value instanceof Error ? value.stack : value));
}
