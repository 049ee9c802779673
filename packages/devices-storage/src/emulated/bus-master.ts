import { type DmaDomain, GpaAccess, type GuestFaults } from '@kensho/core';
import {
  BusMasterCommand,
  BusMasterRegister,
  BusMasterStatus,
  PRD_END_OF_TABLE,
  PRD_REGION_BYTES,
  Prd,
} from '../protocol/ide.ts';

/** A transfer that a drive has asked for (it asserts DMARQ). */
export interface DmaRequest {
  readonly toMemory: boolean;
  readonly sizeBytes: number;
  /** Called once the guest has started the bus master: `views` of guest memory, `sizeBytes` in all. */
  transfer(views: readonly Uint8Array[]): void;
  /** Called instead where the table or the memory that it names cannot be reached. */
  abort(): void;
}

const COMMAND_WRITABLE = BusMasterCommand.START | BusMasterCommand.TO_MEMORY;
const STATUS_WRITABLE = BusMasterStatus.DRIVE_0_DMA | BusMasterStatus.DRIVE_1_DMA;
const STATUS_CLEARED_BY_ONE = BusMasterStatus.ERROR | BusMasterStatus.INTERRUPT;
/** Size and alignment of the window that a PRD table lies in. */
const TABLE_WINDOW_BYTES = 0x10000;

/**
 * The bus master of one channel: moves a drive's data to and from the regions that a PRD table lists.
 *
 * A transfer runs when the guest has set the start bit and a drive asks for one, in either order. How it ends
 * tells the status register (SFF-8038i, 3.1): a table that was used up clears the active bit, a longer one leaves it
 * set until the guest stops the engine, a shorter one clears it while the drive still waits, so that no interrupt
 * comes; memory that cannot be reached sets the error bit.
 */
export class BusMaster {
  readonly #dma: DmaDomain;
  readonly #faults: GuestFaults;
  readonly #mayMaster: () => boolean;
  readonly #prd = Prd.view();
  readonly #prdBytes = new Uint8Array(Prd.sizeBytes);
  #command = 0;
  #status: number;
  readonly #table = new Uint8Array(4);
  #request: DmaRequest | undefined;
  /** The drive moves the data now. */
  #running = false;
  /** The last walk used up the table. */
  #exhausted = false;

  /**
   * @param dma - the controller's domain
   * @param capabilities - DMA bits of the status register, as firmware would set them
   * @param mayMaster - whether the PCI command register lets the function be a bus master
   */
  constructor(dma: DmaDomain, faults: GuestFaults, capabilities: number, mayMaster: () => boolean) {
    this.#dma = dma;
    this.#faults = faults;
    this.#status = capabilities;
    this.#mayMaster = mayMaster;
    this.#prd.bind(new DataView(this.#prdBytes.buffer), 0);
  }

  /** @param offset - 0 to 7 within the channel's registers */
  read(offset: number): number {
    switch (offset) {
      case BusMasterRegister.COMMAND:
        return this.#command;
      case BusMasterRegister.STATUS:
        return this.#status;
      case 1:
      case 3:
        return 0;
      default:
        return this.#table[offset - BusMasterRegister.PRD_TABLE];
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case BusMasterRegister.COMMAND:
        this.#writeCommand(value & COMMAND_WRITABLE);
        return;
      case BusMasterRegister.STATUS:
        this.#status =
          (this.#status & ~(value & STATUS_CLEARED_BY_ONE) & ~STATUS_WRITABLE) | (value & STATUS_WRITABLE);
        return;
      case 1:
      case 3:
        return;
      case BusMasterRegister.PRD_TABLE:
        this.#table[0] = value & 0xfc;
        return;
      default:
        this.#table[offset - BusMasterRegister.PRD_TABLE] = value;
    }
  }

  /** Called at the rise of the channel's interrupt. */
  noteInterrupt(): void {
    this.#status |= BusMasterStatus.INTERRUPT;
  }

  /** A drive asks for a transfer. */
  request(request: DmaRequest): void {
    this.#request = request;
    this.#tryStart();
  }

  /** The drive has moved the data, or failed to. */
  finish(): void {
    this.#request = undefined;
    this.#running = false;
    if (this.#exhausted) this.#status &= ~BusMasterStatus.ACTIVE;
  }

  /** The drive that asked was reset: it waits for nothing more. */
  cancel(request: DmaRequest): void {
    if (this.#request !== request) return;
    this.#request = undefined;
    this.#running = false;
  }

  #writeCommand(command: number): void {
    const started = (command & ~this.#command & BusMasterCommand.START) !== 0;
    this.#command = command;
    if ((command & BusMasterCommand.START) === 0) {
      // What the drive is moving already it moves to the end: it has left for the disk.
      this.#status &= ~BusMasterStatus.ACTIVE;
    } else if (started) {
      this.#status |= BusMasterStatus.ACTIVE;
      this.#tryStart();
    }
  }

  #tryStart(): void {
    const request = this.#request;
    if (request === undefined || this.#running || (this.#status & BusMasterStatus.ACTIVE) === 0) return;
    if (((this.#command & BusMasterCommand.TO_MEMORY) !== 0) !== request.toMemory) {
      this.#fail(request, 'the direction is not that of the command');
      return;
    }
    if (!this.#mayMaster()) {
      this.#fail(request, 'the function is not a bus master');
      return;
    }
    const views: Uint8Array[] = [];
    const collected = this.#collect(request, views);
    if (collected < 0) {
      this.#fail(request, 'memory cannot be reached');
    } else if (collected < request.sizeBytes) {
      this.#status &= ~BusMasterStatus.ACTIVE;
      this.#faults.report('ide.prd-table', `${this.#dma.device}: a PRD table is shorter than its transfer`, {
        tableBytes: collected,
        transferBytes: request.sizeBytes,
      });
    } else {
      this.#running = true;
      request.transfer(views);
    }
  }

  /** Walks the table; gives the bytes found, at most what is asked for, or -1 where memory cannot be reached. */
  #collect(request: DmaRequest, views: Uint8Array[]): number {
    const access = request.toMemory ? GpaAccess.WRITE : GpaAccess.READ;
    const table = new DataView(this.#table.buffer).getUint32(0, true);
    // The engine's address counter has 16 bits, which bounds the walk.
    const end = table - (table % TABLE_WINDOW_BYTES) + TABLE_WINDOW_BYTES;
    let collected = 0;
    this.#exhausted = false;
    for (let at = table; at < end && collected < request.sizeBytes; at += Prd.sizeBytes) {
      if (!this.#dma.read(at, this.#prdBytes)) return -1;
      const count = this.#prd.byteCount & 0xfffe || PRD_REGION_BYTES;
      const used = Math.min(count, request.sizeBytes - collected);
      if (!this.#dma.collect((this.#prd.address & ~1) >>> 0, used, access, views)) return -1;
      collected += used;
      if ((this.#prd.flags & PRD_END_OF_TABLE) !== 0) {
        this.#exhausted = used === count;
        break;
      }
    }
    return collected;
  }

  #fail(request: DmaRequest, reason: string): void {
    this.#request = undefined;
    this.#status = (this.#status & ~BusMasterStatus.ACTIVE) | BusMasterStatus.ERROR;
    this.#faults.report('ide.bus-master', `${this.#dma.device}: a DMA transfer failed: ${reason}`);
    request.abort();
  }
}
