import { randomBytes } from 'node:crypto';
import { KenshoError } from '@kensho/core';
import { type Held, type NetworkKind, networkServices } from '../network.ts';
import type { HostNetwork } from './host.ts';
import { KeptPorts } from './kept-ports.ts';
import { Nat, type NatOptions } from './nat.ts';
import { nodeHost } from './node-host.ts';

/** Options of network kind `nat`. */
export interface NatNetworkOptions extends NatOptions {
  /** @default that of Node's sockets */
  readonly host?: HostNetwork;
}

/** Network kind `nat`; takes {@link NatNetworkOptions}. */
export const natKind: NetworkKind = {
  id: 'nat',
  description: 'A way out by sockets of the host’s, with DHCP and DNS',
  open(partition, options) {
    const services = networkServices(partition);
    if (services.timers.clock.virtual) {
      throw new KenshoError(
        'NAT_NEEDS_REAL_CLOCK',
        'the world outside a NAT does not wait for a virtual clock, nor repeat; use the real one',
      );
    }
    const { host = nodeHost, ...natOptions } = (options ?? {}) as NatNetworkOptions;
    return Nat.open(natOptions, { ...services, host, random: () => randomBytes(4).readUInt32LE() });
  },
  hold(_, options): Held<NatNetworkOptions> {
    const given = (options ?? {}) as NatNetworkOptions;
    const ports = new KeptPorts(given.host ?? nodeHost);
    return { options: { ...given, host: ports }, release: () => ports.release() };
  },
};
