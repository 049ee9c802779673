import { describe, expect, it } from 'vitest';
import { VirtualSwitch } from '../../switch/virtual-switch.ts';
import { TestPartition } from '../../test-utils/network.ts';
import { parseMac } from '../mac.ts';
import { seededRandom } from '../random.ts';
import { formatIpv4, parseIpv4 } from './ipv4-address.ts';
import { Nat, type NatOptions } from './nat.ts';
import { Protocol } from './packets.ts';
import type { TcpEndpoint } from './tcp/endpoint.ts';
import { Flag } from './tcp/segment.ts';
import { FakeHost, FakeStream } from './test-utils/fake-host.ts';
import { GATEWAY_MAC, TestGuest } from './test-utils/guest.ts';

/** A NAT without an adapter. */
async function plain(options: NatOptions = {}) {
  const partition = new TestPartition();
  const host = new FakeHost();
  const random = seededRandom(1);
  const nat = await Nat.open(options, {
    work: partition.work,
    timers: partition.timers,
    counters: partition.counters,
    log: partition.log,
    host,
    random: () => Math.floor(random() * 2 ** 32),
  });
  const count = (name: string) => partition.counters.counter(`nat.${name}`).value;
  return { partition, host, nat, count };
}

async function network(options: NatOptions = {}) {
  const made = await plain(options);
  const guest = new TestGuest(made.partition);
  guest.port = made.nat.connect(guest);
  return { ...made, guest };
}

/** What a guest's connection was told. */
function recorder() {
  const events: string[] = [];
  const received: number[] = [];
  let endpoint: TcpEndpoint | undefined;
  return {
    events,
    received,
    bind(bound: TcpEndpoint) {
      endpoint = bound;
      return bound;
    },
    established: () => events.push('established'),
    data(bytes: Uint8Array) {
      received.push(...bytes);
      endpoint?.consumed(bytes.length);
    },
    ended: () => events.push('ended'),
    writable: () => events.push('writable'),
    closed: (how: string) => events.push(how),
  };
}

const icmp = (carried: Uint8Array) => ({ type: carried[0], code: carried[1] });
const ascii = (text: string) => new TextEncoder().encode(text);

describe('NAT: addresses', () => {
  it('answers ARP for the gateway and the resolver, and for nobody else', async () => {
    const { guest, partition } = await network();
    for (const target of ['10.0.2.2', '10.0.2.3', '10.0.2.15', '10.0.2.77']) guest.arp(target);
    partition.settle();
    expect(guest.arps.map(({ operation, sender }) => [operation, formatIpv4(sender)])).toEqual([
      [2, '10.0.2.2'],
      [2, '10.0.2.3'],
    ]);
    expect(guest.arps[0].senderMac).toEqual(GATEWAY_MAC);
  });

  it('leases an address to a guest that has none', async () => {
    const { guest, partition } = await network();
    const message = new Uint8Array(244);
    message.set([1, 1, 6, 0, 1, 2, 3, 4]);
    message.set(guest.mac, 28);
    message.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
    const anywhere = new TestGuest(partition, '0.0.0.0');
    anywhere.port = guest.port;
    anywhere.udp('255.255.255.255', 68, 67, message);
    partition.settle();
    const [reply] = guest.take();
    expect(reply).toMatchObject({ from: '10.0.2.2', to: '10.0.2.15', protocol: Protocol.UDP });
    expect(reply.carried.subarray(8 + 16, 8 + 20)).toEqual(Uint8Array.of(10, 0, 2, 15));
  });

  it('drops what is not from a guest of its network', async () => {
    const { partition, nat, guest, count } = await network();
    for (const address of ['192.168.1.1', '10.0.2.2', '10.0.2.255', '10.0.2.0']) {
      const stranger = new TestGuest(partition, address);
      stranger.port = guest.port;
      stranger.udp('1.2.3.4', 1, 2, ascii('x'));
    }
    guest.port.send({ bytes: new Uint8Array(60) });
    guest.port.send({ bytes: new Uint8Array(9) });
    expect(nat.load.udpFlows).toBe(0);
    expect([count('in.dropped.foreign'), count('in.dropped.malformed')]).toEqual([5, 1]);
  });

  it('refuses networks and MTUs that are none', async () => {
    await expect(network({ network: '10.0.2.1' })).rejects.toThrow(/256 addresses/);
    await expect(network({ network: '127.0.0.0' })).rejects.toThrow(/256 addresses/);
    await expect(network({ mtu: 100 })).rejects.toThrow(/MTU/);
  });
});

