import { HvError } from '../errors.ts';
import { HvStatus } from '../hv-status.ts';
import type { Qword } from '../processor/contract.ts';
import type { Partition } from './partition.ts';
import { GRANTABLE_HYPERCALL_PRIVILEGES } from './privileges.ts';

/** Properties of a partition (TLFS, HV_PARTITION_PROPERTY_CODE). */
export const PartitionProperty = {
  /** Privilege mask; an early property. The lower half, privileges on MSRs, reads as zero: CPUID shows it. */
  PRIVILEGE_FLAGS: 0x00010000,
  /** 1 while VPs stand still. */
  SUSPEND: 0x00020000,
  /** Reference time in units of 100 ns; read-only. */
  REFERENCE_TIME: 0x00030005,
  /** Rate of the guest's TSC in Hz; read-only. */
  PROCESSOR_CLOCK_FREQUENCY: 0x00060009,
  /** What the guest wrote as its OS id; read-only. */
  GUEST_OS_ID: 0x00070000,
} as const;
export type PartitionProperty = (typeof PartitionProperty)[keyof typeof PartitionProperty];

const MSR_GUEST_OS_ID = 0x40000000;
const MSR_TIME_REF_COUNT = 0x40000020;

const GET = 'HvCallGetPartitionProperty';
const SET = 'HvCallSetPartitionProperty';

/** Throws HvError UNKNOWN_PROPERTY. */
export function readProperty(partition: Partition, property: PartitionProperty): bigint {
  switch (property) {
    case PartitionProperty.PRIVILEGE_FLAGS:
      return BigInt(partition.hypercallPrivileges) << 32n;
    case PartitionProperty.SUSPEND:
      return partition.runner.paused ? 1n : 0n;
    case PartitionProperty.REFERENCE_TIME:
      return readMsr(partition, MSR_TIME_REF_COUNT);
    case PartitionProperty.PROCESSOR_CLOCK_FREQUENCY:
      return BigInt(partition.info.tscFrequencyHz);
    case PartitionProperty.GUEST_OS_ID:
      return readMsr(partition, MSR_GUEST_OS_ID);
    default:
      throw new HvError(GET, HvStatus.UNKNOWN_PROPERTY, `property 0x${(property as number).toString(16)}`);
  }
}

/** Throws HvError INVALID_PARTITION_STATE, PROPERTY_VALUE_OUT_OF_RANGE, or UNKNOWN_PROPERTY (also for read-only ones). */
export function writeProperty(partition: Partition, property: PartitionProperty, value: bigint): void {
  switch (property) {
    case PartitionProperty.PRIVILEGE_FLAGS:
      if (partition.state !== 'created') {
        throw new HvError(SET, HvStatus.INVALID_PARTITION_STATE, 'privileges are set before initialization');
      }
      if (!partition.info.enlightened || (value & ~(BigInt(GRANTABLE_HYPERCALL_PRIVILEGES) << 32n)) !== 0n) {
        throw new HvError(SET, HvStatus.PROPERTY_VALUE_OUT_OF_RANGE, `privileges 0x${value.toString(16)}`);
      }
      partition.hypercallPrivileges = Number(value >> 32n);
      return;
    case PartitionProperty.SUSPEND:
      if (value === 1n) void partition.runner.pause();
      else if (value === 0n) partition.runner.resume();
      else throw new HvError(SET, HvStatus.PROPERTY_VALUE_OUT_OF_RANGE, `suspend ${value}`);
      return;
    default:
      throw new HvError(SET, HvStatus.UNKNOWN_PROPERTY, `property 0x${(property as number).toString(16)}`);
  }
}

function readMsr(partition: Partition, msr: number): bigint {
  const value: Qword = { lo: 0, hi: 0 };
  // A partition to which the hypervisor does not show itself has none of these.
  if (!partition.platform.vps[0].msrRead(msr, value)) return 0n;
  return (BigInt(value.hi) << 32n) | BigInt(value.lo);
}
