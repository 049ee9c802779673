import type { HostChannel, TransferRange } from '@kensho/vmbus';
import type { Frame, FrameOffload } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES } from '../frame/ethernet.ts';
import { fold, sumOf } from '../frame/internet-checksum.ts';
import { finishedChecksum, finishFrame, finishIpv4Header, isWithin } from '../frame/offload.ts';
import { dataViewOf, PacketLayout } from '../frame/packet-layout.ts';
import { NVSP_NO_SECTION, NvspMessage, NvspRndisPacket, RndisChannel } from '../protocol/nvsp.ts';
import {
  PACKET_ID_V1,
  PACKET_INFO_BYTES,
  PacketIdFlag,
  PacketInfo,
  ReceiveChecksum,
  vlanInfoOf,
  writePacketInfo,
} from '../protocol/packet-info.ts';
import { RNDIS_HEADER_BYTES, RNDIS_PACKET_BYTES, RndisMessage, RndisPacket } from '../protocol/rndis.ts';
import { GuestBytes } from './guest-bytes.ts';
import type { NetworkHost } from './network-host.ts';
import { NO_SECTION, type ReceiveBuffer } from './receive-buffer.ts';
import type { ReceiveScaling } from './receive-scaling.ts';
import type { SendCompletions } from './send-completions.ts';

/** What the guest wants of the frames that it gets. */
export interface ReceiveSettings {
  /** By its MTU. */
  readonly maxFrameBytes: number;
  readonly scaling: ReceiveScaling;
  /** Whether checksums of that kind are to be looked at for it. */
  wantsChecksum(ipVersion: number, isTcp: boolean): boolean;
  /** Whether it takes TCP segments longer than its MTU. */
  wantsCoalesced(ipVersion: number): boolean;
}

/** Room for the RNDIS header and all records that go with a frame, in front of it in its section. */
export const RECEIVE_HEAD_BYTES: number = RNDIS_PACKET_BYTES + 4 * PACKET_INFO_BYTES;
/** Bytes of a frame that are copied behind its RNDIS header before both go to the guest: all headers of a usual one. */
const INLINE_BYTES = 192;
/** Frames, or parts of them, in one packet of the ring; Linux takes 562. */
const MAX_RANGES = 128;
/** Control messages that wait for a section. */
const MAX_CONTROL = 32;

const DATA_MESSAGE = rndisPacketMessage(RndisChannel.DATA);
const CONTROL_MESSAGE = rndisPacketMessage(RndisChannel.CONTROL);

/**
 * From the network to the guest: puts frames, with what is known about them, into sections of the receive buffer.
 * Those that come in one round of the run loop go out in one packet for each channel.
 *
 * Checksums that a sender left out are finished here, so that no guest ever sees (or forwards) a wrong one. A large
 * TCP segment goes to a guest that takes coalesced ones as it is, in parts, marked as not holding its checksum;
 * for any other guest it is cut.
 */
export class Receiver {
  readonly #host: NetworkHost;
  readonly #settings: ReceiveSettings;
  readonly #queues: (ReceiveQueue | undefined)[] = [];
  #buffer: ReceiveBuffer | undefined;
  readonly #control: Uint8Array[] = [];
  /** The network holds a frame back. */
  #waiting = false;
  readonly #layout = new PacketLayout();
  readonly #section = new GuestBytes();
  /** The head ends where the frame's first bytes begin, so that these are always at the same place. */
  readonly #scratch = new Uint8Array(RECEIVE_HEAD_BYTES + INLINE_BYTES);
  readonly #scratchData = new DataView(this.#scratch.buffer);
  readonly #rndis = RndisPacket.view();
  // What goes with the frame at hand.
  #checksumInfo = 0;
  #hash: number | undefined;

  constructor(host: NetworkHost, settings: ReceiveSettings) {
    this.#host = host;
    this.#settings = settings;
  }

  /** The buffer in use; without one nothing is received. */
  get buffer(): ReceiveBuffer | undefined {
    return this.#buffer;
  }

