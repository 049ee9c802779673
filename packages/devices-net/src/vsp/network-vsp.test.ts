import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finishFrame } from '../frame/offload.ts';
import {
  concat,
  expectRightChecksums,
  MAC_A,
  MAC_B,
  packet,
  transportOffsetOf,
} from '../frame/test-utils/packets.ts';
import {
  BUFFER_FIRST_PAGE,
  COMPLETION_WAIT_MS,
  GUEST_PAGES,
  NetworkRig,
  nvsp,
  offloadParameters,
  RECEIVE_GPADL,
  rndis,
  rndisPacket,
  SEND_GPADL,
  type TestPacket,
  type TestRange,
  words,
  wordsOf,
} from './test-utils/network-rig.ts';

const V = { v1: 2, v2: 0x30002, v4: 0x40000, v5: 0x50000, v6: 0x60000, v61: 0x60001 };
const OWN = { destinationMac: MAC_A, sourceMac: MAC_B } as const;
/** A frame for the guest. */
const toGuest = (payloadBytes = 40, more: Parameters<typeof packet>[0] = {}) =>
  packet({ ...OWN, payload: new Uint8Array(payloadBytes).fill(0x5a), ...more });

describe('negotiation', () => {
  it.each(Object.entries(V))('agrees on version %s alone', (_, version) => {
    const rig = new NetworkRig();
    const channel = rig.newChannel();
    rig.vsp.open(channel);
    const refused = rig.exchange(channel, { payload: nvsp(1, 0x70000, 0x70000) });
    expect([refused[0], refused[1], refused[3]]).toEqual([2, 0xffff_ffff, 3]);
    expect(rig.exchange(channel, { payload: nvsp(1, 1, 1) })[3]).toBe(4);
    const answer = rig.exchange(channel, { payload: nvsp(1, version, version) });
    expect(answer.slice(0, 4)).toEqual([2, version, 34, 1]);
    expect(channel.completions.every((one) => one.payload.length === 40)).toBe(true);
  });

  it('takes the newest version of a range', () => {
    const rig = new NetworkRig();
    const channel = rig.newChannel();
    rig.vsp.open(channel);
    expect(rig.exchange(channel, { payload: nvsp(1, 0, 0x5ffff) })[1]).toBe(V.v5);
  });

  it('divides the receive buffer into sections that hold a frame of the MTU, in one section of the protocol', () => {
    for (const [mtu, least] of [
      [1500, 1622],
      [9000, 9122],
      [68, 1024],
      [60000, 9122],
    ]) {
      const rig = new NetworkRig();
      const channel = rig.newChannel();
      rig.vsp.open(channel);
      rig.exchange(channel, { payload: nvsp(1, V.v6, V.v6) });
      rig.deliver(channel, { payload: nvsp(125, mtu + 14, 0, 8), completionRequested: false });
      const answer = rig.exchange(channel, { payload: nvsp(101, RECEIVE_GPADL, 0xcafe) });
      const [type, status, sections, offset, sectionBytes, count, end] = answer;
      expect([type, status, sections, offset]).toEqual([102, 1, 1, 0]);
      expect(sectionBytes).toBeGreaterThanOrEqual(least);
      expect(sectionBytes).toBeLessThan(least + 128);
      expect(end).toBe(sectionBytes * count);
      expect(end).toBeLessThanOrEqual(512 * 4096);
      expect(rig.exchange(channel, { payload: nvsp(104, SEND_GPADL, 0) }).slice(0, 3)).toEqual([
        105, 1, 6144,
      ]);
    }
  });

  it('refuses messages out of order and buffers that make no sense, and goes on', () => {
    const rig = new NetworkRig();
    rig.gpadl(5, 0, 0);
    const channel = rig.newChannel();
    rig.vsp.open(channel);
    expect(rig.exchange(channel, { payload: nvsp(101, RECEIVE_GPADL, 0xcafe) })[1]).toBe(2);
    expect(rig.exchange(channel, { payload: nvsp(104, SEND_GPADL, 0) })[1]).toBe(2);
    expect(rig.exchange(channel, { payload: nvsp(107, 1, 0xffff_ffff, 0) })[1]).toBe(2);
    expect(rig.exchange(channel, { payload: nvsp(133, 1, 4) }).slice(0, 3)).toEqual([133, 2, 0]);
    rig.exchange(channel, { payload: nvsp(1, V.v61, V.v61) });
    expect(rig.exchange(channel, { payload: nvsp(1, V.v61, V.v61) })[3]).toBe(2);
    for (const handle of [0x1234, 5]) {
      expect(rig.exchange(channel, { payload: nvsp(101, handle, 0xcafe) }).slice(1, 3)).toEqual([2, 0]);
      expect(rig.exchange(channel, { payload: nvsp(104, handle, 0) }).slice(1, 3)).toEqual([2, 0]);
    }
    for (const type of [0, 3, 109, 131, 135, 0xffff_ffff]) rig.exchange(channel, { payload: nvsp(type) });
    expect(rig.exchange(channel, { payload: new Uint8Array(0) })).toEqual([]);
    expect(rig.count('fault.network.out-of-order')).toBe(5);
    expect(rig.exchange(channel, { payload: nvsp(101, RECEIVE_GPADL, 0xcafe) })[1]).toBe(1);
    expect(rig.exchange(channel, { payload: nvsp(101, RECEIVE_GPADL, 0xcafe) })[1]).toBe(2);
  });

  it('lets go of buffers that are revoked, and begins anew after a close', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    rig.network.deliver({ bytes: toGuest() });
    rig.deliver(channel, { payload: nvsp(103, 0xcafe), completionRequested: false });
    rig.deliver(channel, { payload: nvsp(106, 0), completionRequested: false });
    channel.transfers.length = 0;
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect(channel.transfers).toEqual([]);
    expect(rig.sendBySection(channel, rndisPacket(packet()))).toBe(2);
    rig.vsp.close(channel);
    rig.network.deliver({ bytes: toGuest() });
    expect(rig.network.waiting).toEqual([]);
    const again = rig.openReady();
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect(rig.take(again).length).toBe(1);
  });
});

