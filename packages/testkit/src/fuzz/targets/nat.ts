import { Counters, silentLogger, TimerQueue, VirtualClock, WorkQueue } from '@kensho/core';
import {
  type Frame,
  finishFrame,
  type HostDatagramEvents,
  type HostDatagrams,
  type HostNetwork,
  type HostStream,
  type HostStreamEvents,
  Nat,
  type NetworkPort,
} from '@kensho/devices-net';
import type { Random } from '../../random.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const STEPS = 80;
const MTU = 1500;
const MAX_FLOWS = 8;
const MAX_HALF_OPEN = 4;
const BUFFER_BYTES = 16 * 1024;
/** What a flow may hold beyond its buffers: one piece of the host's, and what was offered before. */
const SLACK_BYTES = 64 * 1024;

const ETHERNET = 14;
const IP = ETHERNET;
const TRANSPORT = IP + 20;
const GUEST_MAC = [2, 0, 0, 0, 0, 1];
const NAT_MAC = [0x52, 0x55, 0x0a, 0, 2, 2];
const GUEST = 0x0a00020f;
const GATEWAY = 0x0a000202;
const RESOLVER = 0x0a000203;
const OUTSIDE = 0x01020304;
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const SYN = 2;
const ACK = 16;

/** A NAT between a hostile guest and a host whose connections do what they like. */
export const natTarget: FuzzTarget = {
  id: 'nat',
  description:
    'frames of a hostile guest to the user-mode NAT: ARP, IPv4 and fragments, ICMP, UDP, DHCP, DNS, TCP',
  corpus: [],
  create: () => ({ run }),
};

async function run(random: Random): Promise<void> {
  const clock = new VirtualClock();
  const services = {
    work: new WorkQueue(clock),
    timers: new TimerQueue(clock),
    counters: new Counters(),
    log: silentLogger,
  };
  const host = new ChaoticHost(random);
  const guest = new Guest(random);
  const nat = await Nat.open(
    {
      mtu: MTU,
      offload: !random.oneIn(3),
      maxFlows: MAX_FLOWS,
      maxHalfOpen: MAX_HALF_OPEN,
      bufferBytes: BUFFER_BYTES,
      forwards: [
        { protocol: 'tcp', hostPort: 2222, guestPort: 22 },
        { protocol: 'udp', hostPort: 5353, guestPort: 53 },
      ],
    },
    { ...services, host, random: () => random.u32() },
  );
  const port = nat.connect(guest);
  const settle = () => {
    while (services.work.run());
  };
  for (let step = 0; step < STEPS; step++) {
    switch (random.below(8)) {
      case 0:
      case 1:
        host.act();
        break;
      case 2: {
        clock.advance(random.pick([1e6, 300e6, 2e9, 70e9]));
        services.timers.runDue();
        break;
      }
      case 3:
        guest.makeRoom(port);
        break;
      default:
        guest.send(port);
    }
    settle();
    const { load } = nat;
    expectAlways(load.tcpFlows <= MAX_FLOWS, () => `${load.tcpFlows} TCP flows`);
    expectAlways(load.tcpBytes >= 0, () => `${load.tcpBytes} bytes held`);
    expectAlways(
      load.tcpBytes <= load.tcpFlows * (2 * BUFFER_BYTES + SLACK_BYTES),
      () => `${load.tcpBytes} bytes held by ${load.tcpFlows} flows`,
    );
    expectAlways(load.dnsQueries <= 64 && load.udpFlows <= 256, 'too many UDP sockets');
    expectAlways(load.fragmentedPackets <= 16 && load.neighbours <= 252, 'too much kept of packets');
  }
  nat.close();
  guest.frames = 0;
  guest.makeRoom(port);
  settle();
  expectAlways(guest.frames === 0, 'frames came after the end');
  expectAlways(host.openSockets === 0, () => `${host.openSockets} sockets of the host are left`);
  expectAlways(nat.load.tcpFlows === 0 && nat.load.tcpBytes === 0, 'connections are left');
}

