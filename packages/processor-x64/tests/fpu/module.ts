// Runs cases on the FPU part alone (assembly/fpu/test-entry.ts).
import { IMAGE, OPERAND, RECORD_SIZE, REGISTERS } from './cases.ts';

/** What of WebAssembly's interface is used; Node.js's types leave it to those of browsers. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  Memory: new (limits: { initial: number }) => { readonly buffer: ArrayBuffer };
  Instance: new (module: object, imports: object) => { readonly exports: object };
};

interface Exports {
  decode(at: number): number;
  run(): void;
  repeat(times: number): void;
  fxsave(op: number): void;
  fxrstor(op: number): void;
  readFlags(): number;
  writeFlags(value: number): void;
}

// Places in the module's memory: assembly/state.ts and its test entry.
export const STATE = 0x10000;
const RAX = STATE;
const RSI = STATE + 48;
const FAULT_VECTOR = STATE + 0x400;
const MODE = STATE + 0xd4;
const MODE_CODE64 = 2;
const CR0 = STATE + 0x220;
const CR4 = STATE + 0x238;
const CASE = 0x20000;
const IMAGE_RECORD = 0x9000;
const IMAGE_POINTER = 0x9100;
const CR0_NE = 0x20;
const CR4_OSFXSR_OSXMMEXCPT = 0x600;

class Fault extends Error {}

export class FpuModule {
  readonly memory = new WebAssembly.Memory({ initial: 16 });
  readonly exports: Exports;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(binary: Uint8Array<ArrayBuffer>) {
    const fault = new Fault();
    const host = {
      throwFault(): never {
        throw fault;
      },
    };
    const instance = new WebAssembly.Instance(new WebAssembly.Module(binary), {
      env: { memory: this.memory },
      host,
    });
    this.exports = instance.exports as Exports;
    this.#bytes = new Uint8Array(this.memory.buffer);
    this.#view = new DataView(this.memory.buffer);
    this.#view.setUint32(CR0, CR0_NE, true);
    this.#view.setUint32(MODE, MODE_CODE64, true);
    this.#view.setUint32(CR4, CR4_OSFXSR_OSXMMEXCPT, true);
    // A record whose memory operand is the image of the case.
    this.#view.setUint8(IMAGE_RECORD + 4, 3);
    this.#view.setUint8(IMAGE_RECORD + 5, 1);
    this.#view.setUint32(IMAGE_RECORD + 12, IMAGE_POINTER, true);
    this.#view.setUint32(IMAGE_POINTER, CASE + IMAGE, true);
  }

  /** Runs the case in `record` and puts what became of it in its place. False: the instruction does not exist. */
  run(record: Uint8Array): boolean {
    const { exports } = this;
    this.#bytes.set(record, CASE);
    if (exports.decode(CASE + 1) === 0) return false;
    this.load();
    let vector = 255;
    try {
      exports.run();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      vector = this.#view.getUint32(FAULT_VECTOR, true);
    }
    this.#bytes[CASE] = vector;
    this.#bytes.copyWithin(CASE + REGISTERS, RAX, RAX + 32);
    this.#view.setUint32(CASE + REGISTERS + 32, exports.readFlags() | 0x200, true);
    exports.fxsave(IMAGE_RECORD);
    record.set(this.#bytes.subarray(CASE, CASE + RECORD_SIZE));
    return true;
  }

  /** The module's memory, to look into. */
  get view(): DataView {
    return this.#view;
  }

  /** Runs one instruction in the state as it is; what it has in memory is at `address`. The vector, or 255. */
  execute(code: readonly number[], address: number): number {
    this.#bytes.set(code, CASE);
    if (this.exports.decode(CASE) === 0) return 6;
    this.#view.setBigUint64(RSI, BigInt(address), true);
    try {
      this.exports.run();
      return 255;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return this.#view.getUint32(FAULT_VECTOR, true);
    }
  }

  /** Puts the registers of the case into the state. */
  load(): void {
    this.#bytes.copyWithin(RAX, CASE + REGISTERS, CASE + REGISTERS + 32);
    this.#view.setUint32(RSI, CASE + OPERAND, true);
    this.#view.setUint32(RSI + 8, CASE + OPERAND, true);
    this.exports.writeFlags(this.#view.getUint32(CASE + REGISTERS + 32, true) & 0x8d5);
    this.exports.fxrstor(IMAGE_RECORD);
  }
}
