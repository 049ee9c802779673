import { GpaAccess, type Timer } from '@kensho/core';
import type { Frame } from '../backend/port.ts';
import { etherTypeOf, isGroupAddressed, tagged } from '../frame/ethernet.ts';
import { finishFrame } from '../frame/offload.ts';
import {
  FCS_BYTES,
  MAX_FRAME_BYTES,
  MIN_FRAME_BYTES,
  Mode,
  ReceiveResult,
  ReceiveState,
  Status,
} from '../protocol/dec21140.ts';
import { DescriptorList } from './descriptor-list.ts';
import { fcsOf } from './fcs.ts';
import type { TulipHost } from './tulip-host.ts';

/** Longest frame that fits, with its check sequence; what the receive watchdog cuts is longer. */
const WATCHDOG_BYTES = 2048;
/** Descriptors that one frame may be spread over. */
const MAX_DESCRIPTORS_PER_FRAME = 256;
/** Values of the type field from here on are types. */
const FIRST_ETHER_TYPE = 0x600;
/** How often the list is looked at while the network waits: drivers need not say that they gave descriptors back. */
const LOOK_NS = 1e6;
/**
 * How often it is looked at before frames count as missed, which then goes on until there is a descriptor. Drivers see
 * to their lists in much less. Looks and not time: the guest gets its turn between them, whatever the host is busy with.
 */
const MAX_LOOKS = 100;
const MAX_MISSED = 0xffff;
/** More were missed than can be counted. */
const MISSED_OVERFLOW = 0x10000;

/** The receive process: puts frames into buffers that a list of descriptors names. */
export class Receiver {
  readonly #host: TulipHost;
  readonly #list: DescriptorList;
  readonly #views: Uint8Array[] = [];
  /** The frame that is being received, with its check sequence. */
  readonly #frame = new Uint8Array(WATCHDOG_BYTES);
  readonly #frameData = new DataView(this.#frame.buffer);
  /** Frames that one of the network's became, the first of which have been delivered; and their flags. */
  #pieces: readonly Frame[] = [];
  #nextPiece = 0;
  #pieceFlags = 0;
  #state: number = ReceiveState.STOPPED;
  /** The network holds frames until it is told that there is room; and how often that was looked for. */
  #waiting = false;
  #looks = 0;
  /** It held them for so long that now they are missed. */
  #starved = false;
  #resumeQueued = false;
  #timer: Timer | undefined;
  #missed = 0;

  constructor(host: TulipHost) {
    this.#host = host;
    this.#list = new DescriptorList(host.dma);
  }

  /** One of {@link ReceiveState}. */
  get state(): number {
    return this.#state;
  }

  get listBase(): number {
    return this.#list.base;
  }

  set listBase(address: number) {
    this.#list.restart(address);
  }

