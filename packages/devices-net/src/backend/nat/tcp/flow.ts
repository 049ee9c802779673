import type { Counter, TimerQueue } from '@kensho/core';
import { complementOf, fold, sumOf } from '../../../frame/internet-checksum.ts';
import { dataViewOf, TCP_CHECKSUM_OFFSET } from '../../../frame/packet-layout.ts';
import type { FrameOffload } from '../../port.ts';
import type { FlowEnds } from '../flow-table.ts';
import type { HostStream, HostStreamEvents } from '../host.ts';
import type { Ipv4 } from '../ipv4-address.ts';
import { type NatLink, Unreachable } from '../link.ts';
import {
  addressSum,
  DONT_FRAGMENT,
  MAX_IPV4_BYTES,
  Protocol,
  TRANSPORT_OFFSET,
  writeHeaders,
} from '../packets.ts';
import { TcpEndpoint, type TcpEvents, type TcpLink } from './endpoint.ts';
import { type Segment, TCP_BYTES } from './segment.ts';

/** What a flow needs of those who keep it. */
export interface FlowOwner {
  readonly nat: NatLink;
  /** Received bytes that a flow may hold, and bytes to send that are enough for one: less when all hold much. */
  readonly receiveLimitBytes: number;
  readonly sendMarkBytes: number;
  readonly idleTimeoutNs: number;
  scheduleFlush(flow: TcpFlow): void;
  awaitRoom(flow: TcpFlow): void;
  /** The flow has connected, or never will. */
  connected(flow: TcpFlow): void;
  ended(flow: TcpFlow): void;
  /** The bytes that a flow holds have changed by so much. */
  held(changeBytes: number): void;
  readonly retransmitted: Counter;
}

const CHECKSUM_OFFLOAD: FrameOffload['checksum'] = {
  startOffset: TRANSPORT_OFFSET,
  fieldOffset: TRANSPORT_OFFSET + TCP_CHECKSUM_OFFSET,
};

/** As long as the payload of a packet of full length gets. */
const MAX_OFFLOAD_PAYLOAD_BYTES = MAX_IPV4_BYTES - 20 - TCP_BYTES;

/** A connection of a guest: an endpoint towards the guest, a connection of the host's, and bytes between them. */
export class TcpFlow implements FlowEnds, TcpLink {
  readonly guest: Ipv4;
  readonly guestPort: number;
  readonly remote: Ipv4;
  readonly remotePort: number;
  readonly endpoint: TcpEndpoint;
  /** Of the guest's SYN: header and ports, for an ICMP message. */
  #quoted: Uint8Array | undefined;
  readonly #owner: FlowOwner;
  #stream: HostStream | undefined;
  #corked = false;
  #heldBytes = 0;
  #connecting = true;
  #streamClosed = false;
  /** A flush is scheduled. */
  dirty = false;

