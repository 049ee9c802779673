import { VirtualClock } from './clock.ts';
import type { Counters } from './counters.ts';
import { KenshoError } from './errors.ts';
import { DEBUGGER } from './hypervisor/debugger.ts';
import { Hypervisor } from './hypervisor/hypervisor.ts';
import type { Partition } from './hypervisor/partition.ts';
import { RootPorts } from './hypervisor/root-ports.ts';
import {
  CLOCK,
  COUNTERS,
  DMA,
  GPA_SPACE,
  GUEST_FAULTS,
  IO_PORTS,
  LOGGER,
  PARTITION_CONTROL,
  PARTITION_EVENTS,
  PARTITION_INFO,
  type PartitionEnd,
  PORTS,
  PROCESSOR_ENGINE,
  TIMERS,
  VP_REGISTERS,
  WORK,
} from './hypervisor/services.ts';
import { type Logger, silentLogger } from './logger.ts';
import { PAGE_SIZE } from './memory/arena.ts';
import { GpaAccess } from './memory/gpa-space.ts';
import { type Composition, compose, type Scope } from './plugin/composer.ts';
import { TeardownStack } from './plugin/lifecycle.ts';
import {
  type Contributions,
  DEVICES,
  type Device,
  type DeviceSpec,
  GUESTS,
  type Plugin,
  PROCESSORS,
  type Resolver,
} from './plugin/plugin.ts';
import type { Token } from './plugin/token.ts';

/** The services that every partition has, whatever plugins there are. */
const PARTITION_SERVICES: readonly Token<unknown>[] = [
  CLOCK,
  COUNTERS,
  DEBUGGER,
  DMA,
  GPA_SPACE,
  GUEST_FAULTS,
  IO_PORTS,
  LOGGER,
  PARTITION_CONTROL,
  PARTITION_EVENTS,
  PARTITION_INFO,
  PORTS,
  PROCESSOR_ENGINE,
  TIMERS,
  VP_REGISTERS,
  WORK,
];

export interface HostOptions {
  readonly plugins: readonly Plugin[];
  /** @default silent */
  readonly logger?: Logger;
}

/** A partition, by what plugins contribute. */
export interface PartitionConfig {
  readonly name: string;
  /** Id of a processor. */
  readonly processor: string;
  readonly memoryBytes: number;
  /** Pages beside RAM for ROMs, tables and frame buffers. @default 0 */
  readonly devicePages?: number;
  /** @default 1 */
  readonly vpCount?: number;
  /** A virtual clock makes runs repeat. @default 'real' */
  readonly clock?: 'real' | 'virtual';
  /** Where random numbers for the guest begin. @default 1 with a virtual clock, else they are the system's */
  readonly randomSeed?: number;
  /** Whether the hypervisor shows itself to the guest. @default true */
  readonly enlightened?: boolean;
  /** Whether guest memory is a SharedArrayBuffer. @default false */
  readonly sharedMemory?: boolean;
  /** Whether a crash that the guest reports ends the run, or is only told to who listens. @default 'end' */
  readonly onCrash?: 'end' | 'report';
  /** Created in this order, stopped in reverse. */
  readonly devices: readonly DeviceSpec[];
  /** What is loaded before the VPs start. */
  readonly guest?: { readonly kind: string; readonly options?: unknown };
}

/**
 * Puts plugins together and makes a host of them: the root partition with its virtualization stack.
 * Throws KenshoError where plugins do not fit together, before anything is made.
 */
export function createHost(options: HostOptions): Promise<Host> {
  return Host.create(options);
}

/** The root's virtualization stack: creates partitions, gives them devices, runs and ends them. */
export class Host {
  readonly #composition: Composition;
  readonly #teardown: TeardownStack;
  readonly #hypervisor = new Hypervisor();
  readonly #logger: Logger;
  readonly #partitions = new Set<HostedPartition>();
  #closing: Promise<void> | undefined;

  static async create(options: HostOptions): Promise<Host> {
    const teardown = new TeardownStack();
    try {
      const composition = compose(options.plugins, { provided: PARTITION_SERVICES, teardown });
      return new Host(composition, teardown, options.logger ?? silentLogger);
    } catch (error) {
      await teardown.unwind();
      throw error;
    }
  }

  private constructor(composition: Composition, teardown: TeardownStack, logger: Logger) {
    this.#composition = composition;
    this.#teardown = teardown;
    this.#logger = logger;
  }

  /** What the plugins contribute. */
  get contributions(): Contributions {
    return this.#composition.contributions;
  }

