import type { Ipv4 } from './ipv4-address.ts';

/** Both ends of a flow, as the guest sees them. */
export interface FlowEnds {
  readonly guest: Ipv4;
  readonly guestPort: number;
  readonly remote: Ipv4;
  readonly remotePort: number;
}

/** Flows by their ends: by ports first, since those tell most of them apart. */
export class FlowTable<T extends FlowEnds> {
  readonly #byPorts = new Map<number, T[]>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(guest: Ipv4, guestPort: number, remote: Ipv4, remotePort: number): T | undefined {
    const flows = this.#byPorts.get(guestPort * 0x10000 + remotePort);
    if (flows === undefined) return undefined;
    for (const flow of flows) if (flow.remote === remote && flow.guest === guest) return flow;
    return undefined;
  }

  add(flow: T): void {
    const key = keyOf(flow);
    const flows = this.#byPorts.get(key);
    if (flows === undefined) this.#byPorts.set(key, [flow]);
    else flows.push(flow);
    this.#size++;
  }

  remove(flow: T): void {
    const key = keyOf(flow);
    const flows = this.#byPorts.get(key);
    const at = flows?.indexOf(flow) ?? -1;
    if (flows === undefined || at < 0) return;
    flows.splice(at, 1);
    if (flows.length === 0) this.#byPorts.delete(key);
    this.#size--;
  }

  *[Symbol.iterator](): Generator<T> {
    for (const flows of [...this.#byPorts.values()]) yield* [...flows];
  }
}

function keyOf({ guestPort, remotePort }: FlowEnds): number {
  return guestPort * 0x10000 + remotePort;
}
