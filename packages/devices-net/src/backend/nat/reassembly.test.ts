import { VirtualClock } from '@kensho/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpv4 } from './ipv4-address.ts';
import { IPV4_OFFSET, Ipv4Packet, packetsOf } from './packets.ts';
import { Reassembly } from './reassembly.ts';

const ends = {
  sourceMac: new Uint8Array(6),
  destinationMac: new Uint8Array(6),
  source: parseIpv4('10.0.2.15'),
  destination: parseIpv4('1.2.3.4'),
};
const numbered = (length: number) => Uint8Array.from({ length }, (_, i) => i * 7);

function fragments(length: number, mtu: number, id = 1): Uint8Array[] {
  return packetsOf(ends, 17, id, numbered(length), mtu).map((frame) => frame.subarray(IPV4_OFFSET));
}

function add(reassembly: Reassembly, bytes: Uint8Array) {
  const packet = new Ipv4Packet();
  expect(packet.parse(bytes, true)).toBe(true);
  return reassembly.add(packet);
}

describe('Reassembly', () => {
  it('puts packets together in whatever order their fragments come, twice or once', () => {
    const orders = fc.tuple(
      fc.integer({ min: 100, max: 6000 }),
      fc.integer({ min: 68, max: 1500 }),
      fc.infiniteStream(fc.nat()),
    );
    fc.assert(
      fc.property(orders, ([length, mtu, random]) => {
        const reassembly = new Reassembly(new VirtualClock());
        const waiting = fragments(length, mtu);
        if (waiting.length === 1) return;
        waiting.push(waiting[1]);
        let whole: ReturnType<typeof add>;
        while (whole === undefined && waiting.length > 0) {
          const [next] = waiting.splice(random.next().value % waiting.length, 1);
          whole = add(reassembly, next);
        }
        expect(whole).toBeInstanceOf(Uint8Array);
        const packet = new Ipv4Packet();
        expect(packet.parse(whole as Uint8Array, true)).toBe(true);
        expect(packet.moreFragments || packet.fragmentOffset > 0).toBe(false);
        expect(Buffer.compare(packet.bytes.subarray(20), numbered(length))).toBe(0);
        expect(reassembly.size).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('drops a packet whose fragments overlap', () => {
    const reassembly = new Reassembly(new VirtualClock());
    const [first] = fragments(100, 60);
    const [, , overlapping] = fragments(100, 52);
    add(reassembly, first);
    overlapping.set([0x20, 2], 6);
    const packet = new Ipv4Packet();
    packet.parse(overlapping, false);
    expect(reassembly.add(packet)).toBe('bad');
    expect(reassembly.size).toBe(0);
  });

  it('is bounded in packets and in time', () => {
    const clock = new VirtualClock();
    const reassembly = new Reassembly(clock);
    for (let id = 0; id < 100; id++) add(reassembly, fragments(3000, 1500, id)[0]);
    expect(reassembly.size).toBe(16);
    clock.advance(20e9);
    expect(add(reassembly, fragments(3000, 1500, 99)[1])).toBeUndefined();
    expect(reassembly.size).toBe(1);
  });

  it('refuses what would be longer than a packet gets', () => {
    const reassembly = new Reassembly(new VirtualClock());
    const [last] = fragments(100, 1500).slice(-1);
    last.set([0x1f, 0xff], 6);
    const packet = new Ipv4Packet();
    packet.parse(last, false);
    expect(reassembly.add(packet)).toBe('bad');
  });
});
