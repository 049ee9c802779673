import { KenshoError, type MaybePromise } from '@kensho/core';
import { be32, NO_DEVICE_AT_LUN, ScsiOp, Sense } from '../protocol/scsi.ts';
import { inquire, standardInquiry } from './inquiry.ts';
import type { LogicalUnit } from './logical-unit.ts';
import { checkCondition, good, reply, type ScsiResult } from './result.ts';

/** The result of a command to a unit that does not exist; what says so is the transport's business. */
export const NO_UNIT: ScsiResult = good(0);

/** LUNs with the simple addressing of one byte (SAM-5 4.7.7.2). */
const MAX_LUNS = 255;

const ABSENT = { standard: standardInquiry(NO_DEVICE_AT_LUN, 0, 'Virtual Disk'), pages: new Map() };

/** A SCSI target: logical units by number. */
export class ScsiTarget {
  readonly #units = new Map<number, LogicalUnit>();

  /** Throws KenshoError INVALID_OPTIONS for a number out of range, LUN_IN_USE where there is a unit already. */
  attach(lun: number, unit: LogicalUnit): void {
    if (!Number.isInteger(lun) || lun < 0 || lun >= MAX_LUNS) {
      throw new KenshoError('INVALID_OPTIONS', `LUN ${lun}: give a number from 0 to ${MAX_LUNS - 1}`);
    }
    if (this.#units.has(lun)) {
      throw new KenshoError('LUN_IN_USE', `LUN ${lun} has a unit already: choose another or detach that one`);
    }
    this.#units.set(lun, unit);
  }

  /** Takes a unit away; commands in progress go on, see {@link LogicalUnit.drain}. Undefined where there is none. */
  detach(lun: number): LogicalUnit | undefined {
    const unit = this.#units.get(lun);
    this.#units.delete(lun);
    return unit;
  }

  unit(lun: number): LogicalUnit | undefined {
    return this.#units.get(lun);
  }

  units(): Iterable<LogicalUnit> {
    return this.#units.values();
  }

  /** Executes a command at a LUN; {@link NO_UNIT} where there is none and the command asks for one. */
  execute(
    lun: number,
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    dataOut: readonly Uint8Array[],
  ): MaybePromise<ScsiResult> {
    if (cdb[0] === ScsiOp.REPORT_LUNS) return this.#reportLuns(cdb, dataIn);
    const unit = this.#units.get(lun);
    if (unit !== undefined) return unit.execute(cdb, dataIn, dataOut);
    // A guest takes an empty answer for a disk: "nothing can be here" has to be said in the data.
    return cdb[0] === ScsiOp.INQUIRY && cdb.length >= 6 ? inquire(cdb, dataIn, ABSENT) : NO_UNIT;
  }

  /** SPC-4 6.33. */
  #reportLuns(cdb: Uint8Array, dataIn: readonly Uint8Array[]): ScsiResult {
    if (cdb.length < 12) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const selectReport = cdb[2];
    if (selectReport > 2) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    // 1 asks for well-known units only, of which there are none.
    const luns = selectReport === 1 ? [] : [...this.#units.keys()].sort((a, b) => a - b);
    const data = new Uint8Array(8 + luns.length * 8);
    new DataView(data.buffer).setUint32(0, luns.length * 8);
    for (const [i, lun] of luns.entries()) data[8 + i * 8 + 1] = lun;
    return reply(dataIn, data, be32(cdb, 6));
  }
}
