import { type Clock, RealClock, TimerQueue } from '../clock.ts';
import { Counters } from '../counters.ts';
import { HV_MAX_VPS } from '../enlightenment/features.ts';
import { PartitionPlatform } from '../enlightenment/platform.ts';
import { KenshoError } from '../errors.ts';
import type { HypercallTarget } from '../hypercall/definition.ts';
import { HypercallDispatcher } from '../hypercall/dispatcher.ts';
import { GuestFaults, type Logger, silentLogger } from '../logger.ts';
import { PAGE_SIZE } from '../memory/arena.ts';
import { GpaSpace } from '../memory/gpa-space.ts';
import type { ProcessorEngine, ProcessorKind, RegisterValue } from '../processor/contract.ts';
import { VpDebugger } from './debugger.ts';
import { DmaRemappingUnit } from './dma-remapping.ts';
import { InterceptTable } from './intercepts.ts';
import { IoPortTable } from './io-ports.ts';
import { PartitionEventSource } from './partition-events.ts';
import { ConnectionTable } from './port-table.ts';
import { CHILD_HYPERCALL_PRIVILEGES } from './privileges.ts';
import { MMIO_HOLE_START, type RamSlot, ramLayout } from './ram-layout.ts';
import { PartitionRunner } from './run-loop.ts';
import type { PartitionControl, PartitionInfo, VirtualInterrupt } from './services.ts';
import type { Vp } from './vp.ts';
import { WorkQueue } from './work.ts';

/** What a child partition is made of. */
export interface PartitionOptions {
  readonly name: string;
  readonly processor: ProcessorKind;
  /** RAM size; rounded up to whole pages. See {@link ramLayout}. */
  readonly memoryBytes: number;
  /** @default 1 */
  readonly vpCount?: number;
  /** Pages beside RAM for ROMs and frame buffers, which devices take from the arena. @default 0 */
  readonly devicePages?: number;
  /** Whether the hypervisor shows itself to the guest. @default true */
  readonly enlightened?: boolean;
  /** Whether guest memory is a SharedArrayBuffer. @default false */
  readonly sharedMemory?: boolean;
  /** The partition's own time; a virtual one must be a VirtualClock. @default the host's clock */
  readonly clock?: Clock;
  /** Rate of the guest's TSC, above 10 MHz. With a virtual clock, one instruction takes one tick of it. @default 1 GHz */
  readonly tscFrequencyHz?: number;
  /**
   * Where random numbers for the guest begin.
   * @default 1 with a virtual clock, so that runs repeat; with a real one they are the system's
   */
  readonly randomSeed?: number;
  /** Instructions of one slice; see PartitionRunner. */
  readonly sliceInstructions?: number;
  /**
   * What a crash that the guest reports does: `end` ends the run, `report` only tells the listeners, and the guest does
   * after it what it does. @default 'end'
   */
  readonly onCrash?: 'end' | 'report';
  /** @default silent */
  readonly logger?: Logger;
}

/** Pages of a GPA space, 64 GiB: what lies beyond is not within its bounds. */
export const GPA_SPACE_PAGES = 2 ** 24;

/** What fits into the GPA space beside the hole below 4 GiB. */
const MAX_MEMORY_BYTES = GPA_SPACE_PAGES * PAGE_SIZE - (4 * 2 ** 30 - MMIO_HOLE_START);

/** Rate of reference time; the reference TSC page can only scale down to it (TLFS, "Partition reference TSC"). */
const REFERENCE_TIME_HZ = 10_000_000;

/** Overlays of the hypervisor's own: hypercall and TSC page; SIM, SIEF and assist page of each VP. */
const OVERLAYS_PER_PARTITION = 2;
const OVERLAYS_PER_VP = 3;

/**
 * State of a partition (TLFS, "Partition states"): `created` while its early properties can be set; `active` from
 * its initialization on; `finalized` once nothing of it is left to run; `deleted`.
 */
export type PartitionState = 'created' | 'active' | 'finalized' | 'deleted';

