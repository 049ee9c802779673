import type { MaybePromise } from '@kensho/core';
import type { Disk } from '../backend/disk.ts';
import {
  BlockFlags,
  be16,
  be32,
  CACHING_WCE,
  LBPME,
  ModeDeviceSpecific,
  ModePage,
  READ_CAPACITY_16,
  ReadCapacity10Data,
  ReadCapacity16Data,
  ScsiOp,
  Sense,
  UnmapDescriptor,
  UnmapHeader,
} from '../protocol/scsi.ts';
import { blockCount, firstBlock, outcome } from './block-commands.ts';
import { diskIdentity, MAX_UNMAP_DESCRIPTORS, MAX_WRITE_SAME_BYTES } from './inquiry.ts';
import { LogicalUnit } from './logical-unit.ts';
import { fixedPage, type ModePageImage, modeSelectLength, modeSense, parseModeSelect } from './mode-pages.ts';
import { checkCondition, DONE, good, reply, type ScsiResult, slice, snapshot, totalBytes } from './result.ts';

/** Host memory that VERIFY and WRITE SAME work with, whatever they cover. */
const SCRATCH_BYTES = 64 * 1024;
/** Times that WRITE SAME names its scratch memory in one write. */
const SCRATCH_REPEATS = 16;

/** A disk as a SCSI direct-access device (SBC-3). The disk stays its caller's: nothing here closes it. */
export class DiskUnit extends LogicalUnit {
  readonly disk: Disk;
  readonly #blockBytes: number;
  readonly #blocks: number;
  readonly #modePages: readonly ModePageImage[];
  readonly #caching: Uint8Array;

  constructor(disk: Disk) {
    super(diskIdentity(disk));
    this.disk = disk;
    this.#blockBytes = disk.logicalSectorBytes;
    this.#blocks = disk.sizeBytes / disk.logicalSectorBytes;
    this.#caching = new Uint8Array(20);
    this.#caching.set([ModePage.CACHING, 18, CACHING_WCE]);
    const changeable = new Uint8Array(20);
    changeable[2] = CACHING_WCE;
    const errorRecovery = new Uint8Array(12);
    errorRecovery.set([ModePage.ERROR_RECOVERY, 10]);
    const control = new Uint8Array(12);
    control.set([ModePage.CONTROL, 10, 0, 0x10]); // commands may be reordered
    this.#modePages = [
      fixedPage(errorRecovery),
      { current: this.#caching, initial: this.#caching.slice(), changeable },
      fixedPage(control),
    ];
  }

