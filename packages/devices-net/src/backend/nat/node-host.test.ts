import { createHash } from 'node:crypto';
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { Counters, RealClock, silentLogger, TimerQueue, WorkQueue } from '@kensho/core';
import { afterEach, describe, expect, it } from 'vitest';
import { seededRandom } from '../random.ts';
import { Nat, type NatOptions } from './nat.ts';
import { nodeHost } from './node-host.ts';
import type { TcpEndpoint, TcpEvents } from './tcp/endpoint.ts';
import { Flag } from './tcp/segment.ts';
import { TestGuest } from './test-utils/guest.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A NAT with real sockets, and a loop that serves it. */
async function network(options: NatOptions = {}) {
  const clock = new RealClock();
  const services = {
    work: new WorkQueue(clock),
    timers: new TimerQueue(clock),
    counters: new Counters(),
    log: silentLogger,
  };
  const random = seededRandom(3);
  const nat = await Nat.open(options, { ...services, host: nodeHost, random: () => random() * 2 ** 32 });
  const guest = new TestGuest(services);
  guest.port = nat.connect(guest);
  let running = true;
  const loop = (async () => {
    while (running) {
      services.timers.runDue();
      services.work.run();
      await services.work.wait(5);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  ends.push(async () => {
    nat.close();
    running = false;
    await loop;
  });
  return { nat, guest };
}

/** A guest's end of a connection whose events can be waited for. */
class Connection implements TcpEvents {
  readonly hash = createHash('sha256');
  receivedBytes = 0;
  endpoint!: TcpEndpoint;
  readonly opened = Promise.withResolvers<void>();
  readonly allReceived = Promise.withResolvers<void>();
  readonly over = Promise.withResolvers<string>();
  #toWrite: Uint8Array | undefined;

  established(): void {
    this.opened.resolve();
  }
  data(bytes: Uint8Array): void {
    this.hash.update(bytes);
    this.receivedBytes += bytes.length;
    this.endpoint.consumed(bytes.length);
  }
  ended(): void {
    this.allReceived.resolve();
  }
  writable(): void {
    this.#pump();
  }
  closed(how: string): void {
    this.over.resolve(how);
  }

  send(bytes: Uint8Array): void {
    this.#toWrite = bytes;
    this.#pump();
  }

  #pump(): void {
    while (this.#toWrite !== undefined) {
      const piece = this.#toWrite.subarray(0, 50_000);
      this.#toWrite = this.#toWrite.length > piece.length ? this.#toWrite.subarray(piece.length) : undefined;
      const goOn = this.endpoint.write(piece, 300_000);
      if (this.#toWrite === undefined) this.endpoint.end();
      if (!goOn) return;
    }
  }
}

async function server(serve: (socket: net.Socket) => void): Promise<number> {
  const listening = net.createServer({ allowHalfOpen: true }, serve).listen(0, '127.0.0.1');
  await once(listening, 'listening');
  ends.push(() => new Promise((resolve) => listening.close(resolve)));
  return (listening.address() as net.AddressInfo).port;
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const random = seededRandom(9);
const payload = Uint8Array.from({ length: 1_000_000 }, () => random() * 256);

describe('NAT with sockets of the host', () => {
  it('carries megabytes both ways at once', async () => {
    const received = createHash('sha256');
    const served = Promise.withResolvers<void>();
    const port = await server((socket) => {
      socket.on('data', (bytes) => received.update(bytes));
      socket.on('close', () => served.resolve());
      socket.end(payload);
    });
    const { guest, nat } = await network();
    const connection = new Connection();
    connection.endpoint = guest.tcp('10.0.2.2', 40_000, port, connection);
    connection.endpoint.open();
    await connection.opened.promise;
    connection.send(payload);
    await connection.allReceived.promise;
    expect(connection.receivedBytes).toBe(payload.length);
    expect(connection.hash.digest('hex')).toBe(sha256(payload));
    await served.promise;
    expect(received.digest('hex')).toBe(sha256(payload));
    expect(nat.load.tcpBytes).toBe(0);
  });

  it('tells a guest that nobody listens', async () => {
    const port = await server(() => {});
    await ends.pop()?.();
    const { guest } = await network();
    const connection = new Connection();
    connection.endpoint = guest.tcp('10.0.2.2', 40_000, port, connection);
    connection.endpoint.open();
    expect(await connection.over.promise).toBe('reset');
  });

  it('exchanges datagrams', async () => {
    const echo = dgram.createSocket('udp4');
    echo.on('message', (bytes, from) => echo.send(Buffer.from(bytes).reverse(), from.port, from.address));
    echo.bind(0, '127.0.0.1');
    await once(echo, 'listening');
    ends.push(() => echo.close());
    const { guest } = await network();
    guest.udp('10.0.2.2', 5000, echo.address().port, Uint8Array.of(1, 2, 3));
    await expect.poll(() => guest.packets.length).toBe(1);
    expect([...guest.packets[0].carried.subarray(8)]).toEqual([3, 2, 1]);
  });

  it('says what the host cannot send to', async () => {
    const failures: string[] = [];
    const events = { message: () => expect.unreachable(), failed: (error: string) => failures.push(error) };
    // Without asking for it, no socket may broadcast.
    const socket = nodeHost.connectDatagrams('255.255.255.255', 9, events);
    ends.push(() => socket.close());
    socket.send(Uint8Array.of(1));
    await expect.poll(() => failures).toHaveLength(1);
    socket.send(Uint8Array.of(2));
    expect(failures[0]).toMatch(/^E[A-Z]+$/);
  });

  it('serves a guest through a forwarded port', async () => {
    const probe = await server(() => {});
    await ends.pop()?.();
    const { guest } = await network({ forwards: [{ protocol: 'tcp', hostPort: probe, guestPort: 8000 }] });
    guest.arp('10.0.2.2');
    const client = net.connect(probe, '127.0.0.1');
    await expect.poll(() => guest.packets.length).toBeGreaterThan(0);
    const { carried } = guest.packets[0];
    expect(carried[13]).toBe(Flag.SYN);
    const connection = new Connection();
    const view = new DataView(carried.buffer);
    connection.endpoint = guest.tcp('10.0.2.2', 8000, view.getUint16(0), connection);
    const sequence = view.getUint32(4);
    const syn = { sequence, window: 65_535, maxSegmentBytes: 1460, windowScale: 5 };
    connection.endpoint.listen(Object.assign(Object.create(null), syn));
    connection.endpoint.accept();
    await connection.opened.promise;
    connection.send(payload);
    const hash = createHash('sha256');
    client.on('data', (bytes) => hash.update(bytes));
    await once(client, 'end');
    expect(hash.digest('hex')).toBe(sha256(payload));
  });

  it('says in a line why it cannot listen', async () => {
    const port = await server(() => {});
    const forwards = [{ protocol: 'tcp', hostPort: port, guestPort: 1 }] as const;
    await expect(network({ forwards })).rejects.toThrow(
      `TCP 127.0.0.1:${port}: cannot listen there: the port is in use`,
    );
  });
});
