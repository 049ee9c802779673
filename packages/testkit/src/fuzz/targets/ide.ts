import { Board, devfnOf } from '@kensho/chipset';
import { PAGE_SIZE } from '@kensho/core';
import { createRamDisk, IdeController, type IdeDriveOptions } from '@kensho/devices-storage';
import type { Random } from '../../random.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const RAM_PAGES = 16;
const ACTIONS = 40;
const DEVICE = 'ide';
const DISK_BYTES = 256 * 1024;
const IDE_DEVFN = devfnOf(7, 1);

const CHANNELS = [
  { command: 0x1f0, control: 0x3f6 },
  { command: 0x170, control: 0x376 },
] as const;
const BUS_MASTER_BASE = 0xffa0;
const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const STATUS = 7;
const BSY = 0x80;
const DRQ = 0x08;
const ERR = 0x01;
const IDENTIFY_DEVICE = 0xec;
const SRST = 0x04;

const COMMANDS = [
  0x00, 0x08, 0x10, 0x20, 0x20, 0x24, 0x25, 0x25, 0x29, 0x30, 0x30, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0x70,
  0x90, 0x91, 0xa0, 0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8, 0xc8, 0xca, 0xca, 0xce, 0xe0, 0xe1, 0xe2, 0xe3, 0xe5,
  0xe6, 0xe7, 0xea, 0xec, 0xef,
];
const PACKET = 0xa0;
const PACKET_OPCODES = [
  0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x5a, 0xa8, 0xbd,
];

/** Registers of the IDE controller and of its drives, its bus masters and its configuration space. */
export const ideTarget: FuzzTarget = {
  id: 'ide',
  description: 'IDE and bus-master registers, PRD tables, packets, PCI configuration',
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => new IdeCase(memory, random).run() };
  },
};

class IdeCase {
  readonly #random: Random;
  readonly #machine: FuzzMachine;
  readonly #board: Board;
  readonly #controller: IdeController;

