import type { GuestFaults, InterruptLine, PortHandler } from '@kensho/core';
import { AtaCommand, AtaControl, AtaDevice, AtaRegister } from '../protocol/ide.ts';
import type { BusMaster, DmaRequest } from './bus-master.ts';
import type { DriveCable, IdeDrive } from './ide-drive.ts';

/** What an empty channel reads: nothing drives the wires, and DD7 is pulled down so that it does not look busy. */
const FLOATING = 0x7f;
/** What a drive answers for one that is not there. */
const ABSENT = 0x00;

/**
 * One cable with up to two drives: hands register accesses to the selected one, and its interrupt to the board.
 *
 * Both drives hear every write to the command block, as they share the wires; a command goes to the selected one and
 * is ignored while either has one in progress.
 */
export class IdeChannel implements DriveCable {
  /** Ports 0x1F0 to 0x1F7, or 0x170 to 0x177. */
  readonly commandBlock: PortHandler;
  /** Port 0x3F6 or 0x376. */
  readonly controlBlock: PortHandler;
  readonly #name: string;
  readonly #busMaster: BusMaster;
  readonly #line: InterruptLine;
  readonly #faults: GuestFaults;
  readonly #drives: [IdeDrive | undefined, IdeDrive | undefined] = [undefined, undefined];
  #selected = 0;
  #control = 0;
  #asserted = false;

  constructor(name: string, busMaster: BusMaster, line: InterruptLine, faults: GuestFaults) {
    this.#name = name;
    this.#busMaster = busMaster;
    this.#line = line;
    this.#faults = faults;
    this.commandBlock = {
      read: (offset, sizeBytes) => this.#readCommandBlock(offset, sizeBytes),
      write: (offset, sizeBytes, value) => this.#writeCommandBlock(offset, sizeBytes, value),
    };
    this.controlBlock = {
      read: () => this.#alternateStatus(),
      write: (_offset, _sizeBytes, value) => this.#writeControl(value & 0xff),
    };
  }

  /** Connects a drive, before the guest runs. @param position - 0 for the master, 1 for the slave */
  connect(position: 0 | 1, drive: IdeDrive): void {
    this.#drives[position] = drive;
  }

  interruptChanged(): void {
    const drive = this.#drives[this.#selected];
    const asserted = drive?.interrupt === true && (this.#control & AtaControl.NIEN) === 0;
    if (asserted === this.#asserted) return;
    this.#asserted = asserted;
    if (asserted) this.#busMaster.noteInterrupt();
    this.#line.set(asserted);
  }

  requestDma(request: DmaRequest): void {
    this.#busMaster.request(request);
  }

  finishDma(): void {
    this.#busMaster.finish();
  }

  cancelDma(request: DmaRequest): void {
    this.#busMaster.cancel(request);
  }

  /** Abandons what is in progress; resolves when no backend is used any more. */
  async stop(): Promise<void> {
    await Promise.all(this.#drives.map((drive) => drive?.stop()));
    this.#line.set(false);
  }

  #readCommandBlock(offset: number, sizeBytes: number): number {
    if (offset === AtaRegister.DATA && sizeBytes > 1) {
      return this.#drives[this.#selected]?.readData(sizeBytes) ?? (sizeBytes === 4 ? 0xffffffff : 0xffff);
    }
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value |= this.#readRegister(offset + i) << (8 * i);
    return value >>> 0;
  }

  #writeCommandBlock(offset: number, sizeBytes: number, value: number): void {
    if (offset === AtaRegister.DATA && sizeBytes > 1) {
      this.#drives[this.#selected]?.writeData(sizeBytes, value);
      return;
    }
    for (let i = 0; i < sizeBytes; i++) this.#writeRegister(offset + i, (value >>> (8 * i)) & 0xff);
  }

  #readRegister(register: number): number {
    const drive = this.#drives[this.#selected];
    if (drive === undefined) return this.#absent();
    switch (register) {
      case AtaRegister.DATA:
        return this.#unknown('read', register);
      case AtaRegister.STATUS:
        return drive.acknowledge();
      default:
        return drive.readRegister(register, (this.#control & AtaControl.HOB) !== 0);
    }
  }

  #writeRegister(register: number, value: number): void {
    this.#control &= ~AtaControl.HOB;
    switch (register) {
      case AtaRegister.DATA:
        this.#unknown('write', register);
        return;
      case AtaRegister.COMMAND:
        this.#command(value);
        return;
      case AtaRegister.DEVICE:
        if (this.#busy) return;
        this.#select(value);
        return;
      default:
        if (this.#busy) return;
        for (const drive of this.#drives) drive?.writeRegister(register, value);
    }
  }

  #select(device: number): void {
    for (const drive of this.#drives) drive?.writeRegister(AtaRegister.DEVICE, device);
    this.#selected = (device & AtaDevice.DEV) === 0 ? 0 : 1;
    this.interruptChanged();
  }

  #command(code: number): void {
    const drive = this.#drives[this.#selected];
    if (this.#busy && drive?.acceptsWhileBusy(code) !== true) {
      this.#faults.report('ide.busy', `${this.#name}: a command was written while another is in progress`, {
        code,
      });
      return;
    }
    if (code === AtaCommand.EXECUTE_DEVICE_DIAGNOSTIC) this.#diagnose();
    else drive?.command(code);
  }

  #diagnose(): void {
    this.#select(0);
    const [master, slave] = this.#drives;
    slave?.diagnose(false);
    master?.diagnose(true);
  }

  #alternateStatus(): number {
    const drive = this.#drives[this.#selected];
    return drive === undefined ? this.#absent() : drive.status;
  }

  #writeControl(value: number): void {
    const changed = this.#control ^ value;
    this.#control = value;
    if ((changed & AtaControl.SRST) !== 0) {
      const hold = (value & AtaControl.SRST) !== 0;
      if (hold) this.#select(0);
      for (const drive of this.#drives) {
        if (hold) drive?.holdReset();
        else drive?.releaseReset();
      }
    }
    this.interruptChanged();
  }

  get #busy(): boolean {
    return this.#drives[0]?.busy === true || this.#drives[1]?.busy === true;
  }

  #absent(): number {
    return this.#drives[0] === undefined && this.#drives[1] === undefined ? FLOATING : ABSENT;
  }

  #unknown(access: 'read' | 'write', register: number): number {
    this.#faults.report('ide.register', `${this.#name}: ${access} of a byte of the data port`, { register });
    return 0xff;
  }
}