describe('RNDIS control', () => {
  it('initialises', () => {
    const rig = new NetworkRig();
    const channel = rig.newChannel();
    rig.vsp.open(channel);
    rig.negotiate(channel);
    const reply = rig.control(channel, rndis(2, 77, 1, 0, 0x4000));
    expect(reply.slice(0, 11)).toEqual([0x80000002, 52, 77, 0, 1, 0, 1, 0, 32, 0x20000, 3]);
    expect(rig.control(channel, rndis(2, 78, 2, 0, 0x4000))[3]).toBe(0xc0010004);
  });

  it('answers what Linux asks', () => {
    const rig = new NetworkRig({ maxSubChannels: 3 });
    const channel = rig.openReady();
    const asked = (oid: number) => rig.query(channel, oid).info;
    expect(wordsOf(asked(0x00010106))).toEqual([1500]);
    expect([...asked(0x01010101)]).toEqual([...MAC_A]);
    expect([...asked(0x01010102)]).toEqual([...MAC_A]);
    expect(new TextDecoder('utf-16le').decode(asked(0x00010216))).toBe('Network Adapter');
    expect(wordsOf(asked(0x00010114))).toEqual([0]);
    expect(wordsOf(asked(0x00010107))).toEqual([100_000_000]);
    const scaling = asked(0x00010203);
    expect([scaling.length, scaling[0], scaling[1]]).toEqual([18, 0x88, 2]);
    expect(wordsOf(scaling).slice(3)).toEqual([4, 128]);
    expect(rig.query(channel, 0x00012345)).toEqual({ status: 0xc00000bb, info: new Uint8Array(0) });
    expect(rig.set(channel, 0x00012345, words(1))).toBe(0xc00000bb);
  });

  it.each([
    [V.v1, 112, 1],
    [V.v4, 144, 2],
    [V.v5, 156, 3],
    [V.v61, 156, 3],
  ])('offers offloads in the form of version %i', (version, sizeBytes, revision) => {
    const rig = new NetworkRig();
    const channel = rig.openReady({ version });
    const { info } = rig.query(channel, 0xfc01020d, new Uint8Array(sizeBytes));
    expect([info.length, info[0], info[1], info[2]]).toEqual([sizeBytes, 0xa7, revision, sizeBytes]);
    // What Linux wants to find before it uses them: NDIS_TXCSUM_ALL_TCP4 and 6, UDP, NDIS_LSOV2_CAP_IP6.
    const field = wordsOf(info);
    expect(field[2] & 0x54).toBe(0x54);
    expect(field[6] & 0x55).toBe(0x55);
    expect([field[20] & 2, field[23] & 2, field[26] & 5]).toEqual([2, 2, 5]);
    if (version === V.v61) expect([info[144], info[145]]).toEqual([1, 1]);
    else if (info.length > 144) expect([info[144], info[145]]).toEqual([0, 0]);
  });

  it('has no scaling where there are no sub-channels', () => {
    const rig = new NetworkRig();
    expect(rig.query(rig.openReady(), 0x00010203).status).toBe(0xc00000bb);
  });

  it('keeps alive, resets and halts', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    expect(rig.control(channel, rndis(8, 5))).toEqual([0x80000008, 16, 5, 0]);
    expect(rig.control(channel, rndis(6, 0))).toEqual([0x80000006, 16, 0, 1]);
    expect(wordsOf(rig.query(channel, 0x0001010e).info)).toEqual([0]);
    expect(rig.control(channel, rndis(3, 6))).toEqual([]);
    expect(rig.query(channel, 0x00010106).status).toBe(0xc0010011);
    expect(rig.sendBySection(channel, rndisPacket(packet()))).toBe(2);
  });

  it('changes the address only where that is allowed', () => {
    const utf16 = (text: string) => new Uint8Array(Uint16Array.from(text, (one) => one.charCodeAt(0)).buffer);
    const name = utf16('NetworkAddress');
    const value = utf16('00155D0000FE');
    const parameter = concat(words(20, name.length, 2, 20 + name.length, value.length), name, value);
    const strict = new NetworkRig();
    expect(strict.set(strict.openReady(), 0x0001021b, parameter)).toBe(0x10003);
    const rig = new NetworkRig({ allowMacChange: true });
    const channel = rig.openReady();
    expect(rig.set(channel, 0x0001021b, parameter)).toBe(0);
    expect([...rig.query(channel, 0x01010102).info]).toEqual([0, 0x15, 0x5d, 0, 0, 0xfe]);
    expect([...rig.query(channel, 0x01010101).info]).toEqual([...MAC_A]);
    rig.network.deliver({ bytes: toGuest(10, { destinationMac: [0, 0x15, 0x5d, 0, 0, 0xfe] }) });
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect(rig.take(channel).length).toBe(1);
    const beyond = parameter.slice();
    beyond[12] = 0xff;
    expect(rig.set(channel, 0x0001021b, beyond)).toBe(0xc0010015);
  });

  it('refuses information that is not within the message, with a reply', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    for (const [length, offset] of [
      [4, 21],
      [8, 20],
      [0xffff_fffc, 20],
      [4, 0xffff_fff8],
      [4, 0],
    ]) {
      const message = concat(words(5, 32, 9, 0x0001010e, length, offset, 0), words(0));
      expect(rig.control(channel, message)).toEqual([0x80000005, 16, 9, 0xc0010015]);
    }
    expect(wordsOf(rig.query(channel, 0x0001010e).info)).toEqual([0xd]);
  });

  it('bounds the replies that a guest does not take', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady({ receivePages: 2 });
    const ask = (id: number): number => {
      const message = rndis(8, id);
      rig.memory(BUFFER_FIRST_PAGE).set(message);
      const ranges = [{ pages: [BUFFER_FIRST_PAGE], offset: 0, sizeBytes: message.length }];
      return rig.exchange(channel, { payload: nvsp(107, 1, 0xffff_ffff, 0), ranges })[1];
    };
    const statuses = Array.from({ length: 100 }, (_, i) => ask(i));
    const accepted = statuses.filter((status) => status === 1).length;
    expect(new Set(statuses)).toEqual(new Set([1, 6]));
    const ids: number[] = [];
    for (let round = 0; round < 100; round++) {
      for (const reply of rig.takeControl(channel)) ids.push(wordsOf(reply)[2]);
    }
    expect(ids).toEqual(Array.from({ length: accepted }, (_, i) => i));
    expect(ask(7)).toBe(1);
  });
});

