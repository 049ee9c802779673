import { SROM_WORDS } from '../protocol/dec21140.ts';

const READ = 0b10;
const ADDRESS_BITS = 6;
/** A start bit, two bits of operation, the address. */
const COMMAND_BITS = 3 + ADDRESS_BITS;

/**
 * A 93C46 behind four lines: 64 words, read one bit at a time at the clock's rise. It is write-protected: of its
 * operations it does only READ, which goes on with the next word for as long as it is clocked.
 */
export class SerialRom {
  readonly #words: Uint16Array;
  #clock = false;
  #selected = false;
  /** Bits of the command so far, its start bit first; 0 before it. */
  #command = 0;
  #commandBits = 0;
  /** Bits that were read, less one: the first that comes out is a zero before the data. */
  #position = -1;
  #output = true;

  /** @param words - 64 of 16 bits */
  constructor(words: Uint16Array) {
    this.#words = words;
  }

  /** The data line: high where nothing drives it. */
  get output(): boolean {
    return this.#output;
  }

  /** What the lines are now. */
  drive(selected: boolean, clock: boolean, dataIn: boolean): void {
    const rises = clock && !this.#clock;
    this.#clock = clock;
    if (!selected || !this.#selected) {
      this.#selected = selected;
      this.#command = 0;
      this.#commandBits = 0;
      this.#output = true;
      return;
    }
    if (rises) this.#shift(dataIn);
  }

  #shift(dataIn: boolean): void {
    if (this.#commandBits === COMMAND_BITS) {
      if (this.#command >> ADDRESS_BITS === (0b100 | READ)) this.#shiftOut();
      return;
    }
    if (this.#commandBits === 0 && !dataIn) return;
    this.#command = (this.#command << 1) | (dataIn ? 1 : 0);
    if (++this.#commandBits < COMMAND_BITS || this.#command >> ADDRESS_BITS !== (0b100 | READ)) return;
    this.#position = 0;
    this.#output = false;
  }

  #shiftOut(): void {
    const first = this.#command & (SROM_WORDS - 1);
    const word = this.#words[(first + (this.#position >> 4)) & (SROM_WORDS - 1)];
    this.#output = ((word >> (15 - (this.#position & 15))) & 1) !== 0;
    this.#position = (this.#position + 1) & (16 * SROM_WORDS - 1);
  }
}
