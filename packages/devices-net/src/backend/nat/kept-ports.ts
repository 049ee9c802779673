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

/** A listening port, and who has it now. */
interface KeptListener {
  readonly listener: HostListener;
  accept: Accept | undefined;
}

interface KeptDatagrams {
  readonly datagrams: HostDatagrams;
  events: HostDatagramEvents | undefined;
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
      const listener = await this.#host.listen(address, port, (stream) => kept?.accept?.(stream));
      kept = { listener, accept };
      this.#listeners.set(key, kept);
    } else if (kept.accept === undefined) kept.accept = accept;
    else throw inUse('TCP', address, port);
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
      const datagrams = await this.#host.bindDatagrams(address, port, {
        message: (...message) => kept?.events?.message(...message),
        failed: (error) => kept?.events?.failed(error),
      });
      kept = { datagrams, events };
      this.#datagrams.set(key, kept);
    } else if (kept.events === undefined) kept.events = events;
    else throw inUse('UDP', address, port);
    const mine = kept;
    const { datagrams } = mine;
    return {
      send: (bytes) => datagrams.send(bytes),
      sendTo(bytes, to, toPort) {
        if (mine.events === events) datagrams.sendTo(bytes, to, toPort);
      },
      close() {
        if (mine.events === events) mine.events = undefined;
      },
    };
  }

  /** Closes all ports. */
  release(): void {
    for (const { listener } of this.#listeners.values()) listener.close();
    for (const { datagrams } of this.#datagrams.values()) datagrams.close();
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
