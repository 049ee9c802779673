import { type DeviceSpec, GuestEvent, GuestFault, type GuestTask } from '@kensho/core';
import type { GuestNetworkInterface, NetworkConnector } from '@kensho/devices-net';
import type { KitKernel } from '@kensho/guest-kit';
import { type GuestRun, type GuestRunOptions, Random, runGuest } from '../../src/index.ts';
import { BackToBack, frameTo, interfaces } from './network.ts';
import { succeeded } from './storage.ts';

/** What a guest does with its two adapters. */
export type Program = (
  kernel: KitKernel,
  left: GuestNetworkInterface,
  right: GuestNetworkInterface,
  cable: BackToBack,
) => GuestTask;

/** A guest with two adapters. */
export interface TwoAdapters extends Pick<GuestRunOptions, 'plugins' | 'drivers'> {
  /** The first one, or the second, on its end of the cable. */
  device(number: number, end: NetworkConnector): DeviceSpec;
  /** What the guest does before it looks for its interfaces. */
  attach?(kernel: KitKernel): GuestTask;
}

/** Runs a guest with two adapters back to back; it prints `pull` and `plug` for what is to happen to the cable. */
export async function runBackToBack(machine: TwoAdapters, program: Program): Promise<GuestRun> {
  const cable = new BackToBack();
  const { plugins, drivers } = machine;
  const run = await runGuest({
    plugins,
    devices: cable.ends.map((end, i) => machine.device(i + 1, end)),
    drivers,
    *main(kernel) {
      if (machine.attach !== undefined) yield* machine.attach(kernel);
      const [left, right] = yield* interfaces(kernel, 2);
      yield* program(kernel, left, right, cable);
    },
    onLine(line) {
      if (line === 'pull') cable.setLink(false);
      if (line === 'plug') cable.setLink(true);
    },
  });
  return succeeded(run);
}

export function demandSame(got: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(got, expected) !== 0) throw new GuestFault(`${what}: other bytes (${got.length})`);
}

/** Sends `frames` from one end while the other receives as many; shorter ones than that come padded. */
export function* exchange(
  kernel: KitKernel,
  from: GuestNetworkInterface,
  to: GuestNetworkInterface,
  frames: readonly Uint8Array[],
  shortestBytes = 0,
): GuestTask {
  const done = new GuestEvent();
  const receiver = function* (): GuestTask {
    for (const [i, frame] of frames.entries()) {
      const { bytes } = yield* to.receive();
      demandSame(bytes.subarray(0, frame.length), frame, `frame ${i}`);
      if (bytes.length !== Math.max(shortestBytes, frame.length))
        throw new GuestFault(`frame ${i}: ${bytes.length} bytes`);
    }
    done.set();
  };
  kernel.spawn('receiver', receiver());
  for (const bytes of frames) yield* from.send({ bytes });
  yield* done.wait();
}

/** A sender that is held back while the receiver does not read, and loses nothing. */
export function holdBack(count: number, awayNs: number): Program {
  return function* (kernel, left, right, cable) {
    const frames = Array.from({ length: count }, (_, i) =>
      frameTo(right.mac, left.mac, new Random(i).bytes(1200)),
    );
    const sender = function* (): GuestTask {
      for (const bytes of frames) yield* left.send({ bytes });
    };
    kernel.spawn('sender', sender());
    yield* kernel.sleep(awayNs);
    if (cable.waiting === 0) throw new GuestFault('the cable is empty');
    for (const [i, frame] of frames.entries()) {
      demandSame((yield* right.receive()).bytes, frame, `frame ${i}`);
    }
  };
}

/** Sees the link go and come, and sends when it is there. */
export const followLink: Program = function* (kernel, left, right) {
  for (const up of [false, true, false, true]) {
    kernel.print(up ? 'plug' : 'pull');
    yield* left.linkChanged.wait();
    if (left.linkUp !== up) throw new GuestFault(`the link is ${left.linkUp ? 'up' : 'down'}`);
  }
  yield* exchange(kernel, left, right, [frameTo(right.mac, left.mac, new Uint8Array(100))]);
};
