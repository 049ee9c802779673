import {
  type GuestBlockDevice,
  GuestIoError,
  type GuestPages,
  type GuestTask,
  PAGE_SIZE,
} from '@kensho/core';
import { ScsiOp } from '../protocol/scsi.ts';
import type { StorageAdapter } from './storage-adapter.ts';

/** A disk or a disc as a scan of the bus found it. */
export interface FoundUnit {
  readonly lun: number;
  readonly sectorSizeBytes: number;
  readonly sectorCount: number;
  readonly readOnly: boolean;
  /** Differs where another disk stands behind the same LUN. */
  readonly identity: string;
}

/** A unit of a synthetic SCSI controller as guest programs use it. */
export class GuestScsiDisk implements GuestBlockDevice {
  readonly name: string;
  readonly path = 'enlightened';
  readonly sectorSizeBytes: number;
  readonly sectorCount: number;
  readonly readOnly: boolean;
  readonly queueDepth: number;
  readonly maxTransferBytes: number;
  readonly #adapter: StorageAdapter;
  readonly #lun: number;

  constructor(name: string, adapter: StorageAdapter, found: FoundUnit) {
    this.name = name;
    this.sectorSizeBytes = found.sectorSizeBytes;
    this.sectorCount = found.sectorCount;
    this.readOnly = found.readOnly;
    this.queueDepth = adapter.queueDepth;
    this.maxTransferBytes = adapter.maxTransferBytes;
    this.#adapter = adapter;
    this.#lun = found.lun;
  }

  read(lba: number, count: number, target: GuestPages, offset = 0): GuestTask {
    return this.#transfer(ScsiOp.READ_10, ScsiOp.READ_16, lba, count, target, offset);
  }

  write(lba: number, count: number, source: GuestPages, offset = 0): GuestTask {
    return this.#transfer(ScsiOp.WRITE_10, ScsiOp.WRITE_16, lba, count, source, offset);
  }

  *flush(): GuestTask {
    yield* this.#adapter.command(this.#lun, writeFlush, false, undefined);
  }

  *#transfer(
    short: number,
    long: number,
    lba: number,
    count: number,
    memory: GuestPages,
    offset: number,
  ): GuestTask {
    const sizeBytes = count * this.sectorSizeBytes;
    if (sizeBytes > this.maxTransferBytes || offset + sizeBytes > memory.sizeBytes) {
      throw new GuestIoError(
        `${this.name}: ${sizeBytes} bytes at ${offset} do not fit the buffer or one request`,
      );
    }
    if (sizeBytes === 0) return;
    const firstPage = Math.floor(offset / PAGE_SIZE);
    const lastPage = Math.floor((offset + sizeBytes - 1) / PAGE_SIZE);
    const buffer = {
      pages: memory.pages.slice(firstPage, lastPage + 1),
      offset: offset % PAGE_SIZE,
      sizeBytes,
    };
    const write = (packet: Uint8Array, at: number) => writeBlockCdb(packet, at, short, long, lba, count);
    const moved = yield* this.#adapter.command(this.#lun, write, short === ScsiOp.READ_10, buffer);
    if (moved !== sizeBytes)
      throw new GuestIoError(`${this.name}: ${moved} of ${sizeBytes} bytes were moved`);
  }
}

function writeFlush(packet: Uint8Array, at: number): number {
  packet[at] = ScsiOp.SYNCHRONIZE_CACHE_10;
  return 10;
}

/** A block CDB of 10 bytes where the numbers fit one, else of 16. */
function writeBlockCdb(
  packet: Uint8Array,
  at: number,
  short: number,
  long: number,
  lba: number,
  count: number,
): number {
  if (lba <= 0xffff_ffff && count <= 0xffff) {
    packet[at] = short;
    put32(packet, at + 2, lba);
    packet[at + 7] = count >>> 8;
    packet[at + 8] = count;
    return 10;
  }
  packet[at] = long;
  put32(packet, at + 2, lba / 0x1_0000_0000);
  put32(packet, at + 6, lba);
  put32(packet, at + 10, count);
  return 16;
}

/** The low 32 bits of a number, big-endian. */
function put32(packet: Uint8Array, at: number, value: number): void {
  packet[at] = value >>> 24;
  packet[at + 1] = value >>> 16;
  packet[at + 2] = value >>> 8;
  packet[at + 3] = value;
}
