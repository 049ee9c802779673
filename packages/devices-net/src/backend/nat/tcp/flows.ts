import type { Counter } from '@kensho/core';
import { FlowTable } from '../flow-table.ts';
import type { HostNetwork, HostStream, HostStreamEvents } from '../host.ts';
import type { Ipv4 } from '../ipv4-address.ts';
import {
  type Destinations,
  EPHEMERAL_PORTS,
  FIRST_EPHEMERAL_PORT,
  type NatLink,
  Unreachable,
} from '../link.ts';
import { type Ipv4Packet, Protocol } from '../packets.ts';
import { type FlowOwner, TcpFlow } from './flow.ts';
import { Flag, resetSegment, Segment } from './segment.ts';

/** Bounds of what guests can make the NAT hold. */
export interface TcpLimits {
  /** Connections at once. @default 512 */
  readonly maxFlows?: number;
  /** Of these, connections that are not established yet. @default 128 */
  readonly maxHalfOpen?: number;
  /** Bytes that one connection holds in each direction. @default 512 KiB */
  readonly bufferBytes?: number;
  /** Bytes of all connections beyond which each gets only little. @default 64 MiB */
  readonly totalBytes?: number;
}

/** What a connection may hold where all together hold too much: enough to go on. */
const SCARCE_RECEIVE_BYTES = 16 * 1024;
const SCARCE_SEND_BYTES = 64 * 1024;
/** RFC 5382, REQ-5. */
const IDLE_TIMEOUT_NS = (2 * 60 + 4) * 60 * 1e9;

/** The TCP connections of a NAT's guests. */
export class TcpFlows implements FlowOwner {
  readonly nat: NatLink;
  readonly idleTimeoutNs = IDLE_TIMEOUT_NS;
  readonly retransmitted: Counter;
  readonly #host: HostNetwork;
  readonly #destinations: Destinations;
  readonly #maxFlows: number;
  readonly #maxHalfOpen: number;
  readonly #bufferBytes: number;
  readonly #totalBytes: number;
  readonly #flows = new FlowTable<TcpFlow>();
  readonly #segment = new Segment();
  #dirty: TcpFlow[] = [];
  readonly #waitingForRoom = new Set<TcpFlow>();
  #halfOpen = 0;
  #heldBytes = 0;
  #nextPort = 0;
  readonly #opened: Counter;
  readonly #refused: Counter;

  constructor(nat: NatLink, host: HostNetwork, destinations: Destinations, limits: TcpLimits) {
    this.nat = nat;
    this.#host = host;
    this.#destinations = destinations;
    this.#maxFlows = limits.maxFlows ?? 512;
    this.#maxHalfOpen = limits.maxHalfOpen ?? 128;
    this.#bufferBytes = limits.bufferBytes ?? 512 * 1024;
    this.#totalBytes = limits.totalBytes ?? 64 * 1024 * 1024;
    this.#opened = nat.counters.counter('nat.tcp.opened');
    this.#refused = nat.counters.counter('nat.tcp.refused');
    this.retransmitted = nat.counters.counter('nat.tcp.retransmitted');
  }

  /** Connections there are. */
  get size(): number {
    return this.#flows.size;
  }

  /** Bytes that they hold. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  get receiveLimitBytes(): number {
    return this.#heldBytes < this.#totalBytes ? this.#bufferBytes : SCARCE_RECEIVE_BYTES;
  }

  get sendMarkBytes(): number {
    return this.#heldBytes < this.#totalBytes ? this.#bufferBytes : SCARCE_SEND_BYTES;
  }

  /** Takes a packet with a right checksum. False where it carries no segment. */
  receive(packet: Ipv4Packet): boolean {
    const segment = this.#segment;
    if (!segment.parse(packet)) return false;
    const { sourcePort, destinationPort } = segment;
    const known = this.#flows.get(packet.source, sourcePort, packet.destination, destinationPort);
    const opens = segment.has(Flag.SYN) && !segment.has(Flag.ACK) && !segment.has(Flag.RST);
    if (
      known !== undefined &&
      opens &&
      (known.endpoint.isClosed || known.endpoint.givesWayTo(segment.sequence))
    ) {
      known.discard();
    } else if (known !== undefined) {
      known.endpoint.receive(segment);
      return true;
    }
    if (opens) this.#open(packet, segment);
    else if (!segment.has(Flag.RST)) this.#reject(packet, segment);
    return true;
  }

