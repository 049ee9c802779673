import fs from 'node:fs';
import { POWER_MANAGEMENT } from '@kensho/chipset';
import { createLogger, type HostedPartition, type LogSink } from '@kensho/core';
import type { PortForward } from '@kensho/devices-net';
import {
  findGuest,
  GUEST_COMMAND_LINE,
  type LinuxGuestOptions,
  memoryForInitrd,
  withScript,
} from '@kensho/guest-linux';
import { type Command, Option } from 'commander';
import { ESCAPE_KEY_HELP } from '../console/escape-keys.ts';
import { StreamConsole, type StreamConsoleOptions } from '../console/stream-console.ts';
import { type CommandContext, printJson } from '../context.ts';
import {
  type DebugRequest,
  type GdbAddress,
  parseGdbAddress,
  parseTrace,
  TRACE_SYNTAX,
  type TraceRequest,
} from '../debugging.ts';
import { DISK_SYNTAX, type DiskRequest, parseDisk } from '../disks.ts';
import { explain, UsageError } from '../exit.ts';
import { readWhole } from '../files.ts';
import { explainEnd } from '../guest-end.ts';
import { guestsFolder } from '../guests.ts';
import { FORWARD_SYNTAX, NIC_SYNTAX, type NicRequest, parseForward, parseNic } from '../nics.ts';
import { parseCount, parsePort, parseSeconds, parseSize } from '../parse.ts';
import { loadPlugins } from '../plugins.ts';
import { RESET_ACTIONS, type ResetAction } from '../reset-policy.ts';
import { Ended, type RunReport, runKernel } from '../run-kernel.ts';

const DEFAULT_GUEST = 'amd64';

interface RunFlags {
  name?: string;
  onCrash: 'end' | 'report';
  onReset: ResetAction;
  kernel?: string;
  guest: string;
  initrd?: string;
  cmdline: string;
  script?: string;
  disk: readonly DiskRequest[];
  nic: readonly NicRequest[];
  forward: readonly PortForward[];
  plugin: readonly string[];
  memory?: number;
  vps: number;
  serial: string;
  serial2?: string;
  timeout?: number;
  clock: 'real' | 'virtual';
  seed?: number;
  exitPort?: number;
  gdb?: GdbAddress;
  gdbWait: boolean;
  trace?: TraceRequest;
  branches?: boolean;
  testDevice?: boolean;
  integration: boolean;
  json?: boolean;
  verbose?: boolean;
}

