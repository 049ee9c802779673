import path from 'node:path';
import { type Command, Option } from 'commander';
import pc from 'picocolors';
import { type CommandContext, printJson } from '../context.ts';
import { call } from '../control/client.ts';
import { clearStale, socketNames, socketPath } from '../control/sockets.ts';
import { explain } from '../exit.ts';
import { crashReason } from '../guest-end.ts';
import { Progress } from '../progress.ts';
import { sizeText } from '../size-text.ts';
import { type JsonFlag, machineCommand, printable } from './machine-command.ts';
import { addKvpCommands } from './vm-kvp.ts';

/** What `show` answers. */
interface MachineInfo {
  readonly name: string;
  readonly pid: number;
  readonly state: string;
  /** How often its guest has reset it. */
  readonly restarts: number;
  /** Since the last of them. */
  readonly seconds: number;
  readonly processors: number;
  readonly memoryBytes: number;
  readonly heartbeat: string;
  readonly services: readonly { readonly id: string; readonly state: string; readonly version?: string }[];
  readonly disks: readonly { readonly name: string; readonly sizeBytes: number }[];
  readonly adapters: readonly { readonly name: string; readonly mac: string }[];
  readonly crash?: { readonly message?: string; readonly parameters: readonly string[] };
}

/** How long a machine may take to say how it is. */
const PATIENCE_MS = 5_000;

/** `kensho vm ...` */
export function addVmCommands(program: Command, context: CommandContext): void {
  const vm = program
    .command('vm')
    .summary('control a machine that runs')
    .helpCommand(false)
    .description(
      [
        'Controls a machine that was started with `kensho run --name NAME`, by the same user on the same host.',
        'All but list, show, pause and resume need integration services in the guest: Linux has them in its module hv_utils,',
        'and for kvp, backup and copy in the daemons of the package hyperv-daemons.',
      ].join('\n'),
    );
  addListing(vm, context);
  addStates(vm, context);
  addKvpCommands(vm, context);
  addTransfers(vm, context);
}

function addListing(vm: Command, context: CommandContext): void {
  vm.command('list')
    .summary('the machines that run')
    .description('Lists the machines that run, and removes what others left behind that ended without order.')
    .option('--json', 'print it as JSON')
    .action(async ({ json }: JsonFlag) => {
      const machines = await runningMachines(context);
      if (json) printJson(context, machines);
      else if (machines.length > 0) context.print(listText(machines));
    });
  machineCommand(vm, 'show', 'what a machine is, and how it is')
    .description('Says what a machine is, and which services its guest uses.')
    .action(async (name: string, { json }: JsonFlag) => {
      const info = (await call(name, 'show', {}, context)) as MachineInfo;
      if (json) printJson(context, info);
      else context.print(showText(info));
    });
}

async function runningMachines({ signal }: CommandContext): Promise<MachineInfo[]> {
  const machines: MachineInfo[] = [];
  for (const name of socketNames()) {
    try {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
      machines.push((await call(name, 'show', {}, { signal: patience })) as MachineInfo);
    } catch (error) {
      signal.throwIfAborted();
      if ((error as { code?: string }).code !== 'NO_MACHINE') {
        // One that does not answer, or speaks another version, does not hide the others.
        const isLate = error instanceof Error && error.name === 'TimeoutError';
        process.stderr.write(`kensho: ${name}: ${isLate ? 'does not answer' : explain(error).line}\n`);
        continue;
      }
      // Its process was killed; another may have taken the name since.
      await clearStale(socketPath(name), name).catch(() => {});
    }
  }
  return machines;
}

function addStates(vm: Command, context: CommandContext): void {
  for (const [verb, summary] of [
    ['pause', 'let a machine and its time stand still'],
    ['resume', 'let it go on, and tell it the time'],
  ] as const) {
    machineCommand(vm, verb, summary)
      .description(`${summary[0].toUpperCase()}${summary.slice(1)}.`)
      .action(async (name: string, { json }: JsonFlag) => {
        const info = (await call(name, verb, {}, context)) as MachineInfo;
        if (json) printJson(context, info);
        else context.print(`${name}: ${info.state}`);
      });
  }
  machineCommand(vm, 'heartbeat', 'whether the guest is alive')
    .description('Says whether the guest is alive: ok, lost-communication, no-contact or paused.')
    .action(async (name: string, { json }: JsonFlag) => {
      const beat = (await call(name, 'heartbeat', {}, context)) as {
        state: string;
        missed: number;
        sinceLastBeatMs?: number;
      };
      if (json) printJson(context, beat);
      else {
        const since =
          beat.sinceLastBeatMs === undefined
            ? ''
            : `, last beat ${(beat.sinceLastBeatMs / 1000).toFixed(1)} s ago`;
        context.print(`${coloured(beat.state)}${since}${beat.missed > 0 ? `, ${beat.missed} missed` : ''}`);
      }
    });
  for (const [verb, action, summary] of [
    ['shutdown', 'power-off', 'have the guest power off in good order'],
    ['reboot', 'reboot', 'have the guest reboot in good order'],
    ['hibernate', 'hibernate', 'have the guest hibernate'],
  ] as const) {
    machineCommand(vm, verb, summary)
      .description(`Asks the guest: ${summary}. Ends when the guest has agreed.`)
      .option('--force', 'tell programs to end instead of asking them')
      .option('--message <text>', 'what to tell who is logged in')
      .option('--wait', 'wait until the machine has ended, or restarts')
      .action(
        async (name: string, flags: JsonFlag & { force?: boolean; message?: string; wait?: boolean }) => {
          const { json, ...rest } = flags;
          const outcome = await call(name, 'shutdown', { action, ...rest }, context);
          const { end, restarting } = outcome as { end?: string; restarting?: boolean };
          if (json) printJson(context, outcome);
          else if (end === undefined) context.print(`${name}: the guest has agreed`);
          else context.print(restarting ? `${name}: restarting` : `${name}: ended, ${end}`);
        },
      );
  }
  machineCommand(vm, 'time', 'have the guest set its clock')
    .description('Tells the guest the host’s time, to be set.')
    .action(async (name: string, { json }: JsonFlag) => {
      await call(name, 'time', {}, context);
      if (json) printJson(context, { synchronised: true });
      else context.print(`${name}: synchronised`);
    });
}

