/** Control word fields (Intel 231164, 8254). */
const CONTROL_BCD = 0x01;
const CONTROL_MODE_SHIFT = 1;
const CONTROL_ACCESS_SHIFT = 4;
/** Bits of the control word that a status byte repeats. */
const CONTROL_STATUS = 0x3f;
const CONTROL_AT_RESET = 0x36;
const STATUS_OUTPUT = 0x80;
const STATUS_NULL_COUNT = 0x40;

/** Which bytes of the count an access reaches. */
const Access = { LATCH: 0, LOW: 1, HIGH: 2, LOW_THEN_HIGH: 3 } as const;

const Mode = {
  /** Output rises at the end of the count. */
  TERMINAL_COUNT: 0,
  /** A rise of the gate makes a low pulse as long as the count. */
  ONE_SHOT: 1,
  /** Output is low for the last clock of each period. */
  RATE: 2,
  /** Output is high for the first half of each period, low for the second. */
  SQUARE_WAVE: 3,
  /** Output is low for one clock at the end of the count. */
  SOFTWARE_STROBE: 4,
  /** The same, started by a rise of the gate. */
  HARDWARE_STROBE: 5,
} as const;

/**
 * One counter of an 8254 (Intel 231164). Nothing happens at its clock pulses: what they did is worked out when
 * somebody looks, from how many there have been. Ticks are those of the input clock and never go back.
 *
 * A count is loaded by the pulse after it was written, or after the gate's rise; `#elapsed` counts pulses since.
 */
export class I8254Counter {
  /** Pulses of the clock up to now. */
  #tick = 0;
  /** Pulses counted since the count was loaded; -1 until the pulse that loads it. */
  #elapsed = -1;
  /** Whether there is a count that is being counted down, or that the next pulse loads. */
  #active = false;
  /** What the counting element began with: 1 to 0x10000, or 10000 in BCD; 0: none yet. */
  #count = 0;
  /** A count that was written and takes over later: at the end of a period, or at the gate's next rise; 0: none. */
  #next = 0;
  #gate: boolean;
  /** At first as firmware would leave it, a square wave, but without a count: the output is high. */
  #control = CONTROL_AT_RESET;
  /** Output and counting element as they were before a load that has not happened yet. */
  #heldOutput = false;
  #heldValue = 0;

  /** The low byte of a count whose high byte is still to come, or -1. */
  #writeLow = -1;
  #readHighNext = false;
  /** Latched bytes of the count, in the order in which they are read. */
  readonly #latchedCount: number[] = [];
  #latchedStatus = -1;

  constructor(gate: boolean) {
    this.#gate = gate;
  }

  /** The output pin. */
  output(tick: number): boolean {
    this.#advance(tick);
    return this.#output();
  }

