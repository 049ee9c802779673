import {
  type CpuidResult,
  GpaAccess,
  GpaSpace,
  HvRegister,
  type HypercallFrame,
  type Qword,
  registerValue,
  VirtualClock,
  type VpIntercepts,
} from '@kensho/core';
import { x64Processor } from '../plugin.ts';
import type { X64Engine, X64Options } from '../x64-engine.ts';
import type { X64Vp } from '../x64-vp.ts';

/** What a guest did that a test may look at, and what it is answered. */
export class RecordingIntercepts implements VpIntercepts {
  readonly portWrites: [port: number, sizeBytes: number, value: number][] = [];
  readonly mmio: [what: 'read' | 'write', gpa: number, sizeBytes: number, value: number][] = [];
  readonly msrs = new Map<number, Qword>();
  portValue = 0xffffffff;
  mmioValue = 0xffffffff;
  vectors: number[] = [];
  taskPriority = 0;
  onPortWrite: (port: number, value: number) => void = () => {};
  onHypercall: (frame: HypercallFrame) => boolean = () => false;

  portRead(_port: number, sizeBytes: number): number {
    return sizeBytes === 4 ? this.portValue : this.portValue & (2 ** (8 * sizeBytes) - 1);
  }

  portWrite(port: number, sizeBytes: number, value: number): void {
    this.portWrites.push([port, sizeBytes, value]);
    this.onPortWrite(port, value);
  }

  mmioRead(gpa: number, sizeBytes: number): number {
    const value = sizeBytes === 4 ? this.mmioValue : this.mmioValue & (2 ** (8 * sizeBytes) - 1);
    this.mmio.push(['read', gpa, sizeBytes, value]);
    return value;
  }

  mmioWrite(gpa: number, sizeBytes: number, value: number): void {
    this.mmio.push(['write', gpa, sizeBytes, value]);
  }

  msrRead(msr: number, value: Qword): boolean {
    const found = this.msrs.get(msr);
    if (found === undefined) return false;
    Object.assign(value, found);
    return true;
  }

  msrWrite(msr: number, value: Qword): boolean {
    if (!this.msrs.has(msr)) return false;
    this.msrs.set(msr, { ...value });
    return true;
  }

  cpuid(_leaf: number, _subleaf: number, _result: CpuidResult): void {}

  hypercall(frame: HypercallFrame): boolean {
    return this.onHypercall(frame);
  }

  acknowledgeInterrupt(): number {
    return this.vectors.shift() ?? -1;
  }

  readTaskPriority(): number {
    return this.taskPriority;
  }

  writeTaskPriority(priority: number): void {
    this.taskPriority = priority;
  }
}

/** Segment registers in the order of their encodings. */
export const Segment = { ES: 0, CS: 1, SS: 2, DS: 3, FS: 4, GS: 5, LDTR: 6, TR: 7 } as const;

/** Descriptor attributes: type, S, DPL and P, then L, D/B and G. */
const CODE64 = 0xa09b;
const DATA = 0xc093;
const DPL3 = 0x60;

/** Page tables of {@link Machine.enterLongMode}: a PML4, a directory pointer table and one directory. */
const PML4 = 0x1000;
const PDPT = 0x2000;
const DIRECTORY = 0x3000;

/** Where {@link Machine.descriptorTables} puts them, and the registers' offsets in the engine's state. */
const GDT = 0x4000;
const IDT = 0x5000;
const TSS = 0x4800;
const GDTR = 0x200;
const IDTR = 0x210;

/** A bare machine: RAM from 0, a VP or more, and answers that a test looks at. No firmware, no devices. */
export class Machine {
  readonly engine: X64Engine;
  readonly gpa: GpaSpace;
  readonly clock = new VirtualClock();
  readonly intercepts: RecordingIntercepts[] = [];
  readonly vps: X64Vp[] = [];

  constructor(
    options: { memoryPages?: number; vpCount?: number; shared?: boolean } & Partial<X64Options> = {},
  ) {
    const memoryPages = options.memoryPages ?? 1024;
    const vpCount = options.vpCount ?? 1;
    this.engine = x64Processor(options).create({
      memoryPages,
      overlayPages: 16,
      vpCount,
      sharedMemory: options.shared ?? false,
      clock: this.clock,
      tscFrequencyHz: 1e9,
    }) as X64Engine;
    this.gpa = new GpaSpace(this.engine.arena);
    for (let i = 0; i < vpCount; i++) {
      const intercepts = new RecordingIntercepts();
      this.intercepts.push(intercepts);
      this.vps.push(this.engine.createVp(i, this.gpa, intercepts) as X64Vp);
    }
    this.gpa.map(0, this.engine.arena.take(memoryPages), memoryPages, GpaAccess.ALL);
  }

  get vp(): X64Vp {
    return this.vps[0];
  }

  get io(): RecordingIntercepts {
    return this.intercepts[0];
  }

  write(gpa: number, bytes: Uint8Array | readonly number[]): void {
    if (!this.gpa.write(gpa, Uint8Array.from(bytes))) throw new Error('no RAM there');
  }