/** What the guest was told last of a connection. */
interface Connection {
  readonly remote: number;
  readonly remotePort: number;
  readonly guestPort: number;
  readonly expects: number;
  readonly received: number;
}

class Guest {
  readonly name = 'guest';
  readonly mac = Uint8Array.from(GUEST_MAC);
  frames = 0;
  readonly #random: Random;
  readonly #connections: Connection[] = [];
  #room = 40;
  /** What is sent of a packet in fragments. */
  #rest: Uint8Array | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  receive(frame: Frame): boolean {
    if (this.#room === 0) return false;
    this.#room--;
    this.frames++;
    for (const one of finishFrame(frame)) this.#check(one.bytes);
    return true;
  }

  linkChanged(): void {}

  makeRoom(port: NetworkPort): void {
    this.#room = this.#random.below(100);
    port.receiveReady();
  }

  send(port: NetworkPort): void {
    const random = this.#random;
    let bytes = this.#frame();
    const damaged = random.oneIn(5);
    if (damaged) {
      for (let n = random.below(4); n >= 0 && bytes.length > 0; n--) {
        bytes[random.below(bytes.length)] = random.u32();
      }
      if (random.oneIn(4)) bytes = bytes.slice(0, random.below(bytes.length + 1));
    }
    if (!random.oneIn(12)) seal(bytes);
    const offload = random.oneIn(8)
      ? {
          checksum: random.oneIn(2)
            ? {
                startOffset: mostly(random, () => TRANSPORT),
                fieldOffset: mostly(random, () => TRANSPORT + 16),
              }
            : undefined,
          ipv4HeaderChecksum: random.oneIn(2),
          segmentPayloadBytes: random.oneIn(2) ? edgeValue(random) : undefined,
        }
      : undefined;
    port.send({ bytes, offload, vlanTag: random.oneIn(30) ? edgeValue(random) & 0xffff : undefined });
  }