function addTransfers(vm: Command, context: CommandContext): void {
  machineCommand(vm, 'copy', 'copy a file into the guest')
    .description(
      [
        'Copies a file, or a folder, into the guest. A file that is given up half-way is removed again',
        '(by the guest: the daemon of Linux 6.10 and later does not).',
      ].join('\n'),
    )
    .argument('<source>', 'a file or a folder of the host')
    .argument('<target>', 'its path in the guest; with a slash at the end, the folder to put it in')
    .option('--overwrite', 'replace a file that is there')
    .option('--create-path', 'make folders that are missing')
    .option('--recursive', 'copy a folder with all that is in it')
    .action(
      async (
        name: string,
        source: string,
        target: string,
        flags: JsonFlag & { overwrite?: boolean; createPath?: boolean; recursive?: boolean },
      ) => {
        const { json, ...rest } = flags;
        const args = { ...rest, source: path.resolve(source), target };
        const outcome = await withProgress(name, 'copy', args, context);
        const { files, bytes } = outcome as { files: number; bytes: number };
        if (json) printJson(context, outcome);
        else context.print(`${files} ${files === 1 ? 'file' : 'files'}, ${sizeText(bytes)}`);
      },
    );
  machineCommand(vm, 'backup', 'copy the disks of a guest that goes on')
    .description(
      [
        'Copies all disks of a machine as they are at one moment. The guest writes out and freezes its file systems while',
        'snapshots are taken, and is thawed before they are copied; also where that fails or is given up.',
      ].join('\n'),
    )
    .argument('<folder>', 'where the images go; made where it is missing')
    .addOption(
      new Option('--format <id>', 'format of the images').choices(['vhdx', 'vhd', 'raw']).default('vhdx'),
    )
    .action(async (name: string, folder: string, { json, format }: JsonFlag & { format: string }) => {
      const args = { folder: path.resolve(folder), format };
      const outcome = await withProgress(name, 'backup', args, context);
      const { frozenMs, images } = outcome as { frozenMs: number; images: { file: string }[] };
      if (json) printJson(context, outcome);
      else {
        for (const { file } of images) context.print(file);
        context.print(pc.dim(`frozen for ${frozenMs} ms`));
      }
    });
}

async function withProgress(
  name: string,
  verb: string,
  args: Readonly<Record<string, unknown>>,
  context: CommandContext,
): Promise<unknown> {
  const progress = new Progress(1000);
  try {
    return await call(name, verb, args, {
      signal: context.signal,
      onProgress: ({ what, done, total }) =>
        progress.show(`${what}: ${total === 0 ? 100 : Math.floor((100 * done) / total)} %`),
    });
  } finally {
    progress.clear();
  }
}

function coloured(state: string, text = state): string {
  if (state === 'ok') return pc.green(text);
  return state === 'lost-communication' ? pc.red(text) : pc.yellow(text);
}

function listText(machines: readonly MachineInfo[]): string {
  const width = Math.max('name'.length, ...machines.map(({ name }) => name.length));
  const heads = [
    'name'.padEnd(width),
    'state'.padEnd(8),
    'heartbeat'.padEnd(18),
    'time'.padStart(7),
    'restarts',
    'process',
  ];
  const lines = machines.map(({ name, pid, state, heartbeat, seconds, restarts }) =>
    [
      pc.bold(name.padEnd(width)),
      state.padEnd(8),
      coloured(heartbeat, heartbeat.padEnd(18)),
      `${seconds} s`.padStart(7),
      String(restarts).padStart(8),
      String(pid),
    ].join('  '),
  );
  return [pc.dim(heads.join('  ')), ...lines].join('\n');
}

function showText(info: MachineInfo): string {
  const lines: [string, string | undefined][] = [
    ['name', info.name],
    ['process', String(info.pid)],
    ['state', `${info.state}, for ${info.seconds} s`],
    ['restarts', info.restarts === 0 ? undefined : String(info.restarts)],
    ['machine', `${info.processors} VP, ${Math.round(info.memoryBytes / 2 ** 20)} MiB`],
    ['heartbeat', coloured(info.heartbeat)],
    ...info.services.map(({ id, state, version }): [string, string] => [
      'service',
      `${id}: ${state}${version ? `, version ${version}` : ''}`,
    ]),
    ...info.disks.map(({ name, sizeBytes }): [string, string] => ['disk', `${name}, ${sizeText(sizeBytes)}`]),
    ...info.adapters.map(({ name, mac }): [string, string] => ['network', `${name}, ${mac}`]),
    ['crash', info.crash && printable(crashReason(info.crash.message, info.crash.parameters))],
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${pc.dim(name.padEnd(10))} ${value}`)
    .join('\n');
}
