import {
  type BusChannel,
  CHANNEL_MESSAGES,
  ChannelMessageType,
  ControlPlane,
  type ControlPlaneEffects,
  type GpadlEntry,
  type OpenRequest,
  VMBUS_VERSIONS,
} from '@kensho/vmbus';
import type { Random } from '../../random.ts';
import * as message from '../channel-messages.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const ACTIONS = 40;
const DEVICES = 3;
const VPS = 2;
const SINTS = 16;
const LIMITS = { perChannel: 4, total: 8, inFlight: 3, pages: 150 };
const HANDLES = 6;
const MAX_MESSAGE_BYTES = 240;
const OLDEST_VERSION = VMBUS_VERSIONS[VMBUS_VERSIONS.length - 1];
const INTERFACE_ID = '6f1e2d3c-0000-4000-8000-0123456789ab';

/** Messages of a guest in any order and shape, while the host offers, revokes and closes as it likes. */
export const busTarget: FuzzTarget = {
  id: 'bus',
  description: 'channel messages to the control plane of VMBus, with offers that come and go',
  corpus: [
    // A channel released while the teardown of its GPADL waits for its device to close.
    1841125396,
  ],
  create: () => ({ run: (random) => new BusCase(random).run() }),
};

/** A question of the guest's that must be answered once, unless the connection ends before. */
interface Question {
  readonly type: number;
  /** The answer's words from 2 on. */
  readonly key: string;
}

/** Answers that a guest waits for, and which of their words say what they answer. */
const ANSWERS: ReadonlyMap<number, readonly number[]> = new Map([
  [ChannelMessageType.OPENCHANNEL_RESULT, [2, 3]],
  [ChannelMessageType.GPADL_TORNDOWN, [2]],
  [ChannelMessageType.VERSION_RESPONSE, []],
  [ChannelMessageType.UNLOAD_RESPONSE, []],
]);

class BusCase implements ControlPlaneEffects {
  readonly #random: Random;
  readonly #control: ControlPlane;
  /** Devices that were offered and not revoked, and everything of theirs. */
  readonly #primaries = new Set<BusChannel>();
  readonly #channels = new Set<BusChannel>();
  /** Open in the model: what a device would be using. */
  readonly #open = new Map<BusChannel, OpenRequest>();
  readonly #closing = new Map<BusChannel, OpenRequest>();
  readonly #gpadls = new Map<number, GpadlEntry<BusChannel>>();
  /** Handles of which a header was posted: their bodies may still be to come. */
  readonly #begun = new Set<number>();
  #pages = 0;
  readonly #revoked = new Set<BusChannel>();
  readonly #sent: Uint8Array[] = [];
  #questions: Question[] = [];
  #hasTarget = false;
  /** Set while the case asks for a sound ending: devices open what they are asked to. */
  #obliging = false;
  #deviceNumber = 0;

