import { ETHERNET_HEADER_BYTES, EtherType } from './ethernet.ts';
import { sumOf } from './internet-checksum.ts';

/** Protocols above IP (IANA, "Protocol Numbers"). */
export const IpProtocol = { TCP: 6, UDP: 17, ICMPV6: 58 } as const;

/** Bits of a TCP header's byte 13. */
export const TcpFlag = { FIN: 0x01, PSH: 0x08, CWR: 0x80 } as const;

const IPV4_MIN_BYTES = 20;
const IPV6_BYTES = 40;
export const TCP_MIN_BYTES = 20;
export const UDP_BYTES = 8;
/** Where TCP and UDP have their checksum, from the header's start. */
export const TCP_CHECKSUM_OFFSET = 16;
export const UDP_CHECKSUM_OFFSET = 6;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
/** Extension headers of IPv6 that are walked before the packet counts as one of no known protocol. */
const MAX_EXTENSION_HEADERS = 8;

/**
 * Where the headers of an untagged Ethernet frame lie. One object serves many frames: {@link parse} fills it anew.
 * All offsets are from the frame's first byte, and all that it names lies within the frame.
 */
export class PacketLayout {
  /** 4, 6, or 0 for what is not IP or not well-formed. */
  ipVersion = 0;
  /** Where TCP, UDP or whatever IP carries begins. */
  transportOffset = 0;
  /** End of the IP packet; padding of the frame may follow. */
  end = 0;
  /** Of the transport; -1 where it is not known. */
  protocol = -1;
  /** A fragment: its transport header is not whole, or its checksum covers more than this frame. */
  isFragment = false;

  /** Looks at a frame of at least 14 bytes. */
  parse(frame: DataView): this {
    this.ipVersion = 0;
    this.protocol = -1;
    this.isFragment = false;
    this.transportOffset = 0;
    this.end = 0;
    const etherType = frame.getUint16(12);
    if (etherType === EtherType.IPV4) this.#parseIpv4(frame);
    else if (etherType === EtherType.IPV6) this.#parseIpv6(frame);
    return this;
  }

  get isTcp(): boolean {
    return (
      this.protocol === IpProtocol.TCP && !this.isFragment && this.end - this.transportOffset >= TCP_MIN_BYTES
    );
  }

  get isUdp(): boolean {
    return (
      this.protocol === IpProtocol.UDP && !this.isFragment && this.end - this.transportOffset >= UDP_BYTES
    );
  }

  /** Bytes of a TCP header with its options; 0 where it says something that cannot be. */
  tcpHeaderBytes(frame: DataView): number {
    const sizeBytes = (frame.getUint8(this.transportOffset + 12) >>> 4) * 4;
    return sizeBytes >= TCP_MIN_BYTES && this.transportOffset + sizeBytes <= this.end ? sizeBytes : 0;
  }

  /**
   * The sum over the pseudo header of TCP or UDP (RFC 9293 3.1, RFC 8200 8.1).
   *
   * @param transportBytes - length of the transport header and its data
   */
  pseudoHeaderSum(frame: DataView, transportBytes: number): number {
    const addresses = this.ipVersion === 4 ? ETHERNET_HEADER_BYTES + 12 : ETHERNET_HEADER_BYTES + 8;
    const addressBytes = this.ipVersion === 4 ? 8 : 32;
    return sumOf(frame, addresses, addresses + addressBytes) + this.protocol + transportBytes;
  }

  #parseIpv4(frame: DataView): void {
    const ip = ETHERNET_HEADER_BYTES;
    if (frame.byteLength < ip + IPV4_MIN_BYTES) return;
    const versionAndLength = frame.getUint8(ip);
    const headerBytes = (versionAndLength & 0xf) * 4;
    const end = ip + frame.getUint16(ip + 2);
    if (versionAndLength >>> 4 !== 4 || headerBytes < IPV4_MIN_BYTES) return;
    if (end < ip + headerBytes || end > frame.byteLength) return;
    this.ipVersion = 4;
    this.transportOffset = ip + headerBytes;
    this.end = end;
    this.protocol = frame.getUint8(ip + 9);
    // More fragments, or an offset.
    this.isFragment = (frame.getUint16(ip + 6) & 0x3fff) !== 0;
  }

  #parseIpv6(frame: DataView): void {
    const ip = ETHERNET_HEADER_BYTES;
    if (frame.byteLength < ip + IPV6_BYTES || frame.getUint8(ip) >>> 4 !== 6) return;
    const end = ip + IPV6_BYTES + frame.getUint16(ip + 4);
    if (end > frame.byteLength) return;
    this.ipVersion = 6;
    this.end = end;
    let next = frame.getUint8(ip + 6);
    let at = ip + IPV6_BYTES;
    for (let i = 0; i < MAX_EXTENSION_HEADERS; i++) {
      if (next !== HOP_BY_HOP && next !== ROUTING && next !== FRAGMENT && next !== DESTINATION_OPTIONS) {
        this.protocol = next;
        break;
      }
      if (at + 8 > end) break;
      if (next === FRAGMENT) this.isFragment = true;
      const sizeBytes = next === FRAGMENT ? 8 : 8 + frame.getUint8(at + 1) * 8;
      next = frame.getUint8(at);
      at += sizeBytes;
      if (at > end) break;
    }
    this.transportOffset = Math.min(at, end);
  }
}

/** A view of a frame's bytes. */
export function dataViewOf(bytes: Uint8Array): DataView<ArrayBufferLike> {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
