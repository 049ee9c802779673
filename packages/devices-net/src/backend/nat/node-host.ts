import dgram from 'node:dgram';
import dns from 'node:dns';
import net from 'node:net';
import { KenshoError } from '@kensho/core';
import type { HostDatagramEvents, HostDatagrams, HostNetwork, HostStream, HostStreamEvents } from './host.ts';

const DNS_PORT = 53;
/** A UDP socket takes as much for itself before it drops what comes. */
const DATAGRAM_BUFFER_BYTES = 1 << 20;

/** The host's network by Node's own sockets. */
export const nodeHost: HostNetwork = {
  connect(address, port, events) {
    const socket = net.connect({ host: address, port, allowHalfOpen: true, noDelay: true });
    socket.once('connect', () => events.connected());
    return attach(socket, events);
  },

  connectDatagrams(address, port, events) {
    const socket = dgram.createSocket({ type: familyOf(address) });
    /** What is sent before the socket is connected, which takes a turn. */
    let early: Uint8Array[] | undefined = [];
    const datagrams = wrap(socket, events);
    socket.connect(port, address, (error?: NodeJS.ErrnoException) => {
      const waiting = early ?? [];
      // Where it failed, what follows is dropped: a socket without a peer has nowhere to send to.
      early = error === undefined ? undefined : [];
      if (error === undefined) for (const bytes of waiting) datagrams.send(bytes);
      else socket.emit('error', error);
    });
    return {
      ...datagrams,
      send: (bytes) => {
        if (early === undefined) datagrams.send(bytes);
        else if (early.length < MAX_EARLY) early.push(bytes);
      },
    };
  },

  async listen(address, port, accept) {
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.on('connection', (socket) => {
      const stream = streamOf(socket);
      const events = accept(stream);
      if (events === undefined) socket.resetAndDestroy();
      else listenTo(socket, events);
    });
    await started(server, 'listening', `TCP ${address}:${port}`, () => server.listen(port, address));
    server.on('error', () => {});
    return { close: () => server.close() };
  },

  async bindDatagrams(address, port, events) {
    const socket = dgram.createSocket({ type: familyOf(address) });
    await started(socket, 'listening', `UDP ${address}:${port}`, () => socket.bind(port, address));
    return wrap(socket, events);
  },

  resolvers() {
    return dns.getServers().map((server) => {
      const { address, port } = /^\[(?<address>.+)\]:(?<port>\d+)$/.exec(server)?.groups ?? {};
      if (address !== undefined) return { address, port: Number(port) };
      const [host, custom] = server.includes('.') ? server.split(':') : [server];
      return { address: host, port: Number(custom ?? DNS_PORT) };
    });
  },
};

const MAX_EARLY = 16;

function familyOf(address: string): 'udp4' | 'udp6' {
  return net.isIPv6(address) ? 'udp6' : 'udp4';
}

function attach(socket: net.Socket, events: HostStreamEvents): HostStream {
  listenTo(socket, events);
  return streamOf(socket);
}

function listenTo(socket: net.Socket, events: HostStreamEvents): void {
  let failure: string | undefined;
  socket.on('data', (bytes) => events.data(plain(bytes as Buffer)));
  socket.once('end', () => events.ended());
  socket.on('error', (error: NodeJS.ErrnoException) => {
    failure ??= error.code ?? error.message;
  });
  socket.once('close', () => events.closed(failure));
}

function streamOf(socket: net.Socket): HostStream {
  return {
    write(bytes, done) {
      if (socket.writable) socket.write(bytes, () => done());
    },
    cork: () => socket.cork(),
    uncork: () => socket.uncork(),
    end: () => socket.end(),
    reset() {
      socket.removeAllListeners();
      socket.on('error', () => {});
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
}

function wrap(socket: dgram.Socket, events: HostDatagramEvents): HostDatagrams {
  let closed = false;
  const failed = (error: NodeJS.ErrnoException | null) => {
    if (error !== null && !closed) events.failed(error.code ?? error.message);
  };
  socket.on('message', (bytes, from) => {
    if (!closed) events.message(plain(bytes), from.address, from.port);
  });
  socket.on('error', failed);
  socket.once('listening', () => {
    try {
      socket.setRecvBufferSize(DATAGRAM_BUFFER_BYTES);
    } catch {
      // The host's default will do.
    }
  });
  return {
    send(bytes) {
      if (!closed) socket.send(bytes, failed);
    },
    sendTo(bytes, address, port) {
      // Nobody can be answered at port 0.
      if (!closed && port !== 0) socket.send(bytes, port, address, failed);
    },
    close() {
      if (closed) return;
      closed = true;
      socket.close();
    },
  };
}

/** The bytes without what Buffer changes about them: its `slice` does not copy. */
function plain(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Resolves when a server is ready. */
async function started(
  emitter: net.Server | dgram.Socket,
  event: 'listening',
  what: string,
  start: () => void,
): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      emitter.once('error', reject);
      emitter.once(event, () => {
        emitter.removeListener('error', reject);
        resolve();
      });
      start();
    });
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new KenshoError('HOST_PORT', `${what}: cannot listen there: ${REASONS[code ?? ''] ?? message}`, {
      cause,
    });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is in use; choose another',
  EACCES: 'not permitted; choose a port of 1024 or above',
  EADDRNOTAVAIL: 'the host has no such address',
};
