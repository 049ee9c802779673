import { describe, expect, it } from 'vitest';
import { AtaHost } from '../test-utils/ata-host.ts';
import { IdeMachine, page } from '../test-utils/ide-machine.ts';
import { pattern, TestDisk } from '../test-utils/test-disk.ts';

const READY = 0x50;
const DRQ = 0x08;
const BSY = 0x80;

function setUp(sectors = 4096, options: { readOnly?: boolean } = {}) {
  const disk = new TestDisk(sectors, options);
  const machine = new IdeMachine([{ channel: 0, position: 'master', kind: 'disk', disk }]);
  const host = new AtaHost(machine);
  return { disk, machine, host };
}

const identify = (host: AtaHost) => {
  host.command(0xec);
  return new Uint16Array(host.readData(512).buffer);
};

describe('IDENTIFY DEVICE', () => {
  it('goes by PIO with one interrupt, and says what the disk is', () => {
    const { host } = setUp(20_000_000);
    host.command(0xec);
    expect(host.interrupt).toBe(true);
    expect(host.status()).toBe(READY | DRQ);
    expect(host.interrupt).toBe(false);
    const bytes = host.readData(512);
    expect(host.status()).toBe(READY);
    expect(host.rises).toBe(1);

    const words = new Uint16Array(bytes.buffer);
    expect(words[0] & 0x8000).toBe(0);
    expect([words[1], words[3], words[6]]).toEqual([16383, 16, 63]);
    expect(words[60] | (words[61] << 16)).toBe(20_000_000);
    expect(words[100] | (words[101] << 16)).toBe(20_000_000);
    expect(words[49] & 0x0300).toBe(0x0300);
    expect(words[83] & 0xc400).toBe(0x4400);
    expect(words[88] & 0xff).toBe(0x07);
    expect(words[106]).toBe(0x6003);
    const text = (first: number, count: number) =>
      Array.from(words.subarray(first, first + count), (w) => String.fromCharCode(w >> 8, w & 0xff)).join('');
    expect(text(27, 20)).toBe('Virtual HD'.padEnd(40));
    expect(text(10, 10)).toMatch(/^[0-9A-F]{20}$/);
    expect(bytes.reduce((sum, b) => sum + b, 0) & 0xff).toBe(0);
    expect(bytes[510]).toBe(0xa5);
  });

  it('reads the same by dwords', () => {
    const { host } = setUp();
    const words = identify(host);
    host.command(0xec);
    expect(new Uint16Array(host.readData(512, 4).buffer)).toEqual(words);
  });

  it('gives large disks their whole size only by 48 bits', () => {
    const { host } = setUp(2 ** 32 + 5);
    const words = identify(host);
    expect(words[60] | (words[61] << 16)).toBe(0x0fffffff);
    expect([...words.subarray(100, 104)]).toEqual([5, 0, 1, 0]);
  });
});