describe('the link', () => {
  it('is announced when it changes', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    rig.network.setLink(false);
    rig.network.setLink(true);
    const statuses = rig.takeControl(channel).map((message) => wordsOf(message));
    expect(statuses).toEqual([
      [7, 20, 0x4001000c, 0, 0],
      [7, 20, 0x4001000b, 0, 0],
    ]);
  });

  it('is announced as it is in the end to a guest that takes no messages for a while', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady({ receivePages: 2 });
    for (let i = 0; i < 101; i++) rig.network.setLink(i % 2 === 0);
    rig.network.setLink(false);
    const statuses: number[] = [];
    for (let round = 0; round < 100; round++) {
      for (const message of rig.takeControl(channel)) statuses.push(wordsOf(message)[2]);
    }
    expect(statuses.length).toBeLessThan(50);
    expect(statuses.at(-1)).toBe(0x4001000c);
  });

  it('is announced again when the interface opens, which may have missed it', () => {
    const rig = new NetworkRig();
    const channel = rig.newChannel();
    rig.vsp.open(channel);
    rig.negotiate(channel);
    rig.network.setLink(false);
    expect(rig.takeControl(channel)).toEqual([]);
    rig.control(channel, rndis(2, 1, 1, 0, 0x4000));
    expect(wordsOf(rig.query(channel, 0x00010114).info)).toEqual([1]);
    rig.network.setLink(true);
    expect(rig.takeControl(channel).length).toBe(1);
    rig.memory(BUFFER_FIRST_PAGE).set(concat(words(5, 32, 9, 0x0001010e, 4, 20, 0), words(0xd)));
    rig.exchange(channel, {
      payload: nvsp(107, 1, 0xffff_ffff, 0),
      ranges: [{ pages: [BUFFER_FIRST_PAGE], offset: 0, sizeBytes: 32 }],
    });
    const types = rig.takeControl(channel).map((message) => wordsOf(message)[0]);
    expect(types).toEqual([7, 0x80000005]);
  });
});

