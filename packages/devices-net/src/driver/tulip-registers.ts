import type { GuestCpu } from '@kensho/core';
import { CSR_STRIDE, Csr, type MiiRegister, Serial } from '../protocol/dec21140.ts';

const ABSENT = 0xffffffff;
/** READ of a 93C46, with its start bit. */
const ROM_READ = 0b110;
const ROM_ADDRESS_BITS = 6;
const WORD_BITS = 16;
/** Start and READ of a management frame. */
const MII_READ = 0b0110;
const MII_PREAMBLE_BITS = 32;

/** The registers of a DECchip 21140 at I/O ports, and what is reached bit by bit through one of them. */
export class TulipRegisters {
  readonly #cpu: GuestCpu;
  readonly #port: number;

  constructor(cpu: GuestCpu, port: number) {
    this.#cpu = cpu;
    this.#port = port;
  }

  read(register: number): number {
    return this.#cpu.in(this.#port + CSR_STRIDE * register, 4);
  }

  write(register: number, value: number): void {
    this.#cpu.out(this.#port + CSR_STRIDE * register, 4, value >>> 0);
  }

  /** Whether anything answers. */
  get present(): boolean {
    return this.read(Csr.STATUS) !== ABSENT;
  }

  /** A word of the serial ROM. */
  readSerialRom(word: number): number {
    const select = Serial.ROM | Serial.READ;
    this.write(Csr.SERIAL, select);
    const clock = (data: number) => {
      const lines = select | Serial.ROM_SELECT | data;
      this.write(Csr.SERIAL, lines);
      this.write(Csr.SERIAL, lines | Serial.ROM_CLOCK);
    };
    this.write(Csr.SERIAL, select | Serial.ROM_SELECT);
    const command = (ROM_READ << ROM_ADDRESS_BITS) | word;
    for (let bit = ROM_ADDRESS_BITS + 2; bit >= 0; bit--) {
      clock(((command >> bit) & 1) !== 0 ? Serial.ROM_DATA_IN : 0);
    }
    let value = 0;
    for (let i = 0; i < WORD_BITS; i++) {
      clock(0);
      value = (value << 1) | ((this.read(Csr.SERIAL) & Serial.ROM_DATA_OUT) !== 0 ? 1 : 0);
    }
    this.write(Csr.SERIAL, select);
    return value;
  }

  /** Ends what may be left of a management frame that somebody else began. */
  synchronizePhy(): void {
    for (let i = 0; i < MII_PREAMBLE_BITS; i++) this.#shiftPhy(Serial.MII_DATA_OUT);
  }

  /** A register of a PHY that needs no preamble; all ones where there is none at the address. */
  readPhy(address: number, register: (typeof MiiRegister)[keyof typeof MiiRegister]): number {
    const header = (MII_READ << 10) | (address << 5) | register;
    for (let bit = 13; bit >= 0; bit--) this.#shiftPhy(((header >> bit) & 1) !== 0 ? Serial.MII_DATA_OUT : 0);
    // The line changes hands.
    for (let i = 0; i < 2; i++) this.#shiftPhy(Serial.MII_READ);
    let value = 0;
    for (let i = 0; i < WORD_BITS; i++) {
      value = (value << 1) | ((this.read(Csr.SERIAL) & Serial.MII_DATA_IN) !== 0 ? 1 : 0);
      this.#shiftPhy(Serial.MII_READ);
    }
    return value;
  }

  #shiftPhy(lines: number): void {
    this.write(Csr.SERIAL, lines);
    this.write(Csr.SERIAL, lines | Serial.MII_CLOCK);
  }
}
