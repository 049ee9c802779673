import { Board, devfnOf } from '@kensho/chipset';
import { PAGE_SIZE } from '@kensho/core';
import {
  type Frame,
  type NetworkAdapter,
  type NetworkConnector,
  type NetworkPort,
  TulipFunction,
} from '@kensho/devices-net';
import type { Random } from '../../random.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const RAM_PAGES = 16;
const RAM_BYTES = RAM_PAGES * PAGE_SIZE;
const ACTIONS = 40;
const DEVICE = 'nic';
const MAC = Uint8Array.of(0x00, 0x15, 0x5d, 0x01, 0x02, 0x03);
const DEVFN = devfnOf(10, 0);
const PORT = 0xec00;
const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;

const BUS_MODE = 0;
const TRANSMIT_POLL = 1;
const RECEIVE_POLL = 2;
const RECEIVE_LIST = 3;
const TRANSMIT_LIST = 4;
const STATUS = 5;
const MODE = 6;
const SERIAL = 9;
const TIMER = 11;

const OWN = 0x80000000;
const END_OF_RING = 0x02000000;
const CHAINED = 0x01000000;
const WHOLE = 0x60000000;
const INTERRUPT = 0x80000000;
const SET_UP = 0x08000000;
const SET_UP_BYTES = 192;
const RUN = 0x2002;
const PROMISCUOUS = 0x40;
const RECEIVE_ALL = 0x40000000;
/** The longest frame with a tag, which the network has beside it. */
const LONGEST_FRAME = 1514;
/** What the host may take of a guest's time for one frame: bounded lists mean that there is no more. */
const MAX_WAITING = 64;

/** Registers, descriptors and set-up frames of the DECchip 21140, with a network that sends what it likes. */
export const tulipTarget: FuzzTarget = {
  id: 'tulip',
  description: 'DEC 21140 registers, descriptor lists, set-up frames, serial lines, PCI configuration',
  corpus: [2801580766],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => new TulipCase(memory, random).run() };
  },
};

/** A network that checks what it gets, and holds frames for as long as the adapter wants. */
class Network implements NetworkConnector, NetworkPort {
  linkUp = true;
  adapter: NetworkAdapter | undefined;
  sent: Frame | undefined;
  readonly waiting: Frame[] = [];

  connect(adapter: NetworkAdapter): NetworkPort {
    this.adapter = adapter;
    return this;
  }

  send(frame: Frame): void {
    const { bytes, vlanTag } = frame;
    expectAlways(
      bytes.length >= 14 && bytes.length <= LONGEST_FRAME,
      () => `a frame of ${bytes.length} bytes was sent`,
    );
    expectAlways(frame.offload === undefined, 'the adapter leaves work to the network');
    expectAlways(vlanTag === undefined || (vlanTag >= 0 && vlanTag <= 0xffff), () => `tag ${vlanTag}`);
    this.sent = frame;
  }

  arrive(frame: Frame): void {
    if (this.waiting.length >= MAX_WAITING) return;
    this.waiting.push(frame);
    if (this.waiting.length === 1) this.receiveReady();
  }

  receiveReady(): void {
    while (this.waiting.length > 0 && this.adapter?.receive(this.waiting[0]) === true) this.waiting.shift();
  }

  close(): void {
    this.adapter = undefined;
    this.waiting.length = 0;
  }
}

class TulipCase {
  readonly #random: Random;
  readonly #machine: FuzzMachine;
  readonly #board: Board;
  readonly #function: TulipFunction;
  readonly #network = new Network();

  constructor(memory: MachineMemory, random: Random) {
    this.#random = random;
    this.#machine = new FuzzMachine({ memory, ramPages: RAM_PAGES });
    const { partition } = this.#machine;
    const { work, timers, counters, faults, ioPorts: ports, gpa, control, dma } = partition;
    this.#board = new Board({ ports, gpa, control, faults });
    this.#function = new TulipFunction(
      { id: DEVICE, mac: MAC, connector: this.#network },
      {
        work,
        timers,
        counters,
        faults,
        ports,
        gpa,
        pciBus: this.#board.pciBus,
        dma: dma.attach(DEVICE, 'passthrough'),
      },
    );
    this.#function.start();
  }

