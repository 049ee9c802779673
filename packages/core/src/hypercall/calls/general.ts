import { HvStatus } from '../../hv-status.ts';
import { HypercallPrivilege } from '../../hypervisor/privileges.ts';
import type { HypercallDefinition } from '../definition.ts';

/** A hint that never fails: spin count u32, reserved u32. */
const notifyLongSpinWait: HypercallDefinition = {
  name: 'HvCallNotifyLongSpinWait',
  inputBytes: 8,
  serve(target, { vpIndex }) {
    target.yieldVp(vpIndex);
    return HvStatus.SUCCESS;
  },
};

/** A mask of the extended hypercalls that exist: none. */
const queryCapabilities: HypercallDefinition = {
  name: 'HvExtCallQueryCapabilities',
  privilege: HypercallPrivilege.ENABLE_EXTENDED_HYPERCALLS,
  inputBytes: 0,
  outputBytes: 8,
  serve(_target, { output }) {
    output.setBigUint64(0, 0n, true);
    return HvStatus.SUCCESS;
  },
};

export const GENERAL_CALLS: readonly HypercallDefinition[] = [notifyLongSpinWait, queryCapabilities];
