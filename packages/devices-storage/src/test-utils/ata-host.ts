import type { IdeMachine } from './ide-machine.ts';

/** Registers of the primary or secondary channel, by hand: what a test of the controller does. */
export class AtaHost {
  readonly machine: IdeMachine;
  readonly base: number;
  readonly control: number;
  readonly gsi: number;
  readonly busMaster: number;

  constructor(machine: IdeMachine, channel: 0 | 1 = 0) {
    this.machine = machine;
    this.base = channel === 0 ? 0x1f0 : 0x170;
    this.control = channel === 0 ? 0x3f6 : 0x376;
    this.gsi = 14 + channel;
    this.busMaster = 0xffa0 + 8 * channel;
  }

  /** Loads registers 1 to 6 (48-bit values by two writes) and writes the command. */
  command(
    code: number,
    options: { features?: number; count?: number; lba?: number; device?: number; ext?: boolean } = {},
  ): void {
    const { features = 0, count = 0, lba = 0, device = 0xe0, ext = false } = options;
    const byte = (n: number) => Math.floor(lba / 2 ** (8 * n)) % 0x100;
    const { machine, base } = this;
    machine.out(base + 6, ext ? device : device | byte(3));
    const load = (values: readonly number[]) => {
      for (const [i, value] of values.entries()) machine.out(base + 1 + i, value);
    };
    if (ext) load([0, count >> 8, byte(3), byte(4), byte(5)]);
    load([features, count & 0xff, byte(0), byte(1), byte(2)]);
    machine.out(base + 7, code);
  }

  /** Reads the status register, which ends the interrupt. */
  status(): number {
    return this.machine.in(this.base + 7);
  }

  alternateStatus(): number {
    return this.machine.in(this.control);
  }

  register(n: number): number {
    return this.machine.in(this.base + n);
  }

  get interrupt(): boolean {
    return this.machine.levels.get(this.gsi) ?? false;
  }

  get rises(): number {
    return this.machine.rises.get(this.gsi) ?? 0;
  }

  readData(sizeBytes: number, width: 2 | 4 = 2): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    const data = new DataView(bytes.buffer);
    for (let at = 0; at < sizeBytes; at += width) {
      const value = this.machine.in(this.base, width);
      if (width === 2) data.setUint16(at, value, true);
      else data.setUint32(at, value, true);
    }
    return bytes;
  }

  writeData(bytes: Uint8Array, width: 2 | 4 = 2): void {
    const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let at = 0; at < bytes.length; at += width) {
      this.machine.out(this.base, width === 2 ? data.getUint16(at, true) : data.getUint32(at, true), width);
    }
  }

  startDma(tableGpa: number, toMemory: boolean): void {
    this.machine.out(this.busMaster + 4, tableGpa, 4);
    this.machine.out(this.busMaster, toMemory ? 0x08 : 0);
    this.machine.out(this.busMaster, (toMemory ? 0x08 : 0) | 0x01);
  }

  stopDma(): number {
    const status = this.machine.in(this.busMaster + 2);
    this.machine.out(this.busMaster, 0);
    this.machine.out(this.busMaster + 2, status);
    return status;
  }
}
