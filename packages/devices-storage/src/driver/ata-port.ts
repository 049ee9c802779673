import {
  type GuestCpu,
  GuestEvent,
  GuestIoError,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
} from '@kensho/core';
import {
  AtaCommand,
  AtaControl,
  AtaDevice,
  AtaRegister,
  AtaStatus,
  BusMasterCommand,
  BusMasterRegister,
  BusMasterStatus,
  IDENTIFY_BYTES,
  PRD_END_OF_TABLE,
  PRD_REGION_BYTES,
  Prd,
} from '../protocol/ide.ts';

/** Where a channel's registers are. */
export interface AtaPortPlaces {
  readonly commandPort: number;
  readonly controlPort: number;
  /** Bus master registers of the channel; undefined: data goes by PIO. */
  readonly busMasterPort: number | undefined;
}

/** Registers of a command; the high-order bytes are for 48-bit ones. */
export interface TaskFile {
  readonly command: number;
  /** Device register, with the drive's position in it. */
  readonly device: number;
  /** Left out: the command takes no address. */
  readonly address?: {
    readonly features: number;
    readonly count: number;
    readonly lba: number;
    readonly ext: boolean;
  };
}

/** Data of a command, in guest memory. */
export interface TaskData {
  readonly toMemory: boolean;
  readonly gpa: number;
  readonly sizeBytes: number;
  /** Bytes of a DRQ block, for PIO. */
  readonly blockBytes: number;
  /** Through the bus master rather than the data port. */
  readonly byDma: boolean;
}

/** The command in progress. */
interface Operation {
  readonly data: TaskData | undefined;
  /** Bytes moved through the data port. */
  moved: number;
  failure: string | undefined;
}

/** How long drives get for a reset or a polled command. */
const READY_TIMEOUT_NS = 10e9;
const POLL_NS = 100e3;
/** After a reset the status register is not to be read for 2 ms (ATA/ATAPI-6, 9.2). */
const RESET_SETTLE_NS = 2e6;
/** What a bus that nobody drives reads as. */
const FLOATING = 0xff;
const PRD_TABLE_BYTES = 4096;

/**
 * One channel as a legacy driver sees it. A channel carries one command at a time; tasks wait their turn, first come
 * first served.
 *
 * For each command it touches the registers that Linux's libata touches, in its order (drivers/ata/libata-sff.c), so
 * that what a guest pays for the emulated path is what an ordinary one pays.
 */
export class AtaPort {
  readonly #cpu: GuestCpu;
  readonly #kernel: GuestKernel;
  readonly #places: AtaPortPlaces;
  readonly #prdTable: GuestPages | undefined;
  readonly #finished = new GuestEvent();
  readonly #waiting: GuestEvent[] = [];
  #taken = false;
  #operation: Operation | undefined;

  constructor(kernel: GuestKernel, places: AtaPortPlaces) {
    this.#cpu = kernel.cpu;
    this.#kernel = kernel;
    this.#places = places;
    this.#prdTable = places.busMasterPort === undefined ? undefined : kernel.allocate(PRD_TABLE_BYTES);
  }

  /** Whether nothing drives the channel's bus. */
  isFloating(): boolean {
    return this.#cpu.in(this.#places.controlPort, 1) === FLOATING;
  }

  /** Whether a drive keeps what is written to its registers. */
  probe(position: number): boolean {
    this.#select(position);
    for (const [count, lba] of [
      [0x55, 0xaa],
      [0xaa, 0x55],
      [0x55, 0xaa],
    ]) {
      this.#out(AtaRegister.SECTOR_COUNT, count);
      this.#out(AtaRegister.LBA_LOW, lba);
    }
    return this.#in(AtaRegister.SECTOR_COUNT) === 0x55 && this.#in(AtaRegister.LBA_LOW) === 0xaa;
  }

  /** Resets both drives. */
  *reset(): GuestTask {
    const { controlPort } = this.#places;
    this.#cpu.out(controlPort, 1, 0);
    this.#cpu.out(controlPort, 1, AtaControl.SRST);
    this.#cpu.out(controlPort, 1, 0);
    yield* this.#kernel.sleep(RESET_SETTLE_NS);
    yield* this.#pollReady();
  }

