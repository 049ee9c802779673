import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Counters } from '../counters.ts';
import { HvStatus } from '../hv-status.ts';
import { HypercallPrivilege } from '../hypervisor/privileges.ts';
import { GuestFaults, silentLogger } from '../logger.ts';
import { PAGE_SIZE, PageArena } from '../memory/arena.ts';
import { GpaAccess, GpaSpace } from '../memory/gpa-space.ts';
import { HvRegister, type HypercallFrame, type Qword, type RegisterValue } from '../processor/contract.ts';
import { segmentRegister } from '../processor/register-values.ts';
import { HV_PARTITION_ID_SELF, HV_VP_INDEX_SELF, HypercallCode } from './abi.ts';
import type { HypercallTarget } from './definition.ts';
import { HypercallDispatcher } from './dispatcher.ts';

/** Guest pages 0 to 3 are RAM; 4 is read-only; 5 on is nothing. */
const INPUT = 0x1000;
const OUTPUT = 0x2000;
const READ_ONLY = 0x4000;
const UNMAPPED = 0x5000;

class Recorder implements HypercallTarget {
  readonly partitionId = 7;
  readonly vpCount = 70;
  hypercallPrivileges: number = HypercallPrivilege.POST_MESSAGES | HypercallPrivilege.SIGNAL_EVENTS;
  readonly log: unknown[][] = [];
  readonly registers = new Map<number, RegisterValue>([[0x20000, { lo: 5, hi: 6, upperLo: 0, upperHi: 0 }]]);
  status: HvStatus = HvStatus.SUCCESS;

  postMessage(...args: [number, number, Uint8Array]): HvStatus {
    this.log.push(['post', ...args]);
    return this.status;
  }
  signalEvent(...args: [number, number]): HvStatus {
    this.log.push(['signal', ...args]);
    return this.status;
  }
  sendIpi(...args: [number, number]): void {
    this.log.push(['ipi', ...args]);
  }
  flushTlb(vpIndex: number, pages: readonly { page: number; count: number }[] | undefined): void {
    this.log.push(['flush', vpIndex, pages?.map((range) => ({ ...range }))]);
  }
  yieldVp(vpIndex: number): void {
    this.log.push(['yield', vpIndex]);
  }
  getVpRegister(_vpIndex: number, register: number, value: RegisterValue): boolean {
    Object.assign(value, this.registers.get(register));
    return this.registers.has(register);
  }
  setVpRegister(_vpIndex: number, register: number, value: RegisterValue): boolean {
    if (!this.registers.has(register)) return false;
    this.registers.set(register, { ...value });
    return true;
  }
}

let target: Recorder;
let gpa: GpaSpace;
let counters: Counters;
let dispatcher: HypercallDispatcher;

beforeEach(() => {
  target = new Recorder();
  counters = new Counters();
  gpa = new GpaSpace(PageArena.allocate(8));
  gpa.map(0, 0, 4, GpaAccess.ALL);
  gpa.map(4, 4, 1, GpaAccess.READ);
  dispatcher = new HypercallDispatcher({
    target,
    gpa,
    counters,
    faults: new GuestFaults(counters, silentLogger),
  });
});

interface Call {
  code: number;
  fast?: boolean;
  variableHeader?: number;
  reps?: number;
  start?: number;
  input?: bigint;
  output?: bigint;
  vp?: number;
  /** Further bits of the input value. */
  more?: bigint;
}

function make(value: bigint): Qword {
  return { lo: Number(value & 0xffffffffn), hi: Number(value >> 32n) };
}

function call(options: Call): { status: number; reps: number } {
  const control =
    BigInt(options.code) |
    (options.fast === true ? 1n << 16n : 0n) |
    (BigInt(options.variableHeader ?? 0) << 17n) |
    (BigInt(options.reps ?? 0) << 32n) |
    (BigInt(options.start ?? 0) << 48n) |
    (options.more ?? 0n);
  const frame: HypercallFrame = {
    control: make(control),
    input: make(options.input ?? BigInt(INPUT)),
    output: make(options.output ?? BigInt(OUTPUT)),
    result: { lo: 0xdead, hi: 0xdead },
  };
  dispatcher.dispatch(options.vp ?? 0, frame);
  return { status: frame.result.lo, reps: frame.result.hi };
}

