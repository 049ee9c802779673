import type { DeviceSpec, GuestKernel, GuestTask, HostedPartition } from '@kensho/core';
import type { GuestChannel, IncomingPacket } from '@kensho/vmbus';
import { type GuestRun, type GuestRunOptions, guestFailure, runGuest } from '../guest-run.ts';
import { type ConformanceCase, demand } from './case.ts';

/** A case that runs in a guest, and fails where the guest does not come to its own end. */
export function guestCase(
  name: string,
  options: () => GuestRunOptions,
  check: (run: GuestRun) => void = () => {},
): ConformanceCase {
  return {
    name,
    async run() {
      check(await successfulRun(options()));
    },
  };
}

export async function successfulRun(options: GuestRunOptions): Promise<GuestRun> {
  const run = await runGuest(options);
  const failure = guestFailure(run);
  demand(failure === undefined, failure ?? '');
  return run;
}

/** Gives the host time, in steps: in virtual time a long sleep passes before the host has done anything. */
export function* until(kernel: GuestKernel, condition: () => boolean): GuestTask {
  for (let i = 0; i < 5000 && !condition(); i++) yield* kernel.sleep(20_000);
}

/** What a guest prints to have the device under examination removed, or removed and added again. */
export const REMOVE = 'remove the device';
export const REPLACE = 'remove the device and add it again';

/** Does what {@link REMOVE} and {@link REPLACE} ask for, one after the other, and tells `onDone`. */
export function deviceRemover(
  device: () => DeviceSpec,
  onDone = () => {},
): (line: string, partition: HostedPartition) => Promise<void> | undefined {
  let last = Promise.resolve();
  return (line, partition) => {
    if (line !== REMOVE && line !== REPLACE) return undefined;
    last = last.then(async () => {
      const spec = device();
      await partition.removeDevice(spec.id);
      if (line === REPLACE) await partition.addDevice(spec);
      onDone();
    });
    return last;
  };
}

/** Waits for the next packet of a channel; the object is reused by the next read. */
export function* receive(channel: GuestChannel): GuestTask<IncomingPacket> {
  for (;;) {
    const packet = channel.read();
    if (packet !== undefined) return packet;
    yield* channel.readable.wait();
  }
}
