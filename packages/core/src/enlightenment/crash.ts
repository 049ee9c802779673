import type { GpaSpace } from '../memory/gpa-space.ts';
import type { Qword } from '../processor/contract.ts';
import { HvCrashControl } from './hv-msr.ts';
import { fromQword } from './reference-time.ts';

/** A crash message is at most this long; what is beyond is not read. */
const MAX_MESSAGE_BYTES = 4096;
const PARAMETER_COUNT = 5;

/** CRASH_P0 to P4 and CRASH_CTL, one set for the partition (TLFS 4.3, "Partition crash enlightenment"). */
export class CrashRegisters {
  readonly parameters: readonly Qword[] = Array.from({ length: PARAMETER_COUNT }, () => ({ lo: 0, hi: 0 }));
  readonly #gpa: GpaSpace;
  readonly #onCrash: (parameters: readonly bigint[], message: string | undefined) => void;

  constructor(gpa: GpaSpace, onCrash: (parameters: readonly bigint[], message: string | undefined) => void) {
    this.#gpa = gpa;
    this.#onCrash = onCrash;
  }

  /** CRASH_CTL shows what is supported. */
  readControl(value: Qword): void {
    value.lo = 0;
    value.hi = (HvCrashControl.NOTIFY_HI | HvCrashControl.MESSAGE_HI) >>> 0;
  }

  /** Reports the crash where the notify bit is set, with the message at GPA P3 of P4 bytes where that bit is too. */
  writeControl(value: Qword): void {
    if ((value.hi & HvCrashControl.NOTIFY_HI) === 0) return;
    const message = (value.hi & HvCrashControl.MESSAGE_HI) !== 0 ? this.#message() : undefined;
    this.#onCrash(
      this.parameters.map(({ lo, hi }) => (BigInt(hi) << 32n) | BigInt(lo)),
      message,
    );
  }

  /** Undefined where the guest named memory that is not there. */
  #message(): string | undefined {
    const bytes = new Uint8Array(Math.min(fromQword(this.parameters[4]), MAX_MESSAGE_BYTES));
    if (!this.#gpa.read(fromQword(this.parameters[3]), bytes)) return undefined;
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }
}
