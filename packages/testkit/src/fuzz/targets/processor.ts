import {
  type CpuidResult,
  GpaAccess,
  GpaSpace,
  HvRegister,
  type HypercallFrame,
  type Qword,
  registerValue,
  segmentRegister,
  tableRegister,
  VirtualClock,
  type VirtualProcessor,
  VpExit,
  type VpIntercepts,
} from '@kensho/core';
import { x64Processor } from '@kensho/processor-x64';
import { Random } from '../../random.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';

const PAGE_BYTES = 0x1000;
const RAM_PAGES = 40;
/** Read-only memory behind RAM, and pages that belong to nobody. */
const ROM_PAGES = 2;
const SPARE_PAGES = 2;
const SLICES = 3;
const SLICE_BUDGET = 150;
/** A slice ends within a block of its budget: what it may retire beyond. */
const BLOCK_MAX = 80;
const CODE = 0x10000;
const CODE_BYTES = 96;
const STACK = 0x20000;
const GDT = 0x8000;
const LDT = 0x8800;
const IDT = 0x9000;
const TSS = 0xa000;
/** Paging structures, for each depth of paging its own; a table maps the first pages that there are. */
const PML4 = 0x1000;
const PDPT = 0x2000;
const DIRECTORY = 0x3000;
const TABLE = 0x4000;
const PDPT_PAE = 0x5000;
const DIRECTORY32 = 0x6000;
const TABLE32 = 0x7000;
const MAPPED_PAGES = RAM_PAGES + ROM_PAGES + 4;

const EXITS: readonly number[] = Object.values(VpExit);
/** Bytes that lead to more than chance would: prefixes, escapes, and system instructions. */
const LEADING = [
  0x0f, 0x0f, 0x0f, 0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x2e, 0x64, 0xc4, 0xc5, 0xd8, 0xdb, 0xdd,
];
const SYSTEM = [
  '0f00',
  '0f01',
  '0f20',
  '0f22',
  '0f23',
  '0fae',
  '0fc7',
  '8e',
  'cd',
  'cf',
  'ca',
  'ff',
  '9d',
  '0f34',
  '0f05',
  '0f07',
  '0f35',
];
const SYSTEM_BYTES = SYSTEM.map((hex) => [...Buffer.from(hex, 'hex')]);

const SEGMENTS = [HvRegister.ES, HvRegister.CS, HvRegister.SS, HvRegister.DS, HvRegister.FS, HvRegister.GS];
const GENERAL = Array.from({ length: 16 }, (_, i) => HvRegister.RAX + i);

const Mode = { REAL: 0, PROTECTED16: 1, PROTECTED32: 2, VIRTUAL8086: 3, COMPATIBILITY: 4, LONG: 5 } as const;
const MODES = Object.values(Mode);

/** What answers the guest: random numbers, refusals, and now and then the end of the slice. */
class Chaos implements VpIntercepts {
  random = new Random(0);
  vp: VirtualProcessor | undefined;

  portRead(_port: number, sizeBytes: number): number {
    this.#disturb();
    return sizeBytes === 4 ? this.random.u32() : this.random.below(2 ** (8 * sizeBytes));
  }

  portWrite(_port: number, _sizeBytes: number, _value: number): void {
    this.#disturb();
  }

  mmioRead(_gpa: number, sizeBytes: number): number {
    return this.portRead(0, sizeBytes);
  }

  mmioWrite(_gpa: number, _sizeBytes: number, _value: number): void {
    this.#disturb();
  }

  msrRead(_msr: number, value: Qword): boolean {
    value.lo = this.random.u32();
    value.hi = this.random.u32();
    return this.random.oneIn(2);
  }

  msrWrite(): boolean {
    return this.random.oneIn(2);
  }

  cpuid(_leaf: number, _subleaf: number, _result: CpuidResult): void {}

  hypercall(frame: HypercallFrame): boolean {
    frame.result.lo = this.random.u32();
    frame.result.hi = this.random.u32();
    return this.random.oneIn(2);
  }

  acknowledgeInterrupt(): number {
    return this.random.oneIn(4) ? -1 : this.random.below(256);
  }

  readTaskPriority(): number {
    return this.random.below(16);
  }

  writeTaskPriority(): void {}

  #disturb(): void {
    if (!this.random.oneIn(8)) return;
    if (this.random.oneIn(3)) this.vp?.requestExit();
    else if (this.random.oneIn(2)) this.vp?.setInterruptPending(this.random.oneIn(2));
    else this.vp?.injectNmi();
  }
}

