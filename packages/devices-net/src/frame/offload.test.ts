import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tagged, untagged } from './ethernet.ts';
import { sumOf } from './internet-checksum.ts';
import { finishFrame } from './offload.ts';
import { dataViewOf, PacketLayout } from './packet-layout.ts';
import { concat, expectRightChecksums, packet, transportOffsetOf } from './test-utils/packets.ts';

const version = fc.constantFrom<4 | 6>(4, 6);
const protocol = fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp');
const payload = fc.uint8Array({ maxLength: 3000 });

describe('sums', () => {
  it('are those of RFC 1071, wherever the bytes lie', () => {
    const example = Uint8Array.of(0xff, 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
    expect(sumOf(dataViewOf(example), 1, 9)).toBe(sumOf(dataViewOf(example.slice(1)), 0, 8));
    // Section 3 of the RFC: the sum is ddf2.
    expect(sumOf(dataViewOf(example), 1, 9)).toBe(0xddf2);
  });

  it('do not lose the carries of a long frame', () => {
    expect(sumOf(dataViewOf(new Uint8Array(65536).fill(0xff)), 0, 65536)).toBe(0xffff);
  });
});

describe('finishing a frame', () => {
  it('leaves one alone that is finished', () => {
    const frame = { bytes: packet() };
    expect(finishFrame(frame)).toEqual([frame]);
  });

  it('completes checksums of TCP and UDP, and does not touch the original', () => {
    fc.assert(
      fc.property(version, protocol, payload, fc.boolean(), (version, protocol, payload, short) => {
        const made = packet({ version, protocol, payload, unfinished: true });
        // What pads a frame to its least length is not summed.
        const bytes = short ? concat(made, Uint8Array.of(9, 9, 9)) : made;
        const before = bytes.slice();
        const startOffset = transportOffsetOf(version);
        const fieldOffset = startOffset + (protocol === 'tcp' ? 16 : 6);
        const [finished, ...more] = finishFrame({
          bytes,
          vlanTag: 7,
          offload: { checksum: { startOffset, fieldOffset } },
        });
        expect([more.length, finished.vlanTag, finished.offload]).toEqual([0, 7, undefined]);
        expect(bytes).toEqual(before);
        expectRightChecksums(finished.bytes);
      }),
      { numRuns: 60 },
    );
  });

  it('fills in the checksum of an IPv4 header', () => {
    const bytes = packet();
    bytes[24] = 0xaa;
    const [finished] = finishFrame({ bytes, offload: { ipv4HeaderChecksum: true } });
    expectRightChecksums(finished.bytes);
  });

  it('cuts a large segment into right ones that carry the same stream', () => {
    fc.assert(
      fc.property(
        version,
        fc.uint8Array({ minLength: 1, maxLength: 9000 }),
        fc.integer({ min: 50, max: 2000 }),
        fc.constantFrom(0, 4, 12),
        (version, payload, segmentPayloadBytes, tcpOptions) => {
          const flags = 0x80 | 0x10 | 0x08 | 0x01;
          const bytes = packet({ version, payload, flags, tcpOptions, unfinished: true });
          const tcp = transportOffsetOf(version);
          const pieces = finishFrame({
            bytes,
            vlanTag: 9,
            offload: {
              checksum: { startOffset: tcp, fieldOffset: tcp + 16 },
              segmentPayloadBytes,
            },
          });
          const header = tcp + 20 + tcpOptions;
          expect(concat(...pieces.map((piece) => piece.bytes.subarray(header)))).toEqual(payload);
          let sequence = 0xffff_fff0;
          for (const [i, piece] of pieces.entries()) {
            const last = i === pieces.length - 1;
            expect(piece.offload).toBeUndefined();
            expect(piece.vlanTag).toBe(9);
            expectRightChecksums(piece.bytes);
            const view = dataViewOf(piece.bytes);
            expect(view.getUint32(tcp + 4)).toBe(sequence >>> 0);
            // CWR only in the first; FIN and PSH only in the last.
            expect(piece.bytes[tcp + 13]).toBe(0x10 | (i === 0 ? 0x80 : 0) | (last ? 0x09 : 0));
            if (version === 4) expect(view.getUint16(18)).toBe((0xfffe + i) & 0xffff);
            if (!last) expect(piece.bytes.length).toBe(header + segmentPayloadBytes);
            sequence += piece.bytes.length - header;
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  it('gives nothing for a frame that is not what its offload says', () => {
    const udp = packet({ protocol: 'udp', payload: new Uint8Array(100) });
    expect(finishFrame({ bytes: udp, offload: { segmentPayloadBytes: 10 } })).toEqual([]);
    expect(finishFrame({ bytes: packet(), offload: { segmentPayloadBytes: 0 } })).toEqual([]);
    const beyond = { startOffset: 34, fieldOffset: udp.length - 1 };
    expect(finishFrame({ bytes: udp, offload: { checksum: beyond } })).toEqual([]);
    expect(finishFrame({ bytes: udp.slice(0, 20), offload: { ipv4HeaderChecksum: true } })).toEqual([]);
  });

  it('stands any bytes', () => {
    const offload = fc.record(
      {
        checksum: fc.record({ startOffset: fc.nat(100), fieldOffset: fc.nat(100) }),
        ipv4HeaderChecksum: fc.boolean(),
        segmentPayloadBytes: fc.nat(100),
      },
      { requiredKeys: [] },
    );
    const bytes = fc
      .tuple(version, fc.uint8Array({ minLength: 15, maxLength: 120 }))
      .map(([version, bytes]) => {
        bytes.set(version === 4 ? [8, 0, 0x45] : [0x86, 0xdd, 0x60], 12);
        return bytes;
      });
    fc.assert(
      fc.property(bytes, offload, (bytes, offload) => {
        for (const one of finishFrame({ bytes, offload })) expect(one.offload).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});

describe('layouts', () => {
  it('walk the extension headers of IPv6', () => {
    const plain = packet({ version: 6, protocol: 'udp', payload: Uint8Array.of(1, 2, 3) });
    const hopByHop = Uint8Array.of(17, 0, 1, 4, 0, 0, 0, 0);
    const bytes = concat(plain.subarray(0, 54), hopByHop, plain.subarray(54));
    bytes[20] = 0;
    bytes[19] += 8;
    const layout = new PacketLayout().parse(dataViewOf(bytes));
    expect([layout.isUdp, layout.transportOffset, layout.end]).toEqual([true, 62, bytes.length]);
  });

  it('know fragments', () => {
    const bytes = packet();
    bytes[20] = 0x20;
    const layout = new PacketLayout().parse(dataViewOf(bytes));
    expect([layout.isFragment, layout.isTcp]).toEqual([true, false]);
  });

  it('lie within the frame, whatever it holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 15, maxLength: 100 }), fc.boolean(), (bytes, six) => {
        bytes.set(six ? [0x86, 0xdd, 0x60] : [0x08, 0x00, 0x45], 12);
        const layout = new PacketLayout().parse(dataViewOf(bytes));
        expect(layout.transportOffset).toBeLessThanOrEqual(layout.end);
        expect(layout.end).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 300 },
    );
  });
});

describe('VLAN tags', () => {
  it('go in and out of a frame', () => {
    const bytes = packet({ payload: Uint8Array.of(1, 2, 3) });
    const onWire = tagged({ bytes, vlanTag: 0x6064 });
    expect([...onWire.subarray(12, 18)]).toEqual([0x81, 0x00, 0x60, 0x64, 0x08, 0x00]);
    expect(untagged(onWire)).toEqual({ bytes, vlanTag: 0x6064 });
    expect(untagged(bytes.slice())).toEqual({ bytes });
    expect(tagged({ bytes })).toBe(bytes);
  });
});
