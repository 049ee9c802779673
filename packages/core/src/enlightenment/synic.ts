import type { LocalApic } from '../apic/local-apic.ts';
import type { Counter, Counters } from '../counters.ts';
import { HvStatus } from '../hv-status.ts';
import { PAGE_SIZE, type PageArena } from '../memory/arena.ts';
import { GpaAccess, type GpaSpace } from '../memory/gpa-space.ts';
import type { Qword } from '../processor/contract.ts';
import {
  HV_EVENT_FLAGS_COUNT,
  HV_MESSAGE_PAYLOAD_BYTES,
  HV_SINT_COUNT,
  HV_SYNIC_SLOT_BYTES,
  HvMessageType,
  HvMsr,
  HvSynic,
} from './hv-msr.ts';
import { OverlayRegister } from './overlay-register.ts';

/** Messages that wait for one SINT; TLFS 10.2.1 gives a port sixteen buffers. */
const QUEUE_LIMIT = 16;

const SVERSION = 1;

// A message slot (TLFS, HV_MESSAGE).
const SLOT_PAYLOAD_SIZE = 4;
const SLOT_FLAGS = 5;
const SLOT_SENDER = 8;
const SLOT_PAYLOAD = 16;
const MESSAGE_PENDING = 1;

/** A message on its way to a slot. */
export interface SynicMessage {
  readonly messageType: number;
  /** Port or partition, below 2^53. */
  readonly sender: number;
  readonly payload: Uint8Array;
  /** Called when the message is about to be copied into its slot. */
  onDelivery?(): void;
}

/**
 * The synthetic interrupt controller of one VP: messages, event flags and the sixteen SINTs (TLFS 10 and 11).
 *
 * Each SINT has one slot in the SIM page and a bounded queue behind it. A message moves into the slot when the guest
 * has emptied it, and that is looked for when another message is queued and at each EOM and EOI. Queues and pages
 * survive every way of switching things off and on.
 */
