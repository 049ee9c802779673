import { assert, type Guid } from '@kensho/core';
import { type BlockFile, readBytes, writeZeroes } from '../block-file.ts';
import { badImage, unsupportedImage } from '../image-error.ts';
import type { MetadataPage } from '../sparse/metadata-pages.ts';
import { structureChecksum } from './crc32c.ts';
import {
  DATA_DESCRIPTOR_SIGNATURE,
  DATA_SECTOR_SIGNATURE,
  LEADING_BYTES,
  LOG_DESCRIPTOR_BYTES,
  LOG_ENTRY_SIGNATURE,
  LOG_SECTOR_BYTES,
  LogDataSector,
  LogDescriptor,
  LogEntryHeader,
  MAX_DISK_BYTES,
  MIB,
  REGION_TABLE_OFFSETS,
  TRAILING_BYTES,
  ZERO_DESCRIPTOR_SIGNATURE,
} from './layout.ts';

/** The part of the header that names the log. */
export interface LogPlace {
  readonly logGuid: Guid;
  readonly logOffset: number;
  readonly logLength: number;
}

/** One write that an entry asks for. */
type LogWrite =
  | { readonly offsetBytes: number; readonly data: Uint8Array }
  | { readonly offsetBytes: number; readonly zeroBytes: number };

/** One valid entry ([MS-VHDX] 2.3.1). */
interface LogEntry {
  readonly lengthBytes: number;
  readonly tail: number;
  readonly sequenceNumber: bigint;
  readonly flushedFileOffset: number;
  readonly lastFileOffset: number;
  readonly writes: readonly LogWrite[];
}

/** Programs use 1 MiB; a log is read into memory as a whole. */
const MAX_LOG_BYTES = 32 * MIB;
/** Checksums over entries that overlap could otherwise take hours. */
const CHECKED_BYTES_PER_LOG_BYTE = 8;
/** No image needs its log to place anything beyond this. */
const MAX_FILE_BYTES = 2 * MAX_DISK_BYTES;
/** What all zero descriptors together may cover: they stand for tables and bitmaps, never for data. */
const MAX_ZEROED_BYTES = 2 ** 30;

/**
 * Replays the log: finds the newest complete sequence of entries and makes its writes ([MS-VHDX] 2.3.3). Replaying
 * twice does no harm. Throws KenshoError BAD_DISK_IMAGE where no sequence is complete or the file was truncated.
 */
export async function replayLog(file: BlockFile, place: LogPlace): Promise<number> {
  if (place.logLength > MAX_LOG_BYTES) {
    throw unsupportedImage(
      file.name,
      `its log has ${place.logLength} bytes`,
      'open it once with the program that wrote it',
    );
  }
  if (place.logOffset + place.logLength > file.sizeBytes)
    throw badImage(file.name, 'the file ends before its VHDX log');
  const log = await readBytes(file, place.logOffset, place.logLength);
  const sequence = new LogScan(file.name, log, place.logGuid).activeSequence();
  const head = sequence.at(-1);
  if (head === undefined)
    throw badImage(file.name, 'no part of the VHDX log is valid, so pending changes are lost');
  if (head.flushedFileOffset > file.sizeBytes) {
    throw badImage(file.name, `the file was ${head.flushedFileOffset} bytes long and has been truncated`);
  }
  checkPlausible(file, sequence, place);
  for (const entry of sequence) {
    for (const write of entry.writes) {
      if ('data' in write) await file.write(write.offsetBytes, [write.data]);
      else await zero(file, write.offsetBytes, write.zeroBytes);
    }
  }
  if (file.sizeBytes < head.lastFileOffset) await file.truncate(head.lastFileOffset);
  await file.flush();
  return sequence.length;
}

