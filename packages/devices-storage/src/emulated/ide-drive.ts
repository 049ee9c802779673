import type { Counter, Counters, GuestFaults, Logger, MaybePromise, WorkQueue } from '@kensho/core';
import {
  ATA_SECTOR_BYTES,
  AtaError,
  AtaFeature,
  AtaRegister,
  type AtaSignature,
  AtaStatus,
} from '../protocol/ide.ts';
import type { DmaRequest } from './bus-master.ts';
import {
  type DriveSettings,
  MAX_MULTIPLE_SECTORS,
  MULTIWORD_DMA_MODES,
  ULTRA_DMA_MODES,
} from './identify.ts';

/** What a drive asks of its cable. */
export interface DriveCable {
  /** The drive's interrupt has changed. */
  interruptChanged(): void;
  requestDma(request: DmaRequest): void;
  /** The data of the transfer asked for was moved, or could not be. */
  finishDma(): void;
  /** The drive no longer waits for a transfer. */
  cancelDma(request: DmaRequest): void;
}

/** What drives of one controller share. */
export interface DriveServices {
  /** The controller's id: names counters and log lines. */
  readonly id: string;
  readonly work: WorkQueue;
  readonly counters: Counters;
  readonly faults: GuestFaults;
  readonly log: Logger;
}

/** How many errors of the host are logged before the rest are only counted. */
const HOST_ERROR_LINES = 10;

/** Host memory for data on its way through the data port: 64 KiB for each drive, whatever the guest asks for. */
export const BUFFER_BYTES = 128 * ATA_SECTOR_BYTES;

const READY = AtaStatus.DRDY | AtaStatus.DSC;

const Pio = { NONE: 0, IN: 1, OUT: 2 } as const;
type Pio = (typeof Pio)[keyof typeof Pio];

/**
 * What ATA and ATAPI devices have in common: the command block registers, data phases through the data port, the
 * interrupt, resets, and operations of the backend that take their time.
 *
 * A drive that waits for its backend is busy (BSY) and goes on when the operation's outcome is delivered. There is
 * never more than one: a reset in the meantime keeps the drive busy until that operation has ended, and drops
 * its outcome.
 */
export abstract class IdeDrive {
  /** DRQ blocks are handed out of and gathered in here. */
  protected readonly buffer = new Uint8Array(BUFFER_BYTES);
  protected readonly settings: DriveSettings = {
    multiwordDma: 0,
    ultraDma: 0,
    writeCache: true,
    lookAhead: true,
    multipleSectors: MAX_MULTIPLE_SECTORS,
  };
  protected readonly name: string;
  protected readonly faults: GuestFaults;
  protected readonly requests: Counter;
  protected readonly bytesRead: Counter;
  protected readonly bytesWritten: Counter;
  protected readonly cable: DriveCable;
  readonly #signature: (typeof AtaSignature)[keyof typeof AtaSignature];
  readonly #readyAfterReset: number;
  readonly #work: WorkQueue;
  readonly #log: Logger;
  readonly #hostErrors: Counter;
  readonly #data = new DataView(this.buffer.buffer);

  /** Registers 1 to 6 as last written, or set by the device; ERROR and STATUS are apart. */
  readonly #registers = new Uint8Array(7);
  /** What they held before the last write: the high-order bytes of 48-bit commands. */
  readonly #previous = new Uint8Array(7);
  #error = 0;
  #status = 0;
  #interrupt = false;

  #pio: Pio = Pio.NONE;
  #position = 0;
  #end = 0;
  #blockDone: () => void = () => {};

  #dmaRequest: DmaRequest | undefined;
  /** An operation of the backend whose outcome has not been delivered. */
  #outstanding = false;
  #operation: MaybePromise<unknown>;
  #resetHeld = false;
  /** A reset waits for the outstanding operation. */
  #resetPending = false;
  #stopped = false;

  constructor(
    services: DriveServices,
    cable: DriveCable,
    signature: (typeof AtaSignature)[keyof typeof AtaSignature],
    readyAfterReset: boolean,
  ) {
    const { id, counters } = services;
    this.name = id;
    this.faults = services.faults;
    this.cable = cable;
    this.#work = services.work;
    this.#log = services.log;
    this.#signature = signature;
    this.#readyAfterReset = readyAfterReset ? READY : 0;
    this.requests = counters.counter(`device.${id}.requests`);
    this.bytesRead = counters.counter(`device.${id}.bytes.read`);
    this.bytesWritten = counters.counter(`device.${id}.bytes.written`);
    this.#hostErrors = counters.counter(`device.${id}.errors.host`);
    this.#presentSignature();
  }

  /** The status register, without ending the interrupt. */
  get status(): number {
    return this.#status;
  }

