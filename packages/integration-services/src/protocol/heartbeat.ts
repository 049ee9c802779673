/** Source: Linux 6.1 `include/linux/hyperv.h` (`struct heartbeat_msg_data`), `drivers/hv/hv_util.c`. */
import { struct, u64 } from '@kensho/core';

/** The guest answers with the number that follows. */
export const HeartbeatMessage = struct('heartbeat_msg_data', 40, {
  sequence: [0, u64],
});