  #frame(): Uint8Array {
    const random = this.#random;
    switch (random.below(10)) {
      case 0:
        return random.bytes(random.below(80));
      case 1:
        return arp(random);
      case 2:
        return this.#fragment();
      case 3:
        return packet(random, ICMP, random.pick([GATEWAY, OUTSIDE]), [
          random.oneIn(4) ? random.u32() : 8,
          0,
          0,
          0,
        ]);
      case 4:
        return datagram(random, 68, 67, dhcp(random), random.pick([0xffffffff, GATEWAY]));
      case 5:
        return datagram(random, 5000 + random.below(3), 53, dns(random), RESOLVER);
      case 6:
        return datagram(
          random,
          mostly(random, () => 1000 + random.below(4)),
          mostly(random, () => 2000),
          random.bytes(random.below(40)),
          random.pick([OUTSIDE, GATEWAY]),
        );
      default:
        return this.#segment();
    }
  }

  #segment(): Uint8Array {
    const random = this.#random;
    const known =
      this.#connections.length > 0 && !random.oneIn(6) ? random.pick(this.#connections) : undefined;
    const payload = random.oneIn(2) ? random.bytes(random.below(300)) : new Uint8Array(0);
    const options = random.oneIn(3) ? tcpOptions(random) : [];
    const near = (value: number) => (random.oneIn(10) ? value + random.below(3000) - 1500 : value);
    const head = new Uint8Array(20 + options.length);
    const view = new DataView(head.buffer);
    view.setUint16(0, known?.guestPort ?? 1000 + random.below(6));
    view.setUint16(2, known?.remotePort ?? 80);
    view.setUint32(4, near(known?.expects ?? random.u32()));
    view.setUint32(8, near(known?.received ?? 0));
    const flags =
      known === undefined ? mostly(random, () => SYN) : mostly(random, () => ACK | random.below(2), 4);
    view.setUint16(12, mostly(random, () => head.length / 4, 20) << 12);
    head[13] = flags;
    view.setUint16(
      14,
      mostly(random, () => 65_535),
    );
    head.set(options, 20);
    return packet(random, TCP, known?.remote ?? OUTSIDE, head, payload);
  }

  #fragment(): Uint8Array {
    const random = this.#random;
    this.#rest ??= datagram(random, 1, 2, random.bytes(200), OUTSIDE);
    const whole = this.#rest;
    const units = Math.ceil((whole.length - TRANSPORT) / 8);
    const first = random.below(units);
    const count = 1 + random.below(units - first);
    const last = first + count === units;
    const part = whole.subarray(TRANSPORT + first * 8, TRANSPORT + (first + count) * 8);
    const bytes = new Uint8Array(TRANSPORT + part.length);
    bytes.set(whole.subarray(0, TRANSPORT));
    bytes.set(part, TRANSPORT);
    const view = new DataView(bytes.buffer);
    view.setUint16(IP + 2, bytes.length - IP);
    view.setUint16(
      IP + 6,
      mostly(random, () => first | (last ? 0 : 0x2000), 12),
    );
    if (random.oneIn(6)) this.#rest = undefined;
    return bytes;
  }

  /** What comes must be well-formed, and fit the medium. */
  #check(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    expectAlways(
      bytes.length >= ETHERNET && bytes.length <= ETHERNET + MTU,
      () => `${bytes.length} bytes came`,
    );
    expectAlways(
      NAT_MAC.every((byte, i) => bytes[6 + i] === byte),
      'it came from a strange address',
    );
    if (view.getUint16(12) === 0x0806) return;
    expectAlways(view.getUint16(12) === 0x0800 && bytes[IP] === 0x45, 'neither ARP nor IPv4 came');
    expectAlways(view.getUint16(IP + 2) === bytes.length - IP, 'the length is wrong');
    expectAlways(sum(view, IP, TRANSPORT) === 0xffff, 'the IPv4 header’s checksum is wrong');
    if ((view.getUint16(IP + 6) & 0x3fff) !== 0) return;
    const protocol = bytes[IP + 9];
    const pseudo = protocol === ICMP ? 0 : protocol + bytes.length - TRANSPORT;
    const from = protocol === ICMP ? TRANSPORT : IP + 12;
    expectAlways(
      sum(view, from, bytes.length, pseudo) === 0xffff,
      `the checksum of protocol ${protocol} is wrong`,
    );
    if (protocol !== TCP) return;
    const flags = bytes[TRANSPORT + 13];
    const length = bytes.length - TRANSPORT - (bytes[TRANSPORT + 12] >>> 4) * 4;
    if (this.#connections.length > 16) this.#connections.shift();
    this.#connections.push({
      remote: view.getUint32(IP + 12),
      remotePort: view.getUint16(TRANSPORT),
      guestPort: view.getUint16(TRANSPORT + 2),
      expects: view.getUint32(TRANSPORT + 8),
      received: view.getUint32(TRANSPORT + 4) + length + (flags & SYN ? 1 : 0) + (flags & 1),
    });
  }
}

