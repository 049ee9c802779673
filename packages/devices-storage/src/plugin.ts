import { DEVICES, definePlugin, type Plugin } from '@kensho/core';
import { scsiControllerKind } from './vsp/scsi-controller.ts';

/** Storage by both paths: contributes the device kind `scsi`. */
export const storagePlugin: Plugin = definePlugin({
  id: '@kensho/devices-storage',
  register(context) {
    context.contribute(DEVICES, scsiControllerKind);
  },
});
