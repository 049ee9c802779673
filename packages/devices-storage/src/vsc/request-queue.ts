import { GuestEvent, type GuestTask } from '@kensho/core';
import { type GuestBuffer, type GuestChannel, type IncomingPacket, PacketType } from '@kensho/vmbus';
import { readSense, Sense } from '../protocol/scsi.ts';
import {
  SRB_STATUS_AUTOSENSE_VALID,
  SRB_STATUS_CODE_MASK,
  VSTOR_PACKET_BYTES,
  VSTOR_SENSE_BYTES,
  VstorOperation,
  VstorSrb,
} from '../protocol/storvsp.ts';

const SENSE_OFFSET = VstorSrb.offsetOf('cdbOrSense');

/** A request that can be in flight: its packet, which its answer overwrites, and what its task waits for. */
export class RequestSlot {
  readonly transactionId: number;
  readonly packet: Uint8Array = new Uint8Array(VSTOR_PACKET_BYTES);
  readonly srb: ReturnType<typeof VstorSrb.view> = VstorSrb.view();
  /** Set when the answer is there, or will never be. */
  readonly done = new GuestEvent();
  /** Where its data is; none where this is empty. */
  readonly buffers: GuestBuffer[] = [];
  inFlight = false;
  /** The channel ended before the answer came. */
  lost = false;

  constructor(transactionId: number) {
    this.transactionId = transactionId;
    this.srb.bind(new DataView(this.packet.buffer), 0);
  }

  /** The answer's SRB status without its flags. */
  get srbCode(): number {
    return this.srb.srbStatus & SRB_STATUS_CODE_MASK;
  }

  /** The answer's `Sense` code. */
  get sense(): number {
    if ((this.srb.srbStatus & SRB_STATUS_AUTOSENSE_VALID) === 0) return Sense.NO_SENSE;
    return readSense(this.packet.subarray(SENSE_OFFSET, SENSE_OFFSET + VSTOR_SENSE_BYTES));
  }
}

/**
 * The requests of one channel: a slot for each that may be in flight, one task that sends and one that receives.
 *
 * Programs only queue their requests. The sender puts all that came together into the ring and then signals once,
 * and the receiver takes all answers that one interrupt announced.
 */
export class RequestQueue {
  readonly channel: GuestChannel;
  readonly depth: number;
  readonly #slots: readonly RequestSlot[];
  readonly #free: RequestSlot[];
  readonly #freed = new GuestEvent();
  readonly #submitted = new GuestEvent();
  readonly #onBusChange: () => void;
  #waiting: RequestSlot[] = [];
  #sending: RequestSlot[] = [];
  #stopped = false;

  /** @param onBusChange - the host says that units came or went */
  constructor(channel: GuestChannel, depth: number, onBusChange: () => void) {
    this.channel = channel;
    this.depth = depth;
    this.#slots = Array.from({ length: depth }, (_, i) => new RequestSlot(i + 1));
    this.#free = [...this.#slots].reverse();
    this.#onBusChange = onBusChange;
  }

  /** Takes a slot, waiting for one where all are in flight; its packet is zeroed. */
  *acquire(): GuestTask<RequestSlot> {
    let slot = this.#free.pop();
    while (slot === undefined) {
      yield* this.#freed.wait();
      slot = this.#free.pop();
    }
    // Of all that wait only one takes the event: pass it on while there is something to take.
    if (this.#free.length > 0) this.#freed.set();
    slot.packet.fill(0);
    slot.buffers.length = 0;
    slot.lost = false;
    return slot;
  }

  release(slot: RequestSlot): void {
    this.#free.push(slot);
    this.#freed.set();
  }

  /** Sends a request and waits until its packet holds the answer; see {@link RequestSlot.lost}. */
  *execute(slot: RequestSlot): GuestTask {
    if (this.#stopped) {
      slot.lost = true;
      return;
    }
    slot.inFlight = true;
    this.#waiting.push(slot);
    this.#submitted.set();
    yield* slot.done.wait();
  }

  /** Ends both tasks; what is in flight stays so until {@link abandon}. */
  stop(): void {
    this.#stopped = true;
    for (const event of [this.#submitted, this.channel.readable, this.channel.writable]) event.set();
  }

  /** Ends what is in flight, as lost. The host must have let go of the requests' memory. */
  abandon(): void {
    for (const slot of this.#slots) if (slot.inFlight) this.#finish(slot, true);
  }

  /** The sending task. */
  *send(): GuestTask {
    while (!this.#stopped) {
      const batch = this.#waiting;
      this.#waiting = this.#sending;
      this.#sending = batch;
      for (const slot of batch) {
        while (!this.#stopped && !this.#put(slot)) {
          this.channel.flush();
          yield* this.channel.writable.wait();
        }
      }
      if (batch.length > 0 && !this.#stopped) this.channel.flush();
      batch.length = 0;
      if (this.#waiting.length === 0) yield* this.#submitted.wait();
    }
  }

  /** The receiving task. */
  *receive(): GuestTask {
    while (!this.#stopped) {
      const packet = this.channel.read();
      if (packet === undefined) yield* this.channel.readable.wait();
      else this.#take(packet);
    }
  }

  #put(slot: RequestSlot): boolean {
    const { channel } = this;
    if (slot.buffers.length > 0) return channel.trySendBuffers(slot.packet, slot.buffers, slot.transactionId);
    return channel.trySend(slot.packet, slot.transactionId, true);
  }

  #take(packet: IncomingPacket): void {
    const { payload } = packet;
    if (packet.type === PacketType.COMPLETION) {
      const slot = this.#slots[packet.transactionIdLo - 1];
      const answersOne = slot?.inFlight === true && packet.transactionIdHi === 0;
      if (!answersOne || payload.length < VSTOR_PACKET_BYTES) return;
      slot.packet.set(
        payload.length === VSTOR_PACKET_BYTES ? payload : payload.subarray(0, VSTOR_PACKET_BYTES),
      );
      this.#finish(slot, false);
    } else if (payload[0] === VstorOperation.ENUMERATE_BUS || payload[0] === VstorOperation.REMOVE_DEVICE) {
      this.#onBusChange();
    }
  }

  #finish(slot: RequestSlot, lost: boolean): void {
    slot.inFlight = false;
    slot.lost = lost;
    slot.done.set();
  }
}
