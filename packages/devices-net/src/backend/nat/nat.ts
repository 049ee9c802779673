import { type Counter, KenshoError } from '@kensho/core';
import { ETHERNET_HEADER_BYTES, EtherType, etherTypeOf, isBroadcast } from '../../frame/ethernet.ts';
import { MAC_BYTES, sameMac, VLAN_ID_MASK } from '../mac.ts';
import type { NetworkServices } from '../network.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from '../port.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpServer } from './dhcp-server.ts';
import { DNS_PORT, DnsRelay } from './dns-relay.ts';
import { GuestLink } from './guest-link.ts';
import type { HostDatagrams, HostListener, HostNetwork } from './host.ts';
import { echoReply, isEchoRequest } from './icmp.ts';
import { formatIpv4, IPV4_ANY, isLoopback, isUnicast, parseIpv4 } from './ipv4-address.ts';
import { type Destinations, Unreachable } from './link.ts';
import { IPV4_OFFSET, Ipv4Packet, Protocol, udpDatagram } from './packets.ts';
import { Reassembly } from './reassembly.ts';
import { Subnet } from './subnet.ts';
import { TcpFlows, type TcpLimits } from './tcp/flows.ts';
import { parseDatagram, UdpFlows } from './udp-flows.ts';

/** A port of the host's that leads to one of a guest's. */
export interface PortForward {
  readonly protocol: 'tcp' | 'udp';
  /** Where the host listens. @default '127.0.0.1' */
  readonly address?: string;
  readonly hostPort: number;
  readonly guestPort: number;
  /** The guest's address. @default that of the guest that was given one last */
  readonly guest?: string;
}

export interface NatOptions extends TcpLimits {
  /** The network behind the NAT, of 256 addresses. @default '10.0.2.0' */
  readonly network?: string;
  /** @default 1500 */
  readonly mtu?: number;
  /** Whether guests reach services on the host's loopback, by the gateway's address. @default true */
  readonly reachHost?: boolean;
  /** Whether checksums and the cutting of large segments are left to the adapter. @default true */
  readonly offload?: boolean;
  /** @default none */
  readonly forwards?: readonly PortForward[];
}

export interface NatServices extends NetworkServices {
  readonly host: HostNetwork;
  /** 32 random bits, unsigned; not to be guessed, since sequence numbers are made of them. */
  readonly random: () => number;
}

/** What guests make a NAT hold. */
export interface NatLoad {
  readonly tcpFlows: number;
  readonly tcpBytes: number;
  readonly udpFlows: number;
  readonly dnsQueries: number;
  readonly fragmentedPackets: number;
  readonly neighbours: number;
}

const LOOPBACK = '127.0.0.1';
/** What every host must take (RFC 791), and Ethernet's jumbo frames. */
const MIN_MTU = 576;
const MAX_MTU = 9000;

/**
 * A network of its own with a way out by sockets of the host's, for which nobody needs to be an administrator.
 *
 * Guests get addresses by DHCP and names by DNS, and reach by TCP and UDP what the host reaches; the host itself by
 * the gateway's address. An echo request (ping) is answered by the gateway and the resolver; Node has no socket that
 * would send one to others, and the guest is told that it is prohibited. Nobody reaches a guest but by a
 * {@link PortForward}. There is no IPv6.
 *
 * Counts what it carries and drops as `nat.*`. Everything that guests can make it hold is bounded.
 */
export class Nat implements NetworkConnector, NetworkPort {
  readonly linkUp = true;
  readonly subnet: Subnet;
  readonly #host: HostNetwork;
  readonly #reachHost: boolean;
  readonly #link: GuestLink;
  readonly #tcp: TcpFlows;
  readonly #udp: UdpFlows;
  readonly #dns: DnsRelay;
  readonly #dhcp: DhcpServer;
  readonly #reassembly: Reassembly;
  readonly #packet = new Ipv4Packet();
  readonly #listeners: HostListener[] = [];
  #closed = false;
  readonly #framesIn: Counter;
  readonly #malformed: Counter;
  readonly #checksum: Counter;
  readonly #foreign: Counter;
  readonly #unsupported: Counter;

