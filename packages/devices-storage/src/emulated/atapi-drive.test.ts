import { describe, expect, it } from 'vitest';
import { AtaHost } from '../test-utils/ata-host.ts';
import { IdeMachine, page } from '../test-utils/ide-machine.ts';
import { pattern, TestDisk } from '../test-utils/test-disk.ts';

const READY = 0x50;
const DRQ = 0x08;
const COD = 0x01;
const IO = 0x02;

function setUp(blocks = 200) {
  const disk = new TestDisk(blocks, { readOnly: true, sectorBytes: 2048 });
  const machine = new IdeMachine([{ channel: 1, position: 'master', kind: 'dvd', disk }]);
  const host = new AtaHost(machine, 1);
  /** Writes the packet; returns once the drive has begun to execute it. */
  const packet = (cdb: readonly number[], options: { dma?: boolean; limit?: number } = {}) => {
    host.command(0xa0, {
      features: options.dma === true ? 1 : 0,
      lba: (options.limit ?? 0xfffe) << 8,
      device: 0xa0,
    });
    expect(host.alternateStatus()).toBe(READY | DRQ);
    expect(host.register(2)).toBe(COD);
    expect(host.interrupt).toBe(false);
    host.writeData(Uint8Array.from([...cdb, ...new Array(12 - cdb.length).fill(0)]));
  };
  const readReply = () => {
    const blocks: Uint8Array[] = [];
    while ((host.status() & DRQ) !== 0) {
      expect(host.register(2)).toBe(IO);
      const count = host.register(4) | (host.register(5) << 8);
      blocks.push(host.readData(count + (count & 1)).subarray(0, count));
    }
    expect(host.register(2)).toBe(COD | IO);
    return blocks;
  };
  return { disk, machine, host, packet, readReply };
}

const read10 = (lba: number, blocks: number) => [
  0x28,
  0,
  0,
  0,
  lba >> 8,
  lba & 0xff,
  0,
  blocks >> 8,
  blocks & 0xff,
  0,
];
const inquiry = [0x12, 0, 0, 0, 36, 0];