/** `kensho run ...` */
export function addRunCommand(program: Command, context: CommandContext): void {
  program
    .command('run')
    .summary('boot a guest, or a kernel')
    .description(
      [
        'Boots a guest of `kensho guest build`, or a kernel of yours, on the software processor and the Generation-1 board,',
        'with the first serial port as its console.',
        'On a terminal every key goes to the guest, Ctrl-C too; Ctrl-A is for the console. Otherwise stdin goes to the guest as it is.',
      ].join('\n'),
    )
    .option('--guest <name>', 'a guest that was built', DEFAULT_GUEST)
    .option(
      '--kernel <file>',
      'Linux (bzImage or vmlinux), or an ELF image with a PVH or Multiboot entry (default: the guest’s)',
    )
    .option('--initrd <file>', 'initial RAM disk; for Multiboot the first module (default: the guest’s)')
    .option(
      '--cmdline <text>',
      `the kernel’s command line, as in "quiet"; a guest’s begins with "${GUEST_COMMAND_LINE}"`,
      '',
    )
    .option(
      '--script <file>',
      'what the guest is to run, and then power off; its output goes to COM2 where there is one',
    )
    .addOption(
      new Option('--disk <disk>', `a disk or, from an ISO image, a DVD; ${DISK_SYNTAX}; may be repeated`)
        .argParser((text, disks: readonly DiskRequest[]) => [...disks, parseDisk(text)])
        .default([], 'none'),
    )
    .addOption(
      new Option('--nic <nic>', `a network adapter; ${NIC_SYNTAX}; may be repeated`)
        .argParser((text, nics: readonly NicRequest[]) => [...nics, parseNic(text)])
        .default([], 'none'),
    )
    .addOption(
      new Option(
        '--forward <port>',
        `a port of this machine's that leads to the guest; ${FORWARD_SYNTAX}; may be repeated`,
      )
        .argParser((text, forwards: readonly PortForward[]) => [...forwards, parseForward(text)])
        .default([], 'none'),
    )
    .addOption(
      new Option(
        '--plugin <module>',
        'a file or a package of a third party: its plugins, and the devices that it exports; may be repeated',
      )
        .argParser((module, modules: readonly string[]) => [...modules, module])
        .default([], 'none'),
    )
    .addOption(
      new Option(
        '--memory <size>',
        'RAM (default: 512M, or three times the initrd where that is more)',
      ).argParser(parseSize),
    )
    .option('--name <name>', 'lets `kensho vm` control the machine by this name (default: nobody can)')
    .addOption(
      new Option(
        '--on-crash <what>',
        'what a crash that the guest reports does; with report it goes on as it can',
      )
        .choices(['end', 'report'])
        .default('end'),
    )
    .addOption(
      new Option(
        '--on-reset <what>',
        'what a reset does that the guest asks for; with restart the machine begins anew, with what it had',
      )
        .choices(RESET_ACTIONS)
        .default('restart'),
    )
    .option('--vps <n>', 'virtual processors', parseCount, 1)
    .option('--serial <where>', 'what COM1 is connected to: stdio, or file:PATH', 'stdio')
    .option('--serial2 <where>', 'what COM2 is connected to: file:PATH (default: there is none)')
    .option('--timeout <s>', 'end the run after this time (default: never)', parseSeconds)
    .addOption(
      new Option('--clock <kind>', 'virtual makes runs repeat: time passes with instructions')
        .choices(['real', 'virtual'])
        .default('real'),
    )
    .option(
      '--seed <n>',
      'where the guest’s random numbers begin (default: 1 with --clock virtual, else they are the system’s)',
      parseCount,
    )
    .option(
      '--exit-port <port>',
      'a port, in hexadecimal, at which a test kernel ends the run with a code',
      parsePort,
    )
    .option(
      '--gdb <[host]:port>',
      'serve GDB, on this machine only where no host is given; the guest waits for it before its first instruction',
      parseGdbAddress,
    )
    .option('--no-gdb-wait', 'with --gdb: do not wait')
    .option(
      `--trace <file>`,
      `write a line for each instruction: VP, count, RIP, registers changed; ${TRACE_SYNTAX}`,
      parseTrace,
    )
    .option('--branches', 'record every branch, for the dump after a triple fault; the guest is slower')
    .option(
      '--test-device',
      'add what kvm-unit-tests expect beside the board: ports and memory to try, the state firmware leaves',
    )
    .option('--no-integration', 'hide the hypervisor: no enlightenment, no VMBus')
    .option('--json', 'print how it ended as JSON; the console is on stderr then')
    .option('--verbose', 'say on stderr what the hypervisor logs')
    .addHelpText(
      'after',
      [
        '',
        'Of a disk:',
        '  format=ID  raw, vhd, vhdx, iso or what a plugin brings (default: recognised)',
        '  bus=BUS    scsi, a synthetic controller (default); or ide, the board’s, whose disks an enlightened guest reaches',
        '             over VMBus, too (default with --no-integration)',
        '  ro         the guest may not write to it',
        '  overlay    the image stays as it is: what the guest writes is gone after the run',
        '',
        'Of a network adapter:',
        '  switch=NAME         a port of a virtual switch',
        '  nat                 a network of its own with DHCP and DNS, and a way out by TCP and UDP; nobody needs to be root',
        '  tap:IF              an interface of this machine’s (Linux, by socat), which is made where root asks for it',
        '  replay:FILE, none   what a capture holds; nothing',
        '  KIND[:OPTIONS]      a network of a plugin’s',
        '  mac=, bus=, vlan=   its address; vmbus (default) or tulip (default with --no-integration); of a switch',
        '  queues=N            channels of the synthetic adapter, which a guest with several processors uses (default 1)',
        '  capture=FILE        its frames as pcapng',
        '  loss=, duplicate=, reorder=   how often that happens to a frame, from 0 to 1; seed= for another sequence',
        '  delay=, jitter=, rate=        milliseconds, and bits a second, as in 10M',
        '',
        'On a terminal:',
        ...ESCAPE_KEY_HELP.map((line) => `  ${line}`),
        '',
        'Of a trace:',
        '  skip=N, count=N  only count instructions of each VP, after its first skip ones',
        '  last=N           only the last lines, written at the end',
        '  at=FIRST[-LAST]  only instructions at these linear addresses, in hexadecimal',
        '',
        'A reset makes the machine anew: its disks keep what was written, overlays too, its networks their ports and captures;',
        'its console, its name for `kensho vm` and GDB stay.',
        '',
        'Ends with 0 where the guest powered off; 10 where it asked for a reset, with --on-reset exit or 5 times in a row soon after',
        'it had begun; 12 where it crashed; 14 where a processor took a triple fault;',
        '124 where its time was over; (value * 2) + 1 after a write to the exit port; 130 where Ctrl-A x ended it.',
      ].join('\n'),
    )
    .action((flags: RunFlags) => run(flags, context));
}

