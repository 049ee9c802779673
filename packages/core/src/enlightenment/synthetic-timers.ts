import type { LocalApic } from '../apic/local-apic.ts';
import type { Timer, TimerQueue } from '../clock.ts';
import type { Counter, Counters } from '../counters.ts';
import type { Qword } from '../processor/contract.ts';
import { struct, u32, u64 } from '../struct.ts';
import { HvMessageType, HvMsr, HvStimer } from './hv-msr.ts';
import { fromQword, REFERENCE_UNIT_NS, type ReferenceTime } from './reference-time.ts';
import type { Synic, SynicMessage } from './synic.ts';

/** HV_TIMER_MESSAGE_PAYLOAD. */
const TIMER_MESSAGE_PAYLOAD = struct('HV_TIMER_MESSAGE_PAYLOAD', 24, {
  timerIndex: [0, u32],
  reserved: [4, u32],
  expirationTime: [8, u64],
  deliveryTime: [16, u64],
});

/** Bits of CONFIG that are not reserved. */
const CONFIG_BITS = 0xf1fff;
const DIRECT_BITS = HvStimer.DIRECT | (0xff << HvStimer.VECTOR_SHIFT);

/** A lazy timer's late expiry is skipped where less than this part of the period is left to the next. */
const LAZY_PART = 1 / 4;

interface TimerContext {
  readonly timers: TimerQueue;
  readonly time: ReferenceTime;
  readonly synic: Synic;
  readonly apic: LocalApic;
  readonly expired: Counter;
  /** Whether direct mode is offered. */
  readonly direct: boolean;
}

/**
 * One synthetic timer (TLFS 12.3).
 *
 * A periodic timer expires on the grid of its start, however late it was served: expiries that were missed altogether
 * are skipped, so that it neither drifts nor floods a VP that was away. A message that waits for its slot stays until
 * it is delivered or the timer is written; expiries until then are part of it.
 */
class SyntheticTimer {
  readonly #context: TimerContext;
  readonly #message: SynicMessage;
  #config = 0;
  readonly #count: Qword = { lo: 0, hi: 0 };
  /** Next expiry in reference time. */
  #due = 0;
  #armed: Timer | undefined;
  /** Whether the last expiry was skipped for being late; the one after it never is. */
  #skipped = false;
  #messageQueued = false;

  constructor(index: number, context: TimerContext) {
    this.#context = context;
    const payload = TIMER_MESSAGE_PAYLOAD.encode({ timerIndex: index });
    this.#message = {
      messageType: HvMessageType.TIMER_EXPIRED,
      sender: 0,
      payload,
      onDelivery: () => {
        this.#messageQueued = false;
        TIMER_MESSAGE_PAYLOAD.write(payload, { deliveryTime: BigInt(context.time.now()) });
      },
    };
  }

  readConfig(value: Qword): void {
    value.lo = this.#config;
    value.hi = 0;
  }

  readCount(value: Qword): void {
    value.lo = this.#count.lo;
    value.hi = this.#count.hi;
  }

  /** False (#GP) for reserved bits. */
  writeConfig(value: Qword): boolean {
    const allowed = this.#context.direct ? CONFIG_BITS : CONFIG_BITS & ~DIRECT_BITS;
    if (value.hi !== 0 || (value.lo & ~allowed) !== 0) return false;
    this.stop();
    this.#config = value.lo;
    this.#enable((value.lo & HvStimer.ENABLE) !== 0);
    return true;
  }

  /** Zero disables the timer; anything else starts it where it is enabled or auto-enabled. */
  writeCount(value: Qword): void {
    this.stop();
    this.#count.lo = value.lo;
    this.#count.hi = value.hi;
    if (value.lo === 0 && value.hi === 0) this.#config &= ~HvStimer.ENABLE;
    else this.#enable((this.#config & (HvStimer.ENABLE | HvStimer.AUTO_ENABLE)) !== 0);
  }

  /** Disarms the timer and takes back what it has not yet delivered. */
  stop(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
    this.#skipped = false;
    if (this.#messageQueued) {
      this.#messageQueued = false;
      this.#context.synic.withdraw(this.#sint, this.#message);
    }
  }

  /** Enables where that is asked for and permitted: a timer that sends messages needs a SINT other than 0. */
  #enable(asked: boolean): void {
    const permitted = this.#directMode || this.#sint !== 0;
    if (!asked || !permitted) {
      this.#config &= ~HvStimer.ENABLE;
      return;
    }
    this.#config |= HvStimer.ENABLE;
    const count = fromQword(this.#count);
    if (count === 0) return;
    this.#due = this.#periodic ? this.#context.time.now() + count : count;
    if (this.#due <= this.#context.time.now()) this.#expire();
    else this.#arm();
  }

  #arm(): void {
    this.#armed = this.#context.timers.at(this.#due * REFERENCE_UNIT_NS, () => this.#expire());
  }

  #expire(): void {
    this.#armed = undefined;
    if (!this.#periodic) {
      this.#config &= ~HvStimer.ENABLE;
      this.#signal(this.#due);
      return;
    }
    const now = this.#context.time.now();
    const period = fromQword(this.#count);
    const expiry = this.#due + Math.floor((now - this.#due) / period) * period;
    this.#due = expiry + period;
    this.#arm();
    const lazy = (this.#config & HvStimer.LAZY) !== 0;
    this.#skipped = lazy && !this.#skipped && this.#due - now < period * LAZY_PART;
    if (!this.#skipped) this.#signal(expiry);
  }

  #signal(expiry: number): void {
    this.#context.expired.value++;
    if (this.#directMode) {
      this.#context.apic.request((this.#config >> HvStimer.VECTOR_SHIFT) & 0xff);
      return;
    }
    if (this.#messageQueued) return;
    this.#messageQueued = true;
    TIMER_MESSAGE_PAYLOAD.write(this.#message.payload, { expirationTime: BigInt(expiry) });
    this.#context.synic.enqueue(this.#sint, this.#message);
  }

  get #periodic(): boolean {
    return (this.#config & HvStimer.PERIODIC) !== 0;
  }

  get #directMode(): boolean {
    return (this.#config & HvStimer.DIRECT) !== 0;
  }

  get #sint(): number {
    return this.#config >> HvStimer.SINT_SHIFT;
  }
}

const TIMER_COUNT = 4;

/** The four synthetic timers of one VP. */
export class SyntheticTimers {
  readonly #timers: readonly SyntheticTimer[];

  /** @param direct - whether direct mode is offered */
  constructor(
    timers: TimerQueue,
    time: ReferenceTime,
    synic: Synic,
    apic: LocalApic,
    counters: Counters,
    direct: boolean,
  ) {
    const context = { timers, time, synic, apic, expired: counters.counter('stimer.expired'), direct };
    this.#timers = Array.from({ length: TIMER_COUNT }, (_, index) => new SyntheticTimer(index, context));
  }

  msrRead(msr: number, value: Qword): void {
    const timer = this.#timers[(msr - HvMsr.STIMER0_CONFIG) >> 1];
    if ((msr & 1) === 0) timer.readConfig(value);
    else timer.readCount(value);
  }

  /** False: #GP. */
  msrWrite(msr: number, value: Qword): boolean {
    const timer = this.#timers[(msr - HvMsr.STIMER0_CONFIG) >> 1];
    if ((msr & 1) === 0) return timer.writeConfig(value);
    timer.writeCount(value);
    return true;
  }

  dispose(): void {
    for (const timer of this.#timers) timer.stop();
  }
}