describe('NAT: ICMP', () => {
  const echo = (data: Uint8Array) => {
    const bytes = Uint8Array.from([8, 0, 0, 0, 0x12, 0x34, 0, 1, ...data]);
    let sum = 0;
    for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] << 8) | (bytes[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    bytes.set([(~sum >>> 8) & 0xff, ~sum & 0xff], 2);
    return bytes;
  };

  it('answers an echo request to the gateway, also one that is longer than a packet', async () => {
    const { guest, partition } = await network();
    guest.send('10.0.2.2', Protocol.ICMP, echo(ascii('hello!')));
    guest.send('10.0.2.3', Protocol.ICMP, echo(new Uint8Array(5000).fill(7)));
    partition.settle();
    const [short, long] = guest.take();
    expect(short).toMatchObject({ from: '10.0.2.2', to: '10.0.2.15' });
    expect(short.carried.subarray(4)).toEqual(echo(ascii('hello!')).subarray(4));
    expect(icmp(short.carried)).toEqual({ type: 0, code: 0 });
    expect(long.carried).toHaveLength(5008);
  });

  it('says that it cannot ask others', async () => {
    const { guest, partition } = await network();
    guest.send('8.8.8.8', Protocol.ICMP, echo(ascii('hello!')));
    partition.settle();
    const [answer] = guest.take();
    expect(icmp(answer.carried)).toEqual({ type: 3, code: 13 });
    expect(answer.carried.subarray(8 + 16, 8 + 20)).toEqual(Uint8Array.of(8, 8, 8, 8));
  });
});

