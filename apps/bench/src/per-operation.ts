/** Kinds of intercepts, as the partition counts them. */
export const INTERCEPT_KINDS = ['port', 'mmio', 'msr', 'cpuid', 'hypercall', 'halt'] as const;
export type InterceptKind = (typeof INTERCEPT_KINDS)[number];

/** What one operation costs in events, over all samples. */
export interface PerOperation {
  /** That the guest retired; a kit guest's are its steps. */
  readonly instructions: number;
  readonly intercepts: Readonly<Record<InterceptKind, number>>;
  readonly interceptsTotal: number;
  /** By name. */
  readonly hypercalls: Readonly<Record<string, number>>;
  readonly hypercallsTotal: number;
  /** Interrupts that the guest took. */
  readonly interrupts: number;
  /** Signals of the guest to the host over VMBus. */
  readonly guestSignals: number;
  /** Bytes that were copied between guest memory and the host's, beyond a disk's own reads and writes into it. */
  readonly bytesCopied: number;
  /** What a benchmark counts of its own, by name. */
  readonly own?: Readonly<Record<string, number>>;
}