/** Connections and sockets that connect, fail, speak and end as they like, but only before they are ended. */
class ChaoticHost implements HostNetwork {
  openSockets = 0;
  readonly #random: Random;
  readonly #actors = new Set<{ act(): void }>();
  #accept: ((stream: HostStream) => HostStreamEvents | undefined) | undefined;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Something happens at the host. */
  act(): void {
    if (this.#random.oneIn(6)) this.#inward();
    const actors = [...this.#actors];
    if (actors.length > 0) this.#random.pick(actors).act();
  }

  connect(address: string, port: number, events: HostStreamEvents): HostStream {
    checkDestination(address, port);
    return this.#stream(events, false);
  }

  connectDatagrams(address: string, port: number, events: HostDatagramEvents): HostDatagrams {
    checkDestination(address, port);
    const random = this.#random;
    let last: Uint8Array | undefined;
    let open = true;
    this.openSockets++;
    const actor = {
      act() {
        if (random.oneIn(3)) events.failed(random.pick(['ECONNREFUSED', 'EMSGSIZE']));
        else {
          // Mostly an answer to the query that was sent.
          const answer =
            last === undefined || random.oneIn(3) ? random.bytes(random.below(5000)) : last.slice();
          if (answer.length > 2) answer[2] |= 0x80;
          events.message(answer, '127.0.0.1', random.below(4));
        }
      },
    };
    this.#actors.add(actor);
    return {
      send(bytes) {
        last = bytes;
      },
      sendTo: () => {},
      close: () => {
        expectAlways(open, 'a socket was closed twice');
        open = false;
        this.openSockets--;
        this.#actors.delete(actor);
      },
    };
  }

  async listen(
    _address: string,
    _port: number,
    accept: (stream: HostStream) => HostStreamEvents | undefined,
  ) {
    this.#accept = accept;
    return {
      close: () => {
        this.#accept = undefined;
      },
    };
  }

  async bindDatagrams(address: string, port: number, events: HostDatagramEvents): Promise<HostDatagrams> {
    return this.connectDatagrams(address, port, events);
  }

  resolvers() {
    return this.#random.pick([[], [{ address: '9.9.9.9', port: 53 }]]);
  }

  #inward(): void {
    if (this.#accept === undefined) return;
    let events: HostStreamEvents | undefined;
    const forwarded: HostStreamEvents = {
      connected: () => {},
      data: (bytes) => events?.data(bytes),
      ended: () => events?.ended(),
      closed: (error) => events?.closed(error),
    };
    const stream = this.#stream(forwarded, true);
    events = this.#accept(stream);
    if (events === undefined) stream.reset();
  }

  #stream(events: HostStreamEvents, connected: boolean): HostStream {
    const random = this.#random;
    const undone: (() => void)[] = [];
    let reading = !connected;
    let ended = false;
    this.openSockets++;
    const gone = () => {
      if (!this.#actors.delete(actor)) return;
      this.openSockets--;
    };
    const actor = {
      act() {
        if (!connected) {
          connected = true;
          if (random.oneIn(4)) {
            gone();
            events.closed(random.pick(['ECONNREFUSED', 'ETIMEDOUT']));
          } else events.connected();
          return;
        }
        switch (random.below(8)) {
          case 0:
            gone();
            events.closed(random.pick([undefined, 'ECONNRESET']));
            return;
          case 1:
            if (!ended && reading) events.ended();
            ended = true;
            return;
          case 2:
          case 3:
            for (const done of undone.splice(0)) done();
            return;
          default:
            if (reading && !ended) events.data(random.bytes(random.below(4000)));
        }
      },
    };
    this.#actors.add(actor);
    return {
      write: (_bytes, done) => {
        if (random.oneIn(2)) done();
        else undone.push(done);
      },
      cork: () => {},
      uncork: () => {},
      end: () => {},
      reset: gone,
      pause: () => {
        reading = false;
      },
      resume: () => {
        reading = true;
      },
    };
  }
}

/** Node's sockets throw for a port that is none; and some addresses are no guest's business. */
function checkDestination(address: string, port: number): void {
  expectAlways(port > 0 && port < 0x10000, () => `a socket towards port ${port}`);
  const sound = /^(\d+)\.\d+\.\d+\.\d+$/.exec(address);
  const first = Number(sound?.[1]);
  expectAlways(first > 0 && first < 224, () => `a socket towards ${address}`);
  expectAlways(first !== 127 || address === '127.0.0.1', () => `a socket towards ${address}`);
}

/** A frame of that many bytes behind its header, which is written. */
function ethernet(etherType: number, length: number): Uint8Array {
  const bytes = new Uint8Array(ETHERNET + length);
  bytes.set(NAT_MAC);
  bytes.set(GUEST_MAC, 6);
  bytes[12] = etherType >>> 8;
  bytes[13] = etherType;
  return bytes;
}

function quad(address: number): number[] {
  return [address >>> 24, (address >>> 16) & 0xff, (address >>> 8) & 0xff, address & 0xff];
}

function arp(random: Random): Uint8Array {
  const sender = mostly(random, () => GUEST);
  const target = mostly(random, () => GATEWAY, 3);
  const bytes = ethernet(0x0806, 28);
  bytes.set([0, 1, 8, 0, 6, 4, 0, random.below(4)], ETHERNET);
  bytes.set(GUEST_MAC, ETHERNET + 8);
  bytes.set(quad(sender), ETHERNET + 14);
  bytes.set(quad(target), ETHERNET + 24);
  return bytes;
}

/** A packet that carries the parts, one behind another. */
function packet(
  random: Random,
  protocol: number,
  to: number,
  ...carried: readonly ArrayLike<number>[]
): Uint8Array {
  const length = carried.reduce((total, part) => total + part.length, 20);
  const from = mostly(random, () => GUEST, 30);
  const bytes = ethernet(0x0800, length);
  bytes.set([0x45, 0, length >>> 8, length, 0, random.below(4), 0, 0, 64, protocol, 0, 0], IP);
  bytes.set(quad(from), IP + 12);
  bytes.set(quad(mostly(random, () => to, 20)), IP + 16);
  let at = TRANSPORT;
  for (const part of carried) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function datagram(random: Random, from: number, port: number, data: Uint8Array, to: number): Uint8Array {
  const length = mostly(random, () => 8 + data.length, 20) & 0xffff;
  const head = [from >>> 8, from, port >>> 8, port, length >>> 8, length, 0, 0];
  return packet(random, UDP, to, head, data);
}

function dhcp(random: Random): Uint8Array {
  const bytes = new Uint8Array(240 + random.below(40));
  bytes.set([1, 1, 6, 0, 1, 2, 3, 4]);
  bytes.set(random.oneIn(2) ? GUEST_MAC : random.bytes(6), 28);
  bytes.set([0x63, 0x82, 0x53, 0x63], 236);
  const options = [53, 1, random.below(10), 50, 4, 10, 0, 2, random.below(256)];
  if (random.oneIn(2)) options.push(54, 4, ...quad(GATEWAY));
  options.push(255);
  bytes.set(options.slice(0, bytes.length - 240), 240);
  return bytes;
}

function dns(random: Random): Uint8Array {
  const id = random.below(4);
  const questions = random.bytes(random.below(30));
  const bytes = new Uint8Array(12 + questions.length);
  bytes.set([0, id, 1, 0, 0, 1]);
  bytes.set(questions, 12);
  return bytes;
}

function tcpOptions(random: Random): number[] {
  const options = random.oneIn(3)
    ? [...random.bytes(4 * (1 + random.below(9)))]
    : [2, 4, random.below(8), random.below(256), 1, 3, 3, random.below(20)];
  while (options.length % 4 !== 0) options.push(0);
  return options;
}

/** Writes the checksums of what still is an IPv4 packet anew. */
function seal(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < TRANSPORT || view.getUint16(12) !== 0x0800) return;
  const headerEnd = IP + (bytes[IP] & 0xf) * 4;
  const end = Math.min(bytes.length, IP + view.getUint16(IP + 2));
  if (headerEnd < TRANSPORT || headerEnd > end) return;
  view.setUint16(IP + 10, 0);
  view.setUint16(IP + 10, ~sum(view, IP, headerEnd) & 0xffff);
  const protocol = bytes[IP + 9];
  const field = headerEnd + (protocol === TCP ? 16 : protocol === UDP ? 6 : 2);
  if (field + 2 > end || (view.getUint16(IP + 6) & 0x3fff) !== 0) return;
  view.setUint16(field, 0);
  const pseudo = protocol === ICMP ? 0 : sum(view, IP + 12, IP + 20) + protocol + end - headerEnd;
  view.setUint16(field, ~sum(view, headerEnd, end, pseudo) & 0xffff);
}

/** The one's-complement sum of big-endian words (RFC 1071). */
function sum(view: DataView, from: number, end: number, initial = 0): number {
  let total = initial;
  for (let at = from; at < end; at += 2) {
    total += at + 1 < end ? view.getUint16(at) : view.getUint8(at) << 8;
  }
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}