/** Refuses what would fill the host's disk, and what is never logged: the identifier, the headers, the log itself. */
function checkPlausible(
  file: BlockFile,
  sequence: readonly LogEntry[],
  { logOffset, logLength }: LogPlace,
): void {
  let zeroedBytes = 0;
  let endBytes = 0;
  for (const entry of sequence) {
    endBytes = Math.max(endBytes, entry.lastFileOffset);
    for (const write of entry.writes) {
      const lengthBytes = 'data' in write ? write.data.length : write.zeroBytes;
      const end = write.offsetBytes + lengthBytes;
      if (!('data' in write)) zeroedBytes += lengthBytes;
      endBytes = Math.max(endBytes, end);
      if (
        write.offsetBytes < REGION_TABLE_OFFSETS[0] ||
        (write.offsetBytes < logOffset + logLength && end > logOffset)
      ) {
        throw badImage(file.name, 'the VHDX log asks for changes to a header or to itself');
      }
    }
  }
  if (endBytes > MAX_FILE_BYTES || zeroedBytes > MAX_ZEROED_BYTES) {
    throw badImage(file.name, 'the VHDX log asks for changes far outside the image');
  }
}

async function zero(file: BlockFile, offsetBytes: number, lengthBytes: number): Promise<void> {
  const inside = Math.min(lengthBytes, Math.max(0, file.sizeBytes - offsetBytes));
  await writeZeroes(file, offsetBytes, inside);
  if (inside < lengthBytes) await file.truncate(offsetBytes + lengthBytes);
}

/** Looks for sequences of entries in a log. */
class LogScan {
  readonly #name: string;
  readonly #log: Uint8Array;
  readonly #data: DataView;
  readonly #guid: Guid;
  readonly #entries = new Map<number, LogEntry | undefined>();
  #checkedBytes = 0;

  constructor(name: string, log: Uint8Array, guid: Guid) {
    this.#name = name;
    this.#log = log;
    this.#data = new DataView(log.buffer, log.byteOffset, log.length);
    this.#guid = guid;
  }

