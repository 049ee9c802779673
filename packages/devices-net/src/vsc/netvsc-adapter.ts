import { GuestEvent, GuestIoError, type GuestKernel, type GuestPages, type GuestTask } from '@kensho/core';
import { type GuestChannel, type IncomingPacket, PacketType } from '@kensho/vmbus';
import type { Frame } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES } from '../frame/ethernet.ts';
import type { GuestNetworkInterface, ReceivedFrame } from '../guest-interface.ts';
import {
  NVSP_MESSAGE_BYTES,
  NvspMessage,
  NvspSendTable,
  NvspStatus,
  SEND_TABLE_ENTRIES,
} from '../protocol/nvsp.ts';
import {
  RNDIS_HEADER_BYTES,
  RndisHeader,
  RndisIndicateStatus,
  RndisMessage,
  RndisStatus,
} from '../protocol/rndis.ts';
import type { DeviceFacts } from './bring-up.ts';
import { CONTROL_TRANSACTION, type ControlPath } from './control.ts';
import { encodeFrame } from './frame-codec.ts';
import { ReceiveQueue } from './receive-queue.ts';
import { type TransmitMemory, TransmitQueue } from './transmit-queue.ts';

/** Longest IP packet that a large send may carry. */
const LARGE_SEND_BYTES = 0xffff;

/** A synthetic network adapter as the guest sees it: its channels, and what goes through them. */
export class NetvscAdapter implements GuestNetworkInterface {
  readonly name: string;
  readonly path = 'enlightened';
  readonly offloads = true;
  readonly linkChanged = new GuestEvent();
  mac = new Uint8Array(6);
  mtu = 0;
  linkUp = false;
  readonly #control: ControlPath;
  readonly #receiveBuffer: GuestPages;
  readonly #received: ReceiveQueue;
  readonly #queues: TransmitQueue[] = [];
  #memory: TransmitMemory | undefined;
  #sendTable: readonly number[] = new Array(SEND_TABLE_ENTRIES).fill(0);
  #stopped = false;

  /** @param queueFrames - frames that may wait for programs before the host has to */
  constructor(name: string, control: ControlPath, receiveBuffer: GuestPages, queueFrames: number) {
    this.name = name;
    this.#control = control;
    this.#receiveBuffer = receiveBuffer;
    this.#received = new ReceiveQueue(queueFrames);
  }

  /** Takes what the host told of itself. */
  configure(facts: DeviceFacts, memory: TransmitMemory): void {
    this.mac = facts.mac.slice();
    this.mtu = facts.mtu;
    this.linkUp = facts.linkUp;
    this.#memory = memory;
  }