/** Who makes calls of the partition API: the root, or a child that tries to. */
export interface PartitionPrincipal {
  readonly id: number;
  /** See HypercallPrivilege. */
  readonly hypercallPrivileges: number;
  /** Ports that it may send to. */
  readonly connections: ConnectionTable;
}

/**
 * A child partition: its memory, processors, port space, time and work. Hypervisor makes it and changes its state;
 * devices get its parts one by one, as services.
 */
export class Partition implements PartitionPrincipal, HypercallTarget {
  readonly id: number;
  readonly parent: PartitionPrincipal;
  readonly info: PartitionInfo;
  readonly ram: readonly RamSlot[];
  readonly clock: Clock;
  readonly timers: TimerQueue;
  readonly work: WorkQueue;
  readonly counters: Counters;
  readonly logger: Logger;
  readonly faults: GuestFaults;
  readonly events: PartitionEventSource = new PartitionEventSource();
  readonly engine: ProcessorEngine;
  readonly gpa: GpaSpace;
  readonly ioPorts: IoPortTable;
  readonly intercepts: InterceptTable;
  readonly dma: DmaRemappingUnit;
  readonly connections = new ConnectionTable();
  readonly platform: PartitionPlatform;
  readonly hypercalls: HypercallDispatcher;
  readonly control: PartitionControl;
  readonly runner: PartitionRunner;
  readonly debugger: VpDebugger;
  /** By index; without gaps once the virtualization stack has created them all. */
  readonly vps: Vp[] = [];

  /** Changed by Hypervisor only. */
  state: PartitionState = 'created';
  /** Changed by Hypervisor only. */
  hypercallPrivileges: number;

  readonly #endOfInterrupt: ((vector: number) => void)[] = [];

