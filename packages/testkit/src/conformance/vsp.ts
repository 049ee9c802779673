import type { DeviceSpec, GuestKernel, GuestTask, Guid, Plugin } from '@kensho/core';
import { GuestEvent } from '@kensho/core';
import type { GuestChannel, GuestVmbusDevice, VscDriver } from '@kensho/vmbus';
import { guestFailure, runGuest } from '../guest-run.ts';
import { Random } from '../random.ts';
import { type ConformanceCase, type ConformanceSuite, demand } from './case.ts';

/** A VSP as the suite examines it: from the guest's end of its channel. */
export interface VspSubject {
  readonly name: string;
  /** With that of VMBus. */
  readonly plugins: readonly Plugin[];
  /** Makes a fresh specification for each run. */
  device(): DeviceSpec;
  readonly interfaceId: Guid;
  /** Brings a channel that was just opened to the point where {@link probe} works; nothing by default. */
  handshake?(channel: GuestChannel): GuestTask;
  /** One exchange that a working VSP answers, with a check of its answer; throws otherwise. */
  probe(channel: GuestChannel): GuestTask;
}

const RING_SIZE_BYTES = 64 * 1024;

/** What the guest prints to have its device removed. */
const REMOVE = 'remove the device';

/** What every VSP must stand and do. */
export function vspConformance(subject: VspSubject): ConformanceSuite {
  const withDevice = (
    name: string,
    body: (device: GuestVmbusDevice, kernel: GuestKernel) => GuestTask,
  ): ConformanceCase => ({
    name,
    async run() {
      const done = new GuestEvent();
      const driver: VscDriver = {
        id: 'conformance',
        interfaceIds: [subject.interfaceId],
        *attach(device, kernel) {
          yield* body(device, kernel);
          done.set();
        },
      };
      const run = await runGuest({
        plugins: subject.plugins,
        devices: [subject.device()],
        drivers: { vscs: [driver] },
        *main() {
          yield* done.wait();
        },
        onLine: (line, partition) => {
          if (line === REMOVE) void partition.removeDevice(subject.device().id);
        },
      });
      const failure = guestFailure(run);
      demand(failure === undefined, failure ?? '');
    },
  });
  const open = function* (device: GuestVmbusDevice): GuestTask<GuestChannel> {
    const channel = yield* device.open({ ringSizeBytes: RING_SIZE_BYTES });
    if (subject.handshake !== undefined) yield* subject.handshake(channel);
    return channel;
  };
  /** Sends what a VSP must survive, then asks it whether it did. */
  const survives = (name: string, packets: (random: Random, channel: GuestChannel) => boolean) =>
    withDevice(name, function* (device) {
      const channel = yield* open(device);
      const random = new Random(11);
      for (let i = 0; i < 300; i++) {
        // A full ring means that the VSP has yet to read: let it.
        while (!packets(random, channel)) {
          channel.flush();
          drain(channel);
          yield undefined;
        }
        if (random.oneIn(8)) {
          channel.flush();
          drain(channel);
          yield undefined;
        }
      }
      channel.flush();
      // What was asked for with completions is answered by and by; the probe begins after that.
      for (let i = 0; i < 100; i++) {
        yield undefined;
        drain(channel);
      }
      yield* channel.close();
      const again = yield* open(device);
      yield* subject.probe(again);
      yield* again.close();
    });

  return {
    name: `VSP conformance: ${subject.name}`,
    cases: [
      withDevice('answers', function* (device) {
        const channel = yield* open(device);
        for (let i = 0; i < 50; i++) yield* subject.probe(channel);
        yield* channel.close();
      }),
      withDevice('can be closed and opened again', function* (device) {
        for (let i = 0; i < 5; i++) {
          const channel = yield* open(device);
          yield* subject.probe(channel);
          yield* channel.close();
        }
      }),
      withDevice('lets go of a channel that is closed at once', function* (device) {
        for (let i = 0; i < 5; i++) yield* (yield* device.open({ ringSizeBytes: RING_SIZE_BYTES })).close();
        const channel = yield* open(device);
        yield* subject.probe(channel);
        yield* channel.close();
      }),
      survives('stands random payloads of all lengths', (random, channel) =>
        channel.trySend(
          random.bytes(random.below(random.oneIn(10) ? 4096 : 200)),
          random.below(1 << 20) + 1,
          random.oneIn(2),
        ),
      ),
      survives('stands empty payloads', (_random, channel) => channel.trySend(new Uint8Array(0), 1, true)),
      survives('stands completions that nobody asked for', (random, channel) =>
        channel.tryComplete(random.u32(), random.u32(), random.bytes(random.below(100))),
      ),
      survives('stands buffers that are not there', (random, channel) => {
        const offset = random.below(4096);
        const sizeBytes = 1 + random.below(32768);
        const pages = Array.from({ length: Math.ceil((offset + sizeBytes) / 4096) }, () => random.u32());
        const payload = random.bytes(random.below(120));
        return channel.trySendBuffers(payload, [{ pages, offset, sizeBytes }], random.below(1 << 20) + 1);
      }),
      withDevice('takes its device away when the host removes it', function* (device, kernel) {
        const channel = yield* open(device);
        yield* subject.probe(channel);
        kernel.print(REMOVE);
        yield* device.rescinded.wait();
        yield* channel.close();
        device.release();
      }),
    ],
  };
}

function drain(channel: GuestChannel): void {
  while (channel.read() !== undefined) {
    // Answers to nonsense are of no interest; that the VSP still works is asked afterwards.
  }
}
