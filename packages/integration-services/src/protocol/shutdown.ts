/** Source: Linux 6.1 `include/linux/hyperv.h` (`struct shutdown_msg_data`), `drivers/hv/hv_util.c`. */
import { bytes, struct, u32 } from '@kensho/core';
import type { IcVersion } from './icmsg.ts';

/** Linux wants all of it. */
export const ShutdownMessage = struct('shutdown_msg_data', 2060, {
  /** A reason of the Win32 function InitiateSystemShutdownEx. */
  reasonCode: [0, u32],
  timeoutSeconds: [4, u32],
  /** {@link ShutdownFlags} */
  flags: [8, u32],
  /** For who is logged in; UTF-16. */
  displayMessage: [12, bytes(2048)],
});

export const DISPLAY_MESSAGE_BYTES = 2048;

/** One of the actions, with FORCE or without. */
export const ShutdownFlags = {
  POWER_OFF: 0,
  FORCE: 1,
  REBOOT: 2,
  HIBERNATE: 4,
} as const;

/** The message versions that know how to reboot and to hibernate. */
export const REBOOT_VERSION: IcVersion = { major: 3, minor: 1 };
export const HIBERNATE_VERSION: IcVersion = { major: 3, minor: 2 };

/** SHTDN_REASON_FLAG_PLANNED: nothing is wrong, somebody wanted it. */
export const REASON_PLANNED = 0x8000_0000;
