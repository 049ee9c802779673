import fs from 'node:fs';
import net from 'node:net';
import { KenshoError } from '@kensho/core';
import { explain } from '../exit.ts';
import { type ControlProgress, type ControlReply, LineReader, parseRequest } from './protocol.ts';
import { clearStale, socketPath } from './sockets.ts';

/** What a verb gets. */
export interface VerbContext {
  /** Aborts when the client has gone or the machine ends. */
  readonly signal: AbortSignal;
  progress(progress: ControlProgress): void;
}

/** Does what a client asks for; rejects with what is told to it. */
export type VerbHandler = (
  verb: string,
  args: Readonly<Record<string, unknown>>,
  context: VerbContext,
) => Promise<unknown>;

const MAX_CLIENTS = 16;
/** A client says what it wants at once. */
const REQUEST_TIMEOUT_MS = 10_000;
/** Progress that a client does not read is left out. */
const MAX_UNREAD_BYTES = 64 * 1024;

/** Lets the user's other processes control a machine, by name. */
export class ControlServer {
  readonly name: string;
  readonly #file: string;
  readonly #server: net.Server;
  readonly #ending = new AbortController();
  readonly #requests = new Set<Promise<void>>();

  /** Begins to listen. Throws KenshoError NAME_IN_USE, INVALID_OPTION or RUNTIME_DIR. */
  static async listen(name: string, handle: VerbHandler): Promise<ControlServer> {
    const file = socketPath(name);
    await clearStale(file, name);
    const server = new ControlServer(name, file, handle);
    await server.#listen();
    return server;
  }

  private constructor(name: string, file: string, handle: VerbHandler) {
    this.name = name;
    this.#file = file;
    // A client that has said all may still listen.
    this.#server = net.createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket, handle));
    this.#server.maxConnections = MAX_CLIENTS;
  }

  /** Takes no more requests, ends those that are under way, and removes the socket once they have their outcome. */
  async close(): Promise<void> {
    this.#server.close();
    this.#ending.abort(new KenshoError('MACHINE_ENDED', 'the machine has ended'));
    await Promise.allSettled(this.#requests);
    fs.rmSync(this.#file, { force: true });
  }

  async #listen(): Promise<void> {
    const listening = Promise.withResolvers<void>();
    this.#server.once('error', listening.reject);
    this.#server.listen(this.#file, listening.resolve);
    await listening.promise;
    fs.chmodSync(this.#file, 0o600);
  }

  #accept(socket: net.Socket, handle: VerbHandler): void {
    const gone = new AbortController();
    const late = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT_MS);
    const signal = AbortSignal.any([gone.signal, this.#ending.signal]);
    let asked = false;
    const leave = () => {
      clearTimeout(late);
      gone.abort(new KenshoError('CLIENT_GONE', 'the client has gone'));
    };
    socket.on('error', leave);
    socket.on('close', leave);
    // A client that ended its side gives up; one that only asked keeps it open.
    socket.on('end', leave);
    const reader = new LineReader((line) => {
      if (asked) return;
      asked = true;
      clearTimeout(late);
      const request = answer(socket, line, handle, signal);
      this.#requests.add(request);
      void request.finally(() => this.#requests.delete(request));
    });
    socket.on('data', (piece) => {
      if (asked) return;
      try {
        reader.add(piece);
      } catch (error) {
        socket.end(lineOf(errorReply(error)));
      }
    });
  }
}

async function answer(
  socket: net.Socket,
  line: string,
  handle: VerbHandler,
  signal: AbortSignal,
): Promise<void> {
  let reply: ControlReply;
  try {
    const { verb, args } = parseRequest(line);
    signal.throwIfAborted();
    const result = handle(verb, args, {
      signal,
      progress(progress) {
        if (socket.writable && socket.writableLength < MAX_UNREAD_BYTES) socket.write(lineOf({ progress }));
      },
    });
    reply = { result: (await orAborted(result, signal)) ?? null };
  } catch (error) {
    reply = errorReply(error);
  }
  await new Promise<void>((resolve) => {
    // A client that has gone, or does not read, does not hold the machine up.
    const done = () => {
      clearTimeout(late);
      resolve();
    };
    const late = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT_MS);
    if (socket.destroyed) {
      done();
      return;
    }
    socket.once('close', done);
    socket.end(lineOf(reply));
    socket.resume();
    socket.once('finish', () => socket.destroy());
  });
}

/**
 * The outcome of a verb, or the reason why nobody waits for it any more: a guest that has ended answers nothing, and
 * what it was asked ends only when its partition does. What ends together with the machine is an outcome still.
 */
function orAborted<T>(result: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => setImmediate(() => reject(signal.reason));
    signal.addEventListener('abort', abort);
    result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function errorReply(error: unknown): ControlReply {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'FAILED';
  return { error: { code, message: explain(error).line } };
}

function lineOf(reply: ControlReply): string {
  return `${JSON.stringify(reply)}\n`;
}
