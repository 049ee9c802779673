import {
  type CpuidResult,
  type GpaSpace,
  HvRegister,
  type HypercallFrame,
  KenshoError,
  PAGE_SIZE,
  PageArena,
  type ProcessorEngine,
  type ProcessorOptions,
  type Qword,
  type VirtualProcessor,
  VpExit,
  type VpIntercepts,
} from '@kensho/core';
import { x64Cpuid } from './cpuid.ts';
import { type EngineExports, instantiate } from './engine-module.ts';
import { X64Debug } from './x64-debug.ts';
import { type VpEngine, X64Vp } from './x64-vp.ts';

/** How a processor of this kind differs from its siblings. */
export interface X64Options {
  /** Source of RDRAND and RDSEED: 32 random bits. */
  readonly random32: () => number;
  /** Room for decoded code. @default 32 MiB */
  readonly codeCacheBytes?: number;
  /** Told of each instruction that is not known, as hexadecimal bytes, before the guest gets its #UD. */
  readonly onUnknownInstruction?: (bytes: string) => void;
}

/** What unwinds the engine when the guest faults: made once, since making one costs more than the fault. */
const FAULT = new Error('guest fault');

const CODE_CACHE_BYTES = 32 * 2 ** 20;
/** PAGE_INFO_SIZE of assembly/tables.ts. */
const PAGE_INFO_BYTES = 16;
/** PHYSICAL_BITS of assembly/paging.ts. */
const PHYSICAL_BITS = 40;
const CR4_OSXSAVE = 1 << 18;
/** In a VP's state (assembly/state.ts). */
const KERNEL_GS_BASE = 0x2b0;

/**
 * The software x86-64 processor of one partition: one WebAssembly instance, in whose memory lie the state of its VPs,
 * the decoded code and the guest's arena. Guest memory can have what the engine leaves of 4 GiB: all but about 64 MiB.
 */
export class X64Engine implements ProcessorEngine, VpEngine {
  readonly arena: PageArena;
  readonly exports: EngineExports;
  readonly options: ProcessorOptions;
  readonly debug: X64Debug;
  /** The engine's memory, and views of the places that it shares. */
  readonly view: DataView;
  /** Copy of the GPA space's page table. */
  readonly #gpaMap: Uint32Array;
  /** For each arena page four words, of which the first two are 0 where it has no decoded code. */
  readonly #pageInfo: Uint32Array;
  readonly vps: X64Vp[] = [];
  #gpa: GpaSpace | undefined;
  readonly #exchange: number;
  readonly #cr4: number;
  readonly #signature: number;
  readonly #kind: X64Options;
  /** The VP whose state is in place. */
  #current: X64Vp | undefined;
  #unsubscribe: (() => void) | undefined;

