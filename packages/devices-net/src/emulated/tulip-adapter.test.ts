import { describe, expect, it } from 'vitest';
import {
  Csr,
  MIN_FRAME_BYTES,
  Mode,
  OWN,
  ReceiveState,
  Status,
  TransmitControl,
  TransmitState,
} from '../protocol/dec21140.ts';
import { readMii, readSerialRom, writeMii } from './test-utils/serial-lines.ts';
import {
  frameOf,
  RECEIVE_BUFFERS,
  RECEIVE_LIST,
  RIG_MAC,
  SETUP_FRAME,
  TRANSMIT_LIST,
  TulipRig,
} from './test-utils/tulip-rig.ts';

describe('registers', () => {
  it('have their values after a reset', () => {
    const rig = new TulipRig();
    rig.setCsr(Csr.OPERATION_MODE, Mode.PORT_SELECT | Mode.ALL_MULTICAST);
    rig.setCsr(Csr.INTERRUPT_ENABLE, 0x1ebef);
    rig.setCsr(Csr.BUS_MODE, 1);
    const values = Array.from({ length: 16 }, (_, i) => rig.csr(i).toString(16));
    expect(values).toEqual([
      'fe000000',
      'ffffffff',
      'ffffffff',
      '0',
      '0',
      'fc000000',
      // All but the port that was selected.
      '32040040',
      'f3fe0000',
      'e0000000',
      // The PHY's data line is pulled up.
      'fffc83ff',
      '0',
      'fffe0000',
      'fffffeff',
      'ffffffff',
      'ffffffff',
      'fffffec8',
    ]);
  });

  it('are longwords: narrow writes do nothing, narrow reads see a part', () => {
    const rig = new TulipRig();
    rig.setCsr(Csr.RECEIVE_LIST, 0x12345678);
    rig.adapter.write(8 * Csr.RECEIVE_LIST, 2, 0xffff);
    rig.adapter.write(8 * Csr.RECEIVE_LIST + 4, 4, 0);
    expect(rig.csr(Csr.RECEIVE_LIST)).toBe(0x12345678);
    expect(rig.adapter.read(8 * Csr.RECEIVE_LIST + 1, 2)).toBe(0x3456);
    expect(rig.adapter.read(8 * Csr.RECEIVE_LIST + 3, 2)).toBe(0xffff);
    expect(rig.adapter.read(8 * Csr.RECEIVE_LIST + 4, 4)).toBe(0xffffffff);
    expect(rig.fault('tulip.access')).toBe(2);
  });

  it('do not move a list whose process runs', () => {
    const rig = new TulipRig();
    rig.receiveRing(2);
    rig.transmitRing(2);
    rig.go();
    rig.setCsr(Csr.RECEIVE_LIST, 0x5000);
    rig.setCsr(Csr.TRANSMIT_LIST, 0x5000);
    expect([rig.csr(Csr.RECEIVE_LIST), rig.csr(Csr.TRANSMIT_LIST)]).toEqual([RECEIVE_LIST, TRANSMIT_LIST]);
  });

  it('have pins that are outputs where the guest says so', () => {
    const rig = new TulipRig();
    rig.setCsr(Csr.GENERAL_PURPOSE, 0x10f);
    rig.setCsr(Csr.GENERAL_PURPOSE, 0xa5);
    expect(rig.csr(Csr.GENERAL_PURPOSE)).toBe(0xfffffef5);
  });
});

describe('interrupts', () => {
  it('need a cause, its mask and the mask of its summary', () => {
    const rig = new TulipRig();
    rig.receiveRing(2);
    rig.transmitRing(1);
    rig.go();
    rig.setCsr(Csr.STATUS, 0xffffffff);
    rig.arrive({ bytes: frameOf(60) });
    expect([rig.line, rig.causes, rig.csr(Csr.STATUS) & Status.NORMAL]).toEqual([false, Status.RECEIVE, 0]);
    rig.setCsr(Csr.INTERRUPT_ENABLE, Status.RECEIVE);
    expect([rig.line, rig.csr(Csr.STATUS) & Status.NORMAL]).toEqual([false, Status.NORMAL]);
    rig.setCsr(Csr.INTERRUPT_ENABLE, Status.RECEIVE | Status.ABNORMAL);
    expect(rig.line).toBe(false);
    rig.setCsr(Csr.INTERRUPT_ENABLE, Status.RECEIVE | Status.NORMAL);
    expect(rig.line).toBe(true);
    rig.setCsr(Csr.STATUS, Status.NORMAL);
    expect(rig.line).toBe(true);
    rig.setCsr(Csr.STATUS, Status.RECEIVE);
    expect([rig.line, rig.csr(Csr.STATUS) & 0x1ffff]).toEqual([false, 0]);
    expect(rig.counter('interrupts')).toBe(1);
  });

  it('come from the timer, once or again and again', () => {
    const rig = new TulipRig();
    rig.setCsr(Csr.OPERATION_MODE, Mode.PORT_SELECT);
    rig.setCsr(Csr.INTERRUPT_ENABLE, Status.TIMER | Status.ABNORMAL);
    rig.setCsr(Csr.TIMER, 100);
    rig.partition.advance(4.096);
    expect([rig.csr(Csr.TIMER), rig.line]).toEqual([0xfffe0032, false]);
    rig.partition.advance(4.096);
    expect([rig.csr(Csr.TIMER), rig.line]).toEqual([0xfffe0000, true]);
    rig.setCsr(Csr.STATUS, Status.TIMER);
    rig.partition.advance(100);
    expect(rig.line).toBe(false);
    rig.setCsr(Csr.TIMER, 0x10000 | 100);
    for (let i = 0; i < 3; i++) {
      rig.partition.advance(8.192);
      expect([rig.line, rig.csr(Csr.TIMER)]).toEqual([true, 0xffff0064]);
      rig.setCsr(Csr.STATUS, Status.TIMER);
    }
    rig.setCsr(Csr.TIMER, 0);
    rig.partition.advance(100);
    expect([rig.line, rig.csr(Csr.TIMER)]).toEqual([false, 0xfffe0000]);
  });
});