  /** Makes a NAT with its ports at the host open. Throws KenshoError BAD_IPV4, BAD_MTU or HOST_PORT. */
  static async open(options: NatOptions, services: NatServices): Promise<Nat> {
    const nat = new Nat(options, services);
    try {
      for (const forward of options.forwards ?? []) nat.#listeners.push(await nat.#forward(forward));
      return nat;
    } catch (error) {
      nat.close();
      throw error;
    }
  }

  private constructor(options: NatOptions, services: NatServices) {
    const { timers, work, counters, random } = services;
    const mtu = options.mtu ?? 1500;
    if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) {
      throw new KenshoError('BAD_MTU', `an MTU of ${mtu}: give one from ${MIN_MTU} to ${MAX_MTU}`);
    }
    this.#host = services.host;
    this.subnet = new Subnet(options.network ?? '10.0.2.0');
    this.#reachHost = options.reachHost ?? true;
    this.#link = new GuestLink({
      subnet: this.subnet,
      mtu,
      offload: options.offload ?? true,
      timers,
      work,
      counters,
      log: services.log.child('nat'),
      random,
      defaultGuest: () => this.#dhcp.leased.at(-1) ?? this.subnet.firstLease,
      onRoom: () => this.#tcp.onRoom(),
    });
    this.#tcp = new TcpFlows(this.#link, services.host, this.#destinations, options);
    this.#udp = new UdpFlows(this.#link, services.host, this.#destinations);
    this.#dns = new DnsRelay(this.#link, services.host);
    this.#dhcp = new DhcpServer(this.subnet, timers.clock, mtu);
    this.#reassembly = new Reassembly(timers.clock);
    this.#framesIn = counters.counter('nat.in.frames');
    this.#malformed = counters.counter('nat.in.dropped.malformed');
    this.#checksum = counters.counter('nat.in.dropped.checksum');
    this.#foreign = counters.counter('nat.in.dropped.foreign');
    this.#unsupported = counters.counter('nat.in.dropped.unsupported');
  }

  get load(): NatLoad {
    return {
      tcpFlows: this.#tcp.size,
      tcpBytes: this.#tcp.heldBytes,
      udpFlows: this.#udp.size,
      dnsQueries: this.#dns.size,
      fragmentedPackets: this.#reassembly.size,
      neighbours: this.#link.neighbourCount,
    };
  }

  connect(adapter: NetworkAdapter): NetworkPort {
    this.#link.plug(adapter);
    return this;
  }

  receiveReady(): void {
    this.#link.ready();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tcp.close();
    this.#udp.close();
    this.#dns.close();
    for (const listener of this.#listeners) listener.close();
    this.#link.close();
  }

  send(frame: Frame): void {
    if (this.#closed) return;
    this.#framesIn.value++;
    const { bytes, vlanTag = 0 } = frame;
    if (bytes.length < ETHERNET_HEADER_BYTES) {
      this.#malformed.value++;
      return;
    }
    const toUs = sameMac(bytes, 0, this.subnet.mac, 0) || isBroadcast(bytes);
    if (!toUs || (vlanTag & VLAN_ID_MASK) !== 0) {
      this.#foreign.value++;
      return;
    }
    switch (etherTypeOf(bytes)) {
      case EtherType.ARP:
        if (!this.#link.receiveArp(bytes)) this.#malformed.value++;
        break;
      case EtherType.IPV4:
        this.#receiveIpv4(frame);
        break;
      default:
        this.#unsupported.value++;
    }
  }

  #receiveIpv4({ bytes, offload }: Frame): void {
    const packet = this.#packet;
    const large = offload?.segmentPayloadBytes !== undefined;
    const headerDone = offload?.ipv4HeaderChecksum !== true && !large;
    if (!packet.parse(bytes.subarray(IPV4_OFFSET), headerDone)) {
      this.#malformed.value++;
      return;
    }
    let transportDone = offload?.checksum === undefined && !large;
    if (packet.fragmentOffset !== 0 || packet.moreFragments) {
      const whole = this.#reassembly.add(packet);
      if (whole === undefined) return;
      if (whole === 'bad' || !packet.parse(whole, true)) {
        this.#malformed.value++;
        return;
      }
      transportDone = true;
    }
    const { source, protocol } = packet;
    if (source === IPV4_ANY && protocol === Protocol.UDP) {
      this.#receiveUdp(packet, transportDone, bytes);
      return;
    }
    if (!this.subnet.isGuest(source)) {
      this.#foreign.value++;
      return;
    }
    this.#link.learn(source, bytes.subarray(MAC_BYTES, 2 * MAC_BYTES));
    switch (protocol) {
      case Protocol.TCP:
        if (transportDone && !packet.transportChecksumIsRight()) this.#checksum.value++;
        else if (!this.#tcp.receive(packet)) this.#malformed.value++;
        break;
      case Protocol.UDP:
        this.#receiveUdp(packet, transportDone, bytes);
        break;
      case Protocol.ICMP:
        this.#receiveIcmp(packet);
        break;
      default:
        this.#unsupported.value++;
    }
  }

  #receiveUdp(packet: Ipv4Packet, transportDone: boolean, frame: Uint8Array): void {
    const datagram = parseDatagram(packet);
    if (datagram === undefined) {
      this.#malformed.value++;
      return;
    }
    const hasChecksum = packet.view.getUint16(packet.headerBytes + 6) !== 0;
    if (transportDone && hasChecksum && !packet.transportChecksumIsRight()) {
      this.#checksum.value++;
      return;
    }
    const { subnet } = this;
    const { source, destination } = packet;
    if (datagram.destinationPort === DHCP_SERVER_PORT && !isElsewhere(destination, subnet)) {
      this.#receiveDhcp(datagram.data);
    } else if (source === IPV4_ANY || isBroadcast(frame)) {
      this.#foreign.value++;
    } else if (destination === subnet.resolver && datagram.destinationPort === DNS_PORT) {
      if (!this.#dns.receive(source, datagram)) this.#malformed.value++;
    } else {
      this.#udp.receive(packet, datagram);
    }
  }

  #receiveDhcp(message: Uint8Array): void {
    const reply = this.#dhcp.answer(message);
    if (reply === undefined) return;
    const ends = {
      sourceMac: this.subnet.mac,
      destinationMac: reply.destinationMac,
      source: this.subnet.gateway,
      destination: reply.destination,
    };
    const datagram = udpDatagram(ends, DHCP_SERVER_PORT, DHCP_CLIENT_PORT, reply.message);
    this.#link.sendTo(ends, Protocol.UDP, datagram);
  }

  #receiveIcmp(packet: Ipv4Packet): void {
    // Errors that guests report are of no use: the host's own network has its own.
    if (!isEchoRequest(packet)) {
      this.#unsupported.value++;
      return;
    }
    const { destination, source } = packet;
    if (destination === this.subnet.gateway || destination === this.subnet.resolver) {
      this.#link.sendCarried(this.#link.endsTo(source, destination), Protocol.ICMP, echoReply(packet));
    } else if (isUnicast(destination)) {
      const quoted = packet.bytes.slice(0, packet.headerBytes + 8);
      this.#link.sendUnreachable(Unreachable.PROHIBITED, quoted);
    }
  }

  readonly #destinations: Destinations = (address, port) => {
    const { subnet } = this;
    // Port 0 is nobody's, and the host's sockets do not take it.
    if (port === 0) return undefined;
    if (address === subnet.gateway) return this.#reachHost ? { address: LOOPBACK, port } : undefined;
    if (address === subnet.resolver) return port === DNS_PORT ? this.#host.resolvers().at(0) : undefined;
    // The host's loopback is reached by the gateway's address or not at all.
    if (subnet.contains(address) || !isUnicast(address) || isLoopback(address)) return undefined;
    return { address: formatIpv4(address), port };
  };

  async #forward(forward: PortForward): Promise<HostListener> {
    const { hostPort, guestPort, address = LOOPBACK } = forward;
    const fixed = forward.guest === undefined ? undefined : parseIpv4(forward.guest);
    const guest = () => fixed ?? this.#link.defaultGuest();
    if (forward.protocol === 'tcp') {
      return this.#host.listen(address, hostPort, (stream) =>
        this.#tcp.acceptInward(stream, guest(), guestPort),
      );
    }
    let socket: HostDatagrams | undefined;
    const receive = this.#udp.inward(guest, guestPort, (bytes, to, port) => socket?.sendTo(bytes, to, port));
    socket = await this.#host.bindDatagrams(address, hostPort, { message: receive, failed: () => {} });
    return socket;
  }
}

/** Whether an address is neither the gateway's nor one of all. */
function isElsewhere(address: number, subnet: Subnet): boolean {
  return address !== subnet.gateway && address !== subnet.broadcast && address !== 0xffffffff;
}
