import { KenshoError } from '@kensho/core';
import type {
  HostDatagramEvents,
  HostDatagrams,
  HostListener,
  HostNetwork,
  HostStream,
  HostStreamEvents,
} from './host.ts';

type Accept = (stream: HostStream) => HostStreamEvents | undefined;

/** A listening port, and who has it now: nobody else is held by it. */
class KeptListener {
  listener: HostListener | undefined;
  accept: Accept | undefined;

  async open(host: HostNetwork, address: string, port: number): Promise<void> {
    this.listener = await host.listen(address, port, (stream) => this.accept?.(stream));
  }
}

class KeptDatagrams {
  datagrams: HostDatagrams | undefined;
  events: HostDatagramEvents | undefined;

  async open(host: HostNetwork, address: string, port: number): Promise<void> {
    this.datagrams = await host.bindDatagrams(address, port, {
      message: (...message) => this.events?.message(...message),
      failed: (error) => this.events?.failed(error),
    });
  }
}

/**
 * A host's network whose ports stay open when they are closed, for the next who asks for them: nobody else gets a port
 * between two NATs of one machine. Meanwhile connections are refused, and datagrams are dropped.
 */
export class KeptPorts implements HostNetwork {
  readonly #host: HostNetwork;
  readonly #listeners = new Map<string, KeptListener>();
  readonly #datagrams = new Map<string, KeptDatagrams>();

  constructor(host: HostNetwork) {
    this.#host = host;
  }

  connect(...given: Parameters<HostNetwork['connect']>): HostStream {
    return this.#host.connect(...given);
  }

  connectDatagrams(...given: Parameters<HostNetwork['connectDatagrams']>): HostDatagrams {
    return this.#host.connectDatagrams(...given);
  }

  resolvers(): ReturnType<HostNetwork['resolvers']> {
    return this.#host.resolvers();
  }

  async listen(address: string, port: number, accept: Accept): Promise<HostListener> {
    const key = keyOf(address, port);
    let kept = this.#listeners.get(key);
    if (kept === undefined) {
      kept = new KeptListener();
      await kept.open(this.#host, address, port);
      this.#listeners.set(key, kept);
    }
    if (kept.accept !== undefined) throw inUse('TCP', address, port);
    kept.accept = accept;
    const mine = kept;
    return {
      close() {
        if (mine.accept === accept) mine.accept = undefined;
      },
    };
  }

  async bindDatagrams(address: string, port: number, events: HostDatagramEvents): Promise<HostDatagrams> {
    const key = keyOf(address, port);
    let kept = this.#datagrams.get(key);
    if (kept === undefined) {
      kept = new KeptDatagrams();
      await kept.open(this.#host, address, port);
      this.#datagrams.set(key, kept);
    }
    if (kept.events !== undefined) throw inUse('UDP', address, port);
    kept.events = events;
    const mine = kept;
    return {
      send(bytes) {
        if (mine.events === events) mine.datagrams?.send(bytes);
      },
      sendTo(bytes, to, toPort) {
        if (mine.events === events) mine.datagrams?.sendTo(bytes, to, toPort);
      },
      close() {
        if (mine.events === events) mine.events = undefined;
      },
    };
  }

  /** Closes all ports. */
  release(): void {
    for (const { listener } of this.#listeners.values()) listener?.close();
    for (const { datagrams } of this.#datagrams.values()) datagrams?.close();
    this.#listeners.clear();
    this.#datagrams.clear();
  }
}

function keyOf(address: string, port: number): string {
  return `${port} ${address}`;
}

function inUse(protocol: string, address: string, port: number): KenshoError {
  return new KenshoError(
    'HOST_PORT',
    `${protocol} ${address}:${port}: cannot listen there: the port is in use; choose another`,
  );
}