/** The accesses of Linux 6.1's tulip driver to a DECchip 21140, from its probe to its first frames. */
describe("what Linux's driver does", () => {
  const RX_RING = 128;
  const TX_RING = 32;
  const MASK = 0x1ebef;

  function probe(rig: TulipRig): { csr6: number } {
    stop(rig);
    rig.csr(Csr.MISSED_FRAMES);
    const addressBits = (readSerialRom(rig, 0xff, 8) & 0x40000) !== 0 ? 8 : 6;
    const rom = Array.from({ length: 63 }, (_, i) => readSerialRom(rig, i, addressBits) & 0xffff);
    const mac = [10, 11, 12].flatMap((i) => [rom[i] & 0xff, rom[i] >> 8]);
    expect(mac.map((byte) => byte.toString(16).padStart(2, '0')).join(':')).toBe(RIG_MAC);
    selectMedia(rig);
    const phys = Array.from({ length: 32 }, (_, i) => (i + 1) & 31).filter((phy) => {
      const status = readMii(rig, phy, 1);
      return (status & 0x8301) === 0x8001 || ((status & 0x8000) === 0 && (status & 0x7800) !== 0);
    });
    expect(phys).toEqual([1]);
    // Negotiation is on already, and what is advertised is what the media table says: nothing is written.
    expect([readMii(rig, 1, 0) & 0x1000, readMii(rig, 1, 4)]).toEqual([0x1000, 0x01e1]);
    rig.setCsr(Csr.GENERAL_PURPOSE, 0x100);
    return { csr6: 0x020e0000 };
  }

  function stop(rig: TulipRig): void {
    const mode = rig.csr(Csr.OPERATION_MODE);
    if ((mode & 0x2002) === 0) return;
    rig.setCsr(Csr.OPERATION_MODE, mode & ~0x2002);
    expect(rig.csr(Csr.STATUS) & 0x7e0000).toBe(0);
  }

  function selectMedia(rig: TulipRig): void {
    rig.setCsr(Csr.GENERAL_PURPOSE, 0x100);
    rig.csr(Csr.GENERAL_PURPOSE);
  }

  function up(rig: TulipRig, csr6: number): void {
    rig.setCsr(Csr.OPERATION_MODE, 0x40000);
    rig.setCsr(Csr.BUS_MODE, 1);
    rig.setCsr(Csr.BUS_MODE, 0x01a08000);
    const ring = RECEIVE_LIST;
    for (let i = 0; i < RX_RING; i++) {
      const last = i === RX_RING - 1;
      rig.describe(ring + 16 * i, {
        control: 1540 | (last ? 0x02000000 : 0),
        // The guest's memory holds fewer buffers than a real one.
        buffer1: RECEIVE_BUFFERS + 0x800 * (i % 32),
        buffer2: last ? ring : ring + 16 * (i + 1),
      });
    }
    const setUp = new Uint8Array(192).fill(0xff);
    setUp.set([0x00, 0x15, 0x00, 0x15, 0x5d, 0x01, 0x5d, 0x01, 0x02, 0x03, 0x02, 0x03], 180);
    rig.store(SETUP_FRAME, setUp);
    for (let i = 0; i < TX_RING; i++) {
      rig.describe(TRANSMIT_LIST + 16 * i, {
        status: 0,
        control: 0,
        buffer2: TRANSMIT_LIST + 16 * ((i + 1) % TX_RING),
      });
    }
    rig.setCsr(Csr.RECEIVE_LIST, ring);
    rig.setCsr(Csr.TRANSMIT_LIST, TRANSMIT_LIST);
    rig.describe(TRANSMIT_LIST, { control: 0x08000000 | 192, buffer1: SETUP_FRAME });
    selectMedia(rig);
    writeMii(rig, 1, 4, 0x01e1);
    stop(rig);
    rig.setCsr(Csr.OPERATION_MODE, csr6 | 0x2000);
    rig.setCsr(Csr.STATUS, MASK);
    rig.setCsr(Csr.INTERRUPT_ENABLE, MASK);
    rig.setCsr(Csr.OPERATION_MODE, csr6 | 0x2002);
    rig.csr(Csr.OPERATION_MODE);
    rig.setCsr(Csr.RECEIVE_POLL, 0);
  }

  it('brings the adapter up, and finds its link', () => {
    const rig = new TulipRig();
    const { csr6 } = probe(rig);
    up(rig, csr6);
    expect(rig.word(TRANSMIT_LIST)).toBe(0x7fffffff);
    expect(rig.states).toEqual({
      transmit: TransmitState.SUSPENDED,
      receive: ReceiveState.WAITING_FOR_FRAME,
    });
    // tulip_check_duplex()
    readMii(rig, 1, 1);
    expect(readMii(rig, 1, 1) & 4).toBe(4);
    expect(readMii(rig, 1, 5) & 0x01e1).toBe(0x01e1);
    expect(rig.csr(Csr.OPERATION_MODE) & 0x15).toBe(0);
  });

  it('sends, receives, and goes down', () => {
    const rig = new TulipRig();
    up(rig, probe(rig).csr6);
    rig.setCsr(Csr.STATUS, 0x1ff3f);
    const frame = frameOf(100);
    rig.put(1, frame, 0);
    rig.setCsr(Csr.TRANSMIT_POLL, 0);
    expect(rig.sent).toEqual([{ bytes: frame }]);
    expect(rig.word(TRANSMIT_LIST + 16)).toBe(0);
    rig.arrive({ bytes: frameOf(80) });
    rig.arrive({ bytes: frameOf(200, 2, 'ff:ff:ff:ff:ff:ff') });
    rig.arrive({ bytes: frameOf(80, 3, '00:15:5d:01:02:04') });
    expect(rig.counter('filtered')).toBe(1);
    expect(rig.csr(Csr.STATUS) & 0x10040).toBe(0x10040);
    expect(rig.line).toBe(true);
    // tulip_interrupt() masks, tulip_poll() acknowledges and takes.
    rig.setCsr(Csr.INTERRUPT_ENABLE, MASK & ~0x3c0);
    expect(rig.line).toBe(false);
    rig.setCsr(Csr.STATUS, 0xc0);
    for (const [i, size] of [84, 204].entries()) {
      const status = rig.word(RECEIVE_LIST + 16 * i);
      expect(status & (0x38000010 | 2 | 0x40 | 0x800 | 0x4000 | 0x300)).toBe(0x300);
      expect((status >> 16) & 0x7ff).toBe(size);
      rig.describe(RECEIVE_LIST + 16 * i, { control: 1540, buffer1: RECEIVE_BUFFERS + 0x800 * i });
    }
    expect(rig.csr(Csr.STATUS) & Status.RECEIVE).toBe(0);
    rig.setCsr(Csr.INTERRUPT_ENABLE, MASK);
    expect(rig.line).toBe(false);
    rig.setCsr(Csr.INTERRUPT_ENABLE, 0);
    stop(rig);
    expect(rig.csr(Csr.MISSED_FRAMES) & 0xffff).toBe(0);
  });

  it('sets its filter anew behind a dummy descriptor', () => {
    const rig = new TulipRig();
    up(rig, probe(rig).csr6);
    rig.describe(TRANSMIT_LIST + 16, { control: 0 });
    rig.describe(TRANSMIT_LIST + 32, {
      control: (0x08400000 | 192) >>> 0,
      buffer1: SETUP_FRAME,
      buffer2: TRANSMIT_LIST + 48,
    });
    rig.setCsr(Csr.TRANSMIT_POLL, 0);
    expect(rig.word(TRANSMIT_LIST + 16) & OWN).toBe(0);
    expect(rig.word(TRANSMIT_LIST + 32)).toBe(0x7fffffff);
    expect(rig.csr(Csr.OPERATION_MODE) & 0x15).toBe(Mode.HASH_FILTER);
    expect(rig.partition.counters.counter('fault.tulip.descriptor').value).toBe(0);
    expect(rig.sent).toEqual([]);
  });

  it('is interrupted once for frames that follow each other', () => {
    const rig = new TulipRig();
    up(rig, probe(rig).csr6);
    rig.setCsr(Csr.STATUS, 0x1ffff);
    const before = rig.counter('interrupts');
    for (let i = 1; i <= 10; i++) {
      rig.put(i, frameOf(MIN_FRAME_BYTES, i), 0);
      rig.setCsr(Csr.TRANSMIT_POLL, 0);
      rig.partition.advance(0.05);
    }
    expect([rig.sent.length, rig.counter('interrupts') - before]).toEqual([10, 0]);
    rig.partition.advance(1);
    expect([rig.causes, rig.counter('interrupts') - before]).toEqual([Status.TRANSMIT_UNAVAILABLE, 1]);
    rig.put(11, frameOf(MIN_FRAME_BYTES), TransmitControl.INTERRUPT);
    rig.setCsr(Csr.STATUS, 0x1ffff);
    rig.setCsr(Csr.TRANSMIT_POLL, 0);
    expect(rig.causes).toBe(Status.TRANSMIT);
  });
});
