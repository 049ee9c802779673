import { type Guid, KenshoError, type MaybePromise } from '@kensho/core';
import type { Disk } from '../backend/disk.ts';
import {
  CD_BLOCK_BYTES,
  MEDIA_CLASS,
  MEDIA_CLASS_BIT,
  MediaEvent,
  MediaEventReply,
  MediaStatus,
  NO_EVENT_AVAILABLE,
} from '../protocol/mmc.ts';
import { be16, ModePage, ReadCapacity10Data, ScsiOp, Sense } from '../protocol/scsi.ts';
import { blockCount, firstBlock, outcome } from './block-commands.ts';
import {
  capabilitiesPage,
  configuration,
  discInformation,
  tableOfContents,
  trackInformation,
} from './dvd-replies.ts';
import { dvdIdentity } from './inquiry.ts';
import { LogicalUnit } from './logical-unit.ts';
import { fixedPage, modeSense } from './mode-pages.ts';
import { checkCondition, DONE, good, reply, type ScsiResult, slice, totalBytes } from './result.ts';

const ERROR_RECOVERY_PAGE = fixedPage(Uint8Array.of(ModePage.ERROR_RECOVERY, 10, ...new Uint8Array(10)));

/**
 * A CD/DVD drive with a tray (MMC-6): serves blocks of 2048 bytes of the image in it. The image stays its caller's.
 */
export class DvdUnit extends LogicalUnit {
  #medium: Disk | undefined;
  #trayOpen = false;
  /** The guest asked that the medium stay (PREVENT ALLOW MEDIUM REMOVAL). */
  #locked = false;
  #event: number = MediaEvent.NONE;

  /** @param id - stays the same for the same drive. Throws as {@link insert} does. */
  constructor(id: Guid, medium?: Disk) {
    super(dvdIdentity(id));
    if (medium !== undefined) checkMedium(medium);
    this.#medium = medium;
  }

  /** What lies in the tray, open or closed. */
  get medium(): Disk | undefined {
    return this.#medium;
  }

  get trayOpen(): boolean {
    return this.#trayOpen;
  }

  /**
   * Puts a medium into the tray, in place of one that was there, and closes it. Throws KenshoError
   * UNSUPPORTED_SECTOR_SIZE where a block of a disc is not made of the image's sectors.
   */
  insert(medium: Disk): void {
    checkMedium(medium);
    this.#medium = medium;
    this.#close();
  }

  /**
   * Presses the eject button.
   *
   * @param force - take the medium out even where the guest holds it
   * @returns whether the medium is out, and no longer used; where the guest holds it, it was told instead
   */
  async eject(force = false): Promise<boolean> {
    if (this.#locked && !force) {
      this.#event = MediaEvent.EJECT_REQUEST;
      return false;
    }
    this.#medium = undefined;
    this.#open();
    await this.drain();
    return true;
  }

  override reset(attention: number): void {
    this.#locked = false;
    super.reset(attention);
  }

