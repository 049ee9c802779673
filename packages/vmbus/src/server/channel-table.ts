import { KenshoError } from '@kensho/core';
import { MAX_RELID } from '../protocol/messages.ts';
import { BusChannel, type ChannelDescription } from './bus-channel.ts';

/** Sub-channels that a device can have at once. */
export const MAX_SUB_CHANNELS = 63;

/** The channels of a partition, and the relids by which its guest knows them. */
export class ChannelTable {
  /** Every channel that is offered, closing, or still referred to by the guest. */
  readonly #channels = new Set<BusChannel>();
  readonly #byRelid = new Map<number, BusChannel>();
  #sequence = 0;

  /** All channels now; the list stays as it is while they change. */
  get all(): readonly BusChannel[] {
    return [...this.#channels];
  }

  has(channel: BusChannel): boolean {
    return this.#channels.has(channel);
  }

  /** The channel that the guest knows by a relid. */
  byRelid(relid: number): BusChannel | undefined {
    return this.#byRelid.get(relid);
  }

  /** Adds a primary channel. Throws KenshoError DUPLICATE_OFFER or TOO_MANY_CHANNELS. */
  add(description: ChannelDescription): BusChannel {
    const channel = new BusChannel(description, this.#sequence++);
    for (const other of this.#channels) {
      if (other.revoked || other.key !== channel.key) continue;
      const { interfaceId, instanceId } = description;
      const message = `${interfaceId} ${instanceId} is offered already: give the device another instance GUID`;
      throw new KenshoError('DUPLICATE_OFFER', message);
    }
    if (this.#isFull) {
      throw new KenshoError('TOO_MANY_CHANNELS', `a partition has at most ${MAX_RELID} channels`);
    }
    this.#channels.add(channel);
    return channel;
  }

  /** Adds a sub-channel with the lowest free index; undefined where the device or the bus has no room. */
  addSubChannel(primary: BusChannel): BusChannel | undefined {
    const live = primary.subChannels.filter((sub) => !sub.revoked);
    if (primary.revoked || live.length >= MAX_SUB_CHANNELS || this.#isFull) return undefined;
    let index = 1;
    while (live.some((sub) => sub.subChannelIndex === index)) index++;
    const channel = new BusChannel(primary.description, this.#sequence++, primary, index);
    primary.subChannels.push(channel);
    this.#channels.add(channel);
    return channel;
  }

  /** Gives relids to the channels that the guest should know and does not; these, in the order to offer them in. */
  assignRelids(): BusChannel[] {
    const known = new Set<string>();
    const waiting: BusChannel[] = [];
    for (const channel of this.#channels) {
      if (channel.relid !== 0) known.add(channel.key);
      else if (channel.guest === 'unaware' && !channel.revoked) waiting.push(channel);
    }
    waiting.sort((a, b) => a.description.order - b.description.order || a.sequence - b.sequence);
    const assigned: BusChannel[] = [];
    let relid = 0;
    for (const channel of waiting) {
      const { primary } = channel;
      if (primary !== channel && primary.guest !== 'offered') continue;
      // A guest takes two channels with the same GUIDs for an error: the old one must be released first.
      if (known.has(channel.key)) continue;
      do relid++;
      while (this.#byRelid.has(relid));
      if (relid > MAX_RELID) break;
      channel.relid = relid;
      channel.guest = 'offered';
      this.#byRelid.set(relid, channel);
      assigned.push(channel);
    }
    return assigned;
  }

  /** The guest released its reference: the relid is free. */
  releaseRelid(channel: BusChannel): void {
    this.#byRelid.delete(channel.relid);
    channel.relid = 0;
  }

  /** Nothing refers to the channel any more. */
  forget(channel: BusChannel): void {
    this.#channels.delete(channel);
    if (channel.primary === channel) return;
    const { subChannels } = channel.primary;
    subChannels.splice(subChannels.indexOf(channel), 1);
  }

  /** Channels that only wait for the guest to release them hold a relid, but do not count. */
  get #isFull(): boolean {
    let live = 0;
    for (const channel of this.#channels) if (!channel.revoked) live++;
    return live >= MAX_RELID;
  }
}
