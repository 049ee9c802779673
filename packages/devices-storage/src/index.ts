export type { BlockFile } from './backend/block-file.ts';
export * from './backend/disk.ts';
export { HostFile, type HostFileOptions } from './backend/host-file.ts';
export {
  type ConvertOptions,
  checkDisk,
  convertDisk,
  createDisk,
  diskInfo,
  type ImageToolOptions,
  type SaveOptions,
  saveDisk,
} from './backend/image-tool.ts';
export { MemoryFile } from './backend/memory-file.ts';
export { BUILT_IN_DISK_FORMATS, openDisk } from './backend/open.ts';
export { createOverlay, OverlayDisk, type OverlayOptions } from './backend/overlay.ts';
export { createRamDisk, type RamDiskOptions } from './backend/ram.ts';
export { RawDisk, type RawDiskOptions } from './backend/raw.ts';
export { SnapshotDisk } from './backend/snapshot.ts';
export { checkVhd } from './backend/vhd/check.ts';
export { createVhd, type VhdSpec } from './backend/vhd/create.ts';
export { openVhd, type VhdImage, type VhdOpenOptions } from './backend/vhd/image.ts';
export { type CheckResult, checkVhdx } from './backend/vhdx/check.ts';
export { createVhdx, type VhdxSpec } from './backend/vhdx/create.ts';
export { openVhdx, type VhdxImage, type VhdxOpenOptions } from './backend/vhdx/image.ts';
export { IdeDriver, type IdeDriverOptions } from './driver/ide-driver.ts';
export {
  IdeController,
  type IdeDriveOptions,
  type IdeDrivePlace,
  type IdeServices,
} from './emulated/ide-controller.ts';
export { type IdeOptions, ideKind } from './emulated/ide-kind.ts';
export * from './plugin.ts';
export { DiskUnit } from './scsi/disk-unit.ts';
export { DvdUnit } from './scsi/dvd-unit.ts';
export { LogicalUnit } from './scsi/logical-unit.ts';
export type { ScsiResult } from './scsi/result.ts';
export { ScsiTarget } from './scsi/target.ts';
export { StorageVsc, type StorageVscOptions } from './vsc/storage-vsc.ts';
export {
  type ScsiController,
  type ScsiControllerOptions,
  type ScsiUnitOptions,
  scsiControllerKind,
} from './vsp/scsi-controller.ts';
export { StorageVsp, type StorageVspOptions, type StorageVspServices } from './vsp/storage-vsp.ts';