/** Random bytes as code of every mode, with paging structures, descriptors and control registers of any kind. */
export const processorTarget: FuzzTarget = {
  id: 'processor',
  description:
    'random bytes as x86-64 code in every mode, with random page tables, descriptors, CRs and MSRs',
  corpus: [574849872, 3473773701],
  create() {
    const subject = new ProcessorSubject();
    return { run: (random) => subject.run(random) };
  },
};

class ProcessorSubject {
  readonly #chaos = new Chaos();
  readonly #gpa: GpaSpace;
  readonly #vp: VirtualProcessor;
  /** What no guest may change: ROM, and what is not its own. */
  readonly #kept: Uint8Array;
  readonly #ram = new Uint8Array(RAM_PAGES * PAGE_BYTES);
  readonly #view = new DataView(this.#ram.buffer);

  constructor() {
    const engine = x64Processor({ random32: () => this.#chaos.random.u32(), codeCacheBytes: 2 ** 20 }).create(
      {
        memoryPages: RAM_PAGES + ROM_PAGES + SPARE_PAGES,
        overlayPages: 0,
        vpCount: 1,
        sharedMemory: false,
        clock: new VirtualClock(),
        tscFrequencyHz: 1e9,
      },
    );
    const { arena } = engine;
    this.#gpa = new GpaSpace(arena);
    this.#gpa.map(0, arena.take(RAM_PAGES), RAM_PAGES, GpaAccess.ALL);
    const rom = arena.take(ROM_PAGES + SPARE_PAGES);
    this.#gpa.map(RAM_PAGES, rom, ROM_PAGES, GpaAccess.READ | GpaAccess.EXECUTE);
    this.#kept = arena.bytes.subarray(rom * PAGE_BYTES, (rom + ROM_PAGES + SPARE_PAGES) * PAGE_BYTES);
    this.#kept.set(new Random(1).bytes(this.#kept.length));
    this.#vp = engine.createVp(0, this.#gpa, this.#chaos);
    this.#chaos.vp = this.#vp;
  }

  run(random: Random): void {
    this.#chaos.random = random;
    this.#ram.set(RAM);
    this.#placeTables(random);
    this.#placeCode(random);
    this.#gpa.write(0, this.#ram);
    const vp = this.#vp;
    vp.init();
    vp.startup(0);
    this.#enter(random, random.pick(MODES));
    const before = vp.instructionsRetired;
    for (let slice = 1; slice <= SLICES; slice++) {
      if (random.oneIn(6)) vp.setInterruptPending(random.oneIn(2));
      if (random.oneIn(12)) vp.injectNmi();
      const exit = vp.run(SLICE_BUDGET);
      expectAlways(EXITS.includes(exit), () => `a slice ended with ${exit}`);
      const retired = vp.instructionsRetired - before;
      expectAlways(
        retired >= 0 && retired <= slice * (SLICE_BUDGET + BLOCK_MAX),
        () => `${slice} slices retired ${retired} instructions`,
      );
    }
    expectAlways(Buffer.compare(this.#kept, KEPT) === 0, 'memory changed that is not to be written');
    const rip = registerValue(0n);
    expectAlways(vp.getRegister(HvRegister.RIP, rip), 'RIP cannot be read');
  }

  #u64(at: number, lo: number, hi: number): void {
    this.#view.setUint32(at, lo >>> 0, true);
    this.#view.setUint32(at + 4, hi >>> 0, true);
  }

  /** Entries that are mostly as they should be, with rights of any kind. */
  #placeTables(random: Random): void {
    const wild = random.below(6);
    const upper = () => (random.oneIn(40) ? random.u32() & 0x80000fff : 0);
    const flags = () => (wild === 0 ? random.below(0x1000) : random.oneIn(10) ? random.below(0x100) : 0x67);
    this.#u64(PML4, PDPT | 7, 0);
    this.#u64(PML4 + 511 * 8, PDPT | (flags() | 1), upper());
    this.#u64(PDPT, DIRECTORY | 7, 0);
    this.#u64(PDPT + 8, 0x83 | (flags() & 0x1f), upper());
    this.#u64(PDPT_PAE, DIRECTORY | 1, 0);
    for (let i = 1; i < 4; i++)
      this.#u64(DIRECTORY + i * 8, (flags() & 0xff) | (random.oneIn(2) ? 0x80 : TABLE), upper());
    this.#u64(DIRECTORY, TABLE | 7, 0);
    this.#view.setUint32(DIRECTORY32, TABLE32 | 7, true);
    this.#view.setUint32(DIRECTORY32 + 4, random.oneIn(2) ? flags() | 0x81 : TABLE32 | flags(), true);
    for (let i = 0; i < MAPPED_PAGES; i++) {
      const page = random.oneIn(12) ? random.below(MAPPED_PAGES) : i;
      const rights = flags();
      this.#u64(TABLE + i * 8, (page << 12) | rights, upper());
      this.#view.setUint32(TABLE32 + i * 4, (page << 12) | rights, true);
    }
    for (let i = 1; i < 24; i++) this.#descriptor(random, GDT + i * 8, i);
    for (let i = 0; i < 4; i++) this.#descriptor(random, LDT + i * 8, random.below(24));
    for (let i = 0; i < 16; i++)
      this.#view.setUint32(TSS + i * 4, random.oneIn(8) ? random.u32() : STACK - i * 64, true);
    // Gates of 64 bits, of 32, and real-mode vectors take the same place; a case uses one of them.
    const wide = random.oneIn(2);
    for (let vector = 0; vector < (wide ? 64 : 128); vector++) {
      const type = random.oneIn(8) ? random.below(256) : 0x8e | (random.below(4) << 5) | random.below(2);
      const offset = CODE + random.below(CODE_BYTES);
      const selector = random.oneIn(6) ? random.below(0x100) : wide ? 0x08 : 0x18;
      const at = IDT + vector * (wide ? 16 : 8);
      this.#u64(
        at,
        (offset & 0xffff) | (selector << 16),
        (offset & 0xffff0000) | (type << 8) | (random.oneIn(4) ? random.below(8) : 0),
      );
      if (wide) this.#u64(at + 8, random.oneIn(20) ? random.u32() : 0, 0);
    }
  }

