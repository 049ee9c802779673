import type { Guid } from '@kensho/core';
import { type BlockFile, readBytes } from '../block-file.ts';
import { badImage, unsupportedImage } from '../image-error.ts';
import { structureChecksum } from './crc32c.ts';
import { HEADER_BYTES, HEADER_OFFSETS, HEADER_SIGNATURE, Header, MIB, NULL_GUID } from './layout.ts';

/** What the current header says. */
export interface HeaderFields {
  readonly sequenceNumber: bigint;
  readonly fileWriteGuid: Guid;
  readonly dataWriteGuid: Guid;
  readonly logGuid: Guid;
  readonly logLength: number;
  readonly logOffset: number;
}

/** The two headers of an image, of which one is current ([MS-VHDX] 2.2.2). */
export class HeaderPair {
  readonly #file: BlockFile;
  #current: HeaderFields;
  /** Which of the two places the next update goes to. */
  #next: 0 | 1;
  /** The places without a valid header. */
  readonly invalid: readonly number[];

  private constructor(file: BlockFile, current: HeaderFields, next: 0 | 1, invalid: readonly number[]) {
    this.#file = file;
    this.#current = current;
    this.#next = next;
    this.invalid = invalid;
  }

  /** Finds the current header. Throws KenshoError BAD_DISK_IMAGE or UNSUPPORTED_DISK_IMAGE. */
  static async read(file: BlockFile): Promise<HeaderPair> {
    const found = await Promise.all(HEADER_OFFSETS.map((offset) => readHeader(file, offset)));
    const invalid = HEADER_OFFSETS.filter((_, index) => found[index] === undefined);
    const [first, second] = found;
    if (first === undefined && second === undefined) {
      throw badImage(file.name, 'neither VHDX header is valid', 'restore the image from a copy');
    }
    // Equal numbers are not allowed, but Disk2vhd writes two equal headers.
    const current =
      second === undefined || (first !== undefined && first.sequenceNumber >= second.sequenceNumber) ? 0 : 1;
    const fields = found[current] as HeaderFields & { logVersion: number };
    const { logOffset, logLength } = fields;
    if (logOffset < MIB || logOffset % MIB !== 0 || logLength % MIB !== 0 || logLength === 0) {
      throw badImage(file.name, `the VHDX log at ${logOffset} of ${logLength} bytes is not aligned`);
    }
    if (fields.logGuid !== NULL_GUID && fields.logVersion !== 0) {
      throw unsupportedImage(
        file.name,
        `its log has version ${fields.logVersion}`,
        'open it once with the program that wrote it',
      );
    }
    return new HeaderPair(file, fields, current === 0 ? 1 : 0, invalid);
  }

  get current(): HeaderFields {
    return this.#current;
  }

  /** Makes the changed header current, in both places, one after the other. */
  async update(changes: Partial<HeaderFields>): Promise<void> {
    for (let copy = 0; copy < 2; copy++) {
      const fields = { ...this.#current, ...changes, sequenceNumber: this.#current.sequenceNumber + 1n };
      await this.#file.write(HEADER_OFFSETS[this.#next], [encodeHeader(fields)]);
      await this.#file.flush();
      this.#current = fields;
      this.#next = this.#next === 0 ? 1 : 0;
    }
  }
}

/** A header as it is stored. */
export function encodeHeader(fields: HeaderFields): Uint8Array {
  const header = Header.encode({
    Signature: HEADER_SIGNATURE,
    SequenceNumber: fields.sequenceNumber,
    FileWriteGuid: fields.fileWriteGuid,
    DataWriteGuid: fields.dataWriteGuid,
    LogGuid: fields.logGuid,
    Version: 1,
    LogLength: fields.logLength,
    LogOffset: BigInt(fields.logOffset),
  });
  Header.write(header, { Checksum: structureChecksum(header, Header.offsetOf('Checksum')) });
  return header;
}

async function readHeader(
  file: BlockFile,
  offset: number,
): Promise<(HeaderFields & { logVersion: number }) | undefined> {
  const source = await readBytes(file, offset, HEADER_BYTES);
  const header = Header.read(source);
  if (header.Signature !== HEADER_SIGNATURE || header.Version !== 1) return undefined;
  if (header.Checksum !== structureChecksum(source, Header.offsetOf('Checksum'))) return undefined;
  return {
    sequenceNumber: header.SequenceNumber,
    fileWriteGuid: header.FileWriteGuid,
    dataWriteGuid: header.DataWriteGuid,
    logGuid: header.LogGuid,
    logVersion: header.LogVersion,
    logLength: header.LogLength,
    logOffset: Number(header.LogOffset),
  };
}
