import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  type GuestBlockDevice,
  type GuestCpu,
  GuestEvent,
  GuestFault,
  GuestFaults,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
  PAGE_SIZE,
  PageArena,
  silentLogger,
  WorkQueue,
} from '@kensho/core';
import {
  type ChannelEndpoint,
  type GuestBuffer,
  type GuestChannel,
  type GuestVmbusDevice,
  type HostChannel,
  type IncomingPacket,
  type Offer,
  type OfferOptions,
  PacketType,
  type Vmbus,
} from '@kensho/vmbus';

interface Message {
  readonly type: number;
  readonly payload: Uint8Array;
  readonly id: number;
  readonly completionRequested: boolean;
  readonly buffers: readonly GuestBuffer[];
}

/** Both ends of one channel, with the rings' signalling rules: a signal only where the ring was empty. */
class FakeChannel {
  readonly toHost: Message[] = [];
  readonly toGuest: Message[] = [];
  readonly host: HostChannel;
  readonly guest: GuestChannel;
  closed = false;
  /** Set when the host's end is through with the channel. */
  readonly closedByHost = new GuestEvent();

  constructor(machine: FakeGuest, subChannelIndex: number, endpoint: ChannelEndpoint) {
    let unsent: Message[] = [];
    let interruptDue = false;
    let ringingHost = false;
    const readable = new GuestEvent();
    const put = (message: Message) => {
      if (this.toHost.length + unsent.length >= machine.ringPackets) return false;
      unsent.push(message);
      return true;
    };
    const answer = (message: Message) => {
      const wasEmpty = this.toGuest.length === 0;
      this.toGuest.push(message);
      if (!wasEmpty || interruptDue) return;
      interruptDue = true;
      machine.work.defer(() => {
        interruptDue = false;
        machine.interrupts++;
        readable.set();
      });
    };
    const writable = new GuestEvent();
    this.guest = {
      relid: 1,
      subChannelIndex,
      readable,
      writable,
      read: () => incoming(this.toGuest),
      trySend: (payload, id, completionRequested) =>
        put({ type: PacketType.IN_BAND, payload: payload.slice(), id, completionRequested, buffers: [] }),
      trySendBuffers: (payload, buffers, id) =>
        put({
          type: PacketType.GPA_DIRECT,
          payload: payload.slice(),
          id,
          completionRequested: true,
          buffers: [...buffers],
        }),
      tryComplete: () => true,
      flush: () => {
        const wasEmpty = this.toHost.length === 0;
        this.toHost.push(...unsent);
        const any = unsent.length > 0;
        unsent = [];
        if (!any || !wasEmpty || ringingHost) return;
        ringingHost = true;
        machine.signals++;
        machine.work.defer(() => {
          ringingHost = false;
          if (!this.closed) endpoint.ready(this.host);
          writable.set();
        });
      },
      createGpadl: refuse,
      tearDownGpadl: refuse,
      // As the bus does: the host is through with the channel's memory once this ends.
      close: () => this.#close(machine),
    };
    this.host = {
      relid: 1,
      subChannelIndex,
      openData: new Uint8Array(120),
      read: () => incoming(this.toHost),
      complete: (id, _high, payload) =>
        answer({
          type: PacketType.COMPLETION,
          payload: payload.slice(),
          id,
          completionRequested: false,
          buffers: [],
        }),
      send: (payload) =>
        answer({
          type: PacketType.IN_BAND,
          payload: payload.slice(),
          id: 0,
          completionRequested: false,
          buffers: [],
        }),
      sendTransferPages: () => {
        throw new Error('storage has no transfer pages');
      },
      gpadl: () => undefined,
    };
  }

  *#close(machine: FakeGuest): GuestTask {
    yield* this.closedByHost.wait();
    machine.closedChannels++;
  }
}

function* refuse(): GuestTask<never> {
  throw new Error('storage registers no memory');
}

function incoming(queue: Message[]): IncomingPacket | undefined {
  const message = queue.shift();
  if (message === undefined) return undefined;
  const pages = message.buffers.flatMap((buffer) => buffer.pages);
  let firstPage = 0;
  return {
    type: message.type,
    completionRequested: message.completionRequested,
    transactionIdLo: message.id,
    transactionIdHi: 0,
    payload: message.payload,
    ranges: message.buffers.map((buffer) => {
      const range = { offset: buffer.offset, sizeBytes: buffer.sizeBytes, firstPage };
      firstPage += buffer.pages.length;
      return range;
    }),
    rangeCount: message.buffers.length,
    pages: Float64Array.from(pages),
    transferSetId: 0,
    malformed: false,
  };
}

