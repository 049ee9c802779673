import { complementOf, sumOf } from '../../../frame/internet-checksum.ts';
import { dataViewOf, TCP_CHECKSUM_OFFSET } from '../../../frame/packet-layout.ts';
import { addressSum, type Ipv4Packet, type PacketEnds, Protocol } from '../packets.ts';

/** Control bits (RFC 9293, 3.1). */
export const Flag = { FIN: 0x01, SYN: 0x02, RST: 0x04, PSH: 0x08, ACK: 0x10 } as const;

export const TCP_BYTES = 20;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
/** RFC 7323, 2.3. */
const MAX_WINDOW_SCALE = 14;

/** A segment that came; one object serves all. */
export class Segment {
  sourcePort = 0;
  destinationPort = 0;
  sequence = 0;
  acknowledgement = 0;
  flags = 0;
  /** As it stands in the header. */
  window = 0;
  payload: Uint8Array = new Uint8Array(0);
  /** Options of a SYN; undefined where it has none. */
  maxSegmentBytes: number | undefined;
  windowScale: number | undefined;

  /** Reads what a checked packet carries; false where it is no segment. */
  parse({ bytes, view, headerBytes }: Ipv4Packet): boolean {
    if (bytes.length < headerBytes + TCP_BYTES) return false;
    const tcpBytes = (view.getUint8(headerBytes + 12) >>> 4) * 4;
    const payloadAt = headerBytes + tcpBytes;
    if (tcpBytes < TCP_BYTES || payloadAt > bytes.length) return false;
    this.sourcePort = view.getUint16(headerBytes);
    this.destinationPort = view.getUint16(headerBytes + 2);
    this.sequence = view.getUint32(headerBytes + 4);
    this.acknowledgement = view.getUint32(headerBytes + 8);
    this.flags = view.getUint8(headerBytes + 13);
    this.window = view.getUint16(headerBytes + 14);
    this.payload = bytes.subarray(payloadAt);
    this.maxSegmentBytes = undefined;
    this.windowScale = undefined;
    if (this.has(Flag.SYN)) this.#parseOptions(view, headerBytes + TCP_BYTES, payloadAt);
    return true;
  }

  has(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  /** Sequence numbers that the segment takes. */
  get length(): number {
    return this.payload.length + (this.has(Flag.SYN) ? 1 : 0) + (this.has(Flag.FIN) ? 1 : 0);
  }

  /** Options that do not fit end the list: nothing behind them can be told apart. */
  #parseOptions(view: DataView, from: number, end: number): void {
    for (let at = from; at < end; ) {
      const kind = view.getUint8(at);
      if (kind === OPTION_END) return;
      if (kind === OPTION_NOP) {
        at++;
        continue;
      }
      const lengthBytes = at + 1 < end ? view.getUint8(at + 1) : 0;
      if (lengthBytes < 2 || at + lengthBytes > end) return;
      if (kind === OPTION_MSS && lengthBytes === 4) this.maxSegmentBytes = view.getUint16(at + 2);
      if (kind === OPTION_WINDOW_SCALE && lengthBytes === 3) {
        this.windowScale = Math.min(view.getUint8(at + 2), MAX_WINDOW_SCALE);
      }
      at += lengthBytes;
    }
  }
}

/** The options of a SYN of ours: 8 bytes. */
export function synOptions(maxSegmentBytes: number, windowScale: number | undefined): Uint8Array {
  const mss = [OPTION_MSS, 4, maxSegmentBytes >>> 8, maxSegmentBytes & 0xff];
  const rest = windowScale === undefined ? [] : [OPTION_NOP, OPTION_WINDOW_SCALE, 3, windowScale];
  return Uint8Array.from([...mss, ...rest]);
}

/** A reset that belongs to no endpoint. */
export function resetSegment(
  ends: PacketEnds,
  fields: {
    readonly sourcePort: number;
    readonly destinationPort: number;
    readonly sequence: number;
    readonly acknowledgement: number | undefined;
  },
): Uint8Array {
  const bytes = new Uint8Array(TCP_BYTES);
  const view = dataViewOf(bytes);
  view.setUint16(0, fields.sourcePort);
  view.setUint16(2, fields.destinationPort);
  view.setUint32(4, fields.sequence);
  view.setUint32(8, fields.acknowledgement ?? 0);
  const flags = Flag.RST | (fields.acknowledgement === undefined ? 0 : Flag.ACK);
  view.setUint16(12, ((TCP_BYTES / 4) << 12) | flags);
  const sum = addressSum(ends) + Protocol.TCP + TCP_BYTES + sumOf(view, 0, TCP_BYTES);
  view.setUint16(TCP_CHECKSUM_OFFSET, complementOf(sum));
  return bytes;
}
