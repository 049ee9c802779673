/** MODE SENSE and MODE SELECT, of 6 and of 10 bytes (SPC-4 6.11 to 6.14 and 7.5). */
import { be16, ModePage, ScsiOp, Sense } from '../protocol/scsi.ts';
import { checkCondition, reply, type ScsiResult } from './result.ts';

/** One mode page as a unit has it. */
export interface ModePageImage {
  /** The whole page: code, length, contents. */
  readonly current: Uint8Array;
  /** As it was at the start. */
  readonly initial: Uint8Array;
  /** Ones where MODE SELECT may change something; its first two bytes are not looked at. */
  readonly changeable: Uint8Array;
}

/** A page that nothing can change. */
export function fixedPage(page: Uint8Array): ModePageImage {
  return { current: page, initial: page, changeable: new Uint8Array(page.length) };
}

/**
 * Answers MODE SENSE(6) and (10).
 *
 * @param deviceSpecific - device-specific parameter of the header
 */
export function modeSense(
  cdb: Uint8Array,
  dataIn: readonly Uint8Array[],
  pages: readonly ModePageImage[],
  deviceSpecific: number,
): ScsiResult {
  const short = cdb[0] === ScsiOp.MODE_SENSE_6;
  const control = cdb[2] >>> 6;
  const code = cdb[2] & 0x3f;
  const subpage = cdb[3];
  if (control === 3) return checkCondition(Sense.SAVING_PARAMETERS_NOT_SUPPORTED);
  const all = code === ModePage.ALL;
  const chosen = pages.filter(({ current }) => all || current[0] === code);
  if (chosen.length === 0 || (subpage !== 0 && !(all && subpage === 0xff))) {
    return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  }
  const headerBytes = short ? 4 : 8;
  const sizeBytes = chosen.reduce((sum, { current }) => sum + current.length, headerBytes);
  const data = new Uint8Array(sizeBytes);
  if (short) {
    data[0] = sizeBytes - 1;
    data[2] = deviceSpecific;
  } else {
    data[0] = (sizeBytes - 2) >>> 8;
    data[1] = (sizeBytes - 2) & 0xff;
    data[3] = deviceSpecific;
  }
  let at = headerBytes;
  for (const page of chosen) {
    data.set(control === 1 ? page.changeable : control === 2 ? page.initial : page.current, at);
    data.set(page.current.subarray(0, 2), at);
    at += page.current.length;
  }
  return reply(dataIn, data, short ? cdb[4] : be16(cdb, 7));
}

/** Length of the parameter list that a MODE SELECT announces. */
export function modeSelectLength(cdb: Uint8Array): number {
  return cdb[0] === ScsiOp.MODE_SELECT_6 ? cdb[4] : be16(cdb, 7);
}

/**
 * Checks the parameter list of MODE SELECT(6) or (10) against the unit's pages.
 *
 * @param list - the whole list, already copied out of guest memory
 * @returns a {@link Sense} code, or the pages to take over, as parts of `list`
 */
export function parseModeSelect(
  cdb: Uint8Array,
  list: Uint8Array,
  pages: readonly ModePageImage[],
): number | Uint8Array[] {
  const short = cdb[0] === ScsiOp.MODE_SELECT_6;
  const pageFormat = (cdb[1] & 0x10) !== 0;
  const save = (cdb[1] & 0x01) !== 0;
  if (!pageFormat || save) return Sense.INVALID_FIELD_IN_CDB;
  if (list.length < modeSelectLength(cdb)) return Sense.INVALID_FIELD_IN_CDB;
  if (list.length === 0) return [];
  const headerBytes = short ? 4 : 8;
  if (list.length < headerBytes) return Sense.PARAMETER_LIST_LENGTH_ERROR;
  const chosen: Uint8Array[] = [];
  let at = headerBytes + (short ? list[3] : be16(list, 6));
  if (at > list.length) return Sense.PARAMETER_LIST_LENGTH_ERROR;
  while (at < list.length) {
    const page = pages.find(({ current }) => current[0] === list[at]);
    if (page === undefined) return Sense.INVALID_FIELD_IN_PARAMETER_LIST;
    const end = at + page.current.length;
    if (end > list.length) return Sense.PARAMETER_LIST_LENGTH_ERROR;
    const wanted = list.subarray(at, end);
    const same = wanted.every(
      (byte, i) => ((byte ^ page.current[i]) & ~(i < 2 ? 0 : page.changeable[i])) === 0,
    );
    if (!same) return Sense.INVALID_FIELD_IN_PARAMETER_LIST;
    chosen.push(wanted);
    at = end;
  }
  return chosen;
}
