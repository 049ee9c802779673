import net from 'node:net';
import {
  COUNTERS,
  DEBUGGER,
  GPA_SPACE,
  type HostedPartition,
  KenshoError,
  PARTITION_INFO,
  VP_REGISTERS,
} from '@kensho/core';
import { GdbSession } from './session.ts';
import type { GdbTarget } from './target.ts';

/** Where GDB finds a partition. */
export interface GdbServerOptions {
  readonly partition: HostedPartition;
  /** @default '127.0.0.1' */
  readonly host?: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** Called when GDB kills the guest. */
  readonly onKill: () => void;
}

/** Serves GDB, one connection at a time. */
export class GdbServer {
  readonly #target: GdbTarget;
  readonly #server: net.Server;
  #socket: net.Socket | undefined;
  #session: GdbSession | undefined;

  /** Throws KenshoError NO_DEBUGGING for a processor that cannot be debugged, and what the host says of the address. */
  static async listen(options: GdbServerOptions): Promise<GdbServer> {
    const { services } = options.partition;
    const target: GdbTarget = {
      vpCount: services.resolve(PARTITION_INFO).vpCount,
      debugger: services.resolve(DEBUGGER),
      registers: services.resolve(VP_REGISTERS),
      counters: services.resolve(COUNTERS),
      gpa: services.resolve(GPA_SPACE),
      kill: options.onKill,
    };
    if (target.debugger.processor === undefined) {
      throw new KenshoError('NO_DEBUGGING', 'this kind of processor cannot be debugged: take another');
    }
    const server = new GdbServer(target);
    await server.#listen(options.host ?? '127.0.0.1', options.port);
    return server;
  }

  private constructor(target: GdbTarget) {
    this.#target = target;
    this.#server = net.createServer((socket) => this.#connect(socket));
  }

  /** The address that GDB is given. */
  get address(): { readonly host: string; readonly port: number } {
    const { address, port } = this.#server.address() as net.AddressInfo;
    return { host: address, port };
  }

  /** Tells GDB that the guest has ended, and stops serving. */
  async close(exitCode: number): Promise<void> {
    this.#session?.ended(exitCode);
    this.#socket?.end();
    // Who does not read is not waited for.
    this.#socket?.unref();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      setImmediate(() => this.#socket?.destroySoon());
    });
  }

  async #listen(host: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, resolve);
    });
  }

  #connect(socket: net.Socket): void {
    if (this.#socket !== undefined) {
      socket.destroy();
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    const session = new GdbSession(
      this.#target,
      (bytes) => socket.write(bytes),
      () => socket.end(),
    );
    this.#session = session;
    socket.on('data', (bytes) => session.receive(bytes));
    // The close follows.
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#socket = undefined;
      this.#session = undefined;
      session.disconnect();
    });
  }
}
