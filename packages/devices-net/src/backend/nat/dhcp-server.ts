import type { Clock } from '@kensho/core';
import { dataViewOf } from '../../frame/packet-layout.ts';
import { formatMac, MAC_BYTES } from '../mac.ts';
import { IPV4_ANY, IPV4_BROADCAST, type Ipv4 } from './ipv4-address.ts';
import type { Subnet } from './subnet.ts';

export const DHCP_SERVER_PORT = 67;
export const DHCP_CLIENT_PORT = 68;

/** Message layout (RFC 2131, figure 1). */
const OP = 0;
const HARDWARE_TYPE = 1;
const HARDWARE_LENGTH = 2;
const HOPS = 3;
const SECONDS = 8;
const FLAGS = 10;
const CLIENT_ADDRESS = 12;
const YOUR_ADDRESS = 16;
const SERVER_ADDRESS = 20;
const RELAY_ADDRESS = 24;
const HARDWARE_ADDRESS = 28;
const COOKIE = 236;
const OPTIONS = 240;
/** Shorter messages are lost on old clients (RFC 1542, 2.1). */
const MIN_REPLY_BYTES = 300;

const BOOT_REQUEST = 1;
const BOOT_REPLY = 2;
const ETHERNET = 1;
const FLAG_BROADCAST = 0x8000;
const MAGIC = 0x63825363;

/** Options (RFC 2132). */
const Option = {
  PAD: 0,
  SUBNET_MASK: 1,
  ROUTER: 3,
  RESOLVER: 6,
  INTERFACE_MTU: 26,
  BROADCAST: 28,
  REQUESTED_ADDRESS: 50,
  LEASE_TIME: 51,
  MESSAGE_TYPE: 53,
  SERVER: 54,
  RENEWAL_TIME: 58,
  REBINDING_TIME: 59,
  END: 255,
} as const;

/** Values of {@link Option.MESSAGE_TYPE}. */
const MessageType = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
  INFORM: 8,
} as const;

const LEASE_SECONDS = 86_400;
/** How long an offer is kept for the client that has not taken it up. */
const OFFER_SECONDS = 60;

/** A reply, and where to. */
export interface DhcpReply {
  readonly message: Uint8Array;
  readonly destination: Ipv4;
  readonly destinationMac: Uint8Array;
}

interface Lease {
  readonly address: Ipv4;
  expiresNs: number;
}

interface Request {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly client: string;
  readonly mac: Uint8Array;
  /** `ciaddr`: the address that the client has already. */
  readonly has: Ipv4;
  readonly broadcast: boolean;
  readonly requested: Ipv4 | undefined;
  readonly server: Ipv4 | undefined;
}

const BROADCAST_MAC = new Uint8Array(MAC_BYTES).fill(0xff);

/**
 * Leases the addresses of a subnet (RFC 2131), one for each hardware address, always the same one as long as there
 * are enough. There are as many leases as addresses.
 */
export class DhcpServer {
  readonly #subnet: Subnet;
  readonly #clock: Clock;
  readonly #mtu: number;
  /** By hardware address, in order of last use. */
  readonly #leases = new Map<string, Lease>();

  constructor(subnet: Subnet, clock: Clock, mtu: number) {
    this.#subnet = subnet;
    this.#clock = clock;
    this.#mtu = mtu;
  }

  /** Addresses that are leased, the one leased last at the end. */
  get leased(): readonly Ipv4[] {
    const nowNs = this.#clock.nowNs();
    return [...this.#leases.values()].filter((one) => one.expiresNs > nowNs).map((one) => one.address);
  }

  /** The reply to a client's message; undefined where there is none, or the message makes no sense. */
  answer(bytes: Uint8Array): DhcpReply | undefined {
    const request = parseRequest(bytes);
    switch (request?.type) {
      case MessageType.DISCOVER: {
        const lease = this.#leaseFor(request.client, request.requested, OFFER_SECONDS);
        return lease && this.#reply(request, MessageType.OFFER, lease.address);
      }
      case MessageType.REQUEST:
        return this.#onRequest(request);
      case MessageType.INFORM:
        return this.#reply(request, MessageType.ACK, IPV4_ANY);
      case MessageType.RELEASE:
        this.#leases.delete(request.client);
        return undefined;
      case MessageType.DECLINE:
        this.#decline(request);
        return undefined;
      default:
        return undefined;
    }
  }

  #onRequest(request: Request): DhcpReply | undefined {
    const { client, server, requested, has } = request;
    if (server !== undefined && server !== this.#subnet.gateway) {
      // It has taken up another server's offer.
      this.#leases.delete(client);
      return undefined;
    }
    const wanted = requested ?? has;
    const lease = this.#leaseFor(client, wanted, LEASE_SECONDS);
    if (lease?.address === wanted) return this.#reply(request, MessageType.ACK, wanted);
    return this.#reply(request, MessageType.NAK, IPV4_ANY);
  }

