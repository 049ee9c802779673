import { HvStatus } from '../../hv-status.ts';
import { HypercallPrivilege } from '../../hypervisor/privileges.ts';
import type { HypercallName } from '../abi.ts';
import type { HypercallDefinition } from '../definition.ts';

/**
 * Calls on partitions of one's own, with the privilege that each needs. The root makes them through the partition
 * API and a child cannot be given the privilege, so that from a guest they are refused before anything is read.
 */
const PARENT_ONLY: readonly (readonly [HypercallName, number])[] = [
  ['HvCallCreatePartition', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallInitializePartition', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallFinalizePartition', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallDeletePartition', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallGetPartitionProperty', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallSetPartitionProperty', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallGetNextChildPartition', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallDepositMemory', HypercallPrivilege.ACCESS_MEMORY_POOL],
  ['HvCallWithdrawMemory', HypercallPrivilege.ACCESS_MEMORY_POOL],
  ['HvCallGetMemoryBalance', HypercallPrivilege.ACCESS_MEMORY_POOL],
  ['HvCallMapGpaPages', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallUnmapGpaPages', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallInstallIntercept', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallCreateVp', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallDeleteVp', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallDeletePort', HypercallPrivilege.CREATE_PORT],
  ['HvCallDisconnectPort', HypercallPrivilege.CONNECT_PORT],
  ['HvCallAssertVirtualInterrupt', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallCreatePort', HypercallPrivilege.CREATE_PORT],
  ['HvCallConnectPort', HypercallPrivilege.CONNECT_PORT],
  ['HvCallCreateDeviceDomain', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallAttachDeviceDomain', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallMapDeviceGpaPages', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallUnmapDeviceGpaPages', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallDetachDeviceDomain', HypercallPrivilege.CREATE_PARTITIONS],
  ['HvCallDeleteDeviceDomain', HypercallPrivilege.CREATE_PARTITIONS],
];

const getPartitionId: HypercallDefinition = {
  name: 'HvCallGetPartitionId',
  privilege: HypercallPrivilege.ACCESS_PARTITION_ID,
  inputBytes: 0,
  outputBytes: 8,
  serve(target, { output }) {
    output.setBigUint64(0, BigInt(target.partitionId), true);
    return HvStatus.SUCCESS;
  },
};

export const PARTITION_CALLS: readonly HypercallDefinition[] = [
  getPartitionId,
  ...PARENT_ONLY.map(
    ([name, privilege]): HypercallDefinition => ({
      name,
      privilege,
      inputBytes: 0,
      serve: () => HvStatus.ACCESS_DENIED,
    }),
  ),
];
