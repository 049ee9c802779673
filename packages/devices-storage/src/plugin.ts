import { DEVICES, definePlugin, type Plugin } from '@kensho/core';
import { DISK_FORMATS } from './backend/disk.ts';
import { BUILT_IN_DISK_FORMATS } from './backend/open.ts';
import { ideKind } from './emulated/ide-kind.ts';
import { scsiControllerKind } from './vsp/scsi-controller.ts';

/** Storage by both paths: contributes the device kinds `scsi` and `ide`, and the disk formats. */
export const storagePlugin: Plugin = definePlugin({
  id: '@kensho/devices-storage',
  register(context) {
    context.contribute(DEVICES, scsiControllerKind);
    context.contribute(DEVICES, ideKind);
    for (const format of BUILT_IN_DISK_FORMATS) context.contribute(DISK_FORMATS, format);
  },
});
