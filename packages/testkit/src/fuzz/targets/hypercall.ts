import {
  GRANTABLE_HYPERCALL_PRIVILEGES,
  HvStatus,
  HypercallCode,
  type HypercallName,
  PAGE_SIZE,
  type Qword,
} from '@kensho/core';
import type { Random } from '../../random.ts';
import { FuzzMachine, MachineMemory } from '../machine.ts';
import { expectAlways, type FuzzTarget } from '../target.ts';
import { edgeValue, mostly } from '../values.ts';

const CALLS = 24;
const RAM_PAGES = 5;
const RAM_BYTES = RAM_PAGES * PAGE_SIZE;
const HYPERCALL_PAGE = 4;
const CODES = Object.values(HypercallCode);
const MESSAGE_CONNECTION = 1;
const EVENT_CONNECTION = 0x2001;
const FAST = 1 << 16;

/** Hypercalls with any input value, in memory and in registers, from a partition with any privileges. */
export const hypercallTarget: FuzzTarget = {
  id: 'hypercall',
  description: 'hypercall input values, parameter lists in memory and in registers, privileges',
  corpus: [],
  create() {
    const memory = new MachineMemory();
    return { run: (random) => run(memory, random) };
  },
};

function run(memory: MachineMemory, random: Random): void {
  const machine = new FuzzMachine({
    memory,
    ramPages: RAM_PAGES,
    vpCount: 1 + random.below(3),
    hypercallPrivileges: random.oneIn(4)
      ? GRANTABLE_HYPERCALL_PRIVILEGES
      : random.u32() & GRANTABLE_HYPERCALL_PRIVILEGES,
  });
  const { vpCount } = machine.partition;
  const posted: Uint8Array[] = [];
  const connections = [
    machine.ports.openMessageConnection(MESSAGE_CONNECTION, {
      receive(messageType, payload) {
        expectAlways(payload.length <= 240, 'a message is longer than 240 bytes');
        expectAlways(
          messageType > 0 && messageType < 0x80000000,
          'a guest forged a message of the hypervisor',
        );
        posted.push(payload);
        return random.pick([HvStatus.SUCCESS, HvStatus.INSUFFICIENT_BUFFERS]);
      },
    }),
    machine.ports.openEventConnection(EVENT_CONNECTION, {
      signal: (flag) => expectAlways(flag < 2048, 'an event flag is out of range'),
    }),
  ];
  machine.enableHypercalls(HYPERCALL_PAGE);
  for (let i = 0; i < CALLS; i++) makeCall(machine, random, random.below(vpCount));
  const kept = posted.map((payload) => payload.slice());
  machine.ram(0).fill(0x5a);
  for (const [i, payload] of posted.entries()) {
    expectAlways(
      Buffer.compare(payload, kept[i]) === 0,
      'a message that was posted changed with the memory it came from',
    );
  }
  for (const connection of connections) connection.close();
  machine.end();
}

/** RAM before the call under way. */
const BEFORE = Buffer.alloc(RAM_BYTES);

