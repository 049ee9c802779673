import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dataViewOf } from '../frame/packet-layout.ts';
import { packet } from '../frame/test-utils/packets.ts';
import {
  Control,
  Csr,
  Mode,
  OWN,
  ReceiveResult,
  ReceiveState,
  Status,
  TransmitControl,
} from '../protocol/dec21140.ts';
import { fcsOf } from './fcs.ts';
import {
  frameOf,
  MEMORY_BYTES,
  RECEIVE_BUFFERS,
  RECEIVE_LIST,
  SETUP_FRAME,
  TRANSMIT_LIST,
  TulipRig,
} from './test-utils/tulip-rig.ts';

const ERROR_BITS = ReceiveResult.ERROR | ReceiveResult.DESCRIPTOR_ERROR | ReceiveResult.WATCHDOG;

function started(ring = 8, bufferBytes = 1536, mode: number = Mode.PROMISCUOUS): TulipRig {
  const rig = new TulipRig();
  rig.receiveRing(ring, bufferBytes);
  rig.transmitRing(1);
  rig.go(mode);
  rig.setCsr(Csr.STATUS, 0xffffffff);
  return rig;
}

const statusOf = (rig: TulipRig, index: number) => rig.word(RECEIVE_LIST + 16 * index);
const lengthOf = (status: number) => (status >>> 16) & ReceiveResult.LENGTH_MASK;
const bufferOf = (rig: TulipRig, index: number, sizeBytes: number) =>
  rig.memory(RECEIVE_BUFFERS + 0x800 * index, sizeBytes);

/** Gives a descriptor of the ring back to the chip. */
function giveBack(rig: TulipRig, index: number): void {
  rig.store(RECEIVE_LIST + 16 * index, Uint8Array.of(0, 0, 0, 0x80));
}

