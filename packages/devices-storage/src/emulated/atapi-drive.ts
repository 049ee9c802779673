import type { Guid } from '@kensho/core';
import {
  AtaCommand,
  AtaError,
  AtaRegister,
  AtaSignature,
  IDENTIFY_BYTES,
  InterruptReason,
  PACKET_BYTES,
  PACKET_DMA,
} from '../protocol/ide.ts';
import { CD_BLOCK_BYTES } from '../protocol/mmc.ts';
import { BlockCdb10, BlockCdb12, ScsiOp, ScsiStatus } from '../protocol/scsi.ts';
import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { ScsiResult } from '../scsi/result.ts';
import { BUFFER_BYTES, type DriveCable, type DriveServices, IdeDrive } from './ide-drive.ts';
import { identifyDvd } from './identify.ts';

const BUFFER_BLOCKS = BUFFER_BYTES / CD_BLOCK_BYTES;
const POWER_ACTIVE = 0xff;
const NO_DATA_OUT: readonly Uint8Array[] = [];

/**
 * A CD/DVD drive on a cable: carries the command packets of a logical unit (ATA/ATAPI-6, 8.23 and 9.8).
 *
 * No command of the unit takes data from the host. READ goes straight to guest memory by DMA, and through the
 * buffer, as often as needed, by PIO; the replies of other commands all fit the buffer.
 */
export class AtapiDrive extends IdeDrive {
  readonly #unit: LogicalUnit;
  readonly #id: Guid;
  readonly #packet = new Uint8Array(PACKET_BYTES);
  /** A piece of a READ that is longer than the buffer. */
  readonly #piece = new Uint8Array(BlockCdb10.sizeBytes);
  #byDma = false;
  /** Most bytes of a DRQ block, even. */
  #blockBytes = 0;

  /** @param id - stays the same for the same drive */
  constructor(services: DriveServices, cable: DriveCable, unit: LogicalUnit, id: Guid) {
    super(services, cable, AtaSignature.ATAPI, false);
    this.#unit = unit;
    this.#id = id;
  }

  override acceptsWhileBusy(code: number): boolean {
    return code === AtaCommand.DEVICE_RESET;
  }

  protected override execute(code: number): void {
    switch (code) {
      case AtaCommand.PACKET:
        this.#receivePacket();
        return;
      case AtaCommand.IDENTIFY_PACKET_DEVICE:
        this.buffer.set(identifyDvd(this.#id, this.settings));
        this.sendBlock(0, IDENTIFY_BYTES, () => this.endQuietly());
        return;
      case AtaCommand.IDENTIFY_DEVICE:
      case AtaCommand.READ_SECTORS:
        // How a host that takes this for a disk finds out that it is none.
        this.showSignature();
        this.fail(AtaError.ABRT);
        return;
      case AtaCommand.DEVICE_RESET:
        this.holdReset();
        this.releaseReset();
        return;
      case AtaCommand.SET_FEATURES:
        this.setFeatures(false);
        return;
      case AtaCommand.CHECK_POWER_MODE:
        this.setRegister(AtaRegister.SECTOR_COUNT, POWER_ACTIVE);
        this.succeed();
        return;
      case AtaCommand.IDLE_IMMEDIATE:
      case AtaCommand.STANDBY_IMMEDIATE:
      case AtaCommand.SLEEP:
        this.succeed();
        return;
      case AtaCommand.NOP:
        this.fail(AtaError.ABRT);
        return;
      default:
        this.refuse(code);
    }
  }

  #receivePacket(): void {
    this.#byDma = (this.register(AtaRegister.FEATURES) & PACKET_DMA) !== 0;
    const limit = this.register(AtaRegister.LBA_MID) | (this.register(AtaRegister.LBA_HIGH) << 8);
    // Blocks are words: an odd limit rounds down. A limit of nothing means as much as there can be.
    this.#blockBytes = limit & 0xfffe || 0xfffe;
    this.setRegister(AtaRegister.SECTOR_COUNT, InterruptReason.COD);
    this.receiveBlock(0, PACKET_BYTES, () => {
      this.#packet.set(this.buffer.subarray(0, PACKET_BYTES));
      this.requests.value++;
      this.#executePacket();
    });
  }

  #executePacket(): void {
    const cdb = this.#packet;
    switch (cdb[0]) {
      case ScsiOp.READ_10: {
        const { logicalBlockAddress, transferLength } = BlockCdb10.read(cdb);
        this.#read(logicalBlockAddress, transferLength);
        return;
      }
      case ScsiOp.READ_12: {
        const { logicalBlockAddress, transferLength } = BlockCdb12.read(cdb);
        this.#read(logicalBlockAddress, transferLength);
        return;
      }
      default:
        this.#execute(cdb, [this.buffer], (result) => this.#reply(result.transferred));
    }
  }

