import { type GuestKernel, HvMsr, type Qword } from '@kensho/core';
import { Component } from '../component/definition.ts';
import { compareVersions, IcStatus } from '../protocol/icmsg.ts';
import {
  fromParentTime,
  REFERENCE_VERSION,
  TimeSyncFlags,
  TimeSyncMessage,
  TimeSyncReference,
} from '../protocol/time-sync.ts';
import { ComponentVsc } from './component-vsc.ts';

/** A kit guest's time of day: what was set last, and the guest's own clock from then on. */
export class GuestWallClock {
  #offsetMs = 0;

  /** Milliseconds since 1970. */
  nowMs(kernel: GuestKernel): number {
    return this.#offsetMs + kernel.nowNs() / 1e6;
  }

  set(unixMs: number, kernel: GuestKernel): void {
    this.#offsetMs = unixMs - kernel.nowNs() / 1e6;
  }
}

export interface TimeSyncVscOptions {
  /** Set when the host says so; samples are left alone, as Linux does. */
  readonly clock: GuestWallClock;
  /** Called for each sample: how far the guest's clock is behind the host's. */
  readonly onSample?: (behindMs: number) => void;
}

/** The guest's end of time synchronisation. */
export function timeSyncVsc({ clock, onSample }: TimeSyncVscOptions): ComponentVsc {
  return new ComponentVsc(Component.TIME_SYNC, (kernel) => ({
    *answer(body, version) {
      const told =
        compareVersions(version, REFERENCE_VERSION) >= 0
          ? withReference(body, kernel)
          : withoutReference(body);
      if (told === undefined) return { status: IcStatus.E_FAIL };
      if ((told.flags & TimeSyncFlags.SYNC) !== 0) clock.set(told.unixMs, kernel);
      if ((told.flags & TimeSyncFlags.SAMPLE) !== 0) onSample?.(told.unixMs - clock.nowMs(kernel));
      return { status: IcStatus.S_OK };
    },
  }));
}

interface HostTime {
  readonly unixMs: number;
  readonly flags: number;
}

/** The message says when it was made: the time that it was under way is added. */
function withReference(body: Uint8Array, kernel: GuestKernel): HostTime | undefined {
  if (body.length < TimeSyncReference.sizeBytes) return undefined;
  const { parentTime, vmReferenceTime, flags } = TimeSyncReference.read(body);
  const now: Qword = { lo: 0, hi: 0 };
  kernel.cpu.rdmsr(HvMsr.TIME_REF_COUNT, now);
  const elapsed = now.hi * 2 ** 32 + now.lo - Number(vmReferenceTime);
  return { unixMs: fromParentTime(parentTime) + elapsed / 1e4, flags };
}

function withoutReference(body: Uint8Array): HostTime | undefined {
  if (body.length < TimeSyncMessage.sizeBytes) return undefined;
  const { parentTime, flags } = TimeSyncMessage.read(body);
  return { unixMs: fromParentTime(parentTime), flags };
}
