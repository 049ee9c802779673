import { GRANTABLE_HYPERCALL_PRIVILEGES, HvStatus, HypercallCode, PAGE_SIZE, type Qword } from '@kensho/core';
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
  const code = mostly(random, () => random.pick(CODES), 16);
  const fast = random.oneIn(3) ? FAST : 0;
  const variable = random.oneIn(3) ? random.below(random.oneIn(4) ? 512 : 6) << 17 : 0;
  const reserved = random.oneIn(16) ? random.u32() & 0xf8000000 : 0;
  const controlLo = (code & 0xffff) | fast | variable | reserved;
  const repCount = random.oneIn(2) ? random.below(random.oneIn(4) ? 4096 : 8) : 0;
  const repStart = random.oneIn(4) ? random.below(repCount + 2) : 0;
  const controlHi = repCount | (repStart << 16) | (random.oneIn(16) ? random.u32() & 0xf000f000 : 0);
  const input = fast === 0 ? address(random) : { lo: edgeValue(random), hi: edgeValue(random) };
  const output = fast === 0 ? address(random) : { lo: edgeValue(random), hi: edgeValue(random) };
  if (fast === 0) fillInput(machine, random, input);

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

/** The address of a parameter list. */
function address(random: Random): Qword {
  const page = random.below(RAM_PAGES);
  switch (random.below(8)) {
    case 0:
      return { lo: edgeValue(random), hi: random.oneIn(2) ? 0 : edgeValue(random) };
    case 1:
      // Near the end of a page, where a list may go beyond it.
      return { lo: (page + 1) * PAGE_SIZE - 8 * random.below(40), hi: 0 };
    case 2:
      return { lo: page * PAGE_SIZE + random.below(PAGE_SIZE), hi: 0 };
    default:
      return { lo: page * PAGE_SIZE + 8 * random.below(32), hi: 0 };
  }
}

/** Words that look like what calls take: connections, sizes, vectors, VP indices, register names. */
function fillInput(machine: FuzzMachine, random: Random, at: Qword): void {
  if (at.hi !== 0 || at.lo >= RAM_BYTES) return;
  const ram = machine.ram(at.lo);
  const data = new DataView(ram.buffer, ram.byteOffset, ram.length);
  const count = Math.min(2 + random.below(40), ram.length >> 2);
  for (let i = 0; i < count; i++) {
    const value = mostly(random, () => random.pick(SENSIBLE), 3);
    data.setUint32(4 * i, value, true);
  }
}

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
  0x00020000,
  0x00040004,
  0x00090002,
  0x00090003,
  0x00090004,
];
