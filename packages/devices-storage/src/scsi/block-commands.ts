/** What commands on logical blocks share, on disks and on CD/DVD drives. */
import type { MaybePromise } from '@kensho/core';
import { be16, be32, be64 } from '../protocol/scsi.ts';
import { checkCondition, type ScsiResult } from './result.ts';

/** First block of a command on blocks, by the length of its CDB. */
export function firstBlock(cdb: Uint8Array): number {
  switch (cdb[0] >>> 5) {
    case 0:
      return ((cdb[1] & 0x1f) << 16) | be16(cdb, 2);
    case 4:
      return be64(cdb, 2);
    default:
      return be32(cdb, 2);
  }
}

/** Number of blocks of a command on blocks, by the length of its CDB. */
export function blockCount(cdb: Uint8Array): number {
  switch (cdb[0] >>> 5) {
    case 0:
      return cdb[4] === 0 ? 256 : cdb[4];
    case 1:
    case 2:
      return be16(cdb, 7);
    case 4:
      return be32(cdb, 10);
    default:
      return be32(cdb, 6);
  }
}

/**
 * The result of a host operation: `done` where it went well, else a check condition of `failure`, with the host's
 * error as its cause.
 */
export function outcome(
  operation: () => MaybePromise<void>,
  done: ScsiResult,
  failure: number,
): MaybePromise<ScsiResult> {
  try {
    const pending = operation();
    if (!(pending instanceof Promise)) return done;
    return pending.then(
      () => done,
      (reason: unknown) => checkCondition(failure, asError(reason)),
    );
  } catch (reason) {
    return checkCondition(failure, asError(reason));
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
