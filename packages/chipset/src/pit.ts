import type { InterruptLine, InterruptLines, IoPortSpace, PortRegion, Timer, TimerQueue } from '@kensho/core';
import { bytewise } from './bytewise.ts';
import { claimPorts } from './claim-ports.ts';
import { I8254Counter } from './i8254.ts';
import { ticksAt, tickTimeNs } from './ticks.ts';

/** Ports, as offsets from 0x40; the counters are at their own number. */
const CONTROL = 3;

/** Control word: which counter, or all of them for a read-back command. */
const SELECT_SHIFT = 6;
const READ_BACK = 3;
const ACCESS = 0x30;
const READ_BACK_NO_COUNT = 0x20;
const READ_BACK_NO_STATUS = 0x10;

/** NMI status and control, port 0x61 (Intel 290562, 82371AB, 4.2.5.1). */
const TIMER2_GATE = 0x01;
const NMI_STATUS_WRITABLE = 0x0f;
const REFRESH_TOGGLE = 0x10;
const TIMER2_OUTPUT = 0x20;

/** A refresh request takes 18 clocks of the timer, 15 µs. */
const REFRESH_TICKS = 18;

const TIMER_IRQ = 0;

/** Clock of the interval timer: a twelfth of the 14.318 MHz crystal. */
export const PIT_HZ = 1_193_182;

/** Options of the device kind `pit`. */
export interface PitOptions {
  /** Counter 0 runs from the start, 18.2 times a second, as a PC's firmware leaves it. @default false */
  readonly ticking?: boolean;
}

/** What the interval timer stands on. */
export interface PitServices {
  readonly ports: IoPortSpace;
  readonly timers: TimerQueue;
  readonly interruptLines: InterruptLines;
}

/**
 * The interval timer: an 8254 with counter 0 at IRQ 0 and counter 2 behind port 0x61.
 *
 * A clock pulse is a moment of the partition's clock, so that periods do not drift, however late a timer is served.
 * Rises of IRQ 0 that a late one missed are one interrupt, as they are for a processor that masks interrupts.
 */
export class Pit {
  readonly #timers: TimerQueue;
  readonly #counters = [new I8254Counter(true), new I8254Counter(true), new I8254Counter(false)];
  readonly #irq: InterruptLine;
  readonly #release: () => void;
  #nmiStatus = 0;
  #rise: Timer | undefined;
  #riseTick = Number.POSITIVE_INFINITY;

  /** @throws KenshoError PORTS_IN_USE */
  constructor({ ports, timers, interruptLines }: PitServices, { ticking = false }: PitOptions = {}) {
    this.#timers = timers;
    this.#irq = interruptLines.line(TIMER_IRQ);
    this.#irq.set(this.#counters[0].output(this.#tick()));
    const regions: PortRegion[] = [
      {
        name: 'pit',
        port: 0x40,
        count: 4,
        handler: bytewise(
          (offset) => this.#read(offset),
          (offset, value) => this.#write(offset, value),
        ),
      },
      {
        name: 'nmi-status',
        port: 0x61,
        count: 1,
        handler: bytewise(
          () => this.#readNmiStatus(),
          (_offset, value) => this.#writeNmiStatus(value),
        ),
      },
    ];
    this.#release = claimPorts(ports, regions);
    if (ticking) {
      // A count of 0 stands for 65536; its bytes come one after the other.
      this.#write(0, 0);
      this.#write(0, 0);
    }
  }

  /** Takes the timer away. */
  stop(): void {
    this.#rise?.cancel();
    this.#irq.set(false);
    this.#release();
  }

  #read(offset: number): number {
    // The control word cannot be read: nobody drives the bus.
    return offset === CONTROL ? 0xff : this.#counters[offset].read(this.#tick());
  }

  #write(offset: number, value: number): void {
    const tick = this.#tick();
    this.#deliver(tick);
    if (offset === CONTROL) this.#command(value, tick);
    else this.#counters[offset].write(value, tick);
    this.#irq.set(this.#counters[0].output(tick));
    this.#schedule(tick);
  }

  #command(value: number, tick: number): void {
    const select = value >> SELECT_SHIFT;
    if (select === READ_BACK) {
      this.#counters.forEach((counter, i) => {
        if (((value >> (i + 1)) & 1) === 0) return;
        if ((value & READ_BACK_NO_COUNT) === 0) counter.latchCount(tick);
        if ((value & READ_BACK_NO_STATUS) === 0) counter.latchStatus(tick);
      });
      return;
    }
    if ((value & ACCESS) === 0) this.#counters[select].latchCount(tick);
    else this.#counters[select].writeControl(value, tick);
  }

  #readNmiStatus(): number {
    const tick = this.#tick();
    let value = this.#nmiStatus;
    if (Math.floor(tick / REFRESH_TICKS) % 2 !== 0) value |= REFRESH_TOGGLE;
    if (this.#counters[2].output(tick)) value |= TIMER2_OUTPUT;
    return value;
  }

  #writeNmiStatus(value: number): void {
    this.#nmiStatus = value & NMI_STATUS_WRITABLE;
    this.#counters[2].setGate((value & TIMER2_GATE) !== 0, this.#tick());
  }

  #tick(): number {
    return ticksAt(this.#timers.clock.nowNs(), PIT_HZ);
  }

  /** Gives IRQ 0 the rise that was due by `tick`. */
  #deliver(tick: number): void {
    if (tick < this.#riseTick) return;
    this.#riseTick = Number.POSITIVE_INFINITY;
    this.#irq.set(false);
    this.#irq.set(true);
    this.#irq.set(this.#counters[0].output(tick));
  }

  #schedule(tick: number): void {
    const riseTick = this.#counters[0].nextRise(tick);
    if (riseTick === this.#riseTick) return;
    this.#rise?.cancel();
    this.#rise = undefined;
    this.#riseTick = riseTick;
    if (riseTick === Number.POSITIVE_INFINITY) return;
    this.#rise = this.#timers.at(tickTimeNs(riseTick, PIT_HZ), () => {
      const now = this.#tick();
      this.#deliver(now);
      this.#schedule(now);
    });
  }
}