describe('receive process', () => {
  it.each([60, 61, 1000, 1514])('puts a frame of %i bytes and its check sequence into a buffer', (size) => {
    const rig = started();
    rig.arrive({ bytes: frameOf(size) });
    const status = statusOf(rig, 0);
    expect(status & (OWN | ERROR_BITS)).toBe(0);
    expect(status & 0x320).toBe(ReceiveResult.FIRST | ReceiveResult.LAST | ReceiveResult.ETHERNET_TYPE);
    expect(lengthOf(status)).toBe(size + 4);
    const got = bufferOf(rig, 0, size + 4);
    expect(got.subarray(0, size)).toEqual(frameOf(size));
    expect(dataViewOf(got).getUint32(size, true)).toBe(fcsOf(frameOf(size)));
    expect(rig.causes).toBe(Status.RECEIVE);
  });

  it('pads what is short', () => {
    const rig = started();
    rig.arrive({ bytes: frameOf(20) });
    expect(lengthOf(statusOf(rig, 0))).toBe(64);
    expect(bufferOf(rig, 0, 60).subarray(20)).toEqual(new Uint8Array(40));
    expect(rig.copied).toBe(64);
    rig.arrive({ bytes: new Uint8Array(13) });
    expect([rig.counter('dropped'), rig.counter('frames.in')]).toEqual([1, 1]);
  });

  it('puts a tag into the frame', () => {
    const rig = started();
    rig.arrive({ bytes: frameOf(1514), vlanTag: 0x6005 });
    expect(lengthOf(statusOf(rig, 0))).toBe(1522);
    expect(statusOf(rig, 0) & ReceiveResult.TOO_LONG).toBe(ReceiveResult.TOO_LONG);
    expect([...bufferOf(rig, 0, 18).subarray(12)]).toEqual([0x81, 0x00, 0x60, 0x05, 0x88, 0xb5]);
  });

  it('cuts what is longer than the watchdog allows', () => {
    const rig = started(4, 0x7fc);
    rig.arrive({ bytes: frameOf(9014) });
    expect(statusOf(rig, 1) & (ReceiveResult.WATCHDOG | ReceiveResult.ERROR | ReceiveResult.LAST)).toBe(
      ReceiveResult.WATCHDOG | ReceiveResult.ERROR | ReceiveResult.LAST,
    );
    expect(lengthOf(statusOf(rig, 1))).toBe(2048);
    expect(rig.causes).toBe(Status.RECEIVE | Status.RECEIVE_WATCHDOG);
  });

  it('finishes checksums, and cuts large segments, that senders left to the hardware', () => {
    const rig = started();
    const payload = new Uint8Array(4000).map((_, i) => i);
    const bytes = packet({ payload, unfinished: true });
    const offload = { checksum: { startOffset: 34, fieldOffset: 50 }, segmentPayloadBytes: 1460 };
    rig.arrive({ bytes, offload });
    expect([0, 1, 2].map((i) => lengthOf(statusOf(rig, i)))).toEqual([1518, 1518, 1138]);
    const got = [1460, 1460, 1080].flatMap((size, i) => [...bufferOf(rig, i, 54 + size).subarray(54)]);
    expect(Uint8Array.from(got)).toEqual(payload);
    expect([rig.counter('frames.in'), rig.counter('large.in')]).toEqual([3, 1]);
    rig.arrive({ bytes: frameOf(20), offload: { segmentPayloadBytes: 100 } });
    expect(rig.counter('dropped')).toBe(1);
  });

  it('delivers the pieces of a segment in order, as there is room', () => {
    const rig = started(2);
    const bytes = packet({ payload: new Uint8Array(5000), unfinished: true });
    rig.arrive({ bytes, offload: { segmentPayloadBytes: 1000 } });
    rig.arrive({ bytes: frameOf(77) });
    expect([rig.counter('frames.in'), rig.waiting.length]).toEqual([2, 1]);
    const sizes: number[] = [];
    for (let i = 0; i < 6; i++) {
      sizes.push(lengthOf(statusOf(rig, i % 2)));
      giveBack(rig, i % 2);
      rig.setCsr(Csr.RECEIVE_POLL, 1);
      rig.partition.settle();
    }
    expect(sizes).toEqual([1058, 1058, 1058, 1058, 1058, 81]);
    expect(rig.waiting.length).toBe(0);
  });

  it('lets the network hold what finds no descriptor', () => {
    const rig = started(2);
    for (let i = 0; i < 5; i++) rig.arrive({ bytes: frameOf(60 + i) });
    expect([rig.waiting.length, rig.states.receive]).toEqual([3, ReceiveState.SUSPENDED]);
    expect(rig.causes).toBe(Status.RECEIVE | Status.RECEIVE_UNAVAILABLE);
    giveBack(rig, 0);
    giveBack(rig, 1);
    rig.setCsr(Csr.RECEIVE_POLL, 1);
    rig.partition.settle();
    expect([rig.waiting.length, lengthOf(statusOf(rig, 0)), lengthOf(statusOf(rig, 1))]).toEqual([1, 66, 67]);
    expect([rig.csr(Csr.MISSED_FRAMES), rig.counter('waits')]).toEqual([0xe0000000, 2]);
  });

  it.each([
    ['acknowledges interrupts', (rig: TulipRig) => rig.setCsr(Csr.STATUS, 0xc0)],
    ['enables interrupts', (rig: TulipRig) => rig.setCsr(Csr.INTERRUPT_ENABLE, 0x1ebef)],
    ['lets time pass', (rig: TulipRig) => rig.partition.advance(2)],
  ])('finds descriptors that were given back when the guest %s', (_, act) => {
    const rig = started(1);
    rig.arrive({ bytes: frameOf(60) });
    rig.arrive({ bytes: frameOf(61) });
    act(rig);
    rig.partition.settle();
    expect(rig.waiting.length).toBe(1);
    giveBack(rig, 0);
    act(rig);
    rig.partition.settle();
    expect([rig.waiting.length, lengthOf(statusOf(rig, 0))]).toEqual([0, 65]);
  });

  it('misses frames of a guest that does not see to its list, until it does', () => {
    const rig = started(1);
    for (let i = 0; i < 4; i++) rig.arrive({ bytes: frameOf(60) });
    rig.partition.advance(99);
    expect(rig.waiting.length).toBe(3);
    rig.partition.advance(3);
    expect([rig.waiting.length, rig.counter('missed')]).toEqual([0, 3]);
    rig.arrive({ bytes: frameOf(60) });
    expect(rig.csr(Csr.MISSED_FRAMES)).toBe(0xe0000004);
    expect(rig.csr(Csr.MISSED_FRAMES)).toBe(0xe0000000);
    expect(rig.partition.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
    giveBack(rig, 0);
    rig.arrive({ bytes: frameOf(70) });
    expect(lengthOf(statusOf(rig, 0))).toBe(74);
    rig.arrive({ bytes: frameOf(60) });
    expect(rig.waiting.length).toBe(1);
  });

  it('lets go of what waits when it is stopped or reset', () => {
    for (const [register, value] of [
      [Csr.OPERATION_MODE, 0],
      [Csr.BUS_MODE, 1],
    ]) {
      const rig = started(1);
      for (let i = 0; i < 4; i++) rig.arrive({ bytes: frameOf(60) });
      rig.setCsr(register, value);
      rig.partition.settle();
      expect([rig.waiting.length, rig.counter('dropped'), rig.states.receive]).toEqual([0, 3, 0]);
    }
  });

  it('filters as it is told', () => {
    const rig = started(8, 1536, 0);
    const setUp = new Uint8Array(192);
    for (let i = 0; i < 16; i++) {
      setUp.set([0x00, 0x15, 0, 0, 0x5d, 0x01, 0, 0, 0x02, 0x03, 0, 0], 12 * i);
    }
    rig.store(SETUP_FRAME, setUp);
    rig.describe(TRANSMIT_LIST, {
      control: TransmitControl.SET_UP | Control.END_OF_RING | 192,
      buffer1: SETUP_FRAME,
    });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    const station = frameOf(60);
    const group = frameOf(60, 1, '01:00:5e:00:00:01');
    const other = frameOf(60, 1, '00:15:5d:99:99:99');
    const passed = (mode: number) => {
      rig.go(mode);
      return [station, group, other].map((bytes) => {
        const before = rig.counter('frames.in');
        rig.arrive({ bytes });
        return rig.counter('frames.in') - before;
      });
    };
    expect(passed(0)).toEqual([1, 0, 0]);
    expect(passed(Mode.ALL_MULTICAST)).toEqual([1, 1, 0]);
    expect(statusOf(rig, 2) & ReceiveResult.MULTICAST).toBe(ReceiveResult.MULTICAST);
    expect(passed(Mode.PROMISCUOUS)).toEqual([1, 1, 1]);
    for (let i = 0; i < 8; i++) giveBack(rig, i);
    expect(passed(Mode.RECEIVE_ALL)).toEqual([1, 1, 1]);
    expect([6, 7, 0].map((i) => (statusOf(rig, i) & ReceiveResult.FILTERING_FAIL) !== 0)).toEqual([
      false,
      true,
      true,
    ]);
  });

  it('gets its own frames in a loopback mode, and none of the network', () => {
    const rig = started(2, 1536, Mode.PROMISCUOUS | (1 << Mode.LOOPBACK_SHIFT));
    rig.arrive({ bytes: frameOf(90) });
    rig.put(0, frameOf(100));
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.sent).toEqual([]);
    expect(lengthOf(statusOf(rig, 0))).toBe(104);
    expect((statusOf(rig, 0) >>> ReceiveResult.LOOPBACK_SHIFT) & 3).toBe(1);
  });

  it('stops the transmit process, too, where its own frame has nowhere to go', () => {
    const rig = started(1, 1536, Mode.PROMISCUOUS | (1 << Mode.LOOPBACK_SHIFT));
    rig.setCsr(Csr.OPERATION_MODE, 0);
    rig.transmitRing(4);
    rig.describe(RECEIVE_LIST, { control: 1536, buffer1: MEMORY_BYTES });
    for (let i = 0; i < 3; i++) rig.put(i, frameOf(60));
    rig.setCsr(Csr.STATUS, 0xffffffff);
    rig.go(Mode.PROMISCUOUS | (1 << Mode.LOOPBACK_SHIFT));
    rig.partition.advance(10);
    expect([rig.causes & Status.BUS_ERROR, rig.states]).toEqual([
      Status.BUS_ERROR,
      { transmit: 0, receive: 0 },
    ]);
    expect([0, 1, 2].map((i) => (rig.word(TRANSMIT_LIST + 16 * i) & OWN) !== 0)).toEqual([false, true, true]);
  });

  it('stops where a list or a buffer is not in memory', () => {
    const list = started();
    list.setCsr(Csr.OPERATION_MODE, 0);
    list.setCsr(Csr.RECEIVE_LIST, MEMORY_BYTES);
    list.go();
    expect(list.causes & Status.BUS_ERROR).toBe(Status.BUS_ERROR);
    const buffer = started();
    buffer.describe(RECEIVE_LIST, { control: 1536, buffer1: MEMORY_BYTES - 100 });
    buffer.arrive({ bytes: frameOf(200) });
    expect([buffer.causes, buffer.waiting.length]).toEqual([Status.BUS_ERROR, 0]);
    expect(buffer.states).toEqual({ transmit: 0, receive: 0 });
  });

  it('ends frames that have no room, whatever the list is', () => {
    const bytes = frameOf(500);
    // A chain that leads to itself.
    const loop = started();
    loop.describe(RECEIVE_LIST, {
      control: Control.CHAINED | 100,
      buffer1: RECEIVE_BUFFERS,
      buffer2: RECEIVE_LIST,
    });
    loop.arrive({ bytes });
    expect([loop.fault('tulip.descriptor'), loop.states.receive]).toEqual([1, ReceiveState.SUSPENDED]);
    // Buffers of no length, more of them than a frame may have.
    const empty = new TulipRig();
    for (let i = 0; i < 300; i++) empty.describe(RECEIVE_BUFFERS + 16 * i, { control: 0 });
    empty.setCsr(Csr.RECEIVE_LIST, RECEIVE_BUFFERS);
    empty.go();
    empty.arrive({ bytes });
    expect(empty.word(RECEIVE_BUFFERS + 16 * 255) & (ReceiveResult.DESCRIPTOR_ERROR | OWN)).toBe(
      ReceiveResult.DESCRIPTOR_ERROR,
    );
    expect(empty.word(RECEIVE_BUFFERS + 16 * 256)).toBe(OWN);
    // A list that ends within the frame.
    const short = started(2, 200);
    short.arrive({ bytes });
    expect(statusOf(short, 1) & (ReceiveResult.DESCRIPTOR_ERROR | ReceiveResult.LAST)).toBe(
      ReceiveResult.DESCRIPTOR_ERROR | ReceiveResult.LAST,
    );
    expect(short.causes).toBe(Status.RECEIVE | Status.RECEIVE_UNAVAILABLE);
    expect(short.states.receive).toBe(ReceiveState.SUSPENDED);
  });

  it('gives the same frames however buffers are laid out', () => {
    const part = fc.record({ first: fc.nat(500), second: fc.nat(500), chained: fc.boolean() });
    const lists = fc.array(part, { minLength: 1, maxLength: 12 });
    const sizes = fc.array(fc.integer({ min: 60, max: 1514 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(lists, sizes, fc.nat(31), (parts, sizes, skip) => {
        const rig = new TulipRig();
        rig.setCsr(Csr.BUS_MODE, skip << 2);
        const places: { at: number; buffers: { at: number; sizeBytes: number }[] }[] = [];
        let list = RECEIVE_LIST;
        let buffer = RECEIVE_BUFFERS;
        for (const { first, second, chained } of parts) {
          const buffers = [{ at: buffer, sizeBytes: first }];
          if (!chained) buffers.push({ at: buffer + 0x800, sizeBytes: second });
          buffer += 0x1000;
          const next = chained ? list + 0x180 : list + 16 + 4 * skip;
          const control = first | (second << 11) | (chained ? Control.CHAINED : 0);
          rig.describe(list, { control, buffer1: buffers[0].at, buffer2: chained ? next : buffers[1].at });
          places.push({ at: list, buffers });
          list = next;
        }
        rig.describe(list, { status: 0, control: 0 });
        rig.setCsr(Csr.RECEIVE_LIST, RECEIVE_LIST);
        rig.go();
        for (const [i, size] of sizes.entries()) rig.arrive({ bytes: frameOf(size, i) });
        // As a driver collects them.
        const got: Uint8Array[] = [];
        let bytes: number[] = [];
        let complete = true;
        for (const { at, buffers } of places) {
          const status = rig.word(at);
          if ((status & OWN) !== 0) break;
          if ((status & ReceiveResult.FIRST) !== 0) bytes = [];
          for (const { at, sizeBytes } of buffers) bytes.push(...rig.memory(at, sizeBytes));
          if ((status & ReceiveResult.LAST) === 0) continue;
          if ((status & ReceiveResult.DESCRIPTOR_ERROR) !== 0) complete = false;
          else got.push(Uint8Array.from(bytes).subarray(0, lengthOf(status) - 4));
        }
        expect(got).toEqual(sizes.slice(0, got.length).map((size, i) => frameOf(size, i)));
        const cut = complete ? 0 : 1;
        expect(got.length + cut + rig.waiting.length).toBe(sizes.length);
      }),
      { numRuns: 80 },
    );
  });
});