  /** Somebody has the address that we gave: nobody gets it while the lease lasts. */
  #decline({ client, requested }: Request): void {
    const lease = this.#leases.get(client);
    if (lease === undefined || lease.address !== requested) return;
    this.#leases.delete(client);
    this.#leases.set(`declined ${lease.address}`, lease);
  }

  /** The client's lease, prolonged; a new one where it has none, of the address that it wants if that is free. */
  #leaseFor(client: string, wanted: Ipv4 | undefined, seconds: number): Lease | undefined {
    const nowNs = this.#clock.nowNs();
    const known = this.#leases.get(client);
    const address = known?.address ?? this.#freeAddress(wanted, nowNs);
    if (address === undefined) return undefined;
    const lease = known ?? { address, expiresNs: 0 };
    lease.expiresNs = Math.max(lease.expiresNs, nowNs + seconds * 1e9);
    this.#leases.delete(client);
    this.#leases.set(client, lease);
    return lease;
  }

  #freeAddress(wanted: Ipv4 | undefined, nowNs: number): Ipv4 | undefined {
    const { firstLease, lastLease } = this.#subnet;
    const taken = new Set<Ipv4>();
    for (const { address } of this.#leases.values()) taken.add(address);
    if (wanted !== undefined && wanted >= firstLease && wanted <= lastLease && !taken.has(wanted)) {
      return wanted;
    }
    for (let address = firstLease; address <= lastLease; address++) if (!taken.has(address)) return address;
    for (const [client, { address, expiresNs }] of this.#leases) {
      if (expiresNs > nowNs) continue;
      this.#leases.delete(client);
      return address;
    }
    return undefined;
  }

  #reply(request: Request, type: number, address: Ipv4): DhcpReply {
    const { gateway, resolver, mask, broadcast } = this.#subnet;
    const bytes = new Uint8Array(MIN_REPLY_BYTES + 64);
    const view = dataViewOf(bytes);
    // Transaction, flags, relay and hardware address are the client's.
    bytes.set(request.bytes.subarray(0, HARDWARE_ADDRESS + 16));
    view.setUint8(OP, BOOT_REPLY);
    view.setUint8(HOPS, 0);
    view.setUint16(SECONDS, 0);
    view.setUint32(YOUR_ADDRESS, address);
    view.setUint32(SERVER_ADDRESS, IPV4_ANY);
    if (type === MessageType.NAK) view.setUint32(CLIENT_ADDRESS, IPV4_ANY);
    view.setUint32(COOKIE, MAGIC);
    let at = OPTIONS;
    const option = (code: number, sizeBytes: 1 | 2 | 4, value: number) => {
      bytes[at] = code;
      bytes[at + 1] = sizeBytes;
      if (sizeBytes === 1) view.setUint8(at + 2, value);
      else if (sizeBytes === 2) view.setUint16(at + 2, value);
      else view.setUint32(at + 2, value);
      at += 2 + sizeBytes;
    };
    option(Option.MESSAGE_TYPE, 1, type);
    option(Option.SERVER, 4, gateway);
    if (type !== MessageType.NAK) {
      if (request.type !== MessageType.INFORM) {
        option(Option.LEASE_TIME, 4, LEASE_SECONDS);
        option(Option.RENEWAL_TIME, 4, LEASE_SECONDS / 2);
        option(Option.REBINDING_TIME, 4, (LEASE_SECONDS / 8) * 7);
      }
      option(Option.SUBNET_MASK, 4, mask);
      option(Option.BROADCAST, 4, broadcast);
      option(Option.ROUTER, 4, gateway);
      option(Option.RESOLVER, 4, resolver);
      option(Option.INTERFACE_MTU, 2, this.#mtu);
    }
    bytes[at++] = Option.END;
    return {
      message: bytes.subarray(0, Math.max(at, MIN_REPLY_BYTES)),
      ...destinationOf(request, type, address),
    };
  }
}

/** RFC 2131, 4.1. */
function destinationOf(
  { has, broadcast, mac }: Request,
  type: number,
  address: Ipv4,
): Pick<DhcpReply, 'destination' | 'destinationMac'> {
  if (type !== MessageType.NAK) {
    if (has !== IPV4_ANY) return { destination: has, destinationMac: mac };
    if (!broadcast && address !== IPV4_ANY) return { destination: address, destinationMac: mac };
  }
  return { destination: IPV4_BROADCAST, destinationMac: BROADCAST_MAC };
}

function parseRequest(bytes: Uint8Array): Request | undefined {
  if (bytes.length < OPTIONS) return undefined;
  const view = dataViewOf(bytes);
  const sound =
    view.getUint8(OP) === BOOT_REQUEST &&
    view.getUint8(HARDWARE_TYPE) === ETHERNET &&
    view.getUint8(HARDWARE_LENGTH) === MAC_BYTES &&
    view.getUint32(RELAY_ADDRESS) === IPV4_ANY &&
    view.getUint32(COOKIE) === MAGIC;
  if (!sound) return undefined;
  let type = 0;
  let requested: Ipv4 | undefined;
  let server: Ipv4 | undefined;
  for (let at = OPTIONS; at < bytes.length && bytes[at] !== Option.END; ) {
    if (bytes[at] === Option.PAD) {
      at++;
      continue;
    }
    const lengthBytes = at + 1 < bytes.length ? bytes[at + 1] : 255;
    const value = at + 2;
    if (value + lengthBytes > bytes.length) return undefined;
    if (bytes[at] === Option.MESSAGE_TYPE && lengthBytes === 1) type = bytes[value];
    if (bytes[at] === Option.REQUESTED_ADDRESS && lengthBytes === 4) requested = view.getUint32(value);
    if (bytes[at] === Option.SERVER && lengthBytes === 4) server = view.getUint32(value);
    at = value + lengthBytes;
  }
  const mac = bytes.slice(HARDWARE_ADDRESS, HARDWARE_ADDRESS + MAC_BYTES);
  return {
    type,
    bytes,
    client: formatMac(mac),
    mac,
    has: view.getUint32(CLIENT_ADDRESS),
    broadcast: (view.getUint16(FLAGS) & FLAG_BROADCAST) !== 0,
    requested,
    server,
  };
}
