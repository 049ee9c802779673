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
  readonly #onKill: () => void;
  readonly #server: net.Server;
  /** Undefined between two partitions. */
  #target: GdbTarget | undefined;
  #socket: net.Socket | undefined;
  #session: GdbSession | undefined;

  /** Throws KenshoError NO_DEBUGGING for a processor that cannot be debugged, and what the host says of the address. */
  static async listen(options: GdbServerOptions): Promise<GdbServer> {
    const server = new GdbServer(options.onKill);
    server.join(options.partition);
    await server.#listen(options.host ?? '127.0.0.1', options.port);
    return server;
  }

  private constructor(onKill: () => void) {
    this.#onKill = onKill;
    this.#server = net.createServer((socket) => this.#connect(socket));
  }

  /** Lets go of the partition, which is about to end; GDB stays, and is told of nothing until {@link join}. */
  leave(): void {
    this.#target = undefined;
    this.#session?.leave();
  }

  /**
   * Goes on with the partition that took the other's place, before it runs: GDB's breakpoints are in it. Throws
   * KenshoError NO_DEBUGGING for a processor that cannot be debugged.
   */
  join({ services }: HostedPartition): void {
    const target: GdbTarget = {
      vpCount: services.resolve(PARTITION_INFO).vpCount,
      debugger: services.resolve(DEBUGGER),
      registers: services.resolve(VP_REGISTERS),
      counters: services.resolve(COUNTERS),
      gpa: services.resolve(GPA_SPACE),
      kill: this.#onKill,
    };
    if (target.debugger.processor === undefined) {
      throw new KenshoError('NO_DEBUGGING', 'this kind of processor cannot be debugged: take another');
    }
    this.#target = target;
    this.#session?.join(target);
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
    if (this.#socket !== undefined || this.#target === undefined) {
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
