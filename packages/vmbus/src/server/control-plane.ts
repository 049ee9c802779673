import { type LogFields, PAGE_SIZE } from '@kensho/core';
import {
  ChannelMessageType,
  CLOSECHANNEL,
  ConnectionState,
  checkChannelMessage,
  GPADL_BODY,
  GPADL_HEADER,
  GPADL_TEARDOWN,
  INITIATE_CONTACT,
  INITIATE_CONTACT_V4,
  MODIFYCHANNEL,
  NtStatus,
  OPENCHANNEL,
  RELID_RELEASED,
  TL_CONNECT_REQUEST,
  VMBUS_MESSAGE_CONNECTION_ID_4,
  VMBUS_MESSAGE_SINT,
  VMBUS_VERSIONS,
  VmbusVersion,
} from '../protocol/messages.ts';
import { type BusChannel, type ChannelDescription, isAnyClosing, type OpenRequest } from './bus-channel.ts';
import { ChannelTable } from './channel-table.ts';
import {
  DEFAULT_GPADL_LIMITS,
  type GpadlEntry,
  type GpadlLimits,
  type GpadlProgress,
  GpadlTable,
} from './gpadl-table.ts';
import { hostMessage } from './host-messages.ts';

/** Everything that the control plane does to the world. Calls are made in the order in which they must happen. */
export interface ControlPlaneEffects {
  /** Sends a channel message to the guest, after those that were sent before. */
  send(message: Uint8Array): void;
  /**
   * A guest makes contact: what is sent from now on goes to this VP and SINT, and nothing of what was sent before
   * need arrive. False where there is no such target.
   */
  setMessageTarget(vpIndex: number, sint: number): boolean;
  /** Where a guest of a version before 5.0 may note what it signals; undefined where it has no such page. */
  setInterruptPage(gpa: bigint | undefined): void;
  /** Opens a channel for its device; false refuses it. The guest is told afterwards. */
  openChannel(channel: BusChannel, request: OpenRequest): boolean;
  /** The device must let go of the channel; {@link ControlPlane.closeFinished} says when it has, now or later. */
  closeChannel(channel: BusChannel): void;
  /** Moves an open channel's interrupts; false where there is no such VP. */
  setTargetVp(channel: BusChannel, vpIndex: number): boolean;
  gpadlCreated(gpadl: GpadlEntry<BusChannel>): void;
  /** The guest may use the memory for something else as soon as this returns. */
  gpadlTornDown(gpadl: GpadlEntry<BusChannel>): void;
  /** A revoked channel is closed and, as far as the host is concerned, gone. */
  channelRevoked(channel: BusChannel): void;
  /** The guest broke the protocol. `kind` is one of a fixed set. */
  fault(kind: string, text: string, fields?: LogFields): void;
}

export interface ControlPlaneOptions {
  /** Newest version to agree to. @default 5.3 */
  readonly maxVersion?: VmbusVersion;
  readonly gpadlLimits?: Partial<GpadlLimits>;
}

interface Contact {
  readonly version: number;
  readonly vpIndex: number;
  readonly sint: number;
  readonly vtl: number;
  /** 0 for none. */
  readonly interruptPageGpa: bigint;
}

type Gpadl = GpadlEntry<BusChannel>;

/**
 * The host's side of VMBus channel management as a state machine: guest messages and host events go in, effects
 * come out. It does no I/O and touches no guest memory; nothing that a guest posts makes it throw or grow beyond
 * its limits.
 *
 * Two rules shape it. A guest waits without timeout, so each request that it may wait for gets one answer. And a
 * guest takes its memory back once it was told that the host is done with it (TORNDOWN, RESCIND, UNLOAD_RESPONSE,
 * VERSION_RESPONSE), so those are sent only after the device has let go of the channel.
 */
export class ControlPlane {
  readonly #effects: ControlPlaneEffects;
  readonly #maxVersion: number;
  readonly #gpadls: GpadlTable<BusChannel>;
  readonly #channels = new ChannelTable();
  /** 0 where no guest is connected. */
  #version = 0;
  #offersRequested = false;
  /** Channels that are closing. */
  #closing = 0;
  /** The connection has ended and waits for closing channels. */
  #disconnecting = false;
  /** What follows then. A later contact replaces an earlier one: whoever made that is gone. */
  #unloading = false;
  #contact: Contact | undefined;

  constructor(effects: ControlPlaneEffects, options: ControlPlaneOptions = {}) {
    this.#effects = effects;
    this.#maxVersion = options.maxVersion ?? VmbusVersion.WIN10_V5_3;
    this.#gpadls = new GpadlTable({ ...DEFAULT_GPADL_LIMITS, ...options.gpadlLimits });
  }

