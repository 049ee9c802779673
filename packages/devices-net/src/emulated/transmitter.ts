import { GpaAccess, type Timer } from '@kensho/core';
import { EtherType, etherTypeOf, untagged, VLAN_TAG_BYTES } from '../frame/ethernet.ts';
import {
  BusMode,
  FCS_BYTES,
  MAX_FRAME_BYTES,
  MIN_FRAME_BYTES,
  Mode,
  SETUP_FRAME_BYTES,
  Status,
  TransmitControl,
  TransmitResult,
  TransmitState,
} from '../protocol/dec21140.ts';
import { FrameMemory } from '../vsp/frame-memory.ts';
import { DescriptorList } from './descriptor-list.ts';
import { fcsOf } from './fcs.ts';
import type { TulipHost } from './tulip-host.ts';

/** Descriptors of one turn; the rest waits until the guest's processors had theirs. */
const DESCRIPTORS_PER_TURN = 128;
/** What the jabber timer cuts: more than any driver sends. */
const JABBER_BYTES = 2048;
/**
 * How long the chip is busy with what it sent before it looks for more, and says that there is none: about a full
 * frame at 100 Mbit/s. A guest that goes on sending meanwhile is not interrupted.
 */
const WIRE_NS = 120_000;
/** Periods of automatic polling (21140A manual, table 3-19), in nanoseconds. */
const AUTO_POLL_NS = [0, 200_000, 800_000, 1_600_000, 12_800, 25_600, 51_200, 102_400];

/** The transmit process: takes frames, and set-up frames, from a list of descriptors. */
export class Transmitter {
  readonly #host: TulipHost;
  readonly #list: DescriptorList;
  readonly #memory = new FrameMemory();
  readonly #views: Uint8Array[] = [];
  /** The frame that is put together; -1 bytes between frames. */
  readonly #frame = new Uint8Array(JABBER_BYTES);
  readonly #frameData = new DataView(this.#frame.buffer);
  readonly #setUpFrame = new Uint8Array(SETUP_FRAME_BYTES);
  #frameBytes = -1;
  #state: number = TransmitState.STOPPED;
  #turnQueued = false;
  #timer: Timer | undefined;
  /** Something was sent since the timer was set. */
  #busy = false;

  constructor(host: TulipHost) {
    this.#host = host;
    this.#list = new DescriptorList(host.dma);
  }

  /** One of {@link TransmitState}. */
  get state(): number {
    return this.#state;
  }

  get listBase(): number {
    return this.#list.base;
  }

  set listBase(address: number) {
    this.#list.restart(address);
    this.#frameBytes = -1;
  }