  start(): void {
    if (this.#state !== ReceiveState.STOPPED) return;
    this.#state = ReceiveState.WAITING_FOR_FRAME;
    this.poll();
  }

  stop(): void {
    if (this.#state === ReceiveState.STOPPED) return;
    this.halt();
    this.#host.interrupts.raise(Status.RECEIVE_STOPPED);
  }

  /** Stops without a word, and lets go of what waits. */
  halt(): void {
    this.#state = ReceiveState.STOPPED;
    this.#host.counters.dropped.value += this.#pieces.length - this.#nextPiece;
    this.#dropPieces();
    this.#starved = false;
    if (this.#waiting) this.#resumeSoon();
  }

  reset(): void {
    this.halt();
    this.#list.restart(0);
    this.#missed = 0;
  }

  /** The guest says that there are descriptors. */
  poll(): void {
    if (this.#state === ReceiveState.STOPPED || !this.#host.mayMaster) return;
    if (!this.#list.load()) {
      this.#host.busError();
    } else if (!this.#list.owned) {
      this.#suspend();
    } else {
      this.#state = ReceiveState.WAITING_FOR_FRAME;
      if (this.#waiting) this.#resumeSoon();
    }
  }

  /** The guest is about: looks whether it gave descriptors back for which the network waits. */
  look(): void {
    if (!this.#waiting || this.#resumeQueued || !this.#receives) return;
    if (this.#list.load() && this.#list.owned) this.#resumeSoon();
  }

  /** CSR8, which a read clears. */
  takeMissed(): number {
    const missed = this.#missed;
    this.#missed = 0;
    return missed;
  }

  /** A frame from the network; false where it has to wait. */
  receive(frame: Frame): boolean {
    const { counters, mode } = this.#host;
    if (this.#hasPieces && !this.#deliverPieces()) return this.#hold();
    if (!this.#receives || loopbackOf(mode) !== 0) {
      counters.dropped.value++;
      return true;
    }
    const flags = this.#filter(frame.bytes);
    if (flags === undefined) {
      counters.filtered.value++;
      return true;
    }
    if (frame.offload === undefined) return this.#deliver(tagged(frame), flags) || this.#hold();
    if (!this.#isReady()) return this.#hold();
    this.#pieces = finishFrame(frame);
    this.#pieceFlags = flags;
    if (this.#pieces.length === 0) counters.dropped.value++;
    if (this.#pieces.length > 1) counters.largeIn.value++;
    // What does not fit is delivered before the next frame is taken.
    if (!this.#deliverPieces()) this.#wait();
    return true;
  }

  /** A frame of the guest's own, in a loopback mode. */
  loopBack(frame: Uint8Array): void {
    if (!this.#receives) return;
    const flags = this.#filter(frame);
    if (flags === undefined) return;
    const type = loopbackOf(this.#host.mode) << ReceiveResult.LOOPBACK_SHIFT;
    if (!this.#deliver(frame, flags | type)) this.#miss();
  }

  get #receives(): boolean {
    return this.#state !== ReceiveState.STOPPED && this.#host.mayMaster;
  }

  get #hasPieces(): boolean {
    return this.#nextPiece < this.#pieces.length;
  }

  /** What the descriptor says of a frame's destination; undefined where the frame does not pass. */
  #filter(bytes: Uint8Array): number | undefined {
    const { filter, mode } = this.#host;
    if ((mode & Mode.PROMISCUOUS) !== 0 || filter.matches(bytes)) return 0;
    if ((mode & Mode.ALL_MULTICAST) !== 0 && isGroupAddressed(bytes)) return 0;
    return (mode & Mode.RECEIVE_ALL) === 0 ? undefined : ReceiveResult.FILTERING_FAIL;
  }

  /** True once all pieces are gone: delivered, or lost with a process that stopped. */
  #deliverPieces(): boolean {
    while (this.#hasPieces && this.#receives) {
      if (!this.#deliver(tagged(this.#pieces[this.#nextPiece]), this.#pieceFlags)) return false;
      this.#nextPiece++;
    }
    this.#dropPieces();
    return true;
  }

  #dropPieces(): void {
    this.#pieces = [];
    this.#nextPiece = 0;
  }

  /** Whether the current descriptor is the chip's; where it cannot be reached, the process stops. */
  #isReady(): boolean {
    if (!this.#list.load()) {
      this.#host.busError();
      return true;
    }
    if (!this.#list.owned) this.#suspend();
    return this.#list.owned;
  }

  /** Puts a frame into the guest's buffers, or loses it with them; false where there are none. */
  #deliver(bytes: Uint8Array, flags: number): boolean {
    if (!this.#isReady()) return false;
    const { counters, interrupts } = this.#host;
    if (!this.#receives) {
      counters.dropped.value++;
      return true;
    }
    this.#starved = false;
    this.#state = ReceiveState.WAITING_FOR_FRAME;
    const sizeBytes = this.#take(bytes);
    let result = flags | (sizeBytes << ReceiveResult.LENGTH_SHIFT);
    if (isGroupAddressed(bytes)) result |= ReceiveResult.MULTICAST;
    if (etherTypeOf(bytes) >= FIRST_ETHER_TYPE) result |= ReceiveResult.ETHERNET_TYPE;
    if (sizeBytes > MAX_FRAME_BYTES + FCS_BYTES) result |= ReceiveResult.TOO_LONG | ReceiveResult.ERROR;
    if (bytes.length + FCS_BYTES > WATCHDOG_BYTES) result |= ReceiveResult.WATCHDOG;
    if (!this.#fill(sizeBytes, result)) {
      counters.dropped.value++;
      return true;
    }
    counters.framesIn.value++;
    counters.bytesIn.value += bytes.length;
    const watchdog = (result & ReceiveResult.WATCHDOG) !== 0 ? Status.RECEIVE_WATCHDOG : 0;
    interrupts.raise(Status.RECEIVE | watchdog);
    return true;
  }

  /** Makes of a frame what the wire has: padding, the check sequence. The result is its length. */
  #take(bytes: Uint8Array): number {
    const frame = this.#frame;
    if (bytes.length + FCS_BYTES > WATCHDOG_BYTES) {
      frame.set(bytes.subarray(0, WATCHDOG_BYTES));
      return WATCHDOG_BYTES;
    }
    const frameBytes = Math.max(bytes.length, MIN_FRAME_BYTES);
    frame.set(bytes);
    frame.fill(0, bytes.length, frameBytes);
    this.#frameData.setUint32(frameBytes, fcsOf(frame.subarray(0, frameBytes)), true);
    return frameBytes + FCS_BYTES;
  }

  /**
   * Spreads the frame over descriptors from the current one on, which is the chip's, and gives them back. A frame that
   * does not fit is cut; false where it is lost.
   */
  #fill(sizeBytes: number, result: number): boolean {
    const list = this.#list;
    const { busMode } = this.#host;
    let place: number = ReceiveResult.FIRST;
    let done = 0;
    for (let count = 1; ; count++) {
      const buffer1Bytes = Math.min(list.buffer1Bytes, sizeBytes - done);
      const buffer2Bytes = Math.min(list.buffer2Bytes, sizeBytes - done - buffer1Bytes);
      const copied =
        this.#copy(list.buffer1, done, buffer1Bytes) &&
        this.#copy(list.buffer2, done + buffer1Bytes, buffer2Bytes);
      done += buffer1Bytes + buffer2Bytes;
      const cut = done < sizeBytes && (count === MAX_DESCRIPTORS_PER_FRAME || !list.isNextOwned(busMode));
      if (cut) result |= ReceiveResult.DESCRIPTOR_ERROR | ReceiveResult.ERROR;
      const last = cut || done === sizeBytes;
      if (!copied || !list.close(place | (last ? result | ReceiveResult.LAST : 0))) {
        this.#host.busError();
        return false;
      }
      list.advance(busMode);
      if (cut) this.#suspend();
      if (last) return true;
      place = 0;
      if (!list.load()) {
        this.#host.busError();
        return false;
      }
      if (!list.owned) {
        // It was when it was looked at: the chain led back to what has just been filled.
        this.#host.fault('descriptor', { problem: 'a chain that loops' });
        this.#suspend();
        return false;
      }
    }
  }

  #copy(address: number, from: number, sizeBytes: number): boolean {
    if (sizeBytes === 0) return true;
    const views = this.#views;
    views.length = 0;
    if (!this.#host.dma.collect(address, sizeBytes, GpaAccess.WRITE, views)) return false;
    let at = from;
    for (const view of views) {
      view.set(this.#frame.subarray(at, at + view.length));
      at += view.length;
    }
    this.#host.counters.copied.value += sizeBytes;
    return true;
  }

  /** There is no descriptor: says so, once. */
  #suspend(): void {
    if (this.#state === ReceiveState.SUSPENDED) return;
    this.#state = ReceiveState.SUSPENDED;
    this.#host.interrupts.raise(Status.RECEIVE_UNAVAILABLE);
  }

  /** There is no descriptor for a frame: false where the network is to hold it. */
  #hold(): boolean {
    if (this.#starved) {
      this.#miss();
      return true;
    }
    this.#host.counters.waits.value++;
    this.#wait();
    return false;
  }

  #miss(): void {
    this.#host.counters.missed.value++;
    this.#missed = (this.#missed & MAX_MISSED) === MAX_MISSED ? MISSED_OVERFLOW : this.#missed + 1;
  }

  #wait(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#looks = 0;
    this.#lookLater();
  }

  #lookLater(): void {
    const { timers } = this.#host;
    this.#timer?.cancel();
    this.#timer = timers.at(timers.clock.nowNs() + LOOK_NS, () => {
      this.#timer = undefined;
      this.look();
      if (this.#resumeQueued) return;
      if (++this.#looks < MAX_LOOKS) this.#lookLater();
      else this.#starve();
    });
  }

  /** The guest does not see to its descriptors: frames are missed from here on, and first those that wait. */
  #starve(): void {
    this.#starved = true;
    for (; this.#hasPieces; this.#nextPiece++) this.#miss();
    this.#resumeSoon();
  }

  #resumeSoon(): void {
    if (this.#resumeQueued) return;
    this.#resumeQueued = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#host.work.defer(this.#resume);
  }

  /** Frames come during the call, and may have to wait again. */
  readonly #resume = (): void => {
    this.#resumeQueued = false;
    this.#waiting = false;
    if (this.#hasPieces && !this.#deliverPieces()) this.#wait();
    else this.#host.port.receiveReady();
  };
}

/** The loopback mode in CSR6; 0 for none. */
function loopbackOf(mode: number): number {
  return (mode >>> Mode.LOOPBACK_SHIFT) & Mode.LOOPBACK_MASK;
}
