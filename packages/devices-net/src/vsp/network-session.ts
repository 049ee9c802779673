import { type HostChannel, type IncomingPacket, PacketType } from '@kensho/vmbus';
import type { Frame } from '../backend/port.ts';
import {
  NVSP_MESSAGE_BYTES,
  NVSP_SUBCHANNEL_ALLOCATE,
  NvspBuffer,
  NvspMessage,
  NvspReceiveBufferComplete,
  NvspRevokeBuffer,
  NvspRndisPacket,
  NvspRndisPacketComplete,
  NvspSendBufferComplete,
  NvspSendTable,
  NvspStatus,
  NvspSubChannelComplete,
  NvspSubChannelRequest,
  NvspVersion,
  RndisChannel,
  SEND_TABLE_ENTRIES,
} from '../protocol/nvsp.ts';
import type { GuestBytes } from './guest-bytes.ts';
import { Negotiation } from './negotiation.ts';
import type { NetworkHost } from './network-host.ts';
import { OffloadSettings } from './offload-settings.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import type { ReceiveScaling } from './receive-scaling.ts';
import { Receiver, type ReceiveSettings } from './receiver.ts';
import { MAX_CONTROL_BYTES, RndisDevice, type RndisSession } from './rndis-device.ts';
import { SEND_SECTION_BYTES, SendBuffer } from './send-buffer.ts';
import { SendCompletions } from './send-completions.ts';
import { Transmitter } from './transmitter.ts';

/** Largest receive buffer: what Linux takes for a limit (NETVSC_RECEIVE_BUFFER_SIZE), and a little more. */
const MAX_RECEIVE_BUFFER_BYTES = 32 * 1024 * 1024;
const MAX_SEND_BUFFER_BYTES = 16 * 1024 * 1024;
const GENERATION_MASK = 0xf_ffff;
/**
 * Longest message whose completion may wait. Until it is completed Linux' TCP holds it against the connection's small
 * queue, which has room for two buffers of the size of the next one (tcp_small_queue_check): one of a length below
 * their overhead leaves that room whatever comes next.
 */
const MAX_WAITING_BYTES = 1024;

/** Bytes that a message has to have, by type. */
const LEAST_MESSAGE_BYTES: ReadonlyMap<number, number> = new Map([
  [NvspMessage.INIT, 12],
  [NvspMessage.SEND_NDIS_VER, 12],
  [NvspMessage.SEND_RECV_BUF, 10],
  [NvspMessage.REVOKE_RECV_BUF, 6],
  [NvspMessage.SEND_SEND_BUF, 10],
  [NvspMessage.REVOKE_SEND_BUF, 6],
  [NvspMessage.SEND_RNDIS_PKT, 16],
  [NvspMessage.SEND_NDIS_CONFIG, 20],
  [NvspMessage.SWITCH_DATA_PATH, 8],
  [NvspMessage.SUBCHANNEL, 12],
]);
const NO_PAYLOAD = new Uint8Array(0);

/** What a session may do with its offer. */
export interface SessionOptions {
  /** Sub-channels that the guest may have. */
  readonly maxSubChannels: number;
  /** Offers that many; returns how many it offered. */
  offerSubChannels(count: number): number;
}

/**
 * What a guest set up on an open primary channel and its sub-channels, from the first message to the close: protocol
 * version, buffers, the RNDIS device, and the two data paths.
 */