async function run(flags: RunFlags, context: CommandContext): Promise<void> {
  const report = await boot(flags, context);
  if (flags.json) printJson(context, jsonOf(flags.kernel ?? flags.guest, report));
  else if (report.dump !== undefined && (report.end.reason === 'triple-fault' || flags.verbose))
    process.stderr.write(`${report.dump}\n`);
  const { line, exitCode } = explainEnd(report.end);
  if (line !== undefined) process.stderr.write(`kensho: ${line}\n`);
  process.exitCode = exitCode;
}

async function boot(flags: RunFlags, context: CommandContext): Promise<RunReport> {
  const stop = new AbortController();
  let partition: HostedPartition | undefined;
  const { guest, rootDisk } = guestOf(flags);
  const onFailure = (error: Error) => stop.abort(error);
  const serial = serialPort(flags, {
    onCommand: (command) => {
      if (command === 'quit') stop.abort(new Ended({ reason: 'quit' }));
      else partition?.services.resolve(POWER_MANAGEMENT).pressPowerButton();
    },
    onFailure,
  });
  const serial2 =
    flags.serial2 === undefined ? undefined : fileSerialPort('--serial2', flags.serial2, { onFailure });
  try {
    return await runKernel({
      name: flags.name,
      onCrash: flags.onCrash,
      onReset: flags.onReset,
      machine: {
        memoryBytes: flags.memory ?? memoryForInitrd(sizeOf(guest.initrd)),
        vpCount: flags.vps,
        clock: flags.clock,
        randomSeed: flags.seed,
        integration: flags.integration,
        serial: serial.console,
        exitPort: flags.exitPort,
        realMode: flags.testDevice === true,
        devices: [
          ...(flags.testDevice ? [{ kind: 'kernel-test', id: 'kernel-test' }] : []),
          ...(serial2 === undefined
            ? []
            : [{ kind: 'uart', id: 'com2', options: { com: 2, backend: serial2.console } }]),
        ],
        guest,
      },
      disks: [...rootDisk, ...flags.disk],
      nics: flags.nic,
      forwards: flags.forward,
      plugins: await loadPlugins(flags.plugin),
      timeoutSeconds: flags.timeout,
      signal: AbortSignal.any([stop.signal, context.signal]),
      debug: debugOf(flags),
      onLoaded(loaded, { restarts, gdb }) {
        partition = loaded;
        if (restarts > 0) return;
        if (gdb !== undefined) process.stderr.write(`kensho: GDB is served at ${gdb.host}:${gdb.port}\n`);
        serial.console.open();
      },
      onUnload() {
        partition = undefined;
      },
      logger: createLogger(flags.verbose ? logLine : errorLine()),
    });
  } finally {
    await serial.close();
    await serial2?.close();
  }
}

