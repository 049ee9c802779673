import type { Counter, Counters } from '../counters.ts';
import { HvStatus, hvStatusName } from '../hv-status.ts';
import type { GuestFaults } from '../logger.ts';
import { PAGE_SIZE } from '../memory/arena.ts';
import { GpaAccess, type GpaSpace } from '../memory/gpa-space.ts';
import type { HypercallFrame, Qword } from '../processor/contract.ts';
import { HypercallCode, HypercallControl } from './abi.ts';
import { GENERAL_CALLS } from './calls/general.ts';
import { interruptCalls } from './calls/interrupts.ts';
import { MESSAGING_CALLS } from './calls/messaging.ts';
import { PARTITION_CALLS } from './calls/partition.ts';
import { REGISTER_CALLS } from './calls/registers.ts';
import { tlbCalls } from './calls/tlb.ts';
import type { HypercallDefinition, HypercallInvocation, HypercallTarget } from './definition.ts';
import { VpSet } from './vp-set.ts';

/** Input that the two registers of a fast call hold. */
const FAST_INPUT_BYTES = 16;

interface TableEntry {
  readonly definition: HypercallDefinition;
  /** Made at the first call, so that snapshots list the calls that guests make. */
  calls: Counter | undefined;
}

/** What a hypercall dispatcher stands on. */
export interface HypercallDispatcherOptions {
  readonly target: HypercallTarget;
  readonly gpa: GpaSpace;
  readonly counters: Counters;
  readonly faults: GuestFaults;
}

/**
 * Serves the hypercalls of one partition (TLFS, "Hypercall interface"): decodes the input value, checks privilege and
 * form, copies the input out of guest memory once, calls the handler and writes back what it returned. Whatever the
 * guest passes, the call ends with a status; nothing throws.
 *
 * Counts `hypercall.<name>`; a call that is refused for its form, its privilege or a parameter is `fault.hypercall`.
 * Calls with input in XMM registers are not offered (CPUID 0x40000003 EDX bit 4 is clear) and are refused.
 */
export class HypercallDispatcher {
  readonly #target: HypercallTarget;
  readonly #gpa: GpaSpace;
  readonly #counters: Counters;
  readonly #faults: GuestFaults;
  readonly #table = new Map<number, TableEntry>();
  readonly #outputBytes = new Uint8Array(PAGE_SIZE);
  readonly #call: HypercallInvocation;

  constructor({ target, gpa, counters, faults }: HypercallDispatcherOptions) {
    this.#target = target;
    this.#gpa = gpa;
    this.#counters = counters;
    this.#faults = faults;
    const inputBytes = new Uint8Array(PAGE_SIZE);
    this.#call = {
      vpIndex: 0,
      input: new DataView(inputBytes.buffer),
      inputBytes,
      variableHeaderBytes: 0,
      elementsOffset: 0,
      repStart: 0,
      repCount: 0,
      repsCompleted: 0,
      output: new DataView(this.#outputBytes.buffer),
    };
    const vps = new VpSet(target.vpCount);
    const all = [
      ...MESSAGING_CALLS,
      ...interruptCalls(vps),
      ...tlbCalls(vps),
      ...REGISTER_CALLS,
      ...GENERAL_CALLS,
      ...PARTITION_CALLS,
    ];
    for (const definition of all) {
      this.#table.set(HypercallCode[definition.name], { definition, calls: undefined });
    }
  }

