import {
  APIC_PAGE_GPA,
  ApicRegister,
  GpaAccess,
  HvMsr,
  HvStatus,
  IA32_APIC_BASE,
  IA32_TSC_DEADLINE,
  PAGE_SIZE,
  type Qword,
  X2APIC_MSR_BASE,
} from '@kensho/core';
import type { Random } from '../../random.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const ACTIONS = 48;
const RAM_PAGES = 10;
const HYPERCALL_PAGE = 9;
/** Where the SIM and SIEF pages of the VPs are put for the last check. */
const FINAL_SIMP = 4;
const FINAL_SIEFP = 6;

const SINTS = 16;
const SLOT_BYTES = 256;
const SLOT_PAYLOAD_SIZE = 4;
const TIMER_MESSAGE = 0x80000010;
const FUZZ_MESSAGE = 7;
const LOWEST_VECTOR = 16;
/** A queue's sixteen messages, the slot's, and one of each timer. */
const MESSAGES_HELD = 16 + 1 + 4;

const SYNTHETIC = [...Object.values(HvMsr), ...Array.from({ length: SINTS }, (_, i) => HvMsr.SINT0 + i)];
const TIMERS = Array.from({ length: 8 }, (_, i) => HvMsr.STIMER0_CONFIG + i);
const APIC = Object.values(ApicRegister);

/** Synthetic and APIC registers, messages and events from the root, timers, EOM and EOI, in any order. */
export const synicTarget: FuzzTarget = {
  id: 'synic',
  description: 'synthetic MSRs, SynIC messages and events, synthetic timers, local APIC in both modes',
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => new SynicCase(memory, random).run() };
  },
};

class SynicCase {
  readonly #random: Random;
  readonly #machine: FuzzMachine;
  readonly #vpCount: number;
  /** By VP and SINT: messages of the root's that were accepted and that the guest has not taken. */
  readonly #owed: number[];
  /** The guest wrote into slots itself: messages may be lost. */
  #scribbled = false;

  constructor(memory: MachineMemory, random: Random) {
    this.#random = random;
    this.#vpCount = 1 + random.below(2);
    this.#machine = new FuzzMachine({ memory, ramPages: RAM_PAGES, vpCount: this.#vpCount });
    this.#owed = new Array<number>(this.#vpCount * SINTS).fill(0);
  }

  async run(): Promise<void> {
    const machine = this.#machine;
    machine.enableHypercalls(HYPERCALL_PAGE);
    for (let vp = 0; vp < this.#vpCount; vp++) if (!this.#random.oneIn(4)) this.#bringUp(vp);
    for (let i = 0; i < ACTIONS; i++) {
      await this.#act(this.#random.below(this.#vpCount));
      for (let vp = 0; vp < this.#vpCount; vp++) this.#checkPriority(vp);
    }
    this.#untangleOverlays();
    for (let vp = 0; vp < this.#vpCount; vp++) this.#checkMessages(vp);
    machine.end();
  }

  /** What a guest's kernel does first. */
  #bringUp(vp: number): void {
    const machine = this.#machine;
    machine.writeMsr(HvMsr.SIMP, 2 * vp * PAGE_SIZE + 1, 0, vp);
    machine.writeMsr(HvMsr.SIEFP, (2 * vp + 1) * PAGE_SIZE + 1, 0, vp);
    machine.writeMsr(HvMsr.SCONTROL, 1, 0, vp);
    machine.writeMsr(HvMsr.SINT0 + 2, 0xf3, 0, vp);
    machine.vp(vp).mmioWrite(APIC_PAGE_GPA + ApicRegister.SVR, 4, 0x1ff);
  }

  async #act(vp: number): Promise<void> {
    const random = this.#random;
    const machine = this.#machine;
    const platform = machine.vp(vp).platform;
    switch (random.below(16)) {
      case 0:
      case 1:
      case 2:
        this.#writeSynthetic(vp);
        return;
      case 3:
        this.#writeTimer(vp);
        return;
      case 4:
        this.#read(vp);
        return;
      case 5:
        this.#writeApic(vp);
        return;
      case 6:
        machine.writeMsr(
          mostly(random, () => random.pick(X2APIC)),
          this.#value(),
          this.#high(),
          vp,
        );
        return;
      case 7:
      case 8: {
        const sint = random.below(SINTS + 1);
        const status = platform.postMessage(sint, FUZZ_MESSAGE, random.bytes(random.below(241)), 1);
        if (status === HvStatus.SUCCESS) this.#owed[vp * SINTS + sint]++;
        return;
      }
      case 9:
        platform.signalEvent(
          random.below(SINTS + 1),
          mostly(random, () => random.below(2049)),
        );
        return;
      case 10:
      case 11:
        this.#takeMessage(vp, random.below(SINTS));
        return;
      case 12:
        for (let i = random.below(4); i >= 0; i--) this.#acknowledge(vp);
        return;
      case 13:
        await machine.advance(random.below(random.oneIn(8) ? 1e9 : 2000));
        return;
      case 14:
        machine.stall(random.below(1e8));
        return;
      default:
        if (random.oneIn(8)) {
          this.#scribbled = true;
          const slot = random.below(RAM_PAGES) * PAGE_SIZE + random.below(SINTS) * SLOT_BYTES;
          const at = machine.partition.gpa.translate(slot, GpaAccess.WRITE);
          if (at >= 0) machine.partition.gpa.arena.words[at >>> 2] = edgeValue(random);
        } else {
          machine.partition.control.assertVirtualInterrupt({
            vector: random.below(256),
            deliveryMode: random.pick(['fixed', 'lowest-priority', 'smi', 'nmi', 'init', 'extint']),
            levelTriggered: random.oneIn(3),
            logicalDestination: random.oneIn(2),
            destination: mostly(random, () => random.below(4)),
          });
        }
    }
  }

  #writeSynthetic(vp: number): void {
    const random = this.#random;
    const msr = mostly(random, () => random.pick(SYNTHETIC), 16);
    const overlay =
      msr === HvMsr.SIMP ||
      msr === HvMsr.SIEFP ||
      msr === HvMsr.REFERENCE_TSC ||
      msr === HvMsr.VP_ASSIST_PAGE;
    const lo = overlay
      ? mostly(random, () => random.below(RAM_PAGES) * PAGE_SIZE + random.below(2), 16)
      : msr === HvMsr.SCONTROL
        ? +!random.oneIn(6)
        : this.#value();
    const hi = overlay ? (random.oneIn(16) ? edgeValue(random) : 0) : this.#high();
    // A hypercall page that is gone or locked ends nothing, but the rest would have less to do.
    if (msr === HvMsr.HYPERCALL && !random.oneIn(8)) return;
    const written = this.#machine.writeMsr(msr, lo, hi, vp);
    if (!written || !KEPT.has(msr)) return;
    const read = this.#machine.readMsr(msr, vp);
    expectAlways(
      read !== undefined && read.lo === lo >>> 0 && read.hi === hi >>> 0,
      () => `MSR ${msr.toString(16)} does not keep what is written to it`,
    );
  }

