/** A place in the guest's code or data that stops the VP which comes to it. */
export interface DebugPoint {
  /** `execute` stops before the instruction at the address; the others behind the instruction that did the access. */
  readonly kind: 'execute' | 'read' | 'write' | 'access';
  /** Linear address: that of the guest's own code, wherever its page tables lead. */
  readonly address: bigint;
  /** Length of what is watched; of no account for `execute`. */
  readonly sizeBytes: number;
}

/** Why a VP ended its slice with VpExit.DEBUG. */
export type ProcessorStop =
  | { readonly reason: 'step' }
  | { readonly reason: 'breakpoint' }
  /** @param address - of the DebugPoint that was hit */
  | { readonly reason: 'watchpoint'; readonly address: bigint };

/** A branch that a VP took, or an interrupt or exception that it went to. */
export interface TakenBranch {
  readonly vpIndex: number;
  readonly from: bigint;
  /** Undefined where going there failed: delivering the exception raised another. */
  readonly to: bigint | undefined;
  /** Of an interrupt or exception. */
  readonly vector: number | undefined;
}

/** Which instructions of each VP are traced. */
export interface TraceOptions {
  /** Instructions of a VP before its first line. @default 0 */
  readonly skip?: number;
  /** Instructions of a VP from there on. @default all */
  readonly count?: number;
  /** Linear addresses, the last one included. @default all */
  readonly addresses?: { readonly first: bigint; readonly last: bigint };
  /** Gets a line, without its end, for each instruction that was begun. */
  readonly sink: (line: string) => void;
}

/**
 * What a processor offers to debuggers, which the guest does not see. All of it is for between slices. While nothing
 * is asked for it costs nothing.
 */
export interface ProcessorDebug {
  /** Replaces what VPs stop at; false, with nothing changed, where it is more than the processor can watch. */
  setPoints(points: readonly DebugPoint[]): boolean;
  /**
   * Whether the VP's next run ends, with VpExit.DEBUG, behind one instruction. It takes no interrupt before, unless it
   * is halted; what an exception leads to counts as the instruction.
   */
  setStep(vpIndex: number, on: boolean): void;
  /** Why the VP's last run ended with VpExit.DEBUG. */
  stopOf(vpIndex: number): ProcessorStop;
  /** The guest-physical address behind a linear one as the VP's page tables have it, untouched; -1 for none. */
  translate(vpIndex: number, gva: bigint): number;
  /** Whether {@link branches} has all branches or, what costs nothing, interrupts and exceptions only. */
  setBranchRecording(on: boolean): void;
  /** The last of what was recorded of all VPs, oldest first. */
  branches(): TakenBranch[];
  /** Starts a trace, or ends it. */
  setTrace(trace: TraceOptions | undefined): void;
}