  read(gpa: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    this.gpa.read(gpa, bytes);
    return bytes;
  }

  write64(gpa: number, value: bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), true);
    this.write(gpa, bytes);
  }

  read64(gpa: number): bigint {
    return new DataView(this.read(gpa, 8).buffer).getBigUint64(0, true);
  }

  /** Writes `hex` digits, spaces allowed, as code. */
  code(gpa: number, hex: string): void {
    this.write(gpa, Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
  }

  set(register: number, value: bigint, vp = this.vp): void {
    const wide = BigInt.asUintN(64, value);
    const done = vp.setRegister(register, registerValue(wide));
    if (!done) throw new Error(`register ${register.toString(16)} does not take ${value.toString(16)}`);
  }

  get(register: number, vp = this.vp): bigint {
    const value = registerValue(0n);
    vp.getRegister(register, value);
    return (BigInt(value.hi) << 32n) | BigInt(value.lo);
  }

  segment(n: number, selector: number, base: number, limit: number, attributes: number, vp = this.vp): void {
    this.engine.whileSelected(vp, () =>
      this.engine.exports.setSegmentRegister(n, selector, BigInt(base), limit, attributes),
    );
  }

  /**
   * 64-bit code at `entry`, in flat segments of a level, the first GiB mapped to itself by 2 MiB pages that are the
   * user's too where `level` is 3.
   */
  enterLongMode(entry: number, stack: number, level: 0 | 3 = 0, vp = this.vp): void {
    const rights = level === 3 ? 7n : 3n;
    this.write64(PML4, BigInt(PDPT) | rights);
    this.write64(PDPT, BigInt(DIRECTORY) | rights);
    for (let i = 0; i < 512; i++) this.write64(DIRECTORY + i * 8, (BigInt(i) << 21n) | 0x80n | rights);
    this.set(HvRegister.CR4, 0x6a0n, vp); // PAE, PGE, OSFXSR, OSXMMEXCPT
    this.set(HvRegister.CR3, BigInt(PML4), vp);
    this.set(HvRegister.EFER, 0xd01n & ~0x400n, vp);
    this.set(HvRegister.CR0, 0x80010033n, vp); // PG, WP, NE, ET, MP, PE
    const dpl = level === 3 ? DPL3 : 0;
    const rpl = level;
    for (const n of [Segment.ES, Segment.SS, Segment.DS, Segment.FS, Segment.GS]) {
      this.segment(n, 0x10 | rpl, 0, 0xffffffff, DATA | dpl, vp);
    }
    this.segment(Segment.CS, 0x08 | rpl, 0, 0xffffffff, CODE64 | dpl, vp);
    this.set(HvRegister.RIP, BigInt(entry), vp);
    this.set(HvRegister.RSP, BigInt(stack), vp);
    this.set(HvRegister.RFLAGS, 2n, vp);
  }

  /**
   * Puts a GDT (selectors 08h code and 10h data of level 0, 1Bh code and 23h data of level 3, TSS at 28h) and an IDT
   * behind {@link enterLongMode}; each handler's offset is a gate's. `stack` is that of level 0.
   */
  descriptorTables(handlers: Readonly<Record<number, number>>, stack: number, vp = this.vp): void {
    const gates: [number, bigint][] = [
      [8, 0x00af9b000000ffffn],
      [0x10, 0x00cf93000000ffffn],
      [0x18, 0x00affb000000ffffn],
      [0x20, 0x00cff3000000ffffn],
    ];
    for (const [selector, descriptor] of gates) this.write64(GDT + selector, descriptor);
    this.write64(TSS + 4, BigInt(stack));
    for (const [vector, handler] of Object.entries(handlers)) {
      const offset = BigInt(handler);
      const low = (offset & 0xffffn) | (8n << 16n) | (0xee00n << 32n) | ((offset >> 16n) << 48n);
      this.write64(IDT + Number(vector) * 16, low);
      this.write64(IDT + Number(vector) * 16 + 8, 0n);
    }
    this.segment(Segment.TR, 0x28, TSS, 0x67, 0x8b, vp);
    const { view, exports } = this.engine;
    this.engine.whileSelected(vp, () => {
      view.setBigUint64(exports.STATE.value + GDTR, BigInt(GDT), true);
      view.setUint32(exports.STATE.value + GDTR + 8, 0x2f, true);
      view.setBigUint64(exports.STATE.value + IDTR, BigInt(IDT), true);
      view.setUint32(exports.STATE.value + IDTR + 8, 0xfff, true);
    });
  }

  /** The exception that the last fault raised, before its delivery. */
  get lastFault(): { vector: number; error: number; address: bigint } {
    const { view, exports } = this.engine;
    const at = exports.STATE.value;
    return {
      vector: view.getUint32(at + 0x400, true),
      error: view.getUint32(at + 0x404, true),
      address: view.getBigUint64(at + 0x410, true),
    };
  }
}
