import {
  CLOCK,
  type CounterSnapshot,
  createHost,
  type DeviceSpec,
  GuestFault,
  type GuestTask,
  type HostedPartition,
  type MaybePromise,
  type PartitionEnd,
  type Plugin,
} from '@kensho/core';
import {
  guestKitPlugin,
  type KitDrivers,
  type KitGuestOptions,
  type KitKernel,
  type KitMain,
} from '@kensho/guest-kit';

/** A partition with a kit guest, and what is installed in both. */
export interface GuestRunOptions {
  /** Beside that of the guest kit, which is always there. */
  readonly plugins: readonly Plugin[];
  readonly devices?: readonly DeviceSpec[];
  readonly drivers?: Partial<KitDrivers>;
  /** The guest's program; the run ends with it. */
  readonly main: KitMain;
  /** @default 1 */
  readonly vpCount?: number;
  /** What the VPs but the first run. */
  readonly secondary?: KitGuestOptions['secondary'];
  /** @default true */
  readonly enlightened?: boolean;
  /** @default 'virtual', so that a run repeats */
  readonly clock?: 'real' | 'virtual';
  /** @default 16 MiB */
  readonly memoryBytes?: number;
  /**
   * Called for each line that the guest prints: how a guest's program asks the host to do something. The run is over
   * once all that it asked for is done, and fails where that failed.
   */
  readonly onLine?: (line: string, partition: HostedPartition) => MaybePromise<void>;
  /** Host time that the run may take, and then again the end of everything. @default 20 s */
  readonly hostTimeoutMs?: number;
}

/** Guest time without an end of the guest's program after which the guest gives up. */
const GUEST_TIMEOUT_NS = 120e9;

/** How a run went. */
export interface GuestRun {
  readonly end: PartitionEnd;
  /** What the guest printed. */
  readonly console: readonly string[];
  readonly counters: CounterSnapshot;
  /** The partition's clock at the end. A virtual one: instructions, and the idle time `run.idle.ns`. */
  readonly elapsedNs: number;
}

/**
 * Boots a kit guest on a host of its own, lets it run to its end, and takes everything down again.
 *
 * Throws what a device or the host threw, and where something does not end: a guest that waits for ever panics by
 * its own clock, a host that does is left behind.
 */
export async function runGuest(options: GuestRunOptions): Promise<GuestRun> {
  const lines: string[] = [];
  const within = deadline(options.hostTimeoutMs ?? 20_000);
  const host = await createHost({ plugins: [guestKitPlugin, ...options.plugins] });
  let failure: { error: unknown } | undefined;
  let result: GuestRun | undefined;
  try {
    const requests = new HostRequests();
    const onLine = (line: string) => {
      lines.push(line);
      const request = options.onLine?.(line, partition);
      if (request !== undefined) requests.add(request, () => partition.stop());
    };
    const main: KitMain = function* (kernel) {
      kernel.spawn('watchdog', watch(kernel, requests));
      yield* options.main(kernel);
    };
    const partition: HostedPartition = await host.createPartition({
      name: 'guest',
      processor: 'kit',
      memoryBytes: options.memoryBytes ?? 16 * 1024 * 1024,
      vpCount: options.vpCount,
      clock: options.clock ?? 'virtual',
      enlightened: options.enlightened ?? true,
      devices: [{ kind: 'kit-console', id: 'console', options: { onLine } }, ...(options.devices ?? [])],
      guest: {
        kind: 'kit',
        options: {
          drivers: { vscs: [], pci: [], ports: [], ...options.drivers },
          main,
          secondary: options.secondary,
        } satisfies KitGuestOptions,
      },
    });
    const end = await within('run', partition.run());
    const elapsedNs = partition.services.resolve(CLOCK).nowNs();
    const counters = partition.counters.snapshot();
    await within('do what the guest asked for', requests.settled());
    result = { end, console: lines, counters, elapsedNs };
  } catch (error) {
    failure = { error };
  }
  try {
    await within('take everything down', host.close());
  } catch (error) {
    failure ??= { error };
  }
  if (failure !== undefined) throw failure.error;
  return result as GuestRun;
}

/** What the guest asked the host for and is not done yet. */
class HostRequests {
  readonly #all: Promise<void>[] = [];
  pending = 0;

  /** @param stop - ends the run of a guest that would wait for what failed */
  add(request: Promise<void>, stop: () => void): void {
    this.#all.push(request);
    this.pending++;
    request.then(
      () => this.pending--,
      () => stop(),
    );
  }

  async settled(): Promise<void> {
    await Promise.all(this.#all);
  }
}

/** While the host is at work, a virtual clock goes on without it: that time does not count. */
function* watch(kernel: KitKernel, requests: HostRequests): GuestTask {
  const stepNs = 10e6;
  for (let waitedNs = 0; waitedNs < GUEST_TIMEOUT_NS; waitedNs += stepNs) {
    yield* kernel.sleep(stepNs);
    if (requests.pending > 0) waitedNs = 0;
  }
  throw new GuestFault('the guest waits for something that does not come');
}

function deadline(timeoutMs: number): <T>(what: string, work: Promise<T>) => Promise<T> {
  return async (what, work) => {
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<never>((_, reject) => {
      const error = new Error(`the host did not ${what} within ${timeoutMs} ms`);
      timer = setTimeout(() => reject(error), timeoutMs);
    });
    try {
      return await Promise.race([work, expired]);
    } finally {
      clearTimeout(timer);
    }
  };
}

/** The guest's panic, if it had one; a guest that did not come to its own end has failed. */
export function guestFailure(run: GuestRun): string | undefined {
  const panic = run.console.find((line) => line.startsWith('panic:'));
  if (panic !== undefined) return panic;
  return run.end.reason === 'guest-ended' ? undefined : `the guest's run ended with ${run.end.reason}`;
}