  /** The entries from the tail to the head of the newest sequence; empty where there is none. */
  activeSequence(): readonly LogEntry[] {
    let active: { entries: LogEntry[]; sequenceNumber: bigint } = { entries: [], sequenceNumber: 0n };
    for (let tail = 0; tail < this.#log.length; ) {
      const run = this.#runFrom(tail);
      const head = run.at(-1);
      // Where the head's own tail lies in the run; entries before it have long reached their place.
      const first = head === undefined ? -1 : run.findIndex(({ at }) => at === head.entry.tail);
      if (head === undefined || first < 0) {
        tail += LOG_SECTOR_BYTES;
        continue;
      }
      const { sequenceNumber } = head.entry;
      if (sequenceNumber > active.sequenceNumber) {
        active = { entries: run.slice(first).map(({ entry }) => entry), sequenceNumber };
      }
      const next = head.at + head.entry.lengthBytes;
      // A run that wraps ends the scan.
      if (next <= tail || next >= this.#log.length || head.at < tail) break;
      tail = next;
    }
    return active.entries;
  }

  /** Entries that follow each other, with rising numbers, from a place in the log on. */
  #runFrom(start: number): { at: number; entry: LogEntry }[] {
    const run: { at: number; entry: LogEntry }[] = [];
    let at = start;
    let coveredBytes = 0;
    for (;;) {
      const entry = this.#entryAt(at);
      if (entry === undefined) return run;
      const last = run.at(-1)?.entry;
      if (last !== undefined && entry.sequenceNumber !== last.sequenceNumber + 1n) return run;
      coveredBytes += entry.lengthBytes;
      if (coveredBytes > this.#log.length) return run;
      run.push({ at, entry });
      at = (at + entry.lengthBytes) % this.#log.length;
    }
  }

  #entryAt(at: number): LogEntry | undefined {
    if (!this.#entries.has(at)) this.#entries.set(at, this.#parse(at));
    return this.#entries.get(at);
  }

  #parse(at: number): LogEntry | undefined {
    // Most sectors are none, and this tells.
    if (this.#data.getUint32(at, true) !== LOG_ENTRY_SIGNATURE) return undefined;
    const header = LogEntryHeader.read(this.#log, at);
    const { EntryLength, DescriptorCount, SequenceNumber, Tail } = header;
    const descriptorBytes = LogEntryHeader.sizeBytes + DescriptorCount * LOG_DESCRIPTOR_BYTES;
    if (
      header.LogGuid !== this.#guid ||
      SequenceNumber === 0n ||
      EntryLength === 0 ||
      EntryLength % LOG_SECTOR_BYTES !== 0 ||
      EntryLength > this.#log.length ||
      descriptorBytes > EntryLength ||
      Tail % LOG_SECTOR_BYTES !== 0 ||
      Tail >= this.#log.length
    ) {
      return undefined;
    }
    this.#checkedBytes += EntryLength;
    if (this.#checkedBytes > this.#log.length * CHECKED_BYTES_PER_LOG_BYTE) {
      throw badImage(this.#name, 'the entries of the VHDX log overlap each other');
    }
    const source = this.#slice(at, EntryLength);
    if (header.Checksum !== structureChecksum(source, LogEntryHeader.offsetOf('Checksum'))) return undefined;
    const writes = parseWrites(source, DescriptorCount, SequenceNumber);
    if (writes === undefined) return undefined;
    return {
      lengthBytes: EntryLength,
      tail: Tail,
      sequenceNumber: SequenceNumber,
      flushedFileOffset: Number(header.FlushedFileOffset),
      lastFileOffset: Number(header.LastFileOffset),
      writes,
    };
  }

  /** Bytes of the ring, in one piece. */
  #slice(at: number, lengthBytes: number): Uint8Array {
    const untilEnd = this.#log.subarray(at, at + lengthBytes);
    if (untilEnd.length === lengthBytes) return untilEnd;
    const joined = new Uint8Array(lengthBytes);
    joined.set(untilEnd);
    joined.set(this.#log.subarray(0, lengthBytes - untilEnd.length), untilEnd.length);
    return joined;
  }
}

/** The writes of an entry whose checksum is right; undefined where they contradict it. */
function parseWrites(source: Uint8Array, count: number, sequenceNumber: bigint): LogWrite[] | undefined {
  const writes: LogWrite[] = [];
  let dataAt = descriptorSectors(count) * LOG_SECTOR_BYTES;
  for (let index = 0; index < count; index++) {
    const at = LogEntryHeader.sizeBytes + index * LOG_DESCRIPTOR_BYTES;
    const descriptor = LogDescriptor.read(source, at);
    const offsetBytes = Number(descriptor.FileOffset);
    if (descriptor.SequenceNumber !== sequenceNumber || offsetBytes % LOG_SECTOR_BYTES !== 0)
      return undefined;
    if (descriptor.Signature === ZERO_DESCRIPTOR_SIGNATURE) {
      const zeroBytes = Number(new DataView(descriptor.LeadingBytes.buffer).getBigUint64(0, true));
      if (zeroBytes % LOG_SECTOR_BYTES !== 0) return undefined;
      writes.push({ offsetBytes, zeroBytes });
    } else if (descriptor.Signature === DATA_DESCRIPTOR_SIGNATURE) {
      if (dataAt + LOG_SECTOR_BYTES > source.length) return undefined;
      const sector = LogDataSector.read(source, dataAt);
      const sectorNumber = (BigInt(sector.SequenceHigh) << 32n) | BigInt(sector.SequenceLow);
      if (sector.Signature !== DATA_SECTOR_SIGNATURE || sectorNumber !== sequenceNumber) return undefined;
      const data = source.slice(dataAt, dataAt + LOG_SECTOR_BYTES);
      data.set(descriptor.LeadingBytes);
      data.set(descriptor.TrailingBytes, LOG_SECTOR_BYTES - TRAILING_BYTES);
      writes.push({ offsetBytes, data });
      dataAt += LOG_SECTOR_BYTES;
    } else {
      return undefined;
    }
  }
  return writes;
}

function descriptorSectors(count: number): number {
  return Math.ceil((LogEntryHeader.sizeBytes + count * LOG_DESCRIPTOR_BYTES) / LOG_SECTOR_BYTES);
}

/** What the header of a new entry says. */
export interface LogEntryFields {
  readonly logGuid: Guid;
  readonly tail: number;
  readonly sequenceNumber: bigint;
  readonly flushedFileOffset: number;
  readonly lastFileOffset: number;
}

/** An entry that writes the given pages of 4 KiB. */
export function encodeLogEntry(fields: LogEntryFields, pages: readonly MetadataPage[]): Uint8Array {
  const dataOffset = descriptorSectors(pages.length) * LOG_SECTOR_BYTES;
  const entry = new Uint8Array(dataOffset + pages.length * LOG_SECTOR_BYTES);
  LogEntryHeader.write(entry, {
    Signature: LOG_ENTRY_SIGNATURE,
    EntryLength: entry.length,
    Tail: fields.tail,
    SequenceNumber: fields.sequenceNumber,
    DescriptorCount: pages.length,
    LogGuid: fields.logGuid,
    FlushedFileOffset: BigInt(fields.flushedFileOffset),
    LastFileOffset: BigInt(fields.lastFileOffset),
  });
  pages.forEach(({ offsetBytes, bytes }, index) => {
    assert(
      bytes.length === LOG_SECTOR_BYTES && offsetBytes % LOG_SECTOR_BYTES === 0,
      'a page is one log sector',
    );
    LogDescriptor.write(
      entry,
      {
        Signature: DATA_DESCRIPTOR_SIGNATURE,
        LeadingBytes: bytes.subarray(0, LEADING_BYTES),
        TrailingBytes: bytes.subarray(LOG_SECTOR_BYTES - TRAILING_BYTES),
        FileOffset: BigInt(offsetBytes),
        SequenceNumber: fields.sequenceNumber,
      },
      LogEntryHeader.sizeBytes + index * LOG_DESCRIPTOR_BYTES,
    );
    const at = dataOffset + index * LOG_SECTOR_BYTES;
    entry.set(bytes, at);
    LogDataSector.write(
      entry,
      {
        Signature: DATA_SECTOR_SIGNATURE,
        SequenceHigh: Number(fields.sequenceNumber >> 32n),
        SequenceLow: Number(fields.sequenceNumber & 0xffff_ffffn),
      },
      at,
    );
  });
  LogEntryHeader.write(entry, { Checksum: structureChecksum(entry, LogEntryHeader.offsetOf('Checksum')) });
  return entry;
}

/**
 * Appends entries to the log, each a sequence of its own: its writes have to reach their places and be flushed
 * before the next is begun.
 */
export class LogWriter {
  readonly #file: BlockFile;
  readonly #place: LogPlace;
  #at = 0;
  #sequenceNumber = 1n;

  constructor(file: BlockFile, place: LogPlace) {
    this.#file = file;
    this.#place = place;
  }

  get logGuid(): Guid {
    return this.#place.logGuid;
  }

  /**
   * Pages that one entry takes. A third of the log at most: the entry before, which must stay whole until the new
   * one is, then never is in the way, and no entry has to wrap.
   */
  get pagesPerEntry(): number {
    const sectors = Math.floor(this.#place.logLength / LOG_SECTOR_BYTES / 3);
    return sectors - descriptorSectors(sectors);
  }

  /** Writes one entry; durable after the next flush of the file. */
  async append(
    pages: readonly MetadataPage[],
    fields: Pick<LogEntryFields, 'flushedFileOffset' | 'lastFileOffset'>,
  ): Promise<void> {
    const { logGuid, logLength, logOffset } = this.#place;
    const lengthBytes = (descriptorSectors(pages.length) + pages.length) * LOG_SECTOR_BYTES;
    const at = this.#at + lengthBytes <= logLength ? this.#at : 0;
    const entry = encodeLogEntry(
      { ...fields, logGuid, tail: at, sequenceNumber: this.#sequenceNumber },
      pages,
    );
    await this.#file.write(logOffset + at, [entry]);
    this.#sequenceNumber++;
    this.#at = at + lengthBytes;
  }
}
