import { ScsiStatus } from '../protocol/scsi.ts';

/** How a command ended. */
export interface ScsiResult {
  /** {@link ScsiStatus}. */
  readonly status: number;
  /** A `Sense` code where the status is CHECK CONDITION, else 0. */
  readonly sense: number;
  /** Bytes moved between the unit and the buffers given. */
  readonly transferred: number;
  /** Bytes that a large enough buffer would have got: more than {@link transferred} is an overrun. */
  readonly wanted: number;
  /** What failed at the host, for the log. */
  readonly cause: Error | undefined;
}

export function good(transferred: number, wanted = transferred): ScsiResult {
  return { status: ScsiStatus.GOOD, sense: 0, transferred, wanted, cause: undefined };
}

export function checkCondition(sense: number, cause?: Error): ScsiResult {
  return { status: ScsiStatus.CHECK_CONDITION, sense, transferred: 0, wanted: 0, cause };
}

/** The result of commands that end well and move nothing. */
export const DONE: ScsiResult = good(0);

/** Data-in of at most `allocationLength` bytes, spread over the buffer; what the buffer has no room for is dropped. */
export function reply(dataIn: readonly Uint8Array[], data: Uint8Array, allocationLength: number): ScsiResult {
  const wanted = Math.min(data.length, allocationLength);
  let done = 0;
  for (const view of dataIn) {
    if (done === wanted) break;
    const count = Math.min(view.length, wanted - done);
    view.set(count === data.length ? data : data.subarray(done, done + count));
    done += count;
  }
  return good(done, wanted);
}

/** Copies up to `sizeBytes` bytes of a data-out buffer, so that they can be checked and then used. */
export function snapshot(dataOut: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const copy = new Uint8Array(Math.min(sizeBytes, totalBytes(dataOut)));
  let done = 0;
  for (const view of dataOut) {
    if (done === copy.length) break;
    const count = Math.min(view.length, copy.length - done);
    copy.set(count === view.length ? view : view.subarray(0, count), done);
    done += count;
  }
  return copy;
}

/** Size of a buffer given as views. */
export function totalBytes(views: readonly Uint8Array[]): number {
  let total = 0;
  for (let i = 0; i < views.length; i++) total += views[i].length;
  return total;
}

/** `sizeBytes` bytes of a buffer from `offset` on; the list itself where that is all of it. */
export function slice(
  views: readonly Uint8Array[],
  offset: number,
  sizeBytes: number,
): readonly Uint8Array[] {
  if (offset === 0 && totalBytes(views) === sizeBytes) return views;
  const part: Uint8Array[] = [];
  let skip = offset;
  let left = sizeBytes;
  for (const view of views) {
    if (left === 0) break;
    if (skip >= view.length) {
      skip -= view.length;
      continue;
    }
    const count = Math.min(view.length - skip, left);
    part.push(view.subarray(skip, skip + count));
    skip = 0;
    left -= count;
  }
  return part;
}
