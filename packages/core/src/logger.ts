import type { Counters } from './counters.ts';

/** Structured facts that go with a log line. */
export type LogFields = Readonly<Record<string, unknown>>;
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Where log lines go is an application's choice: it passes a sink to {@link createLogger}. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger whose lines carry `scope` in front. */
  child(scope: string): Logger;
}

export type LogSink = (
  level: LogLevel,
  scope: string,
  message: string,
  fields: LogFields | undefined,
) => void;

/** A logger that hands every line to `sink`. */
export function createLogger(sink: LogSink, scope = ''): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) =>
    sink(level, scope, message, fields);
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (name) => createLogger(sink, scope === '' ? name : `${scope}.${name}`),
  };
}

/** Drops everything; the default. */
export const silentLogger: Logger = createLogger(() => {});

/** How many lines of one kind of guest fault are logged before the rest are only counted. */
const LINES_PER_KIND = 10;

/**
 * The one way to answer a guest that misbehaves, beside the status that the specification names: the fault is
 * counted as `fault.<kind>`, and the first few of each kind are logged.
 */
export class GuestFaults {
  readonly #counters: Counters;
  readonly #log: Logger;

  constructor(counters: Counters, log: Logger) {
    this.#counters = counters;
    this.#log = log;
  }

  /** @param kind - dotted and of a fixed set (it becomes a counter); what the guest chose belongs in `fields` */
  report(kind: string, message: string, fields?: LogFields): void {
    const counter = this.#counters.counter(`fault.${kind}`);
    counter.value++;
    if (counter.value > LINES_PER_KIND) return;
    this.#log.warn(message, fields);
    if (counter.value === LINES_PER_KIND) this.#log.warn(`further faults of kind ${kind} are only counted`);
  }
}