  #read(lba: number, blocks: number): void {
    if (blocks === 0) this.#execute(this.#packet, [], () => this.#endPacket());
    else if (this.#byDma) this.#readDma(blocks);
    else this.#readPio(lba, blocks);
  }

  #readDma(blocks: number): void {
    this.requestDma(true, blocks * CD_BLOCK_BYTES, (views) => {
      this.run(
        () => this.#unit.execute(this.#packet, views, NO_DATA_OUT),
        (error, result) => {
          this.cable.finishDma();
          this.#settle(error, result, ({ transferred }) => {
            this.bytesRead.value += transferred;
            this.#endPacket();
          });
        },
      );
    });
  }

  #readPio(lba: number, blocks: number): void {
    const count = Math.min(blocks, BUFFER_BLOCKS);
    BlockCdb10.write(this.#piece, {
      operationCode: ScsiOp.READ_10,
      logicalBlockAddress: lba,
      transferLength: count,
    });
    this.#execute(this.#piece, [this.buffer.subarray(0, count * CD_BLOCK_BYTES)], ({ transferred }) => {
      this.bytesRead.value += transferred;
      this.#send(0, transferred, () => {
        if (blocks > count) this.#readPio(lba + count, blocks - count);
        else this.#endPacket();
      });
    });
  }

  /** Gives the host `sizeBytes` bytes of the buffer, by whichever way it asked for. */
  #reply(sizeBytes: number): void {
    if (sizeBytes === 0) {
      this.#endPacket();
    } else if (this.#byDma) {
      this.requestDma(true, sizeBytes, (views) => {
        let done = 0;
        for (const view of views) {
          view.set(this.buffer.subarray(done, done + view.length));
          done += view.length;
        }
        this.cable.finishDma();
        this.#endPacket();
      });
    } else {
      this.#send(0, sizeBytes, () => this.#endPacket());
    }
  }

  #send(from: number, sizeBytes: number, done: () => void): void {
    const count = Math.min(sizeBytes - from, this.#blockBytes);
    this.setRegister(AtaRegister.SECTOR_COUNT, InterruptReason.IO);
    this.setRegister(AtaRegister.LBA_MID, count & 0xff);
    this.setRegister(AtaRegister.LBA_HIGH, count >> 8);
    this.sendBlock(from, count + (count & 1), () => {
      if (from + count < sizeBytes) this.#send(from + count, sizeBytes, done);
      else done();
    });
  }

  #execute(cdb: Uint8Array, dataIn: readonly Uint8Array[], done: (result: ScsiResult) => void): void {
    this.run(
      () => this.#unit.execute(cdb, dataIn, NO_DATA_OUT),
      (error, result) => this.#settle(error, result, done),
    );
  }

  /** Goes on with a good result; ends the packet with the sense key otherwise. */
  #settle(
    error: Error | undefined,
    result: ScsiResult | undefined,
    done: (result: ScsiResult) => void,
  ): void {
    const cause = error ?? result?.cause;
    if (cause !== undefined) this.reportBackend(cause);
    if (error === undefined && result !== undefined && result.status === ScsiStatus.GOOD) {
      done(result);
      return;
    }
    this.setRegister(AtaRegister.SECTOR_COUNT, InterruptReason.COD | InterruptReason.IO);
    const senseKey = (result?.sense ?? 0) >>> 16;
    this.fail((senseKey << 4) | AtaError.ABRT);
  }

  #endPacket(): void {
    this.setRegister(AtaRegister.SECTOR_COUNT, InterruptReason.COD | InterruptReason.IO);
    this.succeed();
  }
}
