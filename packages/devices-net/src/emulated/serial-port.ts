import { Serial } from '../protocol/dec21140.ts';
import type { MiiPhy } from './mii-phy.ts';
import type { SerialRom } from './serial-rom.ts';

/** Bits of CSR9 that are not there read as ones. */
const RESERVED = 0xfff08300;
/** The low byte, where neither ROM is selected; and all that a boot ROM that is not there holds. */
const NO_DATA = 0xff;

/** CSR9: the lines to the serial ROM and to the PHY's management interface, which the guest moves bit by bit. */
export class SerialPort {
  readonly #rom: SerialRom;
  readonly #phy: MiiPhy;
  #lines: number = Serial.RESET;

  constructor(rom: SerialRom, phy: MiiPhy) {
    this.#rom = rom;
    this.#phy = phy;
  }

  read(): number {
    const lines = this.#lines & ~(Serial.ROM_SELECT | Serial.ROM_CLOCK | Serial.ROM_DATA_IN);
    const management = this.#phy.output ? Serial.MII_DATA_IN : 0;
    return (RESERVED | lines | management | this.#lowByte()) >>> 0;
  }

  write(value: number): void {
    this.#lines = value & Serial.WRITABLE;
    const is = (line: number) => (this.#lines & line) !== 0;
    const rom = is(Serial.ROM);
    this.#rom.drive(rom && is(Serial.ROM_SELECT), is(Serial.ROM_CLOCK), is(Serial.ROM_DATA_IN));
    // While the PHY is to drive the data line, the chip does not: a resistor pulls it up.
    this.#phy.drive(is(Serial.MII_CLOCK), is(Serial.MII_READ) || is(Serial.MII_DATA_OUT));
  }

  reset(): void {
    this.write(Serial.RESET);
  }

  #lowByte(): number {
    if ((this.#lines & Serial.ROM) === 0) return NO_DATA;
    const driven = Serial.ROM_SELECT | Serial.ROM_CLOCK | Serial.ROM_DATA_IN;
    const above = NO_DATA & ~(driven | Serial.ROM_DATA_OUT);
    return above | (this.#lines & driven) | (this.#rom.output ? Serial.ROM_DATA_OUT : 0);
  }
}