describe('PIO', () => {
  it('reads sector by sector with an interrupt before each, and none after the last', () => {
    const { disk, host } = setUp();
    disk.poke(10, pattern(3 * 512));
    host.command(0x20, { lba: 10, count: 3 });
    const data: Uint8Array[] = [];
    for (let i = 0; i < 3; i++) {
      expect(host.rises).toBe(i + 1);
      expect(host.status()).toBe(READY | DRQ);
      data.push(host.readData(512));
    }
    expect(host.rises).toBe(3);
    expect(host.status()).toBe(READY);
    expect(Buffer.concat(data).equals(pattern(3 * 512))).toBe(true);
    // One read of the backend, however many blocks.
    expect(disk.log).toEqual(['read 5120+1536']);
  });

  it('reads 256 sectors for a count of zero, in blocks of what SET MULTIPLE said', () => {
    const { disk, host } = setUp();
    disk.poke(0, pattern(256 * 512));
    host.command(0xc6, { count: 8 });
    expect(host.status()).toBe(READY);
    host.command(0xc4, { lba: 0, count: 0 });
    const blocks: Uint8Array[] = [];
    while ((host.status() & DRQ) !== 0) blocks.push(host.readData(8 * 512, 4));
    expect(blocks).toHaveLength(256 / 8);
    expect(host.rises).toBe(1 + 256 / 8);
    expect(Buffer.compare(Buffer.concat(blocks), pattern(256 * 512))).toBe(0);
    expect(host.alternateStatus()).toBe(READY);
    expect(disk.log).toHaveLength(2);
  });

  it('writes sector by sector: no interrupt before the first, one after each', () => {
    const { disk, host } = setUp();
    host.command(0x30, { lba: 7, count: 2 });
    expect(host.interrupt).toBe(false);
    expect(host.alternateStatus()).toBe(READY | DRQ);
    host.writeData(pattern(512));
    expect(host.interrupt).toBe(true);
    expect(host.status()).toBe(READY | DRQ);
    host.writeData(pattern(512, 2), 4);
    expect(host.interrupt).toBe(true);
    expect(host.status()).toBe(READY);
    expect(disk.peek(7)).toEqual(pattern(512));
    expect(disk.peek(8)).toEqual(pattern(512, 2));
    expect(disk.log).toEqual(['write 3584+1024']);
  });

  it('writes more than its buffer in order', () => {
    const { disk, host } = setUp();
    host.command(0x34, { lba: 100, count: 300, ext: true });
    for (let i = 0; i < 300; i++) {
      expect(host.status()).toBe(READY | DRQ);
      host.writeData(pattern(300 * 512).subarray(i * 512, (i + 1) * 512));
    }
    expect(Buffer.compare(disk.peek(100, 300), pattern(300 * 512))).toBe(0);
    expect(host.rises).toBe(300);
    expect(host.status()).toBe(READY);
  });

  it('reads beyond 28 bits', () => {
    const { disk, host } = setUp(2 ** 33);
    const lba = 2 ** 32 + 12345;
    disk.poke(lba, pattern(512));
    host.command(0x24, { lba, count: 1, ext: true });
    expect(host.readData(512)).toEqual(pattern(512));
  });

  it('finds sectors by cylinder, head and sector, by the geometry the host set', () => {
    const { disk, host } = setUp();
    disk.poke((3 * 4 + 2) * 17 + 4, pattern(512));
    host.command(0x91, { count: 17, device: 0xa3 });
    expect(host.status()).toBe(READY);
    // Cylinder 3, head 2, sector 5.
    host.command(0x20, { count: 1, lba: 5 | (3 << 8), device: 0xa2 });
    expect(host.readData(512)).toEqual(pattern(512));
    const words = identify(host);
    expect([...words.subarray(54, 57)]).toEqual([60, 4, 17]);
    for (const bad of [0, 18]) {
      host.command(0x20, { count: 1, lba: bad, device: 0xa0 });
      expect(host.status()).toBe(READY | 1);
      expect(host.register(1)).toBe(0x10);
    }
  });

  it('stays busy while the backend reads, without blocking', async () => {
    const { disk, machine, host } = setUp();
    disk.poke(0, pattern(512));
    disk.held = true;
    host.command(0x20, { count: 1 });
    expect(host.status()).toBe(BSY);
    // Neither registers nor commands reach it meanwhile.
    host.command(0xec, { lba: 99, count: 99 });
    expect(host.register(2)).toBe(1);
    expect(machine.faults['fault.ide.busy']).toBe(1);
    disk.release();
    await machine.settle();
    expect(host.interrupt).toBe(true);
    expect(host.readData(512)).toEqual(pattern(512));
  });
});

