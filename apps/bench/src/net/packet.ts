import { ETHERNET_HEADER_BYTES, EtherType, type Frame, finishFrame } from '@kensho/devices-net';
import { PAYLOAD_BYTES } from './options.ts';

/** The programs' ports: what a packet is for is said by where it goes. */
export const Port = {
  /** Bytes of a stream, confirmed when enough of them have come. */
  DATA: 5001,
  /** The same, confirmed at once. */
  LAST_DATA: 5002,
  /** To be sent back. */
  ECHO: 5003,
  /** The receiver's answer to any of them: all up to the sequence number has come. */
  CONFIRM: 5004,
  /** Whether somebody is there, and the answer. */
  HELLO: 5005,
  /** The sender is done, and the answer. */
  BYE: 5006,
} as const;

export type Protocol = 'tcp' | 'udp';

/** Where a guest is. */
export interface Station {
  readonly mac: Uint8Array;
  /** Last byte of its IPv4 address. */
  readonly host: number;
}

const IP = ETHERNET_HEADER_BYTES;
const TRANSPORT = IP + 20;
const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17 };
/** A UDP header has no sequence number: it goes before the payload, as part of it. */
const HEADER_BYTES: Readonly<Record<Protocol, number>> = { tcp: 20, udp: 8 };
const SEQUENCE_BYTES = 4;
const CHECKSUM_OFFSET: Readonly<Record<Protocol, number>> = { tcp: 16, udp: 6 };
const TCP_ACK_PSH = 0x18;
/** From here on. */
export const PAYLOAD_OFFSET: Readonly<Record<Protocol, number>> = { tcp: TRANSPORT + 20, udp: TRANSPORT + 8 };

/** A packet that arrived; read before the next one is parsed. */
export class Packet {
  port = 0;
  /** 32 bits. */
  sequence = 0;
  /** What comes after the sequence number. */
  payload: Uint8Array = new Uint8Array(0);
  /** Of the payload and, in UDP, the sequence number that is part of it. */
  payloadBytes = 0;

  /** False for a frame that is none of the programs'. */
  parse(bytes: Uint8Array): boolean {
    if (bytes.length < PAYLOAD_OFFSET.udp + SEQUENCE_BYTES || bytes[IP] !== 0x45) return false;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (view.getUint16(12) !== EtherType.IPV4) return false;
    const end = IP + view.getUint16(IP + 2);
    const protocol = protocolOf(view.getUint8(IP + 9));
    if (protocol === undefined || end > bytes.length) return false;
    const start = PAYLOAD_OFFSET[protocol];
    const sequenceAt = protocol === 'tcp' ? TRANSPORT + 4 : start;
    const contentAt = protocol === 'tcp' ? start : start + SEQUENCE_BYTES;
    if (contentAt > end) return false;
    this.port = view.getUint16(TRANSPORT + 2);
    this.sequence = view.getUint32(sequenceAt);
    this.payload = bytes.subarray(contentAt, end);
    this.payloadBytes = end - start;
    return true;
  }
}

function protocolOf(value: number): Protocol | undefined {
  if (value === PROTOCOL_NUMBERS.tcp) return 'tcp';
  return value === PROTOCOL_NUMBERS.udp ? 'udp' : undefined;
}

/**
 * Makes packets from one station to another. Checksums, and the cutting of what is longer than a packet, are left to
 * an adapter that does them; for any other they are done here, as a guest's network stack does.
 */
export class PacketMaker {
  readonly #protocol: Protocol;
  readonly #offloads: boolean;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #addressSum: number;
  #id = 0;