  readonly #qword: Qword = { lo: 0, hi: 0 };
  readonly #cpuid: CpuidResult = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
  readonly #frame: HypercallFrame = {
    control: { lo: 0, hi: 0 },
    input: { lo: 0, hi: 0 },
    output: { lo: 0, hi: 0 },
    result: { lo: 0, hi: 0 },
  };

  /** Throws KenshoError ENGINE_MISSING and OUT_OF_ENGINE_MEMORY. */
  constructor(options: ProcessorOptions, kind: X64Options) {
    this.options = options;
    this.#kind = kind;
    const pages = options.memoryPages + options.overlayPages;
    const ticksPerNs = options.tscFrequencyHz / 1e9;
    const { clock } = options;
    const [memory, exports] = instantiate(options.sharedMemory, {
      throwFault() {
        throw FAULT;
      },
      portRead: (port, sizeBytes) => this.#intercepts.portRead(port, sizeBytes),
      portWrite: (port, sizeBytes, value) => this.#intercepts.portWrite(port, sizeBytes, value >>> 0),
      mmioRead: (gpa, sizeBytes) => this.#intercepts.mmioRead(gpa, sizeBytes),
      mmioWrite: (gpa, sizeBytes, value) => this.#intercepts.mmioWrite(gpa, sizeBytes, value >>> 0),
      msrRead: (msr) => {
        if (!this.#intercepts.msrRead(msr >>> 0, this.#qword)) return 0;
        this.#store(0, this.#qword);
        return 1;
      },
      msrWrite: (msr) => {
        this.#load(0, this.#qword);
        return this.#intercepts.msrWrite(msr >>> 0, this.#qword) ? 1 : 0;
      },
      cpuid: (leaf, subleaf) => this.#identify(leaf >>> 0, subleaf >>> 0),
      hypercall: () => {
        const frame = this.#frame;
        this.#load(0, frame.control);
        this.#load(8, frame.input);
        this.#load(16, frame.output);
        frame.result.lo = 0;
        frame.result.hi = 0;
        if (!this.#intercepts.hypercall(frame)) return 0;
        this.#store(24, frame.result);
        return 1;
      },
      acknowledgeInterrupt: () => this.#intercepts.acknowledgeInterrupt(),
      readTaskPriority: () => this.#intercepts.readTaskPriority(),
      writeTaskPriority: (priority) => this.#intercepts.writeTaskPriority(priority),
      tscTicks: () => Math.floor(clock.nowNs() * ticksPerNs),
      random32: kind.random32,
      trace: () => this.debug.traceInstruction(this.#current as X64Vp),
      unknownInstruction: (length) => this.#reportUnknown(length),
    });
    if (exports.configure(pages, options.vpCount, kind.codeCacheBytes ?? CODE_CACHE_BYTES) === 0) {
      // Its tables lie below the arena; a part of them grows with it.
      const fixedBytes = (exports.arenaAddress() >>> 0) - pages * PAGE_INFO_BYTES;
      const most = Math.floor((2 ** 32 - fixedBytes) / (PAGE_SIZE + PAGE_INFO_BYTES)) - options.overlayPages;
      throw new KenshoError(
        'OUT_OF_ENGINE_MEMORY',
        `a guest of ${Math.ceil(options.memoryPages / 256)} MiB does not fit: beside its own tables in 4 GiB, ` +
          `the processor has room for up to ${Math.floor(most / 256)} MiB`,
      );
    }
    this.exports = exports;
    this.view = new DataView(memory.buffer);
    this.arena = new PageArena(memory.buffer, exports.arenaAddress() >>> 0, pages);
    const map = exports.gpaMapAddress() >>> 0;
    this.#gpaMap = new Uint32Array(memory.buffer, map, (this.arena.byteOffset - map) >>> 2);
    this.#pageInfo = new Uint32Array(memory.buffer, exports.pageInfoAddress() >>> 0, pages * 4);
    this.#exchange = exports.EXCHANGE.value;
    this.#cr4 = exports.CR4.value;
    this.#signature = exports.SIGNATURE.value;
    this.debug = new X64Debug(this, () => this.#gpa as GpaSpace);
  }

  createVp(index: number, gpa: GpaSpace, intercepts: VpIntercepts): VirtualProcessor {
    const { exports } = this;
    this.#gpa = gpa;
    if (this.#unsubscribe === undefined) {
      const stop = gpa.onChange((firstPage, count) => this.#pagesChanged(gpa, firstPage, count));
      gpa.onWrite((arenaPage) => {
        const at = arenaPage * 4;
        if ((this.#pageInfo[at] | this.#pageInfo[at + 1]) !== 0) exports.codeChanged(arenaPage);
      });
      this.#unsubscribe = () => {
        stop();
        gpa.onWrite(undefined);
      };
      this.#pagesChanged(gpa, 0, gpa.pageLimit);
    }
    const vp = new X64Vp(index, this, intercepts);
    this.vps[index] = vp;
    return vp;
  }

  dispose(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }

  /** Puts the state of a VP in place. */
  select(vp: X64Vp): void {
    if (this.#current !== vp) {
      this.exports.select(vp.index);
      this.#current = vp;
    }
    vp.catchUp();
  }

  /** Calls `work` with the state of a VP in place, and puts back what was there: also in the midst of another's run. */
  whileSelected<T>(vp: X64Vp, work: () => T): T {
    const before = this.#current;
    this.select(vp);
    const result = work();
    if (before !== undefined) this.select(before);
    return result;
  }

  /** Where a register of 64 bits lies while its VP's state is in place; undefined for what is not plain storage. */
  registerAddress(register: number): number | undefined {
    if (register >= HvRegister.RAX && register <= HvRegister.R15) {
      return this.exports.GPR.value + (register - HvRegister.RAX) * 8;
    }
    switch (register) {
      case HvRegister.CR0:
        return this.exports.CR0.value;
      case HvRegister.CR2:
        return this.exports.CR2.value;
      case HvRegister.CR3:
        return this.exports.CR3.value;
      case HvRegister.CR4:
        return this.#cr4;
      case HvRegister.EFER:
        return this.exports.EFER.value;
      case HvRegister.KERNEL_GS_BASE:
        return this.exports.STATE.value + KERNEL_GS_BASE;
      default:
        return undefined;
    }
  }

  isCurrent(vp: X64Vp): boolean {
    return this.#current === vp;
  }

  /** Runs the selected VP until its slice ends, delivering the faults that unwind it; a value of VpExit. */
  run(): number {
    let faulted = false;
    for (;;) {
      try {
        if (faulted) this.exports.deliverFault();
        faulted = false;
        return this.exports.run();
      } catch (error) {
        if (error !== FAULT) throw error;
        faulted = true;
      }
    }
  }

  /** For tests: runs the selected VP until it faults, whose delivery is left out; false where the budget ends first. */
  runToFault(budget: number): boolean {
    this.exports.beginSlice(budget);
    try {
      while (this.exports.run() === VpExit.YIELD);
      return false;
    } catch (error) {
      if (error !== FAULT) throw error;
      return true;
    }
  }

  get #intercepts(): VpIntercepts {
    return (this.#current as X64Vp).intercepts;
  }

  #store(offset: number, value: Qword): void {
    this.view.setUint32(this.#exchange + offset, value.lo, true);
    this.view.setUint32(this.#exchange + offset + 4, value.hi, true);
  }

  #load(offset: number, value: Qword): void {
    value.lo = this.view.getUint32(this.#exchange + offset, true);
    value.hi = this.view.getUint32(this.#exchange + offset + 4, true);
  }

  #identify(leaf: number, subleaf: number): void {
    const result = this.#cpuid;
    x64Cpuid(
      leaf,
      subleaf,
      {
        vpIndex: (this.#current as X64Vp).index,
        vpCount: this.options.vpCount,
        tscFrequencyHz: this.options.tscFrequencyHz,
        physicalBits: PHYSICAL_BITS,
        signature: this.#signature,
        osxsave: (this.view.getUint32(this.#cr4, true) & CR4_OSXSAVE) !== 0,
      },
      result,
    );
    this.#intercepts.cpuid(leaf, subleaf, result);
    this.view.setUint32(this.#exchange, result.eax, true);
    this.view.setUint32(this.#exchange + 4, result.ebx, true);
    this.view.setUint32(this.#exchange + 8, result.ecx, true);
    this.view.setUint32(this.#exchange + 12, result.edx, true);
  }

  #reportUnknown(length: number): void {
    const report = this.#kind.onUnknownInstruction;
    if (report === undefined) return;
    const bytes: string[] = [];
    for (let i = 0; i < length; i++) {
      bytes.push(
        this.view
          .getUint8(this.#exchange + i)
          .toString(16)
          .padStart(2, '0'),
      );
    }
    report(bytes.join(' '));
  }

  #pagesChanged(gpa: GpaSpace, firstPage: number, count: number): void {
    const end = Math.min(firstPage + count, this.#gpaMap.length);
    for (let page = firstPage; page < end; page++) {
      const access = gpa.accessOf(page);
      this.#gpaMap[page] = access === 0 ? 0 : (gpa.translatePage(page, 0) << 3) | access;
    }
    for (const vp of this.vps) vp?.flushTlb();
  }
}