describe('DMA', () => {
  it('scatters a read over regions that cross pages, then clears active and raises the interrupt', () => {
    const { disk, machine, host } = setUp();
    const data = pattern(16 * 512);
    disk.poke(64, data);
    const regions = [
      { address: page(20) + 0xff0, byteCount: 0x20 },
      { address: page(30) + 6, byteCount: 5000 },
      { address: page(40), byteCount: 8192 - 5000 - 0x20 },
    ];
    machine.prdTable(page(1), regions);
    host.command(0xc8, { lba: 64, count: 16 });
    expect(host.alternateStatus()).toBe(BSY);
    host.startDma(page(1), true);
    expect(host.interrupt).toBe(true);
    expect(machine.in(host.busMaster + 2)).toBe(0x64);
    expect(host.status()).toBe(READY);
    const got = Buffer.concat(regions.map((r) => machine.memory(r.address, r.byteCount)));
    expect(Buffer.compare(got, data)).toBe(0);
    host.stopDma();
    expect(machine.in(host.busMaster + 2)).toBe(0x60);
    expect(machine.counters.snapshot()).toMatchObject({
      'device.ide0.requests': 1,
      'device.ide0.bytes.read': 8192,
    });
  });

  it('gathers a write, with the bus master started before the command', () => {
    const { disk, machine, host } = setUp();
    machine.store(page(10) + 512, pattern(4 * 512));
    machine.prdTable(page(1), [{ address: page(10) + 512, byteCount: 4 * 512 }]);
    host.startDma(page(1), false);
    expect(machine.in(host.busMaster + 2)).toBe(0x61);
    host.command(0x35, { lba: 2000, count: 4, ext: true });
    expect(machine.in(host.busMaster + 2)).toBe(0x64);
    expect(host.status()).toBe(READY);
    expect(disk.peek(2000, 4)).toEqual(pattern(4 * 512));
  });

  it('takes a byte count of zero as 64 KiB, and leaves active set where the table is longer', () => {
    const { disk, machine, host } = setUp();
    disk.poke(0, pattern(130 * 512));
    machine.prdTable(page(1), [
      { address: page(64), byteCount: 0 },
      { address: page(96), byteCount: 4096 },
    ]);
    host.command(0xc8, { count: 130 });
    host.startDma(page(1), true);
    expect(machine.in(host.busMaster + 2)).toBe(0x65);
    expect(Buffer.compare(machine.memory(page(64), 65536), pattern(130 * 512).subarray(0, 65536))).toBe(0);
    expect(machine.memory(page(96), 1024)).toEqual(pattern(130 * 512).subarray(65536));
    expect(machine.memory(page(96) + 1024, 8)).toEqual(new Uint8Array(8));
    host.stopDma();
    expect(machine.in(host.busMaster + 2)).toBe(0x60);
  });

  it('gives no interrupt for a table that is too short, until a reset or a better table', () => {
    const { disk, machine, host } = setUp();
    disk.poke(0, pattern(1024));
    machine.prdTable(page(1), [{ address: page(10), byteCount: 512 }]);
    host.command(0xc8, { count: 2 });
    host.startDma(page(1), true);
    expect(host.interrupt).toBe(false);
    expect(machine.in(host.busMaster + 2)).toBe(0x60);
    expect(host.alternateStatus()).toBe(BSY);
    expect(machine.memory(page(10), 512)).toEqual(new Uint8Array(512));
    expect(machine.faults).toEqual({ 'fault.dma.ide0': 0, 'fault.ide.prd-table': 1 });

    machine.out(host.busMaster, 0);
    machine.prdTable(page(1), [{ address: page(10), byteCount: 1024 }]);
    host.startDma(page(1), true);
    expect(host.interrupt).toBe(true);
    expect(machine.memory(page(10), 1024)).toEqual(pattern(1024));
  });

  it('ends a walk over a table without end at its 64 KiB window', () => {
    const { machine, host } = setUp(70_000);
    for (let at = page(16); at < page(32); at += 8)
      machine.prdTable(at, [{ address: page(2), byteCount: 2 }], false);
    machine.prdTable(page(32), [{ address: page(2), byteCount: 0 }]);
    host.command(0x25, { count: 65535, ext: true });
    host.startDma(page(16), true);
    expect(host.interrupt).toBe(false);
    expect(machine.faults['fault.ide.prd-table']).toBe(1);
  });

  it('fails with the error bit where the table or memory cannot be reached', () => {
    const { disk, machine, host } = setUp();
    for (const table of [0xfffff000, page(1)]) {
      machine.prdTable(page(1), [
        { address: page(2), byteCount: 512 },
        { address: 0xf0000000, byteCount: 512 },
      ]);
      host.command(0xc8, { count: 2 });
      host.startDma(table, true);
      expect(machine.in(host.busMaster + 2)).toBe(0x66);
      expect(host.status()).toBe(READY | 1);
      expect(host.register(1)).toBe(0x04);
      host.stopDma();
    }
    expect(disk.log).toEqual([]);
    expect(machine.faults).toMatchObject({ 'fault.ide.bus-master': 2, 'fault.dma.ide0': 2 });
  });

  it('fails where the direction is wrong or the function may not master the bus', () => {
    const { machine, host } = setUp();
    machine.prdTable(page(1), [{ address: page(2), byteCount: 512 }]);
    host.command(0xca, { count: 1 });
    host.startDma(page(1), true);
    expect(host.stopDma() & 0x02).toBe(0x02);
    machine.writeConfig(0x04, 2, 0x0001);
    host.command(0xc8, { count: 1 });
    host.startDma(page(1), true);
    expect(host.stopDma() & 0x02).toBe(0x02);
    expect(host.status()).toBe(READY | 1);
  });

  it('completes later where the backend does, also if the guest stopped the engine', async () => {
    const { disk, machine, host } = setUp();
    disk.poke(0, pattern(512));
    disk.held = true;
    machine.prdTable(page(1), [{ address: page(2), byteCount: 512 }]);
    host.command(0xc8, { count: 1 });
    host.startDma(page(1), true);
    expect(machine.in(host.busMaster + 2)).toBe(0x61);
    machine.out(host.busMaster, 0x08);
    expect(machine.in(host.busMaster + 2)).toBe(0x60);
    machine.out(host.busMaster, 0x09);
    disk.release();
    await machine.settle();
    expect(disk.log).toHaveLength(1);
    expect(machine.in(host.busMaster + 2)).toBe(0x64);
    expect(host.status()).toBe(READY);
  });
});

