import { KenshoError } from '@kensho/core';
import type { Disk } from '../backend/disk.ts';
import {
  ATA_SECTOR_BYTES,
  AtaCommand,
  AtaDevice,
  AtaError,
  AtaRegister,
  AtaSignature,
  AtaStatus,
  IDENTIFY_BYTES,
} from '../protocol/ide.ts';
import { BUFFER_BYTES, type DriveCable, type DriveServices, IdeDrive } from './ide-drive.ts';
import {
  defaultGeometry,
  type Geometry,
  identifyDisk,
  LBA28_SECTORS,
  LBA48_SECTORS,
  MAX_MULTIPLE_SECTORS,
  translatedGeometry,
} from './identify.ts';

const BUFFER_SECTORS = BUFFER_BYTES / ATA_SECTOR_BYTES;
/** What CHECK POWER MODE answers: active or idle. */
const POWER_ACTIVE = 0xff;

/** How a command names its sectors. */
const Address = { SHORT: 28, EXT: 48 } as const;
type Address = (typeof Address)[keyof typeof Address];

/** A hard disk on a cable (ATA/ATAPI-6). The disk stays its caller's: nothing here closes it. */
export class AtaDrive extends IdeDrive {
  readonly #disk: Disk;
  readonly #sectors: number;
  #geometry: Geometry;
  /** What the command in progress has left to do. */
  #lba = 0;
  #left = 0;
  #addressing: Address = Address.SHORT;
  /** Whether it is done only when the data is durable. */
  #durable = false;

  /** @throws KenshoError UNSUPPORTED_SECTOR_SIZE */
  constructor(services: DriveServices, cable: DriveCable, disk: Disk) {
    super(services, cable, AtaSignature.ATA, true);
    if (disk.logicalSectorBytes !== ATA_SECTOR_BYTES) {
      throw new KenshoError(
        'UNSUPPORTED_SECTOR_SIZE',
        `${services.id}: an IDE disk has sectors of 512 bytes, not ${disk.logicalSectorBytes}: use the SCSI controller`,
      );
    }
    this.#disk = disk;
    this.#sectors = Math.min(disk.sizeBytes / ATA_SECTOR_BYTES, LBA48_SECTORS);
    this.#geometry = defaultGeometry(this.#sectors);
  }