  async run(): Promise<void> {
    const random = this.#random;
    // Most cases begin as a driver does.
    if (!random.oneIn(8)) this.#bringUp();
    for (let i = 0; i < ACTIONS; i++) {
      await this.#act();
      if (random.oneIn(3)) await this.#machine.settle();
    }
    await this.#startAnew();
    this.#function.stop();
    await this.#machine.settle();
    this.#board.stop();
    expectAlways(this.#machine.portIn(PORT + 8 * STATUS, 4) === 0xffffffff, 'its ports still answer');
    this.#machine.partition.dma.detach(DEVICE);
    this.#machine.end();
  }

  async #act(): Promise<void> {
    const random = this.#random;
    switch (random.below(12)) {
      case 0:
        this.#machine.portOut(PORT + random.below(128), random.pick([1, 2, 4]), edgeValue(random));
        return;
      case 1:
        this.#machine.portIn(PORT + random.below(128), random.pick([1, 2, 4]));
        return;
      case 2:
        this.#writeRegister();
        return;
      case 3:
      case 4:
        this.#layList(TRANSMIT_LIST);
        this.#write(TRANSMIT_POLL, 0);
        return;
      case 5:
        this.#layList(RECEIVE_LIST);
        this.#write(RECEIVE_POLL, 0);
        return;
      case 6:
      case 7:
        this.#arrive();
        return;
      case 8:
        await this.#machine.advance(random.pick([1e3, 1e5, 2e6, 2e8]));
        return;
      case 9:
        this.#moveLines();
        return;
      case 10:
        if (random.oneIn(3)) this.#configure();
        else
          this.#write(
            MODE,
            (random.oneIn(4) ? random.u32() : RUN | PROMISCUOUS | (random.u32() & 0x4d5)) >>> 0,
          );
        return;
      default:
        if (random.oneIn(3)) this.#network.adapter?.linkChanged(random.oneIn(2));
        else this.#machine.ram(random.below(RAM_PAGES) * PAGE_SIZE).set(random.bytes(64));
    }
  }

  #bringUp(): void {
    this.#select(DEVFN, 4);
    this.#machine.portOut(CONFIG_DATA, 2, 7);
    this.#write(BUS_MODE, 1);
    this.#layList(TRANSMIT_LIST);
    this.#layList(RECEIVE_LIST);
    this.#write(7, 0x1ebef);
    this.#write(MODE, RUN | PROMISCUOUS);
  }

  #writeRegister(): void {
    const random = this.#random;
    const register = random.pick([
      BUS_MODE,
      1,
      2,
      RECEIVE_LIST,
      TRANSMIT_LIST,
      STATUS,
      7,
      8,
      10,
      TIMER,
      12,
      15,
    ]);
    const value = mostly(random, () => {
      if (register === BUS_MODE) return random.pick([0, 1, 2 << 2, 1 << 17, 4 << 17, 0x01a08000]);
      if (register === TIMER) return random.pick([0, 1, 0x10001, 0x100ff, 0xffff]);
      return random.oneIn(2) ? random.below(RAM_BYTES) : 0x1ffff;
    });
    this.#write(register, value);
  }

  /** A ring or a chain of descriptors at a place of its own, which mostly makes sense. */
  #layList(register: number): void {
    const random = this.#random;
    const base = mostly(random, () => 4 * random.below(RAM_BYTES / 4 - 64)) >>> 0;
    const count = 1 + random.below(8);
    if (base < RAM_BYTES - 16 * count) {
      const ram = this.#machine.ram(base);
      const view = new DataView(ram.buffer, ram.byteOffset, ram.length);
      for (let i = 0; i < count; i++) {
        const address = () => mostly(random, () => random.below(RAM_BYTES - 2048), 16) >>> 0;
        const length = mostly(random, () => random.pick([0, 60, 100, 192, 1000, 1514, 0x7ff])) & 0x7ff;
        let control = length | (random.oneIn(3) ? random.below(0x800) << 11 : 0);
        if (random.oneIn(4)) control |= CHAINED;
        if (i === count - 1 || random.oneIn(12)) control |= END_OF_RING;
        if (register === TRANSMIT_LIST) {
          if (random.oneIn(6)) control = SET_UP | SET_UP_BYTES | (random.u32() & 0x10400000);
          else if (random.oneIn(8)) control |= random.u32() & 0x7c800000;
          else control |= WHOLE;
          if (random.oneIn(2)) control |= INTERRUPT;
        }
        const near = (base + 16 * random.below(count)) >>> 0;
        view.setUint32(16 * i, random.oneIn(8) ? random.u32() : OWN, true);
        view.setUint32(16 * i + 4, control, true);
        view.setUint32(16 * i + 8, address(), true);
        view.setUint32(16 * i + 12, (control & CHAINED) !== 0 ? near : address(), true);
      }
    }
    if (!random.oneIn(4)) this.#write(MODE, 0);
    this.#write(register, base);
    if (!random.oneIn(4)) this.#start();
  }

  /** Runs both processes, with some filter. */
  #start(): void {
    const random = this.#random;
    const filter = random.pick([PROMISCUOUS, PROMISCUOUS, 0, 0x80, RECEIVE_ALL]);
    this.#write(MODE, (RUN | filter) >>> 0);
  }

  /** A frame from the network: of any length, finished or not. */
  #arrive(): void {
    const random = this.#random;
    if (random.oneIn(4)) this.#start();
    const bytes = random.bytes(random.pick([14, 20, 60, 200, 1514, 1514, 3000, 9014, 20_000]));
    if (random.oneIn(2)) bytes.set(MAC);
    if (bytes.length >= 60 && random.oneIn(3)) {
      // The start of TCP over IPv4, so that it can be cut.
      bytes.set([0x08, 0x00, 0x45, 0, bytes.length >> 8, (bytes.length - 14) & 0xff, 0, 0, 0, 0, 64, 6], 12);
      bytes[46] = 0x50;
    }
    const checksum = { startOffset: random.below(60), fieldOffset: random.below(80) };
    const offload = random.pick([
      undefined,
      undefined,
      { checksum },
      { ipv4HeaderChecksum: true },
      { checksum, segmentPayloadBytes: random.pick([0, 100, 1460]) },
    ]);
    this.#network.arrive({ bytes, offload, vlanTag: random.oneIn(4) ? random.below(0x10000) : undefined });
  }

  /** The serial ROM's lines and the PHY's. */
  #moveLines(): void {
    const random = this.#random;
    const rom = random.oneIn(2);
    for (let i = random.below(64); i >= 0; i--) {
      const lines = rom
        ? 0x4800 | random.below(8)
        : random.pick([0, 0x10000, 0x20000, 0x30000, 0x40000, 0x50000]);
      this.#write(
        SERIAL,
        mostly(random, () => lines, 16),
      );
      if (random.oneIn(4)) this.#read(SERIAL);
    }
  }

  #configure(): void {
    const random = this.#random;
    const offset = mostly(random, () => random.pick([4, 6, 0x0c, 0x10, 0x14, 0x3c, 0x40])) & 0xff;
    this.#select(DEVFN, offset);
    const sizeBytes = random.pick([1, 2, 4]);
    if (random.oneIn(3)) this.#machine.portIn(CONFIG_DATA + (offset & 3), sizeBytes);
    else this.#machine.portOut(CONFIG_DATA + (offset & 3), sizeBytes, edgeValue(random));
  }

  /** Whatever went before: after a reset it sends a frame, and receives one. */
  async #startAnew(): Promise<void> {
    for (const [offset, value] of [
      [0x10, PORT],
      [0x14, 0],
      [0x40, 0],
      [0x04, 5],
    ] as const) {
      this.#select(DEVFN, offset);
      this.#machine.portOut(CONFIG_DATA, 4, value);
    }
    this.#write(BUS_MODE, 1);
    await this.#machine.settle();
    this.#network.waiting.length = 0;
    const ram = this.#machine.ram(0);
    const view = new DataView(ram.buffer, ram.byteOffset, ram.length);
    const frame = new Uint8Array(100).map((_, i) => i);
    ram.set(frame, 0x1000);
    [OWN, WHOLE | END_OF_RING | frame.length, 0x1000, 0].forEach((word, i) => {
      view.setUint32(4 * i, word, true);
    });
    [OWN, END_OF_RING | 1536, 0x2000, 0].forEach((word, i) => {
      view.setUint32(0x100 + 4 * i, word, true);
    });
    this.#write(TRANSMIT_LIST, 0);
    this.#write(RECEIVE_LIST, 0x100);
    this.#network.sent = undefined;
    this.#write(MODE, RUN | PROMISCUOUS);
    await this.#machine.settle();
    const { sent } = this.#network as { sent: Frame | undefined };
    expectAlways(sent !== undefined && Buffer.compare(sent.bytes, frame) === 0, 'a frame is not sent');
    this.#network.arrive({ bytes: frame });
    const status = view.getUint32(0x100, true);
    expectAlways(
      (status & 0x8000c310) >>> 0 === 0x300 && status >>> 16 === frame.length + 4,
      () => `a frame is received with status ${status.toString(16)}`,
    );
    expectAlways(Buffer.compare(ram.subarray(0x2000, 0x2000 + frame.length), frame) === 0, 'other bytes');
    expectAlways((this.#read(STATUS) & 0x41) === 0x40, 'no cause for what was received');
  }

  #select(devfn: number, offset: number): void {
    this.#machine.portOut(CONFIG_ADDRESS, 4, (0x80000000 | (devfn << 8) | (offset & 0xfc)) >>> 0);
  }

  #read(register: number): number {
    return this.#machine.portIn(PORT + 8 * register, 4);
  }

  #write(register: number, value: number): void {
    this.#machine.portOut(PORT + 8 * register, 4, value);
  }
}
