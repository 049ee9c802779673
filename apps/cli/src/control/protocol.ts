import { KenshoError } from '@kensho/core';

/**
 * How `kensho vm` talks to a running machine: over a Unix domain socket, in lines of JSON.
 *
 * A connection carries one request. The server answers with any number of progress lines and one outcome, and ends the
 * connection; a client that ends it before gives up.
 */
export const CONTROL_VERSION = 1;

/** Longest line that either side takes. */
export const MAX_LINE_BYTES = 1024 * 1024;

/** What a client asks for. */
export interface ControlRequest {
  readonly kensho: typeof CONTROL_VERSION;
  readonly verb: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** How far something is. */
export interface ControlProgress {
  readonly what: string;
  readonly done: number;
  readonly total: number;
}

/** A line of the server's. */
export type ControlReply =
  | { readonly progress: ControlProgress }
  | { readonly result: unknown }
  | { readonly error: { readonly code: string; readonly message: string } };

/** Throws KenshoError CONTROL_PROTOCOL or CONTROL_VERSION. */
export function parseRequest(line: string): ControlRequest {
  const value = parseObject(line);
  if (value.kensho !== CONTROL_VERSION) {
    throw new KenshoError(
      'CONTROL_VERSION',
      `this machine speaks version ${CONTROL_VERSION} of the control protocol, not ${JSON.stringify(value.kensho)}`,
    );
  }
  const { verb, args = {} } = value;
  if (typeof verb !== 'string' || typeof args !== 'object' || args === null) {
    throw new KenshoError('CONTROL_PROTOCOL', 'a request has a verb and arguments');
  }
  return { kensho: CONTROL_VERSION, verb, args: args as Readonly<Record<string, unknown>> };
}

/** Throws KenshoError CONTROL_PROTOCOL. */
export function parseReply(line: string): ControlReply {
  const value = parseObject(line);
  const known = ['progress', 'result', 'error'].filter((key) => key in value);
  if (known.length !== 1) throw new KenshoError('CONTROL_PROTOCOL', 'the machine says what makes no sense');
  return value as unknown as ControlReply;
}

function parseObject(line: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // Told below, with what else is no object.
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new KenshoError('CONTROL_PROTOCOL', 'a line of the control protocol is a JSON object');
}

/** Puts lines together out of the pieces in which they arrive. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  #pieces: Buffer[] = [];
  #sizeBytes = 0;

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  /** Throws KenshoError CONTROL_PROTOCOL where a line is longer than {@link MAX_LINE_BYTES}. */
  add(piece: Buffer): void {
    let rest = piece;
    for (let end = rest.indexOf(0x0a); end >= 0; end = rest.indexOf(0x0a)) {
      this.#take(rest.subarray(0, end));
      const line = Buffer.concat(this.#pieces).toString('utf8');
      this.#pieces = [];
      this.#sizeBytes = 0;
      rest = rest.subarray(end + 1);
      this.#onLine(line);
    }
    this.#take(rest);
  }

  #take(piece: Buffer): void {
    this.#sizeBytes += piece.length;
    if (this.#sizeBytes > MAX_LINE_BYTES) {
      throw new KenshoError('CONTROL_PROTOCOL', `a line is longer than ${MAX_LINE_BYTES} bytes`);
    }
    if (piece.length > 0) this.#pieces.push(piece);
  }
}
