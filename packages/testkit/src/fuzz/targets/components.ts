import {
  Component,
  type ComponentDefinition,
  type ComponentServices,
  FileCopyService,
  HeartbeatService,
  IcError,
  KvpService,
  type RootComponent,
  ShutdownService,
  TimeSyncService,
  VssService,
} from '@kensho/integration-services';
import { VmbusServer } from '@kensho/vmbus';
import type { Random } from '../../random.ts';
import { BUS_GUEST_PAGES, BusGuest, type GuestRings } from '../bus-guest.ts';
import * as message from '../channel-messages.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';

const RING_PAGES = 8;
const FIRST_RING_PAGE = BUS_GUEST_PAGES;
const RAM_PAGES = FIRST_RING_PAGE + RING_PAGES;
const GPADL = 9;
const STEPS = 25;

const HEADER_BYTES = 28;
const TRANSACTION_ID = 24;
const FLAGS = 25;
const ANSWER_FLAGS = 5;
const STATUSES = [0, 0, 0, 0x80004005, 0x80070103, 0x80070050, 0x80070070, 1, 0xffffffff];

interface Service {
  readonly component: RootComponent;
  start(): void;
  stop(): Promise<void>;
}

/** The root's end of a component, and what its host may do with it. */
interface Subject {
  readonly definition: ComponentDefinition;
  make(services: ComponentServices, random: Random): Service;
  /** Uses the service in one way or another. */
  use(service: Service, random: Random): Promise<unknown>;
}

const text = (random: Random) => 'x'.repeat(random.below(random.oneIn(20) ? 1100 : 40));

const SUBJECTS: readonly Subject[] = [
  {
    definition: Component.HEARTBEAT,
    make: (services, random) =>
      new HeartbeatService(services, {
        periodMs: 100 + random.below(2000),
        lostAfterMissed: 1 + random.below(4),
      }),
    async use() {},
  },
  {
    definition: Component.SHUTDOWN,
    make: (services) => new ShutdownService(services),
    use: (service, random) =>
      (service as ShutdownService).request({
        action: random.pick(['power-off', 'reboot', 'hibernate'] as const),
        force: random.oneIn(2),
        message: text(random),
        timeoutMs: 1 + random.below(1000),
      }),
  },
  {
    definition: Component.TIME_SYNC,
    make: (services, random) => new TimeSyncService(services, { samplePeriodMs: 100 + random.below(2000) }),
    use: (service) => (service as TimeSyncService).sync(),
  },
  {
    definition: Component.KVP,
    make: (services, random) => new KvpService(services, random.oneIn(2) ? {} : { a: 'b', c: 'd' }),
    use(service, random) {
      const kvp = service as KvpService;
      const pool = random.below(6);
      switch (random.below(6)) {
        case 0:
          return kvp.set(pool, text(random), { type: 'string', value: text(random) });
        case 1:
          return kvp.delete(pool, text(random));
        case 2:
          return kvp.getIpInfo(text(random));
        case 3:
          return kvp.setIpInfo({
            adapterId: text(random),
            family: 3,
            dhcp: random.oneIn(2),
            addresses: [text(random), text(random)],
            subnets: [],
            gateways: [],
            dnsServers: [],
          });
        case 4:
          return kvp.get(pool, text(random));
        default:
          return kvp.enumerate(pool);
      }
    },
  },
  {
    definition: Component.VSS,
    make: (services) => new VssService(services),
    use: (service, random) =>
      (service as VssService).backup(
        async () => {
          if (random.oneIn(3)) throw new IcError('IC_BUSY', 'no space');
        },
        {
          freezeTimeoutMs: 1 + random.below(100),
          maxFrozenMs: 1 + random.below(100),
          signal: random.oneIn(8) ? AbortSignal.abort(new IcError('IC_BUSY', 'given up')) : undefined,
        },
      ),
  },
  {
    definition: Component.FILE_COPY,
    make: (services) => new FileCopyService(services),
    use(service, random) {
      const sizeBytes = random.below(20_000);
      return (service as FileCopyService).copy(
        {
          sizeBytes,
          read(_, target) {
            target.fill(7);
            return random.oneIn(2) ? undefined : Promise.resolve();
          },
        },
        {
          folder: '/tmp',
          name: text(random) || 'a',
          overwrite: random.oneIn(2),
          createPath: random.oneIn(2),
        },
      );
    },
  },
];

/** Answers of any kind to the root's ends of integration components, one target for each. */
export const componentTargets: readonly FuzzTarget[] = SUBJECTS.map((subject) => ({
  id: `ic-${subject.definition.id}`,
  description: `${subject.definition.id}: answers of the guest right and wrong, late, twice and never`,
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => new ComponentCase(subject, memory, random).run() };
  },
}));

class ComponentCase {
  readonly #subject: Subject;
  readonly #random: Random;
  readonly #machine: FuzzMachine;
  readonly #bus: VmbusServer;
  readonly #service: Service;
  readonly #guest: BusGuest;
  #relid = 0;
  #rings!: GuestRings;
  /** Requests in the guest's hands: never more than one. */
  #requests: Uint8Array[] = [];
  #uses = 0;
  #settled = 0;
  #unexpected: Error | undefined;

