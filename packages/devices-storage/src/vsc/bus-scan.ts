import { GuestIoError, type GuestPages, type GuestTask } from '@kensho/core';
import {
  be32,
  be64,
  DeviceType,
  InquiryData,
  ModeDeviceSpecific,
  ModePage,
  READ_CAPACITY_16,
  ReadCapacity10Data,
  ReadCapacity16Data,
  ScsiOp,
  VpdPage,
} from '../protocol/scsi.ts';
import type { FoundUnit } from './guest-disk.ts';
import type { StorageAdapter } from './storage-adapter.ts';

/** Bytes that any of the commands below fills at most; a list of 255 LUNs takes 2048. */
const REPLY_BYTES = 4096;

/**
 * Finds the units of a controller that can be read: REPORT LUNS, then INQUIRY and READ CAPACITY for each.
 *
 * @param memory - a page for the replies
 */
export function* scanBus(adapter: StorageAdapter, memory: GuestPages): GuestTask<FoundUnit[]> {
  const list = yield* ask(adapter, memory, 0, [
    ScsiOp.REPORT_LUNS,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    REPLY_BYTES >>> 8,
    0,
    0,
    0,
  ]);
  const luns: number[] = [];
  for (let at = 8; at < Math.min(list.length, 8 + be32(list, 0)); at += 8) luns.push(list[at + 1]);
  const found: FoundUnit[] = [];
  for (const lun of luns) {
    try {
      const unit = yield* probe(adapter, memory, lun);
      if (unit !== undefined) found.push(unit);
    } catch (error) {
      // A drive without a medium, or a unit that went away meanwhile, is no reason to give up the others.
      if (!(error instanceof GuestIoError)) throw error;
    }
  }
  return found;
}

function* probe(adapter: StorageAdapter, memory: GuestPages, lun: number): GuestTask<FoundUnit | undefined> {
  const inquiry = yield* ask(adapter, memory, lun, [ScsiOp.INQUIRY, 0, 0, 0, InquiryData.sizeBytes, 0]);
  const type = inquiry[0];
  if (type !== DeviceType.DISK && type !== DeviceType.CD_DVD) return undefined;
  const page = yield* ask(adapter, memory, lun, [
    ...[ScsiOp.INQUIRY, 1, VpdPage.DEVICE_IDENTIFICATION, REPLY_BYTES >>> 8, 0, 0],
  ]);
  const identity = Buffer.from(page).toString('hex');
  if (type === DeviceType.CD_DVD) {
    const capacity = yield* ask(adapter, memory, lun, [
      ScsiOp.READ_CAPACITY_10,
      ...new Array<number>(9).fill(0),
    ]);
    return {
      lun,
      sectorCount: be32(capacity, ReadCapacity10Data.offsetOf('lastLogicalBlockAddress')) + 1,
      sectorSizeBytes: be32(capacity, ReadCapacity10Data.offsetOf('blockLength')),
      readOnly: true,
      identity,
    };
  }
  const capacity = yield* ask(adapter, memory, lun, [
    ...[ScsiOp.SERVICE_ACTION_IN_16, READ_CAPACITY_16, 0, 0, 0, 0, 0, 0, 0, 0],
    ...[0, 0, 0, ReadCapacity16Data.sizeBytes, 0, 0],
  ]);
  const sectorCount = be64(capacity, ReadCapacity16Data.offsetOf('lastLogicalBlockAddress')) + 1;
  const sectorSizeBytes = be32(capacity, ReadCapacity16Data.offsetOf('blockLength'));
  const mode = yield* ask(adapter, memory, lun, [ScsiOp.MODE_SENSE_6, 0, ModePage.ALL, 0, 4, 0]);
  const readOnly = (mode[2] & ModeDeviceSpecific.WRITE_PROTECT) !== 0;
  return { lun, sectorCount, sectorSizeBytes, readOnly, identity };
}

/** Sends a command that answers with data; a copy of the data. */
function* ask(
  adapter: StorageAdapter,
  memory: GuestPages,
  lun: number,
  cdb: readonly number[],
): GuestTask<Uint8Array> {
  const write = (packet: Uint8Array, at: number) => {
    packet.set(cdb, at);
    return cdb.length;
  };
  const buffer = { pages: memory.pages, offset: 0, sizeBytes: REPLY_BYTES };
  const moved = yield* adapter.command(lun, write, true, buffer);
  return memory.bytes.slice(0, moved);
}
