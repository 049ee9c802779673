import {
  Counters,
  DmaDomain,
  GpaAccess,
  GpaSpace,
  type GuestCpu,
  GuestEvent,
  GuestFault,
  GuestFaults,
  type GuestKernel,
  type GuestPages,
  type GuestTask,
  PAGE_SIZE,
  PageArena,
  silentLogger,
  TimerQueue,
  VirtualClock,
  WorkQueue,
} from '@kensho/core';
import type { VmbusServerDeps } from '../server/bus.ts';
import { FakePorts } from './fake-ports.ts';

/** Guest pages lie elsewhere than their arena pages, so that one taken for the other shows. */
const GUEST_PAGE_OFFSET = 0x1000;

/**
 * Just enough of a partition to join a bus and a guest in one process: memory, time, the run loop's work, ports,
 * and a guest kernel that runs generator tasks. No processor: the guest's hypercalls are plain calls.
 */
export class FakePartition {
  readonly clock = new VirtualClock();
  readonly timers = new TimerQueue(this.clock);
  readonly work = new WorkQueue(this.clock);
  readonly counters = new Counters();
  readonly faults = new GuestFaults(this.counters, silentLogger);
  readonly arena: PageArena;
  readonly gpa: GpaSpace;
  readonly ports: FakePorts;
  readonly kernel: GuestKernel;
  /** What the guest printed. */
  readonly console: string[] = [];
  /** Pages that the guest's drivers own now. */
  allocatedPages = 0;
  readonly #ready: GuestTask<unknown>[] = [];
  #sleeping = 0;

  /** @param options.messageSlots - messages that the guest's port holds before it is full */
  constructor(options: { pageCount?: number; vpCount?: number; messageSlots?: number } = {}) {
    this.arena = PageArena.allocate(options.pageCount ?? 1024);
    this.gpa = new GpaSpace(this.arena);
    this.ports = new FakePorts(options.vpCount ?? 2, options.messageSlots ?? 2);
    this.kernel = this.#createKernel();
  }

  /** What a bus in this partition stands on. */
  get serverDeps(): VmbusServerDeps {
    const { ports, work, timers, counters, faults } = this;
    return { ports, work, timers, counters, faults, log: silentLogger, dma: this.domain('vmbus') };
  }

  /** A device's domain that takes addresses as guest-physical. */
  domain(device: string): DmaDomain {
    return new DmaDomain(device, 'passthrough', this.gpa, this.counters, this.faults);
  }

  /** How often the guest was at fault, by kind; empty where it did nothing wrong. */
  get guestFaults(): Record<string, number> {
    const all = Object.entries(this.counters.snapshot());
    return Object.fromEntries(all.filter(([name, value]) => name.startsWith('fault.') && value > 0));
  }

  /** Runs host and guest in turns until neither has anything to do; time moves only for a guest that sleeps. */
  async settle(): Promise<void> {
    for (let round = 0; round < 10_000; round++) {
      this.timers.runDue();
      this.work.run();
      this.ports.deliver();
      const tasks = this.#ready.splice(0);
      for (const task of tasks) this.#step(task);
      if (tasks.length > 0 || this.work.ready || this.ports.hasPending) continue;
      if (this.work.outstanding > 0) await new Promise((resolve) => setImmediate(resolve));
      else if (this.#sleeping > 0) this.advance(this.timers.nextNs() - this.clock.nowNs());
      else return;
    }
    throw new Error('the partition does not come to rest');
  }

  /** Moves time on and runs what was due. */
  advance(ns: number): void {
    this.clock.advance(ns);
    this.timers.runDue();
  }

  /** Runs a guest task to its end, and everything else meanwhile. */
  async run<T>(task: GuestTask<T>): Promise<T> {
    const outcome: { result?: { value: T }; error?: unknown } = {};
    this.kernel.spawn('test', settled(task, outcome));
    await this.settle();
    if (outcome.error !== undefined) throw outcome.error;
    if (outcome.result === undefined)
      throw new Error('the guest task waits for something that does not come');
    return outcome.result.value;
  }

  #step(task: GuestTask<unknown>): void {
    const { done, value } = task.next();
    if (done === true) return;
    if (value instanceof GuestEvent) value.subscribe(() => this.#ready.push(task));
    else this.#ready.push(task);
  }

  #createKernel(): GuestKernel {
    const outOfReach = () => {
      throw new GuestFault('this guest has no machine around it');
    };
    return {
      cpu: { index: 0 } as GuestCpu,
      allocate: (sizeBytes) => this.#allocate(sizeBytes),
      spawn: (_name, task) => void this.#ready.push(task),
      connectInterrupt: outOfReach,
      sleep: (ns) => this.#sleep(ns),
      nowNs: () => this.clock.nowNs(),
      print: (line) => void this.console.push(line),
      publish: outOfReach,
      withdraw: outOfReach,
    };
  }

  *#sleep(ns: number): GuestTask {
    const over = new GuestEvent();
    this.#sleeping++;
    this.timers.at(this.clock.nowNs() + ns, () => over.set());
    yield* over.wait();
    this.#sleeping--;
  }

  #allocate(sizeBytes: number): GuestPages {
    const count = Math.ceil(sizeBytes / PAGE_SIZE);
    const first = this.arena.take(count);
    const firstPage = first + GUEST_PAGE_OFFSET;
    this.gpa.map(firstPage, first, count, GpaAccess.ALL);
    this.allocatedPages += count;
    return {
      gpa: firstPage * PAGE_SIZE,
      sizeBytes,
      pages: Array.from({ length: count }, (_, i) => firstPage + i),
      bytes: this.arena.bytes.subarray(first * PAGE_SIZE, first * PAGE_SIZE + sizeBytes),
      free: () => {
        this.gpa.unmap(firstPage, count);
        this.arena.give(first, count);
        this.allocatedPages -= count;
      },
    };
  }
}

function* settled<T>(task: GuestTask<T>, outcome: { result?: { value: T }; error?: unknown }): GuestTask {
  try {
    outcome.result = { value: yield* task };
  } catch (error) {
    outcome.error = error;
  }
}
