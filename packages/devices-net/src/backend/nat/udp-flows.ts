import type { Counter, Timer } from '@kensho/core';
import { UDP_BYTES } from '../../frame/packet-layout.ts';
import { type FlowEnds, FlowTable } from './flow-table.ts';
import type { HostDatagrams, HostNetwork } from './host.ts';
import type { Ipv4 } from './ipv4-address.ts';
import {
  type Destinations,
  EPHEMERAL_PORTS,
  FIRST_EPHEMERAL_PORT,
  type NatLink,
  Unreachable,
} from './link.ts';
import { type Ipv4Packet, MAX_IPV4_BYTES, Protocol, udpDatagram } from './packets.ts';

/** Sockets at once; the one that was idle longest makes room for another. */
const MAX_FLOWS = 256;
/** RFC 4787, REQ-5. */
const IDLE_TIMEOUT_NS = 300e9;
const SWEEP_NS = 30e9;
const MAX_DATA_BYTES = MAX_IPV4_BYTES - 20 - UDP_BYTES;

interface UdpFlow extends FlowEnds {
  usedNs: number;
  send(bytes: Uint8Array): void;
  close(): void;
}

/** A datagram of a guest's. */
export interface Datagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly data: Uint8Array;
}

/** Reads what a checked packet carries; undefined where it is no datagram. */
export function parseDatagram({ bytes, view, headerBytes }: Ipv4Packet): Datagram | undefined {
  const carried = bytes.length - headerBytes;
  if (carried < UDP_BYTES) return undefined;
  const lengthBytes = view.getUint16(headerBytes + 4);
  if (lengthBytes < UDP_BYTES || lengthBytes > carried) return undefined;
  return {
    sourcePort: view.getUint16(headerBytes),
    destinationPort: view.getUint16(headerBytes + 2),
    data: bytes.subarray(headerBytes + UDP_BYTES, headerBytes + lengthBytes),
  };
}

/**
 * The UDP exchanges of a NAT's guests: a socket of the host's for each pair of ends, connected, so that only the one
 * whom the guest wrote to can answer, and the host's refusals come back.
 */
export class UdpFlows {
  readonly #nat: NatLink;
  readonly #host: HostNetwork;
  readonly #destinations: Destinations;
  readonly #flows = new FlowTable<UdpFlow>();
  readonly #dropped: Counter;
  #sweep: Timer | undefined;
  #nextPort = 0;

  constructor(nat: NatLink, host: HostNetwork, destinations: Destinations) {
    this.#nat = nat;
    this.#host = host;
    this.#destinations = destinations;
    this.#dropped = nat.counters.counter('nat.udp.dropped');
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Takes a guest's datagram towards the host's network. */
  receive(packet: Ipv4Packet, datagram: Datagram): void {
    const { source, destination } = packet;
    const { sourcePort, destinationPort, data } = datagram;
    let flow = this.#flows.get(source, sourcePort, destination, destinationPort);
    if (flow === undefined) {
      const target = this.#destinations(destination, destinationPort);
      const quoted = packet.bytes.slice(0, packet.headerBytes + UDP_BYTES);
      if (target === undefined) {
        this.#nat.sendUnreachable(Unreachable.PROHIBITED, quoted);
        return;
      }
      const ends = { guest: source, guestPort: sourcePort, remote: destination, remotePort: destinationPort };
      flow = this.#add(ends, (into) => {
        const socket = this.#host.connectDatagrams(target.address, target.port, {
          message: (bytes) => this.#toGuest(into, bytes),
          failed: (error) => {
            if (error === 'ECONNREFUSED') this.#nat.sendUnreachable(Unreachable.PORT, quoted);
            else this.#dropped.value++;
          },
        });
        return { send: (bytes) => socket.send(bytes), close: () => socket.close() };
      });
    }
    flow.usedNs = this.#nowNs();
    flow.send(data);
  }

  /**
   * Serves datagrams that come to a port of the host's towards a guest's port. Each sender gets a port of the
   * gateway's, to which the guest answers.
   *
   * @param answer - sends what the guest answers
   */
  inward(guest: () => Ipv4, guestPort: number, answer: HostDatagrams['sendTo']) {
    const bySender = new Map<string, UdpFlow>();
    return (bytes: Uint8Array, address: string, port: number): void => {
      const sender = `${address} ${port}`;
      let flow = bySender.get(sender);
      if (flow === undefined) {
        const remotePort = this.#freePort(guest(), guestPort);
        if (remotePort === undefined) return;
        const ends = { guest: guest(), guestPort, remote: this.#nat.subnet.gateway, remotePort };
        flow = this.#add(ends, () => ({
          send: (reply) => answer(reply, address, port),
          close: () => bySender.delete(sender),
        }));
        bySender.set(sender, flow);
      }
      this.#toGuest(flow, bytes);
    };
  }

  close(): void {
    this.#sweep?.cancel();
    for (const flow of this.#flows) this.#remove(flow);
  }

  #toGuest(flow: UdpFlow, data: Uint8Array): void {
    const nat = this.#nat;
    if (!nat.hasRoom || data.length > MAX_DATA_BYTES) {
      this.#dropped.value++;
      return;
    }
    flow.usedNs = this.#nowNs();
    const ends = nat.endsTo(flow.guest, flow.remote);
    nat.sendCarried(ends, Protocol.UDP, udpDatagram(ends, flow.remotePort, flow.guestPort, data));
  }

  #add(ends: FlowEnds, open: (flow: UdpFlow) => Pick<UdpFlow, 'send' | 'close'>): UdpFlow {
    if (this.#flows.size >= MAX_FLOWS) this.#removeOldest();
    const flow: UdpFlow = { ...ends, usedNs: this.#nowNs(), send: () => {}, close: () => {} };
    Object.assign(flow, open(flow));
    this.#flows.add(flow);
    this.#sweep ??= this.#nat.timers.at(this.#nowNs() + SWEEP_NS, this.#onSweep);
    return flow;
  }

  #remove(flow: UdpFlow): void {
    this.#flows.remove(flow);
    flow.close();
  }

  #removeOldest(): void {
    let oldest: UdpFlow | undefined;
    for (const flow of this.#flows) {
      if (oldest === undefined || flow.usedNs < oldest.usedNs) oldest = flow;
    }
    if (oldest !== undefined) this.#remove(oldest);
  }

  readonly #onSweep = (): void => {
    const nowNs = this.#nowNs();
    for (const flow of this.#flows) if (nowNs - flow.usedNs >= IDLE_TIMEOUT_NS) this.#remove(flow);
    this.#sweep = this.#flows.size === 0 ? undefined : this.#nat.timers.at(nowNs + SWEEP_NS, this.#onSweep);
  };

  #freePort(guest: Ipv4, guestPort: number): number | undefined {
    const { gateway } = this.#nat.subnet;
    for (let tries = 0; tries < EPHEMERAL_PORTS; tries++) {
      const port = FIRST_EPHEMERAL_PORT + (this.#nextPort++ % EPHEMERAL_PORTS);
      if (this.#flows.get(guest, guestPort, gateway, port) === undefined) return port;
    }
    return undefined;
  }

  #nowNs(): number {
    return this.#nat.timers.clock.nowNs();
  }
}
