/** Replies of a CD/DVD drive about its medium: one data track in one closed session (MMC-6). */

import {
  CapabilitiesPage,
  CD_BLOCK_BYTES,
  CD_MAX_BLOCKS,
  DATA_TRACK,
  DISC_COMPLETE,
  DiscInformation,
  FeatureHeader,
  LEAD_OUT_TRACK,
  MECHANISM_LOCKED,
  MmcFeature,
  MmcProfile,
  MSF_OFFSET_FRAMES,
  TRAY_MECHANISM,
  TrackInformation,
} from '../protocol/mmc.ts';
import { be16, be32, ModePage, Sense } from '../protocol/scsi.ts';
import { checkCondition, reply, type ScsiResult } from './result.ts';

/** 32 times the speed of audio. */
const SPEED_KBPS = 32 * 176;

/** The capabilities page (2A). */
export function capabilitiesPage(locked: boolean): Uint8Array {
  return CapabilitiesPage.encode({
    pageCode: ModePage.CD_CAPABILITIES,
    pageLength: CapabilitiesPage.sizeBytes - 2,
    reads: 0x0b,
    mechanism: TRAY_MECHANISM | (locked ? MECHANISM_LOCKED : 0),
    maximumSpeedKBps: SPEED_KBPS,
    bufferKB: 512,
    currentSpeedKBps: SPEED_KBPS,
  });
}

/**
 * GET CONFIGURATION (MMC-6 6.5).
 *
 * @param blocks - of the medium, 0 where there is none
 */
export function configuration(cdb: Uint8Array, dataIn: readonly Uint8Array[], blocks: number): ScsiResult {
  const requested = cdb[1] & 0x03;
  const first = be16(cdb, 2);
  if (requested === 3) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  const profile =
    blocks === 0 ? MmcProfile.NONE : blocks > CD_MAX_BLOCKS ? MmcProfile.DVD_ROM : MmcProfile.CD_ROM;
  const isCd = profile === MmcProfile.CD_ROM;
  const isDvd = profile === MmcProfile.DVD_ROM;
  const features = [
    feature(MmcFeature.PROFILE_LIST, 0, true, true, [
      ...[0, MmcProfile.DVD_ROM, isDvd ? 1 : 0, 0],
      ...[0, MmcProfile.CD_ROM, isCd ? 1 : 0, 0],
    ]),
    feature(MmcFeature.CORE, 2, true, true, [0, 0, 0, 1, 1, 0, 0, 0]), // SCSI family; device busy events
    feature(MmcFeature.MORPHING, 1, true, true, [0x02, 0, 0, 0]), // operational change events
    feature(MmcFeature.REMOVABLE_MEDIUM, 0, true, true, [TRAY_MECHANISM, 0, 0, 0]),
    feature(MmcFeature.RANDOM_READABLE, 0, false, blocks > 0, [
      ...[0, 0, CD_BLOCK_BYTES >>> 8, CD_BLOCK_BYTES & 0xff],
      ...[0, isDvd ? 16 : 1, 0, 0],
    ]),
    feature(MmcFeature.CD_READ, 2, false, isCd, [0, 0, 0, 0]),
    feature(MmcFeature.DVD_READ, 1, false, isDvd, [0, 0, 0, 0]),
  ].filter((one) => {
    const code = be16(one, 0);
    if (requested === 2) return code === first;
    const current = (one[2] & 0x01) !== 0;
    return code >= first && (requested === 0 || current);
  });
  const data = new Uint8Array(features.reduce((sum, one) => sum + one.length, FeatureHeader.sizeBytes));
  FeatureHeader.write(data, { dataLength: data.length - 4, currentProfile: profile });
  let at = FeatureHeader.sizeBytes;
  for (const one of features) {
    data.set(one, at);
    at += one.length;
  }
  return reply(dataIn, data, be16(cdb, 7));
}

/** A feature descriptor (MMC-6 5.2.2). */
function feature(
  code: number,
  version: number,
  persistent: boolean,
  current: boolean,
  data: readonly number[],
): Uint8Array {
  const flags = (version << 2) | (persistent ? 2 : 0) | (current ? 1 : 0);
  return Uint8Array.of(code >>> 8, code & 0xff, flags, data.length, ...data);
}

/** READ TOC/PMA/ATIP (MMC-6 6.26): formats 0, table of contents, and 1, session information. */
export function tableOfContents(cdb: Uint8Array, dataIn: readonly Uint8Array[], blocks: number): ScsiResult {
  const msf = (cdb[1] & 0x02) !== 0;
  // Drivers from before MMC name the format in the control byte (SFF-8020i), as Linux's sr does.
  const format = cdb[2] & 0x0f || cdb[9] >>> 6;
  const track = cdb[6];
  const descriptor = (number: number, lba: number) => [0, DATA_TRACK, number, 0, ...address(lba, msf)];
  const descriptors: number[] = [];
  if (format === 1) {
    descriptors.push(...descriptor(1, 0));
  } else if (format === 0 && (track <= 1 || track === LEAD_OUT_TRACK)) {
    if (track <= 1) descriptors.push(...descriptor(1, 0));
    descriptors.push(...descriptor(LEAD_OUT_TRACK, blocks));
  } else {
    return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  }
  const data = Uint8Array.of(0, descriptors.length + 2, 1, 1, ...descriptors);
  return reply(dataIn, data, be16(cdb, 7));
}

/** An address of a block: a number, or minute, second and frame. */
function address(lba: number, msf: boolean): number[] {
  if (!msf) return [lba >>> 24, (lba >>> 16) & 0xff, (lba >>> 8) & 0xff, lba & 0xff];
  const frames = lba + MSF_OFFSET_FRAMES;
  return [0, Math.min(255, Math.floor(frames / 75 / 60)), Math.floor(frames / 75) % 60, frames % 75];
}

/** READ DISC INFORMATION (MMC-6 6.22). */
export function discInformation(cdb: Uint8Array, dataIn: readonly Uint8Array[]): ScsiResult {
  const dataType = cdb[1] & 0x07;
  if (dataType !== 0) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  const data = DiscInformation.encode({
    dataLength: DiscInformation.sizeBytes - 2,
    status: DISC_COMPLETE,
    firstTrack: 1,
    sessions: 1,
    firstTrackInLastSession: 1,
    lastTrackInLastSession: 1,
    validity: 0x20,
  });
  return reply(dataIn, data, be16(cdb, 7));
}

/** READ TRACK INFORMATION (MMC-6 6.27), by address, by track or by session. */
export function trackInformation(cdb: Uint8Array, dataIn: readonly Uint8Array[], blocks: number): ScsiResult {
  const by = cdb[1] & 0x03;
  const value = be32(cdb, 2);
  const known = by === 0 ? value < blocks : by !== 3 && value === 1;
  if (!known) return checkCondition(Sense.INVALID_FIELD_IN_CDB);
  const data = TrackInformation.encode({
    dataLength: TrackInformation.sizeBytes - 2,
    track: 1,
    session: 1,
    trackMode: DATA_TRACK & 0x0f,
    dataMode: 1,
    startAddress: 0,
    size: blocks,
  });
  return reply(dataIn, data, be16(cdb, 7));
}
