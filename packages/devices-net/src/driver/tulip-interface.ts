import {
  GuestEvent,
  GuestIoError,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
  PAGE_SIZE,
} from '@kensho/core';
import type { Frame } from '../backend/port.ts';
import { ETHERNET_HEADER_BYTES, tagged, untagged } from '../frame/ethernet.ts';
import { dataViewOf } from '../frame/packet-layout.ts';
import type { GuestNetworkInterface, ReceivedFrame } from '../guest-interface.ts';
import {
  Control,
  Csr,
  DESCRIPTOR_BYTES,
  FCS_BYTES,
  MiiRegister,
  MiiStatus,
  Mode,
  OWN,
  PERFECT_ADDRESSES,
  ReceiveResult,
  SETUP_FRAME_BYTES,
  Status,
  TransmitControl,
} from '../protocol/dec21140.ts';
import type { TulipRegisters } from './tulip-registers.ts';

/** Sizes of what the driver takes for one adapter. */
export interface TulipBuffers {
  readonly transmitBuffers: number;
  readonly receiveBuffers: number;
  /** Received frames that may wait for programs before they stay with the adapter. */
  readonly queueFrames: number;
}

const MTU = 1500;
/** Two in a page; the longest frame with a tag and its check sequence fits. */
const BUFFER_BYTES = 2048;
const RECEIVE_LENGTH = 1536;
/** Every so many frames the adapter tells that it sent them. */
const FRAMES_PER_INTERRUPT = 8;
const NO_ADAPTER = 0xffff;
const LINK_POLL_NS = 250e6;
const RECEIVE_CAUSES = Status.RECEIVE | Status.RECEIVE_UNAVAILABLE;
const CAUSES = RECEIVE_CAUSES | Status.TRANSMIT | Status.BUS_ERROR | Status.NORMAL | Status.ABNORMAL;
const ALL_CAUSES = 0x1ffff;
const MODE =
  Mode.PORT_SELECT |
  Mode.HEARTBEAT_DISABLE |
  Mode.STORE_AND_FORWARD |
  Mode.FULL_DUPLEX |
  Mode.ALL_MULTICAST |
  Mode.MUST_BE_ONE;
/** Looks at a descriptor before the adapter counts as deaf. */
const SETUP_LOOKS = 1000;

/** A ring of descriptors, each with one buffer, in pages of its own. */
class Ring {
  readonly count: number;
  readonly gpa: number;
  readonly #pages: GuestPages;
  readonly #buffersAt: number;
  readonly #data: DataView<ArrayBufferLike>;

  constructor(kernel: GuestKernel, count: number) {
    this.count = count;
    this.#buffersAt = Math.ceil((count * DESCRIPTOR_BYTES) / PAGE_SIZE) * PAGE_SIZE;
    this.#pages = kernel.allocate(this.#buffersAt + count * BUFFER_BYTES);
    this.gpa = this.#pages.gpa;
    this.#data = dataViewOf(this.#pages.bytes);
    for (let i = 0; i < count; i++) {
      this.#data.setUint32(i * DESCRIPTOR_BYTES + 8, this.gpa + this.#buffersAt + i * BUFFER_BYTES, true);
    }
  }

  status(index: number): number {
    return this.#data.getUint32(index * DESCRIPTOR_BYTES, true);
  }

  /** Hands a descriptor to the adapter. */
  give(index: number, control: number): void {
    const end = index === this.count - 1 ? Control.END_OF_RING : 0;
    this.#data.setUint32(index * DESCRIPTOR_BYTES + 4, control | end, true);
    this.#data.setUint32(index * DESCRIPTOR_BYTES, OWN, true);
  }

  buffer(index: number): Uint8Array {
    const start = this.#buffersAt + index * BUFFER_BYTES;
    return this.#pages.bytes.subarray(start, start + BUFFER_BYTES);
  }

  free(): void {
    this.#pages.free();
  }
}

/**
 * A network interface by a DECchip 21140. Frames are copied to and from buffers that belong to two rings; while a task
 * takes received frames from theirs, it is not interrupted for more.
 */
