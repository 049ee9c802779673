import type { Counter, Counters } from '../counters.ts';
import type { PortHandler, PortRegion } from '../devices.ts';
import { KenshoError } from '../errors.ts';
import type { IoPortSpace } from './services.ts';

const PORT_COUNT = 0x10000;
/** The table is in pieces, of which most partitions have few: whole it would be the largest part of a small one. */
const PIECE_SHIFT = 8;
const PIECE_PORTS = 1 << PIECE_SHIFT;
const NOBODYS_PIECE = new Uint16Array(PIECE_PORTS);

/** What stands behind a port. */
interface PortOwner {
  readonly region: PortRegion | undefined;
  readonly handler: PortHandler;
  readonly first: number;
  /** One beyond the last port that an access may reach as a whole. */
  readonly end: number;
  readonly accesses: Counter;
}

/** A bus that nobody drives floats high. */
const FLOATING: PortHandler = { read: () => 0xff, write: () => {} };

/**
 * The 65,536 I/O ports of a partition: a table that names each port's owner, so that an access costs two look-ups.
 *
 * Counts accesses as `intercept.port.<region name>`, and as `intercept.port.unclaimed` where no region is. An access
 * that goes beyond its region's end reaches each byte's own owner.
 */
export class IoPortTable implements IoPortSpace {
  /** Owner of each port, as an index into `#owners`; 0 is nobody. By the port's upper half, then by its lower. */
  readonly #table: Uint16Array[] = new Array(PORT_COUNT / PIECE_PORTS).fill(NOBODYS_PIECE);
  readonly #owners: PortOwner[];
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
    this.#owners = [
      {
        region: undefined,
        handler: FLOATING,
        first: 0,
        // Every access goes byte by byte, as the next port may have an owner.
        end: 0,
        accesses: counters.counter('intercept.port.unclaimed'),
      },
    ];
  }

  add(region: PortRegion): void {
    const { port, count, name } = region;
    if (
      !(
        Number.isInteger(port) &&
        Number.isInteger(count) &&
        port >= 0 &&
        count > 0 &&
        port + count <= PORT_COUNT
      )
    ) {
      throw new KenshoError(
        'INVALID_PORTS',
        `${name} claims ${count} I/O ports from ${port} on, which do not exist`,
      );
    }
    for (let i = port; i < port + count; i++) {
      const other = this.#ownerOf(i).region;
      if (other !== undefined) {
        throw new KenshoError(
          'PORTS_IN_USE',
          `${name} and ${other.name} both claim I/O port 0x${i.toString(16)}: remove one of them`,
        );
      }
    }
    const owner: PortOwner = {
      region,
      handler: region.handler,
      first: port,
      end: port + count,
      accesses: this.#counters.counter(`intercept.port.${name}`),
    };
    let slot = this.#owners.findIndex((candidate, index) => index > 0 && candidate === this.#owners[0]);
    if (slot < 0) slot = this.#owners.length;
    this.#owners[slot] = owner;
    this.#claim(port, count, slot);
  }

  remove(region: PortRegion): void {
    const slot = this.#owners.findIndex((owner) => owner.region === region);
    if (slot < 0) return;
    this.#claim(region.port, region.count, 0);
    this.#owners[slot] = this.#owners[0];
  }

  /** @param port - 0 to 65535; @param sizeBytes - 1, 2 or 4 */
  read(port: number, sizeBytes: number): number {
    const owner = this.#ownerOf(port);
    owner.accesses.value++;
    if (port + sizeBytes <= owner.end) return owner.handler.read(port - owner.first, sizeBytes);
    let value = 0;
    let previous = owner;
    for (let i = 0; i < sizeBytes; i++) {
      const at = (port + i) % PORT_COUNT;
      const own = this.#ownerOf(at);
      if (own !== previous) own.accesses.value++;
      previous = own;
      value |= own.handler.read(at - own.first, 1) << (8 * i);
    }
    return value >>> 0;
  }

  write(port: number, sizeBytes: number, value: number): void {
    const owner = this.#ownerOf(port);
    owner.accesses.value++;
    if (port + sizeBytes <= owner.end) {
      owner.handler.write(port - owner.first, sizeBytes, value);
      return;
    }
    let previous = owner;
    for (let i = 0; i < sizeBytes; i++) {
      const at = (port + i) % PORT_COUNT;
      const own = this.#ownerOf(at);
      if (own !== previous) own.accesses.value++;
      previous = own;
      own.handler.write(at - own.first, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  #ownerOf(port: number): PortOwner {
    return this.#owners[this.#table[port >>> PIECE_SHIFT][port & (PIECE_PORTS - 1)]];
  }

  #claim(first: number, count: number, slot: number): void {
    for (let port = first; port < first + count; port++) {
      const index = port >>> PIECE_SHIFT;
      if (this.#table[index] === NOBODYS_PIECE) this.#table[index] = new Uint16Array(PIECE_PORTS);
      this.#table[index][port & (PIECE_PORTS - 1)] = slot;
    }
  }
}