  /** Code and data of both levels and of all widths, system descriptors, and what is nothing at all. */
  #descriptor(random: Random, at: number, index: number): void {
    if (random.oneIn(10)) {
      this.#u64(at, random.u32(), random.u32());
      return;
    }
    const dpl = index & 1 ? 0 : 3;
    const kind = (index >> 1) % 6;
    const types = [0xb, 0xb, 0xb, 0x3, 0x3, 0x9];
    const wide = [0xa, 0xc, 0x0, 0xc, 0x0, 0x0][kind];
    const system = kind === 5;
    const type = system ? random.below(16) : types[kind] | (random.oneIn(8) ? 4 : 0);
    const attributes = 0x80 | (dpl << 5) | (system ? 0 : 0x10) | type;
    const base = system ? random.pick([TSS, LDT, CODE]) : random.oneIn(6) ? random.below(0x20000) : 0;
    const limit = random.oneIn(6) ? random.below(0x10000) : 0xffff;
    this.#u64(
      at,
      limit | ((base & 0xffff) << 16),
      ((base >>> 16) & 0xff) | (attributes << 8) | (wide === 0 ? 0 : 0xf0000) | (wide << 20),
    );
  }

  #placeCode(random: Random): void {
    for (let i = 0; i < CODE_BYTES; ) {
      const choice = random.below(16);
      if (choice < 2) {
        const bytes = random.pick(SYSTEM_BYTES);
        this.#ram.set(bytes, CODE + i);
        i += bytes.length;
      } else {
        this.#ram[CODE + i++] = choice < 5 ? random.pick(LEADING) : random.u32();
      }
    }
  }

  #set(register: number, value: bigint): void {
    this.#vp.setRegister(register, registerValue(value));
  }

  #enter(random: Random, mode: number): void {
    const paging = mode !== Mode.REAL && (mode >= Mode.COMPATIBILITY || random.oneIn(2));
    const long = mode >= Mode.COMPATIBILITY;
    const pae = long || random.oneIn(2);
    const oneOf = (bits: bigint) => (random.oneIn(3) ? bits : 0n);
    let cr4 = (pae ? 0x20n : 0n) | (random.oneIn(6) ? 0n : 0x600n) | oneOf(0x10n) | oneOf(0x80n) | oneOf(8n);
    cr4 |=
      oneOf(0x100000n) | oneOf(0x200000n) | oneOf(0x800n) | oneOf(0x10000n) | oneOf(0x40000n) | oneOf(4n);
    if (long) cr4 |= oneOf(0x20000n);
    const cr0 = 0x10n | oneOf(0x20n) | oneOf(0x10000n) | oneOf(0x40000n) | (random.oneIn(8) ? 0xen : 2n);
    this.#set(HvRegister.CR4, cr4 & ~0x20000n);
    this.#set(HvRegister.CR3, BigInt(long ? PML4 : pae ? PDPT_PAE : DIRECTORY32));
    this.#set(
      HvRegister.EFER,
      (long ? 0x100n : 0n) | (random.oneIn(4) ? 0n : 0x800n) | (random.oneIn(3) ? 0n : 1n),
    );
    this.#set(HvRegister.CR0, cr0 | (mode === Mode.REAL ? 0n : 1n) | (paging ? 0x80000000n : 0n));
    this.#set(HvRegister.CR4, cr4);

    const user = mode === Mode.VIRTUAL8086 || (mode !== Mode.REAL && random.oneIn(2));
    const small = mode === Mode.REAL || mode === Mode.VIRTUAL8086;
    const dpl = user ? 0x60 : 0;
    const wideData = mode === Mode.PROTECTED16 ? 0x0093 : 0xc093;
    const code = [0x9b, 0x009b, 0xc09b, 0x9b, 0xc09b, 0xa09b][mode];
    const codeBase = small || (mode === Mode.PROTECTED16 && random.oneIn(2)) ? CODE : 0;
    for (const register of SEGMENTS) {
      const isCode = register === HvRegister.CS;
      const selector = small ? (isCode ? CODE : STACK - 0x8000) >> 4 : random.below(0xc0) & ~3;
      const flat = !small && !random.oneIn(6);
      const limit =
        small || mode === Mode.PROTECTED16 ? 0xffff : flat || isCode ? 0xffffffff : random.below(0x20000);
      const base = isCode ? codeBase : small ? selector << 4 : flat ? 0 : random.below(0x8000);
      const attributes = (small ? (isCode ? 0x9b : 0x93) : isCode ? code : wideData) | dpl;
      const value = { base: BigInt(base), limit, selector: selector | (user && !small ? 3 : 0), attributes };
      this.#set(register, segmentRegister(value));
    }
    this.#set(HvRegister.GDTR, tableRegister({ base: BigInt(GDT), limit: 0xbf }));
    this.#set(
      HvRegister.IDTR,
      tableRegister({ base: BigInt(small && mode === Mode.REAL ? 0 : IDT), limit: 0x3ff }),
    );
    this.#set(
      HvRegister.LDTR,
      segmentRegister({ base: BigInt(LDT), limit: 0x1f, selector: 0x58, attributes: 0x82 }),
    );
    const tss = {
      base: BigInt(TSS),
      limit: random.oneIn(4) ? random.below(0x100) : 0x200,
      selector: 0x28,
      attributes: 0x8b,
    };
    this.#set(HvRegister.TR, segmentRegister(tss));
    for (const register of GENERAL) this.#set(register, this.#value(random));
    this.#set(HvRegister.RSP, BigInt(small ? 0x7ff0 : STACK - random.below(16)));
    // Single step, I/O privilege, nested task, alignment checks, and the arithmetic flags.
    let flags = 2n | BigInt(random.u32() & 0xed5) | oneOf(0x3000n);
    if (!random.oneIn(8)) flags &= ~0x100n;
    if (random.oneIn(6)) flags |= BigInt(random.u32() & 0x244000);
    if (mode === Mode.VIRTUAL8086) flags |= 0x20000n;
    this.#set(HvRegister.RFLAGS, flags);
    this.#set(HvRegister.RIP, BigInt(codeBase === CODE ? 0 : CODE));
    if (random.oneIn(8)) {
      for (let i = 0; i < 4; i++) this.#set(HvRegister.DR0 + i, this.#value(random));
      this.#set(HvRegister.DR7, BigInt(random.u32() & 0xffff03ff));
    }
  }

  /** Mostly addresses of something, else numbers at which things change. */
  #value(random: Random): bigint {
    const near = BigInt(random.below(64));
    switch (random.below(8)) {
      case 0:
        return (BigInt(random.u32()) << 32n) | BigInt(random.u32());
      case 1:
        return BigInt(random.u32());
      case 2:
        return BigInt.asUintN(64, (1n << BigInt(random.below(64))) - near);
      case 3:
        return near;
      case 4:
        return BigInt(CODE) + near;
      case 5:
        return BigInt(random.below(MAPPED_PAGES) * PAGE_BYTES + 0xfe0) + near;
      default:
        return BigInt(random.below(MAPPED_PAGES * PAGE_BYTES));
    }
  }
}

/** What RAM holds before a case puts its own into it. */
const RAM = new Random(2).bytes(RAM_PAGES * PAGE_BYTES).fill(0, 0, 0x8000);
const KEPT = new Random(1).bytes((ROM_PAGES + SPARE_PAGES) * PAGE_BYTES);
