/** Source: Linux 6.1 `include/linux/hyperv.h` (`struct ictimesync_data`, `struct ictimesync_ref_data`), `drivers/hv/hv_util.c`. */
import { struct, u8, u64 } from '@kensho/core';
import type { IcVersion } from './icmsg.ts';

/** From version 4 on: the host's time at a moment of the partition's reference time. */
export const TimeSyncReference = struct('ictimesync_ref_data', 22, {
  /** 100 ns since 1601-01-01T00:00:00Z. */
  parentTime: [0, u64],
  /** HV_X64_MSR_TIME_REF_COUNT at that moment. */
  vmReferenceTime: [8, u64],
  flags: [16, u8],
  /** As NTP has it: 0 no warning, 3 unknown. */
  leapFlags: [17, u8],
  stratum: [18, u8],
});

/** A host sends it with two bytes more, so that it is a multiple of eight. */
export const TIME_SYNC_REFERENCE_BYTES = 24;

/** Up to version 3. */
export const TimeSyncMessage = struct('ictimesync_data', 25, {
  parentTime: [0, u64],
  childTime: [8, u64],
  roundTripTime: [16, u64],
  flags: [24, u8],
});

/** The first version with {@link TimeSyncReference}. */
export const REFERENCE_VERSION: IcVersion = { major: 4, minor: 0 };

export const TimeSyncFlags = {
  PROBE: 0,
  /** The guest sets its clock. */
  SYNC: 1,
  /** The guest may use it or not. */
  SAMPLE: 2,
} as const;

/** 1970-01-01 in units of 100 ns since 1601-01-01 (`WLTIMEDELTA`). */
const UNIX_EPOCH = 116_444_736_000_000_000n;

/** @param unixMs - milliseconds since 1970, with a fraction */
export function toParentTime(unixMs: number): bigint {
  return UNIX_EPOCH + BigInt(Math.round(unixMs * 1e4));
}

/** Milliseconds since 1970. */
export function fromParentTime(parentTime: bigint): number {
  return Number(parentTime - UNIX_EPOCH) / 1e4;
}