export class TulipInterface implements GuestNetworkInterface {
  readonly path = 'emulated';
  readonly name: string;
  readonly mac: Uint8Array;
  readonly mtu = MTU;
  readonly offloads = false;
  readonly linkChanged = new GuestEvent();
  linkUp = false;
  readonly #registers: TulipRegisters;
  readonly #phy: number;
  readonly #queueFrames: number;
  readonly #transmit: Ring;
  readonly #receive: Ring;
  /** The next descriptor to fill, how many the adapter may still have, and where those begin. */
  #nextTransmit = 0;
  #inFlight = 0;
  readonly #sent = new GuestEvent();
  #nextReceive = 0;
  /** The adapter found no descriptor. */
  #exhausted = false;
  readonly #interrupted = new GuestEvent();
  readonly #frames: ReceivedFrame[] = [];
  readonly #arrived = new GuestEvent();
  readonly #taken = new GuestEvent();
  #stopped = false;

  /**
   * @param phy - its address on the management bus
   */
  constructor(
    name: string,
    mac: Uint8Array,
    phy: number,
    registers: TulipRegisters,
    kernel: GuestKernel,
    buffers: TulipBuffers,
  ) {
    this.name = name;
    this.mac = mac;
    this.#phy = phy;
    this.#registers = registers;
    this.#queueFrames = buffers.queueFrames;
    this.#transmit = new Ring(kernel, buffers.transmitBuffers);
    this.#receive = new Ring(kernel, buffers.receiveBuffers);
  }