  protected override execute(code: number): void {
    const multiple = this.settings.multipleSectors;
    switch (code) {
      case AtaCommand.IDENTIFY_DEVICE:
        this.buffer.set(identifyDisk(this.#disk, this.#geometry, this.settings));
        this.sendBlock(0, IDENTIFY_BYTES, () => this.endQuietly());
        return;
      case AtaCommand.READ_SECTORS:
      case AtaCommand.READ_SECTORS_WITHOUT_RETRY:
        this.#readPio(Address.SHORT, 1);
        return;
      case AtaCommand.READ_SECTORS_EXT:
        this.#readPio(Address.EXT, 1);
        return;
      case AtaCommand.READ_MULTIPLE:
        this.#readPio(Address.SHORT, multiple);
        return;
      case AtaCommand.READ_MULTIPLE_EXT:
        this.#readPio(Address.EXT, multiple);
        return;
      case AtaCommand.WRITE_SECTORS:
      case AtaCommand.WRITE_SECTORS_WITHOUT_RETRY:
        this.#writePio(Address.SHORT, 1, false);
        return;
      case AtaCommand.WRITE_SECTORS_EXT:
        this.#writePio(Address.EXT, 1, false);
        return;
      case AtaCommand.WRITE_MULTIPLE:
        this.#writePio(Address.SHORT, multiple, false);
        return;
      case AtaCommand.WRITE_MULTIPLE_EXT:
        this.#writePio(Address.EXT, multiple, false);
        return;
      case AtaCommand.WRITE_MULTIPLE_FUA_EXT:
        this.#writePio(Address.EXT, multiple, true);
        return;
      case AtaCommand.READ_DMA:
      case AtaCommand.READ_DMA_WITHOUT_RETRY:
        this.#readDma(Address.SHORT);
        return;
      case AtaCommand.READ_DMA_EXT:
        this.#readDma(Address.EXT);
        return;
      case AtaCommand.WRITE_DMA:
      case AtaCommand.WRITE_DMA_WITHOUT_RETRY:
        this.#writeDma(Address.SHORT, false);
        return;
      case AtaCommand.WRITE_DMA_EXT:
        this.#writeDma(Address.EXT, false);
        return;
      case AtaCommand.WRITE_DMA_FUA_EXT:
        this.#writeDma(Address.EXT, true);
        return;
      case AtaCommand.READ_VERIFY_SECTORS:
      case AtaCommand.READ_VERIFY_SECTORS_WITHOUT_RETRY:
        if (this.#begin(Address.SHORT)) this.#verify();
        return;
      case AtaCommand.READ_VERIFY_SECTORS_EXT:
        if (this.#begin(Address.EXT)) this.#verify();
        return;
      case AtaCommand.FLUSH_CACHE:
      case AtaCommand.FLUSH_CACHE_EXT:
        this.requests.value++;
        this.#flush();
        return;
      case AtaCommand.SET_FEATURES:
        this.setFeatures(true);
        return;
      case AtaCommand.SET_MULTIPLE_MODE:
        this.#setMultipleMode();
        return;
      case AtaCommand.INITIALIZE_DEVICE_PARAMETERS:
        this.#initializeDeviceParameters();
        return;
      case AtaCommand.CHECK_POWER_MODE:
        this.setRegister(AtaRegister.SECTOR_COUNT, POWER_ACTIVE);
        this.succeed();
        return;
      case AtaCommand.STANDBY:
      case AtaCommand.STANDBY_IMMEDIATE:
      case AtaCommand.SLEEP:
        // A drive writes its cache back before it stops its motor.
        this.#flush();
        return;
      case AtaCommand.IDLE:
      case AtaCommand.IDLE_IMMEDIATE:
      case AtaCommand.RECALIBRATE:
      case AtaCommand.SEEK:
        this.succeed();
        return;
      case AtaCommand.NOP:
        this.fail(AtaError.ABRT);
        return;
      default:
        this.refuse(code);
    }
  }

  /** Takes the address and count out of the registers; false, with the command ended, where there are no such sectors. */
  #begin(addressing: Address): boolean {
    this.requests.value++;
    this.#addressing = addressing;
    const lba = addressing === Address.EXT ? this.#lba48() : this.#lba28();
    const count =
      addressing === Address.EXT
        ? (this.previous(AtaRegister.SECTOR_COUNT) << 8) | this.register(AtaRegister.SECTOR_COUNT) || 0x10000
        : this.register(AtaRegister.SECTOR_COUNT) || 0x100;
    if (lba < 0 || lba + count > this.#sectors) {
      this.faults.report('ide.address', `${this.name}: sectors beyond the end of the disk`, { lba, count });
      this.fail(AtaError.IDNF);
      return false;
    }
    this.#lba = lba;
    this.#left = count;
    this.#durable = !this.settings.writeCache;
    return true;
  }

  #lba48(): number {
    const low = this.register(AtaRegister.LBA_LOW);
    const mid = this.register(AtaRegister.LBA_MID);
    const high = this.register(AtaRegister.LBA_HIGH);
    const upper =
      this.previous(AtaRegister.LBA_LOW) |
      (this.previous(AtaRegister.LBA_MID) << 8) |
      (this.previous(AtaRegister.LBA_HIGH) << 16);
    return upper * 2 ** 24 + (low | (mid << 8) | (high << 16));
  }

  /** The address of a 28-bit command, by sector number or by cylinder, head and sector; -1 where there is none. */
  #lba28(): number {
    const low = this.register(AtaRegister.LBA_LOW);
    const cylinder = this.register(AtaRegister.LBA_MID) | (this.register(AtaRegister.LBA_HIGH) << 8);
    const device = this.register(AtaRegister.DEVICE);
    const head = device & AtaDevice.HEAD;
    if ((device & AtaDevice.LBA) !== 0) return low | (cylinder << 8) | (head << 24);
    const { heads, sectorsPerTrack } = this.#geometry;
    if (low === 0 || low > sectorsPerTrack || head >= heads) return -1;
    return (cylinder * heads + head) * sectorsPerTrack + low - 1;
  }

  #readPio(addressing: Address, blockSectors: number): void {
    if (blockSectors === 0) this.fail(AtaError.ABRT);
    else if (this.#begin(addressing)) this.#fill(blockSectors);
  }

  /** Reads as much as the buffer holds, to be handed out in DRQ blocks. */
  #fill(blockSectors: number): void {
    const count = Math.min(this.#left, BUFFER_SECTORS);
    this.run(
      () => this.#disk.read(this.#lba * ATA_SECTOR_BYTES, [this.#bufferOf(count)]),
      (error) => {
        if (error !== undefined) this.#failRead(error);
        else this.#send(0, count, blockSectors);
      },
    );
  }

  #send(first: number, count: number, blockSectors: number): void {
    const sectors = Math.min(blockSectors, count - first);
    this.sendBlock(first * ATA_SECTOR_BYTES, sectors * ATA_SECTOR_BYTES, () => {
      this.bytesRead.value += sectors * ATA_SECTOR_BYTES;
      this.#lba += sectors;
      this.#left -= sectors;
      if (first + sectors < count) this.#send(first + sectors, count, blockSectors);
      else if (this.#left > 0) this.#fill(blockSectors);
      else this.endQuietly();
    });
  }

  #writePio(addressing: Address, blockSectors: number, durable: boolean): void {
    if (blockSectors === 0) this.fail(AtaError.ABRT);
    else if (this.#beginWrite(addressing, durable)) this.#receive(0, blockSectors);
  }

  /** Gathers DRQ blocks until the buffer is full or everything is there, then writes them. */
  #receive(first: number, blockSectors: number): void {
    const count = Math.min(this.#left, BUFFER_SECTORS);
    const sectors = Math.min(blockSectors, count - first);
    this.receiveBlock(first * ATA_SECTOR_BYTES, sectors * ATA_SECTOR_BYTES, () => {
      if (first + sectors < count) {
        this.#receive(first + sectors, blockSectors);
        this.raiseInterrupt();
        return;
      }
      this.#write([this.#bufferOf(count)], count, () => {
        if (this.#left === 0) {
          this.succeed();
          return;
        }
        this.#receive(0, blockSectors);
        this.raiseInterrupt();
      });
    });
  }

  #readDma(addressing: Address): void {
    if (!this.#begin(addressing)) return;
    const sizeBytes = this.#left * ATA_SECTOR_BYTES;
    this.requestDma(true, sizeBytes, (views) => {
      this.run(
        () => this.#disk.read(this.#lba * ATA_SECTOR_BYTES, views),
        (error) => {
          this.cable.finishDma();
          if (error !== undefined) {
            this.#failRead(error);
            return;
          }
          this.bytesRead.value += sizeBytes;
          this.succeed();
        },
      );
    });
  }

  #writeDma(addressing: Address, durable: boolean): void {
    if (!this.#beginWrite(addressing, durable)) return;
    const count = this.#left;
    this.requestDma(false, count * ATA_SECTOR_BYTES, (views) => {
      this.#write(
        views,
        count,
        () => this.succeed(),
        () => this.cable.finishDma(),
      );
    });
  }

  #beginWrite(addressing: Address, durable: boolean): boolean {
    if (this.#disk.readOnly) {
      this.requests.value++;
      this.fail(AtaError.ABRT);
      return false;
    }
    if (!this.#begin(addressing)) return false;
    this.#durable ||= durable;
    return true;
  }

  /** Writes `count` sectors, durably where asked for; `ended` is called however that ends, `done` where it went well. */
  #write(views: readonly Uint8Array[], count: number, done: () => void, ended: () => void = () => {}): void {
    const written = () => {
      this.bytesWritten.value += count * ATA_SECTOR_BYTES;
      this.#lba += count;
      this.#left -= count;
      ended();
      done();
    };
    const failed = (error: Error) => {
      ended();
      this.#failWrite(error);
    };
    this.run(
      () => this.#disk.write(this.#lba * ATA_SECTOR_BYTES, views),
      (error) => {
        if (error !== undefined) failed(error);
        else if (!this.#durable) written();
        else
          this.run(
            () => this.#disk.flush(),
            (flushError) => (flushError === undefined ? written() : failed(flushError)),
          );
      },
    );
  }

  /** Reads everything and keeps nothing, a buffer at a time. */
  #verify(): void {
    const count = Math.min(this.#left, BUFFER_SECTORS);
    this.run(
      () => this.#disk.read(this.#lba * ATA_SECTOR_BYTES, [this.#bufferOf(count)]),
      (error) => {
        if (error !== undefined) {
          this.#failRead(error);
          return;
        }
        this.#lba += count;
        this.#left -= count;
        if (this.#left > 0) this.#verify();
        else this.succeed();
      },
    );
  }

  #flush(): void {
    this.run(
      () => this.#disk.flush(),
      (error) => {
        if (error === undefined) this.succeed();
        else this.#failDevice(error);
      },
    );
  }

  #setMultipleMode(): void {
    const sectors = this.register(AtaRegister.SECTOR_COUNT);
    if (sectors > MAX_MULTIPLE_SECTORS || (sectors & (sectors - 1)) !== 0) {
      this.fail(AtaError.ABRT);
      return;
    }
    this.settings.multipleSectors = sectors;
    this.succeed();
  }

  #initializeDeviceParameters(): void {
    const sectorsPerTrack = this.register(AtaRegister.SECTOR_COUNT);
    const heads = (this.register(AtaRegister.DEVICE) & AtaDevice.HEAD) + 1;
    if (sectorsPerTrack === 0) {
      this.fail(AtaError.ABRT);
      return;
    }
    this.#geometry = translatedGeometry(Math.min(this.#sectors, LBA28_SECTORS), heads, sectorsPerTrack);
    this.succeed();
  }

  #failRead(error: Error): void {
    this.reportBackend(error);
    this.#showAddress();
    this.fail(AtaError.UNC);
  }

  #failWrite(error: Error): void {
    this.#showAddress();
    this.#failDevice(error);
  }

  #failDevice(error: Error): void {
    this.reportBackend(error);
    this.fail(AtaError.ABRT, AtaStatus.DF);
  }

  /** Leaves the address where the command failed in the registers, in the form in which it was given. */
  #showAddress(): void {
    const byte = (n: number) => Math.floor(this.#lba / 2 ** (8 * n)) % 0x100;
    const device = this.register(AtaRegister.DEVICE);
    if (this.#addressing === Address.EXT) {
      // The high-order bytes are what HOB shows.
      this.writeRegister(AtaRegister.LBA_LOW, byte(3));
      this.writeRegister(AtaRegister.LBA_MID, byte(4));
      this.writeRegister(AtaRegister.LBA_HIGH, byte(5));
      this.writeRegister(AtaRegister.LBA_LOW, byte(0));
      this.writeRegister(AtaRegister.LBA_MID, byte(1));
      this.writeRegister(AtaRegister.LBA_HIGH, byte(2));
      return;
    }
    if ((device & AtaDevice.LBA) !== 0) {
      this.setRegister(AtaRegister.LBA_LOW, byte(0));
      this.setRegister(AtaRegister.LBA_MID, byte(1));
      this.setRegister(AtaRegister.LBA_HIGH, byte(2));
      this.setRegister(AtaRegister.DEVICE, (device & ~AtaDevice.HEAD) | byte(3));
      return;
    }
    const { heads, sectorsPerTrack } = this.#geometry;
    const track = Math.floor(this.#lba / sectorsPerTrack);
    const cylinder = Math.floor(track / heads);
    this.setRegister(AtaRegister.LBA_LOW, (this.#lba % sectorsPerTrack) + 1);
    this.setRegister(AtaRegister.LBA_MID, cylinder & 0xff);
    this.setRegister(AtaRegister.LBA_HIGH, cylinder >> 8);
    this.setRegister(AtaRegister.DEVICE, (device & ~AtaDevice.HEAD) | (track % heads));
  }

  #bufferOf(sectors: number): Uint8Array {
    return this.buffer.subarray(0, sectors * ATA_SECTOR_BYTES);
  }
}
