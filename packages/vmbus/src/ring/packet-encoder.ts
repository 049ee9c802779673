import { assert, PAGE_SIZE } from '@kensho/core';
import type { TransferRange } from '../channel.ts';
import type { GuestBuffer } from '../guest/contract.ts';
import { align8, RANGED_DESCRIPTOR_SIZE_BYTES } from './layout.ts';

/** Where a packet is put together: in the ring itself, or in memory from which it goes there later. */
export class PacketTarget {
  readonly words: Uint32Array;
  /** A view of the same bytes. */
  readonly bytes: Uint8Array;
  /** Word index at which the packet begins. */
  at = 0;

  constructor(words: Uint32Array, bytes: Uint8Array) {
    this.words = words;
    this.bytes = bytes;
  }

  /** A target with memory of its own. */
  static allocate(sizeBytes: number): PacketTarget {
    const words = new Uint32Array(sizeBytes >>> 2);
    return new PacketTarget(words, new Uint8Array(words.buffer));
  }
}

/** Writes what each packet begins with, and its payload with the padding after it. Sizes are multiples of 8. */
export function putPacket(
  target: PacketTarget,
  type: number,
  descriptorSizeBytes: number,
  sizeBytes: number,
  flags: number,
  transactionIdLo: number,
  transactionIdHi: number,
  payload: Uint8Array,
): void {
  const words = target.words;
  const at = target.at;
  words[at] = type | (descriptorSizeBytes << 13);
  words[at + 1] = (sizeBytes >>> 3) | (flags << 16);
  words[at + 2] = transactionIdLo;
  words[at + 3] = transactionIdHi;
  const length = payload.length;
  if (length === 0) return;
  if ((length & 7) !== 0) {
    // Padding is less than 8 bytes, and cleared first: what lay here must not reach the peer.
    const last = at + (sizeBytes >>> 2) - 2;
    words[last] = 0;
    words[last + 1] = 0;
  }
  // Not a shift: memory may reach beyond 2 GiB.
  target.bytes.set(payload, at * 4 + descriptorSizeBytes);
}

/** Size of the descriptor of a transfer-page packet. */
export function transferDescriptorSizeBytes(ranges: readonly TransferRange[]): number {
  return RANGED_DESCRIPTOR_SIZE_BYTES + ranges.length * 8;
}

/** Writes the set's id and the ranges of a transfer-page packet. */
export function putTransferRanges(
  target: PacketTarget,
  setId: number,
  ranges: readonly TransferRange[],
): void {
  const words = target.words;
  let at = target.at + 4;
  words[at++] = setId;
  words[at++] = ranges.length;
  for (const range of ranges) {
    words[at++] = range.sizeBytes;
    words[at++] = range.offset;
  }
}

/** Page numbers that a GPA range of that offset and size carries. */
export function pageCountOf(offset: number, sizeBytes: number): number {
  return Math.ceil((offset + sizeBytes) / PAGE_SIZE);
}

/** Size of the descriptor of a GPA-direct packet. */
export function gpaDirectDescriptorSizeBytes(buffers: readonly GuestBuffer[]): number {
  let size = RANGED_DESCRIPTOR_SIZE_BYTES;
  for (const buffer of buffers) size += 8 + pageCountOf(buffer.offset, buffer.sizeBytes) * 8;
  return size;
}

/** Writes the ranges and page numbers of a GPA-direct packet. */
export function putGpaRanges(target: PacketTarget, buffers: readonly GuestBuffer[]): void {
  const words = target.words;
  let at = target.at + 4;
  words[at++] = 0;
  words[at++] = buffers.length;
  for (const buffer of buffers) {
    const count = pageCountOf(buffer.offset, buffer.sizeBytes);
    assert(count <= buffer.pages.length && buffer.offset < PAGE_SIZE, 'a buffer names all of its pages');
    words[at++] = buffer.sizeBytes;
    words[at++] = buffer.offset;
    for (let i = 0; i < count; i++) {
      words[at++] = buffer.pages[i];
      words[at++] = buffer.pages[i] / 0x1_0000_0000;
    }
  }
}

/** Size of a packet without its trailer. */
export function packetSizeBytes(descriptorSizeBytes: number, payload: Uint8Array): number {
  return descriptorSizeBytes + align8(payload.length);
}
