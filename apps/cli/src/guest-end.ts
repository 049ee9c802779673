import { type HostedPartition, HvRegister, type PartitionEnd, VP_REGISTERS } from '@kensho/core';
import { ExitCode } from './exit.ts';

/** How a run ended: as the partition says, or by what the command line or the user at the console asked for. */
export type RunEnd = PartitionEnd | { readonly reason: 'time-out' } | { readonly reason: 'quit' };

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
    case 'crash': {
      const what = end.message?.trim().split('\n').at(-1) ?? '';
      const numbers = end.parameters.map((parameter) => `0x${parameter.toString(16)}`).join(' ');
      return {
        line: `the guest crashed: ${what === '' ? numbers : what}`,
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

/** The registers of a VP, in lines, for who looks for the reason of its end. */
export function registerDump(partition: HostedPartition, vpIndex: number): string {
  const registers = partition.services.resolve(VP_REGISTERS);
  const cells = DUMPED.map((name) => {
    const [value] = registers.get(vpIndex, [HvRegister[name]]);
    return `${name.padEnd(6)} ${value.toString(16).padStart(16, '0')}`;
  });
  const lines: string[] = [];
  for (let at = 0; at < cells.length; at += PER_LINE) lines.push(cells.slice(at, at + PER_LINE).join('  '));
  return lines.join('\n');
}