export class Synic {
  readonly simp: OverlayRegister;
  readonly siefp: OverlayRegister;
  readonly #arena: PageArena;
  readonly #apic: LocalApic;
  readonly #messages: Counter;
  readonly #events: Counter;
  readonly #control: Qword = { lo: 0, hi: 0 };
  readonly #sints: readonly Qword[] = Array.from({ length: HV_SINT_COUNT }, () => ({
    lo: HvSynic.SINT_MASKED,
    hi: 0,
  }));
  readonly #queues: readonly SynicMessage[][] = Array.from({ length: HV_SINT_COUNT }, () => []);
  /** Bit n: SINTn's queue is not empty. */
  #waiting = 0;
  /** Bit n: SINTn's queue has refused a message. */
  #refused = 0;
  readonly #spaceListeners: readonly Set<() => void>[] = Array.from(
    { length: HV_SINT_COUNT },
    () => new Set<() => void>(),
  );

  constructor(gpa: GpaSpace, pageLimit: number, apic: LocalApic, counters: Counters) {
    this.#arena = gpa.arena;
    this.#apic = apic;
    this.simp = new OverlayRegister(gpa, GpaAccess.READ_WRITE, pageLimit);
    this.siefp = new OverlayRegister(gpa, GpaAccess.READ_WRITE, pageLimit);
    this.#messages = counters.counter('synic.message');
    this.#events = counters.counter('synic.event');
  }

  // Registers.

  /** False: #GP. */
  msrRead(msr: number, value: Qword): boolean {
    switch (msr) {
      case HvMsr.SCONTROL:
        return copy(value, this.#control);
      case HvMsr.SVERSION:
        return copy(value, { lo: SVERSION, hi: 0 });
      case HvMsr.SIEFP:
        return copy(value, this.siefp.value);
      case HvMsr.SIMP:
        return copy(value, this.simp.value);
      case HvMsr.EOM:
        return copy(value, { lo: 0, hi: 0 });
    }
    const sint = this.#sints[msr - HvMsr.SINT0];
    return sint !== undefined && copy(value, sint);
  }

  /** False: #GP. */
  msrWrite(msr: number, value: Qword): boolean {
    switch (msr) {
      case HvMsr.SCONTROL:
        copy(this.#control, value);
        break;
      case HvMsr.SIEFP:
        this.siefp.write(value);
        return true;
      case HvMsr.SIMP:
        this.simp.write(value);
        break;
      case HvMsr.EOM:
        break;
      default: {
        const sint = this.#sints[msr - HvMsr.SINT0];
        if (sint === undefined) return false;
        // What a masked SINT says of its vector does not count: its value after reset is vector 0.
        if ((value.lo & HvSynic.SINT_MASKED) === 0 && (value.lo & HvSynic.SINT_VECTOR) < 16) return false;
        copy(sint, value);
      }
    }
    this.deliverWaiting();
    return true;
  }

  // Messages.

  /** Posts a message of at most 240 bytes, which is copied. */
  post(sint: number, messageType: number, payload: Uint8Array, sender: number): HvStatus {
    const queue = this.#queues[sint];
    if (queue === undefined || payload.length > HV_MESSAGE_PAYLOAD_BYTES) return HvStatus.INVALID_PARAMETER;
    if (!this.#takesMessages) return HvStatus.INVALID_SYNIC_STATE;
    if (queue.length === 0 && this.#slotType(sint) === HvMessageType.NONE) {
      this.#fillSlot(sint, { messageType, sender, payload });
      return HvStatus.SUCCESS;
    }
    if (queue.length >= QUEUE_LIMIT) this.#deliver(sint);
    if (queue.length >= QUEUE_LIMIT) {
      this.#refused |= 1 << sint;
      return HvStatus.INSUFFICIENT_BUFFERS;
    }
    this.enqueue(sint, { messageType, sender, payload: payload.slice() });
    return HvStatus.SUCCESS;
  }

  /** Queues a message whose sender keeps the buffer, and no more than one at a time, whatever the queue's length. */
  enqueue(sint: number, message: SynicMessage): void {
    this.#queues[sint].push(message);
    this.#waiting |= 1 << sint;
    this.#deliver(sint);
  }

  /** Takes back a message that has not been delivered. */
  withdraw(sint: number, message: SynicMessage): void {
    const queue = this.#queues[sint];
    const at = queue.indexOf(message);
    if (at < 0) return;
    queue.splice(at, 1);
    if (queue.length === 0) this.#waiting &= ~(1 << sint);
    this.#tellOfSpace(sint);
  }

  /** Moves what waits into slots that the guest has emptied; at EOM and EOI. */
  deliverWaiting(): void {
    // Listeners to space may queue more, so that the set of SINTs is taken once.
    for (let waiting = this.#waiting; waiting !== 0; waiting &= waiting - 1) {
      this.#deliver(31 - Math.clz32(waiting & -waiting));
    }
  }

  /** `listener` is called whenever a queue that had refused a message has room again; the result takes it away. */
  onSpace(sint: number, listener: () => void): () => void {
    const listeners = this.#spaceListeners[sint];
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  // Event flags.

  /**
   * Sets an event flag, and interrupts where it was clear. False, with nothing done, where SynIC or SIEFP is off,
   * the SINT is masked, or there is no such flag.
   */
  signal(sint: number, flag: number): boolean {
    if ((this.#control.lo & HvSynic.SCONTROL_ENABLE) === 0 || !this.siefp.enabled) return false;
    const config = this.#sints[sint];
    if (config === undefined || flag < 0 || flag >= HV_EVENT_FLAGS_COUNT || !unmasked(config)) return false;
    this.#events.value++;
    const at = this.siefp.arenaPage * PAGE_SIZE + sint * HV_SYNIC_SLOT_BYTES + (flag >> 3);
    const bit = 1 << (flag & 7);
    const flags = this.#arena.bytes[at];
    if ((flags & bit) !== 0) return true;
    this.#arena.bytes[at] = flags | bit;
    this.#interrupt(sint);
    return true;
  }

  get #takesMessages(): boolean {
    return (this.#control.lo & HvSynic.SCONTROL_ENABLE) !== 0 && this.simp.enabled;
  }

  /** Byte offset of a SINT's message slot in the arena, which may have more than 4 GiB: no place for 32-bit shifts. */
  #slot(sint: number): number {
    return this.simp.arenaPage * PAGE_SIZE + sint * HV_SYNIC_SLOT_BYTES;
  }

  #slotType(sint: number): number {
    return this.#arena.words[this.#slot(sint) / 4];
  }

  /** Delivers the first message of a queue, or tells the guest that one waits. */
  #deliver(sint: number): void {
    const queue = this.#queues[sint];
    if (queue.length === 0 || !this.#takesMessages) return;
    if (this.#slotType(sint) !== HvMessageType.NONE) {
      this.#arena.bytes[this.#slot(sint) + SLOT_FLAGS] |= MESSAGE_PENDING;
      return;
    }
    const message = queue.shift() as SynicMessage;
    if (queue.length === 0) this.#waiting &= ~(1 << sint);
    this.#fillSlot(sint, message);
    this.#tellOfSpace(sint);
  }

  /** The type is written last: it hands the slot over. */
  #fillSlot(sint: number, message: SynicMessage): void {
    message.onDelivery?.();
    const at = this.#slot(sint);
    const { bytes, words } = this.#arena;
    bytes[at + SLOT_PAYLOAD_SIZE] = message.payload.length;
    bytes[at + SLOT_FLAGS] = this.#queues[sint].length > 0 ? MESSAGE_PENDING : 0;
    words[(at + SLOT_SENDER) / 4] = message.sender;
    words[(at + SLOT_SENDER + 4) / 4] = message.sender / 2 ** 32;
    bytes.set(message.payload, at + SLOT_PAYLOAD);
    words[at / 4] = message.messageType;
    this.#messages.value++;
    if (unmasked(this.#sints[sint])) this.#interrupt(sint);
  }

  #interrupt(sint: number): void {
    const config = this.#sints[sint].lo;
    if ((config & HvSynic.SINT_POLLING) !== 0) return;
    this.#apic.request(config & HvSynic.SINT_VECTOR, false, (config & HvSynic.SINT_AUTO_EOI) !== 0);
  }

  #tellOfSpace(sint: number): void {
    const bit = 1 << sint;
    if ((this.#refused & bit) === 0 || this.#queues[sint].length >= QUEUE_LIMIT) return;
    this.#refused &= ~bit;
    for (const listener of this.#spaceListeners[sint]) listener();
  }
}

/** Polling counts as unmasked, without interrupts (TLFS 11.8.4). */
function unmasked(sint: Qword): boolean {
  return (sint.lo & (HvSynic.SINT_MASKED | HvSynic.SINT_POLLING)) !== HvSynic.SINT_MASKED;
}

function copy(to: Qword, from: Qword): true {
  to.lo = from.lo;
  to.hi = from.hi;
  return true;
}
