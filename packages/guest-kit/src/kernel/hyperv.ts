import {
  type GuestCpu,
  GuestFault,
  type GuestPages,
  type HvStatus,
  type HypercallFrame,
  PAGE_SIZE,
  type Qword,
} from '@kensho/core';
import type { GuestHypercalls } from '@kensho/vmbus';

// TLFS 2.4 (feature discovery), 3.13 (hypercall page), 11 (SynIC); the guest's own view of the interface.
const CPUID_HYPERVISOR_PRESENT = 1 << 31;
const CPUID_VENDOR = 0x40000000;
const CPUID_FEATURES = 0x40000003;
const CPUID_HINTS = 0x40000004;
const FEATURE_SYNIC = 1 << 2;
const FEATURE_SYNTHETIC_TIMERS = 1 << 3;
const FEATURE_APIC_MSRS = 1 << 4;
const FEATURE_HYPERCALL = 1 << 5;
const FEATURE_VP_INDEX = 1 << 6;
const FEATURE_REFERENCE_COUNTER = 1 << 1;
const MISC_DIRECT_TIMERS = 1 << 19;
const HINT_APIC_MSRS = 1 << 3;

const MSR_GUEST_OS_ID = 0x40000000;
const MSR_HYPERCALL = 0x40000001;
const MSR_TIME_REF_COUNT = 0x40000020;
const MSR_EOI = 0x40000070;
const MSR_SCONTROL = 0x40000080;
const MSR_SIEFP = 0x40000082;
const MSR_SIMP = 0x40000083;
const MSR_EOM = 0x40000084;
const MSR_SINT0 = 0x40000090;
const MSR_STIMER0_CONFIG = 0x400000b0;
const MSR_STIMER0_COUNT = 0x400000b1;
const MSR_CRASH_P0 = 0x40000100;
const MSR_CRASH_CTL = 0x40000105;
const MISC_CRASH_MSRS = 1 << 10;

const HVCALL_POST_MESSAGE = 0x5c;
const HVCALL_SIGNAL_EVENT = 0x5d;
const FAST = 0x10000;

/** The bus's SINT and its vector, as Linux chooses them. */
const VMBUS_SINT = 2;
const SINT_VECTOR = 0xf3;
const STIMER_VECTOR = 0xed;
const SLOT_BYTES = 256;
const MESSAGE_PAYLOAD_MAX = 240;
/** Bit 63 clear and 62:56 = 0x7f: an open-source guest of no registered kind (TLFS, guest OS identification). */
const GUEST_OS_ID_HI = 0x81ff0000;