describe('from the guest', () => {
  const frame = packet({ payload: new Uint8Array(200).fill(7) });

  it('goes by a section, by pages, or by both', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    const message = rndisPacket(frame);
    expect(rig.sendBySection(channel, message)).toBe(1);
    expect(rig.sendByPages(channel, message)).toBe(1);
    // Headers that straddle pages, and records in pieces.
    expect(rig.sendByPages(channel, message, 7)).toBe(1);
    expect(rig.sendByPages(channel, message, 50, 44)).toBe(1);
    expect(rig.network.frames.map((one) => one.bytes)).toEqual([frame, frame, frame, frame]);
    expect([rig.count('device.nic0.frames.out'), rig.count('copy.bytes')]).toEqual([4, 4 * frame.length]);
  });

  it('may be several packets in one message, up to the announced number', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    const frames = Array.from({ length: 32 }, (_, i) => packet({ payload: new Uint8Array(i).fill(i) }));
    expect(rig.sendBySection(channel, concat(...frames.map((one) => rndisPacket(one))))).toBe(1);
    expect(rig.network.frames.map((one) => one.bytes)).toEqual(frames);
    const tooMany = Array.from({ length: 33 }, () => rndisPacket(packet()));
    expect(rig.sendBySection(channel, concat(...tooMany))).toBe(5);
    expect(rig.network.frames.length).toBe(64);
  });

  it('carries its VLAN tag beside the bytes, wherever it was', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    // Priority 5, drop eligible, VLAN 0x123.
    expect(rig.sendBySection(channel, rndisPacket(frame, [[6, 5 | 8 | (0x123 << 4)]]))).toBe(1);
    const inside = concat(frame.subarray(0, 12), Uint8Array.of(0x81, 0, 0xb1, 0x23), frame.subarray(12));
    expect(rig.sendBySection(channel, rndisPacket(inside))).toBe(1);
    for (const one of rig.network.frames) expect(one).toMatchObject({ bytes: frame, vlanTag: 0xb123 });
  });

  it('leaves checksums to be finished where they are needed', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    for (const version of [4, 6] as const) {
      for (const protocol of ['tcp', 'udp'] as const) {
        const bytes = packet({ version, protocol, payload: Uint8Array.of(1, 2, 3), unfinished: true });
        const bits = (version === 4 ? 1 : 2) | (protocol === 'tcp' ? 4 : 8);
        const value = bits | (transportOffsetOf(version) << 16);
        expect(rig.sendBySection(channel, rndisPacket(bytes, [[0, value]]))).toBe(1);
        const sent = rig.network.frames.at(-1);
        expect(sent?.bytes).toEqual(bytes);
        for (const finished of finishFrame(sent as never)) expectRightChecksums(finished.bytes);
      }
    }
    const bare = packet();
    bare[24] = 0;
    bare[25] = 0;
    rig.sendBySection(channel, rndisPacket(bare, [[0, 0x11]]));
    expectRightChecksums(rig.network.frames.at(-1)?.bytes as Uint8Array);
  });

  it.each([4, 6] as const)('sends large segments of IPv%i whole', (version) => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    const payload = new Uint8Array(60_000).map((_, i) => i * 13);
    const bytes = packet({ version, payload, unfinished: true });
    const tcp = transportOffsetOf(version);
    // As Linux leaves it: no IP length, no header checksum, a sum that lacks the length.
    const view = new DataView(bytes.buffer);
    view.setUint16(version === 4 ? 16 : 18, 0);
    if (version === 4) view.setUint16(24, 0);
    view.setUint16(tcp + 16, 0x1234);
    const info = 1440 | (tcp << 20) | 0x40000000 | (version === 6 ? 0x80000000 : 0);
    expect(rig.sendByPages(channel, rndisPacket(bytes, [[2, info >>> 0]]), 30_000)).toBe(1);
    const [sent] = rig.network.frames;
    expect(sent.offload).toEqual({
      checksum: { startOffset: tcp, fieldOffset: tcp + 16 },
      segmentPayloadBytes: 1440,
    });
    const pieces = finishFrame(sent);
    for (const piece of pieces) expectRightChecksums(piece.bytes);
    expect(concat(...pieces.map((piece) => piece.bytes.subarray(tcp + 20)))).toEqual(payload);
    // What is finished but for its length is right as a whole.
    const [whole] = finishFrame({ bytes: sent.bytes, offload: { checksum: sent.offload?.checksum } });
    expectRightChecksums(whole.bytes);
    expect(rig.count('device.nic0.large.out')).toBe(1);
  });

  it.each<[string, Uint8Array, number]>([
    ['a frame of 13 bytes', rndisPacket(new Uint8Array(13)), 5],
    ['a frame longer than the MTU', rndisPacket(new Uint8Array(1515)), 5],
    ['a packet message without its header', new Uint8Array(40), 5],
    ['another message', rndis(4, 1, 0x00010106, 0, 0, 0, 0, 0, 0, 0, 0, 0), 5],
    ['a length beyond the message', corrupt(rndisPacket(frame), 4, 0xffff_ffff), 5],
    ['a length within the header', corrupt(rndisPacket(frame), 4, 43), 5],
    ['data before the header ends', corrupt(rndisPacket(frame), 8, 35), 5],
    ['data beyond the message', corrupt(rndisPacket(frame), 8, 0xffff_fff8), 5],
    ['data that is too long', corrupt(rndisPacket(frame), 12, 0xffff_ffff), 5],
    ['records beyond the message', corrupt(rndisPacket(frame, [[8, 1]]), 28, 0xffff_ff00), 5],
    ['records in the header', corrupt(rndisPacket(frame, [[8, 1]]), 28, 0), 5],
    ['records that are too long', corrupt(rndisPacket(frame, [[8, 1]]), 32, 0xffff_fff0), 5],
    ['a record that chains to itself', corrupt(rndisPacket(frame, [[8, 1]]), 44, 0), 5],
    ['a record longer than all of them', corrupt(rndisPacket(frame, [[8, 1]]), 44, 17), 5],
    ['a record whose data is elsewhere', corrupt(rndisPacket(frame, [[8, 1]]), 52, 0xffff_fffc), 5],
    ['a large send of nothing', rndisPacket(frame, [[2, 0x40000000 | (34 << 20)]]), 5],
    ['a large send of tiny segments', rndisPacket(frame, [[2, 47 | 0x40000000 | (34 << 20)]]), 5],
    ['a large send of large segments', rndisPacket(frame, [[2, 1461 | 0x40000000 | (34 << 20)]]), 5],
    ['a large send with another offset', rndisPacket(frame, [[2, 1400 | 0x40000000 | (35 << 20)]]), 5],
    ['a checksum outside the frame', rndisPacket(frame, [[0, 5 | (1000 << 16)]]), 5],
  ])('%s is refused and counted; what follows is served', (_, message, status) => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    expect(rig.sendBySection(channel, message)).toBe(status);
    expect(rig.network.frames).toEqual([]);
    expect(rig.count('device.nic0.refused')).toBe(1);
    expect(rig.count('fault.network.malformed') + rig.count('fault.network.frame')).toBe(1);
    expect(rig.sendBySection(channel, rndisPacket(frame))).toBe(1);
    expect(rig.network.frames.length).toBe(1);
  });

  it('refuses sections and pages that are not there', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    const send = (section: number, sizeBytes: number, ranges?: readonly TestRange[]) =>
      rig.exchange(channel, { payload: nvsp(107, 0, section, sizeBytes), ranges })[1];
    expect(send(170, 100)).toBe(2);
    expect(send(0xffff_fffe, 100)).toBe(2);
    expect(send(0, 6145)).toBe(2);
    expect(send(0xffff_ffff, 0)).toBe(5);
    expect(send(0xffff_ffff, 0, [{ pages: [GUEST_PAGES + 5], offset: 0, sizeBytes: 100 }])).toBe(2);
    const huge = Array.from({ length: 33 }, (_, i) => i);
    expect(send(0xffff_ffff, 0, [{ pages: huge, offset: 0, sizeBytes: 33 * 4096 }])).toBe(5);
    expect(rig.count('fault.network.section')).toBe(3);
    expect(rig.exchange(channel, { payload: nvsp(107, 2, 0, 100) })[1]).toBe(5);
  });
});

