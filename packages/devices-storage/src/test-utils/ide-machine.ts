import { Board, devfnOf } from '@kensho/chipset';
import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  GuestFaults,
  type InterruptLines,
  type IoPortSpace,
  KenshoError,
  PAGE_SIZE,
  PageArena,
  type PartitionControl,
  type PortRegion,
  silentLogger,
  VirtualClock,
  WorkQueue,
} from '@kensho/core';
import { IdeController, type IdeDriveOptions } from '../emulated/ide-controller.ts';

export const MEMORY_PAGES = 1024;

class Ports implements IoPortSpace {
  readonly regions: PortRegion[] = [];

  add(region: PortRegion): void {
    const other = this.regions.find(
      (r) => region.port < r.port + r.count && r.port < region.port + region.count,
    );
    if (other !== undefined) throw new KenshoError('PORTS_IN_USE', `${region.name} covers ${other.name}`);
    this.regions.push(region);
  }

  remove(region: PortRegion): void {
    const at = this.regions.indexOf(region);
    if (at >= 0) this.regions.splice(at, 1);
  }

  /** An access beyond a region's end reaches each byte's own owner. */
  read(port: number, sizeBytes: number): number {
    const region = this.#find(port);
    if (region !== undefined && port + sizeBytes <= region.port + region.count) {
      return region.handler.read(port - region.port, sizeBytes);
    }
    if (sizeBytes === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value |= this.read(port + i, 1) << (8 * i);
    return value >>> 0;
  }

  write(port: number, sizeBytes: number, value: number): void {
    const region = this.#find(port);
    if (region !== undefined && port + sizeBytes <= region.port + region.count) {
      region.handler.write(port - region.port, sizeBytes, value);
    } else if (sizeBytes > 1) {
      for (let i = 0; i < sizeBytes; i++) this.write(port + i, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  #find(port: number): PortRegion | undefined {
    return this.regions.find((r) => port >= r.port && port < r.port + r.count);
  }
}

const noControl: PartitionControl = {
  assertVirtualInterrupt() {},
  onEndOfInterrupt() {},
  setExternalInterruptSource() {},
  setExternalInterrupt() {},
  end() {},
};

/** A board with an IDE controller on it, guest memory, and interrupt lines that remember. */
export class IdeMachine {
  readonly counters = new Counters();
  readonly gpa: GpaSpace;
  readonly work = new WorkQueue(new VirtualClock());
  readonly controller: IdeController;
  /** Levels of GSI 14 and 15, and how often each has risen. */
  readonly levels = new Map<number, boolean>();
  readonly rises = new Map<number, number>();
  onRise: (gsi: number) => void = () => {};
  /** Port accesses of the guest. */
  accesses = 0;
  readonly #ports = new Ports();

  constructor(drives: readonly IdeDriveOptions[]) {
    const faults = new GuestFaults(this.counters, silentLogger);
    const arena = PageArena.allocate(MEMORY_PAGES);
    this.gpa = new GpaSpace(arena);
    // Neighbouring guest pages lie apart in the arena, as a real partition's may.
    for (let page = 0; page < MEMORY_PAGES; page++) {
      this.gpa.map(page, MEMORY_PAGES - 1 - page, 1, GpaAccess.ALL);
    }
    const board = new Board({ ports: this.#ports, gpa: this.gpa, control: noControl, faults });
    const interruptLines: InterruptLines = {
      line: (gsi) => ({
        set: (level) => {
          const before = this.levels.get(gsi) ?? false;
          this.levels.set(gsi, level);
          if (before || !level) return;
          this.rises.set(gsi, (this.rises.get(gsi) ?? 0) + 1);
          this.onRise(gsi);
        },
      }),
    };
    this.controller = new IdeController(
      {
        id: 'ide0',
        work: this.work,
        counters: this.counters,
        faults,
        log: silentLogger,
        ports: this.#ports,
        pciBus: board.pciBus,
        interruptLines,
        dma: new DmaDomain('ide0', 'passthrough', this.gpa, this.counters, faults),
      },
      drives,
    );
  }

  in(port: number, sizeBytes = 1): number {
    this.accesses++;
    return this.#ports.read(port, sizeBytes);
  }

  out(port: number, value: number, sizeBytes = 1): void {
    this.accesses++;
    this.#ports.write(port, sizeBytes, value);
  }

  readConfig(offset: number, sizeBytes: number, devfn = devfnOf(7, 1)): number {
    this.out(0xcf8, (0x80000000 | (devfn << 8) | (offset & 0xfc)) >>> 0, 4);
    return this.in(0xcfc + (offset & 3), sizeBytes);
  }

  writeConfig(offset: number, sizeBytes: number, value: number, devfn = devfnOf(7, 1)): void {
    this.out(0xcf8, (0x80000000 | (devfn << 8) | (offset & 0xfc)) >>> 0, 4);
    this.out(0xcfc + (offset & 3), value, sizeBytes);
  }

  memory(gpa: number, sizeBytes: number): Uint8Array {
    const bytes = new Uint8Array(sizeBytes);
    if (!this.gpa.read(gpa, bytes)) throw new Error('no such memory');
    return bytes;
  }

  store(gpa: number, bytes: Uint8Array): void {
    if (!this.gpa.write(gpa, bytes)) throw new Error('no such memory');
  }

  /** Writes a PRD table at `gpa`; the last entry gets the end mark unless told otherwise. */
  prdTable(gpa: number, regions: readonly { address: number; byteCount: number }[], end = true): void {
    const data = new DataView(new ArrayBuffer(8 * regions.length));
    regions.forEach(({ address, byteCount }, i) => {
      data.setUint32(8 * i, address, true);
      data.setUint16(8 * i + 4, byteCount, true);
      data.setUint16(8 * i + 6, end && i === regions.length - 1 ? 0x8000 : 0, true);
    });
    this.store(gpa, new Uint8Array(data.buffer));
  }

  /** Lets promises of the backend settle and delivers them. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) {
      await Promise.resolve();
      this.work.run();
    }
  }

  get faults(): Record<string, number> {
    return Object.fromEntries(
      Object.entries(this.counters.snapshot()).filter(([name]) => name.startsWith('fault.')),
    );
  }
}

export const page = (n: number): number => n * PAGE_SIZE;
