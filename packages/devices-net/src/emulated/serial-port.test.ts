import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseMac } from '../backend/mac.ts';
import { Csr, Srom } from '../protocol/dec21140.ts';
import { serialRomImage } from './serial-rom-image.ts';
import { readMii, readSerialRom, writeMii } from './test-utils/serial-lines.ts';
import { RIG_MAC, TulipRig } from './test-utils/tulip-rig.ts';

const PHY = 1;

function romBytes(rig: TulipRig): Uint8Array {
  const words = Uint16Array.from({ length: 64 }, (_, i) => readSerialRom(rig, i, 6));
  return new Uint8Array(words.buffer);
}

describe('serial ROM', () => {
  it("has six address bits, as Linux's driver finds out", () => {
    expect(readSerialRom(new TulipRig(), 0xff, 8) & 0x40000).toBe(0);
  });

  it('gives all its words, whose sums are right', () => {
    const bytes = romBytes(new TulipRig());
    const image = serialRomImage(parseMac(RIG_MAC));
    expect(bytes).toEqual(new Uint8Array(image.buffer));
    const data = new DataView(bytes.buffer);
    expect(data.getUint16(Srom.CHECKSUM, true)).toBe(crc32(bytes.subarray(0, 126)) & 0xffff);
    expect(bytes.subarray(Srom.ADDRESS, Srom.ADDRESS + 6)).toEqual(parseMac(RIG_MAC));
    // What boards of an older format are known by.
    expect(bytes.subarray(0, 8)).not.toEqual(bytes.subarray(16, 24));
  });

  it('has a media table that leads to one PHY', () => {
    const bytes = romBytes(new TulipRig());
    // As tulip_parse_eeprom() walks it.
    let at = bytes[27];
    expect(bytes[at] | (bytes[at + 1] << 8)).toBe(0x0800);
    at += 3;
    expect(bytes[at++]).toBe(1);
    const [length, type, phy, settings, resets] = bytes.subarray(at);
    expect([length & 0x80, type, phy, settings, resets]).toEqual([0x80, 1, 0, 0, 0]);
    expect(bytes[at + 7] | (bytes[at + 8] << 8)).toBe(0x01e0);
    expect(at + 1 + (length & 0x3f)).toBeLessThanOrEqual(Srom.CHECKSUM);
  });

  it('goes on with the next word while it is clocked', () => {
    const rig = new TulipRig();
    const first = readSerialRom(rig, 10, 6) & 0xffff;
    const second = readSerialRom(rig, 11, 6) & 0xffff;
    rig.setCsr(Csr.SERIAL, 0x4800);
    rig.setCsr(Csr.SERIAL, 0x4801);
    const bits: number[] = [];
    const clock = (data: number) => {
      rig.setCsr(Csr.SERIAL, 0x4801 | data);
      rig.setCsr(Csr.SERIAL, 0x4803 | data);
      bits.push((rig.csr(Csr.SERIAL) >> 3) & 1);
    };
    for (const bit of '110001010') clock(bit === '1' ? 4 : 0);
    for (let i = 0; i < 32; i++) clock(0);
    const value = Number.parseInt(bits.slice(9).join(''), 2);
    expect([value >>> 16, value & 0xffff]).toEqual([first, second]);
  });

  it('stands any movement of its lines, and still reads', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0x7ffff), { maxLength: 200 }), (writes) => {
        const rig = new TulipRig();
        for (const value of writes) {
          rig.setCsr(Csr.SERIAL, value);
          rig.csr(Csr.SERIAL);
        }
        expect(readSerialRom(rig, 10, 6) & 0xffff).toBe(0x1500);
        expect(readMii(rig, PHY, 2)).toBe(0x2000);
      }),
      { numRuns: 50 },
    );
  });
});

describe('PHY', () => {
  it('is the only one, and speaks 100BASE-TX full duplex', () => {
    const rig = new TulipRig();
    readMii(rig, PHY, 1);
    for (let phy = 0; phy < 32; phy++) {
      expect(readMii(rig, phy, 1)).toBe(phy === PHY ? 0x786d : 0xffff);
    }
    expect(readMii(rig, PHY, 0)).toBe(0x1000);
    expect(readMii(rig, PHY, 4)).toBe(0x01e1);
    expect(readMii(rig, PHY, 5) & 0x01e1 & 0x0100).toBe(0x0100);
  });

  it('keeps what is written to it', () => {
    const rig = new TulipRig();
    writeMii(rig, PHY, 4, 0x0101);
    writeMii(rig, PHY + 1, 4, 0x0021);
    expect(readMii(rig, PHY, 4)).toBe(0x0101);
    writeMii(rig, PHY, 0, 0x8000);
    expect([readMii(rig, PHY, 0), readMii(rig, PHY, 4)]).toEqual([0x1000, 0x01e1]);
  });

  it('follows the link, and does not forget that it was down', () => {
    const rig = new TulipRig();
    const link = () => (readMii(rig, PHY, 1) & 0x24) !== 0;
    link();
    expect(link()).toBe(true);
    rig.adapter.linkChanged(false);
    expect([link(), readMii(rig, PHY, 5)]).toEqual([false, 0]);
    rig.adapter.linkChanged(true);
    expect([readMii(rig, PHY, 1) & 4, readMii(rig, PHY, 1) & 4]).toEqual([0, 4]);
    rig.adapter.linkChanged(false);
    rig.adapter.linkChanged(true);
    expect([readMii(rig, PHY, 1) & 4, readMii(rig, PHY, 1) & 4]).toEqual([0, 4]);
  });

  it('has no link while it is switched off', () => {
    const rig = new TulipRig();
    writeMii(rig, PHY, 0, 0x0800);
    expect(readMii(rig, PHY, 1) & 4).toBe(0);
    writeMii(rig, PHY, 0, 0x1000);
    readMii(rig, PHY, 1);
    expect(readMii(rig, PHY, 1) & 4).toBe(4);
  });
});
