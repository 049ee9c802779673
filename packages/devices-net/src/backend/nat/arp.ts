import { EtherType } from '../../frame/ethernet.ts';
import { dataViewOf } from '../../frame/packet-layout.ts';
import { MAC_BYTES } from '../mac.ts';
import type { Ipv4 } from './ipv4-address.ts';
import { writeEthernetHeader } from './packets.ts';

/** Layout behind the Ethernet header (RFC 826). */
const AT = 14;
const OPERATION = AT + 6;
const SENDER_MAC = AT + 8;
const SENDER = AT + 14;
const TARGET_MAC = AT + 18;
const TARGET = AT + 24;
const PACKET_BYTES = AT + 28;

/** Hardware type 1, protocol type IPv4, lengths 6 and 4. */
const ETHERNET_IPV4 = [0, 1, 8, 0, 6, 4];

export const ArpOperation = { REQUEST: 1, REPLY: 2 } as const;

export interface ArpPacket {
  readonly operation: number;
  readonly senderMac: Uint8Array;
  readonly sender: Ipv4;
  readonly target: Ipv4;
}

/** Reads a frame of that type; undefined where it is not about IPv4 on Ethernet. */
export function parseArp(frame: Uint8Array): ArpPacket | undefined {
  if (frame.length < PACKET_BYTES || ETHERNET_IPV4.some((byte, i) => frame[AT + i] !== byte))
    return undefined;
  const view = dataViewOf(frame);
  return {
    operation: view.getUint16(OPERATION),
    senderMac: frame.slice(SENDER_MAC, SENDER_MAC + MAC_BYTES),
    sender: view.getUint32(SENDER),
    target: view.getUint32(TARGET),
  };
}

const BROADCAST = new Uint8Array(MAC_BYTES).fill(0xff);
const UNKNOWN = new Uint8Array(MAC_BYTES);

/** A request, where there is no address to send it to, or a reply. */
export function arpFrame(
  from: { readonly mac: Uint8Array; readonly address: Ipv4 },
  to: { readonly mac?: Uint8Array; readonly address: Ipv4 },
): Uint8Array {
  const bytes = new Uint8Array(PACKET_BYTES);
  const view = dataViewOf(bytes);
  writeEthernetHeader(bytes, to.mac ?? BROADCAST, from.mac, EtherType.ARP);
  bytes.set(ETHERNET_IPV4, AT);
  view.setUint16(OPERATION, to.mac === undefined ? ArpOperation.REQUEST : ArpOperation.REPLY);
  bytes.set(from.mac, SENDER_MAC);
  view.setUint32(SENDER, from.address);
  bytes.set(to.mac ?? UNKNOWN, TARGET_MAC);
  view.setUint32(TARGET, to.address);
  return bytes;
}