  constructor(owner: FlowOwner, ends: FlowEnds) {
    this.#owner = owner;
    this.guest = ends.guest;
    this.guestPort = ends.guestPort;
    this.remote = ends.remote;
    this.remotePort = ends.remotePort;
    this.endpoint = new TcpEndpoint(this, this.#guestEvents(), {
      maxSegmentBytes: owner.nat.mtu - 40,
      initialSequence: owner.nat.random(),
      idleTimeoutNs: owner.idleTimeoutNs,
    });
  }

  /** Whether both sides have ended, and it only stays for what the guest may send again. */
  get isWaiting(): boolean {
    return this.endpoint.isWaiting && this.#streamClosed;
  }

  /** Begins where a guest's SYN asks for a connection that the host is making. */
  beginOutward(syn: Segment, quoted: Uint8Array, connect: (events: HostStreamEvents) => HostStream): void {
    this.#quoted = quoted;
    this.endpoint.listen(syn);
    this.#stream = connect(this.#hostEvents());
  }

  /** Begins where a connection came to the host: it is paused until the guest has taken it. */
  beginInward(stream: HostStream): HostStreamEvents {
    this.#stream = stream;
    this.endpoint.open();
    return this.#hostEvents();
  }

  /** Ends both sides at once. */
  destroy(): void {
    this.endpoint.abort();
    this.#end();
  }

  /** Ends both sides; the guest is not told. */
  discard(): void {
    this.endpoint.discard();
    this.#end();
  }

  /** Sends what is due in both directions. */
  flush(): void {
    this.#uncork();
    this.endpoint.flush();
    this.#account();
  }

  #guestEvents(): TcpEvents {
    return {
      established: () => {
        this.#settleConnecting();
        this.#stream?.resume();
      },
      data: (bytes) => {
        if (!this.#corked) {
          this.#corked = true;
          this.#stream?.cork();
          this.scheduleFlush();
        }
        this.#stream?.write(bytes, () => {
          this.endpoint.consumed(bytes.length);
          this.#account();
        });
        this.#account();
      },
      ended: () => {
        this.#uncork();
        this.#stream?.end();
      },
      writable: () => this.#stream?.resume(),
      closed: (how) => {
        if (how === 'ended' && !this.#streamClosed) return;
        this.#end();
      },
    };
  }

  #hostEvents(): HostStreamEvents {
    return {
      connected: () => this.endpoint.accept(),
      data: (bytes) => {
        if (!this.endpoint.write(bytes, this.#owner.sendMarkBytes)) this.#stream?.pause();
        this.#account();
      },
      ended: () => this.endpoint.end(),
      closed: (error) => {
        this.#streamClosed = true;
        if (error === undefined) {
          this.endpoint.end();
          if (this.endpoint.isClosed) this.#end();
        } else if (this.#connecting && this.#quoted !== undefined && error !== 'ECONNREFUSED') {
          this.#owner.nat.sendUnreachable(Unreachable.HOST, this.#quoted);
          this.discard();
        } else {
          this.destroy();
        }
      },
    };
  }

  #uncork(): void {
    if (!this.#corked) return;
    this.#corked = false;
    this.#stream?.uncork();
  }

  #settleConnecting(): void {
    if (!this.#connecting) return;
    this.#connecting = false;
    this.#owner.connected(this);
  }

  #end(): void {
    this.#settleConnecting();
    if (!this.#streamClosed) this.#stream?.reset();
    this.#stream = undefined;
    this.#owner.held(-this.#heldBytes);
    this.#heldBytes = 0;
    this.#owner.ended(this);
  }

  #account(): void {
    if (this.#stream === undefined) return;
    const heldBytes = this.endpoint.sendBuffer.length + this.endpoint.unconsumedBytes;
    this.#owner.held(heldBytes - this.#heldBytes);
    this.#heldBytes = heldBytes;
  }

  // The way to the guest.

  get timers(): TimerQueue {
    return this.#owner.nat.timers;
  }

  get maxPayloadBytes(): number {
    return this.#owner.nat.offload ? MAX_OFFLOAD_PAYLOAD_BYTES : 0;
  }

  get receiveLimitBytes(): number {
    return this.#owner.receiveLimitBytes;
  }

  hasRoom(): boolean {
    if (this.#owner.nat.hasRoom) return true;
    this.#owner.awaitRoom(this);
    return false;
  }

  scheduleFlush(): void {
    this.#owner.scheduleFlush(this);
  }

  retransmitted(): void {
    this.#owner.retransmitted.value++;
  }

  transmit(
    flags: number,
    sequence: number,
    acknowledgement: number,
    window: number,
    options: Uint8Array | undefined,
    offset: number,
    length: number,
  ): void {
    const { nat } = this.#owner;
    const tcpBytes = TCP_BYTES + (options?.length ?? 0);
    const payloadAt = TRANSPORT_OFFSET + tcpBytes;
    const bytes = new Uint8Array(payloadAt + length);
    const view = dataViewOf(bytes);
    const ends = nat.endsTo(this.guest, this.remote);
    writeHeaders(bytes, view, ends, Protocol.TCP, nat.nextPacketId(), DONT_FRAGMENT);
    view.setUint16(TRANSPORT_OFFSET, this.remotePort);
    view.setUint16(TRANSPORT_OFFSET + 2, this.guestPort);
    view.setUint32(TRANSPORT_OFFSET + 4, sequence);
    view.setUint32(TRANSPORT_OFFSET + 8, acknowledgement);
    view.setUint16(TRANSPORT_OFFSET + 12, ((tcpBytes / 4) << 12) | flags);
    view.setUint16(TRANSPORT_OFFSET + 14, window);
    if (options !== undefined) bytes.set(options, TRANSPORT_OFFSET + TCP_BYTES);
    if (length > 0) this.endpoint.sendBuffer.copy(offset, bytes, payloadAt, length);
    const pseudoHeader = addressSum(ends) + Protocol.TCP + tcpBytes + length;
    const field = TRANSPORT_OFFSET + TCP_CHECKSUM_OFFSET;
    if (nat.offload && length > 0) {
      view.setUint16(field, fold(pseudoHeader));
      const { segmentBytes } = this.endpoint;
      const offload =
        length > segmentBytes
          ? { checksum: CHECKSUM_OFFLOAD, segmentPayloadBytes: segmentBytes }
          : { checksum: CHECKSUM_OFFLOAD };
      nat.sendFrame({ bytes, offload }, this.guest);
    } else {
      view.setUint16(field, complementOf(pseudoHeader + sumOf(view, TRANSPORT_OFFSET, bytes.length)));
      nat.sendFrame({ bytes }, this.guest);
    }
  }
}
