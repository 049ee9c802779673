import type { Frame } from '../backend/port.ts';

/** Destination, source and type of an Ethernet frame. */
export const ETHERNET_HEADER_BYTES = 14;
/** What an IEEE 802.1Q tag adds to a frame in which it travels. */
export const VLAN_TAG_BYTES = 4;

/** Values of a frame's type field (IANA, "IEEE 802 Numbers"). */
export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
} as const;

/** The type field of a frame of at least 14 bytes. */
export function etherTypeOf(bytes: Uint8Array): number {
  return (bytes[12] << 8) | bytes[13];
}

/** Whether a frame goes to a group of stations; broadcast is one, too. */
export function isGroupAddressed(bytes: Uint8Array): boolean {
  return (bytes[0] & 1) !== 0;
}

export function isBroadcast(bytes: Uint8Array): boolean {
  return (bytes[0] & bytes[1] & bytes[2] & bytes[3] & bytes[4] & bytes[5]) === 0xff;
}

/** Whether a frame's destination is `mac`. */
export function isAddressedTo(bytes: Uint8Array, mac: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (bytes[i] !== mac[i]) return false;
  return true;
}

/**
 * A frame as {@link Frame} wants it, from bytes that may carry an IEEE 802.1Q tag: the tag is taken out of them.
 *
 * @param bytes - at least 14 bytes, given away
 */
export function untagged(bytes: Uint8Array): Frame {
  if (etherTypeOf(bytes) !== EtherType.VLAN || bytes.length < ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES) {
    return { bytes };
  }
  const vlanTag = (bytes[14] << 8) | bytes[15];
  // The addresses move up to the type, over the tag.
  bytes.copyWithin(VLAN_TAG_BYTES, 0, 12);
  return { bytes: bytes.subarray(VLAN_TAG_BYTES), vlanTag };
}

/** The bytes of a frame for a medium on which the tag travels in the frame; its own bytes where it has none. */
export function tagged(frame: Frame): Uint8Array {
  const { bytes, vlanTag } = frame;
  if (vlanTag === undefined) return bytes;
  const target = new Uint8Array(bytes.length + VLAN_TAG_BYTES);
  target.set(bytes.subarray(0, 12));
  target.set([EtherType.VLAN >>> 8, EtherType.VLAN & 0xff, vlanTag >>> 8, vlanTag & 0xff], 12);
  target.set(bytes.subarray(12), 16);
  return target;
}
