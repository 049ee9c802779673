// Ports, as offsets (Intel 231468, 8259A): which word a write is depends on bits of it and on what came before.
const COMMAND = 0;
const DATA = 1;

// ICW1 and OCW3 are told apart from OCW2 by bits of their own.
const ICW1 = 0x10;
const ICW1_ICW4_NEEDED = 0x01;
const ICW1_SINGLE = 0x02;
const ICW1_LEVEL = 0x08;
const ICW4_AUTO_EOI = 0x02;
const ICW4_SPECIAL_FULLY_NESTED = 0x10;
const OCW3 = 0x08;
const OCW3_READ_ISR = 0x01;
const OCW3_READ_REGISTER = 0x02;
const OCW3_POLL = 0x04;
const OCW3_SPECIAL_MASK = 0x20;
const OCW3_SET_SPECIAL_MASK = 0x40;

/** OCW2, bits 7:5. */
const Ocw2 = {
  ROTATE_IN_AUTO_EOI_CLEAR: 0,
  NON_SPECIFIC_EOI: 1,
  NOP: 2,
  SPECIFIC_EOI: 3,
  ROTATE_IN_AUTO_EOI_SET: 4,
  ROTATE_ON_NON_SPECIFIC_EOI: 5,
  SET_PRIORITY: 6,
  ROTATE_ON_SPECIFIC_EOI: 7,
} as const;

/** What a poll answers with when it found a request. */
const POLL_INTERRUPT = 0x80;

const CASCADE_MASK = 1 << 2;
const SPURIOUS = 7;

/** Which initialisation word the next write to the data port is; NONE: it is the mask. */
const Expect = { NONE: 0, ICW2: 2, ICW3: 3, ICW4: 4 } as const;
type Expect = (typeof Expect)[keyof typeof Expect];

/**
 * One 8259A interrupt controller (Intel 231468), in its 8086 mode. It starts with every input masked.
 *
 * An edge stays requested until it is acknowledged, even if the input falls before: a pulse is not lost.
 */
export class I8259 {
  readonly #isMaster: boolean;
  #inputs = 0;
  #requested = 0;
  #masked = 0xff;
  #inService = 0;
  /** Inputs that the edge/level control register makes levels. */
  #levelInputs = 0;
  /** ICW1's level mode, for all inputs. */
  #allLevel = false;
  /** The input of lowest priority; the one after it has the highest. */
  #lowest = 7;
  #vectorBase = 0;
  #expect: Expect = Expect.NONE;
  #single = false;
  #icw4Needed = false;
  #autoEoi = false;
  #rotateInAutoEoi = false;
  #specialMask = false;
  #specialFullyNested = false;
  #readIsr = false;
  #poll = false;

  constructor(isMaster: boolean) {
    this.#isMaster = isMaster;
  }

  get levelInputs(): number {
    return this.#levelInputs;
  }

  setLevelInputs(mask: number): void {
    const changed = this.#levelInputs ^ mask;
    this.#levelInputs = mask;
    // A request of the other kind would never end, or never begin.
    this.#requested = (this.#requested & ~changed) | (this.#inputs & mask);
  }

