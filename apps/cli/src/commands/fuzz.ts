import { FUZZ_TARGETS, type FuzzResult, type FuzzTarget, fuzzWatched } from '@kensho/testkit';
import { type Command, Option } from 'commander';
import { type CommandContext, printJson } from '../context.ts';
import { UsageError } from '../exit.ts';
import { parseCount, parseSeconds } from '../parse.ts';
import { Progress } from '../progress.ts';

/** When neither cases nor seconds are given. */
const DEFAULT_SECONDS = 10;
/** Between two lines where they are not rewritten. */
const PROGRESS_EVERY_MS = 5000;

interface FuzzFlags {
  list?: boolean;
  cases?: number;
  seconds?: number;
  seed?: number;
  case?: number;
  json?: boolean;
}

/** `kensho fuzz ...` */
export function addFuzzCommand(program: Command, context: CommandContext): void {
  program
    .command('fuzz')
    .summary('feed a part of the hypervisor with nonsense')
    .description(
      'Feeds a part of the hypervisor or a device with random input until a bound is reached; ends with 1 at the first case that fails. A case follows from its seed alone: --case runs it again.',
    )
    .addHelpText('after', `\nTargets:\n${targetLines('  ')}`)
    .argument('[target]', 'what is fed')
    .option('--list', 'print the targets')
    .option('--cases <n>', 'end after this many cases', parseCount)
    .option(
      '--seconds <n>',
      `end after this time (default: ${DEFAULT_SECONDS}, unless --cases is given)`,
      parseSeconds,
    )
    .option('--seed <n>', 'of the cases’ seeds (default: 1)', parseCount)
    .addOption(
      new Option('--case <seed>', 'run one case again')
        .argParser(parseCount)
        .conflicts(['cases', 'seconds', 'seed']),
    )
    .option('--json', 'print the result as JSON')
    .action((id: string | undefined, flags: FuzzFlags) => {
      if (flags.list) return list(flags, context);
      return run(targetOf(id), flags, context);
    });
}

function list({ json }: FuzzFlags, context: CommandContext): void {
  if (json)
    printJson(
      context,
      FUZZ_TARGETS.map(({ id, description }) => ({ id, description })),
    );
  else context.print(targetLines(''));
}

function targetLines(indent: string): string {
  return FUZZ_TARGETS.map(({ id, description }) => `${indent}${id.padEnd(12)} ${description}`).join('\n');
}

function targetOf(id: string | undefined): FuzzTarget {
  const target = FUZZ_TARGETS.find((one) => one.id === id);
  if (target !== undefined) return target;
  const known = FUZZ_TARGETS.map((one) => one.id).join(', ');
  throw new UsageError(
    id === undefined ? `name a target: ${known}` : `no fuzz target '${id}': there are ${known}`,
  );
}

async function run(target: FuzzTarget, flags: FuzzFlags, context: CommandContext): Promise<void> {
  const progress = new Progress(PROGRESS_EVERY_MS);
  try {
    const result = await fuzzWatched(target.id, {
      seed: flags.seed ?? 1,
      only: flags.case,
      cases: flags.cases,
      seconds: flags.seconds ?? (flags.cases === undefined ? DEFAULT_SECONDS : undefined),
      signal: context.signal,
      onProgress: (cases, seed) =>
        progress.show(`${target.id}: ${cases.toLocaleString('en-US')} cases, now ${seed}`),
    });
    progress.clear();
    if (flags.json)
      printJson(
        context,
        flags.case === undefined ? result : { target: target.id, case: flags.case, failed: false },
      );
    else
      context.print(flags.case === undefined ? summary(result) : `${target.id}: case ${flags.case} passed`);
  } finally {
    progress.clear();
  }
}

function summary(result: FuzzResult): string {
  const megabytes = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
  return (
    `${result.target}: ${result.cases.toLocaleString('en-US')} cases of seed ${result.seed} in ${result.seconds.toFixed(1)} s ` +
    `(${Math.round(result.casesPerSecond).toLocaleString('en-US')} a second), none failed; ` +
    `memory ${megabytes(result.heapBytesEarly)} MiB early, ${megabytes(result.heapBytesEnd)} MiB at the end`
  );
}
