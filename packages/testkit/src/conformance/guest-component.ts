import {
  DEVICES,
  type Device,
  type DeviceSpec,
  DMA,
  definePlugin,
  type Guid,
  type HostedPartition,
  type Plugin,
  TIMERS,
} from '@kensho/core';
import { type HostChannel, type Offer, VMBUS, type VscDriver, vmbusPlugin } from '@kensho/vmbus';
import { Random } from '../random.ts';
import { type ConformanceCase, ConformanceError, type ConformanceSuite, demand } from './case.ts';
import { guestCase } from './guest-case.ts';
import { HEADER_BYTES, Message, RESPONSE, TRANSACTION } from './ic-message.ts';

/** The guest's end of an integration component as the suite examines it: in a kit guest, from the host's end. */
export interface GuestComponentSubject {
  readonly name: string;
  /** Makes the guest's end for each run. */
  vsc(): VscDriver;
  readonly interfaceId: Guid;
  /** Type of its messages. */
  readonly messageType: number;
  /** The versions that it knows, as `major.minor`, newest first. */
  readonly frameworks: readonly string[];
  readonly versions: readonly string[];
  /** The body of a request of that version, which the guest carries out as often as it comes. */
  request(version: string): Uint8Array;
  /** Throws where a body is no right answer to the request's. @default any is */
  check?(answer: Uint8Array, request: Uint8Array): void;
}

/** Steps of guest time that an answer may take. */
const PATIENCE_STEPS = 5000;
const STEP_NS = 1e5;
const MEMORY_BYTES = 4 * 1024 * 1024;
/** Often enough that two pages forgotten each time fill the guest's memory. */
const REPLACEMENTS = 500;
const UNKNOWN = '99.9';
const DEVICE: DeviceSpec = { kind: 'conformance-component', id: 'component' };

/** What the guest's end of every integration component must do and stand. */
export function guestComponentConformance(subject: GuestComponentSubject): ConformanceSuite {
  const { frameworks, versions, messageType: type } = subject;
  const withHost = (name: string, body: (host: HostSide) => Promise<void>): ConformanceCase =>
    guestCase(name, () => {
      let done = false;
      const panic = Promise.withResolvers<never>();
      panic.promise.catch(() => {});
      return {
        plugins: [vmbusPlugin, hostEnd(subject.interfaceId)],
        devices: [DEVICE],
        drivers: { vscs: [subject.vsc()] },
        memoryBytes: MEMORY_BYTES,
        *main(kernel) {
          kernel.print('up');
          while (!done) yield* kernel.sleep(STEP_NS);
        },
        async onLine(line, partition) {
          // A guest that panics is not waited for.
          if (line.startsWith('panic:')) panic.reject(new ConformanceError(line));
          if (line !== 'up') return;
          await Promise.race([body(new HostSide(partition)), panic.promise]);
          done = true;
        },
      };
    });
  const checkAnswer = (answer: Message, request: Message) => {
    const { id, flags, framework, version } = answer;
    demand(id === request.id, `an answer to ${id}, and not to ${request.id}`);
    demand(flags === (TRANSACTION | RESPONSE), `an answer with flags ${flags}`);
    demand(answer.type === request.type, `an answer of type ${answer.type} to one of ${request.type}`);
    demand(
      framework === request.framework && version === request.version,
      `an answer of version ${version} in framework ${framework}`,
    );
  };
  const negotiate = async (host: HostSide, offered = frameworks, versionsOffered = versions) => {
    const offer = Message.offer(0, offered, versionsOffered);
    const answer = await host.ask(offer);
    checkAnswer(answer, offer);
    return answer.offered();
  };
  const requestOf = (id: number, version = versions[0], framework = frameworks[0]) =>
    Message.request({ type, id, framework, version, body: subject.request(version) });
  const checkSuccess = (answer: Message, request: Message) => {
    checkAnswer(answer, request);
    demand(answer.bodyIsWhole, 'an answer whose header says another size than its packet');
    demand(answer.status === 0, `an answer with status 0x${answer.status.toString(16)}`);
    subject.check?.(answer.body, request.body);
  };
  const succeeds = async (host: HostSide, request = requestOf(1)) =>
    checkSuccess(await host.ask(request), request);

  return {
    name: `integration component in the guest conformance: ${subject.name}`,
    cases: [
      withHost('waits for the host to begin', async (host) => {
        await host.opened();
        await host.pass(100);
        demand(host.received.length === 0, 'a message before the host sent one');
      }),
      ...frameworks.flatMap((framework) =>
        versions.map((version) =>
          withHost(`works with framework ${framework} and version ${version}`, async (host) => {
            await host.opened();
            const chosen = await negotiate(host, [UNKNOWN, framework], [UNKNOWN, version]);
            demand(
              String(chosen.frameworks) === framework && String(chosen.versions) === version,
              `it chose framework ${chosen.frameworks} and version ${chosen.versions}`,
            );
            await succeeds(host, requestOf(1, version, framework));
          }),
        ),
      ),
      withHost('chooses the newest that both know, in whatever order they are offered', async (host) => {
        await host.opened();
        const chosen = await negotiate(host, [...frameworks].reverse(), [...versions].reverse());
        demand(
          String(chosen.frameworks) === frameworks[0] && String(chosen.versions) === versions[0],
          `it chose framework ${chosen.frameworks} and version ${chosen.versions}`,
        );
      }),
      withHost('agrees to nothing that it does not know', async (host) => {
        for (const [framework, version] of [
          [UNKNOWN, versions[0]],
          [frameworks[0], UNKNOWN],
        ]) {
          await host.opened();
          const chosen = await negotiate(host, [framework], [version]);
          demand(
            chosen.frameworks.length === 0 || chosen.versions.length === 0,
            `it chose framework ${chosen.frameworks} and version ${chosen.versions}`,
          );
          await host.replace();
        }
      }),
      withHost('refuses what is another component’s', async (host) => {
        await host.opened();
        await negotiate(host);
        const other = Message.request({ type: 0x55, id: 9, body: subject.request(versions[0]) });
        const answer = await host.ask(other);
        demand(answer.id === 9 && answer.status !== 0, 'it carries out what is not for it');
        await succeeds(host);
      }),
      withHost('answers each request once, in order', async (host) => {
        await host.opened();
        await negotiate(host);
        const requests = [7, 3, 255, 4].map((id) => requestOf(id));
        for (const request of requests) host.send(request.bytes);
        for (const request of requests) checkSuccess(await host.next(), request);
        await host.pass(100);
        demand(host.received.length === 0, 'a second answer');
      }),
      withHost('stands messages of any size and content, and answers none of them twice', async (host) => {
        const random = new Random(5);
        await host.opened();
        await negotiate(host);
        for (let i = 0; i < 200; i++) {
          const { bytes } = random.oneIn(4) ? Message.offer(i, frameworks, versions) : requestOf(i);
          for (let flips = random.below(8); flips > 0; flips--)
            bytes[random.below(Math.min(bytes.length, 2 * HEADER_BYTES))] ^= 1 << random.below(8);
          const sizeBytes = random.oneIn(3) ? random.below(bytes.length) : bytes.length;
          if (random.oneIn(3) && sizeBytes >= 8) new DataView(bytes.buffer).setUint32(4, sizeBytes - 8, true);
          host.send(bytes.subarray(0, sizeBytes));
          await host.pass(1);
          demand(host.received.length <= 1, 'more than one answer to a message');
          host.received.length = 0;
        }
        await negotiate(host);
        await succeeds(host);
      }),
      withHost(`lets go of a device that is taken away, ${REPLACEMENTS} times`, async (host) => {
        for (let i = 0; i < REPLACEMENTS; i++) {
          await host.opened();
          host.send(Message.offer(0, frameworks, versions).bytes);
          host.send(requestOf(1).bytes);
          await host.replace();
        }
        await host.opened();
        await negotiate(host);
        await succeeds(host);
      }),
    ],
  };
}

