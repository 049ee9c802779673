import { KenshoError } from '@kensho/core';
import { parseMac } from '../mac.ts';
import { type Ipv4, isLoopback, isUnicast, parseIpv4 } from './ipv4-address.ts';

/** The network behind a NAT: 256 addresses, with the places that QEMU's and VirtualBox's users know. */
export class Subnet {
  readonly network: Ipv4;
  readonly mask: Ipv4 = 0xffffff00;
  readonly broadcast: Ipv4;
  /** The host, as guests see it. */
  readonly gateway: Ipv4;
  /** Answers DNS. */
  readonly resolver: Ipv4;
  readonly firstLease: Ipv4;
  readonly lastLease: Ipv4;
  /** Of the gateway and the resolver alike. */
  readonly mac = parseMac('52:55:0a:00:02:02');

  /** @param network - such as `10.0.2.0`. Throws KenshoError BAD_IPV4. */
  constructor(network: string) {
    this.network = parseIpv4(network);
    if ((this.network & 0xff) !== 0 || !isUnicast(this.network) || isLoopback(this.network)) {
      throw new KenshoError('BAD_IPV4', `${network}: give a network of 256 addresses, as 10.0.2.0`);
    }
    this.gateway = this.network + 2;
    this.resolver = this.network + 3;
    this.firstLease = this.network + 15;
    this.lastLease = this.network + 254;
    this.broadcast = this.network + 255;
  }

  contains(address: Ipv4): boolean {
    return (address & this.mask) >>> 0 === this.network;
  }

  /** Whether an address may be a guest's own. */
  isGuest(address: Ipv4): boolean {
    return (
      this.contains(address) &&
      address !== this.network &&
      address !== this.broadcast &&
      address !== this.gateway &&
      address !== this.resolver
    );
  }
}
