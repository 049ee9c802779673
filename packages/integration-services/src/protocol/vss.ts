/** Source: Linux 6.1 `include/uapi/linux/hyperv.h` (`struct hv_vss_msg`), `drivers/hv/hv_snapshot.c`. */
import { struct, u8, u32 } from '@kensho/core';

export const VssMessage = struct('hv_vss_msg', 12, {
  /** {@link VssOperation} */
  operation: [0, u8],
  /** Answer to HOT_BACKUP and GET_DM_INFO. */
  flags: [8, u32],
});

/** `enum hv_vss_op`. */
export const VssOperation = {
  CREATE: 0,
  DELETE: 1,
  /** Asks whether the guest can be backed up while it runs. */
  HOT_BACKUP: 2,
  GET_DM_INFO: 3,
  BU_COMPLETE: 4,
  FREEZE: 5,
  THAW: 6,
  AUTO_RECOVER: 7,
} as const;

/** Answer to HOT_BACKUP (`VSS_HBU_NO_AUTO_RECOVERY`): the copy needs no recovery of its own. */
export const VSS_HBU_NO_AUTO_RECOVERY = 5;
