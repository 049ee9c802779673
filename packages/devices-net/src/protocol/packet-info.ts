/**
 * Per-packet information: what goes with a frame beside its bytes. Each record is a header of 12 bytes and its data.
 *
 * Source: Linux 6.1 `drivers/net/hyperv/hyperv_net.h` (`struct rndis_per_packet_info`, `ndis_tcp_ip_checksum_info`,
 * `ndis_tcp_lso_info`, `ndis_pkt_8021q_info`, `rndis_pktinfo_id`).
 */

/** Types of records. */
export const PacketInfo = {
  CHECKSUM: 0,
  LARGE_SEND: 2,
  IEEE_8021Q: 6,
  HASH_VALUE: 8,
  /** Number 1 of RNDIS's own types, which have the top bit. */
  PACKET_ID: 0x8000_0001,
} as const;

/** Size, type and data offset. */
export const PACKET_INFO_HEADER_BYTES = 12;
/** A record with one word of data, which all that are known here have. */
export const PACKET_INFO_BYTES: number = PACKET_INFO_HEADER_BYTES + 4;

/** Bits of checksum information on the way from the guest; bits 16 to 25 are the transport header's offset. */
export const TransmitChecksum = {
  IPV4: 0x01,
  IPV6: 0x02,
  TCP: 0x04,
  UDP: 0x08,
  IP_HEADER: 0x10,
} as const;
export const TRANSMIT_CHECKSUM_OFFSET_SHIFT = 16;
export const HEADER_OFFSET_MASK = 0x3ff;

/** Bits of checksum information on the way to the guest. */
export const ReceiveChecksum = {
  TCP_FAILED: 0x01,
  UDP_FAILED: 0x02,
  IP_FAILED: 0x04,
  TCP_SUCCEEDED: 0x08,
  UDP_SUCCEEDED: 0x10,
  IP_SUCCEEDED: 0x20,
  /** The field does not hold the sum of what was coalesced. */
  TCP_VALUE_INVALID: 0x80,
  IP_VALUE_INVALID: 0x100,
} as const;

/** Large send: bits 0 to 19 are the segments' size, 20 to 29 the TCP header's offset. */
export const LARGE_SEND_SIZE_MASK = 0xf_ffff;
export const LARGE_SEND_OFFSET_SHIFT = 20;
export const LARGE_SEND_V2 = 0x4000_0000;
export const LARGE_SEND_IPV6 = 0x8000_0000;

/** Packet id: version in bits 0 to 7, flags in bits 8 to 15, number in bits 16 to 31. */
export const PACKET_ID_V1 = 1;
export const PacketIdFlag = { SUB_ALLOCATION: 0x100, FIRST_FRAGMENT: 0x200, LAST_FRAGMENT: 0x400 } as const;

/** An IEEE 802.1Q tag (priority, drop eligible, id from the top) as the record has it: the same from the bottom. */
export function vlanInfoOf(tag: number): number {
  return (tag >>> 13) | (((tag >>> 12) & 1) << 3) | ((tag & 0xfff) << 4);
}

/** The reverse of {@link vlanInfoOf}. */
export function vlanTagOf(info: number): number {
  return ((info & 7) << 13) | (((info >>> 3) & 1) << 12) | ((info >>> 4) & 0xfff);
}

/** Writes a record with one word of data; the offset behind it. */
export function writePacketInfo(target: DataView, at: number, type: number, value: number): number {
  target.setUint32(at, PACKET_INFO_BYTES, true);
  target.setUint32(at + 4, type, true);
  target.setUint32(at + 8, PACKET_INFO_HEADER_BYTES, true);
  target.setUint32(at + 12, value, true);
  return at + PACKET_INFO_BYTES;
}

/** The records that this code knows, with what they said; reused from packet to packet. */
export class PacketInfoSet {
  checksum: number | undefined;
  largeSend: number | undefined;
  vlan: number | undefined;
  hash: number | undefined;
  packetId: number | undefined;

  /**
   * Takes the records between two offsets, the first of each type; others are passed over.
   *
   * @returns false where a record does not keep to its bounds
   */
  read(source: DataView, start: number, end: number): boolean {
    this.checksum = undefined;
    this.largeSend = undefined;
    this.vlan = undefined;
    this.hash = undefined;
    this.packetId = undefined;
    for (let at = start; at < end; ) {
      if (end - at < PACKET_INFO_HEADER_BYTES) return false;
      const sizeBytes = source.getUint32(at, true);
      const dataOffset = source.getUint32(at + 8, true);
      if (sizeBytes > end - at || dataOffset < PACKET_INFO_HEADER_BYTES || dataOffset + 4 > sizeBytes)
        return false;
      this.#take(source.getUint32(at + 4, true), source.getUint32(at + dataOffset, true));
      at += sizeBytes;
    }
    return true;
  }

  #take(type: number, value: number): void {
    switch (type) {
      case PacketInfo.CHECKSUM:
        this.checksum ??= value;
        return;
      case PacketInfo.LARGE_SEND:
        this.largeSend ??= value;
        return;
      case PacketInfo.IEEE_8021Q:
        this.vlan ??= value;
        return;
      case PacketInfo.HASH_VALUE:
        this.hash ??= value;
        return;
      case PacketInfo.PACKET_ID:
        this.packetId ??= value;
        return;
    }
  }
}