describe('errors and settings', () => {
  it('fails sectors beyond the end with IDNF, without touching the disk', () => {
    const { disk, machine, host } = setUp(100);
    for (const code of [0x20, 0x24, 0x30, 0xc8, 0xca, 0x40, 0x25]) {
      host.command(code, { lba: 99, count: 2, ext: code === 0x24 || code === 0x25 });
      expect(host.alternateStatus()).toBe(READY | 1);
      expect(host.register(1)).toBe(0x10);
    }
    expect(disk.log).toEqual([]);
    expect(machine.faults['fault.ide.address']).toBe(7);
  });

  it('reports a failed read with UNC and the address, high-order bytes through HOB', () => {
    const { disk, machine, host } = setUp(2 ** 33);
    disk.failure = new Error('bad block');
    host.command(0x24, { lba: 0x0223456789, count: 1, ext: true });
    expect(host.status()).toBe(READY | 1);
    expect(host.register(1)).toBe(0x10);
    host.command(0x24, { lba: 0x0112345678, count: 1, ext: true });
    expect(host.register(1)).toBe(0x40);
    expect([3, 4, 5].map((r) => host.register(r))).toEqual([0x78, 0x56, 0x34]);
    machine.out(host.control, 0x80);
    expect([3, 4, 5].map((r) => host.register(r))).toEqual([0x12, 0x01, 0x00]);
    machine.out(host.base + 2, 0);
    expect(host.register(3)).toBe(0x78);
    expect(machine.counters.counter('device.ide0.errors.host').value).toBe(1);
  });

  it('reports failed writes and flushes as device faults', async () => {
    const { disk, machine, host } = setUp();
    disk.failure = new Error('full');
    disk.held = true;
    host.command(0x30, { lba: 5, count: 1 });
    host.writeData(pattern(512));
    disk.release();
    await machine.settle();
    expect(host.status()).toBe(READY | 0x21);
    expect(host.register(1)).toBe(0x04);
    host.command(0xe7);
    disk.release();
    await machine.settle();
    expect(host.status()).toBe(READY | 0x21);
  });

  it('refuses writes to a read-only disk and commands that it does not have', () => {
    const { disk, machine, host } = setUp(100, { readOnly: true });
    for (const code of [0x30, 0xca, 0xc5, 0x00, 0xb0, 0xf8, 0xa0, 0xa1, 0x08, 0xff]) {
      host.command(code, { count: 1 });
      expect(host.status()).toBe(READY | 1);
      expect(host.register(1)).toBe(0x04);
      expect(host.interrupt).toBe(false);
    }
    expect(disk.log).toEqual([]);
    expect(machine.faults['fault.ide.command']).toBe(6);
  });

  it('flushes after each write while the write cache is off, and after FUA writes', () => {
    const { disk, machine, host } = setUp();
    const write = (code: number, ext = false) => {
      machine.prdTable(page(1), [{ address: page(2), byteCount: 512 }]);
      host.command(code, { count: 1, ext });
      host.startDma(page(1), false);
      host.stopDma();
      expect(host.status()).toBe(READY);
    };
    write(0xca);
    write(0x3d, true);
    host.command(0xef, { features: 0x82 });
    expect(identify(host)[85] & 0x20).toBe(0);
    write(0xca);
    host.command(0xef, { features: 0x02 });
    expect(identify(host)[85] & 0x20).toBe(0x20);
    write(0xca);
    host.command(0xea);
    expect(disk.log.map((entry) => entry[0]).join('')).toBe('wwfwfwf');
  });

  it('remembers the transfer mode and refuses modes it does not have', () => {
    const { host } = setUp();
    host.command(0xef, { features: 0x03, count: 0x42 });
    expect(host.status()).toBe(READY);
    expect(identify(host)[88]).toBe(0x0407);
    host.command(0xef, { features: 0x03, count: 0x21 });
    expect([identify(host)[63], identify(host)[88]]).toEqual([0x0207, 0x0007]);
    for (const count of [0x43, 0x23, 0x80]) {
      host.command(0xef, { features: 0x03, count });
      expect(host.status()).toBe(READY | 1);
    }
  });

  it('turns MULTIPLE off with a count of zero and refuses odd counts', () => {
    const { host } = setUp();
    host.command(0xc6, { count: 0 });
    expect(identify(host)[59]).toBe(0);
    host.command(0xc4, { count: 1 });
    expect(host.status()).toBe(READY | 1);
    for (const count of [3, 32]) {
      host.command(0xc6, { count });
      expect(host.status()).toBe(READY | 1);
    }
  });

  it('verifies by reading everything, and answers CHECK POWER MODE', () => {
    const { disk, host } = setUp();
    host.command(0x42, { lba: 1, count: 300, ext: true });
    expect(host.status()).toBe(READY);
    expect(disk.log).toEqual(['read 512+65536', 'read 66048+65536', 'read 131584+22528']);
    host.command(0xe5);
    expect(host.register(2)).toBe(0xff);
  });
});
