import {
  type DeviceSpec,
  GuestEvent,
  type GuestKernel,
  type GuestTask,
  type Guid,
  type HostedPartition,
  type Plugin,
} from '@kensho/core';
import { type GuestChannel, type GuestVmbusDevice, PacketType, type VscDriver } from '@kensho/vmbus';
import { Random } from '../random.ts';
import { type ConformanceCase, type ConformanceSuite, demand } from './case.ts';
import { guestCase, receive, until } from './guest-case.ts';
import { HEADER_BYTES, Message, NEGOTIATE, REQUEST, TRANSACTION } from './ic-message.ts';

/** The root's end of an integration component as the suite examines it: from the guest's end of its channel. */
export interface ComponentSubject {
  readonly name: string;
  /** With that of VMBus. */
  readonly plugins: readonly Plugin[];
  /** Makes a specification for each run; what it asks of its own at regular times, it asks seldom (once in an hour). */
  device(): DeviceSpec;
  readonly interfaceId: Guid;
  /** Type of its messages. */
  readonly messageType: number;
  /** The versions that it offers, as `major.minor`, newest first. */
  readonly frameworks: readonly string[];
  readonly versions: readonly string[];
  /** Has the host use the component so that it asks the guest at least once; rejects where that did not succeed. */
  use(partition: HostedPartition): Promise<unknown>;
  /** Makes a right answer of a request's body, in its place; the status. */
  answer(body: Uint8Array): number;
}

const RING_SIZE_BYTES = 64 * 1024;
const USE = 'use the component';

/** What a case has: the guest's end, and the outcomes of what the host did. */
interface Scene {
  readonly device: GuestVmbusDevice;
  readonly kernel: GuestKernel;
  /** Has the host use the component; its outcome comes to {@link outcomes}. */
  use(): void;
  /** `undefined` for a success. */
  readonly outcomes: (Error | undefined)[];
}

