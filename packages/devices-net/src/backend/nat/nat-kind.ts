import { randomBytes } from 'node:crypto';
import { KenshoError } from '@kensho/core';
import { type NetworkKind, networkServices } from '../network.ts';
import { Nat, type NatOptions } from './nat.ts';
import { nodeHost } from './node-host.ts';

/** Network kind `nat`; takes {@link NatOptions}. */
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
    return Nat.open((options ?? {}) as NatOptions, {
      ...services,
      host: nodeHost,
      random: () => randomBytes(4).readUInt32LE(),
    });
  },
};