function makeCall(machine: FuzzMachine, random: Random, vpIndex: number): void {
  const { code, words, variableWords = 0, reps = 0 } = random.oneIn(3) ? anyCall(random) : soundCall(random);
  const fast = words.length <= 4 && random.oneIn(3) ? FAST : 0;
  const reserved = random.oneIn(24) ? random.u32() & 0xf8000000 : 0;
  const variable = random.oneIn(24) ? random.below(512) : variableWords >> 1;
  const controlLo = (code & 0xffff) | fast | (variable << 17) | reserved;
  const repCount = random.oneIn(24) ? random.below(4096) : reps;
  const repStart = random.oneIn(8) ? random.below(repCount + 2) : 0;
  const controlHi = repCount | (repStart << 16) | (random.oneIn(24) ? random.u32() & 0xf000f000 : 0);
  if (random.oneIn(4) && words.length > 0) words[random.below(words.length)] = edgeValue(random);
  const inRegisters = (at: number) => ({ lo: words[at] ?? 0, hi: words[at + 1] ?? 0 });
  const input = fast === 0 ? address(random, 4 * words.length) : inRegisters(0);
  const output = fast === 0 ? address(random, 16 * reps) : inRegisters(2);
  if (fast === 0) fillInput(machine, words, input);

  const ram = machine.ram(0);
  BEFORE.set(ram);
  const result = machine.hypercall(controlLo, controlHi, input, output, vpIndex);
  // A call may write its output, which lies within one page, and nothing else.
  const writes = fast === 0 && output.hi === 0 && output.lo < RAM_BYTES;
  const from = writes ? output.lo : RAM_BYTES;
  const until = writes ? output.lo - (output.lo % PAGE_SIZE) + PAGE_SIZE : RAM_BYTES;
  expectAlways(
    BEFORE.compare(ram, 0, from, 0, from) === 0 &&
      BEFORE.compare(ram, until, RAM_BYTES, until, RAM_BYTES) === 0,
    () => `hypercall 0x${code.toString(16)} wrote beside its output`,
  );
  if (reserved !== 0 || (controlHi & 0xf000f000) !== 0) {
    expectAlways(result.lo !== HvStatus.SUCCESS, 'a call with reserved bits set succeeded');
  }
  expectAlways(result.hi <= repCount, () => `${result.hi} of ${repCount} reps completed`);
  if (result.lo === HvStatus.SUCCESS) {
    expectAlways(result.hi === repCount, () => `success after ${result.hi} of ${repCount} reps`);
  }
}

/** A call: its code, its input as words, and what its input value says of that. */
interface Call {
  readonly code: number;
  readonly words: number[];
  readonly variableWords?: number;
  readonly reps?: number;
}

/** A call that a guest could mean. */
function soundCall(random: Random): Call {
  const vector = 0x10 + random.below(0xf0);
  const mask = () => [random.u32(), random.oneIn(2) ? 0 : random.u32()];
  const banks = random.below(3);
  const vpSet = () => [
    random.oneIn(3) ? 1 : 0,
    0,
    2 ** banks - 1,
    0,
    ...Array.from({ length: 2 * banks }, () => random.u32()),
  ];
  const space = [random.u32(), 0, random.below(8), 0];
  const reps = 1 + random.below(6);
  const list = Array.from({ length: 2 * reps }, () => random.u32());
  const registers = [0xffffffff, 0xffffffff, random.oneIn(2) ? 0xfffffffe : random.below(3), 0];
  const names = Array.from({ length: reps }, () => random.pick(REGISTERS));
  switch (random.pick(GUEST_CALLS)) {
    case 'HvCallPostMessage':
      return {
        code: HypercallCode.HvCallPostMessage,
        words: [
          MESSAGE_CONNECTION,
          0,
          1 + random.below(9),
          random.below(241),
          ...Array.from({ length: 60 }, () => 0x01010101),
        ],
      };
    case 'HvCallSignalEvent':
      return { code: HypercallCode.HvCallSignalEvent, words: [EVENT_CONNECTION, random.below(2048)] };
    case 'HvCallSendSyntheticClusterIpi':
      return { code: HypercallCode.HvCallSendSyntheticClusterIpi, words: [vector, 0, ...mask()] };
    case 'HvCallSendSyntheticClusterIpiEx':
      return {
        code: HypercallCode.HvCallSendSyntheticClusterIpiEx,
        words: [vector, 0, ...vpSet()],
        variableWords: 2 * banks,
      };
    case 'HvCallFlushVirtualAddressSpace':
      return { code: HypercallCode.HvCallFlushVirtualAddressSpace, words: [...space, ...mask()] };
    case 'HvCallFlushVirtualAddressList':
      return {
        code: HypercallCode.HvCallFlushVirtualAddressList,
        words: [...space, ...mask(), ...list],
        reps,
      };
    case 'HvCallFlushVirtualAddressSpaceEx':
      return {
        code: HypercallCode.HvCallFlushVirtualAddressSpaceEx,
        words: [...space, ...vpSet()],
        variableWords: 2 * banks,
      };
    case 'HvCallFlushVirtualAddressListEx':
      return {
        code: HypercallCode.HvCallFlushVirtualAddressListEx,
        words: [...space, ...vpSet(), ...list],
        variableWords: 2 * banks,
        reps,
      };
    case 'HvCallGetVpRegisters':
      return { code: HypercallCode.HvCallGetVpRegisters, words: [...registers, ...names], reps };
    case 'HvCallSetVpRegisters':
      return {
        code: HypercallCode.HvCallSetVpRegisters,
        words: [...registers, ...names.flatMap((name) => [name, 0, 0, 0, random.u32(), 0, 0, 0])],
        reps,
      };
    case 'HvCallNotifyLongSpinWait':
      return { code: HypercallCode.HvCallNotifyLongSpinWait, words: [random.u32(), 0] };
    case 'HvCallGetPartitionId':
      return { code: HypercallCode.HvCallGetPartitionId, words: [] };
    default:
      return { code: HypercallCode.HvExtCallQueryCapabilities, words: [] };
  }
}