  /** What a drive showed after the reset: its LBA mid and high registers. */
  signature(position: number): { lbaMid: number; lbaHigh: number } {
    this.#select(position);
    return { lbaMid: this.#in(AtaRegister.LBA_MID), lbaHigh: this.#in(AtaRegister.LBA_HIGH) };
  }

  /** IDENTIFY DEVICE, polled; undefined where the drive refuses it. */
  *identify(position: number): GuestTask<Uint16Array | undefined> {
    const { commandPort, controlPort } = this.#places;
    const page = this.#kernel.allocate(IDENTIFY_BYTES);
    this.#select(position);
    this.#cpu.out(controlPort, 1, AtaControl.NIEN);
    this.#out(AtaRegister.COMMAND, AtaCommand.IDENTIFY_DEVICE);
    this.#pause();
    yield* this.#pollReady();
    const status = this.#in(AtaRegister.STATUS);
    const answered = (status & AtaStatus.DRQ) !== 0 && (status & AtaStatus.ERR) === 0;
    if (answered) this.#cpu.ins(commandPort, 2, page.gpa, IDENTIFY_BYTES / 2);
    this.#cpu.out(controlPort, 1, 0);
    const words = new Uint16Array(page.bytes.slice(0, IDENTIFY_BYTES).buffer);
    page.free();
    return answered ? words : undefined;
  }

  /** Carries out one command and waits for its end. Throws GuestIoError. */
  *execute(file: TaskFile, data?: TaskData): GuestTask {
    yield* this.#take();
    const operation: Operation = { data, moved: 0, failure: undefined };
    this.#operation = operation;
    try {
      this.#select((file.device & AtaDevice.DEV) === 0 ? 0 : 1, true);
      this.#load(file);
      if (data?.byDma === true) this.#startDma(file.command, data);
      else this.#start(file.command);
      if (data !== undefined && !data.byDma && !data.toMemory) yield* this.#sendFirstBlock(operation, data);
      // The handler may have ended the command already: it runs between any two of the instructions above.
      while (this.#operation === operation) yield* this.#finished.wait();
    } finally {
      this.#operation = undefined;
      this.#release();
    }
    if (operation.failure !== undefined) throw new GuestIoError(operation.failure);
  }

  /** The interrupt handler. */
  interrupt(): void {
    const operation = this.#operation;
    if (operation === undefined) {
      this.#endStrayInterrupt();
      return;
    }
    let busMasterStatus = 0;
    if (operation.data?.byDma === true) {
      busMasterStatus = this.#inBusMaster(BusMasterRegister.STATUS);
      if ((busMasterStatus & BusMasterStatus.INTERRUPT) === 0) return;
      const command = this.#inBusMaster(BusMasterRegister.COMMAND);
      this.#outBusMaster(BusMasterRegister.COMMAND, command & ~BusMasterCommand.START);
      this.#pause();
    }
    if ((this.#cpu.in(this.#places.controlPort, 1) & AtaStatus.BSY) !== 0) return;
    const status = this.#in(AtaRegister.STATUS);
    this.#clearBusMaster();
    if ((busMasterStatus & BusMasterStatus.ERROR) !== 0)
      operation.failure = 'the bus master could not reach memory';
    this.#advance(operation, status);
  }

  /** What the drive's status means for the command: more data, its end, or its failure. */
  #advance(operation: Operation, status: number): void {
    const { data } = operation;
    if ((status & (AtaStatus.ERR | AtaStatus.DF)) !== 0) {
      const error = this.#in(AtaRegister.ERROR);
      operation.failure ??= `status 0x${status.toString(16)}, error 0x${error.toString(16)}`;
    } else if (data !== undefined && !data.byDma && operation.moved < data.sizeBytes) {
      if ((status & AtaStatus.DRQ) === 0) {
        operation.failure = 'the drive ended the command before its data';
      } else {
        this.#moveBlock(operation, data);
        if (!data.toMemory || operation.moved < data.sizeBytes) return;
        // After the last block a drive that was read from does not interrupt again.
        this.#waitIdle();
      }
    }
    this.#operation = undefined;
    this.#finished.set();
  }

  *#sendFirstBlock(operation: Operation, data: TaskData): GuestTask {
    // No interrupt asks for the first block of data to the drive.
    yield* this.#pollReady();
    const status = this.#in(AtaRegister.STATUS);
    if ((status & AtaStatus.DRQ) === 0) this.#advance(operation, status);
    else this.#moveBlock(operation, data);
  }

  #moveBlock(operation: Operation, data: TaskData): void {
    const count = Math.min(data.blockBytes, data.sizeBytes - operation.moved);
    const gpa = data.gpa + operation.moved;
    // The count first: the drive may interrupt for the next block at the last word of this one.
    operation.moved += count;
    if (data.toMemory) this.#cpu.ins(this.#places.commandPort, 4, gpa, count / 4);
    else this.#cpu.outs(this.#places.commandPort, 4, gpa, count / 4);
    this.#pause();
  }

  #load({ address, device }: TaskFile): void {
    if (address !== undefined) {
      const { features, count, lba, ext } = address;
      const byte = (n: number) => Math.floor(lba / 2 ** (8 * n)) % 0x100;
      if (ext) {
        this.#out(AtaRegister.FEATURES, 0);
        this.#out(AtaRegister.SECTOR_COUNT, (count >> 8) & 0xff);
        this.#out(AtaRegister.LBA_LOW, byte(3));
        this.#out(AtaRegister.LBA_MID, byte(4));
        this.#out(AtaRegister.LBA_HIGH, byte(5));
      }
      this.#out(AtaRegister.FEATURES, features);
      this.#out(AtaRegister.SECTOR_COUNT, count & 0xff);
      this.#out(AtaRegister.LBA_LOW, byte(0));
      this.#out(AtaRegister.LBA_MID, byte(1));
      this.#out(AtaRegister.LBA_HIGH, byte(2));
    }
    this.#out(AtaRegister.DEVICE, device);
    this.#waitIdle();
  }

