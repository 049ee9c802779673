import { ETHERNET_HEADER_BYTES, EtherType } from '../../frame/ethernet.ts';
import { complementOf, sumOf } from '../../frame/internet-checksum.ts';
import { dataViewOf, UDP_BYTES } from '../../frame/packet-layout.ts';
import { MAC_BYTES } from '../mac.ts';
import type { Ipv4 } from './ipv4-address.ts';

/** Where an IPv4 header begins, and how long it is without options; so are all that we make. */
export const IPV4_OFFSET = ETHERNET_HEADER_BYTES;
export const IPV4_BYTES = 20;
/** Where the transport's header begins in packets that we make. */
export const TRANSPORT_OFFSET = IPV4_OFFSET + IPV4_BYTES;
export const MAX_IPV4_BYTES = 65535;

export const Protocol = { ICMP: 1, TCP: 6, UDP: 17 } as const;

/** Bits of the fragment word (RFC 791, 3.1). */
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const FRAGMENT_OFFSET_MASK = 0x1fff;

const TIME_TO_LIVE = 64;

/** An IPv4 packet that has been checked; one object serves all. Views are of the frame's own bytes. */
export class Ipv4Packet {
  /** From the IP header's first byte; nothing behind the packet's end. */
  bytes: Uint8Array = EMPTY;
  view: DataView = dataViewOf(EMPTY);
  headerBytes = 0;
  source: Ipv4 = 0;
  destination: Ipv4 = 0;
  protocol = 0;
  id = 0;
  /** In bytes. */
  fragmentOffset = 0;
  moreFragments = false;

  /**
   * Reads a packet.
   *
   * @param bytes - from the IP header to the frame's end, padding included
   * @param checksumDone - whether the header's checksum is there to be verified
   * @returns whether it is sound
   */
  parse(bytes: Uint8Array, checksumDone: boolean): boolean {
    if (bytes.length < IPV4_BYTES) return false;
    const whole = dataViewOf(bytes);
    const headerBytes = (whole.getUint8(0) & 0xf) * 4;
    const totalBytes = whole.getUint16(2);
    if (whole.getUint8(0) >>> 4 !== 4 || headerBytes < IPV4_BYTES) return false;
    if (totalBytes < headerBytes || totalBytes > bytes.length) return false;
    if (checksumDone && complementOf(sumOf(whole, 0, headerBytes)) !== 0) return false;
    this.bytes = bytes.subarray(0, totalBytes);
    this.view = dataViewOf(this.bytes);
    this.headerBytes = headerBytes;
    this.source = whole.getUint32(12);
    this.destination = whole.getUint32(16);
    this.protocol = whole.getUint8(9);
    this.id = whole.getUint16(4);
    const fragment = whole.getUint16(6);
    this.fragmentOffset = (fragment & FRAGMENT_OFFSET_MASK) * 8;
    this.moreFragments = (fragment & MORE_FRAGMENTS) !== 0;
    return true;
  }

  /** Whether the transport's checksum, over the pseudo header and all that the packet carries, is right. */
  transportChecksumIsRight(): boolean {
    const carried = this.bytes.length - this.headerBytes;
    const sum = sumOf(this.view, 12, 20) + this.protocol + carried;
    return complementOf(sum + sumOf(this.view, this.headerBytes, this.bytes.length)) === 0;
  }
}

const EMPTY = new Uint8Array(0);

/** Who a packet goes from and to. */
export interface PacketEnds {
  readonly sourceMac: Uint8Array;
  readonly destinationMac: Uint8Array;
  readonly source: Ipv4;
  readonly destination: Ipv4;
}

/** Writes the Ethernet and the IPv4 header of a packet that ends where its buffer does, checksum included. */
export function writeHeaders(
  bytes: Uint8Array,
  view: DataView,
  ends: PacketEnds,
  protocol: number,
  id: number,
  fragment: number,
): void {
  writeEthernetHeader(bytes, ends.destinationMac, ends.sourceMac, EtherType.IPV4);
  view.setUint16(IPV4_OFFSET, 0x4500);
  view.setUint16(IPV4_OFFSET + 2, bytes.length - IPV4_OFFSET);
  view.setUint16(IPV4_OFFSET + 4, id);
  view.setUint16(IPV4_OFFSET + 6, fragment);
  view.setUint8(IPV4_OFFSET + 8, TIME_TO_LIVE);
  view.setUint8(IPV4_OFFSET + 9, protocol);
  view.setUint32(IPV4_OFFSET + 12, ends.source);
  view.setUint32(IPV4_OFFSET + 16, ends.destination);
  view.setUint16(IPV4_OFFSET + 10, 0);
  view.setUint16(IPV4_OFFSET + 10, complementOf(sumOf(view, IPV4_OFFSET, TRANSPORT_OFFSET)));
}

export function writeEthernetHeader(
  bytes: Uint8Array,
  destinationMac: Uint8Array,
  sourceMac: Uint8Array,
  etherType: number,
): void {
  bytes.set(destinationMac);
  bytes.set(sourceMac, MAC_BYTES);
  bytes[2 * MAC_BYTES] = etherType >>> 8;
  bytes[2 * MAC_BYTES + 1] = etherType & 0xff;
}

/** A UDP header and its data, with the checksum, ready to be put into packets. */
export function udpDatagram(
  ends: PacketEnds,
  sourcePort: number,
  destinationPort: number,
  data: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(UDP_BYTES + data.length);
  const view = dataViewOf(bytes);
  view.setUint16(0, sourcePort);
  view.setUint16(2, destinationPort);
  view.setUint16(4, bytes.length);
  bytes.set(data, UDP_BYTES);
  const sum = addressSum(ends) + Protocol.UDP + bytes.length + sumOf(view, 0, bytes.length);
  // Zero would mean that there is none.
  view.setUint16(6, complementOf(sum) || 0xffff);
  return bytes;
}

/** What the addresses add to the sum over a pseudo header. */
export function addressSum({ source, destination }: PacketEnds): number {
  return (source >>> 16) + (source & 0xffff) + (destination >>> 16) + (destination & 0xffff);
}

/**
 * Packets around what a transport made: one, or fragments where it does not fit the MTU.
 *
 * @param carried - transport header and data, at most 65515 bytes
 */
export function packetsOf(
  ends: PacketEnds,
  protocol: number,
  id: number,
  carried: Uint8Array,
  mtu: number,
): Uint8Array[] {
  const room = mtu - IPV4_BYTES;
  const step = carried.length <= room ? carried.length : room & ~7;
  const packets: Uint8Array[] = [];
  let at = 0;
  do {
    const piece = carried.subarray(at, at + step);
    const more = at + piece.length < carried.length;
    const bytes = new Uint8Array(TRANSPORT_OFFSET + piece.length);
    bytes.set(piece, TRANSPORT_OFFSET);
    writeHeaders(bytes, dataViewOf(bytes), ends, protocol, id, (at >>> 3) | (more ? MORE_FRAGMENTS : 0));
    packets.push(bytes);
    at += piece.length;
  } while (at < carried.length);
  return packets;
}