/** A call of any code, with words of any sense. */
function anyCall(random: Random): Call {
  return {
    code: mostly(random, () => random.pick(CODES), 8),
    words: Array.from({ length: random.below(40) }, () => mostly(random, () => random.pick(SENSIBLE), 3)),
    variableWords: random.oneIn(2) ? 2 * random.below(6) : 0,
    reps: random.oneIn(2) ? random.below(8) : 0,
  };
}

/** The address of a parameter list, mostly within one page. */
function address(random: Random, sizeBytes: number): Qword {
  const page = random.below(RAM_PAGES);
  const room = Math.max(1, PAGE_SIZE - sizeBytes);
  switch (random.below(12)) {
    case 0:
      return { lo: edgeValue(random), hi: random.oneIn(2) ? 0 : edgeValue(random) };
    case 1:
      // Near the end of a page, where a list may go beyond it.
      return { lo: (page + 1) * PAGE_SIZE - 8 * random.below(40), hi: 0 };
    case 2:
      return { lo: page * PAGE_SIZE + random.below(PAGE_SIZE), hi: 0 };
    default:
      return { lo: page * PAGE_SIZE + (random.below(room) & ~7), hi: 0 };
  }
}

function fillInput(machine: FuzzMachine, words: readonly number[], at: Qword): void {
  if (at.hi !== 0 || at.lo >= RAM_BYTES) return;
  const ram = machine.ram(at.lo);
  const data = new DataView(ram.buffer, ram.byteOffset, ram.length);
  for (let i = 0; i < words.length && 4 * i + 4 <= ram.length; i++) data.setUint32(4 * i, words[i], true);
}

/** What a child partition may be allowed to call. */
const GUEST_CALLS = [
  'HvCallPostMessage',
  'HvCallSignalEvent',
  'HvCallSendSyntheticClusterIpi',
  'HvCallSendSyntheticClusterIpiEx',
  'HvCallFlushVirtualAddressSpace',
  'HvCallFlushVirtualAddressList',
  'HvCallFlushVirtualAddressSpaceEx',
  'HvCallFlushVirtualAddressListEx',
  'HvCallGetVpRegisters',
  'HvCallSetVpRegisters',
  'HvCallNotifyLongSpinWait',
  'HvCallGetPartitionId',
  'HvExtCallQueryCapabilities',
] as const satisfies readonly HypercallName[];

const REGISTERS = [0x00020000, 0x00040004, 0x00090002, 0x00090003, 0x00090004];

/** Connections, sizes, vectors, VP indices: what words of an input are. */
const SENSIBLE = [
  0,
  0,
  0,
  0,
  1,
  2,
  3,
  MESSAGE_CONNECTION,
  EVENT_CONNECTION,
  16,
  240,
  241,
  0x30,
  0xf3,
  0xff,
  0x100,
  0xfffffffe,
  0xffffffff,
  ...REGISTERS,
];