  /** Whether a command is in progress: no other may be written to either drive of the channel. */
  get busy(): boolean {
    return (this.#status & (AtaStatus.BSY | AtaStatus.DRQ)) !== 0;
  }

  /** Whether the drive asserts INTRQ, if it is selected. */
  get interrupt(): boolean {
    return this.#interrupt;
  }

  /** A register between ERROR and DEVICE; `previous` gives what it held before the last write (HOB). */
  readRegister(register: number, previous: boolean): number {
    if (register === AtaRegister.ERROR) return this.#error;
    return previous && register !== AtaRegister.DEVICE ? this.#previous[register] : this.#registers[register];
  }

  writeRegister(register: number, value: number): void {
    this.#previous[register] = this.#registers[register];
    this.#registers[register] = value;
  }

  /** Reads the status register, which ends the interrupt. */
  acknowledge(): number {
    const status = this.#status;
    if (this.#interrupt) {
      this.#interrupt = false;
      this.cable.interruptChanged();
    }
    return status;
  }

  /** Starts a command; the channel has seen that none is in progress. */
  command(code: number): void {
    this.#interrupt = false;
    this.cable.interruptChanged();
    this.#error = 0;
    this.#status = READY;
    this.execute(code);
  }

  /** @param sizeBytes - 2 or 4 */
  readData(sizeBytes: number): number {
    if (this.#pio !== Pio.IN) {
      this.#unexpectedData();
      return 0;
    }
    const at = this.#position;
    let value: number;
    if (sizeBytes === 4 && this.#end - at >= 4) {
      value = this.#data.getUint32(at, true);
      this.#position = at + 4;
    } else {
      value = this.#data.getUint16(at, true);
      this.#position = at + 2;
    }
    if (this.#position >= this.#end) this.#endBlock();
    return value;
  }

  writeData(sizeBytes: number, value: number): void {
    if (this.#pio !== Pio.OUT) {
      this.#unexpectedData();
      return;
    }
    const at = this.#position;
    if (sizeBytes === 4 && this.#end - at >= 4) {
      this.#data.setUint32(at, value, true);
      this.#position = at + 4;
    } else {
      this.#data.setUint16(at, value, true);
      this.#position = at + 2;
    }
    if (this.#position >= this.#end) this.#endBlock();
  }

  /** Begins a reset: everything in progress is dropped, and the drive is busy until {@link releaseReset}. */
  holdReset(): void {
    this.#resetHeld = true;
    this.#resetPending = true;
    this.#pio = Pio.NONE;
    this.#interrupt = false;
    this.#status = AtaStatus.BSY;
    if (this.#dmaRequest !== undefined) this.cable.cancelDma(this.#dmaRequest);
    this.cable.interruptChanged();
  }

  /** Ends a reset: the drive shows its signature, at once or when its outstanding operation has ended. */
  releaseReset(): void {
    this.#resetHeld = false;
    this.#tryEndReset();
  }

  /** EXECUTE DEVICE DIAGNOSTIC, which both drives of a channel execute and one reports. */
  diagnose(report: boolean): void {
    this.#presentSignature();
    if (report) this.raiseInterrupt();
  }

  /** Whether a command is one that a drive takes in the middle of another. */
  acceptsWhileBusy(_code: number): boolean {
    return false;
  }

  /** Abandons what is in progress; resolves when the backend is no longer used. */
  async stop(): Promise<void> {
    this.#stopped = true;
    // Its failure is nobody's any more: the guest that asked is gone.
    await Promise.allSettled([this.#operation]);
  }

  /** Carries out a command. */
  protected abstract execute(code: number): void;

  protected register(register: number): number {
    return this.#registers[register];
  }

  protected previous(register: number): number {
    return this.#previous[register];
  }

  protected setRegister(register: number, value: number): void {
    this.#registers[register] = value;
  }

  /** Runs an operation of the backend; the drive is busy until `done`, which a reset may keep from being called. */
  protected run<T>(
    operation: () => MaybePromise<T>,
    done: (error: Error | undefined, result: T | undefined) => void,
  ) {
    this.#status = AtaStatus.BSY;
    let outcome: MaybePromise<T>;
    try {
      outcome = operation();
    } catch (error) {
      done(error as Error, undefined);
      return;
    }
    this.#operation = outcome;
    this.#outstanding = true;
    this.#work.complete(outcome, (error, result) => {
      this.#outstanding = false;
      if (this.#stopped) return;
      if (this.#resetPending) this.#tryEndReset();
      else done(error, result);
    });
  }

  /** Asks for a bus-master transfer; the drive is busy meanwhile. */
  protected requestDma(
    toMemory: boolean,
    sizeBytes: number,
    transfer: (views: readonly Uint8Array[]) => void,
  ): void {
    this.#status = AtaStatus.BSY;
    this.#dmaRequest = { toMemory, sizeBytes, transfer, abort: () => this.fail(AtaError.ABRT) };
    this.cable.requestDma(this.#dmaRequest);
  }

  /** Offers `sizeBytes` bytes of the buffer from `start` at the data port, and goes on once they were read. */
  protected sendBlock(start: number, sizeBytes: number, done: () => void): void {
    this.#beginBlock(Pio.IN, start, sizeBytes, done);
    this.raiseInterrupt();
  }

  /** Takes `sizeBytes` bytes into the buffer at `start` from the data port. */
  protected receiveBlock(start: number, sizeBytes: number, done: () => void): void {
    this.#beginBlock(Pio.OUT, start, sizeBytes, done);
  }

  protected raiseInterrupt(): void {
    this.#interrupt = true;
    this.cable.interruptChanged();
  }

  /** Ends a command well, without an interrupt: the end of data that the host reads. */
  protected endQuietly(): void {
    this.#status = READY;
  }

  /** Ends a command well. */
  protected succeed(): void {
    this.#status = READY;
    this.raiseInterrupt();
  }

  /** Ends a command with {@link AtaError} bits. */
  protected fail(error: number, status = 0): void {
    this.#error = error;
    this.#status = READY | AtaStatus.ERR | status;
    this.raiseInterrupt();
  }

  /** Counts and logs what failed at the host. */
  protected reportBackend(error: Error): void {
    this.#hostErrors.value++;
    if (this.#hostErrors.value > HOST_ERROR_LINES) return;
    this.#log.error(`${this.name}: I/O failed at the host: ${error.message}`);
  }

  /** Refuses a command that this kind of drive does not have. */
  protected refuse(code: number): void {
    this.faults.report('ide.command', `${this.name}: a drive has no such command`, { code });
    this.fail(AtaError.ABRT);
  }

  /** Sets the registers that tell the drive's kind. */
  protected showSignature(): void {
    this.#registers[AtaRegister.SECTOR_COUNT] = 1;
    this.#registers[AtaRegister.LBA_LOW] = 1;
    this.#registers[AtaRegister.LBA_MID] = this.#signature.lbaMid;
    this.#registers[AtaRegister.LBA_HIGH] = this.#signature.lbaHigh;
  }

  /** SET FEATURES; the subcommands for caches mean nothing to a drive that has none. */
  protected setFeatures(hasCaches: boolean): void {
    switch (this.register(AtaRegister.FEATURES)) {
      case AtaFeature.SET_TRANSFER_MODE:
        if (!this.#setTransferMode(this.register(AtaRegister.SECTOR_COUNT))) break;
        this.succeed();
        return;
      case AtaFeature.ENABLE_WRITE_CACHE:
      case AtaFeature.DISABLE_WRITE_CACHE:
        if (!hasCaches) break;
        this.settings.writeCache = this.register(AtaRegister.FEATURES) === AtaFeature.ENABLE_WRITE_CACHE;
        this.succeed();
        return;
      case AtaFeature.ENABLE_LOOK_AHEAD:
      case AtaFeature.DISABLE_LOOK_AHEAD:
        if (!hasCaches) break;
        this.settings.lookAhead = this.register(AtaRegister.FEATURES) === AtaFeature.ENABLE_LOOK_AHEAD;
        this.succeed();
        return;
      case AtaFeature.KEEP_SETTINGS_OVER_RESET:
      case AtaFeature.REVERT_SETTINGS_AT_RESET:
        // Settings are kept over software resets either way.
        this.succeed();
        return;
    }
    this.fail(AtaError.ABRT);
  }

  /** Transfer mode: kind in bits 7:3, number in bits 2:0 (ATA/ATAPI-6, 8.46.11). */
  #setTransferMode(mode: number): boolean {
    const bit = 1 << (mode & 7);
    switch (mode >> 3) {
      case 0: // PIO, default mode
      case 1: // PIO with flow control
        return true;
      case 4:
        if ((bit & MULTIWORD_DMA_MODES) === 0) return false;
        this.settings.multiwordDma = bit;
        this.settings.ultraDma = 0;
        return true;
      case 8:
        if ((bit & ULTRA_DMA_MODES) === 0) return false;
        this.settings.multiwordDma = 0;
        this.settings.ultraDma = bit;
        return true;
      default:
        return false;
    }
  }

  #beginBlock(direction: Pio, start: number, sizeBytes: number, done: () => void): void {
    this.#pio = direction;
    this.#position = start;
    this.#end = start + sizeBytes;
    this.#blockDone = done;
    this.#status = READY | AtaStatus.DRQ;
  }

  #endBlock(): void {
    this.#pio = Pio.NONE;
    this.#status = READY;
    this.#blockDone();
  }

  #unexpectedData(): void {
    this.faults.report('ide.data', `${this.name}: the data port was used without a request for data`);
  }

  #tryEndReset(): void {
    if (this.#resetHeld || !this.#resetPending || this.#outstanding) return;
    this.#resetPending = false;
    this.#presentSignature();
  }

  #presentSignature(): void {
    this.showSignature();
    this.#error = 0x01; // diagnostics passed
    this.#status = this.#readyAfterReset;
  }
}