  protected override perform(
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    dataOut: readonly Uint8Array[],
  ): MaybePromise<ScsiResult> {
    switch (cdb[0]) {
      case ScsiOp.READ_6:
      case ScsiOp.READ_10:
      case ScsiOp.READ_12:
      case ScsiOp.READ_16:
        return this.#read(cdb, dataIn);
      case ScsiOp.WRITE_6:
      case ScsiOp.WRITE_10:
      case ScsiOp.WRITE_12:
      case ScsiOp.WRITE_16:
        return this.#write(cdb, dataOut);
      case ScsiOp.SYNCHRONIZE_CACHE_10:
      case ScsiOp.SYNCHRONIZE_CACHE_16:
        return this.#synchronizeCache(cdb);
      case ScsiOp.UNMAP:
        return this.#unmap(cdb, dataOut);
      case ScsiOp.WRITE_SAME_10:
      case ScsiOp.WRITE_SAME_16:
        return this.#writeSame(cdb, dataOut);
      case ScsiOp.VERIFY_10:
      case ScsiOp.VERIFY_12:
      case ScsiOp.VERIFY_16:
        return this.#verify(cdb, dataOut);
      // One initiator reaches the unit, so a reservation excludes nobody.
      case ScsiOp.RESERVE_6:
      case ScsiOp.RESERVE_10:
      case ScsiOp.RELEASE_6:
      case ScsiOp.RELEASE_10:
      case ScsiOp.TEST_UNIT_READY:
        return DONE;
      case ScsiOp.READ_CAPACITY_10:
        return this.#readCapacity10(dataIn);
      case ScsiOp.SERVICE_ACTION_IN_16:
        return this.#serviceActionIn(cdb, dataIn);
      case ScsiOp.MODE_SENSE_6:
      case ScsiOp.MODE_SENSE_10: {
        const writeProtect = this.disk.readOnly ? ModeDeviceSpecific.WRITE_PROTECT : 0;
        return modeSense(cdb, dataIn, this.#modePages, writeProtect | ModeDeviceSpecific.DPO_FUA);
      }
      case ScsiOp.MODE_SELECT_6:
      case ScsiOp.MODE_SELECT_10:
        return this.#modeSelect(cdb, dataOut);
      case ScsiOp.START_STOP_UNIT:
        return this.#startStop(cdb);
      case ScsiOp.SEND_DIAGNOSTIC: {
        const selfTest = (cdb[1] & 0x04) !== 0;
        return selfTest && be16(cdb, 3) === 0 ? DONE : checkCondition(Sense.INVALID_FIELD_IN_CDB);
      }
      default:
        return checkCondition(Sense.INVALID_COMMAND_OPERATION_CODE);
    }
  }

  #read(cdb: Uint8Array, dataIn: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    const refusal = this.#refusal(cdb);
    if (refusal !== 0) return checkCondition(refusal);
    const sizeBytes = blockCount(cdb) * this.#blockBytes;
    if (sizeBytes === 0) return DONE;
    if (totalBytes(dataIn) < sizeBytes) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const target = slice(dataIn, 0, sizeBytes);
    const offset = firstBlock(cdb) * this.#blockBytes;
    return outcome(() => this.disk.read(offset, target), good(sizeBytes), Sense.UNRECOVERED_READ_ERROR);
  }

