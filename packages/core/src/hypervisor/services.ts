import type { Clock, TimerQueue } from '../clock.ts';
import type { Counters } from '../counters.ts';
import type { PortRegion } from '../devices.ts';
import type { GuestFaults, Logger } from '../logger.ts';
import type { DmaDomain, DmaDomainKind } from '../memory/dma.ts';
import type { GpaSpace } from '../memory/gpa-space.ts';
import { type Token, token } from '../plugin/token.ts';
import type { ProcessorEngine } from '../processor/contract.ts';
import type { PartitionPorts } from './ports.ts';
import type { WorkQueue } from './work.ts';

/** The I/O port space of a partition. */
export interface IoPortSpace {
  /** Claims ports. Throws KenshoError PORTS_IN_USE, naming both, where they are taken. */
  add(region: PortRegion): void;
  remove(region: PortRegion): void;
}

/** An interrupt as a device or the board asserts it (HvCallAssertVirtualInterrupt). */
export interface VirtualInterrupt {
  readonly vector: number;
  /** Local APIC delivery mode (Intel SDM 3A, 10.6.1). */
  readonly deliveryMode: 'fixed' | 'lowest-priority' | 'smi' | 'nmi' | 'init' | 'extint';
  readonly levelTriggered: boolean;
  readonly logicalDestination: boolean;
  /** APIC id, or logical destination. */
  readonly destination: number;
}

/** How a run of a partition came to its end. */
export type PartitionEnd =
  | { readonly reason: 'power-off' }
  | { readonly reason: 'reset' }
  /** The guest's program came to its end, or said so at a port of the host's, with a code. */
  | { readonly reason: 'guest-ended'; readonly code?: number }
  | { readonly reason: 'triple-fault'; readonly vpIndex: number }
  | { readonly reason: 'crash'; readonly parameters: readonly bigint[]; readonly message: string | undefined }
  | { readonly reason: 'stopped' };

/** What happens to a partition as a whole. */
export type PartitionEvent =
  /** VPs and time stand still. */
  | { readonly kind: 'paused' }
  | { readonly kind: 'resumed' }
  /** The guest reported its crash through the crash MSRs: P0 to P4, and its message where it gave one. */
  | {
      readonly kind: 'crashed';
      readonly parameters: readonly bigint[];
      readonly message: string | undefined;
    };

/** Tells what happens to the partition as a whole. */
export interface PartitionEvents {
  /** Whether VPs and time stand still. */
  readonly paused: boolean;
  /** `listener` is called on the partition's thread; the result takes it away. */
  listen(listener: (event: PartitionEvent) => void): () => void;
}

/** What the board and devices may do to their partition as a whole. */
export interface PartitionControl {
  /** Asserts an interrupt at the local APICs. A level-triggered one stays until its EOI is reported. */
  assertVirtualInterrupt(interrupt: VirtualInterrupt): void;
  /** Called at the EOI of each level-triggered vector. */
  onEndOfInterrupt(listener: (vector: number) => void): void;
  /** The board's 8259 pair, asked when a local APIC takes an ExtINT; -1 means spurious. */
  setExternalInterruptSource(acknowledge: () => number): void;
  /** Raises or lowers the ExtINT line to VP 0. */
  setExternalInterrupt(level: boolean): void;
  /** Ends the run after the current slice. */
  end(end: PartitionEnd): void;
}

/** The DMA remapping unit: one domain for each device. */
export interface DmaRemapping {
  /** Attaches a domain to a device. Throws KenshoError DEVICE_ATTACHED where it has one. */
  attach(device: string, kind: DmaDomainKind): DmaDomain;
  /** The device's domain; one that is empty, and faults on every access, where none was attached. */
  domainOf(device: string): DmaDomain;
  detach(device: string): void;
}

/** The registers of a partition's VPs, by name (HvRegister); for those who load a guest or look into it. */
export interface VpRegisters {
  /** Throws HvError INVALID_VP_INDEX, or INVALID_PARAMETER for a register that the processor does not have. */
  get(vpIndex: number, names: readonly number[]): bigint[];
  /** Writes registers in order; throws as {@link get} does, with those before it written. */
  set(vpIndex: number, values: readonly (readonly [name: number, value: bigint])[]): void;
}

/** Where the board put its ACPI tables. */
export interface AcpiTables {
  /** Address of the RSDP; undefined where there are no tables, or not yet. */
  readonly rsdpGpa: number | undefined;
  /** The pages of RAM that hold tables, to be kept from the guest's allocator; none where they lie in ROM. */
  readonly ram: readonly { readonly gpa: number; readonly sizeBytes: number }[];
}

/** Identity of a partition. */
export interface PartitionInfo {
  readonly id: number;
  readonly name: string;
  readonly vpCount: number;
  /** RAM size. */
  readonly memoryBytes: number;
  /** Whether the hypervisor shows itself to the guest: CPUID leaves, synthetic MSRs, hypercalls. */
  readonly enlightened: boolean;
  readonly tscFrequencyHz: number;
  /** Where random numbers for the guest begin, so that runs repeat; undefined: they are the system's. */
  readonly randomSeed: number | undefined;
}

// The services of each partition.
export const PARTITION_INFO: Token<PartitionInfo> = token<PartitionInfo>('@kensho/core:PartitionInfo');
export const CLOCK: Token<Clock> = token<Clock>('@kensho/core:Clock');
export const TIMERS: Token<TimerQueue> = token<TimerQueue>('@kensho/core:TimerQueue');
export const WORK: Token<WorkQueue> = token<WorkQueue>('@kensho/core:WorkQueue');
export const COUNTERS: Token<Counters> = token<Counters>('@kensho/core:Counters');
export const LOGGER: Token<Logger> = token<Logger>('@kensho/core:Logger');
export const GUEST_FAULTS: Token<GuestFaults> = token<GuestFaults>('@kensho/core:GuestFaults');
export const IO_PORTS: Token<IoPortSpace> = token<IoPortSpace>('@kensho/core:IoPortSpace');
export const GPA_SPACE: Token<GpaSpace> = token<GpaSpace>('@kensho/core:GpaSpace');
export const DMA: Token<DmaRemapping> = token<DmaRemapping>('@kensho/core:DmaRemapping');
export const PORTS: Token<PartitionPorts> = token<PartitionPorts>('@kensho/core:PartitionPorts');
export const PARTITION_CONTROL: Token<PartitionControl> = token<PartitionControl>(
  '@kensho/core:PartitionControl',
);
export const PARTITION_EVENTS: Token<PartitionEvents> = token<PartitionEvents>(
  '@kensho/core:PartitionEvents',
);
export const PROCESSOR_ENGINE: Token<ProcessorEngine> = token<ProcessorEngine>(
  '@kensho/core:ProcessorEngine',
);
export const VP_REGISTERS: Token<VpRegisters> = token<VpRegisters>('@kensho/core:VpRegisters');
/** Provided by the board, if it has ACPI; its tables are in place once the devices have started. */
export const ACPI_TABLES: Token<AcpiTables> = token<AcpiTables>('@kensho/core:AcpiTables');
