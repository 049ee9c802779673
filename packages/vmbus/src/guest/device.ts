import { GuestEvent, GuestFault, type GuestPages, type GuestTask, type Guid, PAGE_SIZE } from '@kensho/core';
import { USER_DATA_SIZE_BYTES } from '../protocol/messages.ts';
import type { BusLink, ChannelOffer } from './bus-link.ts';
import type { GuestChannel, GuestOpenOptions, GuestVmbusDevice } from './contract.ts';
import { RingGuestChannel } from './guest-channel.ts';

/** A device of the guest's: the offers of its channels, and which of them are open. */
export class VmbusDevice implements GuestVmbusDevice {
  readonly interfaceId: Guid;
  readonly instanceId: Guid;
  readonly userData: Uint8Array;
  readonly rescinded = new GuestEvent();
  readonly primary: ChannelOffer;
  readonly #link: BusLink;
  readonly #subOffers: ChannelOffer[] = [];
  readonly #subOffersChanged = new GuestEvent();
  readonly #open = new Set<ChannelOffer>();

  constructor(
    link: BusLink,
    identity: { readonly interfaceId: Guid; readonly instanceId: Guid; readonly userData: Uint8Array },
    primary: ChannelOffer,
  ) {
    this.#link = link;
    this.interfaceId = identity.interfaceId;
    this.instanceId = identity.instanceId;
    this.userData = identity.userData;
    this.primary = primary;
  }

  get isRescinded(): boolean {
    return this.primary.state !== 'offered';
  }

  open(options: GuestOpenOptions): GuestTask<GuestChannel> {
    return this.#openChannel(this.primary, options);
  }

  *openSubChannels(count: number, options: GuestOpenOptions): GuestTask<GuestChannel[]> {
    let closed: ChannelOffer[];
    for (;;) {
      if (this.isRescinded)
        throw new GuestFault('the device was taken away while its sub-channels were awaited');
      closed = this.#subOffers.filter((offer) => offer.state === 'offered' && !this.#open.has(offer));
      if (closed.length >= count) break;
      yield* this.#subOffersChanged.wait();
    }
    const channels: GuestChannel[] = [];
    for (const offer of closed.slice(0, count)) channels.push(yield* this.#openChannel(offer, options));
    return channels;
  }

  release(): void {
    if (this.primary.state === 'offered')
      throw new GuestFault('only a device that was rescinded can be released');
    this.#link.release(this.primary);
  }

  /** For the bus: the host offered a sub-channel. */
  addSubChannel(offer: ChannelOffer): void {
    this.#subOffers.push(offer);
    this.#subOffers.sort((a, b) => a.subChannelIndex - b.subChannelIndex);
    this.#subOffersChanged.set();
  }

  /** For the bus: the host took a channel away. A closed sub-channel is released; the rest is the driver's to do. */
  onRescind(offer: ChannelOffer): void {
    offer.state = 'rescinded';
    this.#link.wake(offer);
    if (offer !== this.primary) this.#releaseSubChannel(offer);
    else this.#wakeDriver();
  }

  /** For the bus: the connection to the host has ended. */
  onDisconnect(): void {
    for (const offer of [this.primary, ...this.#subOffers]) {
      offer.state = 'gone';
      this.#link.wake(offer);
    }
    this.#wakeDriver();
  }

  #wakeDriver(): void {
    this.rescinded.set();
    this.#subOffersChanged.set();
  }

  #releaseSubChannel(offer: ChannelOffer): void {
    if (this.#open.has(offer)) return;
    this.#subOffers.splice(this.#subOffers.indexOf(offer), 1);
    this.#link.release(offer);
  }

  *#openChannel(offer: ChannelOffer, options: GuestOpenOptions): GuestTask<GuestChannel> {
    if (this.#open.has(offer)) throw new GuestFault(`channel ${offer.relid} is open`);
    const { ringSizeBytes } = options;
    if (ringSizeBytes % PAGE_SIZE !== 0 || ringSizeBytes < 2 * PAGE_SIZE) {
      throw new GuestFault(`a ring of ${ringSizeBytes} bytes: it must be two pages or more`);
    }
    const link = this.#link;
    const rings = link.kernel.allocate(2 * ringSizeBytes);
    this.#open.add(offer);
    const closed = () => {
      rings.free();
      this.#open.delete(offer);
      if (offer !== this.primary && offer.state === 'rescinded') this.#releaseSubChannel(offer);
    };
    try {
      const channel = new OpenGuestChannel(link, offer, rings, ringSizeBytes / PAGE_SIZE, closed);
      yield* channel.connect(options.targetVp ?? 0, options.openData ?? new Uint8Array(USER_DATA_SIZE_BYTES));
      return channel;
    } catch (error) {
      closed();
      throw error;
    }
  }
}

/** An open channel: its rings, and its life. */
class OpenGuestChannel extends RingGuestChannel implements GuestChannel {
  readonly #link: BusLink;
  readonly #offer: ChannelOffer;
  readonly #rings: GuestPages;
  readonly #downstreamPage: number;
  readonly #onClosed: () => void;
  #ringGpadl = 0;
  #isOpen = false;

  constructor(
    link: BusLink,
    offer: ChannelOffer,
    rings: GuestPages,
    downstreamPage: number,
    onClosed: () => void,
  ) {
    super({
      relid: offer.relid,
      subChannelIndex: offer.subChannelIndex,
      rings: rings.bytes,
      downstreamPage,
      signal: () => link.signal(offer),
    });
    this.#link = link;
    this.#offer = offer;
    this.#rings = rings;
    this.#downstreamPage = downstreamPage;
    this.#onClosed = onClosed;
  }

  /** Registers the rings and opens the channel. Throws GuestFault, with nothing left behind, where it is refused. */
  *connect(targetVp: number, userData: Uint8Array): GuestTask {
    const ringGpadl = yield* this.#link.createGpadl(this.#offer, this.#rings);
    const downstreamPageOffset = this.#downstreamPage;
    try {
      yield* this.#link.open(this.#offer, this, { ringGpadl, targetVp, downstreamPageOffset, userData });
    } catch (error) {
      yield* this.#link.tearDownGpadl(this.#offer, ringGpadl);
      throw error;
    }
    this.#ringGpadl = ringGpadl;
    this.#isOpen = true;
  }

  createGpadl(memory: GuestPages): GuestTask<number> {
    return this.#link.createGpadl(this.#offer, memory);
  }

  tearDownGpadl(handle: number): GuestTask {
    return this.#link.tearDownGpadl(this.#offer, handle);
  }

  *close(): GuestTask {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    yield* this.#link.close(this.#offer, this);
    yield* this.#link.tearDownGpadl(this.#offer, this.#ringGpadl);
    this.#onClosed();
  }
}
