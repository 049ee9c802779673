import type { MaybePromise } from '@kensho/core';
import { cdbLengthOf, ScsiOp, SENSE_BYTES, Sense, writeSense } from '../protocol/scsi.ts';
import { type Identity, inquire } from './inquiry.ts';
import { checkCondition, reply, type ScsiResult } from './result.ts';

/** Commands that neither report nor clear a unit attention (SAM-5 5.14, MMC-6 4.1.6.1). */
const WITHOUT_ATTENTION: ReadonlySet<number> = new Set([
  ScsiOp.INQUIRY,
  ScsiOp.REPORT_LUNS,
  ScsiOp.REQUEST_SENSE,
  ScsiOp.GET_CONFIGURATION,
  ScsiOp.GET_EVENT_STATUS_NOTIFICATION,
]);

/**
 * A logical unit: executes commands, whichever transport brought them (the SRBs of VMBus, ATAPI's PACKET).
 *
 * Any number of commands may be in progress. Unit attentions are reported once, by the first command that may; the
 * sense data of the last command is kept for REQUEST SENSE.
 */
export abstract class LogicalUnit {
  readonly #identity: Identity;
  readonly #attentions: number[] = [];
  readonly #running = new Set<Promise<ScsiResult>>();
  #lastSense: number = Sense.NO_SENSE;

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  /**
   * Executes one command.
   *
   * @param cdb - the command, 6 to 16 bytes; stays as it is until the command ends
   * @param dataIn - buffer for data from the unit, in order; must stay valid until the command ends
   * @param dataOut - data for the unit; it may lie in memory that the guest keeps changing
   * @returns always a result, never a rejection
   */
  execute(
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    dataOut: readonly Uint8Array[],
  ): MaybePromise<ScsiResult> {
    const result = this.#begin(cdb, dataIn, dataOut);
    if (!(result instanceof Promise)) {
      this.#lastSense = result.sense;
      return result;
    }
    const ended: Promise<ScsiResult> = result.then((outcome) => {
      this.#running.delete(ended);
      this.#lastSense = outcome.sense;
      return outcome;
    });
    this.#running.add(ended);
    return ended;
  }

  /** Resolves when the commands that are in progress now have ended; undefined where there are none. */
  drain(): Promise<unknown> | undefined {
    return this.#running.size === 0 ? undefined : Promise.all(this.#running);
  }

  /** Establishes a unit attention condition, a `Sense` code. */
  raise(attention: number): void {
    if (!this.#attentions.includes(attention)) this.#attentions.push(attention);
  }

  /** Ends what a reset ends: reservations, prevention of removal; then says so by a unit attention. */
  reset(attention: number): void {
    this.raise(attention);
  }

  /** Executes a command other than INQUIRY and REQUEST SENSE; its CDB has the length that its group asks for. */
  protected abstract perform(
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    dataOut: readonly Uint8Array[],
  ): MaybePromise<ScsiResult>;

  #begin(
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    dataOut: readonly Uint8Array[],
  ): MaybePromise<ScsiResult> {
    if (cdb.length === 0 || cdb.length < cdbLengthOf(cdb[0]))
      return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    if (this.#attentions.length > 0 && !WITHOUT_ATTENTION.has(cdb[0])) {
      return checkCondition(this.#attentions.shift() as number);
    }
    switch (cdb[0]) {
      case ScsiOp.INQUIRY:
        return inquire(cdb, dataIn, this.#identity);
      case ScsiOp.REQUEST_SENSE:
        return this.#requestSense(cdb, dataIn);
      default:
        return this.perform(cdb, dataIn, dataOut);
    }
  }

  /** SPC-4 6.39. Sense data that was read is gone. */
  #requestSense(cdb: Uint8Array, dataIn: readonly Uint8Array[]): ScsiResult {
    const descriptorFormat = (cdb[1] & 0x01) !== 0;
    if (descriptorFormat) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const data = new Uint8Array(SENSE_BYTES);
    writeSense(data, 0, this.#attentions.shift() ?? this.#lastSense);
    return reply(dataIn, data, cdb[4]);
  }
}