  /** Takes a buffer into use; without one, ends that of the one before: it is not touched any more. */
  setBuffer(buffer: ReceiveBuffer | undefined): void {
    for (const queue of this.#queues) queue?.abandon();
    this.#buffer = buffer;
    this.resume();
  }

  /** @param completions - those that wait for something to go to the guest by the channel */
  openChannel(channel: HostChannel, completions: SendCompletions): void {
    this.#queues[channel.subChannelIndex] = new ReceiveQueue(
      this.#host,
      channel,
      completions,
      () => this.#buffer,
    );
  }

  closeChannel(index: number): void {
    this.#queues[index]?.abandon();
    this.#queues[index] = undefined;
    this.#buffer?.takeBackAll(index);
    this.resume();
  }

  /** The guest gave a packet's sections back; false where it never had them. {@link resume} follows. */
  complete(index: number, transactionIdLo: number, transactionIdHi: number): boolean {
    return this.#buffer?.takeBack(transactionIdLo, transactionIdHi, index) === true;
  }

  /** Uses sections that became free: for control messages first, then for what the network holds. */
  resume(): void {
    this.sendControl();
    if (!this.#waiting || this.#buffer?.freeCount === 0) return;
    this.#waiting = false;
    this.#host.port.receiveReady();
  }

  /** Whether control messages wait in such number that the guest must take some first. */
  get controlIsFull(): boolean {
    return this.#control.length >= MAX_CONTROL;
  }

  /** Queues a control message, which must not be longer than a section. {@link sendControl} follows. */
  queueControl(message: Uint8Array): void {
    this.#control.push(message);
  }

  /** Sends queued control messages for which there are sections; {@link resume} does the rest. */
  sendControl(): void {
    const buffer = this.#buffer;
    const queue = this.#queues[0];
    while (this.#control.length > 0 && buffer !== undefined && queue !== undefined && buffer.freeCount > 0) {
      queue.sendControl(buffer, this.#control.shift() as Uint8Array, this.#section);
    }
  }

  /** Takes a frame of at least 14 bytes; false where it has to wait for a section. */
  receive(frame: Frame): boolean {
    const buffer = this.#buffer;
    if (buffer === undefined) return this.#drop();
    const { bytes } = frame;
    if (bytes.length <= this.#settings.maxFrameBytes) return this.#receiveWhole(buffer, frame);
    const segmentPayloadBytes = frame.offload?.segmentPayloadBytes;
    if (segmentPayloadBytes === undefined) return this.#drop();
    const view = dataViewOf(bytes);
    const layout = this.#layout.parse(view);
    if (layout.isTcp && this.#settings.wantsCoalesced(layout.ipVersion)) {
      return this.#receiveCoalesced(buffer, frame, view);
    }
    return this.#receiveCut(buffer, frame, segmentPayloadBytes);
  }

  #drop(): boolean {
    this.#host.counters.dropped.value++;
    return true;
  }

  /** Whether a frame gets that many sections; where it has to wait, the network will be told. */
  #hasRoom(buffer: ReceiveBuffer, sections: number): boolean {
    if (buffer.freeCount >= sections) return true;
    this.#waiting = true;
    this.#host.counters.waits.value++;
    return false;
  }

  #receiveWhole(buffer: ReceiveBuffer, frame: Frame): boolean {
    if (!this.#hasRoom(buffer, 1)) return false;
    const { bytes, offload } = frame;
    const view = dataViewOf(bytes);
    this.#layout.parse(view);
    const inline = Math.min(bytes.length, INLINE_BYTES);
    this.#scratch.set(inline === bytes.length ? bytes : bytes.subarray(0, inline), RECEIVE_HEAD_BYTES);
    if (offload !== undefined && !this.#finish(view, offload, inline)) {
      return this.#receiveCut(buffer, frame, bytes.length);
    }
    this.#checksumInfo = this.#judge(view, offload);
    const queue = this.#chooseQueue(view);
    const head = this.#writeHead(bytes.length, frame.vlanTag, undefined);
    if (this.#put(buffer, queue, head, bytes, 0, inline, bytes.length)) this.#count(bytes.length);
    return true;
  }

  /** Finishes a frame in memory of its own, and cuts a large segment, for a guest that does not take one. */
  #receiveCut(buffer: ReceiveBuffer, frame: Frame, segmentPayloadBytes: number): boolean {
    const pieces = Math.ceil(frame.bytes.length / Math.max(1, segmentPayloadBytes));
    if (pieces > buffer.sectionCount) return this.#drop();
    if (!this.#hasRoom(buffer, pieces)) return false;
    for (const piece of finishFrame(frame)) {
      if (piece.bytes.length <= this.#settings.maxFrameBytes) this.#receiveWhole(buffer, piece);
      else this.#drop();
    }
    return true;
  }

  /** A large segment as a whole: parts of it in several sections, all in one packet of the ring. */
  #receiveCoalesced(buffer: ReceiveBuffer, frame: Frame, view: DataView): boolean {
    const { bytes, offload } = frame;
    const partBytes = buffer.sectionBytes - RECEIVE_HEAD_BYTES;
    const parts = Math.ceil(bytes.length / partBytes);
    if (parts > buffer.sectionCount || parts > MAX_RANGES) return this.#drop();
    if (!this.#hasRoom(buffer, parts)) return false;
    const isIpv4 = this.#layout.ipVersion === 4;
    this.#checksumInfo = ReceiveChecksum.TCP_SUCCEEDED | ReceiveChecksum.TCP_VALUE_INVALID;
    if (isIpv4) this.#checksumInfo |= ReceiveChecksum.IP_SUCCEEDED;
    if (isIpv4 && offload?.ipv4HeaderChecksum === true)
      this.#checksumInfo |= ReceiveChecksum.IP_VALUE_INVALID;
    const queue = this.#chooseQueue(view);
    queue.reserve(parts);
    for (let part = 0; part < parts; part++) {
      const start = part * partBytes;
      const end = Math.min(bytes.length, start + partBytes);
      let flags = PacketIdFlag.SUB_ALLOCATION;
      if (part === 0) flags |= PacketIdFlag.FIRST_FRAGMENT;
      if (part === parts - 1) flags |= PacketIdFlag.LAST_FRAGMENT;
      const head = this.#writeHead(end - start, part === 0 ? frame.vlanTag : undefined, flags);
      // Of a segment with a part missing the guest gets nothing.
      if (!this.#put(buffer, queue, head, bytes, start, 0, end)) return true;
    }
    this.#host.counters.largeIn.value++;
    this.#count(bytes.length);
    return true;
  }

  #count(sizeBytes: number): void {
    const { counters } = this.#host;
    counters.framesIn.value++;
    counters.bytesIn.value += sizeBytes;
  }

  /** Writes what the sender left out into the copy of the frame's headers; false where it does not belong there. */
  #finish(view: DataView, offload: FrameOffload, inline: number): boolean {
    if (offload.ipv4HeaderChecksum === true) {
      const headers = new DataView(this.#scratch.buffer, RECEIVE_HEAD_BYTES, inline);
      if (!finishIpv4Header(headers)) return false;
    }
    const { checksum } = offload;
    if (checksum === undefined) return true;
    if (!isWithin(checksum, view.byteLength) || checksum.fieldOffset + 2 > inline) return false;
    const value = finishedChecksum(view, checksum);
    this.#scratchData.setUint16(RECEIVE_HEAD_BYTES + checksum.fieldOffset, value);
    return true;
  }

  /** What to tell the guest about the frame's checksums; 0 for nothing. */
  #judge(view: DataView, offload: FrameOffload | undefined): number {
    const layout = this.#layout;
    if (layout.ipVersion === 0) return 0;
    const { isTcp } = layout;
    if (!isTcp && !layout.isUdp) return 0;
    if (!this.#settings.wantsChecksum(layout.ipVersion, isTcp)) return 0;
    let info = 0;
    if (layout.ipVersion === 4) {
      const headerIsRight =
        offload?.ipv4HeaderChecksum === true ||
        fold(sumOf(view, ETHERNET_HEADER_BYTES, layout.transportOffset)) === 0xffff;
      info = headerIsRight ? ReceiveChecksum.IP_SUCCEEDED : ReceiveChecksum.IP_FAILED;
    }
    const start = layout.transportOffset;
    const finished = offload?.checksum?.startOffset === start;
    // UDP may have none.
    if (!finished && !isTcp && view.getUint16(start + 6) === 0) return info;
    const isRight =
      finished ||
      fold(layout.pseudoHeaderSum(view, layout.end - start) + sumOf(view, start, layout.end)) === 0xffff;
    if (isTcp) return info | (isRight ? ReceiveChecksum.TCP_SUCCEEDED : ReceiveChecksum.TCP_FAILED);
    return info | (isRight ? ReceiveChecksum.UDP_SUCCEEDED : ReceiveChecksum.UDP_FAILED);
  }

  #chooseQueue(view: DataView): ReceiveQueue {
    const { scaling } = this.#settings;
    this.#hash = scaling.hash(view, this.#layout);
    const index = this.#hash === undefined ? 0 : scaling.channelFor(this.#hash);
    return this.#queues[index] ?? (this.#queues[0] as ReceiveQueue);
  }

  /**
   * Writes an RNDIS packet's head so that it ends where the frame begins.
   *
   * @param packetId - flags of a part of a coalesced segment
   * @returns where it begins in the scratch area
   */
  #writeHead(dataLength: number, vlanTag: number | undefined, packetId: number | undefined): number {
    // A segment's first part says everything; those after it have only their place.
    const follows = packetId !== undefined && (packetId & PacketIdFlag.FIRST_FRAGMENT) === 0;
    const hasChecksum = !follows && this.#checksumInfo !== 0;
    const hasHash = !follows && this.#hash !== undefined;
    const records =
      Number(hasChecksum) + Number(hasHash) + Number(vlanTag !== undefined) + Number(packetId !== undefined);
    const infoBytes = records * PACKET_INFO_BYTES;
    const start = RECEIVE_HEAD_BYTES - RNDIS_PACKET_BYTES - infoBytes;
    this.#scratch.fill(0, start, RECEIVE_HEAD_BYTES);
    const rndis = this.#rndis.bind(this.#scratchData, start);
    rndis.type = RndisMessage.PACKET;
    rndis.length = RNDIS_PACKET_BYTES + infoBytes + dataLength;
    rndis.dataOffset = RNDIS_PACKET_BYTES - RNDIS_HEADER_BYTES + infoBytes;
    rndis.dataLength = dataLength;
    if (records === 0) return start;
    rndis.perPacketInfoOffset = RNDIS_PACKET_BYTES - RNDIS_HEADER_BYTES;
    rndis.perPacketInfoLength = infoBytes;
    const data = this.#scratchData;
    let at = start + RNDIS_PACKET_BYTES;
    if (hasChecksum) at = writePacketInfo(data, at, PacketInfo.CHECKSUM, this.#checksumInfo);
    if (vlanTag !== undefined) at = writePacketInfo(data, at, PacketInfo.IEEE_8021Q, vlanInfoOf(vlanTag));
    if (this.#hash !== undefined && hasHash)
      at = writePacketInfo(data, at, PacketInfo.HASH_VALUE, this.#hash);
    if (packetId !== undefined) writePacketInfo(data, at, PacketInfo.PACKET_ID, PACKET_ID_V1 | packetId);
    return start;
  }

  /**
   * Puts a head and a frame's bytes into a section: `inline` bytes of the frame stand behind the head already.
   *
   * @returns false where the guest's memory is not there
   */
  #put(
    buffer: ReceiveBuffer,
    queue: ReceiveQueue,
    head: number,
    bytes: Uint8Array,
    start: number,
    inline: number,
    end: number,
  ): boolean {
    const headBytes = RECEIVE_HEAD_BYTES - head + inline;
    const sizeBytes = headBytes + (end - start - inline);
    const section = queue.take(buffer);
    if (!buffer.open(section, sizeBytes, this.#section)) {
      this.#host.fault('dma', { section });
      queue.abandon();
      return false;
    }
    this.#section.copyFrom(this.#scratch.subarray(head, head + headBytes), 0);
    if (start + inline < end) this.#section.copyFrom(bytes.subarray(start + inline, end), headBytes);
    this.#section.clear();
    this.#host.counters.copied.value += end - start;
    queue.add(buffer.offsetOf(section), sizeBytes);
    return true;
  }
}

interface MutableRange {
  offset: number;
  sizeBytes: number;
}

/** What goes to the guest by one channel: the sections of the packet that is being put together. */
class ReceiveQueue {
  readonly #host: NetworkHost;
  readonly #channel: HostChannel;
  readonly #completions: SendCompletions;
  readonly #currentBuffer: () => ReceiveBuffer | undefined;
  readonly #ranges: MutableRange[] = [];
  /** Ranges that are not in use. */
  readonly #spare: MutableRange[] = [];
  #chain = NO_SECTION;
  #scheduled = false;

  constructor(
    host: NetworkHost,
    channel: HostChannel,
    completions: SendCompletions,
    currentBuffer: () => ReceiveBuffer | undefined,
  ) {
    this.#host = host;
    this.#channel = channel;
    this.#completions = completions;
    this.#currentBuffer = currentBuffer;
  }

  /** Makes sure that `count` ranges go into one packet. */
  reserve(count: number): void {
    if (this.#ranges.length + count > MAX_RANGES) this.#flush();
  }

  /** Takes a section for the packet, whose memory is filled next. */
  take(buffer: ReceiveBuffer): number {
    this.reserve(1);
    this.#chain = buffer.take(this.#chain);
    return this.#chain;
  }

  /** The section that was taken last holds `sizeBytes`. */
  add(offset: number, sizeBytes: number): void {
    const range = this.#spare.pop() ?? { offset: 0, sizeBytes: 0 };
    range.offset = offset;
    range.sizeBytes = sizeBytes;
    this.#ranges.push(range);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#host.work.defer(this.#task);
  }

  /** Drops what has not gone out: its buffer ends, or cannot be written. */
  abandon(): void {
    if (this.#chain !== NO_SECTION) this.#currentBuffer()?.release(this.#chain);
    this.#host.counters.dropped.value += this.#ranges.length;
    this.#clear();
  }

  /** Sends a control message in a packet of its own. */
  sendControl(buffer: ReceiveBuffer, message: Uint8Array, memory: GuestBytes): void {
    const section = buffer.take(NO_SECTION);
    if (!buffer.open(section, message.length, memory)) {
      this.#host.fault('dma', { section });
      buffer.release(section);
      return;
    }
    memory.copyFrom(message, 0);
    memory.clear();
    const ranges: TransferRange[] = [{ offset: buffer.offsetOf(section), sizeBytes: message.length }];
    const transactionId = buffer.lend(section, this.#channel.subChannelIndex);
    this.#completions.flush();
    this.#channel.sendTransferPages(buffer.id, ranges, CONTROL_MESSAGE, transactionId);
  }

  readonly #task = (): void => {
    this.#scheduled = false;
    this.#flush();
  };

  #flush(): void {
    const buffer = this.#currentBuffer();
    if (this.#chain === NO_SECTION || buffer === undefined) return;
    const transactionId = buffer.lend(this.#chain, this.#channel.subChannelIndex);
    this.#completions.flush();
    this.#channel.sendTransferPages(buffer.id, this.#ranges, DATA_MESSAGE, transactionId);
    this.#host.counters.batchesIn.value++;
    this.#clear();
  }

  #clear(): void {
    this.#chain = NO_SECTION;
    for (const range of this.#ranges) this.#spare.push(range);
    this.#ranges.length = 0;
  }
}

function rndisPacketMessage(channelType: number): Uint8Array {
  return NvspRndisPacket.encode({
    type: NvspMessage.SEND_RNDIS_PKT,
    channelType,
    sendBufferSectionIndex: NVSP_NO_SECTION,
  });
}
