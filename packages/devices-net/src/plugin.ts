import { DEVICES, definePlugin, type Plugin } from '@kensho/core';
import { BUILT_IN_NETWORKS } from './backend/built-in.ts';
import { NETWORKS } from './backend/network.ts';
import { tulipKind } from './emulated/tulip-kind.ts';
import { SWITCHES, Switches } from './switch/switches.ts';
import { networkKind } from './vsp/network-kind.ts';

/** Networking by both paths: contributes the kinds of adapters and of networks, and the host's switches. */
export const netPlugin: Plugin = definePlugin({
  id: '@kensho/devices-net',
  provides: [SWITCHES],
  register(context) {
    context.provideHost(SWITCHES, { useFactory: () => new Switches() });
    context.contribute(DEVICES, networkKind);
    context.contribute(DEVICES, tulipKind);
    for (const kind of BUILT_IN_NETWORKS) context.contribute(NETWORKS, kind);
  },
});
