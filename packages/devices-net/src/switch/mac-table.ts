/** Addresses that share a place in the table. */
const WAYS = 4;
const FREE = -1;

/**
 * Which port an address was last seen at, for each VLAN: a hash table of fixed size, four places for each hash, as
 * hardware has it. Where all four are taken the one seen longest ago makes room, so that a guest that invents
 * addresses cannot make it grow. Looking up and learning allocate nothing.
 */
export class MacTable {
  readonly #mask: number;
  readonly #macLow: Uint32Array;
  /** Upper 16 bits of the address, and the VLAN. */
  readonly #macHighVlan: Uint32Array;
  readonly #port: Int32Array;
  readonly #seenNs: Float64Array;

  /** @param entries - capacity, a power of two of at least 4 */
  constructor(entries: number) {
    this.#mask = entries / WAYS - 1;
    this.#macLow = new Uint32Array(entries);
    this.#macHighVlan = new Uint32Array(entries);
    this.#port = new Int32Array(entries).fill(FREE);
    this.#seenNs = new Float64Array(entries);
  }

  /** Notes that the address at `at` was seen at a port; `nowNs` is by that port's clock. */
  learn(bytes: Uint8Array, at: number, vlan: number, port: number, nowNs: number): void {
    const low = lowOf(bytes, at);
    const high = highOf(bytes, at, vlan);
    const first = this.#placeOf(low, high);
    let place = first;
    for (let i = first; i < first + WAYS; i++) {
      if (this.#port[i] !== FREE && this.#macLow[i] === low && this.#macHighVlan[i] === high) {
        place = i;
        break;
      }
      if (this.#port[place] !== FREE && (this.#port[i] === FREE || this.#seenNs[i] < this.#seenNs[place])) {
        place = i;
      }
    }
    this.#macLow[place] = low;
    this.#macHighVlan[place] = high;
    this.#port[place] = port;
    this.#seenNs[place] = nowNs;
  }

  /** The place of an address's entry, or -1; to be asked of {@link portAt} and {@link seenAt}. */
  find(bytes: Uint8Array, at: number, vlan: number): number {
    const low = lowOf(bytes, at);
    const high = highOf(bytes, at, vlan);
    const first = this.#placeOf(low, high);
    for (let i = first; i < first + WAYS; i++) {
      if (this.#port[i] !== FREE && this.#macLow[i] === low && this.#macHighVlan[i] === high) return i;
    }
    return -1;
  }

  portAt(place: number): number {
    return this.#port[place];
  }

  seenAt(place: number): number {
    return this.#seenNs[place];
  }

  remove(place: number): void {
    this.#port[place] = FREE;
  }

  /** Forgets every address of a port. */
  forget(port: number): void {
    for (let i = 0; i < this.#port.length; i++) if (this.#port[i] === port) this.#port[i] = FREE;
  }

  #placeOf(low: number, high: number): number {
    let hash = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca77);
    hash ^= hash >>> 15;
    return (hash & this.#mask) * WAYS;
  }
}

function lowOf(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 2] << 24) | (bytes[at + 3] << 16) | (bytes[at + 4] << 8) | bytes[at + 5]) >>> 0;
}

function highOf(bytes: Uint8Array, at: number, vlan: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | vlan) >>> 0;
}
