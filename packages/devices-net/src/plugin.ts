import { definePlugin, type Plugin } from '@kensho/core';
import { NETWORKS } from './backend/network.ts';
import { noneKind } from './backend/none.ts';

/** Networking by both paths: contributes the kinds of adapters and of networks. */
export const netPlugin: Plugin = definePlugin({
  id: '@kensho/devices-net',
  register(context) {
    context.contribute(NETWORKS, noneKind);
  },
});
