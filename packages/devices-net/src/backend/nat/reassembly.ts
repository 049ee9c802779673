import type { Clock } from '@kensho/core';
import { complementOf, sumOf } from '../../frame/internet-checksum.ts';
import { dataViewOf } from '../../frame/packet-layout.ts';
import { type Ipv4Packet, MAX_IPV4_BYTES } from './packets.ts';

/** Packets that may be incomplete at once, and how long one may be. */
const MAX_PACKETS = 16;
const MAX_AGE_NS = 15e9;
/** Fragments of one packet: as many as a packet of full length has at the smallest MTU that IPv4 allows, and some. */
const MAX_PIECES = 1500;

interface Piece {
  readonly start: number;
  readonly end: number;
}

interface Incomplete {
  readonly key: string;
  readonly sinceNs: number;
  /** Sorted, without overlap. */
  readonly pieces: Piece[];
  /** What the packet carries; grows with the pieces. */
  carried: Uint8Array;
  /** Known once the last fragment is there. */
  carriedBytes: number | undefined;
  /** Header of the first fragment. */
  header: Uint8Array | undefined;
}

/**
 * Puts IPv4 fragments together (RFC 791, 3.2). Bounded in packets, bytes and age. Fragments that overlap end their
 * packet: nobody but an attacker sends them (RFC 5722 says so for IPv6).
 */
export class Reassembly {
  readonly #clock: Clock;
  readonly #packets = new Map<string, Incomplete>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Packets that are incomplete just now. */
  get size(): number {
    return this.#packets.size;
  }

  /**
   * Takes a fragment.
   *
   * @returns the whole packet from its IP header on, or undefined where there is none yet; `bad` where the fragment,
   * and with it its packet, was dropped
   */
  add(packet: Ipv4Packet): Uint8Array | 'bad' | undefined {
    const key = `${packet.source} ${packet.destination} ${packet.protocol} ${packet.id}`;
    const incomplete = this.#find(key);
    const whole = this.#insert(incomplete, packet);
    if (whole !== undefined) this.#packets.delete(key);
    return whole;
  }

  #find(key: string): Incomplete {
    const nowNs = this.#clock.nowNs();
    const found = this.#packets.get(key);
    if (found !== undefined && nowNs - found.sinceNs <= MAX_AGE_NS) return found;
    this.#packets.delete(key);
    for (const [other, { sinceNs }] of this.#packets) {
      // In order of age: the oldest goes where there are too many.
      if (this.#packets.size < MAX_PACKETS && nowNs - sinceNs <= MAX_AGE_NS) break;
      this.#packets.delete(other);
    }
    const fresh: Incomplete = {
      key,
      sinceNs: nowNs,
      pieces: [],
      carried: new Uint8Array(0),
      carriedBytes: undefined,
      header: undefined,
    };
    this.#packets.set(key, fresh);
    return fresh;
  }

  #insert(into: Incomplete, packet: Ipv4Packet): Uint8Array | 'bad' | undefined {
    const data = packet.bytes.subarray(packet.headerBytes);
    const start = packet.fragmentOffset;
    const end = start + data.length;
    if (end + packet.headerBytes > MAX_IPV4_BYTES || data.length === 0) return 'bad';
    if (packet.moreFragments && data.length % 8 !== 0) return 'bad';
    if (!packet.moreFragments) {
      if (into.carriedBytes !== undefined && into.carriedBytes !== end) return 'bad';
      into.carriedBytes = end;
    }
    const { pieces } = into;
    if (pieces.length === MAX_PIECES) return 'bad';
    let place = pieces.length;
    while (place > 0 && pieces[place - 1].start >= start) place--;
    // The same fragment again is no attack: networks duplicate packets.
    if (place < pieces.length && pieces[place].start === start && pieces[place].end === end) return undefined;
    if (place > 0 && pieces[place - 1].end > start) return 'bad';
    if (place < pieces.length && pieces[place].start < end) return 'bad';
    pieces.splice(place, 0, { start, end });
    if (into.carriedBytes !== undefined && pieces[pieces.length - 1].end > into.carriedBytes) return 'bad';
    if (into.carried.length < end) {
      const grown = new Uint8Array(Math.min(MAX_IPV4_BYTES, Math.max(end, 2 * into.carried.length)));
      grown.set(into.carried);
      into.carried = grown;
    }
    into.carried.set(data, start);
    if (start === 0) into.header = packet.bytes.slice(0, packet.headerBytes);
    return complete(into);
  }
}

/** The packet, where nothing is missing. */
function complete({ pieces, carried, carriedBytes, header }: Incomplete): Uint8Array | 'bad' | undefined {
  if (carriedBytes === undefined || header === undefined) return undefined;
  let covered = 0;
  for (const piece of pieces) covered += piece.end - piece.start;
  if (covered < carriedBytes) return undefined;
  if (header.length + carriedBytes > MAX_IPV4_BYTES) return 'bad';
  const bytes = new Uint8Array(header.length + carriedBytes);
  bytes.set(header);
  bytes.set(carried.subarray(0, carriedBytes), header.length);
  const view = dataViewOf(bytes);
  view.setUint16(2, bytes.length);
  view.setUint16(6, 0);
  view.setUint16(10, 0);
  view.setUint16(10, complementOf(sumOf(view, 0, header.length)));
  return bytes;
}