  /** The first tick after `tick` at which the output rises by itself, or Infinity. */
  nextRise(tick: number): number {
    this.#advance(tick);
    if (!this.#active || !this.#counts) return Number.POSITIVE_INFINITY;
    const left = this.#ticksToRise();
    return left > 0 ? tick + left : Number.POSITIVE_INFINITY;
  }

  setGate(level: boolean, tick: number): void {
    this.#advance(tick);
    const rises = level && !this.#gate;
    this.#gate = level;
    if (!rises) return;
    switch (this.#mode) {
      case Mode.ONE_SHOT:
      case Mode.HARDWARE_STROBE:
        if (this.#next === 0 && this.#count === 0) return;
        break;
      case Mode.RATE:
      case Mode.SQUARE_WAVE:
        if (!this.#active) return;
        break;
      default:
        return;
    }
    this.#load(this.#next === 0 ? this.#count : this.#next);
    this.#next = 0;
  }

  /** A control word for this counter that is not a latch command. */
  writeControl(value: number, tick: number): void {
    this.#advance(tick);
    this.#heldValue = this.#value();
    this.#control = value & CONTROL_STATUS;
    this.#active = false;
    this.#count = 0;
    this.#next = 0;
    this.#writeLow = -1;
    this.#readHighNext = false;
    this.#latchedCount.length = 0;
    this.#latchedStatus = -1;
  }

  write(value: number, tick: number): void {
    this.#advance(tick);
    switch (this.#access) {
      case Access.LOW:
        this.#writeCount(value);
        return;
      case Access.HIGH:
        this.#writeCount(value << 8);
        return;
      default:
        if (this.#writeLow >= 0) {
          this.#writeCount((value << 8) | this.#writeLow);
          this.#writeLow = -1;
          return;
        }
        this.#writeLow = value;
        // In this mode the first byte already ends the count that is under way.
        if (this.#mode === Mode.TERMINAL_COUNT) {
          this.#heldValue = this.#value();
          this.#active = false;
        }
    }
  }

  read(tick: number): number {
    this.#advance(tick);
    if (this.#latchedStatus >= 0) {
      const status = this.#latchedStatus;
      this.#latchedStatus = -1;
      return status;
    }
    const latched = this.#latchedCount.shift();
    if (latched !== undefined) return latched;
    const value = this.#value();
    switch (this.#access) {
      case Access.LOW:
        return value & 0xff;
      case Access.HIGH:
        return value >> 8;
      default:
        this.#readHighNext = !this.#readHighNext;
        return this.#readHighNext ? value & 0xff : value >> 8;
    }
  }

  /** Keeps the count for the next reads; one that is kept already stays. */
  latchCount(tick: number): void {
    this.#advance(tick);
    if (this.#latchedCount.length > 0) return;
    const value = this.#value();
    const access = this.#access;
    if (access !== Access.HIGH) this.#latchedCount.push(value & 0xff);
    if (access !== Access.LOW) this.#latchedCount.push(value >> 8);
  }

  latchStatus(tick: number): void {
    this.#advance(tick);
    if (this.#latchedStatus >= 0) return;
    const nullCount = !this.#active || this.#elapsed < 0 || this.#next !== 0;
    this.#latchedStatus =
      this.#control | (this.#output() ? STATUS_OUTPUT : 0) | (nullCount ? STATUS_NULL_COUNT : 0);
  }

  get #mode(): number {
    const mode = (this.#control >> CONTROL_MODE_SHIFT) & 7;
    // Modes 2 and 3 ignore the upper bit.
    return mode > Mode.HARDWARE_STROBE ? mode & 3 : mode;
  }

  get #access(): number {
    return (this.#control >> CONTROL_ACCESS_SHIFT) & 3;
  }

  get #counts(): boolean {
    const mode = this.#mode;
    return this.#gate || mode === Mode.ONE_SHOT || mode === Mode.HARDWARE_STROBE;
  }

  #writeCount(written: number): void {
    const isBcd = (this.#control & CONTROL_BCD) !== 0;
    const count = (isBcd ? fromBcd(written) : written) || (isBcd ? 10_000 : 0x10000);
    switch (this.#mode) {
      case Mode.ONE_SHOT:
      case Mode.HARDWARE_STROBE:
        // The pulse after the gate's rise loads what is there by then.
        if (this.#active && this.#elapsed < 0) this.#count = count;
        else this.#next = count;
        return;
      case Mode.RATE:
      case Mode.SQUARE_WAVE:
        if (this.#active && this.#elapsed >= 0) this.#next = count;
        else this.#load(count);
        return;
      default:
        this.#load(count);
    }
  }

  #load(count: number): void {
    this.#heldOutput = this.#output();
    this.#heldValue = this.#value();
    this.#active = true;
    this.#count = count;
    this.#elapsed = -1;
  }

  #advance(tick: number): void {
    let passed = tick - this.#tick;
    if (passed <= 0) return;
    this.#tick = tick;
    if (!this.#active) return;
    // The gate does not keep a count from being loaded.
    if (this.#elapsed < 0) {
      this.#elapsed = 0;
      passed--;
    }
    if (!this.#counts) return;
    const before = this.#elapsed;
    this.#elapsed += passed;
    switch (this.#mode) {
      case Mode.RATE:
        if (this.#elapsed >= this.#count) this.#beginPeriod(this.#elapsed - this.#count);
        return;
      case Mode.SQUARE_WAVE:
        this.#advanceSquareWave(before);
    }
  }

  /** A count that was written takes over at the end of the half period, with the other half. */
  #advanceSquareWave(before: number): void {
    const high = highHalf(this.#count);
    if (this.#next !== 0 && before < high && this.#elapsed >= high) {
      this.#beginPeriod(this.#elapsed - high + highHalf(this.#next));
    } else if (this.#elapsed >= this.#count) {
      this.#beginPeriod(this.#elapsed - this.#count);
    }
  }

  #beginPeriod(elapsed: number): void {
    if (this.#next !== 0) {
      this.#count = this.#next;
      this.#next = 0;
    }
    this.#elapsed = elapsed % this.#count;
  }

  #output(): boolean {
    const elapsed = this.#elapsed;
    switch (this.#mode) {
      case Mode.TERMINAL_COUNT:
        return this.#active && elapsed >= this.#count;
      case Mode.ONE_SHOT:
        if (!this.#active) return true;
        return elapsed < 0 ? this.#heldOutput : elapsed >= this.#count;
      case Mode.RATE:
        if (!this.#active || !this.#gate || elapsed < 0) return true;
        // A period of one clock is not allowed; there is no pulse then.
        return elapsed !== this.#count - 1 || this.#count === 1;
      case Mode.SQUARE_WAVE:
        if (!this.#active || !this.#gate || elapsed < 0) return true;
        return elapsed < highHalf(this.#count);
      default:
        if (!this.#active) return true;
        return elapsed < 0 ? this.#heldOutput : elapsed !== this.#count;
    }
  }

  #ticksToRise(): number {
    switch (this.#mode) {
      case Mode.TERMINAL_COUNT:
      case Mode.ONE_SHOT:
        return this.#count - this.#elapsed;
      case Mode.RATE:
        return this.#count === 1 ? this.#afterPeriodOfOne(this.#next) : this.#count - this.#elapsed;
      case Mode.SQUARE_WAVE: {
        const high = highHalf(this.#count);
        if (this.#next !== 0 && this.#elapsed < high) {
          const low = this.#next - highHalf(this.#next);
          return low === 0 ? 0 : high - this.#elapsed + low;
        }
        return this.#count === 1 ? this.#afterPeriodOfOne(this.#next) : this.#count - this.#elapsed;
      }
      default:
        // A count written during the strobe ends the strobe as it is loaded.
        if (this.#elapsed < 0 && !this.#heldOutput) return 1;
        return this.#count + 1 - this.#elapsed;
    }
  }

  /** Without low clocks there is no rise, until the next count has had its own. */
  #afterPeriodOfOne(next: number): number {
    return next > 1 ? 1 - this.#elapsed + next : 0;
  }

  /** The counting element, as it is read. */
  #value(): number {
    if (!this.#active || this.#elapsed < 0) return this.#heldValue;
    let value: number;
    switch (this.#mode) {
      case Mode.RATE:
        value = this.#count - this.#elapsed;
        break;
      case Mode.SQUARE_WAVE: {
        const high = highHalf(this.#count);
        const position = this.#elapsed < high ? this.#elapsed : this.#elapsed - high;
        value = (this.#count & ~1) - 2 * position;
        break;
      }
      default:
        value = this.#count - this.#elapsed;
    }
    const isBcd = (this.#control & CONTROL_BCD) !== 0;
    const modulus = isBcd ? 10_000 : 0x10000;
    value = ((value % modulus) + modulus) % modulus;
    return isBcd ? toBcd(value) : value;
  }
}

/** Clocks for which a square wave is high; one more than low where the period is odd. */
function highHalf(count: number): number {
  return (count + 1) >> 1;
}

function fromBcd(value: number): number {
  return ((value >> 12) & 15) * 1000 + ((value >> 8) & 15) * 100 + ((value >> 4) & 15) * 10 + (value & 15);
}

function toBcd(value: number): number {
  const digit = (unit: number) => Math.floor(value / unit) % 10;
  return (digit(1000) << 12) | (digit(100) << 8) | (digit(10) << 4) | digit(1);
}
