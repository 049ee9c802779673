import { HvStatus } from '../../hv-status.ts';
import type { HypercallDefinition, HypercallTarget } from '../definition.ts';
import type { VpSet } from '../vp-set.ts';

function sendIpi(target: HypercallTarget, vps: VpSet, vector: number): HvStatus {
  for (let i = 0; i < target.vpCount; i++) if (vps.has(i)) target.sendIpi(i, vector);
  return HvStatus.SUCCESS;
}

/** Vectors of fixed interrupts; only VTL 0 exists, and padding is ignored. */
function valid(input: DataView): boolean {
  const vector = input.getUint32(0, true);
  return vector >= 0x10 && vector <= 0xff && input.getUint8(4) === 0;
}

/** @param vps - scratch, for the partition's VPs */
export function interruptCalls(vps: VpSet): readonly HypercallDefinition[] {
  return [
    {
      // Vector u32, target VTL u8, padding, mask of VPs u64.
      name: 'HvCallSendSyntheticClusterIpi',
      inputBytes: 16,
      serve(target, { input }) {
        if (!valid(input)) return HvStatus.INVALID_PARAMETER;
        vps.setMask(input.getUint32(8, true), input.getUint32(12, true));
        return sendIpi(target, vps, input.getUint32(0, true));
      },
    },
    {
      // The same with an HV_VP_SET instead of the mask.
      name: 'HvCallSendSyntheticClusterIpiEx',
      inputBytes: 24,
      variableHeader: true,
      serve(target, { input, variableHeaderBytes }) {
        if (!valid(input)) return HvStatus.INVALID_PARAMETER;
        const status = vps.readFrom(input, 8, variableHeaderBytes);
        return status === HvStatus.SUCCESS ? sendIpi(target, vps, input.getUint32(0, true)) : status;
      },
    },
  ];
}
