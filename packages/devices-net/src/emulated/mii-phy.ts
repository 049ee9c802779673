import { MiiControl, MiiRegister, MiiStatus } from '../protocol/dec21140.ts';

/** The PHY's address on the management bus, as on most boards. */
export const PHY_ADDRESS = 1;
/** National's DP83840A. */
const ID_1 = 0x2000;
const ID_2 = 0x5c01;
/** IEEE 802.3, 10 and 100BASE-TX, half and full duplex. */
const ADVERTISEMENT = 0x01e1;
/** The same from the other end, which has understood. */
const PARTNER_ABILITY = 0x41e1;
const PARTNER_CAN_NEGOTIATE = 0x0001;
/** Of the control register: speed, negotiation, power-down, isolation, duplex, collision test. */
const CONTROL_WRITABLE = 0x3d80;

const START = 0b01;
const READ = 0b10;
const WRITE = 0b01;
/** Start, operation, address, register. */
const HEADER_BITS = 14;
/** Two bits of turn-around and the data. */
const TAIL_BITS = 18;

/**
 * A 10/100 Mbit/s PHY with a link to a partner that agrees to everything, and its management interface (IEEE 802.3,
 * 22.2.4): frames of one bit at each rise of the clock, with preamble or without.
 */
export class MiiPhy {
  #clock = false;
  /** Bits of the frame so far, and how many. */
  #header = 0;
  #bits = 0;
  #data = 0;
  #output = true;
  #control: number = MiiControl.NEGOTIATE;
  #advertisement = ADVERTISEMENT;
  #plugged: boolean;
  /** The link was down since the status was last read. */
  #lostLink: boolean;

  constructor(linkUp: boolean) {
    this.#plugged = linkUp;
    this.#lostLink = !linkUp;
  }

  /** The data line as the PHY leaves it: high where it does not drive it. */
  get output(): boolean {
    return this.#output;
  }

  get linkUp(): boolean {
    return this.#plugged && (this.#control & (MiiControl.POWER_DOWN | MiiControl.ISOLATE)) === 0;
  }

  /** The cable was plugged or pulled. */
  setLink(up: boolean): void {
    this.#plugged = up;
    if (!up) this.#lostLink = true;
  }

  /** What the lines are now. */
  drive(clock: boolean, data: boolean): void {
    const rises = clock && !this.#clock;
    this.#clock = clock;
    if (rises) this.#shift(data ? 1 : 0);
  }

  read(register: number): number {
    switch (register) {
      case MiiRegister.CONTROL:
        return this.#control;
      case MiiRegister.STATUS:
        return this.#status();
      case MiiRegister.ID_1:
        return ID_1;
      case MiiRegister.ID_2:
        return ID_2;
      case MiiRegister.ADVERTISEMENT:
        return this.#advertisement;
      case MiiRegister.PARTNER_ABILITY:
        return this.#negotiated ? PARTNER_ABILITY : 0;
      case MiiRegister.EXPANSION:
        return this.#negotiated ? PARTNER_CAN_NEGOTIATE : 0;
      default:
        return 0;
    }
  }

  write(register: number, value: number): void {
    if (register === MiiRegister.ADVERTISEMENT) this.#advertisement = value;
    if (register !== MiiRegister.CONTROL) return;
    if ((value & MiiControl.RESET) !== 0) {
      this.#control = MiiControl.NEGOTIATE;
      this.#advertisement = ADVERTISEMENT;
    } else {
      this.#control = value & CONTROL_WRITABLE;
    }
    if (!this.linkUp) this.#lostLink = true;
  }

  get #negotiated(): boolean {
    return this.linkUp && (this.#control & MiiControl.NEGOTIATE) !== 0;
  }

  /** That the link was down shows until it has been read once. */
  #status(): number {
    const up = this.linkUp && !this.#lostLink;
    this.#lostLink = !this.linkUp;
    return (
      MiiStatus.ABILITIES |
      MiiStatus.NO_PREAMBLE |
      MiiStatus.CAN_NEGOTIATE |
      MiiStatus.EXTENDED |
      (up ? MiiStatus.LINK : 0) |
      (this.#negotiated ? MiiStatus.NEGOTIATED : 0)
    );
  }

  #shift(bit: number): void {
    if (this.#bits === 0 && bit === 1) return;
    if (this.#bits < HEADER_BITS) this.#shiftHeader(bit);
    else this.#shiftTail(bit);
  }

  #shiftHeader(bit: number): void {
    this.#header = (this.#header << 1) | bit;
    this.#bits++;
    // Two zeros begin nothing: the second one may be the first of a start.
    if (this.#bits === 2 && this.#header !== START) this.#endFrame();
    else if (this.#bits === HEADER_BITS && this.#isRead) this.#data = this.read(this.#header & 0x1f);
  }

  #shiftTail(bit: number): void {
    const tail = this.#bits++ - HEADER_BITS;
    if (this.#isRead) {
      this.#output = tail === 0 ? false : ((this.#data >> (16 - tail)) & 1) !== 0;
    } else if (tail >= 2) {
      this.#data = ((this.#data << 1) | bit) & 0xffff;
    }
    if (tail + 1 < TAIL_BITS) return;
    if (this.#isOurs && this.#operation === WRITE) this.write(this.#header & 0x1f, this.#data);
    this.#endFrame();
  }

  #endFrame(): void {
    this.#bits = 0;
    this.#header = 0;
    this.#data = 0;
    this.#output = true;
  }

  get #operation(): number {
    return (this.#header >> 10) & 0b11;
  }

  get #isOurs(): boolean {
    return ((this.#header >> 5) & 0x1f) === PHY_ADDRESS;
  }

  get #isRead(): boolean {
    return this.#isOurs && this.#operation === READ;
  }
}