  /** The version that was agreed on, 0 while no guest is connected. */
  get version(): number {
    return this.#version;
  }

  /** A complete GPADL that the guest made for one of the device's channels. */
  gpadl(channel: BusChannel, handle: number): Gpadl | undefined {
    const entry = this.#gpadls.get(handle);
    return entry?.ranges !== undefined && entry.owner.primary === channel.primary ? entry : undefined;
  }

  /** Offers a device. Throws KenshoError DUPLICATE_OFFER or TOO_MANY_CHANNELS. */
  offer(description: ChannelDescription): BusChannel {
    const channel = this.#channels.add(description);
    this.#announce();
    return channel;
  }

  /**
   * Offers one more sub-channel, until its primary channel is closed. It has the lowest free index; undefined where
   * the device or the bus has no room.
   */
  offerSubChannel(primary: BusChannel): BusChannel | undefined {
    const channel = this.#channels.addSubChannel(primary);
    if (channel !== undefined) this.#announce();
    return channel;
  }

  /** Takes a channel away, a primary one with its sub-channels. Idempotent. */
  revoke(channel: BusChannel): void {
    if (channel.revoked) return;
    channel.revoked = true;
    for (const sub of [...channel.subChannels]) this.revoke(sub);
    if (channel.host === 'open') this.#close(channel);
    else this.#settle(channel);
  }

  /** A device let go of a channel that {@link ControlPlaneEffects.closeChannel} asked it to close. */
  closeFinished(channel: BusChannel): void {
    channel.host = 'closed';
    channel.ringGpadl = undefined;
    this.#closing--;
    this.#settle(channel);
    if (this.#disconnecting) this.#finishDisconnect();
  }

  /** Takes a message that the guest posted. */
  receive(message: Uint8Array): void {
    const rule = checkChannelMessage(message, 'guest', this.#version);
    if (typeof rule === 'string') {
      this.#effects.fault(`vmbus.message.${rule}`, `channel message refused: ${rule}`, {
        start: message.slice(0, 4),
        sizeBytes: message.length,
        version: this.#version,
      });
      return;
    }
    switch (rule.type) {
      case ChannelMessageType.INITIATE_CONTACT:
        this.#onInitiateContact(message);
        break;
      case ChannelMessageType.REQUESTOFFERS:
        this.#onRequestOffers();
        break;
      case ChannelMessageType.GPADL_HEADER:
        this.#onGpadlHeader(message);
        break;
      case ChannelMessageType.GPADL_BODY:
        this.#onGpadlBody(message);
        break;
      case ChannelMessageType.GPADL_TEARDOWN:
        this.#onGpadlTeardown(message);
        break;
      case ChannelMessageType.OPENCHANNEL:
        this.#onOpenChannel(message);
        break;
      case ChannelMessageType.CLOSECHANNEL:
        this.#onCloseChannel(message);
        break;
      case ChannelMessageType.MODIFYCHANNEL:
        this.#onModifyChannel(message);
        break;
      case ChannelMessageType.RELID_RELEASED:
        this.#onRelidReleased(message);
        break;
      case ChannelMessageType.TL_CONNECT_REQUEST:
        this.#onTlConnectRequest(message);
        break;
      case ChannelMessageType.UNLOAD:
        this.#unloading = true;
        this.#disconnect();
        break;
    }
  }

  // Connection

