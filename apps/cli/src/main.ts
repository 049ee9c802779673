#!/usr/bin/env node
import fs from 'node:fs';
import { CommanderError } from 'commander';
import { ExitCode, explain, Interrupted } from './exit.ts';
import { createProgram } from './program.ts';

const manifest: { version: string } = JSON.parse(
  fs.readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

/** The first signal lets the command clean up; a second one does not wait. */
const interruption = new AbortController();
function interruptBy(signal: 'SIGHUP' | 'SIGINT' | 'SIGTERM'): void {
  process.on(signal, () => {
    if (interruption.signal.aborted) process.exit(ExitCode[signal]);
    interruption.abort(new Interrupted(ExitCode[signal]));
  });
}
interruptBy('SIGHUP');
interruptBy('SIGINT');
interruptBy('SIGTERM');

function report(error: unknown): void {
  const { line, exitCode } = explain(error);
  // `kensho ... | head`: whoever read has seen enough.
  if (exitCode !== ExitCode.OK) process.stderr.write(`kensho: ${line}\n`);
  process.exitCode = exitCode;
}

// The command cleans up as after a signal; it may also have done all that it had to.
let isDone = false;
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (interruption.signal.aborted) return;
  const gone = error.code === 'EPIPE';
  interruption.abort(gone ? new Interrupted(ExitCode.OK) : Object.assign(error, { path: 'stdout' }));
  if (isDone) report(interruption.signal.reason);
});
// There is nobody to tell.
process.stderr.on('error', () => {});

const program = createProgram({
  version: manifest.version,
  signal: interruption.signal,
  print: (text) => process.stdout.write(`${text}\n`),
});
try {
  await program.parseAsync();
  interruption.signal.throwIfAborted();
} catch (error) {
  if (error instanceof CommanderError) {
    // It has said what there is to say; its own codes are 0 and 1.
    process.exitCode = error.exitCode === 0 ? ExitCode.OK : ExitCode.USAGE;
  } else {
    // Whatever failed because the user ended the command is not what the user wants to hear of.
    report(interruption.signal.aborted ? interruption.signal.reason : error);
  }
}
isDone = true;