  constructor(random: Random) {
    this.#random = random;
    this.#control = new ControlPlane(this, {
      gpadlLimits: LIMITS,
      maxVersion: random.oneIn(4) ? random.pick(VMBUS_VERSIONS) : undefined,
    });
  }

  run(): void {
    for (let i = 0; i < DEVICES; i++) this.#offer();
    if (!this.#random.oneIn(8)) this.#connect(this.#random.pick(VMBUS_VERSIONS));
    for (let i = 0; i < ACTIONS; i++) {
      if (this.#random.oneIn(5)) this.#hostActs();
      else this.#guestActs();
      this.#checkLimits();
    }
    this.#finish();
  }

  // The effects, each held against what the device or the guest knows.

  send(sent: Uint8Array): void {
    expectAlways(this.#hasTarget, 'a message was sent before any guest made contact');
    expectAlways(
      sent.length >= 8 && sent.length <= MAX_MESSAGE_BYTES,
      () => `a message of ${sent.length} bytes`,
    );
    const rule = CHANNEL_MESSAGES.get(message.wordOf(sent, 0));
    expectAlways(rule?.sender === 'host', 'the host sent what only guests send');
    expectAlways(sent.length === rule.struct.sizeBytes, () => `${rule.name} of ${sent.length} bytes`);
    expectAlways(
      rule.minimumVersion <= this.#control.version,
      () => `${rule.name} was sent to a guest of version ${this.#control.version.toString(16)}`,
    );
    this.#sent.push(sent);
    this.#answer(rule.type, sent);
  }

  setMessageTarget(vpIndex: number, sint: number): boolean {
    const known = vpIndex < VPS && sint < SINTS;
    if (known) this.#hasTarget = true;
    return known;
  }

  setInterruptPage(gpa: bigint | undefined): void {
    expectAlways(
      gpa === undefined || this.#control.version !== 0,
      'a page of a guest that is not connected is used',
    );
  }

  openChannel(channel: BusChannel, request: OpenRequest): boolean {
    expectAlways(!this.#open.has(channel), 'an open channel was opened');
    expectAlways(!this.#anyClosing(channel), 'a channel was opened while its device was closing');
    expectAlways(!this.#revoked.has(channel.primary), 'a channel of a revoked device was opened');
    const gpadl = this.#gpadls.get(request.ringGpadl);
    expectAlways(gpadl?.owner === channel, 'a channel was opened with a ring that is not its own');
    const pages = request.ring.pages.length;
    expectAlways(
      request.ring.sizeBytes === pages * 4096 && request.ring.offset === 0,
      'a ring has parts of pages',
    );
    expectAlways(
      request.downstreamPageOffset >= 2 && request.downstreamPageOffset <= pages - 2,
      'one of the two rings has no data page',
    );
    // A device may be taken away by its own opening.
    if (!this.#obliging && this.#random.oneIn(24)) this.#revoke(channel.primary);
    if (!this.#obliging && this.#random.oneIn(6)) return false;
    this.#open.set(channel, request);
    return true;
  }

  closeChannel(channel: BusChannel): void {
    const request = this.#open.get(channel);
    expectAlways(request !== undefined, 'a channel that is not open was closed');
    this.#open.delete(channel);
    this.#closing.set(channel, request);
    if (this.#random.oneIn(3)) this.#finishClose(channel);
  }

  setTargetVp(channel: BusChannel, vpIndex: number): boolean {
    expectAlways(this.#open.has(channel), 'the interrupts of a channel that is not open were moved');
    return vpIndex < VPS;
  }

  gpadlCreated(gpadl: GpadlEntry<BusChannel>): void {
    expectAlways(!this.#gpadls.has(gpadl.handle), 'a GPADL was made twice');
    expectAlways(gpadl.ranges !== undefined, 'a GPADL without ranges was made');
    for (const { offset, sizeBytes, pages } of gpadl.ranges) {
      expectAlways(offset < 4096 && sizeBytes > 0, 'a range that is not one');
      expectAlways(pages.length * 4096 >= offset + sizeBytes, 'a range is longer than its pages');
      this.#pages += pages.length;
    }
    this.#gpadls.set(gpadl.handle, gpadl);
  }

  gpadlTornDown(gpadl: GpadlEntry<BusChannel>): void {
    const { handle, owner, ranges = [] } = gpadl;
    expectAlways(this.#gpadls.get(handle) === gpadl, 'a GPADL that is not there was torn down');
    const inUse = [...this.#open, ...this.#closing].some(
      ([channel, request]) => channel === owner && request.ringGpadl === handle,
    );
    expectAlways(!inUse, 'the memory of a ring in use was given back');
    expectAlways(!this.#anyClosing(owner), 'memory was given back while its device was closing');
    this.#gpadls.delete(handle);
    for (const { pages } of ranges) this.#pages -= pages.length;
  }

  channelRevoked(channel: BusChannel): void {
    expectAlways(
      channel.revoked && !this.#revoked.has(channel),
      'a channel was taken away twice, or unasked',
    );
    expectAlways(!this.#open.has(channel) && !this.#closing.has(channel), 'a channel in use was taken away');
    this.#revoked.add(channel);
    this.#channels.delete(channel);
  }

  fault(kind: string): void {
    expectAlways(/^vmbus(\.[a-z]+)+$/.test(kind), () => `fault kind ${kind}`);
  }

  // What happens in a case.

  #guestActs(): void {
    const random = this.#random;
    switch (random.below(14)) {
      case 0:
        if (random.oneIn(4)) this.#connect(mostly(random, () => random.pick(VMBUS_VERSIONS)));
        else this.#receive(message.requestOffers());
        return;
      case 1:
      case 2:
      case 3:
        this.#registerMemory();
        return;
      case 4:
      case 5:
      case 6:
        this.#requestOpen();
        return;
      case 7:
        this.#receive(message.closeChannel(this.#relid()));
        return;
      case 8:
        this.#teardown();
        return;
      case 9:
        this.#receive(message.modifyChannel(this.#relid(), random.below(VPS + 1)));
        return;
      case 10:
        this.#receive(message.relidReleased(this.#relid()));
        return;
      case 11:
        if (random.oneIn(4)) this.#receive(message.unload());
        else this.#receive(message.requestOffers());
        return;
      case 12:
        this.#receive(random.bytes(random.below(MAX_MESSAGE_BYTES + 1)));
        return;
      default: {
        // Something of a known type, of any length and with any fields.
        const nonsense = random.bytes(8 + random.below(MAX_MESSAGE_BYTES - 7));
        nonsense.set(message.words(random.below(26), 0));
        for (let at = 8; at + 4 <= nonsense.length && at < 28; at += 4) {
          nonsense.set(message.words(random.below(HANDLES + 1)), at);
        }
        this.#receive(nonsense);
      }
    }
  }

  #hostActs(): void {
    const random = this.#random;
    switch (random.below(5)) {
      case 0:
        if (this.#primaries.size < DEVICES + 2) this.#offer();
        return;
      case 1:
        if (this.#primaries.size > 0 && random.oneIn(3)) this.#revoke(random.pick([...this.#primaries]));
        return;
      case 2: {
        if (this.#primaries.size === 0) return;
        const sub = this.#control.offerSubChannel(random.pick([...this.#primaries]));
        if (sub !== undefined) this.#channels.add(sub);
        return;
      }
      default:
        if (this.#closing.size > 0) this.#finishClose(random.pick([...this.#closing.keys()]));
    }
  }

  #offer(): void {
    const instance = (this.#deviceNumber++ % 4).toString(16).padStart(12, '0');
    const description = {
      interfaceId: INTERFACE_ID,
      instanceId: `00000000-0000-4000-8000-${instance}`,
      flags: 1,
      mmioMegabytes: 0,
      userData: new Uint8Array(120),
      order: this.#random.below(3),
    };
    const taken = [...this.#primaries].some(
      (other) => other.description.instanceId === description.instanceId,
    );
    if (taken) return;
    const channel = this.#control.offer(description);
    this.#primaries.add(channel);
    this.#channels.add(channel);
  }

  #revoke(primary: BusChannel): void {
    this.#primaries.delete(primary);
    this.#control.revoke(primary);
  }

  #finishClose(channel: BusChannel): void {
    this.#closing.delete(channel);
    this.#control.closeFinished(channel);
  }

  #connect(version: number): void {
    const random = this.#random;
    const vp = mostly(random, () => random.below(VPS));
    const sint = mostly(random, () => 2) & 0xff;
    this.#receive(message.initiateContact(version, vp, sint));
    if (random.oneIn(8)) return;
    this.#receive(message.requestOffers());
  }

  #registerMemory(): void {
    const random = this.#random;
    const pageCount = random.oneIn(6) ? random.below(170) : 4 + random.below(30);
    const pages = Array.from({ length: pageCount }, () => random.below(1 << 20));
    const messages = message.gpadlMessages(this.#relid(), this.#handle(), pages);
    if (random.oneIn(5)) {
      const one = random.pick(messages);
      one[random.below(one.length)] = random.u32();
    }
    for (const [i, part] of messages.entries()) {
      // A body may be lost, cut short, or come twice.
      if (i > 0 && random.oneIn(40)) continue;
      this.#receive(random.oneIn(40) ? part.subarray(0, random.below(part.length + 1)) : part);
      if (random.oneIn(40)) this.#receive(part);
    }
  }

  #requestOpen(): void {
    const random = this.#random;
    const { relid, handle } = this.#someMemory();
    const downstreamPage = mostly(random, () => 2);
    const openId = random.below(1000);
    if (this.#control.version !== 0) {
      this.#questions.push({ type: ChannelMessageType.OPENCHANNEL_RESULT, key: `${relid} ${openId}` });
    }
    this.#receive(message.openChannel(relid, openId, handle, random.below(VPS + 1), downstreamPage));
  }

  /** A GPADL that is there, with the channel that it is for; or two numbers that need not go together. */
  #someMemory(): { readonly relid: number; readonly handle: number } {
    const random = this.#random;
    if (this.#gpadls.size === 0 || random.oneIn(5)) return { relid: this.#relid(), handle: this.#handle() };
    const { owner, handle } = random.pick([...this.#gpadls.values()]);
    return { relid: owner.relid, handle };
  }

  #teardown(): void {
    const { relid, handle } = this.#someMemory();
    const gpadl = this.#gpadls.get(handle);
    // Through another channel, or for the second time, it is refused without an answer.
    const answered = gpadl === undefined || (gpadl.owner.relid === relid && !gpadl.tearingDown);
    const mayBeInParts = gpadl === undefined && this.#begun.has(handle);
    if (this.#control.version !== 0 && answered && !mayBeInParts) {
      this.#questions.push({ type: ChannelMessageType.GPADL_TORNDOWN, key: `${handle}` });
    }
    this.#receive(message.gpadlTeardown(relid, handle));
  }

  #receive(received: Uint8Array): void {
    // The bus hands its messages over; a later change of the guest's must not matter.
    const copy = received.slice();
    const type = received.length < 8 ? 0 : message.wordOf(received, 0);
    if (type === ChannelMessageType.GPADL_HEADER && received.length >= 20) {
      this.#begun.add(message.wordOf(received, 3));
    } else if (type === ChannelMessageType.INITIATE_CONTACT && received.length >= 40) {
      // Who makes contact or unloads waits for nothing that was asked before.
      this.#questions = [{ type: ChannelMessageType.VERSION_RESPONSE, key: '' }];
    } else if (type === ChannelMessageType.UNLOAD && this.#control.version !== 0) {
      this.#questions = [{ type: ChannelMessageType.UNLOAD_RESPONSE, key: '' }];
    }
    this.#control.receive(copy);
    copy.fill(0xee);
    // With a channel that the guest releases go its GPADLs: nobody waits for them any more.
    if (type === ChannelMessageType.RELID_RELEASED) this.#forgetReleased();
  }

  #forgetReleased(): void {
    this.#questions = this.#questions.filter(({ type, key }) => {
      return type !== ChannelMessageType.GPADL_TORNDOWN || this.#gpadls.get(Number(key))?.owner.relid !== 0;
    });
  }

  #answer(type: number, sent: Uint8Array): void {
    const fields = ANSWERS.get(type);
    if (fields === undefined) return;
    const key = fields.map((index) => message.wordOf(sent, index)).join(' ');
    const at = this.#questions.findIndex((question) => question.type === type && question.key === key);
    if (at >= 0) this.#questions.splice(at, 1);
  }

  #relid(): number {
    const random = this.#random;
    if (random.oneIn(12)) return edgeValue(random);
    const known = [...this.#channels].filter(({ relid }) => relid !== 0);
    return known.length > 0 ? random.pick(known).relid : random.below(4);
  }

  #handle(): number {
    return mostly(this.#random, () => 1 + this.#random.below(HANDLES), 20);
  }

  #anyClosing(channel: BusChannel): boolean {
    return [...this.#closing.keys()].some((other) => other.primary === channel.primary);
  }

  #checkLimits(): void {
    expectAlways(this.#gpadls.size <= LIMITS.total, () => `${this.#gpadls.size} GPADLs`);
    expectAlways(this.#pages <= LIMITS.pages, () => `GPADLs of ${this.#pages} pages`);
  }

  /** Whatever went before: devices close, the guest unloads, connects anew, and finds everything as it should be. */
  #finish(): void {
    this.#obliging = true;
    this.#finishCloses();
    // The memory of a ring is given back once its channel is closed, not before.
    const rings = [...this.#open.values()].map(({ ringGpadl }) => `${ringGpadl}`);
    const waiting = this.#questions.find(
      ({ type, key }) => type !== ChannelMessageType.GPADL_TORNDOWN || !rings.includes(key),
    );
    expectAlways(
      waiting === undefined,
      () => `the guest waits for ever: ${CHANNEL_MESSAGES.get(waiting?.type ?? 0)?.name} ${waiting?.key}`,
    );
    this.#sent.length = 0;
    this.#receive(message.initiateContact(OLDEST_VERSION, 0, 0));
    this.#finishCloses();
    this.#receive(message.unload());
    this.#finishCloses();
    expectAlways(this.#open.size === 0, 'channels are open after the guest has gone');
    expectAlways(this.#gpadls.size === 0 && this.#pages === 0, 'GPADLs are left after the guest has gone');
    expectAlways(
      this.#sent.some((sent) => message.wordOf(sent, 0) === ChannelMessageType.UNLOAD_RESPONSE),
      'an unload was not answered',
    );
    this.#sent.length = 0;
    this.#receive(message.initiateContact(OLDEST_VERSION, 0, 0));
    this.#receive(message.requestOffers());
    const types = this.#sent.map((sent) => message.wordOf(sent, 0));
    const expected = [
      ChannelMessageType.VERSION_RESPONSE,
      ...Array.from(this.#primaries, () => ChannelMessageType.OFFERCHANNEL),
      ChannelMessageType.ALLOFFERS_DELIVERED,
    ];
    expectAlways(
      types.join() === expected.join(),
      () => `a new guest is sent ${types.join()}, not ${expected.join()}`,
    );
    this.#openAll();
    for (const primary of [...this.#primaries]) this.#revoke(primary);
    this.#finishCloses();
    expectAlways(this.#open.size === 0, 'a channel of a revoked device is open');
    for (const channel of this.#channels) {
      expectAlways(channel.primary !== channel, 'a device was revoked, and still is there');
    }
  }

  #finishCloses(): void {
    while (this.#closing.size > 0) this.#finishClose([...this.#closing.keys()][0]);
  }

  /** Each device can be opened by a guest that does everything right. */
  #openAll(): void {
    let handle = 100;
    for (const primary of this.#primaries) {
      if (this.#gpadls.size >= LIMITS.total) return;
      for (const part of message.gpadlMessages(primary.relid, ++handle, [1, 2, 3, 4])) this.#receive(part);
      this.#receive(message.openChannel(primary.relid, 1, handle, 0, 2));
      expectAlways(this.#open.has(primary), 'a device cannot be opened any more');
    }
  }
}
