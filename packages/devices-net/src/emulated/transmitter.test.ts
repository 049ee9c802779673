import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  Control,
  Csr,
  Mode,
  OWN,
  Status,
  TransmitControl,
  TransmitResult,
  TransmitState,
} from '../protocol/dec21140.ts';
import { fcsOf } from './fcs.ts';
import { frameOf, SETUP_FRAME, TRANSMIT_BUFFERS, TRANSMIT_LIST, TulipRig } from './test-utils/tulip-rig.ts';

const WHOLE = TransmitControl.FIRST | TransmitControl.LAST;

function started(ring = 8): TulipRig {
  const rig = new TulipRig();
  rig.transmitRing(ring);
  rig.go();
  rig.setCsr(Csr.STATUS, 0xffffffff);
  return rig;
}

/** Sends what one descriptor holds. */
function sendOne(rig: TulipRig, bytes: Uint8Array, flags = 0): void {
  rig.put(0, bytes, flags);
  rig.setCsr(Csr.TRANSMIT_POLL, 1);
}

describe('transmit process', () => {
  it('pads what is short, and takes tags out', () => {
    const rig = started();
    rig.put(0, frameOf(20));
    const tagged = frameOf(80);
    tagged.set([0x81, 0x00, 0x60, 0x05], 12);
    rig.put(1, tagged);
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    const padded = new Uint8Array(60);
    padded.set(frameOf(20));
    expect(rig.sent[0]).toEqual({ bytes: padded });
    expect(rig.sent[1].vlanTag).toBe(0x6005);
    expect(rig.sent[1].bytes).toEqual(Uint8Array.of(...tagged.subarray(0, 12), ...tagged.subarray(16)));
    expect(rig.copied).toBe(20 + 80);
  });

  it.each([
    [1514, 0x0800, 1],
    [1515, 0x0800, 0],
    [1518, 0x8100, 1],
    [1519, 0x8100, 0],
  ])('of %i bytes and type %i takes %i', (sizeBytes, type, count) => {
    const rig = started();
    const bytes = frameOf(sizeBytes);
    bytes.set([type >> 8, type & 0xff], 12);
    sendOne(rig, bytes);
    expect([rig.sent.length, rig.counter('refused')]).toEqual([count, 1 - count]);
    expect(rig.word(TRANSMIT_LIST) & OWN).toBe(0);
  });

  it('checks a sequence that the guest brought itself', () => {
    const rig = started();
    const bytes = new Uint8Array(104);
    bytes.set(frameOf(100));
    new DataView(bytes.buffer).setUint32(100, fcsOf(frameOf(100)), true);
    rig.put(0, bytes, TransmitControl.NO_CRC);
    bytes[50] ^= 1;
    rig.put(1, bytes, TransmitControl.NO_CRC);
    rig.put(2, frameOf(30), TransmitControl.NO_CRC);
    rig.put(3, frameOf(30), TransmitControl.NO_CRC | TransmitControl.NO_PADDING);
    rig.put(4, frameOf(30), TransmitControl.NO_PADDING);
    rig.put(5, new Uint8Array(0), TransmitControl.NO_CRC | TransmitControl.NO_PADDING);
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.sent.map(({ bytes }) => bytes.length)).toEqual([100, 60]);
    expect(rig.counter('refused')).toBe(4);
  });

  it('interrupts where it is told to, at the end of a frame', () => {
    const rig = started();
    const buffer1 = TRANSMIT_BUFFERS;
    rig.describe(TRANSMIT_LIST, {
      control: TransmitControl.FIRST | TransmitControl.INTERRUPT | 60,
      buffer1,
    });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect([rig.causes & Status.TRANSMIT, rig.sent.length]).toEqual([0, 0]);
    rig.describe(TRANSMIT_LIST + 16, {
      control: TransmitControl.LAST | TransmitControl.INTERRUPT | 4,
      buffer1,
    });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect([rig.causes & Status.TRANSMIT, rig.sent.length]).toEqual([Status.TRANSMIT, 1]);
  });

  it('stops and goes on where it was', () => {
    const rig = started();
    sendOne(rig, frameOf(60, 1));
    rig.setCsr(Csr.OPERATION_MODE, Mode.RECEIVE);
    expect([rig.causes & Status.TRANSMIT_STOPPED, rig.states.transmit]).toEqual([
      Status.TRANSMIT_STOPPED,
      TransmitState.STOPPED,
    ]);
    rig.put(1, frameOf(60, 2));
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.sent.length).toBe(1);
    rig.go();
    expect(rig.sent[1].bytes).toEqual(frameOf(60, 2));
    rig.partition.advance(1);
    expect(rig.states.transmit).toBe(TransmitState.SUSPENDED);
  });

  it('looks by itself, where it is told how often', () => {
    const rig = started();
    rig.setCsr(Csr.BUS_MODE, 1 << 17);
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    rig.setCsr(Csr.STATUS, 0xffffffff);
    rig.partition.advance(1);
    expect(rig.causes).toBe(0);
    rig.put(0, frameOf(60));
    rig.partition.advance(0.2);
    expect(rig.sent.length).toBe(1);
    rig.setCsr(Csr.BUS_MODE, 0);
    rig.partition.advance(5);
    rig.put(1, frameOf(60));
    rig.partition.advance(5);
    expect(rig.sent.length).toBe(1);
  });

  it('says that there is nothing to send once the wire is free, and then at once', () => {
    const rig = started();
    sendOne(rig, frameOf(60));
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect([rig.causes, rig.states.transmit]).toEqual([0, TransmitState.WAITING_FOR_END]);
    rig.partition.advance(0.2);
    expect([rig.causes, rig.states.transmit]).toEqual([Status.TRANSMIT_UNAVAILABLE, TransmitState.SUSPENDED]);
    rig.setCsr(Csr.STATUS, Status.TRANSMIT_UNAVAILABLE);
    rig.put(1, frameOf(60));
    rig.partition.advance(10);
    expect([rig.sent.length, rig.causes]).toEqual([1, 0]);
    rig.describe(TRANSMIT_LIST + 16, { status: 0, control: 0 });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.causes).toBe(Status.TRANSMIT_UNAVAILABLE);
    expect(rig.partition.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('sends nothing that it may not read, and stops until it is told to start', () => {
    const rig = started();
    rig.describe(TRANSMIT_LIST, { control: WHOLE | 60, buffer1: 0x1000_0000 });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.causes).toBe(Status.BUS_ERROR);
    expect((rig.csr(Csr.STATUS) >>> 23) & 7).toBe(1);
    expect(rig.states).toEqual({ transmit: 0, receive: 0 });
    expect(rig.fault('dma.nic0')).toBe(1);
    rig.setCsr(Csr.STATUS, Status.BUS_ERROR);
    expect((rig.csr(Csr.STATUS) >>> 23) & 7).toBe(0);
    rig.put(0, frameOf(60));
    rig.go();
    expect(rig.sent.length).toBe(1);
  });

  it('leaves no timer behind when it stops', () => {
    const rig = started();
    rig.setCsr(Csr.BUS_MODE, 1 << 17);
    sendOne(rig, frameOf(60));
    rig.adapter.setMayMaster(false);
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    rig.setCsr(Csr.OPERATION_MODE, 0);
    expect(rig.partition.timers.nextNs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('does nothing while it may not reach memory', () => {
    const rig = started();
    rig.adapter.setMayMaster(false);
    sendOne(rig, frameOf(60));
    expect([rig.sent.length, rig.word(TRANSMIT_LIST) & OWN]).toEqual([0, OWN | 0]);
    rig.adapter.setMayMaster(true);
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.sent.length).toBe(1);
  });

  it('cuts a frame that does not end', () => {
    const rig = started();
    for (let i = 0; i < 8; i++) {
      const control = (i === 0 ? TransmitControl.FIRST : 0) | 1000 | (i === 7 ? Control.END_OF_RING : 0);
      rig.describe(TRANSMIT_LIST + 16 * i, { control, buffer1: TRANSMIT_BUFFERS });
    }
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.causes).toBe(Status.TRANSMIT_JABBER | Status.TRANSMIT_STOPPED);
    expect(rig.word(TRANSMIT_LIST + 32)).toBe(TransmitResult.JABBER | TransmitResult.ERROR);
    expect([rig.states.transmit, rig.sent.length]).toEqual([TransmitState.STOPPED, 0]);
  });

  it.each([
    ['a chain that leads to itself', Control.CHAINED],
    ['a ring of one', Control.END_OF_RING],
  ])('comes to an end with %s', (_, kind) => {
    const rig = started();
    rig.describe(TRANSMIT_LIST, { control: kind, buffer2: TRANSMIT_LIST });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    rig.partition.settle();
    expect(rig.word(TRANSMIT_LIST)).toBe(0);
    expect(rig.states.transmit).toBe(TransmitState.SUSPENDED);
  });

  it('takes turns with the guest over a long list', () => {
    const rig = started();
    const base = TRANSMIT_BUFFERS;
    for (let i = 0; i < 500; i++) rig.describe(base + 16 * i, { control: 0 });
    rig.setCsr(Csr.OPERATION_MODE, 0);
    rig.setCsr(Csr.TRANSMIT_LIST, base);
    rig.setCsr(Csr.OPERATION_MODE, Mode.TRANSMIT);
    expect(rig.word(base + 16 * 200)).toBe(OWN);
    rig.partition.settle();
    expect(rig.word(base + 16 * 499)).toBe(0);
  });

  it('leaves the filter alone for a set-up frame of another length', () => {
    const rig = started();
    rig.describe(TRANSMIT_LIST, {
      control: TransmitControl.SET_UP | TransmitControl.FILTER_0 | 128,
      buffer1: SETUP_FRAME,
    });
    rig.setCsr(Csr.TRANSMIT_POLL, 1);
    expect(rig.csr(Csr.OPERATION_MODE) & 0x15).toBe(0);
    expect([rig.word(TRANSMIT_LIST), rig.fault('tulip.descriptor')]).toEqual([0x7fffffff, 1]);
  });

  it('sends the same frame however it is spread over descriptors', () => {
    const part = fc.record({
      first: fc.nat(600),
      second: fc.nat(600),
      chained: fc.boolean(),
      offset: fc.nat(3),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), fc.nat(31), (parts, skip) => {
        const rig = new TulipRig();
        rig.setCsr(Csr.BUS_MODE, skip << 2);
        const sizeOf = ({ first, second, chained }: (typeof parts)[0]) => first + (chained ? 0 : second);
        const total = parts.reduce((sum, one) => sum + sizeOf(one), 0);
        const bytes = frameOf(Math.max(14, total)).subarray(0, total);
        let list = TRANSMIT_LIST;
        let buffer = TRANSMIT_BUFFERS;
        let done = 0;
        for (const [i, one] of parts.entries()) {
          const next = one.chained ? list + 0x200 : list + 16 + 4 * skip;
          const place = (sizeBytes: number) => {
            const at = buffer + one.offset;
            rig.store(at, bytes.subarray(done, done + sizeBytes));
            done += sizeBytes;
            buffer += 0x800;
            return at;
          };
          const buffer1 = place(one.first);
          const control =
            (i === 0 ? TransmitControl.FIRST : 0) |
            (i === parts.length - 1 ? TransmitControl.LAST : 0) |
            (one.chained ? Control.CHAINED : 0) |
            one.first |
            (one.second << 11);
          rig.describe(list, { control, buffer1, buffer2: one.chained ? next : place(one.second) });
          list = next;
        }
        rig.describe(list, { status: 0, control: 0 });
        rig.setCsr(Csr.TRANSMIT_LIST, TRANSMIT_LIST);
        rig.setCsr(Csr.OPERATION_MODE, Mode.TRANSMIT);
        const fits = total <= 1514;
        expect(rig.sent.length).toBe(fits ? 1 : 0);
        if (fits) expect(rig.sent[0].bytes.subarray(0, total)).toEqual(bytes);
        else expect(rig.counter('refused')).toBe(1);
      }),
      { numRuns: 80 },
    );
  });
});