/** What a case does at the host. */
class HostSide {
  readonly #partition: HostedPartition;

  constructor(partition: HostedPartition) {
    this.#partition = partition;
  }

  get #end(): HostEnd {
    return this.#partition.device(DEVICE.id) as HostEnd;
  }

  /** What the guest sent and nobody took. */
  get received(): Uint8Array[] {
    return this.#end.received;
  }

  /** Waits until the guest has opened the channel. */
  async opened(): Promise<void> {
    await this.#until(() => this.#end.channel !== undefined, 'the guest does not open the channel');
  }

  send(bytes: Uint8Array): void {
    demand(this.#end.channel !== undefined, 'the guest closed the channel');
    this.#end.channel.send(bytes);
  }

  async next(): Promise<Message> {
    await this.#until(() => this.received.length > 0, 'the guest does not answer');
    return new Message(this.received.shift() as Uint8Array);
  }

  async ask(message: Message): Promise<Message> {
    this.send(message.bytes);
    return await this.next();
  }

  /** Takes the device away and adds it again. */
  async replace(): Promise<void> {
    await this.#partition.removeDevice(DEVICE.id);
    await this.#partition.addDevice(DEVICE);
  }

  /** Gives the guest time. */
  async pass(steps: number): Promise<void> {
    const timers = this.#partition.services.resolve(TIMERS);
    await new Promise<void>((resolve) => {
      timers.at(timers.clock.nowNs() + steps * STEP_NS, () => resolve());
    });
  }

  async #until(condition: () => boolean, complaint: string): Promise<void> {
    for (let i = 0; !condition(); i++) {
      demand(i < PATIENCE_STEPS, complaint);
      await this.pass(1);
    }
  }
}

/** The host's end of the channel: keeps what comes. */
class HostEnd implements Device {
  readonly received: Uint8Array[] = [];
  channel: HostChannel | undefined;
  readonly #offer: Offer;
  readonly #detach: () => void;

  constructor(offer: (end: HostEnd) => Offer, detach: () => void) {
    this.#offer = offer(this);
    this.#detach = detach;
  }

  async stop(): Promise<void> {
    await this.#offer.revoke();
    this.#detach();
  }
}

function hostEnd(interfaceId: Guid): Plugin {
  return definePlugin({
    id: '@kensho/testkit/component',
    needs: [VMBUS],
    register(context) {
      context.contribute(DEVICES, {
        id: DEVICE.kind,
        description: 'the host’s end of an integration component, as a conformance suite has it',
        path: 'enlightened',
        create(partition, { id }) {
          const bus = partition.resolve(VMBUS);
          const remapping = partition.resolve(DMA);
          const dma = remapping.attach(id, 'passthrough');
          const instanceId = '3d2bd1f6-0f3c-4f3e-9d27-6a5b1f0c7e11';
          const offer = (end: HostEnd) =>
            bus.offer(
              { name: id, interfaceId, instanceId, dma, pipe: true },
              {
                open(channel) {
                  end.channel = channel;
                },
                ready(channel) {
                  for (let packet = channel.read(); packet !== undefined; packet = channel.read())
                    end.received.push(packet.payload.slice());
                },
                close() {
                  end.channel = undefined;
                },
              },
            );
          return new HostEnd(offer, () => remapping.detach(id));
        },
      });
    },
  });
}
