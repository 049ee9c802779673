import type { HvStatus } from '../hv-status.ts';
import type { RegisterValue } from '../processor/contract.ts';
import type { HypercallName } from './abi.ts';

/** What hypercalls act on: the calling partition. */
export interface HypercallTarget {
  readonly partitionId: number;
  readonly vpCount: number;
  /** See HypercallPrivilege. */
  readonly hypercallPrivileges: number;
  /** `payload` is handed over. */
  postMessage(connectionId: number, messageType: number, payload: Uint8Array): HvStatus;
  signalEvent(connectionId: number, flagNumber: number): HvStatus;
  /** Requests a fixed interrupt at a VP that exists. */
  sendIpi(vpIndex: number, vector: number): void;
  /** Drops translations of a VP that exists; undefined means all of them. */
  flushTlb(vpIndex: number, gvaPages: readonly { page: number; count: number }[] | undefined): void;
  /** Lets other VPs run. */
  yieldVp(vpIndex: number): void;
  /** False where the VP has no such register, or it cannot be written. */
  getVpRegister(vpIndex: number, register: number, value: RegisterValue): boolean;
  setVpRegister(vpIndex: number, register: number, value: RegisterValue): boolean;
}

/**
 * One call while it is served. The object and its buffers are reused by the next call.
 */
export interface HypercallInvocation {
  vpIndex: number;
  /** The input, copied out of guest memory (or registers) once: fixed header, variable header, elements. */
  readonly input: DataView;
  readonly inputBytes: Uint8Array;
  /** Size of the variable header. */
  variableHeaderBytes: number;
  /** Where the input elements begin. */
  elementsOffset: number;
  repStart: number;
  repCount: number;
  /** Elements done, counted from element 0; the handler of a rep call moves it on. */
  repsCompleted: number;
  /** The output: fixed part, then elements. Copied to the guest when the call succeeds, as far as it got. */
  readonly output: DataView;
}

/** What the specification says about one hypercall, and who serves it. */
export interface HypercallDefinition {
  readonly name: HypercallName;
  /** Privilege that the caller must have; see HypercallPrivilege. @default none */
  readonly privilege?: number;
  /** Size of the fixed input header. */
  readonly inputBytes: number;
  /** Whether a variable header may follow it. @default false */
  readonly variableHeader?: boolean;
  /** A rep call: sizes of its elements; 0 where it has none. @default a simple call */
  readonly rep?: { readonly inputElementBytes: number; readonly outputElementBytes: number };
  /** Size of the fixed output. @default 0 */
  readonly outputBytes?: number;
  serve(target: HypercallTarget, call: HypercallInvocation): HvStatus;
}
