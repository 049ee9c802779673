import type net from 'node:net';
import { KenshoError } from '@kensho/core';
import {
  CONTROL_VERSION,
  type ControlProgress,
  type ControlRequest,
  LineReader,
  parseReply,
} from './protocol.ts';
import { connect, socketPath } from './sockets.ts';

export interface CallOptions {
  /** Gives up: the machine hears of it and undoes what it can. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ControlProgress) => void;
}

/**
 * Asks a running machine to do something; what it answers. Rejects with KenshoError NO_MACHINE, CONTROL_PROTOCOL or the
 * machine's own code, and with the signal's reason.
 */
export async function call(
  name: string,
  verb: string,
  args: Readonly<Record<string, unknown>> = {},
  options: CallOptions = {},
): Promise<unknown> {
  const socket = await connect(socketPath(name));
  if (socket === undefined) {
    throw new KenshoError('NO_MACHINE', `no machine named ${name} is running: see 'kensho vm list'`);
  }
  try {
    return await exchange(socket, { kensho: CONTROL_VERSION, verb, args }, options);
  } finally {
    socket.destroy();
  }
}

function exchange(
  socket: net.Socket,
  request: ControlRequest,
  { signal, onProgress }: CallOptions,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const giveUp = () => reject(signal?.reason);
    if (signal?.aborted) giveUp();
    signal?.addEventListener('abort', giveUp);
    const reader = new LineReader((line) => {
      const reply = parseReply(line);
      if ('progress' in reply) onProgress?.(reply.progress);
      else if ('result' in reply) resolve(reply.result);
      else reject(new KenshoError(reply.error.code, reply.error.message));
    });
    socket.on('data', (piece) => {
      try {
        reader.add(piece);
      } catch (error) {
        reject(error);
      }
    });
    socket.on('error', reject);
    socket.on('close', () => {
      signal?.removeEventListener('abort', giveUp);
      reject(new KenshoError('CONTROL_PROTOCOL', 'the machine ended the connection without an answer'));
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
