/** What every command gets. */
export interface CommandContext {
  readonly version: string;
  /** Aborts with an `Interrupted` when the user ends the command. */
  readonly signal: AbortSignal;
  /** Writes a line to stdout. */
  print(text: string): void;
}

/** Machine-readable output: one JSON value, and nothing else on stdout. */
export function printJson(context: CommandContext, value: unknown): void {
  context.print(JSON.stringify(value, null, 2));
}
