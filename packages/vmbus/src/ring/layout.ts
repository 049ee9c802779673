/**
 * Layout of a VMBus ring, as the guest sees it (Linux 6.1, include/linux/hyperv.h: `struct hv_ring_buffer`,
 * `struct vmpacket_descriptor`, `struct vmtransfer_page_packet_header`, `struct vmdata_gpa_direct`).
 *
 * A ring is one control page and the data pages after it. All places in the data area are multiples of 8.
 */

/** Fields of the control page, as indices of 32-bit words. */
export const RingControl = {
  /** Byte offset in the data area where the producer goes on. */
  WRITE_INDEX: 0,
  /** Byte offset in the data area where the consumer goes on. */
  READ_INDEX: 1,
  /** Not zero: the consumer wants no signals. */
  INTERRUPT_MASK: 2,
  /** Not zero: the producer waits for more free bytes than this. */
  PENDING_SEND_SIZE: 3,
  FEATURE_BITS: 16,
} as const;

/** Feature bit: the consumer honours the pending-send size. */
export const FEATURE_PENDING_SEND_SIZE = 1;

/** Packet flag: the sender wants a completion. */
export const PACKET_FLAG_COMPLETION_REQUESTED = 1;

/** Type, offset, length, flags and transaction id: what each packet begins with. */
export const DESCRIPTOR_SIZE_BYTES = 16;
/** Descriptor of transfer-page and GPA-direct packets up to their ranges. */
export const RANGED_DESCRIPTOR_SIZE_BYTES = 24;
/** What follows each packet: the offset at which it began, in the upper half of 64 bits. */
export const TRAILER_SIZE_BYTES = 8;
/** The longest packet that the descriptor's 16-bit length, in units of 8 bytes, can express. */
export const MAX_PACKET_SIZE_BYTES = 0xffff * 8;

/** GPA-direct ranges that a packet may carry; Linux sends at most 32 (MAX_PAGE_BUFFER_COUNT). */
export const MAX_GPA_RANGES = 64;
/** Transfer-page ranges that a packet may carry; Linux takes at most 375 from a host (NETVSC_MAX_XFER_PAGE_RANGES). */
export const MAX_TRANSFER_RANGES = 512;

/** Rounds up to the unit in which packets are laid out. */
export function align8(sizeBytes: number): number {
  return (sizeBytes + 7) & ~7;
}

/** Bytes that may be written: all of them where the indices are equal, which means empty. */
export function freeBytes(readIndex: number, writeIndex: number, dataSizeBytes: number): number {
  return readIndex > writeIndex ? readIndex - writeIndex : dataSizeBytes - (writeIndex - readIndex);
}

/** Whether an index that the peer wrote can be used. */
export function isRingIndex(index: number, dataSizeBytes: number): boolean {
  return index < dataSizeBytes && (index & 7) === 0;
}
