import {
  type DeviceSpec,
  GuestEvent,
  type GuestKernel,
  type GuestTask,
  type Guid,
  type Plugin,
} from '@kensho/core';
import { type GuestChannel, type GuestVmbusDevice, PacketType, type VscDriver } from '@kensho/vmbus';
import { Random } from '../random.ts';
import { type ConformanceCase, type ConformanceSuite, demand } from './case.ts';
import { deviceRemover, guestCase, REPLACE, until } from './guest-case.ts';

/** A VSP as the suite examines it: from the guest's end of its channel. */
export interface VspSubject {
  readonly name: string;
  /** With that of VMBus. */
  readonly plugins: readonly Plugin[];
  /** Makes a specification for each run: with the same id, and with backends that are not shared between runs. */
  device(): DeviceSpec;
  readonly interfaceId: Guid;
  /** Brings a channel that was just opened to the point where {@link probe} works; nothing by default. */
  handshake?(channel: GuestChannel, kernel: GuestKernel): GuestTask;
  /** One exchange that a working VSP answers, with a check of its answer; throws otherwise. */
  probe(channel: GuestChannel, kernel: GuestKernel): GuestTask;
  /** Well-formed requests, which the suite damages in all ways. @default none, and random bytes have to do */
  readonly requests?: readonly Uint8Array[];
  /** Host time that one case may take. @default 20 s */
  readonly timeoutMs?: number;
}

const RING_SIZE_BYTES = 64 * 1024;
const PACKETS = 300;

/** Puts one packet into the ring, with the id given or without one; false where there is no room. */
type SendOne = (channel: GuestChannel, id: number, random: Random, scratch: Scratch) => boolean;

/** Guest memory for packets that name buffers. */
interface Scratch {
  readonly pages: readonly number[];
}

/**
 * What every VSP must stand and do. Beside what is named here, each packet that asks for a completion has to get one,
 * and no more, whatever is in it.
 */
export function vspConformance(subject: VspSubject): ConformanceSuite {
  const { requests = [] } = subject;
  /** @param body - runs for each device that appears, numbered from 0; the case ends when it returns true */
  const withDevices = (
    name: string,
    body: (device: GuestVmbusDevice, kernel: GuestKernel, index: number) => GuestTask<boolean>,
  ): ConformanceCase =>
    guestCase(name, () => {
      const done = new GuestEvent();
      let index = 0;
      const driver: VscDriver = {
        id: 'conformance',
        interfaceIds: [subject.interfaceId],
        *attach(device, kernel) {
          if (yield* body(device, kernel, index++)) done.set();
        },
      };
      return {
        plugins: subject.plugins,
        devices: [subject.device()],
        drivers: { vscs: [driver] },
        hostTimeoutMs: subject.timeoutMs,
        *main() {
          yield* done.wait();
        },
        onLine: deviceRemover(subject.device),
      };
    });
  const withDevice = (name: string, body: (device: GuestVmbusDevice, kernel: GuestKernel) => GuestTask) =>
    withDevices(name, function* (device, kernel) {
      yield* body(device, kernel);
      return true;
    });

  const open = function* (device: GuestVmbusDevice, kernel: GuestKernel): GuestTask<GuestChannel> {
    const channel = yield* device.open({ ringSizeBytes: RING_SIZE_BYTES });
    if (subject.handshake !== undefined) yield* subject.handshake(channel, kernel);
    return channel;
  };
  const probe = function* (channel: GuestChannel, kernel: GuestKernel): GuestTask {
    yield* subject.probe(channel, kernel);
    yield undefined;
    // Beside its answer it may have something to say of its own.
    new Answers(channel).take();
  };
  const openAndProbe = function* (device: GuestVmbusDevice, kernel: GuestKernel): GuestTask {
    const channel = yield* open(device, kernel);
    yield* probe(channel, kernel);
    yield* channel.close();
  };
  /** Sends what a VSP must survive, then asks it whether it did: on this channel and on the next. */
  const survives = (name: string, asks: boolean, sendOne: SendOne) =>
    withDevice(name, function* (device, kernel) {
      const channel = yield* open(device, kernel);
      const answers = new Answers(channel);
      const random = new Random(11);
      const scratch = kernel.allocate(64 * 1024);
      for (let id = 1; id <= PACKETS; id++) {
        if (asks) answers.expect(id);
        // A full ring means that the VSP has yet to read: let it.
        if (!sendOne(channel, id, random, scratch)) {
          yield* until(kernel, () => {
            answers.take();
            return channel.writable.take();
          });
          demand(sendOne(channel, id, random, scratch), 'it does not empty its ring');
        }
        if (random.oneIn(8)) {
          channel.flush();
          answers.take();
          yield undefined;
        }
      }
      channel.flush();
      yield* answers.complete(kernel);
      yield* probe(channel, kernel);
      yield* channel.close();
      yield* openAndProbe(device, kernel);
      scratch.free();
    });
  const damaged = (name: string, damage: (request: Uint8Array, random: Random) => Uint8Array) =>
    requests.length === 0
      ? []
      : [
          survives(name, true, (channel, id, random, scratch) => {
            const payload = damage(random.pick(requests), random);
            if (random.oneIn(3)) return channel.trySend(payload, id, true);
            return channel.trySendBuffers(payload, [buffer(random, scratch)], id);
          }),
        ];

  return {
    name: `VSP conformance: ${subject.name}`,
    cases: [
      withDevice('answers', function* (device, kernel) {
        const channel = yield* open(device, kernel);
        for (let i = 0; i < 50; i++) yield* probe(channel, kernel);
        yield* channel.close();
      }),
      withDevice('can be closed and opened again', function* (device, kernel) {
        for (let i = 0; i < 5; i++) yield* openAndProbe(device, kernel);
      }),
      withDevice('lets go of a channel that is closed at once', function* (device, kernel) {
        for (let i = 0; i < 5; i++) yield* (yield* device.open({ ringSizeBytes: RING_SIZE_BYTES })).close();
        yield* openAndProbe(device, kernel);
      }),
      withDevice('lets go of a channel that is closed in the midst of work', function* (device, kernel) {
        const [request = new Uint8Array(8)] = requests;
        for (let i = 0; i < 5; i++) {
          const channel = yield* open(device, kernel);
          for (let id = 1; id <= 50; id++) channel.trySend(request, id, true);
          channel.flush();
          yield* channel.close();
        }
        yield* openAndProbe(device, kernel);
      }),
      withDevice('keeps its answers for a guest that does not read', function* (device, kernel) {
        const [request = new Uint8Array(8)] = requests;
        const channel = yield* open(device, kernel);
        const answers = new Answers(channel);
        let id = 1;
        for (let refused = 0; refused < 20; ) {
          if (channel.trySend(request, id, true)) {
            answers.expect(id++);
            continue;
          }
          refused++;
          channel.flush();
          yield* kernel.sleep(1e5);
        }
        yield* answers.complete(kernel);
        yield* probe(channel, kernel);
        yield* channel.close();
      }),
      survives('stands random payloads of all lengths', true, (channel, id, random) =>
        channel.trySend(random.bytes(random.below(random.oneIn(10) ? 4096 : 200)), id, true),
      ),
      survives('stands empty payloads', true, (channel, id) => channel.trySend(new Uint8Array(0), id, true)),
      survives('stands packets that ask for nothing', false, (channel, id, random) =>
        channel.trySend(random.bytes(random.below(200)), id, false),
      ),
      survives('stands completions that nobody asked for', false, (channel, _id, random) =>
        channel.tryComplete(random.u32(), random.u32(), random.bytes(random.below(100))),
      ),
      survives('stands buffers that are not there', true, (channel, id, random) =>
        channel.trySendBuffers(random.bytes(random.below(120)), [absentBuffer(random)], id),
      ),
      ...damaged('stands requests with bits flipped', (request, random) => {
        const copy = request.slice();
        for (let flips = 1 + random.below(8); flips > 0; flips--) {
          copy[random.below(copy.length)] ^= 1 << random.below(8);
        }
        return copy;
      }),
      ...damaged('stands requests with fields at their limits', (request, random) => {
        const copy = request.slice();
        const at = random.below(copy.length);
        copy.fill(random.pick([0, 0x7f, 0x80, 0xff]), at, at + random.pick([1, 2, 4, 8]));
        return copy;
      }),
      ...damaged('stands requests that are too short or too long', (request, random) => {
        const copy = new Uint8Array(random.below(2 * request.length));
        copy.set(request.subarray(0, copy.length));
        return copy;
      }),
      withDevices('goes away when it is removed, and can be added again', function* (device, kernel, index) {
        const channel = yield* open(device, kernel);
        yield* probe(channel, kernel);
        if (index === 3) return true;
        kernel.print(REPLACE);
        yield* device.rescinded.wait();
        yield* channel.close();
        device.release();
        return false;
      }),
    ],
  };
}