describe('to the guest', () => {
  it('puts frames into sections, many in one packet', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    const frames = Array.from({ length: 50 }, (_, i) => toGuest(i * 20));
    rig.network.deliver(...frames.map((bytes) => ({ bytes })));
    rig.settle();
    expect(channel.transfers.length).toBe(1);
    expect(channel.transfers[0].setId).toBe(0xcafe);
    expect(rig.take(channel).map(({ bytes }) => bytes)).toEqual(frames);
    expect([rig.count('device.nic0.frames.in'), rig.count('device.nic0.batches.in')]).toEqual([50, 1]);
    expect(rig.count('copy.bytes')).toBe(concat(...frames).length);
  });

  it('says what it knows of each frame', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    const wrong = toGuest();
    wrong[wrong.length - 1] ^= 1;
    const wrongHeader = toGuest();
    wrongHeader[22] ^= 1;
    const cases: [Uint8Array, number | undefined][] = [
      [toGuest(), 0x28],
      [toGuest(40, { protocol: 'udp' }), 0x30],
      [toGuest(40, { version: 6 }), 0x08],
      [toGuest(40, { version: 6, protocol: 'udp' }), 0x10],
      [wrong, 0x21],
      [wrongHeader, 0x0c],
      [concat(Uint8Array.from([...MAC_A, ...MAC_B, 0x08, 0x06]), new Uint8Array(28)), undefined],
    ];
    rig.network.deliver(...cases.map(([bytes]) => ({ bytes, vlanTag: 0xb123 })));
    rig.settle();
    for (const [i, { bytes, info }] of rig.take(channel).entries()) {
      expect(bytes).toEqual(cases[i][0]);
      expect(info.get(0)).toBe(cases[i][1]);
      expect(info.get(6)).toBe(5 | 8 | (0x123 << 4));
    }
    rig.set(channel, 0xfc01020c, offloadParameters(1, 0));
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect(rig.take(channel)[0].info.size).toBe(0);
  });

  it('finishes checksums that the sender left out, in the guest only', () => {
    fc.assert(
      fc.property(
        fc.constantFrom<4 | 6>(4, 6),
        fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
        fc.nat(1400),
        fc.boolean(),
        (version, protocol, payloadBytes, header) => {
          const rig = new NetworkRig();
          const channel = rig.openReady();
          const bytes = toGuest(payloadBytes, { version, protocol, unfinished: true });
          const ipv4HeaderChecksum = header && version === 4;
          if (ipv4HeaderChecksum) bytes[24] = 0x99;
          const before = bytes.slice();
          const startOffset = transportOffsetOf(version);
          const fieldOffset = startOffset + (protocol === 'tcp' ? 16 : 6);
          const offload = { checksum: { startOffset, fieldOffset }, ipv4HeaderChecksum };
          rig.network.deliver({ bytes, offload });
          rig.settle();
          const [received] = rig.take(channel);
          expectRightChecksums(received.bytes);
          expect(bytes).toEqual(before);
          expect((received.info.get(0) ?? 0) & 0x7).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });

  const large = (version: 4 | 6): Parameters<NetworkRig['network']['deliver']>[0] => {
    const tcp = transportOffsetOf(version);
    const payload = new Uint8Array(50_000).map((_, i) => i * 7);
    return {
      bytes: packet({ ...OWN, version, payload, unfinished: true }),
      vlanTag: 5,
      offload: { checksum: { startOffset: tcp, fieldOffset: tcp + 16 }, segmentPayloadBytes: 1400 },
    };
  };

  it.each([4, 6] as const)(
    'hands a large segment of IPv%i over as one where the guest takes it',
    (version) => {
      const rig = new NetworkRig();
      const channel = rig.openReady();
      const frames = [{ bytes: toGuest() }, large(version), { bytes: toGuest() }];
      rig.network.deliver(...frames);
      rig.settle();
      expect(channel.transfers.length).toBe(1);
      const [, ...parts] = rig.take(channel);
      parts.pop();
      expect(concat(...parts.map((part) => part.bytes))).toEqual(large(version).bytes);
      const flags = parts.map(({ info }) => ((info.get(0x80000001) as number) >>> 8) & 0xff);
      expect(flags).toEqual(parts.map((_, i) => 1 | (i === 0 ? 2 : 0) | (i === parts.length - 1 ? 4 : 0)));
      // Good, and the field does not hold it.
      expect(parts[0].info.get(0)).toBe(version === 4 ? 0xa8 : 0x88);
      expect(parts[0].info.get(6)).toBe(5 << 4);
      expect(parts[1].info.get(0)).toBeUndefined();
      expect(rig.count('device.nic0.large.in')).toBe(1);
      expect(rig.count('copy.bytes')).toBe(concat(...frames.map(({ bytes }) => bytes)).length);
    },
  );

  it.each([
    ['does not know the messages for it', { version: V.v6 }],
    ['did not ask for it', { rsc: false }],
    ['has turned it off', { offloads: false }],
  ])('cuts a large segment for a guest that %s', (_, options) => {
    const rig = new NetworkRig();
    const channel = rig.openReady(options);
    rig.network.deliver(large(4));
    rig.settle();
    const pieces = rig.take(channel);
    for (const { bytes } of pieces) {
      expect(bytes.length).toBeLessThanOrEqual(1514);
      expectRightChecksums(bytes);
    }
    expect(concat(...pieces.map(({ bytes }) => bytes.subarray(54)))).toEqual(large(4).bytes.subarray(54));
  });

  it('drops what the guest cannot take', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    rig.network.deliver({ bytes: toGuest(1461) });
    rig.settle();
    expect([channel.transfers.length, rig.count('device.nic0.dropped')]).toEqual([0, 1]);
    const jumbo = new NetworkRig();
    const second = jumbo.openReady({ mtu: 9000 });
    jumbo.network.deliver({ bytes: toGuest(8960) }, { bytes: toGuest(8961) });
    jumbo.settle();
    expect([jumbo.take(second).length, jumbo.count('device.nic0.dropped')]).toEqual([1, 1]);
  });

  it('honours the packet filter', () => {
    const group = [0x01, 0x00, 0x5e, 0, 0, 1];
    const frames = [MAC_A, MAC_B, [255, 255, 255, 255, 255, 255], group, [0x33, 0x33, 0, 0, 0, 1]].map(
      (destinationMac) => ({ bytes: toGuest(10, { destinationMac }) }),
    );
    for (const [filter, expected] of [
      [0x00, []],
      [0x01, [0]],
      [0x08, [2]],
      [0x04, [3, 4]],
      [0x02, [3]],
      [0x0d, [0, 2, 3, 4]],
      [0x20, [0, 1, 2, 3, 4]],
    ] as const) {
      const rig = new NetworkRig();
      const channel = rig.openReady({ filter });
      expect(rig.set(channel, 0x01010103, Uint8Array.from(group))).toBe(0);
      rig.network.deliver(...frames);
      rig.settle();
      expect(rig.take(channel).map(({ bytes }) => bytes)).toEqual(expected.map((i) => frames[i].bytes));
    }
    const rig = new NetworkRig();
    const channel = rig.openReady();
    expect(rig.set(channel, 0x0001010e, words(0x80))).toBe(0xc00000bb);
    expect(rig.set(channel, 0x01010103, new Uint8Array(7))).toBe(0xc0010014);
    expect(rig.set(channel, 0x01010103, new Uint8Array(33 * 6))).toBe(0xc0010009);
  });

  it('holds the network back while the guest has all sections, and loses nothing', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady({ receivePages: 4, rsc: false });
    const frames = Array.from({ length: 200 }, (_, i) => toGuest(i));
    rig.network.deliver(...frames.map((bytes) => ({ bytes })));
    rig.settle();
    expect(rig.network.waiting.length).toBeGreaterThan(180);
    const received: Uint8Array[] = [];
    while (channel.transfers.length > 0) received.push(...rig.take(channel).map(({ bytes }) => bytes));
    expect(received).toEqual(frames);
    expect(rig.count('device.nic0.waits')).toBeGreaterThan(0);
  });

  it('counts completions of what was never sent', () => {
    const rig = new NetworkRig();
    const channel = rig.openReady();
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    const [transfer] = channel.transfers;
    rig.giveBack(channel, transfer);
    rig.giveBack(channel, transfer);
    for (const transactionId of [0, 1, 5000, 0xffff_ffff, 2 ** 32, 2 ** 51]) {
      rig.giveBack(channel, { ...transfer, transactionId });
    }
    expect(rig.count('fault.network.completion')).toBe(7);
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect(channel.transfers.length).toBe(2);
  });

  it('gives up on memory that is not there, and goes on', () => {
    const rig = new NetworkRig();
    const channel = rig.newChannel();
    rig.vsp.open(channel);
    rig.exchange(channel, { payload: nvsp(1, V.v61, V.v61) });
    rig.gpadl(9, GUEST_PAGES - 1, 64);
    rig.exchange(channel, { payload: nvsp(101, 9, 0xcafe) });
    rig.memory(BUFFER_FIRST_PAGE).set(rndis(2, 1, 1, 0, 0x4000));
    const ranges = [{ pages: [BUFFER_FIRST_PAGE], offset: 0, sizeBytes: 24 }];
    rig.exchange(channel, { payload: nvsp(107, 1, 0xffff_ffff, 0), ranges });
    expect(rig.count('fault.network.dma')).toBe(1);
  });
});

