import { GpaAccess, PAGE_SIZE } from '@kensho/core';
import type { IncomingPacket } from '@kensho/vmbus';
import type { Frame, FrameOffload } from '../backend/port.ts';
import {
  ETHERNET_HEADER_BYTES,
  EtherType,
  etherTypeOf,
  untagged,
  VLAN_TAG_BYTES,
} from '../frame/ethernet.ts';
import { fold } from '../frame/internet-checksum.ts';
import { finishIpv4Header } from '../frame/offload.ts';
import {
  dataViewOf,
  PacketLayout,
  TCP_CHECKSUM_OFFSET,
  UDP_CHECKSUM_OFFSET,
} from '../frame/packet-layout.ts';
import { NVSP_NO_SECTION, NvspStatus } from '../protocol/nvsp.ts';
import {
  HEADER_OFFSET_MASK,
  LARGE_SEND_IPV6,
  LARGE_SEND_OFFSET_SHIFT,
  LARGE_SEND_SIZE_MASK,
  LARGE_SEND_V2,
  PacketInfoSet,
  TRANSMIT_CHECKSUM_OFFSET_SHIFT,
  TransmitChecksum,
  vlanTagOf,
} from '../protocol/packet-info.ts';
import { RNDIS_HEADER_BYTES, RNDIS_PACKET_BYTES, RndisMessage, RndisPacket } from '../protocol/rndis.ts';
import { FrameMemory } from './frame-memory.ts';
import { GuestBytes } from './guest-bytes.ts';
import type { NetworkFault, NetworkHost } from './network-host.ts';
import type { SendBuffer } from './send-buffer.ts';

/** RNDIS packets that one NVSP message may hold; guests are told. */
export const MAX_PACKETS_PER_MESSAGE = 32;
/** Bytes of one NVSP message's RNDIS messages; guests are told. */
export const MAX_MESSAGE_BYTES: number = 128 * 1024;
/** TCP payload of a large send; with headers and options an IP packet of that size keeps to 16 bits of length. */
export const LARGE_SEND_MAX_BYTES = 65_280;
/** Smallest segment of a large send (Linux, TCP_MIN_SND_MSS): smaller ones make too many frames of one message. */
const LARGE_SEND_MIN_SEGMENT_BYTES = 48;
/** Frames longer than any that a large send makes. */
const LARGE_SEND_FRAME_BYTES = ETHERNET_HEADER_BYTES + 0xffff;
/** Room for all records that a sensible guest sends with a packet. */
const MAX_PACKET_INFO_BYTES = 512;
const IP = ETHERNET_HEADER_BYTES;
const IPV6_BYTES = 40;

/**
 * From the guest to the network: takes RNDIS packets out of a message, and makes frames of them.
 *
 * Headers are copied before they are judged, wherever they lie; a frame's bytes are copied once, straight from the
 * guest's memory into the frame.
 */
export class Transmitter {
  readonly #host: NetworkHost;
  readonly #message = new GuestBytes();
  readonly #memory = new FrameMemory();
  readonly #head = new Uint8Array(RNDIS_PACKET_BYTES + MAX_PACKET_INFO_BYTES);
  readonly #headData = new DataView(this.#head.buffer);
  readonly #rndis = RndisPacket.view().bind(this.#headData, 0);
  readonly #info = new PacketInfoSet();
  readonly #layout = new PacketLayout();

  constructor(host: NetworkHost) {
    this.#host = host;
  }

  /**
   * Resolves where a message's bytes are: the first `sectionBytes` of a section of the send buffer, if it names one,
   * then the packet's ranges.
   *
   * @returns the bytes, good until the next call; an NVSP status where they are not to be had
   */
  locate(
    packet: IncomingPacket,
    sendBuffer: SendBuffer | undefined,
    section: number,
    sectionBytes: number,
  ): GuestBytes | number {
    const message = this.#message;
    message.clear();
    if (section !== NVSP_NO_SECTION) {
      if (sendBuffer?.has(section, sectionBytes) !== true)
        return this.#fail('section', { section, sectionBytes });
      if (!sendBuffer.collect(section, sectionBytes, message.views)) return this.#fail('dma', { section });
    }
    let sizeBytes = section === NVSP_NO_SECTION ? 0 : sectionBytes;
    for (let i = 0; i < packet.rangeCount; i++) {
      const range = packet.ranges[i];
      sizeBytes += range.sizeBytes;
      if (range.offset >= PAGE_SIZE || sizeBytes > MAX_MESSAGE_BYTES)
        return this.#fail('malformed', { sizeBytes });
      const pages = range.firstPage === 0 ? packet.pages : packet.pages.subarray(range.firstPage);
      if (!this.#host.dma.collectPages(pages, range.offset, range.sizeBytes, GpaAccess.READ, message.views)) {
        return this.#fail('dma', { range: i });
      }
    }
    if (sizeBytes < RNDIS_HEADER_BYTES) return this.#fail('malformed', { sizeBytes });
    message.seal();
    return message;
  }

