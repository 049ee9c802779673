import { TimerQueue, VirtualClock } from '../../clock.ts';
import { Counters } from '../../counters.ts';
import { createLogger, GuestFaults } from '../../logger.ts';
import { PAGE_SIZE, PageArena } from '../../memory/arena.ts';
import { GpaAccess, GpaSpace } from '../../memory/gpa-space.ts';
import { type VirtualProcessor, VpExit } from '../../processor/contract.ts';
import { PartitionPlatform, type PlatformOptions, type VpPlatform } from '../platform.ts';

/** A VP that runs nothing and notes what its local APIC tells it. */
export class RecordingVp implements VirtualProcessor {
  readonly instructionsRetired = 0;
  pending = false;
  readonly events: string[] = [];

  setInterruptPending(pending: boolean): void {
    this.pending = pending;
  }
  injectNmi(): void {
    this.events.push('nmi');
  }
  init(): void {
    this.pending = false;
    this.events.push('init');
  }
  startup(vector: number): void {
    this.events.push(`startup ${vector}`);
  }
  run(): VpExit {
    return VpExit.HALT;
  }
  requestExit(): void {}
  getRegister(): boolean {
    return false;
  }
  setRegister(): boolean {
    return false;
  }
  flushTlb(): void {}
}

/** Guest RAM of a test machine. */
export const RAM_PAGES = 32;

/** A platform on a virtual clock, with RAM at guest page 0 and on, and VPs that record. */
export class TestMachine {
  readonly clock = new VirtualClock();
  readonly timers = new TimerQueue(this.clock);
  readonly counters = new Counters();
  readonly gpa: GpaSpace;
  readonly platform: PartitionPlatform;
  readonly processors: readonly RecordingVp[];
  readonly endsOfInterrupt: number[] = [];
  readonly crashes: { parameters: readonly bigint[]; message: string | undefined }[] = [];
  resets = 0;

  /** @param unusedPages - pages of the arena in front of those that the machine uses */
  constructor(options: Partial<PlatformOptions> = {}, unusedPages = 0) {
    const vpCount = options.vpCount ?? 1;
    const arena = PageArena.allocate(unusedPages + RAM_PAGES + 2 + 3 * vpCount);
    if (unusedPages > 0) arena.take(unusedPages);
    this.gpa = new GpaSpace(arena);
    this.gpa.map(0, arena.take(RAM_PAGES), RAM_PAGES, GpaAccess.ALL);
    this.platform = new PartitionPlatform({
      gpa: this.gpa,
      timers: this.timers,
      counters: this.counters,
      faults: new GuestFaults(
        this.counters,
        createLogger(() => {}),
      ),
      vpCount,
      tscFrequencyHz: 1e9,
      enlightened: true,
      hypercallPrivileges: () => 0x30,
      gpaPageLimit: 1 << 12,
      onCrash: (parameters, message) => this.crashes.push({ parameters, message }),
      onReset: () => this.resets++,
      onEndOfInterrupt: (vector) => this.endsOfInterrupt.push(vector),
      ...options,
    });
    this.processors = this.platform.vps.map((_, index) => {
      const vp = new RecordingVp();
      this.platform.attach(index, vp);
      return vp;
    });
  }

  vp(index = 0): VpPlatform {
    return this.platform.vps[index];
  }

  /** RDMSR as one number, undefined at #GP. */
  rdmsr(msr: number, vp = 0): bigint | undefined {
    const value = { lo: 0, hi: 0 };
    return this.vp(vp).msrRead(msr, value) ? (BigInt(value.hi) << 32n) | BigInt(value.lo) : undefined;
  }

  /** WRMSR; false at #GP. */
  wrmsr(msr: number, value: number | bigint, vp = 0): boolean {
    const bits = BigInt(value);
    return this.vp(vp).msrWrite(msr, { lo: Number(bits & 0xffffffffn), hi: Number(bits >> 32n) });
  }

  /** A view of a guest page as the guest sees it now. */
  page(gpaPage: number): Uint8Array {
    const arenaPage = this.gpa.translatePage(gpaPage, GpaAccess.READ);
    return this.gpa.arena.bytes.subarray(arenaPage * PAGE_SIZE, (arenaPage + 1) * PAGE_SIZE);
  }

  /** A 32-bit word of guest memory. */
  word(gpa: number): number {
    const page = this.page(Math.floor(gpa / PAGE_SIZE));
    return new DataView(page.buffer, page.byteOffset).getUint32(gpa % PAGE_SIZE, true);
  }

  setWord(gpa: number, value: number): void {
    const page = this.page(Math.floor(gpa / PAGE_SIZE));
    new DataView(page.buffer, page.byteOffset).setUint32(gpa % PAGE_SIZE, value, true);
  }

  /** Lets time pass; timers run when they are due, one after the other. */
  advanceTo(nowNs: number): void {
    while (this.timers.nextNs() <= nowNs) {
      this.clock.advance(Math.max(0, this.timers.nextNs() - this.clock.nowNs()));
      this.timers.runDue();
    }
    this.clock.advance(nowNs - this.clock.nowNs());
  }

  /** Lets time pass without running timers until the end, as while a slice goes on for long. */
  stallTo(nowNs: number): void {
    this.clock.advance(nowNs - this.clock.nowNs());
    this.timers.runDue();
  }

  /** Software-enables the local APIC of a VP through the xAPIC page. */
  enableApic(vp = 0): void {
    this.vp(vp).apicWrite(0xf0, 4, 0x1ff);
  }

  /** Acknowledges and ends everything that can be delivered; the vectors in order. */
  drain(vp = 0): number[] {
    return this.#drain(vp, () => this.vp(vp).apicWrite(0xb0, 4, 0));
  }

  /** The same in x2APIC mode. */
  drainX2(vp = 0): number[] {
    return this.#drain(vp, () => this.wrmsr(0x80b, 0, vp));
  }

  #drain(vp: number, endOfInterrupt: () => void): number[] {
    const vectors: number[] = [];
    for (let vector = this.vp(vp).acknowledgeInterrupt(); vector >= 0; ) {
      vectors.push(vector);
      endOfInterrupt();
      vector = this.vp(vp).acknowledgeInterrupt();
    }
    return vectors;
  }
}
