import type { Readable, Writable } from 'node:stream';
import type { SerialBackend, SerialLine } from '@kensho/chipset';
import { type ConsoleCommand, ESCAPE_KEY_HELP, EscapeKeys } from './escape-keys.ts';

/** A stream that may be a terminal's. */
export interface ConsoleInput extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

export interface StreamConsoleOptions {
  /** What the guest says. */
  readonly output: Writable;
  /** What is typed. A terminal is taken whole: every key goes to the guest, but for Ctrl-A. @default nothing */
  readonly input?: ConsoleInput;
  /** What Ctrl-A asks for that is not the console's own business. */
  readonly onCommand?: (command: 'quit' | 'power-button') => void;
  /** Called once, where the output takes no more. */
  readonly onFailure: (error: Error) => void;
}

/** Written at once, and kept at most where the output does not take more just now. */
const CHUNK_BYTES = 16 * 1024;

/** A serial line whose other end are streams of the host's: the terminal, pipes, a file. */
export class StreamConsole implements SerialBackend {
  readonly #output: Writable;
  readonly #input: ConsoleInput | undefined;
  readonly #onCommand: (command: 'quit' | 'power-button') => void;
  readonly #keys: EscapeKeys | undefined;
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #chunkBytes = 0;
  #flushQueued = false;
  #blocked = false;
  #line: SerialLine | undefined;
  /** Typed, and not taken by the UART yet. */
  #pending: Uint8Array = new Uint8Array(0);
  readonly #onData = (data: Uint8Array) => this.#type(data);
  readonly #onDrain = () => {
    this.#blocked = false;
    this.#flush();
    this.#line?.resumeOutput();
  };
  readonly #onError: (error: Error) => void;
  readonly #restore = () => this.#input?.setRawMode?.(false);

  constructor({ output, input, onCommand, onFailure }: StreamConsoleOptions) {
    this.#output = output;
    this.#input = input;
    this.#onCommand = onCommand ?? (() => {});
    this.#keys = input?.isTTY ? new EscapeKeys() : undefined;
    let failed = false;
    this.#onError = (error) => {
      if (failed) return;
      failed = true;
      onFailure(error);
    };
    output.on('error', this.#onError);
    output.on('drain', this.#onDrain);
  }

  connect(line: SerialLine): void {
    this.#line = line;
    if (this.#pending.length > 0) this.#deliver();
  }

  disconnect(): void {
    this.#line = undefined;
  }

  /** From here on what is typed goes to the guest; a terminal is in raw mode until {@link close}. */
  open(): void {
    if (this.#input === undefined) return;
    if (this.#keys !== undefined) {
      // Also where nobody gets to call close().
      process.on('exit', this.#restore);
      this.#input.setRawMode?.(true);
    }
    this.#input.on('data', this.#onData);
  }

  send(byte: number): boolean {
    if (this.#chunkBytes === CHUNK_BYTES) {
      if (this.#blocked) return false;
      this.#flush();
    }
    this.#chunk[this.#chunkBytes++] = byte;
    if (!this.#flushQueued) {
      this.#flushQueued = true;
      setImmediate(() => {
        this.#flushQueued = false;
        this.#flush();
      });
    }
    return true;
  }

  onInputSpace(): void {
    this.#deliver();
  }

  /** Gives the terminal back and writes what is left; resolves when it is written. */
  async close(): Promise<void> {
    this.#line = undefined;
    if (this.#input !== undefined) {
      this.#input.off('data', this.#onData);
      this.#input.pause();
      if (this.#keys !== undefined) {
        this.#restore();
        process.off('exit', this.#restore);
      }
    }
    this.#output.off('drain', this.#onDrain);
    // The callback comes with an error too, which was told already.
    if (!this.#output.destroyed) {
      await new Promise<void>((resolve) => this.#output.write(this.#take(), () => resolve()));
    }
    this.#output.off('error', this.#onError);
  }

  #type(typed: Uint8Array): void {
    if (this.#keys === undefined) {
      this.#pass(typed);
      return;
    }
    for (const part of this.#keys.decode(typed)) {
      if (typeof part === 'string') this.#obey(part);
      else this.#pass(part);
    }
  }

  #obey(command: ConsoleCommand): void {
    switch (command) {
      case 'break':
        this.#line?.receiveBreak();
        return;
      case 'help':
        this.#flush();
        this.#output.write(`\r\n${ESCAPE_KEY_HELP.join('\r\n')}\r\n`);
        return;
      default:
        this.#onCommand(command);
    }
  }

  #pass(bytes: Uint8Array): void {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#deliver();
  }

  /** Hands the UART what it takes; while something is left, nothing more is read, but for a terminal's escape key. */
  #deliver(): void {
    if (this.#line === undefined) {
      // For the machine that comes next, if there is one.
      if (this.#keys === undefined) this.#input?.pause();
      return;
    }
    this.#pending = this.#pending.subarray(this.#line.receive(this.#pending));
    if (this.#keys !== undefined) {
      // Nobody types that much: a guest that does not listen costs no more than this.
      if (this.#pending.length > CHUNK_BYTES) this.#pending = new Uint8Array(0);
    } else if (this.#pending.length > 0) this.#input?.pause();
    else this.#input?.resume();
  }

  #flush(): void {
    if (this.#chunkBytes === 0 || this.#blocked) return;
    const bytes = this.#take();
    // A stream that failed has said so; the guest goes on until somebody ends it.
    if (!this.#output.destroyed) this.#blocked = !this.#output.write(bytes);
  }

  #take(): Uint8Array {
    const bytes = this.#chunk.slice(0, this.#chunkBytes);
    this.#chunkBytes = 0;
    return bytes;
  }
}