  #write(cdb: Uint8Array, dataOut: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    const refusal = this.#refusal(cdb);
    if (refusal !== 0) return checkCondition(refusal);
    if (this.disk.readOnly) return checkCondition(Sense.WRITE_PROTECTED);
    const sizeBytes = blockCount(cdb) * this.#blockBytes;
    if (sizeBytes === 0) return DONE;
    if (totalBytes(dataOut) < sizeBytes) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const source = slice(dataOut, 0, sizeBytes);
    const offset = firstBlock(cdb) * this.#blockBytes;
    const forced = cdb[0] !== ScsiOp.WRITE_6 && (cdb[1] & BlockFlags.FUA) !== 0;
    const write = () => this.disk.write(offset, source);
    const operation = forced || !this.#writeCacheEnabled ? () => this.#durably(write) : write;
    return outcome(operation, good(sizeBytes), Sense.WRITE_ERROR);
  }

  async #durably(write: () => MaybePromise<void>): Promise<void> {
    await write();
    await this.disk.flush();
  }

  get #writeCacheEnabled(): boolean {
    return (this.#caching[2] & CACHING_WCE) !== 0;
  }

  /** The sense code for protection bits that are not supported, or for blocks that are not there; else 0. */
  #refusal(cdb: Uint8Array): number {
    if (cdb[0] >>> 5 !== 0 && (cdb[1] & BlockFlags.PROTECT) !== 0) return Sense.INVALID_FIELD_IN_CDB;
    return this.#inRange(firstBlock(cdb), blockCount(cdb)) ? 0 : Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE;
  }

  #inRange(lba: number, count: number): boolean {
    return lba < this.#blocks && count <= this.#blocks - lba;
  }

  /** Whatever range is named, everything becomes durable that was written by commands which came before. */
  #synchronizeCache(cdb: Uint8Array): MaybePromise<ScsiResult> {
    const refusal = this.#refusal(cdb);
    if (refusal !== 0) return checkCondition(refusal);
    return this.#flush();
  }

  #flush(): MaybePromise<ScsiResult> {
    const earlier = this.drain();
    const flush = () => this.disk.flush();
    return outcome(earlier === undefined ? flush : () => earlier.then(flush), DONE, Sense.WRITE_ERROR);
  }

  /** SBC-3 5.28. All descriptors are checked before the first takes effect. */
  #unmap(cdb: Uint8Array, dataOut: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    if (!this.disk.canTrim) return checkCondition(Sense.INVALID_COMMAND_OPERATION_CODE);
    const anchor = (cdb[1] & 0x01) !== 0;
    const announcedBytes = be16(cdb, 7);
    if (anchor || totalBytes(dataOut) < announcedBytes) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    if (this.disk.readOnly) return checkCondition(Sense.WRITE_PROTECTED);
    if (announcedBytes === 0) return DONE;
    if (announcedBytes < UnmapHeader.sizeBytes) return checkCondition(Sense.PARAMETER_LIST_LENGTH_ERROR);
    const list = snapshot(dataOut, announcedBytes);
    const descriptorBytes = Math.min(
      be16(list, UnmapHeader.offsetOf('descriptorDataLength')),
      list.length - UnmapHeader.sizeBytes,
    );
    const count = Math.floor(descriptorBytes / UnmapDescriptor.sizeBytes);
    if (count > MAX_UNMAP_DESCRIPTORS) return checkCondition(Sense.INVALID_FIELD_IN_PARAMETER_LIST);
    const ranges: { offset: number; sizeBytes: number }[] = [];
    for (let i = 0; i < count; i++) {
      const at = UnmapHeader.sizeBytes + i * UnmapDescriptor.sizeBytes;
      const descriptor = UnmapDescriptor.read(list, at);
      const lba = Number(descriptor.logicalBlockAddress);
      if (!this.#inRange(lba, descriptor.blockCount)) {
        return checkCondition(Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
      }
      if (descriptor.blockCount === 0) continue;
      ranges.push({ offset: lba * this.#blockBytes, sizeBytes: descriptor.blockCount * this.#blockBytes });
    }
    const trimAll = async () => {
      for (const { offset, sizeBytes } of ranges) await this.disk.trim(offset, sizeBytes);
    };
    return outcome(trimAll, good(announcedBytes), Sense.WRITE_ERROR);
  }

  /** SBC-3 5.43 and 5.44. No blocks at all stands for the rest of the disk. */
  #writeSame(cdb: Uint8Array, dataOut: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    const long = cdb[0] === ScsiOp.WRITE_SAME_16;
    const unmap = (cdb[1] & BlockFlags.UNMAP) !== 0;
    const zeroes = long && (cdb[1] & BlockFlags.NDOB) !== 0;
    if ((cdb[1] & BlockFlags.ANCHOR) !== 0 || (unmap && !this.disk.canTrim)) {
      return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    }
    const refusal = this.#refusal(cdb);
    if (refusal !== 0) return checkCondition(refusal);
    if (this.disk.readOnly) return checkCondition(Sense.WRITE_PROTECTED);
    const lba = firstBlock(cdb);
    const sizeBytes = (blockCount(cdb) || this.#blocks - lba) * this.#blockBytes;
    if (sizeBytes > MAX_WRITE_SAME_BYTES) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const takenBytes = zeroes ? 0 : this.#blockBytes;
    if (totalBytes(dataOut) < takenBytes) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const offset = lba * this.#blockBytes;
    const pattern = snapshot(dataOut, takenBytes);
    const operation = unmap
      ? () => this.disk.trim(offset, sizeBytes)
      : () => this.#fill(offset, sizeBytes, pattern);
    return outcome(operation, good(takenBytes), Sense.WRITE_ERROR);
  }

  /** Writes `pattern`, one block or nothing for zeroes, over and over. */
  async #fill(offset: number, sizeBytes: number, pattern: Uint8Array): Promise<void> {
    const scratch = new Uint8Array(Math.min(SCRATCH_BYTES, sizeBytes));
    if (pattern.length > 0)
      for (let at = 0; at < scratch.length; at += pattern.length) scratch.set(pattern, at);
    const repeated = new Array<Uint8Array>(SCRATCH_REPEATS).fill(scratch);
    const stepBytes = scratch.length * SCRATCH_REPEATS;
    for (let done = 0; done < sizeBytes; done += stepBytes) {
      await this.disk.write(offset + done, slice(repeated, 0, Math.min(stepBytes, sizeBytes - done)));
    }
    if (!this.#writeCacheEnabled) await this.disk.flush();
  }

  /**
   * SBC-3 5.29: compares with the data-out buffer. Without one there is nothing to check beyond the range: whether
   * the medium can be read is for the host's storage to know.
   */
  #verify(cdb: Uint8Array, dataOut: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    const refusal = this.#refusal(cdb);
    if (refusal !== 0) return checkCondition(refusal);
    const compare = (cdb[1] & BlockFlags.BYTCHK) >>> 1;
    if (compare === 0) return DONE;
    const sizeBytes = blockCount(cdb) * this.#blockBytes;
    if (compare !== 1 || totalBytes(dataOut) < sizeBytes) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    return this.#compare(firstBlock(cdb) * this.#blockBytes, slice(dataOut, 0, sizeBytes), sizeBytes);
  }

  async #compare(offset: number, expected: readonly Uint8Array[], sizeBytes: number): Promise<ScsiResult> {
    const scratch = new Uint8Array(Math.min(SCRATCH_BYTES, sizeBytes));
    for (let done = 0; done < sizeBytes; done += scratch.length) {
      const part = scratch.subarray(0, Math.min(scratch.length, sizeBytes - done));
      const read = await outcome(
        () => this.disk.read(offset + done, [part]),
        DONE,
        Sense.UNRECOVERED_READ_ERROR,
      );
      if (read !== DONE) return read;
      let at = 0;
      for (const view of slice(expected, done, part.length)) {
        if (Buffer.compare(view, part.subarray(at, at + view.length)) !== 0) {
          return checkCondition(Sense.MISCOMPARE_DURING_VERIFY);
        }
        at += view.length;
      }
    }
    return good(sizeBytes);
  }

  #readCapacity10(dataIn: readonly Uint8Array[]): ScsiResult {
    const data = ReadCapacity10Data.encode({
      lastLogicalBlockAddress: Math.min(this.#blocks - 1, 0xffff_ffff),
      blockLength: this.#blockBytes,
    });
    return reply(dataIn, data, data.length);
  }

  #serviceActionIn(cdb: Uint8Array, dataIn: readonly Uint8Array[]): ScsiResult {
    if ((cdb[1] & 0x1f) !== READ_CAPACITY_16) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const data = ReadCapacity16Data.encode({
      lastLogicalBlockAddress: BigInt(this.#blocks - 1),
      blockLength: this.#blockBytes,
      physicalBlockExponent: Math.log2(Math.max(1, this.disk.physicalSectorBytes / this.#blockBytes)),
      provisioning: this.disk.canTrim ? LBPME : 0,
    });
    return reply(dataIn, data, be32(cdb, 10));
  }

  /** Only the write cache can be switched; turning it off makes durable what it holds. */
  #modeSelect(cdb: Uint8Array, dataOut: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    const list = snapshot(dataOut, modeSelectLength(cdb));
    const pages = parseModeSelect(cdb, list, this.#modePages);
    if (typeof pages === 'number') return checkCondition(pages);
    const wasEnabled = this.#writeCacheEnabled;
    for (const page of pages) if (page[0] === ModePage.CACHING) this.#caching.set(page);
    return wasEnabled && !this.#writeCacheEnabled ? this.#flush() : good(list.length);
  }

  /** SBC-3 5.25: a unit that stops has nothing left in its cache. */
  #startStop(cdb: Uint8Array): MaybePromise<ScsiResult> {
    const start = (cdb[4] & 0x01) !== 0;
    const loadOrEject = (cdb[4] & 0x02) !== 0;
    if (loadOrEject) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    return start ? DONE : this.#flush();
  }
}
