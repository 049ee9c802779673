import { DEVICES, definePlugin, type Plugin } from '@kensho/core';
import { ideKind } from './emulated/ide-kind.ts';
import { scsiControllerKind } from './vsp/scsi-controller.ts';

/** Storage by both paths: contributes the device kinds `scsi` and `ide`. */
export const storagePlugin: Plugin = definePlugin({
  id: '@kensho/devices-storage',
  register(context) {
    context.contribute(DEVICES, scsiControllerKind);
    context.contribute(DEVICES, ideKind);
  },
});