  setInput(input: number, level: boolean): void {
    const bit = 1 << input;
    const isLevel = this.#isLevel(bit);
    if (level) {
      if (isLevel || (this.#inputs & bit) === 0) this.#requested |= bit;
      this.#inputs |= bit;
    } else {
      if (isLevel) this.#requested &= ~bit;
      this.#inputs &= ~bit;
    }
  }

  /** The request that the chip's output is raised for, or -1. */
  pending(): number {
    const requests = this.#requested & ~this.#masked;
    if (requests === 0) return -1;
    let blocking = this.#inService;
    if (this.#specialMask) blocking &= ~this.#masked;
    // In special fully nested mode the slave can interrupt its own handler with something more urgent.
    if (this.#specialFullyNested && this.#isMaster) blocking &= ~CASCADE_MASK;
    for (let i = 1; i <= 8; i++) {
      const input = (this.#lowest + i) & 7;
      if (((blocking >> input) & 1) !== 0) return -1;
      if (((requests >> input) & 1) !== 0) return input;
    }
    return -1;
  }

  /** Takes the pending request into service and names it; the spurious input 7 where there is none. */
  acknowledge(): number {
    const input = this.pending();
    if (input < 0) return SPURIOUS;
    const bit = 1 << input;
    if (!this.#isLevel(bit)) this.#requested &= ~bit;
    if (!this.#autoEoi) this.#inService |= bit;
    else if (this.#rotateInAutoEoi) this.#lowest = input;
    return input;
  }

  vectorOf(input: number): number {
    return this.#vectorBase | input;
  }

  read(offset: number): number {
    if (this.#poll) {
      this.#poll = false;
      return this.pending() < 0 ? 0 : POLL_INTERRUPT | this.acknowledge();
    }
    switch (offset) {
      case COMMAND:
        return this.#readIsr ? this.#inService : this.#requested;
      default:
        return this.#masked;
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case COMMAND:
        if ((value & ICW1) !== 0) this.#initialise(value);
        else if ((value & OCW3) !== 0) this.#operationControl3(value);
        else this.#operationControl2(value);
        return;
      case DATA:
        this.#writeData(value);
    }
  }

  #isLevel(bit: number): boolean {
    return this.#allLevel || (this.#levelInputs & bit) !== 0;
  }

  #initialise(icw1: number): void {
    this.#masked = 0;
    this.#inService = 0;
    this.#lowest = 7;
    this.#vectorBase = 0;
    this.#autoEoi = false;
    this.#rotateInAutoEoi = false;
    this.#specialMask = false;
    this.#specialFullyNested = false;
    this.#readIsr = false;
    this.#poll = false;
    this.#allLevel = (icw1 & ICW1_LEVEL) !== 0;
    this.#single = (icw1 & ICW1_SINGLE) !== 0;
    this.#icw4Needed = (icw1 & ICW1_ICW4_NEEDED) !== 0;
    // Edges are forgotten: an input must fall before it can request again.
    this.#requested = this.#inputs & (this.#allLevel ? 0xff : this.#levelInputs);
    this.#expect = Expect.ICW2;
  }

  #writeData(value: number): void {
    switch (this.#expect) {
      case Expect.NONE:
        this.#masked = value;
        return;
      case Expect.ICW2:
        this.#vectorBase = value & 0xf8;
        this.#expect = this.#single ? this.#afterIcw3() : Expect.ICW3;
        return;
      case Expect.ICW3:
        // How the pair is wired is no choice here.
        this.#expect = this.#afterIcw3();
        return;
      case Expect.ICW4:
        this.#autoEoi = (value & ICW4_AUTO_EOI) !== 0;
        this.#specialFullyNested = (value & ICW4_SPECIAL_FULLY_NESTED) !== 0;
        this.#expect = Expect.NONE;
    }
  }

  #afterIcw3(): Expect {
    return this.#icw4Needed ? Expect.ICW4 : Expect.NONE;
  }

  #operationControl2(value: number): void {
    const input = value & 7;
    switch (value >> 5) {
      case Ocw2.ROTATE_IN_AUTO_EOI_CLEAR:
        this.#rotateInAutoEoi = false;
        return;
      case Ocw2.ROTATE_IN_AUTO_EOI_SET:
        this.#rotateInAutoEoi = true;
        return;
      case Ocw2.NON_SPECIFIC_EOI:
        this.#endMostUrgent(false);
        return;
      case Ocw2.ROTATE_ON_NON_SPECIFIC_EOI:
        this.#endMostUrgent(true);
        return;
      case Ocw2.SPECIFIC_EOI:
        this.#inService &= ~(1 << input);
        return;
      case Ocw2.ROTATE_ON_SPECIFIC_EOI:
        this.#inService &= ~(1 << input);
        this.#lowest = input;
        return;
      case Ocw2.SET_PRIORITY:
        this.#lowest = input;
        return;
      case Ocw2.NOP:
    }
  }

  #endMostUrgent(rotate: boolean): void {
    // In special mask mode a masked input in service is not what a handler ends without naming it.
    const candidates = this.#specialMask ? this.#inService & ~this.#masked : this.#inService;
    for (let i = 1; i <= 8; i++) {
      const input = (this.#lowest + i) & 7;
      if (((candidates >> input) & 1) === 0) continue;
      this.#inService &= ~(1 << input);
      if (rotate) this.#lowest = input;
      return;
    }
  }

  #operationControl3(value: number): void {
    if ((value & OCW3_POLL) !== 0) this.#poll = true;
    if ((value & OCW3_READ_REGISTER) !== 0) this.#readIsr = (value & OCW3_READ_ISR) !== 0;
    if ((value & OCW3_SET_SPECIAL_MASK) !== 0) this.#specialMask = (value & OCW3_SPECIAL_MASK) !== 0;
  }
}
