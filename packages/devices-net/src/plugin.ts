import { DEVICES, definePlugin, type Plugin } from '@kensho/core';
import { NETWORKS } from './backend/network.ts';
import { noneKind } from './backend/none.ts';
import { SWITCHES, Switches, switchKind } from './switch/switches.ts';
import { networkKind } from './vsp/network-kind.ts';

/** Networking by both paths: contributes the kinds of adapters and of networks, and the host's switches. */
export const netPlugin: Plugin = definePlugin({
  id: '@kensho/devices-net',
  provides: [SWITCHES],
  register(context) {
    context.provideHost(SWITCHES, { useFactory: () => new Switches() });
    context.contribute(DEVICES, networkKind);
    for (const kind of [noneKind, switchKind]) context.contribute(NETWORKS, kind);
  },
});
