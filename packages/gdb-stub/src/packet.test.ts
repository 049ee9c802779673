import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodePacket, PACKET_BYTES_MAX, PacketReader, parseAddress, parseHex } from './packet.ts';

const read = (bytes: Uint8Array, reader = new PacketReader()) => [...reader.read(bytes)];

describe('packets', () => {
  it('come out as they went in, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 })),
        fc.integer({ min: 1, max: 50 }),
        (all, cut) => {
          const stream = Buffer.concat(all.map((data) => encodePacket(Buffer.from(data))));
          const reader = new PacketReader();
          const got: string[] = [];
          for (let at = 0; at < stream.length; at += cut) {
            for (const one of read(stream.subarray(at, at + cut), reader)) {
              expect(one.kind).toBe('packet');
              if (one.kind === 'packet') got.push(one.data.toString('hex'));
            }
          }
          expect(got).toEqual(all.map((data) => Buffer.from(data).toString('hex')));
        },
      ),
    );
  });

  it('have the checksum of the manual’s example', () => {
    expect(encodePacket('OK').toString()).toBe('$OK#9a');
  });

  it.each([
    ['$OK#9b', 'broken'],
    ['$OK#zz', 'broken'],
    [`$${'a'.repeat(PACKET_BYTES_MAX + 1)}#00`, 'broken'],
    ['+', 'ack'],
    ['-', 'nak'],
    ['\x03', 'interrupt'],
    ['$lost$OK#9a', 'packet'],
  ])('%s is %s', (text, kind) => {
    expect(read(Buffer.from(text)).map((one) => one.kind)).toEqual([kind]);
  });

  it('are found again behind anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (noise) => {
        const reader = new PacketReader();
        read(noise, reader);
        // Ends what the noise may have begun.
        read(Buffer.from('#00'), reader);
        expect(read(encodePacket('OK'), reader).at(-1)).toMatchObject({ kind: 'packet' });
      }),
    );
  });
});

it.each([
  ['10', 16, 16n],
  ['', undefined, undefined],
  ['-1', undefined, undefined],
  ['0x1', undefined, undefined],
  ['ffffffffffffffff', undefined, 0xffffffffffffffffn],
  ['10000000000000000', undefined, undefined],
])('%j as a number is %s, as an address %s', (text, number, address) => {
  expect(parseHex(text)).toBe(number);
  expect(parseAddress(text)).toBe(address);
});