/** A guest, a bus and a host in one place: enough for a VSC and a VSP to meet. */
export class FakeGuest {
  readonly work = new WorkQueue({ nowNs: () => 0, virtual: false });
  readonly counters = new Counters();
  readonly faults = new GuestFaults(this.counters, silentLogger);
  readonly disks: GuestBlockDevice[] = [];
  readonly lines: string[] = [];
  readonly kernel: GuestKernel;
  readonly bus: Vmbus;
  readonly dma: DmaDomain;
  readonly device: GuestVmbusDevice;
  /** Packets that the ring to the host holds. */
  ringPackets = 1000;
  signals = 0;
  interrupts = 0;
  closedChannels = 0;
  released = false;
  /** The host refuses to open channels. */
  refusing = false;
  #ready: GuestTask[] = [];
  #offer: { options: OfferOptions; endpoint: ChannelEndpoint } | undefined;
  readonly #channels: FakeChannel[] = [];
  readonly #rescinded = new GuestEvent();
  #isRescinded = false;
  #subChannels = 0;

  constructor() {
    const pageCount = 1024;
    const arena = PageArena.allocate(pageCount);
    const gpa = new GpaSpace(arena);
    gpa.map(0, arena.take(pageCount), pageCount, GpaAccess.ALL);
    this.dma = new DmaDomain('scsi0', 'passthrough', gpa, this.counters, this.faults);
    let nextPage = 0;
    this.kernel = {
      // Storage executes no instruction of its own.
      cpu: undefined as unknown as GuestCpu,
      allocate: (sizeBytes: number): GuestPages => {
        const count = Math.ceil(sizeBytes / PAGE_SIZE);
        const first = nextPage;
        nextPage += count;
        return {
          gpa: first * PAGE_SIZE,
          sizeBytes: count * PAGE_SIZE,
          pages: Array.from({ length: count }, (_, i) => first + i),
          bytes: arena.bytes.subarray(first * PAGE_SIZE, nextPage * PAGE_SIZE),
          free: () => {},
        };
      },
      spawn: (_name, task) => {
        this.#ready.push(task);
      },
      connectInterrupt: () => {},
      *sleep() {},
      nowNs: () => 0,
      print: (line) => this.lines.push(line),
      publish: (_class, device) => {
        this.disks.push(device as unknown as GuestBlockDevice);
      },
      withdraw: (_class, device) => {
        this.disks.splice(this.disks.indexOf(device as unknown as GuestBlockDevice), 1);
      },
    };
    this.bus = {
      offer: (options, endpoint): Offer => {
        this.#offer = { options, endpoint };
        return {
          offerSubChannels: (count) => {
            this.#subChannels += count;
            return count;
          },
          revoke: () => this.#revoke(),
        };
      },
    };
    const machine = this;
    this.device = {
      interfaceId: '',
      instanceId: '',
      userData: new Uint8Array(0),
      rescinded: this.#rescinded,
      get isRescinded() {
        return machine.#isRescinded;
      },
      *open() {
        if (machine.refusing) throw new GuestFault('the host refuses the channel');
        return machine.#open(0);
      },
      *openSubChannels(count) {
        if (machine.#subChannels < count) throw new GuestFault('the host offered fewer sub-channels');
        return Array.from({ length: count }, (_, i) => machine.#open(i + 1));
      },
      release() {
        machine.released = true;
      },
    };
  }

  /** Runs tasks and host work in turns until nothing moves; `task` is spawned first. Throws what a task throws. */
  async run(task?: GuestTask): Promise<void> {
    if (task !== undefined) this.#ready.push(task);
    for (let idle = 0; idle < 20; idle++) {
      while (this.#ready.length > 0) {
        idle = 0;
        const batch = this.#ready;
        this.#ready = [];
        for (const one of batch) this.#step(one);
      }
      // As in the run loop: the VP has halted, so the host's turn comes.
      if (this.work.ready) idle = 0;
      this.work.run();
      await Promise.resolve();
    }
  }

  #step(task: GuestTask): void {
    const { done, value } = task.next();
    if (done === true) return;
    if (value === undefined) this.#ready.push(task);
    else value.subscribe(() => this.#ready.push(task));
  }

  #open(subChannelIndex: number): GuestChannel {
    const { endpoint } = this.#offer as { endpoint: ChannelEndpoint };
    const channel = new FakeChannel(this, subChannelIndex, endpoint);
    endpoint.open(channel.host);
    this.#channels.push(channel);
    return channel.guest;
  }

  async #revoke(): Promise<void> {
    this.#isRescinded = true;
    this.#rescinded.set();
    for (const channel of this.#channels) {
      channel.closed = true;
      await this.#offer?.endpoint.close(channel.host);
      channel.closedByHost.set();
    }
  }
}