  /** Takes a channel into use, with its sending task. */
  addChannel(kernel: GuestKernel, channel: GuestChannel): void {
    const queue = new TransmitQueue(channel, this.#memory as TransmitMemory);
    this.#queues.push(queue);
    kernel.spawn(`${this.name}:${channel.subChannelIndex} send`, queue.run());
  }

  *send(frame: Frame): GuestTask {
    if (this.#stopped) throw new GuestIoError(`${this.name}: the network adapter was taken away`);
    const large = frame.offload?.segmentPayloadBytes !== undefined;
    const limit = ETHERNET_HEADER_BYTES + (large ? LARGE_SEND_BYTES : this.mtu);
    if (frame.bytes.length < ETHERNET_HEADER_BYTES || frame.bytes.length > limit) {
      throw new GuestIoError(`${this.name}: a frame of ${frame.bytes.length} bytes`);
    }
    const index = this.#sendTable[flowOf(frame.bytes) % SEND_TABLE_ENTRIES] % this.#queues.length;
    yield* this.#queues[index].send(encodeFrame(frame));
  }

  receive(): GuestTask<ReceivedFrame> {
    return this.#received.receive();
  }

  tryReceive(): ReceivedFrame | undefined {
    return this.#received.tryReceive();
  }

  /** Sends and receives nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#control.stop();
    this.#received.stop();
    for (const queue of this.#queues) queue.stop();
  }

  /** The receiving task of a channel. */
  *receiveFrom(channel: GuestChannel): GuestTask {
    while (!this.#stopped) {
      const packet = channel.read();
      if (packet === undefined) yield* channel.readable.wait();
      else this.#take(channel, packet);
    }
  }

  #take(channel: GuestChannel, packet: IncomingPacket): void {
    switch (packet.type) {
      case PacketType.COMPLETION:
        if (packet.transactionIdLo === CONTROL_TRANSACTION) {
          this.#control.onCompletion(packet.payload);
        } else if (this.#memory?.release(packet.transactionIdLo) === true) {
          for (const queue of this.#queues) queue.wake();
        }
        return;
      case PacketType.TRANSFER_PAGES:
        this.#takeTransfer(channel, packet);
        return;
      case PacketType.IN_BAND:
        this.#takeTable(packet.payload);
        return;
    }
  }

  #takeTransfer(channel: GuestChannel, packet: IncomingPacket): void {
    let status: number = NvspStatus.SUCCESS;
    for (let i = 0; i < packet.rangeCount; i++) {
      const { offset, sizeBytes } = packet.ranges[i];
      const fits = offset + sizeBytes <= this.#receiveBuffer.sizeBytes && sizeBytes >= RNDIS_HEADER_BYTES;
      const message = this.#receiveBuffer.bytes.subarray(offset, offset + sizeBytes);
      if (!fits || !this.#takeMessage(message)) status = NvspStatus.FAIL;
    }
    const { transactionIdLo, transactionIdHi } = packet;
    const queue = this.#queues[channel.subChannelIndex];
    if (queue === undefined) {
      // Before the sending tasks there is only the control path, which has the ring for itself.
      const completed = channel.tryComplete(transactionIdLo, transactionIdHi, CONTROL_TAKEN);
      if (!completed) throw new GuestIoError(`${this.name}: the ring is full before anything was sent`);
      channel.flush();
      return;
    }
    this.#received.done({ giveBack: () => queue.complete(transactionIdLo, transactionIdHi, status) });
  }

  #takeMessage(message: Uint8Array): boolean {
    switch (RndisHeader.read(message).type) {
      case RndisMessage.PACKET:
        return this.#received.take(message);
      case RndisMessage.INDICATE_STATUS:
        return message.length >= RndisIndicateStatus.sizeBytes && this.#takeStatus(message);
      case RndisMessage.INITIALIZE_COMPLETE:
      case RndisMessage.QUERY_COMPLETE:
      case RndisMessage.SET_COMPLETE:
      case RndisMessage.RESET_COMPLETE:
      case RndisMessage.KEEPALIVE_COMPLETE:
        if (message.length < 2 * RNDIS_HEADER_BYTES) return false;
        this.#control.onReply(message.slice());
        return true;
      default:
        return false;
    }
  }

  #takeStatus(message: Uint8Array): boolean {
    const { status } = RndisIndicateStatus.read(message);
    if (status !== RndisStatus.MEDIA_CONNECT && status !== RndisStatus.MEDIA_DISCONNECT) return true;
    const up = status === RndisStatus.MEDIA_CONNECT;
    if (up !== this.linkUp) {
      this.linkUp = up;
      this.linkChanged.set();
    }
    return true;
  }

  /** By which channel the host wants which flow. */
  #takeTable(payload: Uint8Array): void {
    if (payload.length < NVSP_MESSAGE_BYTES) return;
    const { type, count, offset } = NvspSendTable.read(payload);
    const fits = count === SEND_TABLE_ENTRIES && offset + 4 * count <= payload.length;
    if (type !== NvspMessage.SEND_INDIRECTION_TABLE || !fits) return;
    const view = new DataView(payload.buffer, payload.byteOffset + offset, 4 * count);
    this.#sendTable = Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
  }
}

/** The start of a successful completion: what a control message needs. */
const CONTROL_TAKEN = Uint8Array.of(
  NvspMessage.SEND_RNDIS_PKT_COMPLETE,
  0,
  0,
  0,
  NvspStatus.SUCCESS,
  0,
  0,
  0,
);

/** A number that is the same for all frames of a flow: of what usually differs between flows. */
function flowOf(bytes: Uint8Array): number {
  // The ends of the addresses and ports of TCP and UDP over IPv4.
  return bytes.length < 38 ? 0 : bytes[29] ^ bytes[33] ^ bytes[35] ^ bytes[37];
}