describe('NAT: UDP', () => {
  it('exchanges datagrams with whom the guest wrote to', async () => {
    const { guest, host, partition, nat } = await network();
    guest.udp('1.2.3.4', 1000, 2000, ascii('ping'));
    guest.udp('1.2.3.4', 1000, 2000, ascii('again'));
    guest.udp('10.0.2.2', 1000, 2000, ascii('host'));
    expect(host.datagrams.map(({ address, port }) => `${address}:${port}`)).toEqual([
      '1.2.3.4:2000',
      '127.0.0.1:2000',
    ]);
    expect(host.datagrams[0].sent.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual([
      'ping',
      'again',
    ]);
    host.datagrams[0].events.message(new Uint8Array(4000).fill(3), '1.2.3.4', 2000);
    partition.settle();
    const [reply] = guest.take();
    expect(reply.from).toBe('1.2.3.4');
    expect([...reply.carried.subarray(0, 4)]).toEqual([2000 >> 8, 2000 & 0xff, 1000 >> 8, 1000 & 0xff]);
    expect(reply.carried).toHaveLength(4008);
    partition.advance(400_000);
    expect(nat.load.udpFlows).toBe(0);
    expect(host.datagrams.every(({ closed }) => closed)).toBe(true);
  });

  it('passes on a datagram that came in fragments, and one of full length', async () => {
    const { guest, host } = await network();
    guest.udp('1.2.3.4', 1, 2, new Uint8Array(30_000).fill(5));
    guest.udp('1.2.3.4', 1, 2, new Uint8Array(65_507).fill(6));
    expect(host.datagrams[0].sent.map(({ bytes }) => bytes.length)).toEqual([30_000, 65_507]);
  });

  it('says when a port is closed, or a destination is not allowed', async () => {
    const { guest, host, partition } = await network({ reachHost: false });
    guest.udp('1.2.3.4', 1, 2, ascii('x'));
    host.datagrams[0].events.failed('ECONNREFUSED');
    for (const to of ['10.0.2.2', '127.0.0.1', '224.0.0.1', '10.0.2.99', '255.255.255.255']) {
      guest.udp(to, 1, 2, ascii('x'));
    }
    guest.udp('1.2.3.4', 1, 0, ascii('x'));
    partition.settle();
    expect(guest.take().map(({ carried }) => icmp(carried).code)).toEqual([3, 13, 13, 13, 13, 13, 13]);
    expect(host.datagrams).toHaveLength(1);
  });

  it('has a bounded number of sockets: the idle ones go', async () => {
    const { guest, host, nat, partition } = await network();
    for (let port = 1; port <= 1000; port++) {
      partition.clock.advance(1000);
      guest.udp('1.2.3.4', port, 9, ascii('x'));
    }
    expect(nat.load.udpFlows).toBe(256);
    expect(host.datagrams.filter(({ closed }) => !closed)).toHaveLength(256);
    expect(host.datagrams.slice(-256).every(({ closed }) => !closed)).toBe(true);
  });

  it('drops datagrams with a wrong checksum, and takes those without one', async () => {
    const { guest, host, count } = await network();
    const datagram = Uint8Array.from([0, 1, 0, 2, 0, 9, 0x12, 0x34, 65]);
    guest.send('1.2.3.4', Protocol.UDP, datagram);
    expect([host.datagrams.length, count('in.dropped.checksum')]).toEqual([0, 1]);
    datagram.set([0, 0], 6);
    guest.send('1.2.3.4', Protocol.UDP, datagram);
    expect(host.datagrams).toHaveLength(1);
    datagram.set([0, 200], 4);
    guest.send('1.2.3.4', Protocol.UDP, datagram);
    expect(count('in.dropped.malformed')).toBe(1);
  });

  it('forwards a port of the host to the guest, each sender apart', async () => {
    const forwards = [{ protocol: 'udp', hostPort: 5300, guestPort: 53 }] as const;
    const { guest, host, partition } = await network({ forwards });
    const [bound] = host.datagrams;
    guest.arp('10.0.2.2');
    bound.events.message(ascii('q1'), '127.0.0.1', 4001);
    bound.events.message(ascii('q2'), '127.0.0.1', 4002);
    partition.settle();
    const queries = guest.take();
    const portOf = (carried: Uint8Array) => (carried[0] << 8) | carried[1];
    expect(
      queries.map(({ from, carried }) => [from, carried[3], Buffer.from(carried.subarray(8)).toString()]),
    ).toEqual([
      ['10.0.2.2', 53, 'q1'],
      ['10.0.2.2', 53, 'q2'],
    ]);
    guest.udp('10.0.2.2', 53, portOf(queries[1].carried), ascii('a2'));
    guest.udp('10.0.2.2', 53, portOf(queries[0].carried), ascii('a1'));
    expect(bound.sent.map(({ bytes, to }) => `${Buffer.from(bytes)} ${to}`)).toEqual([
      'a2 127.0.0.1:4002',
      'a1 127.0.0.1:4001',
    ]);
  });
});

describe('NAT: DNS', () => {
  const query = Uint8Array.from([0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1]);
  const answer = query.slice();
  answer[2] = 0x81;

  it('passes a query on, and only the answer to it back', async () => {
    const { guest, host, partition, nat } = await network();
    guest.udp('10.0.2.3', 5000, 53, query);
    const [server] = host.datagrams;
    expect([server.address, server.port, server.sent[0].bytes]).toEqual(['9.9.9.9', 53, query]);
    const forged = answer.slice();
    forged[0] = 1;
    for (const message of [forged, query, ascii('short')]) server.events.message(message, '9.9.9.9', 53);
    expect(nat.load.dnsQueries).toBe(1);
    server.events.message(answer, '9.9.9.9', 53);
    partition.settle();
    const [reply] = guest.take();
    expect(reply).toMatchObject({ from: '10.0.2.3', protocol: Protocol.UDP });
    expect(reply.carried.subarray(8)).toEqual(answer);
    expect([nat.load.dnsQueries, server.closed]).toEqual([0, true]);
  });

  it('asks the next server where one refuses or is silent, and says so where all are', async () => {
    const { guest, host, partition, count } = await network();
    host.servers = [1, 2, 3].map((n) => ({ address: `9.9.9.${n}`, port: 53 }));
    guest.udp('10.0.2.3', 5000, 53, query);
    host.datagrams[0].events.failed('ECONNREFUSED');
    expect(host.datagrams.map(({ address }) => address)).toEqual(['9.9.9.1', '9.9.9.2']);
    partition.advance(2000);
    expect(host.datagrams.map(({ closed }) => closed)).toEqual([true, true, false]);
    partition.advance(2000);
    const [reply] = guest.take();
    expect([...reply.carried.subarray(8, 12)]).toEqual([0xab, 0xcd, 0x81, 0x82]);
    expect(count('dns.failed')).toBe(1);
  });

  it('bounds the queries under way', async () => {
    const { guest, host, nat } = await network();
    for (let port = 1; port <= 200; port++) guest.udp('10.0.2.3', port, 53, query);
    expect([nat.load.dnsQueries, host.datagrams.length]).toEqual([64, 64]);
  });

  it('does not pass on what is no query', async () => {
    const { guest, host, count } = await network();
    guest.udp('10.0.2.3', 5000, 53, answer);
    guest.udp('10.0.2.3', 5000, 53, query.subarray(0, 11));
    expect([host.datagrams.length, count('in.dropped.malformed')]).toEqual([0, 2]);
  });
});

describe('NAT behind a switch', () => {
  it('serves several guests, each by its own address', async () => {
    const { partition, host, nat } = await plain();
    const lan = new VirtualSwitch({ name: 'lan', kind: 'external' });
    lan.connectUplink(nat, partition, { mac: parseMac('00:15:5d:00:00:fe') });
    const guests = ['10.0.2.15', '10.0.2.16'].map((address, n) => {
      const guest = new TestGuest(partition, address, `02:00:00:00:00:0${n + 1}`);
      guest.port = lan.connector(partition).connect(guest);
      return guest;
    });
    for (const guest of guests) {
      guest.arp('10.0.2.2');
      guest.udp('1.2.3.4', 1000, 2000, guest.mac);
    }
    partition.settle();
    expect(host.datagrams.map(({ sent }) => sent[0].bytes)).toEqual(guests.map(({ mac }) => mac));
    for (const { events, sent } of host.datagrams) events.message(sent[0].bytes, '1.2.3.4', 2000);
    partition.settle();
    for (const guest of guests)
      expect(guest.take().map(({ carried }) => carried.slice(8))).toEqual([guest.mac]);
  });
});

describe('NAT: TCP', () => {
  it('connects when the host has, carries bytes, and ends each direction by itself', async () => {
    const { guest, host, partition, nat } = await network();
    const events = recorder();
    const connection = events.bind(guest.tcp('1.2.3.4', 1234, 80, events));
    connection.open();
    partition.settle();
    const [stream] = host.streams;
    expect([stream.address, stream.port, events.events]).toEqual(['1.2.3.4', 80, []]);
    stream.events.connected();
    partition.settle();
    expect(events.events).toEqual(['established']);
    connection.write(ascii('request'), 1e6);
    partition.settle();
    expect(Buffer.from(stream.written).toString()).toBe('request');
    connection.end();
    partition.settle();
    expect(stream.calls).toEqual(['end']);
    const reply = Uint8Array.from({ length: 300_000 }, (_, i) => i * 31);
    stream.events.data(reply);
    stream.events.ended();
    partition.settle();
    expect(Buffer.compare(Uint8Array.from(events.received), reply)).toBe(0);
    expect(events.events).toEqual(['established', 'ended']);
    stream.events.closed(undefined);
    partition.settle();
    expect(nat.load).toMatchObject({ tcpFlows: 0, tcpBytes: 0 });
  });

  it('sends large segments for the adapter to cut, or small ones with checksums', async () => {
    for (const offload of [true, false]) {
      const { guest, host, partition } = await network({ offload });
      const events = recorder();
      events.bind(guest.tcp('1.2.3.4', 1234, 80, events)).open();
      host.streams[0].events.connected();
      partition.settle();
      host.streams[0].events.data(new Uint8Array(100_000).fill(1));
      partition.settle();
      expect(events.received).toHaveLength(100_000);
      const longest = Math.max(...guest.frames.map(({ bytes }) => bytes.length));
      expect(longest > 10_000).toBe(offload);
      expect(guest.frames.some((frame) => frame.offload !== undefined)).toBe(offload);
    }
  });

  it('refuses what the host refuses, and says what cannot be reached', async () => {
    const { guest, host, partition, nat } = await network();
    const refused = recorder();
    guest.tcp('1.2.3.4', 1000, 80, refused).open();
    host.streams[0].events.closed('ECONNREFUSED');
    partition.settle();
    expect(refused.events).toEqual(['reset']);
    guest.tcp('1.2.3.4', 1001, 80, recorder()).open();
    host.streams[1].events.closed('EHOSTUNREACH');
    guest.tcp('127.0.0.1', 1002, 80, recorder()).open();
    partition.settle();
    expect(guest.take().map(({ carried }) => icmp(carried))).toEqual([
      { type: 3, code: 1 },
      { type: 3, code: 13 },
    ]);
    expect(nat.load.tcpFlows).toBe(0);
  });

  it('passes resets on, both ways', async () => {
    const { guest, host, partition, nat } = await network();
    const first = recorder();
    const a = guest.tcp('1.2.3.4', 1000, 80, first);
    a.open();
    const second = recorder();
    guest.tcp('1.2.3.4', 1001, 80, second).open();
    for (const stream of host.streams) stream.events.connected();
    partition.settle();
    a.abort();
    host.streams[1].events.closed('ECONNRESET');
    partition.settle();
    expect(host.streams[0].calls).toEqual(['reset']);
    expect(second.events).toEqual(['established', 'reset']);
    expect(nat.load.tcpFlows).toBe(0);
  });

  it('resets a segment of no connection', async () => {
    const { guest, partition } = await network();
    const events = recorder();
    const connection = guest.tcp('1.2.3.4', 1000, 80, events);
    connection.listen(Object.assign(Object.create(null), { sequence: 7, window: 100 }));
    connection.accept();
    partition.settle();
    expect(events.events).toEqual(['reset']);
  });

  it('stops reading at the host while the guest does not, and holds a bounded amount', async () => {
    const { guest, host, partition, nat } = await network();
    const events = recorder();
    guest.tcp('1.2.3.4', 1000, 80, events).open();
    const [stream] = host.streams;
    stream.events.connected();
    partition.settle();
    let given = 0;
    while (!stream.paused && given < 1e8) {
      stream.events.data(new Uint8Array(65_536));
      given += 65_536;
      partition.settle();
    }
    expect(given).toBeLessThan(2e6);
    expect(nat.load.tcpBytes).toBeLessThan(1e6);
  });

  it('lets the guest stop while the host does not write, and go on when it does', async () => {
    const { guest, host, partition, nat } = await network();
    const events = recorder();
    const connection = events.bind(guest.tcp('1.2.3.4', 1000, 80, events));
    connection.open();
    const [stream] = host.streams;
    stream.events.connected();
    partition.settle();
    stream.writing = false;
    connection.write(new Uint8Array(1_500_000).fill(9), 1e9);
    partition.advance(5000);
    expect(stream.written.length).toBeLessThan(600_000);
    expect(nat.load.tcpBytes).toBe(stream.written.length);
    stream.writing = true;
    stream.drain();
    partition.advance(60_000);
    expect(stream.written).toHaveLength(1_500_000);
    expect(nat.load.tcpBytes).toBe(0);
  });

  it('waits while the adapter has no room', async () => {
    const { guest, host, partition, count } = await network({ offload: false });
    const events = recorder();
    events.bind(guest.tcp('1.2.3.4', 1000, 80, events)).open();
    host.streams[0].events.connected();
    partition.settle();
    guest.hasRoom = false;
    host.streams[0].events.data(new Uint8Array(400_000).fill(1));
    partition.settle();
    guest.hasRoom = true;
    guest.port.receiveReady();
    partition.settle();
    expect(events.received).toHaveLength(400_000);
    expect(count('out.dropped.full')).toBe(0);
  });

  it('has a bounded number of connections, fewer of them half open', async () => {
    const { guest, host, nat, count } = await network({ maxFlows: 20, maxHalfOpen: 8 });
    for (let port = 1; port <= 100; port++) guest.tcp('1.2.3.4', port, 80, recorder()).open();
    expect([host.streams.length, nat.load.tcpFlows, count('tcp.refused')]).toEqual([8, 8, 92]);
  });

  /** Opens and ends a connection; the NAT's side ends first, and is the one that waits. */
  function openAndEnd({ guest, host, partition }: Awaited<ReturnType<typeof network>>, port: number) {
    const events = recorder();
    const connection = guest.tcp('1.2.3.4', port, 80, events);
    connection.open();
    const stream = host.streams[port - 1].events;
    stream.connected();
    partition.settle();
    stream.ended();
    partition.settle();
    connection.end();
    partition.settle();
    stream.closed(undefined);
    expect(events.events).toEqual(['established', 'ended', 'ended']);
  }

  it('forgets a connection that is over where there is no room for another', async () => {
    const made = await network({ maxFlows: 4 });
    const { nat, partition, count } = made;
    for (let port = 1; port <= 10; port++) openAndEnd(made, port);
    expect([nat.load.tcpFlows, count('tcp.refused')]).toEqual([4, 0]);
    partition.advance(61_000);
    expect(nat.load.tcpFlows).toBe(0);
  });

  it('forgets none for a connection that is refused all the same', async () => {
    const made = await network({ maxFlows: 4, maxHalfOpen: 1 });
    const { guest, nat, count } = made;
    for (let port = 1; port <= 3; port++) openAndEnd(made, port);
    for (let port = 4; port <= 6; port++) guest.tcp('1.2.3.4', port, 80, recorder()).open();
    expect([nat.load.tcpFlows, count('tcp.refused')]).toEqual([4, 2]);
  });

  it('forgets half-open connections whose guest is silent', async () => {
    const { guest, host, nat, partition } = await network();
    const events = recorder();
    guest.tcp('1.2.3.4', 1000, 80, events).open();
    partition.settle();
    guest.hasRoom = false;
    host.streams[0].events.connected();
    partition.advance(130_000);
    expect(nat.load.tcpFlows).toBe(0);
    expect(host.streams[0].calls).toEqual(['reset']);
  });

  it('forwards a port of the host to the guest, once it knows where that is', async () => {
    const forwards = [{ protocol: 'tcp', hostPort: 2222, guestPort: 22 }] as const;
    const { guest, host, partition, nat } = await network({ forwards });
    const stream = new FakeStream('127.0.0.1', 4000);
    stream.paused = true;
    expect(host.listeners[0].accept(stream)).toBe(true);
    partition.settle();
    const [who] = guest.arps;
    expect([who.operation, formatIpv4(who.target)]).toEqual([1, '10.0.2.15']);
    guest.arp('10.0.2.2');
    partition.settle();
    const [syn] = guest.take();
    expect([syn.from, syn.carried[13]]).toEqual(['10.0.2.2', Flag.SYN]);
    const events = recorder();
    const remotePort = (syn.carried[0] << 8) | syn.carried[1];
    const server = events.bind(guest.tcp('10.0.2.2', 22, remotePort, events));
    const sequence = new DataView(syn.carried.buffer).getUint32(4);
    server.listen(
      Object.assign(Object.create(null), { sequence, window: 65_535, maxSegmentBytes: 1460, windowScale: 5 }),
    );
    server.accept();
    partition.settle();
    expect([stream.paused, events.events]).toEqual([false, ['established']]);
    stream.events.data(ascii('hello'));
    server.write(ascii('welcome'), 1e6);
    partition.settle();
    expect(Buffer.from(events.received).toString()).toBe('hello');
    expect(Buffer.from(stream.written).toString()).toBe('welcome');
    nat.close();
    expect([host.listeners[0].closed, stream.calls]).toEqual([true, ['reset']]);
  });

  it('resets what comes to a port that the guest has closed', async () => {
    const forwards = [{ protocol: 'tcp', hostPort: 2222, guestPort: 22, guest: '10.0.2.15' }] as const;
    const { guest, host, partition } = await network({ forwards });
    guest.arp('10.0.2.2');
    const stream = new FakeStream('127.0.0.1', 4000);
    host.listeners[0].accept(stream);
    partition.settle();
    const [syn] = guest.take();
    const reset = new Uint8Array(20);
    reset.set([0, 22, syn.carried[0], syn.carried[1]]);
    const sequence = new DataView(syn.carried.buffer).getUint32(4);
    new DataView(reset.buffer).setUint32(8, sequence + 1);
    reset.set([0x50, Flag.RST | Flag.ACK], 12);
    let sum = 6 + 20;
    for (const address of ['10.0.2.15', '10.0.2.2'].map(parseIpv4))
      sum += (address >>> 16) + (address & 0xffff);
    for (let i = 0; i < 20; i += 2) sum += (reset[i] << 8) | reset[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
    new DataView(reset.buffer).setUint16(16, ~sum);
    guest.send('10.0.2.2', Protocol.TCP, reset);
    expect(stream.calls).toEqual(['reset']);
  });
});
