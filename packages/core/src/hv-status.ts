/** Status codes of hypercalls and of the partition API (TLFS, appendix B "Hypercall status codes"). */
export const HvStatus = {
  SUCCESS: 0x00,
  INVALID_HYPERCALL_CODE: 0x02,
  INVALID_HYPERCALL_INPUT: 0x03,
  INVALID_ALIGNMENT: 0x04,
  INVALID_PARAMETER: 0x05,
  ACCESS_DENIED: 0x06,
  INVALID_PARTITION_STATE: 0x07,
  OPERATION_DENIED: 0x08,
  UNKNOWN_PROPERTY: 0x09,
  PROPERTY_VALUE_OUT_OF_RANGE: 0x0a,
  INSUFFICIENT_MEMORY: 0x0b,
  PARTITION_TOO_DEEP: 0x0c,
  INVALID_PARTITION_ID: 0x0d,
  INVALID_VP_INDEX: 0x0e,
  INVALID_PORT_ID: 0x11,
  INVALID_CONNECTION_ID: 0x12,
  INSUFFICIENT_BUFFERS: 0x13,
  NOT_ACKNOWLEDGED: 0x14,
  INVALID_VP_STATE: 0x15,
  ACKNOWLEDGED: 0x16,
  INVALID_SAVE_RESTORE_STATE: 0x17,
  INVALID_SYNIC_STATE: 0x18,
  OBJECT_IN_USE: 0x19,
  INVALID_PROXIMITY_DOMAIN_INFO: 0x1a,
  NO_DATA: 0x1b,
  INACTIVE: 0x1c,
  NO_RESOURCES: 0x1d,
  FEATURE_UNAVAILABLE: 0x1e,
  INVALID_REGISTER_VALUE: 0x50,
} as const;
export type HvStatus = (typeof HvStatus)[keyof typeof HvStatus];

const NAMES = new Map<number, string>(
  Object.entries(HvStatus).map(([name, code]) => [code, `HV_STATUS_${name}`]),
);

/** The specification's name of a status. */
export function hvStatusName(status: number): string {
  return NAMES.get(status) ?? `HV_STATUS 0x${status.toString(16)}`;
}
