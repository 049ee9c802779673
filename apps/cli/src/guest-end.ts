import {
  DEBUGGER,
  type HostedPartition,
  HvRegister,
  type PartitionDebugger,
  type PartitionEnd,
  VP_REGISTERS,
} from '@kensho/core';
import { ExitCode } from './exit.ts';

/** How a run ended: as the partition says, or by what the command line or the user at the console asked for. */
export type RunEnd =
  | PartitionEnd
  /** So many resets in a row, each soon after the machine had begun. */
  | { readonly reason: 'reset-loop'; readonly resets: number }
  | { readonly reason: 'time-out' }
  | { readonly reason: 'quit' };

/** What is said of an end, in one line; undefined for what was to be expected. And what the command ends with. */
export function explainEnd(end: RunEnd): { readonly line: string | undefined; readonly exitCode: number } {
  switch (end.reason) {
    case 'power-off':
      return { line: undefined, exitCode: ExitCode.OK };
    case 'guest-ended':
      return {
        line: undefined,
        exitCode: end.code === undefined ? ExitCode.OK : exitPortCode(end.code),
      };
    case 'reset':
      return { line: 'the guest asked for a reset', exitCode: ExitCode.GUEST_RESET };
    case 'reset-loop':
      return {
        line: `the guest was ended: it asked for a reset ${end.resets} times in a row, soon after it had begun`,
        exitCode: ExitCode.GUEST_RESET,
      };
    case 'crash': {
      const numbers = end.parameters.map((parameter) => `0x${parameter.toString(16)}`);
      return {
        line: `the guest crashed: ${crashReason(end.message, numbers)}`,
        exitCode: ExitCode.GUEST_CRASHED,
      };
    }
    case 'triple-fault':
      return {
        line: `the guest's VP ${end.vpIndex} took a triple fault`,
        exitCode: ExitCode.GUEST_TRIPLE_FAULT,
      };
    case 'time-out':
      return { line: 'the guest was ended: its time is over', exitCode: ExitCode.TIME_OUT };
    case 'quit':
    case 'stopped':
      return { line: 'the guest was ended', exitCode: ExitCode.SIGINT };
  }
}

/** Why a guest crashed, in one line of its message: the panic's, else the last; or its parameters where it gave none. */
export function crashReason(message: string | undefined, parameters: readonly string[]): string {
  const lines = message?.trim().split('\n') ?? [];
  return lines.findLast((line) => /Kernel panic|panic:/.test(line)) ?? (lines.at(-1) || parameters.join(' '));
}

/** As QEMU's `isa-debug-exit` maps what was written: always odd, and of eight bits. */
export function exitPortCode(value: number): number {
  return ((value << 1) | 1) & 0xff;
}

const DUMPED: readonly (keyof typeof HvRegister)[] = [
  ...(['RIP', 'RFLAGS', 'CS', 'SS'] as const),
  ...(['RAX', 'RBX', 'RCX', 'RDX', 'RSI', 'RDI', 'RBP', 'RSP'] as const),
  ...(['R8', 'R9', 'R10', 'R11', 'R12', 'R13', 'R14', 'R15'] as const),
  ...(['CR0', 'CR2', 'CR3', 'CR4', 'EFER', 'GDTR', 'IDTR', 'TR'] as const),
];
const PER_LINE = 4;
const CODE_BYTES = 16;
const STACK_WORDS = 16;
const BRANCHES = 16;

/** What a VP was at, in lines, for who looks for the reason of its end. */
export function vpDump(partition: HostedPartition, vpIndex: number): string {
  const registers = partition.services.resolve(VP_REGISTERS);
  const get = (register: number) => registers.get(vpIndex, [register])[0];
  const cells = DUMPED.map((name) => `${name.padEnd(6)} ${hex(get(HvRegister[name]))}`);
  const lines: string[] = [];
  for (let at = 0; at < cells.length; at += PER_LINE) lines.push(cells.slice(at, at + PER_LINE).join('  '));
  const debug = partition.services.resolve(DEBUGGER);
  // Bits of CS's attributes and of EFER: in 64-bit code no segment adds to an address.
  const flat = ((get(HvRegister.CS) >> 125n) & 1n) !== 0n && (get(HvRegister.EFER) & 0x400n) !== 0n;
  const linear = (segment: number, offset: number) =>
    (flat ? 0n : BigInt.asUintN(64, get(segment))) + get(offset);
  const code = Buffer.alloc(CODE_BYTES);
  const codeBytes = debug.readMemory(vpIndex, linear(HvRegister.CS, HvRegister.RIP), code);
  lines.push(`code   ${code.toString('hex', 0, codeBytes).match(/../g)?.join(' ') ?? 'not mapped'}`);
  lines.push(...stackLines(debug, vpIndex, linear(HvRegister.SS, HvRegister.RSP)));
  const branches = debug.processor?.branches().filter((branch) => branch.vpIndex === vpIndex) ?? [];
  if (branches.length > 0) lines.push('last branches, interrupts and exceptions:');
  for (const { from, to, vector } of branches.slice(-BRANCHES)) {
    const event = vector === undefined ? '' : `  vector ${vector}`;
    lines.push(`  ${hex(from)} -> ${to === undefined ? 'failed' : hex(to)}${event}`);
  }
  return lines.join('\n');
}

/** The top of the stack in words of 64 bits, as far as it is mapped. */
function stackLines(debug: PartitionDebugger, vpIndex: number, top: bigint): string[] {
  const stack = Buffer.alloc(STACK_WORDS * 8);
  const words = Math.floor(debug.readMemory(vpIndex, top, stack) / 8);
  if (words === 0) return ['stack  not mapped'];
  const lines: string[] = [];
  for (let at = 0; at < words; at += PER_LINE) {
    const row = Array.from({ length: Math.min(PER_LINE, words - at) }, (_, i) =>
      hex(stack.readBigUInt64LE((at + i) * 8)),
    );
    lines.push(`${at === 0 ? 'stack' : '     '}  ${row.join('  ')}`);
  }
  return lines;
}

function hex(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}
