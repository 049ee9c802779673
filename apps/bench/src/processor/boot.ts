import { execFile, spawn } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { cpuSecondsOf } from './cpu-time.ts';

/** How long a kernel took from power-on to its shell's prompt. */
export interface BootTime {
  readonly wallSeconds: number;
  /** Processor time of the whole engine, from the start of its process. */
  readonly cpuSeconds: number;
  /** Where the engine counts them. */
  readonly instructions?: number;
  /** Most memory that the process had resident, where it is known. */
  readonly residentBytes?: number;
}

export interface BootOptions {
  /** The kernel as an uncompressed ELF file with a PVH entry, so that both start with it. */
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
  readonly memoryMib: number;
}

const TIMEOUT_MS = 300_000;

/** Whether a console ends in a shell's prompt; busybox asks the terminal for its cursor behind it. */
export function endsInPrompt(text: string): boolean {
  const cursorQuery = '\u001b[6n';
  return /[~/$] # $/.test(text.endsWith(cursorQuery) ? text.slice(0, -cursorQuery.length) : text);
}

export async function bootOnKensho(options: BootOptions): Promise<BootTime> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      path.join(import.meta.dirname, 'boot-process.ts'),
      JSON.stringify(options),
    ],
    { timeout: TIMEOUT_MS },
  );
  return JSON.parse(stdout) as BootTime;
}

/** The model is one that announces about what Kensho does, so that the kernel does the same. */
export function bootOnQemu({ kernel, initrd, commandLine, memoryMib }: BootOptions): Promise<BootTime> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const child = spawn(
      'qemu-system-x86_64',
      [
        ...['-accel', 'tcg', '-cpu', 'Nehalem', '-m', String(memoryMib), '-nodefaults', '-display', 'none'],
        ...['-kernel', kernel, '-initrd', initrd, '-append', commandLine, '-serial', 'stdio', '-no-reboot'],
      ],
      { stdio: ['ignore', 'pipe', 'inherit'], timeout: TIMEOUT_MS },
    );
    let text = '';
    let time: BootTime | undefined;
    child.stdout.on('data', (bytes: Buffer) => {
      text = (text + bytes.toString('latin1')).slice(-4096);
      if (time !== undefined || !endsInPrompt(text)) return;
      time = {
        wallSeconds: (performance.now() - startMs) / 1000,
        cpuSeconds: child.pid === undefined ? 0 : cpuSecondsOf(child.pid),
      };
      child.kill('SIGKILL');
    });
    child.on('error', reject);
    child.on('exit', () => {
      if (time !== undefined) resolve(time);
      else reject(new Error(`QEMU ended before a prompt came: ${text.slice(-200)}`));
    });
  });
}