describe('several channels', () => {
  function withChannels(granted: number) {
    const rig = new NetworkRig({ maxSubChannels: 3 });
    const primary = rig.openReady();
    const answer = rig.exchange(primary, { payload: nvsp(133, 1, granted) });
    expect(answer.slice(0, 3)).toEqual([133, 1, granted]);
    expect(rig.offers[0].subChannels).toBe(granted);
    const channels = [primary];
    for (let i = 1; i <= granted; i++) {
      expect(primary.sent).toEqual([]);
      const channel = rig.newChannel(i);
      rig.vsp.open(channel);
      channels.push(channel);
    }
    return { rig, channels };
  }
  // The key of Microsoft's verification suite for RSS.
  const KEY = Uint8Array.from(
    '6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa'.match(/../g) ?? [],
    (digits) => Number.parseInt(digits, 16),
  );
  const scaling = (table: readonly number[], flags = 0) => {
    const info = new Uint8Array(40 + 4 * table.length + 40);
    const view = new DataView(info.buffer);
    info.set([0x89, 2, 40, 0]);
    view.setUint16(4, flags, true);
    view.setUint32(8, 0x1701, true);
    view.setUint16(12, 4 * table.length, true);
    view.setUint32(16, 40, true);
    view.setUint16(20, 40, true);
    view.setUint32(24, 40 + 4 * table.length, true);
    info.set(words(...table), 40);
    info.set(KEY, 40 + 4 * table.length);
    return info;
  };

  it('tells the guest how to spread what it sends, once all are open', () => {
    const { channels } = withChannels(3);
    expect(channels[0].sent.length).toBe(1);
    const table = wordsOf(channels[0].sent[0]);
    expect(table.slice(0, 3)).toEqual([134, 16, 40]);
    expect(table.slice(10)).toEqual(Array.from({ length: 16 }, (_, i) => i % 4));
  });

  it('grants no more than there are, and that once', () => {
    const { rig, channels } = withChannels(2);
    expect(rig.exchange(channels[0], { payload: nvsp(133, 1, 1) })[1]).toBe(2);
    expect(() => rig.vsp.open(rig.newChannel(3))).toThrow();
    const other = new NetworkRig({ maxSubChannels: 3 });
    expect(other.exchange(other.openReady(), { payload: nvsp(133, 1, 0xffff_ffff) }).slice(1, 3)).toEqual([
      1, 3,
    ]);
    const none = new NetworkRig();
    expect(none.exchange(none.openReady(), { payload: nvsp(133, 1, 2) }).slice(1, 3)).toEqual([2, 0]);
  });

  it('spreads frames by the hash of their flow', () => {
    const { rig, channels } = withChannels(3);
    const table = Array.from({ length: 128 }, (_, i) => (i + 1) % 4);
    expect(rig.set(channels[0], 0x00010204, scaling(table))).toBe(0);
    // From the verification suite: 66.9.149.187:2794 to 161.142.100.80:1766 hashes to 0x51ccc178.
    const bytes = toGuest();
    bytes.set([66, 9, 149, 187, 161, 142, 100, 80], 26);
    new DataView(bytes.buffer).setUint16(34, 2794);
    new DataView(bytes.buffer).setUint16(36, 1766);
    rig.network.deliver({ bytes });
    rig.settle();
    const index = table[0x51ccc178 % 128];
    const [received] = rig.take(channels[index]);
    expect(received.info.get(8)).toBe(0x51ccc178);
    // Addresses only, for UDP: 0x323e8fc2.
    bytes[23] = 17;
    rig.network.deliver({ bytes });
    rig.settle();
    expect(rig.take(channels[table[0x323e8fc2 % 128]])[0].info.get(8)).toBe(0x323e8fc2);
    for (let port = 0; port < 64; port++)
      rig.network.deliver({ bytes: toGuest(4, { sourcePort: port * 97 }) });
    rig.settle();
    expect(channels.filter((channel) => channel.transfers.length > 0).length).toBe(4);
  });

  it('hashes IPv6 as the verification suite does', () => {
    const { rig, channels } = withChannels(1);
    rig.set(channels[0], 0x00010204, scaling([0, 0]));
    const bytes = toGuest(10, { version: 6 });
    const address = (text: string) => text.match(/../g)?.map((digits) => Number.parseInt(digits, 16)) ?? [];
    bytes.set(address('3ffe250102001fff0000000000000007'), 22);
    bytes.set(address('3ffe2501020000030000000000000001'), 38);
    new DataView(bytes.buffer).setUint16(54, 2794);
    new DataView(bytes.buffer).setUint16(56, 1766);
    rig.network.deliver({ bytes });
    rig.settle();
    expect(rig.take(channels[0])[0].info.get(8)).toBe(0x40207d3d);
  });

  it('refuses parameters that make no sense', () => {
    const { rig, channels } = withChannels(1);
    const set = (info: Uint8Array) => rig.set(channels[0], 0x00010204, info);
    expect(set(scaling([0, 2]))).toBe(0xc0010015);
    expect(set(scaling(new Array(129).fill(0)))).toBe(0xc0010015);
    expect(set(corrupt(scaling([0, 1]), 16, 0xffff_fff0))).toBe(0xc0010015);
    expect(set(corrupt(scaling([0, 1]), 24, 60))).toBe(0xc0010015);
    expect(set(corrupt(scaling([0, 1]), 8, 2))).toBe(0xc00000bb);
    expect(set(new Uint8Array(39))).toBe(0xc0010014);
    expect(set(scaling([], 0x10))).toBe(0);
  });

  it('serves what comes by any channel, and control by the primary one only', () => {
    const { rig, channels } = withChannels(2);
    for (const channel of channels) expect(rig.sendBySection(channel, rndisPacket(packet()))).toBe(1);
    expect(rig.network.frames.length).toBe(3);
    expect(rig.exchange(channels[1], { payload: nvsp(1, V.v61, V.v61) })).toEqual([]);
    expect(rig.count('fault.network.out-of-order')).toBe(1);
  });

  it('takes back the sections of a channel that is closed', () => {
    const { rig, channels } = withChannels(1);
    rig.set(channels[0], 0x00010204, scaling([1]));
    for (let round = 0; round < 3; round++) {
      rig.network.deliver(...Array.from({ length: 300 }, () => ({ bytes: toGuest() })));
      rig.settle();
    }
    expect(rig.network.waiting.length).toBeGreaterThan(0);
    rig.vsp.close(channels[1]);
    rig.settle();
    expect(rig.take(channels[0], false).length).toBeGreaterThan(0);
  });
});

