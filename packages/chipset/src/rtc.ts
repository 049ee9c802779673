import {
  type InterruptLine,
  type InterruptLines,
  type IoPortSpace,
  ramLayout,
  type Timer,
  type TimerQueue,
} from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { claimPorts } from './claim-ports.ts';
import {
  decodeNumber,
  decodeTime,
  encodeNumber,
  encodeTime,
  nextAlarm,
  type RtcFields,
  type RtcFormat,
} from './rtc-time.ts';
import { ticksAt, tickTimeNs } from './ticks.ts';

/** Ports, as offsets from 0x70. */
const INDEX = 0;
/** Bit 7 masks NMIs, of which the board has none to mask. */
const INDEX_MASK = 0x7f;

/** Registers (Motorola MC146818, table 2); 0x0E on is memory, of which firmware uses some. */
const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const DAY_OF_WEEK = 0x06;
const DAY_OF_MONTH = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const REGISTER_A = 0x0a;
const REGISTER_B = 0x0b;
const REGISTER_C = 0x0c;
const REGISTER_D = 0x0d;

/** Register A. */
const UPDATE_IN_PROGRESS = 0x80;
const DIVIDER = 0x70;
/** The one setting that fits the crystal; all others hold the divider. */
const DIVIDER_32_KHZ = 0x20;
const RATE = 0x0f;

/** Register B; its interrupt enables are at the place of register C's flags. */
const SET = 0x80;
const BINARY = 0x04;
const HOURS_24 = 0x02;

/** Register C. */
const INTERRUPT = 0x80;
const PERIODIC = 0x40;
const ALARM = 0x20;
const UPDATE_ENDED = 0x10;
const INTERRUPT_SOURCES = PERIODIC | ALARM | UPDATE_ENDED;

/** Register D: the battery holds. */
const VALID = 0x80;

/** The register of the century, which has no place of its own: the FADT names it. */
export const RTC_CENTURY = 0x32;
/** Where the fields of the time are. */
const FIELD_REGISTERS: readonly (readonly [number, keyof RtcFields])[] = [
  [SECONDS, 'seconds'],
  [MINUTES, 'minutes'],
  [HOURS, 'hours'],
  [DAY_OF_WEEK, 'dayOfWeek'],
  [DAY_OF_MONTH, 'dayOfMonth'],
  [MONTH, 'month'],
  [YEAR, 'year'],
  [RTC_CENTURY, 'century'],
];

/** Memory that firmware fills in: equipment (a coprocessor), and sizes of memory in units and ranges of their own. */
const EQUIPMENT = 0x14;
const EQUIPMENT_FPU = 0x02;
const BASE_MEMORY_KIB = 0x15;
const EXTENDED_MEMORY_KIB = [0x17, 0x30];
const MEMORY_ABOVE_16_MIB = 0x34;
const MEMORY_ABOVE_4_GIB = 0x5b;
const MIB = 2 ** 20;
const CONVENTIONAL_KIB = 640;

const CRYSTAL_HZ = 32_768;
const RTC_IRQ = 8;
const NS_PER_SECOND = 1e9;
/** An update begins 244 µs after it is announced and takes 1984 µs; the registers change at its end. */
const UPDATE_NS = 2_228_000;
/** After the divider was held, the first update comes half a second later. */
const FIRST_UPDATE_NS = 0.5e9;

/** 2000-01-01T00:00:00Z */
const DEFAULT_BASE_TIME_MS = 946_684_800_000;

/** What the real-time clock stands on. */
export interface RtcServices {
  readonly ports: IoPortSpace;
  readonly timers: TimerQueue;
  readonly interruptLines: InterruptLines;
  /** RAM of the partition: see PartitionInfo. */
  readonly memoryBytes: number;
}

/** Options of the device kind `rtc`. */
export interface RtcOptions {
  /**
   * Wall time (UTC) at which the partition's clock began, in milliseconds since 1970. A host with a real clock gives
   * its own. @default 2000-01-01T00:00:00Z, so that runs with a virtual clock repeat
   */
  readonly baseTimeMs?: number;
}

