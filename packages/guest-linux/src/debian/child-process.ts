import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { KenshoError } from '@kensho/core';

/** How a command is run. */
export interface RunOptions {
  /** Beside the environment of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Ends the command with all that it has started; its reason is thrown once that is so. */
  readonly signal?: AbortSignal;
  /** Gets each line that the command writes to file descriptor 3. */
  readonly onStatus?: (line: string) => void;
}

/** How a command ended that could be started. */
export interface CommandEnd {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end. Throws KenshoError NO_COMMAND where it is not on the machine. */
export function runCommand(
  command: string,
  args: readonly string[],
  { environment, signal, onStatus }: RunOptions = {},
): Promise<CommandEnd> {
  signal?.throwIfAborted();
  const child = spawn(command, args, {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', onStatus === undefined ? 'ignore' : 'pipe'],
    // A group of its own, so that what it has started is ended with it: apt's methods then note how far they are.
    detached: true,
  });
  const stop = () => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
      process.kill(-child.pid, 'SIGTERM');
    }
  };
  signal?.addEventListener('abort', stop);
  const stdout = collect(child.stdout as Readable);
  const stderr = collect(child.stderr as Readable);
  if (onStatus !== undefined) eachLine(child.stdio[3] as Readable, onStatus);
  return new Promise((resolve, reject) => {
    let failure: Error | undefined;
    child.on('error', (error) => (failure ??= error));
    child.on('close', (exitCode) => {
      signal?.removeEventListener('abort', stop);
      if (signal?.aborted) reject(signal.reason);
      else if (failure !== undefined) reject(explainStart(command, failure));
      else resolve({ exitCode, stdout: stdout(), stderr: stderr() });
    });
  });
}

function explainStart(command: string, cause: NodeJS.ErrnoException): Error {
  if (cause.code !== 'ENOENT') return cause;
  return new KenshoError('NO_COMMAND', `${command} is not on this machine`, { cause });
}

function collect(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  return () => text;
}

function eachLine(stream: Readable, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  });
}
