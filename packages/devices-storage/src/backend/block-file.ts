import type { MaybePromise } from '@kensho/core';

/**
 * The bytes that an image consists of: a file of the host, or memory in tests and fuzzers.
 *
 * Buffers may lie in shared memory and belong to the file until the operation ends. A write beyond the end extends
 * the file; what lies between reads as zeroes.
 */
export interface BlockFile {
  /** For messages: its path, or what it stands for. */
  readonly name: string;
  readonly readOnly: boolean;
  /** Length, with every write and truncation that has ended. */
  readonly sizeBytes: number;
  /** Fills `target`; fails with KenshoError BAD_DISK_IMAGE where the file is too short. */
  read(offsetBytes: number, target: readonly Uint8Array[]): MaybePromise<void>;
  write(offsetBytes: number, source: readonly Uint8Array[]): MaybePromise<void>;
  /** Cuts the file, or extends it by zeroes that take no space. */
  truncate(sizeBytes: number): MaybePromise<void>;
  /** Done when every operation that ended before would survive a power failure. */
  flush(): MaybePromise<void>;
  /** Frees the memory behind a range, which reads as zeroes afterwards; only where the file can. */
  discard?(offsetBytes: number, lengthBytes: number): void;
  close(): MaybePromise<void>;
}

/** Reads a run of bytes into a buffer of its own. The caller has bounded the length. */
export async function readBytes(
  file: BlockFile,
  offsetBytes: number,
  lengthBytes: number,
): Promise<Uint8Array> {
  const target = new Uint8Array(lengthBytes);
  await file.read(offsetBytes, [target]);
  return target;
}

/** Bytes that one write of zeroes covers. */
const ZERO_PIECE_BYTES = 1 << 20;

/** Writes zeroes over a range. */
export async function writeZeroes(file: BlockFile, offsetBytes: number, lengthBytes: number): Promise<void> {
  const zeroes = new Uint8Array(Math.min(lengthBytes, ZERO_PIECE_BYTES));
  for (let done = 0; done < lengthBytes; done += zeroes.length) {
    await file.write(offsetBytes + done, [zeroes.subarray(0, Math.min(zeroes.length, lengthBytes - done))]);
  }
}
