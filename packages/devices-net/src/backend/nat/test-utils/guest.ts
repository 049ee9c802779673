import { expect } from 'vitest';
import { EtherType, etherTypeOf, isBroadcast } from '../../../frame/ethernet.ts';
import { complementOf, sumOf } from '../../../frame/internet-checksum.ts';
import { finishFrame } from '../../../frame/offload.ts';
import { dataViewOf } from '../../../frame/packet-layout.ts';
import { parseMac, sameMac } from '../../mac.ts';
import type { NetworkServices } from '../../network.ts';
import type { Frame, NetworkAdapter, NetworkPort } from '../../port.ts';
import { type ArpPacket, arpFrame, parseArp } from '../arp.ts';
import { formatIpv4, type Ipv4, parseIpv4 } from '../ipv4-address.ts';
import {
  addressSum,
  IPV4_OFFSET,
  Ipv4Packet,
  type PacketEnds,
  Protocol,
  packetsOf,
  udpDatagram,
} from '../packets.ts';
import { Reassembly } from '../reassembly.ts';
import { TcpEndpoint, type TcpEvents } from '../tcp/endpoint.ts';
import { Segment, TCP_BYTES } from '../tcp/segment.ts';

/** A packet that a guest received. */
export interface Received {
  readonly from: string;
  readonly to: string;
  readonly protocol: number;
  readonly carried: Uint8Array;
}

export const GATEWAY_MAC = parseMac('52:55:0a:00:02:02');

/** A guest's IP stack: builds packets and checks those that it gets, checksums included. */
export class TestGuest implements NetworkAdapter {
  readonly name = 'guest';
  readonly mac: Uint8Array;
  readonly address: Ipv4;
  readonly packets: Received[] = [];
  readonly arps: ArpPacket[] = [];
  readonly frames: Frame[] = [];
  port!: NetworkPort;
  mtu = 1500;
  /** Whether there is room for frames. */
  hasRoom = true;
  readonly #reassembly: Reassembly;
  readonly #services: NetworkServices;
  readonly #connections = new Map<string, TcpEndpoint>();
  readonly #flushes = new Set<TcpEndpoint>();
  #id = 0;

  constructor(services: NetworkServices, address = '10.0.2.15', mac = '02:00:00:00:00:01') {
    this.mac = parseMac(mac);
    this.address = parseIpv4(address);
    this.#services = services;
    this.#reassembly = new Reassembly(services.timers.clock);
  }

  receive(frame: Frame): boolean {
    if (!this.hasRoom) return false;
    this.frames.push(frame);
    for (const { bytes } of finishFrame(frame)) this.#take(bytes);
    return true;
  }

  linkChanged(): void {}

  /** The packets that came since the last call. */
  take(): Received[] {
    return this.packets.splice(0);
  }

  ends(to: string): PacketEnds {
    return {
      sourceMac: this.mac,
      destinationMac: GATEWAY_MAC,
      source: this.address,
      destination: parseIpv4(to),
    };
  }

  send(to: string, protocol: number, carried: Uint8Array): void {
    for (const bytes of packetsOf(this.ends(to), protocol, ++this.#id & 0xffff, carried, this.mtu)) {
      this.port.send({ bytes });
    }
  }

  udp(to: string, sourcePort: number, destinationPort: number, data: Uint8Array): void {
    this.send(to, Protocol.UDP, udpDatagram(this.ends(to), sourcePort, destinationPort, data));
  }

  arp(target: string, sender = formatIpv4(this.address)): void {
    const from = { mac: this.mac, address: parseIpv4(sender) };
    this.port.send({ bytes: arpFrame(from, { address: parseIpv4(target) }) });
  }

  /** A connection; `open` it, or let it `listen` for what comes to the port. */
  tcp(to: string, port: number, remotePort: number, events: TcpEvents): TcpEndpoint {
    const ends = this.ends(to);
    const endpoint = new TcpEndpoint(
      {
        timers: this.#services.timers,
        maxPayloadBytes: 0,
        receiveLimitBytes: 256 * 1024,
        hasRoom: () => true,
        retransmitted: () => {},
        scheduleFlush: () => {
          if (this.#flushes.size === 0) this.#services.work.defer(() => this.#flush());
          this.#flushes.add(endpoint);
        },
        transmit: (flags, sequence, acknowledgement, window, options, offset, length) => {
          const headerBytes = TCP_BYTES + (options?.length ?? 0);
          const bytes = new Uint8Array(headerBytes + length);
          const view = dataViewOf(bytes);
          view.setUint16(0, port);
          view.setUint16(2, remotePort);
          view.setUint32(4, sequence);
          view.setUint32(8, acknowledgement);
          view.setUint16(12, ((headerBytes / 4) << 12) | flags);
          view.setUint16(14, window);
          if (options !== undefined) bytes.set(options, TCP_BYTES);
          if (length > 0) endpoint.sendBuffer.copy(offset, bytes, headerBytes, length);
          const sum = addressSum(ends) + Protocol.TCP + bytes.length + sumOf(view, 0, bytes.length);
          view.setUint16(16, complementOf(sum));
          this.send(to, Protocol.TCP, bytes);
        },
      },
      events,
      { maxSegmentBytes: this.mtu - 40, initialSequence: 0xfffffff0, idleTimeoutNs: 3600e9 },
    );
    this.#connections.set(`${port} ${to} ${remotePort}`, endpoint);
    return endpoint;
  }

  #flush(): void {
    const endpoints = [...this.#flushes];
    this.#flushes.clear();
    for (const endpoint of endpoints) endpoint.flush();
  }

  #take(bytes: Uint8Array): void {
    if (!isBroadcast(bytes) && !sameMac(bytes, 0, this.mac, 0)) return;
    // Of several guests on a switch each hears the others' broadcasts.
    if (!sameMac(bytes, 6, GATEWAY_MAC, 0)) return;
    if (etherTypeOf(bytes) === EtherType.ARP) {
      const packet = parseArp(bytes);
      expect(packet).toBeDefined();
      if (packet !== undefined) this.arps.push(packet);
      return;
    }
    const packet = new Ipv4Packet();
    expect(packet.parse(bytes.subarray(IPV4_OFFSET), true)).toBe(true);
    if (packet.moreFragments || packet.fragmentOffset > 0) {
      const whole = this.#reassembly.add(packet);
      if (whole === undefined) return;
      expect(packet.parse(whole as Uint8Array, true)).toBe(true);
    }
    if (packet.protocol !== Protocol.ICMP) expect(packet.transportChecksumIsRight()).toBe(true);
    const received = {
      from: formatIpv4(packet.source),
      to: formatIpv4(packet.destination),
      protocol: packet.protocol,
      carried: packet.bytes.slice(packet.headerBytes),
    };
    if (packet.protocol === Protocol.TCP) {
      const segment = new Segment();
      expect(segment.parse(packet)).toBe(true);
      const key = `${segment.destinationPort} ${received.from} ${segment.sourcePort}`;
      const endpoint = this.#connections.get(key);
      if (endpoint !== undefined) {
        endpoint.receive(segment);
        return;
      }
    }
    this.packets.push(received);
  }
}