  /** @param mostPayloadBytes - of one packet */
  constructor(
    from: Station,
    to: Station,
    protocol: Protocol,
    { offloads, mostPayloadBytes }: { offloads: boolean; mostPayloadBytes: number },
  ) {
    this.#protocol = protocol;
    this.#offloads = offloads;
    this.#bytes = new Uint8Array(PAYLOAD_OFFSET[protocol] + Math.max(mostPayloadBytes, SEQUENCE_BYTES));
    this.#view = new DataView(this.#bytes.buffer);
    this.#bytes.set(to.mac);
    this.#bytes.set(from.mac, 6);
    this.#view.setUint16(12, EtherType.IPV4);
    const addresses = Uint8Array.of(10, 0, 0, from.host, 10, 0, 0, to.host);
    this.#bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, PROTOCOL_NUMBERS[protocol]], IP);
    this.#bytes.set(addresses, IP + 12);
    if (protocol === 'tcp') this.#bytes.set([0x50, TCP_ACK_PSH, 0xff, 0xff], TRANSPORT + 12);
    const words = new DataView(addresses.buffer);
    this.#addressSum =
      PROTOCOL_NUMBERS[protocol] + [0, 2, 4, 6].reduce((sum, at) => sum + words.getUint16(at), 0);
  }

  /**
   * The next packet; its bytes are used again for the one after it.
   *
   * @param payload - with, in UDP, room for the sequence number at its start
   */
  make(port: number, sequence: number, payload: Uint8Array): Frame {
    const protocol = this.#protocol;
    const view = this.#view;
    const start = PAYLOAD_OFFSET[protocol];
    const transportBytes = HEADER_BYTES[protocol] + payload.length;
    this.#bytes.set(payload, start);
    view.setUint16(IP + 2, 20 + transportBytes);
    view.setUint16(IP + 4, this.#id);
    view.setUint16(IP + 10, 0);
    view.setUint16(TRANSPORT, port);
    view.setUint16(TRANSPORT + 2, port);
    if (protocol === 'udp') view.setUint16(TRANSPORT + 4, transportBytes);
    view.setUint32(protocol === 'tcp' ? TRANSPORT + 4 : start, sequence);
    let sum = this.#addressSum + transportBytes;
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    const fieldOffset = TRANSPORT + CHECKSUM_OFFSET[protocol];
    view.setUint16(fieldOffset, sum);
    const mss = PAYLOAD_BYTES['tcp-stream'];
    this.#id = (this.#id + Math.max(1, Math.ceil(payload.length / mss))) & 0xffff;
    const frame: Frame = {
      bytes: this.#bytes.subarray(0, TRANSPORT + transportBytes),
      offload: {
        checksum: { startOffset: TRANSPORT, fieldOffset },
        ipv4HeaderChecksum: true,
        ...(protocol === 'tcp' && payload.length > mss && { segmentPayloadBytes: mss }),
      },
    };
    return this.#offloads ? frame : finishFrame(frame)[0];
  }
}

/** A prime, so that no two packets soon begin at the same place of the pattern. */
const PATTERN_BYTES = 65_521;

/** What every stream carries: a pattern that repeats, so that any part of it is at hand. */
export class Pattern {
  /** Twice, so that no part of it is in two places. */
  readonly #bytes = new Uint8Array(2 * PATTERN_BYTES);

  constructor(seed: number) {
    let state = seed | 1;
    for (let i = 0; i < PATTERN_BYTES; i++) {
      // A linear congruential generator is random enough to tell places apart.
      state = (Math.imul(state, 0x41c6_4e6d) + 0x3039) >>> 0;
      this.#bytes[i] = state >>> 16;
    }
    this.#bytes.copyWithin(PATTERN_BYTES, 0, PATTERN_BYTES);
  }

  /** Bytes of the stream from an offset on; at most 64 KB less a few. */
  at(offset: number, sizeBytes: number): Uint8Array {
    const start = offset % PATTERN_BYTES;
    return this.#bytes.subarray(start, start + sizeBytes);
  }

  /** Whether these are the stream's bytes from an offset on. */
  matches(offset: number, bytes: Uint8Array): boolean {
    return Buffer.compare(this.at(offset, bytes.length), bytes) === 0;
  }
}
