import { Command } from 'commander';
import { addBenchCommands } from './commands/bench.ts';
import { addDiskCommands } from './commands/disk.ts';
import { addFuzzCommand } from './commands/fuzz.ts';
import { addGuestCommands } from './commands/guest.ts';
import { addRunCommand } from './commands/run.ts';
import { addVmCommands } from './commands/vm.ts';
import type { CommandContext } from './context.ts';

/** The whole command line. Throws CommanderError instead of ending the process. */
export function createProgram(context: CommandContext): Command {
  const program = new Command('kensho')
    .description(
      'Kensho, a Hyper-V-compatible hypervisor: guests reach devices enlightened (VMBus) or emulated.',
    )
    .version(context.version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({
      // One line, the suggestion included.
      outputError: (text, write) => {
        const line = text
          .replace(/^error: /, '')
          .replace(/\s*\n\s*/g, ' ')
          .trim();
        write(`kensho: ${line}\n`);
      },
    })
    .addHelpText(
      'after',
      [
        '',
        'Sizes are bytes or a number with k, M, G or T (powers of 1024). Results go to stdout, everything else to stderr.',
        'Ends with 0; 1 where it failed; 2 where the command line makes no sense; 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP.',
        'Help for a command: kensho bench storage --help',
      ].join('\n'),
    );
  addRunCommand(program, context);
  addVmCommands(program, context);
  addBenchCommands(program, context);
  addDiskCommands(program, context);
  addGuestCommands(program, context);
  addFuzzCommand(program, context);
  return program;
}