/**
 * The real-time clock and CMOS memory: a Motorola MC146818 whose seconds are the partition's clock's.
 *
 * The time is not counted but worked out from the clock when it is read, and what the guest sets is an offset. While
 * the guest holds the clock (SET, or the divider's reset) the registers keep what is written; a change of format
 * (BCD, 12 hours) while it runs converts them. The daylight saving and square wave bits are stored only.
 */
export class Rtc {
  readonly #timers: TimerQueue;
  readonly #irq: InterruptLine;
  readonly #release: () => void;
  readonly #memory = new Uint8Array(128);
  #index = 0;
  /** Clock time of a moment at which a second began. */
  #originNs: number;
  /** The time at that moment, in seconds since 1970. */
  #originSeconds: number;
  /** What the guest made of the day of the week, as days to add to the calendar's. */
  #dayOfWeekShift = 0;
  /** Clock time up to which register C's flags are right. */
  #flagsNs: number;
  #event: Timer | undefined;

  /** @throws KenshoError PORTS_IN_USE */
  constructor(services: RtcServices, { baseTimeMs = DEFAULT_BASE_TIME_MS }: RtcOptions) {
    this.#timers = services.timers;
    this.#irq = services.interruptLines.line(RTC_IRQ);
    this.#originSeconds = Math.floor(baseTimeMs / 1000);
    this.#originNs = Math.round((this.#originSeconds * 1000 - baseTimeMs) * 1e6);
    this.#flagsNs = this.#nowNs();
    this.#memory[REGISTER_A] = DIVIDER_32_KHZ | 6;
    this.#memory[REGISTER_B] = HOURS_24;
    this.#memory[REGISTER_D] = VALID;
    this.#describeMemory(services.memoryBytes);
    const handler = bytewise(
      // The index with its NMI mask reads as it was written: what the PIIX4 shows in alternate access mode.
      (offset) => (offset === INDEX ? this.#index : this.#read(this.#index & INDEX_MASK)),
      (offset, value) => {
        if (offset === INDEX) this.#index = value;
        else this.#write(this.#index & INDEX_MASK, value);
      },
    );
    this.#release = claimPorts(services.ports, [{ name: 'rtc', port: 0x70, count: 2, handler }]);
  }

  /** Takes the clock away. */
  stop(): void {
    this.#event?.cancel();
    this.#irq.set(false);
    this.#release();
  }

  #read(register: number): number {
    const nowNs = this.#nowNs();
    switch (register) {
      case SECONDS:
      case MINUTES:
      case HOURS:
      case DAY_OF_WEEK:
      case DAY_OF_MONTH:
      case MONTH:
      case YEAR:
      case RTC_CENTURY:
        if (this.#running) this.#showTime(nowNs);
        return this.#memory[register];
      case REGISTER_A:
        return this.#memory[REGISTER_A] | (this.#isUpdating(nowNs) ? UPDATE_IN_PROGRESS : 0);
      case REGISTER_C: {
        // The line rises for what is due, though its timer is late.
        this.#updateFlags(nowNs);
        this.#updateInterrupt(nowNs);
        const flags = this.#memory[REGISTER_C];
        this.#memory[REGISTER_C] = 0;
        this.#updateInterrupt(nowNs);
        return flags;
      }
      default:
        return this.#memory[register];
    }
  }

  #write(register: number, value: number): void {
    const nowNs = this.#nowNs();
    this.#updateFlags(nowNs);
    const wasRunning = this.#running;
    if (wasRunning) this.#showTime(nowNs);
    switch (register) {
      case SECONDS:
      case MINUTES:
      case HOURS:
      case DAY_OF_WEEK:
      case DAY_OF_MONTH:
      case MONTH:
      case YEAR:
      case RTC_CENTURY:
        this.#memory[register] = value;
        if (wasRunning) this.#takeTime(nowNs);
        break;
      case REGISTER_A:
        this.#writeA(value & ~UPDATE_IN_PROGRESS, nowNs);
        break;
      case REGISTER_B:
        // Holding the clock also disables the interrupt at the end of updates.
        this.#memory[REGISTER_B] = (value & SET) !== 0 ? value & ~UPDATE_ENDED : value;
        break;
      case REGISTER_C:
      case REGISTER_D:
        return;
      default:
        this.#memory[register] = value;
    }
    if (!wasRunning && this.#running) this.#takeTime(nowNs);
    this.#updateInterrupt(nowNs);
  }

  #writeA(value: number, nowNs: number): void {
    const wasDividing = this.#dividing;
    this.#memory[REGISTER_A] = value;
    if (wasDividing || !this.#dividing) return;
    this.#originNs = Math.floor(nowNs) - (NS_PER_SECOND - FIRST_UPDATE_NS);
    this.#flagsNs = nowNs;
  }

  /** Whether the oscillator's divider runs, which periodic interrupts come from. */
  get #dividing(): boolean {
    return (this.#memory[REGISTER_A] & DIVIDER) === DIVIDER_32_KHZ;
  }

  /** Whether the time goes on. */
  get #running(): boolean {
    return this.#dividing && (this.#memory[REGISTER_B] & SET) === 0;
  }

