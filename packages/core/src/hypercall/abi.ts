/**
 * The hypercall ABI (TLFS, "Hypercall interface"): the input value, the result value and the call codes.
 */

/** Hypercall input value, lower half. */
export const HypercallControl = {
  CODE_MASK: 0xffff,
  FAST: 1 << 16,
  VARIABLE_HEADER_SHIFT: 17,
  VARIABLE_HEADER_MASK: 0x1ff,
  /** Reserved bits 30:27, and bit 31, which asks for the hypervisor beneath a nested one: there is none. */
  RESERVED_LO: 0xf8000000,
  // Upper half.
  REP_MASK: 0xfff,
  REP_START_SHIFT: 16,
  /** Reserved bits 47:44 and 63:60. */
  RESERVED_HI: 0xf000f000,
} as const;

/** Call codes (TLFS, "Hypercall reference"; the device domains' as Windows and Linux use them). */
export const HypercallCode = {
  HvCallFlushVirtualAddressSpace: 0x0002,
  HvCallFlushVirtualAddressList: 0x0003,
  HvCallNotifyLongSpinWait: 0x0008,
  HvCallSendSyntheticClusterIpi: 0x000b,
  HvCallFlushVirtualAddressSpaceEx: 0x0013,
  HvCallFlushVirtualAddressListEx: 0x0014,
  HvCallSendSyntheticClusterIpiEx: 0x0015,
  HvCallCreatePartition: 0x0040,
  HvCallInitializePartition: 0x0041,
  HvCallFinalizePartition: 0x0042,
  HvCallDeletePartition: 0x0043,
  HvCallGetPartitionProperty: 0x0044,
  HvCallSetPartitionProperty: 0x0045,
  HvCallGetPartitionId: 0x0046,
  HvCallGetNextChildPartition: 0x0047,
  HvCallDepositMemory: 0x0048,
  HvCallWithdrawMemory: 0x0049,
  HvCallGetMemoryBalance: 0x004a,
  HvCallMapGpaPages: 0x004b,
  HvCallUnmapGpaPages: 0x004c,
  HvCallInstallIntercept: 0x004d,
  HvCallCreateVp: 0x004e,
  HvCallDeleteVp: 0x004f,
  HvCallGetVpRegisters: 0x0050,
  HvCallSetVpRegisters: 0x0051,
  HvCallDeletePort: 0x0058,
  HvCallDisconnectPort: 0x005b,
  HvCallPostMessage: 0x005c,
  HvCallSignalEvent: 0x005d,
  HvCallAssertVirtualInterrupt: 0x0094,
  HvCallCreatePort: 0x0095,
  HvCallConnectPort: 0x0096,
  HvCallCreateDeviceDomain: 0x00b1,
  HvCallAttachDeviceDomain: 0x00b2,
  HvCallMapDeviceGpaPages: 0x00b3,
  HvCallUnmapDeviceGpaPages: 0x00b4,
  HvCallDetachDeviceDomain: 0x00c4,
  HvCallDeleteDeviceDomain: 0x00c5,
  HvExtCallQueryCapabilities: 0x8001,
} as const;
export type HypercallName = keyof typeof HypercallCode;

/** Partition id that stands for the caller's own (TLFS, HV_PARTITION_ID). */
export const HV_PARTITION_ID_SELF = 0xffff_ffff_ffff_ffffn;
/** VP index that stands for the caller's own (TLFS, HV_VP_INDEX). */
export const HV_VP_INDEX_SELF = 0xfffffffe;
