import type { Counter } from '@kensho/core';
import { DeliveryQueue } from './delivery-queue.ts';
import type { NetworkServices } from './network.ts';
import type { Frame, NetworkAdapter, NetworkConnector, NetworkPort } from './port.ts';

/**
 * Two sockets that are each other's network: what one adapter sends, the other gets. The link is up while both are
 * plugged in. Counts `network.<adapter>.dropped`.
 *
 * @param a - services of the partition whose adapter goes into the first socket
 * @param b - those of the second
 */
export function createCable(
  a: NetworkServices,
  b: NetworkServices,
): readonly [NetworkConnector, NetworkConnector] {
  const ends = [new CableEnd(a), new CableEnd(b)] as const;
  ends[0].peer = ends[1];
  ends[1].peer = ends[0];
  return ends;
}

class CableEnd implements NetworkConnector, NetworkPort {
  peer!: CableEnd;
  readonly #services: NetworkServices;
  #adapter: NetworkAdapter | undefined;
  #queue: DeliveryQueue | undefined;
  #dropped: Counter | undefined;
  #closed = false;

  constructor(services: NetworkServices) {
    this.#services = services;
  }

  connect(adapter: NetworkAdapter): NetworkPort {
    if (this.#adapter !== undefined) throw new Error(`${adapter.name}: the socket is taken`);
    const { work, counters } = this.#services;
    this.#adapter = adapter;
    this.#dropped = counters.counter(`network.${adapter.name}.dropped`);
    this.#queue = new DeliveryQueue(adapter, work, { dropped: this.#dropped });
    if (this.linkUp) for (const end of [this, this.peer]) end.#tellLink();
    return this;
  }

  get linkUp(): boolean {
    return this.#plugged && this.peer.#plugged;
  }

  send(frame: Frame): void {
    if (this.linkUp) this.peer.#queue?.push(frame);
    else if (this.#dropped !== undefined) this.#dropped.value++;
  }

  receiveReady(): void {
    this.#queue?.ready();
  }

  close(): void {
    if (this.#closed) return;
    const wasUp = this.linkUp;
    this.#closed = true;
    this.#queue?.close();
    if (wasUp) this.peer.#tellLink();
  }

  get #plugged(): boolean {
    return this.#adapter !== undefined && !this.#closed;
  }

  /** As a task of the partition's own, like a frame. */
  #tellLink(): void {
    this.#services.work.defer(() => {
      if (this.#plugged) this.#adapter?.linkChanged(this.linkUp);
    });
  }
}