  /** Throws KenshoError INVALID_PARTITION_OPTIONS. */
  constructor(id: number, parent: PartitionPrincipal, options: PartitionOptions) {
    const vpCount = options.vpCount ?? 1;
    const enlightened = options.enlightened ?? true;
    const tscFrequencyHz = options.tscFrequencyHz ?? 1e9;
    checkOptions(options, vpCount, tscFrequencyHz);
    this.id = id;
    this.parent = parent;
    this.ram = ramLayout(options.memoryBytes);
    const ramBytes = this.ram.reduce((sum, slot) => sum + slot.sizeBytes, 0);
    this.clock = options.clock ?? new RealClock();
    const randomSeed = options.randomSeed ?? (this.clock.virtual ? 1 : undefined);
    this.info = {
      id,
      name: options.name,
      vpCount,
      memoryBytes: options.memoryBytes,
      enlightened,
      tscFrequencyHz,
      randomSeed,
    };
    this.hypercallPrivileges = enlightened ? CHILD_HYPERCALL_PRIVILEGES : 0;

    this.timers = new TimerQueue(this.clock);
    this.work = new WorkQueue(this.clock);
    this.counters = new Counters();
    this.logger = (options.logger ?? silentLogger).child(options.name);
    this.faults = new GuestFaults(this.counters, this.logger);
    this.engine = options.processor.create({
      memoryPages: ramBytes / PAGE_SIZE + (options.devicePages ?? 0),
      overlayPages: OVERLAYS_PER_PARTITION + OVERLAYS_PER_VP * vpCount,
      vpCount,
      sharedMemory: options.sharedMemory ?? false,
      clock: this.clock,
      tscFrequencyHz,
      randomSeed,
    });
    this.gpa = new GpaSpace(this.engine.arena);
    this.ioPorts = new IoPortTable(this.counters);
    this.intercepts = new InterceptTable(this.counters);
    this.dma = new DmaRemappingUnit(this.gpa, this.counters, this.faults);
    this.platform = new PartitionPlatform({
      gpa: this.gpa,
      timers: this.timers,
      counters: this.counters,
      faults: this.faults,
      vpCount,
      tscFrequencyHz,
      enlightened,
      hypercallPrivileges: () => this.hypercallPrivileges,
      gpaPageLimit: GPA_SPACE_PAGES,
      onCrash: (parameters, message) => {
        this.events.tell({ kind: 'crashed', parameters, message });
        if (options.onCrash !== 'report') this.control.end({ reason: 'crash', parameters, message });
      },
      onReset: () => this.control.end({ reason: 'reset' }),
      onEndOfInterrupt: (vector) => {
        for (const listener of this.#endOfInterrupt) listener(vector);
      },
    });
    this.hypercalls = new HypercallDispatcher({
      target: this,
      gpa: this.gpa,
      counters: this.counters,
      faults: this.faults,
    });
    this.runner = new PartitionRunner({
      vps: this.vps,
      timers: this.timers,
      work: this.work,
      counters: this.counters,
      nsPerInstruction: 1e9 / tscFrequencyHz,
      sliceInstructions: options.sliceInstructions,
      onPaused: (paused) => this.events.tell({ kind: paused ? 'paused' : 'resumed' }),
    });
    this.debugger = new VpDebugger({
      processor: this.engine.debug,
      runner: this.runner,
      gpa: this.gpa,
    });
    this.control = {
      assertVirtualInterrupt: (interrupt: VirtualInterrupt) => this.platform.deliver(interrupt),
      onEndOfInterrupt: (listener) => void this.#endOfInterrupt.push(listener),
      setExternalInterruptSource: (acknowledge) => this.platform.setExternalInterruptSource(acknowledge),
      setExternalInterrupt: (level) => this.platform.setExternalInterrupt(level),
      end: (end) => this.runner.end(end),
    };
  }

  get partitionId(): number {
    return this.id;
  }

  get vpCount(): number {
    return this.info.vpCount;
  }

  postMessage(connectionId: number, messageType: number, payload: Uint8Array) {
    return this.connections.postMessage(connectionId, messageType, payload);
  }

  signalEvent(connectionId: number, flagNumber: number) {
    return this.connections.signalEvent(connectionId, flagNumber);
  }

  sendIpi(vpIndex: number, vector: number): void {
    this.platform.vps[vpIndex].requestInterrupt(vector);
  }

  flushTlb(vpIndex: number, gvaPages: readonly { page: number; count: number }[] | undefined): void {
    this.vps[vpIndex]?.processor.flushTlb(gvaPages);
  }

  yieldVp(vpIndex: number): void {
    this.vps[vpIndex]?.processor.requestExit();
  }

  getVpRegister(vpIndex: number, register: number, value: RegisterValue): boolean {
    return this.vps[vpIndex]?.getRegister(register, value) ?? false;
  }

  setVpRegister(vpIndex: number, register: number, value: RegisterValue): boolean {
    return this.vps[vpIndex]?.setRegister(register, value) ?? false;
  }
}

function checkOptions(options: PartitionOptions, vpCount: number, tscFrequencyHz: number): void {
  const refuse = (what: string) => {
    throw new KenshoError('INVALID_PARTITION_OPTIONS', `partition ${options.name}: ${what}`);
  };
  if (!Number.isInteger(vpCount) || vpCount < 1 || vpCount > HV_MAX_VPS) {
    refuse(`${vpCount} VPs: give it between 1 and ${HV_MAX_VPS}`);
  }
  if (!(options.memoryBytes >= PAGE_SIZE && options.memoryBytes <= MAX_MEMORY_BYTES)) {
    refuse(`${options.memoryBytes} bytes of memory: give it between ${PAGE_SIZE} and ${MAX_MEMORY_BYTES}`);
  }
  if (!(tscFrequencyHz > REFERENCE_TIME_HZ))
    refuse(`a TSC of ${tscFrequencyHz} Hz: give it more than 10 MHz`);
  const devicePages = options.devicePages ?? 0;
  if (!Number.isInteger(devicePages) || devicePages < 0)
    refuse(`${devicePages} device pages: give it a whole number`);
}