  protected override perform(
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    _dataOut: readonly Uint8Array[],
  ): MaybePromise<ScsiResult> {
    switch (cdb[0]) {
      case ScsiOp.GET_EVENT_STATUS_NOTIFICATION:
        return this.#eventStatus(cdb, dataIn);
      case ScsiOp.GET_CONFIGURATION:
        return configuration(cdb, dataIn, this.#blocks);
      case ScsiOp.MODE_SENSE_6:
      case ScsiOp.MODE_SENSE_10:
        return modeSense(cdb, dataIn, [ERROR_RECOVERY_PAGE, fixedPage(capabilitiesPage(this.#locked))], 0);
      case ScsiOp.MECHANISM_STATUS:
        return reply(dataIn, Uint8Array.of(0, this.#trayOpen ? 0x10 : 0, 0, 0, 0, 1, 0, 0), be16(cdb, 8));
      case ScsiOp.START_STOP_UNIT:
        return this.#startStop(cdb);
      case ScsiOp.PREVENT_ALLOW_MEDIUM_REMOVAL:
        this.#locked = (cdb[4] & 0x01) !== 0;
        return DONE;
      case ScsiOp.SET_CD_SPEED:
        return DONE;
      case ScsiOp.TEST_UNIT_READY:
      case ScsiOp.READ_CAPACITY_10:
      case ScsiOp.READ_10:
      case ScsiOp.READ_12:
      case ScsiOp.READ_16:
      case ScsiOp.READ_TOC_PMA_ATIP:
      case ScsiOp.READ_DISC_INFORMATION:
      case ScsiOp.READ_TRACK_INFORMATION:
        return this.#onMedium(cdb, dataIn);
      default:
        return checkCondition(Sense.INVALID_COMMAND_OPERATION_CODE);
    }
  }

  /** Blocks of the medium that can be read now. */
  get #blocks(): number {
    if (this.#medium === undefined || this.#trayOpen) return 0;
    return Math.floor(this.#medium.sizeBytes / CD_BLOCK_BYTES);
  }

  #onMedium(cdb: Uint8Array, dataIn: readonly Uint8Array[]): MaybePromise<ScsiResult> {
    const medium = this.#medium;
    if (this.#trayOpen) return checkCondition(Sense.MEDIUM_NOT_PRESENT_TRAY_OPEN);
    if (medium === undefined) return checkCondition(Sense.MEDIUM_NOT_PRESENT_TRAY_CLOSED);
    const blocks = this.#blocks;
    switch (cdb[0]) {
      case ScsiOp.READ_CAPACITY_10: {
        const capacity = { lastLogicalBlockAddress: blocks - 1, blockLength: CD_BLOCK_BYTES };
        return reply(dataIn, ReadCapacity10Data.encode(capacity), ReadCapacity10Data.sizeBytes);
      }
      case ScsiOp.READ_TOC_PMA_ATIP:
        return tableOfContents(cdb, dataIn, blocks);
      case ScsiOp.READ_DISC_INFORMATION:
        return discInformation(cdb, dataIn);
      case ScsiOp.READ_TRACK_INFORMATION:
        return trackInformation(cdb, dataIn, blocks);
      case ScsiOp.TEST_UNIT_READY:
        return DONE;
      default:
        return this.#read(cdb, dataIn, medium, blocks);
    }
  }

  #read(
    cdb: Uint8Array,
    dataIn: readonly Uint8Array[],
    medium: Disk,
    blocks: number,
  ): MaybePromise<ScsiResult> {
    const lba = firstBlock(cdb);
    const count = blockCount(cdb);
    if (lba >= blocks || count > blocks - lba)
      return checkCondition(Sense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    const sizeBytes = count * CD_BLOCK_BYTES;
    if (sizeBytes === 0) return DONE;
    if (totalBytes(dataIn) < sizeBytes) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const target = slice(dataIn, 0, sizeBytes);
    const read = () => medium.read(lba * CD_BLOCK_BYTES, target);
    return outcome(read, good(sizeBytes), Sense.UNRECOVERED_READ_ERROR);
  }

  /** MMC-6 6.6, polled only; reading an event takes it. */
  #eventStatus(cdb: Uint8Array, dataIn: readonly Uint8Array[]): ScsiResult {
    const polled = (cdb[1] & 0x01) !== 0;
    if (!polled) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
    const allocationLength = be16(cdb, 7);
    if ((cdb[4] & MEDIA_CLASS_BIT) === 0) {
      return reply(dataIn, Uint8Array.of(0, 2, NO_EVENT_AVAILABLE, MEDIA_CLASS_BIT), allocationLength);
    }
    const present = this.#medium !== undefined && !this.#trayOpen;
    const data = MediaEventReply.encode({
      dataLength: MediaEventReply.sizeBytes - 2,
      notificationClass: MEDIA_CLASS,
      supportedClasses: MEDIA_CLASS_BIT,
      eventCode: this.#event,
      mediaStatus: (this.#trayOpen ? MediaStatus.TRAY_OPEN : 0) | (present ? MediaStatus.PRESENT : 0),
    });
    if (allocationLength > MediaEventReply.offsetOf('eventCode')) this.#event = MediaEvent.NONE;
    return reply(dataIn, data, allocationLength);
  }

  /** MMC-6 6.49: opens or closes the tray; a medium in an open tray comes back when the guest closes it. */
  #startStop(cdb: Uint8Array): ScsiResult {
    const start = (cdb[4] & 0x01) !== 0;
    const loadOrEject = (cdb[4] & 0x02) !== 0;
    if (!loadOrEject) return DONE;
    if (start) {
      if (this.#trayOpen) this.#close();
      return DONE;
    }
    if (this.#locked) return checkCondition(Sense.MEDIUM_REMOVAL_PREVENTED);
    this.#open();
    return DONE;
  }

  #open(): void {
    if (this.#trayOpen) return;
    this.#trayOpen = true;
    this.#event = MediaEvent.MEDIA_REMOVAL;
  }

  #close(): void {
    this.#trayOpen = false;
    if (this.#medium === undefined) return;
    this.#event = MediaEvent.NEW_MEDIA;
    this.raise(Sense.MEDIUM_MAY_HAVE_CHANGED);
  }
}

function checkMedium({ logicalSectorBytes }: Disk): void {
  if (CD_BLOCK_BYTES % logicalSectorBytes === 0) return;
  throw new KenshoError(
    'UNSUPPORTED_SECTOR_SIZE',
    `a disc has blocks of ${CD_BLOCK_BYTES} bytes, which an image with sectors of ${logicalSectorBytes} cannot serve`,
  );
}