  /** Takes a connection that came to the host towards a port of a guest's; undefined where there are too many. */
  acceptInward(stream: HostStream, guest: Ipv4, guestPort: number): HostStreamEvents | undefined {
    const remotePort = this.#freePort(guest, guestPort);
    if (remotePort === undefined || !this.#admits()) return undefined;
    const flow = this.#add({ guest, guestPort, remote: this.nat.subnet.gateway, remotePort });
    return flow.beginInward(stream);
  }

  /** There is room again for frames to the adapter. */
  onRoom(): void {
    const waiting = [...this.#waitingForRoom];
    this.#waitingForRoom.clear();
    for (const flow of waiting) flow.flush();
  }

  close(): void {
    for (const flow of this.#flows) flow.destroy();
  }

  scheduleFlush(flow: TcpFlow): void {
    if (flow.dirty) return;
    flow.dirty = true;
    if (this.#dirty.length === 0) this.nat.work.defer(this.#flushDirty);
    this.#dirty.push(flow);
  }

  awaitRoom(flow: TcpFlow): void {
    this.#waitingForRoom.add(flow);
    this.nat.awaitRoom();
  }

  connected(): void {
    this.#halfOpen--;
  }

  ended(flow: TcpFlow): void {
    this.#waitingForRoom.delete(flow);
    this.#flows.remove(flow);
  }

  held(changeBytes: number): void {
    this.#heldBytes += changeBytes;
  }

  readonly #flushDirty = (): void => {
    const flows = this.#dirty;
    this.#dirty = [];
    for (const flow of flows) {
      flow.dirty = false;
      flow.flush();
    }
  };

  #open(packet: Ipv4Packet, segment: Segment): void {
    const target = this.#destinations(packet.destination, segment.destinationPort);
    const quoted = packet.bytes.slice(0, packet.headerBytes + 8);
    if (target === undefined) {
      this.nat.sendUnreachable(Unreachable.PROHIBITED, quoted);
      return;
    }
    // The guest sends its SYN again: by then there may be room.
    if (!this.#admits()) return;
    const flow = this.#add({
      guest: packet.source,
      guestPort: segment.sourcePort,
      remote: packet.destination,
      remotePort: segment.destinationPort,
    });
    flow.beginOutward(segment, quoted, (events) => this.#host.connect(target.address, target.port, events));
  }

  #add(ends: ConstructorParameters<typeof TcpFlow>[1]): TcpFlow {
    const flow = new TcpFlow(this, ends);
    this.#flows.add(flow);
    this.#halfOpen++;
    this.#opened.value++;
    return flow;
  }

  #admits(): boolean {
    const hasRoom =
      this.#halfOpen < this.#maxHalfOpen && (this.#flows.size < this.#maxFlows || this.#makeRoom());
    if (!hasRoom) this.#refused.value++;
    return hasRoom;
  }

  /** Forgets a connection that only waits; false where there is none. */
  #makeRoom(): boolean {
    for (const flow of this.#flows) {
      if (!flow.isWaiting) continue;
      flow.discard();
      return true;
    }
    return false;
  }

  /** Answers a segment of no connection (RFC 9293, 3.10.7.1). */
  #reject(packet: Ipv4Packet, segment: Segment): void {
    const { nat } = this;
    const acknowledges = segment.has(Flag.ACK);
    const ends = nat.endsTo(packet.source, packet.destination);
    nat.sendCarried(
      ends,
      Protocol.TCP,
      resetSegment(ends, {
        sourcePort: segment.destinationPort,
        destinationPort: segment.sourcePort,
        sequence: acknowledges ? segment.acknowledgement : 0,
        acknowledgement: acknowledges ? undefined : segment.sequence + segment.length,
      }),
    );
  }

  #freePort(guest: Ipv4, guestPort: number): number | undefined {
    const { gateway } = this.nat.subnet;
    for (let tries = 0; tries < EPHEMERAL_PORTS; tries++) {
      const port = FIRST_EPHEMERAL_PORT + (this.#nextPort++ % EPHEMERAL_PORTS);
      if (this.#flows.get(guest, guestPort, gateway, port) === undefined) return port;
    }
    return undefined;
  }
}
