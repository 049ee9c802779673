import type { Frame, FrameOffload } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES } from './ethernet.ts';
import { complementOf, sumOf } from './internet-checksum.ts';
import { dataViewOf, PacketLayout, TCP_CHECKSUM_OFFSET, TcpFlag } from './packet-layout.ts';

const IP = ETHERNET_HEADER_BYTES;
const IPV6_BYTES = 40;
/** Options included, the largest IPv4 header. */
const IPV4_MAX_BYTES = 60;

const layout = new PacketLayout();

/**
 * Does the work that a frame's sender left to the hardware (see {@link FrameOffload}): finishes checksums, and cuts
 * a large TCP segment (IPv4 and IPv6) into ones that the medium carries. For ports with a real medium.
 *
 * A frame that wants to be cut has IP lengths, and a sum over the pseudo header, that are those of the whole.
 *
 * @returns frames without offload, in order; none where the frame is not what its offload says
 */
export function finishFrame(frame: Frame): Frame[] {
  const { offload } = frame;
  if (offload === undefined) return [frame];
  if (frame.bytes.length < ETHERNET_HEADER_BYTES) return [];
  if (offload.segmentPayloadBytes !== undefined) return segment(frame, offload.segmentPayloadBytes);
  const bytes = frame.bytes.slice();
  const view = dataViewOf(bytes);
  if (offload.ipv4HeaderChecksum === true && !finishIpv4Header(view)) return [];
  if (offload.checksum !== undefined) {
    if (!isWithin(offload.checksum, bytes.length)) return [];
    view.setUint16(offload.checksum.fieldOffset, finishedChecksum(view, offload.checksum));
  }
  return [{ bytes, vlanTag: frame.vlanTag }];
}

/** Whether a frame of that length has the bytes that an unfinished checksum names. */
export function isWithin(checksum: NonNullable<FrameOffload['checksum']>, frameBytes: number): boolean {
  return checksum.startOffset <= checksum.fieldOffset && checksum.fieldOffset + 2 <= frameBytes;
}

/** What belongs into the field of an unfinished checksum. */
export function finishedChecksum(view: DataView, checksum: NonNullable<FrameOffload['checksum']>): number {
  // The field itself holds the pseudo header's sum, and is so counted. A result of zero means "none" in UDP, and
  // is written as its equal.
  const value = complementOf(sumOf(view, checksum.startOffset, endOfPacket(view)));
  return value === 0 ? 0xffff : value;
}

/** Writes the checksum of an IPv4 header; false where the frame has none. */
export function finishIpv4Header(view: DataView): boolean {
  const headerBytes = (view.byteLength > IP ? view.getUint8(IP) & 0xf : 0) * 4;
  if (headerBytes < 20 || headerBytes > IPV4_MAX_BYTES || view.byteLength < IP + headerBytes) return false;
  view.setUint16(IP + 10, 0);
  view.setUint16(IP + 10, complementOf(sumOf(view, IP, IP + headerBytes)));
  return true;
}

/** The end of the frame's IP packet: what pads a short frame does not count. */
function endOfPacket(view: DataView): number {
  return layout.parse(view).ipVersion === 0 ? view.byteLength : layout.end;
}

/** Cuts a TCP segment; nothing where it is none. */
function segment(frame: Frame, segmentPayloadBytes: number): Frame[] {
  const { bytes, vlanTag } = frame;
  const source = dataViewOf(bytes);
  if (!layout.parse(source).isTcp || segmentPayloadBytes < 1) return [];
  const tcpBytes = layout.tcpHeaderBytes(source);
  if (tcpBytes === 0) return [];
  const { transportOffset: tcp, end, ipVersion } = layout;
  const headerBytes = tcp + tcpBytes;
  const firstSequence = source.getUint32(tcp + 4);
  const flags = source.getUint8(tcp + 13);
  const firstId = ipVersion === 4 ? source.getUint16(IP + 4) : 0;
  const frames: Frame[] = [];
  let at = headerBytes;
  do {
    const count = Math.min(segmentPayloadBytes, end - at);
    const piece = new Uint8Array(headerBytes + count);
    piece.set(bytes.subarray(0, headerBytes));
    piece.set(bytes.subarray(at, at + count), headerBytes);
    const view = dataViewOf(piece);
    let pieceFlags = flags;
    if (at + count < end) pieceFlags &= ~(TcpFlag.FIN | TcpFlag.PSH);
    if (at > headerBytes) pieceFlags &= ~TcpFlag.CWR;
    view.setUint32(tcp + 4, firstSequence + (at - headerBytes));
    view.setUint8(tcp + 13, pieceFlags);
    if (ipVersion === 4) {
      view.setUint16(IP + 2, piece.length - IP);
      view.setUint16(IP + 4, firstId + frames.length);
      finishIpv4Header(view);
    } else {
      view.setUint16(IP + 4, piece.length - IP - IPV6_BYTES);
    }
    view.setUint16(tcp + TCP_CHECKSUM_OFFSET, 0);
    const pseudoHeader = layout.pseudoHeaderSum(view, tcpBytes + count);
    view.setUint16(tcp + TCP_CHECKSUM_OFFSET, complementOf(pseudoHeader + sumOf(view, tcp, piece.length)));
    frames.push({ bytes: piece, vlanTag });
    at += count;
  } while (at < end);
  return frames;
}