  get #format(): RtcFormat {
    const b = this.#memory[REGISTER_B];
    return { binary: (b & BINARY) !== 0, hours24: (b & HOURS_24) !== 0 };
  }

  #isUpdating(nowNs: number): boolean {
    if (!this.#running) return false;
    const sinceOriginNs = nowNs - this.#originNs;
    const intoSecondNs = sinceOriginNs - Math.floor(sinceOriginNs / NS_PER_SECOND) * NS_PER_SECOND;
    return intoSecondNs >= NS_PER_SECOND - UPDATE_NS;
  }

  /** Seconds since 1970 at a moment, if the clock ran until then. */
  #secondsAt(ns: number): number {
    return this.#originSeconds + Math.floor((ns - this.#originNs) / NS_PER_SECOND);
  }

  /** Writes the time into the registers. */
  #showTime(nowNs: number): void {
    const format = this.#format;
    const fields = encodeTime(this.#secondsAt(nowNs), format);
    for (const [register, field] of FIELD_REGISTERS) this.#memory[register] = fields[field];
    const dayOfWeek = decodeNumber(fields.dayOfWeek, format) - 1 + this.#dayOfWeekShift;
    this.#memory[DAY_OF_WEEK] = encodeNumber((dayOfWeek % 7) + 1, format);
  }

  /** Makes what the registers say the time. */
  #takeTime(nowNs: number): void {
    const format = this.#format;
    const fields = Object.fromEntries(
      FIELD_REGISTERS.map(([register, field]) => [field, this.#memory[register]]),
    ) as unknown as RtcFields;
    const seconds = decodeTime(fields, format);
    this.#originSeconds += seconds - this.#secondsAt(nowNs);
    const calendar = decodeNumber(encodeTime(seconds, format).dayOfWeek, format);
    this.#dayOfWeekShift = (decodeNumber(fields.dayOfWeek, format) - calendar + 7 * 256) % 7;
  }

  /** Crystal ticks of one period of the periodic interrupt; 0 where it is off. */
  get #periodTicks(): number {
    const rate = this.#memory[REGISTER_A] & RATE;
    if (rate === 0 || !this.#dividing) return 0;
    // The two fastest settings are the same as two slower ones.
    return 1 << (rate < 3 ? rate + 6 : rate - 1);
  }

  #periodsAt(ns: number, periodTicks: number): number {
    return Math.floor(ticksAt(ns - this.#originNs, CRYSTAL_HZ) / periodTicks);
  }

  /** Sets the flags of what has happened since the last time. */
  #updateFlags(nowNs: number): void {
    const sinceNs = this.#flagsNs;
    this.#flagsNs = nowNs;
    const periodTicks = this.#periodTicks;
    if (periodTicks > 0 && this.#periodsAt(nowNs, periodTicks) > this.#periodsAt(sinceNs, periodTicks)) {
      this.#memory[REGISTER_C] |= PERIODIC;
    }
    if (!this.#running) return;
    const since = this.#secondsAt(sinceNs);
    const now = this.#secondsAt(nowNs);
    if (now <= since) return;
    this.#memory[REGISTER_C] |= UPDATE_ENDED;
    if (this.#nextAlarm(since) <= now) this.#memory[REGISTER_C] |= ALARM;
  }

  #nextAlarm(seconds: number): number {
    return nextAlarm(
      seconds,
      {
        hours: this.#memory[HOURS_ALARM],
        minutes: this.#memory[MINUTES_ALARM],
        seconds: this.#memory[SECONDS_ALARM],
      },
      this.#format,
    );
  }

  /** Sets the line by flags and enables, and a timer for the next flag that is enabled. */
  #updateInterrupt(nowNs: number): void {
    const flags = this.#memory[REGISTER_C] & INTERRUPT_SOURCES;
    const enabled = this.#memory[REGISTER_B] & INTERRUPT_SOURCES;
    const raised = (flags & enabled) !== 0;
    this.#memory[REGISTER_C] = flags | (raised ? INTERRUPT : 0);
    this.#irq.set(raised);
    this.#event?.cancel();
    this.#event = undefined;
    // While the line is raised nothing more can be seen of it.
    const nextNs = raised ? Number.POSITIVE_INFINITY : this.#nextFlagNs(nowNs, enabled);
    if (nextNs === Number.POSITIVE_INFINITY) return;
    this.#event = this.#timers.at(nextNs, () => {
      const atNs = this.#nowNs();
      this.#updateFlags(atNs);
      this.#updateInterrupt(atNs);
    });
  }

  #nextFlagNs(nowNs: number, enabled: number): number {
    let nextNs = Number.POSITIVE_INFINITY;
    const periodTicks = this.#periodTicks;
    if ((enabled & PERIODIC) !== 0 && periodTicks > 0) {
      const next = (this.#periodsAt(nowNs, periodTicks) + 1) * periodTicks;
      nextNs = this.#originNs + tickTimeNs(next, CRYSTAL_HZ);
    }
    if (!this.#running) return nextNs;
    const seconds = this.#secondsAt(nowNs);
    const timeOf = (at: number) => this.#originNs + (at - this.#originSeconds) * NS_PER_SECOND;
    if ((enabled & UPDATE_ENDED) !== 0) nextNs = Math.min(nextNs, timeOf(seconds + 1));
    if ((enabled & ALARM) !== 0) nextNs = Math.min(nextNs, timeOf(this.#nextAlarm(seconds)));
    return nextNs;
  }

  #nowNs(): number {
    return this.#timers.clock.nowNs();
  }

  #describeMemory(memoryBytes: number): void {
    const high = ramLayout(memoryBytes).find((slot) => slot.gpa >= 4096 * MIB);
    const highBytes = high?.sizeBytes ?? 0;
    const lowBytes = memoryBytes - highBytes;
    const put = (register: number, sizeBytes: number, value: number) => {
      for (let i = 0; i < sizeBytes; i++)
        this.#memory[register + i] = Math.floor(value / 2 ** (8 * i)) & 0xff;
    };
    const units = (bytes: number, unitBytes: number, limit: number) =>
      Math.min(Math.max(0, Math.floor(bytes / unitBytes)), limit);
    this.#memory[EQUIPMENT] = EQUIPMENT_FPU;
    put(BASE_MEMORY_KIB, 2, CONVENTIONAL_KIB);
    for (const register of EXTENDED_MEMORY_KIB) put(register, 2, units(lowBytes - MIB, 1024, 0xffff));
    put(MEMORY_ABOVE_16_MIB, 2, units(lowBytes - 16 * MIB, 65_536, 0xffff));
    put(MEMORY_ABOVE_4_GIB, 3, units(highBytes, 65_536, 0xffffff));
  }
}
