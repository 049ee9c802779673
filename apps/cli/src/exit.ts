import { KenshoError } from '@kensho/core';
import { FuzzFailure } from '@kensho/testkit';

/** How the command ends, for scripts; documented by `kensho --help`. */
export const ExitCode = {
  OK: 0,
  /** It was understood and did not succeed: a file is missing, an image is damaged, data did not match. */
  FAILED: 1,
  /** The command line makes no sense. */
  USAGE: 2,
  /** `run`: how the guest ended, where it was not an orderly power-off. Even: exit ports give odd codes. */
  GUEST_RESET: 10,
  GUEST_CRASHED: 12,
  GUEST_TRIPLE_FAULT: 14,
  /** As `timeout` of the coreutils. */
  TIME_OUT: 124,
  /** Ended by a signal: 128 and the signal's number, as shells count. */
  SIGHUP: 129,
  SIGINT: 130,
  SIGTERM: 143,
} as const;

/** A command line that makes no sense; its message is one line. */
export class UsageError extends Error {}

/** The user ended the command. */
export class Interrupted extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super('interrupted');
    this.exitCode = exitCode;
  }
}

/** Codes of errors that another command line would not have caused. */
const USAGE_CODES: ReadonlySet<string> = new Set([
  'INVALID_OPTION',
  'BAD_DISK_SPEC',
  'UNKNOWN_DISK_FORMAT',
  'AMBIGUOUS_DISK_FORMAT',
  'DISK_FORMAT_CANNOT',
  'SETTINGS_DIFFER',
  'INVALID_PARTITION_OPTIONS',
  'PORTS_IN_USE',
  'UNKNOWN_CONTRIBUTION',
  'TAP_NAME',
]);

/** What is said of an error, and what the command ends with. */
export function explain(error: unknown): { readonly line: string; readonly exitCode: number } {
  if (error instanceof Interrupted) return { line: error.message, exitCode: error.exitCode };
  if (error instanceof UsageError) return { line: error.message, exitCode: ExitCode.USAGE };
  if (error instanceof KenshoError) {
    const exitCode = USAGE_CODES.has(error.code) ? ExitCode.USAGE : ExitCode.FAILED;
    return { line: oneLine(error.message), exitCode };
  }
  // With the stack of what went wrong: whoever runs a fuzzer wants it.
  if (error instanceof FuzzFailure) return { line: error.message, exitCode: ExitCode.FAILED };
  if (isSystemError(error)) {
    const reason = /^[A-Z0-9]+: (?<reason>[^,]+)/.exec(error.message)?.groups?.reason ?? error.message;
    const line = error.path === undefined ? reason : `${error.path}: ${reason}`;
    return { line, exitCode: ExitCode.FAILED };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { line: `this is a bug of Kensho's: ${text}`, exitCode: ExitCode.FAILED };
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}
