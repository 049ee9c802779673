import { type Clock, type DeviceSpec, KenshoError } from '@kensho/core';
import {
  createOverlay,
  type Disk,
  type DiskFormat,
  type IdeDriveOptions,
  type IdeDrivePlace,
  type IdeOptions,
  openDisk,
  type ScsiControllerOptions,
  SnapshotDisk,
} from '@kensho/devices-storage';
import { InvalidArgumentError } from 'commander';
import type { ControlledDisk } from './control/machine-control.ts';

const DISK_BUSES = ['scsi', 'ide'] as const;
/** The synthetic SCSI controller, or the board's IDE controller. */
export type DiskBus = (typeof DISK_BUSES)[number];

/** A disk as the command line asks for it. */
export interface DiskRequest {
  readonly path: string;
  /** Id of a disk format. @default recognised */
  readonly format?: string;
  /** @default 'scsi' where the guest gets to know the hypervisor, else 'ide' */
  readonly bus?: DiskBus;
  readonly readOnly: boolean;
  /** Whether what the guest writes is kept for this run only. */
  readonly overlay: boolean;
}

/** How `--disk` is written, in one line. */
export const DISK_SYNTAX = 'PATH[,format=ID][,bus=scsi|ide][,ro][,overlay]';

/** Takes `PATH[,option]...` apart; a comma in the path is written twice. */
export function parseDisk(text: string): DiskRequest {
  const [path, ...options] = partsOf(text);
  if (path === '') throw new InvalidArgumentError(`Give a disk as ${DISK_SYNTAX}.`);
  const request: { -readonly [K in keyof DiskRequest]: DiskRequest[K] } = {
    path,
    readOnly: false,
    overlay: false,
  };
  for (const option of options) {
    const [, name, value] = /^([^=]*)(?:=(.*))?$/s.exec(option) ?? [];
    if (name === 'ro' && value === undefined) request.readOnly = true;
    else if (name === 'overlay' && value === undefined) request.overlay = true;
    else if (name === 'format' && value) request.format = value;
    else if (name === 'bus' && isBus(value)) request.bus = value;
    else {
      throw new InvalidArgumentError(
        `There is no '${option}': give ${DISK_SYNTAX}, and a comma in the path twice.`,
      );
    }
  }
  if (request.readOnly && request.overlay) {
    throw new InvalidArgumentError('An overlay is there to be written to: leave out ro or overlay.');
  }
  return request;
}

/** The parts between single commas; two commas stand for one. */
function partsOf(text: string): readonly string[] {
  const parts = [''];
  for (const [piece] of text.matchAll(/,,|,|[^,]+/g)) {
    if (piece === ',') parts.push('');
    else parts[parts.length - 1] += piece === ',,' ? ',' : piece;
  }
  return parts;
}

function isBus(value: string | undefined): value is DiskBus {
  return (DISK_BUSES as readonly (string | undefined)[]).includes(value);
}

/** Disks that are open, and where they go. */
export interface OpenDisks {
  /** The controllers with their drives. */
  readonly devices: readonly DeviceSpec[];
  /** Those that can be backed up: all but DVDs. */
  readonly disks: readonly ControlledDisk[];
  /** Makes durable what was written. */
  flush(): Promise<void>;
  /** Once the last partition that used them has ended. */
  close(): Promise<void>;
}

/** Where {@link openDisks} puts disks, and what it opens them with. */
export interface DiskPlacement {
  /** Whether the guest gets to know the hypervisor, and with it the synthetic SCSI controller. */
  readonly integration: boolean;
  readonly formats: readonly DiskFormat[];
  readonly clock: Clock;
}

/**
 * Opens disks and connects each to a bus, in their order: the units of one SCSI controller are numbered, IDE disks
 * begin at the primary master and DVDs at the secondary one. An image in sectors of 2048 bytes is a DVD.
 *
 * Throws what opening a disk does, and KenshoError INVALID_OPTION for a bus that there is not or that is full.
 */
export async function openDisks(
  requests: readonly DiskRequest[],
  { integration, formats, clock }: DiskPlacement,
): Promise<OpenDisks> {
  const open: Disk[] = [];
  const close = async () => {
    for (const disk of open.splice(0).reverse()) await disk.close();
  };
  const flush = async () => {
    for (const disk of open) if (!disk.readOnly) await disk.flush();
  };
  const luns: NonNullable<ScsiControllerOptions['luns']>[number][] = [];
  const drives: IdeDriveOptions[] = [];
  const disks: ControlledDisk[] = [];
  try {
    for (const request of requests) {
      const bus = request.bus ?? (integration ? 'scsi' : 'ide');
      if (bus === 'scsi' && !integration) {
        throw invalid(request, 'the SCSI controller is part of the integration: leave out bus=scsi');
      }
      const disk = new SnapshotDisk(await openOne(request, formats, clock), { clock });
      open.push(disk);
      const kind = disk.logicalSectorBytes === DVD_SECTOR_BYTES ? 'dvd' : 'disk';
      if (kind === 'disk') disks.push({ name: request.path, disk });
      if (bus === 'scsi') luns.push({ lun: luns.length, kind, disk });
      else drives.push({ ...freePlace(request, kind, drives), kind, disk });
    }
  } catch (error) {
    await close();
    throw error;
  }
  const devices: DeviceSpec[] = [];
  // Also without units, so that they can be added while the guest runs.
  if (integration)
    devices.push({ kind: 'scsi', id: 'scsi', options: { luns } satisfies ScsiControllerOptions });
  if (drives.length > 0) {
    devices.push({
      kind: 'ide',
      id: 'ide',
      options: { drives, enlightened: integration } satisfies IdeOptions,
    });
  }
  return { devices, disks, flush, close };
}

const DVD_SECTOR_BYTES = 2048;

async function openOne(
  { path, format, readOnly, overlay }: DiskRequest,
  formats: readonly DiskFormat[],
  clock: Clock,
): Promise<Disk> {
  const disk = await openDisk(path, { format, readOnly: readOnly || overlay, clock }, formats);
  try {
    return overlay ? createOverlay(disk, { clock }) : disk;
  } catch (error) {
    await disk.close();
    throw error;
  }
}

const IDE_PLACES: readonly IdeDrivePlace[] = [
  { channel: 0, position: 'master' },
  { channel: 0, position: 'slave' },
  { channel: 1, position: 'master' },
  { channel: 1, position: 'slave' },
];

function freePlace(
  request: DiskRequest,
  kind: 'disk' | 'dvd',
  drives: readonly IdeDriveOptions[],
): IdeDrivePlace {
  const isFree = ({ channel, position }: IdeDrivePlace) =>
    !drives.some((drive) => drive.channel === channel && drive.position === position);
  const preferred = kind === 'disk' ? IDE_PLACES : [...IDE_PLACES.slice(2), ...IDE_PLACES];
  const place = preferred.find(isFree);
  if (place === undefined) throw invalid(request, `IDE has room for ${IDE_PLACES.length} drives`);
  return place;
}

function invalid(request: DiskRequest, problem: string): KenshoError {
  return new KenshoError('INVALID_OPTION', `disk ${request.path}: ${problem}`);
}