export class NetworkSession implements RndisSession, ReceiveSettings {
  readonly #host: NetworkHost;
  readonly #options: SessionOptions;
  readonly #primary: HostChannel;
  /** The open ones. */
  readonly #channels = new Map<HostChannel, SendCompletions>();
  readonly #receiver: Receiver;
  readonly #transmitter: Transmitter;
  readonly #device: RndisDevice;
  readonly #negotiation: Negotiation;
  offloads = new OffloadSettings(0, false);
  /** The primary one and those that the guest was granted. */
  channelCount = 1;
  #sendBuffer: SendBuffer | undefined;
  #sendBufferId = 0;
  #generation = 0;
  #linkChangeDue = false;
  /** The packet's message, zero-filled to its full size. */
  readonly #message = new Uint8Array(NVSP_MESSAGE_BYTES);
  readonly #rndisPacket = NvspRndisPacket.view().bind(new DataView(this.#message.buffer), 0);
  readonly #rndisAnswer = NvspRndisPacketComplete.encode({ type: NvspMessage.SEND_RNDIS_PKT_COMPLETE });
  readonly #rndisAnswerView = NvspRndisPacketComplete.view().bind(new DataView(this.#rndisAnswer.buffer), 0);
  readonly #controlMessage = new Uint8Array(MAX_CONTROL_BYTES);

  constructor(host: NetworkHost, primary: HostChannel, options: SessionOptions) {
    this.#host = host;
    this.#primary = primary;
    this.#options = options;
    this.#negotiation = new Negotiation(host.mtu);
    this.#receiver = new Receiver(host, this);
    this.#transmitter = new Transmitter(host);
    this.#device = new RndisDevice(host, this);
    this.#add(primary);
  }

  get mtu(): number {
    return this.#negotiation.mtu;
  }

  get maxFrameBytes(): number {
    return this.#negotiation.maxFrameBytes;
  }

  get scaling(): ReceiveScaling {
    return this.#device.scaling;
  }

  get maxChannels(): number {
    return this.#version >= NvspVersion.V5 ? 1 + this.#options.maxSubChannels : 1;
  }

  wantsChecksum(ipVersion: number, isTcp: boolean): boolean {
    return this.offloads.wantsChecksum(ipVersion, isTcp);
  }

  wantsCoalesced(ipVersion: number): boolean {
    return this.offloads.wantsCoalesced(ipVersion);
  }

  reply(message: Uint8Array): void {
    this.#receiver.queueControl(message);
  }

