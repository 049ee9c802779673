import type { Counters, GpaSpace, PartitionDebugger, VpRegisters } from '@kensho/core';

/** What of a partition its debugger gets to see. */
export interface GdbTarget {
  readonly vpCount: number;
  readonly debugger: PartitionDebugger;
  readonly registers: VpRegisters;
  readonly counters: Counters;
  readonly gpa: GpaSpace;
  /** Ends the guest. */
  kill(): void;
}
