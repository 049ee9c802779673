import type { Counter, Counters, Logger, TimerQueue, WorkQueue } from '@kensho/core';
import { DeliveryQueue } from '../delivery-queue.ts';
import { isGroupAddress, MAC_BYTES, sameMac } from '../mac.ts';
import type { Frame, NetworkAdapter } from '../port.ts';
import { ArpOperation, arpFrame, parseArp } from './arp.ts';
import { destinationUnreachable } from './icmp.ts';
import type { Ipv4 } from './ipv4-address.ts';
import type { NatLink } from './link.ts';
import { type PacketEnds, Protocol, packetsOf } from './packets.ts';
import type { Subnet } from './subnet.ts';

export interface GuestLinkOptions {
  readonly subnet: Subnet;
  readonly mtu: number;
  readonly offload: boolean;
  readonly timers: TimerQueue;
  readonly work: WorkQueue;
  readonly counters: Counters;
  readonly log: Logger;
  readonly random: () => number;
  readonly defaultGuest: () => Ipv4;
  readonly onRoom: () => void;
}

const UNKNOWN_MAC = new Uint8Array(MAC_BYTES);
/** Frames that wait for a guest's hardware address. */
const MAX_AWAITING = 32;

/** A NAT's side of the cable to its guests: their hardware addresses, and the queue to the adapter. */
export class GuestLink implements NatLink {
  readonly subnet: Subnet;
  readonly mtu: number;
  readonly offload: boolean;
  readonly timers: TimerQueue;
  readonly work: WorkQueue;
  readonly counters: Counters;
  readonly log: Logger;
  readonly random: () => number;
  readonly defaultGuest: () => Ipv4;
  readonly #onRoom: () => void;
  readonly #framesOut: Counter;
  readonly #full: Counter;
  /** Hardware addresses; at most one for each address of the subnet. */
  readonly #neighbours = new Map<Ipv4, Uint8Array>();
  #awaiting: { readonly guest: Ipv4; readonly frame: Frame }[] = [];
  #queue: DeliveryQueue | undefined;
  #packetId = 0;

  constructor(options: GuestLinkOptions) {
    this.subnet = options.subnet;
    this.mtu = options.mtu;
    this.offload = options.offload;
    this.timers = options.timers;
    this.work = options.work;
    this.counters = options.counters;
    this.log = options.log;
    this.random = options.random;
    this.defaultGuest = options.defaultGuest;
    this.#onRoom = options.onRoom;
    this.#framesOut = options.counters.counter('nat.out.frames');
    this.#full = options.counters.counter('nat.out.dropped.full');
  }

  plug(adapter: NetworkAdapter): void {
    if (this.#queue !== undefined) throw new Error(`${adapter.name}: the socket is taken`);
    this.#queue = new DeliveryQueue(adapter, this.work, { dropped: this.#full, onRoom: this.#onRoom });
  }

  ready(): void {
    this.#queue?.ready();
  }

  close(): void {
    this.#queue?.close();
    this.#awaiting = [];
  }

  get hasRoom(): boolean {
    return this.#queue?.hasRoom ?? false;
  }

  awaitRoom(): void {
    this.#queue?.awaitRoom();
  }

  endsTo(guest: Ipv4, source: Ipv4): PacketEnds {
    const destinationMac = this.#neighbours.get(guest) ?? UNKNOWN_MAC;
    return { sourceMac: this.subnet.mac, destinationMac, source, destination: guest };
  }

  nextPacketId(): number {
    this.#packetId = (this.#packetId + 1) & 0xffff;
    return this.#packetId;
  }

  sendFrame(frame: Frame, guest: Ipv4): void {
    if (this.#neighbours.has(guest)) {
      this.#push(frame);
      return;
    }
    // The request goes out each time: whoever sends again asks again.
    const { mac, gateway } = this.subnet;
    if (this.#awaiting.length < MAX_AWAITING) this.#awaiting.push({ guest, frame });
    this.#push({ bytes: arpFrame({ mac, address: gateway }, { address: guest }) });
  }

  sendCarried(ends: PacketEnds, protocol: number, carried: Uint8Array): void {
    for (const bytes of packetsOf(ends, protocol, this.nextPacketId(), carried, this.mtu)) {
      this.sendFrame({ bytes }, ends.destination);
    }
  }

  /** The same to a hardware address that is known from elsewhere, or to all. */
  sendTo(ends: PacketEnds, protocol: number, carried: Uint8Array): void {
    for (const bytes of packetsOf(ends, protocol, this.nextPacketId(), carried, this.mtu))
      this.#push({ bytes });
  }

  sendUnreachable(code: number, quoted: Uint8Array): void {
    const guest = ((quoted[12] << 24) | (quoted[13] << 16) | (quoted[14] << 8) | quoted[15]) >>> 0;
    this.sendCarried(
      this.endsTo(guest, this.subnet.gateway),
      Protocol.ICMP,
      destinationUnreachable(code, quoted),
    );
  }

  /** Notes where a guest is; frames that waited for that go out. */
  learn(guest: Ipv4, mac: Uint8Array): void {
    if (!this.subnet.isGuest(guest) || isGroupAddress(mac, 0)) return;
    const known = this.#neighbours.get(guest);
    if (known !== undefined && sameMac(known, 0, mac, 0)) return;
    const copy = mac.slice();
    this.#neighbours.set(guest, copy);
    const awaiting = this.#awaiting;
    this.#awaiting = [];
    for (const one of awaiting) {
      if (one.guest !== guest) {
        this.#awaiting.push(one);
        continue;
      }
      one.frame.bytes.set(copy);
      this.#push(one.frame);
    }
  }

  /** Takes an ARP frame; false where it is malformed. */
  receiveArp(frame: Uint8Array): boolean {
    const packet = parseArp(frame);
    if (packet === undefined || !sameMac(packet.senderMac, 0, frame, MAC_BYTES)) return false;
    const { subnet } = this;
    this.learn(packet.sender, packet.senderMac);
    const ours = packet.target === subnet.gateway || packet.target === subnet.resolver;
    if (packet.operation === ArpOperation.REQUEST && ours) {
      const to = { mac: packet.senderMac, address: packet.sender };
      this.#push({ bytes: arpFrame({ mac: subnet.mac, address: packet.target }, to) });
    }
    return true;
  }

  get neighbourCount(): number {
    return this.#neighbours.size;
  }

  #push(frame: Frame): void {
    if (this.#queue?.push(frame)) this.#framesOut.value++;
  }
}
