import { finishFrame, parseMac } from '@kensho/devices-net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { STATIONS } from './adapters.ts';
import { Packet, PacketMaker, Pattern, Port, type Protocol } from './packet.ts';

const { sender, receiver } = STATIONS;
const pattern = new Pattern(7);
const protocols = fc.constantFrom<Protocol>('tcp', 'udp');

function maker(protocol: Protocol, offloads: boolean): PacketMaker {
  return new PacketMaker(sender, receiver, protocol, { offloads, mostPayloadBytes: 64_000 });
}

/** RFC 1071, byte by byte. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += i % 2 === 0 ? bytes[i] << 8 : bytes[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

describe('packets', () => {
  it('are read as they were made', () => {
    fc.assert(
      fc.property(
        protocols,
        fc.boolean(),
        fc.integer({ min: 4, max: 1448 }),
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        (protocol, offloads, payloadBytes, sequence) => {
          const payload = pattern.at(sequence, payloadBytes);
          const { bytes } = maker(protocol, offloads).make(Port.DATA, sequence, payload);
          // A short frame is padded on its way.
          const padded = new Uint8Array(Math.max(60, bytes.length));
          padded.set(bytes);
          const packet = new Packet();
          expect(packet.parse(padded)).toBe(true);
          expect(packet).toMatchObject({ port: Port.DATA, sequence, payloadBytes });
          expect([...packet.payload]).toEqual([...payload.subarray(payloadBytes - packet.payload.length)]);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('have the checksums that belong to them, whoever works them out', () => {
    fc.assert(
      fc.property(protocols, fc.integer({ min: 4, max: 1448 }), (protocol, payloadBytes) => {
        const payload = pattern.at(99, payloadBytes);
        const [here] = finishFrame(maker(protocol, false).make(Port.DATA, 5, payload));
        const [there] = finishFrame(maker(protocol, true).make(Port.DATA, 5, payload));
        expect(here).toEqual(there);
        const ip = here.bytes.subarray(14, 34);
        expect(sumOf(ip)).toBe(0xffff);
        const transport = here.bytes.subarray(34);
        const length = Uint8Array.of(0, ip[9], transport.length >>> 8, transport.length & 0xff);
        expect(sumOf(Uint8Array.from([...ip.subarray(12), ...length, ...transport]))).toBe(0xffff);
      }),
      { numRuns: 50 },
    );
  });

  it('are cut where they are longer than one', () => {
    const frame = maker('tcp', true).make(Port.DATA, 1000, pattern.at(1000, 3 * 1448));
    const pieces = finishFrame(frame).map(({ bytes }) => {
      const packet = new Packet();
      expect(packet.parse(bytes)).toBe(true);
      return packet;
    });
    expect(pieces.map(({ sequence }) => sequence)).toEqual([1000, 2448, 3896]);
    for (const { sequence, payload } of pieces) expect(pattern.matches(sequence, payload)).toBe(true);
  });

  it('are told from everything else', () => {
    const packet = new Packet();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => void packet.parse(bytes)));
    const { bytes } = maker('udp', false).make(Port.DATA, 1, pattern.at(0, 18));
    expect(packet.parse(bytes.subarray(0, 50))).toBe(false);
    const arp = bytes.slice();
    arp[13] = 6;
    expect(packet.parse(arp)).toBe(false);
  });
});

it('a pattern is the same at one place only', () => {
  const bytes = pattern.at(123_456_789, 64).slice();
  expect(pattern.matches(123_456_789, bytes)).toBe(true);
  expect(pattern.matches(123_456_790, bytes)).toBe(false);
  expect(new Pattern(8).matches(123_456_789, bytes)).toBe(false);
  expect(STATIONS.sender.mac).toEqual(parseMac('00-15-5d-00-00-01'));
});