/** Keeps account of what was asked and what was answered. */
class Answers {
  readonly #channel: GuestChannel;
  readonly #open = new Set<number>();
  #asked = 0;

  constructor(channel: GuestChannel) {
    this.#channel = channel;
  }

  expect(id: number): void {
    this.#open.add(id);
    this.#asked++;
  }

  take(): void {
    for (let packet = this.#channel.read(); packet !== undefined; packet = this.#channel.read()) {
      if (packet.type !== PacketType.COMPLETION) continue;
      const id = packet.transactionIdHi * 2 ** 32 + packet.transactionIdLo;
      demand(this.#open.delete(id), `a completion for ${id}, which asked for none or had its own already`);
    }
  }

  /** Waits for all answers, and then a little for those that are too many. */
  *complete(kernel: GuestKernel): GuestTask {
    yield* until(kernel, () => {
      this.take();
      return this.#open.size === 0;
    });
    demand(this.#open.size === 0, `${this.#open.size} of ${this.#asked} packets got no completion`);
    for (let i = 0; i < 20; i++) {
      yield* kernel.sleep(1e6);
      this.take();
    }
    this.#channel.readable.take();
  }
}

/** A buffer of the guest's, whole or in part beyond its memory. */
function buffer(random: Random, scratch: Scratch) {
  if (random.oneIn(4)) return absentBuffer(random);
  const offset = random.oneIn(2) ? 0 : random.below(4096);
  const sizeBytes = 1 + random.below(scratch.pages.length * 4096 - offset);
  const count = Math.ceil((offset + sizeBytes) / 4096);
  const pages = scratch.pages.slice(0, count);
  if (random.oneIn(8)) pages[random.below(count)] = random.u32();
  return { pages, offset, sizeBytes };
}

function absentBuffer(random: Random) {
  const offset = random.below(4096);
  const sizeBytes = 1 + random.below(32768);
  // From 4 GiB on, where these guests have no memory.
  const page = () => 0x100000 + random.below(2 ** 31);
  const pages = Array.from({ length: Math.ceil((offset + sizeBytes) / 4096) }, page);
  return { pages, offset, sizeBytes };
}
