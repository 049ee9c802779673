import {
  GpaAccess,
  HvStatus,
  type HypercallFrame,
  Hypervisor,
  type MaybePromise,
  PAGE_SIZE,
  PageArena,
  type Partition,
  type PartitionPorts,
  PartitionProperty,
  type ProcessorKind,
  type ProcessorOptions,
  type Qword,
  RootPorts,
  VirtualClock,
  type VirtualProcessor,
  type Vp,
  VpExit,
} from '@kensho/core';
import { expectAlways } from './target.ts';

/** Pages that the guest cannot see, around those that it can: nothing may ever change them. */
const GUARD_PAGES = 2;
const GUARD_BYTE = 0xa5;

const MSR_GUEST_OS_ID = 0x40000000;
const MSR_HYPERCALL = 0x40000001;
const KNOWN_STATUSES: ReadonlySet<number> = new Set(Object.values(HvStatus));

/** Rounds of work and timers that one action may cause. */
const MAX_ROUNDS = 1000;

/** A processor that runs nothing: what a guest does, the case does by calling its VPs' intercepts. */
class IdleProcessor implements VirtualProcessor {
  readonly instructionsRetired = 0;
  /** What the hypervisor last said. */
  interruptPending = false;

  run(): VpExit {
    return VpExit.HALT;
  }
  requestExit(): void {}
  setInterruptPending(pending: boolean): void {
    this.interruptPending = pending;
  }
  injectNmi(): void {}
  init(): void {}
  startup(): void {}
  getRegister(): boolean {
    return false;
  }
  setRegister(): boolean {
    return false;
  }
  flushTlb(): void {}
}

/** The memory of cases, one after another: allocated once, wiped for each. */
export class MachineMemory {
  #buffer = new ArrayBuffer(0);

