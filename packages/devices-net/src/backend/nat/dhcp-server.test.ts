import { VirtualClock } from '@kensho/core';
import { describe, expect, it } from 'vitest';
import { DhcpServer } from './dhcp-server.ts';
import { formatIpv4, parseIpv4 } from './ipv4-address.ts';
import { Subnet } from './subnet.ts';

const MAGIC = [0x63, 0x82, 0x53, 0x63];
const DISCOVER = 1;
const REQUEST = 3;
const address = (text: string) => [...Uint8Array.from(text.split('.'), Number)];

interface Fields {
  readonly type: number;
  readonly client?: number;
  readonly has?: string;
  readonly requested?: string;
  readonly server?: string;
  readonly broadcast?: boolean;
}

function message({ type, client = 1, has = '0.0.0.0', requested, server, broadcast }: Fields): Uint8Array {
  const bytes = new Uint8Array(236);
  bytes.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 7, broadcast ? 0x80 : 0, 0, ...address(has)]);
  bytes.set([2, 0, 0, 0, 0, client], 28);
  const options = [53, 1, type];
  if (requested !== undefined) options.push(50, 4, ...address(requested));
  if (server !== undefined) options.push(54, 4, ...address(server));
  return Uint8Array.from([...bytes, ...MAGIC, 0, 0, ...options, 255]);
}

function read(message: Uint8Array) {
  const options = new Map<number, number[]>();
  for (let at = 240; message[at] !== 255; at += 2 + message[at + 1]) {
    options.set(message[at], [...message.subarray(at + 2, at + 2 + message[at + 1])]);
  }
  const quad = (at: number) => message.subarray(at, at + 4).join('.');
  return { yours: quad(16), has: quad(12), type: options.get(53)?.[0], options, seconds: message[9] };
}

function serve() {
  const clock = new VirtualClock();
  const server = new DhcpServer(new Subnet('10.0.2.0'), clock, 1400);
  const ask = (fields: Fields) => {
    const reply = server.answer(message(fields));
    return reply && { ...read(reply.message), to: formatIpv4(reply.destination), mac: reply.destinationMac };
  };
  return { clock, server, ask };
}

describe('DhcpServer', () => {
  it('offers and leases an address with what a guest needs', () => {
    const { ask, server } = serve();
    const offer = ask({ type: DISCOVER });
    expect(offer).toMatchObject({ type: 2, yours: '10.0.2.15', to: '10.0.2.15', seconds: 0 });
    const lease = ask({ type: REQUEST, requested: '10.0.2.15', server: '10.0.2.2' });
    expect(lease).toMatchObject({ type: 5, yours: '10.0.2.15' });
    expect(Object.fromEntries(lease?.options ?? [])).toEqual({
      1: [255, 255, 255, 0],
      3: [10, 0, 2, 2],
      6: [10, 0, 2, 3],
      26: [1400 >> 8, 1400 & 0xff],
      28: [10, 0, 2, 255],
      51: [0, 1, 0x51, 0x80],
      53: [5],
      54: [10, 0, 2, 2],
      58: [0, 0, 0xa8, 0xc0],
      59: [0, 1, 0x27, 0x50],
    });
    expect(server.leased).toEqual([parseIpv4('10.0.2.15')]);
  });

  it('answers where the client can hear it', () => {
    const { ask } = serve();
    expect(ask({ type: DISCOVER, broadcast: true })?.to).toBe('255.255.255.255');
    expect(ask({ type: REQUEST, has: '10.0.2.15' })).toMatchObject({
      type: 5,
      to: '10.0.2.15',
      has: '10.0.2.15',
    });
    const refused = ask({ type: REQUEST, requested: '192.168.0.7' });
    expect(refused).toMatchObject({ type: 6, yours: '0.0.0.0', to: '255.255.255.255' });
    expect(refused?.mac).toEqual(new Uint8Array(6).fill(0xff));
  });

  it('gives each client its own address, the one that it wants where that is free', () => {
    const { ask } = serve();
    expect(ask({ type: DISCOVER, client: 1 })?.yours).toBe('10.0.2.15');
    expect(ask({ type: DISCOVER, client: 2 })?.yours).toBe('10.0.2.16');
    expect(ask({ type: DISCOVER, client: 3, requested: '10.0.2.99' })?.yours).toBe('10.0.2.99');
    expect(ask({ type: DISCOVER, client: 4, requested: '10.0.2.99' })?.yours).toBe('10.0.2.17');
    expect(ask({ type: DISCOVER, client: 5, requested: '10.0.2.2' })?.yours).toBe('10.0.2.18');
    expect(ask({ type: REQUEST, client: 1, requested: '10.0.2.16' })?.type).toBe(6);
    expect(ask({ type: DISCOVER, client: 1 })?.yours).toBe('10.0.2.15');
  });

  it('has no more leases than addresses, and gives expired ones away', () => {
    const { ask, clock, server } = serve();
    for (let client = 0; client < 240; client++) expect(ask({ type: DISCOVER, client })?.type).toBe(2);
    expect(ask({ type: DISCOVER, client: 240 })).toBeUndefined();
    clock.advance(61e9);
    expect(ask({ type: DISCOVER, client: 240 })?.type).toBe(2);
    expect(server.leased).toHaveLength(1);
  });

  it('keeps an address that a client found in use from everybody', () => {
    const { ask } = serve();
    ask({ type: DISCOVER });
    expect(ask({ type: 4, requested: '10.0.2.15', server: '10.0.2.2' })).toBeUndefined();
    expect(ask({ type: DISCOVER })?.yours).toBe('10.0.2.16');
  });

  it('takes back what is released, and what was offered to one who chose another server', () => {
    const { ask, server } = serve();
    ask({ type: REQUEST, requested: '10.0.2.20' });
    ask({ type: 7, has: '10.0.2.20' });
    ask({ type: DISCOVER, client: 2 });
    expect(ask({ type: REQUEST, client: 2, requested: '10.0.2.15', server: '10.0.2.9' })).toBeUndefined();
    expect(server.leased).toEqual([]);
  });

  it('tells a client with an address of its own the rest, without a lease', () => {
    const { ask, server } = serve();
    const reply = ask({ type: 8, has: '10.0.2.200' });
    expect(reply).toMatchObject({ type: 5, yours: '0.0.0.0', to: '10.0.2.200' });
    expect(reply?.options.has(51)).toBe(false);
    expect(server.leased).toEqual([]);
  });

  it('does not answer what is damaged', () => {
    const { server } = serve();
    const sound = message({ type: DISCOVER });
    const damages: [number, number][] = [
      [0, 2],
      [1, 6],
      [2, 7],
      [24, 1],
      [236, 0],
      [243, 200],
    ];
    for (const [at, value] of damages) {
      const damaged = sound.slice();
      damaged[at] = value;
      expect(server.answer(damaged), `byte ${at}`).toBeUndefined();
    }
    for (let length = 0; length < 245; length++)
      expect(server.answer(sound.subarray(0, length))).toBeUndefined();
  });
});