/** What the root's end of every integration component must do and stand. */
export function componentConformance(subject: ComponentSubject): ConformanceSuite {
  const { frameworks, versions } = subject;
  const inGuest = (name: string, body: (scene: Scene) => GuestTask): ConformanceCase =>
    guestCase(name, () => {
      const done = new GuestEvent();
      const outcomes: (Error | undefined)[] = [];
      const driver: VscDriver = {
        id: 'conformance',
        interfaceIds: [subject.interfaceId],
        *attach(device, kernel) {
          yield* body({ device, kernel, outcomes, use: () => kernel.print(USE) });
          done.set();
        },
      };
      return {
        plugins: subject.plugins,
        devices: [subject.device()],
        drivers: { vscs: [driver] },
        *main() {
          yield* done.wait();
        },
        async onLine(line, partition) {
          if (line !== USE) return;
          try {
            await subject.use(partition);
            outcomes.push(undefined);
          } catch (error) {
            outcomes.push(error as Error);
          }
        },
      };
    });

  const open = (device: GuestVmbusDevice) => device.open({ ringSizeBytes: RING_SIZE_BYTES });
  const send = (channel: GuestChannel, payload: Uint8Array) => {
    demand(channel.trySend(payload, 0, false), 'it does not empty its ring');
    channel.flush();
  };
  const next = function* (channel: GuestChannel): GuestTask<Message> {
    const packet = yield* receive(channel);
    demand(packet.type === PacketType.IN_BAND, `a packet of type ${packet.type}`);
    demand(!packet.completionRequested, 'a message that asks for a completion');
    const message = new Message(packet.payload.slice());
    demand(message.bodyIsWhole, `a message of ${packet.payload.length} bytes whose header says another size`);
    return message;
  };
  const rightAnswer = ({ bytes }: Message) => {
    const copy = new Message(bytes.slice());
    return copy.answered(subject.answer(copy.body));
  };
  /** Answers what has been asked; how much that was. */
  const answerAll = (channel: GuestChannel): number => {
    let answered = 0;
    for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
      send(channel, rightAnswer(new Message(packet.payload.slice())));
      answered++;
    }
    return answered;
  };
  /** Answers an offer of versions, and what the host has to say of its own once they are agreed on. */
  const agree = function* (
    { kernel }: Scene,
    channel: GuestChannel,
    offer: Message,
    framework = frameworks[0],
    version = versions[0],
  ): GuestTask {
    send(channel, offer.chosen(framework, version));
    for (let quiet = 0; quiet < 10; quiet++) {
      yield* kernel.sleep(1e5);
      if (answerAll(channel) > 0) quiet = 0;
    }
  };
  /** Takes the offer of versions, and comes to an agreement. */
  const negotiate = function* (
    scene: Scene,
    channel: GuestChannel,
    framework?: string,
    version?: string,
  ): GuestTask {
    yield* agree(scene, channel, yield* next(channel), framework, version);
  };
  /** Answers whatever is asked until the host has that many outcomes. */
  const serve = function* ({ kernel, outcomes }: Scene, channel: GuestChannel, count: number): GuestTask {
    yield* until(kernel, () => {
      answerAll(channel);
      return outcomes.length >= count;
    });
    demand(outcomes.length >= count, `the host has no outcome of ${count - outcomes.length} uses`);
  };
  const succeeds = function* (scene: Scene, channel: GuestChannel): GuestTask {
    const before = scene.outcomes.length;
    scene.use();
    yield* serve(scene, channel, before + 1);
    const error = scene.outcomes[before];
    demand(error === undefined, `a use failed: ${error?.message}`);
  };
  const fails = function* (scene: Scene): GuestTask {
    const before = scene.outcomes.length;
    scene.use();
    yield* until(scene.kernel, () => scene.outcomes.length > before);
    demand(scene.outcomes.at(before) !== undefined, 'a use that cannot succeed is said to have');
  };
  /** Takes the first request that the host makes when it uses the component, without an answer. */
  const firstRequest = function* (scene: Scene, channel: GuestChannel): GuestTask<Message> {
    scene.use();
    return yield* next(channel);
  };

  return {
    name: `integration component conformance: ${subject.name}`,
    cases: [
      inGuest('offers its versions as soon as the channel is open', function* ({ device }) {
        for (let i = 0; i < 3; i++) {
          const channel = yield* open(device);
          const offer = yield* next(channel);
          demand(offer.type === NEGOTIATE, `the first message is of type ${offer.type}`);
          demand(offer.flags === (TRANSACTION | REQUEST), `an offer with flags ${offer.flags}`);
          const offered = offer.offered();
          demand(
            String(offered.frameworks) === String(frameworks) &&
              String(offered.versions) === String(versions),
            `it offers frameworks ${offered.frameworks} and versions ${offered.versions}`,
          );
          yield* channel.close();
        }
      }),
      ...frameworks.flatMap((framework) =>
        versions.map((version) =>
          inGuest(`works with framework ${framework} and version ${version}`, function* (scene) {
            const channel = yield* open(scene.device);
            yield* negotiate(scene, channel, framework, version);
            const request = yield* firstRequest(scene, channel);
            demand(request.type === subject.messageType, `a request of type ${request.type}`);
            demand(request.flags === (TRANSACTION | REQUEST), `a request with flags ${request.flags}`);
            demand(request.version === version, `a request of version ${request.version}`);
            demand(request.framework === framework, 'a request of another framework');
            send(channel, rightAnswer(request));
            yield* serve(scene, channel, 1);
            demand(scene.outcomes[0] === undefined, `a use failed: ${scene.outcomes[0]?.message}`);
          }),
        ),
      ),
      inGuest(
        'asks nothing of a guest that knows none of its versions, until it opens anew',
        function* (scene) {
          const { device, kernel } = scene;
          for (const [framework, version] of [
            [undefined, undefined],
            [frameworks[0], '99.9'],
            ['99.9', versions[0]],
          ]) {
            const channel = yield* open(device);
            send(channel, (yield* next(channel)).chosen(framework, version));
            yield* kernel.sleep(1e8);
            yield* fails(scene);
            demand(channel.read() === undefined, 'a request without an agreement');
            yield* channel.close();
          }
          const channel = yield* open(device);
          yield* negotiate(scene, channel);
          yield* succeeds(scene, channel);
        },
      ),
      inGuest('waits for the agreement as long as it takes', function* (scene) {
        const channel = yield* open(scene.device);
        const offer = yield* next(channel);
        yield* scene.kernel.sleep(100e9);
        demand(channel.read() === undefined, 'a second message before the first is answered');
        yield* fails(scene);
        yield* agree(scene, channel, offer);
        yield* succeeds(scene, channel);
      }),
      inGuest('has one request in the guest’s hands at a time', function* (scene) {
        const { kernel, outcomes } = scene;
        const channel = yield* open(scene.device);
        yield* negotiate(scene, channel);
        const first = yield* firstRequest(scene, channel);
        for (let i = 0; i < 4; i++) scene.use();
        yield* kernel.sleep(1e8);
        demand(channel.read() === undefined, 'a request before the one before it is answered');
        send(channel, rightAnswer(first));
        for (let left = 5; outcomes.length < 5; ) {
          const packet = channel.read();
          if (packet === undefined) {
            demand(left-- > -1000, 'uses that have no end');
            yield* kernel.sleep(1e5);
            continue;
          }
          const request = new Message(packet.payload.slice());
          yield* kernel.sleep(1e5);
          demand(channel.read() === undefined, 'two requests at once');
          send(channel, rightAnswer(request));
        }
        demand(!outcomes.some((error) => error !== undefined), 'a use failed');
      }),
      inGuest('leaves answers alone that are of another transaction, or come twice', function* (scene) {
        const channel = yield* open(scene.device);
        yield* negotiate(scene, channel);
        const request = yield* firstRequest(scene, channel);
        for (const change of [1, 7, 128]) {
          const wrong = rightAnswer(request);
          wrong[24] += change;
          send(channel, wrong);
        }
        const noAnswer = rightAnswer(request);
        noAnswer[25] = TRANSACTION | REQUEST;
        send(channel, noAnswer);
        const otherType = rightAnswer(request);
        otherType[12] = 0x55;
        send(channel, otherType);
        yield* scene.kernel.sleep(1e6);
        demand(scene.outcomes.length === 0, 'an answer to something else is taken for one');
        send(channel, rightAnswer(request));
        send(channel, rightAnswer(request));
        yield* serve(scene, channel, 1);
        demand(scene.outcomes[0] === undefined, `a use failed: ${scene.outcomes[0]?.message}`);
        yield* succeeds(scene, channel);
      }),
      inGuest(
        'asks again only when a late answer has come, and tells who waited that it is late',
        function* (scene) {
          const { kernel, outcomes } = scene;
          const channel = yield* open(scene.device);
          yield* negotiate(scene, channel);
          const request = yield* firstRequest(scene, channel);
          for (let i = 0; i < 100 && outcomes.length === 0; i++) yield* kernel.sleep(10e9);
          demand(
            outcomes.length === 1 && outcomes[0] !== undefined,
            'a request that is not answered has no end',
          );
          demand(channel.read() === undefined, 'a second request while the first is in the guest’s hands');
          send(channel, rightAnswer(request));
          yield* kernel.sleep(1e6);
          for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
            send(channel, rightAnswer(new Message(packet.payload.slice())));
          }
          yield* succeeds(scene, channel);
        },
      ),
      inGuest(
        'fails what is under way when the channel is closed, and begins anew when it is opened',
        function* (scene) {
          const { outcomes, kernel } = scene;
          for (let round = 0; round < 3; round++) {
            const channel = yield* open(scene.device);
            yield* negotiate(scene, channel);
            const before = outcomes.length;
            yield* firstRequest(scene, channel);
            scene.use();
            yield* channel.close();
            yield* until(kernel, () => outcomes.length === before + 2);
            demand(
              outcomes.length === before + 2 && !outcomes.slice(before).includes(undefined),
              'what was under way has no outcome, or succeeded',
            );
          }
          const channel = yield* open(scene.device);
          yield* negotiate(scene, channel);
          yield* succeeds(scene, channel);
        },
      ),
      inGuest('stands answers of any size and content', function* (scene) {
        const { kernel } = scene;
        const random = new Random(3);
        const channel = yield* open(scene.device);
        yield* negotiate(scene, channel);
        for (let i = 0; i < 200; i++) {
          scene.use();
          const before = scene.outcomes.length;
          yield* until(kernel, () => {
            for (let packet = channel.read(); packet !== undefined; packet = channel.read()) {
              const message = new Message(packet.payload.slice());
              if (random.oneIn(3)) send(channel, random.bytes(random.below(300)));
              const answer = rightAnswer(message);
              for (let flips = random.below(6); flips > 0; flips--) {
                // But for the transaction, so that it counts as an answer.
                const at = HEADER_BYTES + random.below(answer.length - HEADER_BYTES);
                answer[at] ^= 1 << random.below(8);
              }
              if (random.oneIn(3)) answer.set(random.bytes(4), 20);
              const sizeBytes = random.oneIn(3) ? HEADER_BYTES + random.below(answer.length) : answer.length;
              const sent = new Uint8Array(sizeBytes);
              sent.set(answer.subarray(0, sizeBytes));
              new DataView(sent.buffer).setUint32(4, sizeBytes - 8, true);
              send(channel, sent);
            }
            return scene.outcomes.length > before;
          });
          demand(scene.outcomes.length > before, 'a use has no outcome');
        }
        yield* succeeds(scene, channel);
      }),
    ],
  };
}