  #writeTimer(vp: number): void {
    const random = this.#random;
    const msr = random.pick(TIMERS);
    const isConfig = (msr & 1) === 0;
    const config = () =>
      random.below(16) | (random.below(256) << 4) | (random.below(2) << 12) | (random.below(SINTS) << 16);
    const count = () => random.below(random.oneIn(2) ? 1000 : 1e7);
    this.#machine.writeMsr(
      msr,
      mostly(random, isConfig ? config : count),
      random.oneIn(12) ? edgeValue(random) : 0,
      vp,
    );
  }

  #read(vp: number): void {
    const random = this.#random;
    if (random.oneIn(3)) {
      const sizeBytes = random.pick([1, 2, 4]);
      const value = this.#machine.vp(vp).mmioRead(APIC_PAGE_GPA + random.below(PAGE_SIZE - 3), sizeBytes);
      expectAlways(isUnsigned(value, 2 ** (8 * sizeBytes)), () => `the APIC page reads ${value}`);
      return;
    }
    const msr = mostly(random, () => random.pick([...SYNTHETIC, ...TIMERS, ...X2APIC]));
    const value = this.#machine.readMsr(msr, vp);
    if (value === undefined) return;
    expectAlways(
      isUnsigned(value.lo, 2 ** 32) && isUnsigned(value.hi, 2 ** 32),
      () => `MSR ${msr.toString(16)} reads ${value.hi}:${value.lo}`,
    );
  }

  #writeApic(vp: number): void {
    const random = this.#random;
    const offset = mostly(random, () => random.pick(APIC)) % PAGE_SIZE;
    const sizeBytes = random.oneIn(8) ? random.pick([1, 2]) : 4;
    this.#machine.vp(vp).mmioWrite(APIC_PAGE_GPA + offset, sizeBytes, this.#value());
  }

  #value(): number {
    const random = this.#random;
    // Vectors, with and without the bits that masks, modes and shorthands have.
    return mostly(
      random,
      () => (random.below(256) | (random.u32() & random.pick([0, 0, 0x10000, 0x70000, 0xc4700]))) >>> 0,
      6,
    );
  }

  #high(): number {
    return this.#random.oneIn(6) ? edgeValue(this.#random) : 0;
  }

  /** As a guest's handler does: reads the slot, frees it, and says so where another waits. */
  #takeMessage(vp: number, sint: number): boolean {
    const machine = this.#machine;
    const simp = machine.readMsr(HvMsr.SIMP, vp) as Qword;
    const slot = (simp.lo & ~0xfff) + sint * SLOT_BYTES;
    if ((simp.lo & 1) === 0 || simp.hi !== 0 || !this.#seesSimp(vp)) return false;
    const at = machine.partition.gpa.translate(slot >>> 0, GpaAccess.READ_WRITE);
    if (at < 0) return false;
    const { words, bytes } = machine.partition.gpa.arena;
    const messageType = words[at >>> 2];
    if (messageType === 0) return false;
    if (!this.#scribbled) {
      expectAlways(bytes[at + SLOT_PAYLOAD_SIZE] <= 240, 'a message in its slot is longer than 240 bytes');
      expectAlways(
        messageType === FUZZ_MESSAGE || messageType === TIMER_MESSAGE,
        () => `a message of type ${messageType} that nobody sent`,
      );
      if (messageType === FUZZ_MESSAGE) {
        const left = --this.#owed[vp * SINTS + sint];
        expectAlways(left >= 0, () => `SINT${sint} has more messages than were sent`);
      }
    }
    words[at >>> 2] = 0;
    machine.writeMsr(HvMsr.EOM, 0, 0, vp);
    return true;
  }

  /** Whether the guest sees the SIM page of a VP where that VP's SIMP puts it; other overlays may lie on top. */
  #seesSimp(vp: number): boolean {
    const pages: number[] = [];
    for (let other = 0; other < this.#vpCount; other++) {
      for (const msr of [HvMsr.SIMP, HvMsr.SIEFP, HvMsr.VP_ASSIST_PAGE])
        pages.push(this.#overlayPage(msr, other));
    }
    pages.push(this.#overlayPage(HvMsr.HYPERCALL, 0), this.#overlayPage(HvMsr.REFERENCE_TSC, 0));
    const own = this.#overlayPage(HvMsr.SIMP, vp);
    return pages.filter((page) => page === own).length === 1;
  }

  #overlayPage(msr: number, vp: number): number {
    const value = this.#machine.readMsr(msr, vp) as Qword;
    return (value.lo & 1) === 0 ? -1 : value.hi * 2 ** 20 + (value.lo >>> 12);
  }

  /** Takes what can be delivered into service, and mostly ends it again. */
  #acknowledge(vp: number): void {
    if (this.#random.oneIn(3)) {
      for (const [register, value] of [
        [ApicRegister.SVR, 0x1ff],
        [ApicRegister.TPR, 0],
      ]) {
        this.#machine.vp(vp).mmioWrite(APIC_PAGE_GPA + register, 4, value);
      }
    }
    const pending = this.#machine.interruptPending(vp);
    const vector = this.#machine.vp(vp).acknowledgeInterrupt();
    expectAlways(
      vector === -1 || (vector >= LOWEST_VECTOR && vector <= 255),
      () => `vector ${vector} was delivered`,
    );
    expectAlways(pending || vector === -1, () => `vector ${vector} was delivered though none was announced`);
    if (!this.#random.oneIn(4)) this.#endOfInterrupt(vp);
  }

  #endOfInterrupt(vp: number): void {
    const random = this.#random;
    if (random.oneIn(2)) this.#machine.writeMsr(HvMsr.EOI, 0, 0, vp);
    else this.#machine.vp(vp).mmioWrite(APIC_PAGE_GPA + ApicRegister.EOI, 4, 0);
  }

  #checkPriority(vp: number): void {
    const priority = this.#machine.vp(vp).readTaskPriority();
    expectAlways(isUnsigned(priority, 16), () => `task priority ${priority}`);
  }

  /** Puts every overlay where no other is. */
  #untangleOverlays(): void {
    const machine = this.#machine;
    for (let vp = 0; vp < this.#vpCount; vp++) {
      for (const msr of TIMERS) machine.writeMsr(msr, 0, 0, vp);
      for (const msr of [HvMsr.VP_ASSIST_PAGE, HvMsr.REFERENCE_TSC]) machine.writeMsr(msr, 0, 0, vp);
      machine.writeMsr(HvMsr.SIEFP, (FINAL_SIEFP + vp) * PAGE_SIZE + 1, 0, vp);
      machine.writeMsr(HvMsr.SIMP, (FINAL_SIMP + vp) * PAGE_SIZE + 1, 0, vp);
      machine.writeMsr(HvMsr.SCONTROL, 1, 0, vp);
    }
    machine.writeMsr(HvMsr.HYPERCALL, 0);
  }

  /** Every message that was accepted reaches a guest that looks for it, and no more than can have been held. */
  #checkMessages(vp: number): void {
    if (!this.#seesSimp(vp)) return;
    for (let sint = 0; sint < SINTS; sint++) {
      let taken = 0;
      while (this.#takeMessage(vp, sint)) {
        expectAlways(++taken <= MESSAGES_HELD, () => `SINT${sint} held more than ${MESSAGES_HELD} messages`);
      }
      if (!this.#scribbled) {
        const owed = this.#owed[vp * SINTS + sint];
        expectAlways(owed === 0, () => `SINT${sint} lost ${owed} messages`);
      }
    }
  }
}

const X2APIC = [
  IA32_APIC_BASE,
  IA32_TSC_DEADLINE,
  ...Object.values(ApicRegister).map((offset) => X2APIC_MSR_BASE + (offset >> 4)),
];

/** MSRs that read as they were written. */
const KEPT: ReadonlySet<number> = new Set([
  HvMsr.SCONTROL,
  HvMsr.SIEFP,
  HvMsr.SIMP,
  HvMsr.REFERENCE_TSC,
  HvMsr.VP_ASSIST_PAGE,
  ...Array.from({ length: SINTS }, (_, i) => HvMsr.SINT0 + i),
]);

function isUnsigned(value: number, limit: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < limit;
}
