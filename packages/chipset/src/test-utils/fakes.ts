import {
  Counters,
  GpaSpace,
  GuestFaults,
  type InterruptLine,
  type InterruptLines,
  type IoPortSpace,
  KenshoError,
  PageArena,
  type PartitionControl,
  type PartitionEnd,
  type PortRegion,
  silentLogger,
  TimerQueue,
  VirtualClock,
  type VirtualInterrupt,
  WorkQueue,
} from '@kensho/core';

/** I/O ports that refuse overlaps and answer all ones where nothing is. */
export class FakePorts implements IoPortSpace {
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
  in(port: number, sizeBytes = 1): number {
    const region = this.#find(port);
    if (region !== undefined && port + sizeBytes <= region.port + region.count) {
      return region.handler.read(port - region.port, sizeBytes);
    }
    if (sizeBytes === 1) return 0xff;
    let value = 0;
    for (let i = 0; i < sizeBytes; i++) value |= this.in(port + i) << (8 * i);
    return value >>> 0;
  }

  out(port: number, value: number, sizeBytes = 1): void {
    const region = this.#find(port);
    if (region !== undefined && port + sizeBytes <= region.port + region.count) {
      region.handler.write(port - region.port, sizeBytes, value);
    } else if (sizeBytes > 1) {
      for (let i = 0; i < sizeBytes; i++) this.out(port + i, (value >>> (8 * i)) & 0xff);
    }
  }

  #find(port: number): PortRegion | undefined {
    return this.regions.find((r) => port >= r.port && port < r.port + r.count);
  }
}

/** Records what the board asks of its partition. */
export class FakeControl implements PartitionControl {
  readonly asserted: VirtualInterrupt[] = [];
  readonly ends: PartitionEnd[] = [];
  extInt = false;
  extIntChanges = 0;
  acknowledge: () => number = () => -1;
  #eoi: (vector: number) => void = () => {};

  assertVirtualInterrupt(interrupt: VirtualInterrupt): void {
    this.asserted.push(interrupt);
  }
  onEndOfInterrupt(listener: (vector: number) => void): void {
    this.#eoi = listener;
  }
  setExternalInterruptSource(acknowledge: () => number): void {
    this.acknowledge = acknowledge;
  }
  setExternalInterrupt(level: boolean): void {
    this.extInt = level;
    this.extIntChanges++;
  }
  end(end: PartitionEnd): void {
    this.ends.push(end);
  }

  endOfInterrupt(vector: number): void {
    this.#eoi(vector);
  }
}

/** Interrupt wires that remember: levels, and how often each rose. */
export class FakeLines implements InterruptLines {
  readonly levels: boolean[] = new Array(24).fill(false);
  readonly rises: number[] = new Array(24).fill(0);

  line(gsi: number): InterruptLine {
    return {
      set: (level) => {
        if (level && !this.levels[gsi]) this.rises[gsi]++;
        this.levels[gsi] = level;
      },
    };
  }
}

/** What a board stands on, without a hypervisor. */
export function fakeServices() {
  const counters = new Counters();
  const clock = new VirtualClock();
  const timers = new TimerQueue(clock);
  return {
    counters,
    faults: new GuestFaults(counters, silentLogger),
    ports: new FakePorts(),
    gpa: new GpaSpace(PageArena.allocate(1)),
    control: new FakeControl(),
    interruptLines: new FakeLines(),
    clock,
    timers,
    work: new WorkQueue(clock),
    /** Moves time on to `atNs`, stopping at each timer on the way. */
    runTo(atNs: number): void {
      for (let nextNs = timers.nextNs(); nextNs <= atNs; nextNs = timers.nextNs()) {
        clock.advance(Math.max(0, nextNs - clock.nowNs()));
        timers.runDue();
      }
      clock.advance(atNs - clock.nowNs());
    },
  };
}