function debugOf({ gdb, gdbWait, trace, branches }: RunFlags): DebugRequest | undefined {
  if (gdb === undefined && trace === undefined && branches === undefined) return undefined;
  return { gdb, gdbWait, trace, branches };
}

/** The kernel that was given; or a guest that was built, and what it writes on its root disk is for this run only. */
function guestOf({ kernel, guest, initrd, cmdline, script }: RunFlags): {
  readonly guest: LinuxGuestOptions;
  readonly rootDisk: readonly DiskRequest[];
} {
  if (kernel !== undefined) {
    if (script !== undefined)
      throw new UsageError('--script is for guests that were built, not for --kernel');
    return { guest: { kernel, initrd, commandLine: cmdline }, rootDisk: [] };
  }
  const built = findGuest(guestsFolder(), guest);
  const image = initrd ?? built.initrd;
  const { rootDisk } = built;
  return {
    guest: {
      kernel: built.kernel,
      initrd: script === undefined ? image : withScript(readWhole(image), readWhole(script)),
      commandLine: `${built.commandLine} ${cmdline}`.trim(),
    },
    rootDisk:
      rootDisk === undefined ? [] : [{ path: rootDisk, format: 'raw', readOnly: false, overlay: true }],
  };
}

/** A file that is not there has none; whoever opens it says so. */
function sizeOf(file: LinuxGuestOptions['initrd']): number {
  if (typeof file !== 'string') return file?.length ?? 0;
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

interface SerialPort {
  readonly console: StreamConsole;
  close(): Promise<void>;
}

function serialPort(
  flags: RunFlags,
  events: Pick<StreamConsoleOptions, 'onCommand' | 'onFailure'>,
): SerialPort {
  if (flags.serial === 'stdio') {
    const output = flags.json ? process.stderr : process.stdout;
    const console = new StreamConsole({ output, input: process.stdin, ...events });
    return { console, close: () => console.close() };
  }
  if (!flags.serial.startsWith('file:')) {
    throw new UsageError(`--serial is stdio or file:PATH, not '${flags.serial}'`);
  }
  return fileSerialPort('--serial', flags.serial, events);
}

function fileSerialPort(
  option: string,
  where: string,
  events: Pick<StreamConsoleOptions, 'onCommand' | 'onFailure'>,
): SerialPort {
  const path = /^file:(?<path>.+)$/s.exec(where)?.groups?.path;
  if (path === undefined) throw new UsageError(`${option} is file:PATH, not '${where}'`);
  const output = fs.createWriteStream(path, { fd: fs.openSync(path, 'w') });
  const console = new StreamConsole({ output, ...events });
  return {
    console,
    async close() {
      await console.close();
      output.end();
    },
  };
}

const logLine: LogSink = (level, scope, message, fields) => {
  const facts = Object.entries(fields ?? {}).map(([name, value]) => ` ${name}=${String(value)}`);
  process.stderr.write(`${level} ${scope}: ${message}${facts.join('')}\n`);
};

/** What failed at the host is told in any case, each once. */
function errorLine(): LogSink {
  const told = new Set<string>();
  return (level, _, message, fields) => {
    if (level !== 'error') return;
    const { error } = fields ?? {};
    const line = error === undefined ? message : `${message}: ${explain(error).line}`;
    if (told.has(line)) return;
    told.add(line);
    process.stderr.write(`kensho: ${line}\n`);
  };
}

/** Crash parameters are wider than a JSON number. */
function jsonOf(kernel: string, { end, ...report }: RunReport): unknown {
  if (end.reason !== 'crash') return { kernel, end, ...report };
  const parameters = end.parameters.map((parameter) => `0x${parameter.toString(16)}`);
  return { kernel, end: { ...end, parameters }, ...report };
}