function put(gpaAt: number, ...words: (number | bigint)[]): void {
  for (const [i, word] of words.entries()) gpa.arena.data.setBigUint64(gpaAt + i * 8, BigInt(word), true);
}

describe('the input value', () => {
  const code = HypercallCode.HvCallPostMessage;

  it('with an unknown code is INVALID_HYPERCALL_CODE and a fault', () => {
    expect(call({ code: 0x7777 })).toEqual({ status: HvStatus.INVALID_HYPERCALL_CODE, reps: 0 });
    expect(counters.counter('fault.hypercall').value).toBe(1);
  });

  it.each([27, 28, 29, 30, 31, 44, 45, 46, 47, 60, 61, 62, 63])('must have bit %d clear', (bit) => {
    expect(call({ code, more: 1n << BigInt(bit) }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    expect(target.log).toEqual([]);
  });

  it('of a simple call has no reps', () => {
    expect(call({ code, reps: 1 }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    expect(call({ code, start: 1 }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
  });

  it('of a rep call has some, and starts before their end', () => {
    const rep = HypercallCode.HvCallFlushVirtualAddressList;
    expect(call({ code: rep }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    expect(call({ code: rep, reps: 3, start: 3 }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    expect(call({ code: rep, reps: 3, start: 2 })).toEqual({ status: HvStatus.SUCCESS, reps: 3 });
  });

  it('has a variable header only where the call takes one', () => {
    expect(call({ code, variableHeader: 1 }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
  });

  it('may ask for input in registers only where it fits, and there is no output', () => {
    expect(call({ code, fast: true }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    target.hypercallPrivileges = -1;
    expect(call({ code: HypercallCode.HvExtCallQueryCapabilities, fast: true }).status).toBe(
      HvStatus.INVALID_HYPERCALL_INPUT,
    );
  });
});

describe('parameter lists', () => {
  const code = HypercallCode.HvCallPostMessage;

  it.each([
    ['misaligned', INPUT + 4],
    ['across pages', INPUT + PAGE_SIZE - 248],
    ['not mapped', UNMAPPED],
    ['beyond the GPA space', 2 ** 52],
  ])('%s are INVALID_ALIGNMENT', (_what, at) => {
    expect(call({ code, input: BigInt(at) }).status).toBe(HvStatus.INVALID_ALIGNMENT);
    expect(target.log).toEqual([]);
  });

  it('fit up to the end of the page', () => {
    const at = INPUT + PAGE_SIZE - 256;
    put(at, 1, 1);
    expect(call({ code, input: BigInt(at) }).status).toBe(HvStatus.SUCCESS);
  });

  it('for output must be writable', () => {
    target.hypercallPrivileges = HypercallPrivilege.ENABLE_EXTENDED_HYPERCALLS;
    const query = { code: HypercallCode.HvExtCallQueryCapabilities, input: BigInt(UNMAPPED) };
    put(OUTPUT, 0xffffffff);
    expect(call(query).status).toBe(HvStatus.SUCCESS);
    expect(gpa.arena.data.getBigUint64(OUTPUT, true)).toBe(0n);
    expect(call({ ...query, output: BigInt(READ_ONLY) }).status).toBe(HvStatus.INVALID_ALIGNMENT);
    expect(call({ ...query, output: BigInt(OUTPUT + 2) }).status).toBe(HvStatus.INVALID_ALIGNMENT);
  });
});

describe('privileges', () => {
  it('come before everything else', () => {
    for (const [name, code] of Object.entries(HypercallCode)) {
      target.hypercallPrivileges = 0;
      const { status } = call({ code, input: 3n, more: 1n << 63n });
      const open = /Flush|Spin|Ipi/.test(name);
      expect([name, status]).toEqual([
        name,
        open ? HvStatus.INVALID_HYPERCALL_INPUT : HvStatus.ACCESS_DENIED,
      ]);
    }
  });

  it('HvCallCreatePartition from a child is ACCESS_DENIED', () => {
    expect(call({ code: 0x40 })).toEqual({ status: HvStatus.ACCESS_DENIED, reps: 0 });
    expect(counters.counter('hypercall.HvCallCreatePartition').value).toBe(1);
    expect(counters.counter('fault.hypercall').value).toBe(1);
  });

  it('AccessPartitionId gives the id', () => {
    target.hypercallPrivileges = HypercallPrivilege.ACCESS_PARTITION_ID;
    expect(call({ code: HypercallCode.HvCallGetPartitionId }).status).toBe(HvStatus.SUCCESS);
    expect(gpa.arena.data.getBigUint64(OUTPUT, true)).toBe(7n);
  });
});

describe('messages and events', () => {
  it('a message is copied with its size', () => {
    put(INPUT, 4, (5n << 32n) | 1n, 0x0807060504030201n);
    expect(call({ code: 0x5c }).status).toBe(HvStatus.SUCCESS);
    gpa.arena.bytes.fill(0xff, INPUT, INPUT + 64);
    expect(target.log).toEqual([['post', 4, 1, new Uint8Array([1, 2, 3, 4, 5])]]);
    expect(counters.counter('hypercall.HvCallPostMessage').value).toBe(1);
  });

  it('the status of the receiver is the result, and "try later" is no fault', () => {
    put(INPUT, 4, 1);
    target.status = HvStatus.INSUFFICIENT_BUFFERS;
    expect(call({ code: 0x5c }).status).toBe(HvStatus.INSUFFICIENT_BUFFERS);
    expect(counters.counter('fault.hypercall').value).toBe(0);
  });

  it('a message that is too long, or has reserved fields set, is INVALID_PARAMETER', () => {
    put(INPUT, 4, (241n << 32n) | 1n);
    expect(call({ code: 0x5c }).status).toBe(HvStatus.INVALID_PARAMETER);
    put(INPUT, (1n << 32n) | 4n, 1);
    expect(call({ code: 0x5c }).status).toBe(HvStatus.INVALID_PARAMETER);
    expect(target.log).toEqual([]);
  });

  it('an event is signalled from registers and from memory', () => {
    expect(call({ code: 0x5d, fast: true, input: (3n << 32n) | 9n }).status).toBe(HvStatus.SUCCESS);
    put(INPUT, (4n << 32n) | 8n);
    expect(call({ code: 0x5d }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toEqual([
      ['signal', 9, 3],
      ['signal', 8, 4],
    ]);
    expect(call({ code: 0x5d, fast: true, input: (0x10000n << 32n) | 9n }).status).toBe(
      HvStatus.INVALID_PARAMETER,
    );
  });
});

describe('IPIs', () => {
  it('go to the VPs of the mask that exist', () => {
    const mask = (1n << 63n) | 0b101n;
    expect(call({ code: 0x0b, fast: true, input: 0xf3n, output: mask }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toEqual([
      ['ipi', 0, 0xf3],
      ['ipi', 2, 0xf3],
      ['ipi', 63, 0xf3],
    ]);
  });

  it.each([0x0f, 0x100, 0x1_0000_00f3])('refuse vector or VTL 0x%s', (input) => {
    expect(call({ code: 0x0b, fast: true, input: BigInt(input), output: 1n }).status).toBe(
      HvStatus.INVALID_PARAMETER,
    );
  });

  it('by VP set reach sparse banks', () => {
    put(INPUT, 0xf3, 0, 0b10, 0b100001);
    expect(call({ code: 0x15, variableHeader: 1 }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toEqual([
      ['ipi', 64, 0xf3],
      ['ipi', 69, 0xf3],
    ]);
  });

  it('by VP set reach all', () => {
    put(INPUT, 0xf3, 1, 0);
    expect(call({ code: 0x15 }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toHaveLength(70);
  });

  it('by a VP set whose banks do not go with its mask are INVALID_HYPERCALL_INPUT', () => {
    put(INPUT, 0xf3, 0, 0b11, 1, 1);
    expect(call({ code: 0x15, variableHeader: 1 }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    put(INPUT, 0xf3, 0, 0b1, 1, 1);
    expect(call({ code: 0x15, variableHeader: 2 }).status).toBe(HvStatus.INVALID_HYPERCALL_INPUT);
    put(INPUT, 0xf3, 2, 0);
    expect(call({ code: 0x15 }).status).toBe(HvStatus.INVALID_PARAMETER);
    expect(target.log).toEqual([]);
  });
});

describe('flushes', () => {
  it('of a space go to the VPs of the mask, or to all', () => {
    put(INPUT, 0x1234000, 0, 0b1000);
    expect(call({ code: 0x02 }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toEqual([['flush', 3, undefined]]);
    put(INPUT, 0x1234000, 0b111, 0);
    expect(call({ code: 0x02 }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toHaveLength(71);
  });

  it('of a list name pages and counts, from the start index on', () => {
    put(INPUT, 0, 0, 1, 0x1000, 0xffff_8880_0000_2003n, 0x3000);
    expect(call({ code: 0x03, reps: 3, start: 1 })).toEqual({ status: HvStatus.SUCCESS, reps: 3 });
    const page = 0xffff_8880_0000_2n;
    expect(target.log).toEqual([
      [
        'flush',
        0,
        [
          { page: Number(page), count: 4 },
          { page: 3, count: 1 },
        ],
      ],
    ]);
  });

  it('of very many pages are of everything', () => {
    put(INPUT, 0, 0, 1, 0xfff);
    call({ code: 0x03, reps: 1 });
    expect(target.log).toEqual([['flush', 0, undefined]]);
  });

  it('with reserved flags are INVALID_PARAMETER; a list cannot spare global pages', () => {
    put(INPUT, 0, 0b1000, 1);
    expect(call({ code: 0x02 }).status).toBe(HvStatus.INVALID_PARAMETER);
    put(INPUT, 0, 0b100, 1);
    expect(call({ code: 0x02 }).status).toBe(HvStatus.SUCCESS);
    expect(call({ code: 0x03, reps: 1 }).status).toBe(HvStatus.INVALID_PARAMETER);
  });

  it('by VP set have their list behind the banks', () => {
    put(INPUT, 0, 0, 0, 1, 0b10, 0x5001);
    expect(call({ code: 0x14, variableHeader: 1, reps: 1 })).toEqual({ status: HvStatus.SUCCESS, reps: 1 });
    put(INPUT, 0, 0, 0, 1, 0b100);
    expect(call({ code: 0x13, variableHeader: 1 }).status).toBe(HvStatus.SUCCESS);
    expect(target.log).toEqual([
      ['flush', 1, [{ page: 5, count: 2 }]],
      ['flush', 2, undefined],
    ]);
  });
});

describe('registers', () => {
  const self = HV_PARTITION_ID_SELF;
  beforeEach(() => {
    target.hypercallPrivileges = HypercallPrivilege.ACCESS_VP_REGISTERS;
  });

  it('are read as 128 bits each, as far as they exist', () => {
    put(INPUT, self, HV_VP_INDEX_SELF, (0x20000n << 32n) | 0x20000n, 0x99999999);
    put(OUTPUT, 1, 1, 1, 1, 1);
    expect(call({ code: 0x50, reps: 3 })).toEqual({ status: HvStatus.INVALID_PARAMETER, reps: 2 });
    const value = (6n << 32n) | 5n;
    const words = [0, 1, 2, 3, 4].map((i) => gpa.arena.data.getBigUint64(OUTPUT + i * 8, true));
    expect(words).toEqual([value, 0n, value, 0n, 1n]);
  });

  it('a continued call leaves what it wrote before', () => {
    put(INPUT, self, 0, (0x20000n << 32n) | 0x20000n);
    put(OUTPUT, 1, 1, 1, 1);
    expect(call({ code: 0x50, reps: 2, start: 1 })).toEqual({ status: HvStatus.SUCCESS, reps: 2 });
    expect(gpa.arena.data.getBigUint64(OUTPUT, true)).toBe(1n);
    expect(gpa.arena.data.getBigUint64(OUTPUT + 16, true)).toBe((6n << 32n) | 5n);
  });

  it('are written', () => {
    put(INPUT, 7, 0, 0x20000, 0, 0x1_0000_0002n, 0);
    expect(call({ code: 0x51, reps: 1 })).toEqual({ status: HvStatus.SUCCESS, reps: 1 });
    expect(target.registers.get(0x20000)).toEqual({ lo: 2, hi: 1, upperLo: 0, upperHi: 0 });
    put(INPUT, 7, 0, 0x20000, 0, 0, 1);
    expect(call({ code: 0x51, reps: 1 })).toEqual({ status: HvStatus.INVALID_REGISTER_VALUE, reps: 0 });
  });

  it('of segments have 128 bits', () => {
    target.registers.set(HvRegister.CS, { lo: 0, hi: 0, upperLo: 0, upperHi: 0 });
    const cs = segmentRegister({ base: 0x1_0000_0000n, limit: 0xffff, selector: 0x10, attributes: 0xa09b });
    const [low, high] = [BigInt.asUintN(64, cs), cs >> 64n];
    expect(high).toBe(0xa09b_0010_0000_ffffn);
    put(INPUT, 7, 0, HvRegister.CS, 0, low, high);
    expect(call({ code: 0x51, reps: 1 })).toEqual({ status: HvStatus.SUCCESS, reps: 1 });
    put(INPUT, self, 0, HvRegister.CS);
    call({ code: 0x50, reps: 1 });
    expect(gpa.arena.data.getBigUint64(OUTPUT, true)).toBe(low);
    expect(gpa.arena.data.getBigUint64(OUTPUT + 8, true)).toBe(high);
  });

  it('of other partitions and VPs are refused', () => {
    put(INPUT, 8, 0, 0x20000);
    expect(call({ code: 0x50, reps: 1 }).status).toBe(HvStatus.ACCESS_DENIED);
    put(INPUT, self, 70, 0x20000);
    expect(call({ code: 0x50, reps: 1 }).status).toBe(HvStatus.INVALID_VP_INDEX);
    put(INPUT, self, 1n << 32n, 0x20000);
    expect(call({ code: 0x50, reps: 1 }).status).toBe(HvStatus.INVALID_PARAMETER);
  });
});

it('a long spin wait lets others run', () => {
  expect(call({ code: 0x08, fast: true, input: 1000n, vp: 3 }).status).toBe(HvStatus.SUCCESS);
  expect(target.log).toEqual([['yield', 3]]);
});

it('whatever a guest passes, there is a status, and memory beyond the output stays as it was', () => {
  const known: ReadonlySet<number> = new Set(Object.values(HvStatus));
  const address = fc.oneof(
    fc.constantFrom(0n, BigInt(INPUT), BigInt(OUTPUT), BigInt(READ_ONLY), BigInt(UNMAPPED)),
    fc.bigInt({ min: 0n, max: 0x5000n }),
    fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
  );
  const control = fc.record({
    code: fc.oneof(fc.constantFrom(...Object.values(HypercallCode)), fc.nat(0xffff)),
    fast: fc.boolean(),
    variableHeader: fc.oneof(fc.constant(0), fc.nat(4), fc.nat(0x1ff)),
    reps: fc.oneof(fc.constant(0), fc.nat(5), fc.nat(0xfff)),
    start: fc.oneof(fc.constant(0), fc.nat(5), fc.nat(0xfff)),
    more: fc.oneof(
      { weight: 9, arbitrary: fc.constant(0n) },
      fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
    ),
    input: address,
    output: address,
    vp: fc.nat(69),
  });
  const words = fc.array(
    fc.oneof(fc.bigInt({ min: 0n, max: 0x20000n }), fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn })),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(control, words, fc.boolean(), (options, input, privileged) => {
      target.hypercallPrivileges = privileged ? -1 : 0x30;
      target.log.length = 0;
      put(INPUT, ...input);
      const readOnly = gpa.arena.bytes.slice(READ_ONLY);
      const { status, reps } = call(options);
      expect(known.has(status)).toBe(true);
      expect(reps).toBeLessThanOrEqual(0xfff);
      expect(gpa.arena.bytes.slice(READ_ONLY)).toEqual(readOnly);
    }),
    { numRuns: 600 },
  );
});