  /**
   * Makes a partition ready to run. Where a step fails, what was made before it is ended again. Throws KenshoError
   * HOST_CLOSED.
   */
  async createPartition(config: PartitionConfig): Promise<HostedPartition> {
    this.#checkOpen();
    const teardown = new TeardownStack();
    let partition: Partition | undefined;
    try {
      partition = this.#makePartition(config, teardown);
      const scope = this.#composition.createPartitionScope(teardown);
      this.#bindServices(scope, partition);
      const hosted = new HostedPartition(partition, scope, this.contributions, teardown, () =>
        this.#partitions.delete(hosted),
      );
      await partition.runner.serve(this.#furnish(config, hosted, scope));
      this.#checkOpen();
      this.#partitions.add(hosted);
      return hosted;
    } catch (error) {
      const unwinding = teardown.unwind();
      await (partition?.runner.serve(unwinding) ?? unwinding).catch((failure) =>
        this.#logger.error(`partition ${config.name}: its end failed too`, { error: failure }),
      );
      throw error;
    }
  }

  /** Ends every partition, then the host's own services. Resolves when that is done, also for those who ask again. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const closing = new TeardownStack();
    closing.push('host services', () => this.#teardown.unwind());
    for (const partition of this.#partitions) closing.push('partition', () => partition.close());
    await closing.unwind();
  }

  #checkOpen(): void {
    if (this.#closing === undefined) return;
    throw new KenshoError('HOST_CLOSED', 'the host is closed: create another');
  }

  async #furnish(config: PartitionConfig, hosted: HostedPartition, scope: Scope): Promise<void> {
    for (const spec of config.devices) await hosted.createDevice(spec);
    await hosted.startDevices();
    if (config.guest !== undefined) {
      await this.contributions.get(GUESTS, config.guest.kind).load(scope, config.guest.options);
    }
  }

  #makePartition(config: PartitionConfig, teardown: TeardownStack): Partition {
    const hypervisor = this.#hypervisor;
    const { root } = hypervisor;
    const partition = hypervisor.createPartition(root, {
      name: config.name,
      processor: this.contributions.get(PROCESSORS, config.processor),
      memoryBytes: config.memoryBytes,
      devicePages: config.devicePages,
      vpCount: config.vpCount,
      enlightened: config.enlightened,
      sharedMemory: config.sharedMemory,
      onCrash: config.onCrash,
      clock: config.clock === 'virtual' ? new VirtualClock() : undefined,
      randomSeed: config.randomSeed,
      logger: this.#logger,
    });
    teardown.push(`partition ${config.name}`, () => {
      hypervisor.finalizePartition(root, partition);
      hypervisor.deletePartition(root, partition);
    });
    hypervisor.initializePartition(root, partition);
    for (const { gpa, sizeBytes } of partition.ram) {
      const count = sizeBytes / PAGE_SIZE;
      const arenaPage = partition.gpa.arena.take(count);
      hypervisor.mapGpaPages(root, partition, gpa / PAGE_SIZE, arenaPage, count, GpaAccess.ALL);
    }
    for (let index = 0; index < partition.info.vpCount; index++) hypervisor.createVp(root, partition, index);
    return partition;
  }

  #bindServices(scope: Scope, partition: Partition): void {
    scope.bind(CLOCK, partition.clock);
    scope.bind(COUNTERS, partition.counters);
    scope.bind(DEBUGGER, partition.debugger);
    scope.bind(DMA, partition.dma);
    scope.bind(GPA_SPACE, partition.gpa);
    scope.bind(GUEST_FAULTS, partition.faults);
    scope.bind(IO_PORTS, partition.ioPorts);
    scope.bind(LOGGER, partition.logger);
    scope.bind(PARTITION_CONTROL, partition.control);
    scope.bind(PARTITION_EVENTS, partition.events);
    scope.bind(PARTITION_INFO, partition.info);
    scope.bind(PORTS, new RootPorts(this.#hypervisor, partition));
    scope.bind(PROCESSOR_ENGINE, partition.engine);
    scope.bind(TIMERS, partition.timers);
    const hypervisor = this.#hypervisor;
    scope.bind(VP_REGISTERS, {
      get: (vpIndex, names) => hypervisor.getVpRegisters(hypervisor.root, partition, vpIndex, names),
      set: (vpIndex, values) => hypervisor.setVpRegisters(hypervisor.root, partition, vpIndex, values),
    });
    scope.bind(WORK, partition.work);
  }
}

interface LiveDevice {
  readonly id: string;
  readonly device: Device;
  started: boolean;
  /** Set once the device is being stopped, whoever asked for it. */
  stopping: Promise<void> | undefined;
  /** Takes the device off the partition's teardown. */
  readonly forget: () => void;
}

/** A partition with its devices and its guest. */
export class HostedPartition {
  /** The partition's services, as its devices see them. */
  readonly services: Resolver;
  readonly #partition: Partition;
  readonly #contributions: Contributions;
  readonly #teardown: TeardownStack;
  readonly #onClosed: () => void;
  /** By id; a device that is being stopped keeps its id until that is done. */
  readonly #devices = new Map<string, LiveDevice>();
  /** Devices that are being added while the partition is there, by id. */
  readonly #adding = new Map<string, Promise<void>>();
  #closing: Promise<void> | undefined;