  /** Takes a sub-channel; throws where the guest was not granted it. */
  openSubChannel(channel: HostChannel): void {
    if (channel.subChannelIndex >= this.channelCount)
      throw new Error('the guest was not granted this sub-channel');
    this.#add(channel);
    if (this.#channels.size === this.channelCount) this.#sendTable();
  }

  /** Ends a channel; with the primary one the session is over. */
  close(channel: HostChannel): void {
    this.#channels.get(channel)?.flush();
    this.#channels.delete(channel);
    if (channel === this.#primary) {
      for (const completions of this.#channels.values()) completions.flush();
      this.#channels.clear();
      this.#receiver.setBuffer(undefined);
    } else {
      this.#receiver.closeChannel(channel.subChannelIndex);
    }
  }

  /** Takes a frame for the guest; false where it has to wait. */
  receive(frame: Frame): boolean {
    if (!this.#device.accepts(frame.bytes)) {
      this.#host.counters.filtered.value++;
      return true;
    }
    return this.#receiver.receive(frame);
  }

  /** Tells the guest the state of the link, once it can be told. */
  linkChanged(): void {
    this.#linkChangeDue = true;
    this.#announceLink();
  }

  /** Takes packets until there are none. */
  pump(channel: HostChannel): void {
    let completed = false;
    for (;;) {
      const completions = this.#channels.get(channel);
      const packet = completions && channel.read();
      if (completions === undefined || packet === undefined) break;
      if (packet.type === PacketType.COMPLETION) {
        completed = this.#complete(channel, packet) || completed;
      } else {
        this.#receive(channel, completions, packet);
      }
    }
    if (!completed) return;
    this.#receiver.resume();
    this.#announceLink();
  }

  #add(channel: HostChannel): void {
    const completions = new SendCompletions(channel, this.#host.timers);
    this.#channels.set(channel, completions);
    this.#receiver.openChannel(channel, completions);
  }

  #announceLink(): void {
    if (!this.#linkChangeDue || this.#receiver.controlIsFull) return;
    this.#linkChangeDue = false;
    this.#device.announceLink();
    this.#receiver.sendControl();
  }

  #complete(channel: HostChannel, packet: IncomingPacket): boolean {
    const { transactionIdLo, transactionIdHi } = packet;
    if (this.#receiver.complete(channel.subChannelIndex, transactionIdLo, transactionIdHi)) return true;
    this.#host.fault('completion', { transactionIdLo, transactionIdHi });
    return false;
  }

  #receive(channel: HostChannel, completions: SendCompletions, packet: IncomingPacket): void {
    const { payload } = packet;
    const message = this.#message;
    const sizeBytes = Math.min(payload.length, NVSP_MESSAGE_BYTES);
    message.set(sizeBytes === payload.length ? payload : payload.subarray(0, sizeBytes));
    message.fill(0, sizeBytes);
    const { type } = this.#rndisPacket;
    const least = LEAST_MESSAGE_BYTES.get(type);
    const known = packet.type === PacketType.IN_BAND || packet.type === PacketType.GPA_DIRECT;
    const malformed = !known || packet.malformed || (least !== undefined && sizeBytes < least);
    if (malformed) this.#host.fault('malformed', { type, packet: packet.type, sizeBytes });
    if (type === NvspMessage.SEND_RNDIS_PKT) {
      const status = malformed ? NvspStatus.FAIL : this.#takeRndis(packet);
      if (status === NvspStatus.SUCCESS && this.#mayWait(packet)) {
        completions.completeLater(packet);
        return;
      }
      this.#rndisAnswerView.status = status;
      completions.complete(packet, this.#rndisAnswer);
      // A reply comes after the completion of what it answers.
      this.#receiver.sendControl();
      return;
    }
    if (channel === this.#primary) {
      completions.complete(packet, this.#control(type, malformed));
      return;
    }
    this.#outOfOrder(type);
    completions.complete(packet, NO_PAYLOAD);
  }

  /**
   * Whether the guest can do without the completion of the RNDIS message at hand for a while. It gets back the memory
   * of its own that a packet names only with that; of sections it has many.
   */
  #mayWait(packet: IncomingPacket): boolean {
    const { channelType, sendBufferSectionSize } = this.#rndisPacket;
    return (
      channelType === RndisChannel.DATA &&
      packet.rangeCount === 0 &&
      sendBufferSectionSize <= MAX_WAITING_BYTES
    );
  }

  /** An NVSP message of the primary channel that is not RNDIS's; its answer. */
  #control(type: number, malformed: boolean): Uint8Array {
    switch (type) {
      case NvspMessage.INIT:
        return this.#initialize(malformed);
      case NvspMessage.SEND_RECV_BUF:
        return this.#setReceiveBuffer(malformed);
      case NvspMessage.SEND_SEND_BUF:
        return this.#setSendBuffer(malformed);
      case NvspMessage.SUBCHANNEL:
        return this.#grantSubChannels(malformed);
      case NvspMessage.SEND_NDIS_CONFIG:
        if (!malformed) this.#configure();
        return NO_PAYLOAD;
      case NvspMessage.REVOKE_RECV_BUF:
        if (!malformed) this.#revokeReceiveBuffer();
        return NO_PAYLOAD;
      case NvspMessage.REVOKE_SEND_BUF:
        if (!malformed) this.#revokeSendBuffer();
        return NO_PAYLOAD;
      case NvspMessage.SEND_NDIS_VER:
      case NvspMessage.SWITCH_DATA_PATH:
        // Structures go by the protocol's version; and there is only the synthetic path.
        if (!malformed && this.#version === 0) this.#outOfOrder(type);
        return NO_PAYLOAD;
      default:
        if (!malformed) this.#host.fault('malformed', { type });
        return NO_PAYLOAD;
    }
  }

  #initialize(malformed: boolean): Uint8Array {
    if (this.#version !== 0) {
      this.#outOfOrder(NvspMessage.INIT);
      return this.#negotiation.initialize(this.#message, false);
    }
    const completion = this.#negotiation.initialize(this.#message, !malformed);
    this.#resetOffloads();
    return completion;
  }

  /** Before the buffers, whose sections depend on it. */
  #configure(): void {
    if (this.#version < NvspVersion.V2 || this.#receiver.buffer !== undefined) {
      this.#outOfOrder(NvspMessage.SEND_NDIS_CONFIG);
      return;
    }
    this.#negotiation.configure(this.#message);
    this.#resetOffloads();
  }

