import { GuestFault, type GuestKernel, type GuestPages, type GuestTask, HvStatus } from '@kensho/core';
import { gpadlMessages } from '../protocol/gpadl.ts';
import {
  ChannelMessageType,
  CLOSECHANNEL,
  GPADL_CREATED,
  GPADL_TEARDOWN,
  OPENCHANNEL,
  OPENCHANNEL_RESULT,
  RELID_RELEASED,
} from '../protocol/messages.ts';
import type { GuestHypercalls } from './contract.ts';
import type { MessageExchange } from './exchange.ts';
import type { RingGuestChannel } from './guest-channel.ts';

/** GPADL handles are the guest's to choose; Linux begins here. */
const FIRST_GPADL = 0xe1e10;

/** One channel of the host's offers, as the guest knows it. */
export interface ChannelOffer {
  readonly relid: number;
  readonly subChannelIndex: number;
  /** Event connection to the host. */
  readonly connectionId: number;
  /** `rescinded`: the host lets go of it. `gone`: the connection has ended, and with it everything of the channel. */
  state: 'offered' | 'rescinded' | 'gone';
}

/** What devices and channels ask of the connection to the host. */
export class BusLink {
  readonly kernel: GuestKernel;
  readonly #hypercalls: GuestHypercalls;
  readonly #exchange: MessageExchange;
  /** Open channels by relid, which is their event flag. */
  readonly #channels = new Map<number, RingGuestChannel>();
  #nextGpadl = FIRST_GPADL;

  constructor(kernel: GuestKernel, hypercalls: GuestHypercalls, exchange: MessageExchange) {
    this.kernel = kernel;
    this.#hypercalls = hypercalls;
    this.#exchange = exchange;
    hypercalls.onEvent((flagNumber) => this.#channels.get(flagNumber)?.onInterrupt());
  }

  signal(offer: ChannelOffer): void {
    const status = this.#hypercalls.signalEvent(offer.connectionId, 0);
    // The host no longer listens once it has begun to close the channel.
    if (status !== HvStatus.SUCCESS && status !== HvStatus.INVALID_CONNECTION_ID) {
      throw new GuestFault(`channel ${offer.relid}: HvCallSignalEvent status ${status}`);
    }
  }

  /** Registers memory for a channel. Throws GuestFault where the host refuses. */
  *createGpadl(offer: ChannelOffer, memory: GuestPages): GuestTask<number> {
    const handle = this.#nextGpadl++;
    const range = { offset: 0, sizeBytes: memory.sizeBytes, pages: memory.pages };
    const messages = gpadlMessages(offer.relid, handle, range);
    const answer = yield* this.#ask(offer, `gpadl ${handle}`, messages);
    const status = answer === undefined ? undefined : GPADL_CREATED.read(answer).status;
    if (status !== 0) throw new GuestFault(refusal(offer, 'a GPADL', status));
    return handle;
  }

  /** Returns once the host no longer uses the memory. */
  *tearDownGpadl(offer: ChannelOffer, gpadl: number): GuestTask {
    const messageType = ChannelMessageType.GPADL_TEARDOWN;
    const message = GPADL_TEARDOWN.encode({ messageType, relid: offer.relid, gpadl });
    yield* this.#ask(offer, `teardown ${gpadl}`, [message]);
  }

  /** Opens a channel on rings that were registered. Throws GuestFault where the host refuses. */
  *open(
    offer: ChannelOffer,
    channel: RingGuestChannel,
    request: { ringGpadl: number; targetVp: number; downstreamPageOffset: number; userData: Uint8Array },
  ): GuestTask {
    const { relid } = offer;
    // The host may signal as soon as it has the message.
    this.#channels.set(relid, channel);
    const message = OPENCHANNEL.encode({
      messageType: ChannelMessageType.OPENCHANNEL,
      relid,
      openId: relid,
      ...request,
    });
    const answer = yield* this.#ask(offer, `open ${relid}`, [message]);
    const status = answer === undefined ? undefined : OPENCHANNEL_RESULT.read(answer).status;
    if (status === 0) return;
    this.#channels.delete(relid);
    throw new GuestFault(refusal(offer, 'to open', status));
  }

  *close(offer: ChannelOffer, channel: RingGuestChannel): GuestTask {
    const { relid } = offer;
    // On a new connection the relid may be another channel's.
    if (this.#channels.get(relid) === channel) this.#channels.delete(relid);
    if (offer.state === 'gone') return;
    yield* this.#exchange.post(CLOSECHANNEL.encode({ messageType: ChannelMessageType.CLOSECHANNEL, relid }));
  }

  /** Tells the host that nothing in the guest refers to a rescinded channel. */
  release(offer: ChannelOffer): void {
    if (offer.state === 'gone') return;
    offer.state = 'gone';
    const messageType = ChannelMessageType.RELID_RELEASED;
    const message = RELID_RELEASED.encode({ messageType, relid: offer.relid });
    this.kernel.spawn(`vmbus release ${offer.relid}`, ignoreResult(this.#exchange.post(message)));
  }

  /** Wakes everyone who waits for a channel of which nothing more will come. */
  wake(offer: ChannelOffer): void {
    this.#exchange.giveUp(offer.relid);
    const channel = this.#channels.get(offer.relid);
    channel?.readable.set();
    channel?.writable.set();
  }

  /** Once a channel is rescinded, the host uses none of its memory and owes no answer. */
  *#ask(offer: ChannelOffer, key: string, messages: Uint8Array[]): GuestTask<Uint8Array | undefined> {
    if (offer.state !== 'offered') return undefined;
    return yield* this.#exchange.request(key, offer.relid, ...messages);
  }
}

function* ignoreResult(task: GuestTask<unknown>): GuestTask {
  yield* task;
}

function refusal(offer: ChannelOffer, what: string, status: number | undefined): string {
  const why = status === undefined ? 'the channel was taken away' : `status 0x${status.toString(16)}`;
  return `channel ${offer.relid}: the host refuses ${what}: ${why}`;
}