  #start(command: number): void {
    this.#out(AtaRegister.COMMAND, command);
    this.#pause();
  }

  #startDma(command: number, data: TaskData): void {
    const table = this.#fillPrdTable(data);
    this.#cpu.out((this.#places.busMasterPort as number) + BusMasterRegister.PRD_TABLE, 4, table);
    const direction = data.toMemory ? BusMasterCommand.TO_MEMORY : 0;
    const before = this.#inBusMaster(BusMasterRegister.COMMAND);
    const kept = before & ~(BusMasterCommand.TO_MEMORY | BusMasterCommand.START);
    this.#outBusMaster(BusMasterRegister.COMMAND, kept | direction);
    this.#start(command);
    const ready = this.#inBusMaster(BusMasterRegister.COMMAND);
    this.#outBusMaster(BusMasterRegister.COMMAND, ready | BusMasterCommand.START);
  }

  /** Lists the buffer's regions, none of which crosses a boundary of 64 KiB. */
  #fillPrdTable({ gpa, sizeBytes }: TaskData): number {
    const table = this.#prdTable as GuestPages;
    let at = 0;
    for (let done = 0; done < sizeBytes; at += Prd.sizeBytes) {
      const address = gpa + done;
      const byteCount = Math.min(sizeBytes - done, PRD_REGION_BYTES - (address % PRD_REGION_BYTES));
      done += byteCount;
      const flags = done === sizeBytes ? PRD_END_OF_TABLE : 0;
      Prd.write(table.bytes, { address, byteCount: byteCount % PRD_REGION_BYTES, flags }, at);
    }
    return table.gpa;
  }

  #select(position: number, waits = false): void {
    if (waits) this.#waitIdle();
    this.#out(AtaRegister.DEVICE, AtaDevice.OBSOLETE | (position === 0 ? 0 : AtaDevice.DEV));
    this.#pause();
    if (waits) this.#waitIdle();
  }

  #endStrayInterrupt(): void {
    if (this.#places.busMasterPort === undefined) {
      this.#in(AtaRegister.STATUS);
    } else if ((this.#inBusMaster(BusMasterRegister.STATUS) & BusMasterStatus.INTERRUPT) !== 0) {
      this.#in(AtaRegister.STATUS);
      this.#clearBusMaster();
    }
  }

  /** Ends the bus master's error and interrupt bits. */
  #clearBusMaster(): void {
    if (this.#places.busMasterPort === undefined) return;
    this.#outBusMaster(BusMasterRegister.STATUS, this.#inBusMaster(BusMasterRegister.STATUS));
  }

  /** Looks once at the status, as libata does before and after it loads registers. */
  #waitIdle(): void {
    this.#in(AtaRegister.STATUS);
  }

  /** A delay of 400 ns, made of a read of the alternate status. */
  #pause(): void {
    this.#cpu.in(this.#places.controlPort, 1);
  }

  *#pollReady(): GuestTask {
    const deadlineNs = this.#kernel.nowNs() + READY_TIMEOUT_NS;
    while ((this.#cpu.in(this.#places.controlPort, 1) & AtaStatus.BSY) !== 0) {
      if (this.#kernel.nowNs() > deadlineNs) throw new GuestIoError('the drive stays busy');
      yield* this.#kernel.sleep(POLL_NS);
    }
  }

  *#take(): GuestTask {
    if (!this.#taken) {
      this.#taken = true;
      return;
    }
    const turn = new GuestEvent();
    this.#waiting.push(turn);
    yield* turn.wait();
  }

  #release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#taken = false;
    else next.set();
  }

  #in(register: number): number {
    return this.#cpu.in(this.#places.commandPort + register, 1);
  }

  #out(register: number, value: number): void {
    this.#cpu.out(this.#places.commandPort + register, 1, value);
  }

  #inBusMaster(register: number): number {
    return this.#cpu.in((this.#places.busMasterPort as number) + register, 1);
  }

  #outBusMaster(register: number, value: number): void {
    this.#cpu.out((this.#places.busMasterPort as number) + register, 1, value);
  }
}
