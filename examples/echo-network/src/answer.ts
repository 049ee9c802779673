import {
  ETHERNET_HEADER_BYTES,
  EtherType,
  etherTypeOf,
  type Frame,
  isAddressedTo,
} from '@kensho/devices-net';
import { hasStation, type Subnet, stationMac } from './subnet.ts';

const MAC_BYTES = 6;
const PAYLOAD = ETHERNET_HEADER_BYTES;

/** ARP for IPv4 on Ethernet (RFC 826): offsets in the frame, and what its requests begin with. */
const Arp = {
  OPERATION: PAYLOAD + 6,
  SENDER_MAC: PAYLOAD + 8,
  SENDER: PAYLOAD + 14,
  TARGET_MAC: PAYLOAD + 18,
  TARGET: PAYLOAD + 24,
  END: PAYLOAD + 28,
} as const;
const ARP_REQUEST = [0, 1, 8, 0, 6, 4, 0, 1] as const;
const ARP_REPLY = 2;

/** The IPv4 header (RFC 791): offsets in the frame. */
const Ip = {
  VERSION_AND_LENGTH: PAYLOAD,
  TOTAL_LENGTH: PAYLOAD + 2,
  FRAGMENT: PAYLOAD + 6,
  PROTOCOL: PAYLOAD + 9,
  SOURCE: PAYLOAD + 12,
  DESTINATION: PAYLOAD + 16,
  END: PAYLOAD + 20,
} as const;
/** "More fragments", and the offset. */
const IS_FRAGMENT = 0x3fff;

/** ICMP (RFC 792): offsets in its message. */
const Icmp = { TYPE: 0, CHECKSUM: 2, END: 8 } as const;
const PROTOCOL_ICMP = 1;
/** Type and code as one number. */
const ECHO_REQUEST = 0x0800;

/**
 * What the stations of a subnet answer to a frame that is complete: to ARP requests and to pings, and nothing to
 * anything else. Nothing in the frame is believed, nor changed.
 */
export function answerTo(frame: Frame, subnet: Subnet): Frame | undefined {
  const { bytes, vlanTag } = frame;
  if (bytes.length < ETHERNET_HEADER_BYTES) return undefined;
  const answer = etherTypeOf(bytes) === EtherType.ARP ? arpReply(bytes, subnet) : echoReply(bytes, subnet);
  return answer && { bytes: answer, vlanTag };
}

function arpReply(request: Uint8Array, subnet: Subnet): Uint8Array | undefined {
  if (request.length < Arp.END || ARP_REQUEST.some((byte, i) => request[PAYLOAD + i] !== byte))
    return undefined;
  const asked = viewOf(request);
  const sender = asked.getUint32(Arp.SENDER);
  const target = asked.getUint32(Arp.TARGET);
  // Who probes for an address, or announces it, is about to use it (RFC 5227): an answer would be a conflict.
  if (sender === 0 || sender === target || !hasStation(subnet, target)) return undefined;
  const mac = stationMac(target);
  const senderMac = request.subarray(Arp.SENDER_MAC, Arp.SENDER_MAC + MAC_BYTES);
  const reply = request.slice(0, Arp.END);
  const view = viewOf(reply);
  reply.set(senderMac);
  reply.set(mac, MAC_BYTES);
  view.setUint16(Arp.OPERATION, ARP_REPLY);
  reply.set(mac, Arp.SENDER_MAC);
  view.setUint32(Arp.SENDER, target);
  reply.set(senderMac, Arp.TARGET_MAC);
  view.setUint32(Arp.TARGET, sender);
  return reply;
}

function echoReply(request: Uint8Array, subnet: Subnet): Uint8Array | undefined {
  if (request.length < Ip.END || etherTypeOf(request) !== EtherType.IPV4) return undefined;
  const asked = viewOf(request);
  const icmp = PAYLOAD + (asked.getUint8(Ip.VERSION_AND_LENGTH) & 0xf) * 4;
  const end = PAYLOAD + asked.getUint16(Ip.TOTAL_LENGTH);
  const destination = asked.getUint32(Ip.DESTINATION);
  const isPing =
    asked.getUint8(Ip.VERSION_AND_LENGTH) >>> 4 === 4 &&
    icmp >= Ip.END &&
    icmp + Icmp.END <= end &&
    end <= request.length &&
    asked.getUint8(Ip.PROTOCOL) === PROTOCOL_ICMP &&
    (asked.getUint16(Ip.FRAGMENT) & IS_FRAGMENT) === 0 &&
    asked.getUint16(icmp + Icmp.TYPE) === ECHO_REQUEST;
  if (!isPing || !hasStation(subnet, destination)) return undefined;
  if (!isAddressedTo(request, stationMac(destination))) return undefined;
  const reply = request.slice();
  const view = viewOf(reply);
  reply.copyWithin(0, MAC_BYTES, 2 * MAC_BYTES);
  reply.set(request.subarray(0, MAC_BYTES), MAC_BYTES);
  // Addresses that change places leave the IP header's checksum right.
  view.setUint32(Ip.SOURCE, destination);
  view.setUint32(Ip.DESTINATION, asked.getUint32(Ip.SOURCE));
  // An echo reply is type 0. Its checksum is mended (RFC 1624) and not made anew: a message that came damaged goes
  // back as such.
  view.setUint16(icmp + Icmp.TYPE, 0);
  const sum = (~asked.getUint16(icmp + Icmp.CHECKSUM) & 0xffff) + (~ECHO_REQUEST & 0xffff);
  view.setUint16(icmp + Icmp.CHECKSUM, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  return reply;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
