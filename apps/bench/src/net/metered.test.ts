import { describe, expect, it } from 'vitest';
import { STATIONS } from './adapters.ts';
import { dataPacketsOf } from './metered.ts';
import { PacketMaker, Port, type Protocol } from './packet.ts';

function frameOf(protocol: Protocol, payloadBytes: number) {
  const { sender, receiver } = STATIONS;
  const maker = new PacketMaker(sender, receiver, protocol, { offloads: true, mostPayloadBytes: 60_000 });
  return maker.make(Port.DATA, 1, new Uint8Array(payloadBytes));
}

describe('packets with data', () => {
  it.each<[string, Protocol, number, number]>([
    ['a bare confirmation is none', 'tcp', 0, 0],
    ['a request is one', 'tcp', 16, 1],
    ['a whole segment is one', 'tcp', 1448, 1],
    ['a large segment is those that it is cut into', 'tcp', 3 * 1448 + 1, 4],
    ['a datagram is one', 'udp', 18, 1],
  ])('%s', (_, protocol, payloadBytes, count) => {
    expect(dataPacketsOf(frameOf(protocol, payloadBytes))).toBe(count);
  });

  it('padding is no data', () => {
    const { bytes } = frameOf('tcp', 0);
    const padded = new Uint8Array(60);
    padded.set(bytes);
    expect(dataPacketsOf({ bytes: padded })).toBe(0);
  });

  it('nothing else is one', () => {
    const { bytes } = frameOf('udp', 18);
    const arp = bytes.slice();
    arp[13] = 6;
    expect(dataPacketsOf({ bytes: arp })).toBe(0);
    for (let length = 0; length < bytes.length; length++) dataPacketsOf({ bytes: bytes.subarray(0, length) });
    const lying = frameOf('tcp', 16).bytes.slice(0, 40);
    expect(dataPacketsOf({ bytes: lying })).toBe(0);
  });
});
