import type { Disk } from '../backend/disk.ts';
import {
  IDE_INTERFACE_ID,
  IdeOfferData,
  ideInstanceId,
  STORAGE_CHANNEL_EMULATED_IDE,
} from '../protocol/storvsp.ts';
import { DiskUnit } from '../scsi/disk-unit.ts';
import { StorageVsp, type StorageVspServices } from './storage-vsp.ts';

/**
 * The enlightened path to a disk of the IDE controller: a channel of its own, with the disk as LUN 0. Which of the
 * two paths the guest takes is its choice; both end at the same disk, so that each reads what the other wrote.
 *
 * @param id - names counters and log lines
 */
export function ideDiskChannel(
  id: string,
  place: { readonly channel: 0 | 1; readonly position: 'master' | 'slave' },
  disk: Disk,
  services: StorageVspServices,
): StorageVsp {
  const targetId = place.position === 'master' ? 0 : 1;
  const vsp = new StorageVsp(
    {
      id,
      instanceId: ideInstanceId(place.channel, targetId),
      interfaceId: IDE_INTERFACE_ID,
      userData: IdeOfferData.encode({ pathId: place.channel, targetId, flags: STORAGE_CHANNEL_EMULATED_IDE }),
      everyTarget: true,
    },
    services,
  );
  vsp.attach(0, new DiskUnit(disk));
  return vsp;
}