  constructor(subject: Subject, memory: MachineMemory, random: Random) {
    this.#subject = subject;
    this.#random = random;
    this.#machine = new FuzzMachine({ memory, ramPages: RAM_PAGES });
    const { partition, ports } = this.#machine;
    const { work, timers, counters, faults, logger: log, dma, events } = partition;
    const common = { work, timers, counters, faults, log };
    this.#bus = new VmbusServer({ ...common, ports, dma: dma.attach('vmbus', 'passthrough') });
    const services = { ...common, events, bus: this.#bus, dma: dma.attach('ic', 'passthrough') };
    this.#service = subject.make(services, random);
    this.#service.start();
    this.#guest = new BusGuest(this.#machine);
  }

  async run(): Promise<void> {
    const random = this.#random;
    const machine = this.#machine;
    const [offer] = await this.#guest.connect();
    expectAlways(offer !== undefined, 'the component was not offered');
    this.#relid = message.wordOf(offer, 46);
    await this.#open();
    if (!random.oneIn(8)) await this.#negotiate();
    for (let i = 0; i < STEPS; i++) await this.#step();
    await this.#guest.close(this.#relid, GPADL);
    await this.#rest();
    expectAlways(
      this.#settled === this.#uses,
      () =>
        `${this.#uses - this.#settled} uses of ${this.#uses} have no outcome though the channel is closed`,
    );
    // Whatever went before, a guest that does everything right is served.
    await this.#open();
    await this.#negotiate();
    expectAlways(
      this.#service.component.state === 'ready',
      () => `the component is ${this.#service.component.state} after a right negotiation`,
    );
    await this.#guest.unload();
    await machine.serve(this.#service.stop());
    await machine.serve(this.#bus.stop());
    for (const device of ['ic', 'vmbus']) machine.partition.dma.detach(device);
    await this.#rest();
    machine.end();
    if (this.#unexpected !== undefined) throw this.#unexpected;
  }

  async #step(): Promise<void> {
    const random = this.#random;
    switch (random.below(8)) {
      case 0:
      case 1:
        this.#use();
        break;
      case 2:
        await this.#machine.advance(random.below(random.oneIn(8) ? 50e9 : 500e6));
        break;
      case 3:
        this.#send(random.bytes(random.below(random.oneIn(8) ? 9000 : 100)));
        break;
      default:
        this.#answer();
    }
    await this.#exchange();
  }

  #use(): void {
    this.#uses++;
    this.#subject.use(this.#service, this.#random).then(
      () => this.#settled++,
      (error: Error) => {
        this.#settled++;
        if (!('code' in error)) this.#unexpected ??= error;
      },
    );
  }

  /** Answers what is asked: mostly so that it is taken for an answer. */
  #answer(): void {
    const random = this.#random;
    const request = this.#requests.shift();
    if (request === undefined) return;
    const answer = request.slice();
    answer[FLAGS] = ANSWER_FLAGS;
    answer.set(message.words(random.pick(STATUSES)), 20);
    const { definition } = this.#subject;
    if (definition === Component.HEARTBEAT && random.oneIn(2) && answer.length > HEADER_BYTES)
      answer[HEADER_BYTES]++;
    for (let flips = random.oneIn(3) ? random.below(6) : 0; flips > 0; flips--) {
      answer[random.below(answer.length)] ^= 1 << random.below(8);
    }
    if (random.oneIn(8)) answer[TRANSACTION_ID] += random.below(3);
    if (random.oneIn(8)) {
      const sizeBytes = random.below(2 * answer.length);
      const resized = new Uint8Array(sizeBytes);
      resized.set(answer.subarray(0, sizeBytes));
      if (sizeBytes >= 8 && random.oneIn(2)) resized.set(message.words(sizeBytes - 8), 4);
      this.#send(resized);
    } else {
      this.#send(answer);
    }
    if (random.oneIn(8)) this.#send(answer);
    // One that is spoilt may not have been an answer: a guest may try again.
    if (random.oneIn(2)) this.#requests.push(request);
  }

  #send(payload: Uint8Array): void {
    this.#rings.send(payload, this.#random.oneIn(8) ? this.#random.u32() : 0, this.#random.oneIn(8));
  }

  /** Signals, and takes what the host says. */
  async #exchange(): Promise<void> {
    this.#guest.signal(this.#relid);
    await this.#rest();
    for (let one = this.#rings.receive(); one !== undefined; one = this.#rings.receive()) {
      if (one.completionRequested) expectAlways(false, 'the host asks for a completion');
      if (one.type !== 6) continue;
      const payload = one.payload.slice();
      expectAlways(payload.length >= HEADER_BYTES, () => `a message of ${payload.length} bytes`);
      expectAlways(payload[FLAGS] === 3, () => `a message with flags ${payload[FLAGS]}`);
      // What was answered in some way is no longer the guest's to hold.
      if (this.#requests.length > 1) this.#requests.shift();
      this.#requests.push(payload);
    }
  }

  /** Lets the host's work go on until nothing moves, and promises that users of the service wait for with it. */
  async #rest(): Promise<void> {
    await this.#machine.settle();
    for (let turn = 0; turn < 6 && this.#settled < this.#uses; turn++) await this.#machine.settle();
  }

  async #open(): Promise<void> {
    this.#requests = [];
    this.#rings = await this.#guest.open(this.#relid, GPADL, FIRST_RING_PAGE, RING_PAGES);
    await this.#exchange();
    const [offer] = this.#requests;
    expectAlways(offer !== undefined && message.wordOf(offer, 3) % 2 ** 16 === 0, 'versions are not offered');
  }

  async #negotiate(): Promise<void> {
    const offer = this.#requests.shift() as Uint8Array;
    const { frameworks, versions } = this.#subject.definition;
    const framework = this.#random.pick(frameworks);
    const version = this.#random.pick(versions);
    const answer = offer.slice();
    answer[FLAGS] = ANSWER_FLAGS;
    answer.set([1, 0, 1, 0, 0, 0, 0, 0], HEADER_BYTES);
    answer.set(
      [framework.major, 0, framework.minor, 0, version.major, 0, version.minor, 0],
      HEADER_BYTES + 8,
    );
    this.#rings.send(answer, 0, false);
    await this.#exchange();
  }
}