  #onInitiateContact(message: Uint8Array): void {
    const fields = INITIATE_CONTACT.read(message);
    const namesTarget = fields.version >= VmbusVersion.WIN10_V5;
    this.#contact = {
      version: fields.version,
      vpIndex: fields.targetVp,
      sint: namesTarget ? fields.messageSint : VMBUS_MESSAGE_SINT,
      vtl: namesTarget ? fields.messageVtl : 0,
      interruptPageGpa: namesTarget ? 0n : INITIATE_CONTACT_V4.read(message).interruptPageGpa,
    };
    this.#disconnect();
  }

  /** Ends the connection: a contact and an unload alike put everything back to where it was before the first one. */
  #disconnect(): void {
    this.#version = 0;
    this.#offersRequested = false;
    this.#disconnecting = true;
    // Counts as one that closes, so that a channel which is closed at once does not finish this halfway through.
    this.#closing++;
    for (const channel of this.#channels.all) {
      channel.reopen = undefined;
      if (channel.subChannelIndex > 0) channel.revoked = true;
      if (channel.host === 'open') this.#close(channel);
    }
    this.#closing--;
    this.#finishDisconnect();
  }

  #finishDisconnect(): void {
    if (this.#closing > 0) return;
    this.#disconnecting = false;
    this.#effects.setInterruptPage(undefined);
    for (const gpadl of this.#gpadls.of()) this.#dropGpadl(gpadl);
    for (const channel of this.#channels.all) {
      this.#channels.releaseRelid(channel);
      if (channel.guest === 'rescinded') this.#channels.forget(channel);
      channel.guest = 'unaware';
    }
    for (const channel of this.#channels.all) if (channel.revoked) this.#settle(channel);
    if (this.#unloading) {
      this.#unloading = false;
      this.#effects.send(hostMessage.unloadResponse());
    }
    const contact = this.#contact;
    this.#contact = undefined;
    if (contact !== undefined) this.#negotiate(contact);
  }

  #negotiate(contact: Contact): void {
    const reachable = this.#effects.setMessageTarget(contact.vpIndex, contact.sint);
    if (!reachable) {
      this.#effects.fault('vmbus.contact', 'contact names no VP or SINT of the partition', { ...contact });
      // The refusal goes where a guest most likely listens.
      this.#effects.setMessageTarget(0, VMBUS_MESSAGE_SINT);
    }
    const known = (VMBUS_VERSIONS as readonly number[]).includes(contact.version);
    const supported = reachable && known && contact.version <= this.#maxVersion && contact.vtl === 0;
    if (supported) {
      this.#version = contact.version;
      if (contact.interruptPageGpa !== 0n) this.#effects.setInterruptPage(contact.interruptPageGpa);
    }
    const connectionId =
      contact.version >= VmbusVersion.WIN10_V5 ? VMBUS_MESSAGE_CONNECTION_ID_4 : contact.version;
    this.#effects.send(
      hostMessage.versionResponse(
        supported ? 1 : 0,
        reachable ? ConnectionState.SUCCESSFUL : ConnectionState.FAILED_UNKNOWN_FAILURE,
        supported ? connectionId : 0,
      ),
    );
  }

  // Offers

  #onRequestOffers(): void {
    if (this.#offersRequested) {
      this.#effects.fault('vmbus.message.state', 'offers were requested before');
      return;
    }
    this.#offersRequested = true;
    this.#announce();
    this.#effects.send(hostMessage.allOffersDelivered());
  }

  #announce(): void {
    if (!this.#offersRequested) return;
    for (const channel of this.#channels.assignRelids()) this.#effects.send(hostMessage.offer(channel));
  }

  #onRelidReleased(message: Uint8Array): void {
    const { relid } = RELID_RELEASED.read(message);
    const channel = this.#channelOf(relid, 'release');
    if (channel === undefined) return;
    const closed = channel.host === 'closed' && channel.reopen === undefined;
    if (!closed || (channel.revoked && channel.guest === 'offered')) {
      this.#effects.fault('vmbus.message.state', 'relid released before its channel was closed', { relid });
      return;
    }
    this.#channels.releaseRelid(channel);
    for (const gpadl of this.#gpadls.of(channel)) {
      gpadl.tearingDown = true;
      this.#tearDownWhenUnused(gpadl);
    }
    if (channel.revoked) this.#channels.forget(channel);
    else channel.guest = 'declined';
    this.#announce();
  }

  // GPADLs

  #onGpadlHeader(message: Uint8Array): void {
    const { relid, gpadl, rangeBufferLength, rangeCount } = GPADL_HEADER.read(message);
    const channel = this.#channelOf(relid, 'GPADL');
    if (channel === undefined) {
      this.#effects.send(hostMessage.gpadlCreated(relid, gpadl, NtStatus.NO_SUCH_DEVICE));
      return;
    }
    const data = message.subarray(GPADL_HEADER.sizeBytes);
    this.#onGpadlProgress(gpadl, this.#gpadls.begin(channel, gpadl, rangeBufferLength, rangeCount, data));
  }

  #onGpadlBody(message: Uint8Array): void {
    const { gpadl } = GPADL_BODY.read(message);
    this.#onGpadlProgress(gpadl, this.#gpadls.append(gpadl, message.subarray(GPADL_BODY.sizeBytes)));
  }

  #onGpadlProgress(handle: number, progress: GpadlProgress<BusChannel>): void {
    switch (progress.outcome) {
      case 'incomplete':
        return;
      case 'unknown':
        this.#effects.fault('vmbus.gpadl', 'body of no GPADL that is in progress', { handle });
        return;
      case 'refused': {
        const { relid } = progress.owner;
        this.#effects.fault('vmbus.gpadl', 'GPADL refused', { handle, relid, status: progress.status });
        this.#effects.send(hostMessage.gpadlCreated(relid, handle, progress.status));
        return;
      }
      case 'complete': {
        const { owner } = progress.entry;
        if (owner.revoked) {
          this.#gpadls.delete(handle);
          this.#effects.send(hostMessage.gpadlCreated(owner.relid, handle, NtStatus.NO_SUCH_DEVICE));
          return;
        }
        this.#effects.gpadlCreated(progress.entry);
        this.#effects.send(hostMessage.gpadlCreated(owner.relid, handle, NtStatus.SUCCESS));
      }
    }
  }

  #onGpadlTeardown(message: Uint8Array): void {
    const { relid, gpadl: handle } = GPADL_TEARDOWN.read(message);
    const gpadl = this.#gpadls.get(handle);
    if (gpadl === undefined) {
      // The answer is true all the same, and the guest waits for it.
      this.#effects.fault('vmbus.gpadl', 'teardown of no GPADL', { handle, relid });
      this.#effects.send(hostMessage.gpadlTornDown(handle));
      return;
    }
    if (gpadl.owner.relid !== relid || gpadl.tearingDown) {
      this.#effects.fault('vmbus.gpadl', 'teardown through another channel, or twice', { handle, relid });
      return;
    }
    gpadl.tearingDown = true;
    this.#tearDownWhenUnused(gpadl);
  }

  /**
   * A ring is in use until its channel is closed. Other memory is the driver's to keep while the device uses it, but
   * a device that is closing may still write to any of it.
   */
  #tearDownWhenUnused(gpadl: Gpadl): void {
    if (gpadl.owner.ringGpadl === gpadl.handle || gpadl.owner.reopen?.ringGpadl === gpadl.handle) return;
    if (isAnyClosing(gpadl.owner)) return;
    this.#dropGpadl(gpadl);
    // What goes with the release of its channel needs no answer.
    if (gpadl.owner.relid !== 0) this.#effects.send(hostMessage.gpadlTornDown(gpadl.handle));
  }

  #dropGpadl(gpadl: Gpadl): void {
    this.#gpadls.delete(gpadl.handle);
    if (gpadl.ranges !== undefined) this.#effects.gpadlTornDown(gpadl);
  }

  // Channels

  #onOpenChannel(message: Uint8Array): void {
    const fields = OPENCHANNEL.read(message);
    const { relid, openId } = fields;
    const channel = this.#channels.byRelid(relid);
    const checked = this.#checkOpen(channel, fields);
    if ('status' in checked) {
      const { why, status } = checked;
      if (channel?.revoked !== true) {
        const { ringGpadl, downstreamPageOffset } = fields;
        this.#effects.fault('vmbus.open', `open refused: ${why}`, { relid, ringGpadl, downstreamPageOffset });
      }
      this.#effects.send(hostMessage.openResult(relid, openId, status));
    } else if (isAnyClosing(checked.channel)) {
      // There is no answer to a close, so the guest cannot know that the device has not finished yet.
      checked.channel.reopen = checked.request;
    } else {
      this.#open(checked.channel, checked.request);
    }
  }

  #checkOpen(
    channel: BusChannel | undefined,
    fields: ReturnType<typeof OPENCHANNEL.read>,
  ): { channel: BusChannel; request: OpenRequest } | { status: NtStatus; why: string } {
    const { openId, targetVp, ringGpadl, downstreamPageOffset, userData } = fields;
    if (channel === undefined || channel.revoked) {
      return { status: NtStatus.NO_SUCH_DEVICE, why: 'no such channel' };
    }
    if (channel.host === 'open' || channel.reopen !== undefined) {
      return { status: NtStatus.INVALID_DEVICE_STATE, why: 'the channel is open' };
    }
    if (channel.primary !== channel && channel.primary.host !== 'open') {
      return { status: NtStatus.INVALID_DEVICE_STATE, why: 'the primary channel is not open' };
    }
    const gpadl = this.#gpadls.get(ringGpadl);
    if (gpadl?.ranges === undefined || gpadl.owner !== channel || gpadl.tearingDown) {
      return { status: NtStatus.INVALID_PARAMETER, why: 'no such GPADL of this channel' };
    }
    const [ring] = gpadl.ranges;
    if (gpadl.ranges.length !== 1 || ring.offset !== 0 || ring.sizeBytes !== ring.pages.length * PAGE_SIZE) {
      return { status: NtStatus.INVALID_PARAMETER, why: 'the ring is not made of whole pages' };
    }
    if (downstreamPageOffset < 2 || downstreamPageOffset > ring.pages.length - 2) {
      return { status: NtStatus.INVALID_PARAMETER, why: 'a ring has less than two pages' };
    }
    return { channel, request: { openId, targetVp, ringGpadl, ring, downstreamPageOffset, userData } };
  }

  #open(channel: BusChannel, request: OpenRequest): void {
    channel.host = 'opening';
    channel.ringGpadl = request.ringGpadl;
    const opened = this.#effects.openChannel(channel, request);
    channel.host = opened ? 'open' : 'closed';
    if (!opened) channel.ringGpadl = undefined;
    this.#effects.send(
      hostMessage.openResult(
        channel.relid,
        request.openId,
        opened ? NtStatus.SUCCESS : NtStatus.UNSUCCESSFUL,
      ),
    );
    // The device may have been revoked by its own open.
    if (!channel.revoked) return;
    if (opened) this.#close(channel);
    else this.#settle(channel);
  }

  #onCloseChannel(message: Uint8Array): void {
    const { relid } = CLOSECHANNEL.read(message);
    const channel = this.#channelOf(relid, 'close');
    // A guest closes a channel that is being revoked before or after it learns of that.
    if (channel === undefined || channel.revoked) return;
    if (channel.host !== 'open') {
      this.#effects.fault('vmbus.message.state', 'close of a channel that is not open', { relid });
      return;
    }
    for (const sub of [...channel.subChannels]) this.revoke(sub);
    this.#close(channel);
  }

  #close(channel: BusChannel): void {
    channel.host = 'closing';
    this.#closing++;
    this.#effects.closeChannel(channel);
  }

  /** Does what had to wait for a channel of the device to close: teardowns, rescinds, the next open. */
  #settle(channel: BusChannel): void {
    if (this.#disconnecting) return;
    this.#answerTeardowns(channel);
    for (const member of [...channel.primary.subChannels, channel.primary]) {
      if (member.host !== 'closed') continue;
      const request = member.reopen;
      if (member.revoked) {
        if (member.subChannels.every((sub) => sub.host === 'closed')) this.#rescind(member);
      } else if (request !== undefined && !isAnyClosing(member)) {
        member.reopen = undefined;
        this.#open(member, request);
      }
    }
    this.#answerTeardowns(channel);
  }

  #answerTeardowns(channel: BusChannel): void {
    for (const gpadl of this.#gpadls.of()) {
      if (gpadl.tearingDown && gpadl.owner.primary === channel.primary) this.#tearDownWhenUnused(gpadl);
    }
  }

  #rescind(channel: BusChannel): void {
    const { relid, reopen } = channel;
    if (channel.guest === 'rescinded' || !this.#channels.has(channel)) return;
    if (reopen !== undefined) {
      channel.reopen = undefined;
      this.#effects.send(hostMessage.openResult(relid, reopen.openId, NtStatus.NO_SUCH_DEVICE));
    }
    if (channel.guest === 'offered') {
      channel.guest = 'rescinded';
      this.#effects.send(hostMessage.rescind(relid));
    } else {
      this.#channels.forget(channel);
    }
    this.#effects.channelRevoked(channel);
  }

  #onModifyChannel(message: Uint8Array): void {
    const { relid, targetVp } = MODIFYCHANNEL.read(message);
    const channel = this.#channels.byRelid(relid);
    const done = channel?.host === 'open' && this.#effects.setTargetVp(channel, targetVp);
    if (!done && channel?.revoked !== true) {
      this.#effects.fault('vmbus.modify', 'no open channel, or no such VP', { relid, targetVp });
    }
    if (this.#version < VmbusVersion.WIN10_V5_3) return;
    const status = done ? NtStatus.SUCCESS : NtStatus.INVALID_PARAMETER;
    this.#effects.send(hostMessage.modifyResponse(relid, status));
  }

  /** Sockets between host and guest: nobody listens. */
  #onTlConnectRequest(message: Uint8Array): void {
    if (this.#version < VmbusVersion.WIN10_V4_1) return;
    const { endpointId, serviceId } = TL_CONNECT_REQUEST.read(message);
    this.#effects.send(hostMessage.connectResult(endpointId, serviceId, NtStatus.CONNECTION_REFUSED));
  }

  #channelOf(relid: number, what: string): BusChannel | undefined {
    const channel = this.#channels.byRelid(relid);
    if (channel === undefined) this.#effects.fault('vmbus.relid', `${what}: no such channel`, { relid });
    return channel;
  }
}