/** The hypervisor's interface as the guest found it. */
export class HypervDriver implements GuestHypercalls {
  readonly vpCount: number;
  readonly hasDirectTimers: boolean;
  readonly hasApicMsrs: boolean;
  readonly hasCrashMsrs: boolean;
  readonly #cpu: GuestCpu;
  readonly #input: GuestPages;
  readonly #inputWords: DataView;
  readonly #messages: GuestPages;
  readonly #events: GuestPages;
  readonly #frame: HypercallFrame = {
    control: { lo: 0, hi: 0 },
    input: { lo: 0, hi: 0 },
    output: { lo: 0, hi: 0 },
    result: { lo: 0, hi: 0 },
  };
  readonly #qword: Qword = { lo: 0, hi: 0 };
  /** Event flags of the bus's SINT; one VP only ever runs at a time, so that plain loads and stores are atomic. */
  #eventWords: Uint32Array = new Uint32Array(0);
  #onMessage: (messageType: number, payload: Uint8Array) => void = () => {};
  #onEvent: (flagNumber: number) => void = () => {};

  /** Looks for the hypervisor as Linux does (ms_hyperv_platform); undefined where it is not to be seen. */
  static detect(
    cpu: GuestCpu,
    allocate: (sizeBytes: number) => GuestPages,
    vpCount: number,
  ): HypervDriver | undefined {
    if ((cpu.cpuid(1, 0).ecx & CPUID_HYPERVISOR_PRESENT) === 0) return undefined;
    const vendor = cpu.cpuid(CPUID_VENDOR, 0);
    if (vendor.ebx !== 0x7263694d || vendor.ecx !== 0x666f736f || vendor.edx !== 0x76482074) return undefined;
    const features = cpu.cpuid(CPUID_FEATURES, 0);
    const needed = FEATURE_SYNIC | FEATURE_HYPERCALL | FEATURE_VP_INDEX | FEATURE_REFERENCE_COUNTER;
    if ((features.eax & needed) !== needed) return undefined;
    return new HypervDriver(cpu, allocate, vpCount, features.eax, features.edx);
  }

  private constructor(
    cpu: GuestCpu,
    allocate: (sizeBytes: number) => GuestPages,
    vpCount: number,
    privileges: number,
    misc: number,
  ) {
    this.#cpu = cpu;
    this.vpCount = vpCount;
    this.hasDirectTimers = (privileges & FEATURE_SYNTHETIC_TIMERS) !== 0 && (misc & MISC_DIRECT_TIMERS) !== 0;
    this.hasApicMsrs =
      (privileges & FEATURE_APIC_MSRS) !== 0 && (cpu.cpuid(CPUID_HINTS, 0).eax & HINT_APIC_MSRS) !== 0;
    this.hasCrashMsrs = (misc & MISC_CRASH_MSRS) !== 0;
    this.#input = allocate(PAGE_SIZE);
    this.#messages = allocate(PAGE_SIZE);
    this.#events = allocate(PAGE_SIZE);
    this.#inputWords = new DataView(this.#input.bytes.buffer, this.#input.bytes.byteOffset, PAGE_SIZE);
    cpu.wrmsr(MSR_GUEST_OS_ID, 0x00010000, GUEST_OS_ID_HI);
    const page = allocate(PAGE_SIZE);
    this.#enablePage(MSR_HYPERCALL, page.gpa);
    // The page must now show code that enters the hypervisor: VMCALL or VMMCALL, then RET.
    const code = cpu.load(page.gpa, 4);
    if (code !== 0xc3c1010f && code !== 0xc3d9010f)
      throw new GuestFault(`hypercall page holds ${code.toString(16)}`);
  }

  /** Opens the SynIC for the bus: message page, event page, SINT, then the global enable. */
  enableSynic(endOfInterrupt: () => void): void {
    this.#enablePage(MSR_SIMP, this.#messages.gpa);
    this.#enablePage(MSR_SIEFP, this.#events.gpa);
    // Only now: the page that the hypervisor laid over the guest's own is the one that counts.
    const flags = this.#cpu.memory(this.#events.gpa + VMBUS_SINT * SLOT_BYTES, SLOT_BYTES);
    this.#eventWords = new Uint32Array(flags.buffer, flags.byteOffset, SLOT_BYTES / 4);
    this.#cpu.setInterruptHandler(SINT_VECTOR, () => {
      this.#scanEvents();
      this.#takeMessage();
      endOfInterrupt();
    });
    this.#cpu.wrmsr(MSR_SINT0 + VMBUS_SINT, SINT_VECTOR, 0);
    this.#cpu.wrmsr(MSR_SCONTROL, 1, 0);
  }

  onMessage(listener: (messageType: number, payload: Uint8Array) => void): void {
    this.#onMessage = listener;
  }

  onEvent(listener: (flagNumber: number) => void): void {
    this.#onEvent = listener;
  }

  postMessage(connectionId: number, messageType: number, payload: Uint8Array): HvStatus {
    this.#inputWords.setUint32(0, connectionId, true);
    this.#inputWords.setUint32(4, 0, true);
    this.#inputWords.setUint32(8, messageType, true);
    this.#inputWords.setUint32(12, payload.length, true);
    this.#input.bytes.set(payload.subarray(0, MESSAGE_PAYLOAD_MAX), 16);
    return this.#hypercall(HVCALL_POST_MESSAGE, this.#input.gpa, 0);
  }

  signalEvent(connectionId: number, flagNumber: number): HvStatus {
    return this.#hypercall(HVCALL_SIGNAL_EVENT | FAST, connectionId, flagNumber);
  }

  /** The reference counter, 100 ns units. */
  referenceTime(): number {
    this.#cpu.rdmsr(MSR_TIME_REF_COUNT, this.#qword);
    return this.#qword.hi * 2 ** 32 + this.#qword.lo;
  }

  endOfInterruptByMsr(): void {
    this.#cpu.wrmsr(MSR_EOI, 0, 0);
  }

  /** Uses synthetic timer 0 in direct mode, one-shot, armed by its count alone. */
  enableTimer(handler: () => void): void {
    this.#cpu.setInterruptHandler(STIMER_VECTOR, handler);
    // Enable, auto-enable, direct mode, vector.
    this.#cpu.wrmsr(MSR_STIMER0_CONFIG, 0x1 | 0x8 | (STIMER_VECTOR << 4) | (1 << 12), 0);
  }

  /** @param atReferenceTime - absolute, 100 ns units */
  armTimer(atReferenceTime: number): void {
    this.#cpu.wrmsr(MSR_STIMER0_COUNT, atReferenceTime >>> 0, Math.floor(atReferenceTime / 2 ** 32));
  }

  /** Tells the hypervisor that the guest is lost (TLFS, guest crash enlightenment). */
  reportCrash(message: GuestPages, sizeBytes: number): void {
    const parameters = [0, 0, 0, message.gpa, sizeBytes];
    for (const [index, parameter] of parameters.entries())
      this.#cpu.wrmsr(MSR_CRASH_P0 + index, parameter, 0);
    this.#cpu.wrmsr(MSR_CRASH_CTL, 0, 0xc0000000);
  }

  #enablePage(msr: number, gpa: number): void {
    this.#cpu.wrmsr(msr, (gpa | 1) >>> 0, Math.floor(gpa / 2 ** 32));
    this.#cpu.rdmsr(msr, this.#qword);
    if ((this.#qword.lo & 1) === 0) throw new GuestFault(`MSR ${msr.toString(16)} would not enable its page`);
  }

  /** For a fast call the operands are its two parameters, each below 2^32 here. */
  #hypercall(control: number, input: number, inputHigh: number): HvStatus {
    const frame = this.#frame;
    frame.control.lo = control;
    frame.control.hi = 0;
    frame.input.lo = input >>> 0;
    frame.input.hi = (control & FAST) !== 0 ? inputHigh : Math.floor(input / 2 ** 32);
    frame.output.lo = 0;
    frame.output.hi = 0;
    this.#cpu.vmcall(frame);
    return (frame.result.lo & 0xffff) as HvStatus;
  }

  #scanEvents(): void {
    const words = this.#eventWords;
    for (let word = 0; word < words.length; word++) {
      const flags = words[word];
      if (flags === 0) continue;
      words[word] = 0;
      for (let bit = 0; bit < 32; bit++) {
        if (flags & (1 << bit)) this.#onEvent(32 * word + bit);
      }
    }
  }

  #takeMessage(): void {
    const slot = this.#messages.gpa + VMBUS_SINT * SLOT_BYTES;
    const messageType = this.#cpu.load(slot, 4);
    if (messageType === 0) return;
    const sizeBytes = this.#cpu.load(slot + 4, 1);
    const payload = this.#cpu.memory(slot + 16, MESSAGE_PAYLOAD_MAX).slice(0, sizeBytes);
    this.#cpu.compareExchange(slot, messageType, 0);
    // Flags are looked at after the slot was freed: the hypervisor sets them as long as it finds it taken.
    if ((this.#cpu.load(slot + 5, 1) & 1) !== 0) this.#cpu.wrmsr(MSR_EOM, 0, 0);
    this.#onMessage(messageType, payload);
  }
}