describe('the completion of a small message in the send buffer', () => {
  const small = rndisPacket(packet());

  /** A guest that sent one such message, the completion of which waits. */
  function waiting() {
    const rig = new NetworkRig({ maxSubChannels: 1 });
    const channel = rig.openReady();
    rig.deliver(channel, { ...rig.inSection(small), id: 1 });
    expect(channel.completions).toEqual([]);
    return { rig, channel, completed: () => channel.completions.map(({ id }) => id) };
  }

  it('goes in front of the next frame', () => {
    const { rig, channel, completed } = waiting();
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect([completed(), channel.completionsBefore]).toEqual([[1], 1]);
    expect(channel.completions[0].payload).toEqual(nvsp(108, 1));
    expect(rig.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('goes in front of a control message', () => {
    const { rig, channel, completed } = waiting();
    rig.network.setLink(false);
    rig.settle();
    expect([completed(), channel.completionsBefore]).toEqual([[1], 1]);
  });

  it('goes by itself where nothing else does', () => {
    const { rig, completed } = waiting();
    rig.advance(COMPLETION_WAIT_MS - 0.001);
    expect(completed()).toEqual([]);
    rig.advance(0.001);
    expect(completed()).toEqual([1]);
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect(completed()).toEqual([1]);
  });

  const long = rndisPacket(packet({ payload: new Uint8Array(1000) }));
  const byPages = {
    payload: nvsp(107, 0, 0xffff_ffff, 0),
    ranges: [{ pages: [BUFFER_FIRST_PAGE], offset: 0, sizeBytes: small.length }],
  };
  it.each([
    ['one like it', (rig: NetworkRig) => rig.inSection(small, 4)],
    ['a longer one', (rig: NetworkRig) => rig.inSection(long, 4)],
    ['a packet by pages', () => byPages],
    ['a packet by both', (rig: NetworkRig) => ({ ...rig.inSection(small, 4), ranges: byPages.ranges })],
    ['a packet that makes no sense', () => ({ payload: nvsp(107, 0, 999, 8) })],
    ['a control message', () => ({ payload: nvsp(107, 1, 4, 24) })],
    ['a message of NVSP', () => ({ payload: nvsp(133, 1, 1) })],
  ] as const)('waits no longer than until %s is completed, which is at once', (_, next) => {
    const { rig, channel, completed } = waiting();
    rig.memory(BUFFER_FIRST_PAGE).set(small);
    rig.deliver(channel, { ...next(rig), id: 2 });
    expect(completed()).toEqual([1, 2]);
    expect(rig.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('waits by its own channel', () => {
    const { rig, channel, completed } = waiting();
    rig.exchange(channel, { payload: nvsp(133, 1, 1) });
    channel.completions.length = 0;
    const second = rig.newChannel(1);
    rig.vsp.open(second);
    rig.deliver(channel, { ...rig.inSection(small), id: 3 });
    rig.deliver(second, { ...rig.inSection(small, 4), id: 4 });
    rig.network.deliver({ bytes: toGuest() });
    rig.settle();
    expect([completed(), second.completions.length]).toEqual([[3], 0]);
    rig.vsp.close(second);
    expect(second.completions.map(({ id }) => id)).toEqual([4]);
    expect(rig.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('is not lost where the channel is closed', () => {
    const { rig, channel, completed } = waiting();
    rig.vsp.close(channel);
    expect(completed()).toEqual([1]);
    expect(rig.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('any message', () => {
  it('gets one answer if it asks for one, and leaves the channel in order', () => {
    const word = fc.oneof(
      fc.nat(300),
      fc.constantFrom(0xcafe, 0xffff_ffff, RECEIVE_GPADL, SEND_GPADL),
      fc.nat(),
    );
    const known = fc.constantFrom(1, 100, 101, 103, 104, 106, 107, 107, 107, 125, 129, 133);
    const any = fc.record({
      payload: fc.oneof(
        fc.tuple(known, word, word, word, word).map((values) => nvsp(...values)),
        fc.uint8Array({ maxLength: 48 }),
      ),
      completionRequested: fc.boolean(),
      malformed: fc.boolean(),
      type: fc.constantFrom(6, 6, 6, 7, 9, 11),
      ranges: fc.array(
        fc.record({
          pages: fc.array(fc.nat(GUEST_PAGES + 2), { minLength: 2, maxLength: 2 }),
          offset: fc.nat(4100),
          sizeBytes: fc.nat(4096),
        }),
        { maxLength: 2 },
      ),
    });
    fc.assert(
      fc.property(fc.array(any, { maxLength: 12 }), fc.boolean(), (packets: TestPacket[], ready) => {
        const rig = new NetworkRig({ maxSubChannels: 2 });
        const channel = ready ? rig.openReady() : rig.newChannel();
        if (!ready) rig.vsp.open(channel);
        channel.completions.length = 0;
        rig.deliver(channel, ...packets.map((one, i) => ({ ...one, id: i + 1 })));
        rig.network.deliver({ bytes: toGuest() });
        rig.settle();
        const expected = packets.flatMap((one, i) =>
          one.completionRequested && one.type !== 11 ? [i + 1] : [],
        );
        expect(channel.completions.map(({ id }) => id)).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });
});

function corrupt(message: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = message.slice();
  new DataView(copy.buffer).setUint32(offset, value, true);
  return copy;
}