  /** Starts the adapter, which was reset, with its own address and groups let through. */
  *start(): GuestTask {
    const registers = this.#registers;
    registers.write(Csr.TRANSMIT_LIST, this.#transmit.gpa);
    registers.write(Csr.RECEIVE_LIST, this.#receive.gpa);
    for (let i = 0; i < this.#receive.count; i++) this.#receive.give(i, RECEIVE_LENGTH);
    this.#writeSetUpFrame(this.#transmit.buffer(0));
    this.#transmit.give(0, TransmitControl.SET_UP | SETUP_FRAME_BYTES);
    this.#nextTransmit = 1;
    registers.write(Csr.OPERATION_MODE, MODE | Mode.TRANSMIT);
    for (let looks = 0; (this.#transmit.status(0) & OWN) !== 0; looks++) {
      if (looks === SETUP_LOOKS)
        throw new GuestIoError(`${this.name}: the adapter does not take its set-up frame`);
      yield undefined;
    }
    registers.write(Csr.STATUS, ALL_CAUSES);
    registers.write(Csr.OPERATION_MODE, MODE | Mode.TRANSMIT | Mode.RECEIVE);
    // A link that was down shows as down once more.
    this.#readLink();
    this.#readLink();
    this.linkChanged.take();
  }

  /** Ends the adapter's use: what waits for it fails. */
  stop(): void {
    this.#stopped = true;
    for (const event of [this.#sent, this.#interrupted, this.#arrived, this.#taken]) event.set();
  }

  /** Gives the memory back; only of an adapter that was reset, or is gone. */
  free(): void {
    this.#transmit.free();
    this.#receive.free();
  }

  *send(frame: Frame): GuestTask {
    const { bytes } = frame;
    if (frame.offload !== undefined) throw new GuestIoError(`${this.name}: a frame that is not finished`);
    if (bytes.length < ETHERNET_HEADER_BYTES || bytes.length > ETHERNET_HEADER_BYTES + MTU) {
      throw new GuestIoError(`${this.name}: a frame of ${bytes.length} bytes`);
    }
    // Before anything waits: the frame stays the caller's.
    const onWire = frame.vlanTag === undefined ? bytes.slice() : tagged(frame);
    this.#reclaim();
    while (this.#inFlight === this.#transmit.count && !this.#stopped) {
      yield* this.#sent.wait();
      this.#reclaim();
    }
    if (this.#stopped) throw this.#gone();
    const index = this.#nextTransmit;
    this.#nextTransmit = (index + 1) % this.#transmit.count;
    this.#inFlight++;
    // Of all that wait only one takes the event.
    if (this.#inFlight < this.#transmit.count) this.#sent.set();
    this.#transmit.buffer(index).set(onWire);
    const interrupt = index % FRAMES_PER_INTERRUPT === 0 ? TransmitControl.INTERRUPT : 0;
    this.#transmit.give(index, TransmitControl.FIRST | TransmitControl.LAST | interrupt | onWire.length);
    this.#registers.write(Csr.TRANSMIT_POLL, 1);
  }

  *receive(): GuestTask<ReceivedFrame> {
    for (;;) {
      const frame = this.tryReceive();
      if (this.#frames.length > 0 || this.#stopped) this.#arrived.set();
      if (frame !== undefined) return frame;
      if (this.#stopped) throw this.#gone();
      yield* this.#arrived.wait();
    }
  }

  tryReceive(): ReceivedFrame | undefined {
    const frame = this.#frames.shift();
    if (this.#frames.length === this.#queueFrames >> 1) this.#taken.set();
    return frame;
  }

  /** The interrupt handler; false where the adapter had nothing to say. */
  service(): boolean {
    const status = this.#registers.read(Csr.STATUS);
    if (this.#stopped || (status & (Status.NORMAL | Status.ABNORMAL)) === 0) return false;
    this.#registers.write(Csr.STATUS, status & ALL_CAUSES);
    if ((status & Status.BUS_ERROR) !== 0) this.stop();
    if ((status & Status.TRANSMIT) !== 0) this.#sent.set();
    if ((status & RECEIVE_CAUSES) !== 0) {
      this.#registers.write(Csr.INTERRUPT_ENABLE, CAUSES & ~RECEIVE_CAUSES);
      if ((status & Status.RECEIVE_UNAVAILABLE) !== 0) this.#exhausted = true;
      this.#interrupted.set();
    }
    return true;
  }

  /** The task that takes received frames from the adapter. */
  *collect(): GuestTask {
    while (!this.#stopped) {
      while (this.#frames.length < this.#queueFrames && this.#takeOne());
      if (this.#exhausted) {
        this.#exhausted = false;
        this.#registers.write(Csr.RECEIVE_POLL, 1);
      }
      if (this.#frames.length >= this.#queueFrames) {
        yield* this.#taken.wait();
      } else {
        // What arrived since it was last looked interrupts at once.
        this.#registers.write(Csr.INTERRUPT_ENABLE, CAUSES);
        yield* this.#interrupted.wait();
      }
    }
  }

  /** The task that watches the link; it ends when the adapter is gone. */
  *watch(kernel: GuestKernel): GuestTask {
    while (!this.#stopped) {
      yield* kernel.sleep(LINK_POLL_NS);
      if (!this.#readLink()) this.stop();
    }
  }

  #gone(): GuestIoError {
    return new GuestIoError(`${this.name}: the network adapter was taken away`);
  }

  /** Takes descriptors back whose frames were sent. */
  #reclaim(): void {
    const { count } = this.#transmit;
    while (this.#inFlight > 0) {
      const oldest = (this.#nextTransmit - this.#inFlight + count) % count;
      if ((this.#transmit.status(oldest) & OWN) !== 0) return;
      this.#inFlight--;
    }
  }

  /** Takes a frame from the ring and gives its buffer back; false where there is none. */
  #takeOne(): boolean {
    const index = this.#nextReceive;
    const status = this.#receive.status(index);
    if ((status & OWN) !== 0) return false;
    const whole = ReceiveResult.FIRST | ReceiveResult.LAST;
    const bad = ReceiveResult.DESCRIPTOR_ERROR | ReceiveResult.WATCHDOG;
    const sizeBytes = ((status >>> ReceiveResult.LENGTH_SHIFT) & ReceiveResult.LENGTH_MASK) - FCS_BYTES;
    if (
      (status & (whole | bad)) === whole &&
      sizeBytes >= ETHERNET_HEADER_BYTES &&
      sizeBytes <= RECEIVE_LENGTH
    ) {
      this.#frames.push(untagged(this.#receive.buffer(index).slice(0, sizeBytes)));
      this.#arrived.set();
    }
    this.#receive.give(index, RECEIVE_LENGTH);
    this.#nextReceive = (index + 1) % this.#receive.count;
    return true;
  }

  /** Looks at the link; false where there is no adapter any more. */
  #readLink(): boolean {
    const status = this.#registers.readPhy(this.#phy, MiiRegister.STATUS);
    if (status === NO_ADAPTER) return false;
    const up = (status & MiiStatus.LINK) !== 0;
    if (up !== this.linkUp) {
      this.linkUp = up;
      this.linkChanged.set();
    }
    return true;
  }

  /** Sixteen addresses: its own, and that of all. */
  #writeSetUpFrame(frame: Uint8Array): void {
    frame.fill(0xff, 0, SETUP_FRAME_BYTES);
    const own = (SETUP_FRAME_BYTES / PERFECT_ADDRESSES) * (PERFECT_ADDRESSES - 1);
    for (let i = 0; i < 3; i++) frame.set(this.mac.subarray(2 * i, 2 * i + 2), own + 4 * i);
  }
}