  /**
   * Sends the packets of a data message. The first that makes no sense ends it; those before it are on their way.
   *
   * @param maxFrameBytes - by the guest's MTU
   * @returns NVSP status
   */
  transmit(message: GuestBytes, maxFrameBytes: number): number {
    const { counters, port } = this.#host;
    counters.batchesOut.value++;
    let status: number = NvspStatus.SUCCESS;
    let at = 0;
    for (let count = 0; at < message.sizeBytes && status === NvspStatus.SUCCESS; count++) {
      const left = message.sizeBytes - at;
      if (count === MAX_PACKETS_PER_MESSAGE || left < RNDIS_PACKET_BYTES) {
        status = this.#fail('malformed', { count, left });
        break;
      }
      message.copyTo(this.#head, at, RNDIS_PACKET_BYTES);
      const rndis = this.#rndis;
      const sizeBytes = rndis.length;
      if (rndis.type !== RndisMessage.PACKET || sizeBytes < RNDIS_PACKET_BYTES || sizeBytes > left) {
        status = this.#fail('malformed', { type: rndis.type, sizeBytes, left });
        break;
      }
      const frame = this.#takeFrame(message, at, sizeBytes, maxFrameBytes);
      if (typeof frame === 'number') {
        status = frame;
      } else {
        counters.framesOut.value++;
        counters.bytesOut.value += frame.bytes.length;
        port.send(frame);
      }
      at += sizeBytes;
    }
    message.clear();
    if (status !== NvspStatus.SUCCESS) counters.refused.value++;
    return status;
  }

  /** The frame of the packet message at `at`, whose fixed part has been copied; an NVSP status where it has none. */
  #takeFrame(message: GuestBytes, at: number, sizeBytes: number, maxFrameBytes: number): Frame | number {
    const { dataOffset, dataLength, perPacketInfoOffset, perPacketInfoLength } = this.#rndis;
    const dataStart = RNDIS_HEADER_BYTES + dataOffset;
    if (dataStart < RNDIS_PACKET_BYTES || dataStart + dataLength > sizeBytes) {
      return this.#fail('malformed', { dataOffset, dataLength });
    }
    const info = this.#info;
    const infoStart =
      perPacketInfoLength === 0 ? RNDIS_PACKET_BYTES : RNDIS_HEADER_BYTES + perPacketInfoOffset;
    const infoFits = infoStart >= RNDIS_PACKET_BYTES && infoStart + perPacketInfoLength <= sizeBytes;
    if (!infoFits || perPacketInfoLength > MAX_PACKET_INFO_BYTES) {
      return this.#fail('malformed', { perPacketInfoOffset, perPacketInfoLength });
    }
    if (perPacketInfoLength > 0) message.copyTo(this.#head, at + infoStart, perPacketInfoLength);
    if (!info.read(this.#headData, 0, perPacketInfoLength))
      return this.#fail('malformed', { perPacketInfoLength });
    const limit = info.largeSend === undefined ? maxFrameBytes + VLAN_TAG_BYTES : LARGE_SEND_FRAME_BYTES;
    if (dataLength < ETHERNET_HEADER_BYTES || dataLength > limit) return this.#fail('frame', { dataLength });
    const copy = this.#memory.take(dataLength);
    message.copyTo(copy, at + dataStart, dataLength);
    this.#host.counters.copied.value += dataLength;
    return this.#complete(copy, maxFrameBytes);
  }

  /** Makes a frame of its bytes and the records that came with them. */
  #complete(copy: Uint8Array, maxFrameBytes: number): Frame | number {
    const { vlan, checksum, largeSend } = this.#info;
    const carriesTag = etherTypeOf(copy) === EtherType.VLAN;
    const plain = carriesTag ? untagged(copy) : { bytes: copy };
    const { bytes } = plain;
    const shift = copy.length - bytes.length;
    const vlanTag = vlan === undefined ? plain.vlanTag : vlanTagOf(vlan);
    let offload: FrameOffload | undefined;
    if (largeSend !== undefined) {
      offload = this.#largeSend(bytes, largeSend, shift, maxFrameBytes);
      if (offload === undefined) return this.#fail('frame', { largeSend, sizeBytes: bytes.length });
      this.#host.counters.largeOut.value++;
    } else {
      if (bytes.length > maxFrameBytes) return this.#fail('frame', { sizeBytes: bytes.length });
      if (checksum !== undefined && checksum !== 0) {
        offload = this.#checksum(bytes, checksum, shift);
        if (offload === undefined) return this.#fail('frame', { checksum, sizeBytes: bytes.length });
      }
    }
    return { bytes, vlanTag, offload };
  }

  /**
   * Checksum offload. The IPv4 header's is done at once, because it costs less than to remember it.
   *
   * @param shift - bytes of a VLAN tag that was taken out of the frame, before the headers
   */
  #checksum(bytes: Uint8Array, info: number, shift: number): FrameOffload | undefined {
    const view = dataViewOf(bytes);
    if ((info & TransmitChecksum.IP_HEADER) !== 0 && !finishIpv4Header(view)) return undefined;
    const isTcp = (info & TransmitChecksum.TCP) !== 0;
    if (!isTcp && (info & TransmitChecksum.UDP) === 0) return NOTHING_LEFT;
    const told = (info >>> TRANSMIT_CHECKSUM_OFFSET_SHIFT) & HEADER_OFFSET_MASK;
    const startOffset = told !== 0 ? told - shift : this.#layout.parse(view).transportOffset;
    const fieldOffset = startOffset + (isTcp ? TCP_CHECKSUM_OFFSET : UDP_CHECKSUM_OFFSET);
    if (startOffset < ETHERNET_HEADER_BYTES || fieldOffset + 2 > bytes.length) return undefined;
    return { checksum: { startOffset, fieldOffset } };
  }

  /**
   * Large send, version 2. The guest leaves out what differs from segment to segment: the IP length (and the IPv4
   * header's checksum), and the length in the pseudo header's sum. They are filled in for the whole, so that the
   * frame is right as it is but for its length.
   */
  #largeSend(
    bytes: Uint8Array,
    info: number,
    shift: number,
    maxFrameBytes: number,
  ): FrameOffload | undefined {
    const segmentPayloadBytes = info & LARGE_SEND_SIZE_MASK;
    const tcp = ((info >>> LARGE_SEND_OFFSET_SHIFT) & HEADER_OFFSET_MASK) - shift;
    const isIpv6 = (info & LARGE_SEND_IPV6) !== 0;
    const view = dataViewOf(bytes);
    if ((info & LARGE_SEND_V2) === 0 || bytes.length < IP + IPV6_BYTES) return undefined;
    if (view.getUint16(12) !== (isIpv6 ? EtherType.IPV6 : EtherType.IPV4)) return undefined;
    if (isIpv6) {
      view.setUint16(IP + 4, bytes.length - IP - IPV6_BYTES);
    } else {
      view.setUint16(IP + 2, bytes.length - IP);
      if (!finishIpv4Header(view)) return undefined;
    }
    const layout = this.#layout.parse(view);
    if (!layout.isTcp || layout.transportOffset !== tcp) return undefined;
    const headerBytes = tcp + layout.tcpHeaderBytes(view);
    if (headerBytes === tcp || segmentPayloadBytes < LARGE_SEND_MIN_SEGMENT_BYTES) return undefined;
    if (headerBytes + segmentPayloadBytes > maxFrameBytes) return undefined;
    const fieldOffset = tcp + TCP_CHECKSUM_OFFSET;
    view.setUint16(fieldOffset, fold(layout.pseudoHeaderSum(view, bytes.length - tcp)));
    return { checksum: { startOffset: tcp, fieldOffset }, segmentPayloadBytes };
  }

  #fail(kind: NetworkFault, fields: Readonly<Record<string, unknown>>): number {
    this.#host.fault(kind, fields);
    return kind === 'section' || kind === 'dma' ? NvspStatus.FAIL : NvspStatus.INVALID_RNDIS_PKT;
  }
}

/** Everything that was asked for has been done. */
const NOTHING_LEFT: FrameOffload = {};