  /** Memory of that many pages, all zero. What had it before must not use it any more. */
  take(pageCount: number): PageArena {
    const sizeBytes = pageCount * PAGE_SIZE;
    if (this.#buffer.byteLength === sizeBytes) new Uint8Array(this.#buffer).fill(0);
    else this.#buffer = new ArrayBuffer(sizeBytes);
    return new PageArena(this.#buffer, 0, pageCount);
  }
}

export interface FuzzMachineOptions {
  readonly memory: MachineMemory;
  /** RAM, from guest page 0 on; at most 160. */
  readonly ramPages: number;
  /** @default 1 */
  readonly vpCount?: number;
  /** Upper half of the privilege mask. @default what a child has */
  readonly hypercallPrivileges?: number;
}

/**
 * A partition of the real hypervisor whose guest is the case itself. Time is the case's too: {@link advance}.
 *
 * Around the guest's RAM lie pages that are not its own; {@link end} checks them, and that nothing is left over.
 */
export class FuzzMachine {
  readonly partition: Partition;
  readonly ports: PartitionPorts;
  readonly ramPages: number;
  readonly #hypervisor = new Hypervisor();
  readonly #clock = new VirtualClock();
  readonly #processors: IdleProcessor[] = [];
  readonly #arenaFirst: number;
  readonly #guards: readonly number[];
  readonly #frame: HypercallFrame = { control: qword(), input: qword(), output: qword(), result: qword() };

  constructor({ memory, ramPages, vpCount = 1, hypercallPrivileges }: FuzzMachineOptions) {
    const { root } = this.#hypervisor;
    this.ramPages = ramPages;
    this.partition = this.#hypervisor.createPartition(root, {
      name: 'fuzz',
      processor: this.#processorKind(memory),
      memoryBytes: ramPages * PAGE_SIZE,
      devicePages: 2 * GUARD_PAGES,
      vpCount,
      clock: this.#clock,
    });
    if (hypercallPrivileges !== undefined) {
      const flags = BigInt(hypercallPrivileges) << 32n;
      this.#hypervisor.setPartitionProperty(root, this.partition, PartitionProperty.PRIVILEGE_FLAGS, flags);
    }
    this.#hypervisor.initializePartition(root, this.partition);
    const { arena } = this.partition.gpa;
    const before = arena.take(GUARD_PAGES);
    this.#arenaFirst = arena.take(ramPages);
    const after = arena.take(GUARD_PAGES);
    this.#guards = [before, after];
    for (const guard of this.#guards) {
      arena.bytes.fill(GUARD_BYTE, guard * PAGE_SIZE, (guard + GUARD_PAGES) * PAGE_SIZE);
    }
    // Guest pages and arena pages differ, so that one taken for the other shows.
    this.#hypervisor.mapGpaPages(root, this.partition, 0, this.#arenaFirst, ramPages, GpaAccess.ALL);
    for (let index = 0; index < vpCount; index++) this.#hypervisor.createVp(root, this.partition, index);
    this.ports = new RootPorts(this.#hypervisor, this.partition);
  }

  vp(index = 0): Vp {
    return this.partition.vps[index];
  }

  /** Whether the VP was told that an interrupt can be delivered. */
  interruptPending(vpIndex: number): boolean {
    return this.#processors[vpIndex].interruptPending;
  }

  nowNs(): number {
    return this.#clock.nowNs();
  }

  /** RAM behind a guest-physical address, to the end of RAM; overlays are not seen. */
  ram(gpa: number): Uint8Array {
    const start = this.#arenaFirst * PAGE_SIZE;
    return this.partition.gpa.arena.bytes.subarray(start + gpa, start + this.ramPages * PAGE_SIZE);
  }

  /** The arena page of a guest page that is RAM. */
  arenaPage(guestPage: number): number {
    return this.#arenaFirst + guestPage;
  }

  readMsr(msr: number, vpIndex = 0): Qword | undefined {
    const value = qword();
    return this.vp(vpIndex).msrRead(msr, value) ? value : undefined;
  }

  writeMsr(msr: number, lo: number, hi = 0, vpIndex = 0): boolean {
    return this.vp(vpIndex).msrWrite(msr, { lo: lo >>> 0, hi: hi >>> 0 });
  }

  /** Reads a port; a value that fits the access. */
  portIn(port: number, sizeBytes: number): number {
    const value = this.vp().portRead(port, sizeBytes);
    expectAlways(
      Number.isInteger(value) && value >= 0 && value < 2 ** (8 * sizeBytes),
      () => `port ${port.toString(16)}, ${sizeBytes} bytes: ${value}`,
    );
    return value;
  }

  /** Writes the low bytes of a value to a port. */
  portOut(port: number, sizeBytes: number, value: number): void {
    this.vp().portWrite(port, sizeBytes, (value & (2 ** (8 * sizeBytes) - 1)) >>> 0);
  }

  /** Names the guest's system and places the hypercall page, as every guest does first. */
  enableHypercalls(guestPage: number): void {
    this.writeMsr(MSR_GUEST_OS_ID, 0x10000, 0x81ff0000);
    expectAlways(this.writeMsr(MSR_HYPERCALL, guestPage * PAGE_SIZE + 1), 'the hypercall page is refused');
  }

  /** Makes a hypercall; the result, whose status is one that the specification knows. */
  hypercall(controlLo: number, controlHi: number, input: Qword, output: Qword, vpIndex = 0): Qword {
    const frame = this.#frame;
    set(frame.control, controlLo, controlHi);
    set(frame.input, input.lo, input.hi);
    set(frame.output, output.lo, output.hi);
    set(frame.result, 0xdead_beef, 0xdead_beef);
    expectAlways(this.vp(vpIndex).hypercall(frame), 'hypercalls are enabled, and VMCALL raises #UD');
    const { result } = frame;
    expectAlways(
      KNOWN_STATUSES.has(result.lo),
      () => `status ${result.lo} is not one of the specification's`,
    );
    expectAlways(result.hi <= 0xfff, () => `${result.hi} reps completed`);
    return result;
  }

  /**
   * Lets time pass: timers run one after another when they are due, with their work. A guest may have timers of
   * 100 ns: after some rounds the rest of the time passes at once.
   */
  async advance(ns: number): Promise<void> {
    const untilNs = this.nowNs() + ns;
    const { timers } = this.partition;
    for (let round = 0; round < MAX_ROUNDS && timers.nextNs() <= untilNs; round++) {
      this.#clock.advance(Math.max(0, timers.nextNs() - this.nowNs()));
      timers.runDue();
      await this.settle();
    }
    this.stall(untilNs - this.nowNs());
  }

  /** Lets time pass as while the VPs are away: timers run once it is over. */
  stall(ns: number): void {
    this.#clock.advance(ns);
    this.partition.timers.runDue();
  }

  /** Runs the host's work until nothing is left, operations of backends included. */
  settle(rounds = MAX_ROUNDS): MaybePromise<void> {
    const { work } = this.partition;
    for (let left = rounds; left > 0; left--) {
      if (work.ready) work.run();
      else if (work.outstanding > 0) {
        return work.wait(Number.POSITIVE_INFINITY).then(() => this.settle(left - 1));
      }
      // The guest is the case, which waits: there is nothing that its VPs have to do.
      else if (!work.runWhenIdle()) return;
    }
    expectAlways(false, 'the host never comes to rest');
  }

  /** Runs the host's work until a promise of the host's settles. */
  serve<T>(until: Promise<T>): Promise<T> {
    return this.partition.runner.serve(until);
  }

  /** Deletes the partition: nothing of it may be left, and nothing beside its RAM may have changed. */
  end(): void {
    const { root } = this.#hypervisor;
    this.checkGuards();
    this.#hypervisor.finalizePartition(root, this.partition);
    expectAlways(this.partition.timers.nextNs() === Infinity, 'a timer outlived its partition');
    this.#hypervisor.deletePartition(root, this.partition);
    expectAlways(
      this.#hypervisor.getNextChildPartition(root, 0) === undefined,
      'the partition is still there',
    );
    expectAlways(
      root.connections.signalEvent(1, 0) === HvStatus.INVALID_CONNECTION_ID,
      'the root still has a connection to the partition',
    );
  }

  /** Checks the pages that nobody may touch. */
  checkGuards(): void {
    const { arena } = this.partition.gpa;
    for (const guard of this.#guards) {
      const bytes = arena.bytes.subarray(guard * PAGE_SIZE, (guard + GUARD_PAGES) * PAGE_SIZE);
      expectAlways(
        Buffer.compare(bytes, GUARD) === 0,
        'memory that does not belong to the guest has changed',
      );
    }
  }

  #processorKind(memory: MachineMemory): ProcessorKind {
    return {
      id: 'fuzz',
      description: 'runs nothing',
      create: ({ memoryPages, overlayPages }: ProcessorOptions) => ({
        arena: memory.take(memoryPages + overlayPages),
        createVp: () => {
          const processor = new IdleProcessor();
          this.#processors.push(processor);
          return processor;
        },
        dispose: () => {},
      }),
    };
  }
}

const GUARD = new Uint8Array(GUARD_PAGES * PAGE_SIZE).fill(GUARD_BYTE);

function qword(): Qword {
  return { lo: 0, hi: 0 };
}

function set(target: Qword, lo: number, hi: number): void {
  target.lo = lo >>> 0;
  target.hi = hi >>> 0;
}
