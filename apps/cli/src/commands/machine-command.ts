import type { Command } from 'commander';

export interface JsonFlag {
  readonly json?: boolean;
}

/** A command for one machine, with `--json`. */
export function machineCommand(parent: Command, name: string, summary: string): Command {
  return parent
    .command(name)
    .summary(summary)
    .argument('<name>', 'the machine')
    .option('--json', 'print the outcome as JSON');
}

/** What a guest says, without what a terminal would take for a command. */
export function printable(text: string | number): string {
  return String(text).replace(/[^\P{C}\n\t]/gu, (one) => `\\u{${one.codePointAt(0)?.toString(16)}}`);
}
