import { HvStatus } from '../../hv-status.ts';
import { HypercallPrivilege } from '../../hypervisor/privileges.ts';
import { isWideRegister, type RegisterValue } from '../../processor/contract.ts';
import { HV_PARTITION_ID_SELF, HV_VP_INDEX_SELF } from '../abi.ts';
import type { HypercallDefinition, HypercallInvocation, HypercallTarget } from '../definition.ts';

/** Both calls begin with partition u64, VP index u32, target VTL u8, reserved. */
const HEADER_BYTES = 16;
/** Size of HV_REGISTER_VALUE. */
const VALUE_BYTES = 16;

/** The VP that a call is about, or a status. Other partitions are only for those that created them. */
function subject(
  target: HypercallTarget,
  { input, vpIndex }: HypercallInvocation,
): { vp: number } | HvStatus {
  const partition = input.getBigUint64(0, true);
  if (partition !== HV_PARTITION_ID_SELF && partition !== BigInt(target.partitionId))
    return HvStatus.ACCESS_DENIED;
  // The target VTL and what is reserved after it: there is only VTL 0.
  if (input.getUint32(12, true) !== 0) return HvStatus.INVALID_PARAMETER;
  const named = input.getUint32(8, true);
  const vp = named === HV_VP_INDEX_SELF ? vpIndex : named;
  return vp < target.vpCount ? { vp } : HvStatus.INVALID_VP_INDEX;
}

const value: RegisterValue = { lo: 0, hi: 0, upperLo: 0, upperHi: 0 };

const getVpRegisters: HypercallDefinition = {
  name: 'HvCallGetVpRegisters',
  privilege: HypercallPrivilege.ACCESS_VP_REGISTERS,
  inputBytes: HEADER_BYTES,
  rep: { inputElementBytes: 4, outputElementBytes: VALUE_BYTES },
  serve(target, call) {
    const about = subject(target, call);
    if (typeof about === 'number') return about;
    for (let i = call.repStart; i < call.repCount; i++) {
      const name = call.input.getUint32(call.elementsOffset + i * 4, true);
      if (!target.getVpRegister(about.vp, name, value)) return HvStatus.INVALID_PARAMETER;
      call.output.setUint32(i * VALUE_BYTES, value.lo, true);
      call.output.setUint32(i * VALUE_BYTES + 4, value.hi, true);
      call.output.setUint32(i * VALUE_BYTES + 8, value.upperLo, true);
      call.output.setUint32(i * VALUE_BYTES + 12, value.upperHi, true);
      call.repsCompleted++;
    }
    return HvStatus.SUCCESS;
  },
};

/** Elements: register name u32, reserved 12 bytes, value 16 bytes. */
const setVpRegisters: HypercallDefinition = {
  name: 'HvCallSetVpRegisters',
  privilege: HypercallPrivilege.ACCESS_VP_REGISTERS,
  inputBytes: HEADER_BYTES,
  rep: { inputElementBytes: 16 + VALUE_BYTES, outputElementBytes: 0 },
  serve(target, call) {
    const about = subject(target, call);
    if (typeof about === 'number') return about;
    const { input } = call;
    for (let i = call.repStart; i < call.repCount; i++) {
      const at = call.elementsOffset + i * (16 + VALUE_BYTES);
      if (input.getUint32(at + 4, true) !== 0 || input.getBigUint64(at + 8, true) !== 0n) {
        return HvStatus.INVALID_PARAMETER;
      }
      const name = input.getUint32(at, true);
      value.lo = input.getUint32(at + 16, true);
      value.hi = input.getUint32(at + 20, true);
      value.upperLo = input.getUint32(at + 24, true);
      value.upperHi = input.getUint32(at + 28, true);
      if (!isWideRegister(name) && (value.upperLo | value.upperHi) !== 0)
        return HvStatus.INVALID_REGISTER_VALUE;
      if (!target.setVpRegister(about.vp, name, value)) return HvStatus.INVALID_PARAMETER;
      call.repsCompleted++;
    }
    return HvStatus.SUCCESS;
  },
};

export const REGISTER_CALLS: readonly HypercallDefinition[] = [getVpRegisters, setVpRegisters];