  /** Serves the call in `frame`, made by a VP, and sets `frame.result`. */
  dispatch(vpIndex: number, frame: HypercallFrame): void {
    const call = this.#call;
    call.vpIndex = vpIndex;
    call.repsCompleted = 0;
    const code = frame.control.lo & HypercallControl.CODE_MASK;
    const entry = this.#table.get(code);
    let status: HvStatus;
    if (entry === undefined) {
      status = HvStatus.INVALID_HYPERCALL_CODE;
    } else {
      entry.calls ??= this.#counters.counter(`hypercall.${entry.definition.name}`);
      entry.calls.value++;
      status = this.#serve(entry.definition, frame);
    }
    if (status !== HvStatus.SUCCESS && status <= HvStatus.ACCESS_DENIED) {
      this.#faults.report('hypercall', `hypercall 0x${code.toString(16)} refused`, {
        call: entry?.definition.name,
        status: hvStatusName(status),
      });
    }
    frame.result.lo = status;
    frame.result.hi = call.repsCompleted;
  }

  #serve(definition: HypercallDefinition, { control, input, output }: HypercallFrame): HvStatus {
    const privilege = definition.privilege ?? 0;
    // First of all, so that a caller without the privilege learns nothing else.
    if ((this.#target.hypercallPrivileges & privilege) !== privilege) return HvStatus.ACCESS_DENIED;

    const { lo, hi } = control;
    if ((lo & HypercallControl.RESERVED_LO) !== 0 || (hi & HypercallControl.RESERVED_HI) !== 0) {
      return HvStatus.INVALID_HYPERCALL_INPUT;
    }
    const call = this.#call;
    const { rep } = definition;
    call.repCount = hi & HypercallControl.REP_MASK;
    call.repStart = (hi >>> HypercallControl.REP_START_SHIFT) & HypercallControl.REP_MASK;
    // A simple call has a count of zero, which also keeps the start index at zero.
    if (rep === undefined ? (call.repCount | call.repStart) !== 0 : call.repStart >= call.repCount) {
      return HvStatus.INVALID_HYPERCALL_INPUT;
    }
    const variableHeaderBytes =
      8 * ((lo >>> HypercallControl.VARIABLE_HEADER_SHIFT) & HypercallControl.VARIABLE_HEADER_MASK);
    if (variableHeaderBytes !== 0 && definition.variableHeader !== true)
      return HvStatus.INVALID_HYPERCALL_INPUT;
    call.variableHeaderBytes = variableHeaderBytes;
    call.elementsOffset = definition.inputBytes + variableHeaderBytes;
    const inputSize = call.elementsOffset + call.repCount * (rep?.inputElementBytes ?? 0);
    const outputSize = (definition.outputBytes ?? 0) + call.repCount * (rep?.outputElementBytes ?? 0);

    if ((lo & HypercallControl.FAST) !== 0) {
      if (inputSize > FAST_INPUT_BYTES || outputSize > 0) return HvStatus.INVALID_HYPERCALL_INPUT;
      call.input.setUint32(0, input.lo, true);
      call.input.setUint32(4, input.hi, true);
      call.input.setUint32(8, output.lo, true);
      call.input.setUint32(12, output.hi, true);
    } else if (inputSize > 0) {
      const from = this.#translate(input, inputSize, GpaAccess.READ);
      if (from < 0) return HvStatus.INVALID_ALIGNMENT;
      call.inputBytes.set(this.#gpa.arena.bytes.subarray(from, from + inputSize));
    }
    call.repsCompleted = call.repStart;
    if (outputSize === 0) return definition.serve(this.#target, call);

    const to = this.#translate(output, outputSize, GpaAccess.WRITE);
    if (to < 0) {
      call.repsCompleted = 0;
      return HvStatus.INVALID_ALIGNMENT;
    }
    this.#outputBytes.fill(0, 0, outputSize);
    const status = definition.serve(this.#target, call);
    // A list is written as far as it got, and from where this call began: what lies before is an earlier call's.
    const elementBytes = rep?.outputElementBytes ?? 0;
    const begin = elementBytes * call.repStart;
    const end = rep === undefined ? outputSize : elementBytes * call.repsCompleted;
    if (rep !== undefined || status === HvStatus.SUCCESS) {
      this.#gpa.arena.bytes.set(this.#outputBytes.subarray(begin, end), to + begin);
    }
    return status;
  }

  /**
   * The arena offset of a parameter list, or -1 where it is misaligned, spans pages, or is not within the GPA space:
   * all of them INVALID_ALIGNMENT (TLFS, "Common hypercall status codes").
   */
  #translate(gpa: Qword, sizeBytes: number, access: number): number {
    const within = gpa.lo & (PAGE_SIZE - 1);
    if ((within & 7) !== 0 || within + sizeBytes > PAGE_SIZE) return -1;
    return this.#gpa.translate(gpa.hi * 0x1_0000_0000 + gpa.lo, access);
  }
}