  #resetOffloads(): void {
    this.offloads = new OffloadSettings(this.#version, this.#negotiation.canCoalesce);
  }

  get #version(): number {
    return this.#negotiation.version;
  }

  #setReceiveBuffer(malformed: boolean): Uint8Array {
    const buffer = malformed ? undefined : this.#makeReceiveBuffer();
    if (buffer !== undefined) this.#receiver.setBuffer(buffer);
    const { sectionBytes = 0, sectionCount = 0 } = buffer ?? {};
    return NvspReceiveBufferComplete.encode({
      type: NvspMessage.SEND_RECV_BUF_COMPLETE,
      status: buffer === undefined ? NvspStatus.FAIL : NvspStatus.SUCCESS,
      sectionCount: buffer === undefined ? 0 : 1,
      subAllocationSize: sectionBytes,
      subAllocationCount: sectionCount,
      endOffset: sectionBytes * sectionCount,
    });
  }

  #makeReceiveBuffer(): ReceiveBuffer | undefined {
    if (this.#version === 0 || this.#receiver.buffer !== undefined) {
      this.#outOfOrder(NvspMessage.SEND_RECV_BUF);
      return undefined;
    }
    const { gpadlHandle, id } = NvspBuffer.read(this.#message);
    const gpadl = this.#primary.gpadl(gpadlHandle);
    const sizeBytes = gpadl?.sizeBytes ?? 0;
    const sectionBytes = this.#negotiation.sectionBytesFor(sizeBytes);
    if (gpadl === undefined || sizeBytes < sectionBytes || sizeBytes > MAX_RECEIVE_BUFFER_BYTES) {
      this.#host.fault('malformed', { gpadlHandle, sizeBytes });
      return undefined;
    }
    this.#generation = (this.#generation + 1) & GENERATION_MASK;
    return new ReceiveBuffer(gpadl, id, sectionBytes, this.#generation);
  }

  #revokeReceiveBuffer(): void {
    const { id } = NvspRevokeBuffer.read(this.#message);
    if (this.#receiver.buffer?.id !== id) this.#outOfOrder(NvspMessage.REVOKE_RECV_BUF);
    else this.#receiver.setBuffer(undefined);
  }

  #setSendBuffer(malformed: boolean): Uint8Array {
    const { gpadlHandle, id } = NvspBuffer.read(this.#message);
    const ready = this.#version !== 0 && this.#sendBuffer === undefined;
    if (!ready) this.#outOfOrder(NvspMessage.SEND_SEND_BUF);
    const gpadl = malformed || !ready ? undefined : this.#primary.gpadl(gpadlHandle);
    const sizeBytes = gpadl?.sizeBytes ?? 0;
    const accepted =
      gpadl !== undefined && sizeBytes >= SEND_SECTION_BYTES && sizeBytes <= MAX_SEND_BUFFER_BYTES;
    if (accepted) {
      this.#sendBuffer = new SendBuffer(gpadl);
      this.#sendBufferId = id;
    } else if (ready && !malformed) {
      this.#host.fault('malformed', { gpadlHandle, sizeBytes });
    }
    return NvspSendBufferComplete.encode({
      type: NvspMessage.SEND_SEND_BUF_COMPLETE,
      status: accepted ? NvspStatus.SUCCESS : NvspStatus.FAIL,
      sectionSize: accepted ? SEND_SECTION_BYTES : 0,
    });
  }

  #revokeSendBuffer(): void {
    const { id } = NvspRevokeBuffer.read(this.#message);
    if (this.#sendBuffer === undefined || this.#sendBufferId !== id) {
      this.#outOfOrder(NvspMessage.REVOKE_SEND_BUF);
    } else {
      this.#sendBuffer = undefined;
    }
  }

  #grantSubChannels(malformed: boolean): Uint8Array {
    const { operation, subChannelCount } = NvspSubChannelRequest.read(this.#message);
    const ready = this.#version >= NvspVersion.V5 && this.channelCount === 1;
    if (!ready) this.#outOfOrder(NvspMessage.SUBCHANNEL);
    let granted = 0;
    if (ready && !malformed && operation === NVSP_SUBCHANNEL_ALLOCATE) {
      const count = Math.min(subChannelCount, this.#options.maxSubChannels);
      // Before the offers: the guest may open the first at once.
      this.channelCount = 1 + count;
      granted = count === 0 ? 0 : this.#options.offerSubChannels(count);
      this.channelCount = 1 + granted;
    }
    return NvspSubChannelComplete.encode({
      type: NvspMessage.SUBCHANNEL,
      status: granted > 0 ? NvspStatus.SUCCESS : NvspStatus.FAIL,
      subChannelCount: granted,
    });
  }

  /** Tells the guest by which channel to send which flow: by all in turn. */
  #sendTable(): void {
    const message = new Uint8Array(NVSP_MESSAGE_BYTES + 4 * SEND_TABLE_ENTRIES);
    NvspSendTable.write(message, {
      type: NvspMessage.SEND_INDIRECTION_TABLE,
      count: SEND_TABLE_ENTRIES,
      offset: NVSP_MESSAGE_BYTES,
    });
    const table = new DataView(message.buffer, NVSP_MESSAGE_BYTES);
    for (let i = 0; i < SEND_TABLE_ENTRIES; i++) table.setUint32(4 * i, i % this.channelCount, true);
    this.#primary.send(message);
  }

  /** An RNDIS message; its NVSP status. */
  #takeRndis(packet: IncomingPacket): number {
    const { channelType, sendBufferSectionIndex, sendBufferSectionSize } = this.#rndisPacket;
    const isControl = channelType === RndisChannel.CONTROL;
    if (this.#receiver.buffer === undefined || (!isControl && !this.#device.initialized)) {
      this.#outOfOrder(NvspMessage.SEND_RNDIS_PKT);
      return NvspStatus.FAIL;
    }
    const message = this.#transmitter.locate(
      packet,
      this.#sendBuffer,
      sendBufferSectionIndex,
      sendBufferSectionSize,
    );
    if (typeof message === 'number') return message;
    if (isControl) return this.#takeControl(message);
    if (channelType === RndisChannel.DATA) return this.#transmitter.transmit(message, this.maxFrameBytes);
    this.#host.fault('malformed', { channelType });
    return NvspStatus.INVALID_RNDIS_PKT;
  }

  #takeControl(message: GuestBytes): number {
    if (this.#receiver.controlIsFull) return NvspStatus.BUSY;
    const { sizeBytes } = message;
    let accepted = sizeBytes <= MAX_CONTROL_BYTES;
    if (accepted) {
      message.copyTo(this.#controlMessage, 0, sizeBytes);
      accepted = this.#device.control(this.#controlMessage.subarray(0, sizeBytes));
    }
    if (accepted) return NvspStatus.SUCCESS;
    this.#host.fault('malformed', { control: true, sizeBytes });
    return NvspStatus.INVALID_RNDIS_PKT;
  }

  #outOfOrder(type: number): void {
    this.#host.fault('out-of-order', { type });
  }
}