  /** @param onClosed - called when nothing of the partition is left */
  constructor(
    partition: Partition,
    services: Resolver,
    contributions: Contributions,
    teardown: TeardownStack,
    onClosed: () => void,
  ) {
    this.#partition = partition;
    this.services = services;
    this.#contributions = contributions;
    this.#teardown = teardown;
    this.#onClosed = onClosed;
  }

  get counters(): Counters {
    return this.#partition.counters;
  }

  /**
   * Runs the VPs until the partition ends, is stopped, or crashes. Throws what a device of ours throws, and KenshoError
   * ALREADY_RUNNING or PARTITION_CLOSED.
   */
  async run(): Promise<PartitionEnd> {
    this.#checkOpen();
    return this.#partition.runner.run();
  }

  /** Ends a run; {@link run} resolves with the reason `stopped`. */
  stop(): void {
    this.#partition.runner.stop();
  }

  /** Lets the VPs stand still; resolves when they do. */
  pause(): Promise<void> {
    return this.#partition.runner.pause();
  }

  resume(): void {
    this.#partition.runner.resume();
  }

  /**
   * Profiles the guest: calls back each time so many instructions have retired, naming the VP that retired the last of
   * them; VP_REGISTERS says where it is. One at a time; undefined ends it.
   */
  sample(everyInstructions: number, onSample: ((vpIndex: number) => void) | undefined): void {
    this.#partition.runner.sample(everyInstructions, onSample);
  }

  /**
   * Adds a device, also while the guest runs; one that does not start is taken away again. Throws KenshoError for what
   * its kind refuses, DUPLICATE_DEVICE and PARTITION_CLOSED.
   */
  async addDevice(spec: DeviceSpec): Promise<void> {
    this.#checkOpen();
    this.#checkFree(spec.id);
    const adding = this.#add(spec);
    this.#adding.set(spec.id, adding);
    try {
      await this.#partition.runner.serve(adding);
    } finally {
      this.#adding.delete(spec.id);
    }
  }

  /** A device, for what its kind can do beside starting and stopping. Throws KenshoError NO_DEVICE. */
  device(id: string): Device {
    return this.#live(id).device;
  }

  /** Takes a device away, also while the guest runs; resolves once nothing of it is left. Throws NO_DEVICE. */
  async removeDevice(id: string): Promise<void> {
    await this.#partition.runner.serve(this.#end(this.#live(id)));
  }

  /** Makes a device without starting it. */
  async createDevice(spec: DeviceSpec): Promise<void> {
    this.#checkFree(spec.id);
    await this.#create(spec);
  }

  /** Starts the devices that have not been started yet, in order. */
  async startDevices(): Promise<void> {
    for (const live of this.#devices.values()) if (!live.started) await start(live);
  }

  /**
   * Stops the run if there is one, ends the devices in reverse order, and deletes the partition. Resolves when that is
   * done, also for those who ask again.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.stop();
    // Who called run() hears of its failure there.
    const { runner } = this.#partition;
    await runner.whenEnded();
    try {
      await runner.serve(Promise.allSettled(this.#adding.values()));
      await runner.serve(this.#teardown.unwind());
    } finally {
      this.#onClosed();
    }
  }

  async #add(spec: DeviceSpec): Promise<void> {
    const live = await this.#create(spec);
    try {
      await start(live);
    } catch (error) {
      await this.#end(live).catch((failure) =>
        this.#partition.logger.error(`device ${spec.id}: its end failed too`, { error: failure }),
      );
      throw error;
    }
  }

  async #create(spec: DeviceSpec): Promise<LiveDevice> {
    const { id } = spec;
    const device = await this.#contributions.get(DEVICES, spec.kind).create(this.services, spec);
    const forget = this.#teardown.push(`device ${id}`, () => this.#end(live));
    const live: LiveDevice = { id, device, started: false, stopping: undefined, forget };
    this.#devices.set(id, live);
    return live;
  }

  /** Stops a device, once. */
  #end(live: LiveDevice): Promise<void> {
    live.stopping ??= (async () => {
      try {
        await live.device.stop?.();
      } finally {
        this.#devices.delete(live.id);
        live.forget();
      }
    })();
    return live.stopping;
  }

  #live(id: string): LiveDevice {
    const live = this.#devices.get(id);
    if (live !== undefined) return live;
    throw new KenshoError('NO_DEVICE', `partition ${this.#partition.info.name} has no device '${id}'`);
  }

  #checkFree(id: string): void {
    if (!this.#devices.has(id) && !this.#adding.has(id)) return;
    const { name } = this.#partition.info;
    throw new KenshoError('DUPLICATE_DEVICE', `partition ${name} already has a device '${id}'`);
  }

  #checkOpen(): void {
    if (this.#closing === undefined) return;
    throw new KenshoError(
      'PARTITION_CLOSED',
      `partition ${this.#partition.info.name} is closed: create another`,
    );
  }
}

async function start(live: LiveDevice): Promise<void> {
  live.started = true;
  await live.device.start?.();
}
