import type { Clock } from '../clock.ts';
import { GpaAccess, type GpaSpace } from '../memory/gpa-space.ts';
import type { Qword } from '../processor/contract.ts';
import { struct, u32, u64 } from '../struct.ts';
import { OverlayRegister } from './overlay-register.ts';

/** Nanoseconds in the unit of reference time. */
export const REFERENCE_UNIT_NS = 100;

/** HV_REFERENCE_TSC_PAGE (TLFS 12.2.1), as far as it is used. */
const REFERENCE_TSC_PAGE = struct('HV_REFERENCE_TSC_PAGE', 24, {
  tscSequence: [0, u32],
  tscScale: [8, u64],
  tscOffset: [16, u64],
});

/** The page never changes, so that one sequence number will do. */
const SEQUENCE_VALID = 1;
/** Tells the guest to read the counter instead: the scale of a TSC of 10 MHz or less does not fit the field. */
const SEQUENCE_INVALID = 0;

/** A count of less than 2^53 as two halves. */
export function setQword(value: Qword, count: number): void {
  value.lo = count >>> 0;
  value.hi = Math.floor(count / 2 ** 32);
}

/** A qword as a number; one beyond 2^53 loses its low bits. */
export function fromQword(value: Qword): number {
  return value.hi * 2 ** 32 + value.lo;
}

/** A partition's reference time: counter, TSC page and frequencies (TLFS 12, "Timers"). */
export class ReferenceTime {
  readonly tscFrequencyHz: number;
  /** The REFERENCE_TSC MSR. */
  readonly tscPage: OverlayRegister;
  readonly #clock: Clock;

  constructor(clock: Clock, tscFrequencyHz: number, gpa: GpaSpace, pageLimit: number) {
    this.#clock = clock;
    this.tscFrequencyHz = tscFrequencyHz;
    const tscScale = scaleOf(tscFrequencyHz);
    this.tscPage = new OverlayRegister(gpa, GpaAccess.READ, pageLimit, (bytes) =>
      REFERENCE_TSC_PAGE.write(bytes, {
        tscSequence: tscScale < 1n << 64n ? SEQUENCE_VALID : SEQUENCE_INVALID,
        tscScale,
        tscOffset: 0n,
      }),
    );
  }

  /** Units of 100 ns since the partition's start. */
  now(): number {
    return Math.floor(this.#clock.nowNs() / REFERENCE_UNIT_NS);
  }
}

/**
 * Reference time is (TSC * scale) >> 64. TSC and counter have the same zero, so there is no offset.
 *
 * The scale is rounded up: rounded down, the page would lag the counter by one at each unit's first tick, and a
 * guest that reads both would see time step back. Up, the two agree exactly where a unit is a whole number of ticks,
 * and the page is never ahead.
 */
function scaleOf(tscFrequencyHz: number): bigint {
  const frequency = BigInt(tscFrequencyHz);
  return ((10_000_000n << 64n) + frequency - 1n) / frequency;
}
