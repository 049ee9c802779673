import { Csr } from '../../protocol/dec21140.ts';
import type { TulipRig } from './tulip-rig.ts';

/** Reads a word of the serial ROM as Linux's driver does, extra bits included. */
export function readSerialRom(rig: TulipRig, location: number, addressBits: number): number {
  const enable = 0x4801;
  const command = location | (6 << addressBits);
  let value = 0;
  const shift = (lines: number) => {
    rig.setCsr(Csr.SERIAL, lines | 2);
    value = ((value << 1) | ((rig.csr(Csr.SERIAL) >> 3) & 1)) >>> 0;
  };
  rig.setCsr(Csr.SERIAL, enable & ~1);
  rig.setCsr(Csr.SERIAL, enable);
  for (let i = 4 + addressBits; i >= 0; i--) {
    const data = ((command >> i) & 1) !== 0 ? 4 : 0;
    rig.setCsr(Csr.SERIAL, enable | data);
    shift(enable | data);
  }
  rig.setCsr(Csr.SERIAL, enable);
  for (let i = 16; i > 0; i--) {
    shift(enable);
    rig.setCsr(Csr.SERIAL, enable);
  }
  rig.setCsr(Csr.SERIAL, enable & ~1);
  return value;
}

function preamble(rig: TulipRig): void {
  for (let i = 0; i < 33; i++) {
    rig.setCsr(Csr.SERIAL, 0x20000);
    rig.setCsr(Csr.SERIAL, 0x30000);
  }
}

function shiftOut(rig: TulipRig, word: number, bits: number): void {
  for (let i = bits - 1; i >= 0; i--) {
    const data = ((word >>> i) & 1) !== 0 ? 0x20000 : 0;
    rig.setCsr(Csr.SERIAL, data);
    rig.setCsr(Csr.SERIAL, data | 0x10000);
  }
}

/** Reads a register of a PHY as Linux's driver does. */
export function readMii(rig: TulipRig, phy: number, register: number): number {
  preamble(rig);
  shiftOut(rig, (0xf6 << 10) | (phy << 5) | register, 16);
  let value = 0;
  for (let i = 19; i > 0; i--) {
    rig.setCsr(Csr.SERIAL, 0x40000);
    value = (value << 1) | ((rig.csr(Csr.SERIAL) >>> 19) & 1);
    rig.setCsr(Csr.SERIAL, 0x50000);
  }
  return (value >> 1) & 0xffff;
}

/** Writes a register of a PHY as Linux's driver does. */
export function writeMii(rig: TulipRig, phy: number, register: number, value: number): void {
  preamble(rig);
  shiftOut(rig, 0x50020000 | (phy << 23) | (register << 18) | value, 32);
  for (let i = 2; i > 0; i--) {
    rig.setCsr(Csr.SERIAL, 0x40000);
    rig.setCsr(Csr.SERIAL, 0x50000);
  }
}
