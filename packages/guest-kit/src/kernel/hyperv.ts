import {
  type GuestCpu,
  GuestFault,
  type GuestPages,
  HV_MESSAGE_PAYLOAD_BYTES,
  HV_SYNIC_SLOT_BYTES,
  HV_VENDOR,
  HvCpuidLeaf,
  HvFeature,
  HvHint,
  HvMsr,
  HvPrivilege,
  type HvStatus,
  HvStimer,
  type HypercallFrame,
  PAGE_SIZE,
  type Qword,
} from '@kensho/core';
import type { GuestHypercalls } from '@kensho/vmbus';

const CPUID_HYPERVISOR_PRESENT = 1 << 31;

const HVCALL_POST_MESSAGE = 0x5c;
const HVCALL_SIGNAL_EVENT = 0x5d;
const FAST = 0x10000;

/** The bus's SINT and its vector, as Linux chooses them. */
const VMBUS_SINT = 2;
const SINT_VECTOR = 0xf3;
const STIMER_VECTOR = 0xed;
/** Bit 63: open source; 62:56: the kind, 1 as Linux's; 55:48: a variant of no one else's (TLFS, guest OS identity). */
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
    const vendor = cpu.cpuid(HvCpuidLeaf.VENDOR, 0);
    if (vendor.ebx !== HV_VENDOR[0] || vendor.ecx !== HV_VENDOR[1] || vendor.edx !== HV_VENDOR[2])
      return undefined;
    const features = cpu.cpuid(HvCpuidLeaf.FEATURES, 0);
    const needed =
      HvPrivilege.SYNIC | HvPrivilege.HYPERCALL | HvPrivilege.VP_INDEX | HvPrivilege.REFERENCE_COUNTER;
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
    this.hasDirectTimers =
      (privileges & HvPrivilege.SYNTHETIC_TIMERS) !== 0 && (misc & HvFeature.DIRECT_SYNTHETIC_TIMERS) !== 0;
    this.hasApicMsrs =
      (privileges & HvPrivilege.APIC) !== 0 &&
      (cpu.cpuid(HvCpuidLeaf.RECOMMENDATIONS, 0).eax & HvHint.APIC_MSRS) !== 0;
    this.hasCrashMsrs = (misc & HvFeature.CRASH_MSRS) !== 0;
    this.#input = allocate(PAGE_SIZE);
    this.#messages = allocate(PAGE_SIZE);
    this.#events = allocate(PAGE_SIZE);
    this.#inputWords = new DataView(this.#input.bytes.buffer, this.#input.bytes.byteOffset, PAGE_SIZE);
    cpu.wrmsr(HvMsr.GUEST_OS_ID, 0x00010000, GUEST_OS_ID_HI);
    const page = allocate(PAGE_SIZE);
    this.#enablePage(HvMsr.HYPERCALL, page.gpa);
    // The page must now show code that enters the hypervisor: VMCALL or VMMCALL, then RET.
    const code = cpu.load(page.gpa, 4);
    if (code !== 0xc3c1010f && code !== 0xc3d9010f)
      throw new GuestFault(`hypercall page holds ${code.toString(16)}`);
  }

  /** Opens the SynIC for the bus: message page, event page, SINT, then the global enable. */
  enableSynic(endOfInterrupt: () => void): void {
    this.#enablePage(HvMsr.SIMP, this.#messages.gpa);
    this.#enablePage(HvMsr.SIEFP, this.#events.gpa);
    // Only now: the page that the hypervisor laid over the guest's own is the one that counts.
    const flags = this.#cpu.memory(this.#events.gpa + VMBUS_SINT * HV_SYNIC_SLOT_BYTES, HV_SYNIC_SLOT_BYTES);
    this.#eventWords = new Uint32Array(flags.buffer, flags.byteOffset, HV_SYNIC_SLOT_BYTES / 4);
    this.#cpu.setInterruptHandler(SINT_VECTOR, () => {
      this.#scanEvents();
      this.#takeMessage();
      endOfInterrupt();
    });
    this.#cpu.wrmsr(HvMsr.SINT0 + VMBUS_SINT, SINT_VECTOR, 0);
    this.#cpu.wrmsr(HvMsr.SCONTROL, 1, 0);
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
    this.#input.bytes.set(payload.subarray(0, HV_MESSAGE_PAYLOAD_BYTES), 16);
    return this.#hypercall(HVCALL_POST_MESSAGE, this.#input.gpa, 0);
  }

  signalEvent(connectionId: number, flagNumber: number): HvStatus {
    return this.#hypercall(HVCALL_SIGNAL_EVENT | FAST, connectionId, flagNumber);
  }

  /** The reference counter, 100 ns units. */
  referenceTime(): number {
    this.#cpu.rdmsr(HvMsr.TIME_REF_COUNT, this.#qword);
    return this.#qword.hi * 2 ** 32 + this.#qword.lo;
  }

  endOfInterruptByMsr(): void {
    this.#cpu.wrmsr(HvMsr.EOI, 0, 0);
  }

  /** Uses synthetic timer 0 in direct mode, one-shot, armed by its count alone. */
  enableTimer(handler: () => void): void {
    this.#cpu.setInterruptHandler(STIMER_VECTOR, handler);
    this.#cpu.wrmsr(
      HvMsr.STIMER0_CONFIG,
      HvStimer.ENABLE | HvStimer.AUTO_ENABLE | HvStimer.DIRECT | (STIMER_VECTOR << HvStimer.VECTOR_SHIFT),
      0,
    );
  }

  /** @param atReferenceTime - absolute, 100 ns units */
  armTimer(atReferenceTime: number): void {
    this.#cpu.wrmsr(HvMsr.STIMER0_COUNT, atReferenceTime >>> 0, Math.floor(atReferenceTime / 2 ** 32));
  }

  /** Tells the hypervisor that the guest is lost (TLFS, guest crash enlightenment). */
  reportCrash(message: GuestPages, sizeBytes: number): void {
    const parameters = [0, 0, 0, message.gpa, sizeBytes];
    for (const [index, parameter] of parameters.entries())
      this.#cpu.wrmsr(HvMsr.CRASH_P0 + index, parameter, 0);
    this.#cpu.wrmsr(HvMsr.CRASH_CTL, 0, 0xc0000000);
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
    const slot = this.#messages.gpa + VMBUS_SINT * HV_SYNIC_SLOT_BYTES;
    const messageType = this.#cpu.load(slot, 4);
    if (messageType === 0) return;
    const sizeBytes = this.#cpu.load(slot + 4, 1);
    const payload = this.#cpu.memory(slot + 16, HV_MESSAGE_PAYLOAD_BYTES).slice(0, sizeBytes);
    this.#cpu.compareExchange(slot, messageType, 0);
    // Flags are looked at after the slot was freed: the hypervisor sets them as long as it finds it taken.
    if ((this.#cpu.load(slot + 5, 1) & 1) !== 0) this.#cpu.wrmsr(HvMsr.EOM, 0, 0);
    this.#onMessage(messageType, payload);
  }
}
