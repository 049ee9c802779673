import { DmaDomain, GpaAccess, GpaSpace, GuestFaults, PAGE_SIZE, PageArena } from '@kensho/core';
import { parseMac } from '../../backend/mac.ts';
import type { Frame, NetworkConnector, NetworkPort } from '../../backend/port.ts';
import { Control, Csr, Mode, OWN, Status, TransmitControl } from '../../protocol/dec21140.ts';
import { TestPartition } from '../../test-utils/network.ts';
import { TulipAdapter } from '../tulip-adapter.ts';

export const MEMORY_PAGES = 64;
export const RIG_MAC = '00:15:5d:01:02:03';
/** Where the rig has its lists and buffers. */
export const RECEIVE_LIST = 0x1000;
export const TRANSMIT_LIST = 0x2000;
export const SETUP_FRAME = 0x3000;
export const TRANSMIT_BUFFERS = 0x8000;
export const RECEIVE_BUFFERS = 0x18000;
const BUFFER_STRIDE = 0x800;

/** One descriptor, as a test writes it. */
export interface DescriptorFields {
  readonly status?: number;
  readonly control: number;
  readonly buffer1?: number;
  readonly buffer2?: number;
}

/** An adapter with memory, a network that keeps what it gets, and a guest that is the test. */
export class TulipRig implements NetworkConnector, NetworkPort {
  readonly partition = new TestPartition();
  readonly gpa: GpaSpace;
  readonly adapter: TulipAdapter;
  readonly sent: Frame[] = [];
  /** Frames of the network that wait for the adapter. */
  readonly waiting: Frame[] = [];
  linkUp = true;
  line = false;

  constructor() {
    const { counters, log, work, timers } = this.partition;
    const faults = new GuestFaults(counters, log);
    this.gpa = new GpaSpace(PageArena.allocate(MEMORY_PAGES));
    // Neighbouring guest pages lie apart in the arena, as a real partition's may.
    for (let page = 0; page < MEMORY_PAGES; page++) {
      this.gpa.map(page, MEMORY_PAGES - 1 - page, 1, GpaAccess.ALL);
    }
    this.adapter = new TulipAdapter(
      { id: 'nic0', mac: parseMac(RIG_MAC), connector: this },
      {
        work,
        timers,
        counters,
        faults,
        dma: new DmaDomain('nic0', 'passthrough', this.gpa, counters, faults),
        interruptLine: {
          set: (level) => {
            this.line = level;
          },
        },
      },
    );
    this.adapter.setMayMaster(true);
    this.adapter.start();
  }

  connect(): NetworkPort {
    return this;
  }

  send(frame: Frame): void {
    this.sent.push(frame);
  }

  receiveReady(): void {
    while (this.waiting.length > 0 && this.adapter.receive(this.waiting[0])) this.waiting.shift();
  }

  close(): void {
    this.waiting.length = 0;
  }

  /** A frame from the network, which keeps it while the adapter has no room. */
  arrive(frame: Frame): void {
    this.waiting.push(frame);
    if (this.waiting.length === 1) this.receiveReady();
  }

  csr(register: number): number {
    return this.adapter.read(8 * register, 4);
  }

  setCsr(register: number, value: number): void {
    this.adapter.write(8 * register, 4, value >>> 0);
  }

  /** Causes in CSR5, without states and summaries. */
  get causes(): number {
    return this.csr(Csr.STATUS) & 0x7fff;
  }

  /** The states of the two processes. */
  get states(): { transmit: number; receive: number } {
    const status = this.csr(Csr.STATUS);
    return {
      transmit: (status >>> Status.TRANSMIT_STATE_SHIFT) & Status.STATE_MASK,
      receive: (status >>> Status.RECEIVE_STATE_SHIFT) & Status.STATE_MASK,
    };
  }

  memory(gpa: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    if (!this.gpa.read(gpa, bytes)) throw new Error('no such memory');
    return bytes;
  }

  store(gpa: number, bytes: Uint8Array): void {
    if (!this.gpa.write(gpa, bytes)) throw new Error('no such memory');
  }

  word(gpa: number): number {
    return new DataView(this.memory(gpa, 4).buffer).getUint32(0, true);
  }

  describe(at: number, { status = OWN, control, buffer1 = 0, buffer2 = 0 }: DescriptorFields): void {
    const words = Uint32Array.of(status, control, buffer1, buffer2);
    this.store(at, new Uint8Array(words.buffer));
  }

  /** A ring of receive descriptors, each with one buffer. */
  receiveRing(count: number, bufferBytes = 1536): void {
    for (let i = 0; i < count; i++) {
      const end = i === count - 1 ? Control.END_OF_RING : 0;
      this.describe(RECEIVE_LIST + 16 * i, {
        control: bufferBytes | end,
        buffer1: RECEIVE_BUFFERS + BUFFER_STRIDE * i,
      });
    }
    this.setCsr(Csr.RECEIVE_LIST, RECEIVE_LIST);
  }

  /** A ring of transmit descriptors that are the guest's. */
  transmitRing(count: number): void {
    for (let i = 0; i < count; i++) {
      const control = i === count - 1 ? Control.END_OF_RING : 0;
      this.describe(TRANSMIT_LIST + 16 * i, { status: 0, control });
    }
    this.setCsr(Csr.TRANSMIT_LIST, TRANSMIT_LIST);
  }

  /** Puts a whole frame into a descriptor of the ring, as a driver does. */
  put(index: number, bytes: Uint8Array, flags = 0): void {
    const at = TRANSMIT_LIST + 16 * index;
    const buffer1 = TRANSMIT_BUFFERS + BUFFER_STRIDE * index;
    this.store(buffer1, bytes);
    const end = this.word(at + 4) & Control.END_OF_RING;
    const control = TransmitControl.FIRST | TransmitControl.LAST | bytes.length | end | flags;
    this.describe(at, { control, buffer1 });
  }

  /** Starts both processes in promiscuous mode, or as told. */
  go(mode: number = Mode.PROMISCUOUS): void {
    this.setCsr(Csr.OPERATION_MODE, Mode.RECEIVE | Mode.TRANSMIT | mode);
  }

  counter(name: string): number {
    return this.partition.counters.counter(`device.nic0.${name}`).value;
  }

  get copied(): number {
    return this.partition.counters.counter('copy.bytes').value;
  }

  fault(name: string): number {
    return this.partition.counters.counter(`fault.${name}`).value;
  }
}

/** Guest memory ends here. */
export const MEMORY_BYTES = MEMORY_PAGES * PAGE_SIZE;

/** A frame from the network's other end. */
export function frameOf(sizeBytes: number, seed = 1, to = RIG_MAC): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(parseAny(to));
  bytes.set(parseMac('00:15:5d:0a:0b:0c'), 6);
  bytes.set([0x88, 0xb5], 12);
  for (let i = 14; i < sizeBytes; i++) bytes[i] = (i * 7 + seed * 31) & 0xff;
  return bytes;
}

/** Also a group's address. */
export function parseAny(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (digits) => Number.parseInt(digits, 16));
}