  start(): void {
    if (this.#state !== TransmitState.STOPPED) return;
    this.#state = TransmitState.WAITING_FOR_END;
    this.poll();
  }

  /** Stops at the guest's wish, which is told as any stop is; drivers wait for that. */
  stop(): void {
    if (this.#state === TransmitState.STOPPED) return;
    this.halt();
    this.#host.interrupts.raise(Status.TRANSMIT_STOPPED);
  }

  reset(): void {
    this.halt();
    this.#list.restart(0);
    this.#frameBytes = -1;
  }

  /** Looks at the current descriptor, and sends what is there. */
  poll(): void {
    if (this.#state === TransmitState.STOPPED || this.#turnQueued) return;
    if (this.#state === TransmitState.SUSPENDED) this.#cancelTimer();
    this.#state = TransmitState.WAITING_FOR_END;
    this.#run();
  }

  /** Stops without a word. */
  halt(): void {
    this.#state = TransmitState.STOPPED;
    this.#cancelTimer();
    this.#busy = false;
  }

  readonly #turn = (): void => {
    this.#turnQueued = false;
    if (this.#state === TransmitState.WAITING_FOR_END) this.#run();
  };

  #run(): void {
    const list = this.#list;
    for (let left = DESCRIPTORS_PER_TURN; left > 0; left--) {
      if (!this.#host.mayMaster) {
        this.#suspend();
        return;
      }
      if (!list.load()) {
        this.#host.busError();
        return;
      }
      if (!list.owned) {
        this.#pause();
        return;
      }
      if (!this.#take()) return;
      // What was sent may have come back, and ended in a bus error.
      if (this.#state === TransmitState.STOPPED) return;
    }
    this.#turnQueued = true;
    this.#host.work.defer(this.#turn);
  }

  /** There is nothing to send: says so once what was sent is on the wire. */
  #pause(): void {
    if (this.#timer !== undefined) return;
    if (this.#busy) this.#wait(WIRE_NS);
    else this.#suspend();
  }

  #suspend(): void {
    this.#state = TransmitState.SUSPENDED;
    this.#cancelTimer();
    this.#host.interrupts.raise(Status.TRANSMIT_UNAVAILABLE);
    this.#pollLater();
  }

  /** Sets the timer for automatic polling, where the guest wants it. */
  #pollLater(): void {
    const { busMode } = this.#host;
    const periodNs = AUTO_POLL_NS[(busMode >>> BusMode.AUTO_POLL_SHIFT) & BusMode.AUTO_POLL_MASK];
    if (periodNs > 0) this.#wait(periodNs);
  }

  #wait(ns: number): void {
    const { timers } = this.#host;
    this.#busy = false;
    this.#timer = timers.at(timers.clock.nowNs() + ns, () => {
      this.#timer = undefined;
      if (this.#state === TransmitState.SUSPENDED) this.#autoPoll();
      else if (this.#busy) this.#wait(WIRE_NS);
      else this.poll();
    });
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** As {@link poll}, but that there is nothing was said already. */
  #autoPoll(): void {
    if (!this.#host.mayMaster) return;
    if (!this.#list.load()) this.#host.busError();
    else if (this.#list.owned) this.poll();
    else this.#pollLater();
  }

  /** Does what the current descriptor says, and gives it back; false where the process stopped. */
  #take(): boolean {
    const list = this.#list;
    const { control } = list;
    let result = 0;
    if ((control & TransmitControl.SET_UP) !== 0) {
      if (!this.#setUp()) return false;
      result = TransmitResult.SET_UP_DONE;
    } else {
      if ((control & TransmitControl.FIRST) !== 0) this.#begin();
      if (this.#frameBytes >= 0) {
        if (!this.#append(list.buffer1, list.buffer1Bytes)) return false;
        if (!this.#append(list.buffer2, list.buffer2Bytes)) return false;
      }
      if ((control & TransmitControl.LAST) !== 0) this.#send(control);
    }
    if (!list.close(result)) {
      this.#host.busError();
      return false;
    }
    list.advance(this.#host.busMode);
    const ends = TransmitControl.SET_UP | TransmitControl.LAST;
    if ((control & TransmitControl.INTERRUPT) !== 0 && (control & ends) !== 0) {
      this.#host.interrupts.raise(Status.TRANSMIT);
    }
    return true;
  }

  /** Takes a set-up frame. One of another length than it has changes nothing. */
  #setUp(): boolean {
    const { dma, filter } = this.#host;
    const { buffer1, buffer1Bytes, control } = this.#list;
    if (buffer1Bytes !== SETUP_FRAME_BYTES) {
      this.#host.fault('descriptor', { setUpFrameBytes: buffer1Bytes });
      return true;
    }
    const frame = this.#setUpFrame;
    if (!dma.read(buffer1, frame)) {
      this.#host.busError();
      return false;
    }
    filter.setUp(frame, control);
    return true;
  }

  #begin(): void {
    if (this.#frameBytes >= 0) this.#host.fault('descriptor', { problem: 'a frame has no end' });
    this.#frameBytes = 0;
  }

  /** Copies a buffer behind the frame that is put together; false where the process stopped. */
  #append(address: number, sizeBytes: number): boolean {
    if (sizeBytes === 0) return true;
    if (this.#frameBytes + sizeBytes > JABBER_BYTES) {
      this.#jabber();
      return false;
    }
    const views = this.#views;
    views.length = 0;
    if (!this.#host.dma.collect(address, sizeBytes, GpaAccess.READ, views)) {
      this.#host.busError();
      return false;
    }
    for (const view of views) {
      this.#frame.set(view, this.#frameBytes);
      this.#frameBytes += view.length;
    }
    this.#host.counters.copied.value += sizeBytes;
    return true;
  }

  /** A frame that does not end: the chip cuts it, and stops. */
  #jabber(): void {
    const { interrupts, busMode, counters } = this.#host;
    this.#frameBytes = -1;
    counters.refused.value++;
    this.#host.fault('frame', { problem: 'jabber' });
    const closed = this.#list.close(TransmitResult.JABBER | TransmitResult.ERROR);
    this.#list.advance(busMode);
    this.halt();
    interrupts.raise(Status.TRANSMIT_JABBER | Status.TRANSMIT_STOPPED);
    if (!closed) this.#host.busError();
  }

  /** The frame is complete. Without a first part there is none. */
  #send(control: number): void {
    const sizeBytes = this.#frameBytes;
    this.#frameBytes = -1;
    if (sizeBytes < 0) return;
    this.#busy = true;
    const frame = this.#finished(sizeBytes, control);
    const { counters, port, mode } = this.#host;
    if (frame === undefined) {
      counters.refused.value++;
      this.#host.fault('frame', { sizeBytes });
      return;
    }
    counters.framesOut.value++;
    counters.bytesOut.value += frame.length;
    if (((mode >>> Mode.LOOPBACK_SHIFT) & Mode.LOOPBACK_MASK) !== 0) this.#host.loopBack(frame);
    else port.send(untagged(frame));
  }

  /** A copy of the frame as the wire has it, less the check sequence; undefined where a receiver would drop it. */
  #finished(sizeBytes: number, control: number): Uint8Array | undefined {
    const source = this.#frame;
    let payloadBytes = sizeBytes;
    const padded = sizeBytes < MIN_FRAME_BYTES && (control & TransmitControl.NO_PADDING) === 0;
    // What is padded gets a check sequence, whatever the descriptor says.
    if ((control & TransmitControl.NO_CRC) !== 0 && !padded) {
      payloadBytes -= FCS_BYTES;
      const given = this.#frameData.getUint32(Math.max(0, payloadBytes), true);
      if (payloadBytes < MIN_FRAME_BYTES || fcsOf(source.subarray(0, payloadBytes)) !== given)
        return undefined;
    }
    const frameBytes = padded ? MIN_FRAME_BYTES : payloadBytes;
    if (frameBytes < MIN_FRAME_BYTES || frameBytes > MAX_FRAME_BYTES + VLAN_TAG_BYTES) return undefined;
    const frame = this.#memory.take(frameBytes);
    frame.set(source.subarray(0, payloadBytes));
    frame.fill(0, payloadBytes);
    return frameBytes <= MAX_FRAME_BYTES || etherTypeOf(frame) === EtherType.VLAN ? frame : undefined;
  }
}