describe('an ATAPI drive', () => {
  it('shows its signature instead of IDENTIFY DEVICE data', () => {
    const { host } = setUp();
    for (const code of [0xec, 0x20]) {
      host.command(code, { lba: 0, count: 0, device: 0xa0 });
      expect(host.status() & 1).toBe(1);
      expect(host.register(1)).toBe(0x04);
      expect([2, 3, 4, 5].map((r) => host.register(r))).toEqual([1, 1, 0x14, 0xeb]);
    }
  });

  it('identifies itself as a CD/DVD drive with DMA and packets of 12 bytes', () => {
    const { host } = setUp();
    host.command(0xa1, { device: 0xa0 });
    const words = new Uint16Array(host.readData(512).buffer);
    expect(words[0]).toBe(0x85c0);
    expect(words[49] & 0x0300).toBe(0x0300);
    expect(words[88] & 0xff).toBe(0x07);
  });

  it('gives replies by PIO in blocks of at most the byte count limit', () => {
    const { host, packet, readReply } = setUp();
    packet(inquiry);
    const [whole] = readReply();
    expect(whole).toHaveLength(36);
    expect(whole[0]).toBe(5);
    packet(inquiry, { limit: 17 });
    const blocks = readReply();
    expect(blocks.map((b) => b.length)).toEqual([16, 16, 4]);
    expect(Buffer.concat(blocks)).toEqual(Buffer.from(whole));
    expect(host.status()).toBe(READY);
    packet([0x12, 0, 0, 0, 5, 0]);
    expect(readReply().map((b) => b.length)).toEqual([5]);
  });

  it('interrupts for each block and for the end', () => {
    const { host, packet } = setUp();
    packet(inquiry, { limit: 18 });
    const rises: number[] = [host.rises];
    while ((host.status() & DRQ) !== 0) {
      host.readData(18);
      rises.push(host.rises);
    }
    expect(rises).toEqual([1, 2, 3]);
  });

  it('reads blocks by PIO, more than its buffer holds', () => {
    const { disk, host, packet, readReply, machine } = setUp();
    disk.poke(10, pattern(70 * 2048));
    packet(read10(10, 70), { limit: 2048 });
    expect(Buffer.compare(Buffer.concat(readReply()), pattern(70 * 2048))).toBe(0);
    expect(host.status()).toBe(READY);
    expect(machine.counters.snapshot()['device.ide0.bytes.read']).toBe(70 * 2048);
  });

  it('reads blocks by DMA straight into memory', () => {
    const { disk, machine, host, packet } = setUp();
    disk.poke(3, pattern(8 * 2048));
    const regions = [
      { address: page(10) + 100, byteCount: 5000 },
      { address: page(20), byteCount: 8 * 2048 - 5000 },
    ];
    machine.prdTable(page(1), regions);
    packet(read10(3, 8), { dma: true });
    expect(host.interrupt).toBe(false);
    host.startDma(page(1), true);
    expect(host.interrupt).toBe(true);
    expect(host.stopDma()).toBe(0x64);
    expect(host.status()).toBe(READY);
    expect(host.register(2)).toBe(COD | IO);
    const got = Buffer.concat(regions.map((r) => machine.memory(r.address, r.byteCount)));
    expect(Buffer.compare(got, pattern(8 * 2048))).toBe(0);
  });

  it('gives other replies by DMA too, into a longer buffer', () => {
    const { machine, host, packet } = setUp();
    machine.prdTable(page(1), [{ address: page(2), byteCount: 96 }]);
    packet([0x12, 0, 0, 0, 96, 0], { dma: true });
    host.startDma(page(1), true);
    expect(host.interrupt).toBe(true);
    expect(host.stopDma() & 0x05).toBe(0x05);
    expect(machine.memory(page(2), 1)[0]).toBe(5);
  });

  it('ends a failed packet with the sense key, and keeps the sense for REQUEST SENSE', () => {
    const { host, packet, readReply } = setUp(50);
    for (const dma of [false, true]) {
      packet([0xfe], { dma });
      expect(host.interrupt).toBe(true);
      expect(host.status()).toBe(READY | 1);
      expect(host.register(1) >> 4).toBe(5);
      expect(host.register(2)).toBe(COD | IO);
    }
    packet(read10(50, 1));
    expect(host.status()).toBe(READY | 1);
    packet([0x03, 0, 0, 0, 18, 0]);
    const [sense] = readReply();
    expect([sense[2], sense[12]]).toEqual([5, 0x21]);
  });

  it('reports a medium that cannot be read', async () => {
    const { disk, machine, host, packet } = setUp();
    disk.failure = new Error('scratched');
    disk.held = true;
    packet(read10(0, 1));
    expect(host.status()).toBe(0x80);
    disk.release();
    await machine.settle();
    expect(host.status()).toBe(READY | 1);
    expect(host.register(1) >> 4).toBe(3);
    expect(machine.counters.counter('device.ide0.errors.host').value).toBe(1);
  });

  it('is reset by DEVICE RESET in the middle of a command', async () => {
    const { disk, machine, host, packet } = setUp();
    disk.held = true;
    packet(read10(0, 1));
    machine.out(host.base + 7, 0x08);
    expect(host.status()).toBe(0x80);
    disk.release();
    await machine.settle();
    expect(host.interrupt).toBe(false);
    expect(host.status()).toBe(0);
    expect([4, 5].map((r) => host.register(r))).toEqual([0x14, 0xeb]);
    disk.held = false;
    packet([0x00]);
    expect(host.interrupt).toBe(true);
  });

  it('says that it has no medium when it has none', () => {
    const machine = new IdeMachine([{ channel: 1, position: 'master', kind: 'dvd' }]);
    const host = new AtaHost(machine, 1);
    host.command(0xa0, { device: 0xa0 });
    host.writeData(new Uint8Array(12));
    expect(host.status()).toBe(READY | 1);
    expect(host.register(1) >> 4).toBe(2);
  });
});