  constructor(memory: MachineMemory, random: Random) {
    this.#random = random;
    this.#machine = new FuzzMachine({ memory, ramPages: RAM_PAGES });
    const { partition } = this.#machine;
    const { work, counters, faults, ioPorts: ports, gpa, control, dma } = partition;
    this.#board = new Board({ ports, gpa, control, faults });
    const { pciBus, interruptLines } = this.#board;
    this.#controller = new IdeController(
      {
        id: DEVICE,
        work,
        counters,
        faults,
        log: partition.logger,
        ports,
        pciBus,
        interruptLines,
        dma: dma.attach(DEVICE, 'passthrough'),
      },
      drives(random),
    );
  }

  async run(): Promise<void> {
    const random = this.#random;
    for (let i = 0; i < ACTIONS; i++) {
      this.#act();
      if (random.oneIn(3)) await this.#machine.settle();
    }
    await this.#startAnew();
    await this.#machine.serve(this.#controller.stop());
    this.#board.stop();
    for (const port of [CHANNELS[0].command, CHANNELS[1].control, BUS_MASTER_BASE, CONFIG_DATA]) {
      expectAlways(this.#machine.portIn(port, 1) === 0xff, () => `port ${port.toString(16)} still answers`);
    }
    this.#machine.partition.dma.detach(DEVICE);
    this.#machine.end();
  }

  #act(): void {
    const random = this.#random;
    const channel = random.below(2);
    const { command, control } = CHANNELS[channel];
    switch (random.below(12)) {
      case 0:
        this.#machine.portOut(command + random.below(8), random.pick([1, 1, 2, 4]), random.u32());
        return;
      case 1:
        this.#machine.portIn(
          mostly(random, () => command + random.below(8)) & 0xffff,
          random.pick([1, 1, 2, 4]),
        );
        return;
      case 2:
      case 3:
        this.#command(channel);
        return;
      case 4:
      case 5:
        this.#transfer(channel);
        return;
      case 6:
        this.#moveData(command);
        return;
      case 7:
      case 8:
        this.#startBusMaster(channel);
        return;
      case 9:
        if (random.oneIn(3))
          this.#machine.portOut(
            control,
            1,
            mostly(random, () => random.pick([0, 0, 2, SRST, 0x80])),
          );
        else this.#machine.portIn(control, 1);
        return;
      case 10:
        this.#busMaster(random.below(16), random.pick([1, 2, 4]));
        return;
      default:
        if (random.oneIn(3)) this.#configure();
        else if (random.oneIn(2))
          this.#machine.portOut(mostly(random, () => 0x20 + random.below(2)) & 0xffff, 1, random.u32());
        else this.#machine.ram(random.below(RAM_PAGES) * PAGE_SIZE).set(random.bytes(64));
    }
  }

  /** A read or a write as a driver makes it, by PIO or by DMA, or nearly. */
  #transfer(channel: number): void {
    const random = this.#random;
    const { command } = CHANNELS[channel];
    const write = random.oneIn(2);
    const dma = random.oneIn(2);
    const sectors = 1 + random.below(3);
    const block = random.below(DISK_BYTES / 512);
    if (dma) this.#describeMemory(channel, write, sectors * 512);
    this.#machine.portOut(command + 6, 1, 0xe0);
    this.#machine.portOut(command + 2, 1, sectors);
    for (let i = 0; i < 3; i++) this.#machine.portOut(command + 3 + i, 1, (block >>> (8 * i)) & 0xff);
    if (random.oneIn(8)) this.#act();
    this.#machine.portOut(command + 7, 1, write ? (dma ? 0xca : 0x30) : dma ? 0xc8 : 0x20);
    if (dma) {
      this.#machine.portOut(BUS_MASTER_BASE + 8 * channel, 1, write ? 1 : 9);
      return;
    }
    for (let i = 0; i < 128 * sectors && !random.oneIn(400); i++) {
      if (write) this.#machine.portOut(command, 4, i);
      else this.#machine.portIn(command, 4);
    }
  }

  /** A PRD table for a transfer of that size, at a place of its own. */
  #describeMemory(channel: number, write: boolean, sizeBytes: number): void {
    const random = this.#random;
    const table = 8 * random.below(PAGE_SIZE / 8 - 2);
    const ram = this.#machine.ram(table);
    const view = new DataView(ram.buffer, ram.byteOffset, ram.length);
    view.setUint32(0, PAGE_SIZE * (1 + random.below(RAM_PAGES - 2)) + 2 * random.below(1000), true);
    view.setUint32(4, 0x80000000 | sizeBytes, true);
    const base = BUS_MASTER_BASE + 8 * channel;
    this.#machine.portOut(base, 1, write ? 0 : 8);
    this.#machine.portOut(base + 4, 4, table);
    this.#machine.portOut(base + 2, 1, 0x66);
  }

  /** A command with operands that are mostly within the disk. */
  #command(channel: number): void {
    const random = this.#random;
    const { command } = CHANNELS[channel];
    const code = mostly(random, () => random.pick(COMMANDS), 16) & 0xff;
    const block = mostly(random, () => random.below(DISK_BYTES / 512 + 2));
    this.#machine.portOut(command + 6, 1, (random.oneIn(6) ? random.u32() : 0xe0) | (random.below(2) << 4));
    // The previous contents of these registers are the upper half of a command of 48 bits.
    for (let round = random.below(2); round >= 0; round--) {
      this.#machine.portOut(
        command + 1,
        1,
        mostly(random, () => random.pick([0, 1, 2, 3])),
      );
      this.#machine.portOut(
        command + 2,
        1,
        mostly(random, () => random.below(9)),
      );
      for (let i = 0; i < 3; i++)
        this.#machine.portOut(command + 3 + i, 1, round === 1 ? 0 : (block >>> (8 * i)) & 0xff);
    }
    this.#machine.portOut(command + 7, 1, code);
    if (code === PACKET && !random.oneIn(4)) this.#packet(command);
  }

  #packet(command: number): void {
    const random = this.#random;
    const packet = random.oneIn(8) ? random.bytes(12) : new Uint8Array(12);
    packet[0] = random.pick(PACKET_OPCODES);
    packet[4] = random.u32();
    packet[5] = random.below(130);
    packet[8] = random.below(8);
    for (let i = 0; i < 12; i += 2) this.#machine.portOut(command, 2, packet[i] | (packet[i + 1] << 8));
  }

  #moveData(command: number): void {
    const random = this.#random;
    const sizeBytes = random.pick([2, 2, 4]);
    const write = random.oneIn(3);
    for (let i = random.pick([1, 1, 10, 256]); i > 0; i--) {
      if (write) this.#machine.portOut(command, sizeBytes, i);
      else this.#machine.portIn(command, sizeBytes);
    }
  }

  #startBusMaster(channel: number): void {
    const random = this.#random;
    const table = mostly(random, () => 8 * random.below((RAM_PAGES * PAGE_SIZE) / 8));
    if (table < RAM_PAGES * PAGE_SIZE - 64) {
      const ram = this.#machine.ram(table);
      const view = new DataView(ram.buffer, ram.byteOffset, ram.length);
      const count = 1 + random.below(6);
      for (let i = 0; i < count; i++) {
        view.setUint32(
          8 * i,
          mostly(random, () => 2 * random.below((RAM_PAGES * PAGE_SIZE) / 2), 16),
          true,
        );
        const sizeBytes = mostly(random, () => random.pick([2, 512, 1024, 4096, 0]));
        view.setUint32(8 * i + 4, (sizeBytes & 0xffff) | (i === count - 1 ? 0x80000000 : 0), true);
      }
    }
    const base = BUS_MASTER_BASE + 8 * channel;
    this.#machine.portOut(base + 4, 4, table);
    this.#machine.portOut(base + 2, 1, random.oneIn(2) ? 0x66 : random.u32());
    this.#machine.portOut(base, 1, random.oneIn(8) ? random.u32() : 1 | (random.below(2) << 3));
    if (random.oneIn(3)) this.#machine.portOut(base, 1, 0);
  }

  #busMaster(offset: number, sizeBytes: number): void {
    if (this.#random.oneIn(2)) this.#machine.portIn(BUS_MASTER_BASE + offset, sizeBytes);
    else this.#machine.portOut(BUS_MASTER_BASE + offset, sizeBytes, this.#random.u32());
  }

  #configure(): void {
    const random = this.#random;
    const devfn = random.oneIn(3) ? random.below(256) : IDE_DEVFN;
    const offset =
      mostly(random, () => random.pick([4, 6, 0x0c, 0x20, 0x20, 0x24, 0x3c, 0x40, 0x42, 0x44, 0x48])) & 0xff;
    this.#select(devfn, offset);
    const sizeBytes = random.pick([1, 2, 4]);
    if (random.oneIn(3)) this.#machine.portIn(CONFIG_DATA + (offset & 3), sizeBytes);
    else this.#machine.portOut(CONFIG_DATA + (offset & 3), sizeBytes, edgeValue(random));
  }

  #select(devfn: number, offset: number): void {
    this.#machine.portOut(CONFIG_ADDRESS, 4, (0x80000000 | (devfn << 8) | (offset & 0xfc)) >>> 0);
  }

  /** Whatever went before: decoded again, reset and asked, the disk says what it is. */
  async #startAnew(): Promise<void> {
    for (const [offset, sizeBytes, value] of [
      [0x20, 4, BUS_MASTER_BASE],
      [0x40, 2, 0x8000],
      [0x42, 2, 0x8000],
      [0x04, 2, 0x0005],
    ] as const) {
      this.#select(IDE_DEVFN, offset);
      this.#machine.portOut(CONFIG_DATA + (offset & 3), sizeBytes, value);
    }
    const { command, control } = CHANNELS[0];
    for (const channel of [0, 1]) this.#machine.portOut(BUS_MASTER_BASE + 8 * channel, 1, 0);
    this.#machine.portOut(control, 1, SRST);
    await this.#machine.settle();
    this.#machine.portOut(control, 1, 0);
    await this.#machine.settle();
    this.#machine.portOut(command + 6, 1, 0xa0);
    const idle = this.#machine.portIn(command + STATUS, 1);
    expectAlways((idle & (BSY | DRQ)) === 0, () => `after a reset the status is ${idle.toString(16)}`);
    this.#machine.portOut(command + STATUS, 1, IDENTIFY_DEVICE);
    await this.#machine.settle();
    const status = this.#machine.portIn(command + STATUS, 1);
    expectAlways(
      (status & (BSY | DRQ | ERR)) === DRQ,
      () => `IDENTIFY DEVICE ends with status ${status.toString(16)}`,
    );
    const words = Array.from({ length: 256 }, () => this.#machine.portIn(command, 2));
    expectAlways(
      words[60] + words[61] * 65536 === DISK_BYTES / 512,
      'IDENTIFY DEVICE names another capacity',
    );
    const after = this.#machine.portIn(command + STATUS, 1);
    expectAlways(
      (after & (BSY | DRQ | ERR)) === 0,
      () => `after its data the status is ${after.toString(16)}`,
    );
  }
}

function drives(random: Random): IdeDriveOptions[] {
  const medium = (logicalSectorBytes: number) =>
    createRamDisk({ sizeBytes: DISK_BYTES, id: '6f1e2d3c-0000-4000-8000-00000000d15c', logicalSectorBytes });
  return [
    { channel: 0, position: 'master', kind: 'disk', disk: medium(512) },
    { channel: 0, position: 'slave', kind: 'dvd', disk: random.oneIn(3) ? undefined : medium(2048) },
    { channel: 1, position: 'master', kind: 'dvd', disk: medium(2048) },
  ];
}
